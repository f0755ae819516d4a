import type { Json } from "../../json.ts"
import type { Goal } from "../../wire/goal.ts"
import type { Message } from "../../wire/message.ts"
import type { MessageCompleted, ThreadEvent } from "../../wire/thread-event.ts"
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
  const fold = new UiMessageFold(options)
  for (const event of events) fold.next(event)
  return fold.messages
}

/**
 * The same as {@link uiMessages}, event by event: for a server that is asked for the messages again and again, and reads each time only the events after the
 * last cursor.
 */
export class UiMessageFold {
  readonly #options: UiStreamOptions
  readonly #stream: UiStream
  readonly #messages: (UiMessage | MessageBuilder)[] = []
  readonly #queued = new Map<string, Message>()
  #open: MessageBuilder | undefined
  #goal: Goal | null | undefined

  constructor(options: UiStreamOptions = {}) {
    this.#options = options
    this.#stream = new UiStream(options)
  }

  next(event: ThreadEvent): void {
    if (event.type === "input_queued") this.#queued.set(event.inputId, event.message)
    if (event.type === "input_retracted") this.#queued.delete(event.inputId)
    if (event.type === "goal_updated") this.#goal = event.goal
    const chunks = this.#stream.next(event)
    if (event.type === "message") this.#message(event)
    for (const { chunk } of chunks) {
      if (chunk.type === "start" && this.#open === undefined) {
        this.#open = new MessageBuilder(chunk.messageId)
        this.#messages.push(this.#open)
      }
      this.#open?.add(chunk)
    }
    if (event.type === "turn_ended") this.#open = undefined
  }

  /** The messages after the events so far. */
  get messages(): UiMessages {
    const { status } = this.#stream
    const shown = status === "running" ? this.#messages.filter((message) => message !== this.#open) : this.#messages
    const goal = this.#goal
    return {
      messages: shown.map((message) => (message instanceof MessageBuilder ? message.build() : message)),
      status,
      queued: [...this.#queued.values()].flatMap((message) => spoken(message, this.#options) ?? []),
      ...(goal !== undefined && { goal }),
    }
  }

  #message({ message, turnId }: MessageCompleted): void {
    this.#queued.delete(message.id)
    const shown = spoken(message, this.#options)
    // A message that the turn received later is one of its parts.
    const isPart = turnId !== undefined && (message.role === "assistant" || this.#open?.isEmpty !== true)
    if (shown !== undefined && !isPart) this.#messages.splice(this.#open === undefined ? this.#messages.length : -1, 0, shown)
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
