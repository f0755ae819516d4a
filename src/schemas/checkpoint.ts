import * as z from "zod"
import { OnEmpty } from "./action.ts"
import { AnswerableEffect, CancelLlm, Checkpoint, Emit, ExecCode, LlmCall, Log, SyncExecutionSurface, ToolCalls } from "./effect.ts"
import { Outcome } from "./event.ts"
import { Count, Json, type Readonlys, Timestamp } from "./json.ts"
import { TokenUsage } from "./llm.ts"
import { HistoryRecord, Message, TurnCause } from "./message.ts"
import { CompletedToolCall, ToolSpec } from "./tool.ts"

/** By this name a checkpoint is known among other JSON. */
export const CHECKPOINT_FORMAT = "turn-machine/checkpoint"
/** Raised when a checkpoint of the version before would be misread; older ones are then migrated. */
export const CHECKPOINT_VERSION = 1

const SavedState = z.discriminatedUnion("type", [
  z.object({ type: z.enum(["preparing", "prepare_iteration"]) }),
  z.object({ type: z.literal("waiting_execution_surface"), outstanding: SyncExecutionSurface }),
  z.object({ type: z.literal("waiting_llm"), outstanding: LlmCall, driverState: Json.exactOptional() }),
  z.object({ type: z.literal("waiting_tools"), outstanding: ToolCalls, results: z.array(CompletedToolCall.nullable()) }),
  z.object({ type: z.literal("waiting_exec"), outstanding: ExecCode, driverState: Json }),
  z.object({ type: z.literal("waiting_checkpoint"), outstanding: Checkpoint, onEmpty: OnEmpty }),
  z.object({ type: z.literal("finished"), outcome: Outcome }),
])

/** A history record whose message stands in the transcript is saved as that message's index, so that it is saved once. */
const SavedRecord = z.discriminatedUnion("type", [...HistoryRecord.options, z.object({ type: z.literal("message"), index: Count })])
export type SavedRecord = Readonlys<z.infer<typeof SavedRecord>>

/** What `progress` and `done` tell stands in the saved lists: a beginning of the messages, a stretch of the events. */
const told = { messageCount: Count, eventsFrom: Count, eventsTo: Count, iteration: Count }
const SavedEffect = z.discriminatedUnion("type", [
  ...AnswerableEffect.options,
  CancelLlm,
  Emit,
  Log,
  z.object({ type: z.literal("outstanding") }),
  z.object({ type: z.literal("progress"), ...told }),
  z.object({ type: z.literal("done"), outcome: Outcome, ...told }),
])
export type SavedEffect = Readonlys<z.infer<typeof SavedEffect>>

/**
 * A saved turn: plain JSON. `unpolled` are the effects that the host has not taken yet; `outstanding` among them stands
 * for the state's own outstanding effect. Unknown keys are refused.
 */
export const TurnCheckpoint = z.object({
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
  usage: TokenUsage,
  nextEffectId: Count,
  nextMessageNumber: Count,
  syncedIteration: Count.exactOptional(),
  turnLimitScheduled: z.boolean(),
  systemPrompt: z.string(),
  tools: z.array(ToolSpec),
  at: Timestamp.exactOptional(),
})
export type TurnCheckpoint = Readonlys<z.infer<typeof TurnCheckpoint>>
