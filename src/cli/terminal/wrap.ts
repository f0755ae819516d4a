import { columnsOf } from "./columns.ts"

// Chinese and Japanese have no spaces: a line may break at each character, except before what closes and after what opens. Korean has spaces.
const IDEOGRAPH = String.raw`[\u2e80-\u303e\u3041-\u33ff\u3400-\u4dbf\u4e00-\ua4cf\uf900-\ufaff\ufe30-\ufe4f\uff01-\uff60\uffe0-\uffe6\u{1b000}-\u{1b2ff}\u{20000}-\u{3fffd}]`
const OPENING = "（〔［｛〈《「『【〖"
const CLOSING = "、。，．・：；？！）〕］｝〉》」』】〗々ー〜ぁぃぅぇぉっゃゅょァィゥェォッャュョ"
const PIECE = new RegExp(String.raw`\n|[^\S\n]+|[${OPENING}]*${IDEOGRAPH}(?:[${CLOSING}]|[\p{Mn}\p{Me}])*|(?:(?!${IDEOGRAPH})\S)+`, "gu")
const ONE = new RegExp(`^${IDEOGRAPH}`, "u")
const NO_START = new RegExp(String.raw`^[${CLOSING}\p{Mn}\p{Me}!?.,:;)\]}'"’”…]`, "u")
const NO_END = new RegExp(`[${OPENING}(\\[{'"‘“]$`, "u")

/** Wraps text between words, including text that arrives in pieces. A word that is longer than a line is left to the terminal. */
export class Wrap {
  readonly #width: () => number
  readonly #indent: string
  #column: number
  /** Whether no word was added yet. What comes before the first one is dropped. */
  #isEmpty = true
  /** The end of the last piece, if that was a word. */
  #before = ""
  /** Line breaks that are written when more text follows, and the spaces after them. */
  #newlines = 0
  #spaces = ""

  /** The first line starts at `column`; later lines start with `indent`. A width of 0 turns wrapping off; that of a terminal may change. */
  constructor(width: number | (() => number), indent: string, column: number) {
    this.#width = typeof width === "number" ? () => width : width
    this.#indent = indent
    this.#column = column
  }

  /** Returns the next piece with line breaks. Line breaks at its end are returned with the next text. */
  add(text: string): string {
    const width = this.#width()
    let wrapped = ""
    const breakLine = (lines = 1): void => {
      wrapped = `${wrapped.replace(/[^\S\n]+$/, "")}${"\n".repeat(lines)}${this.#indent}`
      this.#column = this.#indent.length
    }
    for (const [piece] of text.matchAll(PIECE)) {
      this.#isEmpty &&= !/\S/.test(piece)
      if (this.#isEmpty) continue
      if (piece === "\n") {
        this.#newlines += 1
        this.#spaces = ""
        this.#before = ""
        continue
      }
      const isWord = /\S/.test(piece)
      if (this.#newlines > 0 && !isWord) {
        this.#spaces += piece
        continue
      }
      if (this.#newlines > 0) {
        breakLine(this.#newlines)
        wrapped += this.#spaces
        this.#column += columnsOf(this.#spaces)
        this.#newlines = 0
      }
      const columns = columnsOf(piece)
      const tooLong = width > 0 && this.#column + columns > width && this.#column > this.#indent.length
      if (tooLong && (!isWord || mayBreak(this.#before, piece))) breakLine()
      this.#before = isWord ? piece.slice(-2) : ""
      // Drops the whitespace at which the line was broken.
      if (tooLong && !isWord) continue
      wrapped += piece
      this.#column += columns
    }
    return wrapped
  }
}

/** Whether a line may break between the end of a word and what follows it directly. */
function mayBreak(before: string, piece: string): boolean {
  if (before === "") return true
  if (!ONE.test(piece) && !ONE.test([...before].at(-1) ?? "")) return false
  return !NO_START.test(piece) && !NO_END.test(before)
}
