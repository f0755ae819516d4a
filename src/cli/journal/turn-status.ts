import type { Outcome } from "../../schemas/event.ts"
import type { TurnMachine } from "../../turn-machine.ts"
import { oneLine, shellWord } from "../terminal/format.ts"
import { wordsOf } from "../terminal/screen.ts"

/** Where a turn stands: over, waiting for an answer, or unknown, which only the program that runs it can tell. */
export type Standing =
  | { readonly type: "ended"; readonly outcome: Outcome }
  | { readonly type: "waiting"; readonly effect: string; readonly effectId: number; readonly tools?: readonly string[] }
  | { readonly type: "unfinished" }

/** `machine` may have effects that were not polled yet; they are polled. */
export function standingOf(machine: TurnMachine | undefined): Standing {
  while (machine?.poll() !== undefined);
  const { outcome, outstanding } = machine ?? {}
  if (outcome !== undefined) return { type: "ended", outcome }
  if (outstanding === undefined) return { type: "unfinished" }
  const tools = outstanding.type === "tool_calls" ? { tools: outstanding.calls.map(({ toolName }) => toolName) } : {}
  return { type: "waiting", effect: outstanding.type, effectId: outstanding.id, ...tools }
}

/** In words. */
export function standingText(standing: Standing): string {
  if (standing.type === "ended") return wordsOf(standing.outcome)
  return standing.type === "waiting" ? `unfinished: waits for ${whatOf(standing)}` : "unfinished"
}

/** What goes on with a turn of `turn-machine run`; `undefined` if it is over for good. */
export function goOn(standing: Standing, file: string): string | undefined {
  const command = `turn-machine resume ${shellWord(file)}`
  if (standing.type !== "ended") return command
  const { outcome } = standing
  const failed = outcome.type === "stopped" && outcome.stop.type === "provider_error"
  return failed ? `${command} (tries the model call again)` : undefined
}

function whatOf({ effect, effectId, tools }: Extract<Standing, { type: "waiting" }>): string {
  switch (effect) {
    case "llm_call":
      return `the model (effect ${effectId})`
    case "tool_calls":
      return `${tools?.map(oneLine).join(", ")} (effect ${effectId})`
    default:
      return `the ${effect.replaceAll("_", " ")} (effect ${effectId})`
  }
}
