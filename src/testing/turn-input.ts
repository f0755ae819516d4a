import { TurnError } from "../errors.ts"
import type { TurnConfig } from "../machine/config.ts"
import type { Turn } from "../machine/turn.ts"
import type { TurnMachine } from "../machine/turn-machine.ts"
import type { DriverAction } from "../wire/action.ts"
import type { TurnStart } from "../wire/config.ts"
import type { Outcome, TurnEvent } from "../wire/event.ts"
import type { LlmResponse } from "../wire/llm.ts"
import type { Message } from "../wire/message.ts"
import type { Response } from "../wire/response.ts"

/** Every operation of a host on a turn, as data. */
export type TurnInput =
  /** Polls until nothing is left, or at most `most` times. */
  | { readonly type: "poll"; readonly most?: number }
  /** Hands in a response. `expect`: the verdict that it must get, default `accepted`. A code is that of the error thrown. */
  | { readonly type: "respond"; readonly response: Response; readonly expect?: Verdict }
  | { readonly type: "cancel"; readonly reason?: string; readonly partial?: LlmResponse }
  | { readonly type: "fail"; readonly event: TurnEvent; readonly partial?: LlmResponse }
  | { readonly type: "finish"; readonly outcome: Outcome; readonly partial?: LlmResponse }
  | { readonly type: "apply"; readonly actions: readonly DriverAction[]; readonly expect?: Verdict }
  | {
      readonly type: "redirect"
      readonly messages: readonly Message[]
      readonly at?: number
      readonly partial?: LlmResponse
      readonly answer?: Response
      readonly expect?: Verdict
    }

/** The verdict on an input: accepted, already answered, or refused with the `code` of a `TurnError`. */
export type Verdict = "accepted" | "stale" | (string & {})

/** The part of a turn machine that the laws use. `TurnMachine` implements it; so may a wrapper around it. */
export type TestedMachine = Pick<
  TurnMachine,
  | "poll"
  | "handle"
  | "checkpoint"
  | "cancel"
  | "fail"
  | "finish"
  | "apply"
  | "command"
  | "state"
  | "turn"
  | "outstanding"
  | "done"
  | "outcome"
  | "messages"
  | "history"
  | "usage"
  | "iteration"
  | "turnCauses"
>

/** The class of the machine under test. */
export interface TestedMachineClass {
  new (config: TurnConfig, start: TurnStart): TestedMachine
  restore(config: TurnConfig, checkpoint: unknown): TestedMachine
  /** Resumes a turn that is given as a value. `exploreTurn` restores from JSON text where a class does not have it. */
  of?(config: TurnConfig, turn: Turn): TestedMachine
}

/** Hands one input other than a poll to a machine. Rethrows errors that are not a {@link TurnError}: they are never expected. */
export function give(machine: TestedMachine, input: Exclude<TurnInput, { type: "poll" }>): Verdict {
  try {
    switch (input.type) {
      case "respond":
        return machine.handle(input.response).status
      case "cancel":
        machine.cancel(input.reason, input.partial)
        return "accepted"
      case "fail":
        machine.fail(input.event, input.partial)
        return "accepted"
      case "finish":
        machine.finish(input.outcome, input.partial)
        return "accepted"
      case "apply":
        machine.apply(input.actions)
        return "accepted"
      case "redirect": {
        const { expect: _expect, ...command } = input
        machine.command(command)
        return "accepted"
      }
    }
  } catch (error) {
    if (error instanceof TurnError) return error.code
    throw error
  }
}

/** Describes an input briefly, for messages. */
export function describeInput(input: TurnInput): string {
  if (input.type !== "respond") return input.type
  const { type, id } = (input.response ?? {}) as Partial<Response>
  return `respond ${String(type)} to effect ${String(id)}`
}
