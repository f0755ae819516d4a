export {
  type AnthropicBlock,
  type AnthropicBody,
  type AnthropicCacheable,
  type AnthropicCacheControl,
  type AnthropicDocument,
  type AnthropicImage,
  type AnthropicImageType,
  type AnthropicMessage,
  type AnthropicOutputConfig,
  type AnthropicReasoning,
  type AnthropicRedactedReasoning,
  type AnthropicResultContent,
  type AnthropicText,
  type AnthropicThinking,
  type AnthropicTool,
  type AnthropicToolChoice,
  type AnthropicToolResult,
  type AnthropicToolUse,
  type AnthropicWireOptions,
  anthropicMessagesWire,
} from "./anthropic-messages/index.ts"
export { type ChatProjectorOptions, chatProjector, createChatProjector } from "./chat.ts"
export {
  type CallIdForm,
  type OpenAiChatBody,
  type OpenAiChatWireOptions,
  type OpenAiContentPart,
  type OpenAiMessage,
  type OpenAiRoleOptions,
  type OpenAiTool,
  type OpenAiToolCall,
  openAiChatWire,
  type ReasoningField,
} from "./openai-chat/index.ts"
export type { ProjectionInput, Projector, Transcript } from "./projector.ts"
export { viewProjector } from "./view.ts"
export type { HttpFacts } from "./wires/failure.ts"
export type { DecodeOptions, EncodeOptions, LlmResult, WireProjector, WireStream } from "./wires/wire.ts"
export { type ProjectorPatch, wrapProjector } from "./wrap-projector.ts"
