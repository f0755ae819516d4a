import { type Attributes, type Meter, SpanKind, type Tracer, trace } from "@opentelemetry/api"
import { since } from "../../drivers/goal/goal.ts"
import type { TurnMachine } from "../../machine/turn-machine.ts"
import { type MarkedBreak, PrefixWatch } from "../../replay/prefix.ts"
import type { Checkpoint, Done, ExecCode, SyncExecutionSurface } from "../../wire/effect.ts"
import type { GoalOutput } from "../../wire/goal.ts"
import type { PendingToolCall } from "../../wire/tool.ts"
import { type EffectContext, type Host, type RunOptions, type RunToEndOptions, type Suspended, type SuspendOptions, wrapHost } from "../host.ts"
import type { TokenPrices } from "../models/prices.ts"
import { runTurn } from "../run/run-turn.ts"
import { requestAttributes } from "./content.ts"
import {
  answeredCall,
  answeredCode,
  failedCall,
  failedTool,
  failedWork,
  outcomeOf,
  priced,
  producerOf,
  ranTool,
  recoveredCall,
  rejected,
  steeringEvent,
  suspendedRun,
} from "./endings.ts"
import { TelemetryMetrics } from "./metrics.ts"
import { active, inSpan, QuietSpan, quietly, type SpannedWork, within } from "./spans.ts"

/** The name of the global tracer and meter. */
const SCOPE = "turn-machine"

/** Options of {@link openTelemetry}. */
export interface OpenTelemetryOptions {
  /** The provider of the model, as `gen_ai.provider.name`: `openai`, `anthropic`, `aws.bedrock`, … or a name of your own. */
  readonly provider: string
  /** The agent's name, as `gen_ai.agent.name` and in the name of the turn's span. */
  readonly agentName?: string
  /** Also records prompts, answers, arguments, results and code. Error messages are always recorded. Default `false`. */
  readonly captureContent?: boolean
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
  /** Id of the thread, as `gen_ai.conversation.id`. Default: the `sessionId` of the turn's requests, if any. */
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
   * Records each `metric` among the outputs of a goal, under its name and with its tags. Pass it the outputs of `changeGoal`, and
   * `goalChanges(eventDelta, …)` for changes within a turn.
   */
  recordGoal(outputs: readonly GoalOutput[]): void
}

/** A turn that runs in a span. */
interface TracedTurn {
  readonly span: QuietSpan
  readonly machine: TurnMachine
  /** The effect that an earlier process may have performed in part. */
  readonly redelivered: number | undefined
  readonly conversationId: string | undefined
  readonly prefixes: PrefixWatch
}

/**
 * Reports turns to OpenTelemetry: their model calls, tools, durations, tokens and failures.
 *
 *     const telemetry = openTelemetry({ provider: "openai" })
 *     const done = await telemetry.runTurn(machine, host, options)
 *
 * Names follow the GenAI conventions in release 1.41.0 of OpenTelemetry's semantic conventions, which have the status Development there.
 * Other names begin with `turn_machine.`.
 * @see docs/integrate-a-host.md#telemetry
 * @see https://github.com/open-telemetry/semantic-conventions/tree/v1.41.0/docs/gen-ai
 */
export function openTelemetry(options: OpenTelemetryOptions): OpenTelemetry {
  const { provider, agentName, captureContent = false } = options
  const tracer = options.tracer ?? quietly(() => trace.getTracer(SCOPE))
  const metrics = new TelemetryMetrics(options.meter, SCOPE)

  function work<Answer>(
    effect: EffectContext,
    turn: TracedTurn | undefined,
    rest: Pick<SpannedWork<Answer>, "name" | "attributes" | "execute" | "answered"> & Partial<SpannedWork<Answer>>,
  ): Promise<Answer> {
    return inSpan(tracer, {
      kind: SpanKind.INTERNAL,
      parent: turn?.span.context ?? active(),
      failed: failedWork,
      ...rest,
      effect,
      attributes: () => ({ ...rest.attributes(), ...effectAttributes(effect, turn) }),
    })
  }

  function traced(host: Host, turn?: TracedTurn): Host {
    return wrapHost(host, {
      llmCall(next, effect, context) {
        const { request, purpose } = effect
        const conversationId = turn?.conversationId ?? request.sessionId
        const known = {
          "gen_ai.request.model": request.model,
          ...(conversationId !== undefined && { "gen_ai.conversation.id": conversationId }),
        }
        turn?.span.set(() => known)
        const operation = { "gen_ai.operation.name": "chat", "gen_ai.provider.name": provider, "gen_ai.request.model": request.model }
        const broken = turn && quietly(() => turn.prefixes.next(turn.machine.turn))
        if (broken !== undefined) metrics.prefixBreak(broken, operation)
        return work(context, turn, {
          name: `chat ${request.model}`,
          kind: SpanKind.CLIENT,
          attributes: () => ({
            ...operation,
            ...known,
            ...requestAttributes(request, captureContent),
            ...(purpose !== undefined && { "turn_machine.llm.purpose": purpose }),
            ...(broken && prefixAttributes(broken)),
          }),
          execute: (inner) => next(effect, inner),
          answered: (response) => priced(answeredCall(response, captureContent), response?.producer?.model ?? request.model, options.prices),
          failed: (thrown) => priced(failedCall(thrown), producerOf(thrown, request.model), options.prices),
          measure(seconds, { costUsd, usage, ...ending }) {
            metrics.duration(seconds, operation, ending)
            if (usage !== undefined) metrics.tokens(usage, operation)
            if (costUsd !== undefined) metrics.cost(costUsd, operation)
          },
        })
      },
      tools: {
        call: (next, call, context) =>
          work(context, turn, {
            name: `execute_tool ${call.toolName}`,
            attributes: () => ({
              "gen_ai.operation.name": "execute_tool",
              ...toolAttributes(call),
              ...(captureContent && { "gen_ai.tool.call.arguments": JSON.stringify(call.args) }),
            }),
            execute: (inner) => next(call, inner),
            answered: (answer) => ranTool(answer, captureContent),
            failed: failedTool,
            measure: (seconds, ending) => metrics.duration(seconds, { "gen_ai.operation.name": "execute_tool" }, ending),
          }),
        recover: (next, call, context) =>
          work(context, turn, {
            name: `recover_tool ${call.toolName}`,
            attributes: () => toolAttributes(call),
            execute: (inner) => next(call, inner),
            answered: (recovered) => recoveredCall(recovered),
          }),
        resume: (next, call, context) =>
          work(context, turn, {
            name: `resume_tool ${call.toolName}`,
            attributes: () => toolAttributes(call),
            execute: (inner) => next(call, inner),
            answered: (answer) => (answer === undefined ? {} : ranTool(answer, captureContent)),
          }),
        cancel: (next, call, context) =>
          work(context, turn, {
            name: `cancel_tool ${call.toolName}`,
            attributes: () => toolAttributes(call),
            execute: (inner) => next(call, inner),
            answered: (answer) => (answer === undefined ? {} : ranTool(answer, captureContent)),
          }),
      },
      code: {
        run: (next, effect, context) =>
          work(context, turn, {
            name: "exec_code",
            attributes: () => codeAttributes(effect, captureContent),
            execute: (inner) => next(effect, inner),
            answered: (answer) => answeredCode(answer, captureContent),
          }),
        recover: (next, effect, context) =>
          work(context, turn, {
            name: "recover_code",
            attributes: () => codeAttributes(effect, captureContent),
            execute: (inner) => next(effect, inner),
            answered: (recovered) => recoveredCall(recovered),
          }),
      },
      // A host without a checkpoint handler does no work, so it has no span.
      ...(host.checkpoint !== undefined && {
        checkpoint: (next: NonNullable<Host["checkpoint"]>, effect: Checkpoint, context: EffectContext) =>
          work(context, turn, {
            name: `checkpoint ${effect.checkpoint}`,
            attributes: () => ({}),
            execute: (inner) => next(effect, inner),
            answered: () => ({}),
          }),
      }),
      decide: (next, held, context) =>
        work(context, turn, {
          name: "decide",
          attributes: () => ({ "turn_machine.held_calls": held.length }),
          execute: (inner) => next(held, inner),
          answered: (decisions) => ({ attributes: { "turn_machine.decisions": decisions?.length ?? 0 } }),
        }),
      ...(host.syncExecutionSurface !== undefined && {
        syncExecutionSurface: (next: NonNullable<Host["syncExecutionSurface"]>, effect: SyncExecutionSurface, context: EffectContext) =>
          work(context, turn, {
            name: "sync_execution_surface",
            attributes: () => ({}),
            execute: (inner) => next(effect, inner),
            answered: () => ({}),
          }),
      }),
    })
  }

  const run = async (
    machine: TurnMachine,
    host: Host,
    { conversationId, ...options }: TracedRunOptions & SuspendOptions = {},
  ): Promise<Done | Suspended> => {
    // A journal without a turn throws here. The run reports that.
    const turnId = options.turnId ?? quietly(() => options.journal?.turnId)
    const operation = {
      "gen_ai.operation.name": "invoke_agent",
      "gen_ai.provider.name": provider,
      ...(agentName !== undefined && { "gen_ai.agent.name": agentName }),
    }
    const above = quietly(() => options.journal?.parent)
    const span = new QuietSpan(tracer, {
      link: above?.trace,
      name: agentName === undefined ? "invoke_agent" : `invoke_agent ${agentName}`,
      kind: SpanKind.INTERNAL,
      parent: active(),
      attributes: () => ({
        ...operation,
        ...(conversationId !== undefined && { "gen_ai.conversation.id": conversationId }),
        ...(turnId !== undefined && { "turn_machine.turn.id": turnId }),
        ...(above !== undefined && { "turn_machine.parent.turn.id": above.turnId, "turn_machine.parent.call.id": above.callId }),
        ...(machine.state !== "preparing" && { "turn_machine.resumed": true }),
      }),
    })
    const before = machine.usage
    const turn: TracedTurn = { span, machine, redelivered: machine.outstanding?.id, conversationId, prefixes: new PrefixWatch() }
    const end = (describe: Parameters<QuietSpan["end"]>[0]): void => {
      // Tokens that a resumed turn used earlier were reported then.
      const ended = span.end(() => ({ ...describe(), usage: since(before, machine.usage) }))
      if (ended !== undefined) metrics.duration(ended.seconds, operation, ended.ending)
    }
    try {
      const result = await within(span.context, () => runTurn(machine, traced(host, turn), { ...options, onEvent: watched(span, options.onEvent) }))
      end(() => (result.type === "suspended" ? suspendedRun(result, machine) : outcomeOf(result)))
      return result
    } catch (thrown) {
      end(() => rejected(thrown))
      throw thrown
    }
  }

  return {
    traced: (host) => traced(host),
    recordGoal: (outputs) => metrics.goal(outputs),
    // The run loop suspends only where the options allow it.
    runTurn: run as OpenTelemetry["runTurn"],
  }
}

/** Records requests for a decision, decisions and redirections as events of the turn's span. */
function watched(span: QuietSpan, onEvent: RunOptions["onEvent"]): NonNullable<RunOptions["onEvent"]> {
  return (event) => {
    const [name, attributes] = steeringEvent(event) ?? []
    if (name !== undefined) span.event(name, () => attributes ?? {})
    return onEvent?.(event)
  }
}

function effectAttributes({ effectId, idempotencyKey }: EffectContext, turn: TracedTurn | undefined): Attributes {
  return {
    "turn_machine.effect.id": effectId,
    ...(idempotencyKey !== undefined && { "turn_machine.idempotency_key": idempotencyKey }),
    ...(turn && { "turn_machine.iteration": turn.machine.iteration }),
    ...(turn?.redelivered === effectId && { "turn_machine.redelivered": true }),
  }
}

function prefixAttributes({ at, reason, marked }: MarkedBreak): Attributes {
  return { "turn_machine.prefix.at": at, "turn_machine.prefix.reason": reason, "turn_machine.prefix.marked": marked }
}

function codeAttributes({ language, code }: ExecCode, captureContent: boolean): Attributes {
  return {
    ...(language !== undefined && { "turn_machine.code.language": language }),
    ...(captureContent && { "turn_machine.code.text": code }),
  }
}

function toolAttributes({ callId, toolName }: PendingToolCall): Attributes {
  return { "gen_ai.tool.name": toolName, "gen_ai.tool.call.id": callId, "gen_ai.tool.type": "function" }
}
