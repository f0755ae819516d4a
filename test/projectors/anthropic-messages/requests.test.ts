import { describe, expect, test } from "vitest"
import type { Block } from "../../../src/wire/llm.ts"
import { anthropicRefusal } from "../../support/strict-anthropic-rules.ts"
import { call, encode, foreign, own, result, system, user } from "./support.ts"

const signed = (text: string, signature = "c2ln"): Block => ({ type: "reasoning", text, replay: { signature } })
const REDACTED: Block = { type: "reasoning", text: "", replay: { redacted: true, encryptedContent: "cmVk" } }
const opaque = (data: Record<string, string>, text?: string): Block => ({
  type: "opaque",
  provider: "p",
  kind: data["type"] ?? "",
  data,
  ...(text !== undefined && { text }),
})
const SEARCH = opaque({ type: "server_tool_use", id: "s1", name: "web_search" }, "[Called web_search]")
const FOUND = opaque({ type: "web_search_tool_result", tool_use_id: "s1" }, "[Result]")
const LOOK = { name: "look", description: "Looks", inputSchema: { type: "object" } } as const

describe("the messages of a body", () => {
  test("have the system prompt apart, and later system messages as the user's", () => {
    const body = encode([system("Be brief."), system("Be kind."), user("a"), own("b"), system("note"), user("c")])
    expect(body.system).toEqual([
      { type: "text", text: "Be brief." },
      { type: "text", text: "Be kind." },
    ])
    expect(body.messages).toEqual([
      { role: "user", content: [{ type: "text", text: "a" }] },
      { role: "assistant", content: [{ type: "text", text: "b" }] },
      {
        role: "user",
        content: [
          { type: "text", text: "note" },
          { type: "text", text: "c" },
        ],
      },
    ])
  })

  test("keep the order of an answer, with reasoning byte for byte", () => {
    const body = encode([
      user("a"),
      own(signed(" x\n"), "\n\n", REDACTED, "say", signed("", "c2"), SEARCH, FOUND, call("t1", ' {"n": 1} ')),
      user(result("t1")),
    ])
    expect(body.messages[1]?.content).toEqual([
      { type: "thinking", thinking: " x\n", signature: "c2ln" },
      { type: "redacted_thinking", data: "cmVk" },
      { type: "text", text: "say" },
      { type: "thinking", thinking: "", signature: "c2" },
      { type: "server_tool_use", id: "s1", name: "web_search" },
      { type: "web_search_tool_result", tool_use_id: "s1" },
      { type: "tool_use", id: "t1", name: "look", input: { n: 1 } },
    ])
  })

  test("of another model have neither signatures nor its own blocks, but their text", () => {
    const body = encode([user("a"), foreign(signed("x"), REDACTED, SEARCH, "b"), user("c")])
    expect(body.messages[1]?.content).toEqual([
      { type: "text", text: "[Called web_search]" },
      { type: "text", text: "b" },
    ])
  })

  test("have one result for each call and one call for each result", () => {
    const body = encode([user("a"), own(call("t1"), call("t2")), user("between"), user(result("t2", "two"), result("t9", "lost"))])
    expect(body.messages[2]?.content).toEqual([
      { type: "tool_result", tool_use_id: "t2", content: [{ type: "text", text: "two" }] },
      { type: "tool_result", tool_use_id: "t1", content: [{ type: "text", text: "[No result: the call was interrupted before it ended.]" }] },
      { type: "text", text: "between" },
      { type: "text", text: "[Result of an earlier tool call]\nlost" },
    ])
  })

  test("have results with images and documents in order, and only text in failed ones", () => {
    const attachments = [
      { id: "a", mediaType: "image/png", byteLength: 1 },
      { id: "b", mediaType: "application/pdf", byteLength: 1, label: "plan" },
    ]
    const content = [{ type: "text", text: "see" }, ...attachments.map((attachment) => ({ type: "attachment", attachment }) as const)] as const
    const shown: readonly Block[] = [
      { type: "image", attachmentIndex: 0 },
      { type: "file", attachmentIndex: 1 },
    ]
    const attachmentUrl = ({ id, mediaType }: { id: string; mediaType: string }) =>
      id === "a" ? `data:${mediaType};base64,QUJD` : "https://f.example/b.pdf"
    const image = { type: "image", source: { type: "base64", media_type: "image/png", data: "QUJD" } }
    const document = { type: "document", source: { type: "url", url: "https://f.example/b.pdf" }, title: "plan" }

    const good = encode(
      [user("a"), own(call("t")), user({ type: "tool_result", callId: "t", text: "see", content }, ...shown)],
      { attachments },
      { attachmentUrl },
    )
    expect(good.messages[2]?.content).toEqual([{ type: "tool_result", tool_use_id: "t", content: [{ type: "text", text: "see" }, image, document] }])
    const bad = encode(
      [user("a"), own(call("t")), user({ type: "tool_result", callId: "t", text: "see", content, isError: true }, ...shown)],
      { attachments },
      { attachmentUrl },
    )
    expect(bad.messages[2]?.content).toMatchObject([
      { type: "tool_result", is_error: true, content: [{ type: "text" }] },
      { type: "text" },
      image,
      { type: "text" },
      document,
    ])
    expect(anthropicRefusal(bad)).toBeUndefined()
    expect(encode([user({ type: "image", attachmentIndex: 0 })], { attachments }).messages[0]?.content).toEqual([
      { type: "text", text: "[Image: image/png]" },
    ])
  })

  test("have ids that fit and differ", () => {
    const body = encode([user("a"), own(call("f:1"), call("x")), user(result("f:1"), result("x")), own(call("x")), user(result("x", "again"))])
    const ids = JSON.stringify(body).match(/"(?:id|tool_use_id)":"[^"]*"/g) ?? []
    expect(ids).toHaveLength(6)
    expect(new Set(ids.map((id) => id.split(":")[1])).size).toBe(3)
    expect(anthropicRefusal(body)).toBeUndefined()
  })

  test("never end with reasoning, and an answer that has nothing else is left out", () => {
    expect(encode([user("a"), own(signed("x")), user("b")]).messages).toEqual([
      {
        role: "user",
        content: [
          { type: "text", text: "a" },
          { type: "text", text: "b" },
        ],
      },
    ])
    expect(encode([user("a"), own("b", signed("x")), user("c")]).messages[1]?.content).toEqual([{ type: "text", text: "b" }])
  })

  test("end with the user, unless a tool of the provider runs", () => {
    expect(encode([user("a"), own("b")]).messages.at(-1)).toEqual({ role: "user", content: [{ type: "text", text: "[Continue.]" }] })
    expect(encode([user("a"), own(SEARCH, "b \n")]).messages.at(-1)?.content).toEqual([
      { type: "server_tool_use", id: "s1", name: "web_search" },
      { type: "text", text: "b" },
    ])
    expect(encode([own("b"), user("c")]).messages[0]?.role).toBe("user")
    expect(anthropicRefusal(encode([]))).toBeUndefined()
  })

  test("leave out a tool of the provider without a result, once the user speaks", () => {
    expect(encode([user("a"), own(SEARCH, "b"), user("c")]).messages[1]?.content).toEqual([{ type: "text", text: "b" }])
    expect(encode([user("a"), own("b", FOUND), user("c")]).messages[1]?.content).toEqual([{ type: "text", text: "b" }])
    expect(encode([user("a"), own(SEARCH, call("t")), user(result("t")), own(FOUND, "c"), user("d")]).messages[1]?.content).toHaveLength(2)
  })

  test("give citations and callers back, without what the provider refuses", () => {
    const cited: Block = { type: "text", text: "a", providerMetadata: { citations: [{ type: "char_location", file_id: null, cited_text: "x" }] } }
    const made: Block = { ...call("t"), providerMetadata: { caller: { type: "code_execution_20250825", tool_id: "s" }, id: "evil" } } as Block
    const body = encode([user("a"), own(cited, made), user(result("t"))])
    expect(body.messages[1]?.content).toEqual([
      { type: "text", text: "a", citations: [{ type: "char_location", cited_text: "x" }] },
      { caller: { type: "code_execution_20250825", tool_id: "s" }, type: "tool_use", id: "t", name: "look", input: {} },
    ])
  })
})

describe("the settings of a body", () => {
  test("have a limit of tokens, sampling as the provider accepts it, and no blank stop", () => {
    expect(encode([user("a")]).max_tokens).toBe(32_000)
    const generation = { maxOutputTokens: 5, temperature: 1.7, topP: 0.5, stopSequences: ["\n", "END"], seed: 1, reasoningEffort: "high" }
    expect(encode([user("a")], { generation }).temperature).toBeUndefined()
    expect(encode([user("a")], { generation }, { sampling: true })).toEqual({
      model: "claude",
      max_tokens: 5,
      messages: [{ role: "user", content: [{ type: "text", text: "a" }] }],
      temperature: 1,
      stop_sequences: ["END"],
      output_config: { effort: "high" },
    })
  })

  test.each([
    ["claude-3-haiku-20240307", 4_096],
    ["claude-3-5-sonnet-20241022", 8_192],
    ["claude-3-7-sonnet-20250219", 32_000],
    ["claude-opus-4-1", 32_000],
    ["glm-5", 32_000],
  ])("of %s ask for at most %d tokens", (model, tokens) => {
    expect(encode([user("a")], { model }).max_tokens).toBe(tokens)
    expect(encode([user("a")], { model }, { maxTokens: 50 }).max_tokens).toBe(50)
  })

  test("leave out what the provider refuses while the model thinks", () => {
    const body = encode(
      [user("a")],
      { tools: [LOOK], toolChoice: "required", generation: { temperature: 0 } },
      { sampling: true, thinking: { type: "adaptive" } },
    )
    expect(body).toMatchObject({ thinking: { type: "adaptive" }, tool_choice: { type: "auto" } })
    expect(body.temperature).toBeUndefined()
    const off = encode([user("a")], { generation: { reasoningEffort: "none", temperature: 0 } }, { sampling: true, thinking: { type: "adaptive" } })
    expect(off).toMatchObject({ thinking: { type: "disabled" }, temperature: 0 })
    expect(off.output_config).toBeUndefined()
  })

  test("do not think in a loop that began without reasoning", () => {
    const options = { thinking: { type: "enabled", budget_tokens: 2_000 } } as const
    const began = [user("a"), own(signed("x"), call("t")), user(result("t"))]
    expect(encode(began, {}, options).thinking?.type).toBe("enabled")
    const other = [user("a"), foreign(signed("x"), call("t")), user(result("t"))]
    expect(encode(other, {}, options).thinking?.type).toBe("disabled")
    // A model that does not think between its calls: the setting stays the same in the whole loop.
    expect(encode([...began, own(call("u")), user(result("u"), "Also look up.")], {}, options).thinking?.type).toBe("enabled")
    expect(encode([...other, own(signed("y"), call("u")), user(result("u"))], {}, options).thinking?.type).toBe("disabled")
    expect(encode([...other, own("Done."), user("b")], {}, options).thinking?.type).toBe("enabled")
  })

  test("have a number of thinking tokens that fits into the limit", () => {
    const options = { thinking: { type: "enabled", budget_tokens: 4_000 } } as const
    const thinkingOf = (maxOutputTokens: number): unknown => encode([user("a")], { generation: { maxOutputTokens } }, options).thinking
    expect(thinkingOf(4_001)).toEqual({ type: "enabled", budget_tokens: 4_000 })
    expect(thinkingOf(4_000)).toEqual({ type: "enabled", budget_tokens: 3_999 })
    expect(thinkingOf(1_025)).toEqual({ type: "enabled", budget_tokens: 1_024 })
    // A judge's small answer.
    expect(thinkingOf(1_024)).toEqual({ type: "disabled" })
    const own = { maxOutputTokens: 10, providerOptions: { thinking: { type: "enabled", budget_tokens: 4_000 } } }
    expect(encode([user("a")], { generation: own }).thinking).toEqual({ type: "enabled", budget_tokens: 4_000 })
  })

  test.each([
    ["claude-3-haiku-20240307", 0],
    ["claude-3-7-sonnet-latest", 0],
    ["claude-sonnet-4-20250514", 0],
    ["claude-opus-4-1@20250805", 0],
    ["anthropic/claude-sonnet-4.5", 0],
    ["us.anthropic.claude-haiku-4-5-20251001-v1:0", 0],
    ["claude-opus-4-6", 0],
    ["glm-5", 0],
    ["claude-opus-4-7", undefined],
    ["claude-opus-4-8-20260801", undefined],
    ["claude-sonnet-5", undefined],
    ["claude-fable-5-1", undefined],
    ["claude-next", undefined],
  ])("of %s have the temperature %s", (model, temperature) => {
    const generation = { temperature: 0, topP: 0.5 }
    const body = encode([user("a")], { model, generation })
    expect(body.temperature).toBe(temperature)
    expect(body.top_p).toBeUndefined()
    expect(encode([user("a")], { model, generation }, { sampling: temperature === undefined }).temperature).toBe(
      temperature === undefined ? 0 : undefined,
    )
  })

  test.each([
    ["claude-opus-5", "minimal", undefined, "low"],
    ["claude-opus-4-5", "high", undefined, "high"],
    ["claude-opus-5", "none", { type: "disabled" }, undefined],
    ["claude-sonnet-5-5", "none", undefined, "low"],
    ["claude-fable-5", "none", undefined, "low"],
    ["claude-sonnet-4-5", "medium", { type: "enabled", budget_tokens: 8_192 }, undefined],
    ["claude-sonnet-4-5", "5000", { type: "enabled", budget_tokens: 5_000 }, undefined],
    ["claude-sonnet-4-5", "max", { type: "enabled", budget_tokens: 31_999 }, undefined],
    ["claude-haiku-4-5-20251001", "none", { type: "disabled" }, undefined],
    ["claude-haiku-4-5-20251001", "thinking-variant", undefined, undefined],
    ["claude-3-5-sonnet-20241022", "high", undefined, undefined],
    ["kimi-k3", "high", undefined, "high"],
  ])("of %s with the effort %s think so: %j, %s", (model, reasoningEffort, thinking, effort) => {
    const body = encode([user("a")], { model, generation: { reasoningEffort } })
    expect([body.thinking, body.output_config]).toEqual([thinking, effort === undefined ? undefined : { effort }])
  })

  test.each(["claude-sonnet-5-5", "claude-opus-5-5", "claude-fable-5-1"])("of %s force no call, because the model always thinks", (model) => {
    const rest = { tools: [LOOK], toolChoice: "required" } as const
    expect(encode([user("a")], { ...rest, model }).tool_choice).toEqual({ type: "auto" })
    expect(encode([user("a")], { ...rest, model: "claude-opus-5" }).tool_choice).toEqual({ type: "any" })
  })

  test("name the tools, and those of the history where there are none", () => {
    const union = {
      name: "fs.read",
      description: " ",
      inputSchema: { anyOf: [{ properties: { a: {} }, required: ["a"] }, { properties: { b: {} } }] },
    }
    const body = encode([user("a")], { tools: [LOOK, union], toolChoice: { toolName: "fs.read" }, parallelToolCalls: false })
    expect(body.tools).toEqual([
      { name: "look", description: "Looks", input_schema: { type: "object" } },
      { name: "fs_read", input_schema: { type: "object", properties: { a: {}, b: {} } } },
    ])
    expect(body.tool_choice).toEqual({ type: "tool", name: "fs_read", disable_parallel_tool_use: true })
    expect(encode([user("a"), own(call("t")), user(result("t"))])).toMatchObject({
      tools: [{ name: "look", input_schema: { type: "object" } }],
      tool_choice: { type: "none" },
    })
  })

  test("mark what is to be cached: tools, system, the last message, and at most four blocks", () => {
    const asked: Block = { type: "text", text: "x", cacheBreakpoint: true }
    const body = encode([system("s"), user(asked, asked), own("b"), user("c")], { cache: "auto", tools: [LOOK] }, { cacheTtl: "1h" })
    const mark = { cache_control: { type: "ephemeral", ttl: "1h" } }
    expect(body.tools).toMatchObject([mark])
    expect(body.system).toMatchObject([mark])
    expect(body.messages.at(-1)?.content).toMatchObject([mark])
    expect(JSON.stringify(body).match(/cache_control/g)).toHaveLength(4)
    expect(JSON.stringify(encode([user(asked)], { cache: "off" }))).not.toContain("cache_control")
  })

  test("mark the end of the request before, because the provider looks back over 20 blocks only", () => {
    const ids = Array.from({ length: 12 }, (_, index) => `t${index}`)
    const calls = own(...ids.map((id) => call(id)))
    const results = user(...ids.map((id) => result(id)))
    const marks = (...messages: Parameters<typeof encode>[0]): readonly (readonly number[])[] =>
      encode([system("s"), ...messages], { cache: "auto", tools: [LOOK] }).messages.map(({ content }) =>
        content.flatMap((block, index) => ("cache_control" in block ? [index] : [])),
      )
    expect(marks(user("a", "b"))).toEqual([[1]])
    expect(marks(user("a", "b"), calls, results)).toEqual([[1], [], [11]])
    expect(marks(user("a", "b"), calls, results, own("c"), user("d"))).toEqual([[], [], [11], [], [0]])
  })

  test("have the form of the answer and the host's own keys", () => {
    const schema = { type: "object", properties: {}, additionalProperties: false } as const
    const outputSpec = { type: "json_schema", name: "n", schema, strict: true } as const
    const body = encode(
      [user("a")],
      { outputSpec, generation: { providerOptions: { output_config: { effort: "low" }, service_tier: "auto" } } },
      { stream: true },
    )
    expect(body).toMatchObject({
      output_config: { effort: "low", format: { type: "json_schema", schema } },
      service_tier: "auto",
      stream: true,
    })
  })
})
