import {
  type Attributes,
  type Context,
  context as contexts,
  diag,
  type Exception,
  ROOT_CONTEXT,
  type Span,
  type SpanKind,
  SpanStatusCode,
  type Tracer,
  trace,
} from "@opentelemetry/api"
import type { TurnEvent } from "../../schemas/event.ts"
import type { TokenUsage } from "../../schemas/llm.ts"
import { wrapMembers } from "../../wrap.ts"
import type { EffectContext } from "../host.ts"
import { messageOf } from "../run/failures.ts"
import { usageAttributes } from "./content.ts"

/** What a span says at its end. */
export interface Ending {
  readonly attributes?: Attributes
  readonly usage?: TokenUsage
  readonly error?: SpanError
  /** Nobody waited for the end: it was cancelled, which is no error. */
  readonly cancelled?: true
}

/** What went wrong. Without an exception only the status tells it. */
export interface SpanError {
  readonly type: string
  readonly message: string
  readonly exception?: Exception
}

/** What was thrown as OpenTelemetry takes it: an error with its stack, anything else as a text. */
export function exceptionOf(thrown: unknown): Exception {
  return thrown instanceof Error ? thrown : messageOf(thrown)
}

/** What a span is begun with. */
export interface SpanStart {
  readonly name: string
  readonly kind: SpanKind
  readonly attributes: () => Attributes
  readonly parent: Context
}

/** One executor, and what its answer or its error is to its span. */
export interface SpannedWork<Answer> extends SpanStart {
  readonly effect: EffectContext
  execute(effect: EffectContext): Promise<Answer>
  answered(answer: Answer): Ending
  failed(thrown: unknown): Ending
  /** Told once, when the span has ended. */
  measure?(seconds: number, ending: Ending): void
}

/** A telemetry that fails is no failure of the turn: it is told to OpenTelemetry's own log, and forgotten. */
export function quietly<Value>(tell: () => Value): Value | undefined {
  try {
    return tell()
  } catch (error) {
    try {
      diag.warn("turn-machine: telemetry failed", messageOf(error))
    } catch {
      // Then there is nobody to tell.
    }
    return undefined
  }
}

/** The context of who calls. */
export function active(): Context {
  return quietly(() => contexts.active()) ?? ROOT_CONTEXT
}

/** A span that may not be there, because it could not be begun. It ends once; whatever is told to it later is dropped. */
export class QuietSpan {
  /** What is begun in here becomes a child of the span. */
  readonly context: Context
  readonly #span: Span | undefined
  readonly #startedAt: number = performance.now()
  #ended = false

  constructor(tracer: Tracer | undefined, { name, kind, attributes, parent }: SpanStart) {
    const span = quietly(() => tracer?.startSpan(name, { kind, attributes: quietly(attributes) ?? {} }, parent))
    this.#span = span
    this.context = (span && quietly(() => trace.setSpan(parent, span))) ?? parent
  }

  set(attributes: () => Attributes): void {
    if (!this.#ended) quietly(() => this.#span?.setAttributes(attributes()))
  }

  event(name: string, attributes: () => Attributes): void {
    if (!this.#ended) quietly(() => this.#span?.addEvent(name, attributes()))
  }

  /** Gives back what was said, with the seconds that it took; `undefined` if it had ended before. */
  end(say: () => Ending): { readonly seconds: number; readonly ending: Ending } | undefined {
    if (this.#ended) return undefined
    this.#ended = true
    const seconds = (performance.now() - this.#startedAt) / 1_000
    const ending = quietly(say) ?? {}
    const { attributes, usage, cancelled, error } = ending
    quietly(() => {
      this.#span?.setAttributes({
        ...attributes,
        ...(usage && usageAttributes(usage)),
        ...(cancelled && { "turn_machine.cancelled": true }),
        ...(error && { "error.type": error.type }),
      })
    })
    if (error !== undefined) {
      const { exception, message } = error
      if (exception !== undefined) quietly(() => this.#span?.recordException(exception))
      quietly(() => this.#span?.setStatus({ code: SpanStatusCode.ERROR, message }))
    }
    quietly(() => this.#span?.end())
    return { seconds, ending }
  }
}

/** Runs an executor in a span. Its answer and its error are passed on as they are. */
export async function inSpan<Answer>(tracer: Tracer | undefined, work: SpannedWork<Answer>): Promise<Answer> {
  const { effect } = work
  const span = new QuietSpan(tracer, work)
  const end = (say: () => Ending): void => {
    const ended = span.end(say)
    if (ended !== undefined) quietly(() => work.measure?.(ended.seconds, ended.ending))
  }
  // Whatever the executor does from then on is dropped, and it may never end.
  const cutOff = (): void => end(() => ({ cancelled: true }))
  const emit = (next: EffectContext["emit"], event: TurnEvent): void => {
    if (event.type === "retry_status") span.event("turn_machine.retry", () => retryAttributes(event))
    next(event)
  }
  effect.signal.addEventListener("abort", cutOff)
  try {
    const answer = await within(span.context, () => work.execute(wrapMembers(effect, { emit })))
    end(() => work.answered(answer))
    return answer
  } catch (thrown) {
    if (effect.signal.aborted) cutOff()
    else end(() => work.failed(thrown))
    throw thrown
  } finally {
    effect.signal.removeEventListener("abort", cutOff)
  }
}

/** Runs something in a context, whatever becomes of the context: it is run once. */
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

function retryAttributes(event: Extract<TurnEvent, { type: "retry_status" }>): Attributes {
  const { attempt, maxAttempts, waitSeconds, reason, envelope } = event
  return {
    "turn_machine.retry.attempt": attempt,
    "turn_machine.retry.max_attempts": maxAttempts,
    "turn_machine.retry.wait_s": waitSeconds,
    "turn_machine.retry.reason": reason,
    ...(envelope?.code !== undefined && { "error.type": envelope.code }),
  }
}
