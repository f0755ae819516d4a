import type { Json } from "../../json.ts"

// What a terminal hides, reorders or obeys: control and format characters, also invisible ones, private use, half pairs, and spaces that
// are not the plain one. A long run of combining marks covers the lines above it.
const HIDDEN = /(?!\n)[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Co}\p{Cs}]|(?! )\p{Zs}|(?<=\p{M}{4})\p{M}/gu

/**
 * Shows a text exactly, for someone who decides about it: characters that could hide or fake a part of it are written as `\u202e`.
 * Line feeds stay.
 */
export function inert(text: string): string {
  return text.replace(HIDDEN, (hidden) =>
    Array.from({ length: hidden.length }, (_, index) => `\\u${hidden.charCodeAt(index).toString(16).padStart(4, "0")}`).join(""),
  )
}

/** {@link inert} on one line: line breaks and tabs are shown as in JSON. */
export function inertLine(text: string): string {
  return inert(text.replaceAll("\n", "\\n").replaceAll("\r", "\\r").replaceAll("\t", "\\t"))
}

/** JSON in which every character can be seen. */
export function inertJson(value: Json, indent?: number): string {
  return inert(JSON.stringify(value, undefined, indent))
}
