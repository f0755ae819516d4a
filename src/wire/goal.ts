import type { Json } from "../json.ts"
import type { TokenUsage } from "./llm.ts"
import type { DeliveredMessage } from "./message.ts"
import type { ToolOutput } from "./tool.ts"

/** `active`: continued automatically. `complete`: done. Every other status waits. */
export type GoalStatus = "active" | "paused" | "blocked" | "usage_limited" | "budget_limited" | "complete"

/** An objective attached to a thread, with its budgets and what it used. Times are milliseconds, costs micro-units of a currency. */
export type Goal = {
  readonly goalId: string
  readonly threadId: string
  readonly objective: string
  readonly status: GoalStatus
  /** Why it stopped, for people. */
  readonly reason?: string
  readonly tokenBudget: number | null
  readonly secondsBudget: number | null
  readonly costBudgetMicros: number | null
  readonly tokensUsed: number
  readonly childTokensUsed: number
  readonly secondsUsed: number
  readonly costUsedMicros: number
  readonly continuations: number
  readonly createdAt: number
  readonly updatedAt: number
}

/** `plan`: the turn only plans; it is neither charged to a goal nor continued. */
export type GoalMode = "default" | "plan"

/** Who started a turn. */
export type TurnOrigin = "user" | "continuation"

/** What is recorded with the goal: brakes, waits before the next continuation, what the model was already shown. */
export type GoalMemory = {
  /** How many goals this thread has had. The next goal id counts on from it. */
  readonly goalsMade: number
  /** The thread's cumulative cost, as last seen at a write or at the end of a turn. */
  readonly costMicros: number
  /** A copied goal waits for the first turn of its new thread. */
  readonly deferred: boolean
  /** An interrupt left the goal active; it is not continued until there is user activity. */
  readonly interrupted: boolean
  /** The model was shown that the budget is reached, or need not be. */
  readonly limitTold: boolean
  /** Continuations in a row without a tool call. */
  readonly idleContinuations: number
  /** How often the last answer came in a row. */
  readonly repeatedAnswers: number
  /** The fingerprint of the last answer. */
  readonly lastAnswer?: string
  /** The goal's continuations when it was last activated. The cap counts from there. */
  readonly continuationsBefore: number
  /** Continuations of earlier goals, where one of them created this goal. The cap counts them, until there is user activity. */
  readonly earlierContinuations?: number
  /** Transient errors in a row. */
  readonly transientErrors: number
  /** When to retry after a transient error. */
  readonly retryAt?: number
  /** When the account's usage limit ends, if known. */
  readonly limitEndsAt?: number
  /** Goal turns in a row, all ended, in which the model claimed to be blocked. */
  readonly blockedTurns: number
}

/** The running turn. Usage and cost are cumulative figures of the thread. */
export type GoalTurn = {
  readonly turnId: string
  readonly mode: GoalMode
  readonly origin: TurnOrigin
  /** Its usage is charged to the goal. */
  readonly marked: boolean
  /** It was marked for this goal at some time, so it counts as one of the goal's turns. */
  readonly ofGoal: boolean
  /** The model claimed in it to be blocked. */
  readonly claimed: boolean
  /** The usage that was already charged. */
  readonly charged: TokenUsage
  /** The usage that was last reported. */
  readonly reported: TokenUsage
  readonly chargedCostMicros: number
  readonly reportedCostMicros: number
  /** Tokens of children that wait for the next write. */
  readonly childTokens: number
}

/** All that the goal machine knows of a thread. */
export type GoalState = {
  readonly threadId: string
  readonly goal: Goal | null
  readonly memory: GoalMemory
  readonly turn: GoalTurn | null
  /** The latest time seen, and since when time is not charged yet. */
  readonly clock: { readonly seenAt: number | null; readonly markedAt: number | null }
}

/** The switches of the goal machine as JSON. All are optional; 0 disables a brake. */
export type GoalPolicyData = {
  /** Behave as the reference implementation, except for the switches that are set. */
  readonly compat?: "reference"
  /** What an interrupt does to an active goal. Default `pause`. */
  readonly onInterrupt?: "pause" | "keep"
  /** What resuming a thread does to a paused goal. Default `keep`. */
  readonly onResume?: "keep" | "reactivate"
  /** What a turn that fails permanently does to an active goal. Default `block`. */
  readonly onTurnError?: "block" | "keep"
  /** Continuations in a row without a tool call before the goal is paused. Default 3. */
  readonly maxIdleContinuations?: number
  /** Continuations of one goal before it is paused. Default 50. */
  readonly maxContinuations?: number
  /** Equal final answers in a row before the goal is paused. Default 3. */
  readonly maxRepeatedAnswers?: number
  /** Transient errors in a row before the goal is blocked. Default 5. */
  readonly maxTransientErrors?: number
  /** Milliseconds to wait after the first transient error; doubled after each further one. Default 10,000. */
  readonly backoffBaseMs?: number
  /** The longest wait after a transient error, in milliseconds. Default 600,000. */
  readonly backoffMaxMs?: number
  /** Goal turns in a row that must claim to be blocked before the goal is. 1: the first claim blocks it. Default 3. */
  readonly blockedAfter?: number
  /** Whether the tokens of children count towards the token budget. Default true. */
  readonly countChildren?: boolean
}

/** Creates a goal, or changes these fields of the current one. */
export type SetGoal = {
  readonly type: "set"
  readonly tokenBudget?: number | null
  readonly secondsBudget?: number | null
  readonly costBudgetMicros?: number | null
  readonly objective?: string
  readonly status?: GoalStatus
  /** Why it stops, for people, where `status` stops it. */
  readonly reason?: string
}

/** Clears the present goal, then creates a new one. */
export type StartGoal = {
  readonly type: "start"
  readonly tokenBudget?: number | null
  readonly secondsBudget?: number | null
  readonly costBudgetMicros?: number | null
  readonly objective: string
}

/** Activates the goal. */
export type ResumeGoal = {
  readonly type: "resume"
  readonly tokenBudget?: number | null
  readonly secondsBudget?: number | null
  readonly costBudgetMicros?: number | null
}

/** A command of a person or a client for a goal. */
export type GoalCommand = SetGoal | StartGoal | ResumeGoal | { readonly type: "pause" } | { readonly type: "clear" }

/** The tools of the goal driver. */
export type GoalToolName = "create_goal" | "update_goal" | "get_goal"

/** Input of the goal machine. `at` is the host's time in milliseconds; one earlier than the last counts as the last. */
export type GoalInput =
  | {
      readonly type: "turn_started"
      readonly at: number
      readonly turnId: string
      readonly mode: GoalMode
      readonly usage: TokenUsage
      readonly origin: TurnOrigin
    }
  | { readonly type: "usage_reported"; readonly at: number; readonly turnId: string; readonly usage: TokenUsage; readonly costMicros?: number }
  | { readonly type: "child_usage_reported"; readonly at: number; readonly usage: TokenUsage }
  | { readonly type: "tool_finished"; readonly at: number; readonly turnId: string; readonly callId: string; readonly toolName: string }
  | {
      readonly type: "goal_tool_called"
      readonly at: number
      readonly turnId: string
      readonly callId: string
      readonly toolName: GoalToolName
      readonly args: Json
    }
  | { readonly type: "turn_finished"; readonly at: number; readonly turnId: string; readonly toolCalls: number; readonly finalText?: string }
  | { readonly type: "turn_interrupted"; readonly at: number; readonly turnId?: string }
  | {
      readonly type: "turn_failed"
      readonly at: number
      readonly turnId: string
      readonly error: { readonly kind: "usage_limit" | "transient" | "other"; readonly message: string; readonly retryAt?: number }
    }
  | { readonly type: "command"; readonly at: number; readonly turnId?: string; readonly command: GoalCommand }
  | { readonly type: "thread_resumed"; readonly at: number; readonly mode: GoalMode }
  | { readonly type: "goal_copied"; readonly at: number; readonly goal: Goal; readonly deferred: boolean }
  | { readonly type: "idle"; readonly at: number; readonly mode: GoalMode; readonly queuedInput: boolean; readonly nextTurnId: string }

/** What changed a goal. */
export type GoalCause =
  | "usage"
  | "command"
  | "create_goal"
  | "update_goal"
  | "interrupt"
  | "error"
  | "usage_limit"
  | "brake"
  | "thread_resumed"
  | "goal_copied"

/** What the history records: the goal and its memory after a change. `noted`: only the memory changed. */
export type GoalEvent = {
  readonly type: "goal"
  readonly at: number
  readonly threadId: string
  readonly turnId?: string
  readonly cause: GoalCause | "noted"
  readonly goal: Goal | null
  readonly memory: GoalMemory
}

/** The metrics that the goal machine reports. */
export type GoalMetricName =
  | "goal.created"
  | "goal.resumed"
  | "goal.completed"
  | "goal.budget_limited"
  | "goal.usage_limited"
  | "goal.blocked"
  | "goal.token_count"
  | "goal.duration_s"

/** Why a command is refused. Nothing changed. */
export type GoalRefusal = "no_goal" | "objective_empty" | "objective_too_long" | "budget_invalid" | "not_active"

/** Output of the goal machine. `event`: append it to the history. `steer`: show it to the model in the running turn. `continue`: a continuation may start with this message, not before `notBefore`. */
export type GoalOutput =
  | { readonly type: "event"; readonly event: GoalEvent }
  | { readonly type: "goal_updated"; readonly goal: Goal; readonly turnId?: string; readonly cause: GoalCause }
  | { readonly type: "goal_cleared"; readonly threadId: string }
  | { readonly type: "steer"; readonly kind: "budget_limit" | "objective_updated"; readonly message: DeliveredMessage }
  | { readonly type: "continue"; readonly message: DeliveredMessage; readonly notBefore?: number }
  | { readonly type: "rest"; readonly reason: string; readonly notBefore?: number }
  | { readonly type: "tool_result"; readonly callId: string; readonly output: ToolOutput }
  | { readonly type: "metric"; readonly name: GoalMetricName; readonly value: number; readonly tags: Readonly<Record<string, string>> }
  | { readonly type: "refused"; readonly code: GoalRefusal; readonly message: string }
