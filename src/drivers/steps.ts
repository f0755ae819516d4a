import type { DriverContext } from "../machine/driver.ts"
import { stopped } from "../machine/terminal.ts"
import type { DriverAction } from "../schemas/action.ts"
import type { HistoryRecord, Message } from "../schemas/message.ts"
import { assistantParts, type ReadResponse } from "./response-parts.ts"

/** A message as a record of the history. */
export function conversation(message: Message): HistoryRecord {
  return { type: "conversation", message }
}

/** A model's answer as a record of the history. */
export function assistantRecord(context: DriverContext, read: ReadResponse): HistoryRecord {
  const id = context.newMessageId("assistant")
  return conversation({ id, role: "assistant", parts: assistantParts(id, read) })
}

/** Goes on with the next iteration, by way of a checkpoint; or, where the turn's limit is reached, says so and stops. */
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
