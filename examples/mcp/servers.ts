import { createRequire } from "node:module"
import { dirname, join } from "node:path"
import { Client } from "@modelcontextprotocol/client"
import { StdioClientTransport } from "@modelcontextprotocol/client/stdio"
import type { McpConnect } from "turn-machine/hosts/mcp"

/** Returns a function that starts an installed server and connects to it. It is called again if the server dies. */
export function server(name: string, ...args: string[]): McpConnect {
  const program = join(dirname(createRequire(import.meta.url).resolve(`${name}/package.json`)), "dist/index.js")
  return async () => {
    const client = new Client({ name: "turn-machine-example", version: "1.0.0" })
    // The process has only the variables that the SDK calls safe, such as PATH and HOME.
    await client.connect(new StdioClientTransport({ command: process.execPath, args: [program, ...args], stderr: "ignore" }))
    return client
  }
}
