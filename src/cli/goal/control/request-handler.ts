import { renderItems } from "../../drivers/checklist/checklist.ts"
import type { JudgedThread } from "../../hosts/judge/judged-thread.ts"
import type { Thread } from "../../hosts/thread/thread.ts"
import type { ChecklistCommand, ChecklistItem } from "../../schemas/checklist.ts"
import type { Goal, GoalCommand } from "../../schemas/goal.ts"
import { formatCount, oneLine } from "../terminal/format.ts"
import type { Answer, Office, Order, Settled } from "./orders.ts"
import { money, seconds } from "./words.ts"

/** Carries out orders on a thread that this process holds. */
export function officeOf(thread: Thread, judged: JudgedThread | undefined): Office {
  return {
    settle: (order) => settle(order, thread.goal, judged),
    perform: (settled) => ("goal" in settled ? performGoal(settled.goal, thread) : performItem(settled.item, judged)),
  }
}

function settle(order: Order, goal: Goal | null, judged: JudgedThread | undefined): Settled | string {
  switch (order.type) {
    case "pause":
    case "clear":
      return { goal: { type: order.type } }
    case "edit":
      // What was reached is not what is wanted now.
      return { goal: { type: "set", objective: order.objective, ...(goal?.status === "complete" && { status: "active" }) } }
    case "resume":
      return goal === null ? { goal: { type: "resume" } } : resume(order, goal)
    default:
      return settleItem(order, judged)
  }
}

/** More is given on top of what there is, or of what was used, if that is more already. */
function resume({ addTokens, addSeconds, addCostMicros }: Extract<Order, { type: "resume" }>, goal: Goal): Settled | string {
  const missing = (flag: string, what: string): string => `The goal has no ${what} budget, so ${flag} has nothing to add to.`
  if (addTokens !== undefined && goal.tokenBudget === null) return missing("--add-tokens", "token")
  if (addSeconds !== undefined && goal.secondsBudget === null) return missing("--add-time", "time")
  if (addCostMicros !== undefined && goal.costBudgetMicros === null) return missing("--add-cost", "cost")
  const tokens = Math.max(goal.tokenBudget ?? 0, goal.tokensUsed + goal.childTokensUsed)
  return {
    goal: {
      type: "resume",
      ...(addTokens !== undefined && { tokenBudget: tokens + addTokens }),
      ...(addSeconds !== undefined && { secondsBudget: Math.max(goal.secondsBudget ?? 0, goal.secondsUsed) + addSeconds }),
      ...(addCostMicros !== undefined && { costBudgetMicros: Math.max(goal.costBudgetMicros ?? 0, goal.costUsedMicros) + addCostMicros }),
    },
  }
}

type ItemOrder = Extract<Order, { type: `subgoal_${string}` }>

/** An item is meant by its id from here on: its number changes with the list. */
function settleItem(order: ItemOrder, judged: JudgedThread | undefined): Settled | string {
  if (judged === undefined) return NO_JUDGE
  const at = Date.now()
  if (order.type === "subgoal_add") return { item: { type: "add_item", text: order.text, at } }
  const items = judged.state.goal?.checklist ?? []
  const item = /^\d{1,6}$/.test(order.index) ? items[Number(order.index) - 1] : undefined
  if (item === undefined) {
    const range = items.length === 0 ? "The list has no items yet." : `The list has the items 1 to ${items.length}.`
    return `There is no item ${oneLine(order.index)}. ${range}`
  }
  const { id: itemId } = item
  switch (order.type) {
    case "subgoal_done":
      return { item: { type: "mark_item", itemId, status: "completed", at } }
    case "subgoal_impossible":
      return { item: { type: "mark_item", itemId, status: "impossible", at } }
    case "subgoal_undo":
      return { item: { type: "undo_item", itemId, at } }
    case "subgoal_remove":
      return { item: { type: "remove_item", itemId, at } }
  }
}

const NO_JUDGE = "This goal has no judge, and so no list: it was begun without --judge checklist."

async function performGoal(command: GoalCommand, thread: Thread): Promise<Answer> {
  const outputs = await thread.command(command)
  const refused = outputs.find((output) => output.type === "refused")
  if (refused?.type === "refused") return { ok: false, message: refused.message }
  const last = outputs.findLast((output) => output.type === "goal_updated")
  const goal = last?.type === "goal_updated" ? last.goal : null
  return { ok: true, message: said(command, goal) }
}

function said(command: GoalCommand, goal: Goal | null): string {
  switch (command.type) {
    case "pause":
      return "Paused."
    case "clear":
      return "Cleared: there is no goal any more."
    case "resume": {
      const budgets = [
        ...(command.tokenBudget === undefined || command.tokenBudget === null ? [] : [`${formatCount(command.tokenBudget)} tokens`]),
        ...(command.secondsBudget === undefined || command.secondsBudget === null ? [] : [seconds(command.secondsBudget)]),
        ...(command.costBudgetMicros === undefined || command.costBudgetMicros === null ? [] : [money(command.costBudgetMicros)]),
      ]
      const given = budgets.length === 0 ? "" : ` The budget is ${budgets.join(", ")} now.`
      return goal?.status === "budget_limited" ? `${goal.reason ?? "A budget is used up."}` : `Resumed.${given}`
    }
    default:
      return `The objective is now: ${oneLine(goal?.objective ?? "")}`
  }
}

async function performItem(command: ChecklistCommand, judged: JudgedThread | undefined): Promise<Answer> {
  if (judged === undefined) return { ok: false, message: NO_JUDGE }
  const before = judged.state.goal?.checklist.find(
    ({ addedBy, addedAt, text }) => command.type === "add_item" && addedBy === "user" && addedAt === command.at && text === command.text.trim(),
  )
  if (before !== undefined) return { ok: true, message: row(before) }
  const managed = await judged.manage(command)
  if (!managed.ok) return { ok: false, message: managed.message }
  const { item } = managed
  if (item === undefined) return { ok: true, message: "Done." }
  return { ok: true, message: command.type === "remove_item" ? `Removed: ${row(item)}` : row(item) }
}

function row(item: ChecklistItem): string {
  return oneLine(renderItems([item], { numbered: false }))
}
