import { resolve } from "node:path"
import { CommandSyntaxError, splitCommand } from "../../hosts/node/split-command.ts"
import { CliError } from "../terminal/errors.ts"
import { oneLine } from "../terminal/format.ts"
import type { Io } from "../terminal/io.ts"
import { type ConfiguredServer, readConfigFile } from "./config-file.ts"
import type { McpFields } from "./mcp-fields.ts"
import { nameOfCommand, prefixOf } from "./server-names.ts"

/** A server to start or to connect to. `name`: what the names of its tools begin with. */
export type ServerSettings = { readonly name: string } & (
  | {
      readonly type: "process"
      readonly command: string
      readonly args: readonly string[]
      readonly env: Readonly<Record<string, string>>
      readonly cwd?: string
    }
  | { readonly type: "http"; readonly url: string; readonly headers: Readonly<Record<string, string>> }
)

/** The servers of a run or a goal. */
export interface McpSettings {
  readonly fields: McpFields
  readonly servers: readonly ServerSettings[]
  /** The configuration file was given again, and changed since. */
  readonly isChanged: boolean
}

export interface McpFlags {
  readonly mcp?: readonly string[] | undefined
  readonly "mcp-config"?: string | undefined
}

export const MCP_FLAGS = { mcp: { type: "string", multiple: true }, "mcp-config": { type: "string" } } as const

const MAX_SERVERS = 20
const MAX_COMMAND_CHARS = 2_000

/**
 * Resolves the servers from the flags; without flags, those that the user gave before. `known`: the user's own settings of a resumed state.
 * @throws {CliError}
 */
export async function resolveMcp(flags: McpFlags, { cwd, env }: Pick<Io, "cwd" | "env">, known?: McpFields): Promise<McpSettings> {
  const commands = flags.mcp ?? known?.mcp ?? []
  const path = flags["mcp-config"] === undefined ? known?.mcpConfig : resolve(cwd, flags["mcp-config"])
  const servers = commands.map(serverOfCommand)
  let digest: string | undefined
  let isChanged = false
  if (path !== undefined) {
    const file = await readConfigFile(path, env)
    digest = file.digest
    isChanged = known?.mcpConfigDigest !== undefined && known.mcpConfigDigest !== digest
    // What it starts now, the user has not seen.
    if (isChanged && flags["mcp-config"] === undefined)
      throw new CliError(
        `The MCP configuration ${oneLine(path)} changed since you gave it. To accept it as it is now, give it again: --mcp-config ${oneLine(path)}`,
      )
    servers.push(...file.servers.map(([name, server]) => serverOfFile(name, server)))
  }
  if (servers.length > MAX_SERVERS) throw new CliError(`A run has at most ${MAX_SERVERS} MCP servers, not ${servers.length}.`)
  const names = servers.map(({ name }) => name)
  const twice = names.find((name, index) => names.indexOf(name) !== index)
  if (twice !== undefined) throw new CliError(`Two MCP servers are named ${twice}. Give each a name of its own, as in --mcp "other=command args".`)
  return {
    fields: {
      ...(commands.length > 0 && { mcp: [...commands] }),
      ...(path !== undefined && { mcpConfig: path }),
      ...(digest !== undefined && { mcpConfigDigest: digest }),
    },
    servers,
    isChanged,
  }
}

/** A name that only variables of an environment have. */
const VARIABLE = /^[A-Z][A-Z\d]*_[A-Z\d_]*$|^[A-Z\d]*(?:KEY|TOKEN|SECRET|PASSWORD)$/

function serverOfCommand(given: string): ServerSettings {
  const text = given.trim()
  const flag = `--mcp ${oneLine(text.slice(0, 100))}`
  if (text === "") throw new CliError('--mcp is empty. Pass the command of a server, as in --mcp "npx -y @modelcontextprotocol/server-filesystem .".')
  if (text.length > MAX_COMMAND_CHARS || /[\0\r\n]/.test(text))
    throw new CliError(`A command of --mcp is one line of at most ${MAX_COMMAND_CHARS} characters. Put it into a file: --mcp-config FILE.`)
  const [, named, command = text] = /^([A-Za-z][\w-]*)=(.*)$/s.exec(text) ?? []
  // The message does not show what follows, which may be a key; the command would be stored.
  if (named !== undefined && VARIABLE.test(named))
    throw new CliError(
      `--mcp begins with ${named}=, which looks like a variable and not like the name of a server. Put variables into "env" of --mcp-config FILE.`,
    )
  if (/^https?:\/\//i.test(command)) {
    // The message does not show the URL, which may contain a key.
    const host = hostOf(command, "An --mcp server")
    return { type: "http", name: nameOf(named ?? host, flag), url: command, headers: {} }
  }
  try {
    const words = splitCommand(command)
    const [program, ...args] = words
    return { type: "process", name: nameOf(named ?? nameOfCommand(words), flag), command: program, args, env: {} }
  } catch (error) {
    if (!(error instanceof CommandSyntaxError)) throw error
    throw new CliError(`--mcp cannot be used: ${error.message}`)
  }
}

function serverOfFile(given: string, { command, args = [], env = {}, cwd, url, headers = {}, type }: ConfiguredServer): ServerSettings {
  const where = `The MCP server ${oneLine(given)} of --mcp-config`
  const name = nameOf(given, where)
  if (command !== undefined && url !== undefined) throw new CliError(`${where} has both a command and a url. Keep one of them.`)
  if (command !== undefined) return { type: "process", name, command, args, env, ...(cwd !== undefined && { cwd }) }
  if (url === undefined) throw new CliError(`${where} has neither a command nor a url.`)
  if (type === "sse") throw new CliError(`${where} has the transport "sse", which MCP has replaced. Give the url of its streamable HTTP endpoint.`)
  hostOf(url, where)
  return { type: "http", name, url, headers }
}

function hostOf(url: string, where: string): string {
  if (!URL.canParse(url) || !/^https?:$/.test(new URL(url).protocol)) throw new CliError(`${where} has a url that is not an http or https URL.`)
  const { username, password, hostname } = new URL(url)
  // It is stored, and shown.
  if (username !== "" || password !== "")
    throw new CliError(`${where} has a url with a user name or password. Put keys into the headers of --mcp-config.`)
  return hostname
}

function nameOf(given: string | undefined, where: string): string {
  const name = given === undefined ? undefined : prefixOf(given)
  if (name !== undefined) return name
  throw new CliError(`${where} has no name that tools can begin with: letters from A to Z, digits and -. Name it, as in --mcp "files=command args".`)
}
