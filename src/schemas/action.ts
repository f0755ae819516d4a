import * as z from "zod"
import type * as wire from "../wire/action.ts"
import { HoldCall } from "./approval.ts"
import { CheckpointKind, Outcome, TurnEvent } from "./event.ts"
import { exact, Json, type Tagged } from "./json.ts"
import { LlmRequest } from "./llm.ts"
import { HistoryRecord, Message } from "./message.ts"
import { CompletedToolCall, PendingToolCall } from "./tool.ts"

/** What follows an empty delivery. */
export type OnEmpty = wire.OnEmpty
export const OnEmpty: Tagged<OnEmpty> = exact(
  z.discriminatedUnion("type", [z.object({ type: z.literal("prepare_iteration") }), z.object({ type: z.literal("finish"), outcome: Outcome })]),
)

/** What a driver may do. At most one action of a list starts work, and none follows `finish`. */
export type DriverAction = wire.DriverAction
export const DriverAction: Tagged<DriverAction> = exact(
  z.discriminatedUnion("type", [
    z.object({ type: z.literal("emit"), event: TurnEvent }),
    z.object({ type: z.literal("append_events"), events: z.array(HistoryRecord) }),
    z.object({ type: z.literal("start_llm"), request: LlmRequest, purpose: z.string().exactOptional(), driverState: Json.exactOptional() }),
    z.object({
      type: z.literal("start_tools"),
      calls: z.array(PendingToolCall),
      settled: z.array(CompletedToolCall).exactOptional(),
      held: z.array(HoldCall).exactOptional(),
    }),
    z.object({ type: z.literal("release_calls"), requestIds: z.array(z.string()), by: z.string().exactOptional() }),
    z.object({ type: z.literal("settle_calls"), results: z.array(CompletedToolCall), by: z.string().exactOptional() }),
    z.object({ type: z.literal("start_exec"), code: z.string(), language: z.string().exactOptional(), driverState: Json }),
    z.object({ type: z.literal("start_checkpoint"), checkpoint: CheckpointKind, onEmpty: OnEmpty }),
    z.object({ type: z.literal("advance_iteration") }),
    z.object({ type: z.literal("schedule_turn_limit_final"), message: Message }),
    z.object({ type: z.literal("finish"), outcome: Outcome }),
  ]),
)
