import type { GoalPolicyData } from "../../wire/goal.ts"

/** The switches of the goal machine. {@link GoalPolicyData} is the part that is JSON. */
export interface GoalPolicy extends GoalPolicyData {
  /** Returns the id of a new goal. `n` counts the thread's goals from 1; the same `n` must give the same id. Default: `g1`, `g2`, … */
  readonly newGoalId?: (n: number) => string
}

/** A policy with every switch set. `compat` marks the parts of the reference's behaviour that no switch changes. */
export type FullGoalPolicy = Required<Omit<GoalPolicy, "compat">> & Pick<GoalPolicy, "compat">

/** The default of every switch. */
export const DEFAULT_GOAL_POLICY: FullGoalPolicy = {
  onInterrupt: "pause",
  onResume: "keep",
  onTurnError: "block",
  maxIdleContinuations: 3,
  maxContinuations: 50,
  maxRepeatedAnswers: 3,
  maxTransientErrors: 5,
  backoffBaseMs: 10_000,
  backoffMaxMs: 600_000,
  blockedAfter: 3,
  countChildren: true,
  endedBy: "model",
  hardBudget: false,
  maxCallsAfterBudget: 2,
  maxAlikeCheckFailures: 3,
  newGoalId: (n) => `g${n}`,
}

/** The defaults under `compat: "reference"`: no brakes; only usage limits and the model itself stop a goal. */
export const REFERENCE_GOAL_POLICY: FullGoalPolicy = {
  ...DEFAULT_GOAL_POLICY,
  compat: "reference",
  onInterrupt: "keep",
  onTurnError: "keep",
  maxIdleContinuations: 0,
  maxContinuations: 0,
  maxRepeatedAnswers: 0,
  maxTransientErrors: 0,
  backoffBaseMs: 0,
  blockedAfter: 1,
  countChildren: false,
  maxCallsAfterBudget: 0,
}

/** Whether messages of the goal stay in the transcript. The reference shows them in one turn only. */
export function isDurable({ compat }: FullGoalPolicy): boolean {
  return compat !== "reference"
}

/** Fills in the defaults of a policy. A switch that is given overrides `compat`. */
export function fullPolicy({ compat, ...given }: GoalPolicy): FullGoalPolicy {
  return { ...(compat === "reference" ? REFERENCE_GOAL_POLICY : DEFAULT_GOAL_POLICY), ...given }
}
