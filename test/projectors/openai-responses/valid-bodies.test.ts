import * as fc from "fast-check"
import { expect, test } from "vitest"
import { openAiResponsesWire } from "../../../src/projectors/openai-responses/index.ts"
import * as arbitrary from "../../../src/testing/arbitraries.ts"
import type { Block, LlmMessage, LlmRequest } from "../../../src/wire/llm.ts"
import { check, SLOW } from "../../properties/check.ts"
import { responsesRefusal } from "../../support/strict-responses-rules.ts"
import { body, type Options, OTHER, PRODUCER } from "./support.ts"

const oddName = fc.oneof(fc.constantFrom("read", "fs.read", "fs/read", "fs_read", "", " ", "ä", "x".repeat(70), "\ud800"), arbitrary.text)
const oddId = fc.oneof(fc.constantFrom("a", "a", "b", "", " ", "functions.look:0", "x".repeat(60), "x".repeat(300), "\udfff"), arbitrary.text)
const itemId = fc.constantFrom("msg_1", "msg_2", "rs_1", "rs_2", "fc_1", "fc_2", "", "x".repeat(65), "ä", "toolu_1")
const kind = fc.constantFrom("web_search_call", "shell_call", "shell_call_output", "mcp_approval_request", "custom_tool_call", "compaction")
const metadata = fc.constantFrom(
  undefined,
  { annotations: [] },
  { annotations: [1, { type: "file_path" }] },
  { type: "refusal" },
  { content: ["a"] },
  null,
  "x",
  {
    id: 1,
    role: "system",
    namespace: "n",
  },
)

const block: fc.Arbitrary<Block> = fc
  .tuple(
    fc.oneof(
      { weight: 2, arbitrary: arbitrary.block },
      {
        weight: 3,
        arbitrary: fc.record(
          {
            type: fc.constant("tool_call" as const),
            callId: oddId,
            toolName: oddName,
            inputJson: arbitrary.inputJson,
            replay: fc.record({ itemId }),
          },
          { requiredKeys: ["type", "callId", "toolName", "inputJson"] },
        ),
      },
      { weight: 3, arbitrary: fc.record({ type: fc.constant("tool_result" as const), callId: oddId, text: arbitrary.text }) },
      {
        weight: 2,
        arbitrary: fc.record({
          type: fc.constant("text" as const),
          text: arbitrary.text,
          responseMeta: fc.record(
            { id: itemId, status: fc.constantFrom("completed", "incomplete", "odd"), phase: fc.constantFrom("commentary", "odd") },
            { requiredKeys: [] },
          ),
        }),
      },
      {
        weight: 2,
        arbitrary: fc.record({
          type: fc.constant("reasoning" as const),
          text: arbitrary.text,
          replay: fc.record(
            { itemId, encryptedContent: fc.constantFrom("secret", ""), summary: fc.array(arbitrary.text, { maxLength: 2 }) },
            { requiredKeys: [] },
          ),
        }),
      },
      { weight: 1, arbitrary: fc.record({ type: fc.constantFrom("image" as const, "file" as const), attachmentIndex: fc.nat({ max: 6 }) }) },
      {
        weight: 2,
        arbitrary: fc
          .record({
            id: fc.constantFrom("ws_1", "ws_2"),
            call_id: fc.constantFrom("c", "d"),
            kind,
            text: arbitrary.text,
            provider: fc.constantFrom("openai", "x"),
          })
          .map(({ kind: type, provider, text, ...data }) => ({ type: "opaque" as const, provider, kind: type, data: { ...data, type }, text })),
      },
    ),
    fc.option(metadata, { nil: undefined }),
  )
  .map(([made, providerMetadata]) => (providerMetadata === undefined ? made : { ...made, providerMetadata }) as Block)

const message: fc.Arbitrary<LlmMessage> = fc
  .tuple(
    fc.constantFrom("system" as const, "user" as const, "assistant" as const, "assistant" as const),
    fc.array(block, { maxLength: 5 }),
    fc.constantFrom(undefined, PRODUCER, OTHER),
  )
  .map(([role, blocks, by]) => (by === undefined ? { role, blocks } : { role, blocks, producer: by }))

const request: fc.Arbitrary<LlmRequest> = fc
  .tuple(
    arbitrary.llmRequest,
    fc.array(message, { maxLength: 8 }),
    fc.uniqueArray(oddName, { maxLength: 5 }),
    fc.record(
      {
        maxOutputTokens: arbitrary.count,
        temperature: fc.double({ min: 0, max: 2, noNaN: true }),
        topP: fc.double({ min: 0, max: 1, noNaN: true }),
        reasoningEffort: fc.oneof(fc.constantFrom("none", "low", "", " "), arbitrary.text),
      },
      { requiredKeys: [] },
    ),
    arbitrary.text,
    fc.option(fc.record({ toolName: oddName }), { nil: undefined }),
  )
  .map(([made, messages, names, generation, sessionId, choice]) => ({
    ...made,
    model: "gpt-5.5",
    messages,
    attachments: [
      { id: "a", mediaType: "image/png", byteLength: 1 },
      { id: "b", mediaType: "application/pdf", byteLength: 1, label: "plan" },
      { id: "c", mediaType: "text/csv", byteLength: 1, label: "\ud83d" },
      { id: "d", mediaType: "image/svg+xml", byteLength: 1 },
      { id: "e", mediaType: "image/webp", byteLength: 1 },
    ],
    toolChoice: choice ?? made.toolChoice,
    tools: names.map((name) => ({ name, description: name, inputSchema: { type: "object" } })),
    generation,
    sessionId,
  }))

const URLS: { readonly [id: string]: string } = {
  a: "https://files.example/a.png",
  b: "data:application/pdf;base64,AAAA",
  c: "data:text/csv,1",
  d: "data:image/svg+xml;base64,AAAA",
  e: "data:image/webp,1",
}

const options: fc.Arbitrary<Options> = fc.record(
  {
    stream: fc.boolean(),
    systemRole: fc.constantFrom("system", "developer"),
    instructions: fc.boolean(),
    attachmentUrl: fc.constant(({ id }: { readonly id: string }) => URLS[id]),
    fileTypes: fc.constantFrom([], ["application/pdf", "text/csv"]),
    reasoning: fc.constantFrom("encrypted", "off"),
    resultAttachments: fc.constantFrom("result", "message"),
    producer: fc.constantFrom({}, { provider: "openai" }, { provider: "here", model: "m" }),
  },
  { requiredKeys: [] },
)

/** The endpoint's own ids go back as they are. */
const OWN_ID = /^[\x21-\x7e]{1,450}$/

test("whatever a request contains, the endpoint accepts its body", SLOW, () => {
  check(
    2_000,
    fc.property(request, options, (given, chosen) => {
      const sampling = chosen.reasoning === "off"
      expect(responsesRefusal(body(given, chosen), { callId: OWN_ID, sampling })).toBeUndefined()
      const open = { callId: OWN_ID, plainReasoning: true, sampling: true }
      expect(responsesRefusal(body(given, { ...chosen, reasoning: "plain" }), open)).toBeUndefined()
    }),
  )
})

test("names are mapped reversibly", SLOW, () => {
  check(
    500,
    fc.property(request, (given) => {
      const back = openAiResponsesWire().toolNames(given)
      const { input, tools = [] } = body(given)
      const own = (sent: unknown): string => back.get(String(sent)) ?? String(sent)
      expect(tools.map((tool) => own((tool as { name: string }).name))).toEqual(given.tools.map((tool) => tool.name))
      const sentCalls = input.flatMap((item) =>
        "name" in item && item["call_id"] !== undefined && item["type"] === "function_call" ? [own(item["name"])] : [],
      )
      const ownCalls = given.messages.flatMap(({ blocks }) => blocks.flatMap((made) => (made.type === "tool_call" ? [made.toolName] : [])))
      expect(sentCalls).toEqual(ownCalls)
    }),
  )
})

test("the same request gives the same body, and the request is left as it was", SLOW, () => {
  check(
    300,
    fc.property(request, options, (given, chosen) => {
      const before = JSON.stringify(given)
      expect(body(given, chosen)).toEqual(body(given, chosen))
      expect(JSON.stringify(given)).toBe(before)
    }),
  )
})
