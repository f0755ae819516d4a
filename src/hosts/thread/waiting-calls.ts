import { CheckpointError, ReplayDivergence } from "../../errors.ts"
import type { TurnConfig } from "../../machine/config.ts"
import { undecidedCalls } from "../../machine/held.ts"
import type { Turn } from "../../machine/turn.ts"
import type { DecisionResult } from "../journal/outside-answers.ts"
import type { PendingApproval } from "../journal/pending-approvals.ts"
import { EventRecords, type EventSource } from "./event-records.ts"
import { configOf } from "./open-turn.ts"
import type { ThreadState } from "./thread-state.ts"

// A journal shows which calls wait by the snapshot that follows the model's answer. A process may die between the two. The events of the thread, which are
// replayed with the configuration of the turn, show the calls from the answer on; so they must be found, and decided, from there on, too.

/** The open turn of a thread that does not run. `undefined`: there is none, or it cannot be replayed. */
export async function replayedTurn(source: EventSource): Promise<Turn | undefined> {
  const records = await EventRecords.ofTail(source)
  if (records === undefined) return undefined
  for await (const _event of records.read(records.lastTurn));
  return records.replayed
}

/** The calls that a turn waits for; `undefined`: none. */
export function waitingCalls(turn: Turn | undefined, turnId: string): PendingApproval | undefined {
  if (turn?.position.state.type !== "waiting_tools") return undefined
  const { state, heldSince } = turn.position
  const held = undecidedCalls(state)
  const { pending } = state
  if (held.length === 0 && pending.length === 0) return undefined
  return { name: turnId, turnId, held, pending, ...(heldSince !== undefined && { since: heldSince }) }
}

/**
 * Decides again, with the turn replayed, where a journal does not show yet that the turn waits. `undefined`: it does, or the turn cannot be replayed, as
 * after a deployment of other code: then it has to run first.
 */
export async function decideReplayed(
  thread: ThreadState,
  results: readonly DecisionResult[],
  decide: (config: TurnConfig) => Promise<readonly DecisionResult[]>,
): Promise<readonly DecisionResult[] | undefined> {
  const { turn } = thread.log
  if (turn === undefined || !results.some(({ code }) => code === "not_waiting_for_tools")) return undefined
  try {
    return await decide(configOf(thread, turn))
  } catch (error) {
    if (error instanceof ReplayDivergence || error instanceof CheckpointError) return undefined
    throw error
  }
}
