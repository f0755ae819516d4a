import { messageOf } from "../run/failures.ts"
import { onAbort } from "../timers.ts"
import { isClient, type McpClient } from "./client.ts"
import { McpToolboxError } from "./mcp-error.ts"

/** Returns a connected client: the first one, and another one after its connection was lost. */
export type McpConnect = () => McpClient | Promise<McpClient>

/** The connection to a server, which may be lost and made again. */
export class Connection {
  readonly #connect: McpConnect | undefined
  readonly #prepare: (client: McpClient) => void
  #client: McpClient | undefined
  #opening: Promise<McpClient> | undefined
  #isClosed = false
  /** Clients whose connection has ended. */
  readonly #lost = new WeakSet<McpClient>()

  /** `prepare`: called with each new client, before it is used. */
  constructor(source: McpClient | McpConnect, prepare: (client: McpClient) => void) {
    this.#prepare = prepare
    this.#connect = typeof source === "function" ? source : undefined
    if (typeof source !== "function") this.#take(source)
  }

  /** Whether another connection can be made. */
  get canReconnect(): boolean {
    return this.#connect !== undefined && !this.#isClosed
  }

  get isOpen(): boolean {
    return this.#client !== undefined
  }

  /** The connected client, if there is one now. */
  get current(): McpClient | undefined {
    return this.#client
  }

  /** Whether the connection of a client has ended. */
  isLost(client: McpClient): boolean {
    return this.#lost.has(client)
  }

  /** The connected client. Concurrent calls share one attempt to connect; the signal ends only the wait. @throws {McpToolboxError} `connect_failed` */
  async open(signal?: AbortSignal): Promise<McpClient> {
    if (this.#client !== undefined) return this.#client
    if (this.#isClosed) throw new McpToolboxError("connect_failed", "The toolbox of the MCP server was closed.")
    if (this.#connect === undefined) throw new McpToolboxError("connect_failed", "The connection to the MCP server has ended.")
    this.#opening ??= this.#open(this.#connect).finally(() => {
      this.#opening = undefined
    })
    return unlessAborted(this.#opening, signal)
  }

  /** The client cannot be used any longer, although its transport is open: the server has forgotten its session. */
  drop(client: McpClient): void {
    if (this.#connect === undefined || this.#lost.has(client)) return
    this.#lose(client)
    client.close().catch(() => {})
  }

  /** Closes a client that the connect function returned. One that was passed stays open: it belongs to the caller. */
  async close(): Promise<void> {
    this.#isClosed = true
    const pending = await this.#opening?.catch(() => undefined)
    const client = this.#client ?? pending
    this.#client = undefined
    if (client !== undefined && this.#connect !== undefined) await client.close().catch(() => {})
  }

  async #open(connect: McpConnect): Promise<McpClient> {
    let client: McpClient
    try {
      client = await connect()
    } catch (cause) {
      throw new McpToolboxError("connect_failed", `The MCP server cannot be reached: ${whyOf(cause).slice(0, 2_000)}`, { cause })
    }
    if (!isClient(client)) throw new McpToolboxError("invalid_client", "The connect function of mcpToolbox did not return a client of an MCP SDK.")
    if (!this.#isClosed) this.#take(client)
    return client
  }

  #take(client: McpClient): void {
    this.#client = client
    const before = client.onclose
    client.onclose = () => {
      before?.call(client)
      this.#lose(client)
    }
    this.#prepare(client)
  }

  #lose(client: McpClient): void {
    this.#lost.add(client)
    if (this.#client === client) this.#client = undefined
  }
}

/** Why a connection failed. `fetch` says it only in the causes of its error. */
function whyOf(error: unknown): string {
  let message = messageOf(error)
  for (let at = error, depth = 0; at instanceof Error && depth < 5; at = at.cause, depth += 1) {
    const [first]: readonly unknown[] = at instanceof AggregateError ? at.errors : []
    const why = at.message === "" && first !== undefined ? messageOf(first) : at.message
    if (why !== "" && !message.includes(why)) message = `${message}: ${why}`
  }
  return message
}

/** Waits for a promise, at most until a signal is aborted. */
export async function unlessAborted<Value>(promise: Promise<Value>, signal: AbortSignal | undefined): Promise<Value> {
  if (signal === undefined) return promise
  signal.throwIfAborted()
  let stopWaiting: () => void = () => {}
  const aborted = new Promise<never>((_resolve, reject) => {
    stopWaiting = onAbort(signal, () => reject(signal.reason))
  })
  try {
    return await Promise.race([promise, aborted])
  } finally {
    stopWaiting()
    promise.catch(() => {})
  }
}
