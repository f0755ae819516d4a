import { createParser } from "eventsource-parser"

/** One server-sent event: its `event` field ("" if absent), and its `data` lines joined by newlines. */
export interface SseEvent {
  readonly event: string
  readonly data: string
}

/**
 * Parses a byte stream into server-sent events. Lines may end in LF, CR or CRLF; characters and lines may be split anywhere between
 * two pushes. Comments, ids, retry hints and events without data are ignored.
 * @see https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation (2026-11)
 */
export class SseParser {
  readonly #decoder: TextDecoder = new TextDecoder()
  readonly #parser = createParser({ onEvent: ({ data, event = "" }) => void this.#events.push({ event, data }) })
  #events: SseEvent[] = []
  #afterCr = false
  #hasEvents = false
  #unread = ""

  /** Whether an event has come. */
  get hasEvents(): boolean {
    return this.#hasEvents
  }

  /** All text so far if it has no event in it, else "". */
  get unread(): string {
    return this.#unread
  }

  /** Parses the next bytes and returns the events that they complete. */
  push(bytes: Uint8Array): readonly SseEvent[] {
    const text = this.#decoder.decode(bytes, { stream: true })
    if (!this.#hasEvents) this.#unread += text
    return this.#parse(text)
  }

  /** Ends the stream and returns the last event if its closing empty line is missing. Its data may be incomplete. */
  end(): readonly SseEvent[] {
    return this.#parse(`${this.#decoder.decode()}\n\n`)
  }

  #parse(text: string): readonly SseEvent[] {
    // Lines end in LF from here on: the parser waits for the character after a CR, and needs quadratic time for lines that end in CR.
    const rest = this.#afterCr && text.startsWith("\n") ? text.slice(1) : text
    if (text !== "") this.#afterCr = text.endsWith("\r")
    this.#parser.feed(rest.replace(/\r\n?/g, "\n"))
    const events = this.#events
    this.#events = []
    if (events.length > 0) {
      this.#hasEvents = true
      this.#unread = ""
    }
    return events
  }
}
