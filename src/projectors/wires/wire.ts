import type { TurnEvent } from "../../wire/event.ts"
import type { LlmFailure, LlmRequest } from "../../wire/llm.ts"
import type { AttachmentRef, Producer } from "../../wire/message.ts"
import type { LlmComplete } from "../../wire/response.ts"
import type { HttpFacts } from "./failure.ts"

/** The result of a model call: `llm_complete.result`. */
export type LlmResult = LlmComplete["result"]

/** What a host knows of one request besides the request itself. */
export interface EncodeOptions {
  /** Requests the answer in chunks. Default `false`. */
  readonly stream?: boolean
  /**
   * The producer that answers of this endpoint have. A message of the same producer goes back with its signatures, its opaque blocks and
   * its `providerMetadata`, a message of another without. Default: any provider with this wire and the request's model.
   */
  readonly producer?: Partial<Pick<Producer, "provider" | "api" | "model">>
  /**
   * Returns the URL of an attachment: `data:…;base64,…` with its bytes, or an `https:` address where the provider fetches it. Without one,
   * a text replaces the attachment.
   */
  readonly attachmentUrl?: (attachment: AttachmentRef) => string | undefined
}

/** What a host knows of the answer to one request. */
export interface DecodeOptions {
  /** The first number of the ids `call_<n>` for calls that come without an id. Default 1. */
  readonly firstCallNumber?: number
  /** The model that answers, as in the request. Stored with the answer, together with the provider's id of it. */
  readonly producer?: Producer
  /** The own names of tools that the request sent in another form: what {@link WireProjector.toolNames} returns for the request. */
  readonly toolNames?: ReadonlyMap<string, string>
  /** The clock, in milliseconds since the epoch. Without it, a failure has no `retryAt` if the provider says only how long to wait. */
  readonly now?: () => number
  /** Removes secrets from what the provider says of the answer: errors, finish reason, id. It is called before a text is shortened. */
  readonly redact?: (text: string) => string
}

/**
 * A provider's wire format, both ways, for one endpoint: what it accepts is bound when the wire is made. Pure; the host sends and
 * receives. Nothing throws for what a transcript or an answer contains.
 */
export interface WireProjector<Body extends object = object> {
  /** The name of the wire in a {@link Producer}, such as `openai-chat`. */
  readonly api: string
  /** Returns the body to post. JSON; always valid for the provider, whatever the transcript contains. */
  encode(request: LlmRequest, options?: EncodeOptions): Body
  /**
   * Returns the names of tools that the body has in another form, because the provider accepts only some: from the sent name to the own
   * one. Pass them to `decode` and `stream`.
   */
  toolNames(request: LlmRequest): ReadonlyMap<string, string>
  /** Reads a whole answer, parsed from JSON. Anything that is not one gives the failure `malformed_response`. */
  decode(body: unknown, options?: DecodeOptions): LlmResult
  /** Reads an answer in chunks. */
  stream(options?: DecodeOptions): WireStream
  /** Describes a refused request: any status but 2xx, with the text of its body. Its `kind` is the same for every provider. */
  failure(status: number, body: string, facts?: HttpFacts): LlmFailure
}

/**
 * Reads one streamed answer: `push` every event's data, parsed from JSON, then call `finish` once. A stream that ends before its answer
 * does gives the failure `stream_truncated`, with what was said in `partial`.
 */
export interface WireStream {
  /** Whether the answer has failed; further chunks are ignored. */
  readonly failed: boolean
  /** Whether the answer has its finish reason; at most the usage is still to come. */
  readonly complete: boolean
  /** Whether the answer is complete, and no text or calls are expected although the endpoint may send a finish reason in each chunk. */
  readonly ended: boolean
  /** Whether the usage of the whole answer has come. */
  readonly hasUsage: boolean
  /** How many chunks have added to the answer. */
  readonly pieces: number
  /** Adds one chunk and returns the events to show. */
  push(chunk: unknown): readonly TurnEvent[]
  /** Returns the answer. `done`: the endpoint said that the stream has ended (`[DONE]`). */
  finish(done?: boolean): LlmResult
  /** Returns a failure that ended the stream, with what was said before it. */
  cutOff(failure: LlmFailure): LlmResult
}

/** Counts the calls of a request, so that calls without an id get one that no other has. */
export function countCalls({ messages }: LlmRequest): number {
  let count = 0
  for (const { blocks } of messages) for (const block of blocks) if (block.type === "tool_call") count += 1
  return count
}
