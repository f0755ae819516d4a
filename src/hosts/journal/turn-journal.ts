import { JournalError } from "../../errors.ts"
import type { Json } from "../../json.ts"
import type { TurnConfig } from "../../machine/config.ts"
import type { HostCommand } from "../../machine/step.ts"
import type { TurnMachine } from "../../machine/turn-machine.ts"
import { compactedJournal, type Journal, type JournalEntry, JournalReader, journalLines, MAX_LINE_CHARS, readJournal } from "../../replay/journal.ts"
import { Recorder, type RecorderOptions } from "../../replay/recorder.ts"
import { type ResumeOptions, resume } from "../../replay/replay.ts"
import { journalValidation, wireValidation } from "../../schemas/validation.ts"
import { TurnMachine as CheckedTurnMachine } from "../../validated-turn-machine.ts"
import type { TurnStart } from "../../wire/config.ts"
import type { JournalHeader } from "../../wire/journal.ts"
import type { Response } from "../../wire/response.ts"
import type { TurnLog } from "../host.ts"
import { firstChars, firstLineLength, inChunks, readJournalParts } from "./parts.ts"
import type { JournalStore, OpenOptions, StoredJournal } from "./store.ts"

/** How a journal is opened and written. */
export interface TurnJournalOptions extends OpenOptions, Omit<RecorderOptions, "validation"> {
  /**
   * Compacts the journal at a snapshot when it would be longer than this, in characters: records before the snapshot are removed.
   * A compacted journal can be resumed, but no longer be replayed from its start. Default 0: never.
   */
  readonly compactAboveChars?: number
  /** The host's clock, milliseconds since the epoch. Default `Date.now`. */
  readonly now?: () => number
}

/** The identity of a new journal. */
export interface BeginOptions {
  /** Id of the turn, unique among all turns of the host; part of its idempotency keys. Default: a random UUID. */
  readonly turnId?: string
  /** Any data of the host, stored in the header. */
  readonly meta?: Json
}

/**
 * The journal of one turn, open in this process. Pass it to `runTurn` together with the machine that it created:
 *
 *     const journal = await TurnJournal.open(store, "turn-1")
 *     const machine = journal.recorded === undefined ? await journal.begin(config, start) : await journal.resume(config)
 *     const done = await runTurn(machine, host, { journal })
 *     await journal.close()
 *
 * After a failed write, every later write rejects with the same error: close the journal and open it again. A host that commands the
 * machine directly (`cancel`, `apply`, …) first records the command with {@link TurnJournal.command}.
 */
export class TurnJournal implements TurnLog {
  readonly #stored: StoredJournal
  readonly #options: TurnJournalOptions & RecorderOptions
  readonly #startedCalls = new Map<string, JournalEntry>()
  #recorded: Journal | undefined
  #recorder: Recorder | undefined
  #header: JournalHeader | undefined
  #records = 0
  #chars = 0
  #ended = false
  #pending: string[] = []
  #flush: Promise<void> | undefined
  /** Resolves when all lines so far are stored. Stays rejected after a failed write, because later lines would follow a gap. */
  #written: Promise<void> = Promise.resolve()
  /** Resolves when all recorded commands were carried out; `undefined` while there are none. */
  #commanding: Promise<void> | undefined

  private constructor(stored: StoredJournal, recorded: Journal | undefined, options: TurnJournalOptions) {
    this.#stored = stored
    this.#recorded = recorded
    this.#options = { ...options, validation: journalValidation }
  }

  /**
   * Opens a journal exclusively, creating it if needed, and reads it. An incomplete last line is removed.
   * @throws {JournalError} `not_a_journal`, `unsupported_version`, `damaged_record`, `invalid_record`. The journal is unchanged.
   * @throws {JournalStoreError} `in_use`, `unavailable`
   */
  static async open(store: JournalStore, name: string, options: TurnJournalOptions = {}): Promise<TurnJournal> {
    const stored = await store.open(name, options)
    try {
      const { journal, length } = await readJournalParts(stored.read(), journalValidation)
      if (journal?.migratedFrom !== undefined) await stored.replace(inChunks(journalLines(journal)))
      else if (journal === undefined && length > 0) await stored.replace("")
      else if (journal !== undefined && journal.droppedLength > 0) await stored.replace(firstChars(stored.read(), journal.length))
      return new TurnJournal(stored, journal, options)
    } catch (error) {
      await stored.close()
      throw error
    }
  }

  /** The records that the journal held when it was opened; `undefined` for a new journal. */
  get recorded(): Journal | undefined {
    return this.#recorded
  }

  /** @throws {TypeError} the journal was neither begun nor resumed */
  get turnId(): string {
    return this.#knownHeader().turnId
  }

  /**
   * Begins a turn in a new journal.
   * @throws {SchemaError} `invalid_config`, `invalid_start`. Nothing was written.
   * @throws {JournalError} `invalid_record`: a header with this `turnId`, `meta` or clock could not be read again. Nothing was written.
   * @throws {JournalStoreError} `fenced`, `closed`, `unavailable`
   * @throws {TypeError} the journal is not new
   */
  async begin(config: TurnConfig, start: TurnStart, { turnId = crypto.randomUUID(), meta }: BeginOptions = {}): Promise<TurnMachine> {
    if (this.#recorded !== undefined || this.#recorder !== undefined)
      throw new TypeError("This journal already has a turn. Call resume instead of begin.")
    const checked = { ...config, validation: config.validation ?? wireValidation }
    const machine = new CheckedTurnMachine(checked, start)
    const { recorder, line } = Recorder.begin(checked, start, turnId, { ...this.#options, at: this.#now(), ...(meta !== undefined && { meta }) })
    this.#header = readJournal(line, journalValidation).header
    this.#recorder = recorder
    await this.#append(line)
    return machine
  }

  /**
   * Resumes the turn at the end of the journal. A finished turn emits its `done` once more.
   * @throws {ReplayDivergence | CheckpointError} as `resume` of `turn-machine/replay`. Nothing was written.
   * @throws {JournalStoreError} `fenced`, `closed`, `unavailable`
   * @throws {TypeError} the journal is new, or was resumed before
   */
  async resume(config: TurnConfig, options: ResumeOptions = {}): Promise<TurnMachine> {
    const journal = this.#recorded
    if (journal === undefined || this.#recorder !== undefined)
      throw new TypeError("This journal has no turn to resume, or was already resumed. Call begin for a new journal, and resume only once.")
    const machine = resume(journal, { ...config, validation: config.validation ?? wireValidation }, options)
    const { header, entries } = journal
    this.#recorder = Recorder.resume(journal, this.#options)
    this.#header = header
    this.#records = entries.at(-1)?.number ?? 1
    this.#chars = journal.length
    this.#ended = entries.at(-1)?.record.type === "end"
    for (const entry of entries)
      if (entry.record.type === "call_started") this.#startedCalls.set(keyOf(entry.record.effectId, entry.record.callId), entry)
    if (!this.#ended) await this.#append(this.#recorder.opened(this.#now()))
    return machine
  }

  /**
   * Permanently removes all records after the given one. Call it before the turn is resumed.
   * @throws {RangeError} there is no such record, or a compaction removed what the journal up to it needs, or the turn was resumed
   * @throws {JournalStoreError} `fenced`, `closed`, `unavailable`
   */
  async rewind(record: number): Promise<void> {
    const { header, entries = [] } = this.#recorded ?? {}
    const index = record === 1 ? -1 : entries.findIndex(({ number }) => number === record)
    if (header === undefined || this.#recorder !== undefined || (index < 0 && (record !== 1 || entries.length === 0)))
      throw new RangeError(`The journal cannot be rewound to record ${record}.`)
    const end = entries[index]?.end ?? (await firstLineLength(this.#stored.read()))
    let rewound: Journal | undefined
    try {
      rewound = (await readJournalParts(firstChars(this.#stored.read(), end))).journal
    } catch (cause) {
      if (!(cause instanceof JournalError)) throw cause
      throw new RangeError(`The journal cannot be rewound to record ${record}: a compaction removed the records that it needs.`, { cause })
    }
    await this.#stored.replace(firstChars(this.#stored.read(), end))
    this.#recorded = rewound
  }

  /** Records a response. Resolves when it is stored. @throws {JournalStoreError} `fenced`, `closed`, `unavailable` */
  response(machine: TurnMachine, response: Response): Promise<void> {
    if (this.#commanding !== undefined) return this.#commanding.then(() => this.response(machine, response))
    return this.#append(this.#recording().response(machine, response))
  }

  /**
   * Records a host command: after the records that are being written, and before responses and snapshots that arrive later. Carry the
   * command out synchronously when the promise resolves. A finished turn accepts no commands, so nothing is recorded for it.
   * @throws {SchemaError} `invalid_record`: not a command, or one with unknown keys. Nothing was written.
   * @throws {JournalStoreError} `fenced`, `closed`, `unavailable`
   */
  async command(machine: TurnMachine, command: HostCommand): Promise<void> {
    journalValidation({ type: "interruption", interruption: command })
    const written = (this.#commanding ?? Promise.resolve()).then(async () => {
      await this.#written
      // The caller of the last write applies its record first.
      await nextTask()
      // A finished turn accepts no commands, and its end is its last record.
      if (machine.done) return
      await this.#append(this.#recording().command(machine, command))
      machine.command(command)
    })
    const done = written.then(nextTask, nextTask).then(() => {
      if (this.#commanding === done) this.#commanding = undefined
    })
    this.#commanding = done
    return written
  }

  /** Records that a `once` call is about to begin. Resolves when it is stored. @throws {JournalStoreError} `fenced`, `closed`, `unavailable` */
  async callStarted(effectId: number, callId = ""): Promise<"first" | "again"> {
    if (this.mayHaveRun(effectId, callId)) return "again"
    const written = this.#append(this.#recording().callStarted(effectId, callId, this.#now()))
    const record = { type: "call_started", effectId, callId } as const
    this.#startedCalls.set(keyOf(effectId, callId), { number: this.#records, record, fingerprint: undefined, end: 0 })
    await written
    return "first"
  }

  /** Whether {@link callStarted} was recorded for the call, by this process or an earlier one. */
  mayHaveRun(effectId: number, callId = ""): boolean {
    return this.#startedCalls.has(keyOf(effectId, callId))
  }

  /** Records a snapshot if one is due, or the end of the turn. @throws {JournalStoreError} `fenced`, `closed`, `unavailable` */
  async settled(machine: TurnMachine): Promise<void> {
    while (this.#commanding !== undefined) await this.#commanding
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

  /** Closes the journal after all pending writes. Idempotent. */
  async close(): Promise<void> {
    while (this.#commanding !== undefined) await this.#commanding
    await this.#written.catch(() => {})
    await this.#stored.close()
  }

  async #compact(machine: TurnMachine): Promise<void> {
    await this.#written
    const record = { type: "snapshot", checkpoint: machine.checkpoint() } as const
    const entries = [...this.#startedCalls.values(), { number: this.#records + 1, record, fingerprint: undefined, end: 0 }]
    const lines = [...journalLines(compactedJournal({ header: this.#knownHeader(), entries }))]
    const reader = new JournalReader()
    for (const line of lines) reader.push(line)
    const journal = reader.end()
    this.#recorder = Recorder.resume(journal, this.#options)
    this.#header = journal.header
    this.#records = journal.entries.at(-1)?.number ?? 1
    this.#chars = journal.length
    this.#written = this.#written.then(() => this.#stored.replace(inChunks(lines)))
    await this.#written
  }

  /** Writes lines at the end. Lines that arrive during a write are batched into the next one. */
  #append(lines: string): Promise<void> {
    if (lines === "") return this.#written
    for (let index = lines.indexOf("\n"); index >= 0; index = lines.indexOf("\n", index + 1)) this.#records += 1
    this.#chars += lines.length
    this.#pending.push(lines)
    this.#flush ??= this.#written.then(async () => {
      const pending = this.#pending
      this.#pending = []
      this.#flush = undefined
      for (const text of joined(pending)) await this.#stored.append(text)
    })
    this.#written = this.#flush
    return this.#flush
  }

  #recording(): Recorder {
    if (this.#recorder === undefined) throw new TypeError("The journal has no turn yet. Call begin or resume first.")
    return this.#recorder
  }

  #knownHeader(): JournalHeader {
    if (this.#header === undefined) throw new TypeError("The journal has no turn yet. Call begin or resume first.")
    return this.#header
  }

  /** @throws {RangeError} the clock returned a value that is not a time; a record with it could not be read again */
  #now(): number {
    const now = Math.floor((this.#options.now ?? Date.now)())
    if (Number.isSafeInteger(now)) return now
    throw new RangeError(`now() must return milliseconds since the epoch, not ${now}.`)
  }
}

/** Resolves after all code that awaited the last write has run. */
function nextTask(): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, 0)
  })
}

function keyOf(effectId: number, callId: string): string {
  return `${effectId}:${callId}`
}

/** Joins texts to as few as can each be a string: usually one. */
function joined(texts: readonly string[]): readonly string[] {
  const length = texts.reduce((sum, text) => sum + text.length, 0)
  return length <= MAX_LINE_CHARS ? [texts.join("")] : texts
}
