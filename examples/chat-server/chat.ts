import type { Message } from "turn-machine"
import { runThread, type Thread, type ThreadEvent } from "turn-machine/hosts/thread"
import { type ChatContinuation, toDecisions, toResponse, type UiSelection } from "turn-machine/hosts/ui-stream"
import { type UiMessage, UiMessageFold, UiStream, type UiStreamStatus } from "turn-machine/projectors/ui-stream"
import type { Agent } from "./agent.ts"

/** `waiting`: for the user's decision about calls of tools. */
export type ChatStatus = UiStreamStatus

/** What a page that loads needs. */
export interface ChatState {
  readonly status: ChatStatus
  readonly version: string
  /** Without that of a turn that runs: the stream has all of it. */
  readonly messages: readonly UiMessage[]
  /** Messages that no turn has received. */
  readonly queued: readonly UiMessage[]
}

/** Options of {@link Chat}. */
export interface ChatOptions {
  readonly cancelAfterMs?: number
  /** Called when something was recorded. */
  readonly onChange: () => void
  /** Called before a message of the user is stored. */
  readonly onSaid: (text: string) => void
}

/** A decision that the thread refuses. Nothing was recorded. */
export class RefusedDecision extends Error {}

/** An open chat: a thread that runs whenever it has something to do. */
export class Chat {
  status: ChatStatus = "idle"
  version = ""
  readonly #thread: Thread
  readonly #agent: Agent
  readonly #options: ChatOptions
  readonly #cancelling = new AbortController()
  #runs: Promise<unknown> = Promise.resolve()
  /** The messages up to a cursor. Reading a long thread from its beginning takes long, so it is done once. */
  readonly #messages: UiMessageFold
  #cursor: string | undefined
  #reading: Promise<void> = Promise.resolve()
  #isClosed = false
  #watchers = 0
  #unwatched: ReturnType<typeof setTimeout> | undefined

  constructor(thread: Thread, agent: Agent, options: ChatOptions) {
    this.#thread = thread
    this.#agent = agent
    this.#options = options
    this.#messages = new UiMessageFold(agent.ui)
    void this.#follow().catch((error: unknown) => console.error(`${thread.threadId}:`, error))
  }

  /** Runs the thread until nothing is left to do, or a person has to decide. Runs of a thread follow one another, so none misses what was just said. */
  run(): void {
    const run = runThread(this.#thread, this.#agent.host, { suspend: true, signal: this.#cancelling.signal })
    this.#runs = Promise.allSettled([this.#runs, run.catch((error: unknown) => !this.#isClosed && console.error(`${this.#thread.threadId}:`, error))])
  }

  /** The messages, and where the chat is. */
  async state(): Promise<ChatState> {
    // One after another, because each begins where the one before ended.
    const reading = this.#reading.then(() => this.#read())
    this.#reading = reading.catch(() => {})
    await reading
    const { messages, status, queued } = this.#messages.messages
    return { status, messages, queued, version: this.#cursor ?? "" }
  }

  /** Reads what was recorded since the last time. */
  async #read(): Promise<void> {
    const after = this.#cursor === undefined ? {} : { after: this.#cursor }
    for await (const event of this.#thread.events({ ...after, live: false })) {
      this.#messages.next(event)
      if ("cursor" in event) this.#cursor = event.cursor
    }
  }

  /** Stores a message, once for each key, and lets a turn receive it. Returns its id. While the turn waits for approvals, the message replaces them. */
  async say(message: Message, key: string): Promise<string> {
    this.#options.onSaid(textOf(message))
    const { inputId } = await (this.status === "waiting" ? this.#thread.redirect(message, { key }) : this.#thread.say(message, { key }))
    this.run()
    return inputId
  }

  /** @throws {RefusedDecision} */
  async decide({ turnId, decisions }: Pick<ChatContinuation, "turnId" | "decisions">): Promise<void> {
    const waiting = await this.#thread.pendingApprovals()
    const held = waiting?.turnId === turnId ? waiting.held : []
    const results = await this.#thread.decide(toDecisions(decisions, held, { by: "user" }), { turnId })
    for (const result of results) if (result.status === "refused") throw new RefusedDecision(result.message)
    this.run()
  }

  /** Stops the turn. Returns the messages that it did not receive, for the text field. */
  async stop(): Promise<readonly string[]> {
    const { returned } = await this.#thread.interrupt("Stopped by the user.")
    // A turn that waits ends when it runs.
    this.run()
    return returned.map(({ message }) => textOf(message))
  }

  /** A part of the chat as the response that `useChat` reads. The turn does not depend on it: who leaves can come back. */
  respond(select: UiSelection, signal: AbortSignal): Promise<Response> {
    const thread = this.#thread
    const events = (options: Parameters<Thread["events"]>[0] = {}) =>
      options.live === false ? thread.events(options) : this.#watched(thread.events(options))
    return toResponse({ events }, { ...this.#agent.ui, select, signal, onError: (error) => console.error(`${thread.threadId}:`, error) })
  }

  /** Closes the thread. A turn that runs stays open, for the next process. */
  async close(): Promise<void> {
    this.#isClosed = true
    clearTimeout(this.#unwatched)
    await this.#thread.close()
  }

  /** Cancels what runs, and closes the thread when it has ended. */
  async cancel(): Promise<void> {
    this.#cancelling.abort()
    await this.#runs
    await this.close()
  }

  async #follow(): Promise<void> {
    const stream = new UiStream(this.#agent.ui)
    for await (const event of this.#thread.events()) {
      stream.next(event)
      if (!("cursor" in event)) continue
      this.version = event.cursor
      this.status = stream.status
      this.#options.onChange()
    }
  }

  /** Counts who watches. */
  async *#watched(events: AsyncIterable<ThreadEvent>): AsyncGenerator<ThreadEvent, void, undefined> {
    this.#watchers += 1
    clearTimeout(this.#unwatched)
    try {
      yield* events
    } finally {
      this.#watchers -= 1
      const { cancelAfterMs } = this.#options
      if (this.#watchers === 0 && cancelAfterMs !== undefined && !this.#isClosed) {
        this.#unwatched = setTimeout(() => this.status === "running" && void this.#thread.interrupt("No client reads the turn."), cancelAfterMs)
      }
    }
  }
}

function textOf({ parts }: Message): string {
  return parts.map((part) => (part.type === "text" ? part.text : "")).join("")
}
