import { type PlacedChunk, ResumedUiStream, UiStream, type UiStreamOptions } from "../../projectors/ui-stream/index.ts"
import { ThreadCursorError } from "../../replay/thread-cursor.ts"
import type { ThreadEvent } from "../../wire/thread-event.ts"

/** Which part of a thread a response has. */
export type UiSelection =
  /** The turn that receives an input, from its beginning: the answer to a message. `inputId` is that of the receipt of `thread.say`. */
  | { readonly type: "input"; readonly inputId: string }
  /** A turn from where it continued after approvals (`requestIds`), or after results of the page's tools (`callIds`): the answer to them. */
  | { readonly type: "continued"; readonly turnId: string; readonly requestIds?: readonly string[]; readonly callIds?: readonly string[] }
  /** What follows a cursor: the answer to a client that lost its connection. */
  | { readonly type: "after"; readonly cursor: string }
  /** The running turn from its beginning: the answer to a page that was loaded. */
  | { readonly type: "open" }

/** Chooses the chunks of one response. */
export interface Selector {
  /** The thread's cursor from which the events are read. */
  readonly after: string | undefined
  /** The chunks to send after this event. */
  next(event: ThreadEvent): readonly PlacedChunk[]
  /** Whether what is selected can only be before the place from which it read. */
  readonly isBefore?: boolean
  /** Whether the response is complete. */
  readonly isOver: boolean
  /** All that is recorded was read. Returns the chunks to send before those that come; `undefined`: no more chunks will come. */
  caughtUp(): readonly PlacedChunk[] | undefined
}

/**
 * @param turn the thread's cursor before the turn that is probably selected. Default: the beginning of the thread
 * @throws {ThreadCursorError} `invalid_cursor`
 */
export function selectorOf(select: UiSelection, options: UiStreamOptions, turn?: string): Selector {
  switch (select.type) {
    case "input":
      return new InputSelector(select.inputId, options, turn)
    case "continued":
      return new ContinuedSelector(select, options, turn)
    case "after":
      return new AfterSelector(select.cursor, options)
    case "open":
      return new OpenSelector(options, turn)
  }
}

/** Keeps the chunks of the open turn until it is known whether they are sent. */
class TurnChunks {
  readonly stream: UiStream
  #chunks: PlacedChunk[] | undefined = []

  constructor(options: UiStreamOptions, after: string | undefined) {
    this.stream = new UiStream(options, after)
  }

  next(event: ThreadEvent): readonly PlacedChunk[] {
    const added = this.stream.next(event)
    if (this.#chunks !== undefined && event.type === "turn_started") this.#chunks = [...added]
    else this.#chunks?.push(...added)
    return added
  }

  /** Returns those that were kept. No more are kept from now on. */
  take(): readonly PlacedChunk[] {
    const chunks = this.#chunks ?? []
    this.#chunks = undefined
    return chunks
  }
}

class OpenSelector implements Selector {
  readonly after: string | undefined
  isOver = false
  readonly #turn: TurnChunks
  #isSelected = false

  constructor(options: UiStreamOptions, after: string | undefined) {
    this.after = after
    this.#turn = new TurnChunks(options, after)
  }

  next(event: ThreadEvent): readonly PlacedChunk[] {
    const chunks = this.#turn.next(event)
    if (!this.#isSelected) return []
    this.isOver = hasLast(chunks)
    return chunks
  }

  caughtUp(): readonly PlacedChunk[] | undefined {
    this.#isSelected = true
    const chunks = this.#turn.take()
    return this.#turn.stream.status === "running" ? chunks : undefined
  }
}

class InputSelector implements Selector {
  readonly after: string | undefined
  isOver = false
  readonly #inputId: string
  readonly #turn: TurnChunks
  #state: "unknown" | "queued" | "received" | "retracted" = "unknown"

  constructor(inputId: string, options: UiStreamOptions, after: string | undefined) {
    this.after = after
    this.#inputId = inputId
    this.#turn = new TurnChunks(options, after)
  }

  get isBefore(): boolean {
    return this.after !== undefined && this.#state === "unknown"
  }

  next(event: ThreadEvent): readonly PlacedChunk[] {
    const added = this.#turn.next(event)
    if (this.#state === "received") return this.#sent(added, added)
    if (event.type === "input_queued" && event.inputId === this.#inputId) this.#state = "queued"
    if (event.type === "input_retracted" && event.inputId === this.#inputId) {
      this.#state = "retracted"
      this.isOver = true
    }
    if (event.type !== "message" || event.turnId === undefined || event.message.id !== this.#inputId) return []
    this.#state = "received"
    return this.#sent(this.#turn.take(), added)
  }

  caughtUp(): readonly PlacedChunk[] | undefined {
    return this.#state === "queued" || this.#state === "received" ? [] : undefined
  }

  #sent(chunks: readonly PlacedChunk[], added: readonly PlacedChunk[]): readonly PlacedChunk[] {
    this.isOver = hasLast(added)
    return chunks
  }
}

class ContinuedSelector implements Selector {
  readonly after: string | undefined
  isOver = false
  readonly #turnId: string
  readonly #awaited: Set<string>
  readonly #stream: UiStream
  #isOpen = false

  constructor(
    { turnId, requestIds = [], callIds = [] }: Extract<UiSelection, { type: "continued" }>,
    options: UiStreamOptions,
    after: string | undefined,
  ) {
    this.after = after
    this.#turnId = turnId
    this.#awaited = new Set([...requestIds.map((id) => `request ${id}`), ...callIds.map((id) => `call ${id}`)])
    this.#stream = new UiStream(options, after)
  }

  next(event: ThreadEvent): readonly PlacedChunk[] {
    const chunks = this.#stream.next(event)
    if (!("turnId" in event) || event.turnId !== this.#turnId) return []
    const isFirst = !this.#isOpen && this.#isAwaited(event)
    if (isFirst) this.#isOpen = true
    if (!this.#isOpen) return []
    // A leg that ends before all were decided is not the end: the rest of the request belongs to the next one.
    this.isOver = event.type === "turn_ended" || (hasLast(chunks) && this.#awaited.size === 0)
    // Another client may have continued the turn before.
    if (!isFirst || chunks[0]?.chunk.type === "start") return chunks
    return [{ chunk: { type: "start", messageId: this.#turnId }, cursor: "" }, ...chunks]
  }

  caughtUp(): readonly PlacedChunk[] | undefined {
    // What is not recorded by now was refused.
    this.#awaited.clear()
    return this.#isOpen && this.#stream.turnId === this.#turnId && this.#stream.status === "running" ? [] : undefined
  }

  #isAwaited(event: ThreadEvent): boolean {
    if (event.type === "approval_decided") return this.#awaited.delete(`request ${event.requestId}`)
    return event.type === "tool_call_ended" && this.#awaited.delete(`call ${event.callId}`)
  }
}

class AfterSelector implements Selector {
  readonly after: string | undefined
  isOver = false
  readonly #resumed: ResumedUiStream

  constructor(cursor: string, options: UiStreamOptions) {
    const resumed = ResumedUiStream.of(cursor, options)
    if (resumed === undefined)
      throw new ThreadCursorError("invalid_cursor", `Not a cursor of a UI stream: ${JSON.stringify(cursor)}. Pass the id of a server-sent event.`)
    this.#resumed = resumed
    this.after = resumed.after
  }

  next(event: ThreadEvent): readonly PlacedChunk[] {
    const chunks = this.#resumed.unseen(this.#resumed.stream.next(event))
    this.isOver = hasLast(chunks)
    return chunks
  }

  caughtUp(): readonly PlacedChunk[] | undefined {
    return this.#resumed.stream.status === "running" ? [] : undefined
  }
}

function hasLast(chunks: readonly PlacedChunk[]): boolean {
  return chunks.some(({ isLast }) => isLast === true)
}
