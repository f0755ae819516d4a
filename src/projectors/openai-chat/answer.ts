import type { LlmFailure, OutputPart, TerminalReason } from "../../schemas/llm.ts"
import type { LlmComplete } from "../../schemas/response.ts"
import { CallCollector } from "./calls.ts"
import { brokenOff, malformed } from "./failure.ts"
import type { ReasoningField } from "./request.ts"
import { readUsage } from "./usage.ts"
import { isRecord, jsonOf, stringOf, textOf } from "./values.ts"

/** What a model call came to: the same as `llm_complete.result`. */
export type LlmResult = LlmComplete["result"]

export interface OpenAiAnswerOptions {
  /** Set it as for the request: reasoning is then marked, so that the transcript keeps it to give it back. */
  readonly reasoningField?: ReasoningField
  /** Calls without an id of their own get `call_<n>`, counted from here. Default 1. */
  readonly firstCallNumber?: number
}

/** What is new in what a message says, for a user interface. */
export interface NewText {
  readonly text: string
  readonly reasoning: string
}

/** Collects an answer, whole or piece by piece; both ways come to the same result. Takes anything, and never throws. */
export class Answer {
  /** The last finish reason given. A content filter may still strike after a `stop` (Azure's asynchronous filter). */
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

  /** Adds a piece of a message, and returns what it adds to what is shown. */
  addDelta(delta: Readonly<Record<string, unknown>>): NewText {
    const added = this.#addText(delta)
    this.#check(this.#calls.addDelta(delta), delta)
    return added
  }

  /** Notes what makes the answer useless; the first reason stays. */
  refuse(what: string, raw: unknown): void {
    this.failure ??= malformed(what, textOf(raw))
  }

  result({ reasoningField, firstCallNumber = 1 }: OpenAiAnswerOptions): LlmResult {
    const refused = this.#refusal !== ""
    const terminalReason = reasonOf(this.finishReason, this.#calls.any, refused)
    // An answer that was cut off may end in the middle of a call.
    const cutOff = terminalReason === "output_limit" || terminalReason === "content_filter"
    if (this.#calls.hasNameless && !cutOff) this.refuse("a tool call names no function", undefined)
    if (terminalReason === "provider_error") this.failure ??= brokenOff(this.finishReason ?? "")
    if (this.failure !== undefined) return { ok: false, error: this.failure }

    const texts = [this.#text, this.#refusal].filter((text) => text !== "")
    const parts: OutputPart[] = []
    if (this.#reasoning !== "") {
      parts.push({ type: "reasoning", text: this.#reasoning, ...(reasoningField !== undefined && { replay: { itemId: reasoningField } }) })
    }
    for (const text of texts) parts.push({ type: "text", text })
    for (const part of this.#calls.parts(firstCallNumber)) parts.push(part)
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
    const said = readContent(message["content"])
    if (said === undefined) {
      this.refuse("its content is neither text nor a list of parts", message)
      return { text: "", reasoning: "" }
    }
    // Servers that send both fields send the same under both.
    const reasoning = said.reasoning + (stringOf(message["reasoning_content"]) || stringOf(message["reasoning"]))
    const refusal = said.refusal + stringOf(message["refusal"])
    this.#text += said.text
    this.#refusal += refusal
    this.#reasoning += reasoning
    return { text: said.text + refusal, reasoning }
  }

  #check(wrong: string | undefined, raw: unknown): void {
    if (wrong !== undefined) this.refuse(wrong, raw)
  }
}

/**
 * Why an answer ended. `stop` with calls means the calls: llama.cpp and others say so, and OpenAI where the request named
 * the tool. A refusal ends the turn like a content filter of the provider's, so that nobody takes it for the answer that was
 * asked for, or asks again; its text is shown.
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

/** A message's content: a text, or parts (Mistral sends its reasoning as `thinking` parts). `undefined`: neither. */
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
