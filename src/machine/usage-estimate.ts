import { isBlank } from "../text.ts"
import type { Block, LlmMessage, LlmRequest, LlmResponse, OutputPart, TokenUsage } from "../wire/llm.ts"
import type { AttachmentRef } from "../wire/message.ts"
import type { ToolSpec } from "../wire/tool.ts"
import { addUsage, NO_USAGE, tokensOf } from "./limits.ts"

/** Bytes of UTF-8 for each token: about the average of prose and code, in the tokenizers of large models. */
const BYTES_PER_TOKEN = 4
/** What the wire adds to each message or tool: roles, names, separators. */
const TOKENS_PER_ITEM = 4
/** The most that common providers charge for one image. */
const TOKENS_PER_IMAGE = 1_600

/**
 * Estimates the tokens of a request: its messages, tools and attachments, about 4 bytes of UTF-8 to a token. For prose and code the
 * figure is usually within a third of a tokenizer's; for digits, hashes and rare scripts a tokenizer counts up to twice as many. What a
 * provider reads from a cache is counted too.
 */
export function estimateTokens(request: LlmRequest): number {
  const { messages, tools, attachments } = request
  let tokens = 0
  for (const message of messages) tokens += messageTokens(message)
  for (const tool of tools) tokens += toolTokens(tool)
  for (const attachment of attachments) tokens += attachmentTokens(attachment)
  return tokens
}

/**
 * Returns more tokens than a request is expected to have, about 2 bytes of UTF-8 to a token: an upper estimate for budgets that must not
 * be crossed. It is not a proof. Where a tokenizer is available, count with it instead.
 */
export function upperTokens(request: LlmRequest): number {
  return 2 * estimateTokens(request)
}

/** Estimates the usage of a model call from its request and what was answered. Nothing is assumed to come from a cache. */
export function estimateUsage(request: LlmRequest, response: Pick<LlmResponse, "text" | "parts">): TokenUsage {
  const answered = response.parts.reduce((sum, part) => sum + partBytes(part), 0)
  const reasoned = response.parts.reduce((sum, part) => sum + (part.type === "reasoning" ? partBytes(part) : 0), 0)
  const outputTokens = tokensIn(Math.max(answered, utf8Length(response.text)))
  return {
    ...NO_USAGE,
    inputTokens: estimateTokens(request),
    outputTokens,
    reasoningTokens: Math.min(outputTokens, tokensIn(reasoned)),
    estimated: true,
  }
}

/** Whether an answer says something and its provider reported no usage for it. */
export function isUsageMissing({ text, parts, usage }: LlmResponse): boolean {
  const total = tokensOf(addUsage(usage ?? NO_USAGE, NO_USAGE)) + (usage?.cachedInputTokens ?? 0)
  return total === 0 && (!isBlank(text) || parts.some((part) => partBytes(part) > 0))
}

function tokensIn(bytes: number): number {
  return Math.ceil(bytes / BYTES_PER_TOKEN)
}

/** Requests share their messages, so each is measured once. */
const measured = new WeakMap<object, number>()

function remembered<Item extends object>(item: Item, measure: (item: Item) => number): number {
  let tokens = measured.get(item)
  if (tokens === undefined) {
    tokens = measure(item)
    measured.set(item, tokens)
  }
  return tokens
}

function messageTokens(message: LlmMessage): number {
  return remembered(message, ({ blocks }) => TOKENS_PER_ITEM + tokensIn(blocks.reduce((sum, block) => sum + blockBytes(block), 0)))
}

function toolTokens(tool: ToolSpec): number {
  return remembered(tool, ({ name, description, inputSchema }) => {
    return TOKENS_PER_ITEM + tokensIn(utf8Length(name) + utf8Length(description) + utf8Length(JSON.stringify(inputSchema)))
  })
}

function attachmentTokens({ mediaType, byteLength }: AttachmentRef): number {
  return mediaType.startsWith("image/") ? TOKENS_PER_IMAGE : tokensIn(byteLength)
}

function blockBytes(block: Block): number {
  switch (block.type) {
    case "image":
    case "file":
      return 0
    case "tool_result":
      return utf8Length(block.callId) + utf8Length(block.text)
    default:
      return partBytes(block)
  }
}

function partBytes(part: OutputPart): number {
  switch (part.type) {
    case "text":
      return utf8Length(part.text)
    case "reasoning":
      return utf8Length(part.text) + utf8Length(part.replay?.encryptedContent ?? "")
    case "tool_call":
      return utf8Length(part.callId) + utf8Length(part.toolName) + utf8Length(part.inputJson)
    case "opaque":
      return utf8Length(JSON.stringify(part.data))
  }
}

/** The bytes of a text as UTF-8. */
function utf8Length(text: string): number {
  let bytes = text.length
  for (let index = 0; index < text.length; index += 1) {
    const unit = text.charCodeAt(index)
    // Two units of a surrogate pair make four bytes.
    if (unit >= 0x80) bytes += unit >= 0x800 && (unit < 0xd800 || unit > 0xdfff) ? 2 : 1
  }
  return bytes
}
