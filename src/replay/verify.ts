import { ReplayDivergence } from "../errors.ts"
import type { CompleteTurnConfig, TurnConfig } from "../machine/config.ts"
import { advance } from "../machine/step.ts"
import type { TurnMachine } from "../machine/turn-machine.ts"
import type { TurnCheckpoint } from "../wire/checkpoint.ts"
import type { AnswerableEffect } from "../wire/effect.ts"
import type { Outcome } from "../wire/event.ts"
import { wholeCheckpoint } from "./base.ts"
import { trustingConfig } from "./config.ts"
import { configurationChanges } from "./configuration-changes.ts"
import { differences } from "./divergence.ts"
import { all, beginAt, drain, fold, heldDifference, isPreparing } from "./fold.ts"
import type { Journal } from "./journal.ts"
import type { JournalEntry } from "./journal-entry.ts"
import { checkConfiguration, type ReplayOptions } from "./replay.ts"
import { lastSection, type Section, sectionsOf } from "./sections.ts"

/** Options of {@link verifyReplay}. */
export type VerifyOptions = Pick<ReplayOptions, "checkConfig">

/** What {@link verifyReplay} compared, and how the turn ended. */
export interface ReplayReport {
  /** Records read, the header included. Records that a compaction left out are not counted. */
  readonly records: number
  /** How many of them were not compared, because they were written under another configuration than the given one. */
  readonly skippedRecords: number
  /** Effects compared: those that the journal answers. A tool batch answered in parts is one. */
  readonly effects: number
  readonly snapshots: number
  /** Iterations whose model call was answered. */
  readonly iterations: number
  /** `undefined`: the turn has not ended, or its end was not compared. */
  readonly outcome: Outcome | undefined
}

/**
 * Replays a whole journal without performing anything and compares everything in it with the replayed turn: driver and
 * configuration, each effect that a record answers, the effect outstanding at an interruption, each snapshot, and the outcome.
 * Call it in tests on recorded journals to detect changes in what a turn does.
 *
 * Of a turn that was reconfigured, the records that were written under the given configuration are compared, from the snapshot after each
 * `reconfigured` record; with `checkConfig: false` all of them.
 *
 * Only this function compares snapshots, because the cost of each grows with the transcript. Effects that a host had not polled
 * when it took a snapshot are not compared.
 * @throws {ReplayDivergence} at the first record that differs. `effect_differs` without paths: the journal has only the
 *   fingerprint of the effect; record it with `keepEffects`
 */
export function verifyReplay(journal: Journal, config: TurnConfig, options: VerifyOptions = {}): ReplayReport {
  const { checkConfig = true } = options
  const trusting = trustingConfig(config)
  const sections = sectionsOf(journal)
  const compared = checkConfig ? sections.filter((section) => configurationChanges(journal, section, trusting).length === 0) : sections
  // Without records to compare, the configuration is wrong.
  if (compared.length === 0) checkConfiguration(journal, lastSection(journal), trusting)
  const counts: Counts = { effects: new Set(), iterations: new Set(), snapshots: 0, outcome: undefined }
  for (const section of compared) verifySection(journal, section, trusting, checkConfig, counts)
  const skippedRecords = sections.reduce((sum, section) => (compared.includes(section) ? sum : sum + recordCount(section)), 0)
  const { effects, iterations, ...rest } = counts
  return { records: journal.entries.length + 1, skippedRecords, ...rest, effects: effects.size, iterations: iterations.size }
}

/** A section begins with the record that names its configuration: the header, or the entry before its snapshot. */
function recordCount({ record, first, end }: Section): number {
  return record === 1 ? end + 1 : end - first + 1
}

interface Counts {
  readonly effects: Set<number>
  readonly iterations: Set<number>
  snapshots: number
  outcome: Outcome | undefined
}

function verifySection(journal: Journal, section: Section, trusting: CompleteTurnConfig, checkConfig: boolean, counts: Counts): void {
  const { entries } = journal
  const machine = beginAt(journal, entries[section.first]?.record, trusting)
  let recorded: { readonly entry: JournalEntry; readonly effect: AnswerableEffect } | undefined
  for (const entry of entries.slice(section.first + 1, section.end)) {
    const { number, record } = entry
    switch (record.type) {
      case "effect":
        recorded = { entry, effect: record.effect }
        continue
      case "snapshot":
        checkSnapshot(machine, number, wholeCheckpoint(journal, record.checkpoint), checkConfig)
        counts.snapshots += 1
        continue
      case "interruption":
        checkOutstanding(machine, number, record.effectId)
        break
      case "header":
      case "opened":
      case "traced":
      case "reconfigured":
      case "call_started":
      case "child_granted":
      case "end":
        break
      default:
        if (entry.fingerprint === undefined) {
          checkUnexpected(trusting, machine, number, record.id)
          continue
        }
        drain(machine)
        if (machine.outstanding?.type === "llm_call") counts.iterations.add(machine.iteration)
        counts.effects.add(record.id)
    }
    fold(machine, recorded === undefined ? [entry] : [recorded.entry, entry], Number.POSITIVE_INFINITY, all)
    if ("id" in record) recorded = undefined
  }
  drain(machine)
  if (recorded !== undefined && isLastOf(journal, section)) checkUnanswered(machine, recorded.entry.number, recorded.effect)
  counts.outcome = isLastOf(journal, section) ? machine.outcome : undefined
}

function isLastOf({ entries }: Journal, { end }: Section): boolean {
  return end === entries.length
}

function checkSnapshot(machine: TurnMachine, number: number, checkpoint: TurnCheckpoint, withConfig: boolean): void {
  if (!isPreparing(checkpoint.state)) drain(machine)
  const found = differences(comparable(checkpoint, withConfig), comparable(machine.checkpoint(), withConfig))
  if (found.length === 0) return
  const { state } = machine.turn.position
  const held =
    "outstanding" in checkpoint.state ? heldDifference(checkpoint.state.outstanding, "outstanding" in state ? state.outstanding : undefined) : ""
  const message = `Record ${number} is a snapshot that differs from the replayed turn, first at "${found[0]?.path}".${held}`
  throw new ReplayDivergence("snapshot_differs", number, undefined, found, message)
}

/**
 * A checkpoint without what may differ between equal turns: the effects not yet polled, and whether a message of the history is
 * saved as its index in the transcript, which only shows that the two were one object in memory.
 */
function comparable(checkpoint: TurnCheckpoint, withConfig: boolean): unknown {
  const { unpolled: _, driver, systemPrompt, tools, ...turn } = checkpoint
  const { messages } = turn
  const events = turn.events.map((record) => (record.type === "message" ? { type: "conversation", message: messages[record.index] } : record))
  // As JSON on both sides: values of a driver or projector in this process may have parts that JSON leaves out.
  return JSON.parse(JSON.stringify({ ...turn, events, ...(withConfig && { driver, systemPrompt, tools }) }))
}

/** A command from before the driver was asked for the next iteration must not ask it now. */
function checkOutstanding(machine: TurnMachine, number: number, effectId: number | undefined): void {
  if (effectId !== undefined) drain(machine)
  const replayedId = machine.outstanding?.id
  if (replayedId === effectId) return
  const name = (id: number | undefined): string => (id === undefined ? "no effect" : `effect ${id}`)
  const message = `Record ${number} was written while ${name(effectId)} was outstanding; in the replayed turn ${name(replayedId)} is.`
  throw new ReplayDivergence("effect_differs", number, effectId, differences({ effectId }, { effectId: replayedId }), message)
}

/** A response without a fingerprint did not answer the outstanding effect, so the turn did not change. */
function checkUnexpected(config: TurnConfig, machine: TurnMachine, number: number, id: number): void {
  const { state } = advance(config, machine.turn).turn.position
  if (!("outstanding" in state) || state.outstanding.id !== id) return
  const message = `Record ${number} did not answer an effect when it was written, but the replayed turn waits for an answer to effect ${id}.`
  throw new ReplayDivergence("effect_differs", number, id, differences(undefined, state.outstanding), message)
}

/** A host crashed after it recorded the effect and before the answer. */
function checkUnanswered(machine: TurnMachine, number: number, effect: AnswerableEffect): void {
  const { state } = machine.turn.position
  const found = differences(effect, "outstanding" in state ? JSON.parse(JSON.stringify(state.outstanding)) : undefined)
  if (found.length === 0) return
  const message = `Record ${number} is effect ${effect.id}, but the replayed turn has another effect, first at "${found[0]?.path}".`
  throw new ReplayDivergence("effect_differs", number, effect.id, found, message)
}
