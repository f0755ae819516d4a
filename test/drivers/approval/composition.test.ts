import { describe, expect, test } from "vitest"
import { approvalDriver } from "../../../src/drivers/approval/driver.ts"
import type { ApprovalPolicy } from "../../../src/drivers/approval/policy.ts"
import { chatDriver } from "../../../src/drivers/chat.ts"
import { codeDriver } from "../../../src/drivers/code.ts"
import { goalDriver } from "../../../src/drivers/goal/driver.ts"
import { readGoal } from "../../../src/drivers/goal/history.ts"
import type { GoalPolicy } from "../../../src/drivers/goal/policy.ts"
import { changeGoal } from "../../../src/drivers/goal/thread.ts"
import { wrapDriver } from "../../../src/drivers/wrap-driver.ts"
import type { TurnConfig } from "../../../src/machine/config.ts"
import type { ProtocolDriver } from "../../../src/machine/driver.ts"
import { TurnMachine } from "../../../src/validated-turn-machine.ts"
import { configOf, delivers, moved, pollAll, respond, results, says } from "../../machine/support.ts"
import {
  approves,
  asks,
  batch,
  begun,
  broken,
  call,
  callIds,
  decides,
  decision,
  failures,
  heldIds,
  LOOK,
  PAY,
  ran,
  released,
  resultTexts,
} from "./support.ts"

const GOAL = { threadId: "t1", turnId: "turn-1", startedAt: 500 }

/** A goal driver and an approval driver around the chat driver, in both orders. */
const ORDERS: readonly (readonly [name: string, make: (policy: ApprovalPolicy, goalPolicy?: GoalPolicy) => ProtocolDriver])[] = [
  ["approval around goal", (policy, goalPolicy = {}) => approvalDriver(goalDriver(chatDriver(), { ...GOAL, policy: goalPolicy }), { policy })],
  ["goal around approval", (policy, goalPolicy = {}) => goalDriver(approvalDriver(chatDriver(), { policy }), { ...GOAL, policy: goalPolicy })],
]

function configAround(driver: ProtocolDriver): TurnConfig {
  return configOf({ driver, tools: [PAY, LOOK] })
}

describe.each(ORDERS)("%s", (_name, make) => {
  test("the goal driver answers its tools, and the policy is not asked about them", () => {
    for (const answer of [{ hold: {} }, { deny: "No." }, "run"] as const) {
      const asked: string[] = []
      const driver = make(({ toolName }) => {
        asked.push(toolName)
        return answer
      })
      const machine = begun(configAround(driver))
      respond(machine, asks(1, call("g", "create_goal", { objective: "ship" }), broken("u", "update_goal"), call("p"), call("s", "get_goal")))
      expect(asked).toEqual(["pay"])
      expect(readGoal(machine.history, "t1").state.goal?.objective).toBe("ship")
      if (answer === "run") expect(callIds(machine)).toEqual(["p"])
      else if ("hold" in answer) expect(heldIds(machine)).toEqual(["p"])
      if (answer !== "run" && "hold" in answer) approves(machine, "p")
      if (machine.outstanding?.type === "tool_calls") respond(machine, results(2, ran("p")))
      expect(resultTexts(machine)["s"]).toContain('"objective":"ship"')
      expect(machine.outstanding?.type).toBe("checkpoint")
    }
  })

  test("with a judge, a tool that is not offered is unknown, and is not held", () => {
    const asked: string[] = []
    const driver = make(
      ({ toolName }) => {
        asked.push(toolName)
        return { hold: {} }
      },
      { endedBy: "judge" },
    )
    const machine = begun(configAround(driver))
    expect(failures(respond(machine, asks(1, call("u", "update_goal", { status: "complete" }), call("p"))))).toEqual({ u: "unknown_tool" })
    expect(asked).toEqual(["pay"])
    expect(heldIds(machine)).toEqual(["p"])
  })

  test("a host's own tool with the name of a goal tool is asked about where a judge leaves it to the host", () => {
    const own = { name: "update_goal", description: "Ours.", inputSchema: { type: "object" } }
    const config = { ...configAround(make(() => ({ hold: {} }), { endedBy: "judge" })), tools: [own] }
    const machine = begun(config)
    respond(machine, asks(1, call("u", "update_goal")))
    expect(heldIds(machine)).toEqual(["u"])
    approves(machine, "u")
    respond(machine, results(2, ran("u", "update_goal")))
    expect(resultTexts(machine)["u"]).toBe("ran u")
  })

  test("decisions, grants and results reach the end of the turn, across processes", () => {
    const config = configAround(make(({ toolName }) => (toolName === "pay" ? { hold: {} } : "run")))
    const { records } = changeGoal({ threadId: "t1", history: [] }, { type: "command", at: 400, command: { type: "set", objective: "ship" } })
    let machine = begun(config, { events: records })
    respond(machine, asks(1, call("a"), call("b"), call("c", "look"), call("g", "get_goal")))
    const move = (): void => {
      machine = moved(machine, config)
      pollAll(machine)
    }
    move()
    expect(callIds(machine)).toEqual(["c"])
    respond(machine, results(2, ran("c", "look")))
    move()
    expect(released(approves(machine, "b", { scope: "turn" } as never)).map(({ callId }) => callId)).toEqual(["b", "a"])
    move()
    expect(callIds(machine)).toEqual(["a", "b"])
    respond(machine, results(2, ran("b")))
    respond(machine, results(2, ran("a")))
    respond(machine, delivers(3))
    respond(machine, says(4, "done"))
    respond(machine, delivers(5))
    expect(machine.outcome).toMatchObject({ type: "finished" })
    expect(Object.keys(resultTexts(machine))).toEqual(["a", "b", "c", "g"])
  })
})

describe("a driver that holds no calls", () => {
  test.each([
    ["a chat driver", chatDriver()],
    ["a goal driver", goalDriver(chatDriver(), GOAL)],
    ["a wrapper with state of its own", wrapDriver(chatDriver(), { ownState: () => 1, onToolDecisions: (next, ...given) => next(...given) })],
  ])("%s: the machine may not hold calls", (_name, driver) => {
    expect(new TurnMachine(configAround(driver), { messages: [] }).mayHold).toBe(false)
  })

  test("a goal driver around one that does may", () => {
    const driver = goalDriver(approvalDriver(chatDriver(), { policy: () => "run" }), GOAL)
    expect(new TurnMachine(configAround(driver), { messages: [] }).mayHold).toBe(true)
  })
})

test("a wrapper with state of its own around an approval driver passes decisions on", () => {
  const driver = wrapDriver(approvalDriver(chatDriver(), { policy: () => ({ hold: {} }) }), { ownState: () => 1 })
  const machine = begun(configAround(driver))
  respond(machine, asks(1, call("a")))
  expect(released(approves(machine, "a"))).toHaveLength(1)
})

test("the code driver's code runs without a question", () => {
  const machine = begun(configAround(approvalDriver(codeDriver(), { policy: () => ({ deny: "No." }) })))
  respond(machine, says(1, "```ts\npay()\n```"))
  expect(machine.outstanding).toMatchObject({ type: "exec_code" })
})

test("a tool that a wrapper answers is left to it, in any order", () => {
  const clock = { name: "clock", description: "The time.", inputSchema: { type: "object" } }
  const withClock = (inner: ProtocolDriver): ProtocolDriver =>
    wrapDriver(inner, {
      prepareIteration: (next, context) => next(context.withTools([clock])),
      onLlmComplete: (next, context, ...given) =>
        next(context.withTools([clock]), ...given).map((action) => {
          if (action.type !== "start_tools") return action
          const own = action.calls.filter(({ toolName }) => toolName === "clock")
          const settled = own.map((each) => ({ ...each, output: { status: "success", value: "noon" } as const, durationMs: 0 }))
          return { ...action, settled: (action.settled ?? []).concat(settled) }
        }),
    })
  const policy: ApprovalPolicy = ({ toolName }) => (toolName === "clock" ? { deny: "Not asked." } : { hold: {} })
  for (const driver of [withClock(approvalDriver(chatDriver(), { policy })), approvalDriver(withClock(chatDriver()), { policy })]) {
    const machine = begun(configAround(driver))
    respond(machine, asks(1, call("t", "clock"), call("a")))
    expect(batch(machine).held?.map(({ callId }) => callId)).toEqual(["a"])
    decides(machine, [decision(machine, "a", { decision: "reject" })])
    expect(resultTexts(machine)["t"]).toBe("noon")
  }
})
