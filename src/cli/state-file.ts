import { readFile, realpath, stat } from "node:fs/promises"
import { basename, dirname, join } from "node:path"
import * as z from "zod"
import { writeAtomically } from "../hosts/node/atomic-file.ts"
import { errorCode, fileReason } from "../hosts/node/file-error.ts"
import { CliError } from "./errors.ts"
import { LockFile } from "./lock-file.ts"

/** A run as it is saved: what was asked, and where the turn stands. Of a key, only the name of its variable is in it. */
export const SavedRun = z.strictObject({
  format: z.literal("turn-machine/run"),
  version: z.literal(1),
  task: z.string(),
  /** Real path of the folder that is read. */
  dir: z.string(),
  /** Absolute path of the folder that is written to. */
  out: z.string(),
  model: z.string(),
  baseUrl: z.string().optional(),
  apiKeyEnv: z.string().optional(),
  maxIterations: z.int().positive(),
  /** Milliseconds spent so far, in all processes. */
  elapsedMs: z.number().nonnegative(),
  /** A `TurnCheckpoint`. */
  checkpoint: z.unknown(),
})
export type SavedRun = z.infer<typeof SavedRun>

/** The file of `--state`, held by this process alone. */
export class StateFile {
  readonly path: string
  /** What the file held when it was claimed; `undefined` if there was none. */
  readonly saved: SavedRun | undefined
  readonly #lock: LockFile
  #last: Promise<void> = Promise.resolve()
  #closed = false

  private constructor(path: string, saved: SavedRun | undefined, lock: LockFile) {
    this.path = path
    this.saved = saved
    this.#lock = lock
  }

  /**
   * Takes hold of a state file, which need not exist; one that exists is taken only to be resumed.
   * @throws {CliError} the file exists and is not to be resumed, is damaged, in use, or cannot be written
   */
  static async claim(path: string, resume: boolean): Promise<StateFile> {
    const real = await realFile(path)
    // Looked at before anything is made beside it: most refusals then leave no trace.
    if (!resume && (await readText(real)) !== undefined) {
      const way = `add --resume to go on with that run, or give another path`
      throw new CliError(`The state file ${path} exists already, and nothing was overwritten: ${way}.`)
    }
    const lock = await LockFile.take(lockPath(real), `The state file ${path}`)
    try {
      const text = await readText(real)
      return new StateFile(real, text === undefined ? undefined : parse(path, text), lock)
    } catch (error) {
      await lock.release()
      throw error
    }
  }

  /** The file itself and those that stand beside it while it is in use, as absolute paths. */
  get files(): readonly string[] {
    return [this.path, lockPath(this.path), temporaryPath(this.path)]
  }

  /**
   * Saves, after what was saved before. Never settles once the file is closed: what waits for it must not go on.
   * @throws {CliError} it cannot be written; what was saved last is still there
   */
  save(run: SavedRun): Promise<void> {
    if (this.#closed) return new Promise(() => {})
    const saved = this.#last.then(() => this.#write(JSON.stringify(run)))
    this.#last = saved.catch(() => {})
    return saved
  }

  /** Lets go of the file when the last save is through. */
  async close(): Promise<void> {
    this.#closed = true
    await this.#last
    await this.#lock.release()
  }

  async #write(text: string): Promise<void> {
    if (!(await this.#lock.isHeld())) throw new CliError(`Another process took over the state file ${this.path}; this one stopped.`, 1)
    try {
      await writeAtomically(this.path, text, temporaryPath(this.path), { mode: 0o600 })
    } catch (error) {
      const message = `The state file ${this.path} cannot be written: ${fileReason(error)}. What was saved last is kept; mend that and use --resume.`
      throw new CliError(message, 1, { cause: error })
    }
  }
}

/** The path with links resolved, so that a state file reached by a link is replaced itself, and not the link. */
async function realFile(path: string): Promise<string> {
  try {
    return await realpath(path)
  } catch (error) {
    if (errorCode(error) !== "ENOENT") throw new CliError(`The state file ${path} cannot be used: ${fileReason(error)}.`)
  }
  try {
    return join(await realpath(dirname(path)), basename(path))
  } catch (error) {
    throw new CliError(`The state file ${path} cannot be made in its folder: ${fileReason(error)}. Make the folder, or give another path.`)
  }
}

async function readText(path: string): Promise<string | undefined> {
  try {
    // Asked before it is opened: opening a pipe would wait for whoever writes to it.
    if ((await stat(path)).isFile()) return await readFile(path, "utf8")
  } catch (error) {
    if (errorCode(error) === "ENOENT") return undefined
    throw new CliError(`The state file ${path} cannot be read: ${fileReason(error)}.`)
  }
  throw new CliError(`The state file ${path} is no file. Give the path of a file with --state.`)
}

function parse(path: string, text: string): SavedRun {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    throw damaged(path, "it is not JSON, or was cut off")
  }
  const { format, version } = (value ?? {}) as { format?: unknown; version?: unknown }
  if (format !== "turn-machine/run") throw damaged(path, "it is not the state of a run")
  if (version !== 1)
    throw new CliError(`The state file ${path} has version ${String(version)}; this program reads version 1. Resume with the program that wrote it.`)
  const result = SavedRun.safeParse(value)
  if (result.success) return result.data
  const [issue] = result.error.issues
  if (issue?.code === "unrecognized_keys") throw damaged(path, `it holds "${issue.keys[0]}", which this program does not know`)
  throw damaged(path, `at "${issue?.path.join("/") ?? ""}" it does not hold what it should`)
}

/** One line for a state that cannot be used. The file is left as it is. */
export function damaged(path: string, why: string): CliError {
  return new CliError(`The state file ${path} cannot be resumed: ${why}. It was left as it is; begin anew with another --state path.`)
}

function lockPath(path: string): string {
  return `${path}.lock`
}

function temporaryPath(path: string): string {
  return `${path}.tmp`
}
