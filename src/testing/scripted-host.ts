import type { TurnConfig } from "../machine/config.ts"
import { TurnMachine } from "../validated-turn-machine.ts"
import type { DriverAction } from "../wire/action.ts"
import type { TurnStart } from "../wire/config.ts"
import type { ToolCalls } from "../wire/effect.ts"
import type { Outcome, TurnEvent } from "../wire/event.ts"
import type { LlmResponse } from "../wire/llm.ts"
import type { Message } from "../wire/message.ts"
import type { Response } from "../wire/response.ts"
import { type Answers, answerTo, decisionsAbout, type ScriptedDecision } from "./answers.ts"
import { refusalsOf } from "./refusals.ts"
import { give, type TestedMachine, type TestedMachineClass, type TurnInput } from "./turn-input.ts"

/** One move of a host, as data. It adapts to the effect that is outstanding when it is played. */
export type HostMove =
  | { readonly type: "poll"; readonly most?: number }
  /**
   * Answers the outstanding effect, if there is one. `pick` answers only some of the missing calls of a
   * batch, in this order: places among them, taken modulo their number, each once.
   */
  | { readonly type: "answer"; readonly answers?: Answers; readonly pick?: readonly number[]; readonly at?: number }
  /** Decides about some held calls of the outstanding batch, if there are any. `pick`: places among them, as above. Default: all. */
  | { readonly type: "decide"; readonly decisions: readonly ScriptedDecision[]; readonly pick?: readonly number[]; readonly at?: number }
  /** Reports that a call of the outstanding batch continues outside. `place`: among those that may run, taken modulo their number. */
  | { readonly type: "pend"; readonly place: number; readonly token: string; readonly note?: string; readonly at?: number }
  /** Repeats an earlier answer: 0 the last one, 1 the one before, … */
  | { readonly type: "repeat"; readonly back: number }
  /** Sends an input that the turn must refuse. `which` is taken modulo the number of such inputs. */
  | { readonly type: "offend"; readonly which: number }
  | { readonly type: "cancel"; readonly reason?: string; readonly partial?: LlmResponse }
  | { readonly type: "fail"; readonly event: TurnEvent; readonly partial?: LlmResponse }
  | { readonly type: "finish"; readonly outcome: Outcome; readonly partial?: LlmResponse }
  /** The host's own actions; they must start no work, and a `finish` among them must be the last. */
  | { readonly type: "apply"; readonly actions: readonly DriverAction[] }
  /**
   * Redirects the turn. `answers`: what the outstanding tool calls or code had done by then. `pick`: only those of some missing calls, as above.
   */
  | {
      readonly type: "redirect"
      readonly messages: readonly Message[]
      readonly at?: number
      readonly partial?: LlmResponse
      readonly answers?: Answers
      readonly pick?: readonly number[]
    }

/** A host that plays moves on a turn. */
export interface ScriptedHost {
  /**
   * Plays all moves on a new turn and returns the resulting inputs, for `expectTurn` or for another turn. Each
   * states its expected verdict.
   */
  play(config: TurnConfig, start: TurnStart): readonly TurnInput[]
}

/** Makes a host whose moves are data. Each becomes an input when it is played, depending on the outstanding effect. */
export function scriptedHost(moves: readonly HostMove[], machineClass: TestedMachineClass = TurnMachine): ScriptedHost {
  return {
    play(config, start) {
      const machine = new machineClass(config, start)
      const answered: Response[] = []
      const inputs: TurnInput[] = []
      for (const move of moves) {
        const input = inputOf(move, machine, answered)
        if (input === undefined) continue
        inputs.push(input)
        perform(machine, input)
        if (input.type === "respond" && input.expect === undefined) answered.unshift(input.response)
      }
      return inputs
    },
  }
}

/** Polls until nothing is left, or at most `most` times; other inputs go to the machine. */
function perform(machine: TestedMachine, input: TurnInput): void {
  if (input.type !== "poll") return void give(machine, input)
  const most = input.most ?? Number.POSITIVE_INFINITY
  for (let count = 0; count < most; count += 1) if (machine.poll() === undefined) return
}

/** Returns the input for a move on a turn. `answered`: the answers so far, the last one first. */
export function inputOf(move: HostMove, machine: TestedMachine, answered: readonly Response[]): TurnInput | undefined {
  switch (move.type) {
    case "answer": {
      const { outstanding } = machine
      if (outstanding === undefined) return undefined
      const effect = outstanding.type === "tool_calls" && move.pick !== undefined ? pickCalls(outstanding, move.pick) : outstanding
      return { type: "respond", response: answerTo(effect, move.answers, move.at) }
    }
    case "decide": {
      const { outstanding } = machine
      if (outstanding?.type !== "tool_calls" || outstanding.held === undefined) return undefined
      const { id } = outstanding
      const decisions = decisionsAbout(picked(outstanding.held, move.pick), move.decisions)
      const response: Response = { type: "tool_decisions", id, ...(move.at !== undefined && { at: move.at }), decisions }
      return { type: "respond", response, ...(decisions.length === 0 && { expect: "stale" }) }
    }
    case "pend": {
      const { outstanding } = machine
      const call = outstanding?.type === "tool_calls" ? outstanding.calls[move.place % outstanding.calls.length] : undefined
      if (outstanding === undefined || call === undefined) return undefined
      const { token, note, at } = move
      const response = { type: "tool_pending", id: outstanding.id, ...(at !== undefined && { at }), callId: call.callId, token } as const
      const expect = isRepeated(machine, call.callId) ? { expect: "call_not_unique" } : {}
      return { type: "respond", response: { ...response, ...(note !== undefined && { note }) }, ...expect }
    }
    case "repeat": {
      const response = answered[move.back]
      // While a batch is incomplete, repeated results are an error and not a duplicate.
      if (response === undefined || (response.id === machine.outstanding?.id && response.type !== "tool_decisions")) return undefined
      return { type: "respond", response, expect: "stale" }
    }
    case "offend": {
      const refusals = refusalsOf(machine)
      const refusal = refusals[move.which % refusals.length]
      return refusal === undefined ? undefined : { ...refusal.input, expect: refusal.code }
    }
    case "redirect": {
      const { answers, pick, ...redirect } = move
      const { outstanding } = machine
      if (machine.done) return { ...redirect, expect: "turn_finished" }
      if (answers === undefined || (outstanding?.type !== "tool_calls" && outstanding?.type !== "exec_code")) return redirect
      const effect = outstanding.type === "tool_calls" && pick !== undefined ? pickCalls(outstanding, pick) : outstanding
      return { ...redirect, answer: answerTo(effect, answers) }
    }
    case "apply":
      return machine.done ? { ...move, expect: "turn_finished" } : move
    default:
      return move
  }
}

/** Some of the calls that may run or continue outside; without any, some of those that are held. */
function pickCalls({ pending = [], held = [], ...effect }: ToolCalls, pick: readonly number[]): ToolCalls {
  const open = [...effect.calls, ...pending.map(({ token: _token, note: _note, ...call }) => call)]
  if (open.length === 0 && held.length > 0) return { ...effect, held: picked(held, pick) }
  return { ...effect, calls: picked(open, pick) }
}

function picked<Item>(items: readonly Item[], pick: readonly number[] | undefined): readonly Item[] {
  if (pick === undefined) return items
  const places = new Set(items.length === 0 ? [] : pick.map((place) => place % items.length))
  return Array.from(places, (place) => items[place] as Item)
}

/** Whether a batch has several calls with an id, also if some are answered. */
function isRepeated(machine: TestedMachine, callId: string): boolean {
  const { state } = machine.turn.position
  return state.type === "waiting_tools" && state.calls.filter((call) => call.callId === callId).length > 1
}
