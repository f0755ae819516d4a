/** Compaction: a summary takes the place of older messages when the context window is nearly full. Pure. See docs/context.md. */

export type {
  CompactionBase,
  CompactionDelivered,
  CompactionFailed,
  CompactionNeeded,
  CompactionProblem,
  CompactionReason,
  CompactionRecord,
  CompactionRequested,
} from "../../wire/compaction.ts"
export { compactingDriver } from "./driver.ts"
export { type OutsideSummary, type SummarizedTurn, type SummarizeOptions, summarizeThrough } from "./outside.ts"
export type { CompactedHistory, CompactingDriverOptions, CompactionFacts } from "./settings.ts"
