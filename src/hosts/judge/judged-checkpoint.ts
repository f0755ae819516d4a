import type { Decision } from "../../drivers/checklist/decision.ts"
import { ChecklistJudge, type JudgeConfig } from "../../drivers/checklist/judge.ts"
import { applyJudgement } from "../../drivers/checklist/judgement.ts"
import { goalInputEvent } from "../../drivers/goal/deliveries.ts"
import type { Json } from "../../json.ts"
import { addUsage, NO_USAGE } from "../../machine/limits.ts"
import type { ChecklistState } from "../../schemas/checklist.ts"
import type { Checkpoint } from "../../schemas/effect.ts"
import type { TokenUsage } from "../../schemas/llm.ts"
import type { CheckpointDelivery, Message } from "../../schemas/message.ts"
import type { EffectContext, Host } from "../host.ts"
import { endOf, lastAnswer } from "./judged-thread.ts"
import { runJudge } from "./run-judge.ts"

/** How a turn is judged where it would end. */
export interface JudgedTurnOptions {
  readonly judge: JudgeConfig
  /** Whose model the judge asks. */
  readonly host: Pick<Host, "llmCall">
  /** The list as it stands, with a goal that is set (`manageChecklist`); with `threadId`, that of the thread's goal as it is now. */
  readonly state: () => ChecklistState
  /** Keeps the list as it is now; awaited before anything is delivered. */
  readonly keep: (state: ChecklistState, decision: Decision) => Promise<void> | void
  /** The transcript at this moment: `() => machine.messages`. */
  readonly messages: () => readonly Message[]
  /**
   * The thread whose goal the list is for, where the turn has a goal driver: the judge's tokens are charged as a child's, and
   * done, blocked and paused are told to the goal. Absent: there is the list alone.
   */
  readonly threadId?: string
  /** The host's clock, milliseconds since the epoch. Default `Date.now`. */
  readonly now?: () => number
}

/**
 * A checkpoint handler that lets a judge rule where a turn would end (`before_completion`), so that one turn goes on until its
 * list is settled: what is open is said to the model, and anything else lets the turn end. A verdict to wait ends it, too;
 * `notBefore` then stands in the list. To be merged with a host's own deliveries (`mergeDeliveries`).
 *
 * The judge is asked again where a process died before the delivery was kept; what it found was kept by `keep`, and the list
 * changes for the better only.
 */
export function judgedCheckpoint(options: JudgedTurnOptions): (effect: Checkpoint, context: EffectContext) => Promise<CheckpointDelivery> {
  const { judge: config, host, state, keep, messages, threadId, now = Date.now } = options
  return async ({ checkpoint }, { signal, idempotencyKey }) => {
    if (checkpoint !== "before_completion") return {}
    const at = Math.floor(now())
    let usage = NO_USAGE
    for (;;) {
      const judge = new ChecklistJudge(config, state(), { response: lastAnswer(messages()), transcript: { id: "", messages: [...messages()] }, at })
      const judgement = await runJudge(judge, host, { signal, now, ...(idempotencyKey !== undefined && { turnId: idempotencyKey }) })
      if (judgement === undefined) return {}
      usage = addUsage(usage, judgement.usage)
      const { state: next, decision } = applyJudgement(config, state(), judgement, at)
      await keep(next, decision)
      // A user did something that the judge did not know of: the same answer, with the list as it is now.
      if (decision.verdict === "stale" && !signal.aborted) continue
      const { shouldContinue, continuationPrompt } = decision
      const events = threadId === undefined ? [] : goalEvents(threadId, usage, meaning(next, decision), at)
      return {
        ...(shouldContinue && continuationPrompt !== undefined && { transientMessages: [{ role: "user", content: continuationPrompt }] }),
        ...(events.length > 0 && { events }),
      }
    }
  }
}

function goalEvents(threadId: string, usage: TokenUsage, end: ReturnType<typeof endOf>, at: number): readonly Json[] {
  const charged = goalInputEvent(threadId, { type: "child_usage_reported", at, usage })
  if (end.status === undefined) return [charged]
  return [charged, goalInputEvent(threadId, { type: "command", at, command: { type: "set", ...end } })]
}

/** A list that is over already was settled by a user, or by a judgement whose delivery was lost: the goal was not told. */
function meaning({ goal }: ChecklistState, decision: Decision): ReturnType<typeof endOf> {
  if (decision.verdict !== "inactive") return endOf(decision)
  if (goal?.status === "done") return endOf({ ...decision, notice: { type: "done" } })
  const reason = goal?.status === "paused" ? goal.pausedReason : undefined
  if (reason === undefined || reason.type === "user" || reason.type === "text") return {}
  return endOf({ ...decision, notice: { type: "paused", reason } })
}
