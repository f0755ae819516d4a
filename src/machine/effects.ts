import type { Done, Progress } from "../schemas/effect.ts"
import type { Outcome } from "../schemas/event.ts"
import type { HistoryRecord, Message } from "../schemas/message.ts"
import type { History } from "./history.ts"

/*
 * Both effects tell the whole transcript. It is made when `messages` is first read, so that telling costs the same at any
 * length: most hosts read `eventDelta` and leave `messages` alone. To JSON and to `structuredClone` it is a plain array.
 */

export function progressEffect(messages: History<Message>, eventDelta: readonly HistoryRecord[], iteration: number): Progress {
  return {
    type: "progress",
    get messages() {
      return messages.toArray()
    },
    eventDelta,
    iteration,
  }
}

export function doneEffect(outcome: Outcome, messages: History<Message>, eventDelta: readonly HistoryRecord[], iteration: number): Done {
  return {
    type: "done",
    outcome,
    get messages() {
      return messages.toArray()
    },
    eventDelta,
    iteration,
  }
}
