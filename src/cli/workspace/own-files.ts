import { constants } from "node:fs"
import { open } from "node:fs/promises"
import { join } from "node:path"
import * as z from "zod"

/** The file in every folder that this program wrote to, which lists the files it wrote. */
export const OWN_FILES = ".turn-machine-files.json"

/** Fingerprints of written contents, by path inside the folder. A file has two while its content is being replaced. */
export type OwnFiles = Readonly<Record<string, readonly string[]>>

/** Longer lists count as unreadable: this program does not write such, and a folder may contain anything. */
const MAX_LIST_BYTES = 20_000_000
/** Does not follow a link, for example to a device, and does not block on a pipe. */
const READ_ONLY = constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0) | (constants.O_NONBLOCK ?? 0)

const OwnFilesList = z.strictObject({
  format: z.literal("turn-machine/files"),
  version: z.literal(1),
  files: z.record(z.string(), z.array(z.string())),
})

/** Reads which files of a folder this program wrote; none if the list is missing, unreadable, or not a regular file. */
export async function readOwnFiles(folder: string): Promise<OwnFiles> {
  try {
    const handle = await open(join(folder, OWN_FILES), READ_ONLY)
    try {
      const found = await handle.stat()
      return found.isFile() && found.size <= MAX_LIST_BYTES ? OwnFilesList.parse(JSON.parse(await handle.readFile("utf8"))).files : {}
    } finally {
      await handle.close()
    }
  } catch {
    return {}
  }
}

/** Serializes the list. */
export function ownFilesText(files: OwnFiles): string {
  return `${JSON.stringify({ format: "turn-machine/files", version: 1, files }, undefined, 2)}\n`
}
