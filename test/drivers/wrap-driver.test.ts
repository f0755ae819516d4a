import { describe, expect, test } from "vitest"
import { chatDriver } from "../../src/drivers/chat.ts"
import { goalDriver } from "../../src/drivers/goal/driver.ts"
import { type DriverPatch, wrapDriver } from "../../src/drivers/wrap-driver.ts"
import type { DriverContext, ProtocolDriver } from "../../src/machine/driver.ts"
import { NO_USAGE } from "../../src/machine/limits.ts"
import type { DriverAction } from "../../src/schemas/action.ts"
import type { Json } from "../../src/schemas/json.ts"
import { TurnMachine } from "../../src/validated-turn-machine.ts"
import { configOf, driverOf, pollAll, REQUEST, userMessage } from "../machine/support.ts"

const GOAL = { threadId: "t1", turnId: "t1.1", startedAt: 0 }

/** A driver with inherited members that use its private fields, and with a member that no interface here declares. */
class LaterDriver implements ProtocolDriver {
  readonly name = "later"
  readonly version = 3
  readonly #actions: readonly DriverAction[] = [{ type: "start_llm", request: REQUEST }]
  prepareIteration(): readonly DriverAction[] {
    return this.#actions
  }
  onLlmComplete(): readonly DriverAction[] {
    return this.#actions
  }
  onToolResults(): readonly DriverAction[] {
    return this.#actions
  }
  laterMember(): number {
    return this.#actions.length
  }
}

describe("wrapDriver", () => {
  test.each([
    ["wrapDriver", (inner: ProtocolDriver) => wrapDriver(inner, { name: "wrapped(later)" }), "wrapped(later)"],
    ["wrapDriver with a state of its own", (inner: ProtocolDriver) => wrapDriver(inner, { ownState: () => 1 }), "wrapped(later)"],
    ["goalDriver", (inner: ProtocolDriver) => goalDriver(inner, GOAL), "goal(later)"],
  ])("%s: a member of a later version passes through, with the driver as its `this`", (_what, wrap, name) => {
    const wrapped = wrap(new LaterDriver())
    expect((wrapped as ProtocolDriver & { laterMember(): number }).laterMember()).toBe(1)
    expect([wrapped.name, wrapped.version]).toEqual([name, 3])
    expect(wrapped.onExecResult).toBeUndefined()
  })

  test("a wrapper changes the inner driver's actions, and adds callbacks that it lacks", () => {
    const finish: DriverAction = { type: "finish", outcome: { type: "finished", finish: { type: "assistant_message", text: "mended" } } }
    const driver = wrapDriver(driverOf(), {
      onLlmFailed: (next, ...given) => {
        expect(next(...given)).toBeUndefined()
        return [finish]
      },
    })
    const machine = new TurnMachine(configOf({ driver }), { messages: [userMessage("hello")] })
    pollAll(machine)
    machine.handle({
      type: "llm_complete",
      id: 1,
      result: { ok: false, error: { message: "no", retryable: false, terminalReason: "provider_error" } },
    })
    expect(machine.outcome).toEqual(finish.type === "finish" ? finish.outcome : undefined)
  })

  test("withTools: the inner driver sees the tools, requests list them last, and ids share one counter", () => {
    const spec = (name: string) => ({ name, description: "", inputSchema: { type: "object" } })
    const seen: { readonly tools: readonly string[]; readonly shown: readonly string[]; readonly ids: readonly string[] }[] = []
    const inner = driverOf({
      prepareIteration(context) {
        const request = context.projectRequest({ tools: true, ownTools: [spec("inner")] })
        const names = (tools: readonly { readonly name: string }[]): readonly string[] => tools.map(({ name }) => name)
        seen.push({ tools: names(context.tools), shown: names(request.tools), ids: [context.newMessageId("a")] })
        return [{ type: "start_llm", request }]
      },
    })
    const ids: string[] = []
    const driver = wrapDriver(inner, {
      prepareIteration(next, context: DriverContext) {
        ids.push(context.newMessageId("own"))
        const actions = next(context.withTools([spec("outer"), spec("host")]).withTools([spec("last")]))
        ids.push(context.newMessageId("own"))
        return actions
      },
    })
    pollAll(new TurnMachine(configOf({ driver, tools: [spec("host")] }), { messages: [userMessage("hello")] }))
    expect(seen).toEqual([{ tools: ["host", "outer", "last"], shown: ["host", "inner", "last", "outer"], ids: ["m_0_a_2"] }])
    expect(ids).toEqual(["m_0_own_1", "m_0_own_3"])
  })
})

test.each([
  ["wrapDriver", (inner: ProtocolDriver) => wrapDriver(inner, {})],
  ["goalDriver", (inner: ProtocolDriver) => goalDriver(inner, GOAL)],
])("%s refuses a factory that was not called, and a missing driver", (_what, wrap) => {
  expect(() => wrap(chatDriver as never)).toThrow(expect.objectContaining({ code: "invalid_config", message: expect.stringContaining("chatDriver") }))
  expect(() => wrap(undefined as never)).toThrow(expect.objectContaining({ code: "invalid_config" }))
})

test("a tool is shown once, even if several drivers add it", () => {
  const spec = (name: string, description = "") => ({ name, description, inputSchema: { type: "object" } })
  const shown: unknown[] = []
  const inner = driverOf({
    prepareIteration(context) {
      const request = context.projectRequest({ tools: true, ownTools: [spec("c", "inner"), spec("own")] })
      shown.push(
        request.tools.map(({ name, description }) => name + description),
        Object.keys(context).includes("messages"),
      )
      return [{ type: "start_llm", request }]
    },
  })
  const driver = wrapDriver(inner, {
    prepareIteration: (next, context) => next(context.withTools([spec("a"), spec("a"), spec("b")]).withTools([spec("b"), spec("c")])),
  })
  pollAll(new TurnMachine(configOf({ driver, tools: [spec("host")] }), { messages: [userMessage("hello")] }))
  expect(shown).toEqual([["host", "cinner", "own", "a", "b"], true])
})

describe("the wrapper's driver state", () => {
  const states: { who: string; state: Json | undefined }[] = []
  const note = (who: string, state: Json | undefined): void => void states.push({ who, state })
  const inner = (driverState: Json | undefined): ProtocolDriver =>
    driverOf({
      prepareIteration: () => [{ type: "start_llm", request: REQUEST, ...(driverState !== undefined && { driverState }) }],
      onLlmComplete(_context, waiting) {
        note("inner", waiting.driverState)
        return [{ type: "start_exec", code: "1", driverState: "of the code" }]
      },
      onExecResult(_context, waiting) {
        note("inner", waiting.driverState)
        return [{ type: "finish", outcome: { type: "finished", finish: { type: "assistant_message", text: "end" } } }]
      },
    })
  const patch: DriverPatch = {
    ownState: (context, start) => `${start.type} ${context.iteration}`,
    onLlmComplete(next, context, waiting, ...rest) {
      note("wrapper", waiting.driverState)
      return next(context, waiting, ...rest)
    },
  }

  test("has another name, so that a checkpoint of the inner driver is refused", () => {
    const bare = new TurnMachine(configOf({ driver: inner(7) }), { messages: [userMessage("hello")] })
    pollAll(bare)
    const config = configOf({ driver: wrapDriver(inner(7), patch) })
    expect(config.driver.name).toBe("wrapped(test)")
    expect(() => TurnMachine.restore(config, bare.checkpoint())).toThrow(expect.objectContaining({ code: "driver_mismatch" }))
    expect(() => wrapDriver(inner(7), { ownState: true as never })).toThrow("ownState is a function")
  })

  test.each([
    ["with a state of the inner driver", { own: "mine", inner: 7 }, { own: "start_llm 0", inner: { own: "mine", inner: 7 } }],
    ["without one", undefined, { own: "start_llm 0" }],
  ])("nests around the inner one, %s, and survives a restore", (_what, innerState, nested) => {
    states.length = 0
    const config = configOf({ driver: wrapDriver(inner(innerState), patch) })
    const first = new TurnMachine(config, { messages: [userMessage("hello")] })
    pollAll(first)
    const machine = TurnMachine.restore(config, JSON.stringify(first.checkpoint()))
    pollAll(machine)
    machine.handle({
      type: "llm_complete",
      id: 1,
      result: { ok: true, response: { text: "run it", parts: [], usage: NO_USAGE, terminalReason: "stop" } },
    })
    machine.handle({ type: "exec_result", id: 2, result: { ok: false, error: "none" } })
    expect(machine.outcome?.type).toBe("finished")
    expect(states).toEqual([
      { who: "wrapper", state: nested },
      { who: "inner", state: innerState },
      { who: "inner", state: "of the code" },
    ])
  })

  describe("is nested and unnested by every callback", () => {
    const starting: readonly DriverAction[] = [
      { type: "start_llm", request: REQUEST },
      { type: "start_llm", request: REQUEST, driverState: 7 },
      { type: "start_exec", code: "1", driverState: "code" },
      { type: "emit", event: { type: "text_delta", content: "shown" } },
    ]
    const nestedStarts = [
      { type: "start_llm", request: REQUEST, driverState: { own: "start_llm 3" } },
      { type: "start_llm", request: REQUEST, driverState: { own: "start_llm 3", inner: 7 } },
      { type: "start_exec", code: "1", driverState: { own: "start_exec 3", inner: "code" } },
      starting[3],
    ]
    const context = { iteration: 3 } as DriverContext
    const outstanding = { type: "llm_call", id: 1, request: REQUEST } as const
    const executed = { type: "exec_code", id: 1, code: "1" } as const
    const response = { text: "", parts: [], usage: NO_USAGE, terminalReason: "stop" } as const
    const failure = { message: "no", retryable: false, terminalReason: "provider_error" } as const
    const result = { ok: false, error: "none" } as const
    const ownState: NonNullable<DriverPatch["ownState"]> = ({ iteration }, start) => `${start.type} ${iteration}`

    /** A wrapped driver whose every callback returns `starting`, and the arguments that the inner driver got after the context. */
    function wrapped(): { readonly driver: Required<ProtocolDriver>; readonly given: unknown[] } {
      const given: unknown[] = []
      const start = (_context: DriverContext, ...rest: readonly unknown[]): readonly DriverAction[] => {
        given.push(...rest)
        return starting
      }
      const answers = { onLlmComplete: start, onLlmCutOff: start, onLlmFailed: start, onExecResult: start, onExecCancelled: start }
      const all = { prepareIteration: start, onToolResults: start, onDelivery: start, ...answers }
      return { driver: wrapDriver(driverOf(all), { ownState }) as Required<ProtocolDriver>, given }
    }

    const state = { own: "mine", inner: 7 }
    test.each<readonly [keyof ProtocolDriver, (driver: Required<ProtocolDriver>) => unknown, readonly unknown[]]>([
      ["prepareIteration", (driver) => driver.prepareIteration(context), []],
      [
        "onLlmComplete",
        (driver) => driver.onLlmComplete(context, { outstanding, driverState: state }, response, true),
        [{ outstanding, driverState: 7 }, response, true],
      ],
      ["onToolResults", (driver) => driver.onToolResults(context, []), [[]]],
      [
        "onExecResult",
        (driver) => driver.onExecResult(context, { outstanding: executed, driverState: state }, result),
        [{ outstanding: executed, driverState: 7 }, result],
      ],
      [
        "onLlmFailed",
        (driver) => driver.onLlmFailed(context, { outstanding, driverState: state }, failure),
        [{ outstanding, driverState: 7 }, failure],
      ],
      [
        "onLlmCutOff",
        (driver) => driver.onLlmCutOff(context, { outstanding, driverState: state, failed: true }, response),
        [{ outstanding, driverState: 7, failed: true }, response],
      ],
      ["onDelivery", (driver) => driver.onDelivery(context, "after_work", {} as never), ["after_work", {}]],
    ])("%s", (_name, call, args) => {
      const { driver, given } = wrapped()
      expect(call(driver)).toStrictEqual(nestedStarts)
      expect(given).toStrictEqual(args)
    })

    test("the inner driver's state is absent if it set none; for code it is null", () => {
      const { driver, given } = wrapped()
      const bare = { driverState: { own: "mine" } }
      driver.onLlmComplete(context, { outstanding, ...bare }, response, false)
      driver.onLlmFailed(context, { outstanding, ...bare }, failure)
      driver.onExecResult(context, { outstanding: executed, ...bare }, result)
      driver.onExecCancelled(context, { outstanding: executed, ...bare }, "stop")
      driver.onExecCancelled(context, { outstanding: executed, driverState: state }, "stop")
      const ran = { outstanding: executed, driverState: null }
      const cancelled = [ran, "stop", { outstanding: executed, driverState: 7 }, "stop"]
      expect(given).toStrictEqual([{ outstanding }, response, false, { outstanding }, failure, ran, result, ...cancelled])
    })

    test("what the inner driver does not store of an answer that was cut off is not stored", () => {
      const waiting = { outstanding, driverState: state }
      for (const inner of [driverOf({ onLlmCutOff: () => undefined }), driverOf()])
        expect(wrapDriver(inner, { ownState }).onLlmCutOff?.(context, waiting, response)).toBeUndefined()
    })

    test("a failed model call that the inner driver does not handle is not handled", () => {
      const silent = wrapDriver(driverOf({ onLlmFailed: () => undefined }), { ownState })
      expect(silent.onLlmFailed?.(context, { outstanding, driverState: state }, failure)).toBeUndefined()
      expect(wrapDriver(driverOf(), { ownState }).onLlmFailed?.(context, { outstanding, driverState: state }, failure)).toBeUndefined()
    })

    test.each([undefined, null, 7, "mine", { inner: 7 }, []])("a state without the wrapper's own is refused: %j", (driverState) => {
      const { driver } = wrapped()
      const waiting = { outstanding, ...(driverState !== undefined && { driverState }) }
      expect(() => driver.onLlmFailed(context, waiting, failure)).toThrow("without ownState")
      expect(() => driver.onLlmComplete(context, waiting, response, false)).toThrow("without ownState")
      expect(() => driver.onExecResult(context, { outstanding: executed, driverState: driverState ?? null }, result)).toThrow("without ownState")
    })
  })
})
