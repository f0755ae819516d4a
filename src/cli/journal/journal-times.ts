import type { Journal } from "../../replay/journal.ts"
import type { JournalRecord } from "../../schemas/journal.ts"

/** When a record was written, in milliseconds since the epoch; `undefined` where it does not say. */
export function timeOf(record: JournalRecord): number | undefined {
  if (record.type === "snapshot") return record.checkpoint.at
  return "at" in record ? record.at : undefined
}

/**
 * Milliseconds of work on a turn, as its records tell: for each process, from when it took the turn up to its last record.
 * What a compaction left out is not in it.
 */
export function workedMs({ header, entries }: Journal): number {
  let total = 0
  let from = header.dropped === undefined ? header.at : undefined
  let to = from
  for (const { record } of entries) {
    const at = timeOf(record)
    if (at === undefined) continue
    if (record.type === "opened") {
      total += span(from, to)
      from = at
    }
    from ??= at
    to = at
  }
  return total + span(from, to)
}

function span(from: number | undefined, to: number | undefined): number {
  return from === undefined || to === undefined ? 0 : Math.max(0, to - from)
}
