import { AbstractChat, type ChatState, DefaultChatTransport, lastAssistantMessageIsCompleteWithApprovalResponses, type UIMessage } from "ai"
import { memoryAttachmentStore } from "../../../src/hosts/attachments/memory.ts"
import { type Host, pending } from "../../../src/hosts/host.ts"
import { memoryJournalStore } from "../../../src/hosts/journal/memory.ts"
import { runThread, Thread, type ThreadOptions } from "../../../src/hosts/thread/thread.ts"
import { ChatRequestError, lastCursor, readChatRequest, toDecisions, toResponse, type UiResponseOptions } from "../../../src/hosts/ui-stream/index.ts"
import { uiMessages } from "../../../src/projectors/ui-stream/index.ts"
import type { LlmResponse } from "../../../src/wire/llm.ts"
import type { ThreadEvent } from "../../../src/wire/thread-event.ts"
import { CONFIG } from "../../replay/support.ts"

const spec = (name: string) => ({ name, description: name, inputSchema: { type: "object" } })

export const OPTIONS: ThreadOptions = {
  config: { ...CONFIG, tools: [spec("look"), spec("pay"), spec("locate")] },
  goals: false,
  approvals: ({ toolName }) => (toolName === "pay" ? { hold: {} } : "run"),
}

/** What a page's server does: one thread, three routes. */
export class ChatServer {
  readonly store = memoryJournalStore()
  readonly attachments = memoryAttachmentStore()
  readonly #host: Host
  readonly #options: UiResponseOptions
  readonly thread: Thread
  running: Promise<unknown> = Promise.resolve()
  /** The signal of the run. */
  readonly stop = new AbortController()

  private constructor(thread: Thread, host: Host, options: UiResponseOptions) {
    this.thread = thread
    this.#host = host
    this.#options = options
  }

  static async start(host: Host, options: UiResponseOptions = {}): Promise<ChatServer> {
    return new ChatServer(await Thread.open(memoryJournalStore(), "t", OPTIONS), host, options)
  }

  run(): void {
    this.running = runThread(this.thread, this.#host, { signal: this.stop.signal, suspend: true })
    this.running.catch(() => {})
  }

  /** As `fetch`. */
  readonly fetch = async (input: RequestInfo | URL, init?: RequestInit): Promise<Response> => {
    const request = input instanceof Request ? input : new Request(new URL(String(input), "http://chat.test"), init)
    try {
      return await this.#handle(request)
    } catch (error) {
      if (error instanceof ChatRequestError) return error.toResponse()
      throw error
    }
  }

  async #handle(request: Request): Promise<Response> {
    const { thread } = this
    const { pathname } = new URL(request.url)
    const options = { ...this.#options, signal: request.signal }
    if (pathname === "/messages") return Response.json(uiMessages(await this.recorded(), options))
    if (request.method === "GET") {
      const cursor = lastCursor(request)
      return toResponse(thread, { ...options, select: cursor === undefined ? { type: "open" } : { type: "after", cursor } })
    }
    const clientTools = this.#options.clientTools ?? []
    const chat = await readChatRequest(request, { attachments: this.attachments, clientTools })
    if (chat.type === "input") {
      const { inputId } = await thread.say(chat.message, { key: chat.key, when: "next_turn" })
      this.run()
      return toResponse(thread, { ...options, select: { type: "input", inputId } })
    }
    const { turnId, decisions, answers } = chat
    await thread.decide(toDecisions(decisions, (await thread.pendingApprovals())?.held ?? [], { by: "ada" }))
    for (const { callId, answer } of answers) await thread.answer(callId, answer)
    this.run()
    const requestIds = decisions.map(({ requestId }) => requestId)
    const callIds = answers.map(({ callId }) => callId)
    return toResponse(thread, { ...options, select: { type: "continued", turnId, requestIds, callIds } })
  }

  async recorded(): Promise<ThreadEvent[]> {
    const events: ThreadEvent[] = []
    for await (const event of this.thread.events({ live: false })) events.push(event)
    return events
  }
}

/** A host whose model gives these answers, word by word. `onWord` runs before each word but the first. */
export function hostThatSays(answers: readonly LlmResponse[], onWord: (word: string) => Promise<unknown> = async () => {}): Host {
  let next = 0
  return {
    llmCall: async (_effect, { emit, signal }) => {
      const answer = answers[next] as LlmResponse
      next += 1
      for (const word of answer.text.split(/(?<= )/)) {
        await onWord(word.trim())
        signal.throwIfAborted()
        if (word !== "") emit({ type: "text_delta", content: word })
      }
      return answer
    },
    tools: {
      effects: () => "idempotent",
      call: async ({ toolName }) =>
        toolName === "locate" ? pending({ token: "secret" }) : { output: { status: "success", value: `${toolName} done` } },
    },
  }
}

class State implements ChatState<UIMessage> {
  status: ChatState<UIMessage>["status"] = "ready"
  error: Error | undefined = undefined
  messages: UIMessage[]
  constructor(messages: readonly UIMessage[]) {
    this.messages = [...messages]
  }
  pushMessage = (message: UIMessage): void => {
    this.messages = [...this.messages, message]
  }
  popMessage = (): void => {
    this.messages = this.messages.slice(0, -1)
  }
  replaceMessage = (index: number, message: UIMessage): void => {
    this.messages = this.messages.map((known, place) => (place === index ? structuredClone(message) : known))
  }
  snapshot = <Value>(value: Value): Value => structuredClone(value)
}

/** The client of `useChat`, without React. */
export class Chat extends AbstractChat<UIMessage> {
  constructor(fetch: typeof globalThis.fetch, messages: readonly UIMessage[] = [], more: { readonly onData?: (part: unknown) => void } = {}) {
    let ids = 0
    super({
      id: "t",
      generateId: () => {
        ids += 1
        return `client-${messages.length}-${ids}`
      },
      state: new State(messages),
      transport: new DefaultChatTransport({ api: "http://chat.test/chat", fetch }),
      sendAutomaticallyWhen: lastAssistantMessageIsCompleteWithApprovalResponses,
      ...more,
    })
  }
}
