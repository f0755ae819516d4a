import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { afterEach, describe, expect, onTestFinished, test, vi } from "vitest"
import type { EffectContext, Host } from "../../../src/hosts/host.ts"
import { fallback } from "../../../src/hosts/models/fallback.ts"
import { openAiCompatible } from "../../../src/hosts/models/openai-compatible.ts"
import { TurnMachine } from "../../../src/validated-turn-machine.ts"
import { START } from "../../replay/support.ts"
import { answer, CONFIG, watch } from "./support.ts"

afterEach(() => vi.restoreAllMocks())

const CHAT = { "gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": "m" }

/** A clock that tests move, for the telemetry. */
function clock(): { at: number } {
  const time = { at: 0 }
  vi.spyOn(performance, "now").mockImplementation(() => time.at)
  return time
}

async function run(llmCall: Host["llmCall"]) {
  const watched = watch()
  await watched.telemetry.runTurn(new TurnMachine(CONFIG, START), { llmCall })
  return watched
}

const firstChunk = "gen_ai.client.inference.time_to_first_chunk"
const chunk = "gen_ai.client.inference.time_per_output_chunk"

describe("a streamed answer", () => {
  test("has the time to its first piece, and the times between its pieces", async () => {
    const time = clock()
    const { metric, span } = await run(async (_effect, { sent, received }) => {
      time.at = 100
      sent?.({ stream: true, address: "api.example.com", port: 443 })
      for (const at of [600, 700, 950]) {
        time.at = at
        received?.()
      }
      return answer("One.")
    })
    const server = { "server.address": "api.example.com", "server.port": 443 }
    expect(span("chat m").attributes).toMatchObject({ ...server, "gen_ai.request.stream": true, "gen_ai.response.time_to_first_chunk": 0.5 })
    expect(await metric(firstChunk)).toEqual([{ attributes: { ...CHAT, ...server }, value: { count: 1, sum: 0.5 } }])
    expect(await metric(chunk)).toEqual([{ attributes: { ...CHAT, ...server }, value: { count: 2, sum: 0.35 } }])
    expect(await metric("gen_ai.client.inference.duration")).toMatchObject([{ attributes: { ...CHAT, ...server } }])
  })

  test("that is asked for again after a lost attempt is measured from the last request", async () => {
    const time = clock()
    const { metric } = await run(async (_effect, { sent, received }) => {
      sent?.({ stream: true })
      time.at = 50
      received?.()
      time.at = 1_000
      sent?.({ stream: true })
      time.at = 1_200
      received?.()
      return answer("One.")
    })
    expect(await metric(firstChunk)).toMatchObject([{ value: { count: 1, sum: 0.2 } }])
    expect(await metric(chunk)).toEqual([])
  })

  test("of a client that says nothing is known by what it emits", async () => {
    const time = clock()
    const { metric, span } = await run(async (_effect, { emit }) => {
      time.at = 300
      emit({ type: "reasoning_delta", content: "Hm." })
      time.at = 400
      emit({ type: "text_delta", content: "One." })
      return answer("One.")
    })
    expect(span("chat m").attributes).toMatchObject({ "gen_ai.request.stream": true, "gen_ai.response.time_to_first_chunk": 0.3 })
    expect(await metric(chunk)).toMatchObject([{ value: { count: 1, sum: 0.1 } }])
  })

  test("that is cut off keeps what was measured", async () => {
    clock()
    const { telemetry, span } = watch()
    const controller = new AbortController()
    const llmCall = (_: unknown, { sent, received }: EffectContext): Promise<never> => {
      sent?.({ stream: true })
      received?.()
      controller.abort()
      return new Promise(() => {})
    }
    await telemetry.runTurn(new TurnMachine(CONFIG, START), { llmCall }, { signal: controller.signal, cancelGraceMs: 0 })
    expect(span("chat m").attributes).toMatchObject({ "gen_ai.request.stream": true, "turn_machine.cancelled": true })
  })
})

test("an answer that comes as a whole is not streamed, even where its client emits it", async () => {
  const { metric, span } = await run(async (_effect, { sent, emit }) => {
    sent?.({ stream: false })
    emit({ type: "text_delta", content: "One." })
    return answer("One.")
  })
  expect(Object.keys(span("chat m").attributes).filter((name) => /stream|chunk/.test(name))).toEqual([])
  expect(await metric(firstChunk)).toEqual([])
})

/** An endpoint that calls a tool, and so sends no text; then it answers. */
async function endpoint(): Promise<string> {
  let asked = 0
  const server = createServer((_request, response) => {
    asked += 1
    response.setHeader("content-type", "text/event-stream")
    const call = { index: 0, id: "a", type: "function", function: { name: "count", arguments: "{}" } }
    const choices =
      asked === 1
        ? [{ delta: { tool_calls: [call] } }, { delta: {}, finish_reason: "tool_calls" }]
        : [{ delta: { content: "One." }, finish_reason: "stop" }]
    for (const choice of choices)
      response.write(`data: ${JSON.stringify({ id: `r${asked}`, model: "m-2026", choices: [{ index: 0, ...choice }] })}\n\n`)
    const usage = { prompt_tokens: 10, completion_tokens: 4, prompt_tokens_details: { cached_tokens: 6 } }
    response.end(`data: ${JSON.stringify({ id: `r${asked}`, model: "m-2026", choices: [], usage })}\n\ndata: [DONE]\n\n`)
  })
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  onTestFinished(() => void server.close())
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`
}

test("clients over HTTP say what they send and receive, also where an answer has no text, and through wrappers", async () => {
  const baseUrl = await endpoint()
  const { telemetry, spans, metric } = watch()
  await telemetry.runTurn(new TurnMachine(CONFIG, START), {
    ...fallback([openAiCompatible({ baseUrl, model: "m" })]),
    tools: { call: async () => ({ output: { status: "success", value: 1 } }), effects: () => "none" },
  })
  const [first, second] = spans().filter(({ name }) => name === "chat m")
  for (const [index, span] of [first, second].entries()) {
    expect(span?.attributes).toMatchObject({
      "gen_ai.request.stream": true,
      "gen_ai.response.time_to_first_chunk": expect.any(Number),
      "gen_ai.response.id": `r${index + 1}`,
      "gen_ai.response.model": "m-2026",
      "gen_ai.usage.cache_read.input_tokens": 6,
      "server.address": "127.0.0.1",
      "server.port": Number(new URL(baseUrl).port),
    })
  }
  expect(await metric(firstChunk)).toMatchObject([{ value: { count: 2 } }])
})
