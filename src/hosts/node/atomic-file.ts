import { constants } from "node:fs"
import { open, rename, unlink } from "node:fs/promises"
import { dirname } from "node:path"

/**
 * Replaces a file atomically: a reader sees either the old content or the new one, also after a crash. `temporary` is a path in the
 * same folder; a file there is overwritten. `check` runs just before the replacement; if it throws, the file is unchanged.
 */
export async function writeAtomically(
  path: string,
  content: string | Uint8Array,
  temporary: string,
  { mode = 0o644, check }: { readonly mode?: number; readonly check?: () => Promise<void> } = {},
): Promise<void> {
  try {
    // Does not follow a link that another process created under the temporary name.
    const handle = await open(temporary, constants.O_WRONLY | constants.O_CREAT | constants.O_TRUNC | (constants.O_NOFOLLOW ?? 0), mode)
    try {
      await handle.writeFile(content, "utf8")
      await handle.sync()
    } finally {
      await handle.close()
    }
    await check?.()
    await rename(temporary, path)
  } catch (error) {
    await unlink(temporary).catch(() => {})
    throw error
  }
  await syncFolder(dirname(path))
}

/** Syncs a folder, so that a new name in it survives a power cut. Does nothing where the system cannot. */
export async function syncFolder(path: string): Promise<void> {
  try {
    const handle = await open(path, constants.O_RDONLY)
    try {
      await handle.sync()
    } finally {
      await handle.close()
    }
  } catch {
    // Some systems cannot sync a folder; the file itself is on the disk.
  }
}
