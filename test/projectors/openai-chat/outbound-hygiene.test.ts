import { describe, expect, test } from "vitest"
import { type OpenAiMessage, type OpenAiToolCall, openAiChatWire } from "../../../src/projectors/openai-chat/index.ts"
import type { Block, Generation, LlmMessage, LlmRequest } from "../../../src/wire/llm.ts"
import { type ChatRequestOptions, chatAnswer, chatRequest, chatStream } from "../../support/openai-chat.ts"
import { answer, response } from "./support.ts"

const base: LlmRequest = { model: "m", messages: [], attachments: [], tools: [], toolChoice: "auto", generation: {} }
const body = chatRequest
const tool = (name: string) => ({ name, description: "d", inputSchema: { type: "object" } })
const call = (more: Partial<Extract<Block, { type: "tool_call" }>> = {}): Block => ({
  type: "tool_call",
  callId: "c1",
  toolName: "look",
  inputJson: "{}",
  ...more,
})
const result = (callId = "c1", text = "seen"): LlmMessage => ({ role: "user", blocks: [{ type: "tool_result", callId, text }] })
const by = (provider: string, model = "m", api = "openai-chat") => ({ provider, model, api })

function messagesOf(messages: readonly LlmMessage[], options?: ChatRequestOptions): readonly OpenAiMessage[] {
  return body({ ...base, messages }, options).messages
}

/** The calls that are sent for messages. */
function callsOf(messages: readonly LlmMessage[], options?: ChatRequestOptions): readonly OpenAiToolCall[] {
  return messagesOf(messages, options).flatMap((message) => (message.role === "assistant" ? (message.tool_calls ?? []) : []))
}

describe("arguments", () => {
  const sent = (inputJson: string) => callsOf([{ role: "assistant", blocks: [call({ inputJson })] }])[0]?.function.arguments

  test.each([
    "",
    " \n",
    "null",
    " null ",
    "true",
    "7",
    '"text"',
    "[]",
    '[{"a":1}]',
    "{",
    '{"a":1',
    '{"a":1}}',
    "{a:1}",
    "{'a':1}",
    '{"a" "b"}',
    "NaN",
    '{"a":1e999}',
    '```json\n{"a":1}\n```',
    `${'{"a":'.repeat(200)}1${"}".repeat(200)}`,
  ])("%j are sent as an empty object", (inputJson) => {
    expect(sent(inputJson)).toBe("{}")
  })

  test.each([
    "{}",
    ' { "b" : 1, "a" : [ 2 ] } ',
    '{"n":12345678901234567890,"m":1.0}',
    '{"a":1,"a":2}',
    '{"__proto__":{"a":1}}',
    '{"t":"\\ud83d\\ude00 \\u00e4 \\\\ud83d"}',
    '{"t":"😀"}',
  ])("%j are sent as the model wrote them", (inputJson) => {
    expect(sent(inputJson)).toBe(inputJson)
  })

  test.each([
    ['{"a":"x\ud83d"}', '{"a":"x\ufffd"}'],
    ['{"a":"x\\ud83d"}', '{"a":"x\\ufffd"}'],
    ['{"a":"\\\\\\ude00"}', '{"a":"\\\\\\ufffd"}'],
    ['{"\\uDC00":12345678901234567890}', '{"\\ufffd":12345678901234567890}'],
    ['{"a":"\\ud83d\\ud83d\\ude00"}', '{"a":"\\ufffd\\ud83d\\ude00"}'],
  ])("%j are sent with U+FFFD for each half of a surrogate pair", (inputJson, expected) => {
    expect(sent(inputJson)).toBe(expected)
  })
})

describe("names", () => {
  test("a name in the history that does not fit is sent in a form that fits, the same in each request", () => {
    const name = (...before: readonly LlmMessage[]) =>
      callsOf([...before, { role: "assistant", blocks: [call({ toolName: "browser.tabs.open" })] }]).at(-1)?.function.name
    expect(name()).toMatch(/^browser_tabs_open_[a-z0-9]{6}$/)
    expect(name({ role: "assistant", blocks: [call({ toolName: "browser/tabs/open" })] })).toBe(name())
  })

  test("tools with odd names are sent under names that fit, and a call comes back under the own name", () => {
    const request = { ...base, tools: [tool("fs.read"), tool("fs_read"), tool("fs/read"), tool("größe"), tool("x".repeat(65)), tool("plain")] }
    const back = openAiChatWire().toolNames(request)
    const sent = body(request).tools?.map(({ function: { name } }) => name) ?? []
    for (const name of sent) expect(name).toMatch(/^[a-zA-Z0-9_-]{1,64}$/)
    expect(new Set(sent).size).toBe(6)
    expect(sent[1]).toBe("fs_read")
    expect(sent[5]).toBe("plain")
    for (const [index, { name }] of request.tools.entries()) {
      const message = { tool_calls: [{ id: "k", type: "function", function: { name: sent[index], arguments: "{}" } }] }
      const whole = chatAnswer(
        { choices: [{ index: 0, message: { role: "assistant", ...message }, finish_reason: "tool_calls" }] },
        { toolNames: back },
      )
      expect(answer(whole).parts).toMatchObject([{ type: "tool_call", toolName: name }])

      const stream = chatStream({ toolNames: back })
      stream.push({ choices: [{ index: 0, delta: { tool_calls: [{ index: 0, ...message.tool_calls[0] }] }, finish_reason: "tool_calls" }] })
      expect(answer(stream.finish()).parts).toMatchObject([{ type: "tool_call", toolName: name }])
    }
  })

  test("a name that fits is not changed, and nothing has to be mapped back", () => {
    const request = { ...base, tools: [tool("read"), tool("a-b_C9")], messages: [{ role: "assistant" as const, blocks: [call()] }] }
    expect(openAiChatWire().toolNames(request).size).toBe(0)
    expect(answer(response({ tool_calls: [{ id: "k", function: { name: "read", arguments: "{}" } }] }, "tool_calls")).parts).toMatchObject([
      { toolName: "read" },
    ])
  })

  test("a name in the history that equals the sent form of a tool is another function", () => {
    const request: LlmRequest = {
      ...base,
      tools: [tool("fs.read")],
      messages: [{ role: "assistant", blocks: [call({ toolName: "fs_read" })] }, result()],
    }
    const { messages, tools } = body(request)
    expect(tools?.[0]?.function.name).toBe("fs_read")
    const sent = messages[0]?.role === "assistant" ? messages[0].tool_calls?.[0]?.function.name : undefined
    expect(sent).not.toBe("fs_read")
    expect(
      openAiChatWire()
        .toolNames(request)
        .get(sent ?? ""),
    ).toBe("fs_read")
  })

  test("a tool choice names the function as it is sent", () => {
    expect(body({ ...base, tools: [tool("fs.read")], toolChoice: { toolName: "fs.read" } }).tool_choice).toEqual({
      type: "function",
      function: { name: "fs_read" },
    })
  })

  test.each(["__proto__", "constructor", "toString"])("%s is a name like any other", (name) => {
    expect(body({ ...base, tools: [tool(name)] }).tools?.[0]?.function.name).toBe(name)
  })
})

describe("well-formed text", () => {
  test("half an emoji becomes U+FFFD wherever it is", () => {
    const half = "cut \ud83d"
    const sent = body(
      {
        ...base,
        model: half,
        generation: { stopSequences: [half], providerOptions: { [half]: half } },
        outputSpec: { type: "json_schema", name: "v", schema: { properties: { [half]: { enum: [half] } } }, strict: true },
        tools: [{ name: "look", description: half, inputSchema: { properties: { [half]: {}, "cut \udc00": {} } } }],
        messages: [
          { role: "system", blocks: [{ type: "text", text: half }] },
          { role: "assistant", blocks: [{ type: "text", text: half }, call({ providerMetadata: { extra_content: half } })] },
          result("c1", half),
        ],
      },
      { extraBody: { user: half } },
    )
    expect(JSON.stringify(sent)).not.toMatch(/\\ud/i)
    expect(sent.tools?.[0]?.function.parameters).toEqual({ type: "object", properties: { "cut \ufffd": {}, "cut \ufffd\ufffd": {} } })
    expect(sent.messages[2]).toMatchObject({ content: "cut \ufffd" })
    expect(sent["user"]).toBe("cut \ufffd")
  })

  test("whole pairs and other text stay as they are", () => {
    const text = "😀 𝒳 \u0000 \ufffd é"
    expect(messagesOf([{ role: "user", blocks: [{ type: "text", text }] }])).toEqual([{ role: "user", content: text }])
  })
})

describe("call ids", () => {
  const ids = (callIds: readonly string[], options?: ChatRequestOptions, producer?: LlmMessage["producer"]) => {
    const messages = callIds.flatMap((callId): LlmMessage[] => [
      { role: "assistant", blocks: [call({ callId })], ...(producer !== undefined && { producer }) },
      result(callId, `of ${callId}`),
    ])
    const sent = messagesOf(messages, options)
    const calls = sent.flatMap((message) => (message.role === "assistant" ? (message.tool_calls ?? []).map(({ id }) => id) : []))
    const results = sent.flatMap((message) => (message.role === "tool" ? [message.tool_call_id] : []))
    expect(results).toEqual(calls)
    return calls
  }

  test.each(["", " ", "x".repeat(41), "a b", "ä", "\ud800", "line\n"])("%j is replaced, in the call and its result", (callId) => {
    expect(ids([callId])[0]).toMatch(/^[a-zA-Z0-9_-]{1,40}$/)
    expect(ids([callId])).toEqual(ids([callId, "other"]).slice(0, 1))
  })

  test.each(["call_1", "x".repeat(40), "functions.look:0", "a|b"])("%j is sent as it is", (callId) => {
    expect(ids([callId])).toEqual([callId])
  })

  test("an id that was used before is replaced", () => {
    const sent = ids(["ZsSt", "ZsSt", "ZsSt"])
    expect(sent[0]).toBe("ZsSt")
    expect(new Set(sent).size).toBe(3)
  })

  test("the endpoint's own ids go back, also long ones; those of another model are made to fit", () => {
    const long = `call__thought__${"A".repeat(200)}`
    expect(ids([long], {}, by("here"))).toEqual([long])
    expect(ids(["functions.look:0"], {}, by("here"))).toEqual(["functions.look:0"])
    expect(ids([long], {}, by("here", "n"))[0]).toMatch(/^[a-zA-Z0-9_-]{1,40}$/)
    expect(ids(["functions.look:0"], {}, by("here", "n"))[0]).toMatch(/^functions_look_0_[a-z0-9]{8}$/)
  })

  test("Mistral's ids have exactly nine letters and digits", () => {
    const sent = ids(["AbCdEfGh1", "call_0fypS1hVX", "", "AbCdEfGh1", "call_0fypS1hVX"], { callIds: "mistral" })
    expect(sent[0]).toBe("AbCdEfGh1")
    for (const id of sent) expect(id).toMatch(/^[a-zA-Z0-9]{9}$/)
    expect(new Set(sent).size).toBe(5)
  })
})

describe("calls and results", () => {
  test("a call without a result gets a note instead, before the next answer or at the end", () => {
    expect(
      messagesOf([
        { role: "assistant", blocks: [call({ callId: "a" }), call({ callId: "b" })] },
        result("b"),
        { role: "assistant", blocks: [call({ callId: "d" })] },
      ]).map((message) => (message.role === "tool" ? [message.tool_call_id, message.content] : message.role)),
    ).toEqual([
      "assistant",
      ["b", "seen"],
      ["a", "[No result: the call was interrupted before it ended.]"],
      "assistant",
      ["d", "[No result: the call was interrupted before it ended.]"],
    ])
  })

  test("a result without a call is sent as the user's text", () => {
    expect(messagesOf([result("x"), { role: "system", blocks: [{ type: "tool_result", callId: "y", text: "too" }] }])).toEqual([
      { role: "user", content: "[Result of an earlier tool call]\nseen" },
      { role: "user", content: "[Result of an earlier tool call]\ntoo" },
    ])
  })

  test("messages that arrived while tools ran follow the results", () => {
    const note: LlmMessage = { role: "system", blocks: [{ type: "text", text: "Note." }] }
    const roles = messagesOf([{ role: "assistant", blocks: [call()] }, note, result(), note]).map(({ role }) => role)
    expect(roles).toEqual(["assistant", "tool", "system", "system"])
  })

  test("a failed result is sent as its text, and the parts of a result as their texts", () => {
    const block: Block = { type: "tool_result", callId: "c1", text: "It failed.", isError: true, content: [{ type: "text", text: "It failed." }] }
    expect(
      messagesOf([
        { role: "assistant", blocks: [call()] },
        { role: "user", blocks: [block] },
      ])[1],
    ).toEqual({
      role: "tool",
      tool_call_id: "c1",
      content: "It failed.",
    })
  })
})

describe("what a provider wants back", () => {
  const signature = { extra_content: { google: { thought_signature: "c2ln" } } }
  const details = (text: string) => ({ reasoning_details: [{ type: "reasoning.text", text }] })
  const answered = (producer: LlmMessage["producer"]): LlmMessage => ({
    role: "assistant",
    blocks: [
      { type: "reasoning", text: "One.", providerMetadata: details("One.") },
      { type: "reasoning", text: "", providerMetadata: details("Two.") },
      { type: "text", text: "Hi.", providerMetadata: { annotations: [1] } },
      call({ providerMetadata: { ...signature, id: "stolen", function: 1 } }),
      { type: "opaque", provider: "here", kind: "search", data: { q: 1 }, text: "[Searched.]" },
      { type: "opaque", provider: "here", kind: "search", data: { q: 2 } },
    ],
    ...(producer !== undefined && { producer }),
  })
  const kept = {
    reasoning_details: [...details("One.").reasoning_details, ...details("Two.").reasoning_details],
    annotations: [1],
    role: "assistant",
    content: "Hi.\n\n[Searched.]",
    tool_calls: [{ ...signature, id: "c1", type: "function", function: { name: "look", arguments: "{}" } }],
  }
  const bare = {
    role: "assistant",
    content: "Hi.\n\n[Searched.]",
    tool_calls: [{ id: "c1", type: "function", function: { name: "look", arguments: "{}" } }],
  }

  test.each([
    ["the same producer", by("here"), kept],
    ["an unknown producer", undefined, kept],
    ["another model", by("here", "n"), bare],
    ["another wire", by("here", "m", "anthropic-messages"), bare],
    ["another provider", by("there"), bare],
  ])("goes back to its producer only: %s", (_, producer, expected) => {
    expect(messagesOf([answered(producer)], { producer: { provider: "here" } })[0]).toEqual(expected)
  })

  test("without a given provider the wire and the model decide", () => {
    expect(messagesOf([answered(by("there"))])[0]).toEqual(kept)
    expect(messagesOf([answered(by("there", "n"))])[0]).toEqual(bare)
    expect(messagesOf([answered(by("there", "n"))], { producer: { model: "n" } })[0]).toEqual(kept)
  })

  test("metadata does not replace what a message is", () => {
    const blocks: readonly Block[] = [
      { type: "text", text: "Hi.", providerMetadata: { role: "system", content: "x", tool_calls: [1], reasoning: "r" } },
    ]
    expect(messagesOf([{ role: "assistant", blocks }])).toEqual([{ role: "assistant", content: "Hi." }])
    expect(messagesOf([{ role: "user", blocks: [{ type: "text", text: "Hi.", providerMetadata: { name: "x" } }] }])).toEqual([
      { role: "user", content: "Hi." },
    ])
  })

  test("with reasoning_content, every message with calls has the key", () => {
    const messages: LlmMessage[] = [
      { role: "assistant", blocks: [call({ callId: "a" })] },
      { role: "assistant", blocks: [{ type: "reasoning", text: "  " }, call({ callId: "b" })] },
      { role: "assistant", blocks: [{ type: "reasoning", text: "Hm." }, call({ callId: "d" })] },
      { role: "assistant", blocks: [{ type: "text", text: "Done." }] },
    ]
    const sent = (options: ChatRequestOptions) =>
      messagesOf(messages, options).filter(({ role }) => role === "assistant") as readonly Extract<OpenAiMessage, { role: "assistant" }>[]
    expect(sent({ reasoningField: "reasoning_content" }).map((message) => message.reasoning_content)).toEqual(["", "", "Hm.", undefined])
    expect(sent({ reasoningField: "reasoning" }).map((message) => message.reasoning)).toEqual([undefined, undefined, "Hm.", undefined])
    expect(sent({}).some((message) => "reasoning_content" in message || "reasoning" in message)).toBe(false)
  })

  test("another model's redacted reasoning is left out, its other reasoning is text", () => {
    const blocks: readonly Block[] = [
      { type: "reasoning", text: "secret", replay: { redacted: true } },
      { type: "reasoning", text: "open", replay: { signature: "s" } },
      { type: "text", text: "Hi." },
    ]
    const sent = (producer: LlmMessage["producer"] & object) => messagesOf([{ role: "assistant", blocks, producer }], { reasoningField: "reasoning" })
    expect(sent(by("here", "n"))).toEqual([{ role: "assistant", content: "Hi.", reasoning: "open" }])
    expect(sent(by("here"))).toEqual([{ role: "assistant", content: "Hi.", reasoning: "secret\n\nopen" }])
  })
})

describe("files", () => {
  const attachments = [
    { id: "att_1", mediaType: "application/pdf", byteLength: 9, label: "plan.PDF" },
    { id: "att_2", mediaType: "application/pdf", byteLength: 9 },
    { id: "att_3", mediaType: "text/csv", byteLength: 9, label: "rows.csv" },
    { id: "att_4", mediaType: "image/png", byteLength: 9 },
  ]
  const urls: { readonly [id: string]: string } = {
    att_1: "data:application/pdf;base64,AAAA",
    att_2: "data:application/pdf;base64,BBBB",
    att_3: "data:text/csv;base64,CCCC",
    att_4: "data:image/png;base64,DDDD",
  }
  const sent = (type: "image" | "file", options: ChatRequestOptions, role: LlmMessage["role"] = "user") =>
    body({ ...base, attachments, messages: [{ role, blocks: [0, 1, 2, 3, 9].map((attachmentIndex) => ({ type, attachmentIndex })) }] }, options)
      .messages[0]?.content

  test.each(["file", "image"] as const)("a PDF in a block of type %s is sent as a file, never as an image", (type) => {
    expect(sent(type, { attachmentUrl: ({ id }) => urls[id] })).toEqual([
      { type: "file", file: { filename: "plan.PDF", file_data: "data:application/pdf;base64,AAAA" } },
      { type: "file", file: { filename: "att_2.pdf", file_data: "data:application/pdf;base64,BBBB" } },
      { type: "text", text: "[File: rows.csv, text/csv]" },
      { type: "image_url", image_url: { url: "data:image/png;base64,DDDD" } },
      { type: "text", text: type === "file" ? "[File: not available]" : "[Image: not available]" },
    ])
  })

  test("other types are sent where the endpoint accepts them", () => {
    const content = sent("file", { attachmentUrl: ({ id }) => urls[id], fileTypes: ["text/csv"] })
    expect(content).toContainEqual({ type: "file", file: { filename: "rows.csv", file_data: "data:text/csv;base64,CCCC" } })
    expect(content).toContainEqual({ type: "text", text: "[File: plan.PDF, application/pdf]" })
  })

  test("a text replaces a file without data, and one that is not the user's", () => {
    const text =
      "[File: plan.PDF, application/pdf]\n\n[File: application/pdf]\n\n[File: rows.csv, text/csv]\n\n[Image: image/png]\n\n[File: not available]"
    expect(sent("file", {})).toBe(text)
    expect(
      sent("file", { attachmentUrl: ({ id, mediaType }) => (mediaType === "application/pdf" ? `https://files.example/${id}` : undefined) }),
    ).toBe(text)
    expect(sent("file", { attachmentUrl: ({ id }) => urls[id] }, "assistant")).toBe(text)
  })
})

describe("generation", () => {
  const sent = (generation: Generation, more: Partial<LlmRequest> = {}, options: ChatRequestOptions = {}) => {
    const { messages: _messages, model: _model, ...keys } = body({ ...base, generation, ...more }, options)
    return keys
  }

  test("every setting has its key, and zero is a setting", () => {
    expect(sent({ maxOutputTokens: 5, temperature: 0, topP: 0.5, stopSequences: ["END"], seed: 0, reasoningEffort: "low" })).toEqual({
      max_completion_tokens: 5,
      temperature: 0,
      top_p: 0.5,
      stop: ["END"],
      seed: 0,
      reasoning_effort: "low",
    })
    expect(sent({})).toEqual({})
    expect(sent({ stopSequences: [] })).toEqual({})
  })

  test("the effort of the generation overrides that of the model's variant", () => {
    expect(sent({}, { modelVariant: "high" })).toEqual({ reasoning_effort: "high" })
    expect(sent({ reasoningEffort: "low" }, { modelVariant: "high" })).toEqual({ reasoning_effort: "low" })
  })

  test("provider options override our keys, and extra keys override both", () => {
    const providerOptions = { temperature: 0.2, top_k: 40, service_tier: "flex" }
    expect(sent({ temperature: 1, seed: 3, providerOptions }, {}, { extraBody: { service_tier: "default" } })).toEqual({
      temperature: 0.2,
      seed: 3,
      top_k: 40,
      service_tier: "default",
    })
    for (const odd of [null, 1, "x", [1]]) expect(sent({ providerOptions: odd })).toEqual({})
  })

  test("one call at a time is asked for with tools only", () => {
    expect(sent({}, { parallelToolCalls: false, tools: [tool("look")] })).toMatchObject({ parallel_tool_calls: false })
    expect(sent({}, { parallelToolCalls: false })).toEqual({})
    expect(sent({}, { tools: [tool("look")] })).not.toHaveProperty("parallel_tool_calls")
  })

  test("cache settings leave no trace in the body", () => {
    const messages: LlmMessage[] = [{ role: "user", blocks: [{ type: "text", text: "Hi.", cacheBreakpoint: true }] }]
    const plain = body({ ...base, messages })
    expect(body({ ...base, messages, cache: "auto" })).toEqual(plain)
    expect(body({ ...base, messages, cache: "off" })).toEqual(plain)
    expect(JSON.stringify(plain)).not.toContain("cache")
  })
})
