/** Breaks text between words so that lines stay within a width, also where the text comes piece by piece. */
export class Wrap {
  readonly #width: number
  readonly #indent: string
  #column: number
  /** Whether what comes next goes on with a word that is written already. */
  #inWord = false

  /** The first line begins at `column`; those after it begin with `indent`. A `width` of 0 breaks nothing. */
  constructor(width: number, indent: string, column: number) {
    this.#width = width
    this.#indent = indent
    this.#column = column
  }

  /** The next piece, with the breaks it needs. */
  add(text: string): string {
    let wrapped = ""
    for (const piece of text.match(/\n|[^\S\n]+|\S+/g) ?? []) {
      const isWord = /\S/.test(piece)
      const tooLong = this.#width > 0 && this.#column + piece.length > this.#width && this.#column > this.#indent.length
      if (piece === "\n" || (tooLong && !this.#inWord)) {
        wrapped = `${wrapped.replace(/[^\S\n]+$/, "")}\n${this.#indent}`
        this.#column = this.#indent.length
      }
      this.#inWord = isWord
      // The space at which a line was broken is not needed any more.
      if (piece === "\n" || (tooLong && !isWord)) continue
      wrapped += piece
      this.#column += piece.length
    }
    return wrapped
  }
}
