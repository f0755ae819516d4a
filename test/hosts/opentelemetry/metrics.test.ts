import { metrics } from "@opentelemetry/api"
import { AggregationTemporality, InMemoryMetricExporter, MeterProvider, PeriodicExportingMetricReader } from "@opentelemetry/sdk-metrics"
import { afterEach, describe, expect, onTestFinished, test, vi } from "vitest"
import { chatDriver } from "../../../src/drivers/chat.ts"
import { changeGoal, goalChanges } from "../../../src/drivers/goal/index.ts"
import { wrapDriver } from "../../../src/drivers/wrap-driver.ts"
import { type Host, LlmCallError } from "../../../src/hosts/host.ts"
import { openTelemetry } from "../../../src/hosts/opentelemetry/index.ts"
import { chatProjector } from "../../../src/projectors/chat.ts"
import { wrapProjector } from "../../../src/projectors/wrap-projector.ts"
import type { LlmResponse } from "../../../src/schemas/llm.ts"
import { TurnMachine } from "../../../src/validated-turn-machine.ts"
import { START } from "../../replay/support.ts"
import { answer, answers, CONFIG, USAGE, type Watched, watch } from "./support.ts"

afterEach(() => vi.restoreAllMocks())

const MODEL = { "gen_ai.provider.name": "openai", "gen_ai.request.model": "m" }
const CHAT = { "gen_ai.operation.name": "chat", ...MODEL }
const AGENT = { "gen_ai.agent.name": "counter" }
const USED = { ...CHAT, "gen_ai.token.modality": "unknown" }

/** A turn of two model calls of 1.5 s and a tool of 0.25 s. */
async function countedTurn({ telemetry }: Watched): Promise<void> {
  let ms = 0
  vi.spyOn(performance, "now").mockImplementation(() => ms)
  const asked = answers(answer("count#a"), answer("One."))
  await telemetry.runTurn(new TurnMachine(CONFIG, START), {
    async llmCall() {
      ms += 1_500
      return asked()
    },
    tools: {
      async call() {
        ms += 250
        return { output: { status: "success", value: 1 } }
      },
      effects: () => "idempotent",
    },
  })
}

describe("metrics of turns", () => {
  test("record the seconds of each call and of the turn apart, with provider and model", async () => {
    const watched = watch({ agentName: "counter" })
    await countedTurn(watched)
    const { metric } = watched
    expect(await metric("gen_ai.client.inference.duration")).toEqual([{ attributes: CHAT, value: { count: 2, sum: 3 } }])
    const tool = { "gen_ai.tool.name": "count", "gen_ai.tool.type": "function" }
    expect(await metric("gen_ai.execute_tool.duration")).toEqual([{ attributes: { ...MODEL, ...AGENT, ...tool }, value: { count: 1, sum: 0.25 } }])
    const turn = { ...MODEL, ...AGENT }
    expect(await metric("gen_ai.invoke_agent.duration")).toEqual([{ attributes: turn, value: { count: 1, sum: 3.25 } }])
    expect(await metric("gen_ai.invoke_agent.inference_calls")).toEqual([{ attributes: turn, value: { count: 1, sum: 2 } }])
    expect(await metric("gen_ai.invoke_agent.tool_calls")).toEqual([{ attributes: turn, value: { count: 1, sum: 1 } }])
    expect(await metric("gen_ai.client.operation.duration")).toEqual([])
    expect(await metric("gen_ai.client.token.usage")).toEqual([])
  })

  test("count tokens by kind, and show how they are distributed over calls", async () => {
    const { telemetry, metric } = watch()
    const usage = { ...USAGE, cacheWriteTokens: 20 }
    const retriedUsage = { inputTokens: 9, cachedInputTokens: 1, outputTokens: 2, reasoningTokens: 0 }
    const producer = { provider: "p", api: "a", model: "m-2026" }
    await telemetry.runTurn(new TurnMachine(CONFIG, START), { llmCall: answers({ ...answer("One."), usage, retriedUsage, producer }) })
    const by = (name: string) => metric(`gen_ai.client.inference.${name}`)
    const tags = { ...USED, "gen_ai.response.model": "m-2026" }
    // 30 + 70 of the answer, and 9 + 1 of a failed attempt
    expect(await by("usage.input_tokens")).toEqual([{ attributes: tags, value: 110 }])
    expect(await by("usage.output_tokens")).toEqual([{ attributes: tags, value: 14 }])
    expect(await by("usage.cache_read.input_tokens")).toEqual([{ attributes: tags, value: 71 }])
    expect(await by("usage.cache_write.input_tokens")).toEqual([{ attributes: tags, value: 20 }])
    expect(await by("usage.reasoning.output_tokens")).toEqual([{ attributes: tags, value: 5 }])
    const call = { ...CHAT, "gen_ai.response.model": "m-2026" }
    expect(await by("operation.input_tokens")).toEqual([{ attributes: call, value: { count: 1, sum: 100 } }])
    expect(await by("operation.output_tokens")).toEqual([{ attributes: call, value: { count: 1, sum: 12 } }])
  })

  test("count a call without usage as 0", async () => {
    const { telemetry, metric } = watch()
    await telemetry.runTurn(new TurnMachine(CONFIG, START), { llmCall: () => Promise.reject(new Error("Down.")) })
    expect(await metric("gen_ai.client.inference.usage.input_tokens")).toEqual([{ attributes: USED, value: 0 }])
    const failed = { ...CHAT, "error.type": "executor_threw" }
    expect(await metric("gen_ai.client.inference.operation.output_tokens")).toEqual([{ attributes: failed, value: { count: 1, sum: 0 } }])
  })

  test("have the older names with `semconv`, alone or beside the current ones", async () => {
    const older = watch({ semconv: "1.41", agentName: "counter" })
    await countedTurn(older)
    const tokens = [
      { attributes: { ...CHAT, "gen_ai.token.type": "input" }, value: { count: 2, sum: 200 } },
      { attributes: { ...CHAT, "gen_ai.token.type": "output" }, value: { count: 2, sum: 24 } },
    ]
    const tool = { "gen_ai.tool.name": "count", "gen_ai.tool.type": "function" }
    const durations = [
      { attributes: CHAT, value: { count: 2, sum: 3 } },
      { attributes: { "gen_ai.operation.name": "execute_tool", ...MODEL, ...AGENT, ...tool }, value: { count: 1, sum: 0.25 } },
      { attributes: { "gen_ai.operation.name": "invoke_agent", ...MODEL, ...AGENT }, value: { count: 1, sum: 3.25 } },
    ]
    expect(await older.metric("gen_ai.client.token.usage")).toEqual(tokens)
    expect(await older.metric("gen_ai.client.operation.duration")).toEqual(durations)
    for (const name of ["client.inference.duration", "client.inference.usage.input_tokens", "invoke_agent.duration", "execute_tool.duration"])
      expect(await older.metric(`gen_ai.${name}`)).toEqual([])

    const both = watch({ semconv: "both", agentName: "counter" })
    await countedTurn(both)
    expect(await both.metric("gen_ai.client.token.usage")).toEqual(tokens)
    expect(await both.metric("gen_ai.client.operation.duration")).toEqual(durations)
    expect(await both.metric("gen_ai.client.inference.duration")).toEqual([durations[0]])
    expect(await both.metric("gen_ai.client.inference.usage.output_tokens")).toEqual([{ attributes: USED, value: 24 }])
  })

  test("refuse a version that is not known", () => {
    expect(() => openTelemetry({ provider: "openai", semconv: "1.37" as never })).toThrow(
      new TypeError('openTelemetry takes semconv: genai-0.1, 1.41, both; not "1.37".'),
    )
    expect(() => openTelemetry({ provider: "openai", semconv: "toString" as never })).toThrow(TypeError)
  })

  test("add up what calls cost where prices are known, with failed attempts and failed calls", async () => {
    const prices = (model: string) => (model === "m" ? { input: 2, cachedInput: 0.5, output: 10 } : undefined)
    const { telemetry, metric, spans } = watch({ prices })
    const used = { inputTokens: 100, cachedInputTokens: 40, outputTokens: 10, reasoningTokens: 0 }
    const asked = answers({ ...answer("One."), usage: used, retriedUsage: { ...used, outputTokens: 0 } })
    await telemetry.runTurn(new TurnMachine(CONFIG, START), { llmCall: async () => asked() })
    // 100 × 2 + 40 × 0.5 + 10 × 10, and once more without the output, in millionths
    expect(await metric("turn_machine.cost.usd")).toEqual([{ attributes: CHAT, value: 0.00054 }])
    expect(spans().find(({ name }) => name === "chat m")?.attributes["turn_machine.cost.usd"]).toBe(0.00054)
    const failure = { message: "Down.", retryable: false, terminalReason: "provider_error", usage: used } as const
    await telemetry.runTurn(new TurnMachine(CONFIG, START), { llmCall: () => Promise.reject(new LlmCallError(failure)) })
    expect(await metric("turn_machine.cost.usd")).toEqual([{ attributes: CHAT, value: expect.closeTo(0.00086, 10) }])
    const other = { ...answer("One."), usage: used, producer: { provider: "p", api: "a", model: "unknown" } }
    await telemetry.runTurn(new TurnMachine(CONFIG, START), { llmCall: async () => other })
    expect(await metric("turn_machine.cost.usd")).toEqual([{ attributes: CHAT, value: expect.closeTo(0.00086, 10) }])
  })

  test("count the usage and the cost of an answer that was cut off, at the prices of the model that gave it", async () => {
    const prices = (model: string) => (model === "served" ? { input: 2, cachedInput: 0.5, output: 10 } : undefined)
    const { telemetry, metric } = watch({ prices })
    const failure = { message: "Cut off.", retryable: true, code: "stream_truncated", terminalReason: "provider_error" } as const
    const usage = { inputTokens: 100, cachedInputTokens: 0, outputTokens: 10, reasoningTokens: 0 }
    const producer = { provider: "p", api: "a", model: "served" }
    const partial = { ...answer("On"), usage, producer, retriedUsage: { ...usage, outputTokens: 0 } }
    await telemetry.runTurn(new TurnMachine(CONFIG, START), { llmCall: () => Promise.reject(new LlmCallError(failure, { partial })) })
    // 100 × 2 + 10 × 10, and once more without the output, in millionths
    const served = { "gen_ai.response.model": "served" }
    expect(await metric("turn_machine.cost.usd")).toEqual([{ attributes: { ...CHAT, ...served }, value: 0.0005 }])
    expect(await metric("gen_ai.client.inference.usage.input_tokens")).toEqual([{ attributes: { ...USED, ...served }, value: 200 }])
    expect(await metric("gen_ai.client.inference.usage.output_tokens")).toEqual([{ attributes: { ...USED, ...served }, value: 10 }])
  })

  test("distinguish failures, and count the usage of a failed call", async () => {
    const { telemetry, metric } = watch()
    const failure = { message: "Down.", retryable: false, code: "overloaded", terminalReason: "provider_error", usage: USAGE } as const
    await telemetry.runTurn(new TurnMachine(CONFIG, START), { llmCall: () => Promise.reject(new LlmCallError(failure)) })
    const failed = { "error.type": "overloaded" }
    expect(await metric("gen_ai.client.inference.duration")).toMatchObject([{ attributes: { ...CHAT, ...failed } }])
    expect(await metric("gen_ai.invoke_agent.duration")).toMatchObject([{ attributes: { ...MODEL, ...failed } }])
    expect(await metric("gen_ai.client.inference.usage.input_tokens")).toEqual([{ attributes: USED, value: 100 }])
    expect(await metric("gen_ai.client.inference.operation.input_tokens")).toEqual([
      { attributes: { ...CHAT, ...failed }, value: { count: 1, sum: 100 } },
    ])
  })

  test("give codes that are no codes one series", async () => {
    const { telemetry, metric } = watch()
    const codes = ["Your prompt 'secret' was refused", "x".repeat(101), "rate_limit_exceeded"]
    for (const code of codes) {
      const failure = { message: "Down.", retryable: false, code, kind: "rate_limit", terminalReason: "provider_error" } as const
      await telemetry.runTurn(new TurnMachine(CONFIG, START), { llmCall: () => Promise.reject(new LlmCallError(failure)) })
    }
    const types = (await metric("gen_ai.client.inference.duration")).map(({ attributes, value }) => [attributes["error.type"], value])
    expect(types).toMatchObject([
      ["rate_limit", { count: 2 }],
      ["rate_limit_exceeded", { count: 1 }],
    ])
  })

  test("leave out the duration of cancelled work", async () => {
    const { telemetry, metric } = watch()
    const controller = new AbortController()
    const llmCall = (): Promise<never> => {
      controller.abort()
      return new Promise(() => {})
    }
    await telemetry.runTurn(new TurnMachine(CONFIG, START), { llmCall }, { signal: controller.signal })
    for (const name of ["gen_ai.client.inference.duration", "gen_ai.invoke_agent.duration", "gen_ai.client.inference.usage.input_tokens"])
      expect(await metric(name)).toEqual([])
    expect(await metric("gen_ai.invoke_agent.inference_calls")).toEqual([{ attributes: MODEL, value: { count: 1, sum: 1 } }])
  })

  test("count requests that do not begin with the request before, with the reason, and mark the call's span", async () => {
    const { telemetry, metric, spans } = watch()
    const added = { name: "new", description: "New.", inputSchema: {} }
    // The tools differ in the second request, and the system prompt in the third.
    const projector = wrapProjector(chatProjector, {
      request: ({ tools, messages: [, ...rest] }, { iteration }) => {
        if (iteration === 0) return {}
        const more = { tools: [...tools, added] }
        return iteration === 1 ? more : { ...more, messages: [{ role: "system", blocks: [{ type: "text", text: "You add." }] }, ...rest] }
      },
    })
    const driver = wrapDriver(chatDriver(), {
      prepareIteration(next, context) {
        const actions = next(context)
        const event = { type: "surface_change", contextReset: true }
        return context.iteration === 1 ? [{ type: "append_events", events: [{ type: "protocol", event }] }, ...actions] : actions
      },
    })
    const host = (...given: readonly LlmResponse[]): Host => ({
      llmCall: answers(...given),
      tools: { call: async () => ({ output: { status: "success", value: 1 } }), effects: () => "idempotent" },
    })
    const calls = [answer("count#a"), answer("count#b"), answer("Two.")]
    await telemetry.runTurn(new TurnMachine({ ...CONFIG, projector, driver }, START), host(...calls))
    const [tools, system] = [
      { "turn_machine.prefix.reason": "tools", "turn_machine.prefix.marked": true },
      { "turn_machine.prefix.reason": "system", "turn_machine.prefix.marked": false },
    ]
    expect(await metric("turn_machine.prefix.breaks")).toEqual([
      { attributes: { ...CHAT, ...tools }, value: 1 },
      { attributes: { ...CHAT, ...system }, value: 1 },
    ])
    const chats = spans().filter(({ name }) => name === "chat m")
    expect(chats.map(({ attributes }) => attributes["turn_machine.prefix.at"])).toEqual([
      undefined,
      `/tools/${CONFIG.tools.length}`,
      "/messages/0/blocks/0/text",
    ])
    expect(chats[1]?.attributes).toMatchObject(tools)

    // Another turn is compared with itself alone.
    await telemetry.runTurn(new TurnMachine(CONFIG, START), host(...calls))
    expect((await metric("turn_machine.prefix.breaks")).map(({ value }) => value)).toEqual([1, 1])
  })

  test("have the boundaries of the conventions", async () => {
    const exporter = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE)
    const reader = new PeriodicExportingMetricReader({ exporter, exportIntervalMillis: 3_600_000 })
    const provider = new MeterProvider({ readers: [reader] })
    const telemetry = openTelemetry({ provider: "openai", meter: provider.getMeter("test") })
    await telemetry.runTurn(new TurnMachine(CONFIG, START), {
      llmCall: async (_effect, { received }) => {
        received?.()
        received?.()
        return answer("One.")
      },
    })
    await telemetry
      .traced({ llmCall: answers(), tools: { call: async () => ({ output: { status: "success", value: 1 } }), effects: () => "none" } })
      .tools?.call(
        { callId: "a", toolName: "count", args: {} },
        { effectId: 1, idempotencyKey: undefined, signal: new AbortController().signal, emit() {} },
      )
    await reader.forceFlush()
    const found = exporter.getMetrics().flatMap(({ scopeMetrics }) => scopeMetrics.flatMap((scope) => scope.metrics))
    const boundaries = found.map(({ descriptor, dataPoints }) => {
      const [point] = dataPoints.map(({ value }) => value as { readonly buckets?: { readonly boundaries: readonly number[] } })
      return [descriptor.name, descriptor.unit, point?.buckets?.boundaries]
    })
    const seconds = [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92]
    const tokens = [1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864]
    const calls = [1, 2, 4, 8, 16, 32, 64, 128]
    expect(boundaries.filter(([, , numbers]) => numbers !== undefined)).toEqual([
      ["gen_ai.client.inference.time_per_output_chunk", "s", seconds],
      ["gen_ai.client.inference.duration", "s", seconds],
      ["gen_ai.client.inference.time_to_first_chunk", "s", seconds],
      ["gen_ai.client.inference.operation.input_tokens", "{token}", tokens],
      ["gen_ai.client.inference.operation.output_tokens", "{token}", tokens],
      ["gen_ai.invoke_agent.duration", "s", [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 51.2, 102.4, 204.8, 409.6]],
      ["gen_ai.invoke_agent.inference_calls", "{inference_call}", calls],
      ["gen_ai.invoke_agent.tool_calls", "{tool_call}", calls],
      ["gen_ai.execute_tool.duration", "s", seconds],
    ])
    await provider.shutdown()
  })
})

describe("metrics of goals", () => {
  test("are counters and histograms with the tags of the goal machine, the provider and the agent", async () => {
    const { telemetry, metric } = watch({ agentName: "counter" })
    const tags = { status: "complete" }
    const common = { "gen_ai.provider.name": "openai", ...AGENT }
    const ended = { ...common, "turn_machine.goal.status": "complete" }
    telemetry.recordGoal([
      { type: "goal_cleared", threadId: "t" },
      { type: "metric", name: "goal.created", value: 1, tags: {} },
      { type: "metric", name: "goal.created", value: 1, tags: {} },
      { type: "metric", name: "goal.completed", value: 1, tags: {} },
      { type: "metric", name: "goal.token_count", value: 400, tags },
      { type: "metric", name: "goal.token_count", value: 100, tags },
      { type: "metric", name: "goal.duration_s", value: 61, tags },
    ])
    expect(await metric("turn_machine.goal.created")).toEqual([{ attributes: common, value: 2 }])
    expect(await metric("turn_machine.goal.completed")).toEqual([{ attributes: common, value: 1 }])
    expect(await metric("turn_machine.goal.tokens")).toEqual([{ attributes: ended, value: { count: 2, sum: 500 } }])
    expect(await metric("turn_machine.goal.duration")).toEqual([{ attributes: ended, value: { count: 1, sum: 61 } }])
    expect(await metric("turn_machine.goal.blocked")).toEqual([])
  })

  test("are also computed from added history records", async () => {
    const { telemetry, metric } = watch()
    const created = changeGoal({ threadId: "t", history: [] }, { type: "command", at: 0, command: { type: "set", objective: "Count." } })
    telemetry.recordGoal(goalChanges(created.records, "t", null))
    expect(await metric("turn_machine.goal.created")).toEqual([{ attributes: { "gen_ai.provider.name": "openai" }, value: 1 }])
  })
})

test("a global meter that is set up later is found", async () => {
  const telemetry = openTelemetry({ provider: "openai" })
  const exporter = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE)
  const reader = new PeriodicExportingMetricReader({ exporter, exportIntervalMillis: 3_600_000 })
  const provider = new MeterProvider({ readers: [reader] })
  onTestFinished(async () => {
    metrics.disable()
    await provider.shutdown()
  })
  metrics.setGlobalMeterProvider(provider)
  telemetry.recordGoal([{ type: "metric", name: "goal.resumed", value: 1, tags: {} }])
  await reader.forceFlush()
  const [scope] = exporter.getMetrics().flatMap(({ scopeMetrics }) => scopeMetrics)
  expect(scope?.scope.name).toBe("turn-machine")
  expect(scope?.metrics.map(({ descriptor }) => descriptor.name)).toEqual(["turn_machine.goal.resumed"])
})
