import { trim } from "../../text.ts"
import type { ChecklistGoal, ChecklistItem, ChecklistState, ItemStatus } from "../../wire/checklist.ts"
import type { ChecklistSettings } from "./settings.ts"
import { evidenceText, pauseText } from "./wording.ts"

/** The state of a thread without a goal. */
export function newChecklistState(): ChecklistState {
  return { nextGoalNumber: 1 }
}

export interface ItemCounts {
  readonly total: number
  readonly completed: number
  readonly impossible: number
  readonly pending: number
}

export function countItems(items: readonly ChecklistItem[]): ItemCounts {
  const count = (status: ItemStatus): number => items.filter((item) => item.status === status).length
  return { total: items.length, completed: count("completed"), impossible: count("impossible"), pending: count("pending") }
}

/** Completed or impossible. The judge can no longer change such an item. */
export function isTerminal(item: ChecklistItem): boolean {
  return item.status !== "pending"
}

/** Whether there are items and all of them are terminal. */
export function allTerminal(items: readonly ChecklistItem[]): boolean {
  return items.length > 0 && items.every(isTerminal)
}

/**
 * Whether the items are the whole list. A judge that writes the list has not done so for a new goal: the user's items alone do not say when
 * the goal is done. The reference makes no difference.
 */
export function hasList({ judge, reference }: ChecklistSettings, { decomposed }: ChecklistGoal): boolean {
  return reference || judge !== "checklist" || decomposed
}

export function isActive(state: ChecklistState): boolean {
  return state.goal?.status === "active"
}

/** Whether there is a goal that is active or paused. */
export function hasGoal(state: ChecklistState): boolean {
  return state.goal?.status === "active" || state.goal?.status === "paused"
}

const MARKS: Readonly<Record<ItemStatus, string>> = { pending: "[ ]", completed: "[x]", impossible: "[!]" }

/** Renders one row per item: `[x] text`, plus the evidence if it is impossible. With `numbered`: `1. [x] text`; else indented. */
export function renderItems(items: readonly ChecklistItem[], options: { readonly numbered: boolean }): string {
  return items.map((item, index) => `${options.numbered ? `${index + 1}. ` : "  "}${renderItem(item)}`).join("\n")
}

function renderItem({ status, text, evidence }: ChecklistItem): string {
  const why = status === "impossible" && evidence !== undefined ? evidenceText(evidence) : ""
  return `${MARKS[status]} ${oneLine(text)}${why === "" ? "" : ` (impossible: ${oneLine(why)})`}`
}

/** Joins the lines of an item, because a line break could pass for another row. */
export function oneLine(text: string): string {
  const lines = text.split(/[\r\n\u0085\u2028\u2029]+/)
  return lines.length === 1
    ? text
    : lines
        .map(trim)
        .filter((line) => line !== "")
        .join(" ")
}

/** Renders the list for a user. */
export function renderChecklist({ goal }: ChecklistState): string {
  if (goal === undefined) return "(no goal)"
  if (goal.checklist.length === 0) return "(no items yet: the judge writes the list after the next turn)"
  return renderItems(goal.checklist, { numbered: true })
}

/** Describes the goal in one line. */
export function statusLine({ goal }: ChecklistState): string {
  if (goal === undefined || goal.status === "cleared") return "No goal is set."
  const why = goal.status === "paused" && goal.pausedReason !== undefined ? pauseText(goal.pausedReason) : ""
  return `Goal ${goal.status} (${progressText(goal)}${why === "" ? "" : `; ${why}`}): ${goal.goal}`
}

/** `3/20 turns, 2/5 items`; without items, the turns only. */
export function progressText(goal: ChecklistGoal): string {
  const { total, pending } = countItems(goal.checklist)
  return `${goal.turnsUsed}/${goal.maxTurns} turns${total === 0 ? "" : `, ${total - pending}/${total} items`}`
}

/** Folds a text for comparison: ignores case and surrounding white space. */
export function foldText(text: string): string {
  return trim(text).toUpperCase().toLowerCase()
}

/** Appends items. The goal counts their ids, so that no id is reused. */
export function newItems(goal: ChecklistGoal, texts: readonly string[], addedBy: ChecklistItem["addedBy"], at: number): ChecklistGoal {
  if (texts.length === 0) return goal
  const items = texts.map((text, index): ChecklistItem => ({ id: `i${goal.nextItemNumber + index}`, text, status: "pending", addedBy, addedAt: at }))
  return { ...goal, checklist: [...goal.checklist, ...items], nextItemNumber: goal.nextItemNumber + items.length }
}
