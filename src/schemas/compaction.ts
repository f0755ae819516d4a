import * as z from "zod"
import type * as wire from "../wire/compaction.ts"
import { Count, exact, type Schema, type Tagged } from "./json.ts"
import { TokenUsage } from "./usage.ts"

/** Why a context was compacted. */
export type CompactionReason = wire.CompactionReason
export const CompactionReason: Schema<CompactionReason> = exact(z.enum(["threshold", "overflow", "manual", "delivered"]))

const base = z.object({ messageId: z.string(), count: Count })

/** History record: from now on, requests show a summary in place of the messages up to `through`. */
export type CompactionRecord = wire.CompactionRecord
export const CompactionRecord: Tagged<CompactionRecord> = exact(
  z.object({
    type: z.literal("compaction"),
    contextReset: z.literal(true),
    id: z.string(),
    reason: CompactionReason,
    through: z.string(),
    base,
    summary: z.string(),
    restated: z.string().exactOptional(),
    keptUserMessages: z.array(z.string()),
    tokensBefore: Count,
    tokensAfter: Count,
    usage: TokenUsage.exactOptional(),
  }),
)

/** History record: the context must be compacted before the next model call. */
export type CompactionNeeded = wire.CompactionNeeded
export const CompactionNeeded: Tagged<CompactionNeeded> = exact(
  z.object({ type: z.literal("compaction_needed"), reason: z.enum(["threshold", "overflow"]), tokens: Count, count: Count }),
)

/** History record: a compaction failed. */
export type CompactionFailed = wire.CompactionFailed
export const CompactionFailed: Tagged<CompactionFailed> = exact(
  z.object({
    type: z.literal("compaction_failed"),
    id: z.string(),
    reason: CompactionReason,
    problem: z.enum([
      "nothing_to_compact",
      "too_little_gain",
      "summary_too_long",
      "call_failed",
      "overflow",
      "cut_off",
      "tool_call",
      "empty_answer",
      "base_mismatch",
    ]),
    message: z.string(),
    count: Count,
  }),
)

/** Event that a host delivers: compact before the next model call. */
export type CompactionRequested = wire.CompactionRequested
export const CompactionRequested: Tagged<CompactionRequested> = exact(z.object({ type: z.literal("compaction_requested") }))

/** Event that a host delivers: a summary that was made outside of the turn. */
export type CompactionDelivered = wire.CompactionDelivered
export const CompactionDelivered: Tagged<CompactionDelivered> = exact(
  z.object({
    type: z.literal("compaction_delivered"),
    base,
    through: z.string(),
    summary: z.string(),
    usage: TokenUsage.exactOptional(),
  }),
)
