import { describe, expect, test } from "vitest"
import type { LlmRequest } from "../../../src/schemas/llm.ts"
import { chatRequest } from "../../support/openai-chat.ts"

const base: LlmRequest = { model: "gpt-4.1", messages: [], attachments: [], tools: [], toolChoice: "none", generation: {} }
const body = chatRequest

test("system, user and assistant texts become messages", () => {
  const request: LlmRequest = {
    ...base,
    messages: [
      { role: "system", blocks: [{ type: "text", text: "Be brief." }] },
      {
        role: "user",
        blocks: [
          { type: "text", text: "One" },
          { type: "text", text: "Two\n" },
          { type: "text", text: "\nThree", cacheBreakpoint: true },
        ],
      },
      { role: "assistant", blocks: [{ type: "text", text: "Four" }] },
    ],
  }
  expect(body(request)).toEqual({
    model: "gpt-4.1",
    messages: [
      { role: "system", content: "Be brief." },
      { role: "user", content: "One\n\nTwo\n\nThree" },
      { role: "assistant", content: "Four" },
    ],
  })
  expect(body(request, { systemRole: "developer" }).messages[0]).toEqual({ role: "developer", content: "Be brief." })
})

test("tool results become tool messages directly after the calls, before the rest of the user message", () => {
  const { messages } = body({
    ...base,
    messages: [
      {
        role: "assistant",
        blocks: [
          { type: "text", text: "Looking." },
          { type: "reasoning", text: "hidden" },
          { type: "tool_call", callId: "a", toolName: "read", inputJson: '{"path":"x"}' },
          { type: "tool_call", callId: "b", toolName: "list", inputJson: " \n" },
        ],
      },
      {
        role: "user",
        blocks: [
          { type: "text", text: "And hurry." },
          { type: "tool_result", callId: "b", toolName: "list", text: "" },
          { type: "tool_result", callId: "a", text: "content" },
        ],
      },
      { role: "assistant", blocks: [{ type: "tool_call", callId: "c", toolName: "list", inputJson: "" }] },
      { role: "user", blocks: [{ type: "tool_result", callId: "c", text: "x" }] },
    ],
  })
  expect(messages).toEqual([
    {
      role: "assistant",
      content: "Looking.",
      tool_calls: [
        { id: "a", type: "function", function: { name: "read", arguments: '{"path":"x"}' } },
        { id: "b", type: "function", function: { name: "list", arguments: "{}" } },
      ],
    },
    { role: "tool", tool_call_id: "b", content: "" },
    { role: "tool", tool_call_id: "a", content: "content" },
    { role: "user", content: "And hurry." },
    { role: "assistant", content: null, tool_calls: [{ id: "c", type: "function", function: { name: "list", arguments: "{}" } }] },
    { role: "tool", tool_call_id: "c", content: "x" },
  ])
})

test("calls and results under unusual roles still become calls and tool messages", () => {
  const { messages } = body({
    ...base,
    messages: [
      {
        role: "assistant",
        blocks: [
          { type: "tool_call", callId: "a", toolName: "f", inputJson: "{}" },
          { type: "tool_result", callId: "a", text: "done" },
        ],
      },
      {
        role: "user",
        blocks: [
          { type: "text", text: "Look:" },
          { type: "tool_call", callId: "b", toolName: "f", inputJson: "{}" },
          { type: "tool_result", callId: "b", text: "done too" },
        ],
      },
    ],
  })
  expect(messages.map(({ role }) => role)).toEqual(["assistant", "tool", "assistant", "tool", "user"])
})

test("images are sent with the URL that the host gives, and as text without one", () => {
  const request: LlmRequest = {
    ...base,
    attachments: [
      { id: "att_1", mediaType: "image/png", byteLength: 10, width: 640, height: 480, label: "shot.png" },
      { id: "att_2", mediaType: "image/jpeg", byteLength: 10 },
    ],
    messages: [
      { role: "assistant", blocks: [{ type: "tool_call", callId: "a", toolName: "f", inputJson: "{}" }] },
      {
        role: "user",
        blocks: [
          { type: "tool_result", callId: "a", text: "see image" },
          { type: "text", text: "What is this?" },
          { type: "image", attachmentIndex: 0 },
          { type: "image", attachmentIndex: 1 },
          { type: "image", attachmentIndex: 7 },
        ],
      },
      { role: "assistant", blocks: [{ type: "image", attachmentIndex: 0 }] },
    ],
  }
  const attachmentUrl = ({ id }: { id: string }) => (id === "att_1" ? "data:image/png;base64,AAAA" : undefined)
  expect(body(request, { attachmentUrl }).messages).toEqual([
    { role: "assistant", content: null, tool_calls: [{ id: "a", type: "function", function: { name: "f", arguments: "{}" } }] },
    { role: "tool", tool_call_id: "a", content: "see image" },
    {
      role: "user",
      content: [
        { type: "text", text: "What is this?" },
        { type: "image_url", image_url: { url: "data:image/png;base64,AAAA" } },
        { type: "text", text: "[Image: image/jpeg]" },
        { type: "text", text: "[Image: not available]" },
      ],
    },
    { role: "assistant", content: "[Image: shot.png, image/png, 640x480]" },
  ])
  expect(body(request).messages[2]).toEqual({
    role: "user",
    content: "What is this?\n\n[Image: shot.png, image/png, 640x480]\n\n[Image: image/jpeg]\n\n[Image: not available]",
  })
})

test("reasoning is left out, unless the endpoint accepts it back", () => {
  const request: LlmRequest = {
    ...base,
    messages: [
      { role: "assistant", blocks: [{ type: "reasoning", text: "Hm." }] },
      {
        role: "assistant",
        blocks: [
          { type: "reasoning", text: "First." },
          { type: "tool_call", callId: "a", toolName: "f", inputJson: "{}" },
          { type: "reasoning", text: "Second." },
        ],
      },
      { role: "user", blocks: [{ type: "tool_result", callId: "a", text: "x" }] },
    ],
  }
  const call = [{ id: "a", type: "function", function: { name: "f", arguments: "{}" } }]
  const result = { role: "tool", tool_call_id: "a", content: "x" }
  expect(body(request).messages).toEqual([{ role: "assistant", content: null, tool_calls: call }, result])
  expect(body(request, { reasoningField: "reasoning_content" }).messages).toEqual([
    { role: "assistant", content: "", reasoning_content: "Hm." },
    { role: "assistant", content: null, tool_calls: call, reasoning_content: "First.\n\nSecond." },
    result,
  ])
  expect(body(request, { reasoningField: "reasoning" }).messages[0]).toEqual({ role: "assistant", content: "", reasoning: "Hm." })
})

test("tools are sent with the tool choice, and without tools no choice is sent", () => {
  const inputSchema = { type: "object", properties: { path: { type: "string" } } }
  const tools = [{ name: "read", description: "Reads a file.", inputSchema, outputSchema: { type: "string" } }]
  expect(body({ ...base, tools, toolChoice: "auto" })).toEqual({
    model: "gpt-4.1",
    messages: [],
    tools: [{ type: "function", function: { name: "read", description: "Reads a file.", parameters: inputSchema } }],
    tool_choice: "auto",
  })
  expect(body({ ...base, tools, toolChoice: { toolName: "read" } }).tool_choice).toEqual({ type: "function", function: { name: "read" } })
  expect(body({ ...base, tools, toolChoice: "required" }).tool_choice).toBe("required")
  expect(body({ ...base, toolChoice: "required" })).toEqual({ model: "gpt-4.1", messages: [] })
})

test("limit, effort, output format, streaming and extra keys become keys of the body", () => {
  const request: LlmRequest = {
    ...base,
    modelVariant: "high",
    generation: { maxOutputTokens: 500 },
    outputSpec: { type: "json_schema", name: "verdict", schema: { type: "object" }, strict: true },
  }
  expect(body(request, { stream: true, extraBody: { temperature: 0, model: "other" } })).toEqual({
    model: "other",
    messages: [],
    max_completion_tokens: 500,
    reasoning_effort: "high",
    response_format: { type: "json_schema", json_schema: { name: "verdict", schema: { type: "object" }, strict: true } },
    stream: true,
    stream_options: { include_usage: true },
    temperature: 0,
  })
  expect(body({ ...base, outputSpec: { type: "json_object" }, generation: { maxOutputTokens: 5 } }, { maxTokensField: "max_tokens" })).toEqual({
    model: "gpt-4.1",
    messages: [],
    max_tokens: 5,
    response_format: { type: "json_object" },
  })
  expect(body(base, { stream: true, includeUsage: false })).toEqual({ model: "gpt-4.1", messages: [], stream: true })
})

describe("temperature, topP and stop sequences", () => {
  const generation = { temperature: 0, topP: 0.5, stopSequences: ["x"] }
  const sampled = { temperature: 0, top_p: 0.5, stop: ["x"] }

  test.each([
    "gpt-5",
    "gpt-5-mini",
    "openai/gpt-5.2",
    "gpt-5.5-2026-03-01",
    "gpt-6-sol",
    "o3",
    "o4-mini-2025-04-16",
    "ft:o4-mini:org::id",
    "codex-mini-latest",
  ])("are left out for %s, which reasons and would refuse them", (model) => {
    expect(body({ ...base, model, generation })).toEqual({ model, messages: [] })
    expect(body({ ...base, model, generation }, { sampling: true })).toMatchObject(sampled)
  })

  test.each([
    "gpt-4.1",
    "gpt-4o-mini",
    "gpt-3.5-turbo",
    "chatgpt-4o-latest",
    "gpt-5-chat-latest",
    "ft:gpt-4o:org::id",
    "gpt-oss-120b",
    "o1ympus",
    "qwen3",
  ])("are sent to %s", (model) => {
    expect(body({ ...base, model, generation })).toMatchObject(sampled)
    expect(body({ ...base, model, generation }, { sampling: false })).toEqual({ model, messages: [] })
  })

  test("are sent with the effort none where it is a way not to reason", () => {
    const none = { ...generation, reasoningEffort: "none" }
    expect(body({ ...base, model: "gpt-5.1", generation: none })).toMatchObject(sampled)
    expect(body({ ...base, model: "gpt-5.1", generation }, { extraBody: { reasoning_effort: "none" } })).toMatchObject(sampled)
    expect(body({ ...base, model: "gpt-5", generation: none })).not.toHaveProperty("temperature")
    expect(body({ ...base, model: "gpt-6-sol", generation: none })).not.toHaveProperty("temperature")
    expect(body({ ...base, model: "gpt-5", generation: { ...generation, providerOptions: { temperature: 1 } } }).temperature).toBe(1)
  })
})

describe("images", () => {
  const sent = (mediaType: string, url: string, options = {}) =>
    body(
      {
        ...base,
        attachments: [{ id: "a", mediaType, byteLength: 3 }],
        messages: [{ role: "user", blocks: [{ type: "image", attachmentIndex: 0 }] }],
      },
      { attachmentUrl: () => url, ...options },
    ).messages[0]?.content

  test.each(["image/jpeg", "image/jpg", "image/png", "image/gif", "image/webp"])("of the type %s are sent", (mediaType) => {
    const url = `data:${mediaType};base64,AAAA`
    expect(sent(mediaType, url)).toEqual([{ type: "image_url", image_url: { url } }])
  })

  test.each(["image/svg+xml", "image/heic", "image/bmp", "image/tiff"])("of the type %s become text: the endpoint refuses them", (mediaType) => {
    const url = `data:${mediaType};base64,AAAA`
    expect(sent(mediaType, url)).toBe(`[Image: ${mediaType}]`)
    expect(sent(mediaType, url, { imageTypes: [mediaType] })).toEqual([{ type: "image_url", image_url: { url } }])
  })

  test.each(["data:image/png,AAAA", "data:image/png;base64,", "data:image/bmp;base64,AAAA", "file:///a.png"])(
    "with the URL %s become text",
    (url) => {
      expect(sent("image/png", url)).toBe("[Image: image/png]")
    },
  )
})

test("the choice of a tool that is not offered is the choice of any", () => {
  const tools = [{ name: "read", description: "Reads.", inputSchema: { type: "object" } }]
  expect(body({ ...base, tools, toolChoice: { toolName: "write" } }).tool_choice).toBe("required")
})

test("a result names its attachments, and what is sent follows after its name and its tool", () => {
  const sales = { id: "a1", mediaType: "image/png", byteLength: 10, label: "Sales" }
  const costs = { id: "a2", mediaType: "image/png", byteLength: 10, label: "Costs" }
  const sheet = { id: "a3", mediaType: "text/csv", byteLength: 10, label: "Sheet" }
  const photo = { id: "a4", mediaType: "image/jpeg", byteLength: 10 }
  const request: LlmRequest = {
    ...base,
    attachments: [sales, costs, sheet, photo],
    messages: [
      {
        role: "assistant",
        blocks: [
          { type: "tool_call", callId: "c1", toolName: "draw", inputJson: "{}" },
          { type: "tool_call", callId: "c2", toolName: "export", inputJson: "{}" },
        ],
      },
      {
        role: "user",
        blocks: [
          {
            type: "tool_result",
            callId: "c1",
            toolName: "draw",
            text: '{"sales":\n,"costs":\n}',
            content: [
              { type: "text", text: '{"sales":' },
              { type: "attachment", attachment: sales },
              { type: "text", text: ',"costs":' },
              { type: "attachment", attachment: costs },
              { type: "text", text: "}" },
            ],
          },
          { type: "image", attachmentIndex: 0 },
          { type: "image", attachmentIndex: 1 },
          {
            type: "tool_result",
            callId: "c2",
            toolName: "export",
            text: "One\nTwo",
            content: [
              { type: "text", text: "One" },
              { type: "text", text: "Two" },
              { type: "attachment", attachment: sheet },
            ],
          },
          { type: "file", attachmentIndex: 2 },
          { type: "image", attachmentIndex: 3 },
        ],
      },
    ],
  }
  expect(body(request, { attachmentUrl: ({ id }) => `https://files.example/${id}` }).messages.slice(1)).toEqual([
    { role: "tool", tool_call_id: "c1", content: '{"sales":[Image: Sales, image/png],"costs":[Image: Costs, image/png]}' },
    { role: "tool", tool_call_id: "c2", content: "One\nTwo[File: Sheet, text/csv]" },
    {
      role: "user",
      content: [
        { type: "text", text: "[Image: Sales, image/png, a result of draw]" },
        { type: "image_url", image_url: { url: "https://files.example/a1" } },
        { type: "text", text: "[Image: Costs, image/png, a result of draw]" },
        { type: "image_url", image_url: { url: "https://files.example/a2" } },
        // The photo belongs to no result.
        { type: "image_url", image_url: { url: "https://files.example/a4" } },
      ],
    },
  ])
  // What no endpoint is sent is named in the result alone.
  expect(body(request).messages.slice(1).at(-1)).toEqual({ role: "user", content: "[Image: image/jpeg]" })
})
