import { addKnown } from "../../machine/limits.ts"
import { estimateUsage, isUsageMissing } from "../../machine/usage-estimate.ts"
import type { LlmCall } from "../../wire/effect.ts"
import type { TurnEvent } from "../../wire/event.ts"
import type { LlmFailure, LlmRequest, LlmResponse, TokenUsage } from "../../wire/llm.ts"
import { type EffectContext, type Host, LlmCallError } from "../host.ts"
import { sleep } from "../timers.ts"
import { checkKnown, checkLimits } from "./check-options.ts"
import { CANCELLED } from "./network-failures.ts"
import { orAborted, retryWaitMs } from "./retry.ts"

/** Options of {@link withRetry}. */
export interface RetryOptions {
  /** The number of attempts after the first. Default 3. */
  readonly maxRetries?: number
  /**
   * The longest wait before a retry, in milliseconds. If the provider asks for more, the call fails at once, with kind `usage_limit` and the
   * time in `retryAt`. Default 60,000.
   */
  readonly maxRetryWaitMs?: number
  /**
   * What happens if a call fails after the user was shown a part of its answer. `stop`: the failure counts, and the shown part is stored as an
   * interrupted answer. `restart`: the answer begins anew after `retry_status`, so a user interface drops the text that it has shown of it.
   * Default `stop`.
   */
  readonly afterText?: "stop" | "restart"
  /** Clock, for tests: milliseconds since the epoch. */
  readonly now?: () => number
  /** Randomness, for tests: from 0 to 1. */
  readonly random?: () => number
  /** Wait before a retry, for tests. */
  readonly sleep?: (ms: number, signal: AbortSignal) => Promise<void>
}

const FIRST_WAIT_MS = 500

/**
 * Repeats the failed calls of a model client, if that may help and no text of the answer was emitted yet (see `afterText`). The client throws
 * {@link LlmCallError} with `retryable`, and with `retryAt` where the provider said when. Before each wait `retry_status` is emitted. The
 * usage of failed attempts is in `retriedUsage`.
 * @throws {TypeError} an unknown option
 * @throws {RangeError} a count or time that is not a number of at least 0; `Infinity` is allowed
 */
export function withRetry(model: Pick<Host, "llmCall">, options: RetryOptions = {}): Pick<Host, "llmCall"> {
  checkRetryOptions(options)
  const { afterText = "stop", maxRetries = 3, maxRetryWaitMs = 60_000, now = Date.now, random = Math.random, sleep: wait = sleep } = options
  const policy = { firstWaitMs: FIRST_WAIT_MS, maxWaitMs: maxRetryWaitMs }
  return {
    async llmCall(effect: LlmCall, context: EffectContext): Promise<LlmResponse> {
      let retriedUsage: TokenUsage | undefined
      for (let number = 1; ; number += 1) {
        const { isShown, result } = await attempted(model, effect, context)
        if (!(result instanceof LlmCallError)) {
          const retried = addKnown(retriedUsage, result.retriedUsage)
          return retried === undefined ? result : { ...result, retriedUsage: retried }
        }
        const failure = withUsage(result.failure, retriedUsage)
        const askedMs = failure.retryAt === undefined ? undefined : Math.max(0, failure.retryAt - now())
        const isTooLong = failure.retryable && askedMs !== undefined && askedMs > maxRetryWaitMs
        const isOver = isShown && afterText === "stop"
        if (isTooLong || !failure.retryable || isOver || number > maxRetries || context.signal.aborted) {
          throw withFailure(result, isTooLong ? { ...failure, kind: "usage_limit", retryable: false } : failure)
        }
        retriedUsage = addKnown(failure.retriedUsage, failure.usage ?? usageOf(effect.request, result.partial))
        const waitMs = retryWaitMs(number, askedMs, random(), policy)
        context.emit(retryStatus(failure, { attempt: number, maxAttempts: maxRetries + 1, waitMs }))
        await orAborted(wait(waitMs, context.signal), context.signal).catch(() => undefined)
        if (context.signal.aborted) throw new LlmCallError(withUsage(CANCELLED, retriedUsage))
      }
    },
  }
}

/** One attempt: its answer or its failure, and whether text of the answer was emitted. Any other error is the client's own, and is thrown. */
async function attempted(
  model: Pick<Host, "llmCall">,
  effect: LlmCall,
  context: EffectContext,
): Promise<{ readonly isShown: boolean; readonly result: LlmResponse | LlmCallError }> {
  let isShown = false
  const emit: EffectContext["emit"] = (event) => {
    if (event.type === "text_delta" && event.content !== "") isShown = true
    context.emit(event)
  }
  try {
    const result = await model.llmCall(effect, { ...context, emit })
    return { isShown, result }
  } catch (error) {
    if (!(error instanceof LlmCallError) || context.isFatal?.(error) === true) throw error
    return { isShown, result: error }
  }
}

/** The error with other facts about its failure. */
export function withFailure({ cause, partial: own }: LlmCallError, failure: LlmFailure, partial: LlmResponse | undefined = own): LlmCallError {
  return new LlmCallError(failure, { partial, ...(cause !== undefined && { cause }) })
}

function withUsage(failure: LlmFailure, retried: TokenUsage | undefined): LlmFailure {
  const retriedUsage = addKnown(retried, failure.retriedUsage)
  return retriedUsage === undefined ? failure : { ...failure, retriedUsage }
}

/** What a failed attempt used: as reported, or an estimate if it had begun to answer. */
export function usageOf(request: LlmRequest, partial: LlmResponse | undefined): TokenUsage | undefined {
  return partial !== undefined && isUsageMissing(partial) ? estimateUsage(request, partial) : partial?.usage
}

/** Where a call is in its attempts. */
export interface AttemptFacts {
  /** The number of the failed attempt, from 1. */
  readonly attempt: number
  readonly maxAttempts: number
  readonly waitMs: number
  /** Default: the message of the failure. */
  readonly reason?: string
}

/** The event before another attempt: the answer begins anew. */
export function retryStatus(failure: LlmFailure, { attempt, maxAttempts, reason = failure.message, waitMs }: AttemptFacts): TurnEvent {
  const { code, kind, message, retryAt, terminalReason } = failure
  return {
    type: "retry_status",
    waitSeconds: waitMs / 1_000,
    attempt,
    maxAttempts,
    reason,
    envelope: {
      kind: "llm_provider",
      ...(code !== undefined && { code }),
      terminalReason,
      ...(kind !== undefined && { failureKind: kind }),
      ...(retryAt !== undefined && { retryAt }),
      userMessage: message,
    },
  }
}

/** The options of {@link withRetry} among those of a client. @throws {TypeError | RangeError} one that it refuses */
export function retryOptions({ afterText, maxRetries, maxRetryWaitMs, now, random, sleep: wait }: RetryOptions): RetryOptions {
  const options = {
    ...(afterText !== undefined && { afterText }),
    ...(maxRetries !== undefined && { maxRetries }),
    ...(maxRetryWaitMs !== undefined && { maxRetryWaitMs }),
    ...(now !== undefined && { now }),
    ...(random !== undefined && { random }),
    ...(wait !== undefined && { sleep: wait }),
  }
  checkRetryOptions(options)
  return options
}

function checkRetryOptions(options: RetryOptions): void {
  checkKnown("withRetry", options, ["maxRetries", "maxRetryWaitMs", "afterText", "now", "random", "sleep"])
  checkLimits(options, ["maxRetries", "maxRetryWaitMs"])
  const { afterText = "stop" } = options
  if (afterText !== "stop" && afterText !== "restart") throw new TypeError(`afterText must be "stop" or "restart", not ${JSON.stringify(afterText)}.`)
}
