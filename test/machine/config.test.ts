import { describe, expect, test } from "vitest"
import * as z from "zod"
import { wireValidation } from "../../src/checks/validation.ts"
import { chatDriver } from "../../src/drivers/chat.ts"
import { SchemaError } from "../../src/errors.ts"
import { defineTool } from "../../src/hosts/tools/define-tool.ts"
import { toolbox } from "../../src/hosts/tools/toolbox.ts"
import { checkDriver, checkedConfig, completeConfig, type TurnConfig } from "../../src/machine/config.ts"
import type { DriverContext } from "../../src/machine/driver.ts"
import { begin } from "../../src/machine/step.ts"
import { TurnMachine as BareTurnMachine } from "../../src/machine/turn-machine.ts"
import { userMessage } from "../../src/machine/user-message.ts"
import { chatProjector } from "../../src/projectors/chat.ts"
import { TurnMachine } from "../../src/validated-turn-machine.ts"
import { driverOf, says } from "./support.ts"

const CONFIG: TurnConfig = { driver: chatDriver(), projector: chatProjector, model: "m" }
const START = { messages: [userMessage("hello")] }
const DEFAULTS = { sessionId: "turn", systemPrompt: "", tools: [], generation: {}, syncExecutionSurface: false, emitLlmTrace: false }

describe("a config of driver, projector and model", () => {
  test.each([
    ["with checks", TurnMachine],
    ["without checks", BareTurnMachine],
  ])("runs a turn %s, and its driver sees the defaults", (_name, Machine) => {
    const seen: unknown[] = []
    const watch = ({ config }: DriverContext): void => {
      const { model, sessionId, systemPrompt, tools, generation, syncExecutionSurface, emitLlmTrace } = config
      seen.push({ model, sessionId, systemPrompt, tools, generation, syncExecutionSurface, emitLlmTrace })
    }
    const { prepareIteration } = driverOf()
    const driver = driverOf({
      prepareIteration: (context) => {
        watch(context)
        return prepareIteration(context)
      },
    })
    const machine = new Machine({ ...CONFIG, driver }, START)
    expect(machine.poll()?.type).toBe("emit")
    expect(seen).toEqual([{ model: "m", ...DEFAULTS }])
    const restored = Machine.restore({ ...CONFIG, driver }, JSON.stringify(machine.checkpoint()))
    expect(restored.handle(says(1, "hi"))).toEqual({ status: "accepted" })
  })

  test("the pure functions fill in the same defaults", () => {
    expect(begin(CONFIG, START).turn).toEqual(new TurnMachine({ ...CONFIG, ...DEFAULTS }, START).turn)
  })

  test("has all that is given, and no key of what is not", () => {
    const given: Omit<TurnConfig, "driver" | "projector"> = {
      model: "m",
      modelVariant: "v",
      sessionId: "s",
      runSessionId: "r",
      systemPrompt: "Be brief.",
      tools: [{ name: "look", description: "", inputSchema: {} }],
      maxContextTokens: 9,
      maxResultTokens: 8,
      maxIterations: 7,
      maxTokens: 6,
      generation: { seed: 5 },
      parallelToolCalls: false,
      cache: "off",
      syncExecutionSurface: true,
      emitLlmTrace: true,
    }
    const { driver, projector, turnLimitMessage, validation, ...complete } = completeConfig({ ...CONFIG, ...given })
    expect(complete).toStrictEqual(given)
    const { driver: _d, projector: _p, turnLimitMessage: _t, validation: _v, ...defaults } = completeConfig(CONFIG)
    expect(Object.keys(defaults).toSorted()).toEqual(["model", ...Object.keys(DEFAULTS)].toSorted())
    expect(completeConfig({ ...CONFIG, generation: { seed: 5, temperature: undefined } }).generation).toStrictEqual({ seed: 5 })
  })

  test("leaves optional keys out that are undefined, and accepts every other as undefined", () => {
    const keys = ["modelVariant", "runSessionId", "maxContextTokens", "maxIterations", "turnLimitMessage", "validation", ...Object.keys(DEFAULTS)]
    const unset = { ...CONFIG, ...Object.fromEntries(keys.map((key) => [key, undefined])) } as TurnConfig
    for (const config of [completeConfig(unset), checkedConfig({ ...unset, validation: wireValidation })]) {
      expect(config).toMatchObject({ model: "m", ...DEFAULTS })
      for (const key of ["modelVariant", "runSessionId", "maxContextTokens", "maxIterations"]) expect(config).not.toHaveProperty(key)
    }
    expect(new TurnMachine(unset, START).state).toBe("preparing")
  })

  test.each([
    ["with checks", TurnMachine],
    ["without checks", BareTurnMachine],
  ])("accepts an undefined limit of the generation, %s, and leaves it out of requests", (_name, Machine) => {
    const machine = new Machine({ ...CONFIG, generation: { maxOutputTokens: undefined } }, START)
    while (machine.poll() !== undefined);
    const { outstanding } = machine
    expect(outstanding?.type === "llm_call" && Object.keys(outstanding.request.generation)).toEqual([])
  })

  test("the checks stay when `validation` is given as undefined", () => {
    expect(() => new TurnMachine({ ...CONFIG, model: 1 as never, validation: undefined }, START)).toThrow(SchemaError)
  })
})

const look = defineTool({ name: "look", description: "Looks.", input: z.object({}), execute: async () => "sky" })
const box = toolbox([look])

describe("a mistake in a config is refused with what to do", () => {
  test.each<readonly [string, object, string, RegExp]>([
    ["a driver that was not called", { driver: chatDriver }, "/driver", /chatDriver returns a driver; call it, as in driver: chatDriver\(\)/],
    [
      "a factory without a name",
      {
        driver: (
          () => () =>
            chatDriver()
        )(),
      },
      "/driver",
      /the function returns a driver; call it/,
    ],
    ["no driver", { driver: undefined }, "/driver", /a driver is needed, such as chatDriver\(\)/],
    [
      "a driver without onLlmComplete",
      { driver: without("onLlmComplete") },
      "/driver",
      /the driver "test" does not have the function onLlmComplete\.$/,
    ],
    [
      "a driver without onToolResults",
      { driver: without("onToolResults") },
      "/driver",
      /the driver "test" does not have the function onToolResults\.$/,
    ],
    ["a limit message that is not a function", { turnLimitMessage: "x" }, "/turnLimitMessage", /it must be a function that returns a message/],
    ["an empty validation", { validation: {} }, "/validation", /it does not have the functions response, .*; pass wireValidation, or leave it out/],
    ["a validation that is null", { validation: null }, "/validation", /pass wireValidation, or leave it out/],
    ["a key of 300,000 characters", { ["k".repeat(300_000)]: 1 }, `/${"k".repeat(300_000)}`, /^.{0,100}…": unknown key; the keys are .{0,300}$/],
    ["no model", { model: undefined }, "/model", /the config needs `model`, the name of the model at its provider/],
    ["the request of a projector", { projector: {} }, "/projector", /pass a function such as chatProjector, not chatProjector\(\)/],
    ["a misspelt key", { maxIteration: 3 }, "/maxIteration", /unknown key; did you mean "maxIterations"\?$/],
    ["a key in another case", { systemprompt: "" }, "/systemprompt", /did you mean "systemPrompt"\?/],
    ["a key like no other", { autonomous: true }, "/autonomous", /unknown key; the keys are model, /],
    ["a toolbox", { tools: box }, "/tools", /this is a toolbox; pass its specs, as in tools: box\.specs/],
    ["a toolbox in a list", { tools: [box] }, "/tools/0", /this is a toolbox; pass its specs, as in tools: box\.specs/],
    ["a bare tool", { tools: look }, "/tools", /this is a tool; pass the specs of a toolbox, as in tools: toolbox\(\[tool\]\)\.specs/],
    ["a list of tools", { tools: [...box.specs, look] }, "/tools/1", /this is a tool; pass the specs/],
    ["a tool without a schema", { tools: [{ name: "look", description: "" }] }, "/tools/0/inputSchema", /the tool "look" has no inputSchema/],
  ])("%s", (_name, change, path, message) => {
    const error = thrown(() => new TurnMachine({ ...CONFIG, ...change } as TurnConfig, START))
    expect(error).toBeInstanceOf(SchemaError)
    expect(error).toMatchObject({ code: "invalid_config", issues: [{ path }], message: expect.stringMatching(message) })
  })

  test.each([
    ["a driver that was not called", { driver: chatDriver }],
    ["a driver without onToolResults", { driver: without("onToolResults") }],
    ["the request of a projector", { projector: {} }],
    ["a limit message that is not a function", { turnLimitMessage: "x" }],
    ["an empty validation", { validation: {} }],
    ["a validation that is null", { validation: null }],
  ])("%s, also without checks", (_name, change) => {
    expect(thrown(() => new BareTurnMachine({ ...CONFIG, ...change } as never, START))).toMatchObject({ code: "invalid_config" })
  })

  test("a projector that is called as a factory", () => {
    const make = chatProjector as () => unknown
    expect(thrown(() => make())).toMatchObject({ code: "invalid_config", message: "Pass chatProjector, not chatProjector()." })
  })

  test.each([
    ["with checks", TurnMachine],
    ["without checks", BareTurnMachine],
  ])("no config at all, %s", (_name, Machine) => {
    for (const none of [undefined, null]) {
      const error = thrown(() => new Machine(none as never, START))
      expect(error).toMatchObject({ code: "invalid_config", issues: [{ path: "/model" }] })
      expect(error).toMatchObject({ message: expect.stringContaining("the config needs `model`") })
    }
  })

  test.each([
    ["driver", TurnMachine],
    ["model", TurnMachine],
    ["validation", TurnMachine],
    ["driver", BareTurnMachine],
    ["model", BareTurnMachine],
    ["validation", BareTurnMachine],
  ])("a getter of `%s` that throws, as the cause of the error", (key, Machine) => {
    const cause = new Error("locked")
    const config = Object.defineProperty({ ...CONFIG }, key, {
      enumerable: true,
      get: () => {
        throw cause
      },
    })
    const error = thrown(() => new Machine(config, START))
    expect(error).toBeInstanceOf(SchemaError)
    expect(error).toMatchObject({ code: "invalid_config", issues: [{ path: "" }], cause })
  })

  test("an unknown key of any length in a few milliseconds", () => {
    const config = { ...CONFIG, ["k".repeat(300_000)]: 1 }
    // The fastest of some, because a busy machine may stop any of them.
    const times = Array.from({ length: 8 }, () => {
      const start = performance.now()
      thrown(() => new TurnMachine(config, START))
      return performance.now() - start
    })
    expect(Math.min(...times)).toBeLessThan(300)
  })

  test("checkDriver accepts a driver and refuses anything else", () => {
    expect(() => checkDriver(chatDriver())).not.toThrow()
    expect(() => checkDriver({ ...chatDriver(), version: 0 })).not.toThrow()
    const { onToolResults: _, name: _name, ...nameless } = chatDriver()
    expect(thrown(() => checkDriver(nameless))).toMatchObject({ code: "invalid_config", issues: [{ path: "/driver" }] })
    for (const value of [undefined, null, "chat", {}, chatDriver]) expect(thrown(() => checkDriver(value))).toMatchObject({ code: "invalid_config" })
  })
})

describe("a mistake in a start is refused with what to do", () => {
  const message = (role: string, content: unknown) => ({ role, content })
  const content = ["/messages/0/id", "/messages/0/parts"]
  test.each<readonly [string, unknown, readonly string[], string]>([
    ["no start", undefined, [""], 'A turn needs a start: new TurnMachine(config, { messages: [userMessage("…")] }).'],
    [
      "a message of a model API",
      { messages: [message("user", "Hello")] },
      content,
      'Not a valid start of a turn: message 0 has `content`; make it with userMessage("Hello").',
    ],
    [
      "a long one",
      { messages: [message("user", "a".repeat(1000))] },
      content,
      `Not a valid start of a turn: message 0 has \`content\`; make it with userMessage("${"a".repeat(60)}…").`,
    ],
    [
      "a message of another role",
      { messages: [message("assistant", "Hi")] },
      content,
      'Not a valid start of a turn: message 0 has `content`; its text belongs in parts: [{ id: "p0", type: "text", text: "Hi" }].',
    ],
    [
      "a message with a list as its content",
      { messages: [message("user", [{ type: "text", text: "Hello" }])] },
      content,
      'Not a valid start of a turn: message 0 has `content`; make it with userMessage("…").',
    ],
  ])("%s", (_name, start, paths, expected) => {
    const error = thrown(() => new TurnMachine(CONFIG, start as never))
    expect(error).toMatchObject({ code: "invalid_start", issues: paths.map((path) => ({ path })), message: expected })
  })
})

test("a response without usage is refused with what to pass", () => {
  const machine = new TurnMachine(CONFIG, START)
  while (machine.poll() !== undefined);
  const response = { text: "hi", parts: [], terminalReason: "stop" }
  const error = thrown(() => machine.handle({ type: "llm_complete", id: 1, result: { ok: true, response } } as never))
  expect(error).toMatchObject({ code: "invalid_response", issues: [{ path: "/result/response/usage" }] })
  expect(error).toMatchObject({ message: expect.stringMatching(/The response has no usage; pass \{ inputTokens, .* \}, or zeros/) })
})

describe("userMessage", () => {
  test("is the same message for the same input", () => {
    expect(userMessage("hello")).toEqual({ id: "user-1", role: "user", parts: [{ id: "user-1.p0", type: "text", text: "hello" }] })
    expect(userMessage("hello", { id: "mine" }).id).toBe("mine")
  })

  test("numbers a message after those before it", () => {
    const thread = [userMessage("hello")]
    for (let count = 0; count < 5; count += 1) thread.push(userMessage("again", { after: thread }))
    expect(new Set(thread.map(({ id }) => id)).size).toBe(6)
  })
})

test("the checked machine is an instance of both classes, the bare one only of its own", () => {
  expect(new TurnMachine(CONFIG, START)).toBeInstanceOf(BareTurnMachine)
  expect(TurnMachine.restore(CONFIG, new BareTurnMachine(CONFIG, START).checkpoint())).toBeInstanceOf(TurnMachine)
  expect(new BareTurnMachine(CONFIG, START)).not.toBeInstanceOf(TurnMachine)
})

/** A driver without one callback, as a caller without types may write it. */
function without(name: "onLlmComplete" | "onToolResults"): unknown {
  return { ...driverOf(), [name]: undefined }
}

function thrown(act: () => unknown): unknown {
  try {
    act()
  } catch (error) {
    return error
  }
  throw new Error("Nothing was thrown.")
}
