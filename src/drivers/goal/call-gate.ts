/** What a goal's budget does to model calls: a warning before one, an end of the turn after too many, none that could cross a hard budget. */

import { withChanges } from "../../lazy.ts"
import type { DriverContext } from "../../machine/driver.ts"
import { addUsage, NO_USAGE, tokensOf } from "../../machine/limits.ts"
import { errorEvent, stopped } from "../../machine/terminal.ts"
import { upperTokens } from "../../machine/usage-estimate.ts"
import type { DriverAction, StartLlm } from "../../wire/action.ts"
import type { LlmRequest } from "../../wire/llm.ts"
import type { Message } from "../../wire/message.ts"
import { conversation } from "../steps.ts"
import { remainingTokens, since } from "./goal.ts"
import type { GoalWriter } from "./history.ts"
import { asMessage } from "./messages.ts"
import { type FullGoalPolicy, isDurable } from "./policy.ts"
import { nextCallMessage } from "./prompts.ts"

/** What the gate knows of a turn. */
export interface CallGate {
  readonly context: DriverContext
  readonly policy: FullGoalPolicy
  readonly turnId: string
  readonly at: number
  readonly estimate: ((request: LlmRequest) => number) | undefined
}

/** An answer with less room than this is not worth its request. */
const LEAST_ANSWER_TOKENS = 256

/** Returns the actions with each model call as the budget allows it. */
export function gateCalls(goal: GoalWriter, actions: readonly DriverAction[], gate: CallGate): readonly DriverAction[] {
  return actions.flatMap((action) => (action.type === "start_llm" ? gateCall(goal, action, gate) : [action]))
}

function gateCall(goal: GoalWriter, call: StartLlm, gate: CallGate): readonly DriverAction[] {
  return endAfterBudget(goal, call, gate) ?? capCall(goal, call, gate) ?? warn(goal, call, gate)
}

/** Ends the turn if it reached a budget and made all the calls that it may still make. */
function endAfterBudget(goal: GoalWriter, { purpose }: StartLlm, { context, policy, turnId, at }: CallGate): readonly DriverAction[] | undefined {
  // A turn may reach a budget without a tool that ended since.
  const left = tokensLeft(goal, policy)
  if (left !== undefined && left <= 0 && isDurable(policy)) goal.apply({ type: "tool_finished", at, turnId, callId: "", toolName: "" })
  const { callsAfterBudget: calls } = goal
  if (calls === undefined) return undefined
  const { maxCallsAfterBudget: most, hardBudget } = policy
  if (!hardBudget && (most === 0 || calls < most)) {
    // A side call, such as a compaction, does not take the place of an answer.
    if (purpose === undefined) goal.callsAfterBudget = calls + 1
    return undefined
  }
  const reason = goal.state.goal?.reason ?? "A budget of the goal is used up."
  return endTurn(context, "This turn reached a budget of the goal and ended here, before a final answer.", reason)
}

/** Limits the answer of a call to what a hard budget leaves, or ends the turn if the call could cross it. */
function capCall(goal: GoalWriter, call: StartLlm, { context, policy, turnId, at, estimate }: CallGate): readonly DriverAction[] | undefined {
  const left = policy.hardBudget ? tokensLeft(goal, policy) : undefined
  const current = goal.state.goal
  if (left === undefined || current === null) return undefined
  const { request } = call
  const estimated = (estimate ?? upperTokens)(request)
  const needed = Number.isNaN(estimated) ? upperTokens(request) : Math.ceil(estimated)
  const { maxOutputTokens = Number.MAX_SAFE_INTEGER } = request.generation
  const least = Math.min(LEAST_ANSWER_TOKENS, maxOutputTokens)
  if (needed + least <= left) {
    const generation = { ...request.generation, maxOutputTokens: Math.min(maxOutputTokens, left - needed) }
    return [{ ...call, request: withChanges(request, { generation }) }]
  }
  const reason = `Stopped before a model call that could cross the token budget: ${left} of ${current.tokenBudget ?? 0} tokens are left, and the call may take ${needed} and its answer. Raise the budget and resume to continue.`
  goal.apply({ type: "command", at, turnId, command: { type: "set", status: "budget_limited", reason, ifGoalId: current.goalId } })
  return endTurn(context, "This turn ended here, before a model call that could cross the token budget of the goal.", reason)
}

/** Ends the turn at a budget. The model reads in a later turn where it ended, people read why. */
function endTurn(context: DriverContext, note: string, reason: string): readonly DriverAction[] {
  const id = context.newMessageId("goal_budget")
  const message: Message = { id, role: "system", parts: [{ id: `${id}.p0`, type: "error", text: note }] }
  const outcome = stopped("max_tokens", errorEvent(reason, { kind: "goal", code: "budget_reached" }))
  return [
    { type: "append_events", events: [conversation(message)] },
    { type: "finish", outcome },
  ]
}

/** Adds a message to a call that is expected to exceed the remaining token budget, once for each goal and budget. */
function warn(writer: GoalWriter, call: StartLlm, { context, policy, estimate }: CallGate): readonly DriverAction[] {
  const { goal } = writer.state
  const left = tokensLeft(writer, policy)
  if (goal === null || left === undefined || estimate === undefined) return [call]
  // The last message of a side call is its instruction. The next call of the turn has the warning.
  if (call.purpose !== undefined) return [call]
  const warned = `${goal.goalId} ${goal.tokenBudget}`
  if (writer.warned === warned) return [call]
  const room = Math.max(0, left)
  const needed = estimate(call.request)
  // Negated, so that NaN adds no warning.
  if (!(needed > room)) return [call]
  writer.warned = warned
  const warning = nextCallMessage(goal, policy, { left: room, needed })
  const messages = [...call.request.messages, { role: "user" as const, blocks: [{ type: "text" as const, text: warning.content }] }]
  const warnedCall: StartLlm = { ...call, request: withChanges(call.request, { messages }) }
  if (!isDurable(policy)) return [warnedCall]
  // The same message in the transcript, so that later requests begin with this one.
  return [{ type: "append_events", events: [conversation(asMessage(warning, context.newMessageId("goal")))] }, warnedCall]
}

/** Tokens left for the turn after what it used, which may be less than 0. `undefined` if no token budget limits the turn. */
function tokensLeft({ state }: GoalWriter, policy: FullGoalPolicy): number | undefined {
  const { goal, turn } = state
  if (goal?.status !== "active" || turn?.marked !== true) return undefined
  const left = remainingTokens(goal, policy)
  if (left === null) return undefined
  const children = policy.countChildren ? turn.childTokens : 0
  return left - tokensOf(addUsage(since(turn.charged, turn.reported), NO_USAGE)) - children
}
