import * as fc from "fast-check"
import { describe, expect, test } from "vitest"
import type { OpenAiMessage } from "../../../src/projectors/openai-chat/index.ts"
import type { Block, LlmMessage, LlmRequest } from "../../../src/wire/llm.ts"
import { check, SLOW } from "../../properties/check.ts"
import { type ChatRequestOptions, chatRequest } from "../../support/openai-chat.ts"
import { brokenRules } from "./body-rules.ts"

const base: LlmRequest = { model: "m", messages: [], attachments: [], tools: [], toolChoice: "none", generation: {} }

/** The rules of servers about the order of roles: what each of them refuses. */
const SERVERS = {
  /** "Unexpected role 'user' after role 'tool'". */
  mistral: (messages: readonly OpenAiMessage[]) => messages.every(({ role }, index) => role !== "user" || messages[index - 1]?.role !== "tool"),
  /** "System message must be at the beginning." */
  qwen: (messages: readonly OpenAiMessage[]) => messages.every(({ role }, index) => index === 0 || (role !== "system" && role !== "developer")),
  /**
   * "Conversation roles must alternate user/assistant/user/assistant/…": as vLLM's template counts them, without tool messages and
   * messages with calls, and with results counted as the user's.
   */
  gemma: (messages: readonly OpenAiMessage[]) => {
    const counted = messages.filter((message) => message.role !== "tool" && (message.role !== "assistant" || message.tool_calls === undefined))
    const turns = messages
      .map(({ role }) => (role === "tool" ? "user" : role))
      .filter((role, index) => role !== "user" || messages[index]?.role !== "tool" || messages[index - 1]?.role !== "tool")
    return [counted.map(({ role }) => role), turns].every((roles) => roles.every((role, index) => role === (index % 2 === 0 ? "user" : "assistant")))
  },
} as const

/** One thing that happens in a conversation. The numbers of calls say how many are made and how many are answered. */
type Step =
  | { readonly type: "user" | "system" | "answer" | "image" }
  | {
      readonly type: "calls"
      readonly made: number
      readonly answered: number
      readonly between: readonly ("user" | "system")[]
      readonly text: boolean
    }

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 3, arbitrary: fc.record({ type: fc.constantFrom("user" as const, "system" as const, "answer" as const, "image" as const) }) },
  {
    weight: 2,
    arbitrary: fc.record({
      type: fc.constant("calls" as const),
      made: fc.integer({ min: 1, max: 3 }),
      answered: fc.integer({ min: 0, max: 3 }),
      between: fc.array(fc.constantFrom("user" as const, "system" as const), { maxLength: 2 }),
      text: fc.boolean(),
    }),
  },
)

/** A transcript in which each text, name and argument has a word of its own. */
function transcriptOf(steps: readonly Step[]): { readonly messages: readonly LlmMessage[]; readonly words: readonly string[] } {
  const words: string[] = []
  const word = (): string => {
    words.push(`<word${words.length}>`)
    return words.at(-1) as string
  }
  const says = (role: LlmMessage["role"]): LlmMessage => ({ role, blocks: [{ type: "text", text: word() }] })
  const messages: LlmMessage[] = [says("system")]
  for (const [number, made] of steps.entries()) {
    if (made.type === "calls") {
      const text = made.text ? says("assistant").blocks : []
      const calls = Array.from(
        { length: made.made },
        (_, index): Extract<Block, { type: "tool_call" }> => ({
          type: "tool_call",
          callId: `c${number}_${index}`,
          toolName: "look",
          inputJson: JSON.stringify({ at: word() }),
        }),
      )
      messages.push({ role: "assistant", blocks: [...text, ...calls] })
      for (const role of made.between) messages.push(says(role))
      const results = calls.slice(0, made.answered).map(({ callId }): Block => ({ type: "tool_result", callId, text: word() }))
      if (results.length > 0) messages.push({ role: "user", blocks: results })
    } else if (made.type === "image") {
      messages.push({
        role: "user",
        blocks: [
          { type: "text", text: word() },
          { type: "image", attachmentIndex: 0 },
        ],
      })
    } else messages.push(says(made.type === "answer" ? "assistant" : made.type))
  }
  return { messages, words }
}

const attachments = [{ id: "a", mediaType: "image/png", byteLength: 1 }]
const attachmentUrl = (): string => "https://files.example/a.png"

function sent(messages: readonly LlmMessage[], options: ChatRequestOptions) {
  return chatRequest({ ...base, attachments, messages }, { attachmentUrl, ...options })
}

const COMBINATIONS: readonly ChatRequestOptions[] = [0, 1, 2, 3, 4, 5, 6, 7].map((bits) => ({
  ...((bits & 1) > 0 && { bridgeUserAfterTool: true }),
  ...((bits & 2) > 0 && { systemOnlyFirst: true }),
  ...((bits & 4) > 0 && { alternate: true }),
}))

describe.each(COMBINATIONS)("with the role options %o", (options) => {
  test("the servers that need them accept every body", SLOW, () => {
    check(
      500,
      fc.property(fc.array(step, { maxLength: 12 }), (steps) => {
        const { messages } = transcriptOf(steps)
        const body = sent(messages, options)
        expect(brokenRules(body)).toEqual([])
        if (options.bridgeUserAfterTool || options.alternate) expect(SERVERS.mistral(body.messages)).toBe(true)
        if (options.systemOnlyFirst || options.alternate) expect(SERVERS.qwen(body.messages)).toBe(true)
        if (options.alternate) expect(SERVERS.gemma(body.messages)).toBe(true)
      }),
    )
  })

  test("everything that was said is sent, once and in its order", SLOW, () => {
    check(
      500,
      fc.property(fc.array(step, { maxLength: 12 }), (steps) => {
        const { messages, words } = transcriptOf(steps)
        const body = JSON.stringify(sent(messages, options).messages)
        const found = [...body.matchAll(/<word\d+>/g)].map(([word]) => word)
        expect([...found].sort()).toEqual([...words].sort())
        // Messages that arrived while tools ran follow the results; all others stay where they were.
        const moved = steps.some((made) => made.type === "calls" && made.between.length > 0)
        if (!moved) expect(found).toEqual(words)
      }),
    )
  })

  test("what was sent before an answer stays the beginning of every later request", SLOW, () => {
    check(
      500,
      fc.property(fc.array(step, { maxLength: 12 }), (steps) => {
        const { messages } = transcriptOf(steps)
        const whole = sent(messages, options).messages
        for (const [index, { role }] of messages.entries()) {
          // A request is made where an answer follows. Two answers in a row are not two requests.
          if (role !== "assistant" || messages[index - 1]?.role === "assistant") continue
          const before = sent(messages.slice(0, index), options).messages
          if (before.at(-1)?.role === "assistant") continue
          expect(whole.slice(0, before.length)).toEqual(before)
        }
      }),
    )
  })
})

test("without role options the order of roles is that of the request", () => {
  const { messages } = transcriptOf([{ type: "system" }, { type: "user" }, { type: "user" }])
  expect(sent(messages, {}).messages.map(({ role }) => role)).toEqual(["system", "system", "user", "user"])
})

test("a user's message after a result is bridged, also a system note that became the user's", () => {
  const { messages } = transcriptOf([{ type: "user" }, { type: "calls", made: 1, answered: 1, between: [], text: false }, { type: "system" }])
  const roles = (options: ChatRequestOptions) => sent(messages, options).messages.map(({ role }) => role)
  expect(roles({ bridgeUserAfterTool: true })).toEqual(["system", "user", "assistant", "tool", "system"])
  expect(roles({ systemOnlyFirst: true })).toEqual(["system", "user", "assistant", "tool", "user"])
  expect(roles({ systemOnlyFirst: true, bridgeUserAfterTool: true })).toEqual(["system", "user", "assistant", "tool", "assistant", "user"])
  expect(roles({ alternate: true })).toEqual(["user", "assistant", "tool", "assistant", "user"])
})

test("with strict alternation the system prompt begins the first user message, and neighbours become one message", () => {
  const messages: LlmMessage[] = [
    { role: "system", blocks: [{ type: "text", text: "Be brief." }] },
    { role: "user", blocks: [{ type: "text", text: "Hi." }] },
    { role: "assistant", blocks: [{ type: "text", text: "One." }] },
    {
      role: "assistant",
      blocks: [
        { type: "reasoning", text: "Hm." },
        { type: "tool_call", callId: "a", toolName: "look", inputJson: "{}" },
      ],
    },
    { role: "user", blocks: [{ type: "tool_result", callId: "a", text: "seen" }] },
  ]
  const { messages: ordered } = sent(messages, { alternate: true, reasoningField: "reasoning_content" })
  expect(ordered).toEqual([
    { role: "user", content: "Be brief.\n\nHi." },
    {
      role: "assistant",
      content: "One.",
      reasoning_content: "Hm.",
      tool_calls: [{ id: "a", type: "function", function: { name: "look", arguments: "{}" } }],
    },
    { role: "tool", tool_call_id: "a", content: "seen" },
  ])
})

test("with strict alternation a conversation that begins with an answer gets a user message before it", () => {
  const { messages } = sent([{ role: "assistant", blocks: [{ type: "text", text: "Hello!" }] }], { alternate: true })
  expect(messages).toEqual([
    { role: "user", content: "[The conversation begins with an answer.]" },
    { role: "assistant", content: "Hello!" },
  ])
})
