/** One fenced block of code in a model's text. */
export interface Fence {
  /** What follows the opening fence on its line, without white space at its ends. */
  readonly info: string
  /** The language that `info` names, in lower case, as in `js title="a"`, `js:a.js` and `{.js}`; "" if it names none. */
  readonly language: string
  /** The characters of the opening fence. */
  readonly marker: string
  readonly code: string
  /** The offsets in the text: the start of the opening line, and the end of the closing line. */
  readonly start: number
  readonly end: number
  /** False if the text, or the list item or quote around the block, ends without a closing fence. */
  readonly closed: boolean
}

/**
 * Reads the fenced code blocks of a text by the rules of CommonMark 0.31.2. An opening line has at most three spaces, three or more
 * backticks or tildes, and an info string (without backticks after backticks). A closing line has at least as many of the same
 * character and nothing else. The indentation of the opening line is removed from the lines between. Blocks in list items and block
 * quotes are read without the prefixes of these containers. HTML is read as text.
 * @see https://spec.commonmark.org/0.31.2/ sections 4.5 (fences), 5.1 (block quotes), 5.2 (list items) and 2.2 (tabs)
 */
export function readFences(text: string): readonly Fence[] {
  const fences: Fence[] = []
  const containers: Container[] = []
  let open: OpenFence | undefined
  // Whether the last line belongs to a paragraph of the deepest container.
  let paragraph = false
  for (const { start, end } of lines(text)) {
    const line = new Line(text.slice(start, end))
    const entered = enter(containers, line)
    if (open !== undefined) {
      if (entered === containers.length) {
        open.end = end
        if (closes(open.marker, line)) {
          fences.push(fenceOf(open, true))
          open = undefined
        } else open.lines.push(line.skip(open.indent).rest)
        continue
      }
      // A line outside of the container ends the block. It is read like any other.
      fences.push(fenceOf(open, false))
      open = undefined
    }
    const inner: Container[] = []
    for (;;) {
      if (entered + inner.length >= MAX_CONTAINERS) break
      const container = readContainer(line, paragraph && entered === containers.length && inner.length === 0)
      if (container === undefined) break
      inner.push(container)
    }
    const opening = line.indent < CODE_INDENT ? OPENING.exec(line.skipped) : null
    const plain = opening === null && inner.length === 0
    // A line of a paragraph need not repeat the prefixes of its containers.
    if (plain && paragraph && entered < containers.length && !line.blank && !interrupts(line)) continue

    containers.splice(entered, containers.length, ...inner)
    if (opening !== null) {
      const [, marker = "", info = ""] = opening
      open = { marker, indent: line.indent, info: info.trim(), start, end, lines: [] }
    }
    const continues: boolean = paragraph && entered === containers.length
    const underlines: boolean = continues && line.indent < CODE_INDENT && UNDERLINE.test(line.skipped)
    paragraph = opening === null && !line.blank && !interrupts(line) && !underlines && (continues || line.indent < CODE_INDENT)
  }
  if (open !== undefined) fences.push(fenceOf(open, false))
  return fences
}

/**
 * Reads the language of an info string, in lower case: its first word up to a `:`, `,`, `;` or opening bracket, as in `js:run.js` and
 * `js{1,3}`. In braces, the first class or word: `{.js .numberLines}`, `{python echo=FALSE}`. A leading `language-` or `lang=` is
 * left out.
 */
export function fenceLanguage(info: string): string {
  const braced = /^\{([^}]*)/.exec(info)
  const words = (braced?.[1] ?? info).split(braced === null ? /\s+/ : /[\s,]+/)
  const word = braced === null ? words[0] : (words.find((each) => each.startsWith(".")) ?? words.find((each) => /^[^#=]+$/.test(each)))
  const name = /^\.*([^:,;{([]*)/.exec((word ?? "").replace(/^lang(?:uage)?[-=:]/i, ""))?.[1] ?? ""
  return name.toLowerCase()
}

interface OpenFence extends Pick<Fence, "info" | "marker" | "start"> {
  readonly indent: number
  readonly lines: string[]
  end: number
}

function fenceOf({ info, marker, lines, start, end }: OpenFence, closed: boolean): Fence {
  return { info, language: fenceLanguage(info), marker, code: lines.join("\n"), start, end, closed }
}

/** The lines of a text with the offsets of their content. */
function* lines(text: string): Generator<{ readonly start: number; readonly end: number }> {
  const ends = /\r\n|\n|\r/g
  let start = 0
  for (let found = ends.exec(text); found !== null; found = ends.exec(text)) {
    yield { start, end: found.index }
    start = ends.lastIndex
  }
  if (start < text.length) yield { start, end: text.length }
}

/** A block quote, or a list item with the column of its content. */
type Container = { readonly type: "quote" } | { readonly type: "item"; readonly indent: number; empty: boolean }

/** Nested deeper, list markers and `>` are text: a text of markers alone must not take quadratic time. */
const MAX_CONTAINERS = 100
/** Columns from which a line is an indented code block. */
const CODE_INDENT = 4
const TAB = 4

const OPENING = /^(`{3,}(?=[^`]*$)|~{3,})(.*)$/
const CLOSING = /^(`{3,}|~{3,})[ \t]*$/
const LIST_MARKER = /^(?:[-+*]|(\d{1,9})[.)])(?=[ \t]|$)/
const THEMATIC_BREAK = /^(?:(?:-[ \t]*){3,}|(?:_[ \t]*){3,}|(?:\*[ \t]*){3,})$/
const HEADING = /^#{1,6}(?:[ \t]|$)/
const UNDERLINE = /^=+[ \t]*$/

/** Removes the prefixes of the open containers from a line. Returns how many of them continue. */
function enter(containers: readonly Container[], line: Line): number {
  let entered = 0
  for (const container of containers) {
    if (container.type === "quote") {
      if (!readQuoteMarker(line)) break
    } else if (line.blank) {
      // A list item begins with at most one blank line.
      if (container.empty) break
      line.skip(Number.POSITIVE_INFINITY)
    } else {
      if (line.indent < container.indent) break
      line.skip(container.indent)
      container.empty = false
    }
    entered += 1
  }
  return entered
}

/** Reads the marker of a container and removes it from the line. */
function readContainer(line: Line, inParagraph: boolean): Container | undefined {
  if (readQuoteMarker(line)) return { type: "quote" }
  if (line.indent >= CODE_INDENT) return undefined
  const content = line.skipped
  const [marker, number] = LIST_MARKER.exec(content) ?? []
  if (marker === undefined || THEMATIC_BREAK.test(content)) return undefined
  const empty = isSpace(content.slice(marker.length))
  if (inParagraph && (empty || (number !== undefined && Number(number) !== 1))) return undefined
  const before = line.indent
  line.skip(before).take(marker.length)
  const spaces = empty || line.indent > CODE_INDENT ? 1 : line.indent
  line.skip(spaces)
  return { type: "item", indent: before + marker.length + spaces, empty }
}

function readQuoteMarker(line: Line): boolean {
  if (line.indent >= CODE_INDENT || !line.skipped.startsWith(">")) return false
  line.skip(line.indent).take(1).skip(1)
  return true
}

function closes(marker: string, line: Line): boolean {
  const closing = line.indent < CODE_INDENT ? CLOSING.exec(line.skipped)?.[1] : undefined
  return closing !== undefined && closing.charAt(0) === marker.charAt(0) && closing.length >= marker.length
}

/** Whether a line is neither part of a paragraph nor the begin of a container or fence: a heading or a thematic break. */
function interrupts(line: Line): boolean {
  return line.indent < CODE_INDENT && (HEADING.test(line.skipped) || THEMATIC_BREAK.test(line.skipped))
}

function isSpace(text: string): boolean {
  return /^[ \t]*$/.test(text)
}

/** A line that is read from its start, with tabs as columns up to the next multiple of four. */
class Line {
  readonly #text: string
  #offset = 0
  #column = 0
  /** Columns that remain of a tab whose beginning was skipped. */
  #ofTab = 0
  #content: { readonly indent: number; readonly start: number } | undefined

  constructor(text: string) {
    this.#text = text
  }

  /** The number of columns of white space ahead. */
  get indent(): number {
    return this.#ahead().indent
  }

  /** What follows the white space ahead. */
  get skipped(): string {
    return this.#text.slice(this.#ahead().start)
  }

  get rest(): string {
    return " ".repeat(this.#ofTab) + this.#text.slice(this.#offset)
  }

  get blank(): boolean {
    return this.#ahead().start === this.#text.length
  }

  /** Skips at most so many columns of white space. */
  skip(columns: number): this {
    let left = columns
    while (left > 0 && (this.#ofTab > 0 || isSpaceAt(this.#text, this.#offset))) {
      if (this.#ofTab === 0) {
        this.#ofTab = this.#text.charAt(this.#offset) === "\t" ? TAB - (this.#column % TAB) : 1
        this.#offset += 1
      }
      this.#ofTab -= 1
      this.#column += 1
      left -= 1
    }
    this.#content = undefined
    return this
  }

  /** Moves past characters that are not white space. */
  take(characters: number): this {
    this.#offset += characters
    this.#column += characters
    this.#content = undefined
    return this
  }

  #ahead(): { readonly indent: number; readonly start: number } {
    if (this.#content !== undefined) return this.#content
    let start = this.#offset
    let column = this.#column + this.#ofTab
    while (isSpaceAt(this.#text, start)) {
      column += this.#text.charAt(start) === "\t" ? TAB - (column % TAB) : 1
      start += 1
    }
    this.#content = { indent: column - this.#column, start }
    return this.#content
  }
}

function isSpaceAt(text: string, offset: number): boolean {
  const character = text.charAt(offset)
  return character === " " || character === "\t"
}
