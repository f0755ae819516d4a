import type { DriverContext } from "../machine/driver.ts"
import { stopped } from "../machine/terminal.ts"
import type { DriverAction } from "../wire/action.ts"
import type { HistoryRecord, Message } from "../wire/message.ts"
import { assistantParts, type ReadResponse } from "./response-parts.ts"

/** Wraps a message as a history record. */
export function conversation(message: Message): HistoryRecord {
  return { type: "conversation", message }
}

/** Builds the history record of a model's answer. */
export function assistantRecord(context: DriverContext, read: ReadResponse): HistoryRecord {
  const id = context.newMessageId("assistant")
  return conversation({ id, role: "assistant", parts: assistantParts(id, read) })
}

/**
 * Returns the actions that start the next iteration, after an `after_work` checkpoint.
 * At the turn's limit they append a message about the limit and finish the turn as `max_iterations`.
 */
export function nextIteration(context: DriverContext): readonly DriverAction[] {
  if (!context.limitReached(1)) {
    return [{ type: "advance_iteration" }, { type: "start_checkpoint", checkpoint: "after_work", onEmpty: { type: "prepare_iteration" } }]
  }
  return [
    { type: "advance_iteration" },
    { type: "append_events", events: [conversation(context.turnLimitMessage())] },
    { type: "finish", outcome: stopped("max_iterations") },
  ]
}
