/** Goals: an objective attached to a thread, with budgets and brakes. Pure; each input carries its time. See docs/goals.md. */

export { estimateTokens, estimateUsage, upperTokens } from "../../machine/usage-estimate.ts"
export type {
  BudgetAdditions,
  CompleteGoal,
  Goal,
  GoalCause,
  GoalCheck,
  GoalCheckMemory,
  GoalCheckResult,
  GoalChild,
  GoalCommand,
  GoalContract,
  GoalEvent,
  GoalInput,
  GoalMemory,
  GoalMetricName,
  GoalMode,
  GoalOutput,
  GoalPolicyData,
  GoalRefusal,
  GoalState,
  GoalStatus,
  GoalTerms,
  GoalToolName,
  GoalTurn,
  GoalWait,
  PauseGoal,
  ResumeGoal,
  SetGoal,
  StartGoal,
  TurnOrigin,
  WaitGoal,
} from "../../wire/goal.ts"
export { applyGoal } from "./apply-goal.ts"
export {
  type GoalDeliveryOptions,
  goalDeliveries,
  goalInputEvent,
  lostUsageRecord,
  mergeDeliveries,
  stopRecord,
  type TurnWaits,
} from "./deliveries.ts"
export { type GoalDriverOptions, goalDriver } from "./driver.ts"
export { foldGoal, newGoalState } from "./goal.ts"
export { type GoalInHistory, type GoalSteerRecord, type GoalTurnError, type RecordList, readGoal } from "./history.ts"
export { DEFAULT_GOAL_POLICY, type FullGoalPolicy, type GoalPolicy, REFERENCE_GOAL_POLICY } from "./policy.ts"
export { contractText } from "./prompts.ts"
export { restateGoal } from "./restate.ts"
export { CONTRACT_FIELDS, MAX_CHECKS, MAX_CONTRACT_LENGTH, MAX_OBJECTIVE_LENGTH } from "./terms.ts"
export {
  changeGoal,
  type EndedTurn,
  endGoalTurn,
  type GoalChangeBetweenTurns,
  type GoalThread,
  goalChanges,
  type NextTurn,
  nextTurn,
} from "./thread.ts"
export { GOAL_TOOLS, isGoalTool } from "./tools.ts"
export {
  type AllowedGoalChange,
  GOAL_STANDINGS,
  GOAL_TRANSITIONS,
  type GoalCell,
  type GoalChange,
  type GoalStanding,
  nextStatus,
} from "./transitions.ts"
