import * as z from "zod"
import { Count, Json, type Readonlys } from "./json.ts"

/** Where a message came from, when it is neither the user's nor the model's own. */
export const Origin = z.discriminatedUnion("type", [
  z.object({ type: z.literal("plugin"), pluginId: z.string(), transient: z.literal(true).exactOptional() }),
  z.object({
    type: z.literal("process"),
    processId: z.string(),
    eventType: z.string(),
    sequence: Count,
    wakeId: z.string().exactOptional(),
    causedBy: Json.exactOptional(),
  }),
])
export type Origin = Readonlys<z.infer<typeof Origin>>

/** How a part was shortened to save room in the context window. Absent: intact. */
export const Prune = z.discriminatedUnion("type", [
  z.object({ type: z.literal("cleared") }),
  z.object({ type: z.literal("deleted"), breadcrumb: z.string(), archiveHash: z.string() }),
  z.object({ type: z.literal("summarized"), summary: z.string(), archiveHash: z.string() }),
])
export type Prune = Readonlys<z.infer<typeof Prune>>

/** A reference to bytes that the host keeps. `mediaType` as in `image/png`. */
export const AttachmentRef = z.object({
  id: z.string(),
  mediaType: z.string(),
  byteLength: Count,
  width: Count.exactOptional(),
  height: Count.exactOptional(),
  label: z.string().exactOptional(),
})
export type AttachmentRef = Readonlys<z.infer<typeof AttachmentRef>>

/** What a provider said about a text; opaque to the machine and carried back to the provider. */
export const ResponseMeta = z.object({
  id: z.string().exactOptional(),
  status: z.string().exactOptional(),
  phase: z.string().exactOptional(),
})
export type ResponseMeta = Readonlys<z.infer<typeof ResponseMeta>>

/** What a provider wants back with a tool call. */
export const ReplayMeta = z.object({ itemId: z.string().exactOptional(), opaque: z.string().exactOptional() })
export type ReplayMeta = Readonlys<z.infer<typeof ReplayMeta>>

/** What a provider wants back with its own reasoning. */
export const ReasoningReplay = z.object({
  itemId: z.string().exactOptional(),
  encryptedContent: z.string().exactOptional(),
  signature: z.string().exactOptional(),
  redacted: z.literal(true).exactOptional(),
  summary: z.array(z.string()).exactOptional(),
})
export type ReasoningReplay = Readonlys<z.infer<typeof ReasoningReplay>>

const partBase = { id: z.string(), prune: Prune.exactOptional() }

/** One piece of a message. */
export const Part = z.discriminatedUnion("type", [
  z.object({ ...partBase, type: z.literal("text"), text: z.string(), responseMeta: ResponseMeta.exactOptional() }),
  z.object({ ...partBase, type: z.enum(["code", "output", "error"]), text: z.string() }),
  z.object({ ...partBase, type: z.literal("image"), attachment: AttachmentRef.exactOptional(), text: z.string().exactOptional() }),
  z.object({
    ...partBase,
    type: z.literal("tool_call"),
    callId: z.string(),
    toolName: z.string(),
    inputJson: z.string(),
    replay: ReplayMeta.exactOptional(),
  }),
  z.object({ ...partBase, type: z.literal("tool_result"), callId: z.string(), toolName: z.string().exactOptional(), text: z.string() }),
  z.object({ ...partBase, type: z.literal("reasoning"), text: z.string(), replay: ReasoningReplay.exactOptional() }),
])
export type Part = Readonlys<z.infer<typeof Part>>

/** Who speaks. `event`: nobody; something happened outside. */
export const Role = z.enum(["user", "assistant", "system", "event"])
export type Role = z.infer<typeof Role>

/** One message of the transcript. */
export const Message = z.object({ id: z.string(), role: Role, parts: z.array(Part), origin: Origin.exactOptional() })
export type Message = Readonlys<z.infer<typeof Message>>

/** One entry of the thread's history: a message, or an event of the driver's own. */
export const HistoryRecord = z.discriminatedUnion("type", [
  z.object({ type: z.literal("conversation"), message: Message }),
  z.object({ type: z.literal("protocol"), event: Json }),
])
export type HistoryRecord = Readonlys<z.infer<typeof HistoryRecord>>

/** Why the turn runs, when no user asked: an event from outside, shown to the model for the whole turn. */
export const TurnCause = z.object({ id: z.string(), eventType: z.string(), origin: Origin, text: z.string() })
export type TurnCause = Readonlys<z.infer<typeof TurnCause>>

/** A message that a host injects at a checkpoint. `parts`, when there are any, stand in for `content`. */
export const DeliveredMessage = z.object({
  role: Role,
  content: z.string(),
  origin: Origin.exactOptional(),
  parts: z.array(Part).exactOptional(),
})
export type DeliveredMessage = Readonlys<z.infer<typeof DeliveredMessage>>

/** What a host injects at a checkpoint. Empty or left-out lists deliver nothing. */
export const CheckpointDelivery = z.object({
  userMessages: z.array(Message).exactOptional(),
  messages: z.array(DeliveredMessage).exactOptional(),
  transientMessages: z.array(DeliveredMessage).exactOptional(),
  turnCauses: z.array(TurnCause).exactOptional(),
  events: z.array(Json).exactOptional(),
})
export type CheckpointDelivery = Readonlys<z.infer<typeof CheckpointDelivery>>
