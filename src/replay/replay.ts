import { type Difference, ReplayDivergence, TurnError } from "../errors.ts"
import type { TurnConfig } from "../machine/turn.ts"
import { TurnMachine } from "../machine/turn-machine.ts"
import type { AnswerableEffect } from "../schemas/effect.ts"
import type { JournalInterruption, JournalSnapshot } from "../schemas/journal.ts"
import type { Response } from "../schemas/response.ts"
import { canonicalJson } from "./digest.ts"
import { differences } from "./divergence.ts"
import { fingerprint } from "./fingerprint.ts"
import type { Journal, JournalEntry } from "./journal.ts"
import { configDigests } from "./recorder.ts"

/** How much of a journal is replayed, and how strictly. */
export interface ReplayOptions {
  /** The last record to fold, counted from 1. Default: all. */
  readonly at?: number
  /** False: a changed configuration is let pass, as long as it gives the same effects. Default true. */
  readonly checkConfig?: boolean
}

/**
 * Folds a journal through the machine, from its start and performing nothing, and gives the machine as it stood after the
 * record asked for, with every effect told up to there taken. Each effect is compared with the fingerprint recorded.
 * @throws {ReplayDivergence} where the configuration, an effect or the outcome is another than the recorded one
 */
export function replay(journal: Journal, config: TurnConfig, options: ReplayOptions = {}): TurnMachine {
  if (options.checkConfig !== false) checkConfiguration(journal, config)
  // The records were checked when they were read.
  const { validation: _, ...trusting } = config
  const machine = new TurnMachine(trusting, journal.header.start)
  fold(machine, journal.entries, options.at ?? Number.POSITIVE_INFINITY)
  drain(machine)
  return machine
}

/**
 * Takes a turn up where its journal ends: from the last snapshot and what follows it. Its outstanding effect is polled
 * again, unless it was answered; of a tool batch only the calls without a result.
 * @throws {ReplayDivergence | CheckpointError} as {@link replay}, and as `TurnMachine.restore`
 */
export function resume(journal: Journal, config: TurnConfig): TurnMachine {
  const { entries } = journal
  let last = entries.length - 1
  while (last >= 0 && entries[last]?.record.type !== "snapshot") last -= 1
  const { validation: _, ...trusting } = config
  const snapshot = entries[last]?.record as JournalSnapshot | undefined
  const machine = snapshot === undefined ? new TurnMachine(trusting, journal.header.start) : TurnMachine.restore(trusting, snapshot.checkpoint)
  fold(machine, entries.slice(last + 1), Number.POSITIVE_INFINITY)
  return TurnMachine.restore(config, machine.checkpoint())
}

/** Leaves what the last record raised unpolled: a host may have died before it was told. */
function fold(machine: TurnMachine, entries: readonly JournalEntry[], at: number): void {
  let kept: AnswerableEffect | undefined
  for (const entry of entries) {
    if (entry.number > at) break
    const { record } = entry
    switch (record.type) {
      case "header":
        break
      case "effect":
        kept = record.effect
        break
      case "snapshot":
        drain(machine)
        break
      case "interruption":
        interrupt(machine, record)
        break
      case "end":
        drain(machine)
        checkOutcome(machine, entry.number, record.outcome)
        break
      default:
        answer(machine, entry, record, kept)
        kept = undefined
    }
  }
}

function drain(machine: TurnMachine): void {
  while (machine.poll() !== undefined);
}

function answer(machine: TurnMachine, { number, fingerprint: recorded }: JournalEntry, response: Response, kept: AnswerableEffect | undefined): void {
  drain(machine)
  if (recorded !== undefined) checkEffect(machine, number, response, recorded, kept)
  try {
    machine.handle(response)
  } catch (error) {
    // What the live turn refused after it was recorded, the replayed one refuses, too.
    if (!(error instanceof TurnError)) throw error
  }
}

function checkEffect(machine: TurnMachine, number: number, { id }: Response, recorded: string, kept: AnswerableEffect | undefined): void {
  const { state } = machine.turn.position
  const effect = "outstanding" in state ? state.outstanding : undefined
  if (effect?.id === id && fingerprint(effect) === recorded) return
  const found: readonly Difference[] =
    kept === undefined
      ? [
          {
            path: "",
            recorded: { id, fingerprint: recorded },
            replayed: effect && { id: effect.id, type: effect.type, fingerprint: fingerprint(effect) },
          },
        ]
      : differences(kept, effect)
  const first = found[0]?.path
  const where = kept === undefined ? "" : `, first at "${first ?? ""}"`
  throw new ReplayDivergence(
    "effect_differs",
    number,
    id,
    found,
    `Record ${number} answers effect ${id}, but the replayed turn asks for something else${where}.`,
  )
}

function checkOutcome(machine: TurnMachine, number: number, outcome: NonNullable<TurnMachine["outcome"]>): void {
  if (machine.outcome !== undefined && canonicalJson(machine.outcome) === canonicalJson(outcome)) return
  throw new ReplayDivergence(
    "outcome_differs",
    number,
    undefined,
    differences(outcome, machine.outcome),
    `Record ${number} ends the turn otherwise than the replayed turn ended.`,
  )
}

/** What was ordered before the driver had been asked for the next iteration must not ask it now. */
function interrupt(machine: TurnMachine, { effectId, interruption }: JournalInterruption): void {
  if (effectId !== undefined) drain(machine)
  switch (interruption.type) {
    case "cancel":
      machine.cancel(interruption.reason)
      break
    case "fail":
      machine.fail(interruption.event)
      break
    case "finish":
      machine.finish(interruption.outcome)
      break
    case "apply":
      machine.apply(interruption.actions)
  }
}

function checkConfiguration({ header }: Journal, config: TurnConfig): void {
  const { name, version } = config.driver
  const recorded = { driver: header.driver, config: header.config }
  const found = differences(recorded, { driver: { name, version }, config: configDigests(config) })
  if (found.length === 0) return
  const names = found.map(({ path }) => path.replace(/^\/(config\/)?/, "")).join(", ")
  throw new ReplayDivergence(
    "configuration_differs",
    1,
    undefined,
    found,
    `The journal was written under another configuration; what differs: ${names}.`,
  )
}
