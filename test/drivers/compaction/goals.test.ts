import { describe, expect, test } from "vitest"
import { chatDriver } from "../../../src/drivers/chat.ts"
import { compactingDriver } from "../../../src/drivers/compaction/driver.ts"
import { applyGoal } from "../../../src/drivers/goal/apply-goal.ts"
import { type GoalDriverOptions, goalDriver } from "../../../src/drivers/goal/driver.ts"
import { newGoalState } from "../../../src/drivers/goal/goal.ts"
import { readGoal } from "../../../src/drivers/goal/history.ts"
import { restateGoal } from "../../../src/drivers/goal/restate.ts"
import type { ProtocolDriver } from "../../../src/machine/driver.ts"
import { tokensOf } from "../../../src/machine/limits.ts"
import type { GoalCommand } from "../../../src/schemas/goal.ts"
import type { HistoryRecord } from "../../../src/schemas/message.ts"
import { TurnMachine } from "../../../src/validated-turn-machine.ts"
import { callsTools, completed, delivers, pollAll, respond, results, says, userMessage } from "../../machine/support.ts"
import { callIn, compactingConfig, estimateTokens, isCompactionRequest, long, recordsOf, textOfMessage } from "./support.ts"

const GOAL: GoalDriverOptions = { threadId: "t1", turnId: "turn-1", startedAt: 0 }

function goalSet(command: Omit<Extract<GoalCommand, { type: "set" }>, "type">): readonly HistoryRecord[] {
  const { outputs } = applyGoal(newGoalState("t1"), { type: "command", at: 0, command: { type: "set", ...command } }, {})
  return outputs.flatMap((output) => (output.type === "event" ? [{ type: "protocol", event: output.event } as const] : []))
}

const ORDERS: readonly (readonly [string, (options?: Partial<GoalDriverOptions>) => ProtocolDriver])[] = [
  ["goal outside", (options) => goalDriver(compactingDriver(chatDriver(), { keepTailTokens: 0 }), { ...GOAL, ...options })],
  ["goal inside", (options) => compactingDriver(goalDriver(chatDriver(), { ...GOAL, ...options }), { keepTailTokens: 0 })],
]

function atCompaction(driver: ProtocolDriver, events: readonly HistoryRecord[]): TurnMachine {
  const machine = new TurnMachine(compactingConfig({}, { driver, maxContextTokens: 3_000 }), { messages: [userMessage("Do it.")], events })
  pollAll(machine)
  respond(machine, callsTools(1, ["a"]))
  respond(machine, results(2, completed("a", long(2_500))))
  return machine
}

describe.each(ORDERS)("%s", (_order, driver) => {
  test("the request after a compaction states the objective and the contract", () => {
    const machine = atCompaction(driver(), goalSet({ objective: "Build a <kite>.", contract: { outcome: "It flies." } }))
    respond(machine, delivers(3))
    respond(machine, says(4, "Summary."))
    const { request } = callIn(respond(machine, delivers(5)))
    const last = textOfMessage(request.messages.at(-1) as never)
    expect(last).toContain("<objective>\nBuild a &lt;kite&gt;.\n</objective>")
    expect(last).toContain("It flies.")
    expect(request.tools.map(({ name }) => name)).toContain("update_goal")
  })

  test("the goal is charged for a compaction once, also if the provider reports no usage", () => {
    for (const usage of [undefined, { inputTokens: 0, cachedInputTokens: 0, outputTokens: 0, reasoningTokens: 0 }]) {
      const machine = atCompaction(driver(), goalSet({ objective: "Build a kite." }))
      const { request } = callIn(respond(machine, delivers(3)))
      expect(isCompactionRequest(request)).toBe(true)
      respond(machine, says(4, "Summary.", usage && { usage }))
      respond(machine, delivers(5))
      respond(machine, callsTools(6, ["b"]))
      respond(machine, results(7, completed("b")))
      const { goal } = readGoal(machine.turn.record.events, "t1").state
      if (usage === undefined) expect(goal?.tokensUsed).toBe(tokensOf(machine.usage))
      else {
        // An estimate of the compaction, and what the two other calls reported.
        const reported = tokensOf(machine.usage)
        expect(goal?.tokensUsed).toBeGreaterThan(reported + estimateTokens(request))
        expect(goal?.tokensUsed).toBeLessThan(reported + estimateTokens(request) + 20)
        expect(goal?.usageEstimated).toBe(true)
      }
    }
  })

  test("a hard budget lets no compaction start that could cross it", () => {
    const policy = { hardBudget: true }
    const poor = atCompaction(driver({ policy }), goalSet({ objective: "Build a kite.", tokenBudget: 2_000 }))
    expect(respond(poor, delivers(3)).at(-1)).toMatchObject({ type: "done", outcome: { stop: { type: "max_tokens" } } })
    expect(recordsOf(poor.history)).toEqual([])
    const rich = atCompaction(driver({ policy }), goalSet({ objective: "Build a kite.", tokenBudget: 20_000 }))
    const { request } = callIn(respond(rich, delivers(3)))
    expect(isCompactionRequest(request)).toBe(true)
    const left = 20_000 - tokensOf(rich.usage)
    // The request, twice its estimate, and the answer fit into what is left.
    const estimated = JSON.stringify(request.messages).length / 4
    expect((request.generation.maxOutputTokens ?? Number.POSITIVE_INFINITY) + 2 * estimated).toBeLessThan(left + 2 * estimated * 0.1)
  })

  test("a compaction that a user's command interrupts leaves the goal as it was", () => {
    const machine = atCompaction(driver(), goalSet({ objective: "Build a kite." }))
    respond(machine, delivers(3))
    machine.cancel("Stop.")
    pollAll(machine)
    expect(readGoal(machine.turn.record.events, "t1").state.goal).toMatchObject({ status: "active", objective: "Build a kite." })
  })
})

describe("restateGoal", () => {
  const shown = (text: string, id: string): HistoryRecord => ({
    type: "conversation",
    message: { ...userMessage(text, id), origin: { type: "plugin", pluginId: "goal" } },
  })

  test("repeats the newest checklist of the goal", () => {
    const records = goalSet({ objective: "Build a kite." })
    const history = [
      ...records,
      shown("<goal_checklist>\n[ ] old\n</goal_checklist>", "a"),
      shown("<goal_checklist>\n[x] new\n</goal_checklist>", "b"),
    ]
    expect(restateGoal(history)).toContain("[x] new")
    expect(restateGoal(history)).not.toContain("[ ] old")
  })

  test("repeats what a judge wrote within a turn, escaped", () => {
    const history = [
      ...goalSet({ objective: "Build a kite." }),
      shown("[Still working on a standing goal]\nGoal: x\n\nCriteria (0 of 1 settled):\n  [ ] <b>", "a"),
    ]
    expect(restateGoal(history)).toContain("Criteria (0 of 1 settled):\n  [ ] &lt;b&gt;")
  })

  test("takes no checklist of an earlier goal, or of a user", () => {
    const [record] = goalSet({ objective: "Build a kite." })
    const other = goalSet({ objective: "Sail a boat." }).map((event): HistoryRecord => {
      const text = JSON.stringify(event)
      const { goalId } = (JSON.parse(text) as { readonly event: { readonly goal: { readonly goalId: string } } }).event.goal
      return JSON.parse(text.replaceAll(goalId, "another-goal")) as HistoryRecord
    })
    const users: HistoryRecord = { type: "conversation", message: userMessage("<goal_checklist>\n[x] all\n</goal_checklist>", "u9") }
    const history = [record as HistoryRecord, shown("<goal_checklist>\n[ ] kite\n</goal_checklist>", "a"), ...other, users]
    expect(restateGoal(history)).toContain("Sail a boat.")
    expect(restateGoal(history)).not.toContain("<goal_checklist>")
  })

  test("says nothing without a goal", () => {
    const said: HistoryRecord = { type: "conversation", message: userMessage("hello") }
    expect(restateGoal([said])).toBeUndefined()
  })
})
