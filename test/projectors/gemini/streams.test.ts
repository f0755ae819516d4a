import { describe, expect, test } from "vitest"
import { truncated } from "../../../src/projectors/wires/failure.ts"
import { answer, body, events, failure, OURS, stream } from "./support.ts"

describe("a stream", () => {
  test("of thoughts, text and parallel calls", () => {
    const read = stream(events("thinking-tools"), { producer: OURS })
    expect(read.events).toEqual([
      { type: "reasoning_delta", content: "**Two cities**\n\nBoth need " },
      { type: "reasoning_delta", content: "a look.\n" },
      { type: "text_delta", content: "I compare both." },
    ])
    expect(answer(read.result)).toEqual({
      text: "I compare both.",
      parts: [
        { type: "reasoning", text: "**Two cities**\n\nBoth need a look.\n" },
        { type: "text", text: "I compare both." },
        { type: "tool_call", callId: "a1b2", toolName: "weather", inputJson: '{"city":"Kyiv","days":2}', replay: { opaque: "EokBCoYBAXLI2nw1" } },
        { type: "tool_call", callId: "c3d4", toolName: "weather", inputJson: '{"city":"Lviv","days":2}' },
      ],
      usage: { inputTokens: 84, cachedInputTokens: 128, outputTokens: 98, reasoningTokens: 62 },
      producer: { ...OURS, responseId: "kZ1oaYbCD5" },
      terminalReason: "tool_use",
      providerUsage: {
        promptTokenCount: 212,
        candidatesTokenCount: 36,
        totalTokenCount: 310,
        cachedContentTokenCount: 128,
        thoughtsTokenCount: 62,
        promptTokensDetails: [{ modality: "TEXT", tokenCount: 212 }],
      },
    })
  })

  test("whose signature comes last, on an empty text", () => {
    expect(answer(stream(events("signed-end")).result)).toMatchObject({
      text: "The sea is deep.",
      parts: [
        { type: "text", text: "The sea is deep." },
        {
          type: "text",
          text: "",
          providerMetadata: { thoughtSignature: "CpcBAdHtim8=", groundingMetadata: { webSearchQueries: ["depth of the sea"] } },
        },
      ],
      usage: { outputTokens: 35, reasoningTokens: 30 },
    })
  })

  test("that breaks off keeps what was said, without its calls; its usage counts", () => {
    expect(stream(events("thinking-tools").slice(0, 4), { producer: OURS }).result).toEqual({
      ok: false,
      error: truncated(),
      partial: expect.objectContaining({
        text: "I compare both.",
        parts: [
          { type: "reasoning", text: "**Two cities**\n\nBoth need a look.\n" },
          { type: "text", text: "I compare both." },
        ],
        usage: { inputTokens: 212, cachedInputTokens: 0, outputTokens: 82, reasoningTokens: 62 },
      }),
    })
    const nothing = stream([{ usageMetadata: { promptTokenCount: 4 } }]).result
    expect(nothing).toEqual({
      ok: false,
      error: { ...truncated(), usage: { inputTokens: 4, cachedInputTokens: 0, outputTokens: 0, reasoningTokens: 0 } },
    })
  })

  test("that is cut off by its host has the host's reason", () => {
    const { reader } = stream([body([{ text: "Hi" }], null)])
    const cancelled = { message: "Cancelled.", retryable: false, terminalReason: "cancelled" } as const
    expect(reader.cutOff(cancelled)).toMatchObject({ ok: false, error: cancelled, partial: { text: "Hi", terminalReason: "cancelled" } })
  })

  test("says when it is complete and has its usage; a finish reason in each chunk does not end it", () => {
    const usageMetadata = { promptTokenCount: 1 }
    const open = stream([body([{ text: "a" }], null, { usageMetadata })]).reader
    expect([open.complete, open.ended, open.hasUsage, open.pieces]).toEqual([false, false, false, 1])
    open.push(body([{ text: "b" }], "STOP", { usageMetadata }))
    expect([open.complete, open.ended, open.hasUsage, open.pieces]).toEqual([true, true, true, 2])
    const each = stream([body([{ text: "a" }])]).reader
    expect([each.complete, each.ended]).toEqual([true, false])
    each.push(body([{ text: "b" }]))
    expect([each.complete, each.ended, answer(each.finish()).text]).toEqual([true, false, "ab"])
  })

  test("of a usage that later chunks leave out", () => {
    const chunks = [
      body([{ text: "a" }], null, { usageMetadata: { promptTokenCount: 9, thoughtsTokenCount: 3 } }),
      body([], "STOP", { usageMetadata: { candidatesTokenCount: 2, promptTokenCount: null } }),
    ]
    expect(answer(stream(chunks).result).usage).toEqual({ inputTokens: 9, cachedInputTokens: 0, outputTokens: 5, reasoningTokens: 3 })
  })

  test("whose filter acts after the end", () => {
    expect(stream([body([{ text: "a" }]), { candidates: [{ finishReason: "SAFETY" }] }]).result).toMatchObject({
      response: { terminalReason: "content_filter" },
    })
  })

  test("with an error after its end is complete; with one after a malformed call it is not", () => {
    const error = { code: 500, message: "Internal.", status: "INTERNAL" }
    expect(answer(stream([body([{ text: "a" }]), { error }]).result).text).toBe("a")
    expect(failure(stream([body([{ text: "a" }], "MALFORMED_FUNCTION_CALL"), { error }]).result).code).toBe("INTERNAL")
  })
})

describe("arguments that come in pieces", () => {
  const calling = (functionCall: object, finishReason?: string) => body([{ functionCall }], finishReason ?? "")
  const partial = (jsonPath: string, value: object, more = true) => calling({ partialArgs: [{ jsonPath, ...value }], willContinue: more })
  const inputOf = (chunks: readonly object[]) =>
    answer(stream([...chunks, body([])]).result).parts.map((part) => (part.type === "tool_call" ? part.inputJson : part))

  test("are joined by their paths", () => {
    const chunks = [
      calling({ name: "book", id: "x", willContinue: true }),
      partial("$.city", { stringValue: "New ", willContinue: true }),
      partial("$.city", { stringValue: "York" }),
      partial("$.dates[0].day", { numberValue: 3 }),
      partial("$.dates[0]['is it fixed']", { boolValue: true }),
      partial("$.dates[1]", { nullValue: "NULL_VALUE" }),
      partial('$["__proto__"]', { stringValue: "p" }),
      calling({}),
    ]
    expect(inputOf(chunks)).toEqual(['{"city":"New York","dates":[{"day":3,"is it fixed":true},null],"__proto__":"p"}'])
  })

  test("of several calls, one after another", () => {
    const chunks = [
      calling({ name: "a", willContinue: true }),
      partial("$.x", { numberValue: 1 }, false),
      calling({ name: "b", willContinue: true }),
      partial("$.y", { numberValue: 2 }, false),
    ]
    expect(inputOf(chunks)).toEqual(['{"x":1}', '{"y":2}'])
  })

  test.each<[string, readonly object[]]>([
    ["are not finished", [calling({ name: "a", willContinue: true }), partial("$.x", { numberValue: 1 })]],
    ["have not begun", [calling({ name: "a", willContinue: true })]],
    ["have a path that cannot be read", [calling({ name: "a", willContinue: true }), partial("$..x", { numberValue: 1 }, false)]],
    ["have no value", [calling({ name: "a", willContinue: true }), partial("$.x", {}, false)]],
    ["skip an item of a list", [calling({ name: "a", willContinue: true }), partial("$.x[7]", { numberValue: 1 }, false)]],
    [
      "have a path through a value",
      [calling({ name: "a", willContinue: true }), partial("$.x", { numberValue: 1 }), partial("$.x.y", { numberValue: 1 }, false)],
    ],
  ])("that %s stay broken, so that the call does not run", (_, chunks) => {
    const [input] = inputOf(chunks)
    expect(() => JSON.parse(input as string) as unknown).toThrow()
  })
})
