import type { TurnConfig } from "../machine/config.ts"
import type { StateName } from "../machine/turn.ts"
import { TurnMachine } from "../validated-turn-machine.ts"
import type { TurnCheckpoint } from "../wire/checkpoint.ts"
import type { TurnStart } from "../wire/config.ts"
import type { Effect } from "../wire/effect.ts"
import type { Outcome } from "../wire/event.ts"
import type { TokenUsage } from "../wire/llm.ts"
import type { HistoryRecord, Message, TurnCause } from "../wire/message.ts"
import { checkCut, checkCutsInARow } from "./cut-law.ts"
import { checkEffects } from "./effect-laws.ts"
import { checkPrefix } from "./prefix-law.ts"
import { checkRefusals, checkReplay, checkToolOrder } from "./run-laws.ts"
import type { TestedMachineClass, TurnInput, Verdict } from "./turn-input.ts"
import { type Subject, type Trace, traceTurn } from "./turn-trace.ts"

export interface ExpectTurnOptions {
  /** The class of the machine. Default: `TurnMachine`, which checks every value that comes from outside. */
  readonly machine?: TestedMachineClass
  /** The largest number of places at which the turn is cut, spread evenly. Default 200. */
  readonly mostCuts?: number
  /** The number of polls in a row after which a turn that still returns effects fails. Default 20,000. */
  readonly mostPolls?: number
  /**
   * Whether law 11 is checked: that a request begins with the one before it. Default: in turns whose driver uses the projector. The
   * requests of a `scriptedDriver` are data, so they are free to differ.
   */
  readonly prefix?: boolean
}

/** The result of a turn, for further expectations. */
export interface TurnSummary {
  /** Every effect polled, in order. */
  readonly effects: readonly Effect[]
  /** The verdict on each input other than a poll. */
  readonly verdicts: readonly Verdict[]
  readonly state: StateName
  readonly done: boolean
  readonly outcome: Outcome | undefined
  readonly messages: readonly Message[]
  readonly history: readonly HistoryRecord[]
  readonly usage: TokenUsage
  readonly iteration: number
  readonly turnCauses: readonly TurnCause[]
  readonly checkpoint: TurnCheckpoint
  /** The number of places at which the turn was cut. */
  readonly cuts: number
}

/**
 * Runs a turn through its inputs and checks the laws on it: it is replayed, cut between any two polls and after every
 * input; it gets repeated answers and answers that it must refuse; and its tool results arrive in another order. Each model request
 * must begin with the one before it of the same purpose, unless a history record with `contextReset: true` comes between them.
 *
 *     const turn = expectTurn(config, { messages: [] }, [{ type: "poll" }, { type: "respond", response }, { type: "poll" }])
 *     expect(turn.outcome).toEqual({ type: "finished", finish: { type: "assistant_message", text: "42" } })
 *
 * The driver, the projector and `turnLimitMessage` must be pure, as every host may expect of them.
 * @throws {LawError} with the law that is broken, where, and the first difference
 */
export function expectTurn(config: TurnConfig, start: TurnStart, inputs: readonly TurnInput[], options: ExpectTurnOptions = {}): TurnSummary {
  const subject: Subject = { machine: options.machine ?? TurnMachine, config, start }
  const trace = traceTurn(subject, inputs, options.mostPolls ?? 20_000)
  checkEffects(subject, trace)
  if (options.prefix ?? trace.projects) checkPrefix(trace.modelCalls)
  checkReplay(subject, trace)
  checkRefusals(subject, trace)
  const places = placesOf(trace, options.mostCuts ?? 200)
  for (const place of places) checkCut(subject, trace, place)
  checkCutsInARow(subject, trace)
  checkToolOrder(subject, trace)
  return summaryOf(trace, places.length)
}

/** Before every step and after the last. Of very many steps, evenly spread ones including both ends. */
function placesOf({ steps }: Trace, most: number): readonly number[] {
  const count = Math.min(steps.length + 1, most)
  return Array.from({ length: count }, (_, index) => (count === 1 ? 0 : Math.round((index * steps.length) / (count - 1))))
}

function summaryOf({ machine, steps }: Trace, cuts: number): TurnSummary {
  const { state, done, outcome, messages, history, usage, iteration, turnCauses } = machine
  return {
    effects: steps.flatMap(({ effect }) => (effect === undefined ? [] : [effect])),
    verdicts: steps.flatMap(({ verdict }) => (verdict === undefined ? [] : [verdict])),
    state,
    done,
    outcome,
    messages,
    history,
    usage,
    iteration,
    turnCauses,
    checkpoint: machine.checkpoint(),
    cuts,
  }
}
