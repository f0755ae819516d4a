import { expect, test } from "vitest"
import { wholeAnswerStream } from "../../../src/projectors/wires/whole-answer-stream.ts"
import type { LlmResult } from "../../../src/projectors/wires/wire.ts"
import type { LlmFailure, LlmResponse } from "../../../src/wire/llm.ts"

const USAGE = { inputTokens: 20, cachedInputTokens: 0, outputTokens: 4, reasoningTokens: 0 }
const CALL = { type: "tool_call", callId: "c1", toolName: "look", inputJson: "{}" } as const
const ANSWER: LlmResponse = { text: "I look.", parts: [{ type: "text", text: "I look." }, CALL], usage: USAGE, terminalReason: "tool_use" }
const MALFORMED: LlmFailure = {
  message: "It is malformed.",
  retryable: false,
  code: "malformed_response",
  kind: "other",
  terminalReason: "provider_error",
}
const LOST: LlmFailure = { message: "Lost.", retryable: true, code: "stream_truncated", kind: "network", terminalReason: "provider_error" }

const decode = (body: unknown): LlmResult => (body === "good" ? { ok: true, response: ANSWER } : { ok: false, error: MALFORMED })

function facts({ complete, ended, failed, hasUsage, pieces }: ReturnType<typeof wholeAnswerStream>): readonly unknown[] {
  return [complete, ended, failed, hasUsage, pieces]
}

test("the first chunk is the whole answer, and later ones are ignored", () => {
  const stream = wholeAnswerStream(decode)
  expect(facts(stream)).toEqual([false, false, false, false, 0])
  expect(stream.push("good")).toEqual([{ type: "text_delta", content: "I look." }])
  expect(stream.push("bad")).toEqual([])
  expect(facts(stream)).toEqual([true, true, false, true, 1])
  expect(stream.finish()).toEqual({ ok: true, response: ANSWER })
})

test("an answer that cannot be read fails, and shows nothing", () => {
  const stream = wholeAnswerStream(decode)
  expect(stream.push("bad")).toEqual([])
  expect(facts(stream)).toEqual([false, false, true, false, 0])
  expect(stream.finish()).toEqual({ ok: false, error: MALFORMED })
  expect(stream.cutOff(LOST)).toEqual({ ok: false, error: LOST })
})

test("no chunk is a truncated answer, which may be retried", () => {
  expect(wholeAnswerStream(decode).finish()).toMatchObject({ ok: false, error: { code: "stream_truncated", retryable: true } })
})

test("what was cut off leaves its words and its usage, and no call", () => {
  const stream = wholeAnswerStream(decode)
  stream.push("good")
  const partial = { text: "I look.", parts: [{ type: "text", text: "I look." }], usage: USAGE, terminalReason: "provider_error" }
  expect(stream.cutOff(LOST)).toEqual({ ok: false, error: LOST, partial })
})
