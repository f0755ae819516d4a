import type { Json } from "../../json.ts"
import type { TurnConfig } from "../../machine/config.ts"
import type { HostCommand } from "../../machine/step.ts"
import type { TurnMachine } from "../../machine/turn-machine.ts"
import { compacted, isUnfinishedHeader, type Journal, type JournalEntry, readJournal } from "../../replay/journal.ts"
import { Recorder, type RecorderOptions } from "../../replay/recorder.ts"
import { type ResumeOptions, resume } from "../../replay/replay.ts"
import type { TurnStart } from "../../schemas/config.ts"
import type { Done } from "../../schemas/effect.ts"
import type { JournalHeader } from "../../schemas/journal.ts"
import type { Response } from "../../schemas/response.ts"
import { journalValidation, wireValidation } from "../../schemas/validation.ts"
import { TurnMachine as CheckedTurnMachine } from "../../validated-turn-machine.ts"
import type { Host, RunOptions, TurnLog } from "../host.ts"
import { runTurn } from "../run/run-turn.ts"
import type { JournalStore, OpenOptions, StoredJournal } from "./store.ts"

/** How a journal is opened and kept. */
export interface TurnJournalOptions extends OpenOptions, Omit<RecorderOptions, "validation"> {
  /**
   * Above how many characters a journal loses the records that a snapshot made superfluous, whenever one is due. It can
   * then be taken up, but no longer be replayed from its beginning. Default 0: never.
   */
  readonly compactAboveChars?: number
  /** The host's clock, milliseconds since the epoch. Default `Date.now`. */
  readonly now?: () => number
}

/** What a new journal is given besides its turn. */
export interface BeginOptions {
  /** Names the turn among all of the host's, for idempotency keys. Default: a random UUID. */
  readonly turnId?: string
  /** The host's own facts, to find again in the header. */
  readonly meta?: Json
}

/**
 * The journal of one turn in a store, held by this process. Give it to `runTurn` with the machine that it made:
 *
 *     const journal = await TurnJournal.open(store, "turn-1")
 *     const machine = journal.recorded === undefined ? await journal.begin(config, start) : await journal.resume(config)
 *     const done = await runTurn(machine, host, { journal })
 *     await journal.close()
 *
 * Once keeping something failed, it keeps nothing more, and rejects with the same error: close it and open it anew. What
 * a host orders of the machine itself (`cancel`, `apply`, …) it tells the journal first, with {@link command}.
 */
export class TurnJournal implements TurnLog {
  readonly #stored: StoredJournal
  readonly #options: TurnJournalOptions & RecorderOptions
  readonly #begunCalls = new Map<string, JournalEntry>()
  #recorded: Journal | undefined
  #recorder: Recorder | undefined
  #header: JournalHeader | undefined
  #records = 0
  #chars = 0
  #ended = false
  #pending = ""
  #flush: Promise<void> | undefined
  /** Rejects for good once something was not kept: what comes after it would not follow on what is kept. */
  #kept: Promise<void> = Promise.resolve()
  /** Resolves when all that was ordered is done; `undefined` when nothing is under way. */
  #ordering: Promise<void> | undefined

  private constructor(stored: StoredJournal, recorded: Journal | undefined, options: TurnJournalOptions) {
    this.#stored = stored
    this.#recorded = recorded
    this.#options = { ...options, validation: journalValidation }
  }

  /**
   * Takes hold of a journal, which need not exist, and reads it. A last line that was never finished is cut off.
   * @throws {JournalError} it is damaged, or none; it is left as it is
   * @throws {JournalStoreError} `in_use`, `unavailable`
   */
  static async open(store: JournalStore, name: string, options: TurnJournalOptions = {}): Promise<TurnJournal> {
    const stored = await store.open(name, options)
    try {
      const { text } = stored
      const recorded = isUnfinishedHeader(text) ? undefined : readJournal(text, journalValidation)
      const length = recorded?.length ?? 0
      if (length < text.length) await stored.replace(text.slice(0, length))
      return new TurnJournal(stored, recorded, options)
    } catch (error) {
      await stored.close()
      throw error
    }
  }

  /** What the journal held when it was opened; `undefined` for a new one. */
  get recorded(): Journal | undefined {
    return this.#recorded
  }

  get turnId(): string {
    return this.#known().turnId
  }

  /**
   * Begins a turn, and its journal, which must be new.
   * @throws {SchemaError} `invalid_config`, `invalid_start`; nothing was written
   * @throws {JournalError} `invalid_record`: with this `turnId`, `meta` or clock the header could not be read again; nothing was written
   * @throws {JournalStoreError} `fenced`, `closed`, `unavailable`
   */
  async begin(config: TurnConfig, start: TurnStart, { turnId = crypto.randomUUID(), meta }: BeginOptions = {}): Promise<TurnMachine> {
    if (this.#recorded !== undefined || this.#recorder !== undefined) throw new TypeError("This journal was begun already; resume it.")
    const checked = { ...config, validation: config.validation ?? wireValidation }
    const machine = new CheckedTurnMachine(checked, start)
    const { recorder, line } = Recorder.begin(checked, start, turnId, { ...this.#options, at: this.#now(), ...(meta !== undefined && { meta }) })
    this.#header = readJournal(line, journalValidation).header
    this.#recorder = recorder
    await this.#append(line)
    return machine
  }

  /**
   * Takes the turn up where the journal ends. A turn that has ended gives its end once more.
   * @throws {ReplayDivergence | CheckpointError} as `resume`; nothing was written
   * @throws {JournalStoreError} `fenced`, `closed`, `unavailable`
   */
  async resume(config: TurnConfig, options: ResumeOptions = {}): Promise<TurnMachine> {
    const journal = this.#recorded
    if (journal === undefined || this.#recorder !== undefined)
      throw new TypeError("There is nothing to resume in this journal, or it was resumed already.")
    const machine = resume(journal, { ...config, validation: config.validation ?? wireValidation }, options)
    const { header, entries } = journal
    this.#recorder = Recorder.resume(journal, this.#options)
    this.#header = header
    this.#records = entries.at(-1)?.number ?? 1
    this.#chars = journal.length
    this.#ended = entries.at(-1)?.record.type === "end"
    for (const entry of entries)
      if (entry.record.type === "call_started") this.#begunCalls.set(keyOf(entry.record.effectId, entry.record.callId), entry)
    if (!this.#ended) await this.#append(this.#recorder.opened(this.#now()))
    return machine
  }

  /**
   * Cuts off all records behind one of them, for good, before the turn is resumed: what came after it did not happen.
   * @throws {RangeError} there is no such record, or a compaction left nothing to begin with up to it
   * @throws {JournalStoreError} `fenced`, `closed`, `unavailable`
   */
  async rewind(record: number): Promise<void> {
    const { entries = [] } = this.#recorded ?? {}
    const end = entries.find(({ number }) => number === record)?.end ?? (record === 1 ? entries[0] && headerEnd(this.#stored.text) : undefined)
    if (end === undefined || this.#recorder !== undefined) throw new RangeError(`The journal cannot be cut behind record ${record}.`)
    const text = this.#stored.text.slice(0, end)
    let rewound: Journal
    try {
      rewound = readJournal(text)
    } catch (cause) {
      throw new RangeError(`The journal cannot be cut behind record ${record}: a compaction left no turn that ends there.`, { cause })
    }
    await this.#stored.replace(text)
    this.#recorded = rewound
  }

  response(machine: TurnMachine, response: Response): Promise<void> {
    if (this.#ordering !== undefined) return this.#ordering.then(() => this.response(machine, response))
    return this.#append(this.#recording().response(machine, response))
  }

  /**
   * Keeps what a host orders, in its turn: behind what is being kept, and before the answers and snapshots that come meanwhile. Do what
   * was ordered at once when it resolves.
   * @throws {SchemaError} `invalid_record`: the order is none, or has keys that nobody knows; nothing was written
   * @throws {JournalStoreError} `fenced`, `closed`, `unavailable`
   */
  async command(machine: TurnMachine, command: HostCommand): Promise<void> {
    journalValidation({ type: "interruption", interruption: command })
    const kept = (this.#ordering ?? Promise.resolve()).then(async () => {
      await this.#kept
      // What was kept last is done by whoever waited for it.
      await nextTask()
      // An ended turn takes no orders, and its end is its last record.
      if (machine.done) return
      await this.#append(this.#recording().command(machine, command))
    })
    const done = kept.then(nextTask, nextTask).then(() => {
      if (this.#ordering === done) this.#ordering = undefined
    })
    this.#ordering = done
    return kept
  }

  callStarted(effectId: number, callId: string): Promise<void> {
    const kept = this.#append(this.#recording().callStarted(effectId, callId, this.#now()))
    const record = { type: "call_started", effectId, callId } as const
    this.#begunCalls.set(keyOf(effectId, callId), { number: this.#records, record, fingerprint: undefined, end: 0 })
    return kept
  }

  mayHaveRun(effectId: number, callId: string): boolean {
    return this.#begunCalls.has(keyOf(effectId, callId))
  }

  async settled(machine: TurnMachine): Promise<void> {
    while (this.#ordering !== undefined) await this.#ordering
    const recorder = this.#recording()
    if (machine.done) {
      if (this.#ended) return
      this.#ended = true
      return this.#append(recorder.end(machine))
    }
    const snapshot = recorder.snapshotIfDue(machine)
    if (snapshot === "") return
    const { compactAboveChars = 0 } = this.#options
    if (compactAboveChars === 0 || this.#chars + snapshot.length <= compactAboveChars) return this.#append(snapshot)
    await this.#compact(machine)
  }

  /** Lets go of the journal, when all that was asked for is kept. A second time does nothing. */
  async close(): Promise<void> {
    while (this.#ordering !== undefined) await this.#ordering
    await this.#kept.catch(() => {})
    await this.#stored.close()
  }

  async #compact(machine: TurnMachine): Promise<void> {
    await this.#kept
    const record = { type: "snapshot", checkpoint: machine.checkpoint() } as const
    const entries = [...this.#begunCalls.values(), { number: this.#records + 1, record, fingerprint: undefined, end: 0 }]
    const text = compacted({ header: this.#known(), entries, checksum: "", length: 0, droppedLength: 0 })
    const journal = readJournal(text)
    this.#recorder = Recorder.resume(journal, this.#options)
    this.#header = journal.header
    this.#records = journal.entries.at(-1)?.number ?? 1
    this.#chars = text.length
    this.#kept = this.#kept.then(() => this.#stored.replace(text))
    await this.#kept
  }

  /** Keeps lines behind all others; those that wait while others are written are written together. */
  #append(lines: string): Promise<void> {
    if (lines === "") return this.#kept
    for (let index = lines.indexOf("\n"); index >= 0; index = lines.indexOf("\n", index + 1)) this.#records += 1
    this.#chars += lines.length
    this.#pending += lines
    this.#flush ??= this.#kept.then(() => {
      const text = this.#pending
      this.#pending = ""
      this.#flush = undefined
      return this.#stored.append(text)
    })
    this.#kept = this.#flush
    return this.#flush
  }

  #recording(): Recorder {
    if (this.#recorder === undefined) throw new TypeError("Begin or resume the journal first.")
    return this.#recorder
  }

  #known(): JournalHeader {
    if (this.#header === undefined) throw new TypeError("Begin or resume the journal first.")
    return this.#header
  }

  /** @throws {RangeError} the clock gives no time; a record with it could not be read again */
  #now(): number {
    const now = Math.floor((this.#options.now ?? Date.now)())
    if (Number.isSafeInteger(now)) return now
    throw new RangeError(`The clock gives milliseconds since the epoch, not ${now}.`)
  }
}

/** When everything that waits for what was kept has gone on. */
function nextTask(): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, 0)
  })
}

function keyOf(effectId: number, callId: string): string {
  return `${effectId}:${callId}`
}

function headerEnd(text: string): number {
  return text.indexOf("\n") + 1
}

/** What a turn is begun from, and taken up with. */
export interface JournaledTurn extends BeginOptions {
  readonly config: TurnConfig
  /** Looked at only where the journal is new. */
  readonly start: TurnStart
}

/** A host whose turns are kept in a store, each in a journal of its own. */
export interface JournaledHost {
  /**
   * Runs a turn to its end, as `runTurn`: begins it where there is no journal of that name, else takes it up where the
   * journal ends; of a turn that has ended the end is given once more. One process at a time runs a turn.
   * @throws {JournalStoreError | JournalError | ReplayDivergence | SchemaError} as {@link TurnJournal}
   */
  run(name: string, turn: JournaledTurn, options?: Omit<RunOptions, "journal">): Promise<Done>
}

/** How {@link journaled} keeps journals, and runs turns. */
export interface JournaledOptions extends TurnJournalOptions {
  /** The loop. Default `runTurn` of `turn-machine/hosts`; that of `openTelemetry` runs turns in spans. */
  readonly runTurn?: typeof runTurn
}

/** Lets a host run turns that survive its process: every answer is kept in the store before it is acted on. */
export function journaled(host: Host, store: JournalStore, { runTurn: loop = runTurn, ...keeping }: JournaledOptions = {}): JournaledHost {
  return {
    async run(name, { config, start, ...begin }, options = {}) {
      const journal = await TurnJournal.open(store, name, { ...(options.now !== undefined && { now: options.now }), ...keeping })
      try {
        const machine = journal.recorded === undefined ? await journal.begin(config, start, begin) : await journal.resume(config)
        return await loop(machine, host, { ...options, journal })
      } finally {
        await journal.close()
      }
    },
  }
}
