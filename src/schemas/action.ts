import * as z from "zod"
import { CheckpointKind, Outcome, TurnEvent } from "./event.ts"
import { Json, type Readonlys } from "./json.ts"
import { LlmRequest } from "./llm.ts"
import { HistoryRecord, Message } from "./message.ts"
import { PendingToolCall } from "./tool.ts"

/** What follows an empty delivery. */
export const OnEmpty = z.discriminatedUnion("type", [
  z.object({ type: z.literal("prepare_iteration") }),
  z.object({ type: z.literal("finish"), outcome: Outcome }),
])
export type OnEmpty = Readonlys<z.infer<typeof OnEmpty>>

/** What a driver may order. Within one list at most one action starts work, and nothing follows `finish`. */
export const DriverAction = z.discriminatedUnion("type", [
  z.object({ type: z.literal("emit"), event: TurnEvent }),
  z.object({ type: z.literal("append_events"), events: z.array(HistoryRecord) }),
  z.object({ type: z.literal("start_llm"), request: LlmRequest, driverState: Json.exactOptional() }),
  z.object({ type: z.literal("start_tools"), calls: z.array(PendingToolCall) }),
  z.object({ type: z.literal("start_exec"), code: z.string(), language: z.string().exactOptional(), driverState: Json }),
  z.object({ type: z.literal("start_checkpoint"), checkpoint: CheckpointKind, onEmpty: OnEmpty }),
  z.object({ type: z.literal("advance_iteration") }),
  z.object({ type: z.literal("schedule_turn_limit_final"), message: Message }),
  z.object({ type: z.literal("finish"), outcome: Outcome }),
])
export type DriverAction = Readonlys<z.infer<typeof DriverAction>>
