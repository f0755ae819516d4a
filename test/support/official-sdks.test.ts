/**
 * The strict endpoints through the providers' own SDKs: what these read of an answer is what the endpoint meant, and what they send back of
 * it is accepted. So the endpoints speak the providers' language, and not only ours.
 */
import Anthropic from "@anthropic-ai/sdk"
import { GoogleGenAI } from "@google/genai"
import OpenAI from "openai"
import { describe, expect, onTestFinished, test } from "vitest"
import { StrictAnthropic, serveStrictAnthropic } from "./strict-anthropic.ts"
import { StrictGemini, serveStrictGemini } from "./strict-gemini.ts"
import { StrictResponses } from "./strict-responses.ts"
import { startStrictServer } from "./strict-server.ts"

const SCHEMA = { type: "object" as const, properties: { at: { type: "string" } } }

describe("the Messages endpoint", () => {
  async function begin() {
    const endpoint = new StrictAnthropic((_body, number) =>
      number === 1
        ? {
            content: [
              { type: "thinking", thinking: "A greeting, so I look." },
              { type: "text", text: "I look around." },
              { type: "tool_use", name: "look", input: { at: "the left side" } },
              { type: "tool_use", name: "look", input: {} },
            ],
          }
        : { content: [{ type: "text", text: "A shop." }] },
    )
    const { url, close } = await serveStrictAnthropic(endpoint)
    onTestFinished(close)
    return { client: new Anthropic({ apiKey: "k", baseURL: url, maxRetries: 0 }), endpoint }
  }

  const ask = {
    model: "claude-opus-5",
    max_tokens: 1_000,
    tools: [{ name: "look", input_schema: SCHEMA }],
    messages: [{ role: "user" as const, content: [{ type: "text" as const, text: "Hello." }] }],
  }

  test.each([false, true])("is read and answered, streamed: %s", async (stream) => {
    const { client, endpoint } = await begin()
    const create = async (body: Anthropic.Messages.MessageCreateParamsNonStreaming): Promise<Anthropic.Messages.Message> =>
      stream ? await client.messages.stream(body).finalMessage() : await client.messages.create(body)
    const first = await create(ask)
    expect(first).toMatchObject({ stop_reason: "tool_use", usage: { input_tokens: 10, output_tokens: 7, cache_read_input_tokens: 100 } })
    expect(first.content).toMatchObject([
      { type: "thinking", thinking: "A greeting, so I look." },
      { type: "text", text: "I look around." },
      { type: "tool_use", name: "look", input: { at: "the left side" } },
      { type: "tool_use", name: "look", input: {} },
    ])
    const results = first.content.flatMap((block): readonly Anthropic.Messages.ToolResultBlockParam[] =>
      block.type === "tool_use" ? [{ type: "tool_result", tool_use_id: block.id, content: [{ type: "text", text: "A shop." }] }] : [],
    )
    const messages = [...ask.messages, { role: "assistant" as const, content: first.content }, { role: "user" as const, content: [...results] }]
    const second = await create({ ...ask, messages })
    expect(second.content).toMatchObject([{ type: "text", text: "A shop." }])
    expect(endpoint.refusals).toEqual([])
  })

  test("refuses in the form that the SDK reads", async () => {
    const { client, endpoint } = await begin()
    const error = { type: "error", error: { type: "invalid_request_error", message: "messages: at least one message is required" } }
    await expect(client.messages.create({ ...ask, messages: [] })).rejects.toMatchObject({ status: 400, error })
    expect(endpoint.refusals).toHaveLength(1)
  })
})

describe("the Responses endpoint", () => {
  test.each([false, true])("is read and answered, streamed: %s", async (stream) => {
    const endpoint = new StrictResponses([{ reasoning: "Hm.", text: "I look.", calls: [{ name: "look", args: { at: "left" } }] }, "A shop."])
    const { server, url } = await endpoint.listen()
    onTestFinished(() => {
      server.closeAllConnections()
      server.close()
    })
    const client = new OpenAI({ apiKey: "k", baseURL: url, maxRetries: 0 })
    const tools = [{ type: "function" as const, name: "look", description: "Looks.", parameters: SCHEMA, strict: false }]
    const base = { model: "gpt-5", store: false, tools, include: ["reasoning.encrypted_content" as const] }
    const create = async (input: OpenAI.Responses.ResponseInput): Promise<OpenAI.Responses.Response> =>
      stream ? await client.responses.stream({ ...base, input }).finalResponse() : await client.responses.create({ ...base, input })
    const user = { role: "user" as const, content: "Hello." }
    const first = await create([user])
    expect(first.output_text).toBe("I look.")
    expect(first.output.map(({ type }) => type)).toEqual(["reasoning", "message", "function_call"])
    const call = first.output.find((item) => item.type === "function_call")
    expect(call).toMatchObject({ name: "look", arguments: '{"at":"left"}' })
    const said = first.output.map((item) => {
      const { parsed: _, parsed_arguments: __, status, ...rest } = item as unknown as Record<string, unknown>
      if (Array.isArray(rest["content"])) for (const part of rest["content"] as Record<string, unknown>[]) delete part["parsed"]
      return rest["type"] === "message" ? { ...rest, status } : rest
    }) as unknown as OpenAI.Responses.ResponseInput
    const second = await create([user, ...said, { type: "function_call_output", call_id: call?.call_id ?? "", output: "A shop." }])
    expect(second.output_text).toBe("A shop.")
    expect(endpoint.refusals).toEqual([])
    const stray = { type: "function_call_output" as const, call_id: "x", output: "" }
    await expect(create([user, stray])).rejects.toMatchObject({ status: 400, type: "invalid_request_error" })
  })
})

describe("the Chat Completions endpoint", () => {
  test.each([false, true])("is read and answered, streamed: %s", async (stream) => {
    const server = await startStrictServer([{ text: "I look.", calls: [{ name: "look", args: { at: "left" }, id: "call_1" }] }, "A shop."])
    onTestFinished(() => server.close())
    const client = new OpenAI({ apiKey: "k", baseURL: server.url, maxRetries: 0 })
    const tools = [{ type: "function" as const, function: { name: "look", description: "Looks.", parameters: SCHEMA } }]
    const create = async (messages: readonly OpenAI.Chat.ChatCompletionMessageParam[]): Promise<OpenAI.Chat.ChatCompletionMessage | undefined> => {
      const body = { model: "gpt-4.1", tools, messages: [...messages] }
      const completion = stream
        ? await client.chat.completions.stream({ ...body, stream_options: { include_usage: true } }).finalChatCompletion()
        : await client.chat.completions.create(body)
      expect(completion.usage?.prompt_tokens).toBeGreaterThan(0)
      return completion.choices[0]?.message
    }
    const user = { role: "user" as const, content: "Hello." }
    const first = await create([user])
    expect(first?.content).toBe("I look.")
    expect(first?.tool_calls).toMatchObject([{ id: "call_1", function: { name: "look", arguments: '{"at":"left"}' } }])
    const calls = (first?.tool_calls ?? []).map(({ id }) => ({
      id,
      type: "function" as const,
      function: { name: "look", arguments: '{"at":"left"}' },
    }))
    const second = await create([
      user,
      { role: "assistant", content: first?.content ?? "", tool_calls: calls },
      { role: "tool", tool_call_id: "call_1", content: "A shop." },
    ])
    expect(second?.content).toBe("A shop.")
    expect(server.requests.flatMap(({ refusal }) => refusal ?? [])).toEqual([])
  })
})

describe("the Gemini endpoint", () => {
  test.each([false, true])("is read and answered, streamed: %s", async (stream) => {
    const endpoint = new StrictGemini([{ thought: "Hm.", text: "I look.", calls: [{ name: "look", args: { at: "left" } }] }, "A shop."])
    const { url, close } = await serveStrictGemini(endpoint)
    onTestFinished(close)
    const client = new GoogleGenAI({ apiKey: "k", httpOptions: { baseUrl: new URL(url).origin } })
    const config = { tools: [{ functionDeclarations: [{ name: "look", description: "Looks.", parametersJsonSchema: SCHEMA }] }] }
    const create = async (contents: readonly object[]): Promise<{ readonly parts: readonly Part[]; readonly reason: unknown }> => {
      const request = { model: "gemini-3-pro", config, contents: contents as never }
      if (!stream) {
        const { candidates } = await client.models.generateContent(request)
        return { parts: (candidates?.[0]?.content?.parts ?? []) as readonly Part[], reason: candidates?.[0]?.finishReason }
      }
      const parts: Part[] = []
      let reason: unknown
      for await (const { candidates } of await client.models.generateContentStream(request)) {
        parts.push(...((candidates?.[0]?.content?.parts ?? []) as readonly Part[]))
        reason = candidates?.[0]?.finishReason ?? reason
      }
      return { parts, reason }
    }
    const user = { role: "user", parts: [{ text: "Hello." }] }
    const first = await create([user])
    const textOf = (parts: readonly Part[]): string => parts.map(({ text = "", thought }) => (thought === true ? "" : text)).join("")
    expect(textOf(first.parts)).toBe("I look.")
    expect(first.reason).toBe("STOP")
    const call = first.parts.find(({ functionCall }) => functionCall !== undefined)?.functionCall
    expect(call).toMatchObject({ name: "look", args: { at: "left" } })
    const said = first.parts.filter(({ text, thought }) => thought !== true && text !== "")
    const result = { functionResponse: { id: call?.id, name: "look", response: { output: "A shop." } } }
    const second = await create([user, { role: "model", parts: said }, { role: "user", parts: [result] }])
    expect(textOf(second.parts)).toBe("A shop.")
    expect(endpoint.requests.flatMap(({ refusal }) => refusal ?? [])).toEqual([])
  })
})

interface Part {
  readonly text?: string
  readonly thought?: boolean
  readonly functionCall?: { readonly id?: string; readonly name?: string; readonly args?: object }
}
