import { resolve } from "node:path"
import type { Transport } from "@modelcontextprotocol/client"
import { type McpProblem, type McpToolbox, McpToolboxError, mcpToolbox } from "../../hosts/mcp/index.ts"
import type { ApproveMode } from "../approvals/policy.ts"
import { CliError } from "../terminal/errors.ts"
import { oneLine, plural, sentence } from "../terminal/format.ts"
import { version } from "../terminal/version.ts"
import { type ClientPackage, loadClient } from "./client-package.ts"
import { secretiveFetch } from "./http-fetch.ts"
import type { ServerSettings } from "./mcp-settings.ts"
import { StdioTransport } from "./stdio-transport.ts"

/** A server that was started, as it is shown. */
export interface ShownServer {
  readonly name: string
  readonly tools: readonly string[]
  readonly problems: readonly McpProblem[]
}

/** The servers of a run, connected until they are closed. */
export interface McpServers {
  readonly toolboxes: readonly McpToolbox[]
  readonly shown: readonly ShownServer[]
  /** Ends all servers. Idempotent. */
  close(): Promise<void>
}

export interface StartOptions {
  /** The folder in which servers run that do not say another. */
  readonly cwd: string
  /** With `auto` every call runs, and the toolboxes ask nothing. Otherwise the driver asks or refuses: see `withApproval`. */
  readonly approve: ApproveMode | undefined
}

const NONE: McpServers = { toolboxes: [], shown: [], close: async () => {} }

/** Starts the servers, all at once, and reads their tools. If one does not start, none stays. @throws {CliError} */
export async function startServers(servers: readonly ServerSettings[], { cwd, approve }: StartOptions): Promise<McpServers> {
  if (servers.length === 0) return NONE
  const sdk = await loadClient()
  const started = await Promise.allSettled(servers.map((server) => startServer(server, sdk, cwd, approve === "auto" ? "never" : "unless-read-only")))
  const toolboxes = started.flatMap((result) => (result.status === "fulfilled" ? [result.value] : []))
  const close = async (): Promise<void> => {
    await Promise.all(toolboxes.map((box) => box.close()))
  }
  const failed = started.find((result) => result.status === "rejected")
  if (failed?.status === "rejected") {
    await close()
    throw failed.reason
  }
  const shown = toolboxes.map((box, index) => ({
    name: servers[index]?.name ?? "",
    tools: box.specs.map(({ name }) => name),
    problems: box.problems,
  }))
  return { toolboxes, shown, close }
}

async function startServer(server: ServerSettings, sdk: ClientPackage, cwd: string, approval: "never" | "unless-read-only"): Promise<McpToolbox> {
  const { name } = server
  let remarks = (): string => ""
  const transport = (): Transport => {
    if (server.type === "http") {
      const url = new URL(server.url)
      const fetch = secretiveFetch([...Object.values(server.headers), ...url.searchParams.values()])
      return new sdk.StreamableHTTPClientTransport(url, { fetch, requestInit: { headers: { ...server.headers } } })
    }
    const { command, args, env } = server
    const started = new StdioTransport({ command, args, cwd: resolve(cwd, server.cwd ?? "."), env: { ...sdk.getDefaultEnvironment(), ...env } })
    remarks = () => started.remarks
    return started
  }
  const connect = async (): Promise<InstanceType<ClientPackage["Client"]>> => {
    const client = new sdk.Client({ name: "turn-machine", version: version() })
    const used = transport()
    try {
      await client.connect(used)
      return client
    } catch (error) {
      await used.close().catch(() => {})
      throw error
    }
  }
  try {
    return await mcpToolbox(connect, { prefix: name, resources: true, approval })
  } catch (error) {
    const why = error instanceof McpToolboxError ? error.message : String(error)
    const said = oneLine(remarks())
    throw new CliError(`The MCP server ${name} cannot be used. ${sentence(why)}${said === "" ? "" : ` ${said}`}`, 2, { cause: error })
  }
}

/** A server and its tools in a line. */
export function serverLine({ name, tools, problems }: ShownServer): string {
  const left =
    problems.length === 0
      ? ""
      : `, ${problems.length} left out (${problems.map(({ tool, code }) => `${oneLine(tool)}: ${code.replaceAll("_", " ")}`).join("; ")})`
  return `${name}: ${plural(tools.length, "tool")}${left}`
}
