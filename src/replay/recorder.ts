import { JournalError, ProtocolError } from "../errors.ts"
import type { TurnConfig } from "../machine/config.ts"
import type { HostCommand } from "../machine/step.ts"
import type { TurnMachine } from "../machine/turn-machine.ts"
import type { TurnCheckpoint } from "../wire/checkpoint.ts"
import type { TurnStart } from "../wire/config.ts"
import type { AnswerableEffect, Effect } from "../wire/effect.ts"
import type { ChildGrant, JournalBase, JournalHeader, JournalRecord } from "../wire/journal.ts"
import type { Response } from "../wire/response.ts"
import { baseOf, shortCheckpoint } from "./base.ts"
import { configDigests, trustingConfig } from "./config.ts"
import { digest } from "./digest.ts"
import { freshFingerprint } from "./fingerprint.ts"
import { HeldSnapshot } from "./held-snapshot.ts"
import { type Journal, type JournalValidation, JournalWriter, type LogHistory, lastSnapshot } from "./journal.ts"
import { SnapshotLines } from "./snapshot-lines.ts"

/** Characters up to which a snapshot is written whenever one is due. */
const SMALL_SNAPSHOT = 10_000

/** At least so many characters are between two snapshots, as a part of the journal. In memory, each has a list of all messages. */
const MOST_SNAPSHOTS = 16

/**
 * What a {@link Recorder} writes besides the responses. In addition to the snapshots that the options set, one is due when a batch with held
 * calls becomes outstanding, when a call of a batch continues outside, and after decisions of which the records do not say what they led to. A turn that is resumed from it continues
 * with the calls as they were held, whatever the policy would answer now.
 */
export interface RecorderOptions {
  /**
   * Number of records after which a snapshot is due. It has only what was added since the one before, and is delayed until the journal has grown by a
   * sixteenth, so that the size of all snapshots stays in proportion to the rest. While a model call is outstanding, whose request
   * has the whole transcript, twice as many records are waited for. Default 0: never, because they make a journal two thirds longer or more.
   */
  readonly snapshotEveryRecords?: number
  /** Number of characters of records after which a snapshot is due, with the same delay. Default 0: never. */
  readonly snapshotEveryChars?: number
  /** Records every effect in full, so that a divergence can say what differs. The journal then grows with the transcript. Default false. */
  readonly keepEffects?: boolean
  /**
   * Checks snapshots, effects and the end before they are written. One that could not be read again, because a driver or projector
   * added a value that is not serializable, or because it is too long, is left out: the responses alone are enough to resume. Absent: they are trusted.
   */
  readonly validation?: JournalValidation
  /** The longest line, in characters. A longer record is refused as `record_too_long`. At most and by default 2^28, about 268 million. */
  readonly maxLineChars?: number
}

/**
 * Makes the lines of a turn's journal. Pure: the host appends them. It appends the line of a response before it passes the
 * response to the machine, so that every response that had an effect is in the journal. Nothing follows the end of a turn: every method
 * that makes a line then throws a {@link ProtocolError} with the code `journal_ended`.
 */
export class Recorder {
  readonly #writer: JournalWriter
  readonly #options: Required<Omit<RecorderOptions, "validation" | "maxLineChars">>
  readonly #validation: JournalValidation | undefined
  #records = 0
  #chars = 0
  #snapshotChars = 0
  /** Characters of the journal. */
  #length = 0
  #ended = false
  /** What the last snapshot has of held calls. */
  #held = new HeldSnapshot()
  #snapshots = new SnapshotLines()
  /** What the journal leaves out, because its thread's log has it. */
  readonly #base: JournalBase | undefined
  /** Whether the last line names a configuration whose snapshot was torn off. Another snapshot must not take its place. */
  #isTorn = false
  /** The effect that was handed out last, as it was then. Recorded with {@link RecorderOptions.keepEffects}. */
  #handedOut: { readonly effect: AnswerableEffect; readonly copy: AnswerableEffect; readonly fingerprint: string } | undefined

  private constructor(writer: JournalWriter, options: RecorderOptions, base: JournalBase | undefined) {
    this.#writer = writer
    this.#base = base
    this.#options = {
      snapshotEveryRecords: options.snapshotEveryRecords ?? 0,
      snapshotEveryChars: options.snapshotEveryChars ?? 0,
      keepEffects: options.keepEffects ?? false,
    }
    this.#validation = options.validation
  }

  /**
   * Starts a journal and returns its first line. `turnId` is unique among the turns of the host. With a `history`, the messages and events of
   * `start` are those after it, and the journal only refers to it.
   */
  static begin(
    config: TurnConfig,
    start: TurnStart,
    turnId: string,
    options: RecorderOptions & Pick<JournalHeader, "at" | "meta" | "parent"> & { readonly history?: LogHistory } = {},
  ): { readonly recorder: Recorder; readonly line: string } {
    const { at, meta, parent, history } = options
    const base = history && baseFor(history, config)
    const recorder = new Recorder(new JournalWriter(undefined, options.maxLineChars), options, base)
    const { name, version } = config.driver
    const trusted = trustingConfig(config)
    const { systemPrompt, tools } = trusted
    const header: JournalHeader = {
      type: "header",
      format: "turn-machine/journal",
      version: 2,
      turnId,
      driver: { name, version },
      config: configDigests(trusted),
      start: config.validation?.start(start) ?? start,
      ...(base !== undefined && { base }),
      surface: base?.surface === true ? { systemPrompt: "", tools: [] } : { systemPrompt, tools },
      ...(at !== undefined && { at }),
      ...(meta !== undefined && { meta }),
      ...(parent !== undefined && { parent }),
    }
    const line = recorder.#count(recorder.#line(header))
    // A snapshot right after a long header would only repeat its history.
    recorder.#chars = 0
    return { recorder, line }
  }

  /** Continues a journal that was read. The next snapshot is due as if the last one were at the end of the journal. */
  static resume(journal: Journal, options: RecorderOptions = {}): Recorder {
    const recorder = new Recorder(new JournalWriter(journal, options.maxLineChars), options, journal.header.base)
    const last = lastSnapshot(journal.entries)
    recorder.#length = journal.length
    recorder.#snapshotChars = (journal.entries[last]?.end ?? 0) - (journal.entries[last - 1]?.end ?? 0)
    recorder.#snapshots = new SnapshotLines(journal.entries[last]?.record)
    recorder.#held = HeldSnapshot.of(journal.entries.slice(Math.max(0, last)).map(({ record }) => record))
    const type = journal.entries.at(-1)?.record.type
    recorder.#ended = type === "end"
    recorder.#isTorn = type === "reconfigured"
    return recorder
  }

  /** Returns the line that records that a process resumed the turn. `at`: milliseconds since the epoch. */
  opened(at?: number): string {
    return this.#count(this.#line({ type: "opened", ...(at !== undefined && { at }) }))
  }

  /** Returns the line that records in which span the turn runs: its W3C `traceparent`. `at`: milliseconds since the epoch. */
  traced(trace: string, at?: number): string {
    return this.#count(this.#line({ type: "traced", trace, ...(at !== undefined && { at }) }))
  }

  /**
   * Returns the lines that record that a turn continues under another configuration: its name and digests, and the turn. Append them in
   * one write, right after the turn was resumed with it. `at`: milliseconds since the epoch.
   * @throws {JournalError} `invalid_record`: the turn could not be read again. The recorder is unchanged
   */
  reconfigured(machine: TurnMachine, config: TurnConfig, at?: number): string {
    const snapshot: JournalRecord = { type: "snapshot", checkpoint: this.#checkpoint(machine) }
    if (!this.#isReadable(snapshot))
      throw new JournalError(
        "invalid_record",
        0,
        0,
        "The turn cannot continue under this configuration, because its snapshot could not be read again.",
      )
    const { name, version } = config.driver
    const record: JournalRecord = {
      type: "reconfigured",
      driver: { name, version },
      config: configDigests(trustingConfig(config)),
      ...(at !== undefined && { at }),
    }
    return this.#writer.whole(() => {
      const line = this.#line(record)
      const snapshotLine = this.#line(snapshot)
      this.#held = HeldSnapshot.of([snapshot])
      this.#snapshots.note(snapshot)
      this.#records = 0
      this.#chars = 0
      this.#snapshotChars = snapshotLine.length
      return line + snapshotLine
    })
  }

  /**
   * Polls the machine, and makes the fingerprint of an effect before the host receives it. What the host then does to the effect does
   * not change what is recorded of it. A loop that calls `machine.poll` must not change effects.
   */
  poll(machine: TurnMachine): Effect | undefined {
    this.handOut(machine)
    const effect = machine.poll()
    // Polling may have let the driver start the effect.
    this.handOut(machine)
    return effect
  }

  /** Makes the fingerprint of the outstanding effect. Call it before the effect is performed, unless it was polled with {@link poll}. */
  handOut(machine: TurnMachine): void {
    const { state } = machine.turn.position
    if (!("outstanding" in state) || state.outstanding === this.#handedOut?.effect) return
    const effect = state.outstanding
    this.#handedOut = { effect, copy: this.#options.keepEffects ? plain(effect) : effect, fingerprint: freshFingerprint(effect) }
  }

  /** Returns the line for a tool call with `effects: "once"` that is about to run; without `callId`, for the code of the effect. */
  callStarted(effectId: number, callId?: string, at?: number): string {
    return this.#count(this.#line({ type: "call_started", effectId, ...(callId !== undefined && { callId }), ...(at !== undefined && { at }) }))
  }

  /** Returns the line for a child that is about to begin. */
  childGranted(grant: ChildGrant, at?: number): string {
    return this.#count(this.#line({ type: "child_granted", ...grant, ...(at !== undefined && { at }) }))
  }

  /**
   * Returns the lines for a response, before the machine handles it. The response must come from `machine.check`, or have only
   * the keys of its type: a journal with other keys cannot be read.
   * @throws {JournalError} `record_too_long`. The journal can be continued.
   */
  response(machine: TurnMachine, response: Response): string {
    const { state } = machine.turn.position
    return this.answer("outstanding" in state ? state.outstanding : undefined, response)
  }

  /** {@link response} without a machine. `outstanding`: the effect that the turn waits for, as it was first emitted. Throws as it does. */
  answer(outstanding: AnswerableEffect | undefined, response: Response): string {
    const answered = outstanding?.id === response.id ? outstanding : undefined
    if (answered === undefined) return this.#count(this.#line(response))
    this.#held.note(response)
    const handedOut = answered === this.#handedOut?.effect ? this.#handedOut : undefined
    const own = handedOut?.fingerprint ?? freshFingerprint(answered)
    if (!this.#options.keepEffects) return this.#count(this.#line(response, own))
    return this.#writer.whole(() => this.#effect(handedOut?.copy ?? answered) + this.#count(this.#line(response, own)))
  }

  /** Returns the line for a host command, before the machine applies it. */
  command(machine: TurnMachine, command: HostCommand): string {
    const effectId = machine.outstanding?.id
    return this.#count(this.#line({ type: "interruption", ...(effectId !== undefined && { effectId }), interruption: command }))
  }

  /** Returns a snapshot if one is due, else "". Call it when all effects of the machine were polled. */
  snapshotIfDue(machine: TurnMachine): string {
    this.handOut(machine)
    if (this.#isTorn) return ""
    if (this.#held.isDue(machine.turn)) return this.#snapshot(machine, true)
    return this.#isDue(machine) ? this.#snapshot(machine, true) : ""
  }

  #isDue({ turn }: TurnMachine): boolean {
    const { snapshotEveryRecords, snapshotEveryChars } = this.#options
    const isAsking = turn.position.state.type === "waiting_llm"
    // A later snapshot of the thread's turn leaves the history out.
    if (isAsking && this.#base !== undefined) return false
    if (this.#snapshotChars > SMALL_SNAPSHOT && this.#chars < this.#snapshotChars) return false
    const isLong = this.#length > SMALL_SNAPSHOT
    // The request of a model call repeats the history. A turn that only asks its model has a snapshot in the end.
    const factor = isAsking && isLong ? 2 : 1
    if (isLong && this.#chars < (factor * this.#length) / MOST_SNAPSHOTS) return false
    if (snapshotEveryChars > 0 && this.#chars >= snapshotEveryChars) return true
    return snapshotEveryRecords > 0 && this.#records >= factor * snapshotEveryRecords
  }

  /** Returns a snapshot if one is due because calls are held or continue outside, else "". A host may call it at any time, also between two polls. */
  snapshotIfHeld(machine: TurnMachine): string {
    return !this.#isTorn && this.#held.isDue(machine.turn) ? this.#snapshot(machine, true) : ""
  }

  /** Returns a snapshot, whether or not one is due; "" if it could not be read again. */
  snapshot(machine: TurnMachine): string {
    return this.#snapshot(machine, false)
  }

  /** `continues`: the line has only what was added since the snapshot before, where there is one. */
  #snapshot(machine: TurnMachine, continues: boolean): string {
    this.#records = 0
    this.#chars = 0
    const record: JournalRecord = { type: "snapshot", checkpoint: this.#checkpoint(machine), ...(continues && { continues: true }) }
    if (this.#isTorn) return ""
    const line = this.#lineIfReadable(this.#snapshots.short(record))
    // One that cannot be read is not tried again with each response.
    this.#held = HeldSnapshot.of([record])
    if (line === "") return line
    this.#snapshots.note(record)
    this.#snapshotChars = line.length
    return line
  }

  #checkpoint(machine: TurnMachine): TurnCheckpoint {
    return shortCheckpoint(machine.checkpoint(), this.#base)
  }

  /** Returns the line that ends a journal; "" if the turn has not ended or the end could not be read again. Nothing may follow it. */
  end(machine: TurnMachine): string {
    const { outcome } = machine
    if (outcome === undefined) return ""
    const record: JournalRecord = { type: "end", outcome }
    const line = this.#lineIfReadable(record)
    this.#ended = line !== ""
    return line
  }

  #line(record: JournalRecord, effectFingerprint?: string): string {
    if (this.#ended) throw journalEnded()
    const line = this.#writer.line(record, effectFingerprint)
    this.#length += line.length
    this.#isTorn = false
    return line
  }

  #effect(effect: AnswerableEffect): string {
    return this.#lineIfReadable({ type: "effect", effect })
  }

  /** The line of a record; "" if it could not be read again. */
  #lineIfReadable(record: JournalRecord): string {
    if (!this.#isReadable(record)) return ""
    try {
      return this.#line(record)
    } catch (error) {
      if (error instanceof JournalError && error.code === "record_too_long") return ""
      throw error
    }
  }

  #isReadable(record: JournalRecord): boolean {
    const validation = this.#validation
    // A value that JSON makes readable is allowed, such as a date, which becomes text.
    return validation === undefined || passes(() => validation(record)) || passes(() => validation(JSON.parse(JSON.stringify(record))))
  }

  #count(line: string): string {
    this.#records += 1
    this.#chars += line.length
    return line
  }
}

/** Leaves out the system prompt and tools if the log has them, too. */
function baseFor(history: LogHistory, config: TurnConfig): JournalBase {
  const { systemPrompt, tools } = trustingConfig(config)
  const { surface } = history
  const isKnown = surface !== undefined && digest([surface.systemPrompt, surface.tools]) === digest([systemPrompt, tools])
  return { ...baseOf(history), ...(isKnown && { surface: true as const }) }
}

/** Refuses a record after the end of a journal. */
export function journalEnded(): ProtocolError {
  return new ProtocolError("journal_ended", "The journal has ended with its turn, so nothing can be recorded after it.")
}

/** A copy of an effect, as JSON. One that has no JSON text is not recorded. */
function plain(effect: AnswerableEffect): AnswerableEffect {
  try {
    return JSON.parse(JSON.stringify(effect)) as AnswerableEffect
  } catch {
    return effect
  }
}

function passes(check: () => unknown): boolean {
  try {
    check()
    return true
  } catch {
    return false
  }
}
