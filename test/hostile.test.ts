import { afterEach, describe, expect, test } from "vitest"
import { CheckpointError, ProtocolError, SchemaError, type TurnError } from "../src/errors.ts"
import type { TurnConfig } from "../src/machine/config.ts"
import type { DriverAction } from "../src/schemas/action.ts"
import type { TurnStart } from "../src/schemas/config.ts"
import type { OutputPart } from "../src/schemas/llm.ts"
import type { Response } from "../src/schemas/response.ts"
import { TurnMachine } from "../src/validated-turn-machine.ts"
import {
  answer,
  callsAndResults,
  callsTools,
  completed,
  configOf,
  delivers,
  driverOf,
  moved,
  pending,
  plain,
  pollAll,
  respond,
  results,
  says,
  set,
  told,
  userMessage,
} from "./machine/support.ts"

// Whatever comes over the edge of the validating machine is refused with a stable code and the turn as it was, or it is
// taken, and then the turn can still be saved and restored. Nothing else is thrown, and no prototype is changed.

const PROTOTYPES = [Object.prototype, Array.prototype, Function.prototype, String.prototype] as const
const OWN_NAMES = PROTOTYPES.map((prototype) => Reflect.ownKeys(prototype).length)

afterEach(() => {
  expect(PROTOTYPES.map((prototype) => Reflect.ownKeys(prototype).length)).toEqual(OWN_NAMES)
  expect(({} as { polluted?: unknown }).polluted).toBeUndefined()
})

const CONFIG = configOf({
  driver: driverOf({
    prepareIteration: () => [{ type: "start_checkpoint", checkpoint: "after_work", onEmpty: { type: "prepare_iteration" } }],
    onExecResult: () => [{ type: "start_exec", code: "next", driverState: null }],
  }),
})

/** Saved turns that wait for each kind of answer, as effect 1 or 2. */
const SAVED: { readonly [Type in Response["type"]]: { readonly config: TurnConfig; readonly text: string; readonly id: number } } = {
  execution_surface_synced: begun(configOf({ syncExecutionSurface: true })),
  llm_complete: begun(configOf({ emitLlmTrace: true })),
  tool_results: begun(configOf(), callsTools(1, ["a", "b"])),
  exec_result: begun({ ...CONFIG, driver: { ...CONFIG.driver, prepareIteration: () => [{ type: "start_exec", code: "1", driverState: {} }] } }),
  checkpoint_delivery: begun(CONFIG),
}

function begun(config: TurnConfig, ...responses: readonly Response[]) {
  const machine = new TurnMachine(config, { messages: [userMessage("hello")] })
  pollAll(machine)
  for (const response of responses) respond(machine, response)
  return { config, text: JSON.stringify(machine.checkpoint()), id: machine.outstanding?.id ?? 0 }
}

/** Gives something to a machine; says with which code it was refused, or that it was taken. Fails on anything else. */
function outcomeOf(machine: TurnMachine, config: TurnConfig, act: () => unknown): string {
  const before = JSON.stringify(machine.checkpoint())
  try {
    act()
  } catch (error) {
    expectOurs(error)
    expect(JSON.stringify(machine.checkpoint())).toBe(before)
    return (error as TurnError).code
  }
  const after = JSON.stringify(machine.checkpoint())
  expect(JSON.stringify(TurnMachine.restore(config, after).checkpoint().messages)).toBe(JSON.stringify(machine.messages))
  pollAll(machine)
  return after === before ? "unchanged" : "taken"
}

function expectOurs(error: unknown): void {
  const ours = error instanceof SchemaError || error instanceof ProtocolError || error instanceof CheckpointError
  if (!ours) throw new Error(`Threw ${error instanceof Error ? error.stack : String(error)}`, { cause: error })
  expect(error.code).toMatch(/^[a-z_]+$/)
}

function give(type: Response["type"], response: unknown): string {
  const { config, text } = SAVED[type]
  const machine = TurnMachine.restore(config, text)
  return outcomeOf(machine, config, () => machine.handle(response as Response))
}

function nested(depth: number): unknown {
  return JSON.parse("[".repeat(depth) + "]".repeat(depth))
}

function nestedObject(depth: number): unknown {
  return JSON.parse(`${'{"a":'.repeat(depth)}1${"}".repeat(depth)}`)
}

class Thing {
  readonly polluted = true
}

/** Values that have no place anywhere, or only by mistake. Each is made anew. */
const HOSTILE: { readonly [name: string]: () => unknown } = {
  undefined: () => undefined,
  null: () => null,
  NaN: () => Number.NaN,
  infinity: () => Number.NEGATIVE_INFINITY,
  "minus zero": () => -0,
  "a negative number": () => -1,
  "a fraction": () => 0.5,
  "a number beyond the safe integers": () => 2 ** 53,
  "a huge number": () => 1e308,
  "a number as text": () => "1",
  "a lone surrogate": () => "\ud800",
  "__proto__ as text": () => "__proto__",
  true: () => true,
  "a BigInt": () => 1n,
  "a symbol": () => Symbol("s"),
  "a function": () => () => "called",
  "a date": () => new Date(0),
  "a map": () => new Map([["type", "done"]]),
  "an instance of a class": () => new Thing(),
  "a promise": () => Promise.resolve(1),
  "a regular expression": () => /x/,
  "a boxed text": () => new String("text"),
  bytes: () => new Uint8Array([1, 2]),
  "an empty object": () => ({}),
  "an empty list": () => [],
  "a list with holes": () => Object.assign([], { length: 3 }),
  "a list with undefined": () => [undefined],
  "an object with undefined": () => ({ a: undefined }),
  "an object that contains itself": () => {
    const object: Record<string, unknown> = { type: "text" }
    object["self"] = object
    return object
  },
  "a list that contains itself": () => {
    const list: unknown[] = []
    list.push(list, list)
    return list
  },
  "10,000 lists in one another": () => nested(10_000),
  "10,000 objects in one another": () => nestedObject(10_000),
  "129 lists in one another": () => nested(129),
  "an object with __proto__": () => JSON.parse('{"__proto__":{"polluted":true},"constructor":{"prototype":{"polluted":true}}}'),
  "an object without a prototype": () => Object.assign(Object.create(null) as object, { type: "text" }),
  "an object with a getter that throws": () => ({
    get type(): never {
      throw new Error("no")
    },
  }),
  "an object with toJSON": () => ({ toJSON: () => ({ polluted: true }) }),
  "a list with toJSON": () => Object.assign([], { toJSON: () => 1n }),
  "a proxy of nothing much": () => new Proxy({}, {}),
  "a proxy that throws when it is read": () =>
    new Proxy(
      {},
      {
        get: () => {
          throw new RangeError("no")
        },
      },
    ),
  "a proxy that throws when its keys are listed": () =>
    new Proxy(
      {},
      {
        ownKeys: () => {
          throw new TypeError("no")
        },
      },
    ),
  "a proxy without end": () => {
    const endless: object = new Proxy({}, { get: () => endless, getPrototypeOf: () => Object.prototype, ownKeys: () => ["a"] })
    return endless
  },
  "a revoked proxy": () => {
    const { proxy, revoke } = Proxy.revocable({}, {})
    revoke()
    return proxy
  },
  "a revoked proxy of a list": () => {
    const { proxy, revoke } = Proxy.revocable([], {})
    revoke()
    return proxy
  },
}

const attachment = { id: "att", mediaType: "image/png", byteLength: 3, width: 1, height: 1, label: "l" }
const failure = {
  class: "internal",
  code: "c",
  message: "m",
  source: "tool",
  retry: { type: "safe", afterMs: 1 },
  raw: { $attachment: attachment },
} as const
const origin = { type: "process", processId: "p", eventType: "t", sequence: 1, wakeId: "w", causedBy: { a: 1 } } as const
const part = { id: "p", type: "text", text: "t", responseMeta: { id: "i" }, prune: { type: "deleted", breadcrumb: "b", archiveHash: "h" } } as const

/** Answers with every key that they may have. */
const FULL: { readonly [name: string]: Response } = {
  synced: {
    type: "execution_surface_synced",
    id: 1,
    at: 1,
    result: { ok: true, update: { systemPrompt: "p", tools: [{ name: "n", description: "d", inputSchema: {}, outputSchema: {} }] } },
  },
  "not synced": { type: "execution_surface_synced", id: 1, result: { ok: false, error: "e" } },
  "a text": {
    ...answer(
      1,
      [
        { type: "text", text: "t", responseMeta: { id: "i", status: "s", phase: "p" } },
        { type: "reasoning", text: "r", replay: { itemId: "i", encryptedContent: "e", signature: "s", redacted: true, summary: ["x"] } },
      ],
      { terminalDiagnostic: "d", providerUsage: { a: 1 }, requestBody: "b", httpSummary: "h" },
    ),
    at: 5,
    textStreamed: true,
  },
  "tool calls": answer(1, [{ type: "tool_call", callId: "c", toolName: "t", inputJson: '{"a":1}', replay: { itemId: "i", opaque: "o" } }]),
  "a cut answer": says(1, "t", { terminalReason: "output_limit" }),
  "a failed call": {
    type: "llm_complete",
    id: 1,
    result: { ok: false, error: { message: "m", retryable: true, code: "c", raw: "r", terminalReason: "unknown", requestBody: "b" } },
  },
  results: {
    ...results(
      2,
      completed("a", [{ $attachment: attachment }, { $object: { $attachment: 1 } }], {
        modelReturn: {
          parts: [
            { type: "text", text: "t" },
            { type: "attachment", attachment },
          ],
        },
        replay: { itemId: "i" },
        output: {
          status: "success",
          value: { $attachment: attachment },
          control: { type: "switch_agent_frame", frameId: "f", initialNodes: [1], task: "t" },
        },
      }),
      completed("b", null, { output: { status: "failure", failure, control: { type: "fail", failure } } }),
    ),
    at: 3,
  } as Response,
  "cancelled results": results(
    2,
    completed("b", null, { output: { status: "cancelled", message: "m", source: "policy", raw: [{ $attachment: attachment }] } }),
    completed("a", { $attachment: attachment }),
  ),
  "a result that ends the turn": results(
    2,
    completed("a"),
    completed("b", 1, { output: { status: "success", value: 1, control: { type: "finish", value: { v: 1 } } } }),
  ),
  executed: {
    type: "exec_result",
    id: 1,
    result: {
      ok: true,
      value: {
        observations: ["o"],
        toolCalls: [1],
        images: [1],
        printedImages: [attachment],
        error: "e",
        durationMs: 1,
        terminalFinish: 1,
        observationTruncation: [1],
      },
    },
  },
  "not executed": { type: "exec_result", id: 1, result: { ok: false, error: "e" } },
  delivered: delivers(1, {
    userMessages: [{ ...userMessage("u", "u2"), origin }],
    messages: [{ role: "user", content: "c", origin, parts: [part, { id: "q", type: "image", attachment }] }],
    transientMessages: [{ role: "system", content: "c", parts: [{ id: "r", type: "tool_call", callId: "c", toolName: "t", inputJson: "{}" }] }],
    turnCauses: [{ id: "e1", eventType: "t", origin, text: "t" }],
    events: [{ mine: [1] }],
  }),
}

/** Every place in a JSON value, as JSON pointers. */
function places(value: unknown, pointer = ""): readonly string[] {
  if (typeof value !== "object" || value === null) return [pointer]
  return [pointer, ...Object.entries(value).flatMap(([key, inner]) => places(inner, `${pointer}/${key}`))]
}

function withValueAt(root: object, pointer: string, value: unknown): unknown {
  if (pointer === "") return value
  const copy = structuredClone(root)
  set(pointer, value)(copy)
  return copy
}

describe("each hostile value at each place of each answer", { timeout: 120_000 }, () => {
  test.each(Object.keys(FULL))("%s", (name) => {
    const response = FULL[name] as Response
    expect(give(response.type, response)).toBe("taken")
    const seen = new Set<string>()
    for (const pointer of places(response)) {
      for (const [what, make] of Object.entries(HOSTILE)) {
        try {
          seen.add(give(response.type, withValueAt(response, pointer, make())))
        } catch (error) {
          throw new Error(`${what} at "${pointer}": ${error instanceof Error ? error.message : String(error)}`, { cause: error })
        }
      }
    }
    expect(seen).toContain("invalid_response")
    expect([...seen].filter((code) => !EXPECTED_OF_ANSWERS.includes(code))).toEqual([])
  })
})

const EXPECTED_OF_ANSWERS = [
  "taken",
  "unchanged",
  "invalid_response",
  "unknown_effect",
  "unexpected_response",
  "unknown_call",
  "call_already_answered",
]

describe("each hostile value as a whole", () => {
  test.each(Object.entries(HOSTILE))("%s is no answer", (_, make) => {
    for (const type of Object.keys(SAVED) as Response["type"][]) expect(give(type, make())).toBe("invalid_response")
  })

  test.each(Object.entries(HOSTILE))("%s is no checkpoint", (_, make) => {
    try {
      TurnMachine.restore(CONFIG, make())
    } catch (error) {
      expect(error).toBeInstanceOf(CheckpointError)
      return
    }
    throw new Error("It was restored.")
  })

  test.each(Object.entries(HOSTILE))("%s is no list of actions, but where it is one", (name, make) => {
    const { config, text } = SAVED.checkpoint_delivery
    const machine = TurnMachine.restore(config, text)
    const code = outcomeOf(machine, config, () => machine.apply(make() as readonly DriverAction[]))
    expect(code).toBe(["an empty list", "a list with toJSON"].includes(name) ? "unchanged" : "invalid_actions")
  })

  test.each(Object.entries(HOSTILE))("%s is no outcome and no event", (_, make) => {
    const { config, text } = SAVED.checkpoint_delivery
    const machine = TurnMachine.restore(config, text)
    expect(outcomeOf(machine, config, () => machine.finish(make() as never))).toBe("invalid_actions")
    expect(outcomeOf(machine, config, () => machine.fail(make() as never))).toBe("invalid_actions")
  })

  test.each(Object.entries(HOSTILE))("%s as a reason to cancel is refused, or is a text", (_, make) => {
    const { config, text } = SAVED.tool_results
    const machine = TurnMachine.restore(config, text)
    const reason = make()
    const code = outcomeOf(machine, config, () => machine.cancel(reason as never))
    expect(code).toBe(reason === undefined || typeof reason === "string" ? "taken" : "invalid_actions")
  })
})

describe("each hostile value at each place of what a turn is made of", { timeout: 120_000 }, () => {
  const start: TurnStart = {
    messages: [{ ...userMessage("hello"), origin }],
    events: [
      { type: "protocol", event: { a: 1 } },
      { type: "conversation", message: userMessage("x", "u2") },
    ],
    turnCauses: [{ id: "e1", eventType: "t", origin, text: "t" }],
    iterationOffset: 2,
  }
  const data = {
    maxIterations: 3,
    maxContextTokens: 5,
    tools: [{ name: "n", description: "d", inputSchema: { a: 1 } }],
    generation: { maxOutputTokens: 5 },
  }

  test("the start", () => {
    for (const pointer of places(start)) {
      for (const make of Object.values(HOSTILE)) expectMadeOrRefused(CONFIG, withValueAt(start, pointer, make()) as TurnStart, "invalid_start")
    }
  })

  test("the configuration", () => {
    for (const pointer of places(data)) {
      if (pointer === "") continue
      for (const make of Object.values(HOSTILE)) {
        const config = configOf(withValueAt(data, pointer, make()) as Partial<TurnConfig>)
        expectMadeOrRefused(config, start, "invalid_config")
      }
    }
  })

  function expectMadeOrRefused(config: TurnConfig, given: TurnStart, code: string): void {
    let machine: TurnMachine
    try {
      machine = new TurnMachine(config, given)
    } catch (error) {
      expect(error).toBeInstanceOf(SchemaError)
      expect((error as SchemaError).code).toBe(code)
      return
    }
    pollAll(machine)
    moved(machine, config)
  }
})

describe("each hostile value at each place of a checkpoint", { timeout: 120_000 }, () => {
  test.each(Object.keys(SAVED) as Response["type"][])("of a turn that waits for %s", (type) => {
    const { config, text } = SAVED[type]
    const checkpoint = JSON.parse(text) as object
    set("/unpolled", [{ type: "outstanding" }, { type: "emit", event: { type: "text_delta", content: "c" } }])(checkpoint)
    expect(told(pollAll(TurnMachine.restore(config, checkpoint)))).toHaveLength(2)
    const codes = new Set<string>()
    for (const pointer of places(checkpoint)) {
      for (const [what, make] of Object.entries(HOSTILE)) {
        try {
          codes.add(restored(config, withValueAt(checkpoint, pointer, make())))
        } catch (error) {
          throw new Error(`${what} at "${pointer}": ${error instanceof Error ? error.message : String(error)}`, { cause: error })
        }
      }
    }
    const all = [
      "driver_mismatch",
      "inconsistent_checkpoint",
      "invalid_checkpoint",
      "not_a_checkpoint",
      "not_json",
      "restored",
      "unsupported_version",
    ]
    expect([...codes].sort()).toEqual(all)
  })

  function restored(config: TurnConfig, checkpoint: unknown): string {
    let machine: TurnMachine
    try {
      machine = TurnMachine.restore(config, checkpoint)
    } catch (error) {
      expect(error).toBeInstanceOf(CheckpointError)
      return (error as CheckpointError).code
    }
    moved(machine, config)
    pollAll(machine)
    machine.cancel()
    pollAll(machine)
    return "restored"
  }
})

describe("ids", () => {
  test.each([
    [2 ** 53 - 1, "unknown_effect"],
    [1_000_000, "unknown_effect"],
    [0, "unknown_effect"],
    [-0, "unknown_effect"],
    [2 ** 53, "invalid_response"],
    [1e300, "invalid_response"],
    [-1, "invalid_response"],
    [1.5, "invalid_response"],
    ["1", "invalid_response"],
    [[1], "invalid_response"],
    [1n, "invalid_response"],
    [Number.NaN, "invalid_response"],
  ])("an answer to effect %s: %s", (id, code) => {
    expect(give("llm_complete", { ...says(1, "Hi."), id })).toBe(code)
  })

  test("a getter that gives another id each time is read once", () => {
    let reads = 0
    const shifty = {
      ...says(1, "Hi."),
      get id() {
        reads += 1
        return reads
      },
    }
    expect(give("llm_complete", shifty)).toBe("taken")
    expect(reads).toBe(1)
  })
})

describe("prototype keys", () => {
  const POISON = '"__proto__":{"polluted":true},"constructor":{"prototype":{"polluted":true}},'

  test.each(Object.keys(FULL))("in every object of %s: left out of what has a shape, kept in free JSON", (name) => {
    const response = FULL[name] as Response
    const poisoned = JSON.parse(JSON.stringify(response).replaceAll('{"', `{${POISON}"`)) as unknown
    // References to attachments with more keys are no references any more.
    expect(give(response.type, poisoned)).toBe("taken")
  })

  test("in a tool's arguments they reach the tool as ordinary keys", () => {
    const { config, text } = SAVED.llm_complete
    const machine = TurnMachine.restore(config, text)
    respond(machine, answer(1, [{ type: "tool_call", callId: "c", toolName: "t", inputJson: '{"__proto__":{"polluted":true}}' }]))
    const again = moved(machine, config)
    const effect = again.outstanding
    expect(effect?.type === "tool_calls" && JSON.stringify(effect.calls[0]?.args)).toBe('{"__proto__":{"polluted":true}}')
  })

  test("as names of calls, tools and messages they are names", () => {
    const machine = new TurnMachine(configOf(), { messages: [{ ...userMessage("hello"), id: "__proto__" }] })
    pollAll(machine)
    respond(machine, callsTools(1, ["__proto__", "constructor", "toString"]))
    respond(machine, results(2, completed("toString"), completed("__proto__"), completed("constructor")))
    const again = moved(machine, configOf())
    expect(callsAndResults(again.messages)).toEqual([
      "call __proto__",
      "call constructor",
      "call toString",
      "result __proto__",
      "result constructor",
      "result toString",
    ])
    respond(
      again,
      delivers(3, { turnCauses: [{ id: "__proto__", eventType: "constructor", origin: { type: "plugin", pluginId: "__proto__" }, text: "t" }] }),
    )
    expect(again.turnCauses).toHaveLength(1)
  })

  test("as types of answers, effects and actions they are unknown", () => {
    for (const type of ["__proto__", "constructor", "toString", "hasOwnProperty"]) {
      expect(give("llm_complete", { type, id: 1 })).toBe("invalid_response")
      expect(give("llm_complete", { ...says(1, "Hi."), result: { ok: type } })).toBe("invalid_response")
      expect(give("tool_results", results(2, completed("a", 1, { output: { status: type } as never })))).toBe("invalid_response")
    }
  })
})

describe("nesting 10,000 deep", () => {
  test("in the text of arguments it counts as no arguments, and the text is kept", () => {
    const { config, text } = SAVED.llm_complete
    const machine = TurnMachine.restore(config, text)
    const inputJson = "[".repeat(10_000) + "]".repeat(10_000)
    respond(machine, answer(1, [{ type: "tool_call", callId: "c", toolName: "t", inputJson }]))
    expect(moved(machine, config).outstanding).toMatchObject({ calls: [{ callId: "c", args: {} }] })
  })

  test.each([
    ["a tool's value", "tool_results", results(2, completed("a", nested(10_000) as never))],
    ["a tool's arguments", "tool_results", results(2, completed("a", 1, { args: nestedObject(10_000) as never }))],
    ["a driver's event", "checkpoint_delivery", delivers(1, { events: [nested(10_000) as never] })],
    [
      "what caused a message",
      "checkpoint_delivery",
      delivers(1, { messages: [{ role: "user", content: "c", origin: { ...origin, causedBy: nested(10_000) as never } }] }),
    ],
    ["a provider's usage", "llm_complete", says(1, "t", { providerUsage: nested(10_000) as never })],
  ] as const)("in %s it is refused", (_, type, response) => {
    expect(give(type, response)).toBe("invalid_response")
  })

  test("under a key that is not known it is ignored", () => {
    expect(give("llm_complete", { ...says(1, "Hi."), future: nested(10_000) })).toBe("taken")
  })

  test("in a checkpoint it is refused, as text and as a value", () => {
    const deep = "[".repeat(10_000) + "]".repeat(10_000)
    const { config, text } = SAVED.tool_results
    const texts = [
      text.replace('"args":{}', `"args":${deep}`),
      text.replace('"turnCauses":[]', `"turnCauses":${deep}`),
      text.replace('{"format"', `{"more":${deep},"format"`),
      deep,
    ]
    for (const damaged of texts) {
      expect(damaged.length).toBeGreaterThan(20_000 - 1)
      for (const form of [damaged, JSON.parse(damaged) as unknown]) expect(() => TurnMachine.restore(config, form)).toThrow(CheckpointError)
    }
  })

  test("128 deep is taken wherever free JSON may stand, and the turn goes on in another process", () => {
    const { config, text } = SAVED.tool_results
    const machine = TurnMachine.restore(config, text)
    const value = nested(128) as never
    respond(machine, results(2, completed("a", value, { args: value }), completed("b", nestedObject(128) as never)))
    expect(moved(machine, config).state).toBe("waiting_checkpoint")
    expect(give("checkpoint_delivery", delivers(1, { events: [value] }))).toBe("taken")
  })
})

describe("much of it", { timeout: 120_000 }, () => {
  const BIG = "x".repeat(10_000_000)

  test("10 MB texts in answers, results and deliveries", () => {
    const config = configOf({ emitLlmTrace: true })
    let machine = new TurnMachine(config, { messages: [userMessage(BIG)] })
    pollAll(machine)
    respond(
      machine,
      answer(1, [
        { type: "text", text: BIG },
        { type: "tool_call", callId: "c", toolName: "t", inputJson: JSON.stringify({ big: BIG }) },
      ]),
    )
    machine = moved(machine, config)
    respond(machine, results(2, completed("c", BIG)))
    respond(machine, delivers(3, { messages: [{ role: "user", content: BIG }] }))
    machine = moved(machine, config)
    expect(machine.messages.map((message) => message.parts.length)).toEqual([1, 2, 1, 1])
    respond(machine, {
      type: "llm_complete",
      id: 4,
      result: { ok: false, error: { message: "m", retryable: false, raw: ` ${BIG} `, terminalReason: "unknown" } },
    })
    expect(machine.done).toBe(true)
  })

  test("a 10 MB call id that nobody asked for", () => {
    expect(give("tool_results", results(2, completed(BIG)))).toBe("unknown_call")
  })

  test("10 MB of white space", () => {
    const { config, text } = SAVED.llm_complete
    const machine = TurnMachine.restore(config, text)
    respond(machine, says(1, "\u0085".repeat(10_000_000)))
    expect(machine.outcome).toEqual({ type: "stopped", stop: { type: "provider_error" } })
  })

  test("10 MB of checkpoint that is none", () => {
    expect(() => TurnMachine.restore(CONFIG, BIG)).toThrow(CheckpointError)
    expect(() => TurnMachine.restore(CONFIG, `"${BIG}"`)).toThrow(CheckpointError)
  })

  const CALL_IDS = Array.from({ length: 10_000 }, (_, index) => `call_${index}`)

  function waitingForAll(): TurnMachine {
    const machine = new TurnMachine(configOf(), { messages: [userMessage("hello")] })
    pollAll(machine)
    respond(machine, callsTools(1, CALL_IDS))
    return machine
  }

  function expectAllAnswered(machine: TurnMachine): void {
    expect(machine.state).toBe("waiting_checkpoint")
    expect(machine.messages.at(-1)?.parts.map((each) => (each.type === "tool_result" ? each.callId : each.type))).toEqual(CALL_IDS)
  }

  test("10,000 tool calls in one batch, answered all at once", () => {
    const machine = waitingForAll()
    const effects = respond(machine, results(2, ...CALL_IDS.map((callId) => completed(callId))))
    expect(effects).toHaveLength(10_002)
    expectAllAnswered(machine)
  })

  test("10,000 tool calls in one batch, answered one by one", () => {
    const machine = waitingForAll()
    for (const callId of CALL_IDS) machine.handle(results(2, completed(callId)))
    pollAll(machine)
    expectAllAnswered(machine)
  })

  test("10,000 tool calls in one batch, answered in reverse, and moved to another process half way", () => {
    let machine = waitingForAll()
    CALL_IDS.toReversed().forEach((callId, index) => {
      if (index === 5_000) machine = moved(machine, configOf())
      machine.handle(results(2, completed(callId)))
    })
    pollAll(machine)
    expectAllAnswered(machine)
  })

  test("10,000 calls without an id get 10,000 ids", () => {
    const machine = new TurnMachine(configOf(), { messages: [userMessage("hello")] })
    pollAll(machine)
    respond(
      machine,
      callsTools(
        1,
        CALL_IDS.map(() => ""),
      ),
    )
    const effect = machine.outstanding
    expect(new Set(effect?.type === "tool_calls" ? effect.calls.map((call) => call.callId) : []).size).toBe(10_000)
    machine.cancel()
    expect(callsAndResults(machine.messages)).toHaveLength(20_000)
  })

  test("200,000 pieces of text in one answer", () => {
    const machine = new TurnMachine(configOf(), { messages: [userMessage("hello")] })
    pollAll(machine)
    const parts = Array.from({ length: 200_000 }, (): OutputPart => ({ type: "text", text: "x\n\n" }))
    expect(machine.handle(answer(1, parts))).toEqual({ status: "accepted" })
    expect(machine.state).toBe("waiting_checkpoint")
    machine.finish({ type: "agent_frame_switch", frameId: "f" })
    const restored = TurnMachine.restore(configOf(), JSON.stringify(machine.checkpoint()))
    expect(restored.done).toBe(true)
    const effects = pollAll(restored)
    expect(effects.filter((effect) => effect.type === "emit" && effect.event.type === "text_delta")).toHaveLength(200_000)
    expect(effects.at(-1)?.type).toBe("done")
  })

  test("a batch that asks for 10,000 results of the same call", () => {
    const driver = driverOf({ prepareIteration: () => [{ type: "start_tools", calls: CALL_IDS.map(() => pending("same")) }] })
    const machine = new TurnMachine(configOf({ driver }), { messages: [] })
    pollAll(machine)
    machine.handle(results(1, ...CALL_IDS.map(() => completed("same"))))
    expect(machine.done).toBe(true)
  })
})

describe("odd texts and numbers", () => {
  test("lone surrogates go through a turn, its checkpoint and its restore unchanged", () => {
    const odd = "\ud800 \udc00 \udfff\ud800"
    const config = configOf({ systemPrompt: odd })
    let machine = new TurnMachine(config, { messages: [userMessage(odd)] })
    pollAll(machine)
    respond(
      machine,
      answer(1, [
        { type: "text", text: odd },
        { type: "tool_call", callId: odd, toolName: odd, inputJson: JSON.stringify({ [odd]: odd }) },
      ]),
    )
    machine = moved(machine, config)
    expect(machine.outstanding).toMatchObject({ calls: [{ callId: odd, toolName: odd, args: { [odd]: odd } }] })
    respond(machine, results(2, completed(odd, { [odd]: odd })))
    machine = moved(machine, config)
    expect(machine.messages.flatMap((message) => message.parts.map((each) => (each.type === "text" ? each.text : "")))).toEqual([odd, odd, "", ""])
  })

  test("numbers that are none are refused; minus zero is a zero", () => {
    for (const bad of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
      expect(give("tool_results", results(2, completed("a", bad)))).toBe("invalid_response")
      expect(give("tool_results", results(2, completed("a", 1, { durationMs: bad })))).toBe("invalid_response")
      expect(give("llm_complete", { ...says(1, "Hi."), at: bad })).toBe("invalid_response")
    }
    expect(give("tool_results", results(2, completed("a", -0, { durationMs: -0 })))).toBe("taken")
  })

  test("token counts saturate instead of leaving the safe integers", () => {
    const most = Number.MAX_SAFE_INTEGER
    const usage = { inputTokens: most, cachedInputTokens: most, outputTokens: most, reasoningTokens: most }
    const config = configOf()
    let machine = new TurnMachine(config, { messages: [userMessage("hello")] })
    pollAll(machine)
    respond(machine, callsTools(1, ["a"], { usage }))
    respond(machine, results(2, completed("a")))
    respond(machine, delivers(3))
    respond(machine, says(4, "Hi.", { usage }))
    machine = moved(machine, config)
    expect(machine.usage).toEqual(usage)
  })

  test("a delivery may reuse ids that are there already; nothing is lost by it", () => {
    const { config, text } = SAVED.checkpoint_delivery
    const machine = TurnMachine.restore(config, text)
    const twice = userMessage("again", "u1")
    respond(machine, delivers(1, { userMessages: [twice, twice] }))
    const again = moved(machine, config)
    expect(again.messages).toEqual([userMessage("hello"), twice, twice])
    expect(plain(again.events)).toEqual([
      { type: "conversation", message: twice },
      { type: "conversation", message: twice },
    ])
  })
})
