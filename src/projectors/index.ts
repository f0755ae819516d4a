export { type ChatProjectorOptions, chatProjector, createChatProjector } from "./chat.ts"
export {
  type CallIdForm,
  type HttpFacts,
  type LlmResult,
  type OpenAiAnswerOptions,
  type OpenAiChatBody,
  type OpenAiChatProjector,
  OpenAiChatStream,
  type OpenAiContentPart,
  type OpenAiMessage,
  type OpenAiRequestOptions,
  type OpenAiRoleOptions,
  type OpenAiTool,
  type OpenAiToolCall,
  openAiChatProjector,
  type ReasoningField,
} from "./openai-chat/index.ts"
export type { ProjectionInput, Projector, Transcript } from "./projector.ts"
export { viewProjector } from "./view.ts"
export { type ProjectorPatch, wrapProjector } from "./wrap-projector.ts"
