import type { SchemaIssue } from "../errors.ts"
import type { TurnConfig } from "../machine/config.ts"
import { unknownKey } from "../unknown-key.ts"

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
    return typeof config === "object" && config !== null ? (toolMistake(config) ?? unknownConfigKey(config)) : undefined
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

function unknownConfigKey(config: object): SchemaIssue | undefined {
  const known = Object.keys(KEYS)
  const unknown = unknownKey(config, known)
  if (unknown === undefined) return undefined
  const { key, hint = `the keys are ${known.join(", ")}` } = unknown
  return { path: `/${key.replaceAll("~", "~0").replaceAll("/", "~1")}`, message: `unknown key; ${hint}` }
}
