import * as fc from "fast-check"
import { describe, expect, test } from "vitest"
import { assistantParts, readResponse, showResponse } from "../../src/drivers/response-parts.ts"
import { jsonFault } from "../../src/json-fault.ts"
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
    expect(found.texts.join("|")).toBe(joined)
    expect(found.text).toBe(joined.replaceAll("|", ""))
  })

  test("an answer without parts uses its text", () => {
    const response: LlmResponse = { text: "all", parts: [], usage: USAGE, terminalReason: "stop" }
    expect(readResponse(counting(), response)).toEqual({
      ...{ text: "all", texts: ["all"], parts: [text("all")], calls: [], settled: [] },
      ...{ producer: undefined, durationMs: 0 },
    })
  })

  test("an answer with parts ignores its text", () => {
    expect(readResponse(counting(), { text: "other", parts: [text("part")], usage: USAGE, terminalReason: "stop" }).text).toBe("part")
  })
})

test("the parts of an answer stay as they are and where they are", () => {
  const parts: readonly OutputPart[] = [
    { type: "reasoning", text: " \u0085because\n", replay: { signature: "s" } },
    { type: "text", text: "one", responseMeta: { id: "r1" } },
    { type: "reasoning", text: "" },
    { type: "text", text: "", providerMetadata: { signature: "c2ln" } },
    { type: "opaque", provider: "p", kind: "search", data: { hits: [1] } },
    { type: "text", text: " two " },
    { ...(call("a") as Extract<OutputPart, { type: "tool_call" }>), providerMetadata: [1] },
    { type: "reasoning", text: "after" },
  ]
  expect(read(...parts).parts).toEqual(parts)
  expect(read(...parts).text).toBe("one\n\n two ")
})

describe("tool calls", () => {
  test("keep their order, arguments, replay data and raw text", () => {
    const found = read(call("a", '{"x":1}'), { type: "tool_call", callId: "b", toolName: "t", inputJson: '{"y":[2]}', replay: { opaque: "o" } })
    expect(found.calls).toEqual([
      { callId: "a", toolName: "look", args: { x: 1 } },
      { callId: "b", toolName: "t", args: { y: [2] }, replay: { opaque: "o" } },
    ])
    expect(found.settled).toEqual([])
  })

  test("with blank or repeated ids get generated ones, in call and part", () => {
    const found = read(call("a"), call(""), call(" \u0085"), call("a"), call("b"))
    const ids = ["a", "m_0_call_5", "m_0_call_6", "m_0_call_7", "b"]
    expect(found.calls.map((each) => each.callId)).toEqual(ids)
    expect(found.parts.map((part) => part.type === "tool_call" && part.callId)).toEqual(ids)
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
    [" \n", {}],
    ["null", {}],
    [" null ", {}],
    ['{"a":1,"a":2}', { a: 2 }],
    [" {} ", {}],
    ['{"a":[null]}', { a: [null] }],
  ])("arguments %j are read as %j", (inputJson, args) => {
    const found = read(call("a", inputJson))
    expect(found.calls[0]?.args).toEqual(args)
    expect(found.settled).toEqual([])
  })

  const nested = (depth: number): string => `${'{"a":'.repeat(depth)}1${"}".repeat(depth)}`

  test.each([
    ["nonsense", 'They are not JSON at character 1: expected a value, found "nonsense".'],
    ["{'a':1}", `They are not JSON at character 2: expected a key in double quotes, found "'a':1}".`],
    ['{"a":1', 'They end too early: "," or "}" is missing after "{\\"a\\":1".'],
    ['{"where":"age > 9', 'They end too early: the end of a string is missing after "{\\"where\\":\\"age > 9".'],
    ['{"a":', 'They end too early: a value is missing after "{\\"a\\":".'],
    ["{", 'They end too early: a key in double quotes is missing after "{".'],
    ['{"a" 1}', 'They are not JSON at character 6: expected ":", found "1}".'],
    ['{"a":1,}', 'They are not JSON at character 8: expected a key in double quotes, found "}".'],
    ['{"a":[1,]}', 'They are not JSON at character 9: expected a value, found "]}".'],
    ['{"a":[1 2]}', 'They are not JSON at character 9: expected "," or "]", found "2]}".'],
    ['{"a":1} and more', 'They are not JSON at character 9: expected the end, found "and more".'],
    ['{"a":01}', 'They are not JSON at character 6: expected a value, found "01}".'],
    ['{"a":NaN}', 'They are not JSON at character 6: expected a value, found "NaN}".'],
    ['{"a":"\n"}', 'They are not JSON at character 7: expected the end of a string, found "\\n\\"}".'],
    ['{"a":"\\x"}', 'They are not JSON at character 7: expected the end of a string, found "\\\\x\\"}".'],
    ['{"a":1e999}', "They are JSON nested deeper than 128 levels, or with a number that is too large."],
    [nested(129), "They are JSON nested deeper than 128 levels, or with a number that is too large."],
    ["[1,[2]]", "They are a list, not a JSON object."],
    ['"text"', "They are a string, not a JSON object."],
    ["7", "They are a number, not a JSON object."],
    ["true", "They are a boolean, not a JSON object."],
  ])("arguments %j never run: the model reads what is wrong, and where", (inputJson, what) => {
    const found = read(call("a", inputJson), call("b"))
    expect(found.calls).toEqual([
      { callId: "a", toolName: "look", args: inputJson },
      { callId: "b", toolName: "look", args: {} },
    ])
    expect(found.parts[0]).toMatchObject({ inputJson })
    expect(found.settled).toMatchObject([
      { callId: "a", args: inputJson, output: { status: "failure", failure: { class: "invalid_request", code: "broken_arguments" } } },
    ])
    const { output } = found.settled[0] as (typeof found.settled)[number]
    expect(output.status === "failure" && output.failure.message).toContain(what)
  })

  test("arguments are found to be broken exactly where JSON.parse finds them so", () => {
    const character = fc.constantFrom(..."{}[]:,\"'\\/ \n\ttrufalsn0123456789.-+eE\u0001\u007f\ud800")
    const json = fc.json().map((value) => value.slice(0, 40))
    fc.assert(
      fc.property(
        fc.oneof(
          json,
          fc.string({ unit: character, maxLength: 12 }),
          fc.tuple(json, fc.nat({ max: 40 }), character).map(([value, at, other]) => value.slice(0, at) + other + value.slice(at + 1)),
        ),
        (inputJson) => {
          const isBroken = /^They (?:are not JSON|end)/.test(jsonFault(inputJson))
          let parses = true
          try {
            JSON.parse(inputJson)
          } catch {
            parses = false
          }
          expect(isBroken).toBe(!parses)
        },
      ),
      { numRuns: 2_000, seed: 7 },
    )
  })

  test("a call of a tool that the request did not offer never runs; where none was offered, the host decides", () => {
    const answer: LlmResponse = { text: "", parts: [call("a"), call("b", "{")], usage: USAGE, terminalReason: "tool_use" }
    const spec = (name: string) => ({ name, description: "", inputSchema: {} })
    const codes = (offered: readonly string[]) =>
      readResponse(counting(), answer, offered.map(spec)).settled.map(({ callId, output }) => [
        callId,
        output.status === "failure" && output.failure.code,
      ])
    expect(codes(["look"])).toEqual([["b", "broken_arguments"]])
    expect(codes(["see", "find"])).toEqual([
      ["a", "unknown_tool"],
      ["b", "unknown_tool"],
    ])
    expect(codes([])).toEqual([["b", "broken_arguments"]])
    const [first] = readResponse(counting(), answer, ["see", "find"].map(spec)).settled
    expect(first).toMatchObject({ output: { failure: { message: 'There is no tool "look". The tools are: see, find. Nothing was run.' } } })
  })

  test("a failure lists at most 30 tools, and says that there are more", () => {
    const answer: LlmResponse = { text: "", parts: [call("a")], usage: USAGE, terminalReason: "tool_use" }
    const listed = (count: number): string => {
      const offered = Array.from({ length: count }, (_, index) => ({ name: `t${index}`, description: "", inputSchema: {} }))
      const output = readResponse(counting(), answer, offered).settled[0]?.output
      return output?.status === "failure" ? output.failure.message : ""
    }
    expect(listed(30)).toMatch(/t28, t29\. Nothing was run\.$/)
    expect(listed(31)).toMatch(/t28, t29, …\. Nothing was run\.$/)
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

  test("the message: the parts in order under counted ids", () => {
    expect(assistantParts("m", found.parts)).toEqual([
      { id: "m.p0", type: "text", text: "first" },
      { id: "m.p1", type: "reasoning", text: "why a" },
      { id: "m.p2", type: "tool_call", callId: "a", toolName: "look", inputJson: "{}" },
      { id: "m.p3", type: "text", text: " " },
      { id: "m.p4", type: "reasoning", text: "why b" },
      { id: "m.p5", type: "tool_call", callId: "b", toolName: "look", inputJson: "{}" },
      { id: "m.p6", type: "reasoning", text: "after" },
    ])
  })

  test("a call in the message keeps its replay data and metadata", () => {
    const replayed = { type: "tool_call", callId: "a", toolName: "t", inputJson: "{}", replay: { opaque: "o" } } as const
    const signed = { type: "tool_call", callId: "b", toolName: "t", inputJson: "{}", providerMetadata: null } as const
    expect(assistantParts("m", [replayed, signed])).toEqual([
      { id: "m.p0", ...replayed },
      { id: "m.p1", ...signed },
    ])
  })

  test("the events: one delta for each text, then the whole text", () => {
    expect(showResponse(found, 2, false)).toEqual([
      { type: "emit", event: { type: "text_delta", content: "first" } },
      { type: "emit", event: { type: "text_delta", content: "\n\n " } },
      { type: "emit", event: { type: "llm_response", iteration: 2, content: "first\n\n ", durationMs: 0 } },
    ])
  })

  test("the event has the duration of the answer, if the host gave one", () => {
    const answer: LlmResponse = { text: "Hi.", parts: [], usage: USAGE, terminalReason: "stop", durationMs: 12 }
    const shown = showResponse(readResponse(counting(), answer), 0, true)
    expect(shown).toEqual([{ type: "emit", event: { type: "llm_response", iteration: 0, content: "Hi.", durationMs: 12 } }])
  })

  test("streamed text is not emitted again", () => {
    expect(showResponse(found, 2, true)).toEqual([
      { type: "emit", event: { type: "llm_response", iteration: 2, content: "first\n\n ", durationMs: 0 } },
    ])
  })
})
