import { closed, fenced, type JournalStore, JournalStoreError, type StoredJournal } from "../../src/hosts/journal/store.ts"
import { asParts, wholeText } from "../support/stored-text.ts"

/** A place where a process waits before it writes, opens a journal, or begins a call. */
interface Gate {
  readonly name: string
  readonly pass: () => void
  /** Stores a part of what is to be written. Absent: nothing is. */
  readonly store?: (part: number) => void
}

interface Entry {
  text: string
  owner: object | undefined
}

/** The journals of a store in memory, by name. */
export class GatedStore {
  readonly entries = new Map<string, Entry>()

  /** The records of a journal that are stored whole. */
  records(name: string): readonly { readonly type: string }[] {
    const lines = (this.entries.get(name)?.text ?? "").split("\n").slice(0, -1)
    return lines.map((line) => (JSON.parse(line) as readonly [string, { readonly type: string }])[1])
  }
}

/** What stops a process, and how its store behaves. */
export interface GatedProcessOptions {
  /** False: it waits nowhere. */
  readonly isGated: boolean
  /** The names of the gates: before a journal is opened, before records of these types are appended to it, and before journals are listed. `undefined`: no gate. */
  readonly openGate: (name: string) => string | undefined
  readonly appendGate: (name: string, types: readonly string[]) => string | undefined
  readonly listGate?: string
  /** True: the store accepts writes of earlier owners. */
  readonly isUnfenced?: boolean
  /** What a store with a fault keeps of the lines that it is given. */
  readonly kept?: (text: string) => string
}

/** A process with a store in memory that stops it at every gate, until the test lets it pass. What it holds in memory is gone with it. */
export class GatedProcess {
  readonly #stored: GatedStore
  readonly #options: GatedProcessOptions
  readonly #gates: Gate[] = []
  readonly #owns = new WeakSet<object>()
  #isGone = false
  /** An error that is none of the store. */
  fault: unknown

  constructor(stored: GatedStore, options: GatedProcessOptions) {
    this.#stored = stored
    this.#options = options
  }

  get isGone(): boolean {
    return this.#isGone
  }

  /** The gates at which the process waits, in order. */
  get gates(): readonly string[] {
    return this.#gates.map(({ name }) => name)
  }

  /** Passes the first gate that is meant. */
  passGate(isMeant: (name: string) => boolean): void {
    const index = this.#gates.findIndex(({ name }) => isMeant(name))
    const [gate] = index < 0 ? [] : this.#gates.splice(index, 1)
    if (gate === undefined) throw new Error(`The process waits at ${JSON.stringify(this.gates)}.`)
    gate.pass()
  }

  /** Kills the process, before anyone hears of the write that it waits to make at a gate that is meant. `part`: how much of that is stored. */
  killAt(part: number, isMeant: (name: string) => boolean): void {
    const gates = this.#gates.filter(({ name }) => isMeant(name))
    gates.find(({ store }) => store !== undefined)?.store?.(part)
    this.#isGone = true
    for (const entry of this.#stored.entries.values()) if (this.#owns.has(entry.owner as object)) entry.owner = undefined
  }

  /** A process that is fenced off ends, as a service does. */
  protected attempt(act: () => Promise<void>): void {
    act().catch((error: unknown) => {
      if (this.#isGone) return
      if (!(error instanceof JournalStoreError)) this.fault = error
      this.killAt(0, () => true)
    })
  }

  /** The process ends, and has closed what it opened. */
  protected ends(): void {
    this.#isGone = true
  }

  protected async gate(name: string, store?: Gate["store"]): Promise<void> {
    if (this.#isGone) return forever()
    if (!this.#options.isGated) return
    await new Promise<void>((resolve) => {
      this.#gates.push({ name, pass: resolve, ...(store !== undefined && { store }) })
    })
    if (this.#isGone) await forever()
  }

  protected store(): JournalStore {
    const { entries } = this.#stored
    const { openGate, listGate } = this.#options
    return {
      open: async (name) => {
        const gate = openGate(name)
        if (gate !== undefined) await this.gate(gate)
        const entry = entries.get(name) ?? { text: "", owner: undefined }
        entries.set(name, entry)
        const owner = {}
        this.#owns.add(owner)
        entry.owner = owner
        return this.#journal(name, entry, owner)
      },
      read: async (name) => {
        const entry = entries.get(name)
        return asParts(entry?.text)
      },
      list: ({ prefix = "" } = {}) => this.#list(prefix, listGate),
      delete: async (name) => {
        entries.delete(name)
      },
    }
  }

  async *#list(prefix: string, gate: string | undefined): AsyncGenerator<string> {
    if (gate !== undefined) await this.gate(gate)
    yield* [...this.#stored.entries.keys()].filter((name) => name.startsWith(prefix)).sort()
  }

  #journal(name: string, entry: Entry, owner: object): StoredJournal {
    const { isUnfenced = false, kept: keptOf = (text: string) => text, appendGate } = this.#options
    let isClosed = false
    /** The first write that was refused: later ones would follow a gap. */
    const mayWrite = (): void => {
      if (isClosed) throw closed(name)
      if (entry.owner !== owner && !isUnfenced) throw fenced(name)
    }
    return {
      read: () => asParts(entry.text),
      append: async (text) => {
        const kept = keptOf(text)
        const types = typesOf(text)
        const gate = types.length === 0 ? undefined : appendGate(name, types)
        if (gate !== undefined)
          await this.gate(gate, (part) => {
            // A torn write ends in its first record: one that ends after it is as if the process was killed after a write of that alone.
            const length = part < 1 ? Math.floor(part * kept.indexOf("\n")) : kept.length
            if (entry.owner === owner) entry.text += kept.slice(0, length)
          })
        if (this.#isGone) return forever()
        mayWrite()
        entry.text += kept
      },
      replace: async (text) => {
        const whole = await wholeText(text)
        if (this.#isGone) return forever()
        mayWrite()
        entry.text = whole
      },
      close: async () => {
        isClosed = true
        if (!this.#isGone && entry.owner === owner) entry.owner = undefined
      },
    }
  }
}

/** What a process cannot be killed between, because the next process would be in the same place: the opening of a journal, an empty delivery, a snapshot. */
const IGNORED: ReadonlySet<string> = new Set(["snapshot", "opened", "reconfigured", "traced"])

/** The types of the records that matter in a text that is appended. */
export function typesOf(text: string): readonly string[] {
  return text
    .split("\n")
    .filter(Boolean)
    .flatMap((line) => {
      const [, record] = JSON.parse(line) as readonly [string, { readonly type: string; readonly delivery?: object }]
      const isEmpty = record.type === "checkpoint_delivery" && Object.keys(record.delivery ?? {}).length === 0
      return isEmpty || IGNORED.has(record.type) ? [] : [record.type]
    })
}

function forever(): Promise<never> {
  return new Promise(() => {})
}
