import { type McpServer, RequestError } from "@agentclientprotocol/sdk"
import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client"
import { StdioClientTransport } from "@modelcontextprotocol/client/stdio"
import type { AttachmentStore } from "turn-machine/hosts"
import { type McpToolbox, mcpToolbox } from "turn-machine/hosts/mcp"

/** The servers of a session, and why others cannot be used. */
export interface Servers {
  readonly toolboxes: readonly McpToolbox[]
  readonly problems: readonly string[]
}

/**
 * Connects to the MCP servers that a client names. One that cannot be used is left out, so that the session works without it.
 * @throws {RequestError} invalid params: a server of a kind that the agent did not say it accepts
 */
export async function connectServers(servers: readonly McpServer[], cwd: string, attachments: AttachmentStore): Promise<Servers> {
  for (const server of servers)
    if ("type" in server && server.type === "sse")
      throw RequestError.invalidParams(
        { server: server.name },
        `The MCP server "${server.name}" uses SSE, which this agent does not support. Use HTTP or stdio.`,
      )
  const prefixes = prefixesOf(servers)
  const results = await Promise.allSettled(
    servers.map((server, index) => mcpToolbox(() => connect(server, cwd), { prefix: prefixes[index] ?? "mcp", attachments })),
  )
  return {
    toolboxes: results.flatMap((result) => (result.status === "fulfilled" ? [result.value] : [])),
    problems: results.flatMap((result, index) =>
      result.status === "rejected" ? [`The MCP server "${servers[index]?.name}" cannot be used: ${messageOf(result.reason)}`] : [],
    ),
  }
}

async function connect(server: McpServer, cwd: string): Promise<Client> {
  const client = new Client({ name: "turn-machine-acp-agent", version: "1.0.0" })
  if ("type" in server) {
    const headers = Object.fromEntries(server.headers.map(({ name, value }) => [name, value]))
    await client.connect(new StreamableHTTPClientTransport(new URL(server.url), { requestInit: { headers } }))
  } else {
    const env = Object.fromEntries(server.env.map(({ name, value }) => [name, value]))
    // What a server prints is not protocol, and must not reach the agent's output.
    await client.connect(new StdioClientTransport({ command: server.command, args: server.args, env, cwd, stderr: "ignore" }))
  }
  return client
}

/** What the names of each server's tools begin with. They differ, so that no server can take the name of another one's tool. */
function prefixesOf(servers: readonly McpServer[]): readonly string[] {
  const taken = new Set<string>()
  return servers.map(({ name }) => {
    const base =
      name
        .replace(/[^A-Za-z0-9]+/g, "-")
        .replace(/^-+|-+$/g, "")
        .slice(0, 28) || "mcp"
    let prefix = base
    for (let number = 2; taken.has(prefix); number += 1) prefix = `${base}-${number}`
    taken.add(prefix)
    return prefix
  })
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
