import { NO_RESULT } from "../../text.ts"
import type { ResponsesItem, ResponsesResult } from "./body.ts"

/** A call that waits for its result. */
export interface OpenCall {
  readonly callId: string
  /** Its id on the wire. */
  readonly sentId: string
}

/**
 * The items of a request, with exactly one result for each call, directly after the answer that has it: endpoints refuse a call without
 * a result, and a result without a call. Items that lie between a call and its result follow the results. A call without a result before
 * the next answer gets a note instead.
 */
export class Conversation {
  readonly #items: ResponsesItem[] = []
  /** The unanswered calls of the last answer. */
  #open: readonly OpenCall[] = []
  /** Items that follow the results of the open calls. */
  #later: ResponsesItem[] = []

  /** Adds an answer of the model with its calls. */
  addAnswer(items: readonly ResponsesItem[], calls: readonly OpenCall[]): void {
    if (items.length === 0) return
    this.#close()
    this.#items.push(...items)
    this.#open = calls
  }

  /** Adds the result of an open call. Returns false if there is no such call. */
  addResult(callId: string, output: ResponsesResult["output"]): boolean {
    const call = this.#open.find((open) => open.callId === callId)
    if (call === undefined) return false
    this.#items.push(resultOf(call, output))
    this.#open = this.#open.filter((open) => open !== call)
    return true
  }

  /** Adds any other item. */
  add(item: ResponsesItem): void {
    if (this.#open.length > 0) this.#later.push(item)
    else {
      this.#close()
      this.#items.push(item)
    }
  }

  /** Ends the conversation and returns its items. */
  end(): readonly ResponsesItem[] {
    this.#close()
    return this.#items
  }

  #close(): void {
    for (const call of this.#open) this.#items.push(resultOf(call, NO_RESULT))
    this.#open = []
    for (const item of this.#later) this.#items.push(item)
    this.#later = []
  }
}

function resultOf({ sentId }: OpenCall, output: ResponsesResult["output"]): ResponsesResult {
  return { type: "function_call_output", call_id: sentId, output }
}
