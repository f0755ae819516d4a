import type { LlmRequest, LlmResponse, TokenUsage } from "../wire/llm.ts"

/** Bytes of a request or an answer for each token. Tokenizers differ from it by a third in either direction. */
const BYTES_PER_TOKEN = 4

/** Estimates the tokens of a request, from the bytes of its messages and tools. Pure. */
export function estimateTokens({ messages, tools }: LlmRequest): number {
  return tokensOf(messages) + tokensOf(tools)
}

/** Estimates the usage of a call whose endpoint reported none. Pure. */
export function estimateUsage(request: LlmRequest, { parts, text }: LlmResponse): TokenUsage {
  const outputTokens = parts.length > 0 ? tokensOf(parts) : tokensOf(text)
  return { inputTokens: estimateTokens(request), cachedInputTokens: 0, outputTokens, reasoningTokens: 0, estimated: true }
}

function tokensOf(value: unknown): number {
  return Math.ceil(bytesOf(JSON.stringify(value)) / BYTES_PER_TOKEN)
}

/** The bytes of a text in UTF-8. */
function bytesOf(text: string): number {
  let bytes = text.length
  // The two units of a code point above U+FFFF have four bytes together, any other one above U+07FF three.
  for (let index = 0; index < text.length; index += 1) {
    const code = text.charCodeAt(index)
    if (code >= 0xd800 && code <= 0xdfff) bytes += 1
    else if (code > 0x7ff) bytes += 2
    else if (code > 0x7f) bytes += 1
  }
  return bytes
}
