import { readFile } from "node:fs/promises"
import { join } from "node:path"
import * as z from "zod"

/** Stands in every folder that this program wrote to, and says which files are its own. */
export const OWN_FILES = ".turn-machine-files.json"

/** Fingerprints of what was written, by path inside the folder. Two stand together while one is replaced by the other. */
export type OwnFiles = Readonly<Record<string, readonly string[]>>

const Notes = z.strictObject({
  format: z.literal("turn-machine/files"),
  version: z.literal(1),
  files: z.record(z.string(), z.array(z.string())),
})

/** Reads a folder's notes. Without readable ones no file counts as ours. */
export async function readOwnFiles(folder: string): Promise<OwnFiles> {
  try {
    return Notes.parse(JSON.parse(await readFile(join(folder, OWN_FILES), "utf8"))).files
  } catch {
    return {}
  }
}

export function notesOf(files: OwnFiles): string {
  return `${JSON.stringify({ format: "turn-machine/files", version: 1, files }, undefined, 2)}\n`
}
