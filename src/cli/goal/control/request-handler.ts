import { renderItems } from "../../../drivers/checklist/checklist.ts"
import type { JudgedThread } from "../../../hosts/judge/judged-thread.ts"
import type { Interrupted, Thread } from "../../../hosts/thread/thread.ts"
import type { Decision } from "../../../wire/approval.ts"
import type { ChecklistCommand, ChecklistItem } from "../../../wire/checklist.ts"
import type { Goal, GoalCommand } from "../../../wire/goal.ts"
import { money } from "../../model/prices.ts"
import { oneLine, plural, seconds } from "../../terminal/format.ts"
import { inputText } from "../goal-format.ts"
import type { GoalRequest, RequestHandler, RequestResult, ResolvedRequest } from "./requests.ts"

/**
 * Creates a handler that carries out requests on a thread that this process has open. `interrupt`: ends what the goal does now. Absent: this
 * process does not run the goal.
 */
export function createRequestHandler(
  thread: Thread,
  judged: JudgedThread | undefined,
  { interrupt }: { readonly interrupt?: (reason: string) => Promise<Interrupted> } = {},
): RequestHandler & { readonly threadId: string } {
  return {
    threadId: thread.threadId,
    resolve: (request) => resolveRequest(request, thread.goal, judged),
    async apply(resolved, key) {
      if ("say" in resolved) return applySaid(resolved, key, thread, interrupt !== undefined)
      if ("retract" in resolved) return applyRetract(resolved.retract, thread)
      if ("decide" in resolved) return applyDecision(resolved.decide, resolved.turnId, thread, interrupt !== undefined)
      if ("item" in resolved) return applyToItem(resolved.item, judged)
      const result = await applyToGoal(resolved.goal, key, thread)
      if (!result.ok || resolved.now !== true || interrupt === undefined) return result
      const { returned } = await interrupt("The user paused the goal.")
      return returned.length === 0 ? result : { ...result, message: `${result.message} ${notDelivered(returned)}` }
    },
  }
}

function resolveRequest(request: GoalRequest, goal: Goal | null, judged: JudgedThread | undefined): ResolvedRequest | string {
  switch (request.type) {
    case "pause":
      return { goal: { type: "pause" }, ...(request.now === true && { now: true }) }
    case "clear":
      return { goal: { type: "clear" } }
    case "edit": {
      if (goal === null) return "The folder has no goal to edit."
      const { type: _edit, ...changes } = request
      // A goal that was complete becomes active for what it is now.
      return { goal: { type: "set", ...changes, ...(goal.status === "complete" && { status: "active" }) } }
    }
    case "say":
      if (goal === null || goal.status === "complete")
        return `${goal === null ? "The folder has no goal" : "The goal is complete"}, so there is nothing to say it to.`
      return { say: request.text, ...(request.when !== undefined && { when: request.when }) }
    case "retract":
      return { retract: request.inputId }
    case "resume":
      return resolveResume(request, goal)
    case "decide":
      return { decide: request.decision, turnId: request.turnId }
    default:
      return resolveItem(request, judged)
  }
}

function resolveResume(
  { addTokens, addSeconds, addCostMicros }: Extract<GoalRequest, { type: "resume" }>,
  goal: Goal | null,
): ResolvedRequest | string {
  const missing = (flag: string, what: string): string => `The goal has no ${what} budget, so ${flag} has nothing to extend.`
  if (addTokens !== undefined && goal?.tokenBudget === null) return missing("--add-tokens", "token")
  if (addSeconds !== undefined && goal?.secondsBudget === null) return missing("--add-time", "time")
  if (addCostMicros !== undefined && goal?.costBudgetMicros === null) return missing("--add-cost", "cost")
  return {
    goal: {
      type: "resume",
      ...(addTokens !== undefined && { addTokens }),
      ...(addSeconds !== undefined && { addSeconds }),
      ...(addCostMicros !== undefined && { addCostMicros }),
    },
  }
}

type ItemRequest = Extract<GoalRequest, { type: `subgoal_${string}` }>

/** Replaces an item's number, which changes with the list, by its id. */
function resolveItem(request: ItemRequest, judged: JudgedThread | undefined): ResolvedRequest | string {
  if (judged === undefined) return NO_JUDGE
  const at = Date.now()
  if (request.type === "subgoal_clear") return { item: { type: "clear_checklist", at } }
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

type Said = Extract<ResolvedRequest, { readonly say: string }>

async function applySaid({ say, when }: Said, key: string, thread: Thread, isRunner: boolean): Promise<RequestResult> {
  const { inputId } = await thread.say(say, { key, ...(when !== undefined && { when }) })
  const recorded = `Recorded as ${inputId}.`
  const result = { ok: true, inputId }
  if (when === "next_turn") {
    const next = "A turn of its own begins with it, before the goal continues."
    return { ...result, message: `${recorded} ${isRunner ? next : "No process runs the goal; the next run comes to it: turn-machine goal resume"}` }
  }
  if (!isRunner) return { ...result, message: `${recorded} No process runs the goal; the next run begins with it: turn-machine goal resume` }
  if (thread.openTurn === undefined) return { ...result, message: `${recorded} The next turn begins with it.` }
  return { ...result, message: `${recorded} The running turn receives it ${when === "turn_end" ? "when it would end" : "at its next step"}.` }
}

async function applyRetract(inputId: string, thread: Thread): Promise<RequestResult> {
  const shown = oneLine(inputId)
  switch (await thread.retract(inputId)) {
    case "retracted":
      return { ok: true, inputId, message: `Taken back: no turn receives ${shown}.` }
    case "delivered":
      return { ok: false, inputId, message: `A turn has received ${shown}, so it cannot be taken back.` }
    default:
      return { ok: false, message: `Nothing that was said has the id ${shown}. See: turn-machine goal queue` }
  }
}

/** What an interrupt returned, for the user to say again. */
function notDelivered(returned: Interrupted["returned"]): string {
  const texts = returned.map(({ message }) => oneLine(JSON.stringify(inputText(message))))
  return `Not delivered, and taken back: ${texts.join(", ")}.`
}

/** A turn that ended since has no call to decide about, although a later turn may have one with the same request id. */
async function applyDecision(decision: Decision, turnId: string, thread: Thread, isRunner: boolean): Promise<RequestResult> {
  if (thread.openTurn?.turnId !== turnId) return { ok: false, status: "refused", code: "turn_finished", message: "The turn of the call has ended." }
  const [result] = await thread.decide([decision])
  const { status = "refused", code, message = "" } = result ?? {}
  return {
    ok: status !== "refused",
    status,
    ...(code !== undefined && { code }),
    message: status === "refused" ? message : isRunner ? "The running turn continues with it." : "",
  }
}

async function applyToGoal(command: GoalCommand, key: string, thread: Thread): Promise<RequestResult> {
  const outputs = await thread.command(command, { key })
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
    case "resume":
      if (goal?.status === "budget_limited") return goal.reason ?? "A budget is used up."
      return `Resumed.${budgetText(command, goal)}`
    default:
      return editText(command, goal)
  }
}

function editText(command: GoalCommand, goal: Goal | null): string {
  const { objective, contract } = command.type === "set" ? command : {}
  const changed = contract === undefined ? "" : contract === null ? "The goal has no contract now." : "The contract is replaced."
  return [...(objective === undefined ? [] : [`The objective is now: ${oneLine(goal?.objective ?? objective)}`]), changed].join(" ").trim()
}

/** The extended budgets; where the goal is not known yet, what is added to them. */
function budgetText({ addTokens, addSeconds, addCostMicros }: Extract<GoalCommand, { type: "resume" }>, goal: Goal | null): string {
  const one = (added: number | undefined, budget: number | null | undefined, text: (amount: number) => string): readonly string[] =>
    added === undefined ? [] : [text(goal === null ? added : (budget ?? added))]
  const amounts = [
    ...one(addTokens, goal?.tokenBudget, (tokens) => plural(tokens, "token")),
    ...one(addSeconds, goal?.secondsBudget, seconds),
    ...one(addCostMicros, goal?.costBudgetMicros, money),
  ]
  if (amounts.length === 0) return ""
  return goal === null ? ` Added to the budget: ${amounts.join(", ")}.` : ` The budget is ${amounts.join(", ")} now.`
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
  if (command.type === "clear_checklist") return { ok: true, message: "The list is cleared. The judge writes a new one after the next turn." }
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
