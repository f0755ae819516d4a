import { NO_USAGE } from "../../machine/limits.ts"
import type { TurnEvent } from "../../wire/event.ts"
import type { LlmResponse, OutputPart, TerminalReason } from "../../wire/llm.ts"

/** Collects the text and the reasoning that a model call emits: what is left of an answer that never arrives. */
export class EmittedText {
  readonly #pieces: { readonly type: "text" | "reasoning"; text: string }[] = []

  add(event: TurnEvent): void {
    if (event.type !== "text_delta" && event.type !== "reasoning_delta") return
    const type = event.type === "text_delta" ? "text" : "reasoning"
    const last = this.#pieces.at(-1)
    if (last?.type === type) last.text += event.content
    else this.#pieces.push({ type, text: event.content })
  }

  /** The collected text as an answer; `undefined` if there is none. Its usage is unknown, so it is zero. */
  response(terminalReason: TerminalReason): LlmResponse | undefined {
    const parts: readonly OutputPart[] = this.#pieces.filter(({ text }) => text !== "").map(({ type, text }) => ({ type, text }))
    if (parts.length === 0) return undefined
    const text = parts.map((part) => (part.type === "text" ? part.text : "")).join("")
    return { text, parts, usage: NO_USAGE, terminalReason }
  }
}
