import type { LlmFailure, LlmRequest } from "../../schemas/llm.ts"
import type { LlmResult, OpenAiAnswerOptions } from "./answer.ts"
import { type HttpFacts, httpFailure } from "./failure.ts"
import { type OpenAiChatBody, type OpenAiRequestOptions, openAiRequest } from "./request.ts"
import { OpenAiChatStream, openAiResponse } from "./stream.ts"

export type { LlmResult, OpenAiAnswerOptions } from "./answer.ts"
export type { HttpFacts } from "./failure.ts"
export type {
  OpenAiChatBody,
  OpenAiContentPart,
  OpenAiMessage,
  OpenAiRequestOptions,
  OpenAiTool,
  OpenAiToolCall,
  ReasoningField,
} from "./request.ts"
export { OpenAiChatStream } from "./stream.ts"

/** The Chat Completions wire format, both ways. Pure: what travels, and how, is the host's. */
export interface OpenAiChatProjector {
  /** The body to post to `/chat/completions`. */
  request(request: LlmRequest, options?: OpenAiRequestOptions): OpenAiChatBody
  /** Reads a whole answer, parsed from JSON. Never throws: what is no answer is a failure, `malformed_response`. */
  response(body: unknown, options?: OpenAiAnswerOptions): LlmResult
  /** Reads an answer in chunks. Without a finish reason at its end it is a failure, `stream_truncated`. */
  stream(options?: OpenAiAnswerOptions): OpenAiChatStream
  /** Reads the answer to a request that was refused: any status but 2xx, with whatever text came along. */
  failure(status: number, body: string, facts?: HttpFacts): LlmFailure
}

/**
 * Requests and answers of OpenAI's Chat Completions, and of the many servers that speak it with an accent: Azure, OpenRouter,
 * vLLM, llama.cpp, Ollama, DeepSeek, Mistral, xAI, Google.
 * @see https://platform.openai.com/docs/api-reference/chat (2026-11)
 */
export const openAiChatProjector: OpenAiChatProjector = {
  request: openAiRequest,
  response: openAiResponse,
  stream: (options) => new OpenAiChatStream(options),
  failure: httpFailure,
}
