/** Goals and threads over HTTP, at endpoints that refuse what their providers refuse: also reasoning and signatures that were changed. */
import { describe, expect, onTestFinished, test } from "vitest"
import * as z from "zod"
import { chatDriver } from "../../../src/drivers/chat.ts"
import type { Host } from "../../../src/hosts/host.ts"
import { memoryJournalStore } from "../../../src/hosts/journal/memory.ts"
import { anthropic } from "../../../src/hosts/models/anthropic.ts"
import { gemini } from "../../../src/hosts/models/gemini.ts"
import { openAiCompatible } from "../../../src/hosts/models/openai-compatible.ts"
import { openAiResponses } from "../../../src/hosts/models/openai-responses.ts"
import { runThread, Thread } from "../../../src/hosts/thread/thread.ts"
import { defineTool } from "../../../src/hosts/tools/define-tool.ts"
import { toolbox } from "../../../src/hosts/tools/toolbox.ts"
import { chatProjector } from "../../../src/projectors/chat.ts"
import { StrictAnthropic, serveStrictAnthropic } from "../../support/strict-anthropic.ts"
import { StrictGemini, serveStrictGemini } from "../../support/strict-gemini.ts"
import { StrictResponses } from "../../support/strict-responses.ts"
import { startStrictServer } from "../../support/strict-server.ts"

/** What the model at an endpoint does: looks at two places at once, or says something. It reasons before both. */
type Behaviour = (number: number) => "look" | "say"

interface Endpoint {
  readonly client: (stream: boolean) => Pick<Host, "llmCall">
  /** Why requests were refused. */
  readonly refusals: () => readonly unknown[]
  /** How many requests were accepted. */
  readonly accepted: () => number
}

const PLACES = ["north", "south"] as const
const sayOf = (number: number): string => `Answer ${number}.`

const ENDPOINTS: Readonly<Record<string, (behave: Behaviour) => Promise<Endpoint>>> = {
  async openAiCompatible(behave) {
    const server = await startStrictServer(
      (_body, number) =>
        behave(number) === "say"
          ? { text: sayOf(number), reasoning: `Enough ${number}.` }
          : {
              text: "I look.",
              reasoning: `Both ${number}.`,
              calls: PLACES.map((at, index) => ({ name: "look", args: { at }, id: `call_${number}_${index}` })),
            },
      { rules: ["user_before_calls"] },
    )
    onTestFinished(() => server.close())
    return {
      client: (stream) => openAiCompatible({ baseUrl: server.url, stream }),
      refusals: () => server.requests.flatMap(({ refusal }) => refusal ?? []),
      accepted: () => server.requests.length,
    }
  },
  async openAiResponses(behave) {
    const endpoint = new StrictResponses((_body, number) =>
      behave(number) === "say"
        ? { reasoning: `Enough ${number}.`, text: sayOf(number) }
        : { reasoning: `Both ${number}.`, text: "I look.", phase: "commentary", calls: PLACES.map((at) => ({ name: "look", args: { at } })) },
    )
    const { url, server } = await endpoint.listen()
    onTestFinished(() => {
      server.closeAllConnections()
      server.close()
    })
    return {
      client: (stream) => openAiResponses({ baseUrl: url, stream }),
      refusals: () => endpoint.refusals,
      accepted: () => endpoint.requests.length,
    }
  },
  async anthropic(behave) {
    const endpoint = new StrictAnthropic((_body, number) =>
      behave(number) === "say"
        ? {
            content: [
              { type: "thinking", thinking: `Enough ${number}.` },
              { type: "redacted_thinking", data: `cmVk${number}` },
              { type: "text", text: sayOf(number) },
            ],
          }
        : {
            content: [
              { type: "thinking", thinking: `Both ${number}.` },
              { type: "text", text: "I look." },
              ...PLACES.map((at) => ({ type: "tool_use", name: "look", input: { at } }) as const),
            ],
          },
    )
    const { url, close } = await serveStrictAnthropic(endpoint)
    onTestFinished(close)
    return {
      client: (stream) => anthropic({ baseUrl: url, stream, wire: { thinking: { type: "adaptive" } } }),
      refusals: () => endpoint.refusals,
      accepted: () => endpoint.requests.length,
    }
  },
  async gemini(behave) {
    const endpoint = new StrictGemini((_body, number) =>
      behave(number) === "say"
        ? { thought: `Enough ${number}.`, text: sayOf(number) }
        : { thought: `Both ${number}.`, text: "I look.", calls: PLACES.map((at) => ({ name: "look", args: { at } })), repeatsCalls: true },
    )
    const { url, close } = await serveStrictGemini(endpoint)
    onTestFinished(close)
    return {
      client: (stream) => gemini({ baseUrl: url, stream, model: "gemini-3-pro" }),
      refusals: () => endpoint.requests.flatMap(({ refusal }) => refusal ?? []),
      accepted: () => endpoint.requests.length,
    }
  },
}

const tools = toolbox([
  defineTool({ name: "look", description: "Looks.", input: z.object({ at: z.string() }), execute: ({ at }) => ({ seen: `A shop in the ${at}.` }) }),
])

/** Pursues a goal for four turns. After each, the thread is closed and opened again, as after a restart. */
async function pursue(client: Pick<Host, "llmCall">): Promise<void> {
  const config = { driver: chatDriver(), projector: chatProjector, model: "m", systemPrompt: "You look around.", tools: tools.specs }
  const store = memoryJournalStore()
  let at = 1_700_000_000_000
  const now = (): number => (at += 1_000)
  for (let turn = 0; turn < 4; turn += 1) {
    const thread = await Thread.open(store, "t", { config, now })
    if (turn === 0) await thread.command({ type: "set", objective: "See every shop." })
    const stopping = new AbortController()
    await runThread(thread, { ...client, tools }, { now, signal: stopping.signal, between: () => void (thread.turns > turn && stopping.abort()) })
    expect(thread.turns).toBe(turn + 1)
    await thread.close()
  }
}

/** Looks twice in each turn, and then says what it saw. */
const inTurns: Behaviour = (number) => (number % 3 === 0 ? "say" : "look")

describe.each(Object.entries(ENDPOINTS))("%s", (_name, start) => {
  test.each([true, false])("a goal of several turns, with restarts, is never refused; streamed: %s", async (stream) => {
    const endpoint = await start(inTurns)
    await pursue(endpoint.client(stream))
    expect(endpoint.refusals()).toEqual([])
    expect(endpoint.accepted()).toBe(12)
  })
})

test("a goal whose calls go to one provider after the other is never refused by any", async () => {
  let calls = 0
  // The providers take turns, also in the middle of a tool loop.
  const endpoints = await Promise.all(Object.values(ENDPOINTS).map((start) => start(() => inTurns(calls))))
  const clients = endpoints.map(({ client }) => client(true))
  await pursue({
    llmCall(effect, context) {
      calls += 1
      return (clients[(calls - 1) % clients.length] as Pick<Host, "llmCall">).llmCall(effect, context)
    },
  })
  expect(calls).toBe(12)
  expect(endpoints.map(({ refusals }) => refusals())).toEqual([[], [], [], []])
  expect(endpoints.map(({ accepted }) => accepted())).toEqual([3, 3, 3, 3])
})
