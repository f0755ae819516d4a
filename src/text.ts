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
  let head = 0
  for (let taken = 0; taken < half; taken += 1) head += isPair(text, head) ? 2 : 1
  let tail = text.length
  for (let taken = 0; taken < half; taken += 1) tail -= isPair(text, tail - 2) ? 2 : 1
  return `${text.slice(0, head)}\n\n... (${points - 2 * half} chars omitted) ...\n\n${text.slice(tail)}`
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
