/** One fenced block of code in a model's text. */
export interface Fence {
  /** The first word after the opening fence, in lower case; "" without one. */
  readonly language: string
  readonly code: string
  /** The offsets in the text: the start of the opening line, and the end of the closing line. */
  readonly start: number
  readonly end: number
  /** False if the text ends without a closing fence. */
  readonly closed: boolean
}

/**
 * Reads the fenced code blocks of a text by the rules of CommonMark 0.31, section 4.5. An opening line has at most three spaces,
 * three or more backticks or tildes, and an info string (without backticks after backticks). A closing line has at least as many
 * of the same character and nothing else. The indentation of the opening line is removed from the lines between.
 */
export function readFences(text: string): readonly Fence[] {
  const fences: Fence[] = []
  let open:
    | { readonly marker: string; readonly indent: number; readonly language: string; readonly start: number; readonly lines: string[] }
    | undefined
  let position = 0
  while (position < text.length) {
    const newline = text.indexOf("\n", position)
    const next = newline < 0 ? text.length : newline + 1
    const line = text.slice(position, newline < 0 ? text.length : newline).replace(/\r$/, "")
    if (open === undefined) {
      const opening = OPENING.exec(line)
      if (opening !== null) {
        const [, indent = "", marker = "", info = ""] = opening
        open = { marker, indent: indent.length, language: (/\S+/.exec(info)?.[0] ?? "").toLowerCase(), start: position, lines: [] }
      }
    } else if (closes(open.marker, line)) {
      const { language, start, lines } = open
      fences.push({ language, code: lines.join("\n"), start, end: newline < 0 ? text.length : newline, closed: true })
      open = undefined
    } else {
      open.lines.push(outdent(line, open.indent))
    }
    position = next
  }
  if (open !== undefined) fences.push({ language: open.language, code: open.lines.join("\n"), start: open.start, end: text.length, closed: false })
  return fences
}

const OPENING = /^( {0,3})(`{3,}(?=[^`]*$)|~{3,})(.*)$/
const CLOSING = /^ {0,3}(`{3,}|~{3,})[ \t]*$/

function closes(marker: string, line: string): boolean {
  const closing = CLOSING.exec(line)?.[1]
  return closing !== undefined && closing.charAt(0) === marker.charAt(0) && closing.length >= marker.length
}

function outdent(line: string, indent: number): string {
  let cut = 0
  while (cut < indent && line.charAt(cut) === " ") cut += 1
  return line.slice(cut)
}
