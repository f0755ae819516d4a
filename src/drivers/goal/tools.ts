import type { Json } from "../../json.ts"
import type { Goal, GoalInput, GoalStatus, GoalToolName } from "../../wire/goal.ts"
import type { ToolOutput, ToolSpec } from "../../wire/tool.ts"
import { flush } from "./accounting.ts"
import { checksPassed, claimComplete, dropClaim, hasChecks } from "./checks.ts"
import { budgetReached, budgetsOf, remainingTokens, withStatus } from "./goal.ts"
import { createGoal } from "./new-goal.ts"
import type { FullGoalPolicy } from "./policy.ts"
import { CHECKS_DECIDE, COMPLETION_REPORT } from "./prompts.ts"
import { type GoalStep, namedTurn, stopCharging, write } from "./step.ts"
import { BUDGET_INVALID, checkObjective, isBudget, type Problem } from "./terms.ts"
import { GOAL_STANDINGS, nextStatus } from "./transitions.ts"

/** The goal tools as the model sees them. The driver answers them; a host never runs them. */
export const GOAL_TOOLS: readonly ToolSpec[] = [
  {
    name: "get_goal",
    description: "Shows the goal of this thread with its status, its budgets and what has been used so far, or null if there is none.",
    inputSchema: { type: "object", properties: {}, additionalProperties: false },
  },
  {
    name: "create_goal",
    description:
      "Gives this thread a goal that is pursued until it is complete. Create one only when the user, or the system or developer instructions, ask for a goal in so many words; do not make one out of an ordinary task. Give a token budget only when one was asked for. Fails while the thread has a goal that is not complete.",
    inputSchema: {
      type: "object",
      properties: {
        objective: { type: "string", description: "What is to be achieved, and how one can tell. At most 4000 characters." },
        token_budget: { type: "integer", description: "How many tokens the goal may use, above 0. Leave it out unless it was asked for." },
      },
      required: ["objective"],
      additionalProperties: false,
    },
  },
  {
    name: "update_goal",
    description:
      'Ends the pursuit of this thread\'s goal. "complete": only when the objective is achieved and each of its requirements is proven; when the goal had a budget, tell the user afterwards what was finally used. "blocked": only when the same obstacle has stopped you in at least three goal turns in a row, the user\'s own turn counted, and you cannot go on without the user or a change outside; a goal that was resumed starts that count again. Not for work that is hard or slow, and not because the budget or the turn is running out. Pausing, resuming and limiting a goal are up to the user and the system; this tool cannot do it.',
    inputSchema: {
      type: "object",
      properties: { status: { type: "string", enum: ["complete", "blocked"] } },
      required: ["status"],
      additionalProperties: false,
    },
  },
]

/** The goal tools that a model is offered. Where a judge ends the goal, the model cannot. */
export function goalToolsOf({ endedBy }: Pick<FullGoalPolicy, "endedBy">): readonly ToolSpec[] {
  return endedBy === "judge" ? JUDGED_GOAL_TOOLS : GOAL_TOOLS
}

const JUDGED_GOAL_TOOLS: readonly ToolSpec[] = GOAL_TOOLS.filter(({ name }) => name !== "update_goal")

/** The answer to a goal tool that the request did not offer. */
export function unknownGoalTool(name: string, offered: readonly ToolSpec[]): ToolOutput {
  const names = offered.map((tool) => tool.name).join(", ")
  return toolFailure({
    code: "unknown_tool",
    message: `There is no tool ${JSON.stringify(name)}. ${names === "" ? "" : `The tools are: ${names}. `}Nothing was run.`,
  })
}

/** Whether a tool is one of the goal tools. */
export function isGoalTool(name: string): name is GoalToolName {
  return name === "get_goal" || name === "create_goal" || name === "update_goal"
}

type GoalToolCalled = Extract<GoalInput, { type: "goal_tool_called" }>

/** Answers a goal tool. A call from a turn other than the running one is answered, but charges nothing. */
export function answerGoalTool(step: GoalStep, { callId, toolName, args }: GoalToolCalled): void {
  const offered = goalToolsOf(step.policy)
  if (!offered.some(({ name }) => name === toolName)) {
    step.answer = { type: "tool_result", callId, output: unknownGoalTool(toolName, offered) }
    return
  }
  // update_goal flushes only when it succeeds, so that a refused call writes nothing.
  if (toolName !== "update_goal" && namedTurn(step) !== null) flush(step, { steer: true })
  step.answer = { type: "tool_result", callId, output: ANSWERS[toolName](step, args) }
}

const ANSWERS: { readonly [Name in GoalToolCalled["toolName"]]: (step: GoalStep, args: Json) => ToolOutput } = {
  get_goal(step, args) {
    const problem = getArguments(args)
    return problem === undefined ? shown(step) : toolFailure(problem)
  },

  create_goal(step, args) {
    const given = createArguments(args)
    if ("code" in given) return toolFailure(given)
    if (step.goal !== null && nextStatus(step.goal.status, "create_goal", false) === "refused") return toolFailure(GOAL_EXISTS)
    createGoal(step, given, "create_goal", namedTurn(step) !== null)
    return shown(step)
  },

  update_goal(step, args) {
    const given = updateArguments(args)
    if ("code" in given) return toolFailure(given)
    if (step.goal === null) return toolFailure(NO_GOAL)
    if (given.status !== "complete" && given.status !== "blocked") return toolFailure(STATUS_NOT_ALLOWED)
    const early = given.status === "blocked" ? claimBlocked(step) : undefined
    if (early !== undefined) return toolFailure(early)
    if (given.status === "complete" && step.goal.status !== "complete" && hasChecks(step.goal) && !checksPassed(step)) return claim(step)
    if (given.status === "blocked") dropClaim(step)
    end(step, step.goal, given.status === "complete" ? "complete_goal" : "block_goal")
    return shown(step, given.status === "complete")
  },
}

/** Counts the claim for this turn. Returns the problem if the claim comes too early. */
function claimBlocked(step: GoalStep): Problem<GoalToolProblem> | undefined {
  const turn = namedTurn(step)
  if (turn !== null) step.turn = { ...turn, claimed: true }
  const { blockedAfter } = step.policy
  const missing = blockedAfter - step.memory.blockedTurns - (turn?.ofGoal === true ? 1 : 0)
  if (blockedAfter <= 1 || missing <= 0) return undefined
  const turns = missing === 1 ? "one more goal turn" : `${missing} more goal turns`
  return {
    code: "blocked_too_early",
    message: `Not yet: a goal counts as blocked when the same obstacle has held in ${blockedAfter} goal turns in a row. It must hold in ${turns} (${missing} missing). Until then look for another way.`,
  }
}

/** The model's word that a goal with checks is complete: the goal continues, and its checks decide after the turn. */
function claim(step: GoalStep): ToolOutput {
  if (namedTurn(step) !== null) flush(step, { steer: true })
  claimComplete(step)
  const { goal: now, policy } = step
  return {
    status: "success",
    value: { goal: now && withoutId(now), remainingTokens: remainingTokens(now, policy), completionBudgetReport: null, checks: CHECKS_DECIDE },
  }
}

function end(step: GoalStep, before: Goal, change: "complete_goal" | "block_goal"): void {
  const current = namedTurn(step) !== null
  if (current) flush(step)
  const goal = step.goal ?? before
  const status = nextStatus(goal.status, change, budgetReached(goal, step.policy))
  // withStatus drops an older reason: here the model stops the goal.
  write(step, status === goal.status ? goal : withStatus(goal, status), "update_goal")
  if (current) stopCharging(step)
}

/** The goal as the model sees it, with the remaining tokens. */
function shown(step: GoalStep, completed = false): ToolOutput {
  const { goal, policy } = step
  const report = completed && goal !== null && (budgetsOf(goal, policy).length > 0 || goal.secondsUsed > 0)
  return {
    status: "success",
    value: {
      goal: goal && withoutId(goal),
      remainingTokens: remainingTokens(goal, policy),
      completionBudgetReport: report ? COMPLETION_REPORT : null,
    },
  }
}

function withoutId({ goalId: _, ...rest }: Goal): Json {
  return rest
}

const GOAL_EXISTS: Problem<GoalToolProblem> = {
  code: "goal_exists",
  message: "This thread has a goal that is not complete. Complete it before you create another.",
}
const NO_GOAL: Problem<GoalToolProblem> = { code: "no_goal", message: "This thread has no goal to update." }
const STATUS_NOT_ALLOWED: Problem<GoalToolProblem> = {
  code: "status_not_allowed",
  message: 'Only "complete" and "blocked" can be set here. Pausing, resuming and limiting a goal are up to the user and the system.',
}

/** Why a goal tool call failed. */
export type GoalToolProblem =
  | "arguments_invalid"
  | "objective_empty"
  | "objective_too_long"
  | "budget_invalid"
  | "goal_exists"
  | "no_goal"
  | "status_not_allowed"
  | "blocked_too_early"
  | "unknown_tool"

/** The failed result of a goal tool. */
function toolFailure({ code, message }: Problem<GoalToolProblem>): ToolOutput {
  return { status: "failure", failure: { class: "invalid_request", code, message, source: "tool", retry: { type: "never" } } }
}

/** Reads the arguments of `create_goal`: the trimmed objective and the budget, or the problem. */
function createArguments(args: Json): { readonly objective: string; readonly tokenBudget: number | null } | Problem<GoalToolProblem> {
  const object = argumentsOf(args, ["objective", "token_budget"])
  if (object === undefined) return invalid("create_goal takes an objective and, where one was asked for, a token_budget.")
  const objective = object["objective"]
  const tokenBudget = object["token_budget"] ?? null
  if (typeof objective !== "string") return invalid("create_goal needs an objective, as text.")
  if (tokenBudget !== null && typeof tokenBudget !== "number") return invalid("The token_budget is an integer.")
  const checked = checkObjective(objective)
  if (typeof checked !== "string") return checked
  if (!isBudget(tokenBudget)) return BUDGET_INVALID
  return { objective: checked, tokenBudget }
}

/** Reads the argument of `update_goal`: any status, allowed for a model or not. */
function updateArguments(args: Json): { readonly status: GoalStatus } | Problem<GoalToolProblem> {
  const status = argumentsOf(args, ["status"])?.["status"]
  return isStatus(status) ? { status } : invalid('update_goal takes one status, "complete" or "blocked".')
}

/** Checks that `get_goal` has no arguments. */
function getArguments(args: Json): Problem<GoalToolProblem> | undefined {
  return argumentsOf(args, []) === undefined ? invalid("get_goal takes no arguments.") : undefined
}

function invalid(message: string): Problem<GoalToolProblem> {
  return { code: "arguments_invalid", message }
}

/** Returns the arguments as an object; `undefined` if it has other keys. */
function argumentsOf(args: Json, keys: readonly string[]): { readonly [key: string]: Json | undefined } | undefined {
  if (typeof args !== "object" || args === null || Array.isArray(args)) return undefined
  const own: { [key: string]: Json | undefined } = {}
  for (const [key, value] of Object.entries(args)) {
    if (!keys.includes(key)) return undefined
    own[key] = value
  }
  return own
}

function isStatus(value: Json | undefined): value is GoalStatus {
  return typeof value === "string" && value !== "none" && (GOAL_STANDINGS as readonly string[]).includes(value)
}
