import { withMessages } from "../lazy.ts"
import type { Done, Progress } from "../wire/effect.ts"
import type { Outcome } from "../wire/event.ts"
import type { HistoryRecord, Message } from "../wire/message.ts"
import type { TokenUsage } from "../wire/usage.ts"
import type { History } from "./history.ts"

// Both effects carry the whole transcript, though most hosts read only `eventDelta`.

/** Makes the effect that reports what became durable. */
export function progressEffect(messages: History<Message>, eventDelta: readonly HistoryRecord[], recordsFrom: number, iteration: number): Progress {
  return withMessages({ type: "progress", eventDelta, recordsFrom, iteration }, messages)
}

/** Makes the effect that reports how the turn ended. */
export function doneEffect(
  outcome: Outcome,
  messages: History<Message>,
  eventDelta: readonly HistoryRecord[],
  recordsFrom: number,
  { iteration, usage }: { readonly iteration: number; readonly usage: TokenUsage },
): Done {
  return withMessages({ type: "done", outcome, eventDelta, recordsFrom, iteration, usage }, messages)
}
