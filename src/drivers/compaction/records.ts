import type { DriverContext } from "../../machine/driver.ts"
import type { DriverAction } from "../../wire/action.ts"
import type { CompactionFailed, CompactionNeeded, CompactionRecord } from "../../wire/compaction.ts"
import type { HistoryRecord } from "../../wire/message.ts"

/** An event of compaction as a history record. */
export function protocol(event: CompactionRecord | CompactionNeeded | CompactionFailed): HistoryRecord {
  return { type: "protocol", event }
}

/** The record of a failed compaction. */
export function failedRecord({ messages }: DriverContext, facts: Omit<CompactionFailed, "type" | "count">): HistoryRecord {
  return protocol({ type: "compaction_failed", ...facts, count: messages.length })
}

export function recordActions(events: readonly HistoryRecord[]): readonly DriverAction[] {
  return [{ type: "append_events", events }]
}
