import { describe, expect, test } from "vitest"
import { wireValidation } from "../../src/checks/validation.ts"
import { CheckpointError } from "../../src/errors.ts"
import { readCheckpoint } from "../../src/machine/checkpoint.ts"
import type { TurnConfig } from "../../src/machine/config.ts"
import { TurnMachine as BareTurnMachine } from "../../src/machine/turn-machine.ts"
import { TurnMachine } from "../../src/validated-turn-machine.ts"
import {
  callsTools,
  completed,
  configOf,
  delivers,
  driverOf,
  type Edit,
  effectNames,
  moved,
  plain,
  pollAll,
  push,
  refusal,
  remove,
  respond,
  results,
  says,
  set,
  userMessage,
} from "./support.ts"

const CONFIG = configOf()

/** A turn that waits for two of three tool calls, as its JSON, with what a test changes in it. */
function saved(...edits: readonly Edit[]): object {
  const machine = new TurnMachine(CONFIG, { messages: [userMessage("hello")] })
  pollAll(machine)
  respond(machine, callsTools(1, ["a", "b", "c"]))
  respond(machine, { ...results(2, completed("b")), at: 1_700_000_000_000 })
  const checkpoint = plain(machine.checkpoint())
  for (const edit of edits) edit(checkpoint)
  return checkpoint
}

function problem(checkpoint: unknown, config: TurnConfig = CONFIG): readonly [string, string | undefined] {
  const error = refusal(() => TurnMachine.restore(config, checkpoint))
  expect(error).toBeInstanceOf(CheckpointError)
  expect(error.message).not.toBe("")
  return [error.code, error.path]
}

const RESULT = { callId: "b", toolName: "look", args: {}, output: { status: "success", value: "result of b" }, durationMs: 1 }
const usage = { inputTokens: 10, cachedInputTokens: 0, outputTokens: 2, reasoningTokens: 0 }

test("a saved turn is this JSON", () => {
  const call = (callId: string, index: number) => ({ id: `m_0_assistant_1.p${index}`, type: "tool_call", callId, toolName: "look", inputJson: "{}" })
  expect(saved()).toEqual({
    format: "turn-machine/checkpoint",
    version: 2,
    driver: { name: "chat", version: 1 },
    state: {
      type: "waiting_tools",
      outstanding: { type: "tool_calls", id: 2, calls: ["a", "b", "c"].map((callId) => ({ callId, toolName: "look", args: {} })) },
      results: [null, RESULT, null],
    },
    unpolled: [],
    messages: [userMessage("hello"), { id: "m_0_assistant_1", role: "assistant", parts: ["a", "b", "c"].map(call) }],
    events: [{ type: "message", index: 1 }],
    turnCauses: [],
    reportedEvents: 1,
    iteration: 0,
    iterationOffset: 0,
    usage,
    nextEffectId: 3,
    nextMessageNumber: 2,
    turnLimitScheduled: false,
    startLength: 1,
    systemPrompt: "",
    tools: [],
    at: 1_700_000_000_000,
  })
})

test("a turn can be restored from the text, from the parsed value, and from the value that checkpoint gave", () => {
  const machine = new TurnMachine(CONFIG, { messages: [userMessage("hello")] })
  pollAll(machine)
  const checkpoint = machine.checkpoint()
  for (const form of [JSON.stringify(checkpoint), plain(checkpoint), checkpoint, JSON.stringify(checkpoint, null, 2)]) {
    expect(plain(TurnMachine.restore(CONFIG, form).checkpoint())).toMatchObject({
      state: { type: "waiting_llm" },
      unpolled: [{ type: "outstanding" }],
    })
  }
})

test("changing a checkpoint's lists does not change the turn it came from", () => {
  const machine = new TurnMachine(CONFIG, { messages: [userMessage("hello")] })
  push("/unpolled", { type: "emit", event: { type: "done" } })(machine.checkpoint())
  expect(effectNames(pollAll(machine))).toEqual(["emit llm_request", "llm_call 1"])
})

test("a saved request is plain data: its lists are there, not put together when read", () => {
  const machine = new TurnMachine(CONFIG, { messages: [userMessage("hello")] })
  pollAll(machine)
  const { state } = machine.checkpoint()
  respond(machine, callsTools(1, ["a"]))
  respond(machine, results(2, completed("a")))
  machine.handle(delivers(3))
  machine.poll()
  // Answered before it was polled, so that it stands among the unpolled effects and is not the outstanding one.
  machine.handle(says(4, "Done."))
  const { unpolled } = machine.checkpoint()
  const requests = [state, ...unpolled]
    .flatMap((saved) => ("outstanding" in saved ? [saved.outstanding] : [saved]))
    .flatMap((effect) => ("request" in effect ? [effect.request] : []))
  expect(requests).toHaveLength(2)
  for (const request of requests) expect(Object.getOwnPropertyDescriptor(request, "messages")?.value).toBeInstanceOf(Array)
})

describe("not_json", () => {
  test("text that was cut off, wherever", () => {
    const text = JSON.stringify(saved())
    expect(text.length).toBeGreaterThan(800)
    for (let length = 0; length < text.length; length += 1) expect(problem(text.slice(0, length))).toEqual(["not_json", ""])
  })

  test("the error has that of the parser as its cause", () => {
    expect(refusal(() => TurnMachine.restore(CONFIG, "{")).cause).toBeInstanceOf(SyntaxError)
  })

  test.each(["", " ", "undefined", "{'format':1}", "\ufeff{}", "{} {}"])("%j", (text) => {
    expect(problem(text)).toEqual(["not_json", ""])
  })
})

describe("not_a_checkpoint", () => {
  test.each([
    [undefined, "Expected a checkpoint, got undefined."],
    [null, "Expected a checkpoint, got null."],
    [7, "Expected a checkpoint, got a number."],
  ])("the message for %s", (value, message) => {
    expect(refusal(() => TurnMachine.restore(configOf(), value)).message).toBe(message)
  })

  test.each([
    ["nothing", undefined],
    ["null", null],
    ["a number", 7],
    ["a function", () => saved()],
    ["a symbol", Symbol("checkpoint")],
    ["null as text", "null"],
    ["a text as text", '"turn-machine/checkpoint"'],
  ])("%s", (_, value) => {
    expect(problem(value)).toEqual(["not_a_checkpoint", ""])
  })

  test.each([
    ["a list", []],
    ["an empty object", {}],
    ["another format", { ...saved(), format: "another/checkpoint" }],
    ["a list as text", "[]"],
    ["bytes of a checkpoint", new TextEncoder().encode(JSON.stringify(saved()))],
  ])("%s", (_, value) => {
    expect(problem(value)).toEqual(["not_a_checkpoint", "/format"])
  })

  test("a value that throws when it is read", () => {
    const { proxy, revoke } = Proxy.revocable({}, {})
    revoke()
    expect(problem(proxy)).toEqual(["not_a_checkpoint", ""])
    const thrower = {
      get format(): string {
        throw new Error("not for you")
      },
    }
    expect(problem(thrower)).toEqual(["not_a_checkpoint", ""])
    expect(refusal(() => TurnMachine.restore(CONFIG, thrower)).cause).toEqual(new Error("not for you"))
  })
})

test("without validation, one that does not have what a turn needs is invalid too, not a TypeError", () => {
  const { format, version } = saved() as { readonly format: string; readonly version: number }
  for (const checkpoint of [{ format, version }, { ...saved(), state: undefined }, saved(set("/events", [null]))]) {
    const error = refusal(() => BareTurnMachine.restore(CONFIG, checkpoint))
    expect(error).toBeInstanceOf(CheckpointError)
    expect([error.code, error.path]).toEqual(["invalid_checkpoint", ""])
    expect(error.cause).toBeInstanceOf(TypeError)
  }
})

describe("unsupported_version", () => {
  test.each([3, 99, Number.MAX_SAFE_INTEGER, 1, 0])("%d: newer, or older without a migration", (version) => {
    expect(problem(saved(set("/version", version)))).toEqual(["unsupported_version", "/version"])
  })

  test.each([undefined, null, "1", 1.5, -1, Number.NaN, 2 ** 53, {}, 1n, [1], true])("%s is not a version", (version) => {
    expect(problem(saved(set("/version", version)))).toEqual(["unsupported_version", "/version"])
  })

  test("a newer one is named, and what this package reads", () => {
    const error = refusal(() => TurnMachine.restore(CONFIG, saved(set("/version", 3))))
    expect(error.message).toBe("The checkpoint has version 3; this package reads version 2. Update turn-machine.")
  })
})

describe("migrations", () => {
  const config = { ...CONFIG, validation: wireValidation }
  // As if `nextEffectId` had been called `effectCount` in version 0.
  const older = (): object => saved(set("/version", 0), remove("/nextEffectId"), set("/effectCount", 2))
  const fromZero = ({ effectCount, ...rest }: Record<string, unknown>): Record<string, unknown> => ({
    ...rest,
    nextEffectId: Number(effectCount) + 1,
  })

  const ONE = { 1: (checkpoint: Record<string, unknown>) => checkpoint }

  test("an older checkpoint is migrated, and then checked like any other", () => {
    const checkpoint = older()
    const before = JSON.stringify(checkpoint)
    const { turn } = readCheckpoint(config, checkpoint, { ...ONE, 0: fromZero })
    expect(turn.position.state).toMatchObject({ outstanding: { type: "tool_calls", id: 2 } })
    expect(turn.record.messages.length).toBe(2)
    expect(JSON.stringify(checkpoint)).toBe(before)
    expect(readCheckpoint(config, before, { ...ONE, 0: fromZero }).turn.position.state).toMatchObject({ outstanding: { id: 2 } })
  })

  test("without the migration it is refused", () => {
    const error = refusal(() => readCheckpoint(config, older(), {}))
    expect(error).toMatchObject({
      code: "unsupported_version",
      path: "/version",
      message: "The checkpoint has version 0; this package reads version 2. Use the release that wrote it.",
    })
  })

  test("the result of a migration is checked", () => {
    expect(refusal(() => readCheckpoint(config, older(), { ...ONE, 0: (checkpoint) => checkpoint }))).toMatchObject({
      code: "invalid_checkpoint",
      path: "/nextEffectId",
    })
  })

  test("a migration that fails on a damaged checkpoint makes it invalid", () => {
    const failing = (): never => {
      throw new TypeError("Cannot read properties of undefined")
    }
    const error = refusal(() => readCheckpoint(config, older(), { 0: failing }))
    expect(error).toMatchObject({ code: "invalid_checkpoint", path: "", cause: expect.any(TypeError) })
  })
})

describe("driver_mismatch", () => {
  test("another driver, or another version of it", () => {
    expect(problem(saved(), configOf({ driver: driverOf({ name: "code" }) }))).toEqual(["driver_mismatch", "/driver/name"])
    expect(problem(saved(), configOf({ driver: driverOf({ name: "chat", version: 2 }) }))).toEqual(["driver_mismatch", "/driver/version"])
    const error = refusal(() => TurnMachine.restore(configOf({ driver: driverOf({ name: "chat", version: 2 }) }), saved()))
    expect(error.message).toBe('The checkpoint was made under driver "chat" version 1, not "chat" version 2.')
  })
})

describe("invalid_checkpoint", () => {
  test.each<readonly [string, Edit | readonly Edit[], string]>([
    ["a missing list", remove("/messages"), "/messages"],
    ["a missing number", remove("/nextEffectId"), "/nextEffectId"],
    ["no driver", remove("/driver"), "/driver"],
    ["an unknown state", set("/state", { type: "resting" }), "/state/type"],
    ["a state named like a prototype key", set("/state", { type: "constructor" }), "/state/type"],
    ["a waiting state without what it waits for", remove("/state/outstanding"), "/state/outstanding"],
    ["an effect of another state", set("/state/outstanding", { type: "checkpoint", id: 2, checkpoint: "after_work" }), "/state/outstanding/type"],
    ["a result without output", remove("/state/results/1/output"), "/state/results/1/output"],
    ["an id that is a text", set("/state/outstanding/id", "2"), "/state/outstanding/id"],
    ["an id that is no whole number", set("/nextEffectId", 2.5), "/nextEffectId"],
    ["a negative count", set("/iteration", -1), "/iteration"],
    ["a settled result at a negative index", set("/state/settled", [{ index: -1, result: RESULT }]), "/state/settled/0/index"],
    ["null for a missing optional value", set("/at", null), "/at"],
    ["an unknown role", set("/messages/0/role", "robot"), "/messages/0/role"],
    ["an unknown part", set("/messages/0/parts/0/type", "video"), "/messages/0/parts/0/type"],
    ["an unknown effect", push("/unpolled", { type: "constructor" }), "/unpolled/0/type"],
    ["an unknown record", push("/events", { type: "note" }), "/events/1/type"],
    ["arguments that are no JSON", set("/state/outstanding/calls/0/args", { at: new Date(0) }), "/state/outstanding/calls/0/args"],
  ])("%s", (_, edits, path) => {
    expect(problem(saved(...[edits].flat()))).toEqual(["invalid_checkpoint", path])
  })

  test.each<readonly [string, Edit | readonly Edit[], string]>([
    ["at the top", set("/comment", "hi"), "/comment"],
    ["in the driver", set("/driver/author", 1), "/driver/author"],
    ["in the state", set("/state/since", 1), "/state/since"],
    ["in a call", set("/state/outstanding/calls/1/priority", 1), "/state/outstanding/calls/1/priority"],
    ["in a result", set("/state/results/1/output/more", 1), "/state/results/1/output/more"],
    ["in a message", set("/messages/1/pinned", true), "/messages/1/pinned"],
    ["in a part", set("/messages/1/parts/2/cache", 1), "/messages/1/parts/2/cache"],
    ["in the usage", set("/usage/cost", 1), "/usage/cost"],
    ["in a record", set("/events/0/note", 1), "/events/0/note"],
    ["in an unpolled effect", push("/unpolled", { type: "outstanding", id: 2 }), "/unpolled/0/id"],
    ["one that is undefined", set("/later", undefined), "/later"],
    ["constructor", set("/state/constructor", 1), "/state/constructor"],
  ])("an unknown key %s", (_, edits, path) => {
    expect(problem(saved(...[edits].flat()))).toEqual(["invalid_checkpoint", path])
  })

  test("__proto__ as a key is unknown, at any depth, and changes no prototype", () => {
    const text = JSON.stringify(saved())
    expect(problem(text.replace('{"format"', '{"__proto__":{"polluted":1},"format"'))).toEqual(["invalid_checkpoint", "/__proto__"])
    expect(problem(text.replace('"usage":{', '"usage":{"__proto__":{"polluted":1},'))).toEqual(["invalid_checkpoint", "/usage/__proto__"])
    expect(Object.hasOwn(Object.prototype, "polluted")).toBe(false)
  })
})

describe("inconsistent_checkpoint", () => {
  const tell = { type: "progress", messageCount: 2, eventsFrom: 0, eventsTo: 1, iteration: 0 }
  const done = { type: "done", outcome: { type: "agent_frame_switch", frameId: "f" }, messageCount: 2, eventsFrom: 1, eventsTo: 1, iteration: 0 }
  const finished = { type: "finished", outcome: done.outcome }
  const settled = (index: number) => ({ index, result: { ...RESULT, callId: `settled ${index}` } })
  const checkpointEffect = (id: number) => ({ type: "checkpoint", id, checkpoint: "after_work" })

  test.each<readonly [string, Edit | readonly Edit[], string]>([
    ["no effect id left to begin with", set("/nextEffectId", 0), "/nextEffectId"],
    ["an outstanding id above the next id", set("/state/outstanding/id", 4), "/state/outstanding/id"],
    ["an outstanding id at the next id", set("/state/outstanding/id", 3), "/state/outstanding/id"],
    ["an outstanding id below the last one given", set("/state/outstanding/id", 1), "/state/outstanding/id"],
    ["an iteration before the offset", set("/iterationOffset", 1), "/iteration"],
    ["an iteration synced that has not come", set("/syncedIteration", 1), "/syncedIteration"],
    ["more records reported than there are", set("/reportedEvents", 2), "/reportedEvents"],
    ["a result too few", remove("/state/results/2"), "/state/results"],
    ["a result too many", push("/state/results", null), "/state/results"],
    ["the result of another call", set("/state/results", [RESULT, null, null]), "/state/results/0/callId"],
    ["the result of an unknown call", set("/state/results/1/callId", "x"), "/state/results/1/callId"],
    [
      "nothing left to wait for",
      [set("/state/outstanding/calls", [{ callId: "b", toolName: "look", args: {} }]), set("/state/results", [RESULT])],
      "/state/results",
    ],
    ["settled results out of order", set("/state/settled", [settled(2), settled(1)]), "/state/settled/1/index"],
    ["two settled results in one place", set("/state/settled", [settled(1), settled(1)]), "/state/settled/1/index"],
    ["a settled result past the end of the batch", set("/state/settled", [settled(4)]), "/state/settled/0/index"],
    [
      "settled results with no call left to wait for",
      [set("/state/outstanding/calls", []), set("/state/results", []), set("/state/settled", [settled(0)])],
      "/state/settled",
    ],
    ["a turn that began with more messages than there are", set("/startLength", 3), "/startLength"],
    ["a record of a message that is not there", set("/events/0/index", 2), "/events/0/index"],
    ["the outstanding effect twice", push("/unpolled", { type: "outstanding" }, { type: "outstanding" }), "/unpolled/1"],
    [
      "an outstanding effect where none is",
      [set("/state", { type: "prepare_iteration" }), push("/unpolled", { type: "outstanding" })],
      "/unpolled/0",
    ],
    ["a second effect under the outstanding id", push("/unpolled", checkpointEffect(2)), "/unpolled/0/id"],
    ["an effect above the next id", push("/unpolled", checkpointEffect(3)), "/unpolled/0/id"],
    ["an effect that has no number", push("/unpolled", checkpointEffect(0)), "/unpolled/0/id"],
    ["done while the turn goes on", push("/unpolled", done), "/unpolled/0"],
    ["done twice", [set("/state", finished), push("/unpolled", done, done)], "/unpolled/0"],
    ["something after done", [set("/state", finished), push("/unpolled", done, { type: "emit", event: { type: "done" } })], "/unpolled/0"],
    ["more messages told than there are", push("/unpolled", { ...tell, messageCount: 3 }), "/unpolled/0/messageCount"],
    ["records told backwards", push("/unpolled", { ...tell, eventsFrom: 1, eventsTo: 0 }), "/unpolled/0/eventsTo"],
    ["records told backwards, and then all of them", push("/unpolled", { ...tell, eventsFrom: 1, eventsTo: 0 }, tell), "/unpolled/0/eventsTo"],
    ["records told that are not there", push("/unpolled", { ...tell, eventsTo: 2 }), "/unpolled/0/eventsTo"],
    ["records told twice", push("/unpolled", tell, tell), "/unpolled/1/eventsFrom"],
    ["records left out between two tellings", push("/unpolled", { ...tell, eventsFrom: 0, eventsTo: 0 }), "/unpolled/0/eventsTo"],
  ])("%s", (_, edits, path) => {
    expect(problem(saved(...[edits].flat()))).toEqual(["inconsistent_checkpoint", path])
  })

  test("settled results are accepted at any index of the batch, and the driver gets them among the others", () => {
    const seen: string[] = []
    const driver = driverOf({
      name: "chat",
      onToolResults: (_, found) => {
        seen.push(...found.map(({ callId }) => callId))
        return [{ type: "finish", outcome: { type: "agent_frame_switch", frameId: "f" } }]
      },
    })
    const machine = TurnMachine.restore(configOf({ driver }), saved(set("/state/settled", [settled(0), settled(2), settled(5)])))
    respond(machine, results(2, completed("c"), completed("a")))
    expect(seen).toEqual(["settled 0", "a", "settled 2", "b", "c", "settled 5"])
  })

  test("a batch without calls waits for an answer without results", () => {
    const machine = TurnMachine.restore(CONFIG, saved(set("/state/outstanding/calls", []), set("/state/results", [])))
    expect(effectNames(respond(machine, results(2))).at(-1)).toBe("checkpoint 3")
  })

  test.each(["iteration", "iterationOffset", "nextEffectId", "nextMessageNumber"])(
    "%s may be as high as can be counted on, and no higher",
    (counter) => {
      // Half as much again as a turn may begin with: 1.5 * 2 ** 52.
      const highest = 6_755_399_441_055_744
      const counters = { iteration: highest, iterationOffset: 0, nextEffectId: 3, nextMessageNumber: 2, [counter]: highest }
      const edits = Object.entries(counters).map(([key, value]) => set(`/${key}`, value))
      edits.push(set("/state/outstanding/id", counters.nextEffectId - 1))
      expect(TurnMachine.restore(CONFIG, saved(...edits)).checkpoint()).toMatchObject(counters)
      expect(problem(saved(...edits, set(`/${counter}`, highest + 1)))).toEqual(["inconsistent_checkpoint", `/${counter}`])
    },
  )

  test("a turn may have begun with all its messages", () => {
    expect(plain(TurnMachine.restore(CONFIG, saved(set("/startLength", 2))).checkpoint()).startLength).toBe(2)
  })

  test("an unusual one is accepted: reported effects that fit", () => {
    const machine = TurnMachine.restore(CONFIG, saved(push("/unpolled", { type: "outstanding" }, checkpointEffect(1), tell)))
    expect(effectNames(pollAll(machine))).toEqual(["tool_calls 2", "checkpoint 1", "progress"])
  })
})

describe("what a restored turn continues with", () => {
  test("redelivery keeps its place among the effects that were not polled yet", () => {
    const machine = new TurnMachine(configOf(), { messages: [userMessage("hello")] })
    pollAll(machine)
    machine.handle(callsTools(1, ["a"]))
    // Live, these come: token_usage, llm_response, progress, tool_calls.
    const live = effectNames(pollAll(TurnMachine.restore(CONFIG, JSON.stringify(machine.checkpoint()))))
    expect(live).toEqual(["emit token_usage", "emit llm_response", "progress", "tool_calls 2"])
    machine.poll()
    expect(effectNames(pollAll(moved(machine, CONFIG)))).toEqual(["emit llm_response", "progress", "tool_calls 2"])
    const again = moved(moved(machine, CONFIG), CONFIG)
    expect(effectNames(pollAll(again))).toEqual(["emit llm_response", "progress", "tool_calls 2"])
    expect(again.poll()).toBeUndefined()
  })

  test("effects after the outstanding one stay after it", () => {
    const machine = new TurnMachine(configOf(), { messages: [userMessage("hello")] })
    machine.poll()
    machine.apply([{ type: "emit", event: { type: "message", text: "hi", kind: "note" } }])
    const restored = moved(machine, CONFIG)
    expect(effectNames(pollAll(restored))).toEqual(["llm_call 1", "emit message"])
  })

  test("an outstanding effect that was polled is emitted once more, after what was not polled", () => {
    const machine = new TurnMachine(configOf(), { messages: [userMessage("hello")] })
    pollAll(machine)
    machine.apply([{ type: "emit", event: { type: "message", text: "hi", kind: "note" } }])
    expect(effectNames(pollAll(moved(machine, CONFIG)))).toEqual(["emit message", "llm_call 1"])
  })

  test("the outstanding effect is equal to the one before, under its id", () => {
    const machine = new TurnMachine(configOf(), { messages: [userMessage("hello")] })
    const [, before] = pollAll(machine)
    expect(pollAll(moved(machine, CONFIG))).toEqual([before])
  })

  test("an answer before the redelivery is polled replaces it", () => {
    const machine = new TurnMachine(configOf(), { messages: [userMessage("hello")] })
    pollAll(machine)
    const restored = moved(machine, CONFIG)
    expect(effectNames(respond(restored, says(1, "Hi.")))).toEqual([
      "emit token_usage",
      "emit text_delta",
      "emit llm_response",
      "progress",
      "checkpoint 2",
    ])
  })

  test("a stale answer does not", () => {
    const machine = new TurnMachine(configOf(), { messages: [userMessage("hello")] })
    pollAll(machine)
    respond(machine, says(1, "Hi."))
    const restored = moved(machine, CONFIG)
    expect(restored.handle(says(1, "Hi."))).toEqual({ status: "stale" })
    expect(effectNames(pollAll(restored))).toEqual(["checkpoint 2"])
  })

  test("of a tool batch only the calls without a result are emitted, and they complete it", () => {
    const restored = TurnMachine.restore(CONFIG, saved())
    const batch = { type: "tool_calls", id: 2, calls: ["a", "c"].map((callId) => ({ callId, toolName: "look", args: {} })) }
    expect(pollAll(restored)).toEqual([batch])
    expect(restored.outstanding).toEqual(batch)
    respond(restored, results(2, completed("c"), completed("a")))
    expect(restored.messages.at(-1)?.parts.map((part) => part.type === "tool_result" && part.text)).toEqual([
      "result of a",
      "result of b",
      "result of c",
    ])
  })

  test("after a result before the redelivery, only the rest is emitted", () => {
    const restored = TurnMachine.restore(CONFIG, saved())
    restored.handle(results(2, completed("a")))
    expect(pollAll(restored).map((effect) => (effect.type === "tool_calls" ? effect.calls.map((call) => call.callId) : effect.type))).toEqual([
      ["c"],
      "emit",
    ])
  })

  test("the last synced prompt and tools win over the config's, also over a changed config", () => {
    const tools = (description: string) => [{ name: "look", description, inputSchema: {} }]
    const config = configOf({ syncExecutionSurface: true, systemPrompt: "first", tools: tools("first") })
    const machine = new TurnMachine(config, { messages: [userMessage("hello")] })
    pollAll(machine)
    respond(machine, { type: "execution_surface_synced", id: 1, result: { ok: true, update: { systemPrompt: "synced", tools: tools("synced") } } })
    const changed = configOf({ systemPrompt: "second", tools: tools("second"), model: "another-model" })
    for (const restored of [moved(machine, config), moved(machine, changed)]) {
      respond(restored, callsTools(2, ["a"]))
      respond(restored, results(3, completed("a")))
      const effects = respond(restored, delivers(4))
      const call =
        restored === undefined ? undefined : effects.findLast((effect) => effect.type === "llm_call" || effect.type === "sync_execution_surface")
      if (call?.type === "llm_call") {
        expect(call.request.messages[0]).toEqual({ role: "system", blocks: [{ type: "text", text: "synced" }] })
        expect(call.request.tools).toEqual(tools("synced"))
        // The rest of the config is the host's to pass.
        expect(call.request.model).toBe("another-model")
      } else expect(call).toEqual({ type: "sync_execution_surface", id: 5, updateMachineConfig: true })
    }
  })

  test("a surface that was synced for the iteration is not synced again", () => {
    const config = configOf({ syncExecutionSurface: true })
    const machine = new TurnMachine(config, { messages: [userMessage("hello")] })
    pollAll(machine)
    machine.handle({ type: "execution_surface_synced", id: 1, result: { ok: true, update: { systemPrompt: "", tools: [] } } })
    expect(machine.checkpoint()).toMatchObject({ state: { type: "prepare_iteration" }, syncedIteration: 0 })
    expect(effectNames(pollAll(moved(machine, config)))).toEqual(["emit llm_request", "llm_call 2"])
  })

  test("counters, causes, times and the limit's mark are restored", () => {
    const config = configOf({ maxIterations: 1 })
    const cause = { id: "e1", eventType: "mail", origin: { type: "plugin", pluginId: "p" }, text: "mail" } as const
    const machine = new TurnMachine(config, {
      messages: [userMessage("hello")],
      turnCauses: [cause],
      iterationOffset: 3,
      events: [{ type: "protocol", event: "old" }],
    })
    pollAll(machine)
    respond(machine, { ...says(1, "Hi."), at: 50 })
    respond(machine, delivers(2, { messages: [{ role: "user", content: "more" }] }))
    const restored = moved(machine, config)
    expect(plain(restored.checkpoint())).toMatchObject({
      iteration: 4,
      iterationOffset: 3,
      nextEffectId: 4,
      nextMessageNumber: 4,
      reportedEvents: 2,
      turnLimitScheduled: true,
      usage,
      at: 50,
      turnCauses: [cause],
    })
    respond(restored, says(3, "Done."))
    respond(restored, delivers(4, { messages: [{ role: "user", content: "even more" }] }))
    expect(restored.outcome).toEqual({ type: "stopped", stop: { type: "max_iterations" } })
  })

  test("records of the start count as reported, and are not reported again", () => {
    const machine = new TurnMachine(configOf(), { messages: [userMessage("hello")], events: [{ type: "protocol", event: "old" }] })
    const restored = moved(machine, CONFIG)
    pollAll(restored)
    const effects = respond(restored, says(1, "Hi."))
    const message = { id: "m_0_assistant_1", role: "assistant", parts: [{ id: "m_0_assistant_1.p0", type: "text", text: "Hi." }] }
    expect(effects.flatMap((effect) => (effect.type === "progress" ? effect.eventDelta : []))).toEqual([{ type: "conversation", message }])
  })

  test("a finished turn is still finished, with its messages, and reports nothing twice", () => {
    const machine = new TurnMachine(configOf(), { messages: [userMessage("hello")] })
    pollAll(machine)
    machine.cancel()
    pollAll(machine)
    const restored = moved(machine, CONFIG)
    expect(restored.done).toBe(true)
    expect(restored.outcome).toEqual({ type: "stopped", stop: { type: "cancelled" } })
    expect(restored.messages).toEqual([userMessage("hello")])
    expect(restored.poll()).toBeUndefined()
  })

  test("done that was not polled yet is emitted after the restore, with what it reports", () => {
    const machine = new TurnMachine(configOf(), { messages: [userMessage("hello")] })
    pollAll(machine)
    machine.handle(callsTools(1, ["a"]))
    machine.cancel("enough")
    const restored = pollAll(moved(machine, CONFIG))
    expect(effectNames(restored)).toEqual([
      "emit token_usage",
      "emit llm_response",
      "progress",
      "emit message",
      "progress",
      "emit turn_outcome",
      "emit done",
      "done",
    ])
    expect(restored).toEqual(pollAll(machine))
  })
})
