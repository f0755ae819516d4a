import type { Goal, GoalOutput } from "../../schemas/goal.ts"
import type { HistoryRecord } from "../../schemas/message.ts"
import { goalRecord } from "./history.ts"
import { metricsOf } from "./metrics.ts"

/**
 * What a stretch of the history tells of the goal: each `goal_updated` and `goal_cleared` with its metrics, in order, as the
 * goal machine told them. The records of a turn reach a host once each (`eventDelta`), so nothing is counted twice.
 * `before`: the goal ahead of the stretch. Only `goal.resumed` of a thread that was loaded leaves no record.
 */
export function goalChanges(records: readonly HistoryRecord[], threadId: string, before: Goal | null): readonly GoalOutput[] {
  const outputs: GoalOutput[] = []
  let last = before
  for (const record of records) {
    const event = goalRecord(record, threadId)
    if (event?.type !== "goal") continue
    const { cause, goal, turnId } = event
    if (cause !== "noted") {
      if (goal === null) outputs.push({ type: "goal_cleared", threadId })
      else {
        outputs.push({ type: "goal_updated", goal, ...(turnId !== undefined && { turnId }), cause })
        if (cause !== "goal_copied") outputs.push(...metricsOf(last?.goalId === goal.goalId ? last.status : "none", goal))
      }
    }
    last = goal
  }
  return outputs
}
