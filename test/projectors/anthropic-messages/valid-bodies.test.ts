import * as fc from "fast-check"
import { expect, test } from "vitest"
import { anthropicMessagesWire } from "../../../src/projectors/anthropic-messages/index.ts"
import * as arbitrary from "../../../src/testing/arbitraries.ts"
import type { Block, LlmMessage, LlmRequest } from "../../../src/wire/llm.ts"
import { check, SLOW } from "../../properties/check.ts"
import { anthropicRefusal } from "../../support/strict-anthropic-rules.ts"
import { answer, CLAUDE, close, decode, delta, end, message, OTHER, open, read, request, start, user } from "./support.ts"

const oddName = fc.oneof(fc.constantFrom("read", "fs.read", "fs/read", "fs_read", "", " ", "ä", "x".repeat(70), "\ud800"), arbitrary.text)
const oddId = fc.oneof(fc.constantFrom("a", "a", "b", "", " ", "functions.look:0", "x".repeat(70), "\udfff"), arbitrary.text)
const serverId = fc.constantFrom("s1", "s2")

const block: fc.Arbitrary<Block> = fc.oneof(
  { weight: 3, arbitrary: arbitrary.block },
  { weight: 3, arbitrary: fc.record({ type: fc.constant("tool_call" as const), callId: oddId, toolName: oddName, inputJson: arbitrary.inputJson }) },
  { weight: 3, arbitrary: fc.record({ type: fc.constant("tool_result" as const), callId: oddId, text: arbitrary.text }) },
  {
    weight: 1,
    arbitrary: fc.record({ type: fc.constant("tool_result" as const), callId: oddId, text: arbitrary.text, isError: fc.constant(true as const) }),
  },
  { weight: 1, arbitrary: fc.record({ type: fc.constantFrom("image" as const, "file" as const), attachmentIndex: fc.nat({ max: 4 }) }) },
  {
    weight: 2,
    arbitrary: fc.record({
      type: fc.constant("reasoning" as const),
      text: arbitrary.text,
      replay: fc.constantFrom({ signature: "s" }, { signature: "" }, { redacted: true as const }, { redacted: true as const, encryptedContent: "e" }),
    }),
  },
  {
    weight: 2,
    arbitrary: fc
      .oneof(
        serverId.map((id) => ({ type: "server_tool_use", id })),
        serverId.map((id) => ({ type: "web_search_tool_result", tool_use_id: id })),
      )
      .map((data): Block => ({ type: "opaque", provider: "p", kind: data.type, data, text: "seen" })),
  },
)

const messages: fc.Arbitrary<readonly LlmMessage[]> = fc.array(
  fc
    .tuple(
      fc.constantFrom("system" as const, "user" as const, "assistant" as const),
      fc.array(block, { maxLength: 5 }),
      fc.constantFrom(undefined, CLAUDE, OTHER),
    )
    .map(([role, blocks, producer]) => (producer === undefined ? { role, blocks } : { role, blocks, producer })),
  { maxLength: 8 },
)

const anyRequest: fc.Arbitrary<LlmRequest> = fc
  .record({
    messages,
    names: fc.uniqueArray(oddName, { maxLength: 4 }),
    toolChoice: fc.constantFrom("auto" as const, "none" as const, "required" as const, { toolName: "read" }),
    cache: fc.constantFrom("auto" as const, "off" as const),
    temperature: fc.double({ min: 0, max: 2, noNaN: true }),
    maxOutputTokens: fc.constantFrom(1, 1_024, 1_025, 32_000),
  })
  .map(({ maxOutputTokens, messages: history, names, temperature, ...rest }) =>
    request(history, {
      ...rest,
      generation: { maxOutputTokens, temperature, topP: 0.5, stopSequences: [" ", "x"] },
      tools: names.map((name) => ({ name, description: name, inputSchema: { anyOf: [{ type: "object" }] } })),
      attachments: [
        { id: "a", mediaType: "image/png", byteLength: 1 },
        { id: "b", mediaType: "application/pdf", byteLength: 1, label: "plan" },
        { id: "c", mediaType: "text/csv", byteLength: 1 },
      ],
    }),
  )

const URLS: { readonly [id: string]: string } = { a: "https://files.example/a.png", b: "data:application/pdf;base64,AAAA", c: "data:text/csv,1" }

test("a body is what the provider accepts, whatever the transcript contains", SLOW, () => {
  const options = fc.constantFrom({}, { thinking: { type: "adaptive" } as const }, { thinking: { type: "enabled", budget_tokens: 2_048 } as const })
  check(
    1_000,
    fc.property(anyRequest, options, fc.boolean(), (given, wire, stream) => {
      const body = anthropicMessagesWire({ ...wire, sampling: true }).encode(given, { stream, attachmentUrl: ({ id }) => URLS[id] })
      expect(anthropicRefusal(body)).toBeUndefined()
      expect(JSON.parse(JSON.stringify(body))).toEqual(body)
    }),
  )
})

const text = fc.string({ minLength: 1, maxLength: 12 }).filter((value) => value.trim() !== "")
const id = fc.uuid().map((value) => `toolu_${value}`)
const wireBlock = fc.oneof(
  text.map((value) => ({ type: "text", text: value })),
  fc.record({ type: fc.constant("thinking"), thinking: fc.string(), signature: text }),
  text.map((data) => ({ type: "redacted_thinking", data })),
  fc
    .tuple(id, fc.dictionary(fc.string(), fc.jsonValue()))
    .map(([callId, input]) => ({ type: "tool_use", id: callId, name: "look", input: JSON.parse(JSON.stringify(input)) })),
)

test("what the provider sent goes back to it in order and byte for byte", SLOW, () => {
  check(
    1_000,
    fc.property(fc.array(wireBlock, { minLength: 1, maxLength: 6 }), (content) => {
      const whole = [...content, { type: "text", text: "end" }]
      const { parts } = answer(decode(message(whole, "tool_use"), { producer: CLAUDE }))
      const body = anthropicMessagesWire().encode(request([user("a"), { role: "assistant", blocks: parts, producer: CLAUDE }, user("b")]))
      expect(body.messages[1]?.content).toEqual(whole)
    }),
  )
})

test("a stream in any pieces gives the same answer as the whole message", SLOW, () => {
  check(
    1_000,
    fc.property(fc.array(wireBlock, { maxLength: 5 }), fc.integer({ min: 1, max: 5 }), (content, size) => {
      const pieces = (value: string): readonly string[] => value.match(new RegExp(`.{1,${size}}`, "gs")) ?? []
      const events = content.flatMap((one: Record<string, unknown>, index) => {
        const opened = {
          ...one,
          ...("text" in one && { text: "" }),
          ...("thinking" in one && { thinking: "", signature: "" }),
          ...("input" in one && { input: {} }),
        }
        const deltas = [
          ...pieces(String(one["text"] ?? "")).map((piece) => ({ type: "text_delta", text: piece })),
          ...pieces(String(one["thinking"] ?? "")).map((piece) => ({ type: "thinking_delta", thinking: piece })),
          ...("signature" in one ? [{ type: "signature_delta", signature: one["signature"] }] : []),
          ...("input" in one ? pieces(JSON.stringify(one["input"])) : []).map((piece) => ({ type: "input_json_delta", partial_json: piece })),
        ]
        return [open(index, opened), ...deltas.map((piece) => delta(index, piece)), close(index)]
      })
      const { result } = read([start(), ...events, ...end("tool_use")], { producer: CLAUDE })
      const { providerUsage: _own, ...streamed } = answer(result)
      const { providerUsage: _whole, ...whole } = answer(decode(message(content, "tool_use"), { producer: CLAUDE }))
      expect(streamed).toEqual(whole)
    }),
  )
})

test("nothing throws for any JSON value", SLOW, () => {
  const event = fc.oneof(
    arbitrary.json,
    fc.record(
      {
        type: fc.constantFrom("message_start", "content_block_start", "content_block_delta", "message_delta", "error"),
        index: arbitrary.json,
        delta: arbitrary.json,
        content_block: arbitrary.json,
        message: arbitrary.json,
      },
      { requiredKeys: ["type"] },
    ),
    fc.tuple(fc.nat({ max: 2 }), wireBlock).map(([index, one]) => open(index, one)),
  )
  check(
    1_000,
    fc.property(fc.array(event, { maxLength: 8 }), fc.array(fc.oneof(arbitrary.json, wireBlock), { maxLength: 4 }), (events, content) => {
      read(events, { producer: CLAUDE })
      decode(message(content as readonly unknown[]))
      for (const one of events) decode(one)
    }),
  )
})
