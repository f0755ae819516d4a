import * as z from "zod"
import type * as wire from "../wire/goal.ts"
import { Count, exact, Json, type Schema, type Tagged, Timestamp } from "./json.ts"
import { TokenUsage } from "./llm.ts"
import { DeliveredMessage } from "./message.ts"
import { ToolOutput } from "./tool.ts"

/** `active`: continued automatically. `complete`: done. Every other status waits. */
export type GoalStatus = wire.GoalStatus
export const GoalStatus: Schema<GoalStatus> = exact(z.enum(["active", "paused", "blocked", "usage_limited", "budget_limited", "complete"]))

/** How the user will know that the objective is reached, beyond its text. */
export type GoalContract = wire.GoalContract
export const GoalContract: Tagged<GoalContract> = exact(
  z.object({
    outcome: z.string(),
    verification: z.string().exactOptional(),
    constraints: z.string().exactOptional(),
    boundaries: z.string().exactOptional(),
    stopWhen: z.string().exactOptional(),
  }),
)

/** A check that must pass before a goal counts as complete. */
export type GoalCheck = wire.GoalCheck
export const GoalCheck: Schema<GoalCheck> = exact(
  z.union([
    z.strictObject({ name: z.string(), command: z.union([z.string(), z.array(z.string())]) }),
    z.strictObject({ name: z.string(), tool: z.string(), args: Json.exactOptional() }),
  ]),
)

/** What a check came to. */
export type GoalCheckResult = wire.GoalCheckResult
export const GoalCheckResult: Tagged<GoalCheckResult> = exact(
  z.object({ name: z.string(), ok: z.boolean(), exitCode: z.int().exactOptional(), tail: z.string() }),
)

/** What a goal waits for. */
export type GoalWait = wire.GoalWait
export const GoalWait: Tagged<GoalWait> = exact(
  z.object({
    since: Timestamp,
    until: Timestamp.exactOptional(),
    event: z.string().exactOptional(),
    reason: z.string().exactOptional(),
    endedAt: Timestamp.exactOptional(),
  }),
)

/** An objective attached to a thread, with its budgets and what it used. Times are milliseconds, costs micro-units of a currency. */
export type Goal = wire.Goal
export const Goal: Tagged<Goal> = exact(
  z.object({
    goalId: z.string(),
    threadId: z.string(),
    objective: z.string(),
    status: GoalStatus,
    reason: z.string().exactOptional(),
    tokenBudget: Count.nullable(),
    secondsBudget: Count.nullable(),
    costBudgetMicros: Count.nullable(),
    tokensUsed: Count,
    childTokensUsed: Count,
    secondsUsed: Count,
    costUsedMicros: Count,
    continuations: Count,
    createdAt: Timestamp,
    updatedAt: Timestamp,
    contract: GoalContract.exactOptional(),
    checks: z.array(GoalCheck).exactOptional(),
    usageEstimated: z.literal(true).exactOptional(),
  }),
)

/** What the checks of a goal came to, and what is due. */
export type GoalCheckMemory = wire.GoalCheckMemory
export const GoalCheckMemory: Tagged<GoalCheckMemory> = exact(
  z.object({
    due: z.string().exactOptional(),
    claimed: z.literal(true).exactOptional(),
    passed: z.string().exactOptional(),
    failing: z.array(GoalCheckResult).exactOptional(),
    failedAs: z.string().exactOptional(),
    alike: Count,
  }),
)

/** `plan`: the turn only plans; it is neither charged to a goal nor continued. */
export type GoalMode = wire.GoalMode
export const GoalMode: Schema<GoalMode> = exact(z.enum(["default", "plan"]))

/** Who started a turn. */
export type TurnOrigin = wire.TurnOrigin
export const TurnOrigin: Schema<TurnOrigin> = exact(z.enum(["user", "continuation"]))

/** What a child of a goal's turns has used, as far as reported. */
export type GoalChild = wire.GoalChild
export const GoalChild: Tagged<GoalChild> = exact(z.object({ childId: z.string(), tokens: Count, costMicros: Count }))

/** What is recorded with the goal: brakes, waits before the next continuation, what the model was already shown. */
export type GoalMemory = wire.GoalMemory
export const GoalMemory: Tagged<GoalMemory> = exact(
  z.object({
    goalsMade: Count,
    costMicros: Count,
    deferred: z.boolean(),
    interrupted: z.boolean(),
    limitTold: z.boolean(),
    idleContinuations: Count,
    repeatedAnswers: Count,
    lastAnswer: z.string().exactOptional(),
    continuationsBefore: Count,
    earlierContinuations: Count.exactOptional(),
    transientErrors: Count,
    lastFailure: z.string().exactOptional(),
    retryAt: Timestamp.exactOptional(),
    limitEndsAt: Timestamp.exactOptional(),
    blockedTurns: Count,
    shown: z.string().exactOptional(),
    brakedAfter: z.string().exactOptional(),
    wait: GoalWait.exactOptional(),
    checks: GoalCheckMemory.exactOptional(),
    children: z.array(GoalChild).exactOptional(),
  }),
)

/** The running turn. Usage and cost are cumulative figures of the thread. */
export type GoalTurn = wire.GoalTurn
export const GoalTurn: Tagged<GoalTurn> = exact(
  z.object({
    turnId: z.string(),
    mode: GoalMode,
    origin: TurnOrigin,
    marked: z.boolean(),
    ofGoal: z.boolean(),
    claimed: z.boolean(),
    charged: TokenUsage,
    reported: TokenUsage,
    chargedCostMicros: Count,
    reportedCostMicros: Count,
    childTokens: Count,
    childCostMicros: Count.exactOptional(),
  }),
)

/** All that the goal machine knows of a thread. */
export type GoalState = wire.GoalState
export const GoalState: Tagged<GoalState> = exact(
  z.object({
    threadId: z.string(),
    goal: Goal.nullable(),
    memory: GoalMemory,
    turn: GoalTurn.nullable(),
    clock: z.object({ seenAt: Timestamp.nullable(), markedAt: Timestamp.nullable() }),
  }),
)

/** The switches of the goal machine as JSON. All are optional; 0 disables a brake. */
export type GoalPolicyData = wire.GoalPolicyData
export const GoalPolicyData: Tagged<GoalPolicyData> = exact(
  z.object({
    compat: z.literal("reference").exactOptional(),
    onInterrupt: z.enum(["pause", "keep"]).exactOptional(),
    onResume: z.enum(["keep", "reactivate"]).exactOptional(),
    onTurnError: z.enum(["block", "keep"]).exactOptional(),
    maxIdleContinuations: Count.exactOptional(),
    maxContinuations: Count.exactOptional(),
    maxRepeatedAnswers: Count.exactOptional(),
    maxTransientErrors: Count.exactOptional(),
    backoffBaseMs: Count.exactOptional(),
    backoffMaxMs: Count.exactOptional(),
    blockedAfter: Count.exactOptional(),
    countChildren: z.boolean().exactOptional(),
    endedBy: z.enum(["model", "judge"]).exactOptional(),
    hardBudget: z.boolean().exactOptional(),
    maxCallsAfterBudget: Count.exactOptional(),
    maxAlikeCheckFailures: Count.exactOptional(),
  }),
)

// Budgets of commands are checked by the machine, which refuses a wrong one by name. Absent: as it was; null: none.
const budgets = {
  tokenBudget: z.number().nullable().exactOptional(),
  secondsBudget: z.number().nullable().exactOptional(),
  costBudgetMicros: z.number().nullable().exactOptional(),
}

const additions = {
  addTokens: z.number().exactOptional(),
  addSeconds: z.number().exactOptional(),
  addCostMicros: z.number().exactOptional(),
}
const terms = { contract: GoalContract.nullable().exactOptional(), checks: z.array(GoalCheck).nullable().exactOptional() }

/** A command of a person or a client for a goal. */
export type GoalCommand = wire.GoalCommand
export const GoalCommand: Tagged<GoalCommand> = exact(
  z.discriminatedUnion("type", [
    z.object({
      type: z.literal("set"),
      objective: z.string().exactOptional(),
      status: GoalStatus.exactOptional(),
      reason: z.string().exactOptional(),
      ifGoalId: z.string().exactOptional(),
      ...budgets,
      ...terms,
    }),
    z.object({ type: z.literal("start"), objective: z.string(), ...budgets, ...terms }),
    z.object({ type: z.literal("resume"), ...budgets, ...additions }),
    z.object({ type: z.literal("complete"), ifGoalId: z.string().exactOptional() }),
    z.object({
      type: z.literal("wait"),
      until: Timestamp.exactOptional(),
      event: z.string().exactOptional(),
      reason: z.string().exactOptional(),
      ifGoalId: z.string().exactOptional(),
    }),
    z.object({ type: z.literal("pause"), reason: z.string().exactOptional(), ifGoalId: z.string().exactOptional() }),
    z.object({ type: z.literal("clear") }),
  ]),
)

/** The tools of the goal driver. */
export type GoalToolName = wire.GoalToolName
export const GoalToolName: Schema<GoalToolName> = exact(z.enum(["create_goal", "update_goal", "get_goal"]))

const at = Timestamp
const turnId = z.string()

/** Input of the goal machine. `at` is the host's time in milliseconds; one earlier than the last counts as the last. */
export type GoalInput = wire.GoalInput
export const GoalInput: Tagged<GoalInput> = exact(
  z.discriminatedUnion("type", [
    z.object({ type: z.literal("turn_started"), at, turnId, mode: GoalMode, usage: TokenUsage, origin: TurnOrigin }),
    z.object({ type: z.literal("usage_reported"), at, turnId, usage: TokenUsage, costMicros: Count.exactOptional() }),
    z.object({
      type: z.literal("child_usage_reported"),
      at,
      usage: TokenUsage,
      costMicros: Count.exactOptional(),
      childId: z.string().exactOptional(),
      goalId: z.string().exactOptional(),
    }),
    z.object({ type: z.literal("checks_reported"), at, turnId, results: z.array(GoalCheckResult) }),
    z.object({ type: z.literal("progress_noted"), at }),
    z.object({ type: z.literal("user_spoke"), at, turnId }),
    z.object({ type: z.literal("event_happened"), at, event: z.string() }),
    z.object({ type: z.literal("tool_finished"), at, turnId, callId: z.string(), toolName: z.string() }),
    z.object({ type: z.literal("goal_tool_called"), at, turnId, callId: z.string(), toolName: GoalToolName, args: Json }),
    z.object({
      type: z.literal("turn_finished"),
      at,
      turnId,
      toolCalls: Count,
      finalText: z.string().exactOptional(),
      problem: z.string().exactOptional(),
    }),
    z.object({ type: z.literal("turn_interrupted"), at, turnId: turnId.exactOptional(), reason: z.string().exactOptional() }),
    z.object({
      type: z.literal("turn_failed"),
      at,
      turnId,
      error: z.object({ kind: z.enum(["usage_limit", "transient", "other"]), message: z.string(), retryAt: Timestamp.exactOptional() }),
    }),
    z.object({ type: z.literal("command"), at, turnId: turnId.exactOptional(), command: GoalCommand }),
    z.object({ type: z.literal("thread_resumed"), at, mode: GoalMode }),
    z.object({ type: z.literal("goal_copied"), at, goal: Goal, deferred: z.boolean() }),
    z.object({ type: z.literal("idle"), at, mode: GoalMode, queuedInput: z.boolean(), nextTurnId: z.string() }),
  ]),
)

const CAUSES = [
  "usage",
  "command",
  "create_goal",
  "update_goal",
  "checks",
  "interrupt",
  "error",
  "usage_limit",
  "brake",
  "thread_resumed",
  "goal_copied",
] as const

/** What changed a goal. */
export type GoalCause = wire.GoalCause
export const GoalCause: Schema<GoalCause> = exact(z.enum(CAUSES))

/** What the history records: the goal and its memory after a change. `noted`: only the memory changed. */
export type GoalEvent = wire.GoalEvent
export const GoalEvent: Tagged<GoalEvent> = exact(
  z.object({
    type: z.literal("goal"),
    at,
    threadId: z.string(),
    turnId: turnId.exactOptional(),
    cause: z.enum([...CAUSES, "noted"]),
    goal: Goal.nullable(),
    memory: GoalMemory,
  }),
)

/** The metrics that the goal machine reports. */
export type GoalMetricName = wire.GoalMetricName
export const GoalMetricName: Schema<GoalMetricName> = exact(
  z.enum([
    "goal.created",
    "goal.resumed",
    "goal.completed",
    "goal.budget_limited",
    "goal.usage_limited",
    "goal.blocked",
    "goal.token_count",
    "goal.duration_s",
  ]),
)

/** Why a command is refused. Nothing changed. */
export type GoalRefusal = wire.GoalRefusal
export const GoalRefusal: Schema<GoalRefusal> = exact(
  z.enum([
    "no_goal",
    "other_goal",
    "objective_empty",
    "objective_too_long",
    "contract_invalid",
    "checks_invalid",
    "budget_invalid",
    "no_budget",
    "wait_invalid",
    "not_active",
  ]),
)

/** Output of the goal machine, as described at its type. */
export type GoalOutput = wire.GoalOutput
export const GoalOutput: Tagged<GoalOutput> = exact(
  z.discriminatedUnion("type", [
    z.object({ type: z.literal("event"), event: GoalEvent }),
    z.object({ type: z.literal("goal_updated"), goal: Goal, turnId: turnId.exactOptional(), cause: GoalCause }),
    z.object({ type: z.literal("goal_cleared"), threadId: z.string() }),
    z.object({ type: z.literal("steer"), kind: z.enum(["budget_limit", "objective_updated"]), message: DeliveredMessage }),
    z.object({
      type: z.literal("continue"),
      message: DeliveredMessage,
      reminder: DeliveredMessage.exactOptional(),
      notBefore: Timestamp.exactOptional(),
    }),
    z.object({ type: z.literal("run_checks"), turnId, checks: z.array(GoalCheck) }),
    z.object({ type: z.literal("rest"), reason: z.string(), notBefore: Timestamp.exactOptional(), wait: GoalWait.exactOptional() }),
    z.object({ type: z.literal("tool_result"), callId: z.string(), output: ToolOutput }),
    z.object({ type: z.literal("metric"), name: GoalMetricName, value: z.number(), tags: z.record(z.string(), z.string()) }),
    z.object({ type: z.literal("refused"), code: GoalRefusal, message: z.string() }),
  ]),
)
