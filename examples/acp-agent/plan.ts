import type { PlanEntry, SessionUpdate } from "@agentclientprotocol/sdk"
import type { ChecklistState } from "turn-machine/hosts/thread"

/** The plan that an editor shows: the checklist of the goal. `undefined`: there is no list. */
export function planOf({ goal }: ChecklistState): SessionUpdate | undefined {
  if (goal === undefined || goal.checklist.length === 0) return undefined
  const entries = goal.checklist.map(({ text, status }): PlanEntry => {
    // The protocol has no word for an item that the judge calls impossible: it is settled, and says so.
    const content = status === "impossible" ? `Impossible: ${text}` : text
    return { content, priority: "medium", status: status === "pending" ? "pending" : "completed" }
  })
  return { sessionUpdate: "plan", entries }
}
