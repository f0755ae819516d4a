import type { ChecklistJudge } from "../../drivers/checklist/judge.ts"
import { estimateUsage } from "../../machine/usage-estimate.ts"
import type { Judgement } from "../../wire/checklist.ts"
import type { LlmCall } from "../../wire/effect.ts"
import type { LlmResponse, TokenUsage } from "../../wire/llm.ts"
import { type EffectContext, type Host, LlmCallError, type PerformOptions } from "../host.ts"
import { Work, type WorkOptions } from "../run/effect-run.ts"
import type { Answer } from "../run/execute.ts"
import { onAbort, sleep } from "../timers.ts"

/** The longest time for one call of a judge of a thread or a turn, in milliseconds, if its options name none. */
export const JUDGE_TIMEOUT_MS = 60_000

/**
 * Options of {@link runJudge}. Aborting `signal` stops the open call. `turnId` is the judged turn; an idempotency key is then
 * `turnId:judge:goalId:revision:effectId`.
 */
export interface JudgeOptions extends PerformOptions {
  /** Called before the first call and after each accepted answer. Save `judge.checkpoint()` here. Awaited. */
  readonly save?: (judge: ChecklistJudge) => Promise<void> | void
  /** How often the turn was judged, with this time, from 1. It is part of the idempotency keys from the second time on. */
  readonly attempt?: number
  /** The longest time for one call, in milliseconds. A call that takes longer fails. Default: no limit. */
  readonly timeoutMs?: number
  /** Waits for the time limit. Never rejects. Default: a timer. */
  readonly sleep?: (ms: number, signal: AbortSignal) => Promise<void>
  /** Called before each call. With `false`, the call is not made and the promise resolves to `undefined`. */
  readonly admit?: (call: LlmCall) => boolean
  /** Called with what a stopped call used, if it said something. Awaited. */
  readonly onStopped?: (usage: TokenUsage) => Promise<void> | void
}

/**
 * Runs a judge to its judgement: makes the model calls that it requests and handles the answers. `host` may be the host of the turns.
 * Accepts a judge in any state: new, restored, between calls, or finished.
 *
 * A failed call, an unusable answer or an executor that throws never rejects: the judge decides what it means. The promise rejects with
 * an error of `save`, `onEvent` or `now`, or one for which `isFatal` returns true. It resolves to `undefined` if `signal` is aborted or a
 * call is not admitted before there is a judgement. Then nothing is judged; the judge is as it was before the stopped call, and can run
 * again.
 *
 * Do not run a judge twice at the same time.
 */
export async function runJudge(judge: ChecklistJudge, host: Pick<Host, "llmCall">, options: JudgeOptions = {}): Promise<Judgement | undefined> {
  const { save, turnId, attempt, timeoutMs, sleep: wait = sleep, admit, onStopped, ...rest } = options
  const workOptions: WorkOptions = { ...rest, keyIds: turnId === undefined ? undefined : idsOf(judge, turnId, attempt) }
  const limited = timeoutMs === undefined ? host : withTimeLimit(host, timeoutMs, wait)
  await save?.(judge)
  for (let { outstanding } = judge; outstanding !== undefined; { outstanding } = judge) {
    if (options.signal?.aborted === true || admit?.(outstanding) === false) return undefined
    const work = new Work(outstanding, limited, workOptions)
    let answer: Answer | undefined
    try {
      answer = await work.next()
      if (answer !== undefined) handleAnswer(judge, answer)
    } finally {
      work.stop()
    }
    if (answer === undefined) {
      const { partial } = work
      if (partial !== undefined) await onStopped?.(usageOf(outstanding, partial))
      return undefined
    }
    await save?.(judge)
  }
  return judge.judgement
}

function usageOf({ request }: LlmCall, partial: LlmResponse): TokenUsage {
  const { inputTokens, cachedInputTokens, outputTokens } = partial.usage
  return inputTokens + cachedInputTokens + outputTokens === 0 ? estimateUsage(request, partial) : partial.usage
}

/** Fails a call that takes too long. The executor's signal is aborted, and what it said until then counts. */
function withTimeLimit({ llmCall }: Pick<Host, "llmCall">, timeoutMs: number, wait: NonNullable<JudgeOptions["sleep"]>): Pick<Host, "llmCall"> {
  return {
    async llmCall(call: LlmCall, context: EffectContext): Promise<LlmResponse> {
      const executor = new AbortController()
      const timer = new AbortController()
      const stopWaiting = onAbort(context.signal, () => executor.abort(context.signal.reason))
      const late = wait(timeoutMs, timer.signal).then(() => {
        if (timer.signal.aborted) return new Promise<never>(() => {})
        const failure = new LlmCallError({
          message: `The judge's model did not answer within ${timeoutMs} ms.`,
          code: "timeout",
          kind: "timeout",
          retryable: true,
          terminalReason: "provider_error",
        })
        executor.abort(failure)
        throw failure
      })
      try {
        return await Promise.race([llmCall(call, { ...context, signal: executor.signal }), late])
      } finally {
        stopWaiting()
        timer.abort()
      }
    },
  }
}

/** Differs from the turn's own ids, whose effects have the same numbers. Includes the revision, because a changed goal is judged again. */
function idsOf(judge: ChecklistJudge, turnId: string, attempt = 1): readonly (string | number)[] {
  const { goalId, revision } = judge.checkpoint().evaluation
  return [turnId, "judge", goalId, revision, ...(attempt === 1 ? [] : [`again${attempt}`])]
}

/** Handles an answer. One that the judge refuses fails its call. */
function handleAnswer(judge: ChecklistJudge, answer: Answer): void {
  try {
    judge.handle(answer.response)
  } catch (error) {
    judge.handle(answer.instead(error))
  }
}
