import { httpFailure } from "../wires/failure.ts"
import { sentToolNames } from "../wires/tool-names.ts"
import type { WireProjector } from "../wires/wire.ts"
import type { OpenAiChatBody } from "./body.ts"
import { OPENAI_CHAT, type OpenAiChatWireOptions, openAiRequest } from "./request.ts"
import { OpenAiChatStream, openAiResponse } from "./stream.ts"

export type { OpenAiChatBody, OpenAiContentPart, OpenAiMessage, OpenAiTool, OpenAiToolCall } from "./body.ts"
export type { CallIdForm } from "./call-ids.ts"
export type { OpenAiChatWireOptions, ReasoningField } from "./request.ts"
export type { OpenAiRoleOptions } from "./roles.ts"

/**
 * The wire of OpenAI's Chat Completions, posted to `/chat/completions`. It reads also the answers of compatible servers that deviate from
 * the reference: Azure, OpenRouter, vLLM, llama.cpp, Ollama, DeepSeek, Mistral, xAI, Google.
 * @see https://platform.openai.com/docs/api-reference/chat (2026-11)
 */
export function openAiChatWire(options: OpenAiChatWireOptions = {}): WireProjector<OpenAiChatBody> {
  return {
    api: OPENAI_CHAT,
    encode: (request, encoding) => openAiRequest(request, { ...options, ...encoding }),
    toolNames: (request) => sentToolNames(request),
    decode: (body, decoding) => openAiResponse(body, { ...options, ...decoding }),
    stream: (decoding) => new OpenAiChatStream({ ...options, ...decoding }),
    failure: httpFailure,
  }
}
