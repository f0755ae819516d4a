import { type Attributes, SpanKind } from "@opentelemetry/api"
import { addKnown } from "../../machine/limits.ts"
import type { MarkedBreak } from "../../replay/prefix.ts"
import type { Checkpoint, ExecCode, SyncExecutionSurface } from "../../wire/effect.ts"
import type { PendingToolCall } from "../../wire/tool.ts"
import { type EffectContext, type Host, wrapHost } from "../host.ts"
import type { TokenPrices } from "../models/prices.ts"
import { ChunkClock } from "./chunks.ts"
import { requestAttributes } from "./content.ts"
import { OTHER } from "./conventions.ts"
import { answeredCall, answeredCode, failedCall, failedCode, failedTool, failedWork, priced, producerOf, ranTool, recoveredCall } from "./endings.ts"
import type { Measured, TelemetryMetrics } from "./metrics.ts"
import { quietly } from "./quietly.ts"
import { active, type Ending, inSpan, type SpannedWork, type Tracing } from "./spans.ts"
import type { TracedTurn } from "./traced-turn.ts"

/** What is needed to trace a host. */
export interface HostTracing {
  readonly tracing: Tracing
  readonly metrics: TelemetryMetrics
  readonly provider: string
  /** `gen_ai.agent.name`, if the agent has one. */
  readonly agent: Attributes
  readonly prices: ((model: string) => TokenPrices | undefined) | undefined
}

/** How long the executor of a host without a turn has to say what it used after it was aborted, in milliseconds. As `RunOptions.cancelGraceMs`. */
const LEFT_MS = 2_000

function after(ms: number, act: () => void): () => void {
  const timer = setTimeout(act, ms)
  return () => clearTimeout(timer)
}

/** The name of code among tools. */
const CODE = "exec_code"

/** How an operation ended, for its metrics: what was cancelled has no duration. */
export function measured(seconds: number, { cancelled, error }: Ending): Measured {
  return { ...(cancelled !== true && { seconds }), ...(error && { errorType: error.type }) }
}

/** Wraps a host so that each call of an executor has a span: a child of the turn's, or else of the active one. */
export function tracedHost(host: Host, telemetry: HostTracing, turn?: TracedTurn): Host {
  const { agent, metrics, provider, tracing } = telemetry
  const { captureContent } = tracing
  /** The model of the turn; without one, of the last request. */
  let model = turn?.machine.model

  function work<Answer>(
    effect: EffectContext,
    rest: Pick<SpannedWork<Answer>, "name" | "attributes" | "execute" | "answered"> & Partial<SpannedWork<Answer>>,
  ): Promise<Answer> {
    turn?.endLeft(effect.effectId)
    return inSpan(tracing, {
      kind: SpanKind.INTERNAL,
      left: (cutOff) => turn?.left(effect.effectId, cutOff) ?? after(LEFT_MS, cutOff),
      parent: turn?.span.context ?? active(),
      failed: failedWork,
      ...rest,
      effect,
      attributes: () => ({ ...rest.attributes(), ...effectAttributes(effect, turn) }),
    })
  }

  /** The tag of a tool. A name that the model made up would be a time series of its own. */
  const known = (toolName: string): string => (turn === undefined || toolName === CODE || turn.offers(toolName) ? toolName : OTHER)

  const toolTags = (toolName: string, type: string): Attributes => ({
    ...agent,
    "gen_ai.provider.name": provider,
    ...(model !== undefined && { "gen_ai.request.model": model }),
    "gen_ai.tool.name": known(toolName),
    "gen_ai.tool.type": type,
  })

  const toolAttributes = ({ callId, toolName }: PendingToolCall): Attributes => ({
    ...agent,
    "gen_ai.tool.name": toolName,
    "gen_ai.tool.call.id": callId,
    "gen_ai.tool.type": "function",
  })

  /** Runs what concerns one call in a span. */
  function callWork<Answer>(
    verb: string,
    call: PendingToolCall,
    effect: EffectContext,
    rest: Omit<Parameters<typeof work<Answer>>[1], "name">,
  ): Promise<Answer> {
    turn?.hasSpan(call.callId)
    return work(effect, { name: `${verb} ${call.toolName}`, ...rest })
  }

  const codeAttributes = ({ language, code }: ExecCode): Attributes => ({
    ...agent,
    "gen_ai.tool.name": CODE,
    "gen_ai.tool.type": "extension",
    ...(language !== undefined && { "turn_machine.code.language": language }),
    ...(captureContent && { "turn_machine.code.text": code }),
  })

  return wrapHost(host, {
    llmCall(next, effect, context) {
      const { request, purpose } = effect
      const conversationId = turn?.conversationId ?? request.sessionId
      const conversation = conversationId === undefined ? {} : { "gen_ai.conversation.id": conversationId }
      if (turn !== undefined) turn.inferenceCalls += 1
      turn?.span.set(() => conversation)
      if (turn === undefined) model = request.model
      const operation = { "gen_ai.operation.name": "chat", "gen_ai.provider.name": provider, "gen_ai.request.model": request.model }
      const broken = turn && quietly(() => turn.prefixes.next(turn.machine.turn))
      if (broken !== undefined) metrics.prefixBreak(broken, operation)
      const clock = new ChunkClock((seconds) => metrics.chunk(seconds, { ...operation, ...clock.server }))
      const timed = (ending: Ending): Ending => ({ ...ending, attributes: { ...clock.attributes, ...ending.attributes } })
      return work(context, {
        name: `chat ${request.model}`,
        kind: SpanKind.CLIENT,
        clock,
        attributes: () => ({
          ...operation,
          ...conversation,
          ...requestAttributes(request, captureContent),
          ...(purpose !== undefined && { "turn_machine.llm.purpose": purpose }),
          ...(broken && prefixAttributes(broken)),
        }),
        execute: (inner) => next(effect, inner),
        answered: (response) => priced(timed(answeredCall(response, tracing)), response?.producer?.model ?? request.model, telemetry.prices),
        failed: (thrown) => priced(timed(failedCall(thrown, tracing)), producerOf(thrown, request.model), telemetry.prices),
        measure(seconds, ending) {
          const { attributes, costUsd, retriedUsage, usage } = ending
          if (turn !== undefined) turn.usage = addKnown(turn.usage, usage, retriedUsage)
          const answeredBy = attributes?.["gen_ai.response.model"]
          const tags = { ...operation, ...(answeredBy !== undefined && { "gen_ai.response.model": answeredBy }), ...clock.server }
          const { firstChunkSeconds } = clock
          metrics.inference(
            {
              ...measured(seconds, ending),
              ...(usage && { usage }),
              ...(retriedUsage && { retriedUsage }),
              ...(firstChunkSeconds !== undefined && { firstChunkSeconds }),
            },
            tags,
          )
          if (costUsd !== undefined) metrics.cost(costUsd, tags)
        },
      })
    },
    tools: {
      call(next, call, context) {
        if (turn !== undefined) turn.toolCalls += 1
        return callWork("execute_tool", call, context, {
          attributes: () => ({
            "gen_ai.operation.name": "execute_tool",
            ...toolAttributes(call),
            ...(captureContent && { "gen_ai.tool.call.arguments": JSON.stringify(call.args) }),
          }),
          execute: (inner) => next(call, inner),
          answered: (answer) => ranTool(answer, captureContent),
          failed: failedTool,
          measure: (seconds, ending) => metrics.tool(measured(seconds, ending), toolTags(call.toolName, "function")),
        })
      },
      recover: (next, call, context) =>
        callWork("recover_tool", call, context, {
          attributes: () => toolAttributes(call),
          execute: (inner) => next(call, inner),
          answered: (recovered) => recoveredCall(recovered),
        }),
      resume: (next, call, context) =>
        callWork("resume_tool", call, context, {
          attributes: () => toolAttributes(call),
          execute: (inner) => next(call, inner),
          answered: (answer) => (answer === undefined ? {} : ranTool(answer, captureContent)),
        }),
      cancel: (next, call, context) =>
        callWork("cancel_tool", call, context, {
          attributes: () => toolAttributes(call),
          execute: (inner) => next(call, inner),
          answered: (answer) => (answer === undefined ? {} : ranTool(answer, captureContent)),
        }),
    },
    code: {
      run: (next, effect, context) =>
        work(context, {
          name: `execute_tool ${CODE}`,
          attributes: () => ({ "gen_ai.operation.name": "execute_tool", ...codeAttributes(effect) }),
          execute: (inner) => next(effect, inner),
          answered: (answer) => answeredCode(answer, captureContent),
          failed: failedCode,
          measure: (seconds, ending) => metrics.tool(measured(seconds, ending), toolTags(CODE, "extension")),
        }),
      recover: (next, effect, context) =>
        work(context, {
          name: `recover_tool ${CODE}`,
          attributes: () => codeAttributes(effect),
          execute: (inner) => next(effect, inner),
          answered: (recovered) => recoveredCall(recovered),
          failed: failedCode,
        }),
    },
    // A host without a checkpoint handler does no work, so it has no span.
    ...(host.checkpoint !== undefined && {
      checkpoint: (next: NonNullable<Host["checkpoint"]>, effect: Checkpoint, context: EffectContext) =>
        work(context, {
          name: `checkpoint ${effect.checkpoint}`,
          attributes: () => ({}),
          execute: (inner) => next(effect, inner),
          answered: () => ({}),
        }),
    }),
    decide: (next, held, context) =>
      work(context, {
        name: "decide",
        attributes: () => ({ "turn_machine.held_calls": held.length }),
        execute: (inner) => next(held, inner),
        answered: (decisions) => ({ attributes: { "turn_machine.decisions": decisions?.length ?? 0 } }),
      }),
    ...(host.syncExecutionSurface !== undefined && {
      syncExecutionSurface: (next: NonNullable<Host["syncExecutionSurface"]>, effect: SyncExecutionSurface, context: EffectContext) =>
        work(context, {
          name: "sync_execution_surface",
          attributes: () => ({}),
          execute: (inner) => next(effect, inner),
          answered: () => ({}),
        }),
    }),
  })
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
