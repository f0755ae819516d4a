import type { Message } from "../wire/message.ts"

/** How the id of a {@link userMessage} is made. */
export interface UserMessageOptions {
  /** The message's id. It must be unique in its thread. */
  readonly id?: string
  /** The messages before this one. Without an `id`, the message is numbered after them: `user-<n>`. */
  readonly after?: readonly Message[]
}

/**
 * Returns a message of the user with one text. Pure: the id is not random. It is `user-<n>`, where n counts the messages of the
 * thread, so `user-1` for the first. Pass `after` (or an `id`) for every later message of a thread: two calls without them return the
 * same id, and a turn does not check that the ids of its messages differ.
 *
 *     const start = { messages: [userMessage("What is on the shelf?")] }
 *     const later = { messages: [...thread, userMessage("And below it?", { after: thread })] }
 */
export function userMessage(text: string, { id, after = [] }: UserMessageOptions = {}): Message {
  const messageId = id ?? `user-${after.length + 1}`
  return { id: messageId, role: "user", parts: [{ id: `${messageId}.p0`, type: "text", text }] }
}
