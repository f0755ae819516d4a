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

/** Cuts a text to 60 code points for an error message; "…" marks the cut. */
export function shortened(text: string): string {
  if (text.length <= 60) return text
  const head = Array.from(text.slice(0, 120)).slice(0, 60).join("")
  return `${head}…`
}

/** Cuts a text to `limit` code points: a longer one keeps half at each end, with a line in between that counts the omitted ones. */
export function cutMiddle(text: string, limit: number): string {
  if (text.length <= limit) return text
  const points = Array.from(text)
  if (points.length <= limit) return text
  const half = Math.floor(limit / 2)
  const head = points.slice(0, half).join("")
  const tail = points.slice(points.length - half).join("")
  return `${head}\n\n... (${points.length - 2 * half} chars omitted) ...\n\n${tail}`
}
