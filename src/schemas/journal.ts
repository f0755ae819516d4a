import * as z from "zod"
import type * as wire from "../wire/journal.ts"
import { DriverAction } from "./action.ts"
import { TurnCheckpoint } from "./checkpoint.ts"
import { TurnStart } from "./config.ts"
import { AnswerableEffect } from "./effect.ts"
import { Outcome, TurnEvent } from "./event.ts"
import { Count, exact, Json, type Schema, type Tagged, Timestamp } from "./json.ts"
import { LlmResponse } from "./llm.ts"
import { Message } from "./message.ts"
import { Response } from "./response.ts"
import { ToolSpec } from "./tool.ts"

/** Identifies a journal among other files. */
export const JOURNAL_FORMAT = "turn-machine/journal"
/** Raised when this version would misread an older journal. */
export const JOURNAL_VERSION = 2

/** A short digest of canonical JSON, as `digest` in `turn-machine/replay` makes it. */
const Digest = z.string()

/** The tool call of another turn that a turn runs for, as its child. */
export type JournalParent = wire.JournalParent
export const JournalParent: Schema<JournalParent> = exact(
  z.object({
    turnId: z.string(),
    effectId: Count,
    callId: z.string(),
    name: z.string().exactOptional(),
    depth: Count,
    lease: Count.exactOptional(),
    detached: z.object({ toolName: z.string(), args: Json }).exactOptional(),
    trace: z.string().exactOptional(),
  }),
)

/** The history that a turn of a thread begins with, in the thread's log beside the journal. */
export type JournalBase = wire.JournalBase
export const JournalBase: Schema<JournalBase> = exact(
  z.object({ log: z.string(), records: Count, checksum: z.string(), messages: Count, events: Count, surface: z.literal(true).exactOptional() }),
)

/** The first record: what the turn began with, and a digest of each key of its configuration. */
export type JournalHeader = wire.JournalHeader
export const JournalHeader: Tagged<JournalHeader> = exact(
  z.object({
    type: z.literal("header"),
    format: z.literal(JOURNAL_FORMAT),
    version: z.literal(JOURNAL_VERSION),
    turnId: z.string(),
    driver: z.object({ name: z.string(), version: Count }),
    config: z.record(z.string(), Digest),
    start: TurnStart,
    base: JournalBase.exactOptional(),
    surface: z.object({ systemPrompt: z.string(), tools: z.array(ToolSpec) }),
    at: Timestamp.exactOptional(),
    meta: Json.exactOptional(),
    dropped: Count.exactOptional(),
    forkedFrom: z.object({ turnId: z.string(), record: Count }).exactOptional(),
    parent: JournalParent.exactOptional(),
  }),
)

/** A command of the host. */
export type JournalInterruption = wire.JournalInterruption
export const JournalInterruption: Tagged<JournalInterruption> = exact(
  z.object({
    type: z.literal("interruption"),
    effectId: Count.exactOptional(),
    interruption: z.discriminatedUnion("type", [
      z.object({
        type: z.literal("cancel"),
        reason: z.string().exactOptional(),
        partial: LlmResponse.exactOptional(),
        answer: Response.exactOptional(),
      }),
      z.object({ type: z.literal("fail"), event: TurnEvent, partial: LlmResponse.exactOptional() }),
      z.object({ type: z.literal("finish"), outcome: Outcome, partial: LlmResponse.exactOptional() }),
      z.object({ type: z.literal("apply"), actions: z.array(DriverAction) }),
      z.object({
        type: z.literal("redirect"),
        messages: z.array(Message),
        at: Timestamp.exactOptional(),
        partial: LlmResponse.exactOptional(),
        answer: Response.exactOptional(),
      }),
    ]),
  }),
)

/** The turn after the record before. A resumed turn starts from here and does not need earlier records. */
export type JournalSnapshot = wire.JournalSnapshot
export const JournalSnapshot: Tagged<JournalSnapshot> = exact(
  z.object({ type: z.literal("snapshot"), checkpoint: TurnCheckpoint, continues: z.literal(true).exactOptional() }),
)

/** An effect as it was emitted. Recorded on request, so that a divergence can report what differs. */
export type JournalEffect = wire.JournalEffect
export const JournalEffect: Tagged<JournalEffect> = exact(z.object({ type: z.literal("effect"), effect: AnswerableEffect }))

/** A process resumed the turn. */
export type JournalOpened = wire.JournalOpened
export const JournalOpened: Tagged<JournalOpened> = exact(z.object({ type: z.literal("opened"), at: Timestamp.exactOptional() }))

/** The turn runs in a span of a tracing system. The next run links to it. */
export type JournalTraced = wire.JournalTraced
export const JournalTraced: Tagged<JournalTraced> = exact(z.object({ type: z.literal("traced"), trace: z.string(), at: Timestamp.exactOptional() }))

/** A process continues the turn under another configuration. The snapshot right after it is the turn as it continues. */
export type JournalReconfigured = wire.JournalReconfigured
export const JournalReconfigured: Tagged<JournalReconfigured> = exact(
  z.object({
    type: z.literal("reconfigured"),
    driver: z.object({ name: z.string(), version: Count }),
    config: z.record(z.string(), Digest),
    at: Timestamp.exactOptional(),
  }),
)

/** A tool call, or code, that must not run twice is about to start. Without a later result it is unknown whether it took effect. */
export type JournalCallStarted = wire.JournalCallStarted
export const JournalCallStarted: Tagged<JournalCallStarted> = exact(
  z.object({ type: z.literal("call_started"), effectId: Count, callId: z.string().exactOptional(), at: Timestamp.exactOptional() }),
)

/**
 * A child of a tool call is about to begin, with tokens that are reserved for it from here on: a process from which the turn was taken can no
 * longer reserve any. The header of the child repeats them.
 */
export type JournalChildGranted = wire.JournalChildGranted
export const JournalChildGranted: Tagged<JournalChildGranted> = exact(
  z.object({
    type: z.literal("child_granted"),
    effectId: Count,
    callId: z.string(),
    name: z.string().exactOptional(),
    lease: Count,
    at: Timestamp.exactOptional(),
  }),
)

/** The turn is over. */
export type JournalEnd = wire.JournalEnd
export const JournalEnd: Tagged<JournalEnd> = exact(z.object({ type: z.literal("end"), outcome: Outcome }))

/** One record of a journal. Responses are recorded as the host passed them in. */
export type JournalRecord = wire.JournalRecord
export const JournalRecord: Tagged<JournalRecord> = exact(
  z.discriminatedUnion("type", [
    JournalHeader,
    Response,
    JournalInterruption,
    JournalSnapshot,
    JournalEffect,
    JournalOpened,
    JournalTraced,
    JournalReconfigured,
    JournalCallStarted,
    JournalChildGranted,
    JournalEnd,
  ]),
)
