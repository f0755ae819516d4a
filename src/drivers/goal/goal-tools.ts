import type { Json } from "../../json.ts"
import type { Goal, GoalInput } from "../../schemas/goal.ts"
import type { ToolOutput } from "../../schemas/tool.ts"
import { flush } from "./accounting.ts"
import { budgetReached, budgetsOf, remainingTokens } from "./budgets.ts"
import { withStatus } from "./goal.ts"
import { createGoal } from "./new-goal.ts"
import { COMPLETION_REPORT } from "./prompts.ts"
import { namedTurn, type Step, stopCharging, write } from "./step.ts"
import { createArguments, type GoalToolTrouble, getArguments, type Trouble, toolFailure, updateArguments } from "./tools.ts"
import { nextStatus } from "./transitions.ts"

type GoalToolCalled = Extract<GoalInput, { type: "goal_tool_called" }>

/** Answers a goal tool. For a turn that is not the running one it answers as well, but charges nothing. */
export function answerGoalTool(step: Step, { callId, toolName, args }: GoalToolCalled): void {
  // update_goal flushes where it is carried out, so that a refused one writes nothing.
  if (toolName !== "update_goal" && namedTurn(step) !== null) flush(step, { steer: true })
  step.answer = { type: "tool_result", callId, output: ANSWERS[toolName](step, args) }
}

const ANSWERS: { readonly [Name in GoalToolCalled["toolName"]]: (step: Step, args: Json) => ToolOutput } = {
  get_goal(step, args) {
    const trouble = getArguments(args)
    return trouble === undefined ? shown(step) : toolFailure(trouble)
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
    end(step, step.goal, given.status === "complete" ? "complete_goal" : "block_goal")
    return shown(step, given.status === "complete")
  },
}

/** Counts the claim for this turn; says what is missing if it comes too early. */
function claimBlocked(step: Step): Trouble<GoalToolTrouble> | undefined {
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

function end(step: Step, before: Goal, change: "complete_goal" | "block_goal"): void {
  const current = namedTurn(step) !== null
  if (current) flush(step)
  const goal = step.goal ?? before
  const status = nextStatus(goal.status, change, budgetReached(goal, step.policy))
  if (status === "refused") return
  // A reason tells why a goal stopped; where the model stops it, an older reason is none.
  write(step, status === goal.status ? goal : withStatus(goal, status), "update_goal")
  if (current) stopCharging(step)
}

/** The goal as a model sees it, with what is left. */
function shown(step: Step, completed = false): ToolOutput {
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

const GOAL_EXISTS: Trouble<GoalToolTrouble> = {
  code: "goal_exists",
  message: "This thread has a goal that is not complete. Complete it before you create another.",
}
const NO_GOAL: Trouble<GoalToolTrouble> = { code: "no_goal", message: "This thread has no goal to update." }
const STATUS_NOT_ALLOWED: Trouble<GoalToolTrouble> = {
  code: "status_not_allowed",
  message: 'Only "complete" and "blocked" can be set here. Pausing, resuming and limiting a goal are up to the user and the system.',
}
