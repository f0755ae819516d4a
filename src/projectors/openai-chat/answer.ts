import type { LlmFailure, OutputPart, TerminalReason, TokenUsage } from "../../wire/llm.ts"
import type { LlmComplete } from "../../wire/response.ts"
import { CallCollector } from "./calls.ts"
import { brokenOff, malformed } from "./failure.ts"
import type { ReasoningField } from "./request.ts"
import { isRecord, jsonOf, stringOf, textOf } from "./values.ts"

/** The result of a model call: `llm_complete.result`. */
export type LlmResult = LlmComplete["result"]

export interface OpenAiAnswerOptions {
  /** The same as in the request. Reasoning is then marked with it, so that the next request can send it back. */
  readonly reasoningField?: ReasoningField
  /** The first number of the ids `call_<n>` for calls that come without an id. Default 1. */
  readonly firstCallNumber?: number
  /** The own names of functions that the request sent in another form: what `toolNames` of the projector returns for the request. */
  readonly toolNames?: ReadonlyMap<string, string>
}

/** The text that a delta adds, for a user interface. */
export interface NewText {
  readonly text: string
  readonly reasoning: string
}

/** Collects an answer, whole or in pieces, with the same result. Accepts any value and never throws. */
export class Answer {
  /** The last finish reason. A content filter may still act after a `stop` (Azure's asynchronous filter). */
  finishReason: string | undefined
  usage: unknown
  failure: LlmFailure | undefined
  readonly #calls = new CallCollector()
  #text = ""
  #refusal = ""
  #reasoning = ""

  /** Adds a whole message. */
  addMessage(message: Readonly<Record<string, unknown>>): void {
    this.#addText(message)
    this.#check(this.#calls.addWhole(message), message)
  }

  /** Adds a piece of a message and returns the text to show. */
  addDelta(delta: Readonly<Record<string, unknown>>): NewText {
    const added = this.#addText(delta)
    this.#check(this.#calls.addDelta(delta), delta)
    return added
  }

  /** Records what makes the answer unusable; the first reason wins. */
  refuse(what: string, raw: unknown): void {
    this.failure ??= malformed(what, textOf(raw))
  }

  result({ reasoningField, firstCallNumber = 1, toolNames }: OpenAiAnswerOptions): LlmResult {
    const refused = this.#refusal !== ""
    const terminalReason = reasonOf(this.finishReason, this.#calls.any, refused)
    // An answer that was cut off may end inside a call.
    const cutOff = terminalReason === "output_limit" || terminalReason === "content_filter"
    if (this.#calls.hasNameless && !cutOff) this.refuse("a tool call does not name a function", undefined)
    if (terminalReason === "provider_error") this.failure ??= brokenOff(this.finishReason ?? "")
    if (this.failure !== undefined) return { ok: false, error: this.failure }

    const texts = [this.#text, this.#refusal].filter((text) => text !== "")
    const parts: OutputPart[] = []
    if (this.#reasoning !== "") {
      parts.push({ type: "reasoning", text: this.#reasoning, ...(reasoningField !== undefined && { replay: { itemId: reasoningField } }) })
    }
    for (const text of texts) parts.push({ type: "text", text })
    for (const part of this.#calls.parts(firstCallNumber)) parts.push(ownName(part, toolNames))
    const diagnostic = diagnosticOf(terminalReason, this.finishReason, refused)
    const providerUsage = jsonOf(this.usage)
    return {
      ok: true,
      response: {
        text: texts.join("\n\n"),
        parts,
        usage: readUsage(this.usage),
        terminalReason,
        ...(diagnostic !== undefined && { terminalDiagnostic: diagnostic }),
        ...(providerUsage !== undefined && providerUsage !== null && { providerUsage }),
      },
    }
  }

  #addText(message: Readonly<Record<string, unknown>>): NewText {
    const content = readContent(message["content"])
    if (content === undefined) {
      this.refuse("its content is neither text nor a list of parts", message)
      return { text: "", reasoning: "" }
    }
    // Servers that send both fields send the same text in both.
    const reasoning = content.reasoning + (stringOf(message["reasoning_content"]) || stringOf(message["reasoning"]))
    const refusal = content.refusal + stringOf(message["refusal"])
    this.#text += content.text
    this.#refusal += refusal
    this.#reasoning += reasoning
    return { text: content.text + refusal, reasoning }
  }

  #check(wrong: string | undefined, raw: unknown): void {
    if (wrong !== undefined) this.refuse(wrong, raw)
  }
}

/** Returns a call under the name that its tool has here. */
function ownName(part: OutputPart, toolNames: OpenAiAnswerOptions["toolNames"]): OutputPart {
  const toolName = part.type === "tool_call" ? toolNames?.get(part.toolName) : undefined
  return toolName === undefined ? part : ({ ...part, toolName } as OutputPart)
}

/**
 * Returns why an answer ended. `stop` with calls is a tool use: llama.cpp and others send it, and so does OpenAI if the request
 * named the tool. A refusal ends the turn as the provider's content filter does, so that it is neither mistaken for the
 * requested answer nor retried. Its text is shown.
 */
function reasonOf(finishReason: string | undefined, hasCalls: boolean, refused: boolean): TerminalReason {
  switch (finishReason) {
    case "length":
    case "model_length": // Mistral
      return "output_limit"
    case "content_filter":
      return "content_filter"
    case "error": // OpenRouter
    case "insufficient_system_resource": // DeepSeek
      return "provider_error"
    case "stop":
      return refused ? "content_filter" : hasCalls ? "tool_use" : "stop"
    case "tool_calls":
    case "function_call":
      return refused ? "content_filter" : "tool_use"
    default:
      return refused ? "content_filter" : "unknown"
  }
}

function diagnosticOf(reason: TerminalReason, finishReason: string | undefined, refused: boolean): string | undefined {
  switch (reason) {
    case "output_limit":
      return "The answer was cut off at the limit of output tokens."
    case "content_filter":
      return refused ? "The model refused to answer." : "The provider's content filter cut the answer off."
    case "unknown":
      return finishReason === undefined ? undefined : `The provider ended the answer with the finish reason "${finishReason.slice(0, 100)}".`
    default:
      return undefined
  }
}

interface Content {
  text: string
  refusal: string
  reasoning: string
}

/** Reads a message's content: a text, or parts (Mistral sends its reasoning as `thinking` parts). `undefined`: neither. */
function readContent(content: unknown): Content | undefined {
  const read: Content = { text: "", refusal: "", reasoning: "" }
  if (content === undefined || content === null) return read
  if (typeof content === "string") return { ...read, text: content }
  if (!Array.isArray(content)) return undefined
  for (const part of content as readonly unknown[]) {
    if (!isRecord(part)) continue
    if (part["type"] === "text") read.text += stringOf(part["text"])
    if (part["type"] === "refusal") read.refusal += stringOf(part["refusal"])
    if (part["type"] === "thinking") read.reasoning += thoughts(part["thinking"])
  }
  return read
}

function thoughts(value: unknown): string {
  if (!Array.isArray(value)) return stringOf(value)
  return (value as readonly unknown[]).map((part) => (isRecord(part) ? stringOf(part["text"]) : "")).join("")
}

/**
 * Reads a provider's usage into our buckets. Figures that are missing, negative or not numbers count as 0.
 *
 * OpenAI includes cached tokens in `prompt_tokens` and reasoning in `completion_tokens`. Other providers do not, which only
 * their figures show: cached tokens above the prompt's are separate from it, and so is reasoning above the completion's, or
 * reasoning that `total_tokens` counts separately (xAI).
 * @see https://platform.openai.com/docs/api-reference/chat/object (2026-11)
 * @see https://docs.x.ai/docs/key-information/consumption-and-rate-limits (2026-11)
 * @see https://api-docs.deepseek.com/api/create-chat-completion (2026-11): `prompt_cache_hit_tokens`
 */
function readUsage(usage: unknown): TokenUsage {
  if (!isRecord(usage)) return { inputTokens: 0, cachedInputTokens: 0, outputTokens: 0, reasoningTokens: 0 }
  const prompt = count(usage["prompt_tokens"])
  const completion = count(usage["completion_tokens"])
  const total = count(usage["total_tokens"])
  const cached =
    count(detail(usage["prompt_tokens_details"], "cached_tokens")) || count(usage["prompt_cache_hit_tokens"]) || count(usage["cached_tokens"])
  const reasoning = count(detail(usage["completion_tokens_details"], "reasoning_tokens")) || count(usage["reasoning_tokens"])
  const isSeparate = reasoning > completion || (reasoning > 0 && total === prompt + completion + reasoning)
  return {
    inputTokens: cached > prompt ? prompt : prompt - cached,
    cachedInputTokens: cached,
    outputTokens: isSeparate ? count(completion + reasoning) : completion,
    reasoningTokens: reasoning,
  }
}

function detail(details: unknown, key: string): unknown {
  return isRecord(details) ? details[key] : undefined
}

function count(value: unknown): number {
  if (typeof value !== "number" || !Number.isFinite(value) || value < 0) return 0
  return Math.min(Math.round(value), Number.MAX_SAFE_INTEGER)
}
