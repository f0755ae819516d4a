import type { Outcome } from "../../schemas/event.ts"
import type { TurnMachine } from "../../turn-machine.ts"
import { oneLine, shellWord } from "../format.ts"
import { wordsOf } from "../screen.ts"

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

/** In words. `file`: what resumes the turn, for one that is not over. */
export function standingText(standing: Standing, file?: string): string {
  const go = file === undefined ? "" : `; go on with: turn-machine resume ${shellWord(file)}`
  switch (standing.type) {
    case "ended": {
      const { outcome } = standing
      const failed = outcome.type === "stopped" && outcome.stop.type === "provider_error"
      return `${wordsOf(outcome)}${failed && file !== undefined ? `; try the model call again with: turn-machine resume ${shellWord(file)}` : ""}`
    }
    case "waiting":
      return `unfinished: waits for ${whatOf(standing)}${go}`
    case "unfinished":
      return "unfinished"
  }
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
