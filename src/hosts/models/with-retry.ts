import { addKnown } from "../../machine/limits.ts"
import { estimateUsage, isUsageMissing } from "../../machine/usage-estimate.ts"
import { unknownKey } from "../../unknown-key.ts"
import type { LlmCall } from "../../wire/effect.ts"
import type { LlmFailure, LlmResponse, TokenUsage } from "../../wire/llm.ts"
import { type EffectContext, type Host, LlmCallError } from "../host.ts"
import { sleep } from "../timers.ts"
import { CANCELLED } from "./http-model.ts"
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
  /** Clock, for tests: milliseconds since the epoch. */
  readonly now?: () => number
  /** Randomness, for tests: from 0 to 1. */
  readonly random?: () => number
  /** Wait before a retry, for tests. */
  readonly sleep?: (ms: number, signal: AbortSignal) => Promise<void>
}

const FIRST_WAIT_MS = 500

/**
 * Repeats the failed calls of a model client, if that may help and no text of the answer was emitted yet. The client throws
 * {@link LlmCallError} with `retryable`, and with `retryAt` where the provider said when. Before each wait `retry_status` is emitted. The
 * usage of failed attempts is in `retriedUsage`.
 * @throws {TypeError} an unknown option
 * @throws {RangeError} a count or time that is not a number of at least 0; `Infinity` is allowed
 */
export function withRetry(model: Pick<Host, "llmCall">, options: RetryOptions = {}): Pick<Host, "llmCall"> {
  checkRetryOptions(options)
  const { maxRetries = 3, maxRetryWaitMs = 60_000, now = Date.now, random = Math.random, sleep: wait = sleep } = options
  return {
    async llmCall(effect: LlmCall, context: EffectContext): Promise<LlmResponse> {
      let retriedUsage: TokenUsage | undefined
      for (let number = 1; ; number += 1) {
        let isShown = false
        const emit: EffectContext["emit"] = (event) => {
          if (event.type === "text_delta" && event.content !== "") isShown = true
          context.emit(event)
        }
        try {
          const response = await model.llmCall(effect, { ...context, emit })
          const retried = addKnown(retriedUsage, response.retriedUsage)
          return retried === undefined ? response : { ...response, retriedUsage: retried }
        } catch (error) {
          if (!(error instanceof LlmCallError) || context.isFatal?.(error) === true) throw error
          const { partial } = error
          const failure = withUsage(error.failure, retriedUsage)
          const askedMs = failure.retryAt === undefined ? undefined : Math.max(0, failure.retryAt - now())
          const refuse = (facts: Partial<LlmFailure> = {}): LlmCallError =>
            new LlmCallError({ ...failure, ...facts }, { partial, ...(error.cause !== undefined && { cause: error.cause }) })
          if (failure.retryable && askedMs !== undefined && askedMs > maxRetryWaitMs) throw refuse({ kind: "usage_limit", retryable: false })
          if (!failure.retryable || isShown || number > maxRetries || context.signal.aborted) throw refuse()
          const used = partial !== undefined && isUsageMissing(partial) ? estimateUsage(effect.request, partial) : partial?.usage
          retriedUsage = addKnown(failure.retriedUsage, failure.usage ?? used)
          const waitMs = retryWaitMs(number, askedMs, random(), { firstWaitMs: FIRST_WAIT_MS, maxWaitMs: maxRetryWaitMs })
          context.emit(retryStatus(failure, number, maxRetries + 1, waitMs))
          await orAborted(wait(waitMs, context.signal), context.signal).catch(() => undefined)
          if (context.signal.aborted) throw new LlmCallError(withUsage(CANCELLED, retriedUsage))
        }
      }
    },
  }
}

function withUsage(failure: LlmFailure, retried: TokenUsage | undefined): LlmFailure {
  const retriedUsage = addKnown(retried, failure.retriedUsage)
  return retriedUsage === undefined ? failure : { ...failure, retriedUsage }
}

/** The event before another attempt. `attempt`: the number of the failed one, from 1. */
export function retryStatus(failure: LlmFailure, attempt: number, maxAttempts: number, waitMs: number, reason: string = failure.message) {
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
  } as const
}

/**
 * Checks the options that concern retries.
 * @throws {TypeError} an unknown option
 * @throws {RangeError} a count or time that is not a number of at least 0
 */
function checkRetryOptions(options: RetryOptions): void {
  const known = ["maxRetries", "maxRetryWaitMs", "now", "random", "sleep"]
  const unknown = unknownKey(options, known)
  if (unknown !== undefined) {
    const { key, hint = `the options are ${known.join(", ")}.` } = unknown
    throw new TypeError(`withRetry has the unknown option ${JSON.stringify(key)}; ${hint}`)
  }
  for (const name of ["maxRetries", "maxRetryWaitMs"] as const) {
    const { [name]: value = 0 } = options
    if (!(value >= 0)) throw new RangeError(`${name} must be a number of at least 0, not ${value}.`)
  }
}
