import { describe, expect, test } from "vitest"
import { chatDriver } from "../../src/drivers/chat.ts"
import type { TurnConfig } from "../../src/machine/config.ts"
import type { ProtocolDriver } from "../../src/machine/driver.ts"
import { MAX_COUNT } from "../../src/machine/limits.ts"
import { TurnMachine as BareTurnMachine } from "../../src/machine/turn-machine.ts"
import type { DriverAction } from "../../src/schemas/action.ts"
import type { Effect } from "../../src/schemas/effect.ts"
import { TurnMachine } from "../../src/validated-turn-machine.ts"
import { callsTools, completed, configOf, delivers, driverOf, pending, plain, REQUEST, refusal, results, says, userMessage } from "./support.ts"

const CLASSES = [
  ["with validation", TurnMachine],
  ["without", BareTurnMachine],
] as const

const cyclic: { self?: unknown } = {}
cyclic.self = cyclic

const VALUES: readonly (readonly [string, unknown])[] = [
  ["a Date", new Date(0)],
  ["a function", () => 1],
  ["undefined", undefined],
  ["NaN", Number.NaN],
  ["a bigint", 1n],
  ["a cycle", cyclic],
  ["a Map", new Map()],
  ["a hole", new Array(1)],
]

/** Every place where a driver may put a value that a checkpoint keeps. */
const PLACES: readonly (readonly [string, (value: never) => DriverAction])[] = [
  ["a record", (value) => ({ type: "append_events", events: [{ type: "protocol", event: { value } }] })],
  [
    "a message",
    (value) => ({ type: "append_events", events: [{ type: "conversation", message: { ...userMessage("x", "u9"), more: { value } } as never }] }),
  ],
  [
    "a part",
    (value) => ({
      type: "append_events",
      events: [
        { type: "conversation", message: { id: "m", role: "user", parts: [{ id: "p", type: "text", text: "x", providerMetadata: { value } }] } },
      ],
    }),
  ],
  [
    "an event",
    (value) => ({ type: "emit", event: { type: "plugin_event", pluginId: "p", event: { type: "custom", name: "n", payload: { value } } } }),
  ],
  ["the state of a model call", (value) => ({ type: "start_llm", request: REQUEST, driverState: { value } })],
  ["the state of code", (value) => ({ type: "start_exec", code: "1", driverState: [{ value }] as never })],
  ["the arguments of a call", (value) => ({ type: "start_tools", calls: [pending("a", "look", { value })] })],
  ["a settled result", (value) => ({ type: "start_tools", calls: [pending("a")], settled: [completed("a", { value })] })],
  ["an outcome", (value) => ({ type: "finish", outcome: { type: "finished", finish: { type: "submitted_value", value: { value } } } })],
]

describe.each(CLASSES)("a driver's value that is not JSON ends the turn, %s", (_class, Machine) => {
  describe.each(PLACES)("%s", (_place, action) => {
    test.each(VALUES)("%s", (_what, value) => {
      const machine = new Machine(configOf({ driver: driverOf({ prepareIteration: () => [action(value as never)] }) }), { messages: [] })
      const effects = all(machine)
      expect(codeOf(effects)).toBe("invalid_action")
      expect(machine.outcome).toMatchObject({ stop: { type: "runtime_error", error: { kind: "driver", code: "invalid_action" } } })
      expect(machine.history).toEqual([])
      expect(plain(Machine.restore(configOf({ driver: driverOf() }), JSON.stringify(machine.checkpoint())).checkpoint())).toEqual(
        plain(machine.checkpoint()),
      )
    })
  })

  test.each<readonly [why: string, path: string, wrong: unknown]>([
    ["a number that is not finite", "/0/request/generation/temperature", { generation: { temperature: Number.NaN } }],
    ["a value of type bigint", "/0/request/sessionId", { sessionId: 1n }],
    ["a number that is not finite", "/0/request/seed", { seed: Number.NaN }],
    ["an instance of a class", "/0/request/tools/0/inputSchema", { tools: [{ name: "a", description: "", inputSchema: new Date(0) }] }],
    ["not a list", "/0/request/messages", { messages: "Hi." }],
    ["not a list", "/0/request/attachments", { attachments: "Hi." }],
    ...["model", "messages", "attachments", "tools", "toolChoice", "generation"].flatMap((key): readonly (readonly [string, string, unknown])[] => [
      ["missing", `/0/request/${key}`, key],
      ["missing", `/0/request/${key}`, { [key]: undefined }],
    ]),
  ])("a request with %s at %s is refused before it is emitted", (why, path, wrong) => {
    const request: Record<string, unknown> = { model: "m", messages: [], attachments: [], tools: [], toolChoice: "none", generation: {} }
    if (typeof wrong === "string") delete request[wrong]
    else Object.assign(request, wrong)
    const machine = new Machine(configOf({ driver: driverOf({ prepareIteration: () => [{ type: "start_llm", request } as never] }) }), {
      messages: [],
    })
    const effects = all(machine)
    expect(effects.map(({ type }) => type)).not.toContain("llm_call")
    expect(codeOf(effects)).toBe("invalid_action")
    expect(JSON.stringify(effects)).toContain(`\\"${path}\\": it is ${why}`)
    Machine.restore(configOf({ driver: driverOf() }), JSON.stringify(machine.checkpoint()))
  })

  test("the message names the driver, the place and the reason", () => {
    const machine = new Machine(
      configOf({
        driver: driverOf({ prepareIteration: () => [{ type: "advance_iteration" }, PLACES[0]?.[1](new Date(0) as never) as DriverAction] }),
      }),
      { messages: [] },
    )
    expect(JSON.stringify(all(machine))).toContain(
      'The driver \\"test\\" returned an action that is not valid at \\"/1/events/0/event/value\\": it is an instance of a class, which is not JSON.',
    )
  })

  test("from a rescue or at a cancellation, it is left out and the end stands", () => {
    const bad = (): readonly DriverAction[] => [{ type: "append_events", events: [{ type: "protocol", event: new Date(0) as never }] }]
    const failing = new Machine(configOf({ driver: driverOf({ onLlmComplete: () => [], onLlmCutOff: bad }) }), { messages: [] })
    all(failing)
    failing.handle(says(1, "Hi."))
    expect(failing.outcome).toMatchObject({ stop: { error: { code: "no_way_forward" } } })
    const cancelled = new Machine(
      configOf({ driver: driverOf({ prepareIteration: () => [{ type: "start_exec", code: "1", driverState: null }], onExecCancelled: bad }) }),
      { messages: [] },
    )
    all(cancelled)
    cancelled.cancel()
    expect(codeOf(all(cancelled))).toBe("invalid_action")
    expect(cancelled.outcome).toEqual({ type: "stopped", stop: { type: "cancelled" } })
  })

  test("what apply is given, is thrown, and the turn is unchanged", () => {
    const machine = new Machine(configOf(), { messages: [] })
    all(machine)
    const before = JSON.stringify(machine.checkpoint())
    for (const [, value] of VALUES) {
      const error = refusal(() => machine.apply([PLACES[0]?.[1](value as never) as DriverAction]))
      expect(error.code).toBe(Machine === TurnMachine ? "invalid_actions" : "invalid_action")
    }
    expect(JSON.stringify(machine.checkpoint())).toBe(before)
  })

  test("an optional key that is undefined is one that is missing", () => {
    const start = { type: "start_llm", request: { ...REQUEST, sessionId: undefined }, driverState: undefined } as never
    const machine = new Machine(configOf({ driver: driverOf({ prepareIteration: () => [start] }) }), { messages: [] })
    expect(all(machine).at(-1)?.type).toBe("llm_call")
  })

  test("JSON as deep as a host may give passes through", () => {
    let deep: unknown = 1
    for (let depth = 0; depth < 127; depth += 1) deep = [deep]
    const machine = new Machine(
      configOf({ driver: driverOf({ prepareIteration: () => [{ type: "start_tools", calls: [pending("a", "look", { deep } as never)] }] }) }),
      { messages: [] },
    )
    expect(all(machine).at(-1)?.type).toBe("tool_calls")
    const exec = { type: "start_exec", code: "1", driverState: { deep } } as never
    const other = new Machine(configOf({ driver: driverOf({ prepareIteration: () => [exec] }) }), { messages: [] })
    expect(all(other).at(-1)?.type).toBe("exec_code")
  })

  test("what is built of a request on demand is not built by the check", () => {
    let built = 0
    const build = { enumerable: true, get: () => ++built && [] }
    for (const purpose of [{}, { purpose: "compaction" }]) {
      const request = Object.defineProperties({ ...REQUEST }, { messages: build, attachments: build })
      const start = { type: "start_llm", request, ...purpose } as never
      const machine = new Machine(configOf({ driver: driverOf({ prepareIteration: () => [start] }) }), { messages: [] })
      expect(all(machine).at(-1)?.type).toBe("llm_call")
      expect(built).toBe(0)
    }
  })
})

describe.each(CLASSES)("lists of the usual kinds are checked as they are written, %s", (_class, Machine) => {
  const text = { id: "p", type: "text", text: "x" }
  const message = (parts: unknown): DriverAction => ({
    type: "append_events",
    events: [{ type: "conversation", message: { id: "m", role: "user", parts } as never }],
  })
  const hidden = (value: object): object => Object.defineProperty(value, "toJSON", { value: () => 1 })

  test.each<readonly [string, DriverAction]>([
    ["parts with a hole", message(new Array(1))],
    ["parts with a toJSON of their own", message(hidden([text]))],
    ["a part with a toJSON of its own", message([hidden({ ...text })])],
    ["records with a hole", { type: "append_events", events: new Array(1) }],
    ["calls with a hole", { type: "start_tools", calls: new Array(1) }],
  ])("%s", (_what, action) => {
    const machine = new Machine(configOf({ driver: driverOf({ prepareIteration: () => [action] }) }), { messages: [] })
    expect(codeOf(all(machine))).toBe("invalid_action")
  })

  test.each<readonly [string, object]>([
    ["append_messages", { messages: [1n] }],
    ["add_turn_causes", { turnCauses: [1n] }],
    ["count_usage", { cumulative: { inputTokens: Number.NaN } }],
    ["set_surface", { update: { systemPrompt: 1n, tools: [] } }],
    ["store_results", { arrived: [] }],
    ["start_sync", { updateMachineConfig: false }],
    ["log", { event: 1n }],
    ["cancel_llm", { id: 1 }],
  ])("%s is an action of the machine, not of a driver", (type, fields) => {
    const actions = [
      { type, ...fields },
      { type: "start_llm", request: REQUEST },
    ] as never
    const machine = new Machine(configOf({ driver: driverOf({ prepareIteration: () => actions }) }), { messages: [] })
    expect(codeOf(all(machine))).toBe("unknown_action")
    expect(machine.messages).toEqual([])
  })
})

test.each<readonly [string, object]>([
  ["a role that does not exist", { ...userMessage("x", "u9"), role: "robot" }],
  ["a part that does not exist", { id: "m", role: "user", parts: [{ id: "p", type: "song", text: "x" }] }],
  ["a text that is a number", { id: "m", role: "user", parts: [{ id: "p", type: "text", text: 5 }] }],
  ["no parts", { id: "m", role: "user" }],
])("a message with %s, which no checkpoint could hold, is refused", (_what, message) => {
  const append: DriverAction = { type: "append_events", events: [{ type: "conversation", message: message as never }] }
  const machine = new TurnMachine(configOf({ driver: driverOf({ prepareIteration: () => [append, { type: "start_llm", request: REQUEST }] }) }), {
    messages: [],
  })
  expect(codeOf(all(machine))).toBe("invalid_action")
})

describe.each(CLASSES)("only the machine emits the end, %s", (_class, Machine) => {
  const OUTCOME = { type: "stopped", stop: { type: "plugin_abort" } } as const

  test.each<Extract<DriverAction, { type: "emit" }>>([
    { type: "emit", event: { type: "done" } },
    { type: "emit", event: { type: "turn_outcome", outcome: OUTCOME } },
  ])("$event.type", (emit) => {
    const machine = new Machine(configOf({ driver: driverOf({ onLlmComplete: () => [emit, { type: "finish", outcome: OUTCOME }] }) }), {
      messages: [],
    })
    all(machine)
    expect(refusal(() => machine.apply([emit])).code).toBe("second_end")
    expect(refusal(() => machine.fail(emit.event)).code).toBe("second_end")
    expect(machine.done).toBe(false)
    machine.handle(says(1, "Hi."))
    const effects = all(machine)
    expect(codeOf(effects)).toBe("second_end")
    expect(effects.filter((effect) => effect.type === "emit" && effect.event.type === emit.event.type)).toHaveLength(1)
  })
})

describe.each(CLASSES)("a turnLimitMessage that fails never escapes, %s", (_class, Machine) => {
  const KINDS: readonly (readonly [string, () => unknown])[] = [
    [
      "throws",
      () => {
        throw new Error("boom")
      },
    ],
    ["returns nothing", () => undefined],
    ["returns a text", () => "limit"],
    ["returns a promise", () => Promise.resolve({})],
    ["returns half a message", () => ({ id: "x" })],
  ]
  const config = (turnLimitMessage: () => unknown): TurnConfig => configOf({ maxIterations: 1, turnLimitMessage: turnLimitMessage as never })

  test.each(KINDS)("%s at a delivery: what was delivered stays, and the turn ends in order", (_what, make) => {
    const machine = new Machine(config(make), { messages: [userMessage("hello")] })
    all(machine)
    machine.handle(says(1, "Hi."))
    all(machine)
    expect(machine.handle(delivers(2, { userMessages: [userMessage("And?", "u2")] }))).toEqual({ status: "accepted" })
    expect(codeOf(all(machine))).toBe("invalid_limit_message")
    expect(machine.history).toContainEqual({ type: "conversation", message: userMessage("And?", "u2") })
    expect(machine.outcome).toMatchObject({ stop: { type: "runtime_error", error: { code: "invalid_limit_message" } } })
    expect(machine.handle(delivers(2))).toEqual({ status: "stale" })
  })

  test.each(KINDS)("%s after tools: their results stay", (_what, make) => {
    const machine = new Machine(config(make), { messages: [userMessage("hello")] })
    all(machine)
    machine.handle(callsTools(1, ["a"]))
    all(machine)
    machine.handle(results(2, completed("a")))
    expect(codeOf(all(machine))).toBe("invalid_limit_message")
    expect(JSON.stringify(machine.messages)).toContain("result of a")
  })
})

describe.each(CLASSES)("a turn begins and continues only with counts that can be counted on, %s", (_class, Machine) => {
  test("an iterationOffset near 2^53 is refused at its path", () => {
    for (const iterationOffset of [MAX_COUNT + 1, Number.MAX_SAFE_INTEGER]) {
      const error = refusal(() => new Machine(configOf(), { messages: [], iterationOffset }))
      expect(error).toMatchObject({ code: "invalid_start", issues: [{ path: "/iterationOffset" }] })
    }
    const machine = new Machine(configOf(), { messages: [], iterationOffset: MAX_COUNT })
    all(machine)
    machine.handle(callsTools(1, [""]))
    expect(Machine.restore(configOf(), machine.checkpoint()).iteration).toBe(MAX_COUNT)
  })

  test("a turn that began at the highest iterationOffset can be restored in every iteration", () => {
    let machine = new Machine(configOf(), { messages: [], iterationOffset: MAX_COUNT })
    for (let iteration = 0; iteration < 3; iteration += 1) {
      all(machine)
      machine.handle(callsTools(3 * iteration + 1, ["a"]))
      machine.handle(results(3 * iteration + 2, completed("a")))
      machine = Machine.restore(configOf(), JSON.stringify(machine.checkpoint()))
      machine.handle(delivers(3 * iteration + 3))
    }
    expect(machine.iteration).toBe(MAX_COUNT + 3)
  })

  test.each(["iteration", "iterationOffset", "nextEffectId", "nextMessageNumber"])("a checkpoint with such a %s is refused", (counter) => {
    const machine = new Machine(configOf(), { messages: [] })
    const checkpoint = { ...plain(machine.checkpoint()), iteration: MAX_COUNT, [counter]: Number.MAX_SAFE_INTEGER }
    expect(refusal(() => Machine.restore(configOf(), checkpoint))).toMatchObject({ code: "inconsistent_checkpoint" })
  })
})

test("a driver without a name or a version is refused: no checkpoint of it could be restored", () => {
  const refused = (changes: object, path: string): void =>
    expect(refusal(() => new TurnMachine(configOf({ driver: { ...chatDriver(), ...changes } as ProtocolDriver }), { messages: [] }))).toMatchObject({
      code: "invalid_config",
      issues: [{ path }],
    })
  refused({ name: undefined }, "/driver/name")
  for (const version of [undefined, -1, 0.5, "1", Number.NaN]) refused({ version }, "/driver/version")
})

function all(machine: { poll(): Effect | undefined }): Effect[] {
  const effects: Effect[] = []
  for (let effect = machine.poll(); effect !== undefined; effect = machine.poll()) effects.push(effect)
  return effects
}

/** The code of the error that a turn emitted. */
function codeOf(effects: readonly Effect[]): string | undefined {
  for (const effect of effects) if (effect.type === "emit" && effect.event.type === "error") return effect.event.envelope?.code
  return undefined
}
