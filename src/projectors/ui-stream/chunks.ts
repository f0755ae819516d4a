import type { Json } from "../../json.ts"
import type { AttachmentRef } from "../../wire/message.ts"
import type { TokenUsage } from "../../wire/usage.ts"

/**
 * A piece of an AI SDK UI message stream: the chunks that both `ai` 6 and `ai` 7 accept. The shapes are those of `UIMessageChunk`; nothing of
 * that package is imported.
 * @see https://ai-sdk.dev/docs/ai-sdk-ui/stream-protocol#data-stream-protocol
 */
export type UiChunk =
  | { readonly type: "start"; readonly messageId: string; readonly messageMetadata?: UiMessageMetadata }
  | { readonly type: "start-step" | "finish-step" }
  | { readonly type: "text-start" | "text-end" | "reasoning-start" | "reasoning-end"; readonly id: string }
  | { readonly type: "text-delta" | "reasoning-delta"; readonly id: string; readonly delta: string }
  | (UiToolInput & { readonly type: "tool-input-available" })
  /** The arguments are not what the tool can be called with, and are shown as the model wrote them. */
  | (UiToolInput & { readonly type: "tool-input-error"; readonly errorText: string })
  | { readonly type: "tool-approval-request"; readonly approvalId: string; readonly toolCallId: string; readonly signature: string }
  | { readonly type: "tool-output-available"; readonly toolCallId: string; readonly output: Json; readonly dynamic?: true }
  | { readonly type: "tool-output-error"; readonly toolCallId: string; readonly errorText: string; readonly dynamic?: true }
  | { readonly type: "tool-output-denied"; readonly toolCallId: string }
  | { readonly type: "file"; readonly url: string; readonly mediaType: string }
  | UiDataChunk
  | { readonly type: "message-metadata"; readonly messageMetadata: UiMessageMetadata }
  | { readonly type: "finish"; readonly finishReason: UiFinishReason; readonly messageMetadata?: UiMessageMetadata }
  | { readonly type: "abort"; readonly reason?: string }
  | { readonly type: "error"; readonly errorText: string }

/** A call with its arguments. */
export type UiToolInput = {
  readonly toolCallId: string
  readonly toolName: string
  readonly input: Json
  /** The part is a `dynamic-tool` rather than a `tool-NAME`. */
  readonly dynamic?: true
}

/** A part of a page's own. One with an `id` replaces the one before with the same type and id. */
export type UiDataChunk = {
  readonly type: `data-${string}`
  readonly id?: string
  readonly data: Json
  /** It is reported by `onData`, and is not a part of the message. */
  readonly transient?: true
}

/** Why a message ends. `tool-calls`: it waits for approvals, or for results of the page's own tools, and the stream after them continues it. */
export type UiFinishReason = "stop" | "length" | "content-filter" | "tool-calls" | "error" | "other"

/** What the metadata of an assistant's message say about its turn. */
export type UiMessageMetadata = {
  /** Milliseconds since the epoch. */
  readonly startedAt?: number
  /** Milliseconds since the epoch. */
  readonly endedAt?: number
  /** How the turn ended: `finished`, `agent_frame_switch`, or why it stopped (`cancelled`, `max_iterations`, `provider_error`, …). */
  readonly outcome?: string
  /** The tokens of the turn. */
  readonly usage?: TokenUsage
  /** What they cost, in millionths, if {@link UiStreamOptions.cost} is given. */
  readonly costMicros?: number
}

/** A `UIMessage` of the AI SDK. Its parts are those that a page has after reading the chunks. */
export type UiMessage = {
  readonly id: string
  readonly role: "user" | "assistant" | "system"
  readonly metadata?: UiMessageMetadata
  readonly parts: readonly UiPart[]
}

/** A part of a {@link UiMessage}. */
export type UiPart =
  | { readonly type: "step-start" }
  | { readonly type: "text" | "reasoning"; readonly id?: string; readonly text: string; readonly state?: "streaming" | "done" }
  | { readonly type: "file"; readonly mediaType: string; readonly url: string; readonly filename?: string }
  | { readonly type: `data-${string}`; readonly id?: string; readonly data: Json }
  | UiToolPart

/** A tool call with its arguments, its approval and its result, as far as it has come. */
export type UiToolPart = {
  /** `tool-NAME`, or `dynamic-tool` with a `toolName`. */
  readonly type: `tool-${string}` | "dynamic-tool"
  readonly toolName?: string
  readonly toolCallId: string
  readonly state: "input-available" | "approval-requested" | "output-available" | "output-error" | "output-denied"
  readonly input?: Json
  readonly rawInput?: Json
  readonly output?: Json
  readonly errorText?: string
  readonly approval?: { readonly id: string; readonly signature?: string }
}

/** Options of {@link UiStream}. Use the same ones for every stream of a thread: a cursor counts the chunks that they give. */
export interface UiStreamOptions {
  /** Which calls are `dynamic-tool` parts. Default: none, so a call of `search` is a `tool-search` part. */
  readonly dynamicTools?: boolean | ((toolName: string) => boolean)
  /**
   * The tools that the page runs itself, with `addToolOutput`. A call of theirs that continues outside ends the stream, as an approval does. Their
   * results are accepted by `readChatRequest` with the same option.
   */
  readonly clientTools?: readonly string[]
  /** The address of an attachment for the page. Without it, or for `undefined`, an attachment is a `data-attachment` part with its reference. */
  readonly fileUrl?: (attachment: AttachmentRef) => string | undefined
  /** False leaves out what the model reasons. Default true. */
  readonly reasoning?: boolean
  /** False sends texts when they are complete, and not as the model writes them. For drivers that show something else, such as `codeDriver`. Default true. */
  readonly liveText?: boolean
  /** What tokens cost, in millionths: `(usage) => costOf(usage, prices)`. */
  readonly cost?: (usage: TokenUsage) => number
  /** The text of an error that a page shows. Default: the text for users that the error has. */
  readonly errorText?: (error: { readonly message: string; readonly code?: string }) => string
}
