import type { Goal, GoalCommand, GoalRefusal, GoalStatus, PauseGoal, ResumeGoal, SetGoal, StartGoal } from "../../wire/goal.ts"
import { flush, startCharging } from "./accounting.ts"
import { checksPassed, claimComplete, dropClaim, hasChecks } from "./checks.ts"
import { add, budgetReached, budgetReason, tokensCounted, withStatus } from "./goal.ts"
import { createGoal, type NewGoal, resetForNewGoal } from "./new-goal.ts"
import { isDurable } from "./policy.ts"
import { objectiveUpdatedMessage } from "./prompts.ts"
import { type GoalStep, record, resetBrakes, updateMemory, write } from "./step.ts"
import { BUDGET_INVALID, checkObjective, type GivenTerms, givenTerms, isBudget, type Problem, withTerms } from "./terms.ts"
import { type GoalChange, nextStatus } from "./transitions.ts"
import { applyWait, endWait } from "./waits.ts"

/** Carries out a command of a user or a client. A refused command changes nothing. */
export function applyCommand(step: GoalStep, command: GoalCommand): void {
  const refused = refusal(step, command) ?? carryOut(step, command)
  if (refused !== undefined) step.answer = { type: "refused", ...refused }
}

type Refusal = Problem<GoalRefusal>

/** A command for one goal must not reach another that took its place. */
function refusal({ goal }: GoalStep, command: GoalCommand): Refusal | undefined {
  const expected = "ifGoalId" in command ? command.ifGoalId : undefined
  if (expected === undefined || goal?.goalId === expected) return undefined
  const now = goal === null ? "it has no goal now" : `its goal is ${JSON.stringify(goal.goalId)} now`
  return { code: "other_goal", message: `The command is for the goal ${JSON.stringify(expected)} of this thread; ${now}.` }
}

/** Returns why the command is refused, if it is. */
function carryOut(step: GoalStep, command: GoalCommand): Refusal | undefined {
  switch (command.type) {
    case "set":
      return set(step, command)
    case "resume":
      return resume(step, command)
    case "start":
      return start(step, command)
    case "complete":
      return complete(step)
    case "wait":
      return step.goal === null ? NO_GOAL : applyWait(step, command)
    case "pause":
      return pause(step, command)
    case "clear":
      return void clear(step)
  }
}

type Budgets = Pick<Goal, "tokenBudget" | "secondsBudget" | "costBudgetMicros">

function set(step: GoalStep, command: SetGoal): Refusal | undefined {
  const { status, reason } = command
  const objective = command.objective === undefined ? undefined : checkObjective(command.objective)
  if (step.goal === null && objective === undefined) return NO_GOAL
  if (typeof objective === "object") return objective
  const budgets = givenBudgets(command)
  if (budgets === undefined) return BUDGET_INVALID
  const terms = givenTerms(command)
  if ("code" in terms) return terms

  if (step.goal === null) {
    if (objective !== undefined) createGoal(step, newGoal(objective, budgets, terms, status), "command")
    return undefined
  }
  if (objective === undefined && status === undefined && !hasKeys(budgets) && !hasKeys(terms)) return undefined
  flush(step)
  const { goal } = step
  change(
    step,
    { ...withTerms(goal, terms), ...(objective !== undefined && { objective }), ...budgets },
    {
      set: status ?? (hasKeys(budgets) ? "budget" : "objective"),
      reason,
    },
  )
  return undefined
}

function resume(step: GoalStep, command: ResumeGoal): Refusal | undefined {
  if (step.goal === null) return NO_GOAL
  const budgets = givenBudgets(command)
  if (budgets === undefined) return BUDGET_INVALID
  const problem = additionProblem({ ...step.goal, ...budgets }, command)
  if (problem !== undefined) return problem
  flush(step)
  endWait(step)
  change(step, withAdditions({ ...step.goal, ...budgets }, command, step), { set: "active" })
  return undefined
}

const ADDITIONS = [
  { added: "addTokens", budget: "tokenBudget", name: "token" },
  { added: "addSeconds", budget: "secondsBudget", name: "time" },
  { added: "addCostMicros", budget: "costBudgetMicros", name: "cost" },
] as const

function additionProblem(goal: Goal, command: ResumeGoal): Refusal | undefined {
  for (const { added, budget, name } of ADDITIONS) {
    const more = command[added]
    if (more === undefined) continue
    if (!isBudget(more)) return BUDGET_INVALID
    if (goal[budget] === null) return { code: "no_budget", message: `The goal has no ${name} budget to add to, so it is not limited by one.` }
  }
  return undefined
}

/** Adds to the budgets. What was used beyond a budget is not taken from the addition. */
function withAdditions(goal: Goal, command: ResumeGoal, { policy }: GoalStep): Goal {
  const used = { addTokens: tokensCounted(goal, policy), addSeconds: goal.secondsUsed, addCostMicros: goal.costUsedMicros }
  const budgets: { -readonly [Key in keyof Budgets]?: Budgets[Key] } = {}
  for (const { added, budget } of ADDITIONS) {
    const more = command[added]
    if (more !== undefined) budgets[budget] = add(Math.max(goal[budget] ?? 0, used[added]), more)
  }
  return { ...goal, ...budgets }
}

interface Change {
  /** The status that is set; otherwise what is changed. */
  readonly set: GoalStatus | "budget" | "objective"
  readonly reason?: string | undefined
}

/** Writes the changed goal with the status from the table, and shows a changed objective to a running turn. */
function change(step: GoalStep, changed: Goal, { set, reason }: Change): void {
  const before = step.goal
  if (before === null) return
  const goal = changeStatus(step, changed, set, reason)
  if (JSON.stringify(goal.checks) !== JSON.stringify(before.checks)) updateMemory(step, { checks: undefined })
  if (set === "budget_limited") updateMemory(step, { limitTold: true })
  resetBrakes(step, before, goal)
  if (set === "active") endWait(step)
  const isOtherAim = aims(goal) !== aims(before)
  // The model or a judge said that the earlier objective is reached, and the thread may show another as the latest.
  if (isOtherAim) {
    dropClaim(step)
    updateMemory(step, { shown: undefined })
  }
  write(step, goal, "command")
  if (goal.status !== "active") return
  startCharging(step)
  if (step.turn !== null && isOtherAim) steerToAims(step, goal)
}

function steerToAims(step: GoalStep, goal: Goal): void {
  step.outputs.push({ type: "steer", kind: "objective_updated", message: objectiveUpdatedMessage(step.goal ?? goal, step.policy) })
}

/** What the model works towards, as one text. */
function aims({ objective, contract }: Goal): string {
  return JSON.stringify([objective, contract ?? null])
}

function hasKeys(object: object): boolean {
  return Object.keys(object).length > 0
}

function newGoal(objective: string, budgets: Partial<Budgets>, { contract, checks }: GivenTerms, status?: GoalStatus): NewGoal {
  return {
    objective,
    ...(status !== undefined && { status }),
    ...budgets,
    ...(contract !== undefined && contract !== null && { contract }),
    ...(checks !== undefined && checks !== null && { checks }),
  }
}

/** Returns the goal with the status from the table and the reason for it. */
function changeStatus(step: GoalStep, goal: Goal, set: GoalStatus | "budget" | "objective", reason?: string): Goal {
  const change: GoalChange = `set_${set}`
  const status = nextStatus(goal.status, change, budgetReached(goal, step.policy))
  if (status === "budget_limited" && set !== "budget_limited") {
    // A budget is reached now, or the goal was limited before.
    return set === "active" || goal.status === "active" ? withStatus(goal, status, budgetReason(goal, step.policy)) : goal
  }
  if (set === "budget" || set === "objective") return goal
  return withStatus(goal, status, status === "active" || status === "complete" ? undefined : reason)
}

function start(step: GoalStep, command: StartGoal): Refusal | undefined {
  const objective = checkObjective(command.objective)
  if (typeof objective === "object") return objective
  const budgets = givenBudgets(command)
  if (budgets === undefined) return BUDGET_INVALID
  const terms = givenTerms(command)
  if ("code" in terms) return terms
  const before = step.goal
  clear(step)
  createGoal(step, newGoal(objective, budgets, terms), "command")
  const { goal, turn, policy } = step
  // The running turn worked on the goal that is gone. Under the reference, a start in a turn is not shown to the model.
  if (before !== null && goal?.status === "active" && turn !== null && isDurable(policy)) steerToAims(step, goal)
  return undefined
}

/** Completes the goal; with checks that have not passed since its last turn, once they pass. */
function complete(step: GoalStep): Refusal | undefined {
  const { goal } = step
  if (goal === null) return NO_GOAL
  const isOpen = hasChecks(goal) && !checksPassed(step)
  if (nextStatus(goal.status, isOpen ? "complete_with_checks" : "complete", false) === "refused") {
    const message = `The checks of a goal run only while it is active; this one is ${goal.status}. Resume it, or set its status to complete.`
    return { code: "not_active", message }
  }
  if (goal.status === "complete") return undefined
  if (isOpen) return void claimComplete(step)
  flush(step)
  const status = nextStatus(step.goal?.status ?? "none", "complete", false)
  if (status !== "refused" && step.goal !== null) write(step, withStatus(step.goal, status), "command")
  return undefined
}

function pause(step: GoalStep, { reason }: PauseGoal): Refusal | undefined {
  if (step.goal === null) return NO_GOAL
  if (nextStatus(step.goal.status, "pause", false) === "refused") {
    return { code: "not_active", message: `Only an active goal can be paused; this one is ${step.goal.status}.` }
  }
  flush(step)
  const status = nextStatus(step.goal.status, "pause", false)
  updateMemory(step, { idleContinuations: 0 })
  if (status !== "refused") write(step, withStatus(step.goal, status, reason), "command")
  // The usage until now reached a budget, which takes precedence. The user asked for no more work, so nothing is checked or judged either.
  else if (isDurable(step.policy)) updateMemory(step, { interrupted: true })
  return undefined
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
