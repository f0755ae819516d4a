import type { SchemaIssue } from "../errors.ts"
import type { TurnConfig } from "../machine/config.ts"
import { shortened } from "../text.ts"

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

/** Finds a common mistake in a configuration for which the schema's own message does not say what to do. */
export function configMistake(config: unknown): SchemaIssue | undefined {
  try {
    return typeof config === "object" && config !== null ? (toolMistake(config) ?? unknownKey(config)) : undefined
  } catch {
    // A proxy or a getter may throw; the schema reports that.
    return undefined
  }
}

function toolMistake({ tools }: { readonly tools?: unknown }): SchemaIssue | undefined {
  if (!Array.isArray(tools)) return notASpec(tools, "/tools")
  const items: readonly unknown[] = tools
  for (const [index, tool] of items.entries()) {
    const mistake = notASpec(tool, `/tools/${index}`) ?? specWithoutSchema(tool, `/tools/${index}`)
    if (mistake !== undefined) return mistake
  }
  return undefined
}

function notASpec(value: unknown, path: string): SchemaIssue | undefined {
  if (!isObject(value)) return undefined
  if (Array.isArray(value["specs"])) return { path, message: "this is a toolbox; pass its specs, as in tools: box.specs" }
  return isTool(value) ? { path, message: "this is a tool; pass the specs of a toolbox, as in tools: toolbox([tool]).specs" } : undefined
}

function specWithoutSchema(value: unknown, path: string): SchemaIssue | undefined {
  if (!isObject(value) || typeof value["name"] !== "string" || value["inputSchema"] !== undefined) return undefined
  const name = JSON.stringify(shortened(value["name"]))
  const message = `the tool ${name} has no inputSchema; pass a JSON Schema such as { type: "object", properties: {} }`
  return { path: `${path}/inputSchema`, message }
}

function isTool(value: { readonly [key: string]: unknown }): boolean {
  return isObject(value["spec"]) && typeof value["call"] === "function"
}

function isObject(value: unknown): value is { readonly [key: string]: unknown } {
  return typeof value === "object" && value !== null
}

function unknownKey(config: object): SchemaIssue | undefined {
  const key = Object.keys(config).find((candidate) => !Object.hasOwn(KEYS, candidate))
  if (key === undefined) return undefined
  const near = nearestKey(key)
  const hint = near === undefined ? `the keys are ${KNOWN.join(", ")}` : `did you mean "${near}"?`
  return { path: `/${key.replaceAll("~", "~0").replaceAll("/", "~1")}`, message: `unknown key; ${hint}` }
}

const KNOWN = Object.keys(KEYS)
/** The longest key with room for typing errors. No longer key is similar to one, and comparing it would take long. */
const MAX_COMPARED = 40

function nearestKey(key: string): string | undefined {
  if (key.length > MAX_COMPARED) return undefined
  const [nearest] = KNOWN.map((name) => ({ name, distance: distance(key.toLowerCase(), name.toLowerCase()) })).sort(
    (left, right) => left.distance - right.distance,
  )
  return nearest !== undefined && nearest.distance <= Math.max(2, key.length / 3) ? nearest.name : undefined
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
