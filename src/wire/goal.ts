import type { Json } from "../json.ts"
import type { TokenUsage } from "./llm.ts"
import type { DeliveredMessage } from "./message.ts"
import type { ToolOutput } from "./tool.ts"

/** `active`: continued automatically. `complete`: done. Every other status waits. */
export type GoalStatus = "active" | "paused" | "blocked" | "usage_limited" | "budget_limited" | "complete"

/** How the user will know that the objective is reached, beyond its text. Agent and judge see it. At most 4,000 characters in all. */
export type GoalContract = {
  /** What exists or holds when the goal is reached. */
  readonly outcome: string
  /** How that is verified. */
  readonly verification?: string
  /** What must not change or happen. */
  readonly constraints?: string
  /** What is out of scope. */
  readonly boundaries?: string
  /** When to stop and ask instead. */
  readonly stopWhen?: string
}

/** A check that must pass before a goal counts as complete: a command or a call of a tool, which the host runs. */
export type GoalCheck =
  | {
      /** Unique in its goal. */
      readonly name: string
      /** A program with its arguments, as one text or as a list. No shell reads it, unless the host says otherwise. */
      readonly command: string | readonly string[]
    }
  | { readonly name: string; readonly tool: string; readonly args?: Json }

/** What a check came to. */
export type GoalCheckResult = {
  readonly name: string
  readonly ok: boolean
  /** Absent: it was not a program, or it was stopped. */
  readonly exitCode?: number
  /** The end of its output, bounded by the host. */
  readonly tail: string
}

/** What a goal waits for: a time, an event, or whichever comes first. */
export type GoalWait = {
  /** When it began, in milliseconds since the epoch. */
  readonly since: number
  /** Until when, in milliseconds since the epoch. */
  readonly until?: number
  /** The name of an event that the host reports. */
  readonly event?: string
  /** For people. */
  readonly reason?: string
  /** When its event happened, in milliseconds since the epoch. The wait is over then. */
  readonly endedAt?: number
}

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
  readonly contract?: GoalContract
  /** Run after each turn of the goal. It is complete only when all pass. */
  readonly checks?: readonly GoalCheck[]
  /** Some of the usage is an estimate, because an endpoint reported none. */
  readonly usageEstimated?: true
}

/** What the checks of a goal came to, and what is due. */
export type GoalCheckMemory = {
  /** The ended turn after which the checks have not run yet; the goal's id where a `complete` command asks for them after no such turn. */
  readonly due?: string
  /** The goal is complete if the due checks pass: the model or a judge said so. */
  readonly claimed?: true
  /** The ended turn after which all passed. */
  readonly passed?: string
  /** The checks that failed when they last ran, with bounded output. */
  readonly failing?: readonly GoalCheckResult[]
  /** A digest of how they failed: names, exit codes, and output without digits and white space. */
  readonly failedAs?: string
  /** How often in a row they failed alike. */
  readonly alike: number
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
  /** How the last goal turn failed or was cut off. Absent: it ended well. The next continuation says it. */
  readonly lastFailure?: string
  /** When to retry after a transient error. */
  readonly retryAt?: number
  /** When the account's usage limit ends, if known. */
  readonly limitEndsAt?: number
  /** Goal turns in a row, all ended, in which the model claimed to be blocked. */
  readonly blockedTurns: number
  /** A digest of the objective and contract that a continuation last showed in full. */
  readonly shown?: string
  /** The turn after which a brake paused the goal. It is still checked and judged. */
  readonly brakedAfter?: string
  readonly wait?: GoalWait
  readonly checks?: GoalCheckMemory
  /** What children have reported with their ids: tokens and cost, the 64 that reported last, in that order. Absent: none. */
  readonly children?: readonly GoalChild[]
}

/** What a child of a goal's turns has used, as far as reported. */
export type GoalChild = { readonly childId: string; readonly tokens: number; readonly costMicros: number }

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
  /** Cost of children that waits for the next write. Absent: 0. */
  readonly childCostMicros?: number
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
  /** Who says that the goal is complete or blocked. With `judge`, the model is neither offered `update_goal` nor asked for it. Default `model`. */
  readonly endedBy?: "model" | "judge"
  /** No model call starts whose estimate exceeds what is left of a token budget. Default false: a budget is noticed when it is reached. */
  readonly hardBudget?: boolean
  /** Model calls in a turn after it reached a budget, in which the model can finish; then the turn ends. Default 2; 0: no limit. */
  readonly maxCallsAfterBudget?: number
  /** How often in a row checks may fail alike before the goal is paused. Default 3; 0: no limit. */
  readonly maxAlikeCheckFailures?: number
}

/** Extends budgets, from the present budget or the present usage if that is higher. Refused where there is no such budget. */
export type BudgetAdditions = {
  readonly addTokens?: number
  readonly addSeconds?: number
  readonly addCostMicros?: number
}

/** What a goal is judged by, beside its objective. Absent: unchanged; null: removed. */
export type GoalTerms = {
  readonly contract?: GoalContract | null
  readonly checks?: readonly GoalCheck[] | null
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
  /** Refused (`other_goal`) if the thread has another goal by then. */
  readonly ifGoalId?: string
} & GoalTerms

/** Clears the present goal, then creates a new one. */
export type StartGoal = {
  readonly type: "start"
  readonly tokenBudget?: number | null
  readonly secondsBudget?: number | null
  readonly costBudgetMicros?: number | null
  readonly objective: string
} & GoalTerms

/** Activates the goal, and ends a wait. */
export type ResumeGoal = {
  readonly type: "resume"
  readonly tokenBudget?: number | null
  readonly secondsBudget?: number | null
  readonly costBudgetMicros?: number | null
} & BudgetAdditions

/** Completes the goal, once its checks pass if it has any. To complete it without checks, set its status. */
export type CompleteGoal = {
  readonly type: "complete"
  /** Refused (`other_goal`) if the thread has another goal by then. */
  readonly ifGoalId?: string
}

/** Lets the goal wait before its next continuation. A user's message or a `resume` ends the wait early. */
export type WaitGoal = {
  readonly type: "wait"
  /** Milliseconds since the epoch. */
  readonly until?: number
  readonly event?: string
  /** For people. */
  readonly reason?: string
  /** Refused (`other_goal`) if the thread has another goal by then. */
  readonly ifGoalId?: string
}

/** Pauses an active goal. */
export type PauseGoal = {
  readonly type: "pause"
  /** Why, for people. */
  readonly reason?: string
  /** Refused (`other_goal`) if the thread has another goal by then. */
  readonly ifGoalId?: string
}

/** A command of a person or a client for a goal. */
export type GoalCommand = SetGoal | StartGoal | ResumeGoal | CompleteGoal | WaitGoal | PauseGoal | { readonly type: "clear" }

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
  | {
      readonly type: "child_usage_reported"
      readonly at: number
      readonly usage: TokenUsage
      readonly costMicros?: number
      /**
       * `usage` and `costMicros` are all that this child has used so far, and the goal is charged the difference to its last report, so that a
       * repeated report counts once. It also counts after the goal was paused or stopped. Absent: each report is an addition.
       */
      readonly childId?: string
      /** The goal that the child worked for. Another goal is not charged. Default: the present one. Only with `childId`. */
      readonly goalId?: string
    }
  | { readonly type: "checks_reported"; readonly at: number; readonly turnId: string; readonly results: readonly GoalCheckResult[] }
  /** The host saw progress that no tool call shows, such as a settled item of a checklist. Resets the brakes on idle turns and equal answers. */
  | { readonly type: "progress_noted"; readonly at: number }
  /** A message of the user reached the running turn. Resets the brakes, and withdraws a claim that the goal is complete. */
  | { readonly type: "user_spoke"; readonly at: number; readonly turnId: string }
  | { readonly type: "event_happened"; readonly at: number; readonly event: string }
  | { readonly type: "tool_finished"; readonly at: number; readonly turnId: string; readonly callId: string; readonly toolName: string }
  | {
      readonly type: "goal_tool_called"
      readonly at: number
      readonly turnId: string
      readonly callId: string
      readonly toolName: GoalToolName
      readonly args: Json
    }
  /** `problem`: why the turn ended before its work was done, such as a limit that it reached. */
  | {
      readonly type: "turn_finished"
      readonly at: number
      readonly turnId: string
      readonly toolCalls: number
      readonly finalText?: string
      readonly problem?: string
    }
  | { readonly type: "turn_interrupted"; readonly at: number; readonly turnId?: string; readonly reason?: string }
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
  | "checks"
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
export type GoalRefusal =
  | "no_goal"
  | "other_goal"
  | "objective_empty"
  | "objective_too_long"
  | "contract_invalid"
  | "checks_invalid"
  | "budget_invalid"
  | "no_budget"
  | "wait_invalid"
  | "not_active"

/**
 * Output of the goal machine. `event`: append it to the history. `steer`: show it to the model in the running turn. `continue`: a
 * continuation may start with this message, not before `notBefore`; `reminder`, if given, is enough where the thread still holds the full
 * text. `run_checks`: run the checks of the goal, and report them with `checks_reported`.
 */
export type GoalOutput =
  | { readonly type: "event"; readonly event: GoalEvent }
  | { readonly type: "goal_updated"; readonly goal: Goal; readonly turnId?: string; readonly cause: GoalCause }
  | { readonly type: "goal_cleared"; readonly threadId: string }
  | { readonly type: "steer"; readonly kind: "budget_limit" | "objective_updated"; readonly message: DeliveredMessage }
  | { readonly type: "continue"; readonly message: DeliveredMessage; readonly reminder?: DeliveredMessage; readonly notBefore?: number }
  | { readonly type: "run_checks"; readonly turnId: string; readonly checks: readonly GoalCheck[] }
  | { readonly type: "rest"; readonly reason: string; readonly notBefore?: number; readonly wait?: GoalWait }
  | { readonly type: "tool_result"; readonly callId: string; readonly output: ToolOutput }
  | { readonly type: "metric"; readonly name: GoalMetricName; readonly value: number; readonly tags: Readonly<Record<string, string>> }
  | { readonly type: "refused"; readonly code: GoalRefusal; readonly message: string }
