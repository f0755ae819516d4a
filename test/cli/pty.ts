import { spawn, spawnSync } from "node:child_process"
import { stripVTControlCharacters } from "node:util"
import { onTestFinished } from "vitest"
import { until } from "./harness.ts"

// util-linux `script` gives a process a real terminal.
export const hasPty: boolean = spawnSync("script", ["-qec", "true", "/dev/null"], { stdio: ["pipe", "pipe", "pipe"] }).status === 0

/** The command line in a real terminal. */
export class Pty {
  shown = ""
  readonly ended: Promise<number | null>
  readonly #child: ReturnType<typeof spawn>

  constructor(
    how: readonly string[],
    args: readonly string[],
    { cwd, env = {}, columns = 100 }: { cwd: string; env?: Record<string, string>; columns?: number },
  ) {
    const words = [process.execPath, ...how, ...args].map((word) => `'${word.replaceAll("'", "'\\''")}'`).join(" ")
    this.#child = spawn("script", ["-qec", `stty cols ${columns} rows 40; exec ${words}`, "/dev/null"], {
      cwd,
      env: { ...process.env, TERM: "xterm", ...env },
      stdio: "pipe",
    })
    this.#child.stdout?.on("data", (data: Buffer) => (this.shown += stripVTControlCharacters(data.toString())))
    this.ended = new Promise((resolve) => this.#child.on("close", resolve))
    onTestFinished(() => void this.#child.kill("SIGKILL"))
  }

  type(text: string): void {
    this.#child.stdin?.write(text)
  }

  /** Waits for a text that is shown after what was waited for before. */
  async waitFor(text: string): Promise<void> {
    await until(() => this.shown.includes(text, this.#from))
    this.#from = this.shown.indexOf(text, this.#from) + text.length
  }
  #from = 0
}
