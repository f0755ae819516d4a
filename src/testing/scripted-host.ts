import type { Json } from "../json.ts"
import type { TurnConfig } from "../machine/config.ts"
import { TurnMachine } from "../validated-turn-machine.ts"
import type { DriverAction } from "../wire/action.ts"
import type { Decision, HeldCall, Verdict } from "../wire/approval.ts"
import type { TurnStart } from "../wire/config.ts"
import type { ToolCalls } from "../wire/effect.ts"
import type { Outcome, TurnEvent } from "../wire/event.ts"
import type { LlmResponse } from "../wire/llm.ts"
import type { Response } from "../wire/response.ts"
import { type Answers, answerTo } from "./answers.ts"
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
  /**
   * Decides about held calls, if there are any. `pick`: places among the undecided ones, taken modulo their number, each once; default all.
   * `edit`: the arguments of an edited call.
   */
  | { readonly type: "decide"; readonly decision: Verdict["decision"]; readonly pick?: readonly number[]; readonly edit?: Json; readonly at?: number }
  /** A call goes on outside: the one at this place among those that may run, taken modulo their number. */
  | { readonly type: "pending"; readonly pick: number; readonly token: string }
  /** Repeats an earlier answer: 0 the last one, 1 the one before, … */
  | { readonly type: "repeat"; readonly back: number }
  /** Sends an input that the turn must refuse. `which` is taken modulo the number of such inputs. */
  | { readonly type: "offend"; readonly which: number }
  | { readonly type: "cancel"; readonly reason?: string; readonly partial?: LlmResponse }
  | { readonly type: "fail"; readonly event: TurnEvent; readonly partial?: LlmResponse }
  | { readonly type: "finish"; readonly outcome: Outcome; readonly partial?: LlmResponse }
  /** The host's own actions; they must start no work, and a `finish` among them must be the last. */
  | { readonly type: "apply"; readonly actions: readonly DriverAction[] }

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
      const { held } = outstanding
      const picked =
        move.pick === undefined ? held : Array.from(new Set(move.pick.map((place) => place % held.length)), (place) => held[place] as HeldCall)
      const decisions = picked.map(({ requestId, digest }): Decision => {
        return move.decision === "edit"
          ? { requestId, digest, decision: "edit", args: move.edit ?? {} }
          : { requestId, digest, decision: move.decision }
      })
      return { type: "respond", response: { type: "tool_decisions", id: outstanding.id, ...(move.at !== undefined && { at: move.at }), decisions } }
    }
    case "pending": {
      const { outstanding } = machine
      const call = outstanding?.type === "tool_calls" ? outstanding.calls[move.pick % outstanding.calls.length] : undefined
      if (outstanding === undefined || call === undefined) return undefined
      return { type: "respond", response: { type: "tool_pending", id: outstanding.id, callId: call.callId, token: move.token } }
    }
    case "repeat": {
      const response = answered[move.back]
      // While a batch is incomplete, a repeated part is an error and not a duplicate.
      return response === undefined || response.id === machine.outstanding?.id ? undefined : { type: "respond", response, expect: "stale" }
    }
    case "offend": {
      const refusals = refusalsOf(machine)
      const refusal = refusals[move.which % refusals.length]
      return refusal === undefined ? undefined : { ...refusal.input, expect: refusal.code }
    }
    case "apply":
      return machine.done ? { ...move, expect: "turn_finished" } : move
    default:
      return move
  }
}

function pickCalls(effect: ToolCalls, pick: readonly number[]): ToolCalls {
  const places = new Set(effect.calls.length === 0 ? [] : pick.map((place) => place % effect.calls.length))
  return { ...effect, calls: Array.from(places, (place) => effect.calls[place] as ToolCalls["calls"][number]) }
}
