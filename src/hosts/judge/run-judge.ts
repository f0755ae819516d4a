import type { ChecklistJudge } from "../../drivers/checklist/judge.ts"
import type { Judgement } from "../../wire/checklist.ts"
import type { Host, PerformOptions } from "../host.ts"
import { Work, type WorkOptions } from "../run/effect-run.ts"
import type { Answer } from "../run/execute.ts"

/**
 * Options of {@link runJudge}. Aborting `signal` stops the open call. `turnId` is the judged turn; an idempotency key is then
 * `turnId:judge:goalId:revision:effectId`.
 */
export interface JudgeOptions extends PerformOptions {
  /** Called before the first call and after each accepted answer. Save `judge.checkpoint()` here. Awaited. */
  readonly save?: (judge: ChecklistJudge) => Promise<void> | void
}

/**
 * Runs a judge to its judgement: makes the model calls that it requests and handles the answers. `host` may be the host of the turns.
 * Accepts a judge in any state: new, restored, between calls, or finished.
 *
 * A failed call, an unusable answer or an executor that throws never rejects: the judge decides what it means. The promise rejects with
 * an error of `save`, `onEvent` or `now`, or one for which `isFatal` returns true. It resolves to `undefined` if `signal` is aborted before
 * there is a judgement. Then nothing is judged or charged; the judge is as it was before the stopped call, and can run again.
 *
 * Do not run a judge twice at the same time.
 */
export async function runJudge(judge: ChecklistJudge, host: Pick<Host, "llmCall">, options: JudgeOptions = {}): Promise<Judgement | undefined> {
  const { save, turnId, ...rest } = options
  const workOptions: WorkOptions = { ...rest, keyIds: turnId === undefined ? undefined : idsOf(judge, turnId) }
  await save?.(judge)
  for (let { outstanding } = judge; outstanding !== undefined; { outstanding } = judge) {
    if (options.signal?.aborted === true) return undefined
    const work = new Work(outstanding, host, workOptions)
    try {
      const answer = await work.next()
      if (answer === undefined) return undefined
      handleAnswer(judge, answer)
    } finally {
      work.stop()
    }
    await save?.(judge)
  }
  return judge.judgement
}

/** Differs from the turn's own ids, whose effects have the same numbers. Includes the revision, because a changed goal is judged again. */
function idsOf(judge: ChecklistJudge, turnId: string): readonly (string | number)[] {
  const { goalId, revision } = judge.checkpoint().evaluation
  return [turnId, "judge", goalId, revision]
}

/** Handles an answer. One that the judge refuses fails its call. */
function handleAnswer(judge: ChecklistJudge, answer: Answer): void {
  try {
    judge.handle(answer.response)
  } catch (error) {
    judge.handle(answer.instead(error))
  }
}
