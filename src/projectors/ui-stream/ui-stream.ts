import type { ThreadEvent } from "../../wire/thread-event.ts"
import type { UiChunk, UiStreamOptions } from "./chunks.ts"

/** A chunk with its place in the thread. */
export interface PlacedChunk {
  readonly chunk: UiChunk
  /** The place after this chunk: printable ASCII, to be sent as the id of a server-sent event. `toResponse` continues after it. */
  readonly cursor: string
}

/** Where a thread is. `waiting`: its turn waits for approvals, or for results of the page's tools. */
export type UiStreamStatus = "idle" | "running" | "waiting"

/**
 * Folds the events of a thread into chunks of an AI SDK UI message stream. Pure: no clock, no randomness.
 *
 * Each turn is one assistant message under the turn's id. It begins with `start` and ends with `finish`, and with `abort` or `error` where the
 * turn was cancelled or failed. Where it waits for approvals, `finish` has the reason `tool-calls`, and a further `start` with the same id continues the
 * message. The user's messages that begin a turn have no chunks: the page has sent them. Those that a turn receives later are `data-user-message` parts.
 *
 * Law: the chunks of the recorded events are those of the live ones, but for how text is split. Where the model was called again after a crash or a
 * failure, the text that was shown is void: its part ends, and a `data-retracted` part says how many parts before it are void. They are not
 * in a replay, and {@link withoutRetracted} removes them from a message.
 */
export class UiStream {
  constructor(_options: UiStreamOptions = {}) {}

  /** Where the thread is after the events so far. */
  get status(): UiStreamStatus {
    throw new Error("not yet")
  }

  /** The turn that has begun and not ended. */
  get turnId(): string | undefined {
    throw new Error("not yet")
  }

  /** Returns the chunks of the next event. The first event is that of the beginning of the thread, or any before the turn to be shown. */
  next(_event: ThreadEvent): readonly PlacedChunk[] {
    throw new Error("not yet")
  }
}
