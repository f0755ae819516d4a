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
  #line = ""
  #afterCr = false
  #event = ""
  #data: string[] = []

  /** Parses the next bytes and returns the events that they complete. */
  push(bytes: Uint8Array): readonly SseEvent[] {
    return this.#parse(this.#decoder.decode(bytes, { stream: true }))
  }

  /** Ends the stream and returns the last event if its closing empty line is missing. Its data may be incomplete. */
  end(): readonly SseEvent[] {
    return this.#parse(`${this.#decoder.decode()}\n\n`)
  }

  #parse(text: string): readonly SseEvent[] {
    const events: SseEvent[] = []
    let start = this.#afterCr && text.startsWith("\n") ? 1 : 0
    if (text !== "") this.#afterCr = false
    for (let index = start; index < text.length; index += 1) {
      const code = text.charCodeAt(index)
      if (code !== LF && code !== CR) continue
      const event = this.#parseLine(this.#line + text.slice(start, index))
      if (event !== undefined) events.push(event)
      this.#line = ""
      if (code === CR && text.charCodeAt(index + 1) === LF) index += 1
      else if (code === CR && index + 1 === text.length) this.#afterCr = true
      start = index + 1
    }
    this.#line += text.slice(start)
    return events
  }

  #parseLine(line: string): SseEvent | undefined {
    if (line === "") return this.#dispatch()
    const colon = line.indexOf(":")
    const field = colon < 0 ? line : line.slice(0, colon)
    const value = colon < 0 ? "" : line.slice(line.charAt(colon + 1) === " " ? colon + 2 : colon + 1)
    if (field === "data") this.#data.push(value)
    else if (field === "event") this.#event = value
    return undefined
  }

  #dispatch(): SseEvent | undefined {
    const event: SseEvent = { event: this.#event, data: this.#data.join("\n") }
    const isEmpty = this.#data.length === 0
    this.#event = ""
    this.#data = []
    return isEmpty ? undefined : event
  }
}

const LF = 10
const CR = 13
