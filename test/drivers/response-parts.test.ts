import { describe, expect, test } from "vitest"
import { assistantParts, readResponse, showResponse } from "../../src/drivers/response-parts.ts"
import type { DriverContext } from "../../src/machine/driver.ts"
import type { LlmResponse, OutputPart } from "../../src/schemas/llm.ts"

const USAGE = { inputTokens: 0, cachedInputTokens: 0, outputTokens: 0, reasoningTokens: 0 }

/** The part of a context that reading an answer needs: message ids that count up from 5. */
function counting(): DriverContext {
  let next = 5
  const context: Pick<DriverContext, "newMessageId"> = {
    newMessageId: (scope) => {
      next += 1
      return `m_0_${scope}_${next - 1}`
    },
  }
  return context as DriverContext
}

function read(...parts: readonly OutputPart[]) {
  return readResponse(counting(), { text: "", parts, usage: USAGE, terminalReason: "stop" })
}

const text = (content: string): OutputPart => ({ type: "text", text: content })
const call = (callId: string, inputJson = "{}"): OutputPart => ({ type: "tool_call", callId, toolName: "look", inputJson })

describe("texts", () => {
  // Written as one text each, with | between the parts.
  test.each([
    ["a|b", "a|\n\nb"],
    ["a\n|b", "a\n|\nb"],
    ["a\n\n|b", "a\n\n|b"],
    ["a|\n\nb", "a|\n\nb"],
    ["a\n|\nb", "a\n|\nb"],
    ["a\n\n\n|\n\nb", "a\n\n\n|\n\nb"],
    ["|a||b", "a|\n\nb"],
    ["\n|b", "\n|\nb"],
    ["a|\n|b", "a|\n\n|b"],
    ["a\n|\n|b", "a\n|\n|b"],
    ["\n|\n|b", "\n|\n|b"],
    ["\n\n\n|b", "\n\n\n|b"],
    ["a ", "a "],
  ])("%j are joined with an empty line between: %j", (given, joined) => {
    const found = read(...given.split("|").map(text))
    expect(found.texts.map((part) => part.text).join("|")).toBe(joined)
    expect(found.text).toBe(joined.replaceAll("|", ""))
  })

  test("an answer without parts uses its text", () => {
    const response: LlmResponse = { text: "all", parts: [], usage: USAGE, terminalReason: "stop" }
    expect(readResponse(counting(), response)).toEqual({ text: "all", texts: [{ type: "text", text: "all" }], steps: [], calls: [] })
  })

  test("an answer with parts ignores its text", () => {
    expect(readResponse(counting(), { text: "other", parts: [text("part")], usage: USAGE, terminalReason: "stop" }).text).toBe("part")
  })

  test("a text keeps its provider metadata", () => {
    expect(read({ type: "text", text: "a", responseMeta: { id: "r1" } }).texts).toEqual([{ type: "text", text: "a", responseMeta: { id: "r1" } }])
  })
})

describe("reasoning", () => {
  test("is trimmed, and left out if it is blank and has no replay data", () => {
    const steps = read(
      { type: "reasoning", text: " \u0085because\n" },
      { type: "reasoning", text: " " },
      { type: "reasoning", text: "", replay: {} },
    ).steps
    expect(steps).toEqual([{ type: "reasoning", text: "because" }])
  })

  test.each([{ itemId: "" }, { encryptedContent: "" }, { signature: "s" }, { redacted: true as const }, { summary: ["x"] }])(
    "blank with replay data %j it is preserved, because its provider requires it",
    (replay) => {
      expect(read({ type: "reasoning", text: " ", replay }).steps).toEqual([{ type: "reasoning", text: "", replay }])
    },
  )

  test("an empty summary is not replay data", () => {
    expect(read({ type: "reasoning", text: "", replay: { summary: [] } }).steps).toEqual([])
  })
})

describe("tool calls", () => {
  test("keep their order, arguments, replay data and raw text", () => {
    const found = read(call("a", '{"x":1}'), { type: "tool_call", callId: "b", toolName: "t", inputJson: "[2]", replay: { opaque: "o" } })
    expect(found.calls).toEqual([
      { callId: "a", toolName: "look", args: { x: 1 } },
      { callId: "b", toolName: "t", args: [2], replay: { opaque: "o" } },
    ])
    expect(found.steps).toEqual([
      { type: "tool_call", callId: "a", toolName: "look", inputJson: '{"x":1}' },
      { type: "tool_call", callId: "b", toolName: "t", inputJson: "[2]", replay: { opaque: "o" } },
    ])
  })

  test("with blank or repeated ids get generated ones, in call and step", () => {
    const found = read(call("a"), call(""), call(" \u0085"), call("a"), call("b"))
    const ids = ["a", "m_0_call_5", "m_0_call_6", "m_0_call_7", "b"]
    expect(found.calls.map((each) => each.callId)).toEqual(ids)
    expect(found.steps.map((step) => step.type === "tool_call" && step.callId)).toEqual(ids)
  })

  test("a generated id that the model already used is skipped", () => {
    expect(read(call("m_0_call_5"), call(""), call("m_0_call_6")).calls.map((each) => each.callId)).toEqual([
      "m_0_call_5",
      "m_0_call_6",
      "m_0_call_7",
    ])
  })

  test.each([
    ["", {}],
    ["nonsense", {}],
    ['{"a":1', {}],
    ['{"a":1} and more', {}],
    ["1e999", {}],
    ["null", null],
    ['"text"', "text"],
    ["[1,[2]]", [1, [2]]],
    ['{"a":1,"a":2}', { a: 2 }],
    [" {} ", {}],
  ])("arguments %j are read as %j", (inputJson, args) => {
    expect(read(call("a", inputJson)).calls[0]?.args).toEqual(args)
  })

  test("arguments nested 128 deep are preserved, deeper ones become {}, and the raw text stays", () => {
    const nested = (depth: number): string => "[".repeat(depth) + "]".repeat(depth)
    expect(JSON.stringify(read(call("a", nested(128))).calls[0]?.args)).toBe(nested(128))
    const deep = read(call("a", nested(129)))
    expect(deep.calls[0]?.args).toEqual({})
    expect(deep.steps[0]).toMatchObject({ inputJson: nested(129) })
  })

  test("__proto__ in arguments is a key like any other", () => {
    const args = read(call("a", '{"__proto__":{"polluted":true}}')).calls[0]?.args
    expect(JSON.stringify(args)).toBe('{"__proto__":{"polluted":true}}')
    expect(Object.getPrototypeOf(args)).toBe(Object.prototype)
    expect(({} as { polluted?: true }).polluted).toBeUndefined()
  })
})

describe("the message and the events of an answer", () => {
  const found = read(text("first"), { type: "reasoning", text: "why a" }, call("a"), text(" "), { type: "reasoning", text: "why b" }, call("b"), {
    type: "reasoning",
    text: "after",
  })

  test("the message: texts first, then reasoning and calls in order; blank texts are left out", () => {
    expect(assistantParts("m", found)).toEqual([
      { id: "m.p0", type: "text", text: "first" },
      { id: "m.p1", type: "reasoning", text: "why a" },
      { id: "m.p2", type: "tool_call", callId: "a", toolName: "look", inputJson: "{}" },
      { id: "m.p3", type: "reasoning", text: "why b" },
      { id: "m.p4", type: "tool_call", callId: "b", toolName: "look", inputJson: "{}" },
      { id: "m.p5", type: "reasoning", text: "after" },
    ])
  })

  test("the events: one delta for each text, then the whole text", () => {
    expect(showResponse(found, 2, false)).toEqual([
      { type: "emit", event: { type: "text_delta", content: "first" } },
      { type: "emit", event: { type: "text_delta", content: "\n\n " } },
      { type: "emit", event: { type: "llm_response", iteration: 2, content: "first\n\n ", durationMs: 0 } },
    ])
  })

  test("streamed text is not emitted again", () => {
    expect(showResponse(found, 2, true)).toEqual([
      { type: "emit", event: { type: "llm_response", iteration: 2, content: "first\n\n ", durationMs: 0 } },
    ])
  })
})
