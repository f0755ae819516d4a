/** A hash of a text, by which a repetition is noticed without keeping the text. `undefined` for an empty text. */
export function fingerprint(text: string): string | undefined {
  if (text === "") return undefined
  let first = 0x811c9dc5
  let second = 0x1b873593
  for (let index = 0; index < text.length; index += 1) {
    const unit = text.charCodeAt(index)
    first = Math.imul(first ^ unit, 0x01000193)
    second = Math.imul(second ^ unit, 0x5bd1e995) ^ (second >>> 15)
  }
  return `${text.length}-${(first >>> 0).toString(16)}-${(second >>> 0).toString(16)}`
}
