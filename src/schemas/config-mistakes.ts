import type { SchemaIssue } from "../errors.ts"
import type { TurnConfig } from "../machine/config.ts"

const KEYS: { readonly [Key in keyof Required<TurnConfig>]: true } = {
  model: true,
  modelVariant: true,
  sessionId: true,
  runSessionId: true,
  systemPrompt: true,
  tools: true,
  maxContextTokens: true,
  maxIterations: true,
  generation: true,
  syncExecutionSurface: true,
  emitLlmTrace: true,
  driver: true,
  projector: true,
  turnLimitMessage: true,
  validation: true,
}

/** Finds a common mistake in a configuration, for which the schema's own message would not say what to do. */
export function configMistake(config: unknown): SchemaIssue | undefined {
  try {
    return typeof config === "object" && config !== null ? (toolMistake(config) ?? unknownKey(config)) : undefined
  } catch {
    // A proxy or a getter may throw; the schema reports that.
    return undefined
  }
}

function toolMistake({ tools }: { readonly tools?: unknown }): SchemaIssue | undefined {
  if (!Array.isArray(tools)) {
    if (!isObject(tools)) return undefined
    if (Array.isArray(tools["specs"])) return { path: "/tools", message: "this is a toolbox; give its specs, as in tools: box.specs" }
    return isTool(tools) ? { path: "/tools", message: `this is a tool; ${SPECS}` } : undefined
  }
  const items: readonly unknown[] = tools
  const index = items.findIndex((tool) => isObject(tool) && (isTool(tool) || (typeof tool["name"] === "string" && tool["inputSchema"] === undefined)))
  const tool = items[index]
  if (!isObject(tool)) return undefined
  if (isTool(tool)) return { path: `/tools/${index}`, message: `this is a tool; ${SPECS}` }
  const message = `the tool ${JSON.stringify(tool["name"])} has no inputSchema; give a JSON Schema such as { type: "object", properties: {} }`
  return { path: `/tools/${index}/inputSchema`, message }
}

const SPECS = "give the specs of a toolbox, as in tools: toolbox([tool]).specs"

function isTool(value: { readonly [key: string]: unknown }): boolean {
  return isObject(value["spec"]) && typeof value["call"] === "function"
}

function isObject(value: unknown): value is { readonly [key: string]: unknown } {
  return typeof value === "object" && value !== null
}

function unknownKey(config: object): SchemaIssue | undefined {
  const known = Object.keys(KEYS)
  const key = Object.keys(config).find((candidate) => !Object.hasOwn(KEYS, candidate))
  if (key === undefined) return undefined
  const near = known
    .map((name) => ({ name, distance: distance(key.toLowerCase(), name.toLowerCase()) }))
    .sort((left, right) => left.distance - right.distance)
  const [nearest] = near
  const hint =
    nearest !== undefined && nearest.distance <= Math.max(2, key.length / 3) ? `did you mean "${nearest.name}"?` : `the keys are ${known.join(", ")}`
  return { path: `/${key.replaceAll("~", "~0").replaceAll("/", "~1")}`, message: `unknown key; ${hint}` }
}

/** The number of single-character edits between two texts (Levenshtein). */
function distance(left: string, right: string): number {
  let row = Array.from({ length: right.length + 1 }, (_, index) => index)
  for (let index = 1; index <= left.length; index += 1) {
    const next = [index]
    for (let other = 1; other <= right.length; other += 1) {
      const changed = (row[other - 1] as number) + (left[index - 1] === right[other - 1] ? 0 : 1)
      next.push(Math.min(changed, (row[other] as number) + 1, (next[other - 1] as number) + 1))
    }
    row = next
  }
  return row[right.length] as number
}
