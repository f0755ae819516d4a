import { readGoal } from "../../drivers/goal/history.ts"
import { addUsage, tokensOf } from "../../machine/limits.ts"
import type { TurnMachine } from "../../machine/turn-machine.ts"
import type { TokenUsage } from "../../wire/usage.ts"
import type { EffectContext, TokensLeft } from "../host.ts"
import { countedIn } from "../run/lease-left.ts"
import type { ThreadState } from "./thread-state.ts"

/** The usage of a turn that is counted so far, with what no response reported. */
export function countedUsage({ usage, turn }: TurnMachine, threadId: string): TokenUsage {
  // Not `machine.history`, which copies the whole thread: this is called for each model call.
  return addUsage(usage, readGoal(turn.record.events, threadId).unreported)
}

/** What the goal of a thread has left for children of the running turn; `undefined`: it has no budget, or the turn is not charged to it. */
export function tokensLeft(thread: ThreadState, machine: TurnMachine, turnId: string): TokensLeft | undefined {
  const { goal, turn, memory } = readGoal(machine.turn.record.events, thread.threadId).state
  if (goal === null || goal.tokenBudget === null || turn?.marked !== true) return undefined
  const uncharged = tokensOf(countedUsage(machine, thread.threadId)) - tokensOf(turn.charged)
  const used = goal.tokensUsed + goal.childTokensUsed + Math.max(0, uncharged) + turn.childTokens
  return {
    tokens: goal.tokenBudget - used - (thread.children?.reserved(turnId, memory) ?? 0),
    counted(child) {
      if (child.parent.detached === undefined) return countedIn(machine, child)
      return memory.children?.find(({ childId }) => childId === child.turnId)?.tokens ?? 0
    },
  }
}

/** The context of a tool call whose children share what the goal has left. */
export function withTokensLeft(context: EffectContext, thread: ThreadState, machine: TurnMachine, turnId: string): EffectContext {
  const { child } = context
  if (child === undefined) return context
  return { ...context, child: (name) => ({ ...child(name), left: () => tokensLeft(thread, machine, turnId) }) }
}
