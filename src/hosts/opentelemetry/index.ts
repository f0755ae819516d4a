import { type Attributes, type Meter, SpanKind, type Tracer, trace } from "@opentelemetry/api"
import { since } from "../../drivers/goal/goal.ts"
import type { TurnMachine } from "../../machine/turn-machine.ts"
import type { Checkpoint, Done, SyncExecutionSurface } from "../../schemas/effect.ts"
import type { GoalOutput } from "../../schemas/goal.ts"
import type { PendingToolCall } from "../../schemas/tool.ts"
import { type EffectContext, type Host, type RunOptions, wrapHost } from "../host.ts"
import { runTurn } from "../run/run-turn.ts"
import { requestAttributes } from "./content.ts"
import { answeredCall, answeredCode, failedCall, failedTool, failedWork, outcomeOf, ranTool, recoveredCall, rejected } from "./endings.ts"
import { TelemetryMetrics } from "./metrics.ts"
import { active, inSpan, QuietSpan, quietly, type SpannedWork, within } from "./spans.ts"

/** The name of the tracer and of the meter, where they are the global ones. */
const SCOPE = "turn-machine"

/** What {@link openTelemetry} takes. */
export interface OpenTelemetryOptions {
  /** Who serves the model, as `gen_ai.provider.name`: `openai`, `anthropic`, `aws.bedrock`, … or a name of your own. */
  readonly provider: string
  /** As `gen_ai.agent.name`, and in the name of the turn's span. */
  readonly agentName?: string
  /** Records prompts, answers, arguments, results and code, too. Messages of errors are recorded anyway. Default `false`. */
  readonly captureContent?: boolean
  /** Default: the global one named `turn-machine`, which does nothing where no SDK is set up. */
  readonly tracer?: Tracer
  /** Default: likewise. */
  readonly meter?: Meter
}

/** How a traced turn is to run. */
export interface TracedRunOptions extends RunOptions {
  /** Names the thread, as `gen_ai.conversation.id`. Default: the `sessionId` of the turn's requests, if they have one. */
  readonly conversationId?: string
}

/** Spans and metrics of turns. A telemetry that fails changes nothing about them. */
export interface OpenTelemetry {
  /** As `runTurn`, in a span, with a child for each call of an executor. The span is a child of the one that is active. */
  runTurn(machine: TurnMachine, host: Host, options?: TracedRunOptions): Promise<Done>
  /** The host with its executors in spans, children of the one that is active: for a loop of your own, or `runJudge`. */
  traced(host: Host): Host
  /**
   * Counts what a goal machine answered: each `metric` among the outputs, under its name and with its tags. Give it the outputs
   * of `changeGoal`, and `goalChanges(eventDelta, …)` for what happened in a turn.
   */
  recordGoal(outputs: readonly GoalOutput[]): void
}

/** A turn that runs in a span. */
interface TracedTurn {
  readonly span: QuietSpan
  readonly machine: TurnMachine
  /** What may have been performed before, in part. */
  readonly redelivered: number | undefined
  readonly conversationId: string | undefined
}

/**
 * Tells OpenTelemetry what turns do: which model calls, which tools, how long, how many tokens, what failed.
 *
 *     const telemetry = openTelemetry({ provider: "openai" })
 *     const done = await telemetry.runTurn(machine, host, options)
 *
 * Names are those of the GenAI conventions in release 1.41.0 of OpenTelemetry's semantic conventions, where they have the status
 * Development; what they have no word for begins with `turn_machine.`.
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
        const { request } = effect
        const conversationId = turn?.conversationId ?? request.sessionId
        const known = {
          "gen_ai.request.model": request.model,
          ...(conversationId !== undefined && { "gen_ai.conversation.id": conversationId }),
        }
        turn?.span.set(() => known)
        const operation = { "gen_ai.operation.name": "chat", "gen_ai.provider.name": provider, "gen_ai.request.model": request.model }
        return work(context, turn, {
          name: `chat ${request.model}`,
          kind: SpanKind.CLIENT,
          attributes: () => ({ ...operation, ...known, ...requestAttributes(request, captureContent) }),
          execute: (inner) => next(effect, inner),
          answered: (response) => answeredCall(response, captureContent),
          failed: failedCall,
          measure(seconds, { usage, ...ending }) {
            metrics.duration(seconds, operation, ending)
            if (usage !== undefined) metrics.tokens(usage, operation)
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
            answered: recoveredCall,
          }),
      },
      execCode: (next, effect, context) =>
        work(context, turn, {
          name: "exec_code",
          attributes: () => ({
            ...(effect.language !== undefined && { "turn_machine.code.language": effect.language }),
            ...(captureContent && { "turn_machine.code.text": effect.code }),
          }),
          execute: (inner) => next(effect, inner),
          answered: (answer) => answeredCode(answer, captureContent),
        }),
      // A host without one delivers nothing: there is no work to show.
      ...(host.checkpoint !== undefined && {
        checkpoint: (next: NonNullable<Host["checkpoint"]>, effect: Checkpoint, context: EffectContext) =>
          work(context, turn, {
            name: `checkpoint ${effect.checkpoint}`,
            attributes: () => ({}),
            execute: (inner) => next(effect, inner),
            answered: () => ({}),
          }),
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

  return {
    traced: (host) => traced(host),
    recordGoal: (outputs) => metrics.goal(outputs),
    async runTurn(machine, host, { conversationId, ...options } = {}) {
      // A journal that was not begun has no turn id, and says so when it is used.
      const turnId = options.turnId ?? quietly(() => options.journal?.turnId)
      const operation = {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.provider.name": provider,
        ...(agentName !== undefined && { "gen_ai.agent.name": agentName }),
      }
      const span = new QuietSpan(tracer, {
        name: agentName === undefined ? "invoke_agent" : `invoke_agent ${agentName}`,
        kind: SpanKind.INTERNAL,
        parent: active(),
        attributes: () => ({
          ...operation,
          ...(conversationId !== undefined && { "gen_ai.conversation.id": conversationId }),
          ...(turnId !== undefined && { "turn_machine.turn.id": turnId }),
          ...(machine.state !== "preparing" && { "turn_machine.resumed": true }),
        }),
      })
      const before = machine.usage
      const turn: TracedTurn = { span, machine, redelivered: machine.outstanding?.id, conversationId }
      const end = (say: Parameters<QuietSpan["end"]>[0]): void => {
        // A turn that is taken up has used tokens before, which were told then.
        const ended = span.end(() => ({ ...say(), usage: since(before, machine.usage) }))
        if (ended !== undefined) metrics.duration(ended.seconds, operation, ended.ending)
      }
      try {
        const done = await within(span.context, () => runTurn(machine, traced(host, turn), options))
        end(() => outcomeOf(done))
        return done
      } catch (thrown) {
        end(() => rejected(thrown))
        throw thrown
      }
    },
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

function toolAttributes({ callId, toolName }: PendingToolCall): Attributes {
  return { "gen_ai.tool.name": toolName, "gen_ai.tool.call.id": callId, "gen_ai.tool.type": "function" }
}
