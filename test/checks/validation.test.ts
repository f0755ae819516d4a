import { describe, expect, test } from "vitest"
import { wireValidation } from "../../src/checks/validation.ts"
import { CheckpointError, SchemaError } from "../../src/errors.ts"
import { TurnMachine } from "../../src/validated-turn-machine.ts"
import { answer, completed, configOf, delivers, plain, pollAll, refusal, results, says, startedWith, userMessage } from "../machine/support.ts"

function issuesOf(act: () => unknown): readonly { readonly path: string; readonly message: string }[] {
  const error = refusal(act)
  if (!(error instanceof SchemaError)) throw error
  return error.issues
}

const COUNT_EXPECTED = "Invalid input: expected number, received string"

describe("the issues of a SchemaError say where a value is wrong", () => {
  test.each<readonly [string, unknown, readonly string[]]>([
    ["not an object", null, [""]],
    ["no type", {}, ["/type"]],
    ["an unknown type", { type: "constructor", id: 1 }, ["/type"]],
    ["an id that is a text", { ...results(1), id: "1" }, ["/id"]],
    ["no list", { type: "tool_results", id: 1, results: {} }, ["/results"]],
    ["the second of two results", results(1, completed("a"), { ...completed("b"), durationMs: -1 }), ["/results/1/durationMs"]],
    [
      "deep inside a part",
      answer(1, [
        { type: "text", text: "t" },
        { type: "reasoning", text: "t", replay: { summary: ["ok", 5 as never] } },
      ]),
      ["/result/response/parts/1/replay/summary/1"],
    ],
    ["several at once", { type: "llm_complete", id: -1, at: 1.5, result: { ok: true, response: { ...says(1, "t"), usage: {} } } }, ["/id", "/at"]],
    ["an unknown status", results(1, { ...completed("a"), output: { status: "gone" } as never }), ["/results/0/output/status"]],
    ["a value that is not JSON", results(1, completed("a", { ok: [Number.NaN] })), ["/results/0/output/value"]],
    ["a result that is neither", { type: "exec_result", id: 1, result: { ok: "yes" } }, ["/result/ok"]],
    [
      "a delivered part",
      delivers(1, { messages: [{ role: "user", content: "c", parts: [{ type: "image", id: 3 } as never] }] }),
      ["/delivery/messages/0/parts/0/id"],
    ],
  ])("%s", (_, response, paths) => {
    const found = issuesOf(() => wireValidation.response(response)).map((issue) => issue.path)
    expect(found).toEqual(expect.arrayContaining([...paths]))
    expect(found[0]).toBe(paths[0])
  })

  test("the message names what was checked and the first places", () => {
    const error = refusal(() => wireValidation.response({ ...results(1), id: "1" }))
    expect(error.message).toBe(`Not a valid response: "/id": ${COUNT_EXPECTED}.`)
    expect(error).toMatchObject({ name: "SchemaError", code: "invalid_response", issues: [{ path: "/id", message: COUNT_EXPECTED }] })
    expect(refusal(() => wireValidation.response(7)).message).toBe(
      "Not a valid response: the whole: Invalid input: expected object, received number.",
    )
  })

  test("start, config and actions have codes of their own", () => {
    expect(refusal(() => wireValidation.start({ messages: [{ ...userMessage("hi"), role: "robot" }] }))).toMatchObject({
      code: "invalid_start",
      issues: [{ path: "/messages/0/role" }],
    })
    expect(refusal(() => wireValidation.config({ ...configOf(), maxIterations: -1 }))).toMatchObject({
      code: "invalid_config",
      issues: [{ path: "/maxIterations" }],
    })
    expect(refusal(() => wireValidation.actions([{ type: "advance_iteration" }, { type: "finish" }]))).toMatchObject({
      code: "invalid_actions",
      issues: [{ path: "/1/outcome" }],
    })
    expect(refusal(() => wireValidation.actions("finish"))).toMatchObject({ code: "invalid_actions", issues: [{ path: "" }] })
  })

  test("a machine is not made of a wrong config or start", () => {
    expect(refusal(() => new TurnMachine({ ...configOf(), model: 5 as never }, { messages: [] })).code).toBe("invalid_config")
    expect(refusal(() => new TurnMachine(configOf(), { messages: "hello" as never })).code).toBe("invalid_start")
    expect(refusal(() => new TurnMachine(configOf(), { messages: [], iterationOffset: 0.5 })).code).toBe("invalid_start")
  })
})

describe("unknown keys", () => {
  test("on a response they are ignored at every depth, and never get into the checkpoint", () => {
    const machine = startedWith([{ type: "start_checkpoint", checkpoint: "after_work", onEmpty: { type: "prepare_iteration" } }])
    const newer = { future: { of: "the wire" } }
    const message = { ...userMessage("more", "u2"), ...newer, parts: [{ id: "u2.p0", type: "text" as const, text: "more", ...newer }] }
    const delivered = { role: "user" as const, content: "c", origin: { type: "plugin" as const, pluginId: "p", ...newer }, ...newer }
    const response = {
      ...delivers(1, { userMessages: [message], messages: [delivered], ...newer } as never),
      ...newer,
    }
    expect(machine.handle(response)).toEqual({ status: "accepted" })
    expect(JSON.stringify(machine.checkpoint())).not.toContain("future")
    expect(machine.messages.slice(1)).toEqual([
      { id: "u2", role: "user", parts: [{ id: "u2.p0", type: "text", text: "more" }] },
      {
        id: "m_0_checkpoint_1",
        role: "user",
        parts: [{ id: "m_0_checkpoint_1.p0", type: "text", text: "c" }],
        origin: { type: "plugin", pluginId: "p" },
      },
    ])
  })

  test("are left out of a configuration's tools too", () => {
    const tool = { name: "look", description: "Looks.", inputSchema: { type: "object" } }
    const config = configOf({
      tools: [{ ...tool, strict: true, execute: () => 1 } as typeof tool],
      generation: { maxOutputTokens: 5, heat: 1 } as { maxOutputTokens: number },
    })
    const machine = new TurnMachine(config, { messages: [userMessage("hello")] })
    pollAll(machine)
    const restored = TurnMachine.restore(config, JSON.stringify(machine.checkpoint()))
    expect(restored.outstanding).toMatchObject({ request: { tools: [tool], generation: { maxOutputTokens: 5 } } })
    expect(JSON.stringify(restored.checkpoint())).not.toMatch(/strict|heat/)
  })

  test("on a model's answer they are ignored too", () => {
    const machine = new TurnMachine(configOf(), { messages: [userMessage("hello")] })
    pollAll(machine)
    machine.handle({ ...answer(1, [{ type: "text", text: "hi", future: 1 } as never], { future: 2 } as never), future: 3 } as never)
    expect(JSON.stringify(machine.checkpoint())).not.toContain("future")
    expect(machine.messages.at(-1)?.parts).toEqual([{ id: "m_0_assistant_1.p0", type: "text", text: "hi" }])
  })

  test("a checkpoint with unknown keys is refused, and the path is a JSON pointer to the first", () => {
    const saved = plain(startedWith([{ type: "start_tools", calls: [] }]).checkpoint())
    const withKey = { ...saved, state: { ...saved.state, "a/b~c": 1 } }
    const error = refusal(() => wireValidation.checkpoint(withKey))
    expect(error).toBeInstanceOf(CheckpointError)
    expect(error).toMatchObject({ code: "invalid_checkpoint", path: "/state/a~1b~0c" })
  })

  test("free JSON has no unknown keys", () => {
    const machine = startedWith([
      { type: "append_events", events: [{ type: "protocol", event: { any: { key: ["is", { fine: 1 }] } } }] },
      { type: "start_tools", calls: [{ callId: "a", toolName: "t", args: { also: { here: null } } }] },
    ])
    const saved = plain(machine.checkpoint())
    expect(wireValidation.checkpoint(saved)).toEqual(saved)
  })
})

describe("values that throw when they are read", () => {
  const revoked = (): object => {
    const { proxy, revoke } = Proxy.revocable({}, {})
    revoke()
    return proxy
  }
  const thrower = (): object => ({
    get type(): string {
      throw new Error("not for you")
    },
    get format(): string {
      throw new Error("not for you")
    },
  })

  test.each([
    ["a revoked proxy", revoked],
    ["a getter that throws", thrower],
  ])("%s is refused with the error as cause", (_, make) => {
    for (const check of [wireValidation.response, wireValidation.start, wireValidation.actions, wireValidation.config]) {
      if (make === thrower && check !== wireValidation.response) continue
      const error = refusal(() => check(make()))
      expect(error).toBeInstanceOf(SchemaError)
      expect(error).toMatchObject({ issues: [{ path: "", message: "it cannot be read" }] })
      expect(error.cause).toBeInstanceOf(Error)
    }
    expect(refusal(() => wireValidation.checkpoint(make()))).toMatchObject({ name: "CheckpointError", code: "invalid_checkpoint", path: "" })
  })
})
