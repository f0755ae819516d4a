import { lstat, mkdir, readFile, realpath, stat, writeFile } from "node:fs/promises"
import { dirname, isAbsolute, relative, resolve, sep } from "node:path"
import { type AgentContext, type ClientCapabilities, methods } from "@agentclientprotocol/sdk"
import { ToolError } from "turn-machine/hosts"

/** The client of a session, and what it offers. */
export interface ClientSide {
  readonly sessionId: string
  readonly client: AgentContext
  readonly capabilities: ClientCapabilities
}

/** The files of a session: those below its folder, as the client has them if it offers to read and write them. */
export interface Workspace {
  /** The folder of the session, as the client names it. */
  readonly cwd: string
  /**
   * Returns the absolute path of a file.
   * @throws {ToolError} `outside_folder`: it is not below the folder, also by a symbolic link
   */
  path(name: string): Promise<string>
  /** Returns the text of a file; `undefined` if there is none. @throws {ToolError} as {@link path}, and `not_a_file` */
  read(name: string, signal?: AbortSignal): Promise<string | undefined>
  write(name: string, text: string, signal?: AbortSignal): Promise<void>
}

/** An editor has text that is not saved yet, so its own files come first. */
export function workspaceOf(cwd: string, { sessionId, client, capabilities }: ClientSide): Workspace {
  const { readTextFile = false, writeTextFile = false } = capabilities.fs ?? {}
  const path = (name: string): Promise<string> => pathInside(cwd, name)
  return {
    cwd,
    path,
    async read(name, signal) {
      const file = await path(name)
      // The protocol has no error for a file that does not exist, so the disk is asked.
      const facts = await stat(file).catch(() => undefined)
      if (facts !== undefined && !facts.isFile()) throw refused("not_a_file", `${name} is not a file.`)
      if (!readTextFile) return facts && readFile(file, "utf8")
      const options = signal && { cancellationSignal: signal, stopWaitingOnCancel: true }
      try {
        return (await client.request(methods.client.fs.readTextFile, { sessionId, path: file }, options)).content
      } catch (error) {
        // It may be a new file that only the editor has, so it was asked first.
        if (facts === undefined && signal?.aborted !== true) return undefined
        throw error
      }
    },
    async write(name, text, signal) {
      const file = await path(name)
      if (writeTextFile) {
        const options = signal && { cancellationSignal: signal, stopWaitingOnCancel: true }
        await client.request(methods.client.fs.writeTextFile, { sessionId, path: file, content: text }, options)
        return
      }
      await mkdir(dirname(file), { recursive: true })
      await writeFile(file, text)
    },
  }
}

async function pathInside(cwd: string, name: string): Promise<string> {
  const file = resolve(cwd, name)
  const [root, target] = await Promise.all([realpath(cwd), realTarget(file)])
  // The path itself is checked, too: it is what the client is sent.
  if (!isBelow(resolve(cwd), file) || !isBelow(root, target)) throw refused("outside_folder", `${name} is not in the folder of the session, ${cwd}.`)
  return file
}

/** Where a path leads: that of its deepest folder that exists, with the rest. */
async function realTarget(file: string): Promise<string> {
  try {
    return await realpath(file)
  } catch (error) {
    const folder = dirname(file)
    const isMissing = (error as NodeJS.ErrnoException).code === "ENOENT"
    // A link to a file that does not exist would be followed by a write.
    if (!isMissing || folder === file || (await isLink(file))) throw refused("outside_folder", `${file} cannot be resolved.`)
    return resolve(await realTarget(folder), relative(folder, file))
  }
}

async function isLink(file: string): Promise<boolean> {
  return lstat(file).then(
    (facts) => facts.isSymbolicLink(),
    () => false,
  )
}

export function isBelow(folder: string, file: string): boolean {
  const way = relative(folder, file)
  return way !== ".." && !way.startsWith(`..${sep}`) && !isAbsolute(way)
}

function refused(code: string, message: string): ToolError {
  return new ToolError({ class: "permission_denied", code, message, source: "policy", retry: { type: "never" } })
}
