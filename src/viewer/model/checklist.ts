import type { ChecklistItem } from "../../wire/checklist.ts"
import type { ViewedThread } from "../data.ts"

/** An item of a checklist with the turns in which it was added and settled, by their index in the thread. */
export interface ItemOverTurns {
  readonly item: ChecklistItem
  readonly addedAfter: number
  /** `undefined`: it is pending. */
  readonly settledAfter: number | undefined
  /** The words of the judge or the user; `undefined` where there are none. */
  readonly evidence: string | undefined
}

/** The items of a thread's checklist. A judge rules after a turn, so a change belongs to the last turn that had ended by then. */
export function itemsOverTurns({ turns, checklist }: ViewedThread): readonly ItemOverTurns[] {
  const goal = checklist?.goal ?? checklist?.clearedGoal
  return (goal?.checklist ?? []).map((item) => ({
    item,
    addedAfter: turnBefore(turns, item.addedAt),
    settledAfter: item.status === "pending" || item.completedAt === undefined ? undefined : turnBefore(turns, item.completedAt),
    evidence: item.evidence === undefined ? undefined : item.evidence.type === "text" ? item.evidence.text : "marked by the user",
  }))
}

/** The last turn that had ended at a time; -1 if none had. */
function turnBefore(turns: ViewedThread["turns"], at: number): number {
  return turns.findLastIndex(({ endedAt }) => endedAt !== undefined && endedAt <= at)
}
