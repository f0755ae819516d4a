/** The I/O around a machine, on web-standard APIs: the run loop, tools, model clients. */
export {
  defineTool,
  type Tool,
  type ToolContext,
  type ToolDefinition,
  ToolDefinitionError,
  type ToolDefinitionErrorCode,
  ToolReply,
  toolbox,
} from "./define-tool.ts"
export { type EffectContext, type Host, LlmCallError, type RunOptions, type ToolAnswer, ToolError, type ToolErrorFacts } from "./host.ts"
export { type OpenAiCompatibleOptions, openAiCompatible } from "./openai-compatible.ts"
export { runTurn } from "./run-turn.ts"
