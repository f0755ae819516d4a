/**
 * Unicode White_Space, spelled out: JavaScript's own trim leaves U+0085 and takes U+FEFF, and so do `\s` patterns.
 * @see https://www.unicode.org/Public/UCD/latest/ucd/PropList.txt, property White_Space (2026-11)
 */
function isWhiteSpace(code: number): boolean {
  if (code < 0x80) return code === 0x20 || (code >= 0x09 && code <= 0x0d)
  if (code >= 0x2000 && code <= 0x200a) return true
  return OTHER_WHITE_SPACE.has(code)
}

const OTHER_WHITE_SPACE: ReadonlySet<number> = new Set([0x85, 0xa0, 0x1680, 0x2028, 0x2029, 0x202f, 0x205f, 0x3000])

/** Cuts Unicode White_Space off both ends. */
export function trim(text: string): string {
  let start = 0
  let end = text.length
  while (start < end && isWhiteSpace(text.charCodeAt(start))) start += 1
  while (end > start && isWhiteSpace(text.charCodeAt(end - 1))) end -= 1
  return start === 0 && end === text.length ? text : text.slice(start, end)
}

/** Whether a text has nothing but Unicode White_Space. */
export function isBlank(text: string): boolean {
  for (let index = 0; index < text.length; index += 1) if (!isWhiteSpace(text.charCodeAt(index))) return false
  return true
}

/** The text of a thrown value, which may be anything, cut to 2,000 characters. */
export function textOf(thrown: unknown): string {
  try {
    return cutMiddle(String(thrown), 2_000)
  } catch {
    return "a value that has no text"
  }
}

/** Cuts a text to 60 code points for an error message; "…" marks the cut. */
export function shortened(text: string): string {
  if (text.length <= 60) return text
  const head = Array.from(text.slice(0, 120)).slice(0, 60).join("")
  return `${head}…`
}

/** A name for an error message: in quotes, cut to 60 code points. */
export function quoted(name: string): string {
  return JSON.stringify(shortened(name))
}

/** Cuts a text to `limit` code points: a longer one keeps half at each end, with a line in between that counts the omitted ones. */
export function cutMiddle(text: string, limit: number): string {
  if (text.length <= limit) return text
  const points = countPoints(text)
  if (points <= limit) return text
  const half = Math.floor(limit / 2)
  return flat(`${firstPoints(text, half)}${omitted(points - 2 * half)}${lastPoints(text, half)}`)
}

function omitted(count: number): string {
  return `\n\n... (${count} chars omitted) ...\n\n`
}

function firstPoints(text: string, count: number): string {
  let end = 0
  for (let taken = 0; taken < count; taken += 1) end += isPair(text, end) ? 2 : 1
  return text.slice(0, end)
}

function lastPoints(text: string, count: number): string {
  let start = text.length
  for (let taken = 0; taken < count; taken += 1) start -= isPair(text, start - 2) ? 2 : 1
  return text.slice(start)
}

/**
 * Puts a text together from pieces, and keeps no more of it than {@link cutMiddle} shows: it costs the same memory for a text of any
 * length. No piece may end in the first half of a surrogate pair.
 */
export class CutText {
  readonly #limit: number
  /** The text so far; of a longer one, its beginning. */
  #head = ""
  /** The end of a text that is longer than the limit. */
  #tail: string | undefined
  #points = 0
  /** The length of the whole text, in UTF-16 code units. */
  length = 0

  constructor(limit: number) {
    this.#limit = limit
  }

  push(piece: string): void {
    this.length += piece.length
    this.#points += countPoints(piece)
    if (this.#tail !== undefined) this.#tail += piece
    else if (this.#points <= this.#limit) this.#head += piece
    else {
      const text = this.#head + piece
      this.#head = text.slice(0, 2 * this.#limit)
      this.#tail = text
    }
    // Cut rarely, so that each character is copied only a few times.
    const kept = 2 * this.#limit
    if (this.#tail !== undefined && this.#tail.length > 2 * kept + 65_536) this.#tail = flat(this.#tail.slice(-kept))
  }

  toString(): string {
    if (this.#tail === undefined) return this.#head
    const half = Math.floor(this.#limit / 2)
    return flat(`${firstPoints(this.#head, half)}${omitted(this.#points - 2 * half)}${lastPoints(this.#tail, half)}`)
  }
}

/** {@link cutMiddle} of texts that are joined by newlines, without joining them. */
export function cutLines(texts: readonly string[], limit: number): string {
  const [only = ""] = texts
  if (texts.length < 2) return cutMiddle(only, limit)
  const cut = new CutText(limit)
  for (const [index, text] of texts.entries()) cut.push(index === 0 ? text : `\n${text}`)
  return cut.toString()
}

/** A copy: a part of a long text keeps the whole of it in memory until it is read as part of another text. */
function flat(text: string): string {
  return text.charCodeAt(0) === -1 ? "" : text
}

/** Counted in place: a list of the code points of a long text would take many times its memory. */
function countPoints(text: string): number {
  let points = 0
  for (let index = 0; index < text.length; index += isPair(text, index) ? 2 : 1) points += 1
  return points
}

/** Whether a surrogate pair starts at `index`. */
function isPair(text: string, index: number): boolean {
  return isBetween(text.charCodeAt(index), 0xd800, 0xdbff) && isBetween(text.charCodeAt(index + 1), 0xdc00, 0xdfff)
}

function isBetween(code: number, least: number, most: number): boolean {
  return code >= least && code <= most
}

/** What the model reads where a call has no result: providers refuse a request with an unanswered call. */
export const NO_RESULT = "[No result: the call was interrupted before it ended.]"

/** What the model reads of a result without a call, which providers refuse, too. */
export function strayResultText(text: string): string {
  return `[Result of an earlier tool call]\n${text}`
}
