import * as z from "zod"
import { DriverAction } from "./action.ts"
import { TurnCheckpoint } from "./checkpoint.ts"
import { TurnStart } from "./config.ts"
import { AnswerableEffect } from "./effect.ts"
import { Outcome, TurnEvent } from "./event.ts"
import { Count, Json, type Readonlys, Timestamp } from "./json.ts"
import { Response } from "./response.ts"
import { ToolSpec } from "./tool.ts"

/** By this name a journal is known among other files. */
export const JOURNAL_FORMAT = "turn-machine/journal"
/** Raised when a journal of the version before would be misread. */
export const JOURNAL_VERSION = 1

/** A short digest of canonical JSON, as `digest` in `turn-machine/replay` makes it. */
const Digest = z.string()

/**
 * The first record: what the turn began with, and digests of what it was configured with, one for each key, so that a
 * replay under another configuration can name what changed. `turnId` makes effect ids unique among turns.
 *
 * `surface` is what the model was offered at first: a turn that is taken up keeps it, as one from a checkpoint does.
 * `meta` is the host's own, to find again. `dropped` counts the records that a compaction left out behind this one; the
 * numbers of those that follow go on as if they stood there. `forkedFrom` names the record that was answered otherwise.
 */
export const JournalHeader = z.object({
  type: z.literal("header"),
  format: z.literal(JOURNAL_FORMAT),
  version: z.literal(JOURNAL_VERSION),
  turnId: z.string(),
  driver: z.object({ name: z.string(), version: Count }),
  config: z.record(z.string(), Digest),
  start: TurnStart,
  surface: z.object({ systemPrompt: z.string(), tools: z.array(ToolSpec) }),
  at: Timestamp.exactOptional(),
  meta: Json.exactOptional(),
  dropped: Count.exactOptional(),
  forkedFrom: z.object({ turnId: z.string(), record: Count }).exactOptional(),
})
export type JournalHeader = Readonlys<z.infer<typeof JournalHeader>>

/** What a host ordered from outside, besides answering. `effectId`: what was outstanding then; absent if nothing was. */
export const JournalInterruption = z.object({
  type: z.literal("interruption"),
  effectId: Count.exactOptional(),
  interruption: z.discriminatedUnion("type", [
    z.object({ type: z.literal("cancel"), reason: z.string().exactOptional() }),
    z.object({ type: z.literal("fail"), event: TurnEvent }),
    z.object({ type: z.literal("finish"), outcome: Outcome }),
    z.object({ type: z.literal("apply"), actions: z.array(DriverAction) }),
  ]),
})
export type JournalInterruption = Readonlys<z.infer<typeof JournalInterruption>>

/** The turn as it stood after the record before: from here a resumed turn goes on without what came earlier. */
export const JournalSnapshot = z.object({ type: z.literal("snapshot"), checkpoint: TurnCheckpoint })
export type JournalSnapshot = Readonlys<z.infer<typeof JournalSnapshot>>

/** An effect as it was handed out, kept where a recorder was told to: a divergence can then say what differs. */
export const JournalEffect = z.object({ type: z.literal("effect"), effect: AnswerableEffect })
export type JournalEffect = Readonlys<z.infer<typeof JournalEffect>>

/** A process took the turn up where the record before left it. */
export const JournalOpened = z.object({ type: z.literal("opened"), at: Timestamp.exactOptional() })
export type JournalOpened = Readonlys<z.infer<typeof JournalOpened>>

/** A tool call that must not happen twice is about to be run. Without a result behind it, nobody knows what became of it. */
export const JournalCallStarted = z.object({ type: z.literal("call_started"), effectId: Count, callId: z.string(), at: Timestamp.exactOptional() })
export type JournalCallStarted = Readonlys<z.infer<typeof JournalCallStarted>>

/** The turn is over. */
export const JournalEnd = z.object({ type: z.literal("end"), outcome: Outcome })
export type JournalEnd = Readonlys<z.infer<typeof JournalEnd>>

/** One record of a journal. A response stands in it as it was given. */
export const JournalRecord = z.discriminatedUnion("type", [
  JournalHeader,
  ...Response.options,
  JournalInterruption,
  JournalSnapshot,
  JournalEffect,
  JournalOpened,
  JournalCallStarted,
  JournalEnd,
])
export type JournalRecord = Readonlys<z.infer<typeof JournalRecord>>
