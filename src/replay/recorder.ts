import type { TurnConfig } from "../machine/turn.ts"
import type { HostCommand, TurnMachine } from "../machine/turn-machine.ts"
import type { TurnStart } from "../schemas/config.ts"
import type { AnswerableEffect } from "../schemas/effect.ts"
import type { JournalHeader, JournalRecord } from "../schemas/journal.ts"
import type { Response } from "../schemas/response.ts"
import { configDigests, trustingConfig } from "./config.ts"
import { fingerprint } from "./fingerprint.ts"
import { type Journal, type JournalValidation, JournalWriter, lastSnapshot } from "./journal.ts"

/** Characters up to which a snapshot is written whenever one is due. */
const SMALL_SNAPSHOT = 10_000

/** What a {@link Recorder} keeps beyond the responses. */
export interface RecorderOptions {
  /**
   * After how many records a snapshot is due. A large one is put off until as many characters were written as the last
   * one has, so that all together stay in proportion to what they save. Default 300; 0: never.
   */
  readonly snapshotEveryRecords?: number
  /** After how many characters of records a snapshot is due, likewise. Default 1,000,000; 0: never. */
  readonly snapshotEveryChars?: number
  /** Keeps every effect in full, so that a divergence can say what differs. Grows by the transcript, not by the responses. */
  readonly keepEffects?: boolean
  /**
   * Checks snapshots, kept effects and the end before they are written. One that could not be read again, because a driver or projector put
   * in what has no place on the wire, is left out: the responses alone are enough to go on. Absent: they are trusted.
   */
  readonly validation?: JournalValidation
}

/**
 * Makes the lines of a turn's journal. Pure: what it returns is the host's to append, before it acts on it. A response
 * is recorded before the machine is given it, so that none that was acted on is lost.
 */
export class Recorder {
  readonly #writer: JournalWriter
  readonly #options: Required<Omit<RecorderOptions, "validation">>
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

  /** Begins a journal, with its first line. `turnId` tells this turn from all others of the host. */
  static begin(
    config: TurnConfig,
    start: TurnStart,
    turnId: string,
    options: RecorderOptions & Pick<JournalHeader, "at" | "meta"> = {},
  ): { readonly recorder: Recorder; readonly line: string } {
    const { at, meta } = options
    const recorder = new Recorder(new JournalWriter(), options)
    const { name, version } = config.driver
    const trusted = trustingConfig(config)
    const { systemPrompt, tools } = trusted
    const header: JournalHeader = {
      type: "header",
      format: "turn-machine/journal",
      version: 1,
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

  /** Goes on behind what was read of a journal. A snapshot is due as if it had been written at the end. */
  static resume(journal: Journal, options: RecorderOptions = {}): Recorder {
    const recorder = new Recorder(new JournalWriter(journal), options)
    const last = lastSnapshot(journal.entries)
    recorder.#snapshotChars = (journal.entries[last]?.end ?? 0) - (journal.entries[last - 1]?.end ?? 0)
    return recorder
  }

  /** The line that says that a process took the turn up. `at`: milliseconds since the epoch. */
  opened(at?: number): string {
    return this.#count(this.#writer.line({ type: "opened", ...(at !== undefined && { at }) }))
  }

  /** The line for a tool call that must not happen twice and is about to be run. */
  callStarted(effectId: number, callId: string, at?: number): string {
    return this.#count(this.#writer.line({ type: "call_started", effectId, callId, ...(at !== undefined && { at }) }))
  }

  /**
   * The lines for a response, given the machine that is about to get it. The response is one that `machine.check` gave
   * back, or is trusted to have no more keys than its type: a journal with others could not be read.
   */
  response(machine: TurnMachine, response: Response): string {
    const { state } = machine.turn.position
    const answered = "outstanding" in state && state.outstanding.id === response.id ? state.outstanding : undefined
    if (answered === undefined) return this.#count(this.#writer.line(response))
    return this.#effect(answered) + this.#count(this.#writer.line(response, fingerprint(answered)))
  }

  /** The line for what a host orders besides answering, given the machine that is about to get it. */
  command(machine: TurnMachine, command: HostCommand): string {
    const effectId = machine.outstanding?.id
    return this.#count(this.#writer.line({ type: "interruption", ...(effectId !== undefined && { effectId }), interruption: command }))
  }

  /** A snapshot where one is due, else "". Take it when everything that the machine told was polled. */
  snapshotIfDue(machine: TurnMachine): string {
    const { snapshotEveryRecords, snapshotEveryChars } = this.#options
    if (this.#snapshotChars > SMALL_SNAPSHOT && this.#chars < this.#snapshotChars) return ""
    const due = (snapshotEveryRecords > 0 && this.#records >= snapshotEveryRecords) || (snapshotEveryChars > 0 && this.#chars >= snapshotEveryChars)
    return due ? this.snapshot(machine) : ""
  }

  /** A snapshot, whether or not one is due; "" for one that could not be read again. */
  snapshot(machine: TurnMachine): string {
    this.#records = 0
    this.#chars = 0
    const record: JournalRecord = { type: "snapshot", checkpoint: machine.checkpoint() }
    if (!this.#isReadable(record)) return ""
    const line = this.#writer.line(record)
    this.#snapshotChars = line.length
    return line
  }

  /** The line that ends a journal; "" as long as the turn has not ended, or for an end that could not be read again. */
  end(machine: TurnMachine): string {
    const { outcome } = machine
    if (outcome === undefined) return ""
    const record: JournalRecord = { type: "end", outcome }
    return this.#isReadable(record) ? this.#writer.line(record) : ""
  }

  #effect(effect: AnswerableEffect): string {
    const record: JournalRecord = { type: "effect", effect }
    return this.#options.keepEffects && this.#isReadable(record) ? this.#writer.line(record) : ""
  }

  #isReadable(record: JournalRecord): boolean {
    const validation = this.#validation
    // What JSON turns into something readable, as a date into its text, may stand in memory.
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
