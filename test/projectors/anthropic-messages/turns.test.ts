import { expect, test } from "vitest"
import * as z from "zod"
import { chatDriver } from "../../../src/drivers/chat.ts"
import { outputOf } from "../../../src/drivers/output.ts"
import { type Host, LlmCallError } from "../../../src/hosts/host.ts"
import { memoryJournalStore, runTurn } from "../../../src/hosts/index.ts"
import { runThread, Thread } from "../../../src/hosts/thread/thread.ts"
import { defineOutput } from "../../../src/hosts/tools/define-output.ts"
import { userMessage } from "../../../src/machine/user-message.ts"
import { anthropicMessagesWire } from "../../../src/projectors/anthropic-messages/index.ts"
import type { LlmResult } from "../../../src/projectors/wires/wire.ts"
import { TurnMachine } from "../../../src/validated-turn-machine.ts"
import { CONFIG, START } from "../../replay/support.ts"
import { StrictAnthropic } from "../../support/strict-anthropic.ts"

// Real turns and threads at an endpoint that refuses what the provider refuses: also reasoning after a changed beginning.

/** Calls the endpoint in memory. */
function hostOf(server: StrictAnthropic, stream: boolean): Host {
  const wire = anthropicMessagesWire({ thinking: { type: "adaptive" } })
  const call = (request: Parameters<typeof wire.encode>[0], emit: (event: never) => void): LlmResult => {
    const producer = { provider: "anthropic", api: wire.api, model: request.model }
    const reply = server.post(JSON.stringify(wire.encode(request, { stream, producer })))
    if (reply.status !== 200) return { ok: false, error: wire.failure(reply.status, JSON.stringify(reply.body)) }
    const options = { producer, toolNames: wire.toolNames(request) }
    if (reply.events === undefined) return wire.decode(reply.body, options)
    const reader = wire.stream(options)
    for (const event of reply.events) for (const shown of reader.push(event)) emit(shown as never)
    return reader.finish()
  }
  return {
    async llmCall({ request }, { emit }) {
      const result = call(request, emit as (event: never) => void)
      if (!result.ok) throw new LlmCallError(result.error, { partial: result.partial })
      return result.response
    },
    tools: { call: async () => ({ output: { status: "success", value: "counted" } }) as const, effects: () => "none" as const },
  }
}

const thinking = (text: string) => ({ type: "thinking", thinking: text }) as const
const count = (n: number) => ({ type: "tool_use", name: "count", input: { n } }) as const

test.each([[false], [true]])("a turn with parallel calls and signed reasoning over several iterations, streamed: %s", async (stream) => {
  const server = new StrictAnthropic((_body, number) => {
    if (number > 3) return { content: [thinking("Enough."), { type: "text", text: "Three." }] }
    const hidden = { type: "redacted_thinking", data: `cmVk${number}` } as const
    return { content: [thinking(`Step ${number}.\n `), hidden, { type: "text", text: "\n\n" }, count(number), thinking(""), count(number + 10)] }
  })
  const machine = new TurnMachine(CONFIG, START)
  const done = await runTurn(machine, hostOf(server, stream))
  expect(server.refusals).toEqual([])
  expect(done).toMatchObject({ type: "done", outcome: { type: "finished", finish: { text: "Three." } } })
  expect(server.requests).toHaveLength(4)
})

test.each([[false], [true]])("code that calls a tool goes on in its container, streamed: %s", async (stream) => {
  const server = new StrictAnthropic((_body, number) => {
    const code = { type: "server_tool_use", id: "srvtoolu_1", name: "code_execution", input: { code: "count(1)" } } as const
    const caller = { type: "code_execution_20260120", tool_id: "srvtoolu_1" }
    if (number === 1) return { container: "container_1", content: [thinking("I write code."), code, { ...count(1), caller }] }
    if (number === 2) return { container: "container_1", content: [{ ...count(2), caller }] }
    const ran = { type: "code_execution_tool_result", tool_use_id: "srvtoolu_1", content: { type: "code_execution_result", stdout: "2" } }
    return { content: [...(number === 3 ? [ran] : []), { type: "text", text: "Two." }] }
  })
  const machine = new TurnMachine(CONFIG, START)
  const done = await runTurn(machine, hostOf(server, stream))
  expect(server.refusals).toEqual([])
  expect(done).toMatchObject({ outcome: { type: "finished" } })
  expect(server.requests.map(({ container }) => container)).toEqual([undefined, "container_1", "container_1"])
  // Later turns get a new one: a container expires.
  const next = new TurnMachine(CONFIG, { messages: [...done.messages, { ...userMessage("And now?"), id: "u2" }] })
  await runTurn(next, hostOf(server, stream))
  expect(server.requests[3]).not.toHaveProperty("container")
})

test("a turn that ends with a value of a schema, whose bounds the provider refuses", async () => {
  const total = defineOutput({ name: "total", schema: z.object({ count: z.int().min(1), words: z.array(z.string().max(9)).nullable() }) })
  const server = new StrictAnthropic((_body, number) => ({
    content: number === 1 ? [count(1)] : [{ type: "text", text: number === 2 ? '{"count":0,"words":null}' : '{"count":3,"words":["a"]}' }],
  }))
  const machine = new TurnMachine({ ...CONFIG, model: "claude-opus-5", driver: chatDriver({ output: total }) }, START)
  const done = await runTurn(machine, hostOf(server, true))
  expect(server.refusals).toEqual([])
  expect(server.requests).toHaveLength(3)
  for (const request of server.requests) expect(request["output_config"]).toMatchObject({ format: { type: "json_schema" } })
  expect(outputOf(done, total)).toEqual({ count: 3, words: ["a"] })
})

test("a thread with a goal: each turn's request begins with what the turns before it sent", async () => {
  const server = new StrictAnthropic((body, number) => {
    const last = (body["messages"] as readonly { readonly content: readonly { readonly type: string }[] }[]).at(-1)
    const hasResults = last?.content.some(({ type }) => type === "tool_result") === true
    return hasResults
      ? { content: [thinking(`Now ${number}.`), { type: "text", text: `Counted ${number}.` }] }
      : { content: [thinking(`Call ${number}.`), count(number), count(-number)] }
  })
  let at = 1_700_000_000_000
  const now = (): number => (at += 1_000)
  const thread = await Thread.open(memoryJournalStore(), "t", { config: CONFIG, now, policy: { maxContinuations: 3 } })
  await thread.command({ type: "set", objective: "Count as far as you can." })
  await runThread(thread, hostOf(server, true), { now })
  await thread.close()
  expect(server.refusals).toEqual([])
  expect(server.requests.length).toBeGreaterThanOrEqual(6)
})

test("the endpoint refuses reasoning that was changed, moved or left out", () => {
  const server = new StrictAnthropic(() => ({ content: [thinking("a"), count(1)] }))
  const tools = [{ name: "count", input_schema: { type: "object" } }]
  const user = (text: string) => ({ role: "user", content: [{ type: "text", text }] })
  const post = (...messages: readonly object[]) => server.post(JSON.stringify({ model: "m", max_tokens: 1, tools, messages })).status
  expect(post(user("a"))).toBe(200)
  const use = { type: "tool_use", id: "toolu_1_1", name: "count", input: { n: 1 } }
  const results = { role: "user", content: [{ type: "tool_result", tool_use_id: "toolu_1_1" }] }
  const thought = { type: "thinking", thinking: "a", signature: "c2ln1/0==" }
  const after = (begin: string, ...content: readonly object[]) => post(user(begin), { role: "assistant", content }, results)
  expect(after("a", thought, use)).toBe(200)
  expect(after("a", use)).toBe(400)
  expect(after("b", thought, use)).toBe(400)
  expect(after("a", { ...thought, thinking: "b" }, use)).toBe(400)
  expect(after("a", { ...thought, signature: "c2ln" }, use)).toBe(400)
  expect(server.refusals).toHaveLength(4)
})
