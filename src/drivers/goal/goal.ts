import type { Goal, GoalEvent, GoalMemory, GoalState, GoalStatus } from "../../schemas/goal.ts"

/** The state of a thread on which nothing has happened yet. */
export function newGoalState(threadId: string): GoalState {
  return { threadId, goal: null, memory: NEW_MEMORY, turn: null, clock: { seenAt: null, markedAt: null } }
}

/**
 * The state that the events of a history leave: equal to the live one but for an open turn, usage that was not written yet,
 * and the running clock, of which there is none. Events of other threads (a copied history has some) are passed over.
 */
export function foldGoal(threadId: string, events: readonly GoalEvent[]): GoalState {
  let state = newGoalState(threadId)
  for (const event of events) if (event.threadId === threadId) state = foldEvent(state, event)
  return state
}

/** Every event holds the whole of what it leaves, so the last of a shortened history is enough. */
function foldEvent(state: GoalState, { at, goal, memory }: GoalEvent): GoalState {
  return { ...state, goal, memory, clock: { seenAt: at, markedAt: null } }
}

/** What a thread without a goal remembers. */
export const NEW_MEMORY: GoalMemory = {
  goalsMade: 0,
  costMicros: 0,
  deferred: false,
  interrupted: false,
  limitTold: false,
  idleContinuations: 0,
  repeatedAnswers: 0,
  continuationsBefore: 0,
  transientErrors: 0,
  blockedTurns: 0,
}

/** Whether usage is charged in this status: while the goal is pursued, and on to the end of the turn that reached a budget. */
export function isCharged(status: GoalStatus): boolean {
  return status === "active" || status === "budget_limited"
}

/** The goal in another status. A reason says why it stopped; one that goes on, or is done, has none. */
export function withStatus(goal: Goal, status: GoalStatus, reason?: string): Goal {
  const { reason: _, ...rest } = goal
  return reason === undefined ? { ...rest, status } : { ...rest, status, reason }
}
