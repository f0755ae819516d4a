import { describe, expect, test } from "vitest"
import type { Block, LlmMessage } from "../../../src/wire/llm.ts"
import { answered, decode, fixture, input, OTHER, own, PRODUCER, response, user } from "./support.ts"

const reasoning: Block = { type: "reasoning", text: "Hm", replay: { itemId: "rs_1", encryptedContent: "secret", summary: ["Hm"] } }
const said: Block = { type: "text", text: "Yes", responseMeta: { id: "msg_1", status: "completed", phase: "final_answer" } }
const call: Block = { type: "tool_call", callId: "call_1", toolName: "look", inputJson: "{}", replay: { itemId: "fc_1" } }
const sentReasoning = { type: "reasoning", id: "rs_1", summary: [{ type: "summary_text", text: "Hm" }], encrypted_content: "secret" }
const sentMessage = {
  type: "message",
  id: "msg_1",
  role: "assistant",
  status: "completed",
  phase: "final_answer",
  content: [{ type: "output_text", text: "Yes", annotations: [] }],
}
const sentCall = { type: "function_call", id: "fc_1", call_id: "call_1", name: "look", arguments: "{}" }
const result = { type: "function_call_output", call_id: "call_1", output: "[No result: the call was interrupted before it ended.]" }
const by = (producer: LlmMessage["producer"], ...blocks: readonly Block[]): LlmMessage =>
  producer === undefined ? { role: "assistant", blocks } : { role: "assistant", blocks, producer }

test("the items of an answer go back to the model that wrote it, as they were and in order", () => {
  expect(input([own(reasoning, said, call)])).toEqual([sentReasoning, sentMessage, sentCall, result])
})

test.each(["parallel-tools", "web-search", "refusal"])("the fixture %s goes back as it came", (name) => {
  const { output } = fixture(name) as { output: readonly { content?: readonly object[] }[] }
  const { parts } = response(decode(fixture(name)))
  const sent = input([by(PRODUCER, ...parts)]).filter((item) => (item as { type?: string }).type !== "function_call_output")
  // Calls have no status in a request, and texts no probabilities.
  const plain = (items: readonly object[]) =>
    items.map((item) => {
      const { status: _status, content, ...rest } = item as { status?: string; content?: readonly object[] }
      return { ...rest, ...(content && { content: content.map((part) => ({ ...part, logprobs: undefined })) }) }
    })
  expect(plain(sent)).toEqual(plain(output))
})

test("another model gets texts and calls only", () => {
  const opaque: Block = { type: "opaque", provider: "anthropic", kind: "server_tool_use", data: { type: "server_tool_use" }, text: "[Searched]" }
  const silent: Block = { type: "opaque", provider: "anthropic", kind: "compaction", data: { type: "compaction" } }
  expect(input([by(OTHER, reasoning, said, opaque, silent, call)])).toEqual([
    { role: "assistant", content: "Yes" },
    { role: "assistant", content: "[Searched]" },
    { type: "function_call", call_id: "call_1", name: "look", arguments: "{}" },
    result,
  ])
  expect(input([by({ ...PRODUCER, model: "gpt-4.1" }, reasoning, said)])).toEqual([{ role: "assistant", content: "Yes" }])
  expect(input([by(PRODUCER, reasoning, said)], { producer: { provider: "azure" } })).toEqual([{ role: "assistant", content: "Yes" }])
})

test("another model gets neither reasoning before a call nor the keys of a call", () => {
  const more: Block = { ...call, providerMetadata: { namespace: "crm" } } as Block
  expect(input([by(OTHER, reasoning, more)])).toEqual([{ type: "function_call", call_id: "call_1", name: "look", arguments: "{}" }, result])
})

test("without a producer, what has the provider's marks goes back", () => {
  expect(input([by(undefined, reasoning, said, call)])).toEqual([sentReasoning, sentMessage, sentCall, result])
  const foreign: Block = { ...call, replay: { itemId: "toolu_1" } } as Block
  expect(input([by(undefined, foreign)])[0]).not.toHaveProperty("id")
  const search = { type: "web_search_call", id: "ws_1" }
  const opaque = (provider: string): Block => ({ type: "opaque", provider, kind: "web_search_call", data: search, text: "[Searched]" })
  expect(input([by(undefined, opaque("openai"))])).toEqual([search])
  expect(input([by(undefined, opaque("anthropic"))])).toEqual([{ role: "assistant", content: "[Searched]" }])
})

describe("reasoning that the endpoint would refuse", () => {
  test("as the last item, or before a note about the cut, is left out", () => {
    expect(input([own(said, reasoning)])).toEqual([sentMessage])
    expect(input([own(reasoning, { type: "text", text: "[cut off]" })])).toEqual([{ role: "assistant", content: "[cut off]" }])
    expect(input([own(reasoning)])).toEqual([])
  })

  test("without its encrypted content is left out, and what followed it goes without ids", () => {
    const bare: Block = { type: "reasoning", text: "Hm", replay: { itemId: "rs_1", summary: ["Hm"] } }
    expect(input([own(bare, said, call)])).toEqual([
      { role: "assistant", content: "Yes", phase: "final_answer" },
      { type: "function_call", call_id: "call_1", name: "look", arguments: "{}" },
      result,
    ])
  })

  test("because of a note after it takes the ids of all items after it", () => {
    expect(input([own(reasoning, { type: "text", text: "[note]" }, call)])).toEqual([
      { role: "assistant", content: "[note]" },
      { type: "function_call", call_id: "call_1", name: "look", arguments: "{}" },
      result,
    ])
  })

  test("takes the items of the provider's own tools with it: they become text, but for a compaction", () => {
    const bare: Block = { type: "reasoning", text: "", replay: { itemId: "rs_1" } }
    const search = { type: "web_search_call", id: "ws_1", status: "completed" }
    const compaction = { type: "compaction", id: "cmp_1", encrypted_content: "x" }
    const opaque = (data: { readonly type: string; readonly id: string }, text?: string): Block => ({
      type: "opaque",
      provider: "openai",
      kind: data.type,
      data,
      ...(text !== undefined && { text }),
    })
    expect(input([own(bare, opaque(search, "[Searched]"), opaque(compaction), said)])).toEqual([
      { role: "assistant", content: "[Searched]" },
      compaction,
      { role: "assistant", content: "Yes", phase: "final_answer" },
    ])
  })

  test("keeps its content under an id that is too long, which is left out", () => {
    const long: Block = { type: "reasoning", text: "", replay: { itemId: "x".repeat(65), encryptedContent: "secret" } }
    expect(input([own(long, said)])).toEqual([{ type: "reasoning", summary: [], encrypted_content: "secret" }, sentMessage])
  })

  test("comes once: a second item with its id is left out", () => {
    expect(input([own(reasoning, said), user("Again"), own(reasoning, said)]).slice(3)).toEqual([
      { role: "assistant", content: "Yes", phase: "final_answer" },
    ])
  })

  test("is left out where the endpoint has no encrypted reasoning", () => {
    expect(input([own(reasoning, said)], { reasoning: "off" })).toEqual([{ role: "assistant", content: "Yes", phase: "final_answer" }])
  })
})

test("plain reasoning goes back to servers that run open models", () => {
  const item = { type: "reasoning", id: "rs_1", summary: [], content: [{ type: "reasoning_text", text: "One" }] }
  const message = {
    type: "message",
    id: "msg_1",
    role: "assistant",
    status: "completed",
    content: [{ type: "output_text", text: "Yes", annotations: [] }],
  }
  const { parts } = response(answered(item, message))
  expect(input([own(...parts)], { reasoning: "plain" })).toEqual([item, message])
  expect(input([own(...parts)])).toEqual([{ role: "assistant", content: "Yes" }])
})

test("several texts of a message are one message again, also a refusal among them", () => {
  const message = {
    type: "message",
    id: "msg_1",
    role: "assistant",
    status: "completed",
    content: [
      { type: "output_text", text: "One", annotations: [{ type: "file_path", file_id: "f", index: 0 }] },
      { type: "output_text", text: "Two", annotations: [] },
      { type: "refusal", refusal: "No" },
    ],
  }
  expect(input([own(...response(answered(message)).parts)])).toEqual([message])
})

describe("items of the provider's own tools", () => {
  const opaque = (data: { readonly type: string; readonly [key: string]: string | object | null }): Block => ({
    type: "opaque",
    provider: "openai",
    kind: data.type,
    data: data as never,
    text: `[${data.type}]`,
  })

  test("that the provider ran go back raw, without the key that only answers have", () => {
    const compaction = { type: "compaction", id: "cmp_1", encrypted_content: "x" }
    const shell = { type: "shell_call", id: "sh_1", call_id: "c", action: { commands: ["ls"] } }
    const output = { type: "shell_call_output", id: "sho_1", call_id: "c", output: [] }
    expect(input([own(opaque({ ...compaction, created_by: "me" }), opaque(shell), opaque(output))])).toEqual([compaction, shell, output])
  })

  test("that wait for an output are text, and so is an output without its call", () => {
    const waiting = [
      { type: "shell_call", id: "sh_1", call_id: "c" },
      { type: "custom_tool_call", id: "ct_1", call_id: "d", name: "x", input: "y" },
      { type: "mcp_approval_request", id: "ap_1" },
      { type: "computer_call_output", call_id: "e" },
    ]
    expect(input([own(...waiting.map(opaque))])).toEqual(waiting.map(({ type }) => ({ role: "assistant", content: `[${type}]` })))
  })

  test("with an id that was sent before are text", () => {
    const item = { type: "web_search_call", id: "ws_1" }
    expect(input([own(opaque(item)), own(opaque(item))])).toEqual([item, { role: "assistant", content: "[web_search_call]" }])
  })
})

test("keys of a call go back with it, and do not override it", () => {
  const more: Block = { ...call, providerMetadata: { namespace: "crm", name: "other", type: "x", unknown: 1 } } as Block
  expect(input([own(more)])[0]).toEqual({ ...sentCall, namespace: "crm" })
})
