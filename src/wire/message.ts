import type { Json } from "../json.ts"

/** Where a message came from, when neither the user nor the model wrote it. */
export type Origin = PluginOrigin | ProcessOrigin

/** A plugin of the host injected the message. */
export type PluginOrigin = {
  readonly type: "plugin"
  readonly pluginId: string
  /** The message was delivered as a transient one. */
  readonly transient?: true
}

/** An event of an outside process led to the message. */
export type ProcessOrigin = {
  readonly type: "process"
  readonly processId: string
  readonly eventType: string
  /** The number of the event in its process. */
  readonly sequence: number
  readonly wakeId?: string
  readonly causedBy?: Json
}

/** How a part was shortened to save room in the context window. Absent: intact. */
export type Prune =
  | { readonly type: "cleared" }
  | { readonly type: "deleted"; readonly breadcrumb: string; readonly archiveHash: string }
  | { readonly type: "summarized"; readonly summary: string; readonly archiveHash: string }

/** A reference to bytes that the host stores. */
export type AttachmentRef = {
  readonly id: string
  /** As in `image/png`. */
  readonly mediaType: string
  readonly byteLength: number
  /** Pixels. */
  readonly width?: number
  /** Pixels. */
  readonly height?: number
  readonly label?: string
}

/** What a provider reported about a text. Opaque to the machine; sent back to the provider with the text. */
export type ResponseMeta = {
  readonly id?: string
  readonly status?: string
  readonly phase?: string
}

/** What a provider expects back with a tool call. */
export type ReplayMeta = {
  readonly itemId?: string
  readonly opaque?: string
}

/** What a provider expects back with its own reasoning. */
export type ReasoningReplay = {
  readonly itemId?: string
  readonly encryptedContent?: string
  readonly signature?: string
  readonly redacted?: true
  readonly summary?: readonly string[]
}

/** What every part of a message has. */
export type PartBase = {
  /** Unique within the message, as in `u1.p0`. */
  readonly id: string
  readonly prune?: Prune
  /** Free JSON of the provider that wrote the part. It goes back to the same producer verbatim, and to no other. */
  readonly providerMetadata?: Json
}

/** Text that a person or the model wrote. */
export type TextPart = PartBase & {
  readonly type: "text"
  readonly text: string
  readonly responseMeta?: ResponseMeta
}

/** Code, its output, or an error. */
export type CodePart = PartBase & {
  readonly type: "code" | "output" | "error"
  readonly text: string
}

/** An image, or the text that takes its place. */
export type ImagePart = PartBase & {
  readonly type: "image"
  readonly attachment?: AttachmentRef
  readonly text?: string
}

/** An attachment that is not an image, such as a PDF. */
export type FilePart = PartBase & {
  readonly type: "file"
  readonly attachment: AttachmentRef
}

/** A tool call of the model. */
export type ToolCallPart = PartBase & {
  readonly type: "tool_call"
  readonly callId: string
  readonly toolName: string
  /** The arguments as the model wrote them: JSON text that may be broken. */
  readonly inputJson: string
  readonly replay?: ReplayMeta
}

/** One piece of what the model reads of a result. */
export type ReturnPart = { readonly type: "text"; readonly text: string } | { readonly type: "attachment"; readonly attachment: AttachmentRef }

/** The result of a tool call, as the model reads it. */
export type ToolResultPart = PartBase & {
  readonly type: "tool_result"
  /** The `callId` of the tool call that this answers. */
  readonly callId: string
  readonly toolName?: string
  /** All texts of the result, joined by newlines. */
  readonly text: string
  /** The call failed or was cancelled. */
  readonly isError?: true
  /** Texts and attachments in order. Absent: `text` is all there is. The attachments follow as parts of their own, too. */
  readonly content?: readonly ReturnPart[]
}

/** Reasoning of the model. */
export type ReasoningPart = PartBase & {
  readonly type: "reasoning"
  readonly text: string
  readonly replay?: ReasoningReplay
}

/** Something in a model's answer that has no type of its own here: a tool that ran on the provider's side, a compaction item, … */
export type OpaqueContent = {
  readonly type: "opaque"
  /** The provider that wrote it, as in {@link Producer}. */
  readonly provider: string
  /** The provider's name for it, such as `web_search_call`. */
  readonly kind: string
  /** The item as it was received. It goes back to its producer unchanged. */
  readonly data: Json
  /** What any other provider is sent instead. Absent: nothing. */
  readonly text?: string
}

/** A piece of the answer that only its provider understands. */
export type OpaquePart = PartBase & OpaqueContent

/** Why an answer was cut off. `empty`: the model reasoned and then said nothing. */
export type InterruptedReason = "cancelled" | "output_limit" | "context_overflow" | "content_filter" | "refusal" | "empty" | "provider_error"

/** The last part of an answer that was cut off. The parts before it are what the model said until then. */
export type InterruptedPart = PartBase & {
  readonly type: "interrupted"
  readonly reason: InterruptedReason
}

/** One piece of a message. */
export type Part = TextPart | CodePart | ImagePart | FilePart | ToolCallPart | ToolResultPart | ReasoningPart | OpaquePart | InterruptedPart

/** Which model wrote an answer. What only a provider understands goes back to the same producer, and to no other. */
export type Producer = {
  /** The provider, such as the host name of its endpoint. */
  readonly provider: string
  /** The wire format, such as `openai-chat`. */
  readonly api: string
  readonly model: string
  /** The provider's id of the answer. */
  readonly responseId?: string
  /** What the provider calls the model that answered, where that is not `model`: a dated version, or the one that a router chose. */
  readonly responseModel?: string
}

/** Who wrote a message. `event`: something happened outside of the conversation. */
export type Role = "user" | "assistant" | "system" | "event"

/** One message of the transcript. */
export type Message = {
  /** Unique in the thread. `userMessage` and the drivers count ids; a host may choose its own. */
  readonly id: string
  /** Who wrote the message. */
  readonly role: Role
  /** The content, in order: texts, images, tool calls and their results, reasoning. */
  readonly parts: readonly Part[]
  /** Where the message came from. Absent: the user or the model wrote it. */
  readonly origin?: Origin
  /** The model that wrote the message. Absent: unknown, or no model wrote it. */
  readonly producer?: Producer
}

/** A message as a record of the history. */
export type ConversationRecord = {
  readonly type: "conversation"
  readonly message: Message
}

/** An event of a driver or of the host as a record of the history. */
export type ProtocolRecord = {
  readonly type: "protocol"
  readonly event: Json
}

/** One durable record of a thread: a message, or an event of a driver's own. */
export type HistoryRecord = ConversationRecord | ProtocolRecord

/** The event of a changed system prompt or tool list. Model requests before and after its record have no common beginning. */
export type SurfaceChange = {
  readonly type: "surface_change"
  readonly contextReset: true
  /** The iteration whose request has the new prompt or tools. */
  readonly iteration: number
}

/** An outside event that a turn runs for. The model sees it for the whole turn. */
export type TurnCause = {
  readonly id: string
  readonly eventType: string
  readonly origin: Origin
  /** What the model reads. */
  readonly text: string
}

/** A message that a host injects at a checkpoint. Only `user` and `system` messages enter the transcript. */
export type DeliveredMessage = {
  readonly role: Role
  /** The text, used when `parts` is absent or empty. */
  readonly content: string
  /** Absent: the plugin `plugin`. */
  readonly origin?: Origin
  /** Used instead of `content`. Their ids are replaced with counted ones. */
  readonly parts?: readonly Part[]
}

/** What a host injects at a checkpoint. Empty and absent lists deliver nothing. */
export type CheckpointDelivery = {
  /** Whole messages of the user. They are recorded in the history and come first. */
  readonly userMessages?: readonly Message[]
  /** Messages for the transcript only. */
  readonly messages?: readonly DeliveredMessage[]
  /** As `messages`, marked as transient in their origin. */
  readonly transientMessages?: readonly DeliveredMessage[]
  /** Outside events. One whose id is already known is left out. */
  readonly turnCauses?: readonly TurnCause[]
  /** Events for the driver. They are recorded in the history. */
  readonly events?: readonly Json[]
}
