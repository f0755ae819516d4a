export {
  type ChatAnswer,
  type ChatContinuation,
  type ChatDecision,
  type ChatInput,
  type ChatRequest,
  type ChatRequestOptions,
  readChatRequest,
  toDecisions,
} from "./chat-request.ts"
export { ChatRequestError, type ChatRequestErrorCode } from "./chat-request-error.ts"
export { type ResumingFetchOptions, resumingFetch } from "./resuming-fetch.ts"
export type { UiSelection } from "./select.ts"
export { lastCursor, toResponse, type UiEventSource, type UiResponseOptions } from "./to-response.ts"
