import { type Attributes, type Meter, metrics } from "@opentelemetry/api"
import type { MarkedBreak } from "../../replay/prefix.ts"
import type { GoalMetricName, GoalOutput } from "../../wire/goal.ts"
import type { TokenUsage } from "../../wire/llm.ts"
import { type Ending, quietly } from "./spans.ts"

interface Instrument {
  readonly instrument: "counter" | "histogram"
  readonly unit: string
  readonly description: string
  readonly boundaries?: readonly number[]
}

const TOKENS = "gen_ai.client.token.usage"
const DURATION = "gen_ai.client.operation.duration"
const COST = "turn_machine.cost.usd"
const PREFIX_BREAKS = "turn_machine.prefix.breaks"

const GOALS: { readonly [Name in GoalMetricName]: Instrument } = {
  "goal.created": { instrument: "counter", unit: "{goal}", description: "Goals that were set." },
  "goal.resumed": {
    instrument: "counter",
    unit: "{goal}",
    description: "Goals that were resumed after they were paused, blocked or limited by usage.",
  },
  "goal.completed": { instrument: "counter", unit: "{goal}", description: "Goals that were reached." },
  "goal.budget_limited": { instrument: "counter", unit: "{goal}", description: "Goals that used up their budget." },
  "goal.usage_limited": { instrument: "counter", unit: "{goal}", description: "Goals that were stopped by a provider's limits." },
  "goal.blocked": { instrument: "counter", unit: "{goal}", description: "Goals that were blocked." },
  "goal.token_count": { instrument: "histogram", unit: "{token}", description: "Tokens that a goal had used when it stopped." },
  "goal.duration_s": { instrument: "histogram", unit: "s", description: "Time that a goal had used when it stopped." },
}

const INSTRUMENTS: { readonly [name: string]: Instrument } = {
  ...GOALS,
  [TOKENS]: {
    instrument: "histogram",
    unit: "{token}",
    description: "Number of input and output tokens used.",
    boundaries: Array.from({ length: 14 }, (_, power) => 4 ** power),
  },
  [DURATION]: {
    instrument: "histogram",
    unit: "s",
    description: "GenAI operation duration.",
    boundaries: Array.from({ length: 14 }, (_, power) => 2 ** power / 100),
  },
  [COST]: { instrument: "counter", unit: "{USD}", description: "What model calls cost, in US dollars, at the given prices." },
  [PREFIX_BREAKS]: {
    instrument: "counter",
    unit: "{request}",
    description: "Model requests that do not begin with the request before them, so that the provider's cache does not apply.",
  },
}

/** Records on one meter. Instruments are created on first use, so a global meter may be set up later. */
export class TelemetryMetrics {
  readonly #meter: Meter | undefined
  readonly #scope: string
  readonly #records = new Map<string, (value: number, attributes: Attributes) => void>()

  /** Without a meter, records on the global meter named `scope`. */
  constructor(meter: Meter | undefined, scope: string) {
    this.#meter = meter
    this.#scope = scope
  }

  /** Records the duration of an operation, unless it was cancelled. */
  duration(seconds: number, attributes: Attributes, { cancelled, error }: Pick<Ending, "cancelled" | "error">): void {
    if (cancelled !== true) this.#record(DURATION, seconds, { ...attributes, ...(error && { "error.type": error.type }) })
  }

  tokens({ inputTokens, cachedInputTokens, outputTokens }: TokenUsage, attributes: Attributes): void {
    if (inputTokens + cachedInputTokens + outputTokens === 0) return
    this.#record(TOKENS, inputTokens + cachedInputTokens, { ...attributes, "gen_ai.token.type": "input" })
    this.#record(TOKENS, outputTokens, { ...attributes, "gen_ai.token.type": "output" })
  }

  cost(usd: number, attributes: Attributes): void {
    this.#record(COST, usd, attributes)
  }

  prefixBreak({ reason, marked }: MarkedBreak, attributes: Attributes): void {
    this.#record(PREFIX_BREAKS, 1, { ...attributes, "turn_machine.prefix.reason": reason, "turn_machine.prefix.marked": marked })
  }

  goal(outputs: readonly GoalOutput[]): void {
    for (const output of outputs) if (output.type === "metric") this.#record(output.name, output.value, output.tags)
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
