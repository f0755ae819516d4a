import type { Difference } from "../../errors.ts"
import { isHighSurrogate, plainJson } from "../terminal/format.ts"

const LEAST_WIDTH = 24
const WIDTH_ELSEWHERE = 200
const BEFORE = 16

/** Formats differences: a JSON pointer, and below it both values, cut to the part around their first difference. */
export function differingLines(found: readonly Difference[], names: readonly [string, string], width: number): readonly string[] {
  const nameWidth = Math.max(names[0].length, names[1].length)
  const room = Math.max(LEAST_WIDTH, (Number.isFinite(width) ? width : WIDTH_ELSEWHERE) - nameWidth - 6)
  const shown = (value: unknown): string => (value === undefined ? "(nothing)" : plainJson(value))
  return found.flatMap(({ path, expected, received }) => {
    const [left, right] = excerpts(shown(expected), shown(received), room)
    return [
      `  ${path === "" ? "(root)" : plainPointer(path)}`,
      `    ${names[0].padEnd(nameWidth)}  ${left}`,
      `    ${names[1].padEnd(nameWidth)}  ${right}`,
    ]
  })
}

function plainPointer(path: string): string {
  return plainJson(path).slice(1, -1)
}

/** Both texts from a little before their first difference, in at most `room` characters. */
function excerpts(left: string, right: string, room: number): readonly [string, string] {
  let parted = 0
  while (parted < left.length && left[parted] === right[parted]) parted += 1
  const longest = Math.max(left.length, right.length)
  const start = longest <= room ? 0 : Math.max(0, Math.min(parted - BEFORE, longest - room + 1))
  return [excerpt(left, start, room), excerpt(right, start, room)]
}

function excerpt(text: string, from: number, room: number): string {
  const start = from > 0 && isHighSurrogate(text.charCodeAt(from - 1)) ? from + 1 : from
  const head = start > 0 ? "…" : ""
  const shown = text.slice(start)
  if (head.length + shown.length <= room) return `${head}${shown}`
  const end = room - head.length - 1
  return `${head}${shown.slice(0, isHighSurrogate(shown.charCodeAt(end - 1)) ? end - 1 : end)}…`
}
