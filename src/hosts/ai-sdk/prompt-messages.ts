import { NO_RESULT } from "../../text.ts"
import type { PromptMessage, ResultPart } from "./prompt-types.ts"

/** A call that waits for its result. */
interface OpenCall {
  readonly callId: string
  /** Its id and the name of its tool in the prompt. */
  readonly sentId: string
  readonly toolName: string
}

/**
 * The messages of a prompt, with exactly one result for each call, directly after it: providers refuse anything else. Messages that lie
 * between a call and its result follow the results. A call without a result before the next answer gets a note instead.
 */
export class PromptMessages {
  readonly #messages: PromptMessage[] = []
  #open: readonly OpenCall[] = []
  #results: ResultPart[] = []
  /** Messages that follow the results of the open calls. */
  #later: PromptMessage[] = []

  /** Whether nothing but system messages has come. */
  get isEmptyButSystem(): boolean {
    return this.#open.length === 0 && this.#messages.every(({ role }) => role === "system")
  }

  /** Adds an answer of the model with its calls. */
  addAnswer(message: PromptMessage, calls: readonly OpenCall[]): void {
    this.#close()
    this.#messages.push(message)
    this.#open = calls
  }

  /** Adds the result of an open call. Returns false if there is no such call. */
  addResult(callId: string, result: (sentId: string, toolName: string) => ResultPart): boolean {
    const call = this.#open.find((open) => open.callId === callId)
    if (call === undefined) return false
    this.#results.push(result(call.sentId, call.toolName))
    this.#open = this.#open.filter((open) => open !== call)
    return true
  }

  /** Adds any other message. */
  add(message: PromptMessage): void {
    if (this.#open.length > 0) this.#later.push(message)
    else {
      this.#close()
      this.#messages.push(message)
    }
  }

  /** Ends the prompt and returns its messages. */
  end(): readonly PromptMessage[] {
    this.#close()
    return this.#messages
  }

  #close(): void {
    for (const { sentId, toolName } of this.#open)
      this.#results.push({ type: "tool-result", toolCallId: sentId, toolName, output: { type: "error-text", value: NO_RESULT } })
    if (this.#results.length > 0) this.#messages.push({ role: "tool", content: this.#results })
    this.#open = []
    this.#results = []
    this.#messages.push(...this.#later)
    this.#later = []
  }
}
