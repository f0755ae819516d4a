import { type OpenAiChatBody, type OpenAiChatWireOptions, openAiChatWire } from "../../src/projectors/openai-chat/index.ts"
import type { DecodeOptions, EncodeOptions, LlmResult, WireStream } from "../../src/projectors/wires/wire.ts"
import type { LlmRequest } from "../../src/wire/llm.ts"

// The Chat Completions wire, with its options and those of one call given at once.

export type ChatRequestOptions = OpenAiChatWireOptions & EncodeOptions
export type ChatAnswerOptions = OpenAiChatWireOptions & DecodeOptions

export function chatRequest(request: LlmRequest, options: ChatRequestOptions = {}): OpenAiChatBody {
  return openAiChatWire(options).encode(request, options)
}

export function chatAnswer(body: unknown, options: ChatAnswerOptions = {}): LlmResult {
  return openAiChatWire(options).decode(body, options)
}

export function chatStream(options: ChatAnswerOptions = {}): WireStream {
  return openAiChatWire(options).stream(options)
}
