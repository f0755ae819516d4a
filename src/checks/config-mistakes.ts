import type { SchemaIssue } from "../errors.ts"
import type { TurnConfig } from "../machine/config.ts"
import { shortened } from "../text.ts"
import { unknownKey } from "../unknown-key.ts"

const KEYS: { readonly [Key in keyof Required<TurnConfig>]: true } = {
  model: true,
  modelVariant: true,
  sessionId: true,
  runSessionId: true,
  systemPrompt: true,
  tools: true,
  maxContextTokens: true,
  maxResultTokens: true,
  maxIterations: true,
  maxTokens: true,
  generation: true,
  parallelToolCalls: true,
  cache: true,
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
    return typeof config === "object" && config !== null ? (toolMistake(config) ?? unknownConfigKey(config)) : undefined
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

/** Whether a value has members to look at. */
export function isObject(value: unknown): value is { readonly [key: string]: unknown } {
  return typeof value === "object" && value !== null
}

function unknownConfigKey(config: object): SchemaIssue | undefined {
  const known = Object.keys(KEYS)
  const unknown = unknownKey(config, known)
  if (unknown === undefined) return undefined
  const { key, hint = `the keys are ${known.join(", ")}` } = unknown
  return { path: `/${key.replaceAll("~", "~0").replaceAll("/", "~1")}`, message: `unknown key; ${hint}` }
}
