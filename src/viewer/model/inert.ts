/** A piece of a text: plain, or a character that would hide or reorder others, by its code point. */
export type InertPiece = { readonly text: string } | { readonly hidden: string }

// Control and format characters, invisible ones, half pairs, and marks beyond the fourth in a row. Line feeds and tabs stay.
const HIDDEN = /(?![\n\t])[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Co}\p{Cs}]|(?<=\p{M}{4})\p{M}/gu

/** Splits a text so that a page can show what it would hide. Most texts are one piece. */
export function inertPieces(text: string): readonly InertPiece[] {
  const pieces: InertPiece[] = []
  let start = 0
  for (const { index, 0: hidden } of text.matchAll(HIDDEN)) {
    if (index > start) pieces.push({ text: text.slice(start, index) })
    pieces.push({ hidden: `U+${(hidden.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, "0")}` })
    start = index + hidden.length
  }
  if (start < text.length || pieces.length === 0) pieces.push({ text: text.slice(start) })
  return pieces
}

/** A text on one line, cut to a length, in which nothing is hidden: for places that show plain text only, such as titles. */
export function inertLine(text: string, limit = 300): string {
  const line = cut(text, limit + 1)
    .replace(/\s+/g, " ")
    .trim()
  const shown = inertPieces(line)
    .map((piece) => ("text" in piece ? piece.text : `⟨${piece.hidden}⟩`))
    .join("")
  return text.length > limit ? `${cut(shown, limit)}…` : shown
}

/** The beginning of a text. Never splits a surrogate pair. */
export function cut(text: string, limit: number): string {
  if (text.length <= limit) return text
  const unit = text.charCodeAt(limit - 1)
  return text.slice(0, unit >= 0xd800 && unit <= 0xdbff ? limit - 1 : limit)
}
