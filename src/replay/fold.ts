import { type Difference, ReplayDivergence, TurnError } from "../errors.ts"
import { frozen } from "../freeze.ts"
import { canonicalJson } from "../json.ts"
import type { TurnConfig } from "../machine/config.ts"
import { isAnswerTo } from "../machine/transitions.ts"
import { pollForReplay, TurnMachine } from "../machine/turn-machine.ts"
import type { TurnCheckpoint } from "../wire/checkpoint.ts"
import type { AnswerableEffect, Effect } from "../wire/effect.ts"
import type { JournalInterruption, JournalRecord, JournalSnapshot } from "../wire/journal.ts"
import type { Response } from "../wire/response.ts"
import { wholeCheckpoint, wholeStart } from "./base.ts"
import { differences } from "./divergence.ts"
import { fingerprint } from "./fingerprint.ts"
import type { Journal } from "./journal.ts"
import type { JournalEntry } from "./journal-entry.ts"

/** Returns the machine at a snapshot, or at the start of the turn without one. @throws {JournalError} `missing_log` */
export function beginAt(journal: Journal, snapshot: JournalRecord | undefined, config: TurnConfig): TurnMachine {
  if (snapshot?.type === "snapshot") return TurnMachine.restore(config, wholeCheckpoint(journal, snapshot.checkpoint))
  return new TurnMachine(config, wholeStart(journal))
}

/** A snapshot with the configuration's driver in place of the recorded one. */
export function underDriver(record: JournalRecord | undefined, { driver: { name, version } }: TurnConfig): JournalRecord | undefined {
  return record?.type === "snapshot" ? { ...record, checkpoint: { ...record.checkpoint, driver: { name, version } } } : record
}

/**
 * How the effect that a record answers is compared with the replayed one: `full` by its fingerprint, `type` by its id and type, so that the
 * record answers it at all; `none` not.
 */
export type EffectCheck = (entry: JournalEntry) => "full" | "type" | "none"

/** Compares every effect. */
export const all: EffectCheck = () => "full"
/** Compares no effect. */
export const none: EffectCheck = () => "none"

/**
 * Feeds records to a machine. Leaves the effects of the last record unpolled: a host may have crashed before it polled them.
 * @param notifications receives the notifications that are polled. Absent: they are dropped
 */
export function fold(machine: TurnMachine, entries: readonly JournalEntry[], at: number, check: EffectCheck, notifications?: Notifications): void {
  const poll = notifications === undefined ? skipEffects : (polled: TurnMachine): void => notifications.poll(polled)
  let recorded: AnswerableEffect | undefined
  for (const entry of entries) {
    if (entry.number > at) break
    const { record } = entry
    switch (record.type) {
      case "header":
      case "opened":
      case "traced":
      case "reconfigured":
      case "call_started":
      case "child_granted":
        break
      case "effect":
        recorded = record.effect
        break
      case "snapshot":
        // A snapshot from before the driver was asked for the next iteration must not ask it now.
        if (!isPreparing(record.checkpoint.state)) poll(machine)
        recorded = outstandingOf(record) ?? recorded
        break
      case "interruption":
        replayCommand(machine, record, poll)
        break
      case "end":
        poll(machine)
        notifications?.clear()
        checkOutcome(machine, entry.number, record.outcome)
        break
      default:
        poll(machine)
        if (entry.fingerprint !== undefined) {
          checkEffect(machine, entry, record, recorded?.id === record.id ? recorded : undefined, check(entry))
          if (record.type === "tool_decisions") notifications?.emitted(record.id)
          else if (!isAnsweredAhead(record)) notifications?.handedOut(record.id)
        }
        // A response that the live turn refused after it was recorded is refused here, too.
        unlessRefused(() => machine.handle(record))
        recorded = undefined
    }
  }
}

/**
 * The notifications of a turn that is resumed, without those that its host has certainly received. A host performs an effect only after
 * it received everything that was emitted before it. What was emitted afterwards, by a command for instance, it may not have received.
 */
export class Notifications {
  #polled: Effect[] = []

  poll(machine: TurnMachine): void {
    for (let effect = pollForReplay(machine); effect !== undefined; effect = pollForReplay(machine)) this.#polled.push(effect)
  }

  /** Forgets what was emitted before a batch that was decided about. The host may not have received what the decisions led to. */
  emitted(batchId: number): void {
    this.#keepAfter((effect) => effect.type === "tool_calls" && effect.id === batchId)
  }

  /** Forgets what was emitted before an effect that the host performed. Of what remains, only records of the history are emitted again. */
  handedOut(effectId: number): void {
    this.#keepAfter((effect) => "id" in effect && effect.type !== "cancel_llm" && effect.id === effectId)
    this.#polled = this.#polled.filter(({ type }) => type === "progress" || type === "done")
  }

  /** Forgets everything up to the last effect of a kind. */
  #keepAfter(isLast: (effect: Effect) => boolean): void {
    const last = this.#polled.filter(isLast).at(-1)
    if (last !== undefined) this.#polled = this.#polled.slice(this.#polled.lastIndexOf(last) + 1)
  }

  clear(): void {
    this.#polled = []
  }

  /** What is to be emitted again: everything but the effects that need an answer. */
  toArray(): readonly Effect[] {
    return this.#polled.filter((effect) => !("id" in effect) || effect.type === "cancel_llm")
  }
}

/** The effect that a snapshot is outstanding with, as it was first emitted. */
export function outstandingOf({ checkpoint: { state } }: JournalSnapshot): AnswerableEffect | undefined {
  return "outstanding" in state ? state.outstanding : undefined
}

/** What to add to a divergence if other calls of a batch are held than before: the policy answers otherwise, or the tools changed. */
export function heldDifference(recorded: AnswerableEffect | undefined, replayed: AnswerableEffect | undefined): string {
  const [before, now] = [heldIn(recorded), heldIn(replayed)]
  if (before === now) return ""
  return ` Held for approval in the journal: ${before}; in the replayed turn: ${now}. The approval policy changed, or the tools did.`
}

function heldIn(effect: AnswerableEffect | undefined): string {
  const held = effect?.type === "tool_calls" ? (effect.held ?? []) : []
  return held.length === 0 ? "none" : held.map(({ callId, toolName }) => `${callId} (${toolName})`).join(", ")
}

/**
 * Whether a response may have been recorded together with the one before it, so that the host may not have received what was emitted between
 * them: it needs no executor to deliver nothing.
 */
function isAnsweredAhead(response: Response): boolean {
  return response.type === "checkpoint_delivery" && Object.keys(response.delivery).length === 0
}

export function isPreparing({ type }: TurnCheckpoint["state"]): boolean {
  return type === "preparing" || type === "prepare_iteration"
}

/** Polls a machine until it waits for an answer. What it waits for is frozen, as a host would have it. */
export function drain(machine: TurnMachine): void {
  skipEffects(machine)
  const { state } = machine.turn.position
  if ("outstanding" in state) frozen(state.outstanding)
}

function skipEffects(machine: TurnMachine): void {
  while (pollForReplay(machine) !== undefined);
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
  { id, type }: Response,
  recorded: AnswerableEffect | undefined,
  check: ReturnType<EffectCheck>,
): void {
  if (check === "none") return
  const { state } = machine.turn.position
  const effect = "outstanding" in state ? state.outstanding : undefined
  if (effect?.id === id && (check === "full" ? fingerprint(effect) === expected : isAnswerTo(effect, { type }))) return
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
    `Record ${number} answers effect ${id}, but the replayed turn has another effect${where}.${heldDifference(recorded, effect)}`,
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
function replayCommand(machine: TurnMachine, { effectId, interruption }: JournalInterruption, poll: (machine: TurnMachine) => void): void {
  if (effectId !== undefined && machine.outstanding === undefined) poll(machine)
  unlessRefused(() => machine.command(interruption))
}
