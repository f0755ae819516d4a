import type { JournalStore } from "turn-machine/hosts"
import { runThread, Thread } from "turn-machine/hosts/thread"
import type { Agent } from "./agent.ts"

/** The open threads of a server. Each is opened once, and runs whenever it has something to do. */
export class Conversations {
  readonly #store: JournalStore
  readonly #agent: Agent
  readonly #open = new Map<string, Promise<Conversation>>()

  constructor(store: JournalStore, agent: Agent) {
    this.#store = store
    this.#agent = agent
  }

  /** Opens a thread, creating it if needed. */
  get(threadId: string): Promise<Conversation> {
    const open = this.#open.get(threadId)
    if (open !== undefined) return open
    // The process that had the thread open may just have been killed. Some systems notice only after its heartbeat stopped.
    const opening = Thread.open(this.#store, threadId, { ...this.#agent.options, waitMs: 60_000 }).then(
      (thread) => new Conversation(thread, this.#agent),
    )
    this.#open.set(threadId, opening)
    opening.catch(() => this.#open.delete(threadId))
    return opening
  }

  /** Runs what another process left: open turns, and inputs that no turn has received. Returns the ids of their threads. */
  async resume(): Promise<readonly string[]> {
    const resumed: string[] = []
    for await (const { threadId, error, openTurn, hasInput } of Thread.list(this.#store)) {
      if (error !== undefined) console.error(`${threadId}: ${error.message}`)
      else if (openTurn !== undefined || hasInput) resumed.push(threadId)
    }
    for (const threadId of resumed) (await this.get(threadId)).run()
    return resumed
  }

  /** Stops and deletes a thread. */
  async delete(threadId: string): Promise<void> {
    const conversation = await this.#open.get(threadId)
    await conversation?.close()
    this.#open.delete(threadId)
    await Thread.delete(this.#store, threadId)
  }
}

/** An open thread. */
export class Conversation {
  readonly thread: Thread
  readonly #agent: Agent
  readonly #closing = new AbortController()
  #running: Promise<void> | undefined

  constructor(thread: Thread, agent: Agent) {
    this.thread = thread
    this.#agent = agent
  }

  /** Runs the thread until nothing waits. Call it after each input: while the thread runs, it does nothing. */
  run(): void {
    this.#running ??= this.#runUntilRest()
      .catch((error: unknown) => console.error(`${this.thread.threadId}:`, error))
      .finally(() => (this.#running = undefined))
  }

  async #runUntilRest(): Promise<void> {
    const { signal } = this.#closing
    // An input may arrive while the last run returns.
    do await runThread(this.thread, this.#agent.host, { signal })
    while (!signal.aborted && this.thread.queue().length > 0)
  }

  async close(): Promise<void> {
    this.#closing.abort()
    await this.#running
    await this.thread.close()
  }
}
