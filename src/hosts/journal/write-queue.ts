import { closed } from "./store.ts"

/** Runs the writes of one open journal in the order of the calls; at once, unless a replacement from parts is under way. */
export class WriteQueue {
  readonly #name: string
  /** Resolves when all writes so far are done; `undefined` if they are. */
  #writing: Promise<void> | undefined
  #closing: Promise<void> | undefined

  constructor(name: string) {
    this.#name = name
  }

  /** Whether `close` was called. Earlier writes may still be under way. */
  get isClosing(): boolean {
    return this.#closing !== undefined
  }

  /** @throws {JournalStoreError} `closed` */
  async write(act: () => Promise<void> | undefined | void): Promise<void> {
    if (this.#closing !== undefined) throw closed(this.#name)
    const done = this.#writing === undefined ? act() : this.#writing.then(act)
    if (done === undefined) return
    const settled = done
      .catch(() => {})
      .then(() => {
        if (this.#writing === settled) this.#writing = undefined
      })
    this.#writing = settled
    return done
  }

  /** Runs `act` after all writes, once. Later writes are refused. */
  close(act: () => void): Promise<void> {
    this.#closing ??= this.write(act)
    return this.#closing
  }
}
