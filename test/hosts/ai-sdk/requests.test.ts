import { describe, expect, test } from "vitest"
import type { AiSdkModelOptions } from "../../../src/hosts/ai-sdk/ai-sdk-model.ts"
import { memoryAttachmentStore } from "../../../src/hosts/attachments/memory.ts"
import type { Block, LlmRequest } from "../../../src/wire/llm.ts"
import { answered, ask, FINISH, HI, LOOK, MOCK, mock, refused, said, VERSIONS, type Version } from "./support.ts"

/** The options with which a mock of a provider is called. */
async function sent(request: Partial<LlmRequest>, options: AiSdkModelOptions = {}, version: Version = "v3", provider = "mock-provider") {
  const { model, calls } = mock(version, [...said("Hi"), FINISH], { provider })
  await ask(model, options, { ...HI, ...request })
  const [call] = calls
  if (call === undefined) throw new Error("The model was not called.")
  const { abortSignal, ...rest } = call
  expect(abortSignal).toBeInstanceOf(AbortSignal)
  return rest
}

async function promptOf(
  messages: LlmRequest["messages"],
  more: Partial<LlmRequest> = {},
  options: AiSdkModelOptions = {},
  version: Version = "v3",
  provider?: string,
) {
  return (await sent({ ...more, messages }, options, version, provider)).prompt
}

const user = (text: string) => ({ role: "user", blocks: [{ type: "text", text }] }) as const
const system = (text: string) => ({ role: "system", blocks: [{ type: "text", text }] }) as const
const call = (callId: string, inputJson = "{}", more: object = {}): Block => ({ type: "tool_call", callId, toolName: "look", inputJson, ...more })
const result = (callId: string, text = "seen", more: object = {}): Block => ({ type: "tool_result", callId, toolName: "look", text, ...more })

describe("settings", () => {
  test.each(VERSIONS)("are those of the interface %s", async (version) => {
    const schema = { type: "object", properties: { a: { type: "string" } } }
    const request: Partial<LlmRequest> = {
      tools: [LOOK],
      toolChoice: { toolName: "look" },
      outputSpec: { type: "json_schema", name: "answer", schema, strict: true },
      generation: { maxOutputTokens: 9, temperature: 0, topP: 0.5, stopSequences: ["END"], seed: 4 },
    }
    expect(await sent(request, { headers: { "x-team": "a" } }, version)).toEqual({
      prompt: [{ role: "user", content: [{ type: "text", text: "Hi" }] }],
      maxOutputTokens: 9,
      temperature: 0,
      topP: 0.5,
      stopSequences: ["END"],
      seed: 4,
      responseFormat: { type: "json", name: "answer", schema },
      tools: [{ type: "function", name: "look", description: "Looks.", inputSchema: LOOK.inputSchema }],
      toolChoice: { type: "tool", toolName: "look" },
      headers: { "x-team": "a" },
    })
  })

  test("that are not set are left out, and without tools so is their choice", async () => {
    expect(Object.keys(await sent({}))).toEqual(["prompt"])
    expect(await sent({ outputSpec: { type: "json_object" } })).toMatchObject({ responseFormat: { type: "json" } })
  })

  test.each([
    ["v4", "openai.responses", "high", { reasoning: "high" }],
    ["v4", "openai.responses", "ultra", { providerOptions: { openai: { reasoningEffort: "ultra" } } }],
    ["v3", "openai.responses", "high", { providerOptions: { openai: { reasoningEffort: "high" } } }],
    ["v3", "deepseek.chat", "low", { providerOptions: { deepseek: { reasoningEffort: "low" } } }],
    ["v3", "anthropic.messages", "max", { providerOptions: { anthropic: { effort: "max" } } }],
    ["v3", "google.generative-ai", "low", { providerOptions: { google: { thinkingConfig: { thinkingLevel: "low" } } } }],
  ] as const)("%s of %s have the effort %s in its place", async (version, provider, reasoningEffort, expected) => {
    expect(await sent({ generation: { reasoningEffort } }, {}, version, provider)).toMatchObject(expected)
    expect(await sent({ modelVariant: reasoningEffort }, {}, version, provider)).toMatchObject(expected)
  })

  test("of a provider are merged by its name, the request's last", async () => {
    const request: Partial<LlmRequest> = {
      tools: [LOOK],
      parallelToolCalls: false,
      outputSpec: { type: "json_schema", name: "n", schema: {}, strict: false },
      generation: { providerOptions: { openai: { store: true, user: "u" }, flat: 1 } },
    }
    const { providerOptions } = await sent(
      request,
      { providerOptions: { openai: { store: false, tier: "flex" }, azure: { a: 1 } } },
      "v3",
      "openai.chat",
    )
    expect(providerOptions).toEqual({
      openai: { parallelToolCalls: false, strictJsonSchema: false, store: true, tier: "flex", user: "u" },
      azure: { a: 1 },
    })
  })

  test("for one call at a time exist only where the provider has them, and only with tools", async () => {
    const one = { parallelToolCalls: false } as const
    expect(await sent({ ...one, tools: [LOOK] }, {}, "v3", "anthropic.messages")).toMatchObject({
      providerOptions: { anthropic: { disableParallelToolUse: true } },
    })
    expect(await sent({ ...one, tools: [LOOK] }, {}, "v3", "google.generative-ai")).not.toHaveProperty("providerOptions")
    expect(await sent(one, {}, "v3", "openai.chat")).not.toHaveProperty("providerOptions")
  })

  test("have the provider's own tools, which replace ours of the same name", async () => {
    const providerTools = {
      bash: { id: "anthropic.bash_20250124", args: {} },
      web_search: { id: "anthropic.web_search_20250305", args: { maxUses: 2 } },
    } as const
    const { tools } = await sent({ tools: [LOOK, { ...LOOK, name: "bash" }] }, { providerTools })
    expect(tools).toEqual([
      { type: "provider", id: "anthropic.bash_20250124", name: "bash", args: {} },
      { type: "provider", id: "anthropic.web_search_20250305", name: "web_search", args: { maxUses: 2 } },
      { type: "function", name: "look", description: "Looks.", inputSchema: LOOK.inputSchema },
    ])
  })

  test("choose the model by its name, from a provider", async () => {
    const { model } = mock("v4", [...said("Hi"), FINISH])
    const named: string[] = []
    const provider = Object.assign(
      (name: string) => {
        named.push(name)
        return model
      },
      { specificationVersion: "v4" as const },
    )
    await ask(provider, {}, { ...HI, model: "big" })
    expect(named).toEqual(["big"])
  })
})

describe("a prompt", () => {
  test("has system messages at its beginning, and later ones as the user's, unless the model accepts them", async () => {
    const messages = [system("Be brief."), system("Really."), user("Hi"), system("Runtime note:\nOnly two calls are left.")]
    const beginning = [
      { role: "system", content: "Be brief." },
      { role: "system", content: "Really." },
      { role: "user", content: [{ type: "text", text: "Hi" }] },
    ]
    const note = "Runtime note:\nOnly two calls are left."
    expect(await promptOf(messages)).toEqual([...beginning, { role: "user", content: [{ type: "text", text: note }] }])
    expect(await promptOf(messages, {}, { laterSystem: "system" })).toEqual([...beginning, { role: "system", content: note }])
  })

  test("has each result directly after its call, in a message of the tool, and whatever came between after them", async () => {
    const prompt = await promptOf([
      user("Hi"),
      { role: "assistant", blocks: [{ type: "text", text: "I look." }, call("a"), call("b", '{"x":1}')] },
      user("Hurry."),
      { role: "user", blocks: [result("b", "two"), { type: "text", text: "Thanks." }] },
      { role: "user", blocks: [result("a", "one", { isError: true })] },
    ])
    expect(prompt.slice(1)).toEqual([
      {
        role: "assistant",
        content: [
          { type: "text", text: "I look." },
          { type: "tool-call", toolCallId: "a", toolName: "look", input: {} },
          { type: "tool-call", toolCallId: "b", toolName: "look", input: { x: 1 } },
        ],
      },
      {
        role: "tool",
        content: [
          { type: "tool-result", toolCallId: "b", toolName: "look", output: { type: "text", value: "two" } },
          { type: "tool-result", toolCallId: "a", toolName: "look", output: { type: "error-text", value: "one" } },
        ],
      },
      { role: "user", content: [{ type: "text", text: "Hurry." }] },
      { role: "user", content: [{ type: "text", text: "Thanks." }] },
    ])
  })

  test("has a result for each call, and a call for each result", async () => {
    const prompt = await promptOf([
      user("Hi"),
      { role: "assistant", blocks: [call("a")] },
      { role: "user", blocks: [result("other", "lost")] },
      user("Go on."),
    ])
    expect(prompt.slice(2)).toMatchObject([
      { role: "tool", content: [{ toolCallId: "a", output: { type: "error-text" } }] },
      { role: "user", content: [{ type: "text", text: expect.stringContaining("lost") }] },
      { role: "user", content: [{ type: "text", text: "Go on." }] },
    ])
  })

  test("is valid whatever the transcript contains", async () => {
    const half = "\ud83d"
    const prompt = await promptOf([
      user(`cut ${half}`),
      {
        role: "assistant",
        blocks: [call("strange id!", "{"), call("strange id!", '"x"'), { ...call("c"), toolName: "a b" } as Block, { type: "text", text: "" }],
      },
      { role: "user", blocks: [result("strange id!", half), result("strange id!"), result("c")] },
      { role: "assistant", blocks: [] },
      { role: "user", blocks: [] },
    ])
    const answer = prompt[1]?.content as { toolCallId: string; toolName: string; input: unknown }[]
    expect(answer.map(({ input, toolName }) => [toolName, input])).toEqual([
      ["look", {}],
      ["look", {}],
      [expect.stringMatching(/^a_b_\w{6}$/), {}],
    ])
    const ids = answer.map(({ toolCallId }) => toolCallId)
    expect(new Set(ids).size).toBe(3)
    for (const id of ids) expect(id).toMatch(/^[\w-]{1,40}$/)
    expect(prompt[2]?.content).toMatchObject(ids.map((toolCallId) => ({ toolCallId })))
    expect(prompt).toHaveLength(3)
    expect(JSON.stringify(prompt)).not.toContain("\\ud83d")
  })
})

describe.each(VERSIONS)("what a provider wants back (%s)", (version) => {
  const metadata = { "mock-provider": { signature: "sig" } }
  const blocks: readonly Block[] = [
    { type: "reasoning", text: "Hm.", providerMetadata: metadata },
    { type: "reasoning", text: "", providerMetadata: { "mock-provider": { redacted: "enc" } } },
    { type: "text", text: "So.", providerMetadata: metadata },
    {
      type: "opaque",
      provider: "mock-provider",
      kind: "tool-call",
      data: { type: "tool-call", toolCallId: "s", toolName: "web_search", input: '{"q":1}', providerExecuted: true },
      providerMetadata: metadata,
    },
    {
      type: "opaque",
      provider: "mock-provider",
      kind: "tool-result",
      data: { type: "tool-result", toolCallId: "s", toolName: "web_search", result: ["r"], isError: true },
    },
    { type: "opaque", provider: "mock-provider", kind: "custom", data: { type: "custom", kind: "openai.compaction" }, providerMetadata: metadata },
    {
      type: "opaque",
      provider: "mock-provider",
      kind: "file",
      data: { mediaType: "image/png", data: { base64: "AQID" } },
      text: "[Image: image/png]",
    },
    { type: "opaque", provider: "mock-provider", kind: "file", data: { mediaType: "image/png", data: { url: "https://example.com/a.png" } } },
    { type: "opaque", provider: "mock-provider", kind: "source", data: { type: "source" } },
    call("a", "{}", { providerMetadata: metadata }),
  ]
  const promptWith = async (producer = MOCK, more: readonly Block[] = blocks) =>
    (await sent(answered(more, producer), {}, version)).prompt[1]?.content

  test("goes back to it part by part, verbatim", async () => {
    const url = new URL("https://example.com/a.png")
    expect(await promptWith()).toEqual([
      { type: "reasoning", text: "Hm.", providerOptions: metadata },
      { type: "reasoning", text: "", providerOptions: { "mock-provider": { redacted: "enc" } } },
      { type: "text", text: "So.", providerOptions: metadata },
      { type: "tool-call", toolCallId: "s", toolName: "web_search", input: { q: 1 }, providerExecuted: true, providerOptions: metadata },
      { type: "tool-result", toolCallId: "s", toolName: "web_search", output: { type: "error-json", value: ["r"] } },
      { type: "custom", kind: "openai.compaction", providerOptions: metadata },
      { type: "file", mediaType: "image/png", data: version === "v3" ? "AQID" : { type: "data", data: "AQID" } },
      { type: "file", mediaType: "image/png", data: version === "v3" ? url : { type: "url", url } },
      { type: "tool-call", toolCallId: "a", toolName: "look", input: {}, providerOptions: metadata },
    ])
  })

  test.each([
    ["another provider", { ...MOCK, provider: "other" }],
    ["another model", { ...MOCK, model: "other" }],
    ["another client", { ...MOCK, api: "openai-chat" }],
  ])("is left out for %s, which reads texts instead", async (_who, producer) => {
    expect(await promptWith(producer)).toEqual([
      { type: "text", text: "So." },
      { type: "text", text: "[Image: image/png]" },
      { type: "tool-call", toolCallId: "a", toolName: "look", input: {} },
    ])
  })

  test("is not what another provider wrote into the answer, nor what no provider can read", async () => {
    const odd: readonly Block[] = [
      { type: "opaque", provider: "turn-machine", kind: "abandoned_answer", data: { parts: [] } },
      { type: "opaque", provider: "other", kind: "custom", data: { type: "custom", kind: "other.item" } },
      { type: "opaque", provider: "mock-provider", kind: "file", data: "damaged" },
      { type: "opaque", provider: "mock-provider", kind: "file", data: { mediaType: "image/png", data: { url: "not an address" } } },
      { type: "text", text: "So.", providerMetadata: "sig" },
    ]
    expect(await promptWith(MOCK, odd)).toEqual([{ type: "text", text: "So." }])
  })

  test("includes reasoning without metadata only where the same model wrote it", async () => {
    const reasoning: readonly Block[] = [
      { type: "reasoning", text: "Hm." },
      { type: "text", text: "So." },
    ]
    expect(await promptWith(MOCK, reasoning)).toHaveLength(2)
    expect((await sent(answered(reasoning), {}, version)).prompt[1]?.content).toEqual([{ type: "text", text: "So." }])
  })
})

describe("images and files", () => {
  const store = memoryAttachmentStore()
  const attached = async (mediaType: string, label?: string) =>
    store.put(new Uint8Array([1, 2, 3]), { mediaType, ...(label !== undefined && { label }) })

  test.each(VERSIONS)("are sent from the store in the form of %s; others are a line of text", async (version) => {
    const attachments = [
      await attached("image/png"),
      await attached("application/pdf", "a.pdf"),
      await attached("audio/mpeg"),
      { id: "0".repeat(64), mediaType: "image/gif", byteLength: 9 },
    ]
    const blocks: readonly Block[] = [
      { type: "image", attachmentIndex: 0 },
      { type: "file", attachmentIndex: 1 },
      { type: "file", attachmentIndex: 2 },
      { type: "image", attachmentIndex: 3 },
      { type: "image", attachmentIndex: 9 },
    ]
    const contentOf = async (options: AiSdkModelOptions) =>
      (await promptOf([{ role: "user", blocks }], { attachments }, options, version))[0]?.content
    const data = version === "v3" ? "AQID" : { type: "data", data: "AQID" }
    expect(await contentOf({ attachments: store })).toEqual([
      { type: "file", mediaType: "image/png", data },
      { type: "file", mediaType: "application/pdf", data, filename: "a.pdf" },
      { type: "text", text: "[File: audio/mpeg]" },
      { type: "text", text: "[Image: image/gif]" },
      { type: "text", text: "[Image: not available]" },
    ])
    expect(await contentOf({ attachments: store, fileTypes: ["audio/*"] })).toMatchObject([
      { type: "file" },
      { type: "text", text: "[File: a.pdf, application/pdf]" },
      { type: "file", mediaType: "audio/mpeg" },
      {},
      {},
    ])
    expect(await contentOf({})).toMatchObject([{ text: "[Image: image/png]" }, {}, {}, {}, {}])
  })

  test.each([
    [
      "v3",
      "anthropic.messages",
      { type: "image-data", data: "AQID", mediaType: "image/png" },
      { type: "file-data", data: "AQID", mediaType: "application/pdf", filename: "b" },
    ],
    [
      "v4",
      "openai.responses",
      { type: "file", data: { type: "data", data: "AQID" }, mediaType: "image/png" },
      { type: "file", data: { type: "data", data: "AQID" }, mediaType: "application/pdf", filename: "b" },
    ],
  ] as const)("of a tool are in its result where the provider takes them there (%s, %s)", async (version, provider, image, file) => {
    const [png, pdf] = [await attached("image/png"), await attached("application/pdf", "b")]
    const content = [
      { type: "text", text: "Two:" },
      { type: "attachment", attachment: png },
      { type: "attachment", attachment: pdf },
    ] as const
    const messages = (isError?: true): LlmRequest["messages"] => [
      user("Hi"),
      { role: "assistant", blocks: [call("a")] },
      {
        role: "user",
        blocks: [
          result("a", "Two:", { content, ...(isError && { isError }) }),
          { type: "image", attachmentIndex: 0 },
          { type: "file", attachmentIndex: 1 },
        ],
      },
    ]
    const more = { attachments: [png, pdf] }
    const inResult = await promptOf(messages(), more, { attachments: store }, version, provider)
    expect(inResult.slice(2)).toMatchObject([
      { role: "tool", content: [{ output: { type: "content", value: [{ type: "text", text: "Two:" }, image, file] } }] },
    ])
    expect(inResult).toHaveLength(3)
    const after = await promptOf(messages(), more, { attachments: store, filesInResults: false }, version, provider)
    expect(after.slice(2)).toMatchObject([
      { role: "tool", content: [{ output: { type: "text", value: "Two:[Image: image/png][File: b, application/pdf]" } }] },
      {
        role: "user",
        content: [
          { type: "text", text: "[Image: image/png, a result of look]" },
          { type: "file", mediaType: "image/png" },
          { type: "text", text: "[File: b, application/pdf, a result of look]" },
          { type: "file", mediaType: "application/pdf" },
        ],
      },
    ])
    const failed = await promptOf(messages(true), more, { attachments: store }, version, provider)
    expect(failed.slice(2)).toMatchObject([
      { content: [{ output: { type: "error-text" } }] },
      { role: "user", content: [{}, { type: "file" }, {}, { type: "file" }] },
    ])
  })

  test("that a model generated go back from the store", async () => {
    const ref = await attached("image/png")
    const block: Block = { type: "opaque", provider: "mock-provider", kind: "file", data: { mediaType: "image/png", data: { $attachment: ref } } }
    const { prompt } = await sent(answered([block], MOCK), { attachments: store })
    expect(prompt[1]?.content).toEqual([{ type: "file", mediaType: "image/png", data: "AQID" }])
  })

  test("that cannot be read fail the call: the model would answer without what it was asked about", async () => {
    const broken = { ...store, get: async () => Promise.reject(new Error("disk full")) }
    const request = { ...HI, attachments: [await attached("image/png")] }
    const { failure } = await refused(mock("v3", [FINISH]).model, { attachments: broken }, request)
    expect(failure).toMatchObject({ code: "attachment_unreadable", retryable: false, message: "An attachment could not be read: disk full" })
  })
})

describe("marks for a provider's cache", () => {
  const messages = [system("Be brief."), user("Hi"), { role: "assistant", blocks: [{ type: "text", text: "Yes?" }] }, user("Go on.")] as const
  const mark = { anthropic: { cacheControl: { type: "ephemeral" } } }

  test("are at the end of the system prompt and of the request, for Anthropic", async () => {
    const prompt = await promptOf(messages, {}, {}, "v3", "anthropic.messages")
    expect(prompt.map(({ providerOptions }) => providerOptions)).toEqual([mark, undefined, undefined, mark])
    expect((await promptOf(messages, { cache: "off" }, {}, "v3", "anthropic.messages")).some((message) => "providerOptions" in message)).toBe(false)
    expect((await promptOf(messages, {}, {}, "v3", "openai.responses")).some((message) => "providerOptions" in message)).toBe(false)
  })

  test("are at the last tool without a system prompt, and where a projector sets one", async () => {
    const marked = { role: "user", blocks: [{ type: "text", text: "Long.", cacheBreakpoint: true }] } as const
    const { prompt, tools } = await sent({ messages: [marked, user("Hi")], tools: [LOOK, { ...LOOK, name: "last" }] }, {}, "v4", "anthropic.messages")
    expect((tools as object[]).map((tool) => "providerOptions" in tool)).toEqual([false, true])
    expect(prompt[0]?.content).toEqual([{ type: "text", text: "Long.", providerOptions: mark }])
    expect((await sent({ messages: [marked] }, {}, "v4", "openai.chat")).prompt[0]?.content).toEqual([{ type: "text", text: "Long." }])
  })
})
