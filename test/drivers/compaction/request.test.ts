import { describe, expect, test } from "vitest"
import { summaryPrompt } from "../../../src/drivers/compaction/prompt.ts"
import { compactionRequest, shortenedRequest } from "../../../src/drivers/compaction/request.ts"
import type { Block, LlmMessage, LlmRequest } from "../../../src/schemas/llm.ts"
import type { Message, Part } from "../../../src/schemas/message.ts"
import { REQUEST } from "../../machine/support.ts"
import { LOOK } from "./support.ts"

const say = (role: LlmMessage["role"], text: string): LlmMessage => ({ role, blocks: [{ type: "text", text }] })
const ASKED = say("user", "Sum up.")

describe("the prompt", () => {
  test("asks for three words for four tokens, and at least for 100", () => {
    expect(summaryPrompt(2_000, undefined)).toContain("at most 1500 words")
    expect(summaryPrompt(60, undefined)).toContain("at most 100 words")
  })

  test("ends with the instructions", () => {
    expect(summaryPrompt(2_000, "Write Dutch.")).toMatch(/ words\.\n\nWrite Dutch\.\n<\/compaction>$/)
    expect(summaryPrompt(2_000, undefined)).toMatch(/ words\.\n<\/compaction>$/)
  })
})

describe("the request for a summary of the older part", () => {
  const request: LlmRequest = {
    ...REQUEST,
    messages: [
      say("system", "s"),
      say("user", "u"),
      say("assistant", "1"),
      say("user", "r"),
      say("assistant", "2"),
      say("assistant", "3"),
      say("user", "v"),
    ],
  }
  const answer = (...types: readonly string[]): Message => ({
    id: "a",
    role: "assistant",
    parts: types.map((type, index) => ({ id: `a.p${index}`, type, text: "" }) as Part),
  })
  const input: Message = { id: "u", role: "user", parts: [{ id: "u.p0", type: "text", text: "" }] }

  test.each<readonly [string, readonly Message[], number]>([
    ["no tail", [], 7],
    ["input that the model has not answered", [input], 7],
    ["the last answer, and the input after it", [answer("text"), input], 5],
    ["two answers with calls", [answer("reasoning", "tool_call"), input, answer("text", "tool_call")], 4],
    ["three answers with code", [answer("text", "code"), input, answer("code"), answer("code", "interrupted")], 2],
  ])("%s", (_what, tail, end) => {
    expect(compactionRequest(request, "Sum up.", tail)?.messages).toEqual([...request.messages.slice(0, end), ASKED])
  })

  test.each<readonly [string, readonly Message[]]>([
    ["has more answers than the request", [answer("text"), answer("text"), answer("text"), answer("text")]],
    ["has an answer of which the request may show nothing", [answer("text"), answer("reasoning", "opaque")]],
    ["has an answer without parts", [answer()]],
  ])("is not made where the tail %s", (_what, tail) => expect(compactionRequest(request, "Sum up.", tail)).toBeUndefined())
})

describe("a shortened request", () => {
  const text = (role: LlmMessage["role"], letter: string): LlmMessage => say(role, letter.repeat(4_000))
  const request: LlmRequest = {
    ...REQUEST,
    messages: [
      text("system", "s"),
      text("user", "u"),
      { role: "assistant", blocks: [{ type: "tool_call", callId: "c", toolName: "look", inputJson: JSON.stringify("c".repeat(4_000)) }] },
      { role: "user", blocks: [{ type: "tool_result", callId: "c", text: "r".repeat(4_000) }] },
      text("system", "n"),
      text("assistant", "a"),
    ],
  }
  /** What each message says when the request may have so many tokens: all of it, or the characters that a cut text keeps, 1,000 or 200. */
  const cut = (limit: number, changes: Partial<LlmRequest> = {}): readonly (string | number)[] =>
    shortenedRequest({ ...request, ...changes }, "I", limit).messages.map(({ blocks: [block] }) => {
      if (block === undefined || !("text" in block || "inputJson" in block)) throw new Error("No text.")
      const said = "inputJson" in block ? block.inputJson : (block.text ?? "")
      const shown = "inputJson" in block ? ((JSON.parse(said) as { readonly shortened?: string }).shortened ?? said) : said
      if (!shown.includes("chars omitted")) return "all"
      return shown.replace(/\n\n.*omitted.*\n\n/, "").length
    })

  test.each<readonly [number, readonly (string | number)[]]>([
    // Four messages of 1,004 tokens, the call with 1,006, its result with 1,005, and the instruction with 5.
    [6_032, ["all", "all", "all", "all", "all", "all", "all"]],
    // The call first. A text of 1,000 characters has about 270 tokens, so each cut saves about 740, and about 200 more with 200 characters.
    [6_031, ["all", "all", 1_000, "all", "all", "all", "all"]],
    [5_200, ["all", "all", 1_000, 1_000, "all", "all", "all"]],
    [4_450, ["all", "all", 200, 1_000, "all", "all", "all"]],
    [4_200, ["all", "all", 200, 200, "all", "all", "all"]],
    // Then texts, the oldest first, but for the system prompt.
    [4_000, ["all", 1_000, 200, 200, "all", "all", "all"]],
    [3_000, ["all", 1_000, 200, 200, 1_000, "all", "all"]],
    [2_000, ["all", 1_000, 200, 200, 1_000, 1_000, "all"]],
    [1_800, ["all", 200, 200, 200, 1_000, 1_000, "all"]],
    [0, ["all", 200, 200, 200, 200, 200, "all"]],
  ])("of at most %i tokens cuts what can be found again first", (limit, expected) => expect(cut(limit)).toEqual(expected))

  test("counts the tools, and no attachments: it has none", () => {
    const tools = [LOOK]
    const attachments = [{ id: "i", mediaType: "image/png", byteLength: 10 }]
    expect(cut(6_043, { tools, attachments })[2]).toBe("all")
    expect(cut(6_042, { tools, attachments })[2]).toBe(1_000)
    expect(shortenedRequest({ ...request, tools, attachments }, "I", 9_000)).toMatchObject({ tools, attachments: [] })
  })

  test("cuts no call that is short, and nothing of a request with system messages only", () => {
    const call: Block = { type: "tool_call", callId: "c", toolName: "look", inputJson: `{"at":"${"x".repeat(191)}"}` }
    const messages: readonly LlmMessage[] = [{ role: "assistant", blocks: [call] }]
    // 200 characters.
    expect(shortenedRequest({ ...request, messages }, "I", 0).messages).toEqual([...messages, say("user", "I")])
    const onlySystem = [text("system", "s"), text("system", "t")]
    expect(shortenedRequest({ ...request, messages: onlySystem }, "I", 0).messages).toEqual([...onlySystem, say("user", "I")])
  })

  test("shows what is bound to its place as a text", () => {
    const blocks: readonly Block[] = [
      { type: "reasoning", text: "Hm.", replay: { signature: "s" } },
      { type: "image", attachmentIndex: 0 },
      { type: "file", attachmentIndex: 1 },
      {
        type: "tool_result",
        callId: "c",
        text: "ok",
        content: [{ type: "attachment", attachment: { id: "i", mediaType: "image/png", byteLength: 10 } }],
      },
      { type: "opaque", provider: "p", kind: "search", data: [], text: "Found." },
    ]
    const messages: readonly LlmMessage[] = [
      { role: "assistant", blocks },
      { role: "assistant", blocks: [{ type: "reasoning", text: "Hm." }] },
    ]
    const opaque: Block = { type: "opaque", provider: "p", kind: "search", data: ["x".repeat(40)] }
    expect(
      shortenedRequest({ ...request, messages }, "I", 9_000)
        .messages.slice(0, 2)
        .map((message) => message.blocks),
    ).toEqual([
      [
        { type: "text", text: "[The image is left out here.]" },
        { type: "text", text: "[The file is left out here.]" },
        { type: "tool_result", callId: "c", text: "ok" },
        { type: "opaque", provider: "p", kind: "search", data: [], text: "Found." },
      ],
      [{ type: "text", text: "[Reasoning is left out here.]" }],
    ])
    // Where there is no room for what a provider ran, its text stays.
    const short = shortenedRequest({ ...request, messages: [{ role: "assistant", blocks: [opaque, blocks[4] as Block] }] }, "I", 0)
    expect(short.messages[0]?.blocks).toEqual([
      { type: "text", text: "[The search is left out here.]" },
      { type: "text", text: "Found." },
    ])
  })

  test("may be answered with text", () => {
    const demanding = { ...request, toolChoice: "required", outputSpec: { type: "json_object" } } as const
    const shortened = shortenedRequest(demanding, "I", 0)
    expect(shortened.toolChoice).toBe("auto")
    expect(shortened).not.toHaveProperty("outputSpec")
    expect(shortenedRequest({ ...request, toolChoice: "none" }, "I", 0).toolChoice).toBe("none")
  })
})
