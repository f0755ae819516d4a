import { createHash } from "node:crypto"
import { open } from "node:fs/promises"
import * as z from "zod"
import { fileReason } from "../../hosts/node/file-error.ts"
import { CliError } from "../terminal/errors.ts"
import { oneLine } from "../terminal/format.ts"
import type { Io } from "../terminal/io.ts"

const MAX_BYTES = 1_000_000

/** A server of the file. Other keys, which other programs read, do not count. */
const Server = z.object({
  command: z.string().min(1).optional(),
  args: z.array(z.string()).optional(),
  env: z.record(z.string(), z.string()).optional(),
  cwd: z.string().min(1).optional(),
  url: z.string().optional(),
  headers: z.record(z.string(), z.string()).optional(),
  type: z.string().optional(),
  disabled: z.boolean().optional(),
})
const ConfigFile = z.object({ mcpServers: z.record(z.string(), Server) })

export type ConfiguredServer = z.infer<typeof Server>

/** The servers of a configuration file, and a digest of its text. */
export interface McpConfigFile {
  readonly servers: readonly (readonly [name: string, server: ConfiguredServer])[]
  readonly digest: string
}

/** Reads `{ "mcpServers": { name: { command, args, env } or { url, headers } } }`. @throws {CliError} */
export async function readConfigFile(path: string, env: Io["env"]): Promise<McpConfigFile> {
  const shown = `The file ${oneLine(path)} of --mcp-config`
  const text = await readText(path, shown)
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch {
    throw new CliError(`${shown} is not JSON.`)
  }
  const result = ConfigFile.safeParse(json)
  if (!result.success) {
    const [issue] = result.error.issues
    throw new CliError(
      `${shown} is not a configuration of MCP servers: ${oneLine(issue?.message ?? "")} at "${oneLine(issue?.path.join("/") ?? "")}".`,
    )
  }
  const servers = Object.entries(result.data.mcpServers)
    .filter(([, server]) => server.disabled !== true)
    .map(([name, server]) => [name, withVariables(server, env, `${shown}, server ${oneLine(name)},`)] as const)
  if (servers.length === 0) throw new CliError(`${shown} has no servers.`)
  return { servers, digest: createHash("sha256").update(text).digest("hex") }
}

async function readText(path: string, shown: string): Promise<string> {
  try {
    const handle = await open(path)
    try {
      const { size } = await handle.stat()
      if (size > MAX_BYTES) throw new CliError(`${shown} has ${size} bytes; a configuration has at most ${MAX_BYTES}.`)
      return await handle.readFile("utf8")
    } finally {
      await handle.close()
    }
  } catch (error) {
    if (error instanceof CliError) throw error
    throw new CliError(`${shown} cannot be read: ${fileReason(error)}.`)
  }
}

/** Replaces `${NAME}` in the environment and the headers, so that a file which is shared need not have keys. */
function withVariables({ env: given, headers, ...server }: ConfiguredServer, env: Io["env"], where: string): ConfiguredServer {
  const replaced = (values: Record<string, string>): Record<string, string> =>
    Object.fromEntries(Object.entries(values).map(([name, value]) => [name, expanded(value, env, where)]))
  return { ...server, ...(given !== undefined && { env: replaced(given) }), ...(headers !== undefined && { headers: replaced(headers) }) }
}

function expanded(value: string, env: Io["env"], where: string): string {
  return value.replace(/\$\{([A-Za-z_]\w*)\}/g, (_all, name: string) => {
    const found = env[name]
    if (found === undefined) throw new CliError(`${where} needs the environment variable ${name}, which is not set.`)
    return found
  })
}
