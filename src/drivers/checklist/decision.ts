import type { ChecklistGoal, JudgeReason, PauseReason } from "../../schemas/checklist.ts"
import { countItems } from "./checklist.ts"
import { counted, pauseText, reasonText } from "./wording.ts"

/** Why it was decided so: the judge's reason, or that there was nothing to judge. */
export type DecisionReason = JudgeReason | { readonly type: "no_active_goal" | "turn_failed" | "turn_cancelled" | "stale" }

/** What a user is told of a decision. */
export type Notice =
  | { readonly type: "created"; readonly items: number }
  | { readonly type: "continuing"; readonly turnsUsed: number; readonly maxTurns: number; readonly settled?: number; readonly items?: number }
  | { readonly type: "done" }
  | { readonly type: "paused"; readonly reason: PauseReason }
  | { readonly type: "waiting"; readonly notBefore: number }

/**
 * What follows from a judgement. `status` is the goal's; missing where there is none. `shouldContinue`: run another turn now with
 * `continuationPrompt`. `notBefore` (ms since the epoch) stands with the verdict `wait`: run it then. `stale`: the judgement met a
 * goal that had changed meanwhile, and changed nothing.
 */
export interface Decision {
  readonly status?: ChecklistGoal["status"]
  readonly shouldContinue: boolean
  readonly continuationPrompt?: string
  readonly notBefore?: number
  readonly verdict: "inactive" | "skipped" | "stale" | "decompose" | "continue" | "done" | "blocked" | "wait"
  readonly reason: DecisionReason
  readonly notice?: Notice
}

/** The notice of a goal that goes on. */
export function continuing(goal: ChecklistGoal): Notice {
  const { total, pending } = countItems(goal.checklist)
  const { turnsUsed, maxTurns } = goal
  return { type: "continuing", turnsUsed, maxTurns, ...(total > 0 && { settled: total - pending, items: total }) }
}

/** What a user is told, in words; "" where there is nothing to tell. */
export function decisionText({ notice, reason }: Decision): string {
  switch (notice?.type) {
    case undefined:
      return ""
    case "created":
      return `The judge wrote a list of ${counted(notice.items, "item")}.`
    case "continuing": {
      const items = notice.items === undefined ? "" : `, ${notice.settled}/${notice.items} items`
      return `Going on (${notice.turnsUsed}/${notice.maxTurns} turns${items}): ${decisionReasonText(reason)}`
    }
    case "done":
      return `Goal reached: ${decisionReasonText(reason)}`
    case "paused":
      return pausedText(notice.reason)
    case "waiting":
      return `Waiting: ${decisionReasonText(reason)}`
  }
}

function pausedText(reason: PauseReason): string {
  const hints: Partial<Record<PauseReason["type"], string>> = {
    unparseable: " The judge's model may be too weak for tool calls; try another.",
    unreachable: " Look at the judge's endpoint and key.",
    budget: " Resume it for as many turns again.",
    stalled: " The list may ask for what cannot be shown; edit it, or settle items yourself.",
  }
  return `Goal paused: ${pauseText(reason)}.${hints[reason.type] ?? ""}`
}

export function decisionReasonText(reason: DecisionReason): string {
  switch (reason.type) {
    case "no_active_goal":
      return "no goal is active"
    case "turn_failed":
      return "the turn failed and was not judged"
    case "turn_cancelled":
      return "the turn was cancelled and was not judged"
    case "stale":
      return "the goal was changed while the judge was at work"
    default:
      return reasonText(reason)
  }
}
