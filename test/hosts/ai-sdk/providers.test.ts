import { createAnthropic } from "@ai-sdk/anthropic"
import { createGoogleGenerativeAI } from "@ai-sdk/google"
import { createOpenAI } from "@ai-sdk/openai"
import { createOpenAICompatible } from "@ai-sdk/openai-compatible"
import { LLMock } from "@copilotkit/aimock"
import { createAnthropic as createAnthropicV4 } from "ai-sdk-anthropic-4"
import { createGoogleGenerativeAI as createGoogleV4 } from "ai-sdk-google-4"
import { createOpenAI as createOpenAIV4 } from "ai-sdk-openai-4"
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest"
import * as z from "zod"
import { chatDriver } from "../../../src/drivers/chat.ts"
import { outputOf } from "../../../src/drivers/output.ts"
import { type AiSdkModelOptions, aiSdkModel } from "../../../src/hosts/ai-sdk/ai-sdk-model.ts"
import type { AiSdkLanguageModel } from "../../../src/hosts/ai-sdk/language-model.ts"
import { memoryAttachmentStore } from "../../../src/hosts/attachments/memory.ts"
import { fallback } from "../../../src/hosts/models/fallback.ts"
import { runTurn } from "../../../src/hosts/run/run-turn.ts"
import { defineOutput } from "../../../src/hosts/tools/define-output.ts"
import { defineTool } from "../../../src/hosts/tools/define-tool.ts"
import { toolbox } from "../../../src/hosts/tools/toolbox.ts"
import type { TurnConfig } from "../../../src/machine/config.ts"
import { userMessage } from "../../../src/machine/user-message.ts"
import { chatProjector } from "../../../src/projectors/chat.ts"
import { TurnMachine } from "../../../src/validated-turn-machine.ts"
import type { TurnEvent } from "../../../src/wire/event.ts"
import type { Message } from "../../../src/wire/message.ts"

// The real packages of providers, of both versions of the interface, against a server that speaks their wire formats.

const mock = new LLMock({ port: 0, host: "127.0.0.1", logLevel: "silent", chunkSize: 6 })
/** The bodies that were sent, parsed. */
let bodies: Body[] = []

type Body = { readonly [key: string]: unknown }

const record: typeof fetch = async (url, init) => {
  bodies.push(JSON.parse(String(init?.body)) as Body)
  return fetch(url, init)
}

beforeAll(() => mock.start())
afterAll(() => mock.stop())
afterEach(() => {
  mock.clearFixtures()
  mock.resetMatchCounts()
  bodies = []
})

type Create = () => AiSdkLanguageModel
const at = (path: string) => ({ baseURL: `${mock.url}${path}`, apiKey: "k", fetch: record })

const MODELS: { readonly [name: string]: Create } = {
  "Anthropic, V3": () => createAnthropic(at("/v1"))("claude-sonnet-4-5"),
  "Anthropic, V4": () => createAnthropicV4(at("/v1"))("claude-sonnet-4-5"),
  "Google, V3": () => createGoogleGenerativeAI(at("/v1beta"))("gemini-2.5-pro"),
  "Google, V4": () => createGoogleV4(at("/v1beta"))("gemini-2.5-pro"),
  "OpenAI Responses, V3": () => createOpenAI(at("/v1"))("gpt-5"),
  "OpenAI Responses, V4": () => createOpenAIV4(at("/v1"))("gpt-5"),
  "OpenAI chat, V3": () => createOpenAI(at("/v1")).chat("gpt-4.1"),
  "a compatible one, V3": () => createOpenAICompatible({ name: "spare", includeUsage: true, supportsStructuredOutputs: true, ...at("/v1") })("m"),
}

const ALL = Object.entries(MODELS)

/** A server that streams these events, one list for each request. */
function answering(...answers: readonly (readonly object[])[]): typeof fetch {
  let next = 0
  return async (_url, init) => {
    bodies.push(JSON.parse(String(init?.body)) as Body)
    const events = answers[next] ?? []
    next += 1
    return new Response(events.map((event) => `data: ${JSON.stringify(event)}\n\n`).join(""), { headers: { "content-type": "text/event-stream" } })
  }
}

const FINAL_OF_RESPONSES = [
  { type: "response.created", response: { id: "resp_2", created_at: 1, model: "gpt-5", service_tier: null } },
  { type: "response.output_item.added", output_index: 0, item: { id: "msg_1", type: "message" } },
  { type: "response.output_text.delta", item_id: "msg_1", delta: "4 °C.", logprobs: null },
  { type: "response.output_item.done", output_index: 0, item: { id: "msg_1", type: "message" } },
  { type: "response.completed", response: { incomplete_details: null, usage: { input_tokens: 0, output_tokens: 0 }, service_tier: null } },
]

const weather = defineTool({
  name: "weather",
  description: "The weather in a city.",
  input: z.object({ city: z.string() }),
  execute: ({ city }) => `${city}: 4 °C`,
})
const tools = toolbox([weather])

async function turn(
  model: AiSdkLanguageModel,
  text: string,
  changes: Partial<TurnConfig> = {},
  options: AiSdkModelOptions = {},
  before: readonly Message[] = [],
) {
  const events: TurnEvent[] = []
  const config: TurnConfig = { driver: chatDriver(), projector: chatProjector, model: "m", systemPrompt: "Be brief.", tools: tools.specs, ...changes }
  const machine = new TurnMachine(config, { messages: [...before, userMessage(text, { id: `u${before.length}` })], iterationOffset: before.length })
  const client = aiSdkModel(model, { maxRetries: 0, ...options })
  const done = await runTurn(machine, { ...client, tools }, { onEvent: (event) => void events.push(event) })
  return { done, events, shown: events.map((event) => (event.type === "text_delta" ? event.content : "")).join("") }
}

function onWeather(more: object = {}): void {
  const usage = { input_tokens: 11, output_tokens: 5, prompt_tokens: 11, completion_tokens: 5, promptTokenCount: 11, candidatesTokenCount: 5 }
  const calls = { toolCalls: [{ name: "weather", arguments: '{"city":"Oslo"}', id: "call_1" }], usage, ...more }
  mock.on({ userMessage: "weather", hasToolResult: false }, calls)
  mock.on({ userMessage: "weather", hasToolResult: true }, { content: "It is 4 °C in Oslo.", usage })
}

describe.each(ALL)("a turn with %s", (_name, create) => {
  test("runs a tool, streams the answer, and counts its tokens", async () => {
    onWeather()
    const { done, shown } = await turn(create(), "What is the weather?")
    expect(done.outcome).toEqual({ type: "finished", finish: { type: "assistant_message", text: "It is 4 °C in Oslo." } })
    expect(shown).toBe("It is 4 °C in Oslo.")
    expect(done.messages.map(({ parts }) => parts.map(({ type }) => type).join("+"))).toEqual(["text", "tool_call", "tool_result", "text"])
    expect(done.usage).toMatchObject({ inputTokens: 22, outputTokens: 10 })
    expect(JSON.stringify(bodies[1])).toContain("Oslo: 4 °C")
  })

  test("is answered as a whole as well", async () => {
    onWeather()
    const { done, shown } = await turn(create(), "What is the weather?", {}, { stream: false })
    expect(done.outcome).toMatchObject({ finish: { text: "It is 4 °C in Oslo." } })
    expect(shown).toBe("It is 4 °C in Oslo.")
  })

  test.each([
    [429, { message: "Slow down.", type: "rate_limit_error" }, "rate_limit"],
    [401, { message: "Bad key.", type: "authentication_error" }, "auth"],
    [400, { message: "prompt is too long: 9 tokens > 5", type: "invalid_request_error" }, "context_overflow"],
  ])("that is refused with %i knows why", async (status, error, failureKind) => {
    mock.onMessage(/.*/, { content: "never" })
    mock.nextRequestError(status, error)
    const { done } = await turn(create(), "Hi")
    expect(done.outcome).toMatchObject({ stop: { type: "provider_error", error: { failureKind } } })
  })

  test("retries, and then answers", async () => {
    mock.onMessage(/.*/, { content: "Hello." })
    mock.nextRequestError(503, { message: "Overloaded." })
    const { done, events } = await turn(create(), "Hi", {}, { maxRetries: 1, sleep: async () => {} })
    expect(done.outcome).toMatchObject({ finish: { text: "Hello." } })
    expect(events.filter(({ type }) => type === "retry_status")).toHaveLength(1)
  })

  test("whose stream breaks off keeps what was said", async () => {
    mock.onMessage(
      /.*/,
      { content: "A long answer that is never completed, because the connection breaks." },
      { truncateAfterChunks: 6, latency: 20 },
    )
    const { done, shown } = await turn(create(), "Hi")
    expect(done.outcome).toMatchObject({ stop: { type: "provider_error", error: { failureKind: "network" } } })
    expect(shown).not.toBe("")
    expect(done.messages[1]?.parts).toMatchObject([{ type: "text", text: shown }, { type: "interrupted" }])
  })

  test("settles a call with broken arguments, and the model calls again", async () => {
    mock.on({ userMessage: "weather", hasToolResult: false }, { toolCalls: [{ name: "weather", arguments: '{"city":', id: "call_1" }] })
    mock.on({ userMessage: "weather", hasToolResult: true }, { content: "Sorry." })
    const { done } = await turn(create(), "What is the weather?")
    // Google's wire has arguments as an object, so the server cannot send broken ones.
    expect(done.messages.length).toBeGreaterThanOrEqual(3)
    for (const body of bodies) expect(() => JSON.stringify(body)).not.toThrow()
  })

  test("may answer with a value of a schema", async () => {
    mock.onMessage(/.*/, { content: '{"city":"Oslo","celsius":4}' })
    const report = defineOutput({ name: "report", schema: z.object({ city: z.string(), celsius: z.number() }) })
    const { done } = await turn(create(), "Where is it cold?", { driver: chatDriver({ output: report }), tools: [] })
    expect(outputOf(done, report)).toEqual({ city: "Oslo", celsius: 4 })
    expect(JSON.stringify(bodies[0])).toContain('"celsius"')
  })
})

describe("what a provider wants back", () => {
  test.each([
    ["V3", MODELS["Anthropic, V3"]],
    ["V4", MODELS["Anthropic, V4"]],
  ] as const)("Anthropic's signed and redacted thinking returns before its call (%s)", async (_version, create = () => expect.unreachable()) => {
    onWeather({ reasoning: "I should look.", reasoningSignature: "SIG", redactedThinking: ["ENC"] })
    const { done } = await turn(create(), "What is the weather?")
    const { messages } = bodies[1] as { messages: { role: string; content: unknown[] }[] }
    expect(messages[1]).toMatchObject({
      role: "assistant",
      content: expect.arrayContaining([
        { type: "redacted_thinking", data: "ENC" },
        expect.objectContaining({ type: "thinking", thinking: "I should look.", signature: "SIG" }),
        expect.objectContaining({ type: "tool_use", id: "call_1", name: "weather", input: { city: "Oslo" } }),
      ]),
    })
    expect(messages[1]?.content.at(-1)).toMatchObject({ type: "tool_use" })
    expect(JSON.stringify(bodies[1]).match(/cache_control/g)).toHaveLength(2)
    expect(done.messages[1]?.producer).toMatchObject({ provider: "anthropic.messages", api: "ai-sdk", responseId: expect.any(String) })
  })

  test.each([
    ["V3", createOpenAI],
    ["V4", createOpenAIV4],
  ] as const)("OpenAI's encrypted reasoning returns before its call, where nothing is stored (%s)", async (_version, create) => {
    const reasoning = { id: "rs_1", type: "reasoning", summary: [], encrypted_content: "ENC" }
    const called = { id: "fc_1", type: "function_call", status: "completed", call_id: "call_1", name: "weather", arguments: '{"city":"Oslo"}' }
    const response = { id: "resp_1", created_at: 1, model: "gpt-5", service_tier: null }
    const events = [
      { type: "response.created", response },
      { type: "response.output_item.added", output_index: 0, item: { ...reasoning, encrypted_content: null } },
      { type: "response.output_item.done", output_index: 0, item: reasoning },
      { type: "response.output_item.added", output_index: 1, item: { ...called, status: "in_progress", arguments: "" } },
      { type: "response.function_call_arguments.delta", item_id: "fc_1", output_index: 1, delta: called.arguments },
      { type: "response.output_item.done", output_index: 1, item: called },
      {
        type: "response.completed",
        response: {
          ...response,
          incomplete_details: null,
          usage: { input_tokens: 20, output_tokens: 9, input_tokens_details: { cached_tokens: 8 }, output_tokens_details: { reasoning_tokens: 5 } },
        },
      },
    ]
    const model = create({ apiKey: "k", fetch: answering(events, FINAL_OF_RESPONSES) })("gpt-5")
    const { done } = await turn(
      model,
      "What is the weather?",
      {},
      { providerOptions: { openai: { store: false, include: ["reasoning.encrypted_content"] } } },
    )
    expect(done.outcome).toMatchObject({ finish: { text: "4 °C." } })
    expect(done.usage).toMatchObject({ inputTokens: 12, cachedInputTokens: 8, outputTokens: 9, reasoningTokens: 5 })
    expect(bodies[0]).toMatchObject({ store: false, include: ["reasoning.encrypted_content"] })
    expect((bodies[1] as { input: object[] }).input.slice(2)).toMatchObject([
      { type: "reasoning", id: "rs_1", encrypted_content: "ENC" },
      { type: "function_call", call_id: "call_1", name: "weather" },
      { type: "function_call_output", call_id: "call_1", output: "Oslo: 4 °C" },
    ])
  })

  test.each([
    ["V3", createGoogleGenerativeAI],
    ["V4", createGoogleV4],
  ] as const)("Google's thought signature returns on its call (%s)", async (_version, create) => {
    const chunk = (parts: readonly object[], more: object = {}) => ({ candidates: [{ content: { role: "model", parts }, ...more }] })
    const usageMetadata = { promptTokenCount: 20, candidatesTokenCount: 4, thoughtsTokenCount: 5, totalTokenCount: 29 }
    const events = [
      chunk([{ text: "I should look.", thought: true }]),
      { ...chunk([{ functionCall: { name: "weather", args: { city: "Oslo" } }, thoughtSignature: "SIG" }], { finishReason: "STOP" }), usageMetadata },
    ]
    const model = create({ apiKey: "k", fetch: answering(events, [{ ...chunk([{ text: "4 °C." }], { finishReason: "STOP" }) }]) })("gemini-3-pro")
    const { done } = await turn(model, "What is the weather?")
    expect(done.outcome).toMatchObject({ finish: { text: "4 °C." } })
    expect(done.usage).toMatchObject({ inputTokens: 20, outputTokens: 9, reasoningTokens: 5 })
    const { contents } = bodies[1] as { contents: { parts: object[] }[] }
    expect(contents[1]?.parts.at(-1)).toEqual(
      expect.objectContaining({ functionCall: expect.objectContaining({ name: "weather", args: { city: "Oslo" } }), thoughtSignature: "SIG" }),
    )
  })

  test("another provider gets none of it, but the words", async () => {
    onWeather({ reasoning: "I should look.", reasoningSignature: "SIG" })
    const first = await turn((MODELS["Anthropic, V3"] as Create)(), "What is the weather?")
    bodies = []
    mock.on({ userMessage: "And tomorrow?" }, { content: "Colder." })
    for (const [name, create] of ALL.filter(([name]) => !name.startsWith("Anthropic"))) {
      const { done, events } = await turn(create(), "And tomorrow?", {}, {}, first.done.messages)
      expect([name, done.outcome]).toEqual([name, { type: "finished", finish: { type: "assistant_message", text: "Colder." } }])
      expect(events.filter(({ type }) => type === "message")).toEqual([])
    }
    expect(JSON.stringify(bodies)).not.toMatch(/SIG|I should look/)
    for (const body of bodies) expect(JSON.stringify(body)).toContain("It is 4 °C in Oslo.")
  })

  test("a turn that falls back to another provider continues there", async () => {
    onWeather({ reasoning: "I should look.", reasoningSignature: "SIG" })
    let calls = 0
    const failing: typeof fetch = async (url, init) => {
      calls += 1
      return calls === 1
        ? record(url, init)
        : Response.json({ type: "error", error: { type: "overloaded_error", message: "Overloaded" } }, { status: 529 })
    }
    const first = createAnthropic({ ...at("/v1"), fetch: failing })("claude-sonnet-4-5")
    const second = (MODELS["OpenAI Responses, V4"] as Create)()
    const client = fallback([aiSdkModel(first, { maxRetries: 0 }), aiSdkModel(second, { maxRetries: 0 })])
    const config: TurnConfig = { driver: chatDriver(), projector: chatProjector, model: "m", tools: tools.specs }
    const done = await runTurn(new TurnMachine(config, { messages: [userMessage("What is the weather?")] }), { ...client, tools })
    expect(done.outcome).toMatchObject({ finish: { text: "It is 4 °C in Oslo." } })
    expect(done.messages.flatMap(({ producer }) => producer?.provider ?? [])).toEqual(["anthropic.messages", "openai.responses"])
    expect(JSON.stringify(bodies.at(-1))).not.toContain("SIG")
  })
})

describe("files", () => {
  test.each(ALL)("reach %s", async (_name, create) => {
    mock.onMessage(/.*/, { content: "A dot." })
    const attachments = memoryAttachmentStore()
    const bytes = Uint8Array.from(atob("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="), (char) =>
      char.charCodeAt(0),
    )
    const attachment = await attachments.put(bytes, { mediaType: "image/png" })
    const message: Message = { id: "u", role: "user", parts: [{ id: "u.p0", type: "image", attachment }] }
    const { done } = await turn(create(), "What is this?", {}, { attachments }, [message])
    expect(done.outcome).toMatchObject({ finish: { text: "A dot." } })
    expect(JSON.stringify(bodies[0])).toContain("iVBORw0KGgo")
  })
})
