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
import { answer, answers, CONFIG, USAGE, watch } from "./support.ts"

afterEach(() => vi.restoreAllMocks())

const CHAT = { "gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": "m" }

describe("metrics of turns", () => {
  test("record the tokens and the seconds of each call", async () => {
    const { telemetry, metric } = watch({ agentName: "counter" })
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
    expect(await metric("gen_ai.client.token.usage")).toEqual([
      { attributes: { ...CHAT, "gen_ai.token.type": "input" }, value: { count: 2, sum: 200 } },
      { attributes: { ...CHAT, "gen_ai.token.type": "output" }, value: { count: 2, sum: 24 } },
    ])
    expect(await metric("gen_ai.client.operation.duration")).toEqual([
      { attributes: CHAT, value: { count: 2, sum: 3 } },
      { attributes: { "gen_ai.operation.name": "execute_tool" }, value: { count: 1, sum: 0.25 } },
      {
        attributes: { "gen_ai.operation.name": "invoke_agent", "gen_ai.provider.name": "openai", "gen_ai.agent.name": "counter" },
        value: { count: 1, sum: 3.25 },
      },
    ])
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
    expect(await metric("turn_machine.cost.usd")).toEqual([{ attributes: CHAT, value: 0.0005 }])
    expect((await metric("gen_ai.client.token.usage")).map(({ value }) => value)).toEqual([
      { count: 1, sum: 100 },
      { count: 1, sum: 10 },
    ])
  })

  test("distinguish failures, and count the usage of a failed call", async () => {
    const { telemetry, metric } = watch()
    const failure = { message: "Down.", retryable: false, code: "overloaded", terminalReason: "provider_error", usage: USAGE } as const
    await telemetry.runTurn(new TurnMachine(CONFIG, START), { llmCall: () => Promise.reject(new LlmCallError(failure)) })
    expect((await metric("gen_ai.client.operation.duration")).map(({ attributes }) => attributes)).toEqual([
      { ...CHAT, "error.type": "overloaded" },
      { "gen_ai.operation.name": "invoke_agent", "gen_ai.provider.name": "openai", "error.type": "provider_error" },
    ])
    expect((await metric("gen_ai.client.token.usage")).map(({ value }) => value)).toEqual([
      { count: 1, sum: 100 },
      { count: 1, sum: 12 },
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
    expect(await metric("gen_ai.client.operation.duration")).toEqual([])
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
    await telemetry.runTurn(new TurnMachine(CONFIG, START), { llmCall: answers(answer("One.")) })
    await reader.forceFlush()
    const found = exporter.getMetrics().flatMap(({ scopeMetrics }) => scopeMetrics.flatMap((scope) => scope.metrics))
    const boundaries = found.map(({ descriptor, dataPoints }) => {
      const [point] = dataPoints.map(({ value }) => value as { readonly buckets: { readonly boundaries: readonly number[] } })
      return [descriptor.name, descriptor.unit, point?.buckets.boundaries]
    })
    expect(boundaries).toEqual([
      ["gen_ai.client.operation.duration", "s", [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92]],
      ["gen_ai.client.token.usage", "{token}", [1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864]],
    ])
    await provider.shutdown()
  })
})

describe("metrics of goals", () => {
  test("are counters and histograms with the names and tags of the goal machine", async () => {
    const { telemetry, metric } = watch()
    const tags = { status: "complete" }
    telemetry.recordGoal([
      { type: "goal_cleared", threadId: "t" },
      { type: "metric", name: "goal.created", value: 1, tags: {} },
      { type: "metric", name: "goal.created", value: 1, tags: {} },
      { type: "metric", name: "goal.completed", value: 1, tags: {} },
      { type: "metric", name: "goal.token_count", value: 400, tags },
      { type: "metric", name: "goal.token_count", value: 100, tags },
      { type: "metric", name: "goal.duration_s", value: 61, tags },
    ])
    expect(await metric("goal.created")).toEqual([{ attributes: {}, value: 2 }])
    expect(await metric("goal.completed")).toEqual([{ attributes: {}, value: 1 }])
    expect(await metric("goal.token_count")).toEqual([{ attributes: tags, value: { count: 2, sum: 500 } }])
    expect(await metric("goal.duration_s")).toEqual([{ attributes: tags, value: { count: 1, sum: 61 } }])
    expect(await metric("goal.blocked")).toEqual([])
  })

  test("are also computed from added history records", async () => {
    const { telemetry, metric } = watch()
    const created = changeGoal({ threadId: "t", history: [] }, { type: "command", at: 0, command: { type: "set", objective: "Count." } })
    telemetry.recordGoal(goalChanges(created.records, "t", null))
    expect(await metric("goal.created")).toEqual([{ attributes: {}, value: 1 }])
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
  expect(scope?.metrics.map(({ descriptor }) => descriptor.name)).toEqual(["goal.resumed"])
})
