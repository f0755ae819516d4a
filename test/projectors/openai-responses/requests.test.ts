import { describe, expect, test } from "vitest"
import type { LlmRequest } from "../../../src/wire/llm.ts"
import { base, body, input, OTHER, own, user } from "./support.ts"

const tool = { name: "read", description: "Reads.", inputSchema: { type: "object", properties: { path: { type: "string" } } } }

test("a request has everything, and nothing is stored", () => {
  const request: LlmRequest = {
    ...base,
    messages: [{ role: "system", blocks: [{ type: "text", text: "Be brief." }] }, user("Hello")],
    tools: [tool],
    parallelToolCalls: false,
    toolChoice: { toolName: "read" },
    generation: { maxOutputTokens: 500, temperature: 0, topP: 0.5, reasoningEffort: "low", seed: 1, stopSequences: ["x"] },
    sessionId: "s-1",
    outputSpec: { type: "json_schema", name: "my answer", schema: { type: "object" }, strict: true },
  }
  expect(body(request, { stream: true })).toEqual({
    model: "gpt-5.5",
    input: [
      { role: "system", content: "Be brief." },
      { role: "user", content: "Hello" },
    ],
    tools: [{ type: "function", name: "read", description: "Reads.", parameters: tool.inputSchema, strict: false }],
    tool_choice: { type: "function", name: "read" },
    parallel_tool_calls: false,
    max_output_tokens: 500,
    reasoning: { effort: "low" },
    text: { format: { type: "json_schema", name: "my_answer", schema: { type: "object" }, strict: true } },
    include: ["reasoning.encrypted_content"],
    prompt_cache_key: "s-1",
    store: false,
    stream: true,
  })
})

test("the smallest request has no tools and no choice of them", () => {
  expect(body({ messages: [user("Hi")], toolChoice: "none" })).toEqual({
    model: "gpt-5.5",
    input: [{ role: "user", content: "Hi" }],
    include: ["reasoning.encrypted_content"],
    store: false,
  })
  expect(body({ outputSpec: { type: "json_object" } }).text).toEqual({ format: { type: "json_object" } })
})

test("the variant of the model is the effort, unless the request has one", () => {
  expect(body({ modelVariant: "high" }).reasoning).toEqual({ effort: "high" })
  expect(body({ modelVariant: "high", generation: { reasoningEffort: "low" } }).reasoning).toEqual({ effort: "low" })
})

test("a blank effort is none", () => {
  expect(body({ modelVariant: " " })).not.toHaveProperty("reasoning")
  expect(body({ modelVariant: "high", generation: { reasoningEffort: "" } })).not.toHaveProperty("reasoning")
})

describe("temperature and topP", () => {
  const generation = { temperature: 0, topP: 0.5 }
  const sampled = { temperature: 0, top_p: 0.5 }

  test("are left out for a model that reasons, which would refuse them", () => {
    for (const effort of [{}, { reasoningEffort: "low" }, { providerOptions: { reasoning: { effort: "low" } } }]) {
      const sent = body({ generation: { ...generation, ...effort } })
      expect(sent).not.toHaveProperty("temperature")
      expect(sent).not.toHaveProperty("top_p")
    }
  })

  test("are sent where nothing reasons, and where the options say so", () => {
    expect(body({ generation: { ...generation, reasoningEffort: "none" } })).toMatchObject(sampled)
    expect(body({ generation: { ...generation, providerOptions: { reasoning: { effort: "none" } } } })).toMatchObject(sampled)
    expect(body({ generation }, { extraBody: { reasoning: { effort: "none" } } })).toMatchObject(sampled)
    expect(body({ generation }, { reasoning: "off" })).toMatchObject(sampled)
    expect(body({ generation }, { reasoning: "plain" })).toMatchObject(sampled)
    expect(body({ generation }, { sampling: true })).toMatchObject(sampled)
    expect(body({ generation }, { sampling: false, reasoning: "off" })).not.toHaveProperty("temperature")
  })

  test.each(["gpt-4.1", "gpt-4o-mini", "gpt-5-chat-latest", "openai/gpt-4o"])("are sent to %s, which is not asked for reasoning", (model) => {
    const sent = body({ model, generation })
    expect(sent).toMatchObject(sampled)
    expect(sent).not.toHaveProperty("include")
    expect(body({ model, generation }, { reasoning: "encrypted" })).toMatchObject({ include: ["reasoning.encrypted_content"] })
  })

  test.each(["gpt-5", "o3", "gpt-6-sol"])("are not sent to %s with the effort none, which refuses them all the same", (model) => {
    expect(body({ model, generation: { ...generation, reasoningEffort: "none" } })).not.toHaveProperty("temperature")
  })

  test("in the provider's own words are always sent", () => {
    expect(body({ generation: { ...generation, providerOptions: { temperature: 1 } } }).temperature).toBe(1)
  })
})

test("the choice of a tool that is not offered is the choice of any", () => {
  expect(body({ tools: [tool], toolChoice: { toolName: "write" } }).tool_choice).toBe("required")
  expect(body({ tools: [{ ...tool, name: "fs.read" }], toolChoice: { toolName: "fs.read" } }).tool_choice).toEqual({
    type: "function",
    name: "fs_read",
  })
})

test("limits that the endpoint refuses are raised, and schemas completed", () => {
  expect(body({ generation: { maxOutputTokens: 1 } }).max_output_tokens).toBe(16)
  const { tools } = body({
    tools: [
      { ...tool, inputSchema: { type: "object" } },
      { ...tool, name: "list", inputSchema: null },
    ],
  })
  expect(tools).toMatchObject([{ parameters: { type: "object", properties: {} } }, { parameters: { type: "object", properties: {} } }])
})

test("the cache key fits, and is left out with the cache off", () => {
  const long = body({ sessionId: "x".repeat(100) }).prompt_cache_key ?? ""
  expect(long).toMatch(/^x{53}_[a-z0-9]{10}$/)
  expect(body({ sessionId: `${"x".repeat(100)}y` }).prompt_cache_key).not.toBe(long)
  expect(body({ sessionId: "s", cache: "off" })).not.toHaveProperty("prompt_cache_key")
})

test("keys of the provider override; reasoning, text, tools and include are added to ours", () => {
  const given = body(
    {
      tools: [tool],
      generation: {
        reasoningEffort: "low",
        providerOptions: {
          reasoning: { summary: "auto" },
          tools: [{ type: "web_search" }],
          include: ["web_search_call.action.sources"],
          store: true,
        },
      },
      outputSpec: { type: "json_object" },
    },
    { extraBody: { text: { verbosity: "low" }, reasoning: { effort: "high" }, model: "other", include: ["reasoning.encrypted_content"] } },
  )
  expect(given).toMatchObject({
    model: "other",
    reasoning: { effort: "high", summary: "auto" },
    text: { format: { type: "json_object" }, verbosity: "low" },
    tools: [{ name: "read" }, { type: "web_search" }],
    include: ["reasoning.encrypted_content", "web_search_call.action.sources"],
    store: true,
  })
  // A tool of the provider makes a choice of tools possible.
  expect(body({ generation: { providerOptions: { tools: [{ type: "web_search" }] } } }).tool_choice).toBe("auto")
})

test("system messages are instructions where an endpoint wants that, and others keep their place", () => {
  const messages = [
    { role: "system" as const, blocks: [{ type: "text" as const, text: "One." }] },
    { role: "system" as const, blocks: [{ type: "text" as const, text: "Two." }] },
    user("Hi"),
    { role: "system" as const, blocks: [{ type: "text" as const, text: "Note." }] },
  ]
  expect(body({ messages }, { instructions: true, systemRole: "developer" })).toMatchObject({
    instructions: "One.\n\nTwo.",
    input: [
      { role: "user", content: "Hi" },
      { role: "developer", content: "Note." },
    ],
  })
  expect(body({ messages: messages.slice(0, 1) }, { instructions: true })).toMatchObject({ input: [{ role: "system", content: "One." }] })
})

test("several texts of a user are parts of one message, and empty messages are left out", () => {
  expect(
    input([
      {
        role: "user",
        blocks: [
          { type: "text", text: "One" },
          { type: "text", text: "" },
          { type: "text", text: "Two" },
        ],
      },
      user(""),
      { role: "assistant", blocks: [{ type: "text", text: "" }] },
      { role: "system", blocks: [] },
    ]),
  ).toEqual([
    {
      role: "user",
      content: [
        { type: "input_text", text: "One" },
        { type: "input_text", text: "Two" },
      ],
    },
  ])
})

describe("calls and results", () => {
  const call = (callId: string) => ({ type: "tool_call" as const, callId, toolName: "read", inputJson: '{"path":"x"}' })
  const result = (callId: string, text = "content") => ({ type: "tool_result" as const, callId, text })
  const sentCall = (id: string) => ({ type: "function_call", call_id: id, name: "read", arguments: '{"path":"x"}' })
  const sentResult = (id: string, output = "content") => ({ type: "function_call_output", call_id: id, output })

  test("results follow their calls, before the rest of the user's message", () => {
    const sent = input([
      own({ type: "text", text: "Looking." }, call("a"), call("b")),
      { role: "system", blocks: [{ type: "text", text: "A note." }] },
      { role: "user", blocks: [{ type: "text", text: "And hurry." }, result("b", ""), result("a")] },
    ])
    expect(sent).toEqual([
      { role: "assistant", content: "Looking." },
      sentCall("a"),
      sentCall("b"),
      sentResult("b", ""),
      sentResult("a"),
      { role: "system", content: "A note." },
      { role: "user", content: "And hurry." },
    ])
  })

  test("a call without a result gets a note, a result without a call becomes text", () => {
    expect(input([own(call("a")), own({ type: "text", text: "Done" }), { role: "user", blocks: [result("z")] }])).toEqual([
      sentCall("a"),
      sentResult("a", "[No result: the call was interrupted before it ended.]"),
      { role: "assistant", content: "Done" },
      { role: "user", content: "[Result of an earlier tool call]\ncontent" },
    ])
  })

  test("ids that repeat or do not fit are replaced in the call and its result", () => {
    const odd = { role: "assistant" as const, producer: OTHER, blocks: [call("toolu|1")] }
    const sent = input([
      own(call("a")),
      { role: "user", blocks: [result("a")] },
      own(call("a")),
      { role: "user", blocks: [result("a", "two")] },
      odd,
      { role: "user", blocks: [result("toolu|1")] },
    ])
    const ids = sent.map((item) => (item as { call_id: string }).call_id)
    expect(ids.slice(0, 2)).toEqual(["a", "a"])
    expect(ids[2]).toMatch(/^a_[a-z0-9]{8}$/)
    expect(ids[3]).toBe(ids[2])
    expect(ids[4]).toMatch(/^toolu_1_[a-z0-9]{8}$/)
    expect(ids[5]).toBe(ids[4])
  })

  test("long ids go back to the model that made them, and to no other", () => {
    const long = `call_${"x".repeat(440)}|`
    expect(input([own(call(long))])[0]).toMatchObject({ call_id: long })
    expect((input([{ role: "assistant", blocks: [call(long)] }])[0] as { call_id: string }).call_id).toMatch(/^[a-zA-Z0-9_-]{1,64}$/)
  })

  test("a user's message may have the results before it, and calls of its own", () => {
    expect(input([own(call("a")), { role: "user", blocks: [result("a"), call("b"), result("b", "two")] }])).toEqual([
      sentCall("a"),
      sentResult("a"),
      sentCall("b"),
      sentResult("b", "two"),
    ])
  })

  test("arguments are an object and names fit", () => {
    const sent = input([own({ ...call("a"), toolName: "fs.read", inputJson: '{"path":' }, { ...call("b"), inputJson: "" })], undefined, {
      tools: [{ ...tool, name: "fs.read" }],
    })
    expect(sent).toMatchObject([{ name: "fs_read", arguments: "{}" }, { arguments: "{}" }, {}, {}])
  })
})

describe("images and files", () => {
  const attachments = [
    { id: "a", mediaType: "image/png", byteLength: 1, label: "Sales" },
    { id: "b", mediaType: "application/pdf", byteLength: 1, label: "plan" },
    { id: "c", mediaType: "text/csv", byteLength: 1 },
  ] as const
  const urls: { readonly [id: string]: string } = {
    a: "https://files.example/a.png",
    b: "data:application/pdf;base64,AAAA",
    c: "data:text/csv;base64,AAAA",
  }
  const options = { attachmentUrl: ({ id }: { readonly id: string }) => urls[id] }
  const image = { type: "input_image", detail: "auto", image_url: "https://files.example/a.png" }
  const file = { type: "input_file", filename: "plan.pdf", file_data: "data:application/pdf;base64,AAAA" }

  test("of a user are parts of the message", () => {
    const messages = [
      {
        role: "user" as const,
        blocks: [
          { type: "text" as const, text: "Look" },
          { type: "image" as const, attachmentIndex: 0 },
          { type: "file" as const, attachmentIndex: 1 },
          { type: "file" as const, attachmentIndex: 2 },
          { type: "file" as const, attachmentIndex: 9 },
        ],
      },
    ]
    expect(input(messages, options, { attachments })).toEqual([
      {
        role: "user",
        content: [
          { type: "input_text", text: "Look" },
          image,
          file,
          { type: "input_text", text: "[File: text/csv]" },
          { type: "input_text", text: "[File: not available]" },
        ],
      },
    ])
    expect(
      input(
        [{ role: "user", blocks: [{ type: "file", attachmentIndex: 1 }] }],
        { attachmentUrl: () => "https://files.example/plan.pdf" },
        { attachments },
      ),
    ).toEqual([{ role: "user", content: [{ type: "input_file", file_url: "https://files.example/plan.pdf" }] }])
  })

  const imageOf = (mediaType: string, url: string, more: Parameters<typeof input>[1] = {}) =>
    input(
      [{ role: "user", blocks: [{ type: "image", attachmentIndex: 0 }] }],
      { attachmentUrl: () => url, ...more },
      { attachments: [{ id: "a", mediaType, byteLength: 1 }] },
    )

  test.each(["image/jpeg", "image/jpg", "image/png", "image/gif", "image/webp"])("of the type %s are sent", (mediaType) => {
    const url = `data:${mediaType};base64,AAAA`
    expect(imageOf(mediaType, url)).toEqual([{ role: "user", content: [{ ...image, image_url: url }] }])
  })

  test.each(["image/svg+xml", "image/heic", "image/bmp", "image/tiff"])("of the type %s become text: the endpoint refuses them", (mediaType) => {
    for (const url of [`data:${mediaType};base64,AAAA`, "https://files.example/a"])
      expect(imageOf(mediaType, url)).toEqual([{ role: "user", content: `[Image: ${mediaType}]` }])
  })

  test("of other types are sent where the endpoint accepts them", () => {
    const url = "data:image/heic;base64,AAAA"
    expect(imageOf("image/heic", url, { imageTypes: ["image/heic"] })).toEqual([{ role: "user", content: [{ ...image, image_url: url }] }])
  })

  test.each(["data:image/png,AAAA", "data:image/png;base64,", "data:application/pdf;base64,AAAA", "blob:https://a.example/1", "file:///a.png"])(
    "at %s become text",
    (url) => {
      expect(imageOf("image/png", url)).toEqual([{ role: "user", content: "[Image: image/png]" }])
    },
  )

  const withResult = (callId: string) => [
    own({ type: "tool_call", callId: "c1", toolName: "chart", inputJson: "{}" }),
    {
      role: "user" as const,
      blocks: [
        {
          type: "tool_result" as const,
          callId,
          toolName: "chart",
          text: "Here:\nand the plan",
          content: [
            { type: "text" as const, text: "Here:" },
            { type: "attachment" as const, attachment: attachments[0] },
            { type: "text" as const, text: "and the plan" },
            { type: "attachment" as const, attachment: attachments[1] },
          ],
        },
        { type: "image" as const, attachmentIndex: 0 },
        { type: "file" as const, attachmentIndex: 1 },
      ],
    },
  ]

  test("of a result are in it, in order, and nowhere else", () => {
    expect(input(withResult("c1"), options, { attachments }).slice(1)).toEqual([
      {
        type: "function_call_output",
        call_id: "c1",
        output: [{ type: "input_text", text: "Here:" }, image, { type: "input_text", text: "and the plan" }, file],
      },
    ])
  })

  test("of a result are in a message where the endpoint accepts only text as a result", () => {
    expect(input(withResult("c1"), { ...options, resultAttachments: "message" }, { attachments }).slice(1)).toEqual([
      { type: "function_call_output", call_id: "c1", output: "Here:[Image: Sales, image/png]and the plan[File: plan, application/pdf]" },
      {
        role: "user",
        content: [
          { type: "input_text", text: "[Image: Sales, image/png, a result of chart]" },
          image,
          { type: "input_text", text: "[File: plan, application/pdf, a result of chart]" },
          file,
        ],
      },
    ])
  })

  test("of a result without a call are in the user's message", () => {
    const [, , last] = input(withResult("nobody"), options, { attachments })
    expect(last).toMatchObject({ role: "user", content: [{ type: "input_text" }, { type: "input_text" }, image, { type: "input_text" }, file] })
  })

  test("without a URL are named in the text", () => {
    expect(input(withResult("c1"), {}, { attachments }).slice(1)).toEqual([
      { type: "function_call_output", call_id: "c1", output: "Here:[Image: Sales, image/png]and the plan[File: plan, application/pdf]" },
    ])
  })
})

test("half of a surrogate pair is replaced everywhere", () => {
  const given = body({ messages: [user("cut \ud83d"), own({ type: "tool_call", callId: "a", toolName: "x", inputJson: '{"t":"\\ud83d"}' })] })
  expect(JSON.stringify(given)).not.toMatch(/\\ud[89a-f]/i)
})
