import type { DeliveredMessage, Message } from "../../wire/message.ts"

/** A message of the goal as a message of the transcript, under an id that is unique in the thread. */
export function asMessage({ role, content, origin }: DeliveredMessage, id: string): Message {
  return { id, role, parts: [{ id: `${id}.p0`, type: "text", text: content }], ...(origin !== undefined && { origin }) }
}
