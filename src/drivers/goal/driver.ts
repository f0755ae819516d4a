import { checkDriver } from "../../machine/config.ts"
import type { DriverContext, ProtocolDriver } from "../../machine/driver.ts"
import { addUsage, NO_USAGE } from "../../machine/limits.ts"
import { failureActions } from "../../machine/terminal.ts"
import type { DriverAction, StartTools } from "../../wire/action.ts"
import type { GoalMode, TurnOrigin } from "../../wire/goal.ts"
import type { LlmFailure, LlmRequest, TokenUsage } from "../../wire/llm.ts"
import type { CompletedToolCall, ToolOutput } from "../../wire/tool.ts"
import { wrapDriver } from "../wrap-driver.ts"
import { costOf, remainingTokens, since } from "./goal.ts"
import { type GoalTurnError, GoalWriter, goalEvent, readGoal } from "./history.ts"
import { fullPolicy, type GoalPolicy } from "./policy.ts"
import { nextCallMessage } from "./prompts.ts"
import { GOAL_TOOLS, isGoalTool } from "./tools.ts"

/** Options of {@link goalDriver}: the turn, and how its goal is treated. */
export interface GoalDriverOptions {
  readonly threadId: string
  /** Identifies the turn. Stable across restores; unique within the thread. */
  readonly turnId: string
  /** When the turn started, in milliseconds since the epoch. */
  readonly startedAt: number
  /** Default `user`. */
  readonly origin?: TurnOrigin
  /** Default `default`. */
  readonly mode?: GoalMode
  readonly policy?: GoalPolicy
  /** Returns the cost of a usage, in micro-units of the cost budget's currency. Absent: cost is not counted. NaN throws a `TypeError`. */
  readonly costMicros?: (usage: TokenUsage) => number
  /**
   * Estimates the tokens that a model call will be charged. If the estimate exceeds the remaining token budget, the request
   * warns the model, once for each goal and budget. Absent: no estimate, no warning.
   */
  readonly estimate?: (request: LlmRequest) => number
  /**
   * Classifies a failed model call that ends the turn: an account's usage limit, a transient error, or any other. `at` is in
   * milliseconds since the epoch. Default: failures of kind `usage_limit` are the account's limit, which ends at `retryAt`; other retryable
   * failures are `transient`, all others `other`.
   */
  readonly errorOf?: (failure: LlmFailure, at: number) => GoalTurnError
}

/**
 * Wraps a driver: charges its turn to the thread's goal and adds the goal tools, which this driver answers, so they never
 * reach the host. The goal is stored in the history as `protocol` records. Without a goal, the effects are those of the inner
 * driver, except for the tools that a request lists.
 */
export function goalDriver(inner: ProtocolDriver, options: GoalDriverOptions): ProtocolDriver {
  checkDriver(inner)
  return wrapDriver(inner, {
    name: `goal(${inner.name})`,

    prepareIteration(next, context) {
      const goal = openGoal(context, options)
      const actions = next(context.withTools(GOAL_TOOLS)).map((action) => warnOfBudget(goal, action, options))
      return withRecords(goal, actions)
    },

    onLlmComplete(next, context, waiting, response, textStreamed) {
      const goal = openGoal(context, options)
      const actions = next(context.withTools(GOAL_TOOLS), waiting, response, textStreamed)
      const start = actions.find((action) => action.type === "start_tools")
      if (start === undefined) return withRecords(goal, actions)
      goal.toolCalls += start.calls.length
      const answered = answerGoalTools(goal, start, context, options)
      return withRecords(goal, answered === start ? actions : actions.map((action) => (action === start ? answered : action)))
    },

    onToolResults(next, context, results) {
      const goal = openGoal(context, options)
      const at = now(context, options)
      for (const { callId, toolName, output } of results)
        if (!isGoalTool(toolName) && output.status !== "cancelled")
          goal.apply({ type: "tool_finished", at, turnId: options.turnId, callId, toolName })
      return withRecords(goal, next(context.withTools(GOAL_TOOLS), results))
    },

    onExecResult(next, context, waiting, result) {
      const goal = openGoal(context, options)
      goal.toolCalls += 1
      goal.apply({ type: "tool_finished", at: now(context, options), turnId: options.turnId, callId: "", toolName: "exec_code" })
      return withRecords(goal, next(context.withTools(GOAL_TOOLS), waiting, result))
    },

    onLlmCutOff(next, context, waiting, response) {
      const actions = next(context.withTools(GOAL_TOOLS), waiting, response)
      return actions && withRecords(openGoal(context, options), actions)
    },

    onLlmFailed(next, context, waiting, error) {
      const actions = next(context.withTools(GOAL_TOOLS), waiting, error)
      if (actions !== undefined) return actions
      // The turn ends as it would without a driver's decision; the goal records why.
      const goal = openGoal(context, options)
      goal.error = (options.errorOf ?? errorOf)(error, now(context, options))
      return withRecords(goal, failureActions(error))
    },

    onDelivery(next, context, checkpoint, delivery) {
      const goal = openGoal(context, options)
      for (const event of delivery.events ?? []) {
        const record = goalEvent(event, options.threadId)
        if (record?.type === "goal_input") goal.apply(record.input, record.told)
      }
      return withRecords(goal, next(context.withTools(GOAL_TOOLS), checkpoint, delivery))
    },
  })
}

function now(context: DriverContext, { startedAt }: GoalDriverOptions): number {
  return context.at === undefined ? startedAt : Math.max(context.at, startedAt)
}

/** Opens the goal for writing: in this turn, with all usage reported so far. */
function openGoal(context: DriverContext, options: GoalDriverOptions): GoalWriter {
  const { threadId, turnId, mode = "default", origin = "user", policy = {} } = options
  const before = readGoal(context.events, threadId)
  const goal = new GoalWriter(before, policy)
  if (goal.state.turn?.turnId !== turnId) {
    goal.apply({ type: "turn_started", at: options.startedAt, turnId, mode, usage: NO_USAGE, origin })
  }
  const reported = goal.state.turn?.reported ?? NO_USAGE
  const usage = addUsage(context.usage, before.lost)
  if (sameUsage(reported, usage)) return goal
  // Without a goal the cost is not stored, so that no record is needed.
  const costMicros = goal.state.goal === null ? undefined : costOf(goal.state.turn, usage, options.costMicros)
  goal.apply({ type: "usage_reported", at: now(context, options), turnId, usage, ...(costMicros !== undefined && { costMicros }) })
  return goal
}

function sameUsage(left: TokenUsage, right: TokenUsage): boolean {
  const { inputTokens, cachedInputTokens, outputTokens, reasoningTokens } = since(left, right)
  return inputTokens === 0 && cachedInputTokens === 0 && outputTokens === 0 && reasoningTokens === 0
}

function errorOf({ kind, message, retryable, retryAt }: LlmFailure): GoalTurnError {
  const type = kind === "usage_limit" ? kind : retryable ? "transient" : "other"
  return { kind: type, message, ...(retryAt !== undefined && { retryAt }) }
}

/** Puts the goal's records before the actions of the inner driver. */
function withRecords(goal: GoalWriter, actions: readonly DriverAction[]): readonly DriverAction[] {
  const events = goal.records()
  return events.length === 0 ? actions : [{ type: "append_events", events }, ...actions]
}

/** Settles the goal tools of a batch, except for those that the inner driver settled. Returns the same action if there are none. */
function answerGoalTools(goal: GoalWriter, start: StartTools, context: DriverContext, options: GoalDriverOptions): StartTools {
  const { turnId } = options
  const at = now(context, options)
  const given = start.settled ?? []
  const results: CompletedToolCall[] = []
  for (const { callId, toolName, args, replay } of start.calls) {
    if (!isGoalTool(toolName) || given.some((result) => result.callId === callId)) continue
    const output = outputOf(goal.apply({ type: "goal_tool_called", at, turnId, callId, toolName, args }))
    results.push({ callId, toolName, args, output, durationMs: 0, ...(replay !== undefined && { replay }) })
  }
  return results.length === 0 ? start : { ...start, settled: given.concat(results) }
}

function outputOf(outputs: ReturnType<GoalWriter["apply"]>): ToolOutput {
  for (const output of outputs) if (output.type === "tool_result") return output.output
  throw new Error("The goal machine returned no result for a goal tool call.")
}

/** Adds a warning to a request that is expected to exceed the remaining token budget, once for each goal and budget. */
function warnOfBudget(writer: GoalWriter, action: DriverAction, { estimate, policy = {} }: GoalDriverOptions): DriverAction {
  const { goal, turn } = writer.state
  if (estimate === undefined || action.type !== "start_llm" || goal === null) return action
  if (goal.status !== "active" || turn?.marked !== true) return action
  const warned = `${goal.goalId} ${goal.tokenBudget}`
  if (writer.warned === warned) return action
  const left = remainingTokens(goal, fullPolicy(policy))
  if (left === null) return action
  const unwritten = since(turn.charged, turn.reported)
  const room = Math.max(0, left - unwritten.inputTokens - unwritten.outputTokens)
  const needed = estimate(action.request)
  // Negated, so that NaN adds no warning.
  if (!(needed > room)) return action
  writer.warned = warned
  const { content } = nextCallMessage(goal, room, needed)
  const messages = [...action.request.messages, { role: "user" as const, blocks: [{ type: "text" as const, text: content }] }]
  return { ...action, request: { ...action.request, messages } }
}
