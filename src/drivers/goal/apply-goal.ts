import type { GoalInput, GoalOutput, GoalState } from "../../schemas/goal.ts"
import { command } from "./commands.ts"
import { answerIdle } from "./continuation.ts"
import { answerGoalTool } from "./goal-tools.ts"
import type { GoalPolicy } from "./policy.ts"
import { beginStep, endStep, type Step } from "./step.ts"
import {
  childUsageReported,
  goalCopied,
  threadResumed,
  toolFinished,
  turnFailed,
  turnFinished,
  turnInterrupted,
  turnStarted,
  usageReported,
} from "./turns.ts"

/**
 * Applies one input to the goal of a thread and returns the state after it with every output, in order.
 * Pure; time is `input.at`, in milliseconds. Outputs of type `event` are to be appended to the history, and
 * `foldGoal` of all of them gives the state back. An input that names a turn which is not the running one changes nothing,
 * but that goal tools still answer and commands are still carried out.
 */
export function applyGoal(
  state: GoalState,
  input: GoalInput,
  policy: GoalPolicy,
): { readonly state: GoalState; readonly outputs: readonly GoalOutput[] } {
  const step = beginStep(state, input, policy)
  take(step, input)
  return endStep(step)
}

function take(step: Step, input: GoalInput): void {
  switch (input.type) {
    case "turn_started":
      return void turnStarted(step, input)
    case "usage_reported":
      return void usageReported(step, input)
    case "child_usage_reported":
      return void childUsageReported(step, input)
    case "tool_finished":
      return void toolFinished(step)
    case "goal_tool_called":
      return void answerGoalTool(step, input)
    case "turn_finished":
      return void turnFinished(step, input)
    case "turn_interrupted":
      return void turnInterrupted(step)
    case "turn_failed":
      return void turnFailed(step, input)
    case "command":
      return void command(step, input.command)
    case "thread_resumed":
      return void threadResumed(step, input)
    case "goal_copied":
      return void goalCopied(step, input)
    case "idle":
      step.answer = answerIdle(step, input)
  }
}
