import { expect, test } from "vitest"
import { isSafePlace, tailStartOf } from "../../../src/drivers/compaction/cut.ts"
import { History } from "../../../src/machine/history.ts"
import type { Message } from "../../../src/schemas/message.ts"
import { userMessage } from "../../machine/support.ts"

test("a tail that has room for the results alone does not begin between a call and its results", () => {
  const call: Message = {
    id: "a",
    role: "assistant",
    parts: [{ id: "p", type: "tool_call", callId: "c", toolName: "look", inputJson: JSON.stringify("x".repeat(400)) }],
  }
  const result: Message = { id: "r", role: "user", parts: [{ id: "p", type: "tool_result", callId: "c", text: "ok" }] }
  const messages = History.of([userMessage("Do it."), call, result])
  expect(tailStartOf(messages, 0, 50)).toBe(3)
  expect(tailStartOf(messages, 0, 500)).toBe(1)
})

test("a call without a result does not pair with the result of a later call of the same id", () => {
  const call = (id: string): Message => ({
    id,
    role: "assistant",
    parts: [{ id: "p", type: "tool_call", callId: "c", toolName: "look", inputJson: "{}" }],
  })
  const result = (id: string): Message => ({ id, role: "user", parts: [{ id: "p", type: "tool_result", callId: "c", text: "ok" }] })
  // The first call has no result. Each later one has.
  const messages = History.of([userMessage("Do it."), call("a"), call("b"), result("c"), call("d"), result("e")])
  expect([1, 2, 3, 4, 5].filter((place) => isSafePlace(messages, 0, place))).toEqual([1, 2, 4])
})
