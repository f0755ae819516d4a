import type { TurnMachine } from "../../validated-turn-machine.ts"
import type { Outcome } from "../../wire/event.ts"
import { outcomeText } from "../run/run-screen.ts"
import { oneLine, plural, shellWord } from "../terminal/format.ts"

/** The status of a turn: ended, waiting for an answer, or unfinished, if only the program that runs it knows more. */
export type TurnStatus =
  | { readonly type: "ended"; readonly outcome: Outcome }
  | {
      readonly type: "waiting"
      readonly effect: string
      readonly effectId: number
      readonly tools?: readonly string[]
      readonly held?: number
      readonly outside?: number
    }
  | { readonly type: "unfinished" }

/** Determines the status of a turn. Polls the machine's pending effects. */
export function turnStatusOf(machine: TurnMachine | undefined): TurnStatus {
  while (machine?.poll() !== undefined);
  const { outcome, outstanding } = machine ?? {}
  if (outcome !== undefined) return { type: "ended", outcome }
  if (outstanding === undefined) return { type: "unfinished" }
  if (outstanding.type !== "tool_calls") return { type: "waiting", effect: outstanding.type, effectId: outstanding.id }
  const { type, id, calls, held = [], pending = [] } = outstanding
  return {
    type: "waiting",
    effect: type,
    effectId: id,
    tools: calls.map(({ toolName }) => toolName),
    ...(held.length > 0 && { held: held.length }),
    ...(pending.length > 0 && { outside: pending.length }),
  }
}

/** Describes a status in words. */
export function turnStatusText(status: TurnStatus): string {
  if (status.type === "ended") return outcomeText(status.outcome)
  return status.type === "waiting" ? `unfinished: waiting for ${whatOf(status)}` : "unfinished"
}

/** The command that resumes a turn of `turn-machine run`; `undefined` if the turn has ended. */
export function resumeCommand(status: TurnStatus, file: string): string | undefined {
  const command = `turn-machine resume ${shellWord(file)}`
  if (status.type !== "ended") return command
  const { outcome } = status
  const failed = outcome.type === "stopped" && outcome.stop.type === "provider_error"
  return failed ? `${command} (retries the model call)` : undefined
}

function whatOf({ effect, effectId, tools = [], held = 0, outside = 0 }: Extract<TurnStatus, { type: "waiting" }>): string {
  switch (effect) {
    case "llm_call":
      return `the model (effect ${effectId})`
    case "tool_calls":
      return `${[
        ...(tools.length > 0 ? [tools.map(oneLine).join(", ")] : []),
        ...(held > 0 ? [plural(held, "decision")] : []),
        ...(outside > 0 ? [`${plural(outside, "result")} from outside`] : []),
      ].join(" and ")} (effect ${effectId})`
    default:
      return `the ${effect.replaceAll("_", " ")} (effect ${effectId})`
  }
}
