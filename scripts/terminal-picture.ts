/** Draws what a program wrote to a terminal as an SVG image: text that can be selected, without fonts or scripts of its own. */
import { columnsOf } from "../src/cli/terminal/columns.ts"

/** What a terminal shows in one place. A wide character has an empty cell after it. */
interface Cell {
  readonly character: string
  readonly style: string
}

/** The attributes that the command line uses, by the parameters that set them. */
const ATTRIBUTES: Readonly<Record<number, string>> = { 1: "bold", 2: "dim", 31: "red", 32: "green", 33: "yellow" }
/** The attributes that each of these parameters ends. */
const RESETS: Readonly<Record<number, readonly string[]>> = { 0: Object.values(ATTRIBUTES), 22: ["bold", "dim"], 39: ["red", "green", "yellow"] }

// biome-ignore lint/suspicious/noControlCharactersInRegex: these are the sequences of a terminal
const PIECE = /\u001b\[([\d;]*)([A-Za-z])|\u001b([78])|\r|\n|[^\u001b\r\n]/gu

/**
 * Replays output on a terminal without an end, and returns its rows.
 * @throws the output has a sequence that this terminal does not know: a picture must not show something else than a terminal would
 */
export function rowsOf(output: string): readonly (readonly Cell[])[] {
  const rows: Cell[][] = [[]]
  let [row, column] = [0, 0]
  let saved = { row, column }
  let attributes: readonly string[] = []
  let end = 0
  for (const match of output.matchAll(PIECE)) {
    if (match.index !== end) break
    end += match[0].length
    const [piece, parameters = "", command, cursor] = match
    const cells = rows[row] ?? []
    rows[row] = cells
    if (piece === "\r") column = 0
    else if (piece === "\n") {
      row += 1
      rows[row] ??= []
    } else if (cursor === "7") saved = { row, column }
    else if (cursor === "8") ({ row, column } = saved)
    else if (command === "K" && parameters === "") cells.length = Math.min(cells.length, column)
    else if (command === "J" && parameters === "") {
      cells.length = Math.min(cells.length, column)
      rows.length = row + 1
    } else if (command === "m") for (const parameter of parameters.split(";")) attributes = styled(attributes, Number(parameter))
    else if (command !== undefined) throw new Error(`The terminal does not know ${JSON.stringify(piece)}.`)
    else {
      while (cells.length < column) cells.push({ character: " ", style: "" })
      const style = attributes.join(" ")
      cells[column] = { character: piece, style }
      column += columnsOf(piece)
      if (columnsOf(piece) === 2) cells[column - 1] = { character: "", style }
    }
  }
  if (end !== output.length) throw new Error(`The terminal does not know ${JSON.stringify(output.slice(end, end + 8))}.`)
  return rows
}

function styled(attributes: readonly string[], parameter: number): readonly string[] {
  const reset = RESETS[parameter]
  if (reset !== undefined) return attributes.filter((attribute) => !reset.includes(attribute))
  const attribute = ATTRIBUTES[parameter]
  if (attribute === undefined) throw new Error(`The terminal does not know the attribute ${parameter}.`)
  return [...attributes.filter((other) => other !== attribute), attribute]
}

const COLUMN = 8.4
const ROW = 19
const MARGIN = 18
const BASELINE = 14

/** Draws rows. `title` describes the image to those who do not see it. */
export function svgOf(rows: readonly (readonly Cell[])[], { columns, title }: { readonly columns: number; readonly title: string }): string {
  const [width, height] = [Math.ceil(columns * COLUMN + 2 * MARGIN), rows.length * ROW + 2 * MARGIN]
  const lines = rows.flatMap((cells, row) => runsOf(cells).map((run) => textOf(run, MARGIN + row * ROW + BASELINE)))
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" role="img">
<title>${escaped(title)}</title>
<style>
text { font: 14px ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", "Liberation Mono", monospace; fill: #d5dae2; white-space: pre }
.bold { font-weight: 700; fill: #fff }
.dim { fill: #8b95a5 }
.red { fill: #ff8078 }
.green { fill: #6bd38a }
.yellow { fill: #e9c46a }
</style>
<rect x="0.5" y="0.5" width="${width - 1}" height="${height - 1}" rx="9" fill="#14181f" stroke="#3a4350"/>
${lines.join("\n")}
</svg>
`
}

interface Run {
  readonly column: number
  readonly columns: number
  readonly text: string
  readonly style: string
}

/** The parts of a row that have one style. Spaces between and after them are left out. */
function runsOf(cells: readonly Cell[]): readonly Run[] {
  const runs: Run[] = []
  for (const [column, { character, style }] of cells.entries()) {
    const last = runs.at(-1)
    if (last !== undefined && last.style === style && last.column + last.columns === column)
      runs[runs.length - 1] = { ...last, columns: last.columns + 1, text: last.text + character }
    else runs.push({ column, columns: 1, text: character, style })
  }
  return runs.flatMap(({ column, text, style }) => {
    const shown = text.trim()
    if (shown === "") return []
    return [{ column: column + columnsOf(text.slice(0, text.indexOf(shown))), columns: columnsOf(shown), text: shown, style }]
  })
}

/** Its length is given, so that columns stay columns in every font. */
function textOf({ column, columns, text, style }: Run, y: number): string {
  const place = `x="${rounded(MARGIN + column * COLUMN)}" y="${y}" textLength="${rounded(columns * COLUMN)}" lengthAdjust="spacingAndGlyphs"`
  return `<text ${place}${style === "" ? "" : ` class="${style}"`} xml:space="preserve">${escaped(text)}</text>`
}

function rounded(length: number): number {
  return Math.round(length * 10) / 10
}

function escaped(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;")
}

/** The lines of text in an image of {@link svgOf}, by their place. */
export function linesOf(svg: string): readonly string[] {
  const lines = new Map<string, string[]>()
  for (const [, y = "", text = ""] of svg.matchAll(/<text x="[^"]*" y="([^"]*)"[^>]*>([^<]*)<\/text>/g)) lines.set(y, [...(lines.get(y) ?? []), text])
  return [...lines.values()].map((texts) => texts.join(" ").replaceAll("&lt;", "<").replaceAll("&gt;", ">").replaceAll("&amp;", "&"))
}
