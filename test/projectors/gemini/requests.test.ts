import { describe, expect, test } from "vitest"
import { geminiWire } from "../../../src/projectors/gemini/index.ts"
import type { Block, Generation, LlmRequest, OutputSpec } from "../../../src/wire/llm.ts"
import { call, contents, encode, model, OURS, other, result, system, user } from "./support.ts"

const FIRST = ["user", [{ text: "Look." }]] as const
const tool = (name: string, inputSchema: LlmRequest["tools"][number]["inputSchema"] = { type: "object" }) => ({
  name,
  description: "Looks.",
  inputSchema,
})

describe("texts and roles", () => {
  test("the first system messages are the instruction, a later one is the user's", () => {
    const body = encode([system("Be brief."), system("Be kind."), user("Hello."), model("Hi."), system("A note."), user("Go.")])
    expect(body).toEqual({
      systemInstruction: { parts: [{ text: "Be brief." }, { text: "Be kind." }] },
      contents: [
        { role: "user", parts: [{ text: "Hello." }] },
        { role: "model", parts: [{ text: "Hi." }] },
        { role: "user", parts: [{ text: "A note." }, { text: "Go." }] },
      ],
    })
  })

  test("user and model take turns, and the user has the first and the last", () => {
    expect(contents([model("Hi."), model("There.")])).toEqual([
      ["user", [{ text: "[The conversation begins with an answer.]" }]],
      ["model", [{ text: "Hi." }, { text: "There." }]],
      ["user", [{ text: "[Continue.]" }]],
    ])
    expect(contents([])).toEqual([["user", [{ text: "[The conversation is empty.]" }]]])
  })

  test("empty texts and messages are left out", () => {
    expect(contents([system(""), user("", "Look."), model(""), user("Now.")])).toEqual([["user", [{ text: "Look." }, { text: "Now." }]]])
    expect(encode([system(""), user("Look.")])).not.toHaveProperty("systemInstruction")
  })

  test("half a surrogate pair becomes U+FFFD, also in arguments", () => {
    expect(contents([user("a\ud83d"), model(call("c", "look", '{"q":"\\ud83d"}')), user(result("c"))])).toMatchObject([
      ["user", [{ text: "a\ufffd" }]],
      ["model", [{ functionCall: { args: { q: "\ufffd" } } }]],
      ["user", [{}]],
    ])
  })
})

describe("calls and results", () => {
  test("each call has one result, directly after it, in the order of the calls", () => {
    const messages = [user("Look."), model("I look.", call("a"), call("b", "read", '{"n":1}')), user(result("b", "B"), result("a", "A"), "Faster.")]
    expect(contents(messages)).toEqual([
      FIRST,
      [
        "model",
        [
          { text: "I look." },
          { functionCall: { id: "a", name: "look", args: {} }, thoughtSignature: "skip_thought_signature_validator" },
          { functionCall: { id: "b", name: "read", args: { n: 1 } } },
        ],
      ],
      [
        "user",
        [
          { functionResponse: { id: "a", name: "look", response: { output: "A" } } },
          { functionResponse: { id: "b", name: "read", response: { output: "B" } } },
          { text: "Faster." },
        ],
      ],
    ])
  })

  test("a failed result is an error, a missing one is a note, and a stray one is text", () => {
    const failed: Block = { type: "tool_result", callId: "a", text: "No such file.", isError: true }
    expect(contents([user("Look."), model(call("a"), call("b")), user(failed, result("x", "Stray."))]).at(-1)).toEqual([
      "user",
      [
        { functionResponse: { id: "a", name: "look", response: { error: "No such file." } } },
        { functionResponse: { id: "b", name: "look", response: { error: "[No result: the call was interrupted before it ended.]" } } },
        { text: "[Result of an earlier tool call]\nStray." },
      ],
    ])
  })

  test("what is said between a call and its result follows the results", () => {
    expect(contents([user("Look."), model(call("a")), user("Wait."), user(result("a"))]).at(-1)).toEqual([
      "user",
      [{ functionResponse: { id: "a", name: "look", response: { output: "seen" } } }, { text: "Wait." }],
    ])
  })

  test("a second result of a call is text", () => {
    expect(contents([user("Look."), model(call("a")), user(result("a"), result("a", "again"))]).at(-1)?.[1]).toEqual([
      { functionResponse: { id: "a", name: "look", response: { output: "seen" } } },
      { text: "[Result of an earlier tool call]\nagain" },
    ])
  })

  test.each([
    ['{"a":1}', { a: 1 }],
    ["", {}],
    ["null", {}],
    ["[1]", {}],
    ['{"a":', {}],
  ])("arguments %j are sent as an object", (inputJson, args) => {
    expect(contents([user("Look."), model(call("a", "look", inputJson)), user(result("a"))])[1]?.[1][0]?.functionCall?.args).toEqual(args)
  })

  test("ids are unique and printable, in the call and its result", () => {
    const messages = [user("Look."), model(call("a"), call("b\n")), user(result("a"), result("b\n")), model(call("a")), user(result("a"))]
    const parts = contents(messages).flatMap(([, said]) => said)
    const ids = parts.flatMap(({ functionCall }) => functionCall?.id ?? [])
    expect(ids[0]).toBe("a")
    expect(new Set(ids).size).toBe(3)
    for (const id of ids) expect(id).toMatch(/^[\x21-\x7e]{1,256}$/)
    expect(parts.flatMap(({ functionResponse }) => functionResponse?.id ?? [])).toEqual(ids)
  })

  test("Vertex AI is sent no ids", () => {
    const sent = encode([user("Look."), model(call("a")), user(result("a"))], {}, { callIds: "omit" })
    expect(JSON.stringify(sent)).not.toContain('"id"')
  })

  test("names begin with a letter or an underscore, and lead back", () => {
    const given = { tools: [tool("fs.read"), tool("2fa"), tool("read")], toolChoice: { toolName: "2fa" } } as const
    const sent = encode([user("Look."), model(call("a", "2fa")), user(result("a"))], given)
    expect(sent.tools?.[0]?.functionDeclarations?.map(({ name }) => name)).toEqual(["fs_read", "_2fa", "read"])
    expect(sent.toolConfig).toEqual({ functionCallingConfig: { mode: "ANY", allowedFunctionNames: ["_2fa"] } })
    expect(sent.contents[1]?.parts[0]?.functionCall?.name).toBe("_2fa")
    expect(sent.contents[2]?.parts[0]?.functionResponse?.name).toBe("_2fa")
    expect(geminiWire().toolNames({ ...given, model: "m", messages: [], attachments: [], generation: {} })).toEqual(
      new Map([
        ["fs_read", "fs.read"],
        ["_2fa", "2fa"],
      ]),
    )
  })
})

describe("tools, generation and output", () => {
  test.each<[LlmRequest["toolChoice"], object | undefined]>([
    ["auto", undefined],
    ["none", { functionCallingConfig: { mode: "NONE" } }],
    ["required", { functionCallingConfig: { mode: "ANY" } }],
    [{ toolName: "look" }, { functionCallingConfig: { mode: "ANY", allowedFunctionNames: ["look"] } }],
    [{ toolName: "gone" }, { functionCallingConfig: { mode: "ANY" } }],
  ])("the choice %j", (toolChoice, toolConfig) => {
    expect(encode([user("Look.")], { tools: [tool("look")], toolChoice }).toolConfig).toEqual(toolConfig)
    expect(encode([user("Look.")], { toolChoice })).not.toHaveProperty("toolConfig")
  })

  test("a declaration has a JSON Schema that is an object, and no empty description", () => {
    const tools = [tool("look", { type: "object", properties: { q: { type: "string" } } }), { name: "go", description: "", inputSchema: true }]
    expect(encode([user("Look.")], { tools }).tools).toEqual([
      {
        functionDeclarations: [
          { name: "look", description: "Looks.", parametersJsonSchema: { type: "object", properties: { q: { type: "string" } } } },
          { name: "go", parametersJsonSchema: { type: "object" } },
        ],
      },
    ])
  })

  test("generation has Gemini's names", () => {
    const generation: Generation = { maxOutputTokens: 9, temperature: 0, topP: 0.5, stopSequences: ["END"], seed: 7 }
    expect(encode([user("Look.")], { generation }).generationConfig).toEqual(generation)
    expect(encode([user("Look.")])).not.toHaveProperty("generationConfig")
  })

  test.each<[string, string, object | undefined]>([
    ["gemini-3-pro", "low", { thinkingLevel: "LOW" }],
    ["gemini-3-pro-preview", "none", { thinkingLevel: "LOW" }],
    ["gemini-3-pro-preview", "minimal", { thinkingLevel: "LOW" }],
    ["gemini-3-pro-preview", "medium", { thinkingLevel: "HIGH" }],
    ["gemini-3.1-pro-preview", "none", { thinkingLevel: "LOW" }],
    ["gemini-3.1-pro-preview", "medium", { thinkingLevel: "MEDIUM" }],
    ["gemini-3-flash-preview", "none", { thinkingLevel: "MINIMAL" }],
    ["gemini-3.1-flash-lite", "minimal", { thinkingLevel: "MINIMAL" }],
    ["gemini-3.6-flash", "none", { thinkingLevel: "MINIMAL" }],
    ["gemini-3.7-flash", "none", { thinkingLevel: "LOW" }],
    ["gemini-flash-latest", "none", { thinkingLevel: "LOW" }],
    ["gemini-2.5-pro", "none", { thinkingBudget: 128 }],
    ["gemini-2.0-flash", "high", undefined],
    ["gemini-1.5-pro", "2048", undefined],
    ["gemma-3-27b-it", "high", undefined],
    ["gemini-flash-latest", "high", { thinkingLevel: "HIGH" }],
    ["gemini-2.5-flash", "none", { thinkingBudget: 0 }],
    ["gemini-2.5-flash", "medium", { thinkingBudget: 8_192 }],
    ["gemini-2.5-pro", "-1", { thinkingBudget: -1 }],
    ["gemini-2.5-pro", "2048", { thinkingBudget: 2_048 }],
    ["gemini-3-pro", "fast-variant", undefined],
  ])("%s with the effort %s", (name, reasoningEffort, thinkingConfig) => {
    const expected = thinkingConfig === undefined ? undefined : { thinkingConfig }
    expect(encode([user("Look.")], { model: name, generation: { reasoningEffort } }).generationConfig).toEqual(expected)
    expect(encode([user("Look.")], { model: name, modelVariant: reasoningEffort }).generationConfig).toEqual(expected)
  })

  test("thoughts are shown if the wire says so", () => {
    expect(encode([user("Look.")], {}, { includeThoughts: true }).generationConfig).toEqual({ thinkingConfig: { includeThoughts: true } })
  })

  test("JSON as the form of the answer; older models refuse it beside tools", () => {
    const outputSpec: OutputSpec = { type: "json_schema", name: "answer", schema: { type: "object" }, strict: true }
    const expected = { responseMimeType: "application/json", responseJsonSchema: { type: "object" } }
    expect(encode([user("Look.")], { outputSpec: { type: "json_object" } }).generationConfig).toEqual({ responseMimeType: "application/json" })
    expect(encode([user("Look.")], { outputSpec, tools: [tool("look")] }).generationConfig).toEqual(expected)
    expect(encode([user("Look.")], { model: "gemini-2.5-pro", outputSpec }).generationConfig).toEqual(expected)
    expect(encode([user("Look.")], { model: "gemini-2.5-pro", outputSpec, tools: [tool("look")] })).not.toHaveProperty("generationConfig")
  })

  test("the provider's own settings are merged into the body", () => {
    const providerOptions = {
      generationConfig: { topK: 3, thinkingConfig: { includeThoughts: true } },
      tools: [{ googleSearch: {} }],
      toolConfig: { includeServerSideToolInvocations: true },
      safetySettings: [],
    }
    const generation: Generation = { temperature: 1, reasoningEffort: "low", providerOptions }
    const given = { generation, tools: [tool("look")], toolChoice: "required" } as const
    expect(encode([user("Look.")], given, { extraBody: { cachedContent: "c", safetySettings: [{}] } })).toMatchObject({
      generationConfig: { temperature: 1, topK: 3, thinkingConfig: { thinkingLevel: "LOW", includeThoughts: true } },
      tools: [{ functionDeclarations: [{ name: "look" }] }, { googleSearch: {} }],
      toolConfig: { functionCallingConfig: { mode: "ANY" }, includeServerSideToolInvocations: true },
      safetySettings: [{}],
      cachedContent: "c",
    })
  })

  test("what Gemini has no place for is left out: a session, a cache mark, a limit to one call", () => {
    const marked: Block = { type: "text", text: "Look.", cacheBreakpoint: true }
    expect(encode([user(marked)], { sessionId: "s", cache: "auto", parallelToolCalls: false })).toEqual({
      contents: [{ role: "user", parts: [{ text: "Look." }] }],
    })
  })
})

describe("images and files", () => {
  const attachments = [
    { id: "png", mediaType: "image/png", byteLength: 3, label: "Sales" },
    { id: "gif", mediaType: "image/gif", byteLength: 3 },
    { id: "pdf", mediaType: "application/pdf", byteLength: 3 },
    { id: "none", mediaType: "image/png", byteLength: 3 },
    { id: "odd", mediaType: "image/png", byteLength: 3 },
  ]
  const urls: { readonly [id: string]: string } = {
    png: "data:image/png;base64,AAAA",
    gif: "data:image/gif;base64,AAAA",
    pdf: "https://files.example/plan.pdf",
    odd: "data:image/png;base64,a b",
  }
  const options = { attachmentUrl: ({ id }: { readonly id: string }) => urls[id] }
  const image = (attachmentIndex: number): Block => ({ type: "image", attachmentIndex })

  test("are bytes or an address; what cannot be sent is named", () => {
    const blocks = [image(0), { type: "file", attachmentIndex: 2 } as const, image(1), image(3), image(4), image(9)]
    expect(contents([user("Look.", ...blocks)], { attachments }, options)[0]?.[1]).toEqual([
      { text: "Look." },
      { inlineData: { mimeType: "image/png", data: "AAAA" } },
      { fileData: { mimeType: "application/pdf", fileUri: "https://files.example/plan.pdf" } },
      { text: "[Image: image/gif]" },
      { text: "[Image: image/png]" },
      { text: "[Image: image/png]" },
      { text: "[Image: not available]" },
    ])
    expect(contents([user(image(1))], { attachments }, { ...options, mediaTypes: ["image/*"] })[0]?.[1]).toEqual([
      { inlineData: { mimeType: "image/gif", data: "AAAA" } },
    ])
  })

  const shows: Block = {
    type: "tool_result",
    callId: "a",
    toolName: "chart",
    text: "Done.",
    content: [
      { type: "text", text: "Done." },
      { type: "attachment", attachment: attachments[0] as (typeof attachments)[number] },
      { type: "attachment", attachment: attachments[2] as (typeof attachments)[number] },
    ],
  }
  const messages = [user("Look."), model(call("a", "chart")), user(shows, image(0), { type: "file", attachmentIndex: 2 })]

  test("of a result are in it since Gemini 3, if it can show them", () => {
    expect(contents(messages, { attachments }, options).at(-1)).toEqual([
      "user",
      [
        {
          functionResponse: {
            id: "a",
            name: "chart",
            response: { output: "Done.[Image: Sales, image/png][File: application/pdf]" },
            parts: [{ inlineData: { mimeType: "image/png", data: "AAAA" } }],
          },
        },
        { text: "[File: application/pdf, a result of chart]" },
        { fileData: { mimeType: "application/pdf", fileUri: "https://files.example/plan.pdf" } },
      ],
    ])
  })

  test("of a result follow it on older models, each after its name", () => {
    const own = { ...OURS, model: "gemini-2.5-pro" }
    const older = messages.map((message) => (message.producer === undefined ? message : { ...message, producer: own }))
    expect(contents(older, { attachments, model: "gemini-2.5-pro" }, options).at(-1)?.[1]).toEqual([
      { functionResponse: { id: "a", name: "chart", response: { output: "Done.[Image: Sales, image/png][File: application/pdf]" } } },
      { text: "[Image: Sales, image/png, a result of chart]" },
      { inlineData: { mimeType: "image/png", data: "AAAA" } },
      { text: "[File: application/pdf, a result of chart]" },
      { fileData: { mimeType: "application/pdf", fileUri: "https://files.example/plan.pdf" } },
    ])
  })

  test("of a result without a call are sent after its text", () => {
    expect(contents([user("Look."), user(shows, image(0))], { attachments }, options)[0]?.[1].slice(1)).toEqual([
      { text: "[Result of an earlier tool call]\nDone.[Image: Sales, image/png][File: application/pdf]" },
      { inlineData: { mimeType: "image/png", data: "AAAA" } },
    ])
  })

  test("in an answer are named", () => {
    expect(contents([user("Look."), other(image(0)), user("Go.")], { attachments }, options)[1]).toEqual([
      "model",
      [{ text: "[Image: Sales, image/png]" }],
    ])
  })
})
