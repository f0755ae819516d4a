import { mkdtempSync, readdirSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { LLMock } from "@copilotkit/aimock"
import { afterAll, afterEach, beforeAll, describe, expect, onTestFinished, test } from "vitest"
import * as z from "zod"
import { chatDriver } from "../../../src/drivers/chat.ts"
import type { Host } from "../../../src/hosts/host.ts"
import { anthropic } from "../../../src/hosts/models/anthropic.ts"
import { gemini } from "../../../src/hosts/models/gemini.ts"
import type { HttpOptions } from "../../../src/hosts/models/http-model.ts"
import { openAiCompatible } from "../../../src/hosts/models/openai-compatible.ts"
import { openAiResponses } from "../../../src/hosts/models/openai-responses.ts"
import { runTurn } from "../../../src/hosts/run/run-turn.ts"
import { defineTool } from "../../../src/hosts/tools/define-tool.ts"
import { toolbox } from "../../../src/hosts/tools/toolbox.ts"
import { userMessage } from "../../../src/machine/user-message.ts"
import { chatProjector } from "../../../src/projectors/chat.ts"
import { TurnMachine } from "../../../src/validated-turn-machine.ts"
import type { TurnEvent } from "../../../src/wire/event.ts"

// A server that others wrote after the providers' references.

const mock = new LLMock({ port: 0, host: "127.0.0.1", logLevel: "silent", chunkSize: 4 })

beforeAll(() => mock.start())
afterAll(() => mock.stop())
afterEach(() => {
  mock.reset()
})

interface Client {
  readonly name: string
  readonly model: string
  readonly make: (url: string, options?: HttpOptions) => Pick<Host, "llmCall">
}

const KEY = { apiKey: "key-0123456789", random: () => 0 }

const CLIENTS: readonly Client[] = [
  { name: "openAiCompatible", model: "gpt-4.1", make: (url, more) => openAiCompatible({ baseUrl: `${url}/v1`, ...KEY, ...more }) },
  { name: "openAiResponses", model: "gpt-5", make: (url, more) => openAiResponses({ baseUrl: `${url}/v1`, ...KEY, ...more }) },
  { name: "anthropic", model: "claude-sonnet-4-5", make: (url, more) => anthropic({ baseUrl: url, ...KEY, ...more }) },
  { name: "gemini", model: "gemini-2.5-pro", make: (url, more) => gemini({ baseUrl: `${url}/v1beta`, ...KEY, ...more }) },
]

/** Runs a turn with two tools. */
async function run({ make, model }: Client, options: HttpOptions = {}, url = mock.url) {
  const asked: unknown[] = []
  const events: TurnEvent[] = []
  const tool = (name: string) =>
    defineTool({
      name,
      description: `Returns the ${name} of a city.`,
      input: z.object({ city: z.string() }),
      execute: ({ city }) => {
        asked.push([name, city])
        return `${name} of ${city}: 4`
      },
    })
  const config = { driver: chatDriver(), projector: chatProjector, model, systemPrompt: "You know cities.", tools: [] }
  const tools = toolbox([tool("weather"), tool("time")])
  const machine = new TurnMachine({ ...config, tools: tools.specs }, { messages: [userMessage("How is Oslo?", { id: "u" })] })
  const waits: number[] = []
  const sleep = async (ms: number): Promise<void> => void waits.push(ms)
  const done = await runTurn(machine, { ...make(url, { sleep, ...options }), tools }, { onEvent: (event) => void events.push(event) })
  const shown = events.flatMap((event) => (event.type === "text_delta" ? [event.content] : [])).join("")
  return { asked, done, events, shown, waits }
}

describe.each(CLIENTS)("$name", (client) => {
  test.each([true, false])("runs a tool loop with parallel calls; streamed: %s", async (stream) => {
    mock.on({ userMessage: "Oslo", hasToolResult: false }, {
      content: "I look.",
      toolCalls: [
        { name: "weather", arguments: { city: "Oslo" } },
        { name: "time", arguments: { city: "Oslo" } },
      ],
    } as never)
    mock.on({ userMessage: "Oslo", hasToolResult: true }, { content: "It is 4 degrees." })
    const { asked, done, shown } = await run(client, { stream })
    expect(done.outcome).toMatchObject({ type: "finished", finish: { text: "It is 4 degrees." } })
    expect(asked).toEqual([
      ["weather", "Oslo"],
      ["time", "Oslo"],
    ])
    expect(done.messages.map(({ role }) => role)).toEqual(["user", "assistant", "user", "assistant"])
    if (stream) expect(shown).toBe("I look.It is 4 degrees.")
  })

  test("waits as long as a limit says", async () => {
    mock.on({ userMessage: "Oslo" }, { content: "Fine." })
    mock.nextRequestError(429, { message: "Rate limit reached.", type: "rate_limit_error" })
    const { done, events, waits } = await run(client)
    expect(done.outcome).toMatchObject({ type: "finished", finish: { text: "Fine." } })
    expect(events.find(({ type }) => type === "retry_status")).toMatchObject({ attempt: 1, envelope: { failureKind: "rate_limit" } })
    expect(waits).toHaveLength(1)
  })

  test("asks an overloaded provider again", async () => {
    mock.on({ userMessage: "Oslo" }, { content: "Fine." })
    mock.nextRequestError(529, { message: "Overloaded", type: "overloaded_error" })
    const { done, events, waits } = await run(client)
    expect(done.outcome).toMatchObject({ type: "finished", finish: { text: "Fine." } })
    expect(events.find(({ type }) => type === "retry_status")).toMatchObject({ envelope: { failureKind: "overloaded" } })
    expect(waits).toEqual([500])
  })

  test("stores what was said of a stream that breaks, and does not ask again", async () => {
    mock.on({ userMessage: "Oslo" }, { content: "It is cold and grey and wet today in Oslo." }, { truncateAfterChunks: 8, latency: 20 })
    const { done, shown, waits } = await run(client)
    expect(done.outcome).toMatchObject({ type: "stopped", stop: { type: "provider_error", error: { code: "stream_truncated" } } })
    expect(shown).not.toBe("")
    expect("It is cold and grey and wet today in Oslo.".startsWith(shown)).toBe(true)
    const parts = done.messages.at(-1)?.parts ?? []
    expect(parts.flatMap((part) => (part.type === "text" ? [part.text] : []))).toEqual([shown])
    expect(parts.at(-1)).toMatchObject({ type: "interrupted", reason: "provider_error" })
    expect(waits).toEqual([])
  })

  test("is recorded by the server, and replayed without the provider", async () => {
    const folder = mkdtempSync(join(tmpdir(), "turn-machine-aimock-"))
    onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
    mock.on({ userMessage: "Oslo", hasToolResult: false }, { toolCalls: [{ name: "weather", arguments: { city: "Oslo" } }] })
    mock.on({ userMessage: "Oslo", hasToolResult: true }, { content: "It is 4 degrees." })
    const providers = { openai: mock.url, anthropic: mock.url, gemini: mock.url }
    const recorder = new LLMock({ port: 0, host: "127.0.0.1", logLevel: "silent", record: { providers, fixturePath: folder } })
    await recorder.start()
    const recorded = await run(client, {}, recorder.url).finally(() => recorder.stop())
    expect(recorded.done.outcome).toMatchObject({ type: "finished", finish: { text: "It is 4 degrees." } })
    mock.reset()
    const replayer = new LLMock({ port: 0, host: "127.0.0.1", logLevel: "silent", strict: true })
    for (const file of readdirSync(folder, { recursive: true, encoding: "utf8" }))
      if (file.endsWith(".json")) replayer.loadFixtureFile(join(folder, file))
    await replayer.start()
    const replayed = await run(client, {}, replayer.url).finally(() => replayer.stop())
    expect(replayed.done.outcome).toEqual(recorded.done.outcome)
    expect(replayed.asked).toEqual(recorded.asked)
    expect(mock.getRequests()).toEqual([])
  })
})
