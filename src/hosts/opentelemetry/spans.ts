import {
  type Attributes,
  type Context,
  context as contexts,
  isSpanContextValid,
  type Link,
  ROOT_CONTEXT,
  type Span,
  type SpanKind,
  SpanStatusCode,
  type Tracer,
  trace,
} from "@opentelemetry/api"
import type { TurnEvent } from "../../wire/event.ts"
import type { TokenUsage } from "../../wire/llm.ts"
import { wrapMembers } from "../../wrap.ts"
import type { ChildPlace, EffectContext } from "../host.ts"
import { onAbort } from "../timers.ts"
import type { ChunkClock } from "./chunks.ts"
import { errorType, type Names } from "./conventions.ts"
import { bareException, type SpanError, wholeException } from "./exceptions.ts"
import { quietly } from "./quietly.ts"

/** Where spans go, and what they may hold. */
export interface Tracing {
  readonly tracer: Tracer | undefined
  readonly names: Names
  /** Also records prompts, answers, arguments, results and code. */
  readonly captureContent: boolean
  /** Also records the messages of errors. */
  readonly captureErrorMessages: boolean
}

/** The result of a span's work. */
export interface Ending {
  readonly attributes?: Attributes
  readonly usage?: TokenUsage
  /** What failed attempts in the call used. */
  readonly retriedUsage?: TokenUsage
  readonly costUsd?: number
  readonly error?: SpanError
  /** The work was cancelled, which is not an error. */
  readonly cancelled?: true
}

/** The start of a span. */
export interface SpanStart {
  readonly name: string
  readonly kind: SpanKind
  readonly attributes: () => Attributes
  readonly parent: Context
  /** Other spans that led to this one, as `traceparent`. One that is the parent is not linked. */
  readonly links?: readonly (string | undefined)[]
}

/** A call of one executor, and how its result ends the span. */
export interface SpannedWork<Answer> extends SpanStart {
  readonly effect: EffectContext
  /** Of a model call: measures its answer as it arrives. */
  readonly clock?: ChunkClock
  /** Called when the work is aborted: calls `cutOff` when nothing more is to come of it. Returns a function that no longer does. */
  left(cutOff: () => void): () => void
  execute(effect: EffectContext): Promise<Answer>
  answered(answer: Answer): Ending
  failed(thrown: unknown): Ending
  /** Called once, when the span has ended. */
  measure?(seconds: number, ending: Ending): void
}

/** The active context of the caller. */
export function active(): Context {
  return quietly(() => contexts.active()) ?? ROOT_CONTEXT
}

/** A span that never throws. It may be missing if it could not be started. It ends once; later calls are ignored. */
export class QuietSpan {
  /** Spans that are started in this context are children of this one. */
  readonly context: Context
  readonly #tracing: Tracing
  readonly #span: Span | undefined
  readonly #startedAt: number = performance.now()
  #ended = false

  constructor(tracing: Tracing, { name, kind, attributes, parent, links = [] }: SpanStart) {
    this.#tracing = tracing
    const linked = links.flatMap((link) => quietly(() => linksTo(link, parent)) ?? [])
    const span = quietly(() =>
      tracing.tracer?.startSpan(name, { kind, attributes: quietly(attributes) ?? {}, ...(linked.length > 0 && { links: linked }) }, parent),
    )
    this.#span = span
    this.context = (span && quietly(() => trace.setSpan(parent, span))) ?? parent
  }

  set(attributes: () => Attributes): void {
    if (!this.#ended) quietly(() => this.#span?.setAttributes(attributes()))
  }

  event(name: string, attributes: () => Attributes): void {
    if (!this.#ended) quietly(() => this.#span?.addEvent(name, attributes()))
  }

  /** Ends the span. Returns its ending and its duration in seconds; `undefined` if it had already ended. */
  end(describe: () => Ending): { readonly seconds: number; readonly ending: Ending } | undefined {
    if (this.#ended) return undefined
    this.#ended = true
    const seconds = (performance.now() - this.#startedAt) / 1_000
    const ending = quietly(describe) ?? {}
    const { attributes, cancelled, error } = ending
    quietly(() => {
      this.#span?.setAttributes({
        ...attributes,
        ...(cancelled && { "turn_machine.cancelled": true }),
        ...(error && { "error.type": error.type }),
      })
    })
    if (error !== undefined) this.#fail(error)
    quietly(() => this.#span?.end())
    return { seconds, ending }
  }

  #fail(error: SpanError): void {
    const { exception, message } = error
    const { captureErrorMessages } = this.#tracing
    if (exception !== undefined)
      quietly(() => this.#span?.recordException(captureErrorMessages ? wholeException(error, exception) : bareException(error, exception)))
    quietly(() => this.#span?.setStatus({ code: SpanStatusCode.ERROR, ...(captureErrorMessages && { message }) }))
  }
}

function linksTo(traceparent: string | undefined, parent: Context): Link[] {
  const [, traceId = "", spanId = "", flags = ""] = /^00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})$/.exec(traceparent ?? "") ?? []
  const context = { traceId, spanId, traceFlags: Number.parseInt(flags, 16), isRemote: true }
  if (!isSpanContextValid(context) || trace.getSpanContext(parent)?.spanId === spanId) return []
  return [{ context }]
}

/** The `traceparent` of the span of a context; `undefined`: it has none. */
export function traceparentOf(context: Context): string | undefined {
  const span = quietly(() => trace.getSpanContext(context))
  if (span === undefined || !isSpanContextValid(span)) return undefined
  return `00-${span.traceId}-${span.spanId}-${(span.traceFlags & 0xff).toString(16).padStart(2, "0")}`
}

/** Runs an executor in a span. Its answer or error is passed on unchanged. */
export async function inSpan<Answer>(tracing: Tracing, work: SpannedWork<Answer>): Promise<Answer> {
  const { clock, effect } = work
  const span = new QuietSpan(tracing, work)
  const end = (describe: () => Ending): void => {
    const ended = span.end(describe)
    if (ended !== undefined) quietly(() => work.measure?.(ended.seconds, ended.ending))
  }
  // What was used until then is paid for, and the executor says it when it ends. It may never end.
  const cutOff = (describe: () => Ending = () => ({})): void =>
    end(() => {
      const { error: _error, ...known } = quietly(describe) ?? {}
      return { ...(clock && { attributes: clock.attributes }), ...known, cancelled: true }
    })
  const emit = (next: EffectContext["emit"], event: TurnEvent): void => {
    if (event.type === "retry_status") span.event("turn_machine.retry", () => retryAttributes(event, tracing.captureErrorMessages))
    else clock?.emitted(event)
    next(event)
  }
  let forget = (): void => {}
  const stopWaiting = onAbort(effect.signal, () => {
    forget = work.left(cutOff)
  })
  try {
    // A child of the call says in its journal in which span it began, for the process that resumes it.
    const trace = traceparentOf(span.context)
    const child = (next: NonNullable<EffectContext["child"]>, name?: string): ChildPlace => {
      const place = next(name)
      return trace === undefined ? place : { ...place, parent: { ...place.parent, trace } }
    }
    const patch = { emit, ...(effect.child !== undefined && { child }), ...clock?.patch }
    const context = wrapMembers(effect, patch, clock === undefined ? {} : UNMEASURED)
    const answer = await within(span.context, () => work.execute(context))
    if (effect.signal.aborted) cutOff(() => work.answered(answer))
    else end(() => work.answered(answer))
    return answer
  } catch (thrown) {
    if (effect.signal.aborted) cutOff(() => work.failed(thrown))
    else end(() => work.failed(thrown))
    throw thrown
  } finally {
    stopWaiting()
    forget()
  }
}

/** What a model client calls in a host without other telemetry. */
const UNMEASURED = { sent: () => {}, received: () => {} }

/** Runs a function in a context. It runs exactly once, even if the context manager fails. */
export async function within<Value>(context: Context, run: () => Promise<Value>): Promise<Value> {
  let running: Promise<Value> | undefined
  const started = async (): Promise<Value> => run()
  quietly(() =>
    contexts.with(context, () => {
      running = started()
    }),
  )
  return running ?? started()
}

function retryAttributes(event: Extract<TurnEvent, { type: "retry_status" }>, captureErrorMessages: boolean): Attributes {
  const { attempt, maxAttempts, waitSeconds, reason, envelope } = event
  return {
    "turn_machine.retry.attempt": attempt,
    "turn_machine.retry.max_attempts": maxAttempts,
    "turn_machine.retry.wait_s": waitSeconds,
    ...(captureErrorMessages && { "turn_machine.retry.reason": reason }),
    ...(envelope?.code !== undefined && { "error.type": errorType(envelope.code) }),
  }
}
