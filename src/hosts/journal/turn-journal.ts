import { journalLineValidation, journalValidation } from "../../checks/records.ts"
import { wireValidation } from "../../checks/validation.ts"
import { JournalError, ProtocolError } from "../../errors.ts"
import { copyOf, type Json } from "../../json.ts"
import type { TurnConfig } from "../../machine/config.ts"
import { begin, type HostCommand } from "../../machine/step.ts"
import type { TurnMachine } from "../../machine/turn-machine.ts"
import { afterHistory, shortCheckpoint, withHistory } from "../../replay/base.ts"
import { configDigests, trustingConfig } from "../../replay/config.ts"
import { isDeferred } from "../../replay/deferred.ts"
import { compactedJournal, type Journal, JournalReader, journalLines, type LogHistory, readJournal } from "../../replay/journal.ts"
import type { JournalEntry } from "../../replay/journal-entry.ts"
import { journalEnded, Recorder, type RecorderOptions } from "../../replay/recorder.ts"
import { type ResumeOptions, resumeTurn } from "../../replay/replay.ts"
import { lastSection } from "../../replay/sections.ts"
import type { Decision } from "../../wire/approval.ts"
import type { TurnStart } from "../../wire/config.ts"
import type { ChildGrant, JournalHeader, JournalParent, JournalRecord } from "../../wire/journal.ts"
import type { Response } from "../../wire/response.ts"
import type { ChildGrants, SuspendedChild, ToolAnswer, ToolError, TurnChildren, TurnLog } from "../host.ts"
import { waitingChildren } from "./child-journals.ts"
import { LineQueue } from "./line-queue.ts"
import type { DecisionResult, OutsideAnswerResult } from "./outside-answers.ts"
import { callKey, type GivenResponse, OutsideInputs, type OutsideOptions } from "./outside-inputs.ts"
import { firstChars, firstLineLength, inChunks, readJournalParts } from "./parts.ts"
import { readHistory } from "./read-journal.ts"
import { acceptOnlyRecorded, carryOut, isChecked, loseRecords, RecordedTurnMachine } from "./recorded-machine.ts"
import type { JournalStore, OpenOptions, StoredJournal } from "./store.ts"

/** How a journal is opened and written. */
export interface TurnJournalOptions extends OpenOptions, Omit<RecorderOptions, "validation"> {
  /**
   * Compacts the journal at a snapshot when it would be longer than this, in characters: records before the snapshot are removed.
   * A compacted journal can be resumed, but no longer be replayed from its start. Default 0: never. With it, a snapshot is due after 300 records
   * or 1,000,000 characters, unless the options set that.
   */
  readonly compactAboveChars?: number
  /** The host's clock, milliseconds since the epoch. Default `Date.now`. */
  readonly now?: () => number
  /**
   * The history of a thread that the turn begins with. A new journal refers to it and does not repeat it: the messages and events of its
   * `start` follow those of the history. For a journal that has begun, it saves reading the log again. Default: none for a new journal;
   * otherwise it is read from the log that the journal names, which is in the same store.
   */
  readonly history?: LogHistory
}

/** The identity of a new journal. */
export interface BeginOptions {
  /** Id of the turn, unique among all turns of the host; part of its idempotency keys. Default: a random UUID. */
  readonly turnId?: string
  /** Any data of the host, stored in the header. */
  readonly meta?: Json
  /** The call of another turn that this turn runs for, stored in the header. Default: none. */
  readonly parent?: JournalParent
}

/**
 * The journal of one turn, open in this process. Pass it to `runTurn` together with the machine that it created:
 *
 *     const journal = await TurnJournal.open(store, "turn-1")
 *     const machine = journal.recorded === undefined ? await journal.begin(config, start) : await journal.resume(config)
 *     const done = await runTurn(machine, host, { journal })
 *     await journal.close()
 *
 * After a failed write, every later write rejects with the same error: close the journal and open it again. The machine accepts only what
 * its journal has recorded: commands are given with {@link TurnJournal.command}, and `machine.cancel`, `apply`, … throw a `ProtocolError`
 * (`not_recorded`). A machine of another turn is refused (`another_turn`), and so is a record after the end of the turn (`journal_ended`).
 */
export class TurnJournal implements TurnLog {
  readonly #stored: StoredJournal
  readonly #place: { readonly store: JournalStore; readonly name: string }
  readonly #options: TurnJournalOptions & RecorderOptions
  readonly #lines: LineQueue
  readonly #outside: OutsideInputs
  readonly #startedCalls = new Map<string, JournalEntry>()
  /** The tokens of children that were recorded, each with its entry. */
  readonly #grants = new Map<ChildGrant, JournalEntry>()
  #recorded: Journal | undefined
  /** The last record of a span in which the turn ran. */
  #traced: JournalEntry | undefined
  /** Why the history that the journal refers to is not known. */
  readonly #historyFault: unknown
  #recorder: Recorder | undefined
  #machine: RecordedTurnMachine | undefined
  /** As in the journal; after a reconfiguration, with the configuration that is in effect. */
  #header: JournalHeader | undefined
  #records = 0
  #chars = 0
  #ended = false
  /** Resolves when all recorded commands were carried out; `undefined` while there are none. */
  #commanding: Promise<void> | undefined
  /** The stored responses. The machine accepts no others. */
  readonly #responses = new WeakSet<Response>()
  /** The responses that were recorded and not handled, in order. */
  readonly #unhandled = new Set<Response>()
  /** The response that is recorded, and handled before it is stored. */
  #ahead: Response | undefined
  /** Resolves when the last snapshot of held calls is stored. */
  #heldStored: Promise<void> | undefined
  private constructor(
    stored: StoredJournal,
    place: { readonly store: JournalStore; readonly name: string },
    { recorded, fault }: { readonly recorded: Journal | undefined; readonly fault?: unknown },
    options: TurnJournalOptions,
  ) {
    this.#stored = stored
    this.#lines = new LineQueue(stored)
    this.#place = place
    this.#recorded = recorded
    this.#historyFault = fault
    this.#outside = this.#takeOutside()
    for (const entry of recorded?.entries ?? []) {
      if (isDeferred(entry)) continue
      this.#outside.note(entry.record)
      if (entry.record.type === "traced") this.#traced = entry
    }
    const { compactAboveChars = 0, snapshotEveryRecords, snapshotEveryChars } = options
    const due = compactAboveChars > 0 ? COMPACTING : { records: 0, chars: 0 }
    this.#options = {
      ...options,
      snapshotEveryRecords: snapshotEveryRecords ?? due.records,
      snapshotEveryChars: snapshotEveryChars ?? due.chars,
      validation: journalValidation,
    }
  }

  /**
   * Opens a journal exclusively, creating it if needed, and reads it. An incomplete last line is removed. Where a thread's log is missing or
   * changed, only what needs the history throws, such as `resume`. Every line is verified by its checksum. Most records before the last snapshot are
   * parsed and checked when they are read in {@link TurnJournal.recorded}, which may then throw `invalid_record`.
   * @throws {JournalError} `not_a_journal`, `unsupported_version`, `damaged_record`, `invalid_record`. The journal is unchanged.
   * @throws {JournalStoreError} `in_use`, `unavailable`
   */
  static async open(store: JournalStore, name: string, options: TurnJournalOptions = {}): Promise<TurnJournal> {
    const stored = await store.open(name, options)
    try {
      const { journal, length } = await readJournalParts(stored.read(), journalLineValidation, { defersRecords: true })
      if (journal?.migratedFrom !== undefined) await stored.replace(inChunks(journalLines(journal)))
      else if (journal === undefined && length > 0) await stored.replace("")
      else if (journal !== undefined && journal.droppedLength > 0) await stored.replace(firstChars(stored.read(), journal.length))
      return new TurnJournal(stored, { store, name }, await readHistory(store, name, journal, options.history), options)
    } catch (error) {
      await stored.close()
      throw error
    }
  }

  /** The records that the journal held when it was opened; `undefined` for a new journal. */
  get recorded(): Journal | undefined {
    return this.#recorded
  }

  /** Where the children of this turn are recorded, each in a journal of its own. Their names begin with the name of this one. */
  get children(): TurnChildren {
    const { depth = 0, lease } = this.parent ?? {}
    const grants: ChildGrants = {
      of: (effectId) => [...this.#grants.keys()].filter((grant) => grant.effectId === effectId && !this.#hasResult(grant)),
      add: async (grant) => {
        const at = this.#now()
        const written = this.#append(this.#recording().childGranted(grant, at))
        this.#grants.set(grant, { number: this.#records, record: { type: "child_granted", ...grant, at }, fingerprint: undefined, end: 0 })
        await written
      },
      drop: (grant) => {
        this.#grants.delete(grant)
      },
    }
    return { ...this.#place, depth, grants, ...(lease !== undefined && { lease }) }
  }

  /** Whether the call of a child has its result. A child that has begun counts by its own journal then; one that could not begin has no tokens. */
  #hasResult({ effectId, callId }: ChildGrant): boolean {
    const state = this.#machine?.turn.position.state
    return state?.type === "waiting_tools" && state.outstanding.id === effectId && state.results.some((result) => result?.callId === callId)
  }

  /** The call that this turn runs for, as in its header; `undefined`: it is not the child of another turn. */
  get parent(): JournalParent | undefined {
    return (this.#header ?? this.#recorded?.header)?.parent
  }

  /** The children of this turn that wait for decisions, or for work outside. */
  async suspendedChildren(): Promise<readonly SuspendedChild[]> {
    const { store, name } = this.#place
    return waitingChildren(store, name)
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
  async begin(config: TurnConfig, start: TurnStart, { turnId = crypto.randomUUID(), meta, parent }: BeginOptions = {}): Promise<TurnMachine> {
    if (this.#recorded !== undefined || this.#recorder !== undefined)
      throw new TypeError("This journal already has a turn. Call resume instead of begin.")
    const checked = { ...config, validation: config.validation ?? wireValidation }
    const { history } = this.#options
    const machine = history === undefined ? new RecordedTurnMachine(checked, start) : beginAfter(history, checked, start)
    const { recorder, line } = Recorder.begin(checked, start, turnId, {
      ...this.#options,
      at: this.#now(),
      ...(meta !== undefined && { meta }),
      ...(parent !== undefined && { parent }),
    })
    this.#header = readJournal(line, journalValidation).header
    this.#recorder = recorder
    this.#own(machine)
    await this.#append(line)
    return machine
  }

  /**
   * Resumes the turn at the end of the journal. Of a turn whose end was recorded, `runTurn` returns the `done`.
   *
   * Where the turn continues under a changed configuration, a `reconfigured` record with the driver and the digests of the new one and a
   * snapshot are written together. The system prompt and the tools of the turn do not change.
   * @throws {ReplayDivergence | CheckpointError} as `resume` of `turn-machine/replay`. Nothing was written.
   * @throws {JournalError} `missing_log`, `changed_log`: the history that the turn began with. Nothing was written.
   * @throws {JournalError} `invalid_record`: the turn cannot be reconfigured, because its snapshot could not be read again. Nothing was written.
   * @throws {JournalStoreError} `fenced`, `closed`, `unavailable`
   * @throws {TypeError} the journal is new, or was resumed before
   */
  async resume(config: TurnConfig, options: ResumeOptions = {}): Promise<TurnMachine> {
    const journal = this.#recorded
    if (journal === undefined || this.#recorder !== undefined)
      throw new TypeError("This journal has no turn to resume, or was already resumed. Call begin for a new journal, and resume only once.")
    if (this.#historyFault !== undefined) throw this.#historyFault
    const checked = { ...config, validation: config.validation ?? wireValidation }
    const { turn, unreported, isReconfigured } = resumeTurn(journal, checked, options)
    const machine = RecordedTurnMachine.of(checked, turn, unreported)
    const { header, entries } = journal
    const recorder = Recorder.resume(journal, this.#options)
    const at = this.#now()
    const isEnded = entries.at(-1)?.record.type === "end"
    const opening = isEnded ? "" : recorder.opened(at) + (isReconfigured ? recorder.reconfigured(machine, checked, at) : "")
    this.#recorder = recorder
    this.#own(machine)
    const { driver, config: digests } = isReconfigured
      ? { driver: { name: config.driver.name, version: config.driver.version }, config: configDigests(trustingConfig(checked)) }
      : lastSection(journal)
    this.#header = { ...header, driver, config: digests }
    this.#records = entries.at(-1)?.number ?? 1
    this.#chars = journal.length
    this.#ended = isEnded
    for (const entry of entries) {
      if (isDeferred(entry)) continue
      const { record } = entry
      if (record.type === "call_started") this.#startedCalls.set(callKey(record.effectId, record.callId), entry)
      if (record.type === "child_granted") this.#grants.set(record, entry)
    }
    await this.#append(opening)
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
    const { history } = this.#recorded ?? {}
    this.#recorded = rewound && history ? withHistory(rewound, history) : rewound
  }

  /**
   * Records a response. Resolves when it is stored; the machine then accepts the same object. `machine.check` returns a response without
   * the keys that a journal cannot have.
   * @throws {SchemaError} `invalid_record`: not a response, or one with unknown keys. Nothing was written.
   * @throws {ProtocolError} `another_turn`, `journal_ended`. Nothing was written.
   * @throws {JournalStoreError} `fenced`, `closed`, `unavailable`
   */
  async response(machine: TurnMachine, response: Response): Promise<void> {
    if (!isChecked(machine, response)) journalValidation(response)
    while (this.#commanding !== undefined) await this.#commanding
    await this.#record(machine, response)
  }

  /**
   * Records a response and lets `handle` pass it to the machine, before it is stored. `handle` returns the response to the effect that follows
   * if no work has to be performed for it, such as the empty delivery at a checkpoint: it is recorded in the same write, and passed to `handle`,
   * too. Resolves when all of them are stored. Until then, nothing that they led to may be performed or reported; if the write fails, the
   * machine emits nothing more, and has no checkpoint.
   * @throws as {@link response}, for each of them, once those before it are stored; or what `handle` throws, once the responses up to there are stored
   */
  async responses(machine: TurnMachine, first: Response, handle: (response: Response) => Response | undefined): Promise<void> {
    if (!isChecked(machine, first)) journalValidation(first)
    while (this.#commanding !== undefined) await this.#commanding
    // What another caller has recorded is handled first.
    const isAlone = this.#unhandled.size === 0
    let written: Promise<void> | undefined
    try {
      for (let response: Response | undefined = first; response !== undefined; ) {
        written = this.#write(machine, response)
        if (isAlone) this.#ahead = response
        else await this.#accept(response, written)
        response = handle(response)
        if (response !== undefined && !isChecked(machine, response)) journalValidation(response)
      }
    } finally {
      this.#ahead = undefined
      if (isAlone) await written?.catch((error: unknown) => this.#leftAhead(machine, error))
    }
  }

  async #record(machine: TurnMachine, response: Response): Promise<void> {
    await this.#accept(response, this.#write(machine, response))
  }

  /** Starts to write a response. Throws if it cannot be recorded. */
  #write(machine: TurnMachine, response: Response): Promise<void> {
    const written = this.#append(this.#recording(machine).response(machine, response))
    this.#outside.note(response)
    this.#unhandled.add(response)
    return written
  }

  /** Waits until a response is stored. The machine then accepts it. */
  async #accept(response: Response, written: Promise<void>): Promise<void> {
    try {
      await written
    } catch (error) {
      this.#unhandled.delete(response)
      throw error
    }
    this.#responses.add(response)
  }

  /** The turn is ahead of what is stored, so nothing that it emits may be used. */
  #leftAhead(machine: TurnMachine, error: unknown): never {
    loseRecords(machine, error)
    throw error
  }

  /**
   * Records a host command and then carries it out: after the responses that were recorded before it, and before responses and snapshots
   * that arrive later. Resolves when the machine has carried it out. Ending a turn that has ended does nothing, and nothing is recorded.
   * @throws {SchemaError} `invalid_record`: not a command, or one with unknown keys. Nothing was written.
   * @throws {ProtocolError} `another_turn`. Nothing was written. `turn_finished`, `action_starts_work` (apply): the turn is unchanged.
   * @throws {DriverError} `action_after_finish`, `unknown_action` (apply). The turn is unchanged.
   * @throws {JournalStoreError} `fenced`, `closed`, `unavailable`
   */
  async command(machine: TurnMachine, command: HostCommand): Promise<void> {
    journalValidation({ type: "interruption", interruption: command })
    this.#recording(machine, true)
    // It is recorded and carried out later, whatever the caller does to it until then.
    const own = copyOf<HostCommand & Json>(command as HostCommand & Json)
    const carriedOut = (this.#commanding ?? Promise.resolve()).then(async () => {
      await this.#lines.written
      // The caller of the last write handles its response first.
      await nextTask()
      if (!machine.done) {
        // A compaction since the call has replaced the recorder.
        await this.#append(this.#recording(machine).command(machine, own))
        this.#handleRecorded(machine)
      }
      carryOut(machine, own)
    })
    const settled = carriedOut.catch(() => {})
    const done = settled.then(() => {
      if (this.#commanding === done) this.#commanding = undefined
    })
    this.#commanding = done
    return carriedOut
  }

  /**
   * Records decisions about held calls, without running the turn and without its driver: in a web handler, say, days after the process ended that
   * ran it. Each is checked against the held calls, as the turn does; nothing that is refused is recorded. Resolves when the others are stored,
   * with a result for each, in the order of the decisions. Of two processes that decide at once, the second gets `call_already_decided`, which
   * names the first. The next run of the turn continues with the decisions. A turn that runs in this process receives them at once.
   *
   *     const journal = await TurnJournal.open(store, name, { waitMs: 5_000 })
   *     const [result] = await journal.decide([{ requestId, digest, decision: "approve", by: "ada" }])
   *     await journal.close()
   *
   * Decisions with a scope beyond their call count after the others of the list, so that exact decisions win. An approval after the time limit
   * is `accepted`, counts as expired, and has the code `approval_expired`.
   * @throws {SchemaError} `invalid_response`: not decisions. Nothing was written.
   * @throws {ReplayDivergence | CheckpointError} the config is not that of the turn. Nothing was written.
   * @throws {JournalStoreError} `fenced`, `closed`, `unavailable`
   */
  async decide(decisions: readonly Decision[], options: OutsideOptions = {}): Promise<readonly DecisionResult[]> {
    const { at = this.#now() } = options
    return this.#outside.decide(decisions, at, options)
  }

  /**
   * Records the result of a call that continued outside (`pending` of `turn-machine/hosts`), without running the turn. Resolves when it is stored.
   * The same result again is `stale`, so that a webhook may be delivered twice. A {@link ToolError} records a failure.
   * @throws {SchemaError} `invalid_response`: not a result. Nothing was written.
   * @throws {TypeError} the answer cannot be serialized, or is pending
   * @throws as {@link decide}
   */
  async answer(callId: string, answer: ToolAnswer | ToolError, options: OutsideOptions = {}): Promise<OutsideAnswerResult> {
    const { at = this.#now() } = options
    return this.#outside.answer(callId, answer, at, options)
  }

  /**
   * Records that a `once` call is about to run; without `callId`, the code of the effect. Resolves when that is stored. `again`: it was
   * recorded before, by this process or an earlier one, so the call may have run. Nothing is written then.
   * @throws {ProtocolError} `journal_ended`. Nothing was written.
   * @throws {JournalStoreError} `fenced`, `closed`, `unavailable`
   */
  async callStarted(effectId: number, callId?: string): Promise<"first" | "again"> {
    const recorder = this.#recording()
    if (this.mayHaveRun(effectId, callId)) {
      await this.#lines.written
      return "again"
    }
    const written = this.#append(recorder.callStarted(effectId, callId, this.#now()))
    const record = { type: "call_started", effectId, ...(callId !== undefined && { callId }) } as const
    this.#startedCalls.set(callKey(effectId, callId), { number: this.#records, record, fingerprint: undefined, end: 0 })
    await written
    return "first"
  }

  /** Whether {@link callStarted} was recorded for the call, or the code, by this process or an earlier one. */
  mayHaveRun(effectId: number, callId?: string): boolean {
    return this.#startedCalls.has(callKey(effectId, callId))
  }

  /** The W3C `traceparent` of the span in which the turn ran last, as far as {@link traced} recorded it. */
  get lastTrace(): string | undefined {
    return this.#traced?.record.type === "traced" ? this.#traced.record.trace : undefined
  }

  /**
   * Records in which span this run is, so that the next one can link to it. Returns before that is stored; a failed write rejects every later
   * one. The end of the turn is the last record of its journal: after it, nothing is recorded.
   */
  traced(trace: string): void {
    if (this.#ended) return
    const at = this.#now()
    const written = this.#append(this.#recording().traced(trace, at))
    this.#traced = { number: this.#records, record: { type: "traced", trace, at }, fingerprint: undefined, end: 0 }
    written.catch(() => {})
  }

  /**
   * Makes the fingerprint of the outstanding effect before it is performed, and records a snapshot if one is due, or the end of the turn.
   * @throws {ProtocolError} `another_turn`. Nothing was written.
   * @throws {JournalStoreError} `fenced`, `closed`, `unavailable`
   */
  async settled(machine: TurnMachine): Promise<void> {
    const { compactAboveChars = 0 } = this.#options
    // Lines that wait for a write must not follow a compaction, and what arrives during the wait must not get lost in one.
    while (this.#commanding !== undefined || (compactAboveChars > 0 && this.#lines.waiting !== undefined))
      await (this.#commanding ?? this.#lines.waiting)
    const recorder = this.#recording(machine, true)
    if (machine.done) {
      if (this.#ended) return
      this.#ended = true
      return this.#append(recorder.end(machine))
    }
    recorder.handOut(machine)
    // The snapshot of held calls is stored before anybody can be asked about them, and before any of them runs.
    const held = this.#snapshotHeld(machine)
    if (held !== undefined) await held
    // A snapshot would take the place of a response that the machine has not handled.
    const snapshot = this.#unhandled.size > 0 ? "" : recorder.snapshotIfDue(machine)
    if (snapshot === "") return
    if (compactAboveChars === 0 || this.#chars + snapshot.length <= compactAboveChars) return this.#append(snapshot)
    return this.#compact(machine)
  }

  #takeOutside(): OutsideInputs {
    return new OutsideInputs({
      machine: () => this.#machine,
      recorded: () => this.#recorded,
      handling: () => this.#commanding ?? (this.#unhandled.size > 0 ? nextTask() : undefined),
      stored: () => this.#lines.written,
      record: (running, response) => this.#record(running, response),
      recordNext: (journal, responses) => this.#recordNext(journal, responses),
      requireHistory: () => {
        if (this.#historyFault !== undefined) throw this.#historyFault
      },
    })
  }

  #recordNext(journal: Journal, responses: readonly GivenResponse[]): Promise<void> {
    const recorder = Recorder.resume(journal, this.#options)
    const lines = responses.map(({ response, effect }) => recorder.answer(effect, response))
    const written = this.#append(lines.join(""))
    this.#recorded = withLines(journal, lines)
    return written
  }

  /** Stores a snapshot if calls are held that none has. Resolves when it is stored, and everything before it. */
  #snapshotHeld(machine: TurnMachine): Promise<void> | undefined {
    const snapshot = this.#unhandled.size > 0 || machine.done ? "" : this.#recording(machine).snapshotIfHeld(machine)
    if (snapshot !== "") this.#heldStored = this.#append(snapshot)
    return this.#heldStored
  }

  /** Closes the journal after all pending writes. Idempotent. */
  async close(): Promise<void> {
    while (this.#commanding !== undefined) await this.#commanding
    await this.#lines.written.catch(() => {})
    await this.#stored.close()
  }

  /** No line waits for a write. Until the text is replaced, nothing else is written; lines that arrive until then follow the new text. */
  #compact(machine: TurnMachine): Promise<void> {
    const record = { type: "snapshot", checkpoint: shortCheckpoint(machine.checkpoint(), this.#knownHeader().base) } as const
    const entries = [
      ...this.#startedCalls.values(),
      ...this.#grants.values(),
      ...(this.#traced === undefined ? [] : [this.#traced]),
      { number: this.#records + 1, record, fingerprint: undefined, end: 0 },
    ]
    const lines = [...journalLines(compactedJournal({ header: this.#knownHeader(), entries }))]
    const reader = new JournalReader()
    for (const line of lines) reader.push(line)
    const journal = reader.end()
    this.#recorder = Recorder.resume(journal, this.#options)
    this.#header = journal.header
    this.#records = journal.entries.at(-1)?.number ?? 1
    this.#chars = journal.length
    return this.#lines.replace(lines)
  }

  #append(lines: string): Promise<void> {
    for (let index = lines.indexOf("\n"); index >= 0; index = lines.indexOf("\n", index + 1)) this.#records += 1
    this.#chars += lines.length
    return this.#lines.append(lines)
  }

  /** @param isAtEnd whether the call is allowed after the end of the turn was recorded */
  #recording(machine?: TurnMachine, isAtEnd = false): Recorder {
    if (this.#recorder === undefined) throw new TypeError("The journal has no turn yet. Call begin or resume first.")
    if (machine !== undefined && machine !== this.#machine)
      throw new ProtocolError("another_turn", "The machine is not the one that this journal's begin or resume returned.")
    if (this.#ended && !isAtEnd) throw journalEnded()
    return this.#recorder
  }

  #own(machine: RecordedTurnMachine): void {
    this.#machine = machine
    acceptOnlyRecorded(machine, {
      handles: (response) => {
        const isRecorded = response === this.#ahead || this.#responses.has(response)
        if (isRecorded) this.#unhandled.delete(response)
        return isRecorded
      },
      handled: () => {
        try {
          // Not awaited here: what must not run before it waits for the write.
          this.#snapshotHeld(machine)?.catch(() => {})
        } catch {
          // Not thrown: the machine has accepted the response. It fails again in `settled`.
        }
      },
    })
  }

  /** Handles the responses that are recorded before a command, in their order, if their callers have not handled them yet. */
  #handleRecorded(machine: TurnMachine): void {
    for (const response of [...this.#unhandled]) {
      try {
        machine.handle(response)
      } catch {
        // Its caller receives the same error.
      }
    }
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

/** When snapshots are due in a journal that is compacted at them. */
const COMPACTING = { records: 300, chars: 1_000_000 } as const

/** The machine of a turn that begins after a history. What comes from a log was checked when it was written or read. */
function beginAfter(history: LogHistory, config: TurnConfig, start: TurnStart): RecordedTurnMachine {
  const own = config.validation?.start(start) ?? start
  const { validation: _checked, ...trusting } = config
  return RecordedTurnMachine.of(config, begin(trusting, afterHistory(own, history)).turn)
}

/** A journal with more lines, which were made for it. */
function withLines(journal: Journal, lines: readonly string[]): Journal {
  let { length } = journal
  let number = journal.entries.at(-1)?.number ?? 1
  let { checksum } = journal
  const added: JournalEntry[] = []
  for (const line of lines.flatMap((text) => text.split("\n").filter((part) => part !== ""))) {
    const [own, record, fingerprint] = JSON.parse(line) as readonly [string, JournalRecord, string | undefined]
    length += line.length + 1
    number += 1
    checksum = own
    added.push({ number, record, fingerprint, end: length })
  }
  return { ...journal, entries: [...journal.entries, ...added], checksum, length }
}

/** Resolves after all code that awaited the last write has run. */
function nextTask(): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, 0)
  })
}
