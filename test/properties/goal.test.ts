import * as fc from "fast-check"
import { describe, expect, test } from "vitest"
import { applyGoal } from "../../src/drivers/goal/apply-goal.ts"
import { foldGoal, newGoalState } from "../../src/drivers/goal/goal.ts"
import type { GoalPolicy } from "../../src/drivers/goal/policy.ts"
import { type Goal, type GoalEvent, GoalInput, GoalOutput, GoalState } from "../../src/schemas/goal.ts"
import type { TokenUsage } from "../../src/schemas/llm.ts"
import { check, SLOW } from "./check.ts"

const small = fc.integer({ min: 0, max: 40 })
const status = fc.constantFrom("active", "paused", "blocked", "usage_limited", "budget_limited", "complete")
const budgets = fc.record(
  {
    tokenBudget: fc.option(fc.integer({ min: 1, max: 200 })),
    secondsBudget: fc.option(fc.integer({ min: 1, max: 20 })),
    costBudgetMicros: fc.option(fc.integer({ min: 1, max: 200 })),
  },
  { requiredKeys: [] },
)
const objective = fc.constantFrom("one", "two", " ")

/** The moves that can happen next, in any state. Turns are numbered backwards: 0 is the latest one. */
const move = fc.oneof(
  { weight: 4, arbitrary: fc.record({ type: fc.constant("start" as const), plan: fc.constantFrom(false, false, true), continues: fc.boolean() }) },
  {
    weight: 6,
    arbitrary: fc.record({ type: fc.constant("use" as const), back: fc.constantFrom(0, 0, 0, 1), input: small, output: small, cost: small }),
  },
  { weight: 2, arbitrary: fc.record({ type: fc.constant("child" as const), input: small, output: small }) },
  { weight: 5, arbitrary: fc.record({ type: fc.constant("tool" as const), back: fc.constantFrom(0, 0, 0, 1) }) },
  {
    weight: 4,
    arbitrary: fc.record({
      type: fc.constant("goal_tool" as const),
      back: fc.constantFrom(0, 0, 0, 1),
      call: fc.constantFrom(
        { toolName: "get_goal" as const, args: {} },
        { toolName: "create_goal" as const, args: { objective: "made", token_budget: 60 } },
        { toolName: "update_goal" as const, args: { status: "complete" } },
        { toolName: "update_goal" as const, args: { status: "blocked" } },
        { toolName: "update_goal" as const, args: null },
      ),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      type: fc.constant("end" as const),
      back: fc.constantFrom(0, 0, 0, 1),
      how: fc.constantFrom("finished", "finished", "interrupted", "usage_limit", "transient", "other"),
      toolCalls: fc.constantFrom(0, 1),
      finalText: fc.constantFrom("same", "other", ""),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      type: fc.constant("command" as const),
      command: fc.oneof(
        fc
          .tuple(fc.record({ objective, status }, { requiredKeys: [] }), budgets)
          .map(([given, more]) => ({ type: "set" as const, ...given, ...more })),
        fc.tuple(objective, budgets).map(([given, more]) => ({ type: "start" as const, objective: given, ...more })),
        budgets.map((more) => ({ type: "resume" as const, ...more })),
        fc.constant({ type: "pause" as const }),
        fc.constantFrom(
          { type: "complete" as const },
          { type: "complete" as const, ifGoalId: "g1" },
          { type: "wait" as const, event: "built" },
          { type: "wait" as const, until: 1_010_000 },
          { type: "resume" as const, addTokens: 30 },
          { type: "set" as const, checks: [{ name: "test", command: "npm test" }] },
          { type: "set" as const, contract: { outcome: "it runs" } },
        ),
        fc.constant({ type: "clear" as const }),
      ),
    }),
  },
  { weight: 3, arbitrary: fc.record({ type: fc.constant("checks" as const), stale: fc.constantFrom(false, false, true), ok: fc.boolean() }) },
  {
    weight: 1,
    arbitrary: fc.constantFrom(
      { type: "progress" as const },
      { type: "event" as const },
      { type: "speak" as const, current: true },
      { type: "speak" as const, current: false },
    ),
  },
  { weight: 1, arbitrary: fc.record({ type: fc.constant("load" as const), plan: fc.boolean() }) },
  { weight: 3, arbitrary: fc.record({ type: fc.constant("idle" as const), plan: fc.boolean(), queued: fc.boolean() }) },
)
type Move = typeof move extends fc.Arbitrary<infer M> ? M : never

const policy: fc.Arbitrary<GoalPolicy> = fc.record(
  {
    compat: fc.constant("reference" as const),
    onInterrupt: fc.constantFrom("pause" as const, "keep" as const),
    onResume: fc.constantFrom("reactivate" as const, "keep" as const),
    maxIdleContinuations: fc.integer({ min: 0, max: 2 }),
    maxContinuations: fc.integer({ min: 0, max: 3 }),
    maxTransientErrors: fc.integer({ min: 0, max: 2 }),
    blockedAfter: fc.integer({ min: 0, max: 2 }),
    countChildren: fc.boolean(),
    endedBy: fc.constantFrom("model" as const, "judge" as const),
    maxAlikeCheckFailures: fc.integer({ min: 0, max: 2 }),
  },
  { requiredKeys: [] },
)

/** Turns moves into inputs. It tracks the turns, the usage of the thread, and the time. */
class Host {
  at = 1_000_000
  turns = 0
  running = false
  input = 0
  output = 0
  cost = 0

  next(made: Move, elapsedMs: number, due: string): GoalInput {
    this.at += elapsedMs
    const { at } = this
    const usage = (): TokenUsage => {
      return { inputTokens: this.input, cachedInputTokens: this.at % 7, outputTokens: this.output, reasoningTokens: 0 }
    }
    const turnId = "back" in made ? `turn-${this.turns - made.back}` : ""
    const current = "back" in made && made.back === 0
    switch (made.type) {
      case "start":
        this.turns += 1
        this.running = true
        return {
          type: "turn_started",
          at,
          turnId: `turn-${this.turns}`,
          mode: made.plan ? "plan" : "default",
          usage: usage(),
          origin: made.continues ? "continuation" : "user",
        }
      case "use":
        this.input += made.input
        this.output += made.output
        this.cost += made.cost
        return { type: "usage_reported", at, turnId, usage: usage(), costMicros: this.cost }
      case "child":
        return {
          type: "child_usage_reported",
          at,
          usage: { inputTokens: made.input, cachedInputTokens: 9, outputTokens: made.output, reasoningTokens: 1 },
        }
      case "tool":
        return { type: "tool_finished", at, turnId, callId: "c", toolName: "shell" }
      case "goal_tool":
        return { type: "goal_tool_called", at, turnId, callId: "c", ...made.call }
      case "end":
        if (current) this.running = false
        if (made.how === "finished") return { type: "turn_finished", at, turnId, toolCalls: made.toolCalls, finalText: made.finalText }
        if (made.how === "interrupted") return { type: "turn_interrupted", at, turnId }
        return { type: "turn_failed", at, turnId, error: { kind: made.how as "usage_limit" | "transient" | "other", message: "it failed" } }
      case "command":
        return { type: "command", at, command: made.command }
      case "checks":
        return { type: "checks_reported", at, turnId: made.stale ? "another" : due, results: [{ name: "test", ok: made.ok, tail: `${at} ms` }] }
      case "progress":
        return { type: "progress_noted", at }
      case "speak":
        return { type: "user_spoke", at, turnId: made.current ? turnId : "another" }
      case "event":
        return { type: "event_happened", at, event: "built" }
      case "load":
        this.running = false
        return { type: "thread_resumed", at, mode: made.plan ? "plan" : "default" }
      case "idle":
        return { type: "idle", at, mode: made.plan ? "plan" : "default", queuedInput: made.queued, nextTurnId: "next" }
    }
  }
}

function counted(goal: Goal, { compat, countChildren = compat === undefined }: GoalPolicy): number {
  return goal.tokensUsed + (countChildren ? goal.childTokensUsed : 0)
}

function reached(goal: Goal, given: GoalPolicy): boolean {
  const { tokenBudget, secondsBudget, costBudgetMicros } = goal
  if (tokenBudget !== null && counted(goal, given) >= tokenBudget) return true
  if (secondsBudget !== null && goal.secondsUsed >= secondsBudget) return true
  return costBudgetMicros !== null && goal.costUsedMicros >= costBudgetMicros
}

describe("any sequence of inputs", () => {
  const moves = fc.array(fc.tuple(move, fc.integer({ min: 0, max: 2500 })), { maxLength: 60 })

  test("keeps figures, statuses, continuations and the fold consistent at every step", SLOW, () => {
    check(
      400,
      fc.property(policy, moves, (given, made) => {
        const host = new Host()
        let state = newGoalState("t")
        const events: GoalEvent[] = []
        // The usage of the running turn since its start or its last charge. At most this can be charged, once.
        let chargeable = { tokens: 0, cost: 0 }
        let reported = 0
        let charged = 0
        let children = 0
        let before = { tokens: 0, cost: 0 }
        for (const [next, elapsedMs] of made) {
          const input = host.next(next, elapsedMs, state.memory.checks?.due ?? "none")
          if (input.type === "turn_started") {
            const { tokens, cost } = chargeable
            chargeable = { tokens: 0, cost: 0 }
            reported = host.input + host.output
            charged = reported
            // The turn that ends here can still be charged in this step.
            before = { tokens, cost }
          } else before = { tokens: 0, cost: 0 }
          if (next.type === "use" && next.back === 0 && state.turn !== null) {
            // Figures are cumulative for the thread: they include usage reported for other turns.
            reported = host.input + host.output
            chargeable = { tokens: reported - charged, cost: host.cost - state.turn.chargedCostMicros }
          }
          if (next.type === "child") children += next.input + next.output
          const old = state
          let standing = old.goal?.status
          const step = applyGoal(state, GoalInput.parse(input), given)
          state = step.state

          for (const output of step.outputs) {
            expect(GoalOutput.parse(output)).toEqual(output)
            if (output.type === "event") events.push(output.event)
            // Only a client can set budget_limited below the budget. Checked at each write, because the next may change the budget.
            if (output.type === "goal_updated") {
              const commanded = input.type === "command" && input.command.type === "set" && input.command.status === "budget_limited"
              if (standing === "active" && output.goal.status === "budget_limited" && !commanded) expect(reached(output.goal, given)).toBe(true)
              standing = output.goal.status
            }
            if (output.type === "continue") {
              expect(input).toMatchObject({ mode: "default", queuedInput: false })
              expect(state).toMatchObject({ turn: null, goal: { status: "active" } })
            }
          }
          expect(GoalState.parse(JSON.parse(JSON.stringify(state)))).toEqual(state)

          // The fold equals the live state except for the open turn. After loading a thread, both have the same visible state.
          const folded = foldGoal("t", events)
          expect({ goal: folded.goal, memory: folded.memory }).toEqual({ goal: state.goal, memory: state.memory })
          const load: GoalInput = { type: "thread_resumed", at: host.at, mode: "default" }
          expect(applyGoal(folded, load, given).state.goal).toEqual(applyGoal(state, load, given).state.goal)

          const { goal } = state
          if (goal?.status === "active") expect(reached(goal, given)).toBe(false)
          if (goal?.status === "complete" && old.goal?.goalId === goal.goalId && old.goal.status !== "complete") {
            // With checks, only a report that all passed after the last turn completes a goal, or a person who sets the status.
            const isSet = input.type === "command" && input.command.type === "set" && input.command.status === "complete"
            const hasPassed = input.type === "checks_reported" && old.turn === null && old.memory.checks?.due === input.turnId
            const passedBefore = input.type === "command" && old.turn === null && old.memory.checks?.passed !== undefined
            if (goal.checks !== undefined) expect(isSet || passedBefore || (hasPassed && input.results.every(({ ok }) => ok))).toBe(true)
            if (given.endedBy === "judge") expect(input.type).not.toBe("goal_tool_called")
          }
          if (goal === null || old.goal === null || goal.goalId !== old.goal.goalId) continue
          const tokens = goal.tokensUsed - old.goal.tokensUsed
          const cost = goal.costUsedMicros - old.goal.costUsedMicros
          const child = goal.childTokensUsed - old.goal.childTokensUsed
          expect(Math.min(tokens, cost, child, goal.secondsUsed - old.goal.secondsUsed)).toBeGreaterThanOrEqual(0)
          expect(tokens).toBeLessThanOrEqual(Math.max(chargeable.tokens, before.tokens))
          expect(cost).toBeLessThanOrEqual(Math.max(chargeable.cost, before.cost))
          expect(child).toBeLessThanOrEqual(children)
          if (tokens > 0 || cost > 0) {
            chargeable = { tokens: 0, cost: 0 }
            charged = reported
          }
          children -= child
        }
      }),
    )
  })

  test("a goal without commands is charged every unit of every turn, and all of the time", SLOW, () => {
    const turns = fc.array(fc.array(fc.tuple(small, small, fc.boolean(), fc.integer({ min: 0, max: 1500 })), { maxLength: 6 }), { maxLength: 8 })
    check(
      200,
      fc.property(turns, (made) => {
        const calm: GoalPolicy = { compat: "reference" }
        const begin = applyGoal(newGoalState("t"), { type: "command", at: 0, command: { type: "set", objective: "all of it" } }, calm)
        let state = begin.state
        let at = 0
        let tokens = 0
        const give = (input: GoalInput): void => {
          state = applyGoal(state, input, calm).state
        }
        const usage = (): TokenUsage => ({ inputTokens: tokens, cachedInputTokens: 0, outputTokens: 0, reasoningTokens: 0 })
        made.forEach((uses, index) => {
          const turnId = `turn-${index}`
          give({ type: "turn_started", at, turnId, mode: "default", usage: usage(), origin: "user" })
          for (const [more, evenMore, tool, elapsedMs] of uses) {
            tokens += more + evenMore
            at += elapsedMs
            give({ type: "usage_reported", at, turnId, usage: usage() })
            if (tool) give({ type: "tool_finished", at, turnId, callId: "c", toolName: "shell" })
          }
          give({ type: "turn_finished", at, turnId, toolCalls: 1 })
        })
        expect(state.goal).toMatchObject({ tokensUsed: tokens })
        if (made.length > 0) expect(state.goal?.secondsUsed).toBe(Math.floor(at / 1000))
      }),
    )
  })

  test("under the default policy every model stops eventually", SLOW, () => {
    const behaviour = fc.constantFrom("idle", "busy", "repeats", "transient", "other", "usage_limit", "claims", "renews")
    check(
      150,
      fc.property(fc.array(behaviour, { minLength: 1, maxLength: 12 }), (behaviours) => {
        let state = newGoalState("t")
        let at = 0
        const give = (input: GoalInput): readonly GoalOutput[] => {
          const step = applyGoal(state, input, {})
          state = step.state
          return step.outputs
        }
        give({ type: "command", at, command: { type: "set", objective: "for ever" } })
        let turns = 0
        for (; turns < 100; turns += 1) {
          const answer = give({ type: "idle", at, mode: "default", queuedInput: false, nextTurnId: "next" }).at(-1)
          if (answer?.type !== "continue") break
          at = Math.max(at, answer.notBefore ?? 0) + 1000
          const turnId = `turn-${turns}`
          const does = behaviours[turns % behaviours.length] as string
          const usage = { inputTokens: 0, cachedInputTokens: 0, outputTokens: 0, reasoningTokens: 0 }
          give({ type: "turn_started", at, turnId, mode: "default", usage, origin: "continuation" })
          if (does === "renews") {
            const call = { type: "goal_tool_called", at, turnId, callId: "c" } as const
            give({ ...call, toolName: "update_goal", args: { status: "complete" } })
            give({ ...call, toolName: "create_goal", args: { objective: `goal ${turns}` } })
          }
          if (does === "claims") give({ type: "goal_tool_called", at, turnId, callId: "c", toolName: "update_goal", args: { status: "blocked" } })
          if (does === "transient" || does === "other" || does === "usage_limit") {
            give({ type: "turn_failed", at, turnId, error: { kind: does, message: "it failed" } })
          } else {
            const finalText = does === "repeats" ? "as before" : `answer ${turns}`
            give({ type: "turn_finished", at, turnId, toolCalls: does === "idle" ? 0 : 1, finalText })
          }
        }
        expect(turns).toBeLessThanOrEqual(50)
        expect(state.goal?.status).not.toBe("active")
        expect(state.goal?.status === "blocked" && behaviours.includes("claims") ? "claimed" : state.goal?.reason).toBeTruthy()
      }),
    )
  })
})
