import { DriverError, ProtocolError } from "../errors.ts"
import type { DriverAction } from "../schemas/action.ts"
import type { TurnCheckpoint } from "../schemas/checkpoint.ts"
import type { TurnStart } from "../schemas/config.ts"
import type { AnswerableEffect, Effect } from "../schemas/effect.ts"
import type { Outcome, TurnEvent } from "../schemas/event.ts"
import type { TokenUsage } from "../schemas/llm.ts"
import type { HistoryRecord, Message, TurnCause } from "../schemas/message.ts"
import type { Response } from "../schemas/response.ts"
import type { CompletedToolCall } from "../schemas/tool.ts"
import { applyActions, type MachineAction } from "./apply-actions.ts"
import { readCheckpoint, writeCheckpoint } from "./checkpoint.ts"
import { TurnContext } from "./driver.ts"
import { errorEvent, failWith, stopped } from "./terminal.ts"
import { toolResultParts } from "./tool-results.ts"
import { ANSWERS, type Orders, PREPARATION, TRANSITIONS } from "./transitions.ts"
import { newTurn, outstandingEffect, type StateName, type Step, type Turn, type TurnConfig, type TurnState } from "./turn.ts"

/**
 * Begins a turn. Nothing is asked yet: {@link advance} lets the driver begin.
 * @throws {SchemaError} `invalid_config`, `invalid_start`, where `config.validation` is given
 */
export function begin(config: TurnConfig, start: TurnStart): Step {
  return unchanged(firstTurn(checkedConfig(config), start))
}

/** An unknown key, as of a tool that carries its code, would go into requests and checkpoints; only what has a place stays. */
function checkedConfig(config: TurnConfig): TurnConfig {
  return config.validation === undefined ? config : { ...config, ...config.validation.config(config) }
}

function firstTurn(config: TurnConfig, start: TurnStart): Turn {
  return newTurn(config, config.validation?.start(start) ?? start)
}

/** Lets the driver prepare the coming iteration, where one is to be prepared; else changes nothing. Pure. */
export function advance(config: TurnConfig, turn: Turn): Step {
  const { state } = turn.position
  if (state.type !== "preparing" && state.type !== "prepare_iteration") return unchanged(turn)
  const rule = PREPARATION[state.type]
  return step(config, turn, rule.run(config, turn), rule.next)
}

/**
 * Feeds one response to a turn and returns the turn after it with every effect it raised, in order. Pure.
 * `response.id` answers the outstanding effect; one already answered returns `status: "stale"`, the same turn and no effects.
 * @throws {SchemaError} `invalid_response`, where `config.validation` is given. The turn is unchanged.
 * @throws {ProtocolError} `unexpected_response`, `unknown_effect`, `unknown_call`, `call_already_answered`. The turn is unchanged.
 * @see docs/protocol.md
 */
export function handle(config: TurnConfig, turn: Turn, response: Response): Step {
  return answerWith(config, turn, config.validation === undefined ? response : config.validation.response(response))
}

function answerWith(config: TurnConfig, turn: Turn, answer: Response): Step {
  const { state } = turn.position
  const outstanding = "outstanding" in state ? state.outstanding : undefined
  if (answer.id !== outstanding?.id) {
    if (answer.id >= 1 && answer.id < turn.position.nextEffectId) return { turn, effects: [], status: "stale" }
    throw new ProtocolError("unknown_effect", `No effect has the id ${answer.id}; a turn in "${state.type}" takes ${whatItTakes(outstanding)}.`)
  }
  const rule = ruleFor(state, answer)
  if (rule !== undefined) return step(config, turn, rule.run(config, turn, state, answer), rule.next)
  throw new ProtocolError("unexpected_response", `A turn in "${state.type}" cannot take "${answer.type}"; it takes ${whatItTakes(outstanding)}.`)
}

/** A row as it looks once the table has said that state and response belong together. */
interface MatchedRule {
  readonly run: (config: TurnConfig, turn: Turn, state: TurnState, response: Response) => Orders
  readonly next: readonly StateName[]
}

function ruleFor(state: TurnState, response: Response): MatchedRule | undefined {
  const rules = TRANSITIONS[state.type]
  return Object.hasOwn(rules, response.type) ? ((rules as Record<string, unknown>)[response.type] as MatchedRule) : undefined
}

function whatItTakes(outstanding: AnswerableEffect | undefined): string {
  return outstanding === undefined ? "nothing now" : `${ANSWERS[outstanding.type]} for effect ${outstanding.id}`
}

/** What a host applies to a turn from outside, besides answering its effects. */
export type HostCommand =
  | { readonly type: "cancel"; readonly reason?: string }
  | { readonly type: "fail"; readonly event: TurnEvent }
  | { readonly type: "finish"; readonly outcome: Outcome }
  | { readonly type: "apply"; readonly actions: readonly DriverAction[] }

/**
 * Ends a turn from outside, or applies a host's own actions to it. Ending a finished turn changes nothing. Pure.
 * @throws {SchemaError} `invalid_actions`, where `config.validation` is given: an action, outcome, event or reason is none. The turn is unchanged.
 * @throws {ProtocolError} `turn_finished`, `action_starts_work` (apply). The turn is unchanged.
 * @throws {DriverError} `action_after_finish`, `unknown_action` (apply). The turn is unchanged.
 */
export function command(config: TurnConfig, turn: Turn, hostCommand: HostCommand): Step {
  const context = new TurnContext(config, turn)
  if (turn.position.state.type === "finished" && hostCommand.type !== "apply") return unchanged(turn)
  return accept(applyActions(config, turn, commandedActions(context, turn, hostCommand), context))
}

function commandedActions(context: TurnContext, turn: Turn, hostCommand: HostCommand): readonly MachineAction[] {
  switch (hostCommand.type) {
    case "cancel":
      return [...leaveWork(context, turn, hostCommand.reason), { type: "finish", outcome: stopped("cancelled") }]
    case "fail":
      return checked(context, failWith(hostCommand.event))
    case "finish":
      return checked(context, [{ type: "finish", outcome: hostCommand.outcome }])
    case "apply": {
      const actions = checked(context, hostCommand.actions)
      if (turn.position.state.type === "finished") throw new ProtocolError("turn_finished", "A finished turn takes no more actions.")
      const start = actions.find((action) => action.type.startsWith("start_"))
      if (start === undefined) return actions
      throw new ProtocolError("action_starts_work", `Only a driver may order ${start.type}; apply takes actions that start no work.`)
    }
  }
}

/** What a cancelled turn leaves behind: no model call that runs on, and no tool call without its result. */
function leaveWork(context: TurnContext, { position: { state } }: Turn, reason = "The turn was cancelled."): readonly MachineAction[] {
  const notice = checked(context, [{ type: "emit", event: { type: "message", text: reason, kind: "cancelled" } }])
  if (state.type === "waiting_llm") return [{ type: "cancel_llm", id: state.outstanding.id }, ...notice]
  if (state.type !== "waiting_tools" || state.outstanding.calls.length === 0) return notice
  const results = state.outstanding.calls.map(
    (call, index): CompletedToolCall =>
      state.results[index] ?? { ...call, output: { status: "cancelled", message: reason, source: "cancellation" }, durationMs: 0 },
  )
  const id = context.newMessageId("cancelled")
  const message: Message = { id, role: "user", parts: toolResultParts(id, results) }
  return [{ type: "append_events", events: [{ type: "conversation", message }] }, ...notice]
}

/** What a host orders goes into the turn and its checkpoint, so it is checked as its responses are. */
function checked(context: TurnContext, actions: readonly DriverAction[]): readonly DriverAction[] {
  return context.config.validation?.actions(actions) ?? actions
}

/**
 * Applies what a row of the table ordered, and what the driver answers to it. A driver that throws, contradicts itself or
 * leads nowhere ends the turn as `runtime_error`: the response was taken, and a turn that cannot go on must not look as
 * if it could.
 */
function step(config: TurnConfig, turn: Turn, { context, actions, ask }: Orders, next: readonly StateName[]): Step {
  const { driver } = config
  try {
    const result = applyActions(config, turn, ask === undefined ? actions : actions.concat(ask()), context)
    const { state } = result.turn.position
    const ledOn = ask === undefined || state !== turn.position.state
    if (ledOn && next.includes(state.type)) return accept(result)
    throw new DriverError(
      "no_way_forward",
      `The driver "${driver.name}" answered a turn in "${turn.position.state.type}" with nothing to start and no end.`,
    )
  } catch (error) {
    const failure = error instanceof DriverError ? error : new DriverError("driver_threw", `The driver "${driver.name}" threw: ${textOf(error)}`)
    const event = errorEvent(failure.message, { kind: "driver", code: failure.code })
    return accept(applyActions(config, turn, [...actions, ...failWith(event)], context))
  }
}

/** Anything can be thrown, also what has no text. */
function textOf(thrown: unknown): string {
  try {
    return String(thrown)
  } catch {
    return "something that has no text"
  }
}

function accept(result: Pick<Step, "turn" | "effects">): Step {
  return { turn: result.turn, effects: result.effects, status: "accepted" }
}

function unchanged(turn: Turn): Step {
  return { turn, effects: [], status: "accepted" }
}

/**
 * One turn of an agent: asks for effects, takes responses. A thin shell over {@link begin}, {@link advance},
 * {@link handle} and {@link command} that holds the current turn and the effects not yet polled.
 *
 *     const machine = new TurnMachine(config, start)
 *     for (let effect = machine.poll(); effect; effect = machine.poll()) {
 *       const response = await perform(effect)          // undefined for effects that are told, not asked
 *       if (response) machine.handle(response)
 *     }
 *
 * Values handed in belong to the machine from then on: do not change them.
 */
export class TurnMachine {
  readonly #config: TurnConfig
  #turn: Turn
  /** Those from `#polled` on are still to be polled. Taken off the front one by one, each would move all behind it. */
  #effects: Effect[] = []
  #polled = 0
  /** What was outstanding when the turn was restored, and so stands among the effects to be handed out once more. */
  #redelivery: Effect | undefined
  /** What {@link check} gave back last; it need not be checked again. At first something that nobody else has. */
  #checked: object = {}

  /** @throws {SchemaError} `invalid_config`, `invalid_start`, where `config.validation` is given */
  constructor(config: TurnConfig, start: TurnStart) {
    this.#config = checkedConfig(config)
    this.#turn = firstTurn(this.#config, start)
  }

  /**
   * Takes up a saved turn, from its JSON text or its parsed value. Effects not yet polled come out as they would have; the
   * outstanding one is handed out once more, under its id, unless it is answered first.
   * @throws {CheckpointError} with the `code` and `path` of what is wrong
   * @throws {SchemaError} `invalid_config`, where `config.validation` is given
   * @see docs/errors.md
   */
  static restore(config: TurnConfig, checkpoint: unknown): TurnMachine {
    const { turn, unpolled } = readCheckpoint(config, checkpoint)
    return this.of(config, turn, unpolled)
  }

  /**
   * Takes up a turn that is at hand as a value. The outstanding effect is handed out once more, behind the effects that
   * were not polled yet where it is not among these.
   * @throws {SchemaError} `invalid_config`, where `config.validation` is given
   */
  static of(config: TurnConfig, turn: Turn, unpolled: readonly Effect[] = []): TurnMachine {
    const machine = new this(config, { messages: [] })
    const { state } = turn.position
    machine.#turn = turn
    machine.#effects = [...unpolled]
    machine.#redelivery = "outstanding" in state ? state.outstanding : undefined
    if (machine.#redelivery !== undefined && !unpolled.includes(machine.#redelivery)) machine.#effects.push(machine.#redelivery)
    return machine
  }

  /** The turn as JSON, at any moment, also between two polls. `JSON.stringify` it, or keep it as it is. */
  checkpoint(): TurnCheckpoint {
    return writeCheckpoint(this.#config, { turn: this.#turn, unpolled: this.#effects.slice(this.#polled) })
  }

  /** The next effect. `undefined`: an answer is awaited, or the turn is done. */
  poll(): Effect | undefined {
    if (this.#polled === this.#effects.length) this.#take(advance(this.#config, this.#turn))
    const effect = this.#effects[this.#polled]
    if (effect !== undefined) this.#polled += 1
    if (this.#polled * 2 > this.#effects.length) {
      this.#effects = this.#effects.slice(this.#polled)
      this.#polled = 0
    }
    const { state } = this.#turn.position
    // A batch may have been answered in part before it was taken; what is done is not asked for again.
    return "outstanding" in state && effect === state.outstanding ? outstandingEffect(state) : effect
  }

  /**
   * Checks the shape of a response as {@link handle} does, and gives it back with only the keys that have a place: what a
   * host may keep before it hands it in. Changes nothing.
   * @throws {SchemaError} `invalid_response`
   */
  check(response: unknown): Response {
    const checked = this.#config.validation === undefined ? (response as Response) : this.#config.validation.response(response)
    this.#checked = checked
    return checked
  }

  /**
   * Gives the answer to an effect. One already answered is `stale` and changes nothing.
   * @throws {SchemaError} `invalid_response`. The turn is unchanged.
   * @throws {ProtocolError} `unexpected_response`, `unknown_effect`, `unknown_call`, `call_already_answered`. The turn is unchanged.
   */
  handle(response: Response): { readonly status: "accepted" | "stale" } {
    const result = answerWith(this.#config, this.#turn, response === this.#checked ? response : this.check(response))
    if (result.status === "accepted") {
      // Of a batch answered in part, the rest is still to be handed out.
      const { state } = result.turn.position
      if (!("outstanding" in state) || state.outstanding !== this.#redelivery) this.#withdraw(this.#redelivery)
      this.#take(result)
    }
    return { status: result.status }
  }

  /**
   * Ends the turn as cancelled. A model call under way gets `cancel_llm`; tool calls without a result get a cancelled one.
   * @throws {SchemaError} `invalid_actions`: the reason is no text. The turn is unchanged.
   */
  cancel(reason?: string): void {
    const { state } = this.#turn.position
    const result = command(this.#config, this.#turn, { type: "cancel", ...(reason !== undefined && { reason }) })
    // A model call that the host has not even taken is not handed out any more, and so need not be cancelled.
    const neverTaken = "outstanding" in state && this.#withdraw(state.outstanding)
    this.#take(neverTaken ? { ...result, effects: result.effects.filter((effect) => effect.type !== "cancel_llm") } : result)
  }

  /**
   * Ends the turn as `runtime_error`, with an event that says why.
   * @throws {SchemaError} `invalid_actions`: the event is none. The turn is unchanged.
   */
  fail(event: TurnEvent): void {
    this.#command({ type: "fail", event })
  }

  /**
   * Ends the turn with an outcome of the host's own.
   * @throws {SchemaError} `invalid_actions`: the outcome is none. The turn is unchanged.
   */
  finish(outcome: Outcome): void {
    this.#command({ type: "finish", outcome })
  }

  /**
   * Applies a host's own actions that start no work: events to emit, records to append.
   * @throws {SchemaError} `invalid_actions`. The turn is unchanged.
   * @throws {ProtocolError} `turn_finished`, `action_starts_work`. The turn is unchanged.
   */
  apply(actions: readonly DriverAction[]): void {
    this.#command({ type: "apply", actions })
  }

  /** The name of the state the turn is in. */
  get state(): StateName {
    return this.#turn.position.state.type
  }
  /** The whole turn as a value. Later inputs leave it as it is. */
  get turn(): Turn {
    return this.#turn
  }
  /** The effect that waits for its answer; of a tool batch, only the calls still missing. */
  get outstanding(): AnswerableEffect | undefined {
    return outstandingEffect(this.#turn.position.state)
  }
  /** Whether the turn has ended. Its last effects may still have to be polled. */
  get done(): boolean {
    return this.#turn.position.state.type === "finished"
  }
  /** How the turn ended; `undefined` until it has. */
  get outcome(): Outcome | undefined {
    return this.#turn.position.state.type === "finished" ? this.#turn.position.state.outcome : undefined
  }
  /** The transcript, also after the end. */
  get messages(): readonly Message[] {
    return this.#turn.record.messages.toArray()
  }
  /** The durable records of the thread, those that the turn began with included. */
  get history(): readonly HistoryRecord[] {
    return this.#turn.record.events.toArray()
  }
  /** @deprecated Use {@link history}; this alias goes with 0.2. */
  get events(): readonly HistoryRecord[] {
    return this.history
  }
  /** The tokens of all answers of this turn. */
  get usage(): TokenUsage {
    return this.#turn.position.usage
  }
  /** The present iteration, counted on from `iterationOffset`. */
  get iteration(): number {
    return this.#turn.position.iteration
  }
  /** Why the turn runs: the causes it began with, and those delivered. */
  get turnCauses(): readonly TurnCause[] {
    return this.#turn.record.turnCauses
  }

  #command(hostCommand: HostCommand): void {
    const result = command(this.#config, this.#turn, hostCommand)
    if (result.turn.position.state.type === "finished") this.#withdraw(this.#redelivery)
    this.#take(result)
  }

  /** Takes an effect back that was not polled yet; says whether it was there and is no redelivery. */
  #withdraw(effect: Effect | undefined): boolean {
    const index = effect === undefined ? -1 : this.#effects.indexOf(effect, this.#polled)
    if (index < 0) return false
    this.#effects.splice(index, 1)
    return effect !== this.#redelivery
  }

  #take(result: Step): void {
    this.#turn = result.turn
    // Not `push(...effects)`: one answer may raise more effects than a call can have arguments.
    for (const effect of result.effects) this.#effects.push(effect)
  }
}
