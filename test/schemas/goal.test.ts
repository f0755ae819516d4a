import { describe, expect, test } from "vitest"
import type * as z from "zod"
import * as schemas from "../../src/schemas/index.ts"
import { plain, remove, set } from "../machine/support.ts"

const AT = 1_700_000_000_000
const usage = { inputTokens: 1, cachedInputTokens: 2, outputTokens: 3, reasoningTokens: 1 }
const goal = {
  goalId: "g1",
  threadId: "t1",
  objective: "ship it",
  status: "paused",
  reason: "Paused: enough.",
  tokenBudget: 5,
  secondsBudget: null,
  costBudgetMicros: 7,
  tokensUsed: 1,
  childTokensUsed: 2,
  secondsUsed: 3,
  costUsedMicros: 4,
  continuations: 5,
  createdAt: AT,
  updatedAt: AT,
}
const memory = {
  goalsMade: 1,
  costMicros: 2,
  deferred: false,
  interrupted: true,
  limitTold: false,
  idleContinuations: 1,
  repeatedAnswers: 2,
  lastAnswer: "4-ab-cd",
  continuationsBefore: 0,
  transientErrors: 1,
  retryAt: AT,
  limitEndsAt: AT,
  blockedTurns: 2,
}
const turn = {
  turnId: "turn-1",
  mode: "plan",
  origin: "continuation",
  marked: true,
  ofGoal: true,
  claimed: false,
  charged: usage,
  reported: usage,
  chargedCostMicros: 1,
  reportedCostMicros: 2,
  childTokens: 3,
}
const state = { threadId: "t1", goal, memory, turn, clock: { seenAt: AT, markedAt: null } }
const event = { type: "goal", at: AT, threadId: "t1", turnId: "turn-1", cause: "noted", goal, memory }
const policy = {
  compat: "reference",
  onInterrupt: "keep",
  onResume: "reactivate",
  onTurnError: "keep",
  maxIdleContinuations: 0,
  maxContinuations: 1,
  maxRepeatedAnswers: 2,
  maxTransientErrors: 3,
  backoffBaseMs: 4,
  backoffMaxMs: 5,
  blockedAfter: 6,
  countChildren: false,
}
const message = { role: "user", content: "go on", origin: { type: "plugin", pluginId: "goal", transient: true } }
const budgets = { tokenBudget: null, secondsBudget: 1, costBudgetMicros: 2 }
const BUDGETS = ["/tokenBudget", "/secondsBudget", "/costBudgetMicros"]
const turnId = "turn-1"

const EXAMPLES: { readonly [name: string]: readonly { readonly value: object; readonly optional?: readonly string[] }[] } = {
  Goal: [{ value: goal, optional: ["/reason"] }],
  GoalMemory: [{ value: memory, optional: ["/lastAnswer", "/retryAt", "/limitEndsAt"] }],
  GoalTurn: [{ value: turn }],
  GoalState: [{ value: state }, { value: { ...state, goal: null, turn: null, clock: { seenAt: null, markedAt: null } } }],
  GoalEvent: [
    { value: event, optional: ["/turnId"] },
    { value: { ...event, goal: null, cause: "command" }, optional: ["/turnId"] },
  ],
  GoalPolicyData: [{ value: policy, optional: Object.keys(policy).map((key) => `/${key}`) }, { value: {} }],
  GoalCommand: [
    {
      value: { type: "set", objective: "o", status: "active", ...budgets },
      optional: ["/objective", "/status", ...BUDGETS],
    },
    { value: { type: "start", objective: "o", ...budgets }, optional: BUDGETS },
    { value: { type: "resume", ...budgets }, optional: BUDGETS },
    { value: { type: "pause" } },
    { value: { type: "clear" } },
  ],
  GoalInput: [
    { value: { type: "turn_started", at: AT, turnId, mode: "default", usage, origin: "user" } },
    { value: { type: "usage_reported", at: AT, turnId, usage, costMicros: 1 }, optional: ["/costMicros"] },
    { value: { type: "child_usage_reported", at: AT, usage } },
    { value: { type: "tool_finished", at: AT, turnId, callId: "c", toolName: "look" } },
    { value: { type: "goal_tool_called", at: AT, turnId, callId: "c", toolName: "update_goal", args: [null] } },
    { value: { type: "turn_finished", at: AT, turnId, toolCalls: 0, finalText: "" }, optional: ["/finalText"] },
    { value: { type: "turn_interrupted", at: AT, turnId }, optional: ["/turnId"] },
    { value: { type: "turn_failed", at: AT, turnId, error: { kind: "transient", message: "m", retryAt: AT } }, optional: ["/error/retryAt"] },
    { value: { type: "command", at: AT, turnId, command: { type: "pause" } }, optional: ["/turnId"] },
    { value: { type: "thread_resumed", at: AT, mode: "plan" } },
    { value: { type: "goal_copied", at: AT, goal, deferred: true } },
    { value: { type: "idle", at: AT, mode: "default", queuedInput: false, nextTurnId: "turn-2" } },
  ],
  GoalOutput: [
    { value: { type: "event", event } },
    { value: { type: "goal_updated", goal, turnId, cause: "usage" }, optional: ["/turnId"] },
    { value: { type: "goal_cleared", threadId: "t1" } },
    { value: { type: "steer", kind: "budget_limit", message } },
    { value: { type: "continue", message, notBefore: AT }, optional: ["/notBefore"] },
    { value: { type: "rest", reason: "r", notBefore: AT }, optional: ["/notBefore"] },
    { value: { type: "tool_result", callId: "c", output: { status: "success", value: null } } },
    { value: { type: "metric", name: "goal.duration_s", value: 1.5, tags: { status: "complete" } } },
    { value: { type: "refused", code: "not_active", message: "m" } },
  ],
}

const WORDS: { readonly [name: string]: readonly string[] } = {
  GoalStatus: ["active", "paused", "blocked", "usage_limited", "budget_limited", "complete"],
  GoalMode: ["default", "plan"],
  TurnOrigin: ["user", "continuation"],
  GoalToolName: ["create_goal", "update_goal", "get_goal"],
  GoalCause: [...["usage", "command", "create_goal", "update_goal", "interrupt", "error", "usage_limit", "brake", "thread_resumed", "goal_copied"]],
  GoalRefusal: ["no_goal", "objective_empty", "objective_too_long", "budget_invalid", "not_active"],
  GoalMetricName: [
    ...["goal.created", "goal.resumed", "goal.completed", "goal.budget_limited", "goal.usage_limited", "goal.blocked"],
    ...["goal.token_count", "goal.duration_s"],
  ],
}

function schemaOf(name: string): z.ZodType {
  return (schemas as unknown as { readonly [name: string]: z.ZodType })[name] as z.ZodType
}

describe.each(Object.entries(EXAMPLES))("%s", (name, examples) => {
  const schema = schemaOf(name)

  test.each(examples.map(({ value, optional = [] }) => ({ value, optional })))("$value", ({ value, optional }) => {
    expect(schema.parse(value)).toEqual(value)
    expect(schema.parse({ ...value, aKeyOfTheFuture: 1 })).toEqual(value)
    for (const key of Object.keys(value)) {
      const without = plain(value)
      remove(`/${key}`)(without)
      expect(schema.safeParse(without).success, `without ${key}`).toBe(optional.includes(`/${key}`))
    }
    for (const pointer of optional) {
      const undefinedThere = plain(value)
      set(pointer, undefined)(undefinedThere)
      expect(schema.safeParse(undefinedThere).success, `${pointer} undefined`).toBe(false)
    }
  })
})

test.each(Object.entries(WORDS))("%s accepts exactly these words", (name, words) => {
  for (const word of words) expect(schemaOf(name).parse(word)).toBe(word)
  for (const other of ["", "budgetLimited", "Active", null, 1]) expect(schemaOf(name).safeParse(other).success).toBe(false)
})

test("an unknown status is refused, with its place", () => {
  const result = schemas.GoalState.safeParse({ ...state, goal: { ...goal, status: "asleep" } })
  expect(result.error?.issues.map(({ path }) => path.join("/"))).toEqual(["goal/status"])
})
