import { createServer, type IncomingMessage, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"
import { Client as ClientTwo, StreamableHTTPClientTransport as HttpTwo } from "@modelcontextprotocol/client"
import { Client as ClientOne } from "@modelcontextprotocol/sdk/client/index.js"
import { StreamableHTTPClientTransport as HttpOne } from "@modelcontextprotocol/sdk/client/streamableHttp.js"
import { describe, expect, onTestFinished, test } from "vitest"
import type { EffectContext, ToolAnswer } from "../../../src/hosts/host.ts"
import { type McpClient, type McpToolbox, mcpToolbox } from "../../../src/hosts/mcp/index.ts"
import { ECHO, FakeServer } from "./fake-server.ts"

const CONTEXT: EffectContext = { effectId: 1, idempotencyKey: undefined, signal: new AbortController().signal, emit: () => {} }

async function call(box: McpToolbox, toolName: string): Promise<ToolAnswer> {
  return box.call({ callId: "c1", toolName, args: {} }, CONTEXT)
}

/** A server over HTTP with sessions, which forgets them when it is told to. */
class HttpServer {
  sessions = new Set<string>()
  calls: string[] = []
  /** Answers the next call, before its own answer. */
  next: ((response: ServerResponse) => void) | undefined
  url = ""

  async start(): Promise<this> {
    const server = createServer((request, response) => void this.#answer(request, response))
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
    onTestFinished(() => {
      server.closeAllConnections()
      server.close()
    })
    this.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/mcp`
    return this
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk as Buffer)
    if (request.method !== "POST") return void response.writeHead(405).end()
    const { id, method, params } = JSON.parse(Buffer.concat(chunks).toString()) as { id?: number; method: string; params?: { name?: string } }
    const reply = (result: object, session?: string): void => {
      response.writeHead(200, { "content-type": "application/json", ...(session !== undefined && { "mcp-session-id": session }) })
      response.end(JSON.stringify({ jsonrpc: "2.0", id, result }))
    }
    if (method === "initialize") {
      const session = `s${this.sessions.size + 1}-${this.calls.length}`
      this.sessions.add(session)
      return reply({ protocolVersion: "2025-06-18", capabilities: { tools: {} }, serverInfo: { name: "http", version: "1" } }, session)
    }
    if (!this.sessions.has(String(request.headers["mcp-session-id"]))) return void response.writeHead(404).end("No such session")
    if (id === undefined) return void response.writeHead(202).end()
    if (method === "tools/list") return reply({ tools: [ECHO, { ...ECHO, name: "read", annotations: { readOnlyHint: true } }] })
    this.calls.push(params?.name ?? "")
    const next = this.next
    this.next = undefined
    if (next !== undefined) return next(response)
    reply({ content: [{ type: "text", text: "done" }] })
  }
}

async function connectHttp(version: 1 | 2, url: string): Promise<McpClient> {
  if (version === 1) {
    const client = new ClientOne({ name: "test", version: "1" })
    await client.connect(new HttpOne(new URL(url)) as never)
    return client
  }
  const client = new ClientTwo({ name: "test", version: "1" })
  await client.connect(new HttpTwo(new URL(url)))
  return client
}

describe.each([1, 2] as const)("over HTTP, with version %i of the client", (version) => {
  const open = async (server: HttpServer): Promise<McpToolbox> => {
    const box = await mcpToolbox(() => connectHttp(version, server.url))
    onTestFinished(() => box.close())
    return box
  }

  test("a session that the server has forgotten is replaced, also for a call that must not run twice: it has not run", async () => {
    const server = await new HttpServer().start()
    const box = await open(server)
    server.sessions.clear()
    expect((await call(box, "echo")).output).toEqual({ status: "success", value: "done" })
    expect(server.calls).toEqual(["echo"])
  })

  test.each([
    [401, "mcp_unauthorized"],
    [403, "mcp_unauthorized"],
    [429, "mcp_not_connected"],
    [500, "outcome_unknown"],
  ])("the status %i", async (status, code) => {
    const server = await new HttpServer().start()
    const box = await open(server)
    server.next = (response) => response.writeHead(status).end("no")
    expect((await call(box, "echo")).output).toMatchObject({ failure: { code } })
    expect(server.calls).toEqual(["echo"])
    expect((await call(box, "echo")).output).toEqual({ status: "success", value: "done" })
  })

  test("a connection that breaks during a call: one that only reads is sent again, another one is not", async () => {
    const server = await new HttpServer().start()
    const box = await open(server)
    server.next = (response) => response.destroy()
    expect((await call(box, "echo")).output).toMatchObject({ failure: { code: "outcome_unknown" } })
    server.next = (response) => response.destroy()
    expect((await call(box, "read")).output).toEqual({ status: "success", value: "done" })
    expect(server.calls).toEqual(["echo", "read", "read"])
  })
})

test("with the protocol of 2026, a changed list is announced to those who ask", async () => {
  const tools = [ECHO]
  let listening: { readonly id: number | string } | undefined
  const server = new FakeServer({
    "server/discover": () => ({
      resultType: "complete",
      supportedVersions: ["2026-07-28"],
      ttlMs: 0,
      cacheScope: "private",
      capabilities: { tools: { listChanged: true } },
    }),
    "tools/list": () => ({ resultType: "complete", ttlMs: 0, cacheScope: "private", tools }),
    "tools/call": ({ name }) => ({ resultType: "complete", content: [{ type: "text", text: `did ${name as string}` }] }),
    "subscriptions/listen": (params, self, id) => {
      listening = { id }
      const meta = { "io.modelcontextprotocol/subscriptionId": id }
      self.notify("notifications/subscriptions/acknowledged", { _meta: meta, notifications: params["notifications"] })
      return undefined
    },
  })
  const box = await mcpToolbox(() => server.connect(2, { versionNegotiation: { mode: "auto" } }))
  expect(server.sent("initialize")).toEqual([])
  expect((await call(box, "echo")).output).toEqual({ status: "success", value: "did echo" })
  await expect.poll(() => listening !== undefined, { timeout: 10_000 }).toBe(true)
  expect(server.sent("subscriptions/listen")[0]?.params?.["notifications"]).toEqual({ toolsListChanged: true })
  tools.push({ ...ECHO, name: "more" })
  server.notify("notifications/tools/list_changed", { _meta: { "io.modelcontextprotocol/subscriptionId": listening?.id } })
  await expect.poll(() => box.refresh().then(() => box.specs.length), { timeout: 10_000 }).toBe(2)
})
