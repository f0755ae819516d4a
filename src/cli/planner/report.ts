import { cutText, plainText } from "../terminal/format.ts"
import type { FileText } from "../workspace/tools.ts"
import { AROUND } from "./survey.ts"
import { type Hit, holds } from "./windows.ts"

/** A report shows this many hits with the lines around them; what comes after is listed without. */
export const MAX_BLOCKS = 200
const MAX_SHOWN_LENGTH = 200

/** A text as inline code, whatever is in it. */
export function code(text: string): string {
  const plain = plainText(text).replace(/\s+/g, " ")
  const longest = Math.max(0, ...[...plain.matchAll(/`+/g)].map((run) => run[0].length))
  const fence = "`".repeat(longest + 1)
  const space = plain.startsWith("`") || plain.endsWith("`") || plain === "" ? " " : ""
  return `${fence}${space}${plain}${space}${fence}`
}

/** A text as it stands, in a line of prose: nothing in it is taken for Markdown or HTML. */
export function prose(text: string): string {
  return plainText(text)
    .replace(/\s+/g, " ")
    .trim()
    .replace(/[\\`*_[\]<>|#~$]/g, "\\$&")
}

/** The lines around a hit as a block with line numbers, the hit marked; `undefined` if they were not read. */
export function surroundings(hit: Hit, readings: readonly FileText[]): string | undefined {
  const reading = readings.find(({ path, fromLine, toLine }) => holds({ path, fromLine, toLine }, hit))
  if (reading === undefined) return undefined
  const first = Math.max(reading.fromLine, hit.line - AROUND)
  const last = Math.min(reading.toLine, hit.line + AROUND)
  const width = String(last).length
  const lines = reading.text.split("\n").slice(first - reading.fromLine, last - reading.fromLine + 1)
  const shown = lines.map((line, index) => {
    const number = first + index
    return `${number === hit.line ? ">" : " "} ${String(number).padStart(width)} | ${cutText(plainText(line), MAX_SHOWN_LENGTH)}`.trimEnd()
  })
  const longest = Math.max(0, ...shown.flatMap((line) => [...line.matchAll(/`+/g)].map((run) => run[0].length)))
  const fence = "`".repeat(Math.max(3, longest + 1))
  return [`${fence}text`, ...shown, fence].join("\n")
}

/** Groups by file, in the order in which the files come. */
export function byFile<Item extends { readonly path: string }>(items: readonly Item[]): ReadonlyMap<string, readonly Item[]> {
  const groups = new Map<string, Item[]>()
  for (const item of items) {
    const group = groups.get(item.path)
    if (group === undefined) groups.set(item.path, [item])
    else group.push(item)
  }
  return groups
}
