import { open, readFile, unlink } from "node:fs/promises"
import { setTimeout as sleep } from "node:timers/promises"
import { errorCode, fileReason } from "../hosts/node/file-error.ts"
import { birthOf, isRunning } from "../hosts/node/process-id.ts"
import { CliError } from "./errors.ts"

/**
 * Keeps two processes from using one file. The lock is a small file that names its process; one whose process is gone,
 * killed perhaps, is taken over.
 */
export class LockFile {
  readonly #path: string
  readonly #mark: string

  private constructor(path: string, mark: string) {
    this.#path = path
    this.#mark = mark
  }

  /** @throws {CliError} a process that runs holds the lock, or the lock cannot be made */
  static async take(path: string, what: string): Promise<LockFile> {
    const mark = markOf(process.pid)
    for (let attempt = 0; attempt < 4; attempt += 1) {
      try {
        const handle = await open(path, "wx", 0o600)
        try {
          await handle.writeFile(mark)
        } finally {
          await handle.close()
        }
        return new LockFile(path, mark)
      } catch (error) {
        if (errorCode(error) !== "EEXIST") throw new CliError(`${what} cannot be written: ${fileReason(error)}. Give another path with --state.`)
      }
      const holder = await readFile(path, "utf8").catch(() => "")
      if (holder === "" && attempt === 0) {
        // Made this moment and not written yet, perhaps.
        await sleep(50)
        continue
      }
      const pid = Number(holder.split(" ")[0])
      if (holder !== "" && pid !== process.pid && isRunning(pid) && holder === markOf(pid)) {
        throw new CliError(`${what} is in use by process ${pid}. Wait for it or stop it, or give another path with --state.`)
      }
      await unlink(path).catch(() => {})
    }
    throw new CliError(`${what} is in use by another process that is just starting. Try again.`)
  }

  /** Two that take over the same dead lock at once could both believe they have it; the one that lost finds out here. */
  async isHeld(): Promise<boolean> {
    return (await readFile(this.#path, "utf8").catch(() => "")) === this.#mark
  }

  async release(): Promise<void> {
    if (await this.isHeld()) await unlink(this.#path).catch(() => {})
  }
}

function markOf(pid: number): string {
  return `${pid} ${birthOf(pid) ?? "-"}`
}
