import { frozen } from "../freeze.ts"
import type { DriverAction } from "../wire/action.ts"
import type { TurnCheckpoint } from "../wire/checkpoint.ts"
import type { TurnStart } from "../wire/config.ts"
import type { AnswerableEffect, Effect } from "../wire/effect.ts"
import type { Outcome, TurnEvent } from "../wire/event.ts"
import type { LlmResponse, TokenUsage } from "../wire/llm.ts"
import type { HistoryRecord, Message, TurnCause } from "../wire/message.ts"
import type { Response } from "../wire/response.ts"
import type { ToolSpec } from "../wire/tool.ts"
import { stillToRun } from "./batch.ts"
import { readCheckpoint, writeCheckpoint } from "./checkpoint.ts"
import { type CompleteTurnConfig, checkedConfig, type TurnConfig } from "./config.ts"
import { advance, begin, command, type HostCommand, handleChecked } from "./step.ts"
import { isAnswerable } from "./transitions.ts"
import { outstandingEffect, type StateName, type Step, type Turn, type TurnState } from "./turn.ts"

/**
 * {@link TurnMachine.poll} for a replay, whose effects no host receives: they are not frozen, because that takes a sixth of a replay. What is emitted
 * again, and what the turn waits for, is frozen when a host polls it.
 */
export let pollForReplay: (machine: TurnMachine) => Effect | undefined

/**
 * One turn of an agent: emits effects and accepts responses. A thin shell over the pure functions of step.ts that holds the current
 * turn and the effects that were not polled yet.
 *
 *     const machine = new TurnMachine(config, start)
 *     for (let effect = machine.poll(); effect; effect = machine.poll()) {
 *       const response = await perform(effect)          // undefined for notifications
 *       if (response) machine.handle(response)
 *     }
 *
 * The machine keeps the values that it is given by reference: do not change them later. What it hands out is frozen.
 */
export class TurnMachine {
  readonly #config: CompleteTurnConfig
  #turn: Turn
  /** The effects from `#polled` on are still to be polled. Removing each from the front would move all that follow. */
  #effects: Effect[] = []
  #polled = 0
  /** The effect that was outstanding when the turn was restored. It is among the effects, to be emitted once more. */
  #redelivery: Effect | undefined
  /** The last result of {@link check}, which need not be checked again. At first an object that no caller has. */
  #checked: object = {}

  static {
    pollForReplay = (machine) => machine.#poll()
  }

  /** @throws {SchemaError} `invalid_config`; `invalid_start`, where `config.validation` is given */
  constructor(config: TurnConfig, start: TurnStart) {
    this.#config = checkedConfig(config)
    this.#turn = begin(this.#config, start).turn
  }

  /**
   * Restores a saved turn from its JSON text or its parsed value. Effects that were not polled yet come out as they would have; the
   * outstanding one is emitted once more, under its id, unless it is answered first.
   * @throws {CheckpointError} with the `code` and `path` of what is wrong
   * @throws {SchemaError} `invalid_config`
   * @see docs/errors.md
   */
  static restore(config: TurnConfig, checkpoint: unknown): TurnMachine {
    const complete = checkedConfig(config)
    const { turn, unpolled } = readCheckpoint(complete, checkpoint)
    return this.of(complete, turn, unpolled)
  }

  /**
   * Resumes a turn that is given as a value. The outstanding effect is emitted once more: in its place among `unpolled`, or after
   * them.
   * @throws {SchemaError} `invalid_config`
   */
  static of(config: TurnConfig, turn: Turn, unpolled: readonly Effect[] = []): TurnMachine {
    const machine = new this(config, { messages: [] })
    const { state } = turn.position
    machine.#turn = turn
    // A release names calls that the batch names, too, when it is emitted again.
    machine.#effects = unpolled.filter(({ type }) => type !== "tool_calls_released")
    machine.#redelivery = "outstanding" in state ? state.outstanding : undefined
    if (machine.#redelivery !== undefined && !unpolled.includes(machine.#redelivery)) machine.#effects.push(machine.#redelivery)
    return machine
  }

  /** Returns the turn as JSON. May be called at any time, also between two polls. */
  checkpoint(): TurnCheckpoint {
    return writeCheckpoint(this.#config, { turn: this.#turn, unpolled: this.#effects.slice(this.#polled) })
  }

  /**
   * Returns the next effect, frozen: what a receiver does to it cannot change the turn. `undefined`: the turn waits for a response, or is
   * done.
   */
  poll(): Effect | undefined {
    return frozen(this.#poll())
  }

  /**
   * Checks the shape of a response as {@link handle} does, and returns it without unknown keys, so that a host can persist it before
   * it is handled. Changes nothing. {@link handle} does not check what this returned once more: pass it on unchanged.
   * @throws {SchemaError} `invalid_response`
   */
  check(response: unknown): Response {
    const checked = this.#config.validation === undefined ? (response as Response) : this.#config.validation.response(response)
    this.#checked = checked
    return checked
  }

  /**
   * Handles the response to an effect. A response to an effect that was already answered, or one that repeats a decision, is `stale` and
   * changes nothing.
   * @throws {SchemaError} `invalid_response`. The turn is unchanged.
   * @throws {ProtocolError} `unexpected_response`, `unknown_effect`, `unknown_call`, `call_already_answered`, `call_is_held`, `call_is_pending`,
   *   `call_not_unique`, `unknown_request`, `digest_mismatch`, `decision_not_allowed`, `call_already_decided`. The turn is unchanged.
   */
  handle(response: Response): { readonly status: "accepted" | "stale" } {
    const result = handleChecked(this.#config, this.#turn, response === this.#checked ? response : this.check(response))
    if (result.status === "accepted") {
      // The rest of a batch that was answered in part is still to be emitted.
      const { state } = result.turn.position
      if (!("outstanding" in state) || state.outstanding !== this.#redelivery) this.#withdrawRedelivery()
      this.#accept(result, true)
    }
    return { status: result.status }
  }

  /**
   * Applies a command of the host: the one way to end a turn from outside, or to add to it. {@link cancel}, {@link fail},
   * {@link finish} and {@link apply} call it. Ending a finished turn changes nothing.
   *
   * Every end leaves the work of the turn alike. A running model call gets `cancel_llm`, and the driver stores the `partial` answer of
   * it. Results of a batch are stored, and its open calls get a cancelled one. For running code the driver's `onExecCancelled` is asked.
   * Answerable effects that were not polled yet are withdrawn at every end of a turn.
   * @throws {SchemaError} `invalid_actions`: a reason, an event, an outcome or an action is not valid; `invalid_response`: `partial` is
   *   not an answer. The turn is unchanged.
   * @throws {ProtocolError} `turn_finished`, `action_starts_work` (apply). The turn is unchanged.
   */
  command(hostCommand: HostCommand): void {
    this.#accept(command(this.#config, this.#turn, hostCommand))
  }

  /** Ends the turn as cancelled. `partial`: what the running model call had said, and the tokens that it used. Throws as {@link command}. */
  cancel(reason?: string, partial?: LlmResponse): void {
    this.command({ type: "cancel", ...(reason !== undefined && { reason }), ...(partial !== undefined && { partial }) })
  }

  /** Ends the turn as `runtime_error`, with an event that gives the reason. `partial`: as in {@link cancel}. Throws as {@link command}. */
  fail(event: TurnEvent, partial?: LlmResponse): void {
    this.command({ type: "fail", event, ...(partial !== undefined && { partial }) })
  }

  /** Ends the turn with an outcome of the host's own. `partial`: as in {@link cancel}. Throws as {@link command}. */
  finish(outcome: Outcome, partial?: LlmResponse): void {
    this.command({ type: "finish", outcome, ...(partial !== undefined && { partial }) })
  }

  /** Applies a host's own actions, which must not start work: events to emit, records to append, an end. Throws as {@link command}. */
  apply(actions: readonly DriverAction[]): void {
    this.command({ type: "apply", actions })
  }

  /** The name of the turn's state. */
  get state(): StateName {
    return this.#turn.position.state.type
  }
  /** The whole turn as an immutable value, frozen. */
  get turn(): Turn {
    const turn = this.#turn
    const { position, record, surface } = turn
    if (!Object.isFrozen(turn)) for (const group of [turn, position, position.state, position.usage, record, surface]) Object.freeze(group)
    return turn
  }
  /** The effect that waits for its answer. Of a tool batch: only the calls without a result. */
  get outstanding(): AnswerableEffect | undefined {
    return outstandingEffect(this.#turn.position.state)
  }
  /** Whether the turn ended. Its last effects may not be polled yet. */
  get done(): boolean {
    return this.#turn.position.state.type === "finished"
  }
  /** Whether the driver may hold calls for a person, so that the turn needs a host that takes decisions. */
  get mayHold(): boolean {
    return this.#config.driver.onToolDecisions !== undefined
  }
  /**
   * The tools of the configuration. A restored turn continues with those that its model was shown (`turn.surface`), which may differ.
   * `undefined`: the host syncs them during the turn.
   */
  get configuredTools(): readonly ToolSpec[] | undefined {
    return this.#config.syncExecutionSurface ? undefined : this.#config.tools
  }
  /** The model of the configuration. */
  get model(): string {
    return this.#config.model
  }
  /** How the turn ended; `undefined` while it runs. */
  get outcome(): Outcome | undefined {
    return this.#turn.position.state.type === "finished" ? this.#turn.position.state.outcome : undefined
  }
  /** The transcript, also after the end. */
  get messages(): readonly Message[] {
    return this.#turn.record.messages.toArray()
  }
  /** The durable records of the thread, including those that the turn began with. */
  get history(): readonly HistoryRecord[] {
    return this.#turn.record.events.toArray()
  }
  /** @deprecated Use {@link history}. Removed in 0.2. */
  get events(): readonly HistoryRecord[] {
    return this.history
  }
  /** The tokens of all answers of this turn. */
  get usage(): TokenUsage {
    return Object.freeze(this.#turn.position.usage)
  }
  /** The current iteration, counted from `iterationOffset`. */
  get iteration(): number {
    return this.#turn.position.iteration
  }
  /** The outside events that the turn runs for: those it began with, and those that were delivered. */
  get turnCauses(): readonly TurnCause[] {
    return this.#turn.record.turnCauses.toArray()
  }

  #poll(): Effect | undefined {
    for (;;) {
      const effect = this.#next()
      const { state } = this.#turn.position
      // A batch may have been answered in part before it was polled; finished calls are not requested again.
      if ("outstanding" in state && effect === state.outstanding) return this.#withReleased(state)
      if (effect?.type !== "tool_calls_released") return effect
      // Another batch may have calls with the same ids.
      const calls = state.type === "waiting_tools" && state.outstanding.id === effect.id ? stillToRun(state, effect.calls) : []
      if (calls.length > 0) return { ...effect, calls }
    }
  }

  #next(): Effect | undefined {
    if (this.#polled === this.#effects.length) this.#accept(advance(this.#config, this.#turn))
    const effect = this.#effects[this.#polled]
    if (effect !== undefined) this.#polled += 1
    if (this.#polled * 2 > this.#effects.length) {
      this.#effects = this.#effects.slice(this.#polled)
      this.#polled = 0
    }
    return effect
  }

  /** The outstanding effect. It names the calls that were released before it was polled, so their release is not emitted any more. */
  #withReleased(state: TurnState): AnswerableEffect | undefined {
    if (state.type === "waiting_tools" && state.decided.length > 0) {
      this.#effects = this.#effects.slice(this.#polled).filter(({ type }) => type !== "tool_calls_released")
      this.#polled = 0
    }
    return outstandingEffect(state)
  }

  /** Removes the effect of a restored turn that was to be emitted once more. */
  #withdrawRedelivery(): void {
    const index = this.#redelivery === undefined ? -1 : this.#effects.indexOf(this.#redelivery, this.#polled)
    if (index >= 0) this.#effects.splice(index, 1)
    this.#redelivery = undefined
  }

  /** Whether the turn ends, or a command made it leave what it waited for. */
  #leavesWork(next: TurnState, isAnswer: boolean): boolean {
    const { state } = this.#turn.position
    if (next.type === "finished") return state.type !== "finished"
    return !isAnswer && "outstanding" in state && !("outstanding" in next && next.outstanding === state.outstanding)
  }

  /** `isAnswer`: the input answered the outstanding effect. */
  #accept(result: Step, isAnswer = false): void {
    const withdrawn = this.#leavesWork(result.turn.position.state, isAnswer) ? this.#withdrawWork(isAnswer) : NONE
    this.#turn = result.turn
    // Not `push(...effects)`: one response may lead to more effects than a call can have arguments.
    for (const effect of result.effects) if (effect.type !== "cancel_llm" || !withdrawn.has(effect.id)) this.#effects.push(effect)
  }

  /**
   * Removes the work that the host has not polled when the turn ends or is redirected, so that it performs none of it. An answered checkpoint is not work:
   * the host only saves at it. Returns the ids of effects that no host has ever polled.
   */
  #withdrawWork(isAnswer: boolean): ReadonlySet<number> {
    const { state } = this.#turn.position
    const open = "outstanding" in state && !isAnswer ? state.outstanding : undefined
    const isWork = (effect: Effect): effect is AnswerableEffect => isAnswerable(effect) && (effect.type !== "checkpoint" || effect === open)
    const unpolled = this.#effects.slice(this.#polled)
    this.#effects = unpolled.filter((effect) => !isWork(effect))
    this.#polled = 0
    // Another process may have polled the effect of a restored turn.
    return new Set(unpolled.filter(isWork).flatMap((effect) => (effect === this.#redelivery ? [] : [effect.id])))
  }
}

const NONE: ReadonlySet<number> = new Set()
