import { firstChars, inChunks } from "./parts.ts"
import { closed, type JournalStore, JournalStoreError, type OpenOptions, type StoredJournal } from "./store.ts"

/**
 * Where a stored line is. An encryption that binds it notices lines that were moved, exchanged or cut out. Do not derive a nonce from it: after a
 * failed write, a crash or a replacement, another text is encrypted for the same place.
 */
export interface LinePlace {
  /** The name of the journal. */
  readonly name: string
  /** The number of the stored line, from 1. */
  readonly line: number
}

/** How an {@link encryptedJournalStore} stores text. */
export interface JournalEncryption {
  /** Returns what is stored of a text: one line, so without line breaks. The text is what one write adds: one or more lines of the journal. */
  encrypt(text: string, place: LinePlace): string | Promise<string>
  /** Returns the text that was encrypted. Throws if the key is wrong, if the line was changed, or if it was stored at another place. */
  decrypt(line: string, place: LinePlace): string | Promise<string>
}

/**
 * Wraps a store, which then holds only what `encrypt` returns. Each write becomes one line, so that files are still only appended to, and an incomplete
 * last line, of a process that was killed, is dropped. Names and ownership are those of the store; everything that takes a store works with it.
 *
 * Bind the place of a line, as additional authenticated data for example: a line that was exchanged, moved, taken from another journal, or that follows
 * one that was cut out, is then refused. Lines that were cut off at the end look as if they had not been written.
 *
 *     const store = encryptedJournalStore(fileJournalStore("threads"), { encrypt, decrypt })
 * @throws {TypeError} `encrypt` or `decrypt` is missing
 * @throws {JournalStoreError} `not_decrypted`, from the iteration of a `read`, if `decrypt` throws, with its error as the cause. What `encrypt`
 *   throws, `append` and `replace` reject with; nothing was stored then.
 */
export function encryptedJournalStore(store: JournalStore, encryption: JournalEncryption): JournalStore {
  if (typeof encryption?.encrypt !== "function" || typeof encryption.decrypt !== "function")
    throw new TypeError("encryptedJournalStore takes a store and two functions: encryptedJournalStore(store, { encrypt, decrypt }).")
  return {
    async open(name: string, options?: OpenOptions): Promise<StoredJournal> {
      return new EncryptedJournal(name, await store.open(name, options), encryption)
    },
    async read(name: string): Promise<AsyncIterable<string> | undefined> {
      const parts = await store.read(name)
      return parts && decrypted(parts, name, encryption)
    },
    list: (options) => store.list(options),
    delete: (name) => store.delete(name),
  }
}

class EncryptedJournal implements StoredJournal {
  readonly #name: string
  readonly #stored: StoredJournal
  readonly #encryption: JournalEncryption
  /** How many whole lines are stored; `undefined` until the first write. */
  #lines: number | undefined
  /** Resolves when all writes so far have settled. */
  #writing: Promise<unknown> = Promise.resolve()
  #closing: Promise<void> | undefined

  constructor(name: string, stored: StoredJournal, encryption: JournalEncryption) {
    this.#name = name
    this.#stored = stored
    this.#encryption = encryption
  }

  read(): AsyncIterable<string> {
    return decrypted(this.#stored.read(), this.#name, this.#encryption)
  }

  append(text: string): Promise<void> {
    return this.#inOrder(async () => {
      const lines = this.#lines ?? (await this.#wholeLines())
      await this.#stored.append(text === "" ? "" : await this.#line(text, lines + 1))
      this.#lines = text === "" ? lines : lines + 1
    })
  }

  replace(text: string | AsyncIterable<string>): Promise<void> {
    return this.#inOrder(async () => {
      let lines = 0
      const encrypted = async function* (this: EncryptedJournal): AsyncGenerator<string, void, undefined> {
        for await (const part of inChunks(typeof text === "string" ? [text] : text)) {
          lines += 1
          yield await this.#line(part, lines)
        }
      }
      await this.#stored.replace(encrypted.call(this))
      this.#lines = lines
    })
  }

  close(): Promise<void> {
    this.#closing ??= this.#writing.then(() => this.#stored.close())
    return this.#closing
  }

  #inOrder(act: () => Promise<void>): Promise<void> {
    if (this.#closing !== undefined) return Promise.reject(closed(this.#name))
    const done = this.#writing.then(act)
    this.#writing = done.catch(() => {})
    return done
  }

  async #line(text: string, line: number): Promise<string> {
    const encrypted = await this.#encryption.encrypt(text, { name: this.#name, line })
    if (typeof encrypted === "string" && !/[\n\r]/.test(encrypted)) return `${encrypted}\n`
    throw new TypeError("encrypt must return a text without line breaks, as base64 is.")
  }

  /** Counts the whole lines, and removes an incomplete one after them: what follows it could not be decrypted. */
  async #wholeLines(): Promise<number> {
    let [lines, whole, length] = [0, 0, 0]
    for await (const part of this.#stored.read()) {
      for (let newline = part.indexOf("\n"); newline >= 0; newline = part.indexOf("\n", newline + 1)) {
        lines += 1
        whole = length + newline + 1
      }
      length += part.length
    }
    if (length > whole) await this.#stored.replace(firstChars(this.#stored.read(), whole))
    return lines
  }
}

async function* decrypted(parts: AsyncIterable<string>, name: string, { decrypt }: JournalEncryption): AsyncGenerator<string, void, undefined> {
  let line = 0
  let pending: string[] = []
  for await (const part of parts) {
    let start = 0
    for (let newline = part.indexOf("\n"); newline >= 0; newline = part.indexOf("\n", start)) {
      const text = pending.join("") + part.slice(start, newline)
      pending = []
      start = newline + 1
      line += 1
      yield await decryptedLine(text, { name, line }, decrypt)
    }
    if (start < part.length) pending.push(part.slice(start))
  }
}

async function decryptedLine(text: string, place: LinePlace, decrypt: JournalEncryption["decrypt"]): Promise<string> {
  try {
    return await decrypt(text, place)
  } catch (cause) {
    const where = `Line ${place.line} of journal ${JSON.stringify(place.name)} cannot be decrypted`
    throw new JournalStoreError("not_decrypted", `${where}: the key is another one, or the line was changed or moved.`, { cause })
  }
}
