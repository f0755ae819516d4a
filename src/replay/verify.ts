import { ReplayDivergence } from "../errors.ts"
import type { TurnConfig } from "../machine/turn.ts"
import { advance, type TurnMachine } from "../machine/turn-machine.ts"
import type { TurnCheckpoint } from "../schemas/checkpoint.ts"
import type { AnswerableEffect } from "../schemas/effect.ts"
import type { Outcome } from "../schemas/event.ts"
import { trustingConfig } from "./config.ts"
import { differences } from "./divergence.ts"
import type { Journal, JournalEntry } from "./journal.ts"
import { all, beginAt, checkConfiguration, drain, fold, isPreparing, type ReplayOptions } from "./replay.ts"

/** How strictly {@link verifyReplay} compares. */
export type VerifyOptions = Pick<ReplayOptions, "checkConfig">

/** What {@link verifyReplay} compared, and how far the turn came. */
export interface ReplayReport {
  /** How many records were read, with the header. What a compaction left out is not among them. */
  readonly records: number
  /** How many effects were compared: those that the journal answers. A tool batch answered in parts is one. */
  readonly effects: number
  readonly snapshots: number
  /** How many iterations had their model call answered. */
  readonly iterations: number
  /** `undefined`: the turn has not ended. */
  readonly outcome: Outcome | undefined
}

/**
 * Replays a whole journal, performing nothing, and compares all that it holds with what the turn does now: driver and
 * configuration, each effect that a record answers, what was outstanding at an interruption, each snapshot, and the
 * outcome. A test calls it on a journal that was kept: whatever changes what a turn asks for is found.
 *
 * Snapshots are compared here only, because each one costs as much as the transcript is long. Which effects a host had not
 * polled yet when it took one is its own affair and is not compared.
 * @throws {ReplayDivergence} at the first record that differs. `effect_differs` without pointers: the journal has only the
 *   effect's fingerprint; record it with `keepEffects`
 */
export function verifyReplay(journal: Journal, config: TurnConfig, options: VerifyOptions = {}): ReplayReport {
  const { checkConfig = true } = options
  const trusting = trustingConfig(config)
  if (checkConfig) checkConfiguration(journal, trusting)
  const { entries, header } = journal
  const first = header.dropped === undefined ? -1 : entries.findIndex(({ record }) => record.type === "snapshot")
  const machine = beginAt(journal, entries[first]?.record, trusting)

  const effects = new Set<number>()
  const iterations = new Set<number>()
  let snapshots = 0
  let kept: { readonly entry: JournalEntry; readonly effect: AnswerableEffect } | undefined
  for (const entry of entries.slice(first + 1)) {
    const { number, record } = entry
    switch (record.type) {
      case "effect":
        kept = { entry, effect: record.effect }
        continue
      case "snapshot":
        checkSnapshot(machine, number, record.checkpoint, checkConfig)
        snapshots += 1
        continue
      case "interruption":
        checkOutstanding(machine, number, record.effectId)
        break
      case "header":
      case "opened":
      case "call_started":
      case "end":
        break
      default:
        if (entry.fingerprint === undefined) {
          checkUnasked(trusting, machine, number, record.id)
          continue
        }
        drain(machine)
        if (machine.outstanding?.type === "llm_call") iterations.add(machine.iteration)
        effects.add(record.id)
    }
    fold(machine, kept === undefined ? [entry] : [kept.entry, entry], Number.POSITIVE_INFINITY, all)
    if ("id" in record) kept = undefined
  }
  drain(machine)
  if (kept !== undefined) checkKept(machine, kept.entry.number, kept.effect)
  return { records: entries.length + 1, effects: effects.size, snapshots, iterations: iterations.size, outcome: machine.outcome }
}

function checkSnapshot(machine: TurnMachine, number: number, checkpoint: TurnCheckpoint, withConfig: boolean): void {
  if (!isPreparing(checkpoint.state)) drain(machine)
  const found = differences(comparable(checkpoint, withConfig), comparable(machine.checkpoint(), withConfig))
  if (found.length === 0) return
  const message = `Record ${number} is a snapshot of another turn than the replayed one, first at "${found[0]?.path}".`
  throw new ReplayDivergence("snapshot_differs", number, undefined, found, message)
}

/**
 * A checkpoint without what may differ in turns that are the same: which effects were polled; and whether a message of the
 * history is saved as its place in the transcript, which shows only that the two were one object in memory.
 */
function comparable(checkpoint: TurnCheckpoint, withConfig: boolean): unknown {
  const { unpolled: _, driver, systemPrompt, tools, ...turn } = checkpoint
  const { messages } = turn
  const events = turn.events.map((record) => (record.type === "message" ? { type: "conversation", message: messages[record.index] } : record))
  // As JSON on both sides: what a driver or a projector of this process puts in may hold what JSON leaves out.
  return JSON.parse(JSON.stringify({ ...turn, events, ...(withConfig && { driver, systemPrompt, tools }) }))
}

/** What a host ordered before the driver was asked for the next iteration must not ask it now. */
function checkOutstanding(machine: TurnMachine, number: number, effectId: number | undefined): void {
  if (effectId !== undefined) drain(machine)
  const replayedId = machine.outstanding?.id
  if (replayedId === effectId) return
  const name = (id: number | undefined): string => (id === undefined ? "no effect" : `effect ${id}`)
  const message = `Record ${number} was written while ${name(effectId)} was outstanding; in the replayed turn ${name(replayedId)} is.`
  throw new ReplayDivergence("effect_differs", number, effectId, differences({ effectId }, { effectId: replayedId }), message)
}

/** A response without a fingerprint answered nothing that was outstanding, so the turn was as before. */
function checkUnasked(config: TurnConfig, machine: TurnMachine, number: number, id: number): void {
  const { state } = advance(config, machine.turn).turn.position
  if (!("outstanding" in state) || state.outstanding.id !== id) return
  const message = `Record ${number} answered no effect when it was written, but the replayed turn waits for an answer to effect ${id}.`
  throw new ReplayDivergence("effect_differs", number, id, differences(undefined, state.outstanding), message)
}

/** A host died when it had written down the effect, but not the answer. */
function checkKept(machine: TurnMachine, number: number, effect: AnswerableEffect): void {
  const { state } = machine.turn.position
  const found = differences(effect, "outstanding" in state ? JSON.parse(JSON.stringify(state.outstanding)) : undefined)
  if (found.length === 0) return
  const message = `Record ${number} is effect ${effect.id}, but the replayed turn asks for something else, first at "${found[0]?.path}".`
  throw new ReplayDivergence("effect_differs", number, effect.id, found, message)
}
