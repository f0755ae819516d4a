import { expect, test } from "vitest"
import { codeDriver } from "../../src/drivers/index.ts"
import { isWellFormed } from "../projectors/openai-chat/body-rules.ts"
import {
  argumentsAreObjects,
  call,
  calls,
  callsIn,
  chatServer,
  chunk,
  END,
  finishedWith,
  type Reply,
  type Rule,
  says,
  turnWith,
  userSays,
  whole,
} from "./support.ts"

// Each server here refuses what a real one refuses. One odd answer or result must not make it refuse every later request.

const namesFit: Rule = (body) => {
  const names = [...callsIn(body), ...(body.tools ?? [])].map(({ function: { name } }) => name)
  return names.every((name) => /^[a-zA-Z0-9_-]{1,64}$/.test(name)) ? undefined : "Invalid function.name: string does not match pattern"
}

const textIsWellFormed: Rule = (_, raw) => {
  let wellFormed = true
  JSON.parse(raw, (key, value: unknown) => {
    wellFormed &&= isWellFormed(key) && (typeof value !== "string" || isWellFormed(value))
    return value
  })
  return wellFormed ? undefined : "The request body is not valid JSON: no low surrogate in string"
}

// https://github.com/router-for-me/CLIProxyAPI/issues/2001
test.each(['{"a":1 "b":2}', "{", "[1]", '"text"', "7", '{"a":'])("arguments %j stay in the history, but are never sent", async (text) => {
  const server = await chatServer([calls(call("save", text)), says("Done."), says("Again.")], argumentsAreObjects)
  const first = await turnWith(server, { tools: ["save"] })
  expect(first.outcome).toEqual(finishedWith("Done."))
  expect(first.ran).toEqual([])
  expect(first.messages.flatMap(({ parts }) => parts)).toContainEqual(expect.objectContaining({ type: "tool_call", inputJson: text }))
  const second = await turnWith(server, { tools: ["save"], messages: [...first.messages, userSays("Go on.", "u2")] })
  expect(second.outcome).toEqual(finishedWith("Again."))
  expect(server.refused).toEqual([])
})

// https://github.com/anomalyco/opencode/issues/48750
test.each(["browser.tabs.open", "functions/look", "look up", "größe", "x".repeat(80), "<tool>"])(
  "the unknown tool %j can be called",
  async (name) => {
    const server = await chatServer([calls(call(name)), says("Done.")], namesFit)
    const { outcome, ran, sent } = await turnWith(server, { tools: ["look"] })
    expect(outcome).toEqual(finishedWith("Done."))
    expect(ran).toEqual([])
    expect(sent.map(({ role }) => role)).toEqual(["system", "user", "assistant", "tool"])
    expect(server.refused).toEqual([])
  },
)

test("a tool with an odd name is sent under one that fits, and runs under its own", async () => {
  const server = await chatServer([calls(call("files_read", '{"path":"a"}')), says("Done.")], namesFit)
  const { outcome, ran } = await turnWith(server, { tools: ["files.read"] })
  expect(outcome).toEqual(finishedWith("Done."))
  expect(ran).toEqual([{ name: "files.read", args: { path: "a" } }])
  expect(server.refused).toEqual([])
})

// https://github.com/anomalyco/opencode/issues/14630
test.each([
  ["a result that ends in half an emoji", "line 7: \ud83d"],
  ["half an emoji in a key", { "\ude00": 1 }],
  ["half an emoji deep in a value", { lines: [["\ud83d\ud83d\ude00"]] }],
])("%s does not make the body malformed", async (_, value) => {
  const server = await chatServer([calls(call("head")), says("Done.")], textIsWellFormed)
  const { outcome } = await turnWith(server, { tools: ["head"], execute: () => value })
  expect(outcome).toEqual(finishedWith("Done."))
  expect(server.refused).toEqual([])
})

// https://github.com/Gitlawb/openclaude/issues/67
test("the signature of each call goes back with it, in the next turn, too", async () => {
  const signed = (name: string, signature: string) => ({ ...call(name), extra_content: { google: { thought_signature: signature } } })
  const signaturesOf = (body: Parameters<Rule>[0]) => callsIn(body).map((made) => made.extra_content)
  const server = await chatServer([calls(signed("look", "b25l"), signed("find", "dHdv")), says("Done."), says("Again.")], (body) =>
    signaturesOf(body).includes(undefined) ? "Function call is missing a thought_signature in functionCall parts." : undefined,
  )
  const first = await turnWith(server, { tools: ["look", "find"] })
  expect(first.outcome).toEqual(finishedWith("Done."))
  await turnWith(server, { tools: ["look", "find"], messages: [...first.messages, userSays("Go on.", "u2")] })
  expect(server.refused).toEqual([])
  const google = ["b25l", "dHdv"].map((signature) => ({ google: { thought_signature: signature } }))
  expect(server.bodies.map(signaturesOf)).toEqual([[], google, google])
})

test.each([
  ["another model", { config: { model: "another" } }],
  ["the same model at another provider", { client: { provider: "elsewhere" } }],
])("a signature does not go to %s", async (_, other) => {
  const signed = { ...call("look"), extra_content: { google: { thought_signature: "b25l" } } }
  const server = await chatServer([calls(signed), says("Done."), says("Again.")])
  const first = await turnWith(server, { tools: ["look"] })
  await turnWith(server, { tools: ["look"], messages: [...first.messages, userSays("Go on.", "u2")], ...other })
  expect(JSON.stringify(server.bodies[1])).toContain("b25l")
  expect(JSON.stringify(server.bodies[2])).not.toContain("b25l")
})

test("a server that wants reasoning back with every call gets it, an empty one where there was none", async () => {
  const server = await chatServer(
    [whole({ content: null, reasoning_content: "I look.", tool_calls: [call("look")] }, "tool_calls"), calls(call("find")), says("Done.")],
    ({ messages }) =>
      messages.some((message) => message.role === "assistant" && message.tool_calls !== undefined && message.reasoning_content === undefined)
        ? "The `reasoning_content` in the thinking mode must be passed back to the API."
        : undefined,
  )
  const { outcome, sent } = await turnWith(server, { tools: ["look", "find"], client: { wire: { reasoningField: "reasoning_content" } } })
  expect(outcome).toEqual(finishedWith("Done."))
  expect(server.refused).toEqual([])
  expect(sent.flatMap((message) => (message.role === "assistant" ? [message.reasoning_content] : []))).toEqual(["I look.", ""])
})

// https://github.com/NousResearch/hermes-agent/issues/70724
test("each of two calls with one id gets its own result", async () => {
  const server = await chatServer([calls(call("make", '{"file":"a"}', "same")), calls(call("make", '{"file":"b"}', "same")), says("Done.")])
  const { outcome, ran, sent } = await turnWith(server, { tools: ["make"] })
  expect(outcome).toEqual(finishedWith("Done."))
  expect(ran.map(({ args }) => args)).toEqual([{ file: "a" }, { file: "b" }])
  expect(sent.flatMap((message) => (message.role === "tool" ? [message.content] : []))).toEqual(['{"file":"a"}', '{"file":"b"}'])
})

// https://github.com/strands-agents/harness-sdk/issues/859
test("a history that ends in an open call goes on with a result in its place", async () => {
  const server = await chatServer([says("Yes.")])
  const { outcome, sent } = await turnWith(server, {
    tools: ["job"],
    messages: [
      userSays("Run it."),
      { id: "a1", role: "assistant", parts: [{ id: "a1.p0", type: "tool_call", callId: "k1", toolName: "job", inputJson: "{}" }] },
      userSays("Still there?", "u2"),
    ],
  })
  expect(outcome).toEqual(finishedWith("Yes."))
  expect(sent.map(({ role }) => role)).toEqual(["system", "user", "assistant", "tool", "user"])
  expect(sent[3]).toMatchObject({ tool_call_id: "k1", content: expect.stringContaining("No result") })
  expect(sent[4]).toEqual({ role: "user", content: "Still there?" })
})

// https://github.com/NousResearch/hermes-agent/issues/20154
test("bridgeUserAfterTool: the user may speak while a tool runs", async () => {
  const server = await chatServer([calls(call("look")), says("Done.")], ({ messages }) =>
    messages.some(({ role }, index) => role === "user" && messages[index - 1]?.role === "tool")
      ? "Unexpected role 'user' after role 'tool'"
      : undefined,
  )
  const { outcome, sent } = await turnWith(server, {
    tools: ["look"],
    client: { wire: { bridgeUserAfterTool: true, callIds: "mistral" } },
    host: { checkpoint: async ({ checkpoint }) => (checkpoint === "after_work" ? { userMessages: [userSays("And the cellar!", "u2")] } : undefined) },
  })
  expect(outcome).toEqual(finishedWith("Done."))
  expect(server.refused).toEqual([])
  expect(sent.at(-1)).toEqual({ role: "user", content: "And the cellar!" })
})

const systemOnlyFirst: Rule = ({ messages }) =>
  messages.some(({ role }, index) => role === "system" && index > 0) ? "System message must be at the beginning." : undefined

// https://github.com/vllm-project/vllm/issues/41114
test("systemOnlyFirst: the output that the code driver shows is sent as the user's", async () => {
  const server = await chatServer([says("```js\nprint(6*7)\n```"), says("```js\nprint(7*7)\n```"), says("42")], systemOnlyFirst)
  const { outcome, sent } = await turnWith(server, {
    config: { driver: codeDriver({ languages: ["js"] }) },
    client: { wire: { systemOnlyFirst: true } },
    host: { code: { run: async () => ({ observations: ["42"], toolCalls: [], images: [], printedImages: [], durationMs: 1 }) } },
  })
  expect(outcome).toEqual(finishedWith("42"))
  expect(server.refused).toEqual([])
  expect(sent.map(({ role }) => role)).toEqual(["system", "user", "assistant", "user", "assistant", "user"])
})

test("systemOnlyFirst: the note that the limit is reached is sent as the user's", async () => {
  const server = await chatServer([calls(call("look")), says("Done."), says("Still done.")], systemOnlyFirst)
  const options = { tools: ["look"], client: { wire: { systemOnlyFirst: true, bridgeUserAfterTool: true } } }
  const first = await turnWith(server, { ...options, config: { maxIterations: 1 } })
  expect(first.outcome).toEqual({ type: "stopped", stop: { type: "max_iterations" } })
  expect(first.messages.map(({ role }) => role)).toContain("system")
  const second = await turnWith(server, { ...options, messages: [...first.messages, userSays("Go on.", "u2")] })
  expect(second.outcome).toEqual(finishedWith("Done."))
  expect(server.refused).toEqual([])
  expect(second.sent.map(({ role }) => role)).toEqual(["system", "user", "assistant", "tool", "assistant", "user", "user"])
})

/** Anthropic refuses thinking whose signature is missing or belongs to another text, also through gateways. */
const thinkingIsSigned: Rule = (body) => {
  const messages = body.messages as readonly { thinking_blocks?: readonly { thinking: string; signature?: string }[] }[]
  const blocks = messages.flatMap((message) => message.thinking_blocks ?? [])
  return blocks.every(({ signature, thinking }) => signature === `signed:${thinking}`) ? undefined : "thinking.signature: Invalid signature"
}

const thinks = (thinking: string, signature = "") =>
  chunk({ reasoning_content: thinking, thinking_blocks: [{ type: "thinking", thinking, signature }] })
const signs = (thinking: string) => chunk({ thinking_blocks: [{ type: "thinking", thinking, signature: `signed:${thinking}` }] })

test.each<[string, Reply, readonly object[]]>([
  ["cut off at the limit while it thinks", { events: [thinks("Weigh "), thinks("this"), chunk({}, "length"), END] }, []],
  ["cut off by a lost connection while it thinks", { events: [thinks("Weigh "), thinks("this")] }, []],
  [
    "cut off in its second thought",
    { events: [thinks("Weigh"), signs("Weigh"), chunk({ content: "So" }), thinks("But"), chunk({}, "content_filter"), END] },
    [{ type: "thinking", thinking: "Weigh", signature: "signed:Weigh" }],
  ],
  [
    "complete, with the whole text in the signed block",
    { events: [thinks("Weigh "), thinks("this"), signs("Weigh this"), chunk({ content: "So." }, "stop"), END] },
    [{ type: "thinking", thinking: "Weigh this", signature: "signed:Weigh this" }],
  ],
])("an answer that was %s does not make the next requests of its thread fail", async (_what, reply, blocks) => {
  const server = await chatServer([reply, says("Later."), says("Last.")], thinkingIsSigned)
  const first = await turnWith(server, { client: { maxRetries: 0 } })
  const second = await turnWith(server, { messages: [...first.messages, userSays("And now?", "u2")] })
  const third = await turnWith(server, { messages: [...second.messages, userSays("And then?", "u3")] })
  expect(server.refused).toEqual([])
  expect(third.outcome).toEqual(finishedWith("Last."))
  const sent = third.sent as readonly { thinking_blocks?: readonly object[] }[]
  expect(sent.flatMap((message) => message.thinking_blocks ?? [])).toEqual(blocks)
})
