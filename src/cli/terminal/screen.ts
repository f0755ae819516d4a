import { relative, sep } from "node:path"
import { columnsOf, cutToColumns } from "./columns.ts"
import { oneLine, plainText } from "./format.ts"
import type { Io } from "./io.ts"
import { isColoured, type Style, styler, widthOf } from "./style.ts"
import { Wrap } from "./wrap.ts"

/** What indented lines and the continuation lines of a text start with. */
export const INDENT = "   "
const FIELD_INDENT = " ".repeat(9)
// Saves the cursor's position instead of counting columns: on Ctrl-C a terminal writes ^C after the status.
const SAVE_CURSOR = "\u001b7"
const RESTORE_CURSOR_AND_CLEAR = "\u001b8\u001b[K"

/** Writes progress as text: whole lines, text that arrives in pieces, and on a terminal a status line that the next output replaces. */
export class Screen {
  /** Styles text, where the output is in colour. */
  readonly style: (style: Style, text: string) => string
  readonly #io: Pick<Io, "stdout" | "env" | "cwd">
  readonly #coloured: boolean
  readonly #live: (() => string) | undefined
  /** Where the next output goes: at the start of a line, or after text on the same line. */
  #column: "start" | "text" = "start"
  #wrap = new Wrap(0, INDENT, 0)
  #status = ""
  #waiting = ""

  /** `live`: what the status line shows after the status itself. */
  constructor(io: Pick<Io, "stdout" | "env" | "cwd">, live?: () => string) {
    this.#io = io
    this.#live = live
    this.#coloured = isColoured(io)
    this.style = styler(io)
  }

  /** Writes a whole line, after the end of any text. */
  line(text: string): void {
    this.endText()
    this.#io.stdout.write(`${text}\n`)
  }

  /** Writes one line for each field: its name, and its value in a column, wrapped to the terminal. */
  fields(fields: readonly (readonly [string, string])[]): void {
    const width = widthOf(this.#io.stdout)
    for (const [name, value] of fields) {
      const wrap = new Wrap(Number.isFinite(width) ? width : 0, FIELD_INDENT, FIELD_INDENT.length)
      this.line(`${this.style("dim", name.padEnd(FIELD_INDENT.length - 1))} ${wrap.add(value)}`)
    }
  }

  /** Starts a line that text continues. */
  begin(start: string): void {
    const { isTTY, columns = 0 } = this.#io.stdout
    this.#column = "text"
    this.#wrap = new Wrap(isTTY === true ? columns : 0, INDENT, columnsOf(start))
    this.#io.stdout.write(this.style("bold", start))
  }

  /** Writes the next piece of a text, wrapped to the terminal. */
  text(text: string): void {
    this.#clearStatus()
    if (this.#column === "start") this.begin(INDENT)
    this.#io.stdout.write(this.#wrap.add(plainText(text)))
  }

  /** Ends the line of a text, if one is open. */
  endText(): void {
    this.#clearStatus()
    if (this.#column === "text") this.#io.stdout.write("\n")
    this.#column = "start"
  }

  /** Shows a status until the next output, on terminals only. Without an argument: refreshes the one that is shown. */
  wait(status: string = this.#waiting): void {
    if (status === "" || this.#io.stdout.isTTY !== true || !this.#coloured) return
    this.#clearStatus()
    this.#waiting = status
    const { columns = 0 } = this.#io.stdout
    const live = this.#live === undefined ? "" : ` · ${this.#live()}`
    // Narrower than the terminal: at full width the cursor would move to the next line.
    this.#status = cutToColumns(
      `${this.#column === "start" ? INDENT : ""}${status} …${live}`,
      Math.max(20, columns === 0 ? 79 : columns - INDENT.length - 1),
    )
    this.#io.stdout.write(`${SAVE_CURSOR}${this.style("dim", this.#status)}`)
  }

  /** A path as shown to the user: relative to the current folder where it is inside. */
  shortPath(path: string): string {
    const inner = relative(this.#io.cwd, path)
    return oneLine(inner === "" || inner === ".." || inner.startsWith(`..${sep}`) ? path : inner)
  }

  #clearStatus(): void {
    this.#waiting = ""
    if (this.#status === "") return
    this.#status = ""
    this.#io.stdout.write(RESTORE_CURSOR_AND_CLEAR)
  }
}
