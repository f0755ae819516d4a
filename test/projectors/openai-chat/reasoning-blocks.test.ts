import fc from "fast-check"
import { describe, expect, test } from "vitest"
import type { LlmResult } from "../../../src/projectors/wires/wire.ts"
import type { LlmFailure, LlmResponse } from "../../../src/schemas/llm.ts"
import { chatAnswer, chatStream } from "../../support/openai-chat.ts"
import { answer } from "./support.ts"

const CANCELLED: LlmFailure = { message: "Cancelled.", retryable: false, kind: "cancelled", terminalReason: "cancelled" }

/** Reads deltas as a stream that then ends with a finish reason, or is cut off. */
function read(deltas: readonly object[], end: string | LlmFailure) {
  const stream = chatStream()
  const shown = deltas.flatMap((delta) => stream.push({ choices: [{ index: 0, delta, finish_reason: null }] }))
  if (typeof end !== "string") return { shown, result: stream.cutOff(end) }
  stream.push({ choices: [{ index: 0, delta: {}, finish_reason: end }] })
  return { shown, result: stream.finish() }
}

/** The answer, or what was said of it. */
function said(result: LlmResult): LlmResponse | undefined {
  return result.ok ? result.response : result.partial
}

/** What goes back to the provider beside texts and calls. */
function returned(result: LlmResult): object {
  return Object.assign({}, ...(said(result)?.parts ?? []).map(({ providerMetadata }) => providerMetadata))
}

const thought = (thinking: string, more: object = {}) => ({ thinking_blocks: [{ type: "thinking", thinking, ...more }] })
const detail = (text: string, more: object = {}) => ({ reasoning_details: [{ type: "reasoning.text", text, index: 0, ...more }] })
const sealed = (data: string, more: object = {}) => ({ reasoning_details: [{ type: "reasoning.encrypted", data, ...more }] })
const HALF_CALL = { tool_calls: [{ index: 0, id: "c7", type: "function", function: { name: "f", arguments: '{"q' } }] }

const ENDS: readonly (readonly [string, string | LlmFailure])[] = [
  ["the output limit", "length"],
  ["a filter", "content_filter"],
  ["a full context", "model_context_window_exceeded"],
  ["a refusal", "refusal"],
  ["a fault of the provider", "network_error"],
  ["a cancellation", CANCELLED],
  ["a lost connection", { message: "Lost.", retryable: true, kind: "network", terminalReason: "provider_error" }],
]

describe.each(ENDS)("an answer cut off by %s", (_what, end) => {
  test.each<[string, readonly object[], object, string]>([
    ["half thinking", [thought("Plan", { signature: "" }), thought(" it")], {}, "Plan it"],
    ["half thinking with an index", [detail("Plan"), detail(" it")], {}, "Plan it"],
    ["a summary", [{ reasoning_details: [{ type: "reasoning.summary", summary: "Plan it", index: 0 }] }], {}, "Plan it"],
    [
      "thinking with its signature, and half of the next",
      [thought("Plan", { signature: "sA" }), thought(" it")],
      { thinking_blocks: [{ type: "thinking", thinking: "Plan", signature: "sA" }] },
      "Plan it",
    ],
    [
      "encrypted reasoning that led to text",
      [sealed("eA"), { content: "So" }],
      { reasoning_details: [{ type: "reasoning.encrypted", data: "eA" }] },
      "",
    ],
    ["encrypted reasoning without what follows it", [{ content: "So" }, sealed("eA")], {}, ""],
    ["encrypted reasoning of a call", [{ content: "So" }, sealed("eA", { id: "rs_4" }), HALF_CALL], {}, ""],
    ["encrypted reasoning with the id of a call", [sealed("eA", { id: "c7" }), { content: "So" }, HALF_CALL], {}, ""],
    ["Copilot's encrypted reasoning of a call", [{ content: "So", reasoning_opaque: "" }, { reasoning_opaque: "o1" }, HALF_CALL], {}, ""],
    ["Copilot's encrypted reasoning that led to text", [{ reasoning_opaque: "o1" }, { content: "So" }], { reasoning_opaque: "o1" }, ""],
  ])("%s", (_blocks, deltas, metadata, reasoning) => {
    const { result } = read(deltas, end)
    expect(returned(result)).toEqual(metadata)
    // The text stays, also of what does not go back.
    const thoughts = said(result)?.parts.flatMap((part) => (part.type === "reasoning" ? [part.text] : [])) ?? []
    expect(thoughts.join("")).toBe(reasoning)
  })
})

test("what a provider wants back of a complete answer is complete", () => {
  expect(returned(read([detail("Plan"), sealed("eA", { id: "c7" }), HALF_CALL], "tool_calls").result)).toEqual({
    reasoning_details: [
      { type: "reasoning.text", text: "Plan", index: 0 },
      { type: "reasoning.encrypted", data: "eA", id: "c7" },
    ],
  })
})

test("a whole answer that was cut off is stored like a streamed one", () => {
  const message = {
    content: "So",
    reasoning_details: [
      { type: "reasoning.text", text: "Pla" },
      { type: "reasoning.encrypted", data: "eA" },
    ],
  }
  const result = chatAnswer({ choices: [{ message, finish_reason: "length" }] })
  expect(returned(result)).toEqual({ reasoning_details: [{ type: "reasoning.encrypted", data: "eA" }] })
})

/** Every way to stream signed thinking that endpoints have. */
const WAYS = ["signature alone", "signature with the last piece", "signature with the whole text", "whole at the end"] as const

test("signed thinking is stored and shown once, to the byte, however it is streamed", () => {
  const texts = fc.array(fc.string({ minLength: 2, unit: "binary" }), { minLength: 1, maxLength: 3 })
  const sizes = fc.array(fc.integer({ min: 1, max: 6 }), { minLength: 1, maxLength: 9 })
  fc.assert(
    fc.property(
      texts,
      sizes,
      fc.constantFrom(...WAYS),
      fc.constantFrom("thinking_blocks", "reasoning_details", "both"),
      fc.boolean(),
      fc.constantFrom<number | undefined>(undefined, 0),
      (wholes, lengths, way, keys, hasPlain, index) => {
        const deltas: object[] = []
        const delta = (plain: string, text: string, signature: string, isLast: boolean) => {
          const more = { ...(signature !== "" && { signature }), ...(index !== undefined && { index }) }
          const isListed = way !== "whole at the end" || isLast
          deltas.push({
            ...((hasPlain || way === "whole at the end") && { reasoning_content: plain }),
            ...(isListed && keys !== "reasoning_details" && { thinking_blocks: [{ type: "thinking", thinking: text, ...more }] }),
            ...(isListed && keys !== "thinking_blocks" && { reasoning_details: [{ type: "reasoning.text", text, ...more }] }),
          })
        }
        for (const [number, whole] of wholes.entries()) {
          const pieces: string[] = []
          for (let at = 0; at < whole.length; ) {
            const size = lengths[pieces.length % lengths.length] ?? 1
            pieces.push(whole.slice(at, at + size))
            at += size
          }
          const isAlone = way === "signature with the last piece"
          const last = isAlone ? (pieces.pop() ?? "") : ""
          // A last piece that begins with all of the text before it cannot be told from a repetition.
          fc.pre(!isAlone || pieces.length === 0 || !last.startsWith(pieces.join("")))
          for (const one of pieces) delta(one, one, "", false)
          delta(last, isAlone ? last : way === "signature alone" ? "" : whole, `s${number}`, true)
          deltas.push({ content: "." })
        }
        const { result, shown } = read(deltas, "stop")
        const blocks = (type: string, key: string) =>
          wholes.map((whole, number) => ({ type, [key]: whole, signature: `s${number}`, ...(index !== undefined && { index }) }))
        expect(returned(result)).toEqual({
          ...(keys !== "reasoning_details" && { thinking_blocks: blocks("thinking", "thinking") }),
          ...(keys !== "thinking_blocks" && { reasoning_details: blocks("reasoning.text", "text") }),
        })
        const reasoning = answer(result).parts.flatMap((part) => (part.type === "reasoning" ? [part.text] : []))
        expect(reasoning.join("")).toBe(wholes.join(""))
        expect(shown.flatMap((event) => (event.type === "reasoning_delta" ? [event.content] : [])).join("")).toBe(wholes.join(""))
      },
    ),
  )
})

test("encrypted blocks with one index are blocks of their own, and a repeated one is not", () => {
  const { result } = read([sealed("eA", { index: 0 }), sealed("eB", { index: 0 }), sealed("eB", { index: 0 }), { content: "So" }], "stop")
  expect(returned(result)).toEqual({
    reasoning_details: [
      { type: "reasoning.encrypted", data: "eA", index: 0 },
      { type: "reasoning.encrypted", data: "eB", index: 0 },
    ],
  })
})

test("pieces that come as messages are pieces", () => {
  const stream = chatStream()
  for (const content of ["Li", "ma", "."]) stream.push({ choices: [{ index: 0, message: { role: "assistant", content }, finish_reason: null }] })
  stream.push({ choices: [{ index: 0, message: {}, finish_reason: "stop" }] })
  expect(answer(stream.finish()).text).toBe("Lima.")
})

test("a whole message at the end of a stream adds only what is new", () => {
  const stream = chatStream()
  const call = { index: 0, id: "a", type: "function", function: { name: "f", arguments: '{"x":1}' } }
  stream.push({ choices: [{ index: 0, delta: { reasoning_content: "Plan" } }] })
  stream.push({ choices: [{ index: 0, delta: { content: "Look", tool_calls: [call] } }] })
  const message = { role: "assistant", content: "Look", reasoning_content: "Plan", ...thought("Plan", { signature: "s" }), tool_calls: [call] }
  expect(stream.push({ choices: [{ index: 0, message, finish_reason: "tool_calls" }] })).toEqual([])
  expect(answer(stream.finish()).parts).toMatchObject([
    { type: "reasoning", text: "Plan", providerMetadata: { thinking_blocks: [{ thinking: "Plan", signature: "s" }] } },
    { type: "text", text: "Look" },
    { type: "tool_call", callId: "a", inputJson: '{"x":1}' },
  ])
})
