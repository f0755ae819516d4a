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
  type GeminiBlob,
  type GeminiBody,
  type GeminiContent,
  type GeminiFileData,
  type GeminiFunctionCall,
  type GeminiFunctionDeclaration,
  type GeminiFunctionResponse,
  type GeminiGenerationConfig,
  type GeminiMedia,
  type GeminiPart,
  type GeminiThinkingConfig,
  type GeminiThinkingLevel,
  type GeminiTool,
  type GeminiToolConfig,
  type GeminiWireOptions,
  geminiWire,
} from "./gemini/index.ts"
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
export {
  type OpenAiResponsesBody,
  type OpenAiResponsesWireOptions,
  openAiResponsesWire,
  type ResponsesCall,
  type ResponsesContent,
  type ResponsesFormat,
  type ResponsesInputMessage,
  type ResponsesItem,
  type ResponsesOpaque,
  type ResponsesOutputContent,
  type ResponsesOutputMessage,
  type ResponsesPhase,
  type ResponsesReasoning,
  type ResponsesResult,
  type ResponsesStatus,
  type ResponsesTool,
} from "./openai-responses/index.ts"
export type { ProjectionInput, Projector, Transcript } from "./projector.ts"
export { viewProjector } from "./view.ts"
export { type HttpFacts, httpFailure } from "./wires/failure.ts"
export { sentToolNames, type ToolNameForm } from "./wires/tool-names.ts"
export { wholeAnswerStream } from "./wires/whole-answer-stream.ts"
export type { DecodeOptions, EncodeOptions, LlmResult, WireProjector, WireStream } from "./wires/wire.ts"
export { type ProjectorPatch, wrapProjector } from "./wrap-projector.ts"
