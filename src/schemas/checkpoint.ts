import * as z from "zod"
import type * as wire from "../wire/checkpoint.ts"
import { OnEmpty } from "./action.ts"
import { DecidedCall, ExternalCall } from "./approval.ts"
import { AnswerableEffect, CancelLlm, Checkpoint, Emit, ExecCode, LlmCall, Log, SyncExecutionSurface, ToolCalls } from "./effect.ts"
import { Outcome } from "./event.ts"
import { Count, exact, Json, type Tagged, Timestamp } from "./json.ts"
import { TokenUsage } from "./llm.ts"
import { HistoryRecord, Message, TurnCause } from "./message.ts"
import { CompletedToolCall, ToolSpec } from "./tool.ts"

/** Identifies a checkpoint among other JSON. */
export const CHECKPOINT_FORMAT = "turn-machine/checkpoint"
/** Raised when this version would misread an older checkpoint; older ones are then migrated. */
export const CHECKPOINT_VERSION = 2

const SavedState: Tagged<wire.SavedState> = exact(
  z.discriminatedUnion("type", [
    z.object({ type: z.enum(["preparing", "prepare_iteration"]) }),
    z.object({ type: z.literal("waiting_execution_surface"), outstanding: SyncExecutionSurface }),
    z.object({ type: z.literal("waiting_llm"), outstanding: LlmCall, driverState: Json.exactOptional() }),
    z.object({
      type: z.literal("waiting_tools"),
      outstanding: ToolCalls,
      results: z.array(CompletedToolCall.nullable()),
      settled: z.array(z.object({ index: Count, result: CompletedToolCall })).exactOptional(),
      decided: z.array(DecidedCall).exactOptional(),
      pending: z.array(ExternalCall).exactOptional(),
    }),
    z.object({ type: z.literal("waiting_exec"), outstanding: ExecCode, driverState: Json }),
    z.object({ type: z.literal("waiting_checkpoint"), outstanding: Checkpoint, onEmpty: OnEmpty }),
    z.object({ type: z.literal("finished"), outcome: Outcome }),
  ]),
)

/** A history record whose message is in the transcript is saved as that message's index, so that it is saved once. */
export type SavedRecord = wire.SavedRecord
const SavedRecord: Tagged<SavedRecord> = exact(z.discriminatedUnion("type", [HistoryRecord, z.object({ type: z.literal("message"), index: Count })]))

export type SavedEffect = wire.SavedEffect

/** What `progress` and `done` report is in the saved lists: a beginning of the messages, a stretch of the events. */
const report = { messageCount: Count, eventsFrom: Count, eventsTo: Count, iteration: Count }
const SavedEffect: Tagged<SavedEffect> = exact(
  z.discriminatedUnion("type", [
    AnswerableEffect,
    CancelLlm,
    Emit,
    Log,
    z.object({ type: z.literal("outstanding") }),
    z.object({ type: z.literal("progress"), ...report }),
    z.object({ type: z.literal("done"), outcome: Outcome, ...report }),
  ]),
)

/** A saved turn: plain JSON. Unknown keys are refused. */
export type TurnCheckpoint = wire.TurnCheckpoint
export const TurnCheckpoint: Tagged<TurnCheckpoint> = exact(
  z.object({
    format: z.literal(CHECKPOINT_FORMAT),
    version: z.literal(CHECKPOINT_VERSION),
    driver: z.object({ name: z.string(), version: Count }),
    state: SavedState,
    unpolled: z.array(SavedEffect),
    messages: z.array(Message),
    events: z.array(SavedRecord),
    turnCauses: z.array(TurnCause),
    reportedEvents: Count,
    iteration: Count,
    iterationOffset: Count,
    startLength: Count,
    deadlineAt: Timestamp.exactOptional(),
    surfaceChanged: z.literal(true).exactOptional(),
    usage: TokenUsage,
    nextEffectId: Count,
    nextMessageNumber: Count,
    syncedIteration: Count.exactOptional(),
    turnLimitScheduled: z.boolean(),
    heldSince: Timestamp.exactOptional(),
    heldMs: Count.exactOptional(),
    systemPrompt: z.string(),
    tools: z.array(ToolSpec),
    at: Timestamp.exactOptional(),
  }),
)
