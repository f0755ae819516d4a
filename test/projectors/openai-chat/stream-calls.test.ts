import { expect, test } from "vitest"
import { openAiChatProjector } from "../../../src/projectors/openai-chat/index.ts"
import { answer, piece, streamed } from "./support.ts"

test.each<[string, readonly unknown[]]>([
  [
    "google-no-index",
    [
      { type: "tool_call", callId: "call_1", toolName: "get_weather", inputJson: '{"city":"Paris"}' },
      { type: "tool_call", callId: "call_2", toolName: "get_weather", inputJson: '{"city":"Oslo"}' },
    ],
  ],
  ["localai-repeated-id", [{ type: "tool_call", callId: "LipwoT0p", toolName: "exec", inputJson: '{"cmd":"date"}' }]],
  [
    "ollama-all-index-0",
    [
      { type: "tool_call", callId: "call_a1", toolName: "list_files", inputJson: "{}" },
      { type: "tool_call", callId: "call_b2", toolName: "list_files", inputJson: '{"path":"src"}' },
    ],
  ],
])("%s: the calls are read separately", (name, parts) => {
  expect(answer(streamed(name).result)).toMatchObject({ parts, terminalReason: "tool_use" })
})

test.each<[string, readonly unknown[], readonly [string, string, string][]]>([
  [
    "an index, and a new id in each piece",
    [piece(0, "a", "f", "{"), piece(0, "b", undefined, "}"), piece(1, "c", "g", "{}")],
    [
      ["a", "f", "{}"],
      ["c", "g", "{}"],
    ],
  ],
  [
    "no index, an id in each piece, the name late",
    [piece(undefined, "a", undefined, "{"), piece(undefined, "b", undefined, "["), piece(undefined, "a", "f", "}"), piece(undefined, "b", "g", "]")],
    [
      ["a", "f", "{}"],
      ["b", "g", "[]"],
    ],
  ],
  [
    "no index and no id, arguments in pieces",
    [piece(undefined, undefined, "f", "{"), piece(undefined, undefined, undefined, "}"), piece(undefined, undefined, "g", "[]")],
    [
      ["call_1", "f", "{}"],
      ["call_2", "g", "[]"],
    ],
  ],
  ["no index, id and name repeated in each piece", [piece(undefined, "a", "f", "{"), piece(undefined, "a", "f", "}")], [["a", "f", "{}"]]],
  ["an index, id and name repeated in each piece", [piece(0, "a", "f", "{"), piece(0, "a", "f", "}")], [["a", "f", "{}"]]],
  [
    "one id for two calls",
    [piece(0, "a", "f", "{}"), piece(0, "a", "g", "[]")],
    [
      ["a", "f", "{}"],
      ["call_1", "g", "[]"],
    ],
  ],
  [
    "all indexes 0 and no ids",
    [piece(0, undefined, "f", "{}"), piece(0, undefined, "g", "[]")],
    [
      ["call_1", "f", "{}"],
      ["call_2", "g", "[]"],
    ],
  ],
  ["a name in pieces", [piece(0, "a", "read_", undefined), piece(0, undefined, "file", "{}")], [["a", "read_file", "{}"]]],
  ["arguments as an object", [piece(0, "a", "f", { path: "x" })], [["a", "f", '{"path":"x"}']]],
])("calls are joined with %s", (_what, pieces, expected) => {
  const stream = openAiChatProjector.stream()
  for (const tool_call of pieces) stream.push({ choices: [{ index: 0, delta: { tool_calls: [tool_call] }, finish_reason: null }] })
  stream.push({ choices: [{ index: 0, delta: {}, finish_reason: "tool_calls" }] })
  expect(answer(stream.finish()).parts).toEqual(expected.map(([callId, toolName, inputJson]) => ({ type: "tool_call", callId, toolName, inputJson })))
})
