import { isPrefix } from "../../hosts/mcp/names.ts"

/** Programs that run another program, which their first argument names. */
const RUNNERS: ReadonlySet<string> = new Set(["node", "npx", "npm", "pnpm", "yarn", "bun", "bunx", "deno", "tsx", "uv", "uvx", "python", "python3"])
const VERBS: ReadonlySet<string> = new Set(["run", "exec", "dlx", "x"])
/** Names of files and folders that say nothing about a server. */
const PLAIN: ReadonlySet<string> = new Set(["index", "main", "cli", "dist", "build", "src", "bin", "lib", "server", "stdio"])

/** A short name for the server that a command starts, for the names of its tools. `undefined`: the command has none. */
export function nameOfCommand([program, ...args]: readonly [string, ...string[]]): string | undefined {
  const isRunner = RUNNERS.has(baseOf(program))
  const subject = isRunner ? args.find((arg) => !arg.startsWith("-") && !VERBS.has(arg)) : program
  if (subject === undefined) return undefined
  const parts = subject.split(/[/\\]/).map((part) => baseOf(part.replace(/(?<=.)@[^@]*$/, "")))
  const last = parts.findLast((part) => part !== "" && part !== "." && part !== ".." && !PLAIN.has(part))
  return last === undefined ? undefined : prefixOf(last.replace(/^(?:mcp-server|server|mcp)[-_]|[-_](?:mcp-server|server|mcp)$/g, "") || last)
}

/** The prefix of a server's tools for its name. `undefined`: no letter of the name can be in one. */
export function prefixOf(name: string): string | undefined {
  const prefix = name
    .normalize("NFKD")
    .replace(/\p{M}/gu, "")
    .replace(/[^A-Za-z0-9-]+/g, "_")
    .slice(0, 32)
    .replace(/^_+|_+$/g, "")
  return isPrefix(prefix) ? prefix : undefined
}

function baseOf(path: string): string {
  return (path.split(/[/\\]/).at(-1) ?? "").replace(/\.(?:[cm]?[jt]s|py|exe|cmd)$/, "")
}
