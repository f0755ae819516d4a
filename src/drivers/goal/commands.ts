import type { Goal, GoalCommand, GoalRefusal, GoalStatus } from "../../schemas/goal.ts"
import { flush, startCharging } from "./accounting.ts"
import { budgetReached, budgetReason } from "./budgets.ts"
import { withStatus } from "./goal.ts"
import { createGoal, takeUp } from "./new-goal.ts"
import { objectiveUpdatedMessage } from "./prompts.ts"
import { record, remember, type Step, write } from "./step.ts"
import { BUDGET_INVALID, checkObjective, isBudget, type Trouble } from "./tools.ts"
import { type GoalChange, nextStatus } from "./transitions.ts"

/** Carries out what a person or a client wants. A command that cannot be carried out changes nothing. */
export function command(step: Step, order: GoalCommand): void {
  switch (order.type) {
    case "set":
      return void set(step, order)
    case "resume":
      return void set(step, { ...order, type: "set", status: "active" })
    case "start":
      return void start(step, order)
    case "pause":
      return void pause(step)
    case "clear":
      return void clear(step)
  }
}

type SetGoal = Extract<GoalCommand, { type: "set" }>
type Budgets = Pick<Goal, "tokenBudget" | "secondsBudget" | "costBudgetMicros">

function set(step: Step, order: SetGoal): void {
  const { status } = order
  const objective = order.objective === undefined ? undefined : checkObjective(order.objective)
  if (step.goal === null && objective === undefined) return void refuse(step, NO_GOAL)
  if (typeof objective === "object") return void refuse(step, objective)
  const budgets = givenBudgets(order)
  if (budgets === undefined) return void refuse(step, BUDGET_INVALID)

  if (step.goal === null) {
    if (objective !== undefined) createGoal(step, { objective, ...(status !== undefined && { status }), ...budgets }, "command")
    return
  }
  const withBudgets = Object.keys(budgets).length > 0
  if (objective === undefined && status === undefined && !withBudgets) return
  flush(step)
  const before = step.goal
  const changed: Goal = { ...before, ...(objective !== undefined && { objective }), ...budgets }
  const goal = changeStatus(step, changed, status ?? (withBudgets ? "budget" : "objective"), order.reason)
  notice(step, before, goal, status)
  write(step, goal, "command")
  if (goal.status !== "active") return
  startCharging(step)
  if (goal.objective !== before.objective && step.turn !== null) {
    const message = objectiveUpdatedMessage(step.goal, step.policy)
    step.outputs.push({ type: "steer", kind: "objective_updated", message })
  }
}

/** The goal in the status that the table gives, with the reason that goes with it. */
function changeStatus(step: Step, goal: Goal, set: GoalStatus | "budget" | "objective", reason?: string): Goal {
  const change: GoalChange = `set_${set}`
  const status = nextStatus(goal.status, change, budgetReached(goal, step.policy))
  if (status === "refused") return goal
  if (status === "budget_limited" && set !== "budget_limited") {
    // Limited by a budget just now, or still as it was.
    return set === "active" || goal.status === "active" ? withStatus(goal, status, budgetReason(goal, step.policy)) : goal
  }
  if (set === "budget" || set === "objective") return goal
  return withStatus(goal, status, status === "active" || status === "complete" ? undefined : reason)
}

/** Someone is there: what was counted to stop a goal that nobody watches starts again. */
function notice(step: Step, before: Goal, goal: Goal, set: GoalStatus | undefined): void {
  remember(step, { idleContinuations: 0 })
  if (set === "budget_limited") remember(step, { limitTold: true })
  if (goal.status !== "active") return
  remember(step, { interrupted: false })
  if (before.status === "active") return
  remember(step, { repeatedAnswers: 0, lastAnswer: undefined, transientErrors: 0, retryAt: undefined, blockedTurns: 0 })
  remember(step, { continuationsBefore: goal.continuations, earlierContinuations: undefined })
  if (step.turn !== null) step.turn = { ...step.turn, claimed: false }
}

function start(step: Step, order: Extract<GoalCommand, { type: "start" }>): void {
  const objective = checkObjective(order.objective)
  if (typeof objective === "object") return void refuse(step, objective)
  const budgets = givenBudgets(order)
  if (budgets === undefined) return void refuse(step, BUDGET_INVALID)
  clear(step)
  createGoal(step, { objective, ...budgets }, "command")
}

function pause(step: Step): void {
  if (step.goal === null) return void refuse(step, NO_GOAL)
  if (nextStatus(step.goal.status, "pause", false) === "refused") {
    return void refuse(step, { code: "not_active", message: `Only an active goal can be paused; this one is ${step.goal.status}.` })
  }
  flush(step)
  const status = nextStatus(step.goal.status, "pause", false)
  remember(step, { idleContinuations: 0 })
  if (status !== "refused") write(step, withStatus(step.goal, status), "command")
}

function clear(step: Step): void {
  if (step.goal === null) return
  flush(step)
  step.goal = null
  takeUp(step, {})
  record(step, "command")
  step.outputs.push({ type: "goal_cleared", threadId: step.threadId })
}

/** The budgets that are given, each as it is to be; `undefined` if one cannot be. Absent is as it was, null is none. */
function givenBudgets(order: Partial<Budgets>): Partial<Budgets> | undefined {
  const budgets: { -readonly [Key in keyof Budgets]?: Budgets[Key] } = {}
  for (const key of ["tokenBudget", "secondsBudget", "costBudgetMicros"] as const) {
    const budget = order[key]
    if (budget === undefined) continue
    if (!isBudget(budget)) return undefined
    budgets[key] = budget
  }
  return budgets
}

const NO_GOAL: Trouble<"no_goal"> = { code: "no_goal", message: "This thread has no goal." }

function refuse(step: Step, trouble: Trouble<GoalRefusal>): void {
  step.answer = { type: "refused", ...trouble }
}
