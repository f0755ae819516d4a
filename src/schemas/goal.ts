import * as z from "zod"
import { Count, Json, type Readonlys, Timestamp } from "./json.ts"
import { TokenUsage } from "./llm.ts"
import { DeliveredMessage } from "./message.ts"
import { ToolOutput } from "./tool.ts"

/** `active` is pursued without being asked; every other status waits, and `complete` is done. */
export const GoalStatus = z.enum(["active", "paused", "blocked", "usage_limited", "budget_limited", "complete"])
export type GoalStatus = z.infer<typeof GoalStatus>

/** An objective attached to a thread, with its budgets and what was used. Times are milliseconds, costs micro-units of a currency. */
export const Goal = z.object({
  goalId: z.string(),
  threadId: z.string(),
  objective: z.string(),
  status: GoalStatus,
  /** Why it stopped, for people. */
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
})
export type Goal = Readonlys<z.infer<typeof Goal>>

/** `plan`: the turn only plans, and is neither charged to a goal nor continued. */
export const GoalMode = z.enum(["default", "plan"])
export type GoalMode = z.infer<typeof GoalMode>

/** Who began a turn. */
export const TurnOrigin = z.enum(["user", "continuation"])
export type TurnOrigin = z.infer<typeof TurnOrigin>

/** What is remembered beside the goal: brakes, pauses before the next continuation, what was told already. Kept in the history. */
export const GoalMemory = z.object({
  /** How many goals this thread has made; the next id counts on from it. */
  goalsMade: Count,
  /** The thread's cumulative cost, as last seen at a write or at the end of a turn. */
  costMicros: Count,
  /** A copied goal that waits for the first turn of its new thread. */
  deferred: z.boolean(),
  /** An interrupt left the goal active; it rests until someone does something. */
  interrupted: z.boolean(),
  /** The model was told, or need not be told, that the budget is reached. */
  limitTold: z.boolean(),
  /** Continuations in a row without a tool call. */
  idleContinuations: Count,
  /** How often the last answer came in a row, and its fingerprint. */
  repeatedAnswers: Count,
  lastAnswer: z.string().exactOptional(),
  /** The goal's continuations when it was last set going: the cap counts from there. */
  continuationsBefore: Count,
  /** Continuations for earlier goals, where one of them made this goal: the cap counts them, too. Until somebody says something. */
  earlierContinuations: Count.exactOptional(),
  /** Transient errors in a row, and when to try again. */
  transientErrors: Count,
  retryAt: Timestamp.exactOptional(),
  /** When the account's usage limit ends, as far as it is known. */
  limitEndsAt: Timestamp.exactOptional(),
  /** Goal turns in a row, ended by now, in which the model claimed to be blocked. */
  blockedTurns: Count,
})
export type GoalMemory = Readonlys<z.infer<typeof GoalMemory>>

/** The turn that runs. Usage and cost are cumulative figures of the thread. */
export const GoalTurn = z.object({
  turnId: z.string(),
  mode: GoalMode,
  origin: TurnOrigin,
  /** What it uses is charged to the goal. */
  marked: z.boolean(),
  /** It was marked for this goal at some time, so that it counts as one of the goal's turns. */
  ofGoal: z.boolean(),
  /** The model claimed in it to be blocked. */
  claimed: z.boolean(),
  /** What was charged already, and the last that was reported. */
  charged: TokenUsage,
  reported: TokenUsage,
  chargedCostMicros: Count,
  reportedCostMicros: Count,
  /** Children's tokens that wait for the next write. */
  childTokens: Count,
})
export type GoalTurn = Readonlys<z.infer<typeof GoalTurn>>

/** All that the goal machine knows of a thread. `clock`: the latest time seen, and since when time is not charged yet. */
export const GoalState = z.object({
  threadId: z.string(),
  goal: Goal.nullable(),
  memory: GoalMemory,
  turn: GoalTurn.nullable(),
  clock: z.object({ seenAt: Timestamp.nullable(), markedAt: Timestamp.nullable() }),
})
export type GoalState = Readonlys<z.infer<typeof GoalState>>

/** The switches of the goal machine as JSON. All optional; 0 switches a brake off. */
export const GoalPolicyData = z.object({
  /** Do as the reference implementation does, but for the switches given beside it. */
  compat: z.literal("reference").exactOptional(),
  /** What an interrupt does to an active goal. Default `pause`. */
  onInterrupt: z.enum(["pause", "keep"]).exactOptional(),
  /** What resuming a thread does to a paused goal. Default `keep`. */
  onResume: z.enum(["keep", "reactivate"]).exactOptional(),
  /** What a turn that fails for good does to an active goal. Default `block`. */
  onTurnError: z.enum(["block", "keep"]).exactOptional(),
  /** Continuations in a row without a tool call before the goal is paused. Default 3. */
  maxIdleContinuations: Count.exactOptional(),
  /** Continuations of one goal before it is paused. Default 50. */
  maxContinuations: Count.exactOptional(),
  /** Equal final answers in a row before the goal is paused. Default 3. */
  maxRepeatedAnswers: Count.exactOptional(),
  /** Transient errors in a row before the goal is blocked. Default 5. */
  maxTransientErrors: Count.exactOptional(),
  /** The wait after the first transient error; it doubles with each further one. Default 10,000. */
  backoffBaseMs: Count.exactOptional(),
  /** The longest wait after a transient error. Default 600,000. */
  backoffMaxMs: Count.exactOptional(),
  /** Goal turns in a row that must claim to be blocked before it is believed; 1 believes at once. Default 3. */
  blockedAfter: Count.exactOptional(),
  /** Whether the tokens of children count towards the token budget. Default true. */
  countChildren: z.boolean().exactOptional(),
})
export type GoalPolicyData = Readonlys<z.infer<typeof GoalPolicyData>>

// Budgets of commands are checked by the machine, which refuses a wrong one by name. Absent: as it was; null: none.
const budgets = {
  tokenBudget: z.number().nullable().exactOptional(),
  secondsBudget: z.number().nullable().exactOptional(),
  costBudgetMicros: z.number().nullable().exactOptional(),
}

/** What a person or a client wants of a goal. */
export const GoalCommand = z.discriminatedUnion("type", [
  /** Makes a goal, or changes what is given of the one there is. `reason`: why it stops, for people, where the status says that it does. */
  z.object({
    type: z.literal("set"),
    objective: z.string().exactOptional(),
    status: GoalStatus.exactOptional(),
    reason: z.string().exactOptional(),
    ...budgets,
  }),
  /** Clears the goal there is, then makes a new one. */
  z.object({ type: z.literal("start"), objective: z.string(), ...budgets }),
  z.object({ type: z.literal("resume"), ...budgets }),
  z.object({ type: z.literal("pause") }),
  z.object({ type: z.literal("clear") }),
])
export type GoalCommand = Readonlys<z.infer<typeof GoalCommand>>

export const GoalToolName = z.enum(["create_goal", "update_goal", "get_goal"])
export type GoalToolName = z.infer<typeof GoalToolName>

const at = Timestamp
const turnId = z.string()

/** What happened. `at` is the host's time in milliseconds; one earlier than the last counts as the last. */
export const GoalInput = z.discriminatedUnion("type", [
  z.object({ type: z.literal("turn_started"), at, turnId, mode: GoalMode, usage: TokenUsage, origin: TurnOrigin }),
  z.object({ type: z.literal("usage_reported"), at, turnId, usage: TokenUsage, costMicros: Count.exactOptional() }),
  z.object({ type: z.literal("child_usage_reported"), at, usage: TokenUsage }),
  z.object({ type: z.literal("tool_finished"), at, turnId, callId: z.string(), toolName: z.string() }),
  z.object({ type: z.literal("goal_tool_called"), at, turnId, callId: z.string(), toolName: GoalToolName, args: Json }),
  z.object({ type: z.literal("turn_finished"), at, turnId, toolCalls: Count, finalText: z.string().exactOptional() }),
  z.object({ type: z.literal("turn_interrupted"), at, turnId: turnId.exactOptional() }),
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
])
export type GoalInput = Readonlys<z.infer<typeof GoalInput>>

/** What made a goal change. */
export const GoalCause = z.enum([
  "usage",
  "command",
  "create_goal",
  "update_goal",
  "interrupt",
  "error",
  "usage_limit",
  "brake",
  "thread_resumed",
  "goal_copied",
])
export type GoalCause = z.infer<typeof GoalCause>

/** What the history keeps: the goal and what is remembered, as they are from here on. `noted`: only what is remembered changed. */
export const GoalEvent = z.object({
  type: z.literal("goal"),
  at,
  threadId: z.string(),
  turnId: turnId.exactOptional(),
  cause: z.enum([...GoalCause.options, "noted"]),
  goal: Goal.nullable(),
  memory: GoalMemory,
})
export type GoalEvent = Readonlys<z.infer<typeof GoalEvent>>

export const GoalMetricName = z.enum([
  "goal.created",
  "goal.resumed",
  "goal.completed",
  "goal.budget_limited",
  "goal.usage_limited",
  "goal.blocked",
  "goal.token_count",
  "goal.duration_s",
])
export type GoalMetricName = z.infer<typeof GoalMetricName>

/** Why a command cannot be carried out. Nothing changed. */
export const GoalRefusal = z.enum(["no_goal", "objective_empty", "objective_too_long", "budget_invalid", "not_active"])
export type GoalRefusal = z.infer<typeof GoalRefusal>

/** What the goal machine answers, in order. */
export const GoalOutput = z.discriminatedUnion("type", [
  /** To be appended to the history. */
  z.object({ type: z.literal("event"), event: GoalEvent }),
  z.object({ type: z.literal("goal_updated"), goal: Goal, turnId: turnId.exactOptional(), cause: GoalCause }),
  z.object({ type: z.literal("goal_cleared"), threadId: z.string() }),
  /** To be shown to the model in the running turn. */
  z.object({ type: z.literal("steer"), kind: z.enum(["budget_limit", "objective_updated"]), message: DeliveredMessage }),
  /** A continuation may start, with this message as its input, and not before the time that is given. */
  z.object({ type: z.literal("continue"), message: DeliveredMessage, notBefore: Timestamp.exactOptional() }),
  z.object({ type: z.literal("rest"), reason: z.string(), notBefore: Timestamp.exactOptional() }),
  z.object({ type: z.literal("tool_result"), callId: z.string(), output: ToolOutput }),
  z.object({ type: z.literal("metric"), name: GoalMetricName, value: z.number(), tags: z.record(z.string(), z.string()) }),
  z.object({ type: z.literal("refused"), code: GoalRefusal, message: z.string() }),
])
export type GoalOutput = Readonlys<z.infer<typeof GoalOutput>>
