import { createParser } from "eventsource-parser"

/** One server-sent event: its `event` field ("" if absent), and its `data` lines joined by newlines. */
export interface SseEvent {
  readonly event: string
  readonly data: string
}

/**
 * Parses a stream of text into server-sent events. Lines may end in LF, CR or CRLF and may be split anywhere between two pushes. Comments,
 * ids, retry hints and events without data are ignored.
 * @see https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation (2026-11)
 */
export class SseParser {
  #events: SseEvent[] = []
  readonly #parser = createParser({ onEvent: ({ data, event = "" }) => void this.#events.push({ event, data }) })
  #afterCr = false

  /** Parses the next piece of text and returns the events that it completes. */
  push(text: string): readonly SseEvent[] {
    // The parser holds back a CR until it sees the next character, and its time is quadratic in lines that end in CR.
    const piece = this.#afterCr && text.startsWith("\n") ? text.slice(1) : text
    if (text !== "") this.#afterCr = text.endsWith("\r")
    this.#parser.feed(piece.replace(/\r\n?/g, "\n"))
    const events = this.#events
    this.#events = []
    return events
  }

  /** Ends the stream and returns the last event if its closing empty line is missing. Its data may be incomplete. */
  end(): readonly SseEvent[] {
    return this.push("\n\n")
  }
}
