import type { OutputGate } from "../approvals/asker.ts"
import { foldWords } from "../approvals/held-lines.ts"
import { oneLine } from "../terminal/format.ts"
import type { Terminal } from "../terminal/io.ts"
import { heading } from "../terminal/output-flags.ts"
import { type Style, styler } from "../terminal/style.ts"

const MOST_COLUMNS = 120
const LEAST_COLUMNS = 24

export interface StopMenuOptions {
  readonly terminal: Terminal
  readonly env: Readonly<Record<string, string | undefined>>
  /** Holds the output of the run back while the menu is open. */
  readonly gate: OutputGate
  /** Called before the menu is shown. */
  readonly onOpen: () => void
  /** Stops the run. */
  readonly stop: () => void
  /** Does something else instead. Resolves with false if there was nothing to redirect any more. */
  readonly redirect: (text: string) => Promise<boolean>
  /** What continues while the menu is open. Default: "the turn". */
  readonly runs?: string
}

/** Asks a person who pressed Ctrl-C what to do. The run continues in the meantime. */
export class StopMenu {
  readonly #options: StopMenuOptions
  readonly #style: (style: Style, text: string) => string
  #open: { readonly closed: AbortController; readonly ended: Promise<void> } | undefined

  constructor(options: StopMenuOptions) {
    this.#options = options
    this.#style = styler({ stdout: options.terminal.output, env: options.env })
  }

  get isOpen(): boolean {
    return this.#open !== undefined
  }

  /** Resolves when the menu has closed. `undefined`: it is not open. */
  get closed(): Promise<void> | undefined {
    return this.#open?.ended
  }

  /** Opens the menu, unless it is open. */
  open(): void {
    if (this.#open !== undefined) return
    const { gate, onOpen } = this.#options
    const closed = new AbortController()
    onOpen()
    gate.close()
    const ended = this.#ask(closed.signal)
      .catch((error: unknown) => this.#say(`This could not be done: ${oneLine(error instanceof Error ? error.message : String(error))}`))
      .finally(() => {
        this.#open = undefined
        gate.open()
      })
    this.#open = { closed, ended }
  }

  /** Closes the menu, if it is open. Nothing is chosen. */
  async close(why: string): Promise<void> {
    this.#open?.closed.abort(why)
    await this.closed
  }

  async #ask(signal: AbortSignal): Promise<void> {
    const { terminal, stop, redirect, runs = "the turn" } = this.#options
    this.#write(["", this.#style("bold", heading(`${runs} still runs`, this.#width(), terminal))])
    this.#write(foldWords("Enter or s stops it, c or Esc lets it continue. Or type what to do instead:", this.#width()))
    const line = await terminal.line("> ", "", signal)
    if (signal.aborted) {
      if (typeof signal.reason === "string") this.#say(signal.reason)
      return
    }
    const text = line?.trim()
    const word = text?.toLowerCase()
    if (text === undefined || word === "c" || word === "continue") return this.#say("Continuing.")
    if (word === "" || word === "s" || word === "stop") return stop()
    if (!(await redirect(text))) this.#say("The turn had ended, so it was not redirected.")
  }

  #say(line: string): void {
    this.#write(foldWords(line, this.#width()))
  }

  #write(lines: readonly string[]): void {
    this.#options.terminal.output.write(lines.map((line) => `${line}\n`).join(""))
  }

  /** Narrower than the terminal: at full width some terminals move to the next line. */
  #width(): number {
    const { columns = 0 } = this.#options.terminal.output
    return Math.max(LEAST_COLUMNS, Math.min(MOST_COLUMNS, columns === 0 ? 80 : columns) - 1)
  }
}
