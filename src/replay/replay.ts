import { type Difference, JournalError, ReplayDivergence, TurnError } from "../errors.ts"
import type { TurnConfig } from "../machine/config.ts"
import { TurnMachine } from "../machine/turn-machine.ts"
import type { TurnCheckpoint } from "../wire/checkpoint.ts"
import type { AnswerableEffect, Effect } from "../wire/effect.ts"
import type { JournalHeader, JournalInterruption, JournalRecord } from "../wire/journal.ts"
import type { Response } from "../wire/response.ts"
import { canonicalJson } from "./canonical-json.ts"
import { configDigests, trustingConfig } from "./config.ts"
import { differences } from "./divergence.ts"
import { fingerprint } from "./fingerprint.ts"
import { type Journal, type JournalEntry, lastSnapshot } from "./journal.ts"

/** Options of {@link replay}. */
export interface ReplayOptions {
  /** The last record to replay, counted from 1. Default: all. */
  readonly at?: number
  /** False: a changed configuration is accepted as long as it gives the same effects. Default true. */
  readonly checkConfig?: boolean
}

/**
 * Replays a journal from its start without performing anything. Returns the machine after the record `at`, with all effects up
 * to there polled. Each effect is compared with the recorded fingerprint. A compacted journal is replayed from its snapshot.
 * @throws {ReplayDivergence} the configuration, an effect or the outcome differs from the recorded one
 * @throws {JournalError} `dropped_record`: a compaction left out the record `at`
 */
export function replay(journal: Journal, config: TurnConfig, options: ReplayOptions = {}): TurnMachine {
  const { at = Number.POSITIVE_INFINITY, checkConfig = true } = options
  const trusting = trustingConfig(config)
  if (checkConfig) checkConfiguration(journal, trusting)
  const { entries, header } = journal
  const first = header.dropped === undefined ? -1 : entries.findIndex(({ record }) => record.type === "snapshot")
  const { number = 1, record } = entries[first] ?? {}
  if (at < number) {
    throw new JournalError("dropped_record", at, 0, `Record ${at} was left out by a compaction; the first that can be replayed is ${number}.`)
  }
  const machine = beginAt(journal, record, trusting)
  fold(machine, entries.slice(first + 1), at, all)
  drain(machine)
  return machine
}

/** Options of {@link resume}. */
export interface ResumeOptions {
  /**
   * False: nothing is compared with the journal, so that a turn can continue with another model or driver. Default true: the
   * last answered model call is compared, and with it the whole transcript up to it.
   */
  readonly checkEffects?: boolean
}

/**
 * Resumes a turn at the end of its journal, from the last snapshot and the records after it. The outstanding effect is emitted
 * again unless it was answered; of a tool batch, only the calls without a result. As with a checkpoint, system prompt and
 * tools are those of the turn; the rest of the configuration is the caller's.
 * @throws {ReplayDivergence} `effect_differs`, `outcome_differs`
 * @throws {CheckpointError} as `TurnMachine.restore`
 */
export function resume(journal: Journal, config: TurnConfig, options: ResumeOptions = {}): TurnMachine {
  const { entries, header } = journal
  const trusting = { ...trustingConfig(config), ...header.surface }
  const last = lastSnapshot(entries)
  const isChecked = options.checkEffects !== false
  const snapshot = entries[last]?.record
  const machine = beginAt(journal, isChecked ? snapshot : underDriver(snapshot, trusting), trusting)
  const checked = isChecked ? lastModelCall(entries) : undefined
  fold(machine, entries.slice(last + 1), Number.POSITIVE_INFINITY, (entry) => entry === checked)
  const unreported: Effect[] = []
  for (let effect = machine.poll(); effect !== undefined; effect = machine.poll())
    if (!("id" in effect) || effect.type === "cancel_llm") unreported.push(effect)
  return TurnMachine.of(config, machine.turn, unreported)
}

export function beginAt({ header }: Journal, snapshot: JournalRecord | undefined, config: TurnConfig): TurnMachine {
  return snapshot?.type === "snapshot" ? TurnMachine.restore(config, snapshot.checkpoint) : new TurnMachine(config, header.start)
}

/** A snapshot with the configuration's driver in place of the recorded one. */
function underDriver(record: JournalRecord | undefined, { driver: { name, version } }: TurnConfig): JournalRecord | undefined {
  return record?.type === "snapshot" ? { ...record, checkpoint: { ...record.checkpoint, driver: { name, version } } } : record
}

/** Compares every effect. */
export const all = (): boolean => true

function lastModelCall(entries: readonly JournalEntry[]): JournalEntry | undefined {
  let index = entries.length - 1
  while (index >= 0 && entries[index]?.record.type !== "llm_complete") index -= 1
  return entries[index]
}

/** Leaves the effects of the last record unpolled: a host may have crashed before it polled them. */
export function fold(machine: TurnMachine, entries: readonly JournalEntry[], at: number, isChecked: (entry: JournalEntry) => boolean): void {
  let recorded: AnswerableEffect | undefined
  for (const entry of entries) {
    if (entry.number > at) break
    const { record } = entry
    switch (record.type) {
      case "header":
      case "opened":
      case "call_started":
        break
      case "effect":
        recorded = record.effect
        break
      case "snapshot":
        // A snapshot from before the driver was asked for the next iteration must not ask it now.
        if (!isPreparing(record.checkpoint.state)) drain(machine)
        break
      case "interruption":
        replayCommand(machine, record)
        break
      case "end":
        drain(machine)
        checkOutcome(machine, entry.number, record.outcome)
        break
      default:
        drain(machine)
        if (isChecked(entry)) checkEffect(machine, entry, record, recorded)
        // A response that the live turn refused after it was recorded is refused here, too.
        unlessRefused(() => machine.handle(record))
        recorded = undefined
    }
  }
}

export function isPreparing({ type }: TurnCheckpoint["state"]): boolean {
  return type === "preparing" || type === "prepare_iteration"
}

export function drain(machine: TurnMachine): void {
  while (machine.poll() !== undefined);
}

function unlessRefused(act: () => unknown): void {
  try {
    act()
  } catch (error) {
    if (!(error instanceof TurnError)) throw error
  }
}

function checkEffect(
  machine: TurnMachine,
  { number, fingerprint: expected }: JournalEntry,
  { id }: Response,
  recorded: AnswerableEffect | undefined,
): void {
  if (expected === undefined) return
  const { state } = machine.turn.position
  const effect = "outstanding" in state ? state.outstanding : undefined
  if (effect?.id === id && fingerprint(effect) === expected) return
  const found: readonly Difference[] =
    recorded === undefined
      ? [
          {
            path: "",
            expected: { id, fingerprint: expected },
            received: effect && { id: effect.id, type: effect.type, fingerprint: fingerprint(effect) },
          },
        ]
      : differences(recorded, effect)
  const first = found[0]?.path
  const where = recorded === undefined ? "" : `, first at "${first ?? ""}"`
  throw new ReplayDivergence(
    "effect_differs",
    number,
    id,
    found,
    `Record ${number} answers effect ${id}, but the replayed turn has another effect${where}.`,
  )
}

function checkOutcome(machine: TurnMachine, number: number, outcome: NonNullable<TurnMachine["outcome"]>): void {
  if (machine.outcome !== undefined && canonicalJson(machine.outcome) === canonicalJson(outcome)) return
  throw new ReplayDivergence(
    "outcome_differs",
    number,
    undefined,
    differences(outcome, machine.outcome),
    `Record ${number} ends the turn with another outcome than the replayed turn.`,
  )
}

/**
 * A command from before the driver was asked for the next iteration must not ask it now. The host may not have polled the
 * effects of the response before it.
 */
function replayCommand(machine: TurnMachine, { effectId, interruption }: JournalInterruption): void {
  if (effectId !== undefined && machine.outstanding === undefined) drain(machine)
  unlessRefused(() => machine.command(interruption))
}

/** For the prompt and the tools, the journal has the values themselves and not only digests. */
function inFull(difference: Difference, { surface }: JournalHeader, { systemPrompt = "", tools = [] }: TurnConfig): readonly Difference[] {
  const { path } = difference
  if (path === "/config/systemPrompt") return [{ path, expected: surface.systemPrompt, received: systemPrompt }]
  return path === "/config/tools" ? differences(surface.tools, tools).map((found) => ({ ...found, path: `${path}${found.path}` })) : [difference]
}

export function checkConfiguration({ header }: Journal, config: TurnConfig): void {
  const { name, version } = config.driver
  const recorded = { driver: header.driver, config: header.config }
  const found = differences(recorded, { driver: { name, version }, config: configDigests(config) }).flatMap((difference) =>
    inFull(difference, header, config),
  )
  if (found.length === 0) return
  const names = [...new Set(found.map(({ path }) => path.replace(/^\/(config\/)?/, "").replace(/^tools\/.*/, "tools")))].join(", ")
  throw new ReplayDivergence(
    "configuration_differs",
    1,
    undefined,
    found,
    `The journal was written with another configuration. Different keys: ${names}.`,
  )
}
