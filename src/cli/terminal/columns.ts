import { stripVTControlCharacters } from "node:util"

// Unicode's East Asian Width W and F, in ranges of code points, and emoji. Combining marks and format characters take no column.
const WIDE =
  /[\u1100-\u115f\u2e80-\u303e\u3041-\u33ff\u3400-\u4dbf\u4e00-\ua4cf\ua960-\ua97f\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6\u{1b000}-\u{1b2ff}\u{20000}-\u{3fffd}\p{Emoji_Presentation}]/u
const EMPTY = /[\p{Mn}\p{Me}\p{Cf}]/u
const PLAIN = /^[\x20-\x7e]*$/

/** The columns that a text takes on a terminal. Colours take none. */
export function columnsOf(text: string): number {
  if (PLAIN.test(text)) return text.length
  let columns = 0
  for (const character of stripVTControlCharacters(text)) columns += columnsOfCharacter(character)
  return columns
}

/** Cuts a text without colours to at most `limit` columns, including an ellipsis. */
export function cutToColumns(text: string, limit: number): string {
  if (columnsOf(text) <= limit) return text
  let [shown, columns] = ["", 0]
  for (const character of text) {
    columns += columnsOfCharacter(character)
    if (columns > limit - 1) break
    shown += character
  }
  return `${shown}…`
}

/** Pads a text with spaces to at least `columns`. */
export function padToColumns(text: string, columns: number): string {
  return `${text}${" ".repeat(Math.max(0, columns - columnsOf(text)))}`
}

/** Splits a line without colours into pieces of at most `limit` columns. */
export function foldToColumns(text: string, limit: number): readonly string[] {
  if (columnsOf(text) <= limit) return [text]
  const pieces: string[] = []
  let [piece, columns] = ["", 0]
  for (const character of text) {
    const width = columnsOfCharacter(character)
    if (columns + width > limit && piece !== "") {
      pieces.push(piece)
      piece = ""
      columns = 0
    }
    piece += character
    columns += width
  }
  return [...pieces, piece]
}

/** Asks for the picture of a character that is a text otherwise, such as ❤: many terminals then give it two columns. */
const AS_EMOJI = "\ufe0f"

function columnsOfCharacter(character: string): number {
  if (character === AS_EMOJI) return 1
  if (EMPTY.test(character)) return 0
  return WIDE.test(character) ? 2 : 1
}
