import type { LlmFailure, LlmRequest } from "../../wire/llm.ts"
import type { LlmResult, OpenAiAnswerOptions } from "./answer.ts"
import type { OpenAiChatBody } from "./body.ts"
import { type HttpFacts, httpFailure } from "./failure.ts"
import { type OpenAiRequestOptions, openAiRequest } from "./request.ts"
import { OpenAiChatStream, openAiResponse } from "./stream.ts"
import { openAiToolNames } from "./tool-names.ts"

export type { LlmResult, OpenAiAnswerOptions } from "./answer.ts"
export type { OpenAiChatBody, OpenAiContentPart, OpenAiMessage, OpenAiTool, OpenAiToolCall } from "./body.ts"
export type { CallIdForm } from "./call-ids.ts"
export type { HttpFacts } from "./failure.ts"
export type { OpenAiRequestOptions, ReasoningField } from "./request.ts"
export type { OpenAiRoleOptions } from "./roles.ts"
export { OpenAiChatStream } from "./stream.ts"

/** The Chat Completions wire format, both ways. Pure: the host sends and receives. */
export interface OpenAiChatProjector {
  /** Returns the body to post to `/chat/completions`. */
  request(request: LlmRequest, options?: OpenAiRequestOptions): OpenAiChatBody
  /**
   * Returns the names of functions that the body has in another form, because endpoints accept only `[a-zA-Z0-9_-]{1,64}`: from the sent
   * name to the own one. Pass them to the reader of the answer as `toolNames`.
   */
  toolNames(request: LlmRequest): ReadonlyMap<string, string>
  /** Reads a whole answer, parsed from JSON. Never throws: anything else gives the failure `malformed_response`. */
  response(body: unknown, options?: OpenAiAnswerOptions): LlmResult
  /** Reads an answer in chunks. A stream that ends without a finish reason gives the failure `stream_truncated`. */
  stream(options?: OpenAiAnswerOptions): OpenAiChatStream
  /** Describes a refused request: any status but 2xx, with the text of its body. Its `kind` is the same for every provider. */
  failure(status: number, body: string, facts?: HttpFacts): LlmFailure
}

/**
 * Projects requests to OpenAI's Chat Completions and reads its answers, also those of compatible servers that deviate from it:
 * Azure, OpenRouter, vLLM, llama.cpp, Ollama, DeepSeek, Mistral, xAI, Google.
 * @see https://platform.openai.com/docs/api-reference/chat (2026-11)
 */
export const openAiChatProjector: OpenAiChatProjector = {
  request: openAiRequest,
  toolNames: openAiToolNames,
  response: openAiResponse,
  stream: (options) => new OpenAiChatStream(options),
  failure: httpFailure,
}
