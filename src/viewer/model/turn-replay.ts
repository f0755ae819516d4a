import { wrapDriver } from "../../drivers/wrap-driver.ts"
import { ReplayDivergence, TurnError } from "../../errors.ts"
import { type CompleteTurnConfig, completeConfig, type TurnConfig } from "../../machine/config.ts"
import { advance, command, handleChecked } from "../../machine/step.ts"
import type { Step as MachineStep, StateName, Turn } from "../../machine/turn.ts"
import type { TurnMachine } from "../../machine/turn-machine.ts"
import { wholeSurface } from "../../replay/base.ts"
import { trustingConfig } from "../../replay/config.ts"
import { configurationChanges } from "../../replay/configuration-changes.ts"
import { all, beginAt, drain, type EffectCheck, fold, underDriver } from "../../replay/fold.ts"
import type { Journal } from "../../replay/journal.ts"
import type { JournalEntry } from "../../replay/journal-entry.ts"
import { PrefixWatch } from "../../replay/prefix.ts"
import { type Section, sectionsOf } from "../../replay/sections.ts"
import type { DriverAction } from "../../wire/action.ts"
import type { AnswerableEffect } from "../../wire/effect.ts"
import type { LlmRequest } from "../../wire/llm.ts"
import type { BareAction, BareEffect, DriverCall, RequestBreak, Step, Verdict } from "../data.ts"

/** A request with the one before it of the same purpose. */
export interface RequestPair {
  readonly request: LlmRequest
  readonly previous: LlmRequest | undefined
  /** The record that answers the previous one. */
  readonly previousRecord: number | undefined
  readonly broken: RequestBreak | undefined
}

/** Compares the type of effects only: what is in a request depends on a configuration that is not known in full. */
const byType: EffectCheck = () => "type"

/**
 * Replays a turn piece by piece, so that a page can show the first records while the rest is replayed. It remembers the turn after each record:
 * turns are values that share their storage, so ten thousand of them cost little. Nothing is performed.
 */
export class TurnReplay {
  readonly #journal: Journal
  readonly #config: CompleteTurnConfig
  readonly #check: EffectCheck
  readonly #sections: readonly Section[]
  /** The turn that each entry met, after its effects were emitted. */
  readonly #met: (Turn | undefined)[] = []
  readonly #pairs = new Map<number, Omit<RequestPair, "request">>()
  readonly #lastOf = new Map<LlmRequest, number>()
  readonly #answered = new Set<number>()
  #section = 0
  #next = 0
  #machine: TurnMachine | undefined
  #watch = new PrefixWatch()
  #comparedBefore = 0
  #recorded: JournalEntry | undefined
  #verdict: Verdict | undefined

  /** @param unknown keys of the configuration that are not known: effects are then compared by their type only */
  constructor(journal: Journal, config: TurnConfig, unknown: readonly string[] = []) {
    this.#journal = journal
    this.#config = trustingConfig(config)
    this.#check = unknown.length === 0 ? all : byType
    this.#sections = sectionsOf(journal)
    if (unknown.length > 0) return
    const [first] = this.#sections
    const changes = first === undefined ? [] : configurationChanges(journal, first, this.#config)
    if (changes.length === 0) return
    const keys = [...new Set(changes.map(({ path }) => path.split("/")[path.startsWith("/config/") ? 2 : 1] ?? ""))].join(", ")
    this.#verdict = {
      type: "differs",
      record: 1,
      message: `The turn ran under another configuration than this version has. Different: ${keys}.`,
      differences: changes,
    }
  }

  /** Whether the effects that were replayed so far are as recorded; `undefined` until all are. */
  get verdict(): Verdict | undefined {
    return this.#verdict
  }

  /** From 0 to 1. */
  get progress(): number {
    const { length } = this.#journal.entries
    return this.#verdict !== undefined || length === 0 ? 1 : this.#next / length
  }

  /** How many requests were compared with one before. */
  get compared(): number {
    return this.#comparedBefore + this.#watch.compared
  }

  /** The records whose requests do not begin with the one before. */
  get breaks(): readonly { readonly record: number; readonly broken: RequestBreak }[] {
    return [...this.#pairs].flatMap(([index, { broken }]) =>
      broken === undefined ? [] : [{ record: this.#journal.entries[index]?.number ?? 0, broken }],
    )
  }

  /** Replays until `isDue` says so, or to the end. Asks it after each record. */
  run(isDue: () => boolean = () => false): void {
    while (this.#verdict === undefined) {
      this.#one()
      if (isDue()) return
    }
  }

  /** What an entry did to the turn; `undefined` if that is not known. `index`: among the entries after the header. */
  step(index: number): Step | undefined {
    this.#reach(index)
    const entry = this.#journal.entries[index]
    const met = this.#met[index]
    if (entry === undefined || met === undefined) return undefined
    return stepOf(this.#config, met, entry, this.#journal.entries[index + 1])
  }

  /** The request that an entry answers; `undefined` if it answers none, or if that is not known. */
  request(index: number): RequestPair | undefined {
    this.#reach(index)
    const request = requestIn(this.#met[index])
    const pair = this.#pairs.get(index)
    return request === undefined || pair === undefined ? undefined : { request, ...pair }
  }

  #reach(index: number): void {
    while (this.#verdict === undefined && this.#next <= index) this.#one()
  }

  #one(): void {
    const section = this.#sections[this.#section]
    if (section === undefined) {
      this.#verdict = { type: "agrees", effects: this.#answered.size }
      return
    }
    try {
      if (this.#machine === undefined) this.#begin(section)
      if (this.#next >= section.end) {
        if (this.#machine !== undefined) drain(this.#machine)
        this.#machine = undefined
        this.#section += 1
      } else this.#fold(this.#next++)
    } catch (error) {
      if (!(error instanceof TurnError)) throw error
      // What the replayed turn would have done with the record is not what happened.
      this.#met.length = Math.min(this.#met.length, Math.max(0, this.#next - 1))
      const record = error instanceof ReplayDivergence ? error.record : (this.#journal.entries[this.#next - 1]?.number ?? 1)
      this.#verdict = { type: "differs", record, message: error.message, differences: error instanceof ReplayDivergence ? error.differences : [] }
    }
  }

  #begin(section: Section): void {
    const snapshot = this.#journal.entries[section.first]?.record
    const given = section.record === 1 ? snapshot : underDriver(snapshot, this.#config)
    this.#machine = beginAt(this.#journal, given, { ...this.#config, ...wholeSurface(this.#journal) })
    this.#next = section.first + 1
    this.#comparedBefore += this.#watch.compared
    this.#watch = new PrefixWatch()
    this.#recorded = undefined
  }

  #fold(index: number): void {
    const machine = this.#machine as TurnMachine
    const entry = this.#journal.entries[index] as JournalEntry
    const { record } = entry
    if (record.type === "effect") {
      this.#recorded = entry
      this.#met[index] = machine.turn
      return
    }
    if ("id" in record || (record.type === "interruption" && record.effectId !== undefined) || record.type === "end") drain(machine)
    const met = machine.turn
    this.#met[index] = met
    const { state } = met.position
    if ("id" in record && entry.fingerprint !== undefined && "outstanding" in state) {
      this.#answered.add(record.id)
      if (state.outstanding.id === record.id && state.type === "waiting_llm" && record.type === "llm_complete") this.#compare(index, met)
    }
    fold(machine, this.#recorded === undefined ? [entry] : [this.#recorded, entry], Number.POSITIVE_INFINITY, this.#check)
    if ("id" in record) this.#recorded = undefined
  }

  #compare(index: number, turn: Turn): void {
    const request = requestIn(turn)
    if (request === undefined) return
    const found = this.#watch.pair(turn)
    const previousRecord = found.previous === undefined ? undefined : this.#lastOf.get(found.previous)
    const broken = found.broken && { at: found.broken.at, reason: found.broken.reason, marked: found.broken.marked }
    this.#pairs.set(index, { previous: found.previous, previousRecord, broken })
    this.#lastOf.set(request, this.#journal.entries[index]?.number ?? 0)
  }
}

function requestIn(turn: Turn | undefined): LlmRequest | undefined {
  const { state } = turn?.position ?? {}
  return state?.type === "waiting_llm" ? state.outstanding.request : undefined
}

/** Feeds one record to a turn, and reports what that did. */
function stepOf(config: CompleteTurnConfig, met: Turn, { number, record }: JournalEntry, next: JournalEntry | undefined): Step {
  const asked: DriverCall[] = []
  const watched = completeConfig({ ...config, driver: watchedDriver(config.driver, asked) })
  const { state } = met.position
  const effect = "outstanding" in state && "id" in record ? bareEffect(state.outstanding) : undefined
  const states: StateName[] = [state.type]
  let turn = met
  let refused: string | undefined
  try {
    const result = applied(watched, met, record)
    if (result?.status === "stale") refused = "It answers an effect that was already answered."
    turn = result?.turn ?? met
    states.push(turn.position.state.type)
    // A command that came before the driver was asked for the next iteration must not ask it here.
    const isCut = next?.record.type === "interruption" && next.record.effectId === undefined
    const isPreparing = turn.position.state.type === "preparing" || turn.position.state.type === "prepare_iteration"
    for (let rounds = 0; result !== undefined && isPreparing && !isCut && rounds < 2; rounds += 1) {
      const advanced = advance(watched, turn).turn
      if (advanced === turn) break
      turn = advanced
      states.push(turn.position.state.type)
    }
  } catch (error) {
    if (!(error instanceof TurnError)) throw error
    refused = error.message
  }
  const { events, messages } = turn.record
  return {
    number,
    states: states.filter((name, index) => name !== states[index - 1] || (index === 1 && states.length === 2)),
    ...(effect !== undefined && { effect }),
    asked,
    records: events.slice(met.record.events.length),
    messages: messages.slice(met.record.messages.length),
    iteration: turn.position.iteration + 1,
    ...(refused !== undefined && { refused }),
  }
}

/** `undefined`: the record does not change the turn. */
function applied(config: CompleteTurnConfig, turn: Turn, record: JournalEntry["record"]): MachineStep | undefined {
  switch (record.type) {
    case "header":
    case "opened":
    case "traced":
    case "reconfigured":
    case "call_started":
    case "child_granted":
    case "effect":
    case "snapshot":
    case "end":
      return undefined
    case "interruption":
      return command(config, turn, record.interruption)
    default:
      return handleChecked(config, turn, record)
  }
}

const CALLBACKS = [
  "prepareIteration",
  "onLlmComplete",
  "onToolResults",
  "onToolDecisions",
  "onExecResult",
  "onExecCancelled",
  "onLlmCutOff",
  "onLlmFailed",
  "onDelivery",
] as const

/** A driver that reports what it is asked and what it answers. */
function watchedDriver(driver: CompleteTurnConfig["driver"], asked: DriverCall[]): CompleteTurnConfig["driver"] {
  const report =
    (callback: string) =>
    (
      next: (...given: readonly unknown[]) => readonly DriverAction[] | undefined,
      ...given: readonly unknown[]
    ): readonly DriverAction[] | undefined => {
      const actions = next(...given)
      if (actions !== undefined) asked.push({ callback, actions: actions.map(bareAction) })
      return actions
    }
  const patch = Object.fromEntries(CALLBACKS.flatMap((name) => (driver[name] === undefined ? [] : [[name, report(name)]])))
  return wrapDriver(driver, patch)
}

function bareAction(action: DriverAction): BareAction {
  if (action.type !== "start_llm") return action
  const { request: _, ...bare } = action
  return bare
}

function bareEffect(effect: AnswerableEffect): BareEffect {
  if (effect.type !== "llm_call") return effect
  const { request: _, ...bare } = effect
  return bare
}
