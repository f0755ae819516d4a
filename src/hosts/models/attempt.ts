import { isJsonStart } from "../../json-fault.ts"
import { type HttpFacts, malformed, truncated } from "../../projectors/wires/failure.ts"
import type { LlmResult, WireStream } from "../../projectors/wires/wire.ts"
import type { LlmFailure } from "../../wire/llm.ts"
import { type EffectContext, LlmCallError } from "../host.ts"
import { onAbort, timerMs } from "../timers.ts"
import { AnswerBody } from "./answer-body.ts"
import { CANCELLED, notBegun, reasonOf, redirected, timedOut, tooLarge, unreachable } from "./network-failures.ts"
import { AbortableWait, orAborted, retryAfterMs } from "./retry.ts"
import type { SseEvent } from "./sse.ts"
import { StreamTimers, type StreamTimes } from "./stream-timers.ts"

/** An endpoint, and the limits of every request to it. */
export interface Endpoint extends StreamTimes {
  readonly url: URL
  /** Whether a streamed answer is asked for. */
  readonly stream: boolean
  readonly headers: Headers
  readonly fetch: typeof fetch
  /** Milliseconds for one attempt. */
  readonly timeoutMs: number
  /** Milliseconds until the first byte of the answer. */
  readonly firstByteTimeoutMs: number
  readonly maxBodyBytes: number
  readonly now: () => number
  /** Removes secrets from a text. It has to see the whole text: of a secret that is cut off, a part would stay. */
  readonly redact: (text: string) => string
}

/** How the answer to one request is read: a wire, with what the host knows bound to it. */
export interface AnswerReader {
  decode(body: unknown): LlmResult
  stream(): WireStream
  failure(status: number, body: string, facts?: HttpFacts): LlmFailure
}

/** The result of one request. */
export interface Attempt {
  readonly result: LlmResult
  /** The endpoint's id of the request, for its support. */
  readonly requestId?: string
}

/** How many bytes are read of the answer to a refused request. */
const MAX_ERROR_BYTES = 64 * 1024

/** How many bytes more are read to recognize a secret at the end of them. */
const CUT_MARGIN = 16 * 1024

/**
 * Sends one request and reads its answer, streamed or whole. A failure, timeout or abort is returned as a result, with what was said
 * before it. A timeout after the finish reason is the end of the answer.
 */
export async function attempt(endpoint: Endpoint, body: string, reader: AnswerReader, context: EffectContext): Promise<Attempt> {
  const controller = new AbortController()
  const stop = (failure: LlmFailure): void => controller.abort(new LlmCallError(failure))
  const timer = setTimeout(() => stop(timedOut(endpoint.timeoutMs)), timerMs(endpoint.timeoutMs))
  const stopWaiting = onAbort(context.signal, () => stop(CANCELLED))
  const firstByte = setTimeout(() => stop(notBegun(endpoint.firstByteTimeoutMs)), timerMs(endpoint.firstByteTimeoutMs))
  const request = new OneRequest(endpoint, reader, context, controller.signal, stop, () => clearTimeout(firstByte))
  try {
    return withId(await request.run(body), request.id)
  } catch (error) {
    if (!(error instanceof LlmCallError)) throw error
    return withId(request.cutOff(error.failure), request.id)
  } finally {
    clearTimeout(timer)
    clearTimeout(firstByte)
    stopWaiting()
    controller.abort()
  }
}

function withId(result: LlmResult, requestId: string | undefined): Attempt {
  return requestId === undefined ? { result } : { result, requestId }
}

function portOf({ port, protocol }: URL): number {
  return port === "" ? (protocol === "http:" ? 80 : 443) : Number(port)
}

class OneRequest {
  /** The endpoint's id of the request, once the answer has begun. */
  id: string | undefined
  readonly #endpoint: Endpoint
  readonly #reader: AnswerReader
  readonly #context: EffectContext
  readonly #signal: AbortSignal
  readonly #stop: (failure: LlmFailure) => void
  readonly #onFirstByte: () => void
  #body: AnswerBody | undefined
  #stream: WireStream | undefined

  constructor(
    endpoint: Endpoint,
    reader: AnswerReader,
    context: EffectContext,
    signal: AbortSignal,
    stop: (failure: LlmFailure) => void,
    onFirstByte: () => void,
  ) {
    this.#onFirstByte = onFirstByte
    this.#endpoint = endpoint
    this.#reader = reader
    this.#context = context
    this.#signal = signal
    this.#stop = stop
  }

  async run(body: string): Promise<LlmResult> {
    const { stream, url } = this.#endpoint
    this.#context.sent?.({ stream, address: url.hostname, port: portOf(url) })
    const response = await this.#network(orAborted(this.#fetch(body), this.#signal))
    this.id = response.headers.get("x-request-id") ?? response.headers.get("request-id") ?? undefined
    return this.#read(response, this.#endpoint.now())
  }

  /** Returns the result of a request that was stopped. */
  cutOff(failure: LlmFailure): LlmResult {
    const isCancelled = failure.kind === "cancelled" || this.#context.signal.aborted
    const done = !isCancelled && this.#body !== undefined && this.#pushAll(this.#body.end(), false)
    const stream = this.#stream
    if (stream === undefined) return { ok: false, error: failure }
    return !isCancelled && (done || stream.complete) ? stream.finish(done) : stream.cutOff(failure)
  }

  async #read(response: Response, nowMs: number): Promise<LlmResult> {
    const { status, type } = response
    if (type === "opaqueredirect" || (status >= 300 && status < 400)) return { ok: false, error: redirected(response, this.#endpoint.redact) }
    if (response.ok) return this.#readAnswer(response)
    const text = await this.#readError(response)
    const shouldRetry = response.headers.get("x-should-retry")
    const askedMs = retryAfterMs(response.headers, nowMs)
    const facts: HttpFacts = {
      nowMs,
      ...(askedMs !== undefined && { retryAfterMs: askedMs }),
      ...((shouldRetry === "true" || shouldRetry === "false") && { shouldRetry: shouldRetry === "true" }),
    }
    return { ok: false, error: this.#reader.failure(status, text, facts) }
  }

  /** Reads an answer by what it looks like: a stream of events, or JSON. The content type is often wrong. */
  async #readAnswer(response: Response): Promise<LlmResult> {
    const { maxBodyBytes } = this.#endpoint
    const declared = response.headers.get("content-type")?.includes("text/event-stream") === true
    const body = new AnswerBody(declared)
    this.#body = body
    const timers = new StreamTimers(this.#endpoint, this.#stop)
    let size = 0
    let done = false
    let lost: string | undefined
    try {
      if (declared) timers.start()
      await this.#readBody(response, (bytes) => {
        const allowed = bytes.subarray(0, maxBodyBytes - size)
        size += bytes.byteLength
        done = this.#pushAll(body.push(allowed), true)
        if (body.isStream) timers.onBytes(this.#stream)
        return !done && this.#stream?.failed !== true && size <= maxBodyBytes
      })
    } catch (error) {
      if (!(error instanceof ConnectionLost)) throw error
      lost = error.message
    } finally {
      timers.stop()
    }
    const ended = done || this.#stream?.failed === true
    if (!ended && size > maxBodyBytes) return this.cutOff(tooLarge(maxBodyBytes))
    if (!ended) done = this.#pushAll(body.end(), false)
    const text = body.isStream ? body.text?.replace(/^(?:event|id|retry)?:.*$/gm, "") : body.text
    if (text !== undefined && text.trim() !== "") return lost === undefined ? this.#readWhole(text) : { ok: false, error: truncated(lost) }
    if (text !== undefined && !declared)
      return { ok: false, error: lost === undefined ? { ...malformed("it is empty"), retryable: true } : truncated(lost) }
    this.#stream ??= this.#reader.stream()
    // An answer with its finish reason is complete; at most the usage is lost.
    return lost === undefined || this.#stream.failed || this.#stream.complete ? this.#stream.finish(done) : this.#stream.cutOff(truncated(lost))
  }

  #readWhole(text: string): LlmResult {
    const { redact } = this.#endpoint
    if (text.trimStart().startsWith("<")) return { ok: false, error: malformed("it is a page, not JSON; check the base URL", text, redact) }
    const body = parse(text)
    if (body === undefined) return { ok: false, error: isCutOff(text) ? truncated() : malformed("it is not JSON; check the base URL", text, redact) }
    return this.#reader.decode(body)
  }

  /**
   * Reads events and emits what they add. Returns whether the endpoint said that the stream has ended.
   * @param complete false if the last event may be cut off
   */
  #pushAll(events: readonly SseEvent[], complete: boolean): boolean {
    for (const { event, data } of events) {
      const whole = data.trim()
      const parsed = parse(whole)
      // Some servers put only one newline between events, so that their data is joined.
      const texts = parsed === undefined && whole.includes("\n") ? whole.split("\n").map((line) => line.trim()) : [whole]
      for (const [index, text] of texts.entries()) {
        if (text === "") continue
        const value = texts.length === 1 ? parsed : parse(text)
        if (text === "[DONE]" || value === "[DONE]") return true
        if (value === undefined && !complete && index === texts.length - 1) continue
        this.#push(event === "error" && !hasError(value) ? { error: value ?? text } : (value ?? text))
        if (this.#stream?.failed) return false
      }
    }
    return false
  }

  #push(chunk: unknown): void {
    this.#stream ??= this.#reader.stream()
    this.#throwIfCancelled()
    this.#context.received?.()
    for (const added of this.#stream.push(chunk)) {
      this.#throwIfCancelled()
      this.#context.emit(added)
    }
  }

  #throwIfCancelled(): void {
    if (this.#context.signal.aborted) throw this.#signal.reason
  }

  /** Reads the body of a refused request, or the start of it, without secrets. */
  async #readError(response: Response): Promise<string> {
    const limit = MAX_ERROR_BYTES + CUT_MARGIN
    const decoder = new TextDecoder()
    let text = ""
    let size = 0
    try {
      await this.#readBody(response, (bytes) => {
        text += decoder.decode(bytes.subarray(0, limit - size), { stream: true })
        size += bytes.byteLength
        return size <= limit
      })
    } catch (error) {
      if (!(error instanceof ConnectionLost)) throw error
    }
    const { redact } = this.#endpoint
    text += decoder.decode()
    if (size <= limit) return redact(text)
    return sharedStart(redact(text), redact(text.slice(0, Math.max(0, Math.min(MAX_ERROR_BYTES, text.length - CUT_MARGIN)))))
  }

  /** Passes the body's bytes to `onBytes` as they arrive, until it returns false. */
  async #readBody(response: Response, onBytes: (bytes: Uint8Array) => boolean): Promise<void> {
    const reader = response.body?.getReader()
    if (reader === undefined) return
    const wait = new AbortableWait(this.#signal)
    try {
      for (;;) {
        const { done, value } = await this.#network(wait.for(reader.read()), true)
        this.#onFirstByte()
        if (done || !onBytes(value)) return
      }
    } finally {
      wait.end()
      reader.cancel().catch(() => undefined)
    }
  }

  async #fetch(body: string): Promise<Response> {
    const { url, headers } = this.#endpoint
    // Following a redirect would send the headers, and so the key, to another address.
    return this.#endpoint.fetch(url.href, { method: "POST", headers, body, signal: this.#signal, redirect: "manual" })
  }

  /** Names what went wrong on the way. */
  async #network<Value>(work: Promise<Value>, connected = false): Promise<Value> {
    try {
      return await work
    } catch (error) {
      if (this.#signal.aborted) throw this.#signal.reason
      const reason = reasonOf(error, this.#endpoint.redact)
      if (connected) throw new ConnectionLost(reason)
      throw new LlmCallError(unreachable(this.#endpoint.url, reason))
    }
  }
}

/** The connection broke while the answer was read. */
class ConnectionLost extends Error {}

/** The start that two texts have in common. A secret that is cut off in one of them is not in it. */
function sharedStart(one: string, other: string): string {
  let length = 0
  while (length < other.length && one.charCodeAt(length) === other.charCodeAt(length)) length += 1
  return one.slice(0, length)
}

/**
 * Whether a text is the beginning of a JSON object, or of the first field of a stream: a proxy may end a body that its server did not end as if
 * it were whole.
 */
function isCutOff(text: string): boolean {
  const start = text.trimStart()
  return start.startsWith("{") ? isJsonStart(start) : FIRST_FIELDS.some((field) => field.startsWith(start))
}

/** With the colon after them, the text would be a stream. */
const FIRST_FIELDS = ["data", "event", "id", "retry"]

function hasError(value: unknown): boolean {
  return typeof value === "object" && value !== null && "error" in value
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
