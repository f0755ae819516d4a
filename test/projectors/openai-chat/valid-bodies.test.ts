import * as fc from "fast-check"
import { expect, test } from "vitest"
import { openAiChatWire } from "../../../src/projectors/openai-chat/index.ts"
import * as arbitrary from "../../../src/testing/arbitraries.ts"
import type { Block, LlmMessage, LlmRequest } from "../../../src/wire/llm.ts"
import { check, SLOW } from "../../properties/check.ts"
import { type ChatRequestOptions, chatRequest } from "../../support/openai-chat.ts"
import { brokenRules } from "./body-rules.ts"

const oddName = fc.oneof(fc.constantFrom("read", "fs.read", "fs/read", "fs_read", "", " ", "ä", "x".repeat(70), "\ud800"), arbitrary.text)
const oddId = fc.oneof(fc.constantFrom("a", "a", "b", "", " ", "functions.look:0", "x".repeat(60), "AbCdEfGh1", "\udfff"), arbitrary.text)
const producer = fc.constantFrom(
  undefined,
  { provider: "here", api: "openai-chat", model: "m" },
  { provider: "there", api: "anthropic-messages", model: "n" },
)
const metadata = fc.oneof(
  arbitrary.json,
  fc.constantFrom({ extra_content: { google: { thought_signature: "c2ln" } } }, { role: "system", content: 1, id: 2, tool_calls: [] }, null),
)

/** Blocks of every type with all their keys. */
const block: fc.Arbitrary<Block> = fc
  .tuple(
    fc.oneof(
      { weight: 3, arbitrary: arbitrary.block },
      {
        weight: 3,
        arbitrary: fc.record({ type: fc.constant("tool_call" as const), callId: oddId, toolName: oddName, inputJson: arbitrary.inputJson }),
      },
      { weight: 3, arbitrary: fc.record({ type: fc.constant("tool_result" as const), callId: oddId, text: arbitrary.text }) },
      { weight: 1, arbitrary: fc.record({ type: fc.constantFrom("image" as const, "file" as const), attachmentIndex: fc.nat({ max: 4 }) }) },
      {
        weight: 1,
        arbitrary: fc.record(
          { type: fc.constant("opaque" as const), provider: arbitrary.id, kind: arbitrary.text, data: arbitrary.json, text: arbitrary.text },
          { requiredKeys: ["type", "provider", "kind", "data"] },
        ),
      },
    ),
    fc.option(metadata, { nil: undefined, freq: 3 }),
  )
  .map(([made, providerMetadata]) => (providerMetadata === undefined ? made : { ...made, providerMetadata }) as Block)

const message: fc.Arbitrary<LlmMessage> = fc
  .tuple(fc.constantFrom("system" as const, "user" as const, "assistant" as const), fc.array(block, { maxLength: 5 }), producer)
  .map(([role, blocks, by]) => (by === undefined ? { role, blocks } : { role, blocks, producer: by }))

const attachments = fc.constant([
  { id: "a", mediaType: "image/png", byteLength: 1 },
  { id: "b", mediaType: "application/pdf", byteLength: 1, label: "plan" },
  { id: "c", mediaType: "text/csv", byteLength: 1, label: "\ud83d" },
])

const request: fc.Arbitrary<LlmRequest> = fc
  .tuple(
    arbitrary.llmRequest,
    fc.array(message, { maxLength: 8 }),
    attachments,
    fc.uniqueArray(oddName, { maxLength: 5 }),
    fc.constantFrom({}, { parallelToolCalls: false as const }),
    fc.record(
      {
        maxOutputTokens: arbitrary.count,
        temperature: fc.double({ min: 0, max: 2, noNaN: true }),
        topP: fc.double({ min: 0, max: 1, noNaN: true }),
        stopSequences: fc.array(arbitrary.text, { maxLength: 2 }),
        seed: arbitrary.count,
        reasoningEffort: arbitrary.text,
        providerOptions: fc.constantFrom(null, [], "x", { user: "\ud83d", "\udc00": 1 }),
      },
      { requiredKeys: [] },
    ),
  )
  .map(([made, messages, files, names, parallel, generation]) => ({
    ...made,
    ...parallel,
    messages,
    attachments: files,
    tools: names.map((name) => ({ name, description: name, inputSchema: { type: "object", properties: { [name]: { description: name } } } })),
    generation,
  }))

const URLS: { readonly [id: string]: string } = { a: "https://files.example/a.png", b: "data:application/pdf;base64,AAAA", c: "data:text/csv,1" }

const options: fc.Arbitrary<ChatRequestOptions> = fc.record(
  {
    stream: fc.boolean(),
    systemRole: fc.constantFrom("system", "developer"),
    attachmentUrl: fc.constant(({ id }: { readonly id: string }) => URLS[id]),
    fileTypes: fc.constantFrom([], ["application/pdf", "text/csv"]),
    reasoningField: fc.constantFrom("reasoning_content", "reasoning"),
    callIds: fc.constantFrom("openai", "mistral"),
    producer: fc.constantFrom({}, { provider: "here", model: "m" }),
    bridgeUserAfterTool: fc.boolean(),
    systemOnlyFirst: fc.boolean(),
    alternate: fc.boolean(),
  },
  { requiredKeys: [] },
)

test("whatever a request contains, its body keeps the rules of the API reference", SLOW, () => {
  check(
    2_000,
    fc.property(request, options, (given, chosen) => {
      const body = chatRequest(given, chosen)
      // The endpoint's own ids go back as they are.
      const id = chosen.callIds === "mistral" ? /^[a-zA-Z0-9]{9}$/ : /^[\x21-\x7e]{1,1000}$/
      expect(brokenRules(body, id)).toEqual([])
    }),
  )
})

test("call ids of other or unknown models have at most 40 characters", SLOW, () => {
  check(
    1_000,
    fc.property(request, (given) => {
      const body = chatRequest(given, { producer: { provider: "elsewhere" } })
      expect(brokenRules(body)).toEqual([])
    }),
  )
})

test("names are mapped reversibly: no two names are sent as one, and each sent name leads back", SLOW, () => {
  check(
    2_000,
    fc.property(request, (given) => {
      const back = openAiChatWire().toolNames(given)
      const { messages, tools = [] } = chatRequest(given)
      const own = (sent: string): string => back.get(sent) ?? sent
      expect(tools.map((tool) => own(tool.function.name))).toEqual(given.tools.map((tool) => tool.name))
      const sentCalls = messages.flatMap((sent) => (sent.role === "assistant" ? (sent.tool_calls ?? []) : []))
      const ownCalls = given.messages.flatMap(({ blocks }) => blocks.flatMap((made) => (made.type === "tool_call" ? [made.toolName] : [])))
      expect(sentCalls.map((call) => own(call.function.name))).toEqual(ownCalls)
    }),
  )
})

test("the same request gives the same body, and the request is left as it was", SLOW, () => {
  check(
    300,
    fc.property(request, options, (given, chosen) => {
      const before = JSON.stringify(given)
      expect(chatRequest(given, chosen)).toEqual(chatRequest(given, chosen))
      expect(JSON.stringify(given)).toBe(before)
    }),
  )
})
