import { chargedGoal } from "../../drivers/goal/history.ts"
import { tokensOf } from "../../machine/limits.ts"
import type { GoalInput } from "../../wire/goal.ts"
import { readTurn, turnTree } from "../child/turn-tree.ts"
import { callKey } from "../child/turn-usage.ts"
import { childrenPrefix } from "../run/child-place.ts"
import type { ThreadState } from "./thread-state.ts"

/**
 * Charges the goal with what the children of the last turn have used, if it was cancelled, whose calls ended without a result: they took longer
 * to end than their parent waited. Their reports are cumulative, so it is repeated when the thread runs again: the process may have died
 * before it was stored, and a child may have used more since.
 */
export async function chargeLeftChildren(thread: ThreadState): Promise<void> {
  const { store, log, threadId } = thread
  const { turnId, outcome } = log.lastTurn ?? {}
  if (!thread.hasGoals || turnId === undefined || log.turn !== undefined || outcome?.type !== "stopped" || outcome.stop.type !== "cancelled") return
  const goalId = chargedGoal(log.records, threadId, turnId)
  if (goalId === undefined) return
  const prefix = childrenPrefix(turnId)
  const inputs: GoalInput[] = []
  let turn: Awaited<ReturnType<typeof readTurn>>
  for await (const name of store.list({ prefix })) {
    if (name.includes(childrenPrefix(""), prefix.length)) continue
    turn ??= await readTurn(store, turnId)
    const child = await turnTree(store, name)
    if (child?.parent === undefined || child.parent.turnId !== turn?.turnId || child.parent.detached !== undefined) continue
    if (turn.countedCalls.has(callKey(child.parent.effectId, child.parent.callId)) || tokensOf(child.total) === 0) continue
    inputs.push({ type: "child_usage_reported", at: thread.now(), childId: child.turnId, goalId, usage: child.total })
  }
  if (inputs.length > 0) await thread.apply(inputs)
}
