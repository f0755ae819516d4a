import { randomUUID } from "node:crypto"
import type { Database } from "libsql"
import type { JournalStore } from "turn-machine/hosts"
import { Thread } from "turn-machine/hosts/thread"
import type { Agent } from "./agent.ts"
import { Chat, type ChatStatus } from "./chat.ts"

/** A chat as the list shows it. */
export interface ChatSummary {
  readonly id: string
  /** The beginning of the first message; empty before it. */
  readonly title: string
  /** Milliseconds since the epoch. */
  readonly createdAt: number
  readonly updatedAt: number
  readonly status: ChatStatus
  /** Changes with everything that is recorded. Empty: no client has opened the chat since the server started. */
  readonly version: string
}

/** What the list learns: a chat that is new or has changed, or one that was deleted. */
export type ChatChange = { readonly type: "chat"; readonly chat: ChatSummary } | { readonly type: "deleted"; readonly id: string }

/** Options of {@link Chats}. */
export interface ChatsOptions {
  /** Stops a turn when its last reader has been gone for so many milliseconds. Default: never. */
  readonly cancelAfterMs?: number
}

interface Row {
  readonly id: string
  readonly title: string
  readonly created_at: number
  readonly updated_at: number
}

/** The chats of a server: a row for each in the database, and a thread of the same id in the store. */
export class Chats {
  readonly #database: Database
  readonly #store: JournalStore
  readonly #agent: Agent
  readonly #options: ChatsOptions
  readonly #open = new Map<string, Promise<Chat>>()
  readonly #known = new Map<string, Chat>()
  readonly #listeners = new Set<(change: ChatChange) => void>()

  constructor(database: Database, store: JournalStore, agent: Agent, options: ChatsOptions = {}) {
    this.#database = database
    this.#store = store
    this.#agent = agent
    this.#options = options
  }

  list(): readonly ChatSummary[] {
    const rows = this.#database.prepare("SELECT * FROM chats ORDER BY updated_at DESC, id").all() as Row[]
    return rows.map((row) => this.#summary(row))
  }

  create(): ChatSummary {
    const now = Date.now()
    const row: Row = { id: randomUUID(), title: "", created_at: now, updated_at: now }
    this.#database.prepare("INSERT INTO chats (id, title, created_at, updated_at) VALUES (?, ?, ?, ?)").run(row.id, row.title, now, now)
    const chat = this.#summary(row)
    this.#tell({ type: "chat", chat })
    return chat
  }

  /** The chat; `undefined`: there is none. */
  async get(id: string): Promise<Chat | undefined> {
    return this.#row(id) === undefined ? undefined : this.#opened(id)
  }

  /** Stops and deletes a chat. Returns whether there was one. */
  async delete(id: string): Promise<boolean> {
    // From here on, no request finds it. What a crash leaves of its thread is deleted at the next start.
    const { changes } = this.#database.prepare("DELETE FROM chats WHERE id = ?").run(id)
    if (changes === 0) return false
    this.#tell({ type: "deleted", id })
    const open = this.#open.get(id)
    await (await open?.catch(() => undefined))?.cancel()
    this.#open.delete(id)
    this.#known.delete(id)
    await Thread.delete(this.#store, id, { takeOver: true })
    return true
  }

  /** Continues what an earlier process left: open turns, and messages that no turn has received. Returns the ids of their chats. */
  async resume(): Promise<readonly string[]> {
    const resumed: string[] = []
    for await (const { threadId, error, openTurn, hasInput } of Thread.list(this.#store)) {
      if (this.#row(threadId) === undefined) await Thread.delete(this.#store, threadId, { takeOver: true })
      else if (error !== undefined) console.error(`${threadId}: ${error.message}`)
      else if (openTurn !== undefined || hasInput) resumed.push(threadId)
    }
    for (const id of resumed) (await this.#opened(id)).run()
    return resumed
  }

  /** Calls the listener with each change, until the returned function is called. */
  onChange(listener: (change: ChatChange) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** Closes all chats. Turns that run stay open, and the next process continues them. */
  async close(): Promise<void> {
    const chats = await Promise.allSettled(this.#open.values())
    await Promise.all(chats.map((chat) => chat.status === "fulfilled" && chat.value.close()))
  }

  #opened(id: string): Promise<Chat> {
    const open = this.#open.get(id)
    if (open !== undefined) return open
    // This process alone has the databases, so the process that had the thread open is gone.
    const opening = Thread.open(this.#store, id, { ...this.#agent.options, takeOver: true }).then((thread) => {
      const chat = new Chat(thread, this.#agent, {
        ...this.#options,
        onChange: () => this.#changed(id),
        onSaid: (text) => this.#said(id, text),
      })
      this.#known.set(id, chat)
      return chat
    })
    this.#open.set(id, opening)
    opening.catch(() => this.#open.delete(id))
    return opening
  }

  /** A message moves its chat to the top; the first one names it. */
  #said(id: string, text: string): void {
    const line = text.replace(/\s+/g, " ").trim()
    const title = line.length > 80 ? `${line.slice(0, 79)}…` : line
    this.#database
      .prepare("UPDATE chats SET updated_at = ?, title = CASE title WHEN '' THEN ? ELSE title END WHERE id = ?")
      .run(Date.now(), title, id)
  }

  #changed(id: string): void {
    const row = this.#row(id)
    if (row !== undefined) this.#tell({ type: "chat", chat: this.#summary(row) })
  }

  #tell(change: ChatChange): void {
    for (const listener of this.#listeners) listener(change)
  }

  #row(id: string): Row | undefined {
    return this.#database.prepare("SELECT * FROM chats WHERE id = ?").get(id) as Row | undefined
  }

  #summary({ id, title, created_at, updated_at }: Row): ChatSummary {
    const { status = "idle", version = "" } = this.#known.get(id) ?? {}
    return { id, title, createdAt: created_at, updatedAt: updated_at, status, version }
  }
}
