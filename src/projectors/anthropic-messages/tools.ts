import { isBlank } from "../../text.ts"
import type { LlmRequest } from "../../wire/llm.ts"
import type { ToolSpec } from "../../wire/tool.ts"
import type { ToolNames } from "../wires/tool-names.ts"
import { objectSchema } from "../wires/tool-schema.ts"
import type { AnthropicTool, AnthropicToolChoice } from "./body.ts"

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
  return { name: names.sent(name), ...(!isBlank(description) && { description }), input_schema: objectSchema(inputSchema) }
}
