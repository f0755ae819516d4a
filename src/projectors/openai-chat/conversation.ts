import { NO_RESULT } from "../../text.ts"
import type { OpenAiMessage } from "./body.ts"

/** A call that waits for its result. */
interface OpenCall {
  readonly callId: string
  /** Its id on the wire. */
  readonly sentId: string
}

/**
 * The messages of a request, with exactly one result for each call, directly after it: endpoints refuse anything else. Messages
 * that lie between a call and its result follow the results. A call without a result before the next answer gets a note instead.
 */
export class Conversation {
  readonly #messages: OpenAiMessage[] = []
  /** The unanswered calls of the last answer. */
  #open: readonly OpenCall[] = []
  /** Messages that follow the results of the open calls. */
  #later: OpenAiMessage[] = []

  /** Adds an answer of the model with its calls. */
  addAnswer(message: OpenAiMessage, calls: readonly OpenCall[]): void {
    this.#close()
    this.#messages.push(message)
    this.#open = calls
  }

  /** Adds the result of an open call. Returns false if there is no such call. */
  addResult(callId: string, content: string): boolean {
    const call = this.#open.find((open) => open.callId === callId)
    if (call === undefined) return false
    this.#messages.push({ role: "tool", tool_call_id: call.sentId, content })
    this.#open = this.#open.filter((open) => open !== call)
    return true
  }

  /** Adds any other message. */
  add(message: OpenAiMessage): void {
    if (this.#open.length > 0) this.#later.push(message)
    else {
      this.#close()
      this.#messages.push(message)
    }
  }

  /** Ends the conversation and returns its messages. */
  end(): readonly OpenAiMessage[] {
    this.#close()
    return this.#messages
  }

  #close(): void {
    for (const { sentId } of this.#open) this.#messages.push({ role: "tool", tool_call_id: sentId, content: NO_RESULT })
    this.#open = []
    for (const message of this.#later) this.#messages.push(message)
    this.#later = []
  }
}
