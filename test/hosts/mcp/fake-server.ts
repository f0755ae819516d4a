import { Client as ClientTwo } from "@modelcontextprotocol/client"
import { Client as ClientOne } from "@modelcontextprotocol/sdk/client/index.js"
import type { McpClient } from "../../../src/hosts/mcp/index.ts"

/** A message of JSON-RPC, as it is on the wire. */
export interface Wire {
  readonly jsonrpc?: "2.0"
  readonly id?: number | string
  readonly method?: string
  readonly params?: { readonly [key: string]: unknown }
  readonly result?: unknown
  readonly error?: { readonly code: number; readonly message: string; readonly data?: unknown }
}

/** Answers one request: with a result, an error, or, for `undefined`, never. */
export type Answer = (
  params: { readonly [key: string]: unknown },
  server: FakeServer,
  id: number | string,
) => object | undefined | Promise<object | undefined>

/** A server in this process that may say anything: it speaks raw messages, without an SDK of its own. */
export class FakeServer {
  readonly methods: { [method: string]: Answer }
  capabilities: object
  /** What the client sent, handshake included. */
  readonly received: Wire[] = []
  connections = 0
  #transport: FakeTransport | undefined

  constructor(methods: { [method: string]: Answer }, capabilities: object = { tools: { listChanged: true } }) {
    this.methods = methods
    this.capabilities = capabilities
  }

  /** The messages with a method that the client sent. */
  sent(method: string): readonly Wire[] {
    return this.received.filter((message) => message.method === method)
  }

  /** A new client of a version, connected to this server. */
  async connect(version: 1 | 2, options: ConstructorParameters<typeof ClientTwo>[1] = {}): Promise<McpClient> {
    const transport = new FakeTransport((message) => void this.#receive(message, transport))
    this.#transport = transport
    this.connections += 1
    if (version === 1) {
      const client = new ClientOne({ name: "test", version: "1" })
      // The classes of the transports differ in types that say nothing about what they do.
      await client.connect(transport as never)
      return client
    }
    const client = new ClientTwo({ name: "test", version: "1" }, options)
    await client.connect(transport as never)
    return client
  }

  notify(method: string, params: object = {}): void {
    this.#transport?.onmessage?.({ jsonrpc: "2.0", method, params } as never)
  }

  /** The connection is lost, as when the process of a server ends. */
  die(): void {
    void this.#transport?.close()
  }

  async #receive(message: Wire, transport: FakeTransport): Promise<void> {
    this.received.push(message)
    const { id, method = "", params = {} } = message
    if (id === undefined) return
    const reply = (answer: object): void => transport.onmessage?.({ jsonrpc: "2.0", id, ...answer } as never)
    if (method === "initialize") {
      const serverInfo = { name: "fake", version: "1.2.3" }
      return reply({ result: { protocolVersion: "2025-06-18", capabilities: this.capabilities, serverInfo } })
    }
    const handler = this.methods[method]
    if (handler === undefined) return reply({ error: { code: -32_601, message: "Method not found" } })
    const answer = await handler(params, this, id)
    if (answer !== undefined) reply("error" in answer ? answer : { result: answer })
  }
}

class FakeTransport {
  onmessage?: (message: never) => void
  onclose?: () => void
  onerror?: (error: Error) => void
  #isClosed = false
  readonly #receive: (message: Wire) => void

  constructor(receive: (message: Wire) => void) {
    this.#receive = receive
  }

  async start(): Promise<void> {}

  async send(message: Wire): Promise<void> {
    if (this.#isClosed) throw new Error("The transport is closed.")
    // As it is on a wire: what has no JSON form is gone, and nothing is shared.
    const copy = JSON.parse(JSON.stringify(message)) as Wire
    queueMicrotask(() => this.#receive(copy))
  }

  async close(): Promise<void> {
    if (this.#isClosed) return
    this.#isClosed = true
    this.onclose?.()
  }
}

/** A server with these tools, whose calls are answered by `call`. */
export function serverWith(tools: readonly unknown[], call: Answer = () => ({ content: [] }), more: { [method: string]: Answer } = {}): FakeServer {
  return new FakeServer({ "tools/list": () => ({ tools }), "tools/call": call, ...more })
}

export const ECHO = { name: "echo", description: "Echoes.", inputSchema: { type: "object", properties: { text: { type: "string" } } } }
