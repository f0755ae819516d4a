import { readFile } from "node:fs/promises"
import { join } from "node:path"
import * as z from "zod"

/** The file in every folder that this program wrote to, which lists the files it wrote. */
export const OWN_FILES = ".turn-machine-files.json"

/** Fingerprints of written contents, by path inside the folder. A file has two while its content is being replaced. */
export type OwnFiles = Readonly<Record<string, readonly string[]>>

const OwnFilesList = z.strictObject({
  format: z.literal("turn-machine/files"),
  version: z.literal(1),
  files: z.record(z.string(), z.array(z.string())),
})

/** Reads which files of a folder this program wrote; none if the list is missing or unreadable. */
export async function readOwnFiles(folder: string): Promise<OwnFiles> {
  try {
    return OwnFilesList.parse(JSON.parse(await readFile(join(folder, OWN_FILES), "utf8"))).files
  } catch {
    return {}
  }
}

/** Serializes the list. */
export function ownFilesText(files: OwnFiles): string {
  return `${JSON.stringify({ format: "turn-machine/files", version: 1, files }, undefined, 2)}\n`
}
