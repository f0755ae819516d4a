import { type Attributes, type Context, type Meter, SpanKind, type Tracer, trace } from "@opentelemetry/api"
import { NO_USAGE } from "../../machine/limits.ts"
import type { TurnMachine } from "../../machine/turn-machine.ts"
import type { Done } from "../../wire/effect.ts"
import type { GoalOutput } from "../../wire/goal.ts"
import type { Host, RunOptions, RunToEndOptions, Suspended, SuspendOptions, TurnLog } from "../host.ts"
import type { TokenPrices } from "../models/prices.ts"
import { runTurn } from "../run/run-turn.ts"
import { turnUsageAttributes } from "./content.ts"
import { namesOf, type Semconv } from "./conventions.ts"
import { outcomeOf, rejected, suspendedRun } from "./endings.ts"
import { TelemetryMetrics } from "./metrics.ts"
import { quietly } from "./quietly.ts"
import { active, type Ending, QuietSpan, type Tracing, traceparentOf, within } from "./spans.ts"
import { type HostTracing, measured, tracedHost } from "./traced-host.ts"
import { TracedTurn } from "./traced-turn.ts"

export type { Semconv } from "./conventions.ts"

/** The name of the global tracer and meter. */
const SCOPE = "turn-machine"

/** Options of {@link openTelemetry}. */
export interface OpenTelemetryOptions {
  /** The provider of the model, as `gen_ai.provider.name`: `openai`, `anthropic`, `aws.bedrock`, … or a name of your own. */
  readonly provider: string
  /** The agent's name, as `gen_ai.agent.name` and in the name of the turn's span. */
  readonly agentName?: string
  /** Also records prompts, answers, arguments, results and code. Default `false`. */
  readonly captureContent?: boolean
  /**
   * Also records the messages of errors, which may quote what was said or run. Without them, an error has its code (`error.type`), its name
   * and the places in its stack. Default: as `captureContent`.
   */
  readonly captureErrorMessages?: boolean
  /** Which version's names are recorded. Default `genai-0.1`, the current conventions. */
  readonly semconv?: Semconv
  /**
   * The prices of a model, such as `pricesOf` of `turn-machine/hosts`: then each model call has its cost, in US dollars, as
   * `turn_machine.cost.usd`, and the metric of the same name adds them up. Default: no costs.
   */
  readonly prices?: (model: string) => TokenPrices | undefined
  /** Default: the global tracer named `turn-machine`, which does nothing unless an SDK is set up. */
  readonly tracer?: Tracer
  /** Default: the global meter named `turn-machine`, which does nothing unless an SDK is set up. */
  readonly meter?: Meter
}

/** Options of a traced turn. */
export interface TracedRunOptions extends RunOptions {
  /** `gen_ai.conversation.id`. Default: in a thread its id, otherwise the `sessionId` of the turn's requests, if any. */
  readonly conversationId?: string
}

/** Spans and metrics of turns. A failure of the telemetry never affects a turn. */
export interface OpenTelemetry {
  /** Runs a turn as `runTurn` does, in a span with a child span for each call of an executor. Its parent is the active span. */
  runTurn(machine: TurnMachine, host: Host, options?: TracedRunOptions & RunToEndOptions): Promise<Done>
  runTurn(machine: TurnMachine, host: Host, options?: TracedRunOptions & SuspendOptions): Promise<Done | Suspended>
  /** Wraps a host so that each call of an executor is a child of the active span: for a loop of your own, or `runJudge`. */
  traced(host: Host): Host
  /**
   * Records each `metric` among the outputs of a goal, as `turn_machine.goal.*`. Pass it the outputs of `changeGoal`, and
   * `goalChanges(eventDelta, …)` for changes within a turn.
   */
  recordGoal(outputs: readonly GoalOutput[]): void
}

/** The span in which a machine ran last, for another run of the same machine without a journal. */
const LAST_TRACES = new WeakMap<TurnMachine, string>()

/**
 * Reports turns to OpenTelemetry: their model calls, tools, durations, tokens, costs and failures.
 *
 *     const telemetry = openTelemetry({ provider: "openai" })
 *     const done = await telemetry.runTurn(machine, host, options)
 *
 * Names follow the GenAI conventions, which have the status Development: release 0.1.0 by default, and with `semconv` the names before it.
 * Other names begin with `turn_machine.`.
 * @throws {TypeError} a `semconv` that is not known
 * @see docs/telemetry.md
 * @see https://github.com/open-telemetry/semantic-conventions-genai/tree/v0.1.0/docs/gen-ai
 */
export function openTelemetry(options: OpenTelemetryOptions): OpenTelemetry {
  const { provider, agentName, captureContent = false, captureErrorMessages = captureContent } = options
  const names = namesOf(options.semconv ?? "genai-0.1")
  const tracer = options.tracer ?? quietly(() => trace.getTracer(SCOPE))
  const tracing: Tracing = { tracer, names, captureContent, captureErrorMessages }
  const metrics = new TelemetryMetrics(options.meter, SCOPE, names)
  const agent: Attributes = agentName === undefined ? {} : { "gen_ai.agent.name": agentName }
  const hosts: HostTracing = { tracing, metrics, provider, agent, prices: options.prices }

  const run = async (
    machine: TurnMachine,
    host: Host,
    { conversationId, ...options }: TracedRunOptions & SuspendOptions = {},
  ): Promise<Done | Suspended> => {
    const { journal, onEvent } = options
    // A journal without a turn throws here. The run reports that.
    const turnId = options.turnId ?? quietly(() => journal?.turnId)
    const above = quietly(() => journal?.parent)
    const tags: Attributes = { ...agent, "gen_ai.provider.name": provider, "gen_ai.request.model": machine.model }
    const span = new QuietSpan(tracing, {
      links: [above?.trace, quietly(() => journal?.lastTrace) ?? LAST_TRACES.get(machine)],
      name: agentName === undefined ? "invoke_agent" : `invoke_agent ${agentName}`,
      kind: SpanKind.INTERNAL,
      parent: active(),
      attributes: () => ({
        "gen_ai.operation.name": "invoke_agent",
        ...tags,
        ...(conversationId !== undefined && { "gen_ai.conversation.id": conversationId }),
        ...(turnId !== undefined && { "turn_machine.turn.id": turnId }),
        ...(above !== undefined && { "turn_machine.parent.turn.id": above.turnId, "turn_machine.parent.call.id": above.callId }),
        ...(machine.state !== "preparing" && { "turn_machine.resumed": true }),
      }),
    })
    remember(machine, journal, span.context)
    const turn = new TracedTurn(span, machine, conversationId)
    const reporting = { tracing, metrics, tags: { agent, turn: tags } }
    const end = (describe: () => Ending): void => {
      turn.endLeft()
      const ended = span.end(() => {
        const { attributes, ...ending } = describe()
        // What a resumed turn used earlier was reported then, and what its children used is reported by their spans.
        return { ...ending, attributes: { ...attributes, ...turnUsageAttributes(turn.usage ?? NO_USAGE, names) } }
      })
      if (ended !== undefined) metrics.agent(measured(ended.seconds, ended.ending), turn, tags)
    }
    const watched: RunOptions["onEvent"] = (event) => {
      quietly(() => turn.watch(event, reporting))
      return onEvent?.(event)
    }
    try {
      const result = await within(span.context, () => runTurn(machine, tracedHost(host, hosts, turn), { ...options, onEvent: watched }))
      end(() => (result.type === "suspended" ? suspendedRun(result, machine) : outcomeOf(result)))
      return result
    } catch (thrown) {
      end(() => rejected(thrown))
      throw thrown
    }
  }

  return {
    traced: (host) => tracedHost(host, hosts),
    recordGoal: (outputs) => metrics.goal(outputs, { ...agent, "gen_ai.provider.name": provider }),
    // The run loop suspends only where the options allow it.
    runTurn: run as OpenTelemetry["runTurn"],
  }
}

/** Notes in which span a run is, so that the next run of the turn can link to it, in this process or another. */
function remember(machine: TurnMachine, journal: TurnLog | undefined, context: Context): void {
  const trace = traceparentOf(context)
  if (trace === undefined || machine.done) return
  LAST_TRACES.set(machine, trace)
  quietly(() => journal?.traced?.(trace))
}
