import type { Json } from "../../json.ts"
import type { Goal } from "../../wire/goal.ts"
import type { Message } from "../../wire/message.ts"
import type { ThreadEvent } from "../../wire/thread-event.ts"
import { blocksOf, userParts } from "./blocks.ts"
import type { UiMessage, UiPart, UiStreamOptions } from "./chunks.ts"
import { MessageBuilder } from "./message-builder.ts"
import { UiStream, type UiStreamStatus } from "./ui-stream.ts"

/** The messages of a thread for a page that loads. */
export interface UiMessages {
  /** For the `messages` option of `useChat`. */
  readonly messages: readonly UiMessage[]
  /** `running`: the message of the open turn is left out, because the resumed stream has all of it. */
  readonly status: UiStreamStatus
  /** Inputs that no turn has received, in the order in which they came. */
  readonly queued: readonly UiMessage[]
  /** The goal of the thread; `null`: it was cleared, absent: there was none. */
  readonly goal?: Goal | null
}

/**
 * Returns the messages of a thread as a page has them after reading all its chunks: those of the user, and one of the assistant for each
 * turn.
 *
 *     const events = []
 *     for await (const event of thread.events({ live: false })) events.push(event)
 *     const { messages } = uiMessages(events)
 */
export function uiMessages(events: Iterable<ThreadEvent>, options: UiStreamOptions = {}): UiMessages {
  const stream = new UiStream(options)
  const messages: (UiMessage | MessageBuilder)[] = []
  const queued = new Map<string, Message>()
  let open: MessageBuilder | undefined
  let goal: Goal | null | undefined
  for (const event of events) {
    if (event.type === "input_queued") queued.set(event.inputId, event.message)
    if (event.type === "input_retracted") queued.delete(event.inputId)
    if (event.type === "goal_updated") goal = event.goal
    const chunks = stream.next(event)
    if (event.type === "message") {
      queued.delete(event.message.id)
      const shown = spoken(event.message, options)
      // A message that the turn received later is one of its parts.
      const isPart = event.turnId !== undefined && (event.message.role === "assistant" || open?.isEmpty !== true)
      if (shown !== undefined && !isPart) messages.splice(open === undefined ? messages.length : -1, 0, shown)
    }
    for (const { chunk } of chunks) {
      if (chunk.type === "start" && open === undefined) {
        open = new MessageBuilder(chunk.messageId)
        messages.push(open)
      }
      open?.add(chunk)
    }
    if (event.type === "turn_ended") open = undefined
  }
  const { status } = stream
  const shown = status === "running" ? messages.filter((message) => message !== open) : messages
  return {
    messages: shown.map((message) => (message instanceof MessageBuilder ? message.build() : message)),
    status,
    queued: [...queued.values()].flatMap((message) => spoken(message, options) ?? []),
    ...(goal !== undefined && { goal }),
  }
}

/** A message of the user, or one that a host added in the name of the model. */
function spoken(message: Message, options: UiStreamOptions): UiMessage | undefined {
  const { id, role, origin } = message
  if (origin !== undefined || message.parts.some(({ type }) => type === "tool_result")) return undefined
  if (role === "user") return { id, role, parts: userParts(message, options) }
  if (role !== "assistant") return undefined
  const parts = blocksOf(message, options.reasoning !== false).map(({ kind, text }): UiPart => ({ type: kind, text, state: "done" }))
  return { id, role, parts }
}

/** Returns a message without the parts that a `data-retracted` part declares void, and without those marks. For a page, before it shows the message. */
export function withoutRetracted<Message extends { readonly parts: readonly { readonly type: string }[] }>(message: Message): Message {
  if (!message.parts.some(({ type }) => type === "data-retracted")) return message
  const parts: { readonly type: string }[] = []
  for (const part of message.parts) {
    if (part.type !== "data-retracted") {
      parts.push(part)
      continue
    }
    let left = retractedCount(part)
    for (let index = parts.length - 1; index >= 0 && left > 0; index -= 1) {
      if (parts[index]?.type !== "text" && parts[index]?.type !== "reasoning") continue
      parts.splice(index, 1)
      left -= 1
    }
  }
  return { ...message, parts }
}

function retractedCount(part: object): number {
  const { data } = part as { readonly data?: Json }
  const { parts } = (typeof data === "object" && data !== null ? data : {}) as { readonly parts?: unknown }
  return typeof parts === "number" ? parts : 0
}
