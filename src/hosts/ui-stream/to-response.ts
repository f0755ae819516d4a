import type { PlacedChunk, UiDataChunk, UiStreamOptions } from "../../projectors/ui-stream/index.ts"
import type { ThreadEvent } from "../../wire/thread-event.ts"
import { onAbort, timerMs } from "../timers.ts"
import { type Selector, selectorOf, type UiSelection } from "./select.ts"

/** Where the events of a thread come from: a `Thread`, or `{ events: (options) => threadEvents(store, id, …) }` for a thread of another process. */
export interface UiEventSource {
  events(options: { readonly after?: string; readonly signal?: AbortSignal; readonly live?: boolean }): AsyncIterable<ThreadEvent>
  /**
   * Returns the cursor before a turn, by its id; before the last one without an id; `undefined` if there is no such turn. Absent: each response
   * reads the thread from its beginning.
   */
  turnCursor?(turnId?: string): Promise<string | undefined>
}

/** Options of {@link toResponse}. */
export interface UiResponseOptions extends UiStreamOptions {
  /** Default: `{ type: "open" }`. */
  readonly select?: UiSelection
  /** The request's signal. Aborting it ends the stream, and stops nothing else. */
  readonly signal?: AbortSignal
  /**
   * The run that works on the answer: `runThread(thread, host)`. If it rejects, the stream ends with an `error` chunk: without this option, a client
   * would wait for a turn that nothing runs. `onError` receives the error, also after the end of the stream.
   */
  readonly run?: PromiseLike<unknown>
  /** Called once if the client leaves before the end of the stream: `() => void thread.interrupt()` cancels the turn on disconnect. */
  readonly onDisconnect?: () => void
  /** Further headers. */
  readonly headers?: HeadersInit
  /** Sends a comment after so many milliseconds without a chunk, so that proxies do not close the connection. Default 15,000; 0: never. */
  readonly heartbeatMs?: number
  /**
   * Further data of the page's own, such as the items of a checklist: sent at the beginning, and each time they have changed when something else is sent. They are
   * transient: a page receives them by `onData`.
   */
  readonly data?: () => readonly UiDataChunk[]
  /** Called with an error that ended the stream, or the run. The client receives an `error` chunk without its text. */
  readonly onError?: (error: unknown) => void
}

const HEADERS = {
  "content-type": "text/event-stream; charset=utf-8",
  "cache-control": "no-cache, no-transform",
  // Without it, Nginx collects a response before it sends it.
  "x-accel-buffering": "no",
  "x-vercel-ai-ui-message-stream": "v1",
} as const

/**
 * Answers a request of `useChat` with a part of a thread as a UI message stream: server-sent events, with the header
 * `x-vercel-ai-ui-message-stream: v1`, each with a cursor as its id, and `[DONE]` at the end.
 *
 * The stream ends with the turn, or where the turn waits for the page. If the thread closes before, it ends without `[DONE]`, so that
 * {@link resumingFetch} connects again. It is read as fast as the client reads it.
 *
 * Resolves when what is recorded was read. With nothing to send, the response to `open` and `after` has the status 204, which `useChat` understands, and
 * any other one is an empty stream.
 * @throws {ThreadCursorError} the cursor is not one of this thread
 * @throws {JournalError | JournalStoreError} the records cannot be read
 */
export async function toResponse(source: UiEventSource, options: UiResponseOptions = {}): Promise<Response> {
  const { select = { type: "open" }, headers } = options
  const failed = options.run && failureOf(options.run, options.onError)
  const turn = await source.turnCursor?.(select.type === "continued" ? select.turnId : undefined)
  let selector = selectorOf(select, options, turn)
  // There is no such turn.
  const isNone = source.turnCursor !== undefined && turn === undefined && (select.type === "continued" || select.type === "open")
  let recorded = isNone ? NOTHING : await readRecorded(source, selector, options.signal)
  if (selector.isBefore === true) {
    selector = selectorOf(select, options)
    recorded = await readRecorded(source, selector, options.signal)
  }
  const isEmpty = recorded.chunks.length === 0 && recorded.isOver
  const all = new Headers(headers)
  if (isEmpty && (select.type === "open" || select.type === "after")) return new Response(null, { status: 204, headers: all })
  for (const [name, value] of Object.entries(HEADERS)) all.set(name, value)
  return new Response(new UiBody(source, selector, recorded, { ...options, failed }).stream, { headers: all })
}

const FAILED = Symbol("the run failed")

/** Reports that the run rejects, and then resolves. Called before anything is awaited, because nothing else may handle the rejection. */
function failureOf(run: PromiseLike<unknown>, onError: UiResponseOptions["onError"]): Promise<typeof FAILED> {
  return new Promise((resolve) => {
    run.then(undefined, (error: unknown) => {
      resolve(FAILED)
      onError?.(error)
    })
  })
}

/** What was recorded when a request came. */
interface Recorded {
  readonly chunks: readonly PlacedChunk[]
  readonly isOver: boolean
  /** The thread's cursor after it. */
  readonly after: string | undefined
}

const NOTHING: Recorded = { chunks: [], isOver: true, after: undefined }

async function readRecorded(source: UiEventSource, selector: Selector, signal: AbortSignal | undefined): Promise<Recorded> {
  let { after } = selector
  const chunks: PlacedChunk[] = []
  const given = { ...(signal !== undefined && { signal }), live: false }
  for await (const event of source.events({ ...given, ...(after !== undefined && { after }) })) {
    if ("cursor" in event) after = event.cursor
    chunks.push(...selector.next(event))
    if (selector.isOver) return { chunks, isOver: true, after }
  }
  const more = selector.caughtUp()
  chunks.push(...(more ?? []))
  return { chunks, isOver: more === undefined, after }
}

interface BodyOptions extends UiResponseOptions {
  /** Resolves if the run rejects. */
  readonly failed: Promise<typeof FAILED> | undefined
}

/** The body of a response: what is recorded, then what comes. */
class UiBody {
  readonly stream: ReadableStream<Uint8Array>
  readonly #options: BodyOptions
  readonly #selector: Selector
  readonly #encoder = new TextEncoder()
  readonly #stop = new AbortController()
  readonly #events: AsyncIterator<ThreadEvent>
  #next: Promise<IteratorResult<ThreadEvent>> | undefined
  #waiting: readonly PlacedChunk[]
  /** `over`: the last chunk was taken. `broken`: the thread has closed before. */
  #state: "open" | "over" | "broken"
  #hasEnded = false
  #hasFailed = false
  /** Ends the wait for the next event after the run failed. */
  #leave: () => void = () => {}
  #data = "[]"
  readonly #forget: () => void

  constructor(source: UiEventSource, selector: Selector, { chunks, isOver, after }: Recorded, options: BodyOptions) {
    this.#options = options
    void options.failed?.then(() => {
      this.#hasFailed = true
      this.#leave()
    })
    this.#selector = selector
    this.#waiting = chunks
    this.#state = isOver ? "over" : "open"
    const { signal } = this.#stop
    this.#events = source.events({ signal, live: true, ...(after !== undefined && { after }) })[Symbol.asyncIterator]()
    this.#forget = onAbort(options.signal, () => this.#disconnect())
    // Without a queue of its own, the stream asks for a chunk when the client has read the one before.
    this.stream = new ReadableStream<Uint8Array>(
      { pull: (controller) => this.#pull(controller), cancel: () => this.#disconnect() },
      { highWaterMark: 0 },
    )
  }

  async #pull(controller: ReadableStreamDefaultController<Uint8Array>): Promise<void> {
    try {
      const text = await this.#text()
      if (text !== "") controller.enqueue(this.#encoder.encode(text))
    } catch (error) {
      this.#options.onError?.(error)
      this.#state = "over"
      controller.enqueue(this.#encoder.encode(FAILURE))
    }
    if (this.#state === "open") return
    this.#end()
    controller.close()
  }

  /** What is sent next. It waits for it, but not longer than the heartbeat allows. */
  async #text(): Promise<string> {
    while (this.#waiting.length === 0 && this.#state === "open") {
      this.#next ??= this.#events.next()
      const { heartbeatMs = 15_000 } = this.#options
      const result = await inTime(this.#orFailed(this.#next), heartbeatMs)
      if (this.#hasEnded) {
        this.#state = "broken"
        return ""
      }
      if (result === FAILED) {
        this.#state = "over"
        return FAILURE
      }
      if (result === undefined) return `: still here\n\n${this.#changedData()}`
      this.#next = undefined
      if (result.done === true) this.#state = "broken"
      else this.#waiting = this.#selector.next(result.value)
      if (this.#selector.isOver) this.#state = "over"
    }
    const chunks = this.#waiting.map(({ chunk, cursor }) => frame(chunk, cursor)).join("")
    this.#waiting = []
    return `${this.#changedData()}${chunks}${this.#state === "over" ? DONE : ""}`
  }

  /** Not a race, which would leave a reaction at the promise of the run for each piece of a long answer. */
  #orFailed<Result>(next: Promise<Result>): Promise<Result | typeof FAILED> {
    if (this.#hasFailed) return Promise.resolve(FAILED)
    return new Promise((resolve, reject) => {
      this.#leave = () => resolve(FAILED)
      next.then(resolve, reject)
    })
  }

  #changedData(): string {
    const data = this.#options.data?.() ?? []
    const text = JSON.stringify(data)
    if (text === this.#data) return ""
    this.#data = text
    return data.map((chunk) => frame({ ...chunk, transient: true })).join("")
  }

  #disconnect(): void {
    if (this.#hasEnded) return
    this.#end()
    this.#options.onDisconnect?.()
  }

  #end(): void {
    if (this.#hasEnded) return
    this.#hasEnded = true
    this.#forget()
    this.#stop.abort()
    this.#next?.catch(() => {})
    // It ends with its signal; a source that ignores the signal ends here.
    this.#events.return?.()?.catch(() => {})
  }
}

const DONE = "data: [DONE]\n\n"
const FAILURE = `${frame({ type: "error", errorText: "The stream failed." })}${DONE}`

function frame(chunk: object, cursor = ""): string {
  return `${cursor === "" ? "" : `id: ${cursor}\n`}data: ${JSON.stringify(chunk)}\n\n`
}

/** The result of the work; `undefined` if it takes longer. */
async function inTime<Result>(work: Promise<Result>, ms: number): Promise<Result | undefined> {
  if (ms <= 0) return work
  let timer: ReturnType<typeof setTimeout> | undefined
  const late = new Promise<undefined>((resolve) => {
    timer = setTimeout(() => resolve(undefined), timerMs(ms))
  })
  return Promise.race([work, late]).finally(() => clearTimeout(timer))
}

/** Returns the cursor that a client continues from: the header `Last-Event-ID`, or the query parameter `after`. */
export function lastCursor(request: Request): string | undefined {
  const header = request.headers.get("last-event-id")
  if (header !== null && header !== "") return header
  const after = new URL(request.url).searchParams.get("after")
  return after === null || after === "" ? undefined : after
}
