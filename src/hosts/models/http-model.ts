import { malformed, truncated } from "../../projectors/openai-chat/failure.ts"
import type { HttpFacts, LlmResult } from "../../projectors/openai-chat/index.ts"
import type { TurnEvent } from "../../wire/event.ts"
import type { LlmFailure } from "../../wire/llm.ts"
import { type EffectContext, LlmCallError } from "../host.ts"
import { timerMs } from "../timers.ts"
import { orAborted, retryAfterMs } from "./retry.ts"
import { type SseEvent, SseParser } from "./sse.ts"

/** An endpoint, and the limits of every request to it. */
export interface Endpoint {
  readonly url: URL
  readonly headers: Headers
  readonly fetch: typeof fetch
  /** Milliseconds for one attempt. */
  readonly timeoutMs: number
  /** Milliseconds without a byte after which a stream fails. */
  readonly idleTimeoutMs: number
  readonly maxBodyBytes: number
  readonly now: () => number
  /** Removes secrets from a text. */
  readonly redact: (text: string) => string
}

/** How the answer to one request is read. */
export interface AnswerReader {
  /** Reads a whole answer, parsed from JSON. */
  response(body: unknown): LlmResult
  /** Reads an answer in chunks. */
  stream(): AnswerStream
  /** Reads the answer to a refused request. */
  failure(status: number, body: string, facts?: HttpFacts): LlmFailure
}

/** Reads one streamed answer. */
export interface AnswerStream {
  /** Whether the answer has failed; further chunks are ignored. */
  readonly failed: boolean
  push(chunk: unknown): readonly TurnEvent[]
  finish(): LlmResult
}

/** The result of one request. */
export interface Attempt {
  readonly result: LlmResult
  /** Whether text of the answer was emitted. */
  readonly shown: boolean
  /** The wait before the next request that the endpoint asked for, in milliseconds. */
  readonly askedMs?: number
  /** The endpoint's id of the request, for its support. */
  readonly requestId?: string
}

/** The failure of a call that was aborted. */
export const CANCELLED: LlmFailure = {
  message: "The model call was cancelled.",
  retryable: false,
  code: "cancelled",
  terminalReason: "cancelled",
}

/** How many bytes are read of the answer to a refused request. */
const MAX_ERROR_BYTES = 64 * 1024

/** Sends one request and reads its answer, streamed or whole. A failure, timeout or abort is returned as a result. */
export async function attempt(endpoint: Endpoint, body: string, reader: AnswerReader, context: EffectContext): Promise<Attempt> {
  const controller = new AbortController()
  const stop = (failure: LlmFailure): void => controller.abort(new LlmCallError(failure))
  const cancel = (): void => stop(CANCELLED)
  const timer = setTimeout(() => stop(timedOut(endpoint.timeoutMs)), timerMs(endpoint.timeoutMs))
  if (context.signal.aborted) cancel()
  else context.signal.addEventListener("abort", cancel)
  const request = new OneRequest(endpoint, reader, context, controller.signal, stop)
  try {
    return await request.run(body)
  } catch (error) {
    if (!(error instanceof LlmCallError)) throw error
    return { result: { ok: false, error: error.failure }, shown: request.shown }
  } finally {
    clearTimeout(timer)
    context.signal.removeEventListener("abort", cancel)
    controller.abort()
  }
}

class OneRequest {
  shown = false
  readonly #endpoint: Endpoint
  readonly #reader: AnswerReader
  readonly #context: EffectContext
  readonly #signal: AbortSignal
  readonly #stop: (failure: LlmFailure) => void

  constructor(endpoint: Endpoint, reader: AnswerReader, context: EffectContext, signal: AbortSignal, stop: (failure: LlmFailure) => void) {
    this.#endpoint = endpoint
    this.#reader = reader
    this.#context = context
    this.#signal = signal
    this.#stop = stop
  }

  async run(body: string): Promise<Attempt> {
    const { headers, now, url } = this.#endpoint
    const response = await this.#network(() =>
      // Following a redirect would send the headers, and so the key, to another address.
      this.#endpoint.fetch(url.href, { method: "POST", headers, body, signal: this.#signal, redirect: "manual" }),
    )
    const result = await this.#read(response)
    const askedMs = response.ok ? undefined : retryAfterMs(response.headers, now())
    const requestId = response.headers.get("x-request-id")
    return { result, shown: this.shown, ...(askedMs !== undefined && { askedMs }), ...(requestId !== null && { requestId }) }
  }

  async #read(response: Response): Promise<LlmResult> {
    const { status, type } = response
    if (type === "opaqueredirect" || (status >= 300 && status < 400)) return { ok: false, error: redirected(response) }
    if (!response.ok) {
      const { text } = await this.#readText(response, MAX_ERROR_BYTES)
      const shouldRetry = response.headers.get("x-should-retry")
      const facts = shouldRetry === "true" || shouldRetry === "false" ? { shouldRetry: shouldRetry === "true" } : {}
      return { ok: false, error: this.#reader.failure(status, this.#endpoint.redact(text), facts) }
    }
    const contentType = response.headers.get("content-type") ?? ""
    return contentType.includes("text/event-stream") ? this.#readStream(response) : this.#readWhole(response)
  }

  async #readWhole(response: Response): Promise<LlmResult> {
    const { lost, text, tooLong } = await this.#readText(response, this.#endpoint.maxBodyBytes)
    if (tooLong) return { ok: false, error: tooLarge(this.#endpoint.maxBodyBytes) }
    if (lost !== undefined) return { ok: false, error: truncated(lost) }
    const start = text.trimStart().slice(0, 20)
    if (start === "") return { ok: false, error: malformed("it is empty") }
    if (start.startsWith("<")) return { ok: false, error: malformed("it is a page, not JSON; check the base URL", text) }
    if (/^(?:data|event|id|retry)?:/.test(start)) return this.#readMislabelled(text)
    const body = parse(text)
    if (body === undefined) return { ok: false, error: malformed("it is not JSON; check the base URL", text) }
    return this.#reader.response(body)
  }

  /** Reads a stream whose content type does not say so. */
  #readMislabelled(text: string): LlmResult {
    const stream = this.#reader.stream()
    const parser = new SseParser()
    const events = parser.push(new TextEncoder().encode(text))
    if (!this.#pushAll(stream, events, true)) this.#pushAll(stream, parser.end(), false)
    return stream.finish()
  }

  async #readStream(response: Response): Promise<LlmResult> {
    const { idleTimeoutMs, maxBodyBytes } = this.#endpoint
    const stream = this.#reader.stream()
    const parser = new SseParser()
    let timer: ReturnType<typeof setTimeout> | undefined
    const restartTimer = (): void => {
      clearTimeout(timer)
      timer = setTimeout(() => this.#stop(silent(idleTimeoutMs)), timerMs(idleTimeoutMs))
    }
    let size = 0
    let done = false
    restartTimer()
    try {
      await this.#readBody(response, (bytes) => {
        restartTimer()
        size += bytes.byteLength
        done = size > maxBodyBytes || this.#pushAll(stream, parser.push(bytes), true)
        return !done
      })
      if (!done) this.#pushAll(stream, parser.end(), false)
    } catch (error) {
      if (!(error instanceof ConnectionLost)) throw error
      // An answer with its finish reason is complete; at most the usage is lost.
      const result = stream.finish()
      return result.ok || stream.failed ? result : { ok: false, error: truncated(error.message) }
    } finally {
      clearTimeout(timer)
    }
    return size > maxBodyBytes ? { ok: false, error: tooLarge(maxBodyBytes) } : stream.finish()
  }

  /** Reads events and emits what they add. Returns whether the stream has ended. `complete` is false if the last event may be cut off. */
  #pushAll(stream: AnswerStream, events: readonly SseEvent[], complete: boolean): boolean {
    for (const { event, data } of events) {
      if (data.trim() === "[DONE]") return true
      if (data.trim() === "") continue
      const parsed = parse(data)
      if (parsed === undefined && !complete) continue
      const chunk = parsed === undefined ? data : event === "error" && !hasError(parsed) ? { error: parsed } : parsed
      for (const added of stream.push(chunk)) {
        if (this.#signal.aborted) throw this.#signal.reason
        if (added.type === "text_delta") this.shown = true
        this.#context.emit(added)
      }
      if (stream.failed) return true
    }
    return false
  }

  /** Reads a body as text. `tooLong`: it was cut at `maxBytes`; `lost`: why the connection broke. */
  async #readText(response: Response, maxBytes: number): Promise<BodyText> {
    const decoder = new TextDecoder()
    let text = ""
    let size = 0
    let lost: string | undefined
    try {
      await this.#readBody(response, (bytes) => {
        text += decoder.decode(bytes.subarray(0, maxBytes - size), { stream: true })
        size += bytes.byteLength
        return size <= maxBytes
      })
    } catch (error) {
      if (!(error instanceof ConnectionLost)) throw error
      lost = error.message
    }
    return { text: text + decoder.decode(), tooLong: size > maxBytes, lost }
  }

  /** Passes the body's bytes to `onBytes` as they arrive, until it returns false. */
  async #readBody(response: Response, onBytes: (bytes: Uint8Array) => boolean): Promise<void> {
    const reader = response.body?.getReader()
    if (reader === undefined) return
    try {
      for (;;) {
        const { done, value } = await this.#network(() => reader.read(), true)
        if (done || !onBytes(value)) return
      }
    } finally {
      reader.cancel().catch(() => undefined)
    }
  }

  async #network<Value>(work: () => Promise<Value>, connected = false): Promise<Value> {
    try {
      return await orAborted(work(), this.#signal)
    } catch (error) {
      if (this.#signal.aborted) throw this.#signal.reason
      if (connected) throw new ConnectionLost(reasonOf(error))
      throw new LlmCallError(unreachable(this.#endpoint.url, reasonOf(error)))
    }
  }
}

interface BodyText {
  readonly text: string
  readonly tooLong: boolean
  readonly lost: string | undefined
}

/** The connection broke while the answer was read. */
class ConnectionLost extends Error {}

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

/** Why a `fetch` failed, which is mostly in its causes. The causes themselves are not passed on, because they may quote headers. */
function reasonOf(error: unknown): string {
  let reason = ""
  for (let at: unknown = error, depth = 0; at instanceof Error && depth < 5; at = at.cause, depth += 1) {
    const first: unknown = at instanceof AggregateError ? at.errors[0] : undefined
    const code: unknown = "code" in at ? at.code : undefined
    reason = at.message || (first instanceof Error ? first.message : "") || (typeof code === "string" ? code : reason)
  }
  return reason === "" ? "the connection failed" : reason.slice(0, 500)
}

function provider(code: string, message: string, retryable: boolean): LlmFailure {
  return { message, retryable, code, terminalReason: "provider_error" }
}

function unreachable(url: URL, why: string): LlmFailure {
  return provider("connection_failed", `The endpoint at ${url.origin}${url.pathname} could not be reached: ${why}.`, true)
}

function timedOut(ms: number): LlmFailure {
  return provider("timeout", `The endpoint did not complete its answer within ${ms / 1_000} seconds.`, true)
}

function silent(ms: number): LlmFailure {
  return provider("idle_timeout", `The endpoint sent nothing for ${ms / 1_000} seconds.`, true)
}

function tooLarge(bytes: number): LlmFailure {
  return provider("response_too_large", `The endpoint's answer is longer than ${bytes} bytes.`, false)
}

function redirected(response: Response): LlmFailure {
  const target = (response.headers.get("location") ?? "").replace(/[?#].*$/s, "").slice(0, 200)
  return provider(
    "redirected",
    `The endpoint redirects${target === "" ? "" : ` to ${target}`}. Use the address that it redirects to as the base URL.`,
    false,
  )
}
