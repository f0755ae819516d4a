import { renderItems } from "../../../drivers/checklist/checklist.ts"
import type { JudgedThread } from "../../../hosts/judge/judged-thread.ts"
import type { Thread } from "../../../hosts/thread/thread.ts"
import type { ChecklistCommand, ChecklistItem } from "../../../wire/checklist.ts"
import type { Goal, GoalCommand } from "../../../wire/goal.ts"
import { formatCount, oneLine } from "../../terminal/format.ts"
import { money, seconds } from "../goal-format.ts"
import type { GoalRequest, RequestHandler, RequestResult, ResolvedRequest } from "./requests.ts"

/** Creates a handler that carries out requests on a thread that this process has open. */
export function createRequestHandler(thread: Thread, judged: JudgedThread | undefined): RequestHandler {
  return {
    resolve: (request) => resolveRequest(request, thread.goal, judged),
    apply: (resolved) => ("goal" in resolved ? applyToGoal(resolved.goal, thread) : applyToItem(resolved.item, judged)),
  }
}

function resolveRequest(request: GoalRequest, goal: Goal | null, judged: JudgedThread | undefined): ResolvedRequest | string {
  switch (request.type) {
    case "pause":
    case "clear":
      return { goal: { type: request.type } }
    case "edit":
      // A goal that was complete becomes active for its new objective.
      return { goal: { type: "set", objective: request.objective, ...(goal?.status === "complete" && { status: "active" }) } }
    case "resume":
      return goal === null ? { goal: { type: "resume" } } : resolveResume(request, goal)
    default:
      return resolveItem(request, judged)
  }
}

/** Additions raise the budget, or the usage where that exceeds the budget. */
function resolveResume({ addTokens, addSeconds, addCostMicros }: Extract<GoalRequest, { type: "resume" }>, goal: Goal): ResolvedRequest | string {
  const missing = (flag: string, what: string): string => `The goal has no ${what} budget, so ${flag} has nothing to extend.`
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

type ItemRequest = Extract<GoalRequest, { type: `subgoal_${string}` }>

/** Replaces an item's number, which changes with the list, by its id. */
function resolveItem(request: ItemRequest, judged: JudgedThread | undefined): ResolvedRequest | string {
  if (judged === undefined) return NO_JUDGE
  const at = Date.now()
  if (request.type === "subgoal_add") return { item: { type: "add_item", text: request.text, at } }
  const items = judged.state.goal?.checklist ?? []
  const item = /^\d{1,6}$/.test(request.index) ? items[Number(request.index) - 1] : undefined
  if (item === undefined) {
    const range = items.length === 0 ? "The list is empty." : `The list has items 1 to ${items.length}.`
    return `There is no item ${oneLine(request.index)}. ${range}`
  }
  const { id: itemId } = item
  switch (request.type) {
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

const NO_JUDGE = "This goal has no checklist: it was started without --judge checklist."

async function applyToGoal(command: GoalCommand, thread: Thread): Promise<RequestResult> {
  const outputs = await thread.command(command)
  const refused = outputs.find((output) => output.type === "refused")
  if (refused?.type === "refused") return { ok: false, message: refused.message }
  const last = outputs.findLast((output) => output.type === "goal_updated")
  const goal = last?.type === "goal_updated" ? last.goal : null
  return { ok: true, message: resultText(command, goal) }
}

function resultText(command: GoalCommand, goal: Goal | null): string {
  switch (command.type) {
    case "pause":
      return "Paused."
    case "clear":
      return "Cleared. The folder has no goal now."
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

async function applyToItem(command: ChecklistCommand, judged: JudgedThread | undefined): Promise<RequestResult> {
  if (judged === undefined) return { ok: false, message: NO_JUDGE }
  const before = judged.state.goal?.checklist.find(
    ({ addedBy, addedAt, text }) => command.type === "add_item" && addedBy === "user" && addedAt === command.at && text === command.text.trim(),
  )
  if (before !== undefined) return { ok: true, message: `Added: ${row(before)}` }
  const managed = await judged.manage(command)
  if (!managed.ok) return { ok: false, message: managed.message }
  const { item } = managed
  if (item === undefined) return { ok: true, message: "Done." }
  return { ok: true, message: itemText(command, item) }
}

function itemText({ type }: ChecklistCommand, item: ChecklistItem): string {
  switch (type) {
    case "add_item":
      return `Added: ${row(item)}`
    case "undo_item":
      return `Reopened: ${row(item)}`
    case "remove_item":
      return `Removed: ${row(item)}`
    default:
      return row(item)
  }
}

function row(item: ChecklistItem): string {
  return oneLine(renderItems([item], { numbered: false }))
}
