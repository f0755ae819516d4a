import * as z from "zod"
import type * as wire from "../wire/message.ts"
import { Count, exact, Json, type Schema, type Tagged } from "./json.ts"

/** Where a message came from, when neither the user nor the model wrote it. */
export type Origin = wire.Origin
export const Origin: Tagged<Origin> = exact(
  z.discriminatedUnion("type", [
    z.object({ type: z.literal("plugin"), pluginId: z.string(), transient: z.literal(true).exactOptional() }),
    z.object({
      type: z.literal("process"),
      processId: z.string(),
      eventType: z.string(),
      sequence: Count,
      wakeId: z.string().exactOptional(),
      causedBy: Json.exactOptional(),
    }),
  ]),
)

/** How a part was shortened to save room in the context window. Absent: intact. */
export type Prune = wire.Prune
export const Prune: Tagged<Prune> = exact(
  z.discriminatedUnion("type", [
    z.object({ type: z.literal("cleared") }),
    z.object({ type: z.literal("deleted"), breadcrumb: z.string(), archiveHash: z.string() }),
    z.object({ type: z.literal("summarized"), summary: z.string(), archiveHash: z.string() }),
  ]),
)

/** A reference to bytes that the host stores. */
export type AttachmentRef = wire.AttachmentRef
export const AttachmentRef: Tagged<AttachmentRef> = exact(
  z.object({
    id: z.string(),
    mediaType: z.string(),
    byteLength: Count,
    width: Count.exactOptional(),
    height: Count.exactOptional(),
    label: z.string().exactOptional(),
  }),
)

/** What a provider reported about a text. Opaque to the machine; sent back to the provider with the text. */
export type ResponseMeta = wire.ResponseMeta
export const ResponseMeta: Tagged<ResponseMeta> = exact(
  z.object({
    id: z.string().exactOptional(),
    status: z.string().exactOptional(),
    phase: z.string().exactOptional(),
  }),
)

/** What a provider expects back with a tool call. */
export type ReplayMeta = wire.ReplayMeta
export const ReplayMeta: Tagged<ReplayMeta> = exact(z.object({ itemId: z.string().exactOptional(), opaque: z.string().exactOptional() }))

/** What a provider expects back with its own reasoning. */
export type ReasoningReplay = wire.ReasoningReplay
export const ReasoningReplay: Tagged<ReasoningReplay> = exact(
  z.object({
    itemId: z.string().exactOptional(),
    encryptedContent: z.string().exactOptional(),
    signature: z.string().exactOptional(),
    redacted: z.literal(true).exactOptional(),
    summary: z.array(z.string()).exactOptional(),
  }),
)

/** One piece of what the model reads of a result. */
export type ReturnPart = wire.ReturnPart
export const ReturnPart: Tagged<ReturnPart> = exact(
  z.discriminatedUnion("type", [
    z.object({ type: z.literal("text"), text: z.string() }),
    z.object({ type: z.literal("attachment"), attachment: AttachmentRef }),
  ]),
)

/** Something in a model's answer that has no type of its own here. */
export const opaqueContent: {
  readonly type: z.ZodLiteral<"opaque">
  readonly provider: z.ZodString
  readonly kind: z.ZodString
  readonly data: typeof Json
  readonly text: z.ZodExactOptional<z.ZodString>
} = {
  type: z.literal("opaque"),
  provider: z.string(),
  kind: z.string(),
  data: Json,
  text: z.string().exactOptional(),
}

/** Which model wrote an answer. */
export type Producer = wire.Producer
export const Producer: Tagged<Producer> = exact(
  z.object({
    provider: z.string(),
    api: z.string(),
    model: z.string(),
    responseId: z.string().exactOptional(),
    responseModel: z.string().exactOptional(),
  }),
)

const partBase = { id: z.string(), prune: Prune.exactOptional(), providerMetadata: Json.exactOptional() }

/** One piece of a message. */
export type Part = wire.Part
export const Part: Tagged<Part> = exact(
  z.discriminatedUnion("type", [
    z.object({ ...partBase, type: z.literal("text"), text: z.string(), responseMeta: ResponseMeta.exactOptional() }),
    z.object({ ...partBase, type: z.enum(["code", "output", "error"]), text: z.string() }),
    z.object({ ...partBase, type: z.literal("image"), attachment: AttachmentRef.exactOptional(), text: z.string().exactOptional() }),
    z.object({ ...partBase, type: z.literal("file"), attachment: AttachmentRef }),
    z.object({
      ...partBase,
      type: z.literal("tool_call"),
      callId: z.string(),
      toolName: z.string(),
      inputJson: z.string(),
      replay: ReplayMeta.exactOptional(),
    }),
    z.object({
      ...partBase,
      type: z.literal("tool_result"),
      callId: z.string(),
      toolName: z.string().exactOptional(),
      text: z.string(),
      isError: z.literal(true).exactOptional(),
      content: z.array(ReturnPart).exactOptional(),
    }),
    z.object({ ...partBase, type: z.literal("reasoning"), text: z.string(), replay: ReasoningReplay.exactOptional() }),
    z.object({ ...partBase, ...opaqueContent }),
    z.object({
      ...partBase,
      type: z.literal("interrupted"),
      reason: z.enum(["cancelled", "output_limit", "context_overflow", "content_filter", "refusal", "empty", "provider_error"]),
    }),
  ]),
)

/** Who wrote a message. `event`: something happened outside of the conversation. */
export type Role = wire.Role
export const Role: Schema<Role> = exact(z.enum(["user", "assistant", "system", "event"]))

/** One message of the transcript. */
export type Message = wire.Message
export const Message: Tagged<Message> = exact(
  z.object({ id: z.string(), role: Role, parts: z.array(Part), origin: Origin.exactOptional(), producer: Producer.exactOptional() }),
)

/** One durable record of a thread: a message, or an event of a driver's own. */
export type HistoryRecord = wire.HistoryRecord
export const HistoryRecord: Tagged<HistoryRecord> = exact(
  z.discriminatedUnion("type", [
    z.object({ type: z.literal("conversation"), message: Message }),
    z.object({ type: z.literal("protocol"), event: Json }),
  ]),
)

/** The event of a changed system prompt or tool list. */
export type SurfaceChange = wire.SurfaceChange
export const SurfaceChange: Tagged<SurfaceChange> = exact(
  z.object({ type: z.literal("surface_change"), contextReset: z.literal(true), iteration: Count }),
)

/** An outside event that a turn runs for. The model sees it for the whole turn. */
export type TurnCause = wire.TurnCause
export const TurnCause: Tagged<TurnCause> = exact(z.object({ id: z.string(), eventType: z.string(), origin: Origin, text: z.string() }))

/** A message that a host injects at a checkpoint. Only `user` and `system` messages enter the transcript. */
export type DeliveredMessage = wire.DeliveredMessage
export const DeliveredMessage: Tagged<DeliveredMessage> = exact(
  z.object({
    role: Role,
    content: z.string(),
    origin: Origin.exactOptional(),
    parts: z.array(Part).exactOptional(),
  }),
)

/** What a host injects at a checkpoint. Empty and absent lists deliver nothing. */
export type CheckpointDelivery = wire.CheckpointDelivery
export const CheckpointDelivery: Tagged<CheckpointDelivery> = exact(
  z.object({
    userMessages: z.array(Message).exactOptional(),
    messages: z.array(DeliveredMessage).exactOptional(),
    transientMessages: z.array(DeliveredMessage).exactOptional(),
    turnCauses: z.array(TurnCause).exactOptional(),
    events: z.array(Json).exactOptional(),
  }),
)
