import { tokensOf } from "../../machine/limits.ts"
import type { TurnMachine } from "../../machine/turn-machine.ts"
import type { JournalParent } from "../../wire/journal.ts"
import type { TokenUsage } from "../../wire/usage.ts"
import type { TokensLeft } from "../host.ts"

/** What a turn that is a child has left of its lease for children of its own; `undefined`: it has no lease. */
export function leaseLeft(machine: TurnMachine, lease: number | undefined): TokensLeft | undefined {
  if (lease === undefined) return undefined
  return { tokens: lease - tokensOf(machine.usage), counted: (child) => countedIn(machine, child) }
}

/** The tokens of a child that its parent's turn counts: those of a child whose result it has. */
export function countedIn({ turn }: TurnMachine, { parent, usage }: { readonly parent: JournalParent; readonly usage: TokenUsage }): number {
  const { effectId, callId } = parent
  const { state } = turn.position
  if (state.type !== "waiting_tools" || effectId < state.outstanding.id) return tokensOf(usage)
  return state.results.some((result) => result?.callId === callId) ? tokensOf(usage) : 0
}
