import { mkdir, rmdir } from "node:fs/promises"
import { dirname, join } from "node:path"
import { fileReason } from "../../hosts/node/file-error.ts"
import { FileLock, type Holder, LockHeldError } from "../../hosts/node/file-lock.ts"
import { CliError } from "../terminal/errors.ts"
import { oneLine } from "../terminal/format.ts"

/**
 * Keeps other goals from writing into an output folder while this process runs one. Folders with names of their own would also keep goals
 * apart, but the files would then be in a folder that the user did not name, and a resumed goal would not find what it wrote.
 */
export class OutLock {
  readonly #lock: FileLock
  readonly #out: string
  /** The first folder that did not exist before. */
  readonly #created: string | undefined

  private constructor(lock: FileLock, out: string, created: string | undefined) {
    this.#lock = lock
    this.#out = out
    this.#created = created
  }

  /** @throws {CliError} another goal writes into the folder */
  static async acquire(out: string, { takeOver }: { readonly takeOver: boolean }): Promise<OutLock> {
    try {
      const created = await mkdir(out, { recursive: true })
      return new OutLock(await FileLock.acquire(join(out, ".turn-machine-goal"), { takeOver, sync: false }), out, created)
    } catch (error) {
      const folder = `The output folder ${oneLine(out)}`
      if (error instanceof LockHeldError)
        throw new CliError(
          `${folder} is in use by another goal (${holderText(error.holder)}). Wait until it stops, or pass another folder with --out.`,
        )
      throw new CliError(`${folder} cannot be used: ${fileReason(error)}. Pass another one with --out.`, 2, { cause: error })
    }
  }

  /** Releases the folder. Removes it if it is new and empty. */
  async release(): Promise<void> {
    await this.#lock.release()
    if (this.#created === undefined) return
    for (let folder = this.#out; ; folder = dirname(folder)) {
      const removed = await rmdir(folder).then(
        () => true,
        () => false,
      )
      if (!removed || folder === this.#created) return
    }
  }
}

/** Names the process that holds a lock. */
export function holderText(holder: Holder | undefined): string {
  if (holder === undefined) return "an unknown process"
  const { pid, host, where, isSameHost } = holder
  return where === "unseen" && !isSameHost ? `process ${pid} on host ${host}` : `process ${pid}`
}
