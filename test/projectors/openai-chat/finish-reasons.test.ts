import fc from "fast-check"
import { expect, test } from "vitest"
import { chatStream } from "../../support/openai-chat.ts"
import { answer, failure, response } from "./support.ts"

test.each([
  ["end_turn", "stop"],
  ["STOP", "stop"],
  ["FinishReason.STOP", "stop"],
  ["stop_sequence", "stop"],
  ["tool_use", "tool_use"],
  ["pause_turn", "paused"],
  ["MAX_TOKENS", "output_limit"],
  ["max_tokens", "output_limit"],
  ["FinishReason.MAX_TOKENS", "output_limit"],
  ["max_output_tokens", "output_limit"],
  ["model_context_window_exceeded", "context_overflow"],
  ["SAFETY", "content_filter"],
  ["sensitive", "content_filter"],
  ["RECITATION", "content_filter"],
  ["PROHIBITED_CONTENT", "content_filter"],
  ["guardrail_intervened", "content_filter"],
  ["content_filter: SAFETY", "content_filter"],
  ["refusal", "refusal"],
  ["FINISH_REASON_UNSPECIFIED", "unknown"],
  ["OTHER", "unknown"],
  ["stopped early", "unknown"],
  ["__proto__", "unknown"],
])("the finish reason %s of other APIs is %s", (finishReason, terminalReason) => {
  const read = answer(response({ content: "Hi" }, finishReason))
  expect(read).toMatchObject({ text: "Hi", terminalReason })
  if (terminalReason === "unknown") expect(read.terminalDiagnostic).toBe(`The provider ended the answer with the finish reason "${finishReason}".`)
})

test.each([
  "function_call_filter: MALFORMED_FUNCTION_CALL",
  "MALFORMED_FUNCTION_CALL",
  "malformed_function_call",
  "UNEXPECTED_TOOL_CALL",
  "network_error",
  "abort",
  "stop (network_error)",
])("an answer that ends with %s is a failure that may be retried and names it", (finishReason) => {
  const result = response({ content: "" }, finishReason)
  expect(failure(result)).toMatchObject({ retryable: true, code: finishReason, terminalReason: "provider_error" })
  expect(failure(result).message).toContain(finishReason)
})

test("a call with an unknown finish reason is read, and the reason stays unknown", () => {
  const calls = [{ id: "a", type: "function", function: { name: "f", arguments: "{}" } }]
  expect(answer(response({ tool_calls: calls }, "finished"))).toMatchObject({ parts: [{ type: "tool_call" }], terminalReason: "unknown" })
})

test("a refusal is not mistaken for a filter, a cut-off or a fault", () => {
  expect(answer(response({ refusal: "No." }, "stop")).terminalReason).toBe("refusal")
  expect(answer(response({ refusal: "No." }, "hm")).terminalReason).toBe("refusal")
  expect(answer(response({ refusal: "No." }, null)).terminalReason).toBe("refusal")
  expect(answer(response({ refusal: "No" }, "length")).terminalReason).toBe("output_limit")
  expect(answer(response({ refusal: "No" }, "content_filter")).terminalReason).toBe("content_filter")
  expect(answer(response({ content: "Well. ", refusal: "No." }, "stop"))).toMatchObject({
    text: "Well. No.",
    parts: [
      { type: "text", text: "Well. " },
      { type: "text", text: "No." },
    ],
  })
})

test("[DONE] without a finish reason is a truncated answer, or by an option a complete one", () => {
  const read = (option: "truncated" | "complete" | undefined, done: boolean, delta: object = { content: "Porto." }) => {
    const stream = chatStream(option === undefined ? {} : { doneWithoutReason: option })
    stream.push({ choices: [{ index: 0, delta }] })
    return stream.finish(done)
  }
  expect(failure(read(undefined, true)).code).toBe("stream_truncated")
  expect(failure(read("truncated", true)).code).toBe("stream_truncated")
  expect(failure(read("complete", false)).code).toBe("stream_truncated")
  expect(answer(read("complete", true))).toMatchObject({ text: "Porto.", terminalReason: "stop" })
  const tool_calls = [{ index: 0, id: "a", function: { name: "f", arguments: "{}" } }]
  expect(answer(read("complete", true, { tool_calls }))).toMatchObject({ terminalReason: "tool_use" })
})

test("any finish reason is read", () => {
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.string({ unit: "binary" })), (finishReason) => {
      const result = response({ content: "Hi" }, finishReason)
      expect(result.ok || result.partial?.text === "Hi").toBe(true)
    }),
  )
})
