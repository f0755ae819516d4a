import type { Io } from "./io.ts"
import { widthOf } from "./style.ts"
import { Wrap } from "./wrap.ts"

/** The width of help texts as they are written. */
const WRITTEN_WIDTH = 120
/** Narrower terminals get a description below its flag. */
const LEAST_WIDTH_OF_TWO_COLUMNS = 72
/** A line that begins further to the right is a description. */
const MOST_INDENT = 6

/** A paragraph, or a flag or command with its description. */
interface Entry {
  readonly indent: number
  /** The flag or command; empty for a paragraph. */
  readonly name: string
  /** Where the lines of the text begin, as it is written. */
  readonly column: number
  readonly text: string
}

/** Writes a help text, wrapped to a terminal that is narrower than the text. */
export function printHelp(help: string, { stdout }: Pick<Io, "stdout">): void {
  const width = widthOf(stdout)
  stdout.write(width >= WRITTEN_WIDTH ? help : narrowed(help, width))
}

function narrowed(help: string, width: number): string {
  const lines: string[] = []
  let entry: Entry | undefined
  for (const line of [...help.trimEnd().split("\n"), ""]) {
    const longer: Entry | undefined = entry && continued(entry, line)
    if (longer === undefined && entry !== undefined) lines.push(...linesOf(entry, width))
    if (line === "") lines.push("")
    entry = longer ?? (line === "" ? undefined : entryOf(line))
  }
  return lines.join("\n")
}

function entryOf(line: string): Entry {
  const indent = line.search(/\S/)
  const [, name = "", gap = "", text = ""] = /^(\S+(?: \S+)*)( {2,})(\S.*)$/.exec(line.trim()) ?? []
  if (name === "") return { indent, name, column: indent, text: line.trim() }
  return { indent, name, column: indent + name.length + gap.length, text }
}

/** An entry with its next line; `undefined` if the line begins another entry. */
function continued(entry: Entry, line: string): Entry | undefined {
  if (line === "") return undefined
  const next = entryOf(line)
  if (next.indent === entry.column && (entry.name !== "" || (next.name === "" && !isCommand(entry))))
    return { ...entry, text: `${entry.text} ${line.trim()}` }
  // The description of a long flag or command begins below it.
  if (entry.name === "" && next.indent > MOST_INDENT) return { ...entry, name: entry.text, column: next.indent, text: line.trim() }
  return undefined
}

/** A command of an example. */
function isCommand({ indent, name, text }: Entry): boolean {
  return indent > 0 && name === "" && text.startsWith("turn-machine ")
}

function linesOf(entry: Entry, width: number): readonly string[] {
  const { indent, name, column, text } = entry
  const start = " ".repeat(indent)
  const wrapped = (first: string, rest: number): readonly string[] =>
    `${first}${new Wrap(width, " ".repeat(rest), first.length).add(text)}`.split("\n")
  // The terminal wraps a command, so that it can be copied.
  if (isCommand(entry)) return [`${start}${text}`]
  if (name === "") return wrapped(start, indent)
  const below = width < LEAST_WIDTH_OF_TWO_COLUMNS || column > width / 2 ? MOST_INDENT : column
  if (below === column && indent + name.length < column) return wrapped(`${start}${name}`.padEnd(column), column)
  return [...`${start}${new Wrap(width, " ".repeat(MOST_INDENT), indent).add(name)}`.split("\n"), ...wrapped(" ".repeat(below), below)]
}
