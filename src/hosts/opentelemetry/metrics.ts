import { type Attributes, type Meter, metrics } from "@opentelemetry/api"
import { addKnown, NO_USAGE } from "../../machine/limits.ts"
import type { MarkedBreak } from "../../replay/prefix.ts"
import type { GoalMetricName, GoalOutput } from "../../wire/goal.ts"
import type { TokenUsage } from "../../wire/llm.ts"
import type { Names } from "./conventions.ts"
import { quietly } from "./quietly.ts"

/** How a metric is made. */
export interface Instrument {
  readonly instrument: "counter" | "histogram"
  readonly unit: string
  readonly description: string
  /** Of a histogram. Absent: the SDK's own. */
  readonly boundaries?: readonly number[]
}

/** `count` numbers, each the one before times `factor`. */
function series(first: number, factor: number, count: number): readonly number[] {
  // Each from its power, and rounded: repeated multiplication would give 0.020000000000000004 and the like.
  return Array.from({ length: count }, (_, power) => Number((first * factor ** power).toPrecision(8)))
}

const SECONDS = series(0.01, 2, 14)
const TOKENS = series(1, 4, 14)
const CALLS = series(1, 2, 8)
const TURN_SECONDS = series(0.1, 2, 13)

const AGENT = "gen_ai.invoke_agent"
const INFERENCE = "gen_ai.client.inference"
const OLDER = "gen_ai.client.operation"

/** What {@link TokenUsage} has, as the usage counters of the conventions. */
const USAGE: readonly (readonly [name: string, description: string, count: (usage: TokenUsage) => number])[] = [
  ["input_tokens", "Input tokens used, with those that were read from the provider's cache.", (usage) => inputTokens(usage)],
  ["output_tokens", "Output tokens used, with those of reasoning.", ({ outputTokens }) => outputTokens],
  ["cache_read.input_tokens", "Input tokens that were read from the provider's cache.", ({ cachedInputTokens }) => cachedInputTokens],
  ["cache_write.input_tokens", "Input tokens that were written to the provider's cache.", ({ cacheWriteTokens = 0 }) => cacheWriteTokens],
  ["reasoning.output_tokens", "Output tokens used for reasoning.", ({ reasoningTokens }) => reasoningTokens],
]

/** The goal machine's metrics as they are recorded. */
const GOALS: { readonly [Name in GoalMetricName]: readonly [name: string, instrument: Instrument] } = {
  "goal.created": goals("created", "Goals that were set."),
  "goal.resumed": goals("resumed", "Goals that were resumed after they were paused, blocked or limited by usage."),
  "goal.completed": goals("completed", "Goals that were reached."),
  "goal.budget_limited": goals("budget_limited", "Goals that used up their budget."),
  "goal.usage_limited": goals("usage_limited", "Goals that were stopped by a provider's limits."),
  "goal.blocked": goals("blocked", "Goals that were blocked."),
  "goal.token_count": [
    "turn_machine.goal.tokens",
    { instrument: "histogram", unit: "{token}", description: "Tokens that a goal had used when it stopped.", boundaries: TOKENS },
  ],
  "goal.duration_s": [
    "turn_machine.goal.duration",
    // From a second to twelve days: goals wait.
    { instrument: "histogram", unit: "s", description: "Time that a goal had used when it stopped.", boundaries: series(1, 4, 11) },
  ],
}

function goals(name: string, description: string): readonly [name: string, instrument: Instrument] {
  return [`turn_machine.goal.${name}`, { instrument: "counter", unit: "{goal}", description }]
}

function seconds(description: string, boundaries: readonly number[] = SECONDS): Instrument {
  return { instrument: "histogram", unit: "s", description, boundaries }
}

/** All metrics. docs/telemetry.md lists them. */
export const INSTRUMENTS: { readonly [name: string]: Instrument } = {
  [`${INFERENCE}.duration`]: seconds("Duration of a model call."),
  [`${INFERENCE}.time_to_first_chunk`]: seconds("Time from a streamed request to the first piece of its answer."),
  [`${INFERENCE}.time_per_output_chunk`]: seconds("Time between two pieces of a streamed answer."),
  ...Object.fromEntries(
    USAGE.map(([name, description]): [string, Instrument] => [`${INFERENCE}.usage.${name}`, { instrument: "counter", unit: "{token}", description }]),
  ),
  [`${INFERENCE}.operation.input_tokens`]: {
    instrument: "histogram",
    unit: "{token}",
    description: "Input tokens of a model call.",
    boundaries: TOKENS,
  },
  [`${INFERENCE}.operation.output_tokens`]: {
    instrument: "histogram",
    unit: "{token}",
    description: "Output tokens of a model call.",
    boundaries: TOKENS,
  },
  [`${AGENT}.duration`]: seconds("Duration of the run of a turn.", TURN_SECONDS),
  [`${AGENT}.inference_calls`]: {
    instrument: "histogram",
    unit: "{inference_call}",
    description: "Model calls of the run of a turn.",
    boundaries: CALLS,
  },
  [`${AGENT}.tool_calls`]: { instrument: "histogram", unit: "{tool_call}", description: "Tool calls of the run of a turn.", boundaries: CALLS },
  "gen_ai.execute_tool.duration": seconds("Duration of a tool call, or of code."),
  "turn_machine.tool.refusals": {
    instrument: "counter",
    unit: "{tool_call}",
    description: "Tool calls that no tool ran: refused by a policy, a person or the machine.",
  },
  "turn_machine.cost.usd": { instrument: "counter", unit: "{USD}", description: "What model calls cost, in US dollars, at the given prices." },
  "turn_machine.prefix.breaks": {
    instrument: "counter",
    unit: "{request}",
    description: "Model requests that do not begin with the request before them, so that the provider's cache does not apply.",
  },
  ...Object.fromEntries(Object.values(GOALS)),
  [`${OLDER}.duration`]: seconds("Duration of a model call, a tool call or the run of a turn."),
  [`${OLDER}.time_to_first_chunk`]: seconds("Time from a streamed request to the first piece of its answer."),
  [`${OLDER}.time_per_output_chunk`]: seconds("Time between two pieces of a streamed answer."),
  "gen_ai.client.token.usage": {
    instrument: "histogram",
    unit: "{token}",
    description: "Number of input and output tokens used.",
    boundaries: TOKENS,
  },
}

/** Input tokens as the conventions count them: with those that were read from the cache. */
export function inputTokens({ inputTokens, cachedInputTokens }: TokenUsage): number {
  return inputTokens + cachedInputTokens
}

/** How an operation ended, for its metrics. */
export interface Measured {
  /** Absent: it was cancelled, which has no duration. */
  readonly seconds?: number
  readonly errorType?: string
}

/** A model call, for its metrics. */
export interface MeasuredCall extends Measured {
  /** Absent: the provider reported none. */
  readonly usage?: TokenUsage
  /** What failed attempts of the call used. */
  readonly retriedUsage?: TokenUsage
  readonly firstChunkSeconds?: number
}

/** Records on one meter. Instruments are created on first use, so a global meter may be set up later. */
export class TelemetryMetrics {
  readonly #meter: Meter | undefined
  readonly #scope: string
  readonly #names: Names
  readonly #records = new Map<string, (value: number, attributes: Attributes) => void>()

  /** Without a meter, records on the global meter named `scope`. */
  constructor(meter: Meter | undefined, scope: string, names: Names) {
    this.#meter = meter
    this.#scope = scope
    this.#names = names
  }

  /** Records a model call. `attributes` name its operation, provider and models. */
  inference({ seconds, errorType, firstChunkSeconds, retriedUsage, usage }: MeasuredCall, attributes: Attributes): void {
    const tags = withError(attributes, errorType)
    const { current, older } = this.#names
    if (current) {
      if (seconds !== undefined) this.#record(`${INFERENCE}.duration`, seconds, tags)
      if (firstChunkSeconds !== undefined) this.#record(`${INFERENCE}.time_to_first_chunk`, firstChunkSeconds, attributes)
      // The conventions ask for a 0 where a call has no usage, so that the counts of calls agree. What a cancelled call used is often unknown.
      if (usage !== undefined || seconds !== undefined) {
        this.#usage(addKnown(usage, retriedUsage) ?? NO_USAGE, attributes)
        this.#record(`${INFERENCE}.operation.input_tokens`, inputTokens(usage ?? NO_USAGE), tags)
        this.#record(`${INFERENCE}.operation.output_tokens`, (usage ?? NO_USAGE).outputTokens, tags)
      }
    }
    if (!older) return
    if (seconds !== undefined) this.#record(`${OLDER}.duration`, seconds, tags)
    if (firstChunkSeconds !== undefined) this.#record(`${OLDER}.time_to_first_chunk`, firstChunkSeconds, attributes)
    if (usage === undefined || inputTokens(usage) + usage.outputTokens === 0) return
    this.#record("gen_ai.client.token.usage", inputTokens(usage), { ...attributes, "gen_ai.token.type": "input" })
    this.#record("gen_ai.client.token.usage", usage.outputTokens, { ...attributes, "gen_ai.token.type": "output" })
  }

  #usage(usage: TokenUsage, attributes: Attributes): void {
    // A `TokenUsage` does not tell text from images.
    const counted = { ...attributes, "gen_ai.token.modality": "unknown" }
    for (const [name, , count] of USAGE) this.#record(`${INFERENCE}.usage.${name}`, count(usage), counted)
  }

  /** Records the time between two pieces of a streamed answer. */
  chunk(seconds: number, attributes: Attributes): void {
    if (this.#names.current) this.#record(`${INFERENCE}.time_per_output_chunk`, seconds, attributes)
    if (this.#names.older) this.#record(`${OLDER}.time_per_output_chunk`, seconds, attributes)
  }

  /** Records the execution of a tool, or of code. */
  tool(measured: Measured, attributes: Attributes): void {
    this.#duration("gen_ai.execute_tool.duration", "execute_tool", measured, attributes)
  }

  refusal(errorType: string, attributes: Attributes): void {
    this.#record("turn_machine.tool.refusals", 1, withError(attributes, errorType))
  }

  /** Records the run of a turn, and how many model and tool calls it made. */
  agent(
    measured: Measured,
    { inferenceCalls, toolCalls }: { readonly inferenceCalls: number; readonly toolCalls: number },
    attributes: Attributes,
  ): void {
    this.#duration(`${AGENT}.duration`, "invoke_agent", measured, attributes)
    if (!this.#names.current) return
    this.#record(`${AGENT}.inference_calls`, inferenceCalls, attributes)
    this.#record(`${AGENT}.tool_calls`, toolCalls, attributes)
  }

  #duration(name: string, operation: string, { seconds, errorType }: Measured, attributes: Attributes): void {
    if (seconds === undefined) return
    const tags = withError(attributes, errorType)
    if (this.#names.current) this.#record(name, seconds, tags)
    if (this.#names.older) this.#record(`${OLDER}.duration`, seconds, { "gen_ai.operation.name": operation, ...tags })
  }

  cost(usd: number, attributes: Attributes): void {
    this.#record("turn_machine.cost.usd", usd, attributes)
  }

  prefixBreak({ reason, marked }: MarkedBreak, attributes: Attributes): void {
    const tags = { "turn_machine.prefix.reason": reason, "turn_machine.prefix.marked": marked }
    this.#record("turn_machine.prefix.breaks", 1, { ...attributes, ...tags })
  }

  /** Records the metrics among the outputs of a goal. Their tags become attributes under `turn_machine.goal.`. */
  goal(outputs: readonly GoalOutput[], attributes: Attributes): void {
    for (const output of outputs) {
      if (output.type !== "metric") continue
      const { name, tags, value } = output
      const own = Object.fromEntries(Object.entries(tags).map(([key, tag]) => [`turn_machine.goal.${key}`, tag]))
      this.#record(GOALS[name][0], value, { ...attributes, ...own })
    }
  }

  #record(name: string, value: number, attributes: Attributes): void {
    quietly(() => {
      let record = this.#records.get(name)
      if (record === undefined) {
        record = this.#make(name)
        this.#records.set(name, record)
      }
      record(value, attributes)
    })
  }

  #make(name: string): (value: number, attributes: Attributes) => void {
    const { instrument = "counter", boundaries, ...options } = INSTRUMENTS[name] ?? {}
    const meter = this.#meter ?? metrics.getMeter(this.#scope)
    if (instrument === "counter") {
      const counter = meter.createCounter(name, options)
      return (value, attributes) => counter.add(value, attributes)
    }
    const histogram = meter.createHistogram(name, { ...options, ...(boundaries && { advice: { explicitBucketBoundaries: [...boundaries] } }) })
    return (value, attributes) => histogram.record(value, attributes)
  }
}

function withError(attributes: Attributes, errorType: string | undefined): Attributes {
  return errorType === undefined ? attributes : { ...attributes, "error.type": errorType }
}
