// Unicode White_Space, spelled out: JavaScript's own trim leaves U+0085 and takes U+FEFF, and so do `\s` patterns.
const WHITE_SPACE = /^[\t-\r \u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]$/

/** Cuts Unicode White_Space off both ends. */
export function trim(text: string): string {
  let start = 0
  let end = text.length
  while (start < end && WHITE_SPACE.test(text.charAt(start))) start += 1
  while (end > start && WHITE_SPACE.test(text.charAt(end - 1))) end -= 1
  return start === 0 && end === text.length ? text : text.slice(start, end)
}

/** Whether a text has nothing but Unicode White_Space. */
export function isBlank(text: string): boolean {
  for (let index = 0; index < text.length; index += 1) if (!WHITE_SPACE.test(text.charAt(index))) return false
  return true
}

/** At most `limit` code points: longer texts keep as many at each end, with a line between that counts what is left out. */
export function cutMiddle(text: string, limit: number): string {
  if (text.length <= limit) return text
  const points = Array.from(text)
  if (points.length <= limit) return text
  const kept = Math.floor(limit / 2)
  const head = points.slice(0, kept).join("")
  const tail = points.slice(points.length - kept).join("")
  return `${head}\n\n... (${points.length - 2 * kept} chars omitted) ...\n\n${tail}`
}
