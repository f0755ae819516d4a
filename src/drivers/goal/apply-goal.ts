import type { GoalInput, GoalOutput, GoalState } from "../../wire/goal.ts"
import { checksReported } from "./checks.ts"
import { applyCommand } from "./commands.ts"
import { answerIdle } from "./continuation.ts"
import type { GoalPolicy } from "./policy.ts"
import { beginStep, endStep, type GoalStep } from "./step.ts"
import { answerGoalTool } from "./tools.ts"
import {
  childUsageReported,
  goalCopied,
  progressNoted,
  threadResumed,
  toolFinished,
  turnFailed,
  turnFinished,
  turnInterrupted,
  turnStarted,
  usageReported,
  userSpoke,
} from "./turns.ts"
import { eventHappened } from "./waits.ts"

/**
 * Applies one input to the goal of a thread. Returns the next state and every output, in order.
 * Pure; the time is `input.at`, in milliseconds. Append outputs of type `event` to the history: `foldGoal` rebuilds the state
 * from them. An input that names a turn other than the running one changes nothing, with two exceptions: goal tools still
 * answer, and commands are still carried out.
 */
export function applyGoal(
  state: GoalState,
  input: GoalInput,
  policy: GoalPolicy,
): { readonly state: GoalState; readonly outputs: readonly GoalOutput[] } {
  const step = beginStep(state, input, policy)
  applyInput(step, input)
  return endStep(step)
}

function applyInput(step: GoalStep, input: GoalInput): void {
  switch (input.type) {
    case "turn_started":
      return void turnStarted(step, input)
    case "usage_reported":
      return void usageReported(step, input)
    case "child_usage_reported":
      return void childUsageReported(step, input)
    case "checks_reported":
      return void checksReported(step, input)
    case "user_spoke":
      return void userSpoke(step)
    case "progress_noted":
      return void progressNoted(step)
    case "event_happened":
      return void eventHappened(step, input)
    case "tool_finished":
      return void toolFinished(step)
    case "goal_tool_called":
      return void answerGoalTool(step, input)
    case "turn_finished":
      return void turnFinished(step, input)
    case "turn_interrupted":
      return void turnInterrupted(step, input)
    case "turn_failed":
      return void turnFailed(step, input)
    case "command":
      return void applyCommand(step, input.command)
    case "thread_resumed":
      return void threadResumed(step, input)
    case "goal_copied":
      return void goalCopied(step, input)
    case "idle":
      step.answer = answerIdle(step, input)
  }
}
