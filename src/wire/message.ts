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

/** Text that a person or the model wrote. */
export type TextPart = {
  readonly type: "text"
  /** Unique within the message, as in `u1.p0`. */
  readonly id: string
  readonly prune?: Prune
  readonly text: string
  readonly responseMeta?: ResponseMeta
}

/** Code, its output, or an error. */
export type CodePart = {
  readonly type: "code" | "output" | "error"
  /** Unique within the message, as in `u1.p0`. */
  readonly id: string
  readonly prune?: Prune
  readonly text: string
}

/** An image, or the text that takes its place. */
export type ImagePart = {
  readonly type: "image"
  /** Unique within the message, as in `u1.p0`. */
  readonly id: string
  readonly prune?: Prune
  readonly attachment?: AttachmentRef
  readonly text?: string
}

/** A tool call of the model. */
export type ToolCallPart = {
  readonly type: "tool_call"
  /** Unique within the message, as in `u1.p0`. */
  readonly id: string
  readonly prune?: Prune
  readonly callId: string
  readonly toolName: string
  /** The arguments as the model wrote them: JSON text that may be broken. */
  readonly inputJson: string
  readonly replay?: ReplayMeta
}

/** The result of a tool call, as the model reads it. */
export type ToolResultPart = {
  readonly type: "tool_result"
  /** Unique within the message, as in `u1.p0`. */
  readonly id: string
  readonly prune?: Prune
  /** The `callId` of the tool call that this answers. */
  readonly callId: string
  readonly toolName?: string
  readonly text: string
}

/** Reasoning of the model. */
export type ReasoningPart = {
  readonly type: "reasoning"
  /** Unique within the message, as in `u1.p0`. */
  readonly id: string
  readonly prune?: Prune
  readonly text: string
  readonly replay?: ReasoningReplay
}

/** One piece of a message. */
export type Part = TextPart | CodePart | ImagePart | ToolCallPart | ToolResultPart | ReasoningPart

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
