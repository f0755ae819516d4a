import type { DriverContext, ProtocolDriver } from "../../machine/driver.ts"
import { addUsage, NO_USAGE } from "../../machine/limits.ts"
import { failureActions } from "../../machine/terminal.ts"
import type { DriverAction } from "../../schemas/action.ts"
import type { GoalMode, TurnOrigin } from "../../schemas/goal.ts"
import type { LlmFailure, LlmRequest, TokenUsage } from "../../schemas/llm.ts"
import type { CompletedToolCall, PendingToolCall, ToolOutput } from "../../schemas/tool.ts"
import { wrapDriver } from "../wrap-driver.ts"
import { remainingTokens } from "./budgets.ts"
import { GoalWriter, goalEvent, readGoal, type TurnError } from "./history.ts"
import { fullPolicy, type GoalPolicy } from "./policy.ts"
import { nextCallMessage } from "./prompts.ts"
import { GOAL_TOOLS, isGoalTool } from "./tools.ts"
import { costOf, since } from "./usage.ts"

/** What a goal driver must know of the turn it drives. */
export interface GoalDriverOptions {
  readonly threadId: string
  /** Names the turn; the same when it is restored, another for every other turn of the thread. */
  readonly turnId: string
  /** When the turn began, in milliseconds since the epoch. */
  readonly startedAt: number
  /** Default `user`. */
  readonly origin?: TurnOrigin
  /** Default `default`. */
  readonly mode?: GoalMode
  readonly policy?: GoalPolicy
  /** What a usage costs, in micro-units of the currency of the cost budget. Absent: cost is not counted. NaN is a `TypeError`. */
  readonly costMicros?: (usage: TokenUsage) => number
  /**
   * About how many tokens a model call will be charged. Where that is more than what is left of the token budget, the
   * request tells the model so, once for each goal and budget. Absent: nothing is estimated.
   */
  readonly estimate?: (request: LlmRequest) => number
  /**
   * What a failed model call means for the goal, if it ends the turn: an account's usage limit, an error that will pass, or
   * any other. `at`: milliseconds. Default: retryable failures are transient, all others `other`.
   */
  readonly errorOf?: (failure: LlmFailure, at: number) => TurnError
}

/**
 * Wraps a driver so that its turn is charged to the thread's goal and its model has the goal tools, which are answered here
 * and never reach the host. The goal is kept in the history, as `protocol` records. While a thread has no goal, effects are
 * those of the inner driver, but for the tools that a request lists.
 *
 * The inner driver is asked about the results of a batch that holds goal tools alone before its own answer to the model is
 * in the transcript; it must not look for it there.
 */
export function goalDriver(inner: ProtocolDriver, options: GoalDriverOptions): ProtocolDriver {
  return wrapDriver(inner, {
    name: `goal(${inner.name})`,

    prepareIteration(next, context) {
      const goal = open(context, options)
      const actions = next(context.withTools(GOAL_TOOLS)).map((action) => reserve(goal, action, options))
      return recorded(goal, actions)
    },

    onLlmComplete(next, context, waiting, response, textStreamed) {
      const goal = open(context, options)
      const actions = next(context.withTools(GOAL_TOOLS), waiting, response, textStreamed)
      const index = actions.findIndex((action) => action.type === "start_tools")
      const start = actions[index]
      if (start?.type !== "start_tools") return recorded(goal, actions)
      goal.toolCalls += start.calls.length
      const others = start.calls.filter((call) => !isGoalTool(call.toolName))
      if (others.length === start.calls.length) return recorded(goal, actions)
      const before = actions.slice(0, index)
      const after = actions.slice(index + 1)
      if (others.length > 0) {
        goal.calls = start.calls
        return recorded(goal, [...before, { ...start, calls: others }, ...after])
      }
      const { emits, results } = answerBatch(goal, start.calls, [], context, options)
      return [...before, ...emits, ...recorded(goal, inner.onToolResults(context.withTools(GOAL_TOOLS), results)), ...after]
    },

    onToolResults(next, context, results) {
      const goal = open(context, options)
      const { emits, results: all } = answerBatch(goal, goal.calls ?? results, results, context, options)
      goal.calls = undefined
      return [...emits, ...recorded(goal, next(context.withTools(GOAL_TOOLS), all))]
    },

    onExecResult(next, context, waiting, result) {
      const goal = open(context, options)
      goal.toolCalls += 1
      goal.give({ type: "tool_finished", at: now(context, options), turnId: options.turnId, callId: "", toolName: "exec_code" })
      return recorded(goal, next(context.withTools(GOAL_TOOLS), waiting, result))
    },

    onLlmFailed(next, context, waiting, error) {
      const actions = next(context.withTools(GOAL_TOOLS), waiting, error)
      if (actions !== undefined) return actions
      // The turn ends as it would without a driver's decision; the goal records why.
      const goal = open(context, options)
      goal.error = (options.errorOf ?? errorOf)(error, now(context, options))
      return recorded(goal, failureActions(error))
    },

    onDelivery(next, context, checkpoint, delivery) {
      const goal = open(context, options)
      for (const event of delivery.events ?? []) {
        const record = goalEvent(event, options.threadId)
        if (record?.type === "goal_input") goal.give(record.input, record.told)
      }
      return recorded(goal, next(context.withTools(GOAL_TOOLS), checkpoint, delivery))
    },
  })
}

function now(context: DriverContext, { startedAt }: GoalDriverOptions): number {
  return context.at === undefined ? startedAt : Math.max(context.at, startedAt)
}

/** The goal at this moment: in this turn, and with all usage that was reported. */
function open(context: DriverContext, options: GoalDriverOptions): GoalWriter {
  const { threadId, turnId, mode = "default", origin = "user", policy = {} } = options
  const before = readGoal(context.events, threadId)
  const goal = new GoalWriter(before, policy)
  if (goal.state.turn?.turnId !== turnId) {
    goal.calls = undefined
    goal.give({ type: "turn_started", at: options.startedAt, turnId, mode, usage: NO_USAGE, origin })
  }
  const reported = goal.state.turn?.reported ?? NO_USAGE
  const usage = addUsage(context.usage, before.lost)
  if (sameUsage(reported, usage)) return goal
  // Without a goal nothing is remembered of the cost, so that nothing has to be written.
  const costMicros = goal.state.goal === null ? undefined : costOf(goal.state.turn, usage, options.costMicros)
  goal.give({ type: "usage_reported", at: now(context, options), turnId, usage, ...(costMicros !== undefined && { costMicros }) })
  return goal
}

function sameUsage(left: TokenUsage, right: TokenUsage): boolean {
  const { inputTokens, cachedInputTokens, outputTokens, reasoningTokens } = since(left, right)
  return inputTokens === 0 && cachedInputTokens === 0 && outputTokens === 0 && reasoningTokens === 0
}

function errorOf({ message, retryable }: LlmFailure): TurnError {
  return { kind: retryable ? "transient" : "other", message }
}

/** What became of the goal comes before what the inner driver orders. */
function recorded(goal: GoalWriter, actions: readonly DriverAction[]): readonly DriverAction[] {
  const events = goal.records()
  return events.length === 0 ? actions : [{ type: "append_events", events }, ...actions]
}

/** Goes through a batch in the order of its calls: goal tools are answered, of the others the goal learns that they ended. */
function answerBatch(
  goal: GoalWriter,
  calls: readonly PendingToolCall[],
  given: readonly CompletedToolCall[],
  context: DriverContext,
  options: GoalDriverOptions,
): { readonly emits: readonly DriverAction[]; readonly results: readonly CompletedToolCall[] } {
  const { turnId } = options
  const at = now(context, options)
  const emits: DriverAction[] = []
  const results: CompletedToolCall[] = []
  const byCall = new Map(given.map((result) => [result.callId, result]))
  for (const { callId, toolName, args, replay } of calls) {
    const result = byCall.get(callId)
    if (result !== undefined) {
      if (result.output.status !== "cancelled") goal.give({ type: "tool_finished", at, turnId, callId, toolName })
      results.push(result)
    } else if (isGoalTool(toolName)) {
      const output = outputOf(goal.give({ type: "goal_tool_called", at, turnId, callId, toolName, args }))
      emits.push({ type: "emit", event: { type: "tool_call", callId, name: toolName, args, output, durationMs: 0 } })
      results.push({ callId, toolName, args, output, durationMs: 0, ...(replay !== undefined && { replay }) })
    }
  }
  return { emits, results }
}

function outputOf(outputs: ReturnType<GoalWriter["give"]>): ToolOutput {
  for (const output of outputs) if (output.type === "tool_result") return output.output
  throw new Error("A goal tool was not answered.")
}

/** Says in the request itself that the call would not fit into what is left of the token budget, once for each goal and budget. */
function reserve(writer: GoalWriter, action: DriverAction, { estimate, policy = {} }: GoalDriverOptions): DriverAction {
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
  // What is no number says nothing.
  if (!(needed > room)) return action
  writer.warned = warned
  const { content } = nextCallMessage(goal, room, needed)
  const messages = [...action.request.messages, { role: "user" as const, blocks: [{ type: "text" as const, text: content }] }]
  return { ...action, request: { ...action.request, messages } }
}
