import { type SseEvent, SseParser } from "./sse.ts"

/** Decides whether a body is a stream of events or JSON, and splits the stream. */
export class AnswerBody {
  #kind: "unknown" | "stream" | "json"
  readonly #parser = new SseParser()
  readonly #decoder = new TextDecoder()
  #text = ""
  /** The first characters, without white space before them. */
  #start = ""
  /** What has come before the decision. */
  #undecided: Uint8Array[] = []

  constructor(declaredAsStream: boolean) {
    this.#kind = declaredAsStream ? "stream" : "unknown"
  }

  get isStream(): boolean {
    return this.#kind === "stream"
  }

  /** All text, if it is not a stream of events. Under the content type of a stream, a body without any event may still be JSON. */
  get text(): string | undefined {
    if (this.#kind !== "stream") return this.#text
    return this.#parser.hasEvents ? undefined : this.#parser.unread
  }

  push(bytes: Uint8Array): readonly SseEvent[] {
    if (this.#kind === "stream") return this.#parser.push(bytes)
    const text = this.#decoder.decode(bytes, { stream: true })
    this.#text += text
    if (this.#kind === "json") return []
    this.#undecided.push(bytes)
    this.#start = (this.#start + text).trimStart().slice(0, LONGEST_FIELD)
    return this.#start.length < LONGEST_FIELD ? [] : this.#decide()
  }

  end(): readonly SseEvent[] {
    const events = this.#kind === "unknown" ? this.#decide() : []
    if (this.#kind === "stream") return [...events, ...this.#parser.end()]
    this.#text += this.#decoder.decode()
    return events
  }

  #decide(): readonly SseEvent[] {
    const chunks = this.#undecided
    this.#undecided = []
    this.#kind = /^(?:data|event|id|retry)?:/.test(this.#start) ? "stream" : "json"
    if (this.#kind === "json") return []
    this.#text = ""
    return chunks.flatMap((bytes) => this.#parser.push(bytes))
  }
}

/** `event:` and `retry:`. */
const LONGEST_FIELD = 6
