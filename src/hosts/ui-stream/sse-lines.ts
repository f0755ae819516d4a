/** One server-sent event with the text that it came in. */
export interface SseText {
  readonly id: string | undefined
  readonly data: string
  readonly text: string
}

/** Splits what `toResponse` sends into its events. Lines end in LF, and an event has one line of data. */
export class SseLines {
  readonly #decoder: TextDecoder = new TextDecoder()
  #rest = ""

  push(bytes: Uint8Array): readonly SseText[] {
    const parts = `${this.#rest}${this.#decoder.decode(bytes, { stream: true })}`.split("\n\n")
    this.#rest = parts.pop() ?? ""
    return parts.map((part) => {
      const lines = part.split("\n")
      const field = (name: string): string | undefined => lines.find((line) => line.startsWith(`${name}: `))?.slice(name.length + 2)
      return { id: field("id"), data: field("data") ?? "", text: `${part}\n\n` }
    })
  }
}
