export {
  type ChatAnswer,
  type ChatContinuation,
  type ChatDecision,
  type ChatInput,
  type ChatRequest,
  ChatRequestError,
  type ChatRequestErrorCode,
  type ChatRequestOptions,
  readChatRequest,
  toDecisions,
} from "./chat-request.ts"
export { type ResumingFetchOptions, resumingFetch } from "./resuming-fetch.ts"
export { lastCursor, toResponse, type UiEventSource, type UiResponseOptions, type UiSelection } from "./to-response.ts"
