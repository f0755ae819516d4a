import type { UiStreamOptions } from "../../projectors/ui-stream/index.ts"
import type { ThreadEvent } from "../../wire/thread-event.ts"

/** Where the events of a thread come from: a `Thread`, or `{ events: (options) => threadEvents(store, id, …) }` for a thread of another process. */
export interface UiEventSource {
  events(options: { readonly after?: string; readonly signal?: AbortSignal; readonly live?: boolean }): AsyncIterable<ThreadEvent>
}

/** Which part of a thread a response has. */
export type UiSelection =
  /** The turn that receives an input, from its beginning: the answer to a message. `inputId` is that of the receipt of `thread.say`. */
  | { readonly type: "input"; readonly inputId: string }
  /** A turn from where it continued after approvals (`requestIds`), or after results of the page's tools (`callIds`): the answer to them. */
  | { readonly type: "continued"; readonly turnId: string; readonly requestIds?: readonly string[]; readonly callIds?: readonly string[] }
  /** What follows a cursor: the answer to a client that lost its connection. */
  | { readonly type: "after"; readonly cursor: string }
  /** The running turn from its beginning: the answer to a page that was loaded. Without one, the response is `204`. */
  | { readonly type: "open" }

/** Options of {@link toResponse}. */
export interface UiResponseOptions extends UiStreamOptions {
  /** Default: `{ type: "open" }`. */
  readonly select?: UiSelection
  /** The request's signal. Aborting it ends the stream, and stops nothing else. */
  readonly signal?: AbortSignal
  /** Called once if the client leaves before the end of the stream: `() => void thread.interrupt()` cancels the turn on disconnect. */
  readonly onDisconnect?: () => void
  /** Further headers. */
  readonly headers?: HeadersInit
  /** Sends a comment after so many milliseconds without a chunk, so that proxies do not close the connection. Default 15,000; 0: never. */
  readonly heartbeatMs?: number
  /** Called with an error that ended the stream. The client receives an `error` chunk without its text. */
  readonly onError?: (error: unknown) => void
}

/**
 * Answers a request of `useChat` with a part of a thread as a UI message stream: server-sent events, with the header
 * `x-vercel-ai-ui-message-stream: v1`, each with a cursor as its id, and `[DONE]` at the end.
 *
 * The stream ends with the turn, or where the turn waits for approvals. It is read as fast as the client reads it. Resolves when it is known whether
 * there is something to send: `204` if not.
 * @throws {ThreadCursorError} the cursor is not one of this thread
 */
export async function toResponse(_source: UiEventSource, _options: UiResponseOptions = {}): Promise<Response> {
  throw new Error("not yet")
}

/** Returns the cursor that a client continues from: the header `Last-Event-ID`, or the query parameter `after`. */
export function lastCursor(_request: Request): string | undefined {
  throw new Error("not yet")
}
