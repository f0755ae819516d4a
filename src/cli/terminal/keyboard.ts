import { spawn } from "node:child_process"
import { createInterface } from "node:readline"
import { setTimeout as delay } from "node:timers/promises"
import type { ReadStream, WriteStream } from "node:tty"
import type { Output, Terminal } from "./io.ts"

/** For how long typed input is discarded before a question is shown, in milliseconds: a key that was meant for something else decides nothing. */
const DISCARD_MS = 80

const CTRL_C = "\u0003"
const CTRL_D = "\u0004"
const CTRL_Z = "\u001a"

/** The terminal of this process. It is in raw mode only while a key is awaited. */
export class Keyboard implements Terminal {
  readonly output: Output
  readonly #input: ReadStream
  readonly #screen: WriteStream
  readonly #interrupt: () => void
  /** Whether another program uses the terminal now. */
  isLent = false

  constructor(input: ReadStream, screen: WriteStream, interrupt: () => void) {
    this.#input = input
    this.#screen = screen
    this.output = screen
    this.#interrupt = interrupt
  }

  async key(show: () => void, signal: AbortSignal): Promise<string | undefined> {
    const input = this.#input
    let listening = false
    let press: (key: string | undefined) => void = () => {}
    const pressed = new Promise<string | undefined>((resolve) => {
      press = resolve
    })
    const onData = (data: Buffer): void => {
      const text = data.toString("utf8")
      if (text.includes(CTRL_C)) this.#interrupt()
      else if (!listening) return
      else if (text === CTRL_Z) this.#stop(show)
      else press(text === CTRL_D ? undefined : text)
    }
    const end = (): void => press(undefined)
    input.setRawMode(true)
    input.on("data", onData).on("end", end).resume()
    signal.addEventListener("abort", end)
    try {
      await delay(DISCARD_MS)
      if (signal.aborted) return undefined
      show()
      listening = true
      return await pressed
    } finally {
      signal.removeEventListener("abort", end)
      input.off("data", onData).off("end", end).pause()
      input.setRawMode(false)
    }
  }

  line(question: string, given: string, signal: AbortSignal): Promise<string | undefined> {
    return new Promise((resolve) => {
      const reader = createInterface({ input: this.#input, output: this.#screen, terminal: true, historySize: 0 })
      const close = (): void => reader.close()
      let answer: string | undefined
      // On a line with text, the reader itself would only delete a character.
      const onKey = (_text: string | undefined, key: { readonly name?: string; readonly ctrl?: boolean } | undefined): void => {
        if (key?.name === "escape" || (key?.ctrl === true && key.name === "d")) close()
      }
      this.#input.on("keypress", onKey)
      reader.once("close", () => {
        signal.removeEventListener("abort", close)
        this.#input.off("keypress", onKey)
        if (answer === undefined) this.#screen.write("\n")
        resolve(answer)
      })
      reader.once("SIGINT", () => {
        this.#interrupt()
        close()
      })
      signal.addEventListener("abort", close)
      reader.question(question, (line) => {
        answer = line
        close()
      })
      if (given !== "") reader.write(given)
      if (signal.aborted) close()
    })
  }

  async run(program: string, args: readonly string[]): Promise<number> {
    this.isLent = true
    try {
      return await new Promise((resolve, reject) => {
        // Standard output may be a pipe; standard error is the terminal.
        const child = spawn(program, args, { stdio: [0, 2, 2] })
        child.once("error", reject)
        child.once("close", (code) => resolve(code ?? 1))
      })
    } finally {
      this.isLent = false
    }
  }

  /** Stops the process as a shell expects. When it continues, the question is shown again. */
  #stop(show: () => void): void {
    if (process.platform === "win32") return
    this.#input.setRawMode(false)
    process.once("SIGCONT", () => {
      this.#input.setRawMode(true)
      show()
    })
    process.kill(process.pid, "SIGTSTP")
  }
}
