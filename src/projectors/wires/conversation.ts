/** A call that waits for its result. */
export interface OpenCall {
  readonly callId: string
  /** Its id on the wire. */
  readonly sentId: string
}

/**
 * The messages of a request, with exactly one result for each call, directly after the answer that has it: endpoints refuse a call without
 * a result, and a result without a call. Messages that lie between a call and its result follow the results. A call without a result before
 * the next answer gets a note instead.
 */
export class Conversation<Message, Content> {
  readonly #messages: Message[] = []
  readonly #resultOf: (sentId: string, content: Content) => Message
  readonly #note: Content
  /** The unanswered calls of the last answer. */
  #open: readonly OpenCall[] = []
  /** Messages that follow the results of the open calls. */
  #later: Message[] = []

  /**
   * @param resultOf makes the message of a result
   * @param note the result of a call that has none
   */
  constructor(resultOf: (sentId: string, content: Content) => Message, note: Content) {
    this.#resultOf = resultOf
    this.#note = note
  }

  /** Adds an answer of the model with its calls. */
  addAnswer(messages: readonly Message[], calls: readonly OpenCall[]): void {
    this.#close()
    this.#messages.push(...messages)
    this.#open = calls
  }

  /** Adds the result of an open call. Returns false if there is no such call. */
  addResult(callId: string, content: Content): boolean {
    const call = this.#open.find((open) => open.callId === callId)
    if (call === undefined) return false
    this.#messages.push(this.#resultOf(call.sentId, content))
    this.#open = this.#open.filter((open) => open !== call)
    return true
  }

  /** Adds any other message. */
  add(message: Message): void {
    if (this.#open.length > 0) this.#later.push(message)
    else {
      this.#close()
      this.#messages.push(message)
    }
  }

  /** Ends the conversation and returns its messages. */
  end(): readonly Message[] {
    this.#close()
    return this.#messages
  }

  #close(): void {
    for (const { sentId } of this.#open) this.#messages.push(this.#resultOf(sentId, this.#note))
    this.#open = []
    for (const message of this.#later) this.#messages.push(message)
    this.#later = []
  }
}
