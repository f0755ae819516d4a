import { lstat, mkdir, stat } from "node:fs/promises"
import { dirname, isAbsolute, join } from "node:path"
import { errorCode, fileReason } from "../../hosts/node/file-error.ts"
import type { Io } from "../terminal/io.ts"

/** The folder of this program's records about its user, or the reason why there is none, as a clause. */
export type UserFolder = { readonly path: string } | { readonly none: string }

const NO_FOLDER = "neither XDG_STATE_HOME nor HOME names a folder for records of what you started"

/** Finds the folder and creates nothing. It must be private: only this user may use it. */
export async function findUserFolder(env: Io["env"]): Promise<UserFolder> {
  const path = userFolderPath(env)
  return path === undefined ? { none: NO_FOLDER } : privateFolder(path)
}

/** Finds the folder, and creates it with its parents if it does not exist. */
export async function makeUserFolder(env: Io["env"]): Promise<UserFolder> {
  const path = userFolderPath(env)
  if (path === undefined) return { none: NO_FOLDER }
  try {
    await makeFolder(path)
  } catch (error) {
    return { none: `${path} cannot be created: ${fileReason(error)}` }
  }
  return privateFolder(path)
}

/** `$XDG_STATE_HOME/turn-machine`, or its default. As its specification demands, a relative path does not count. */
export function userFolderPath({ XDG_STATE_HOME, LOCALAPPDATA, HOME }: Io["env"]): string | undefined {
  if (isFolder(XDG_STATE_HOME)) return join(XDG_STATE_HOME, "turn-machine")
  if (process.platform === "win32" && isFolder(LOCALAPPDATA)) return join(LOCALAPPDATA, "turn-machine", "state")
  return isFolder(HOME) ? join(HOME, ".local", "state", "turn-machine") : undefined
}

function isFolder(path: string | undefined): path is string {
  return path !== undefined && isAbsolute(path)
}

/**
 * A folder from a repository does not count: Git creates folders that all users may read. So does one of another user, for example
 * under `sudo`.
 */
async function privateFolder(path: string): Promise<UserFolder> {
  try {
    const found = await lstat(path)
    if (!found.isDirectory() || belongsToOther(found)) return { none: `${path} is not a folder of yours` }
    return isOpenTo(found, 0o077) ? { none: `${path} is not private to you (chmod 700 makes it so)` } : { path }
  } catch (error) {
    return {
      none: errorCode(error) === "ENOENT" ? `${path} has no record that you started it` : `${path} cannot be used: ${fileReason(error)}`,
    }
  }
}

/** Creates a folder and its parents. Node's `recursive` never returns in places such as /proc. */
async function makeFolder(path: string): Promise<void> {
  const found = await stat(path).catch(() => undefined)
  if (found !== undefined) return
  const parent = dirname(path)
  if (parent !== path) await makeFolder(parent)
  // As the superuser, with the HOME of a user: that user could not use the folder.
  if (process.getuid?.() === 0 && belongsToOther(await stat(parent))) throw new Error(`${parent} belongs to another user`)
  await mkdir(path, { mode: 0o700 }).catch((error: unknown) => {
    if (errorCode(error) !== "EEXIST") throw error
  })
}

/** Whether a file belongs to another user. Windows does not say. */
export function belongsToOther({ uid }: { readonly uid: number }): boolean {
  return process.getuid !== undefined && uid !== process.getuid()
}

/** Whether users have one of these permissions. On Windows, modes say nothing about users. */
export function isOpenTo({ mode }: { readonly mode: number }, permissions: number): boolean {
  return process.getuid !== undefined && (mode & permissions) !== 0
}
