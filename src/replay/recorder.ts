import { JournalError } from "../errors.ts"
import type { TurnConfig } from "../machine/config.ts"
import type { HostCommand } from "../machine/step.ts"
import type { TurnMachine } from "../machine/turn-machine.ts"
import type { TurnStart } from "../wire/config.ts"
import type { AnswerableEffect } from "../wire/effect.ts"
import type { JournalHeader, JournalRecord } from "../wire/journal.ts"
import type { Response } from "../wire/response.ts"
import { configDigests, trustingConfig } from "./config.ts"
import { fingerprint } from "./fingerprint.ts"
import { type Journal, type JournalValidation, JournalWriter, lastSnapshot } from "./journal.ts"

/** Characters up to which a snapshot is written whenever one is due. */
const SMALL_SNAPSHOT = 10_000

/** What a {@link Recorder} writes besides the responses. */
export interface RecorderOptions {
  /**
   * Number of records after which a snapshot is due. A large snapshot is delayed until as many characters were written as the
   * last one has, so that the size of all snapshots stays in proportion to the rest. Default 300; 0: never.
   */
  readonly snapshotEveryRecords?: number
  /** Number of characters of records after which a snapshot is due, with the same delay. Default 1,000,000; 0: never. */
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
 * response to the machine, so that every response that had an effect is in the journal.
 */
export class Recorder {
  readonly #writer: JournalWriter
  readonly #options: Required<Omit<RecorderOptions, "validation" | "maxLineChars">>
  readonly #validation: JournalValidation | undefined
  #records = 0
  #chars = 0
  #snapshotChars = 0

  private constructor(writer: JournalWriter, options: RecorderOptions) {
    this.#writer = writer
    this.#options = {
      snapshotEveryRecords: options.snapshotEveryRecords ?? 300,
      snapshotEveryChars: options.snapshotEveryChars ?? 1_000_000,
      keepEffects: options.keepEffects ?? false,
    }
    this.#validation = options.validation
  }

  /** Starts a journal and returns its first line. `turnId` is unique among the turns of the host. */
  static begin(
    config: TurnConfig,
    start: TurnStart,
    turnId: string,
    options: RecorderOptions & Pick<JournalHeader, "at" | "meta"> = {},
  ): { readonly recorder: Recorder; readonly line: string } {
    const { at, meta } = options
    const recorder = new Recorder(new JournalWriter(undefined, options.maxLineChars), options)
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
      surface: { systemPrompt, tools },
      ...(at !== undefined && { at }),
      ...(meta !== undefined && { meta }),
    }
    return { recorder, line: recorder.#count(recorder.#writer.line(header)) }
  }

  /** Continues a journal that was read. The next snapshot is due as if the last one were at the end of the journal. */
  static resume(journal: Journal, options: RecorderOptions = {}): Recorder {
    const recorder = new Recorder(new JournalWriter(journal, options.maxLineChars), options)
    const last = lastSnapshot(journal.entries)
    recorder.#snapshotChars = (journal.entries[last]?.end ?? 0) - (journal.entries[last - 1]?.end ?? 0)
    return recorder
  }

  /** Returns the line that records that a process resumed the turn. `at`: milliseconds since the epoch. */
  opened(at?: number): string {
    return this.#count(this.#writer.line({ type: "opened", ...(at !== undefined && { at }) }))
  }

  /** Returns the line for a tool call with `effects: "once"` that is about to run. */
  callStarted(effectId: number, callId: string, at?: number): string {
    return this.#count(this.#writer.line({ type: "call_started", effectId, callId, ...(at !== undefined && { at }) }))
  }

  /**
   * Returns the lines for a response, before the machine handles it. The response must come from `machine.check`, or have only
   * the keys of its type: a journal with other keys cannot be read.
   * @throws {JournalError} `record_too_long`. The journal can be continued.
   */
  response(machine: TurnMachine, response: Response): string {
    const { state } = machine.turn.position
    const answered = "outstanding" in state && state.outstanding.id === response.id ? state.outstanding : undefined
    if (answered === undefined) return this.#count(this.#writer.line(response))
    return this.#writer.whole(() => this.#effect(answered) + this.#count(this.#writer.line(response, fingerprint(answered))))
  }

  /** Returns the line for a host command, before the machine applies it. */
  command(machine: TurnMachine, command: HostCommand): string {
    const effectId = machine.outstanding?.id
    return this.#count(this.#writer.line({ type: "interruption", ...(effectId !== undefined && { effectId }), interruption: command }))
  }

  /** Returns a snapshot if one is due, else "". Call it when all effects of the machine were polled. */
  snapshotIfDue(machine: TurnMachine): string {
    const { snapshotEveryRecords, snapshotEveryChars } = this.#options
    if (this.#snapshotChars > SMALL_SNAPSHOT && this.#chars < this.#snapshotChars) return ""
    const due = (snapshotEveryRecords > 0 && this.#records >= snapshotEveryRecords) || (snapshotEveryChars > 0 && this.#chars >= snapshotEveryChars)
    return due ? this.snapshot(machine) : ""
  }

  /** Returns a snapshot, whether or not one is due; "" if it could not be read again. */
  snapshot(machine: TurnMachine): string {
    this.#records = 0
    this.#chars = 0
    const record: JournalRecord = { type: "snapshot", checkpoint: machine.checkpoint() }
    const line = this.#lineIfReadable(record)
    if (line !== "") this.#snapshotChars = line.length
    return line
  }

  /** Returns the line that ends a journal; "" if the turn has not ended or the end could not be read again. */
  end(machine: TurnMachine): string {
    const { outcome } = machine
    if (outcome === undefined) return ""
    const record: JournalRecord = { type: "end", outcome }
    return this.#lineIfReadable(record)
  }

  #effect(effect: AnswerableEffect): string {
    const record: JournalRecord = { type: "effect", effect }
    return this.#options.keepEffects ? this.#lineIfReadable(record) : ""
  }

  /** The line of a record; "" if it could not be read again. */
  #lineIfReadable(record: JournalRecord): string {
    if (!this.#isReadable(record)) return ""
    try {
      return this.#writer.line(record)
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

function passes(check: () => unknown): boolean {
  try {
    check()
    return true
  } catch {
    return false
  }
}
