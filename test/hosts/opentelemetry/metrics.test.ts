import { metrics } from "@opentelemetry/api"
import { AggregationTemporality, InMemoryMetricExporter, MeterProvider, PeriodicExportingMetricReader } from "@opentelemetry/sdk-metrics"
import { afterEach, describe, expect, onTestFinished, test, vi } from "vitest"
import { changeGoal, goalChanges } from "../../../src/drivers/goal/index.ts"
import { LlmCallError } from "../../../src/hosts/host.ts"
import { openTelemetry } from "../../../src/hosts/opentelemetry/index.ts"
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
