import { tokensOf } from "../../machine/limits.ts"
import type { TurnMachine } from "../../machine/turn-machine.ts"
import type { CheckpointKind } from "../../wire/event.ts"
import type { QueuedInput } from "../journal/input-queue.ts"
import type { ThreadState } from "./thread-state.ts"

/**
 * Returns the inputs that a turn receives at a checkpoint, in order: what is assigned to it and what waits for a checkpoint; at its end, if there is
 * neither, the first input that waits for that. They are assigned to the turn in the log first, so that the log alone decides whether an input was
 * delivered or retracted. A turn at a limit receives nothing, because it would not answer.
 */
export async function assignInputs(thread: ThreadState, machine: TurnMachine, checkpoint: CheckpointKind): Promise<readonly QueuedInput[]> {
  const { log } = thread
  if (isAtLimit(thread, machine, checkpoint)) return []
  const now = log.queue.waitingFor("now")
  const isEnding = checkpoint === "before_completion" && now.length === 0 && thread.unreceived(machine).length === 0
  const more = isEnding ? log.queue.waitingFor("turn_end").slice(0, 1) : now
  if (more.length > 0) await thread.appendOrFail({ type: "assigned", at: thread.now(), inputs: more.map(({ inputId }) => inputId) })
  return thread.unreceived(machine)
}

/** Whether a turn ends instead of another model call. Its inputs begin the next turn. */
export function isAtLimit(thread: ThreadState, { turn, usage }: TurnMachine, checkpoint: CheckpointKind): boolean {
  const { turnLimitScheduled, deadlineAt } = turn.position
  if (checkpoint === "before_completion" && turnLimitScheduled) return true
  if (deadlineAt !== undefined && thread.now() >= deadlineAt) return true
  return thread.maxTokens !== undefined && tokensOf(usage) >= thread.maxTokens
}
