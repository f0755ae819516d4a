import { quoted } from "../../text.ts"
import type { ChecklistGoal, JudgeReason, PauseReason } from "../../wire/checklist.ts"
import { countItems } from "./checklist.ts"
import { counted, pauseText, reasonText } from "./wording.ts"

/** The reason for a decision: the judge's, or why there was nothing to judge. */
export type DecisionReason = JudgeReason | { readonly type: "no_active_goal" | "turn_failed" | "turn_cancelled" | "stale" }

/** What to show a user about a decision. */
export type Notice =
  | { readonly type: "created"; readonly items: number }
  | { readonly type: "continuing"; readonly turnsUsed: number; readonly maxTurns: number; readonly settled?: number; readonly items?: number }
  | { readonly type: "done" }
  | { readonly type: "paused"; readonly reason: PauseReason }
  | { readonly type: "waiting"; readonly notBefore?: number; readonly waitsFor?: string }

/**
 * The result of a judgement. `status` is the goal's; absent without a goal. `shouldContinue`: run another turn now with
 * `continuationPrompt`. `notBefore` (milliseconds since the epoch), `waitsFor` (the name of an event), or both come with the verdict
 * `wait`: run it then, or after the event. `stale`: the goal
 * changed before the judgement was applied, so the judgement changed nothing.
 */
export interface Decision {
  readonly status?: ChecklistGoal["status"]
  readonly shouldContinue: boolean
  readonly continuationPrompt?: string
  readonly notBefore?: number
  readonly waitsFor?: string
  readonly verdict: "inactive" | "skipped" | "stale" | "decompose" | "continue" | "done" | "blocked" | "asked_to_stop" | "wait"
  readonly reason: DecisionReason
  readonly notice?: Notice
}

/** The notice of a goal that continues. */
export function continuing(goal: ChecklistGoal): Notice {
  const { total, pending } = countItems(goal.checklist)
  const { turnsUsed, maxTurns } = goal
  return { type: "continuing", turnsUsed, maxTurns, ...(total > 0 && { settled: total - pending, items: total }) }
}

/** The notice in words, for a user; "" without a notice. */
export function decisionText({ notice, reason }: Decision): string {
  switch (notice?.type) {
    case undefined:
      return ""
    case "created":
      return `The judge wrote a list of ${counted(notice.items, "item")}.`
    case "continuing": {
      const items = notice.items === undefined ? "" : `, ${notice.settled}/${notice.items} items`
      return `Continuing (${notice.turnsUsed}/${notice.maxTurns} turns${items}): ${decisionReasonText(reason)}`
    }
    case "done":
      return `Goal reached: ${decisionReasonText(reason)}`
    case "paused":
      return pausedText(notice.reason)
    case "waiting":
      return `Waiting${notice.waitsFor === undefined ? "" : ` for ${quoted(notice.waitsFor)}`}: ${decisionReasonText(reason)}`
  }
}

function pausedText(reason: PauseReason): string {
  const hints: Partial<Record<PauseReason["type"], string>> = {
    unparseable: " The judge's model may be too weak for tool calls; try another.",
    unreachable: " Check the judge's endpoint and key.",
    budget: " Resume to allow as many turns again.",
    stalled:
      reason.type === "stalled" && reason.mode !== undefined
        ? " Say what to do instead, or edit the goal."
        : " The list may ask for things that cannot be shown. Edit it, or settle items yourself.",
    asked_to_stop: " Resume to continue.",
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
      return "the goal changed while the judge was running"
    default:
      return reasonText(reason)
  }
}
