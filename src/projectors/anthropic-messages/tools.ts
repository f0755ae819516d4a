import type { Json } from "../../json.ts"
import { isBlank } from "../../text.ts"
import type { LlmRequest } from "../../wire/llm.ts"
import type { ToolSpec } from "../../wire/tool.ts"
import type { ToolNames } from "../wires/tool-names.ts"
import { isRecord } from "../wires/values.ts"
import type { AnthropicTool, AnthropicToolChoice } from "./body.ts"

type Schema = AnthropicTool["input_schema"]

/**
 * Projects the tools and the choice of one. The provider refuses calls in the history without any tools; then those that the history
 * calls stand in their place, and none may be called.
 * @param mayForce the provider refuses to force a call of some models, and of others while they think
 */
export function projectTools(
  request: LlmRequest,
  names: ToolNames,
  mayForce: boolean,
): { readonly tools?: readonly AnthropicTool[]; readonly tool_choice?: AnthropicToolChoice } {
  const { parallelToolCalls, toolChoice, tools } = request
  if (tools.length === 0) {
    const called = new Set(request.messages.flatMap(({ blocks }) => blocks.flatMap((block) => (block.type === "tool_call" ? [block.toolName] : []))))
    if (called.size === 0) return {}
    return { tools: [...called].map((name) => ({ name: names.sent(name), input_schema: { type: "object" } })), tool_choice: { type: "none" } }
  }
  const single = parallelToolCalls === false && { disable_parallel_tool_use: true as const }
  return { tools: tools.map((tool) => projectTool(tool, names)), tool_choice: choice() }

  function choice(): AnthropicToolChoice {
    if (toolChoice === "none") return { type: "none" }
    if (toolChoice === "auto" || !mayForce) return { type: "auto", ...single }
    if (toolChoice === "required") return { type: "any", ...single }
    if (!tools.some(({ name }) => name === toolChoice.toolName)) return { type: "auto", ...single }
    return { type: "tool", name: names.sent(toolChoice.toolName), ...single }
  }
}

function projectTool({ name, description, inputSchema }: ToolSpec, names: ToolNames): AnthropicTool {
  return { name: names.sent(name), ...(!isBlank(description) && { description }), input_schema: inputSchemaOf(inputSchema) }
}

const UNIONS = ["anyOf", "oneOf", "allOf"] as const

/**
 * Returns a schema that the provider accepts: an object, without a union at the top. The variants of a union become one object with the
 * keys of all; those that every variant requires stay required. The tool itself still checks its arguments.
 * @see https://github.com/anthropics/claude-code/issues/4886 (2026-11): "input_schema does not support oneOf, allOf, or anyOf at the top level"
 */
function inputSchemaOf(schema: Json): Schema {
  if (!isRecord(schema)) return { type: "object" }
  const own = schema as { readonly [key: string]: Json }
  if (!UNIONS.some((key) => key in own)) return { ...own, type: "object" }
  const rest = Object.fromEntries(Object.entries(own).filter(([key]) => !UNIONS.some((union) => union === key)))
  const properties = new Map<string, Json>()
  let required = new Set(stringsOf(own["required"]))
  addProperties(properties, own)
  for (const union of UNIONS) {
    const { [union]: listed } = own
    const variants = Array.isArray(listed) ? (listed as readonly unknown[]).filter(isRecord) : []
    for (const variant of variants) addProperties(properties, variant)
    const lists = variants.map((variant) => stringsOf(variant["required"]))
    const always = union === "allOf" ? lists.flat() : (lists[0] ?? []).filter((key) => lists.every((list) => list.includes(key)))
    required = new Set([...required, ...always])
  }
  return { ...rest, type: "object", properties: Object.fromEntries(properties), ...(required.size > 0 && { required: [...required] }) }
}

/** Adds the properties of a variant. One that an earlier variant has in another form may have either. */
function addProperties(properties: Map<string, Json>, { properties: more }: Readonly<Record<string, unknown>>): void {
  if (!isRecord(more)) return
  for (const [key, value] of Object.entries(more) as readonly (readonly [string, Json])[]) {
    const before = properties.get(key)
    const isNew = before === undefined || JSON.stringify(before) === JSON.stringify(value)
    properties.set(key, isNew ? value : { anyOf: [before, value] })
  }
}

function stringsOf(value: unknown): readonly string[] {
  return Array.isArray(value) ? (value as readonly unknown[]).filter((item) => typeof item === "string") : []
}
