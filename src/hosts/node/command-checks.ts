import { type ChildProcess, type SpawnOptions, spawn } from "node:child_process"
import { statSync } from "node:fs"
import { StringDecoder } from "node:string_decoder"
import { textOf } from "../../text.ts"
import type { GoalCheckResult } from "../../wire/goal.ts"
import type { CheckRunner } from "../thread/check-runner.ts"
import { onAbort } from "../timers.ts"
import { endGroup, killAtExit } from "./process-group.ts"
import { splitCommand } from "./split-command.ts"

/** Options of {@link commandChecks}. */
export interface CommandCheckOptions {
  /** The folder in which the commands run. */
  readonly cwd: string
  /** The environment of the commands. Default: that of this process. */
  readonly env?: NodeJS.ProcessEnv
  /** How long each command may take, in milliseconds; then it is ended and has failed. Default 300,000. */
  readonly timeoutMs?: number
  /** How much of the end of its output a result contains, in UTF-16 units. Default 3,000. */
  readonly maxTailChars?: number
  /** Runs commands that are one text with the shell of the system. Default false: they are split into plain words. */
  readonly shell?: boolean
}

const DEFAULT_TIMEOUT_MS = 300_000
const DEFAULT_MAX_TAIL_CHARS = 3_000

/** How long output may follow the end of a program whose children have its output open, in milliseconds. */
const DRAIN_MS = 500

/**
 * Runs the checks of a goal that are commands, one after another. A check passes if its program exits with 0. The end of its standard
 * output and error, interleaved as they arrive, is the tail of the result.
 *
 *     await runThread(thread, host, { checks: commandChecks({ cwd: "./app" }) })
 *
 * A command that is one text is split at spaces, with quotes and backslashes as in a POSIX shell. One that needs a shell (pipes, redirects,
 * variables, patterns, `&&`) fails with a message that says so, unless `shell` is set. A command that is a list runs as it is.
 *
 * The programs read nothing (standard input is empty). When a program ends, exceeds its time, or the run is aborted, its process group is
 * ended: SIGTERM, and SIGKILL after 2 seconds. A child that has started a group of its own is not reached, and neither is anything when this
 * process is killed with SIGKILL. On Windows, the process tree is ended with `taskkill /T /F`.
 */
export function commandChecks(options: CommandCheckOptions): CheckRunner {
  return async ({ checks }, { signal }) => {
    const results: GoalCheckResult[] = []
    for (const check of checks) {
      signal.throwIfAborted()
      if ("command" in check) results.push(await runCommand(check, options, signal))
    }
    signal.throwIfAborted()
    return results
  }
}

interface CommandCheck {
  readonly name: string
  readonly command: string | readonly string[]
}

async function runCommand({ name, command }: CommandCheck, options: CommandCheckOptions, signal: AbortSignal): Promise<GoalCheckResult> {
  const { maxTailChars = DEFAULT_MAX_TAIL_CHARS } = options
  const output = new Tail(maxTailChars)
  let child: ChildProcess
  try {
    child = start(command, options)
  } catch (error) {
    return { name, ok: false, tail: new Tail(maxTailChars).with(error instanceof Error ? error.message : textOf(error)) }
  }
  const { exitCode, note } = await ended(child, output, options, signal)
  return { name, ok: exitCode === 0 && note === undefined, ...(exitCode !== undefined && { exitCode }), tail: output.with(note) }
}

/** @throws {Error} the command cannot be started as it is written */
function start(command: string | readonly string[], { cwd, env = process.env, shell = false }: CommandCheckOptions): ChildProcess {
  const isFolder = statSync(cwd, { throwIfNoEntry: false })?.isDirectory() === true
  // Otherwise the program seems to be missing.
  if (!isFolder) throw new Error(`The folder ${JSON.stringify(cwd)} in which the command should run does not exist.`)
  const given: SpawnOptions = { cwd, env, stdio: ["ignore", "pipe", "pipe"], detached: process.platform !== "win32", windowsHide: true }
  if (typeof command === "string" && shell) return spawn(command, { ...given, shell: true })
  const [program, ...args] = typeof command === "string" ? splitCommand(command) : command
  if (program === undefined || program === "") throw new Error("The command is empty.")
  return spawn(program, args, given)
}

interface End {
  readonly exitCode?: number
  /** Why it failed, if that is not in its output. */
  readonly note?: string
}

/** Waits until a program and everything that it has started are gone. */
async function ended(child: ChildProcess, output: Tail, options: CommandCheckOptions, signal: AbortSignal): Promise<End> {
  const { timeoutMs = DEFAULT_TIMEOUT_MS } = options
  const { pid } = child
  const forget = pid === undefined ? () => {} : killAtExit(pid)
  for (const stream of [child.stdout, child.stderr]) {
    const decoder = new StringDecoder("utf8")
    stream?.on("data", (chunk: Buffer) => output.add(decoder.write(chunk)))
    stream?.on("end", () => output.add(decoder.end()))
    // What a killed program had not written yet.
    stream?.on("error", () => {})
  }
  let stopped: string | undefined
  let ending: Promise<void> | undefined
  const stop = (why: string): void => {
    stopped ??= why
    if (pid !== undefined) ending ??= endGroup(pid)
  }
  const timer = setTimeout(() => stop(`[The command was stopped: it took longer than ${seconds(timeoutMs)}.]`), Math.min(timeoutMs, 2 ** 31 - 1))
  const stopListening = onAbort(signal, () => stop("[The command was stopped.]"))
  const closed = new Promise<void>((resolve) => child.once("close", () => resolve()))
  try {
    const end = await new Promise<End>((resolve) => {
      child.once("error", (error) => resolve({ note: startProblem(error, child.spawnfile) }))
      child.once("exit", (code, by) => resolve(code === null ? { note: `[The command was ended by ${by}.]` } : { exitCode: code }))
    })
    if (pid === undefined) return end
    // What the program left running belongs to the check, and may have its output open.
    ending ??= endGroup(pid)
    await ending
    await Promise.race([closed, new Promise((resolve) => setTimeout(resolve, DRAIN_MS).unref())])
    return stopped === undefined ? end : { note: stopped }
  } finally {
    clearTimeout(timer)
    stopListening()
    child.stdout?.destroy()
    child.stderr?.destroy()
    forget()
  }
}

function startProblem(error: Error, program: string): string {
  const { code } = error as NodeJS.ErrnoException
  if (code === "ENOENT") return `The program ${JSON.stringify(program)} was not found.`
  if (code === "EACCES") return `The program ${JSON.stringify(program)} is not executable.`
  return `The program ${JSON.stringify(program)} did not start: ${error.message}`
}

function seconds(ms: number): string {
  return ms < 1_000 ? `${ms} ms` : `${ms / 1_000} s`
}

/** The end of a text that arrives in pieces. */
class Tail {
  readonly #max: number
  #text = ""

  constructor(max: number) {
    this.#max = max
  }

  add(piece: string): void {
    this.#text = end(this.#text + piece, this.#max)
  }

  /** The text with a note on a line of its own, no longer than the limit. */
  with(note: string | undefined): string {
    const text = this.#text.trimEnd()
    if (note === undefined) return text
    return end(text === "" ? note : `${text}\n${note}`, this.#max)
  }
}

/** The last `max` UTF-16 units of a text, without half a surrogate pair. */
function end(text: string, max: number): string {
  return text.length <= max ? text : text.slice(text.length - max).replace(/^[\udc00-\udfff]/, "")
}
