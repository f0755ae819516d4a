import { addKnown, NO_USAGE } from "../../machine/limits.ts"
import type { LlmResponse, TokenUsage } from "../../wire/llm.ts"
import type { LlmComplete, Response } from "../../wire/response.ts"

/** How often a failed model call is made again, and after which waits. */
export interface RetryPolicy {
  /** How many attempts there are in all, with the first. At least 1. */
  readonly attempts: number
  /** The first wait, in milliseconds. Default 500. */
  readonly firstMs?: number
  /** The longest wait, in milliseconds. A failure whose `retryAt` is later is not retried. Default 60,000. */
  readonly maxMs?: number
  /** By what each wait is longer than the one before. Default 2. */
  readonly factor?: number
}

/** How long to wait before a model is called again, in milliseconds. `undefined`: its answer, or its failure, counts. */
export function retryDelay(policy: RetryPolicy | undefined, response: Response, attempt: number, at: number): number | undefined {
  if (policy === undefined || response.type !== "llm_complete" || response.result.ok || attempt >= policy.attempts) return undefined
  const { error, partial } = response.result
  // What was said is in the transcript, or on a screen.
  if (!error.retryable || (partial !== undefined && partial.text !== "")) return undefined
  const { firstMs = 500, maxMs = 60_000, factor = 2 } = policy
  const wanted = error.retryAt === undefined ? 0 : error.retryAt - at
  return wanted > maxMs ? undefined : Math.max(wanted, Math.min(maxMs, firstMs * factor ** (attempt - 1)))
}

/** An answer with the tokens of the failed attempts before it. */
export function failedAgain(response: Response, failed: Response | undefined): Response {
  if (response.type !== "llm_complete" || failed?.type !== "llm_complete") return response
  const spent = spentBy(failed)
  if (spent === undefined) return response
  const { result } = response
  if (result.ok) return { ...response, result: { ...result, response: { ...result.response, ...retried(result.response.retriedUsage, spent) } } }
  return { ...response, result: { ...result, error: { ...result.error, ...retried(result.error.retriedUsage, spent) } } }
}

/** What a cancelled call had said, with the tokens of the failed attempts before it. `undefined`: nothing was said or used. */
export function cutOffAgain(partial: LlmResponse | undefined, failed: Response | undefined): LlmResponse | undefined {
  const spent = failed?.type === "llm_complete" ? spentBy(failed) : undefined
  if (spent === undefined) return partial
  const said = partial ?? { text: "", parts: [], usage: NO_USAGE, terminalReason: "cancelled" }
  return { ...said, ...retried(said.retriedUsage, spent) }
}

function retried(known: TokenUsage | undefined, spent: TokenUsage): { readonly retriedUsage?: TokenUsage } {
  const sum = addKnown(known, spent)
  return sum === undefined ? {} : { retriedUsage: sum }
}

function spentBy({ result }: LlmComplete): TokenUsage | undefined {
  if (result.ok) return undefined
  const { error, partial } = result
  return addKnown(error.usage ?? partial?.usage, error.retriedUsage ?? partial?.retriedUsage)
}
