import type { ViewerData } from "../data.ts"

/** What a page's template has in the places of the title and of the data. */
export const TITLE_MARK = "%TITLE%"
export const DATA_MARK = "%DATA%"

/** By this a file is known as a page of ours, which may be replaced. */
export const GENERATOR = "turn-machine journal view"

/** A page: the template with the data in it. @throws {Error} the template lacks its marks */
export function pageOf(template: string, data: ViewerData): string {
  const [head, body] = halves(template, TITLE_MARK)
  const [before, after] = halves(body, DATA_MARK)
  return `${head}${escaped(data.title)}${before}${dataText(data)}${after}`
}

function halves(text: string, mark: string): readonly [string, string] {
  const at = text.indexOf(mark)
  if (at < 0) throw new Error(`The page's template does not contain ${mark}.`)
  return [text.slice(0, at), text.slice(at + mark.length)]
}

/**
 * JSON that can be in a `<script>` of HTML: without `<`, nothing in it can end the element, open a comment in it or begin another one. Some
 * parsers of scripts end a line at U+2028 and U+2029. Half surrogate pairs are escaped by `JSON.stringify`, so the text is well formed.
 */
export function dataText(data: ViewerData): string {
  return JSON.stringify(data).replace(/[<\u2028\u2029]/g, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`)
}

function escaped(text: string): string {
  return text.replace(/[&<>"'\p{Cc}\p{Bidi_Control}]/gu, (char) => `&#${char.codePointAt(0) === 0 ? 0xfffd : char.codePointAt(0)};`)
}
