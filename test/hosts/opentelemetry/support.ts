import { type Attributes, SpanStatusCode } from "@opentelemetry/api"
import { AggregationTemporality, InMemoryMetricExporter, MeterProvider, PeriodicExportingMetricReader } from "@opentelemetry/sdk-metrics"
import { BasicTracerProvider, InMemorySpanExporter, type ReadableSpan, SimpleSpanProcessor, type SpanProcessor } from "@opentelemetry/sdk-trace-base"
import { onTestFinished } from "vitest"
import { type OpenTelemetry, type OpenTelemetryOptions, openTelemetry } from "../../../src/hosts/opentelemetry/index.ts"
import type { LlmResponse, OutputPart, TokenUsage } from "../../../src/schemas/llm.ts"
import { CONFIG as BASE } from "../../replay/support.ts"

const NAMES = "add count crashed divide endless fine none one pay quick stopped thrown told two".split(" ")

/** Offers every tool that these tests call. */
export const CONFIG = { ...BASE, tools: NAMES.map((name) => ({ name, description: name, inputSchema: { type: "object" } })) }

export const USAGE: TokenUsage = { inputTokens: 30, cachedInputTokens: 70, outputTokens: 12, reasoningTokens: 5 }

/** An answer in words, or one that asks for tools: `count#1` is the tool and the call's id. */
export function answer(...said: readonly string[]): LlmResponse {
  const parts = said.flatMap((text): OutputPart[] => {
    const [toolName = "", callId] = text.split("#")
    return callId === undefined ? [] : [{ type: "tool_call", callId, toolName, inputJson: '{"n":1}' }]
  })
  if (parts.length > 0) return { text: "", parts, usage: USAGE, terminalReason: "tool_use" }
  return { text: said.join(""), parts: [], usage: USAGE, terminalReason: "stop" }
}

/** Answers in order. */
export function answers(...responses: readonly (LlmResponse | (() => Promise<LlmResponse>))[]): () => Promise<LlmResponse> {
  const left = responses.values()
  return async () => {
    const { value } = left.next()
    if (value === undefined) throw new Error("The script is at its end.")
    return typeof value === "function" ? value() : value
  }
}

export interface Watched {
  readonly telemetry: OpenTelemetry
  readonly tracer: NonNullable<OpenTelemetryOptions["tracer"]>
  /** The ended spans, in the order of their start. */
  spans(): readonly ReadableSpan[]
  /** The only span of that name. */
  span(name: string): ReadableSpan
  /** The names of the spans, each under its parent, those with an error marked. */
  tree(): string
  /** What was recorded under a name: of a histogram how often and the sum. */
  metric(name: string): Promise<readonly Point[]>
}

interface Point {
  readonly attributes: Attributes
  readonly value: unknown
}

/** Telemetry into memory, by the real SDK. */
export function watch(options: Partial<OpenTelemetryOptions> = {}): Watched {
  const exporter = new InMemorySpanExporter()
  // Clocks are too coarse to tell which of two spans began first.
  const begun: string[] = []
  const order: SpanProcessor = {
    onStart: (span) => void begun.push(span.spanContext().spanId),
    onEnd() {},
    forceFlush: async () => {},
    shutdown: async () => {},
  }
  const spanProvider = new BasicTracerProvider({ spanProcessors: [order, new SimpleSpanProcessor(exporter)] })
  const metricExporter = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE)
  const reader = new PeriodicExportingMetricReader({ exporter: metricExporter, exportIntervalMillis: 3_600_000 })
  const meterProvider = new MeterProvider({ readers: [reader] })
  onTestFinished(async () => {
    await Promise.all([spanProvider.shutdown(), meterProvider.shutdown()])
  })
  const tracer = spanProvider.getTracer("test")
  const spans = (): readonly ReadableSpan[] => {
    const ended = exporter.getFinishedSpans()
    return begun.flatMap((id) => ended.filter((span) => span.spanContext().spanId === id))
  }
  return {
    telemetry: openTelemetry({ provider: "openai", tracer, meter: meterProvider.getMeter("test"), ...options }),
    tracer,
    spans,
    span(name) {
      const found = spans().filter((span) => span.name === name)
      if (found[0] === undefined || found.length > 1) throw new Error(`There are ${found.length} spans named ${name}.`)
      return found[0]
    },
    tree() {
      const all = spans()
      const ids = new Set(all.map((span) => span.spanContext().spanId))
      const lines = (parent: string | undefined, depth: number): readonly string[] =>
        all
          .filter(({ parentSpanContext }) =>
            parent === undefined ? !ids.has(parentSpanContext?.spanId ?? "") : parentSpanContext?.spanId === parent,
          )
          .flatMap((span) => {
            const failed = span.status.code === SpanStatusCode.ERROR ? ` !${String(span.attributes["error.type"])}` : ""
            return [`${"  ".repeat(depth)}${span.name}${failed}`, ...lines(span.spanContext().spanId, depth + 1)]
          })
      return `\n${lines(undefined, 0).join("\n")}\n`
    },
    async metric(name) {
      await reader.forceFlush()
      const metrics =
        metricExporter
          .getMetrics()
          .at(-1)
          ?.scopeMetrics.flatMap(({ metrics }) => metrics) ?? []
      const points = metrics.filter(({ descriptor }) => descriptor.name === name).flatMap(({ dataPoints }): readonly Point[] => dataPoints)
      return points.map(({ attributes, value }) => {
        if (typeof value === "number") return { attributes, value }
        const { count, sum } = value as { readonly count: number; readonly sum: number }
        return { attributes, value: { count, sum } }
      })
    },
  }
}
