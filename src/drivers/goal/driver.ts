import { checkDriver } from "../../machine/config.ts"
import type { DriverContext, ProtocolDriver } from "../../machine/driver.ts"
import { addUsage, NO_USAGE } from "../../machine/limits.ts"
import { errorEvent, failureActions, stopped } from "../../machine/terminal.ts"
import { withoutDecisions } from "../../machine/transitions.ts"
import { estimateUsage, isUsageMissing } from "../../machine/usage-estimate.ts"
import type { DriverAction, StartTools } from "../../wire/action.ts"
import type { Goal, GoalInput, GoalMode, GoalStatus, TurnOrigin } from "../../wire/goal.ts"
import type { LlmFailure, LlmRequest, TokenUsage } from "../../wire/llm.ts"
import type { CheckpointDelivery, Message } from "../../wire/message.ts"
import type { CompletedToolCall, ToolOutput, ToolSpec } from "../../wire/tool.ts"
import { wrapDriver } from "../wrap-driver.ts"
import { gateCalls } from "./call-gate.ts"
import { budgetReached, costOf, isCharged, since } from "./goal.ts"
import { type GoalTurnError, GoalWriter, goalEvent, readGoal } from "./history.ts"
import { type FullGoalPolicy, fullPolicy, type GoalPolicy, isDurable } from "./policy.ts"
import { goalToolsOf, isGoalTool, unknownGoalTool } from "./tools.ts"

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
   * Estimates the tokens that a model call will be charged. If the estimate exceeds the remaining token budget, a message
   * warns the model, once for each goal and budget. Absent: no warning. With `hardBudget` the estimate counts as the size of the request;
   * absent, {@link upperTokens} estimates it.
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
 *
 * A continuation ends at the checkpoint at which a command that stops its goal is delivered. After a budget is reached, a turn makes
 * `maxCallsAfterBudget` more model calls; with `hardBudget` no call starts that could cross the token budget.
 */
export function goalDriver(inner: ProtocolDriver, options: GoalDriverOptions): ProtocolDriver {
  checkDriver(inner)
  const { turnId, origin, estimate } = options
  const policy = fullPolicy(options.policy ?? {})
  const tools = goalToolsOf(policy)

  function finish(goal: GoalWriter, actions: readonly DriverAction[], context: DriverContext): readonly DriverAction[] {
    const gated = gateCalls(goal, actions, { context, policy, turnId, at: now(context, options), estimate })
    const events = goal.records()
    return events.length === 0 ? gated : [{ type: "append_events", events }, ...gated]
  }

  return wrapDriver(inner, {
    name: `goal(${inner.name})`,

    prepareIteration(next, context) {
      const goal = openGoal(context, options)
      return finish(goal, next(context.withTools(tools)), context)
    },

    onLlmComplete(next, context, waiting, response, textStreamed) {
      const { request } = waiting.outstanding
      const goal = openGoal(context, options, isUsageMissing(response) ? estimateUsage(request, response) : undefined)
      const actions = next(context.withTools(tools), waiting, response, textStreamed).map((action) => {
        if (action.type !== "start_tools") return action
        goal.toolCalls += action.calls.length
        return answerGoalTools(goal, action, request.tools, context, options)
      })
      return finish(goal, actions, context)
    },

    onToolResults(next, context, results) {
      const goal = openGoal(context, options)
      const at = now(context, options)
      for (const { callId, toolName, output } of results)
        if (!tools.some(({ name }) => name === toolName) && output.status !== "cancelled")
          goal.apply({ type: "tool_finished", at, turnId, callId, toolName })
      return finish(goal, next(context.withTools(tools), results), context)
    },

    onExecResult(next, context, waiting, result) {
      const goal = openGoal(context, options)
      goal.toolCalls += 1
      goal.apply({ type: "tool_finished", at: now(context, options), turnId, callId: "", toolName: "exec_code" })
      return finish(goal, next(context.withTools(tools), waiting, result), context)
    },

    onLlmCutOff(next, context, waiting, response) {
      const actions = next(context.withTools(tools), waiting, response)
      if (actions === undefined) return undefined
      // The failure of a call may report the usage that its partial answer lacks.
      const isMissing = isUsageMissing(response) && !hasNewUsage(context, options)
      const goal = openGoal(context, options, isMissing ? estimateUsage(waiting.outstanding.request, response) : undefined)
      return finish(goal, actions, context)
    },

    onLlmFailed(next, context, waiting, error) {
      const actions = next(context.withTools(tools), waiting, error)
      if (actions !== undefined) return finish(openGoal(context, options), actions, context)
      // The turn ends as it would without a driver's decision; the goal records why.
      const goal = openGoal(context, options)
      goal.error = (options.errorOf ?? errorOf)(error, now(context, options))
      return finish(goal, failureActions(error), context)
    },

    onDelivery(next, context, checkpoint, delivery) {
      const goal = openGoal(context, options)
      const before = goal.state.goal
      let isAskedToStop = false
      for (const event of delivery.events ?? []) {
        const record = goalEvent(event, options.threadId)
        if (record?.type !== "goal_input") continue
        isAskedToStop ||= asksToStop(record.input, goal.state.goal)
        goal.apply(record.input, record.told)
      }
      const isAttended = (delivery.userMessages ?? []).some(isFromUser)
      if (isAttended && isDurable(policy)) goal.apply({ type: "user_spoke", at: now(context, options), turnId: options.turnId })
      const actions = next(context.withTools(tools), checkpoint, delivery)
      const isUnattended = origin === "continuation" && isDurable(policy) && !isAttended
      const stops = isUnattended && (checkpoint === "after_work" || hasMessages(delivery))
      const stop = stops ? stopOf(before, goal.state.goal, policy, isAskedToStop) : undefined
      return finish(goal, stop === undefined ? actions : [...withoutDecisions(actions), ...stop], context)
    },
  })
}

/** Whether a user wrote the message: a continuation is not unattended any more. */
function isFromUser({ role, origin }: Message): boolean {
  return role === "user" && origin === undefined
}

/** A delivery without messages lets a turn that was about to end do so. */
function hasMessages({ userMessages = [], messages = [], transientMessages = [], turnCauses = [] }: CheckpointDelivery): boolean {
  return userMessages.length + messages.length + transientMessages.length + turnCauses.length > 0
}

/** Whether a command stops a goal that has reached a budget. Its status stays, but the turn that works on it ends. */
function asksToStop(input: GoalInput, goal: Goal | null): boolean {
  if (input.type !== "command" || goal?.status !== "budget_limited") return false
  const { command } = input
  if (command.type !== "pause" && (command.type !== "set" || (command.status !== "paused" && command.status !== "blocked"))) return false
  return command.ifGoalId === undefined || command.ifGoalId === goal.goalId
}

/**
 * The end of a continuation whose goal was stopped or replaced by a command since `before`, or reached a budget before the command did
 * (`isAsked`). A budget that a command reached, because it charged what the turn used or lowered the budget, ends the turn as any other
 * that is reached: after some more calls.
 */
function stopOf(before: Goal | null, after: Goal | null, policy: FullGoalPolicy, isAsked: boolean): readonly DriverAction[] | undefined {
  if (before === null || !isCharged(before.status)) return undefined
  const isSame = after?.goalId === before.goalId
  if (isSame && after.status === "active") return undefined
  if (isSame && !isAsked && (after.status === before.status || (after.status === "budget_limited" && budgetReached(after, policy)))) return undefined
  const what = after === null ? "cleared" : isSame ? (STOPS[after.status] ?? "stopped") : "replaced"
  const why = after?.reason === undefined ? "" : ` ${after.reason}`
  const event = errorEvent(`The goal was ${what} while this turn worked on it, so the turn ended.${why}`, { kind: "goal", code: "goal_stopped" })
  return [{ type: "finish", outcome: stopped("cancelled", event) }]
}

const STOPS: { readonly [Status in GoalStatus]?: string } = { complete: "set to complete", paused: "paused" }

function now(context: DriverContext, { startedAt }: Pick<GoalDriverOptions, "startedAt">): number {
  return context.at === undefined ? startedAt : Math.max(context.at, startedAt)
}

/** Opens the goal for writing: in this turn, with all usage reported so far, and with an estimate of what is not reported. */
function openGoal(context: DriverContext, options: GoalDriverOptions, missing?: TokenUsage): GoalWriter {
  const { threadId, turnId, mode = "default", origin = "user", policy = {} } = options
  const goal = new GoalWriter(readGoal(context.events, threadId), policy)
  if (goal.state.turn?.turnId !== turnId) {
    goal.apply({ type: "turn_started", at: options.startedAt, turnId, mode, usage: NO_USAGE, origin })
    goal.heldMs = 0
  }
  goal.excludeHeld(context.heldMs, now(context, options))
  if (missing !== undefined) goal.addUnreported(turnId, missing)
  const reported = goal.state.turn?.reported ?? NO_USAGE
  const usage = addUsage(context.usage, goal.unreported)
  if (sameUsage(reported, usage)) return goal
  // Without a goal the cost is not stored, so that no record is needed.
  const costMicros = goal.state.goal === null ? undefined : costOf(goal.state.turn, usage, options.costMicros)
  goal.apply({ type: "usage_reported", at: now(context, options), turnId, usage, ...(costMicros !== undefined && { costMicros }) })
  return goal
}

/** Whether the turn's usage is more than what was last reported to its goal. */
function hasNewUsage(context: DriverContext, { threadId, turnId }: GoalDriverOptions): boolean {
  const { state, unreported } = readGoal(context.events, threadId)
  const reported = state.turn?.turnId === turnId ? state.turn.reported : NO_USAGE
  return !sameUsage(reported, addUsage(context.usage, unreported))
}

function sameUsage(left: TokenUsage, right: TokenUsage): boolean {
  const { inputTokens, cachedInputTokens, outputTokens, reasoningTokens } = since(left, right)
  return inputTokens === 0 && cachedInputTokens === 0 && outputTokens === 0 && reasoningTokens === 0
}

function errorOf({ kind, message, retryable, retryAt }: LlmFailure): GoalTurnError {
  const type = kind === "usage_limit" ? kind : retryable ? "transient" : "other"
  return { kind: type, message, ...(retryAt !== undefined && { retryAt }) }
}

/**
 * Settles the goal tools of a batch, except for those that the inner driver settled. One that the request did not offer is an unknown
 * tool. Returns the same action if there are none.
 */
function answerGoalTools(
  goal: GoalWriter,
  start: StartTools,
  offered: readonly ToolSpec[],
  context: DriverContext,
  { turnId, startedAt, policy = {} }: Pick<GoalDriverOptions, "turnId" | "startedAt" | "policy">,
): StartTools {
  const at = now(context, { startedAt })
  const own = goalToolsOf(fullPolicy(policy))
  const given = start.settled ?? []
  const results: CompletedToolCall[] = []
  for (const { callId, toolName, args, replay } of start.calls) {
    if (!isGoalTool(toolName) || given.some((result) => result.callId === callId)) continue
    const isOffered = offered.some(({ name }) => name === toolName)
    // A host's own tool may have the name of one that is not offered here.
    if (isOffered && !own.some(({ name }) => name === toolName)) continue
    const output = isOffered
      ? outputOf(goal.apply({ type: "goal_tool_called", at, turnId, callId, toolName, args }))
      : unknownGoalTool(toolName, offered)
    results.push({ callId, toolName, args, output, durationMs: 0, ...(replay !== undefined && { replay }) })
  }
  return results.length === 0 ? start : { ...start, settled: given.concat(results) }
}

function outputOf(outputs: ReturnType<GoalWriter["apply"]>): ToolOutput {
  for (const output of outputs) if (output.type === "tool_result") return output.output
  throw new Error("The goal machine returned no result for a goal tool call.")
}
