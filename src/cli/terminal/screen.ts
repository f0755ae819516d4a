import { relative, sep } from "node:path"
import { columnsOf, cutToColumns } from "./columns.ts"
import { oneLine, plainText, seconds } from "./format.ts"
import type { Io } from "./io.ts"
import { isColoured, type Style, styler, widthOf } from "./style.ts"
import { Wrap } from "./wrap.ts"

/** What indented lines and the continuation lines of a text start with. */
export const INDENT = "   "
const FIELD_INDENT = " ".repeat(9)
// Saves the cursor's position instead of counting columns: on Ctrl-C a terminal writes ^C after the status.
const SAVE_CURSOR = "\u001b7"
// To the end of the screen: a terminal that became narrower shows the status in two lines.
const RESTORE_CURSOR_AND_CLEAR = "\u001b8\u001b[J"

const TICK_MS = 1_000
/** What takes longer says how long, in the status line. */
const SHOW_ELAPSED_MS = 3_000
/** Progress that is reported more often is shown with the next tick. */
const LEAST_REDRAW_MS = 100
/** Where no status line can be shown, a line says after this time what still runs, then after twice as long, and so on. */
const FIRST_NOTE_MS = 30_000
const MOST_NOTE_MS = 600_000

/** What takes time now, until the next output. */
interface Waiting {
  readonly status: string
  /** As of `Date.now`. */
  readonly since: number
  detail: string
  drawnAt: number
}

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
  #waiting: Waiting | undefined
  #timer: ReturnType<typeof setTimeout> | undefined

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

  /** Writes a heading and what belongs to it, wrapped to the terminal. */
  heading(text: string, more: string): void {
    const wrap = new Wrap(() => this.#wrapWidth(), INDENT, columnsOf(text) + 1)
    this.line(`${this.style("bold", text)}${more === "" ? "" : this.style("dim", ` ${wrap.add(more)}`)}`)
  }

  /** Writes one line for each field: its name, and its value in a column, wrapped to the terminal. */
  fields(fields: readonly (readonly [string, string])[]): void {
    for (const [name, value] of fields) {
      const wrap = new Wrap(() => this.#wrapWidth(), FIELD_INDENT, FIELD_INDENT.length)
      this.line(`${this.style("dim", name.padEnd(FIELD_INDENT.length - 1))} ${wrap.add(value)}`)
    }
  }

  /** Starts a line that text continues. */
  begin(start: string): void {
    this.#column = "text"
    this.#wrap = new Wrap(() => this.#wrapWidth(), INDENT, columnsOf(start))
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

  /**
   * Says what takes time now, until the next output: on terminals in a status line, with the time it takes. Elsewhere, only what takes long is
   * written, in a line. `since`: when it began, as of `Date.now`.
   */
  wait(status: string, since: number = Date.now()): void {
    this.#clearStatus()
    this.#waiting = { status, since, detail: "", drawnAt: 0 }
    if (this.#hasStatusLine) this.#tick()
    else this.#noteAfter(FIRST_NOTE_MS)
  }

  /** How far it has come. */
  detail(text: string): void {
    if (this.#waiting === undefined) return
    this.#waiting.detail = text
    if (this.#hasStatusLine && Date.now() - this.#waiting.drawnAt >= LEAST_REDRAW_MS) this.#draw(this.#waiting)
  }

  /** The width at which text is wrapped now: that of a terminal may change. 0: it is not wrapped. */
  #wrapWidth(): number {
    const width = widthOf(this.#io.stdout)
    return Number.isFinite(width) ? width : 0
  }

  get #hasStatusLine(): boolean {
    return this.#io.stdout.isTTY === true && this.#coloured
  }

  #tick(): void {
    if (this.#waiting !== undefined) this.#draw(this.#waiting)
    this.#timer = setTimeout(() => this.#tick(), TICK_MS)
    this.#timer.unref()
  }

  #draw(waiting: Waiting): void {
    this.#wipe()
    const { status, since, detail } = waiting
    const now = Date.now()
    waiting.drawnAt = now
    const elapsed = now - since < SHOW_ELAPSED_MS ? "" : ` ${seconds(Math.round((now - since) / 1_000))}`
    const { columns = 0 } = this.#io.stdout
    const live = this.#live === undefined ? "" : ` · ${this.#live()}`
    // Narrower than the terminal: at full width the cursor would move to the next line.
    this.#status = cutToColumns(
      `${this.#column === "start" ? INDENT : ""}${status} …${elapsed}${detail === "" ? "" : ` · ${detail}`}${live}`,
      Math.max(20, columns === 0 ? 79 : columns - INDENT.length - 1),
    )
    this.#io.stdout.write(`${SAVE_CURSOR}${this.style("dim", this.#status)}`)
  }

  #noteAfter(ms: number): void {
    this.#timer = setTimeout(() => {
      if (this.#waiting === undefined) return
      const { status, since, detail } = this.#waiting
      const text = `still ${status}, ${seconds(Math.round((Date.now() - since) / 1_000))}${detail === "" ? "" : `, ${detail}`}`
      this.#io.stdout.write(`${this.#column === "text" ? "\n" : ""}${INDENT}${cutToColumns(text, widthOf(this.#io.stdout) - INDENT.length)}\n`)
      this.#column = "start"
      this.#noteAfter(Math.min(MOST_NOTE_MS, 2 * ms))
    }, ms)
    this.#timer.unref()
  }

  /** A path as shown to the user: relative to the current folder where it is inside. */
  shortPath(path: string): string {
    const inner = relative(this.#io.cwd, path)
    return oneLine(inner === "" || inner === ".." || inner.startsWith(`..${sep}`) ? path : inner)
  }

  #clearStatus(): void {
    this.#waiting = undefined
    clearTimeout(this.#timer)
    this.#wipe()
  }

  #wipe(): void {
    if (this.#status === "") return
    this.#status = ""
    this.#io.stdout.write(RESTORE_CURSOR_AND_CLEAR)
  }
}
