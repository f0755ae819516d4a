import type { TurnConfig } from "../machine/config.ts"
import type { DriverAction } from "../schemas/action.ts"
import type { TurnStart } from "../schemas/config.ts"
import type { ToolCalls } from "../schemas/effect.ts"
import type { Outcome, TurnEvent } from "../schemas/event.ts"
import type { Response } from "../schemas/response.ts"
import { TurnMachine } from "../validated-turn-machine.ts"
import { type Answers, answerTo } from "./answers.ts"
import { refusalsOf } from "./refusals.ts"
import { give, type TestedMachine, type TestedMachineClass, type TurnInput } from "./turn-input.ts"

/** One move of a host, as data: it fits whatever the turn waits for when its time comes. */
export type HostMove =
  | { readonly type: "poll"; readonly most?: number }
  /**
   * Answers the outstanding effect; does nothing where there is none. `pick` answers only some of the missing calls of a
   * batch, in this order: places among them, taken modulo their number, each once.
   */
  | { readonly type: "answer"; readonly answers?: Answers; readonly pick?: readonly number[]; readonly at?: number }
  /** Gives an earlier answer again: 0 the last one, 1 the one before, … */
  | { readonly type: "repeat"; readonly back: number }
  /** Gives something that the turn must refuse; `which` is taken modulo the number of such things. */
  | { readonly type: "offend"; readonly which: number }
  | { readonly type: "cancel"; readonly reason?: string }
  | { readonly type: "fail"; readonly event: TurnEvent }
  | { readonly type: "finish"; readonly outcome: Outcome }
  /** The host's own actions; they must start no work, and a `finish` among them must be the last. */
  | { readonly type: "apply"; readonly actions: readonly DriverAction[] }

/** A host that plays moves on a turn. */
export interface ScriptedHost {
  /**
   * Plays all moves on a new turn and returns the inputs that they came to, for `expectTurn` or a turn of its own. Each
   * says what must come of it.
   */
  play(config: TurnConfig, start: TurnStart): readonly TurnInput[]
}

/** A host whose moves are data. They are made into inputs one by one, from what the turn waits for at that moment. */
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

/** Polls from data: until nothing comes, or at most so many times; else gives the input. */
function perform(machine: TestedMachine, input: TurnInput): void {
  if (input.type !== "poll") return void give(machine, input)
  const most = input.most ?? Number.POSITIVE_INFINITY
  for (let count = 0; count < most; count += 1) if (machine.poll() === undefined) return
}

/** What a move comes to on a turn as it stands; `answered` are the answers given so far, the last one first. */
export function inputOf(move: HostMove, machine: TestedMachine, answered: readonly Response[]): TurnInput | undefined {
  switch (move.type) {
    case "answer": {
      const { outstanding } = machine
      if (outstanding === undefined) return undefined
      const effect = outstanding.type === "tool_calls" && move.pick !== undefined ? pickCalls(outstanding, move.pick) : outstanding
      return { type: "respond", response: answerTo(effect, move.answers, move.at) }
    }
    case "repeat": {
      const response = answered[move.back]
      // A part of a batch that is still waited for is no answer to all of it: that is an offence, not a repetition.
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
