import { MAX_LINE_CHARS } from "../../replay/lines.ts"
import { inChunks } from "./parts.ts"
import type { StoredJournal } from "./store.ts"

/** Writes the lines of one open journal in the order in which they were made. Lines that arrive together, or during a write, are stored by one append. */
export class LineQueue {
  readonly #stored: StoredJournal
  #waiting: string[] = []
  #flush: Promise<void> | undefined
  #written: Promise<void> = Promise.resolve()

  constructor(stored: StoredJournal) {
    this.#stored = stored
  }

  /** Resolves when all lines so far are stored. Stays rejected after a failed write, because later lines would follow a gap. */
  get written(): Promise<void> {
    return this.#written
  }

  /** The write that waits for the one before it; `undefined`: no line waits. */
  get waiting(): Promise<void> | undefined {
    return this.#flush
  }

  /** Resolves when the lines are stored, and all before them. */
  append(lines: string): Promise<void> {
    if (lines === "") return this.#written
    this.#waiting.push(lines)
    this.#flush ??= this.#written.then(this.#write)
    this.#written = this.#flush
    return this.#flush
  }

  /** Replaces the whole text after all pending writes. Lines that arrive until then follow the new text. */
  replace(lines: Iterable<string>): Promise<void> {
    this.#written = this.#written.then(() => this.#stored.replace(inChunks(lines)))
    return this.#written
  }

  readonly #write = (): Promise<void> => {
    const lines = this.#waiting
    this.#waiting = []
    this.#flush = undefined
    return lines.length === 1 ? this.#stored.append(lines[0] as string) : this.#writeAll(lines)
  }

  async #writeAll(lines: readonly string[]): Promise<void> {
    for (const text of joined(lines)) await this.#stored.append(text)
  }
}

/** Joins texts to as few as can each be a string: usually one. */
function joined(texts: readonly string[]): readonly string[] {
  const length = texts.reduce((sum, text) => sum + text.length, 0)
  return length <= MAX_LINE_CHARS ? [texts.join("")] : texts
}
