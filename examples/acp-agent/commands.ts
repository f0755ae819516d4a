import { type ChildProcess, spawn } from "node:child_process"
import type { ClientSide } from "./workspace.ts"

/** The end of a command. */
export interface CommandEnd {
  /** What it printed: the last part, if it is long. */
  readonly output: string
  readonly exitCode: number | null
  readonly isTimeout: boolean
}

export interface CommandOptions {
  readonly cwd: string
  readonly timeoutMs: number
  readonly signal: AbortSignal
  /** Receives the id of the client's terminal, once there is one. */
  readonly onTerminal: (terminalId: string) => void
  /** Receives all output so far, a few times a second. Not with a terminal of the client, which shows it. */
  readonly onOutput: (output: string) => void
}

/** Runs a command line in a shell. Rejects if it cannot be started, and when the signal is aborted; then it is killed. */
export type RunCommand = (command: string, options: CommandOptions) => Promise<CommandEnd>

const MAX_OUTPUT_CHARS = 30_000
const SHOW_EVERY_MS = 250
const SHELL: readonly string[] = process.platform === "win32" ? ["cmd.exe", "/d", "/s", "/c"] : ["/bin/sh", "-c"]

/** Runs commands in terminals of the client, if it offers them; otherwise as processes of the agent. */
export function commandsOf(side: ClientSide): RunCommand {
  return side.capabilities.terminal === true ? inTerminal(side) : inProcess
}

function inTerminal({ client, sessionId }: ClientSide): RunCommand {
  return async (line, { cwd, timeoutMs, signal, onTerminal }) => {
    signal.throwIfAborted()
    const [command = "", ...args] = [...SHELL, line]
    const terminal = await client.createTerminal({ sessionId, command, args, cwd, outputByteLimit: MAX_OUTPUT_CHARS })
    try {
      onTerminal(terminal.id)
      const stopped = stopAt(timeoutMs, signal)
      const end = await Promise.race([terminal.waitForExit(), stopped.promise]).finally(stopped.clear)
      if (typeof end === "string") await terminal.kill()
      signal.throwIfAborted()
      const { output } = await terminal.currentOutput()
      return { output: lastPart(output), exitCode: typeof end === "string" ? null : (end.exitCode ?? null), isTimeout: end === "timeout" }
    } finally {
      // The client keeps what it shows. A client that has closed the terminal is right, too.
      await terminal.release().catch(() => {})
    }
  }
}

const running = new Set<ChildProcess>()
process.on("exit", () => running.forEach(killGroup))

const inProcess: RunCommand = (line, { cwd, timeoutMs, signal, onOutput }) => {
  signal.throwIfAborted()
  const [shell = "", ...args] = [...SHELL, line]
  // A group of its own, so that all that it starts can be ended.
  const child = spawn(shell, args, { cwd, detached: process.platform !== "win32", stdio: ["ignore", "pipe", "pipe"], env: environment() })
  running.add(child)
  let output = ""
  let shown = 0
  const receive = (text: string): void => {
    output = lastPart(output + text)
    if (Date.now() - shown < SHOW_EVERY_MS) return
    shown = Date.now()
    onOutput(output)
  }
  child.stdout.setEncoding("utf8").on("data", receive)
  child.stderr.setEncoding("utf8").on("data", receive)
  const stopped = stopAt(timeoutMs, signal)
  return new Promise<CommandEnd>((resolve, reject) => {
    let isTimeout = false
    child.on("error", reject)
    child.on("close", (exitCode) => {
      if (signal.aborted) reject(signal.reason)
      else resolve({ output, exitCode, isTimeout })
    })
    void stopped.promise.then((why) => {
      isTimeout = why === "timeout"
      killGroup(child)
    })
  }).finally(() => {
    stopped.clear()
    running.delete(child)
  })
}

/** Resolves when the time is over, or the signal is aborted. */
function stopAt(timeoutMs: number, signal: AbortSignal): { readonly promise: Promise<"timeout" | "aborted">; readonly clear: () => void } {
  let clear = (): void => {}
  const promise = new Promise<"timeout" | "aborted">((resolve) => {
    const abort = () => resolve("aborted")
    const timer = setTimeout(() => resolve("timeout"), timeoutMs)
    signal.addEventListener("abort", abort, { once: true })
    clear = () => {
      clearTimeout(timer)
      signal.removeEventListener("abort", abort)
    }
  })
  return { promise, clear }
}

function killGroup(child: ChildProcess): void {
  try {
    if (child.pid !== undefined && process.platform !== "win32") process.kill(-child.pid, "SIGKILL")
    else child.kill("SIGKILL")
  } catch {
    // It has ended.
  }
}

/** A command must not read the keys of the model. */
function environment(): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !/API_KEY$/.test(name)))
}

function lastPart(output: string): string {
  if (output.length <= MAX_OUTPUT_CHARS) return output
  return `[…]${output.slice(3 - MAX_OUTPUT_CHARS)}`
}
