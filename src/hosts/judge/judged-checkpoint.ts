import type { Decision } from "../../drivers/checklist/decision.ts"
import { ChecklistJudge, type JudgeConfig } from "../../drivers/checklist/judge.ts"
import { applyJudgement } from "../../drivers/checklist/judgement.ts"
import { goalInputEvent } from "../../drivers/goal/deliveries.ts"
import type { Json } from "../../json.ts"
import { addUsage, NO_USAGE } from "../../machine/limits.ts"
import type { ChecklistState } from "../../wire/checklist.ts"
import type { Checkpoint } from "../../wire/effect.ts"
import type { GoalCommand } from "../../wire/goal.ts"
import type { TokenUsage } from "../../wire/llm.ts"
import type { CheckpointDelivery, Message } from "../../wire/message.ts"
import type { EffectContext, Host } from "../host.ts"
import { endOf } from "./judged-thread.ts"
import { lastAnswer } from "./judged-turn.ts"
import { JUDGE_TIMEOUT_MS, runJudge } from "./run-judge.ts"

/** Options of {@link judgedCheckpoint}. */
export interface JudgedTurnOptions {
  readonly judge: JudgeConfig
  /** The host whose model the judge calls. */
  readonly host: Pick<Host, "llmCall">
  /** The current checklist, with its goal set (`manageChecklist`). With `threadId`, the checklist of the thread's current goal. */
  readonly state: () => ChecklistState
  /** Stores the changed checklist. Awaited before anything is delivered. */
  readonly save: (state: ChecklistState, decision: Decision) => Promise<void> | void
  /** The current transcript: `() => machine.messages`. */
  readonly messages: () => readonly Message[]
  /**
   * The thread whose goal the checklist belongs to, if the turn has a goal driver. The judge's tokens are charged to the goal as usage of
   * a child, and the goal is completed, blocked or paused. Absent: only the checklist changes.
   */
  readonly threadId?: string
  /** What the user said since the answer that was judged last, for the judge. Default: unknown. */
  readonly said?: () => readonly string[]
  /** The cost of a usage of the judge's model, in micro-units. Default: no cost is charged. */
  readonly costMicros?: (usage: TokenUsage) => number
  /** The longest time for one call of the judge, in milliseconds. A call that takes longer fails. Default 60,000. */
  readonly timeoutMs?: number
  /** The host's clock, milliseconds since the epoch. Default `Date.now`. */
  readonly now?: () => number
}

/**
 * Creates a checkpoint handler that judges a turn before it ends (`before_completion`). While items are open, the model receives them
 * in a message that stays in the history, and the turn continues; otherwise the turn ends. A verdict to wait also ends it, with `notBefore`
 * in the checklist. Merge the result with the host's own deliveries (`mergeDeliveries`).
 *
 * After a crash before the delivery was stored, the turn is judged again. The first result is already stored by `save`, and settled items
 * stay settled.
 */
export function judgedCheckpoint(options: JudgedTurnOptions): (effect: Checkpoint, context: EffectContext) => Promise<CheckpointDelivery> {
  const { judge: config, host, state, save, messages, threadId, said, costMicros, timeoutMs = JUDGE_TIMEOUT_MS, now = Date.now } = options
  return async ({ checkpoint }, { signal, idempotencyKey, isFatal }) => {
    if (checkpoint !== "before_completion") return {}
    const at = Math.floor(now())
    let usage = NO_USAGE
    for (let attempt = 1; ; attempt += 1) {
      const transcript = { id: threadId ?? "conversation", messages: [...messages()] }
      const heard = said === undefined ? {} : { said: said() }
      const judge = new ChecklistJudge(config, state(), { response: lastAnswer(messages()), transcript, ...heard, at })
      const judgement = await runJudge(judge, host, {
        signal,
        now,
        attempt,
        timeoutMs,
        ...(idempotencyKey !== undefined && { turnId: idempotencyKey }),
        ...(isFatal !== undefined && { isFatal }),
      })
      if (judgement === undefined) return {}
      usage = addUsage(usage, judgement.usage)
      const { state: next, decision } = applyJudgement(config, state(), judgement, at)
      await save(next, decision)
      // A user changed the list during the judgement: the same answer is judged again with the current list.
      if (decision.verdict === "stale" && !signal.aborted) continue
      const { shouldContinue, continuationPrompt } = decision
      const charged = { usage, ...(costMicros !== undefined && { costMicros: costMicros(usage) }) }
      const events = threadId === undefined ? [] : goalEvents(threadId, charged, goalEnd(next, decision), at)
      return {
        ...(shouldContinue && continuationPrompt !== undefined && { userMessages: [promptMessage(next, continuationPrompt)] }),
        ...(events.length > 0 && { events }),
      }
    }
  }
}

/** The prompt as a message that stays in the history. Each judgement of a thread raises the revision or the goal's number, so ids are unique. */
function promptMessage({ goal }: ChecklistState, text: string): Message {
  const id = `judge-${goal?.goalId}-${goal?.revision}`
  return { id, role: "user", parts: [{ id: `${id}.p0`, type: "text", text }], origin: { type: "plugin", pluginId: "goal" } }
}

function goalEvents(
  threadId: string,
  charged: { readonly usage: TokenUsage; readonly costMicros?: number },
  { status, reason, wait }: ReturnType<typeof endOf>,
  at: number,
): readonly Json[] {
  const input = (command: GoalCommand): Json => goalInputEvent(threadId, { type: "command", at, command })
  return [
    goalInputEvent(threadId, { type: "child_usage_reported", at, ...charged }),
    // The checks of the goal, if any, decide after the turn.
    ...(status === "complete" ? [input({ type: "complete" })] : []),
    ...(status === undefined || status === "complete" ? [] : [input({ type: "set", status, ...(reason !== undefined && { reason }) })]),
    ...(wait === undefined ? [] : [input({ type: "wait", ...wait })]),
  ]
}

/** A list that is already inactive was settled by a user, or by a judgement whose delivery was lost. The goal has not received it. */
function goalEnd({ goal }: ChecklistState, decision: Decision): ReturnType<typeof endOf> {
  if (decision.verdict !== "inactive") return endOf(decision)
  if (goal?.status === "done") return endOf({ ...decision, notice: { type: "done" } })
  const reason = goal?.status === "paused" ? goal.pausedReason : undefined
  if (reason === undefined || reason.type === "user" || reason.type === "text") return {}
  return endOf({ ...decision, notice: { type: "paused", reason } })
}
