/** Estimates, counted by hand: 4 bytes of UTF-8 to a token, and 4 tokens more for each message or tool. */
import { describe, expect, test } from "vitest"
import { estimateTokens, estimateUsage, isUsageMissing, upperTokens } from "../../src/machine/usage-estimate.ts"
import type { Block, LlmRequest, LlmResponse, OutputPart } from "../../src/schemas/llm.ts"
import { REQUEST } from "./support.ts"

/** A text of so many bytes. */
const bytes = (count: number): string => "x".repeat(count)
const says = (...blocks: readonly Block[]): LlmRequest => ({ ...REQUEST, messages: [{ role: "user", blocks }] })

describe("a request has the tokens of its messages, tools and attachments", () => {
  test.each<readonly [string, LlmRequest, number]>([
    ["nothing", REQUEST, 0],
    ["a message without text", says(), 4],
    ["a token of text", says({ type: "text", text: bytes(4) }), 5],
    ["a token that has begun", says({ type: "text", text: bytes(5) }), 6],
    ["texts of one message, which are rounded once", says({ type: "text", text: bytes(2) }, { type: "text", text: bytes(2) }), 5],
    ["texts of several messages", { ...REQUEST, messages: [...says({ type: "text", text: bytes(1) }).messages, ...says().messages] }, 9],
    ["reasoning", says({ type: "reasoning", text: bytes(8) }), 6],
    ["reasoning with encrypted content", says({ type: "reasoning", text: bytes(8), replay: { encryptedContent: bytes(12) } }), 9],
    ["a call: id, name and arguments", says({ type: "tool_call", callId: bytes(4), toolName: bytes(8), inputJson: bytes(12) }), 10],
    ["a result: id and text", says({ type: "tool_result", callId: bytes(4), toolName: "not sent", text: bytes(8) }), 7],
    // {"a":"bcd"}
    ["what only the provider understands, as JSON", says({ type: "opaque", provider: "p", kind: "k", data: { a: "bcd" } } as Block), 7],
    ["an image and a file, which count as attachments", says({ type: "image", attachmentIndex: 0 }, { type: "file", attachmentIndex: 1 }), 4],
    ["the image itself", { ...REQUEST, attachments: [{ id: "i", mediaType: "image/png", byteLength: 8 }] }, 1_600],
    ["the file itself", { ...REQUEST, attachments: [{ id: "f", mediaType: "application/pdf", byteLength: 9 }] }, 3],
    // {}
    ["a tool: name, description and schema", { ...REQUEST, tools: [{ name: bytes(4), description: bytes(10), inputSchema: {} }] }, 8],
  ])("%s", (_what, given, tokens) => {
    // What was measured is remembered, so each run needs values of its own.
    const request = structuredClone(given)
    expect(estimateTokens(request)).toBe(tokens)
    // Measured once, and the same when it is asked again.
    expect(estimateTokens(request)).toBe(tokens)
    expect(upperTokens(request)).toBe(2 * tokens)
  })

  test.each([
    ["ASCII", "\u007f", 1],
    ["two bytes", "\u0080\u07ff", 4],
    ["three bytes", "\u0800\ud7ff\ue000\uffff", 12],
    ["a pair of surrogates", "\u{10000}\u{10ffff}", 8],
  ])("bytes of UTF-8: %s", (_what, text, length) => {
    // Twelve tokens of it, so that nothing is rounded.
    expect(estimateTokens(says({ type: "text", text: text.repeat(48) }))).toBe(4 + 12 * length)
  })
})

describe("the usage of a call", () => {
  const usageOf = (text: string, ...parts: readonly OutputPart[]): readonly (number | boolean | undefined)[] => {
    const { inputTokens, cachedInputTokens, outputTokens, reasoningTokens, estimated } = estimateUsage(says({ type: "text", text: bytes(4) }), {
      text,
      parts,
    })
    return [inputTokens, cachedInputTokens, outputTokens, reasoningTokens, estimated]
  }

  test("is that of the request and of all parts; reasoning is told apart", () => {
    expect(usageOf(bytes(8), { type: "text", text: bytes(8) })).toEqual([5, 0, 2, 0, true])
    expect(usageOf(bytes(8), { type: "reasoning", text: bytes(4) }, { type: "text", text: bytes(8) })).toEqual([5, 0, 3, 1, true])
    expect(usageOf("", { type: "tool_call", callId: "abcd", toolName: "abcd", inputJson: "{}" })).toEqual([5, 0, 3, 0, true])
  })

  test("is that of the text, where a partial answer has no parts yet", () => {
    expect(usageOf(bytes(9))).toEqual([5, 0, 3, 0, true])
    expect(usageOf("")).toEqual([5, 0, 0, 0, true])
  })
})

describe("usage is missing where an answer says something and has none", () => {
  const NONE = { inputTokens: 0, cachedInputTokens: 0, outputTokens: 0, reasoningTokens: 0 }
  const missing = (answer: Partial<LlmResponse>): boolean =>
    isUsageMissing({ text: "", parts: [], usage: NONE, terminalReason: "stop", ...answer } as LlmResponse)

  test.each<readonly [string, Partial<LlmResponse>, boolean]>([
    ["a text", { text: "Hi." }, true],
    ["a part", { parts: [{ type: "reasoning", text: "Hm." }] }, true],
    [
      "a part that is empty beside one that is not",
      {
        parts: [
          { type: "text", text: "" },
          { type: "text", text: "Hi." },
        ],
      },
      true,
    ],
    ["nothing", {}, false],
    ["only white space", { text: " \n" }, false],
    ["only an empty part", { parts: [{ type: "text", text: "" }] }, false],
    ["a text, without a member for it", { text: "Hi.", usage: undefined as never }, true],
    ["input", { text: "Hi.", usage: { ...NONE, inputTokens: 1 } }, false],
    ["input from a cache", { text: "Hi.", usage: { ...NONE, cachedInputTokens: 1 } }, false],
    ["output", { text: "Hi.", usage: { ...NONE, outputTokens: 1 } }, false],
  ])("%s", (_what, answer, isMissing) => {
    expect(missing(answer)).toBe(isMissing)
  })
})
