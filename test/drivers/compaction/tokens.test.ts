import { expect, test } from "vitest"
import { messageTokens, surfaceTokens, transcriptTokens } from "../../../src/drivers/compaction/tokens.ts"
import { History } from "../../../src/machine/history.ts"
import type { Part } from "../../../src/schemas/message.ts"
import { userMessage } from "../../machine/support.ts"
import { LOOK } from "./support.ts"

const IMAGE = { id: "i", mediaType: "image/png", byteLength: 10 }
const FILE = { id: "f", mediaType: "application/pdf", byteLength: 400 }

test.each<readonly [string, object, number]>([
  // 4 for the message, and one for every 4 bytes.
  ["text", { type: "text", text: "abcde" }, 6],
  ["code", { type: "code", text: "abcde" }, 6],
  ["output", { type: "output", text: "abcde" }, 6],
  ["an error", { type: "error", text: "abcde" }, 6],
  ["an image", { type: "image", attachment: IMAGE }, 1_604],
  ["the text of an image that was left out", { type: "image", text: "abcde" }, 6],
  ["an image with text", { type: "image", attachment: IMAGE, text: "abcde" }, 1_606],
  ["a file", { type: "file", attachment: FILE }, 104],
  ["a call", { type: "tool_call", callId: "c1", toolName: "look", inputJson: "{}" }, 6],
  ["a result", { type: "tool_result", callId: "c1", text: "abc" }, 6],
  ["reasoning", { type: "reasoning", text: "abc", replay: { encryptedContent: "ab" } }, 6],
  ["a piece that only the provider understands", { type: "opaque", provider: "p", kind: "k", data: [1, 2], text: "not sent" }, 6],
  ["the end of an answer that was cut off", { type: "interrupted", reason: "cancelled" }, 4],
])("%s of a message has about as many tokens as in a request", (_what, part, tokens) => {
  const message = { id: "m", role: "user", parts: [{ id: "m.p0", ...part } as Part] } as const
  expect(messageTokens(message)).toBe(tokens)
  expect(messageTokens(message)).toBe(tokens)
})

test("a transcript has the tokens of its messages, also where it is shorter than one that shares its storage", () => {
  const all = History.of([userMessage("abcde"), userMessage("abcd", "u2"), userMessage("", "u3")])
  // 6, 5 and 4.
  expect([3, 1, 2, 0].map((length) => transcriptTokens(all.prefix(length)))).toEqual([15, 6, 11, 0])
})

test("what precedes the messages of a request is the system prompt and the tools", () => {
  expect(surfaceTokens("", [])).toBe(0)
  expect(surfaceTokens("abcde", [])).toBe(6)
  // 27 bytes: `look`, `Looks.` and `{"type":"object"}`.
  expect(surfaceTokens("", [LOOK])).toBe(11)
  expect(surfaceTokens("abcde", [LOOK, LOOK])).toBe(28)
})
