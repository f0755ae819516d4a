import { errorCode } from "../../hosts/node/file-error.ts"
import { CliError } from "../terminal/errors.ts"

const PACKAGE = "@modelcontextprotocol/client"

/** What the command line uses of the MCP client, which is an optional peer of this package. */
export interface ClientPackage {
  readonly Client: typeof import("@modelcontextprotocol/client").Client
  readonly StreamableHTTPClientTransport: typeof import("@modelcontextprotocol/client").StreamableHTTPClientTransport
  /** The variables that a server inherits, without those that may be keys. */
  readonly getDefaultEnvironment: () => Record<string, string>
}

/** Loads the MCP client. @throws {CliError} it is not installed */
export async function loadClient(load: () => Promise<ClientPackage> = loadInstalled): Promise<ClientPackage> {
  try {
    return await load()
  } catch (error) {
    if (errorCode(error) !== "ERR_MODULE_NOT_FOUND") throw error
    throw new CliError(
      `MCP servers need the package ${PACKAGE}, which is not installed (mcp_client_missing). Install it beside turn-machine: npm install ${PACKAGE}@2`,
    )
  }
}

async function loadInstalled(): Promise<ClientPackage> {
  const [{ Client, StreamableHTTPClientTransport }, { getDefaultEnvironment }] = await Promise.all([
    import("@modelcontextprotocol/client"),
    import("@modelcontextprotocol/client/stdio"),
  ])
  return { Client, StreamableHTTPClientTransport, getDefaultEnvironment }
}
