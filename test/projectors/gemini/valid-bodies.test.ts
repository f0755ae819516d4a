import * as fc from "fast-check"
import { expect, test } from "vitest"
import { type GeminiWireOptions, geminiWire } from "../../../src/projectors/gemini/index.ts"
import type { EncodeOptions } from "../../../src/projectors/wires/wire.ts"
import * as arbitrary from "../../../src/testing/arbitraries.ts"
import type { Block, LlmMessage, LlmRequest } from "../../../src/wire/llm.ts"
import { check, SLOW } from "../../properties/check.ts"
import { geminiRefusal } from "../../support/strict-gemini-rules.ts"

const oddName = fc.oneof(
  fc.constantFrom("read", "fs.read", "fs/read", "fs_read", "2fa", "-x", "", " ", "ä", "x".repeat(70), "\ud800"),
  arbitrary.text,
)
const oddId = fc.oneof(fc.constantFrom("a", "a", "b", "", " ", "x".repeat(300), "\udfff"), arbitrary.text)
const producer = fc.constantFrom(
  undefined,
  { provider: "here", api: "gemini", model: "gemini-3-pro" },
  { provider: "there", api: "anthropic-messages", model: "n" },
)
const signature = fc.constantFrom("c2ln", "c2ln", "not base64!", "", "\ud83d")
/** A model's own metadata goes back as it is, so it has only what the API knows. */
const metadata = fc.oneof(
  signature.map((thoughtSignature) => ({ thoughtSignature })),
  fc.constantFrom(
    null,
    [],
    "x",
    1,
    { partMetadata: { a: 1 } },
    { text: 1, functionCall: {}, functionResponse: {}, thought: 3 },
    { continuationToken: "x!" },
  ),
)
const data = fc.constantFrom(
  { executableCode: { language: "PYTHON", code: "1" } },
  { codeExecutionResult: { outcome: "OUTCOME_OK", output: "1" } },
  { toolCall: { id: "1" }, thoughtSignature: "c2ln" },
  { toolResponse: { id: "1" } },
  { inlineData: { mimeType: "image/png", data: "AAAA" }, thought: true },
  { functionCall: { name: "x y" } },
  { functionResponse: { name: "x" } },
  { text: "t" },
  null,
  ["a"],
  { executableCode: 1 },
)

/** Blocks of every type with all their keys. */
const block: fc.Arbitrary<Block> = fc
  .tuple(
    fc.oneof(
      { weight: 3, arbitrary: arbitrary.block.filter(({ type }) => type !== "opaque") },
      {
        weight: 3,
        arbitrary: fc.record(
          {
            type: fc.constant("tool_call" as const),
            callId: oddId,
            toolName: oddName,
            inputJson: arbitrary.inputJson,
            replay: signature.map((opaque) => ({ opaque })),
          },
          { requiredKeys: ["type", "callId", "toolName", "inputJson"] },
        ),
      },
      { weight: 3, arbitrary: fc.record({ type: fc.constant("tool_result" as const), callId: oddId, text: arbitrary.text }) },
      { weight: 1, arbitrary: fc.record({ type: fc.constantFrom("image" as const, "file" as const), attachmentIndex: fc.nat({ max: 4 }) }) },
      {
        weight: 1,
        arbitrary: fc.record({ type: fc.constant("reasoning" as const), text: arbitrary.text, replay: signature.map((sig) => ({ signature: sig })) }),
      },
      {
        weight: 1,
        arbitrary: fc.tuple(data, fc.constantFrom("here", "google"), fc.option(arbitrary.text, { nil: undefined })).map(
          ([given, provider, text]): Block => ({
            type: "opaque",
            provider,
            kind: Object.keys(given ?? {})[0] ?? "x",
            data: given as never,
            ...(text !== undefined && { text }),
          }),
        ),
      },
    ),
    fc.option(metadata, { nil: undefined, freq: 3 }),
  )
  .map(([made, given]) => {
    const { providerMetadata: _, ...bare } = made as Block
    return (given === undefined ? bare : { ...bare, providerMetadata: given }) as Block
  })

const message: fc.Arbitrary<LlmMessage> = fc
  .tuple(fc.constantFrom("system" as const, "user" as const, "assistant" as const), fc.array(block, { maxLength: 5 }), producer)
  .map(([role, blocks, by]) => (by === undefined ? { role, blocks } : { role, blocks, producer: by }))

const attachments = fc.constant([
  { id: "a", mediaType: "image/png", byteLength: 1 },
  { id: "b", mediaType: "application/pdf", byteLength: 1, label: "plan" },
  { id: "c", mediaType: "image/gif", byteLength: 1, label: "\ud83d" },
  { id: "d", mediaType: "text/plain", byteLength: 1 },
])

const request: fc.Arbitrary<LlmRequest> = fc
  .tuple(
    arbitrary.llmRequest,
    fc.array(message, { maxLength: 8 }),
    attachments,
    fc.uniqueArray(oddName, { maxLength: 5 }),
    fc.constantFrom("gemini-3-pro", "gemini-2.5-pro", "gemma-3"),
    fc.record(
      {
        maxOutputTokens: arbitrary.count,
        temperature: fc.double({ min: 0, max: 2, noNaN: true }),
        topP: fc.double({ min: 0, max: 1, noNaN: true }),
        stopSequences: fc.array(arbitrary.text, { maxLength: 2 }),
        seed: arbitrary.count,
        reasoningEffort: fc.oneof(fc.constantFrom("low", "HIGH", "-1", "512", "none"), arbitrary.text),
        providerOptions: fc.constantFrom(null, [], "x", { generationConfig: { topK: 1 }, tools: [{ googleSearch: {} }] }),
      },
      { requiredKeys: [] },
    ),
  )
  .map(([made, messages, files, names, model, generation]) => ({
    ...made,
    model,
    messages,
    attachments: files,
    tools: names.map((name) => ({ name, description: name, inputSchema: { type: "object", properties: { [name]: { description: name } } } })),
    generation,
  }))

const URLS: { readonly [id: string]: string } = {
  a: "https://files.example/a.png",
  b: "data:application/pdf;base64,AAAA",
  c: "data:,1",
  d: "data:text/plain;base64,ä",
}

const options: fc.Arbitrary<GeminiWireOptions & EncodeOptions> = fc.record(
  {
    stream: fc.boolean(),
    attachmentUrl: fc.constant(({ id }: { readonly id: string }) => URLS[id]),
    mediaTypes: fc.constantFrom([], ["image/png", "application/*"]),
    callIds: fc.constantFrom("send", "omit"),
    includeThoughts: fc.boolean(),
    signedCalls: fc.boolean(),
    multimodalResults: fc.boolean(),
    producer: fc.constantFrom({}, { provider: "here" }),
  },
  { requiredKeys: [] },
)

test("whatever a request contains, Gemini accepts its body", SLOW, () => {
  check(
    2_000,
    fc.property(request, options, (given, chosen) => {
      const body: unknown = JSON.parse(JSON.stringify(geminiWire(chosen).encode(given, chosen)))
      const ids = chosen.callIds === "omit" ? "refused" : "accepted"
      expect(geminiRefusal(body, { signedCalls: chosen.signedCalls ?? given.model === "gemini-3-pro", ids })).toBeUndefined()
    }),
  )
})

test("names are mapped reversibly: no two names are sent as one, and each sent name leads back", SLOW, () => {
  check(
    1_000,
    fc.property(request, (given) => {
      const back = geminiWire().toolNames(given)
      const { contents, tools = [] } = geminiWire().encode(given)
      const own = (sent: string | undefined): string | undefined => back.get(sent ?? "") ?? sent
      const declared = tools.flatMap(({ functionDeclarations = [] }) => functionDeclarations)
      expect(declared.map(({ name }) => own(name))).toEqual(given.tools.map(({ name }) => name))
      const sentCalls = contents.flatMap(({ parts }) => parts.flatMap(({ functionCall }) => functionCall ?? []))
      const ownCalls = given.messages.flatMap(({ blocks }) => blocks.flatMap((made) => (made.type === "tool_call" ? [made.toolName] : [])))
      expect(sentCalls.map(({ name }) => own(name))).toEqual(ownCalls)
    }),
  )
})

test("the same request gives the same body, and the request is left as it was", SLOW, () => {
  check(
    300,
    fc.property(request, options, (given, chosen) => {
      const before = JSON.stringify(given)
      expect(geminiWire(chosen).encode(given, chosen)).toEqual(geminiWire(chosen).encode(given, chosen))
      expect(JSON.stringify(given)).toBe(before)
    }),
  )
})
