import { constants } from "node:fs"
import { open, rename, unlink } from "node:fs/promises"
import { dirname } from "node:path"

/**
 * Puts a whole text in the place of a file, or leaves the file as it is: whoever reads it, at any moment and after any
 * crash, sees the old text or the new one. `temporary` is a path in the same folder, taken over if it exists.
 * `check` runs before the file appears under its name; if it throws, nothing is replaced.
 */
export async function writeAtomically(
  path: string,
  text: string,
  temporary: string,
  { mode = 0o644, check }: { readonly mode?: number; readonly check?: () => Promise<void> } = {},
): Promise<void> {
  try {
    // Not following a link that somebody laid under the temporary name.
    const handle = await open(temporary, constants.O_WRONLY | constants.O_CREAT | constants.O_TRUNC | (constants.O_NOFOLLOW ?? 0), mode)
    try {
      await handle.writeFile(text, "utf8")
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

/** Makes the new name survive a power cut, where the system can do that. */
export async function syncFolder(path: string): Promise<void> {
  try {
    const handle = await open(path, constants.O_RDONLY)
    try {
      await handle.sync()
    } finally {
      await handle.close()
    }
  } catch {
    // Some systems cannot sync a folder; the file itself is safe.
  }
}
