import type { Goal, GoalCommand, GoalRefusal, GoalStatus } from "../../wire/goal.ts"
import { flush, startCharging } from "./accounting.ts"
import { budgetReached, budgetReason, withStatus } from "./goal.ts"
import { createGoal, resetForNewGoal } from "./new-goal.ts"
import { objectiveUpdatedMessage } from "./prompts.ts"
import { type GoalStep, record, updateMemory, write } from "./step.ts"
import { BUDGET_INVALID, checkObjective, isBudget, type Problem } from "./tools.ts"
import { type GoalChange, nextStatus } from "./transitions.ts"

/** Carries out a command of a user or a client. A refused command changes nothing. */
export function applyCommand(step: GoalStep, command: GoalCommand): void {
  switch (command.type) {
    case "set":
      return void set(step, command)
    case "resume":
      return void set(step, { ...command, type: "set", status: "active" })
    case "start":
      return void start(step, command)
    case "pause":
      return void pause(step)
    case "clear":
      return void clear(step)
  }
}

type SetGoal = Extract<GoalCommand, { type: "set" }>
type Budgets = Pick<Goal, "tokenBudget" | "secondsBudget" | "costBudgetMicros">

function set(step: GoalStep, command: SetGoal): void {
  const { status } = command
  const objective = command.objective === undefined ? undefined : checkObjective(command.objective)
  if (step.goal === null && objective === undefined) return void refuse(step, NO_GOAL)
  if (typeof objective === "object") return void refuse(step, objective)
  const budgets = givenBudgets(command)
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
  const goal = changeStatus(step, changed, status ?? (withBudgets ? "budget" : "objective"), command.reason)
  resetBrakes(step, before, goal, status)
  write(step, goal, "command")
  if (goal.status !== "active") return
  startCharging(step)
  if (goal.objective !== before.objective && step.turn !== null) {
    const message = objectiveUpdatedMessage(step.goal, step.policy)
    step.outputs.push({ type: "steer", kind: "objective_updated", message })
  }
}

/** Returns the goal with the status from the table and the reason for it. */
function changeStatus(step: GoalStep, goal: Goal, set: GoalStatus | "budget" | "objective", reason?: string): Goal {
  const change: GoalChange = `set_${set}`
  const status = nextStatus(goal.status, change, budgetReached(goal, step.policy))
  if (status === "refused") return goal
  if (status === "budget_limited" && set !== "budget_limited") {
    // A budget is reached now, or the goal was limited before.
    return set === "active" || goal.status === "active" ? withStatus(goal, status, budgetReason(goal, step.policy)) : goal
  }
  if (set === "budget" || set === "objective") return goal
  return withStatus(goal, status, status === "active" || status === "complete" ? undefined : reason)
}

/** Resets the brakes: user activity means that the goal does not run unattended. */
function resetBrakes(step: GoalStep, before: Goal, goal: Goal, set: GoalStatus | undefined): void {
  updateMemory(step, { idleContinuations: 0 })
  if (set === "budget_limited") updateMemory(step, { limitTold: true })
  if (goal.status !== "active") return
  updateMemory(step, { interrupted: false })
  if (before.status === "active") return
  updateMemory(step, { repeatedAnswers: 0, lastAnswer: undefined, transientErrors: 0, retryAt: undefined, blockedTurns: 0 })
  updateMemory(step, { continuationsBefore: goal.continuations, earlierContinuations: undefined })
  if (step.turn !== null) step.turn = { ...step.turn, claimed: false }
}

function start(step: GoalStep, command: Extract<GoalCommand, { type: "start" }>): void {
  const objective = checkObjective(command.objective)
  if (typeof objective === "object") return void refuse(step, objective)
  const budgets = givenBudgets(command)
  if (budgets === undefined) return void refuse(step, BUDGET_INVALID)
  clear(step)
  createGoal(step, { objective, ...budgets }, "command")
}

function pause(step: GoalStep): void {
  if (step.goal === null) return void refuse(step, NO_GOAL)
  if (nextStatus(step.goal.status, "pause", false) === "refused") {
    return void refuse(step, { code: "not_active", message: `Only an active goal can be paused; this one is ${step.goal.status}.` })
  }
  flush(step)
  const status = nextStatus(step.goal.status, "pause", false)
  updateMemory(step, { idleContinuations: 0 })
  if (status !== "refused") write(step, withStatus(step.goal, status), "command")
}

function clear(step: GoalStep): void {
  if (step.goal === null) return
  flush(step)
  step.goal = null
  resetForNewGoal(step, {})
  record(step, "command")
  step.outputs.push({ type: "goal_cleared", threadId: step.threadId })
}

/** The budgets that a command sets; `undefined` if one is invalid. An absent budget stays unchanged, null removes it. */
function givenBudgets(command: Partial<Budgets>): Partial<Budgets> | undefined {
  const budgets: { -readonly [Key in keyof Budgets]?: Budgets[Key] } = {}
  for (const key of ["tokenBudget", "secondsBudget", "costBudgetMicros"] as const) {
    const budget = command[key]
    if (budget === undefined) continue
    if (!isBudget(budget)) return undefined
    budgets[key] = budget
  }
  return budgets
}

const NO_GOAL: Problem<"no_goal"> = { code: "no_goal", message: "This thread has no goal." }

function refuse(step: GoalStep, problem: Problem<GoalRefusal>): void {
  step.answer = { type: "refused", ...problem }
}
