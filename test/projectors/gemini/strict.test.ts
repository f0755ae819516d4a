/** Turns and goals at a strict Gemini endpoint, in process: what it signs must come back as it was, and no request may be refused. */
import { describe, expect, onTestFinished, test } from "vitest"
import * as z from "zod"
import { chatDriver } from "../../../src/drivers/chat.ts"
import { type Host, LlmCallError } from "../../../src/hosts/host.ts"
import { journaled } from "../../../src/hosts/journal/journaled.ts"
import { memoryJournalStore } from "../../../src/hosts/journal/memory.ts"
import { runThread, Thread } from "../../../src/hosts/thread/thread.ts"
import { defineTool } from "../../../src/hosts/tools/define-tool.ts"
import { toolbox } from "../../../src/hosts/tools/toolbox.ts"
import { chatProjector } from "../../../src/projectors/chat.ts"
import { type GeminiWireOptions, geminiWire } from "../../../src/projectors/gemini/index.ts"
import { countCalls } from "../../../src/projectors/wires/wire.ts"
import type { LlmRequest } from "../../../src/wire/llm.ts"
import { configOf, userMessage } from "../../machine/support.ts"
import { type GeminiScript, type GeminiScripted, StrictGemini, type StrictGeminiOptions, serveStrictGemini } from "../../support/strict-gemini.ts"
import { OTHERS, OURS } from "./support.ts"

/** Calls the endpoint through the wire. */
function clientOf(gemini: StrictGemini, stream: boolean, options: GeminiWireOptions = {}): Pick<Host, "llmCall"> {
  const wire = geminiWire(options)
  return {
    async llmCall({ request }) {
      const producer = { ...OURS, model: request.model }
      const { status, text } = gemini.answer(JSON.parse(JSON.stringify(wire.encode(request, { producer, stream }))), { stream })
      if (status !== 200) throw new LlmCallError(wire.failure(status, text))
      const decoding = { producer, toolNames: wire.toolNames(request), firstCallNumber: countCalls(request) + 1 }
      const reader = wire.stream(decoding)
      if (stream) for (const [, data = ""] of text.matchAll(/^data: (.*)\r$/gm)) reader.push(JSON.parse(data))
      const result = stream ? reader.finish() : wire.decode(JSON.parse(text), decoding)
      if (result.ok) return result.response
      throw new LlmCallError(result.error, result.partial === undefined ? {} : { partial: result.partial })
    },
  }
}

const box = toolbox([
  defineTool({ name: "look", description: "Looks.", input: z.object({ at: z.string() }), execute: ({ at }) => ({ seen: `A shop in ${at}.` }) }),
  defineTool({ name: "2_count", description: "Counts.", input: z.object({}), execute: () => 3 }),
])

const look = (at: string) => ({ name: "look", args: { at } })

const SCRIPT: readonly GeminiScripted[] = [
  { thought: "I look at both places at once.", calls: [look("Kyiv"), look("Lviv")], repeatsCalls: true },
  { text: "Now I count them.", calls: [{ name: "_2_count" }, look("Odesa")] },
  {
    parts: [{ executableCode: { language: "PYTHON", code: "1+2" } }, { codeExecutionResult: { outcome: "OUTCOME_OK", output: "3" } }],
    calls: [look("Dnipro")],
  },
  { thought: "Done.", text: "There are three shops, and one more." },
  { text: "As I said: four." },
]

const texts = (requests: StrictGemini["requests"]): readonly unknown[] => requests.map(({ changedAt, refusal }) => [refusal, changedAt])

describe.each<[string, boolean, StrictGeminiOptions, GeminiWireOptions]>([
  ["streamed", true, {}, {}],
  ["whole", false, {}, {}],
  ["streamed, without ids as at Vertex AI", true, { ids: "refused" }, { callIds: "omit" }],
])("%s", (_, stream, endpoint, options) => {
  test("a chat turn with parallel tools over several iterations, and the turn after it", async () => {
    const gemini = new StrictGemini(SCRIPT, endpoint)
    const store = memoryJournalStore()
    const host: Host = { ...clientOf(gemini, stream, options), tools: box }
    const config = configOf({
      driver: chatDriver(),
      projector: chatProjector,
      model: OURS.model,
      tools: box.specs,
      systemPrompt: "You work in a shop.",
    })
    const thread = await Thread.open(store, "t", { config })
    onTestFinished(() => thread.close())
    await thread.say("Look at the shops.")
    expect(await runThread(thread, host)).toMatchObject({ outcome: { type: "finished", finish: { text: "There are three shops, and one more." } } })
    await thread.say("How many?")
    expect(await runThread(thread, host)).toMatchObject({ outcome: { type: "finished", finish: { text: "As I said: four." } } })
    // No request was refused, and each begins as the one before it.
    expect(texts(gemini.requests)).toEqual(SCRIPT.map(() => [undefined, undefined]))
    const last = JSON.stringify(gemini.requests.at(-1)?.body)
    expect(last.match(/"thoughtSignature"/g)).toHaveLength(4)
    expect(last).not.toContain("skip_thought_signature_validator")
    expect(last).toContain("A shop in Odesa.")
  })

  test("a goal of a few turns, which is steered and continued", async () => {
    const gemini = new StrictGemini(
      [
        { text: "I begin.", calls: [look("Kyiv")] },
        { text: "One part is done." },
        { calls: [look("Lviv"), look("Odesa")] },
        { text: "Two parts are done." },
        { calls: [{ name: "update_goal", args: { status: "complete" } }] },
        { text: "All is done." },
      ],
      endpoint,
    )
    const host: Host = { ...clientOf(gemini, stream, options), tools: box }
    const config = configOf({
      driver: chatDriver(),
      projector: chatProjector,
      model: OURS.model,
      tools: box.specs,
      systemPrompt: "You work in a shop.",
    })
    const thread = await Thread.open(memoryJournalStore(), "t", { config })
    onTestFinished(() => thread.close())
    await thread.command({ type: "set", objective: "Look at three shops.", tokenBudget: 1_000_000 })
    await runThread(thread, host)
    expect(gemini.requests).toHaveLength(6)
    expect(texts(gemini.requests)).toEqual(Array.from({ length: 6 }, () => [undefined, undefined]))
    expect(thread.goal).toMatchObject({ status: "complete" })
  })
})

test("an answer of another model in mid-turn: its calls are marked, and the turn continues", async () => {
  const gemini = new StrictGemini([{ calls: [look("Lviv")] }, "Done."])
  const client = clientOf(gemini, true)
  let number = 0
  const host: Host = {
    tools: box,
    async llmCall(effect, context) {
      number += 1
      if (number !== 1) return client.llmCall(effect, context)
      const parts = ["a", "b"].map(
        (callId) => ({ type: "tool_call", callId, toolName: "look", inputJson: '{"at":"Kyiv"}', replay: { opaque: "sig" } }) as const,
      )
      const usage = { inputTokens: 1, cachedInputTokens: 0, outputTokens: 1, reasoningTokens: 0 }
      const reasoning = { type: "reasoning", text: "Hm.", replay: { signature: "c2ln" } } as const
      return { text: "", parts: [reasoning, ...parts], usage, producer: OTHERS, terminalReason: "tool_use" }
    },
  }
  const config = configOf({ driver: chatDriver(), projector: chatProjector, model: OURS.model, tools: box.specs })
  const { outcome } = await journaled(host, memoryJournalStore()).run("turn", { config, start: { messages: [userMessage("Look.")] }, turnId: "t" })
  expect(outcome).toMatchObject({ type: "finished", finish: { text: "Done." } })
  expect(texts(gemini.requests)).toEqual([
    [undefined, undefined],
    [undefined, undefined],
  ])
})

test("a stream that breaks off in mid-turn is stored without its calls, and the next turn is accepted", async () => {
  const gemini = new StrictGemini([
    { calls: [look("Kyiv")] },
    { text: "I look at the other one, too.", calls: [look("Lviv")], cutAfter: 4 },
    "Both seen.",
  ])
  const host: Host = { ...clientOf(gemini, true), tools: box }
  const config = configOf({ driver: chatDriver(), projector: chatProjector, model: OURS.model, tools: box.specs })
  const thread = await Thread.open(memoryJournalStore(), "t", { config })
  onTestFinished(() => thread.close())
  await thread.say("Look.")
  expect(await runThread(thread, host)).toMatchObject({ outcome: { type: "stopped" } })
  await thread.say("Continue.")
  expect(await runThread(thread, host)).toMatchObject({ outcome: { finish: { text: "Both seen." } } })
  expect(gemini.requests.map(({ refusal }) => refusal)).toEqual([undefined, undefined, undefined])
  expect(JSON.stringify(gemini.requests.at(-1)?.body)).toContain("I look at the other one, too.")
})

describe("the endpoint", () => {
  const contents = (...turns: readonly (readonly object[])[]): object => ({
    contents: turns.map((parts, index) => ({ role: index % 2 === 0 ? "user" : "model", parts })),
  })
  const hello = [{ text: "Hello." }]
  const calling = { functionCall: { name: "look", args: {} } }
  const responding = { functionResponse: { name: "look", response: { output: "seen" } } }
  const signed = { ...calling, thoughtSignature: "skip_thought_signature_validator" }
  const refusal = (body: object, script: GeminiScript = () => "Hi."): string => {
    const gemini = new StrictGemini(script)
    gemini.answer(body, { stream: false })
    return gemini.requests[0]?.refusal ?? ""
  }

  test.each<[string, object]>([
    ["contents is not specified", { contents: [] }],
    ["Cannot find field", { ...contents(hello), model: "m" }],
    ["Cannot find field", contents([{ text: "Hello.", colour: "red" }])],
    ["one initialized field", contents([{ text: "Hello.", inlineData: { mimeType: "image/png", data: "AAAA" } }])],
    ["the text is empty", contents([{ text: "" }])],
    ["alternate", { contents: [{ role: "model", parts: hello }] }],
    [
      "alternate",
      {
        contents: [
          { role: "user", parts: hello },
          { role: "user", parts: hello },
        ],
      },
    ],
    ["end with a user role", contents(hello, [{ text: "Hi." }])],
    ["number of function response parts", contents(hello, [signed], hello)],
    ["number of function response parts", contents(hello, [signed], [responding, responding])],
    ["number of function response parts", contents([responding])],
    ["first parts", contents(hello, [signed], [...hello, responding])],
    ["does not match", contents(hello, [signed], [{ functionResponse: { name: "read", response: {} } }])],
    ["missing a thought_signature", contents(hello, [calling], [responding])],
    ["signature is not valid", contents(hello, [{ ...calling, thoughtSignature: "c2ln" }], [responding])],
    ["Base64 decoding failed", contents(hello, [{ ...calling, thoughtSignature: "?" }], [responding])],
    ["Invalid function name", contents(hello, [{ functionCall: { name: "2fa", args: {} } }], [responding])],
    ["not an object", contents(hello, [{ functionCall: { name: "look", args: "{}" } }], [responding])],
    ["Must start with a letter", { ...contents(hello), tools: [{ functionDeclarations: [{ name: "2fa", parametersJsonSchema: {} }] }] }],
    [
      "not declared",
      {
        ...contents(hello),
        tools: [{ functionDeclarations: [{ name: "a", parametersJsonSchema: {} }] }],
        toolConfig: { functionCallingConfig: { mode: "ANY", allowedFunctionNames: ["b"] } },
      },
    ],
    ["Cannot find field", { ...contents(hello), generationConfig: { max_tokens: 1 } }],
    ["only one of thinking", { ...contents(hello), generationConfig: { thinkingConfig: { thinkingBudget: 1, thinkingLevel: "LOW" } } }],
  ])("refuses: %s (%#)", (reason, body) => expect(refusal(body)).toContain(reason))

  test("accepts what follows the rules, and wants its signature back on the same part", () => {
    const gemini = new StrictGemini([{ calls: [look("Kyiv"), look("Lviv")] }, "Done."])
    const body = contents(hello)
    const { candidates } = JSON.parse(gemini.answer(body, { stream: false }).text) as {
      candidates: { content: { parts: { functionCall: object; thoughtSignature?: string }[] } }[]
    }
    const [first, second] = candidates[0]?.content.parts ?? []
    expect([typeof first?.thoughtSignature, second?.thoughtSignature]).toEqual(["string", undefined])
    const responses = ["fc-1-0", "fc-1-1"].map((id) => ({ functionResponse: { id, name: "look", response: {} } }))
    const moved = [
      { functionCall: first?.functionCall, thoughtSignature: first?.thoughtSignature },
      { functionCall: second?.functionCall, thoughtSignature: first?.thoughtSignature },
    ]
    expect(gemini.answer(contents(hello, moved, responses), { stream: false }).text).toContain("not valid")
    expect(gemini.answer(contents(hello, [first ?? {}, second ?? {}], responses), { stream: false }).status).toBe(200)
  })

  test("serves both methods, and fails by its script", async () => {
    const gemini = new StrictGemini([{ text: "Hi." }, { status: 429, error: { status: "RESOURCE_EXHAUSTED" } }])
    const server = await serveStrictGemini(gemini)
    onTestFinished(() => server.close())
    const post = (method: string) => fetch(`${server.url}/models/gemini-3-pro:${method}`, { method: "POST", body: JSON.stringify(contents(hello)) })
    const streamed = await post("streamGenerateContent?alt=sse")
    expect([streamed.headers.get("content-type"), await streamed.text()]).toEqual([
      "text/event-stream",
      expect.stringContaining('data: {"candidates"'),
    ])
    const failed = await post("generateContent")
    expect([failed.status, await failed.json()]).toMatchObject([429, { error: { code: 429, status: "RESOURCE_EXHAUSTED" } }])
    expect((await post("else")).status).toBe(404)
  })
})

test("a request that the wire did not write is refused with Google's form of an error", () => {
  const request: LlmRequest = {
    model: OURS.model,
    messages: [],
    attachments: [],
    tools: [],
    toolChoice: "auto",
    generation: { providerOptions: { colour: "red" } },
  }
  const { status, text } = new StrictGemini(["Hi."]).answer(geminiWire().encode(request), { stream: false })
  expect(geminiWire().failure(status, text)).toMatchObject({ kind: "invalid_request", code: "INVALID_ARGUMENT", retryable: false })
})
