/** A line that contains one of the texts. */
export interface FoundLine {
  /** From 1. */
  readonly line: number
  readonly text: string
  /** Where the text that was found starts in the line. */
  readonly index: number
}

const NEWLINE = 10
const RETURN = 13

/**
 * Finds literal texts, all at once and in one pass (Aho and Corasick, 1975): the time per character depends neither on the number of the
 * texts nor on what the file contains. With `ignoreCase`, characters are equal if Unicode's simple case folding makes them equal, as for a
 * regular expression with the flags `iu`.
 */
export class LineMatcher {
  readonly wholeWord: boolean
  /** The class of each UTF-16 code unit; 0: it is in none of the texts. */
  readonly classes: Uint16Array
  readonly classCount: number
  /** The next state, by state and class. 0 is the start. */
  readonly next: Uint16Array
  /** The lengths of the texts that end in each state. */
  readonly lengths: readonly (readonly number[])[]
  /** Whether case folding has to read surrogate pairs. */
  readonly foldsPairs: boolean

  /** `texts`: at most 65,535 code units in all. */
  constructor(texts: readonly string[], { ignoreCase, wholeWord }: { readonly ignoreCase: boolean; readonly wholeWord: boolean }) {
    const wanted = texts.map((text) => (ignoreCase ? foldText(text) : text))
    const classOf = new Map<number, number>()
    for (const text of wanted) {
      for (let index = 0; index < text.length; index += 1) {
        const unit = text.charCodeAt(index)
        if (!classOf.has(unit)) classOf.set(unit, classOf.size + 1)
      }
    }
    this.wholeWord = wholeWord
    this.classCount = classOf.size + 1
    const classes = new Uint16Array(0x10000)
    for (const [unit, number] of classOf) classes[unit] = number
    if (ignoreCase) for (const [unit, other] of foldings()) classes[unit] = classes[other] ?? 0
    this.classes = classes
    this.foldsPairs = ignoreCase && wanted.some((text) => /[\ud800-\udbff]/.test(text))
    const { lengths, next } = buildAutomaton(wanted, this.classes, this.classCount)
    this.next = next
    this.lengths = lengths
  }
}

/** The search of one text, which may be interrupted after any number of characters. */
export class LineSearch {
  readonly #matcher: LineMatcher
  readonly #text: string
  #position = 0
  #state = 0
  #line = 1
  #lineStart = 0
  /** Where the first text that was found in this line starts; -1: nowhere. */
  #found = -1

  constructor(matcher: LineMatcher, text: string) {
    this.#matcher = matcher
    this.#text = text
  }

  get isDone(): boolean {
    return this.#position >= this.#text.length
  }

  /** Searches the next characters. Calls `onLine` at the end of each line that contains a text. */
  advance(characters: number, onLine: (found: FoundLine) => void): void {
    const text = this.#text
    const { classCount, classes, foldsPairs, next } = this.#matcher
    const end = Math.min(this.#position + characters, text.length)
    let index = this.#position
    for (; index < end; index += 1) {
      const unit = text.charCodeAt(index)
      if (unit === NEWLINE || unit === RETURN) {
        this.#endLine(index, onLine)
        if (unit === RETURN && text.charCodeAt(index + 1) === NEWLINE) index += 1
        this.#lineStart = index + 1
        continue
      }
      if (this.#found >= 0) continue
      const folded = foldsPairs && (unit & 0xf800) === 0xd800 ? foldSurrogate(text, index) : unit
      this.#state = next[this.#state * classCount + (classes[folded] ?? 0)] ?? 0
      if (this.#state !== 0) this.#found = this.#startOfMatch(index + 1)
    }
    this.#position = index
    if (this.isDone) this.#endLine(index, onLine)
  }

  #endLine(end: number, onLine: (found: FoundLine) => void): void {
    if (this.#found >= 0) onLine({ line: this.#line, text: this.#text.slice(this.#lineStart, end), index: this.#found - this.#lineStart })
    this.#line += 1
    this.#found = -1
    this.#state = 0
  }

  /** Where a text starts that ends at `end`; -1 if none does, or none that is a whole word. */
  #startOfMatch(end: number): number {
    const { lengths, wholeWord } = this.#matcher
    const ending = lengths[this.#state] ?? []
    if (ending.length === 0 || (wholeWord && isWordAt(this.#text, end))) return -1
    for (const length of ending) if (!wholeWord || !isWordBefore(this.#text, end - length)) return end - length
    return -1
  }
}

/** Builds a table of states: a trie of the texts, in which each missing step leads to the longest suffix that the trie has. */
function buildAutomaton(texts: readonly string[], classes: Uint16Array, classCount: number): Pick<LineMatcher, "next" | "lengths"> {
  const most = texts.reduce((sum, text) => sum + text.length, 1)
  const next = new Uint16Array(most * classCount)
  const lengths: number[][] = [[]]
  for (const text of texts) {
    let state = 0
    for (let index = 0; index < text.length; index += 1) {
      const step = state * classCount + (classes[text.charCodeAt(index)] ?? 0)
      if (next[step] === 0) next[step] = lengths.push([]) - 1
      state = next[step] ?? 0
    }
    lengths[state]?.push(text.length)
  }
  const fallback = new Uint16Array(lengths.length)
  const queue = [0]
  for (let position = 0; position < queue.length; position += 1) {
    const state = queue[position] ?? 0
    const shorter = fallback[state] ?? 0
    if (state !== 0) lengths[state]?.push(...(lengths[shorter] ?? []))
    for (let unit = 1; unit < classCount; unit += 1) {
      const after = next[state * classCount + unit] ?? 0
      const otherwise = state === 0 ? 0 : (next[shorter * classCount + unit] ?? 0)
      if (after === 0) next[state * classCount + unit] = otherwise
      else {
        fallback[after] = otherwise
        queue.push(after)
      }
    }
  }
  return { next, lengths }
}

const WORD = /^[\p{L}\p{N}_]/u

function isWordAt(text: string, index: number): boolean {
  return isWord(text.codePointAt(index))
}

function isWordBefore(text: string, index: number): boolean {
  const isPair = (text.charCodeAt(index - 1) & 0xfc00) === 0xdc00 && (text.charCodeAt(index - 2) & 0xfc00) === 0xd800
  return index > 0 && isWord(text.codePointAt(isPair ? index - 2 : index - 1))
}

function isWord(point: number | undefined): boolean {
  if (point === undefined) return false
  if (point < 0x80) return (point >= 0x30 && point <= 0x39) || (point >= 0x41 && point <= 0x5a) || (point >= 0x61 && point <= 0x7a) || point === 0x5f
  return WORD.test(String.fromCodePoint(point))
}

/**
 * Characters whose folding their upper and lower case do not show. The dotless ı folds to itself.
 * @see https://www.unicode.org/Public/UCD/latest/ucd/CaseFolding.txt (2026-11)
 */
const EXCEPTIONS: ReadonlyMap<number, number> = new Map([
  [0x131, 0x131],
  [0x1fd3, 0x390],
  [0x1fe3, 0x3b0],
  [0xfb05, 0xfb06],
])

/** Folds a code point to one of the same length, by Unicode's simple case folding. */
function foldPoint(point: number): number {
  const exception = EXCEPTIONS.get(point)
  if (exception !== undefined) return exception
  const character = String.fromCodePoint(point)
  const upper = character.toUpperCase()
  const lower = (upper.length === character.length ? upper : character).toLowerCase()
  return lower.length === character.length ? (lower.codePointAt(0) ?? point) : point
}

let known: readonly (readonly [number, number])[] | undefined

/** The code units that fold to another one. */
function foldings(): readonly (readonly [number, number])[] {
  if (known !== undefined) return known
  const found: [number, number][] = []
  for (let unit = 0; unit < 0x10000; unit += 1) {
    const other = foldPoint(unit)
    if (other !== unit) found.push([unit, other])
  }
  known = found
  return found
}

function foldText(text: string): string {
  return Array.from(text, (character) => String.fromCodePoint(foldPoint(character.codePointAt(0) ?? 0))).join("")
}

/** Folds the half of a pair at `index`, as a part of the pair. */
function foldSurrogate(text: string, index: number): number {
  const isSecond = (text.charCodeAt(index) & 0xfc00) === 0xdc00
  const point = text.codePointAt(isSecond ? index - 1 : index) ?? 0
  return point < 0x10000 ? text.charCodeAt(index) : String.fromCodePoint(foldPoint(point)).charCodeAt(isSecond ? 1 : 0)
}
