import type { ThreadEvent } from "../../wire/thread-event.ts"
import type { UiMessage, UiStreamOptions } from "./chunks.ts"
import type { UiStreamStatus } from "./ui-stream.ts"

/** The messages of a thread for a page that loads. */
export interface UiMessages {
  /** For the `messages` option of `useChat`. */
  readonly messages: readonly UiMessage[]
  /** `running`: the message of the open turn is left out, because the resumed stream has all of it. */
  readonly status: UiStreamStatus
  /** Inputs that no turn has received, in the order in which they came. */
  readonly queued: readonly UiMessage[]
}

/**
 * Returns the messages of a thread as a page has them after reading all its chunks: those of the user, and one of the assistant for each
 * turn.
 *
 *     const events = await Array.fromAsync(thread.events({ live: false }))
 *     const { messages } = uiMessages(events)
 */
export function uiMessages(_events: Iterable<ThreadEvent>, _options: UiStreamOptions = {}): UiMessages {
  throw new Error("not yet")
}

/** Returns a message without the parts that a `data-retracted` part declares void, and without those marks. For the page, before it is shown. */
export function withoutRetracted<Message extends { readonly parts: readonly { readonly type: string }[] }>(_message: Message): Message {
  throw new Error("not yet")
}
