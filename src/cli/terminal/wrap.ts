import { columnsOf } from "./columns.ts"

/** Wraps text between words, including text that arrives in pieces. */
export class Wrap {
  readonly #width: number
  readonly #indent: string
  #column: number
  /** Whether the next piece continues a word that is partly written. */
  #inWord = false

  /** The first line starts at `column`; later lines start with `indent`. A `width` of 0 turns wrapping off. */
  constructor(width: number, indent: string, column: number) {
    this.#width = width
    this.#indent = indent
    this.#column = column
  }

  /** Returns the next piece with line breaks. */
  add(text: string): string {
    let wrapped = ""
    for (const piece of text.match(/\n|[^\S\n]+|\S+/g) ?? []) {
      const isWord = /\S/.test(piece)
      const columns = columnsOf(piece)
      const tooLong = this.#width > 0 && this.#column + columns > this.#width && this.#column > this.#indent.length
      if (piece === "\n" || (tooLong && !this.#inWord)) {
        wrapped = `${wrapped.replace(/[^\S\n]+$/, "")}\n${this.#indent}`
        this.#column = this.#indent.length
      }
      this.#inWord = isWord
      // Drops the whitespace at which the line was broken.
      if (piece === "\n" || (tooLong && !isWord)) continue
      wrapped += piece
      this.#column += columns
    }
    return wrapped
  }
}
