/** What a driver is given to look at a turn with. */
import { describe, expect, test } from "vitest"
import { wireValidation } from "../../src/checks/validation.ts"
import { TurnContext } from "../../src/machine/context.ts"
import type { DriverContext } from "../../src/machine/driver.ts"
import { newTurn, type Turn } from "../../src/machine/turn.ts"
import type { ToolSpec } from "../../src/schemas/tool.ts"
import { configOf, refusal, userMessage } from "./support.ts"

type Changes = Parameters<typeof configOf>[0]

const spec = (name: string, description = ""): ToolSpec => ({ name, description, inputSchema: {} })
const names = (tools: readonly ToolSpec[]): readonly string[] => tools.map(({ name, description }) => name + description)

/** The context of a turn that began with one message, in this position. */
function contextOf(position: Partial<Turn["position"]> = {}, changes: Changes = {}, at?: number): TurnContext {
  const config = configOf({ tools: [spec("host")], ...changes })
  const turn = newTurn(config, { messages: [userMessage("hello")] })
  return new TurnContext(config, { ...turn, position: { ...turn.position, ...position } }, at)
}

describe("the time that a driver sees", () => {
  test.each([
    ["none before a response has one", undefined, undefined, undefined],
    ["that of the first response", undefined, 5, 5],
    ["the latest one, without a time of this response", 7, undefined, 7],
    ["that of this response", 7, 9, 9],
    ["the latest one, where this response is from a slow clock", 7, 5, 7],
  ])("%s", (_what, before, given, seen) => {
    expect(contextOf({ at: before }, {}, given).at).toBe(seen)
  })

  test.each([
    ["the turn does not wait for people", { heldMs: 40, heldSince: undefined, at: 100 }, 130, 40],
    ["it has waited since the latest response", { heldMs: 40, heldSince: 100, at: 100 }, 130, 70],
    ["the response has no time", { heldMs: 40, heldSince: 100, at: 100 }, undefined, 40],
    ["the response is from a slow clock", { heldMs: 40, heldSince: 100, at: 100 }, 90, 40],
    ["no time was ever seen", { heldMs: 40, heldSince: 100, at: undefined }, undefined, 40],
    ["a checkpoint could not hold the sum", { heldMs: Number.MAX_SAFE_INTEGER - 1, heldSince: 0, at: 0 }, 5, Number.MAX_SAFE_INTEGER],
  ])("how long it waited for people, where %s", (_where, position, at, heldMs) => {
    expect(contextOf(position, {}, at).heldMs).toBe(heldMs)
  })
})

test("message ids count on from those of the turn, whatever their scope", () => {
  const context = contextOf({ iterationOffset: 3, iteration: 4, nextMessageNumber: 8 })
  expect([context.newMessageId("a"), context.newMessageId("b"), context.nextMessageNumber]).toEqual(["m_3_a_8", "m_3_b_9", 10])
})

test.each([
  [undefined, 9, 0, false],
  [3, 6, 0, false],
  [3, 7, 0, false],
  [3, 7, 1, true],
  [3, 8, 0, true],
  [3, 8, -1, false],
])("with a limit of %s from iteration 5, iteration %i and %i more are at it: %s", (maxIterations, iteration, ahead, reached) => {
  const context = contextOf({ iterationOffset: 5, iteration }, { maxIterations })
  expect(context.limitReached(ahead)).toBe(reached)
  if (ahead === 0) expect(context.limitReached()).toBe(reached)
})

describe("requests", () => {
  const shown = (context: DriverContext, ...ownTools: readonly ToolSpec[]): readonly string[] =>
    names(context.projectRequest({ tools: true, ...(ownTools.length > 0 && { ownTools }) }).tools)

  test("show the host's tools and then the driver's own, or none", () => {
    const context = contextOf()
    expect(shown(context)).toEqual(["host"])
    expect(shown(context, spec("own"))).toEqual(["host", "own"])
    expect(names(context.projectRequest({ tools: false, ownTools: [spec("own")] }).tools)).toEqual([])
  })

  test("of a context with more tools show them last, each name once", () => {
    const context = contextOf()
    const outer = context.withTools([spec("outer"), spec("outer", " again"), spec("host", " of the wrapper")])
    const inner = outer.withTools([spec("last"), spec("outer", " of the inner one")])
    expect(names(outer.tools)).toEqual(["host", "outer"])
    expect(names(inner.tools)).toEqual(["host", "outer", "last"])
    expect(shown(inner)).toEqual(["host", "last", "outer"])
    expect(shown(inner, spec("own"), spec("last", " of the driver"))).toEqual(["host", "own", "last of the driver", "outer"])
    // What the host runs, and what other contexts show, is as before.
    expect(names(inner.hostTools)).toEqual(["host"])
    expect(names(context.tools)).toEqual(["host"])
    expect(shown(context)).toEqual(["host"])
  })

  test("a context with more tools is otherwise the same, also to who copies it", () => {
    const context = contextOf({ iteration: 2 })
    const more = context.withTools([spec("outer")])
    const { tools, projectRequest, ...others } = { ...more }
    expect(names(tools)).toEqual(["host", "outer"])
    expect(names(projectRequest({ tools: true }).tools)).toEqual(["host", "outer"])
    const { tools: _tools, ...fields } = { ...context }
    expect(others).toEqual(fields)
    expect([more.newMessageId("a"), context.newMessageId("a")]).toEqual(["m_0_a_1", "m_0_a_2"])
    expect(more.limitReached()).toBe(false)
  })
})

describe("the message about a reached limit", () => {
  const limited = (changes: Changes): DriverContext => contextOf({}, { maxIterations: 1, ...changes })

  test("is a message of the system with one part, under a new id", () => {
    const { id, role, parts } = limited({}).turnLimitMessage()
    expect([id, role, parts]).toEqual(["m_0_turn_limit_1", "system", [{ id: "m_0_turn_limit_1.p0", type: "error", text: expect.any(String) }]])
  })

  test.each<readonly [string, Changes]>([
    ["with validation", { validation: wireValidation }],
    ["without", {}],
  ])("of the host is taken as it is, %s", (_how, changes) => {
    const message = { ...userMessage("Stop."), origin: { type: "plugin", pluginId: "p" } as const }
    expect(limited({ ...changes, turnLimitMessage: () => message }).turnLimitMessage()).toEqual(message)
    const more = limited({ ...changes, turnLimitMessage: () => ({ ...message, role: "robot" as never }) })
    // Only the schemas know the roles.
    if (changes?.validation !== undefined) expect(refusal(() => more.turnLimitMessage()).code).toBe("invalid_limit_message")
  })

  test.each<readonly [string, unknown]>([
    ["nothing", undefined],
    ["an id that is no text", { id: 1, role: "user", parts: [] }],
    ["parts that are no list", { id: "m", role: "user", parts: "" }],
  ])("that is %s is refused without validation, too", (_what, message) => {
    const context = limited({ turnLimitMessage: () => message as never })
    expect(refusal(() => context.turnLimitMessage()).code).toBe("invalid_limit_message")
  })

  test("of a host that throws is refused; an error of the check itself is not hidden", () => {
    const throwing = (): never => {
      throw new RangeError("boom")
    }
    const refused = refusal(() => limited({ turnLimitMessage: throwing }).turnLimitMessage())
    expect([refused.code, refused.message.endsWith("RangeError: boom")]).toEqual(["invalid_limit_message", true])
    const validation = { response: throwing, actions: throwing, start: throwing, config: throwing, checkpoint: throwing }
    const context = limited({ turnLimitMessage: () => userMessage("Stop."), validation })
    expect(() => context.turnLimitMessage()).toThrow(RangeError)
  })
})
