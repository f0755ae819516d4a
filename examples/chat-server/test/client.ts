import { DefaultChatTransport, isToolUIPart, readUIMessageStream, type UIMessageChunk } from "ai"
import type { ChatMessage, ChatState } from "../web/api.ts"

/** A chat as a program without a page uses it: with the AI SDK's own transport and reader. */
export class Client {
  readonly id: string
  /** The server may be started again under the same address. */
  readonly url: string
  readonly #transport: DefaultChatTransport<ChatMessage>

  private constructor(url: string, id: string) {
    this.url = url
    this.id = id
    this.#transport = new DefaultChatTransport<ChatMessage>({
      api: `${url}/api/chats/${id}/messages`,
      prepareReconnectToStreamRequest: () => ({ api: `${url}/api/chats/${id}/stream` }),
    })
  }

  static async create(url: string): Promise<Client> {
    const response = await fetch(`${url}/api/chats`, { method: "POST" })
    const { id } = (await response.json()) as { readonly id: string }
    return new Client(url, id)
  }

  /** Sends a message, and reads the answer to its end. `onUpdate` receives the message as it grows. */
  async send(text: string, onUpdate?: (message: ChatMessage) => void): Promise<ChatMessage> {
    const stream = await this.post({ id: `m-${crypto.randomUUID()}`, role: "user", parts: [{ type: "text", text }] })
    return read(stream, undefined, onUpdate)
  }

  /** Answers every request of a message for approval, and reads the rest of the answer. */
  async decide(message: ChatMessage, approved: boolean): Promise<ChatMessage> {
    const parts = message.parts.map((part) =>
      isToolUIPart(part) && part.state === "approval-requested"
        ? { ...part, state: "approval-responded" as const, approval: { ...part.approval, approved } }
        : part,
    )
    const decided = { ...message, parts } as ChatMessage
    return read(await this.post(decided), decided)
  }

  /** Posts as `useChat` does. */
  post(message: ChatMessage, abortSignal?: AbortSignal): Promise<ReadableStream<UIMessageChunk>> {
    return this.#transport.sendMessages({ trigger: "submit-message", chatId: this.id, messageId: undefined, messages: [message], abortSignal })
  }

  /** The turn that runs, from its beginning. `undefined`: none runs. */
  async resume(): Promise<ChatMessage | undefined> {
    const stream = await this.#transport.reconnectToStream({ chatId: this.id })
    return stream === null ? undefined : read(stream)
  }

  async state(): Promise<ChatState> {
    return (await this.request("GET", "")).json() as Promise<ChatState>
  }

  /** Waits until the chat rests or waits for a decision. */
  async rested(): Promise<ChatState> {
    for (;;) {
      const state = await this.state()
      if (state.status !== "running" && state.queued.length === 0) return state
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
  }

  request(method: string, path: string, body?: object, headers: Readonly<Record<string, string>> = {}): Promise<Response> {
    const init = body === undefined ? {} : { body: JSON.stringify(body) }
    return fetch(`${this.url}/api/chats/${this.id}${path}`, { method, ...init, headers: { "content-type": "application/json", ...headers } })
  }
}

/** Reads a message from its chunks. `before`: what the client has of it. */
async function read(
  stream: ReadableStream<UIMessageChunk>,
  before?: ChatMessage,
  onUpdate: (message: ChatMessage) => void = () => {},
): Promise<ChatMessage> {
  let last = before
  for await (const message of readUIMessageStream<ChatMessage>({ stream, ...(before !== undefined && { message: before }) })) {
    last = message
    onUpdate(message)
  }
  if (last === undefined) throw new Error("The stream has no message.")
  return last
}

/** What a person sees of a message: its texts, and each call with its state. */
export function seen({ parts }: Pick<ChatMessage, "parts">): readonly string[] {
  return parts.flatMap((part) => {
    if (part.type === "text") return [part.text]
    if (part.type === "data-user-message") return [`you: ${part.data.parts.map(({ text }) => text).join("")}`]
    return isToolUIPart(part) ? [`${part.type} ${part.state}`] : []
  })
}
