import { randomBytes } from "node:crypto"
import { constants } from "node:fs"
import { mkdir, open } from "node:fs/promises"
import { dirname, join, resolve } from "node:path"
import { type AttachmentStore, AttachmentStoreError, describeBytes, digestOf, isAttachmentId } from "../attachments/store.ts"
import { syncFolder, writeAtomically } from "./atomic-file.ts"
import { errorCode, fileReason } from "./file-error.ts"

/** Does not follow a link, and does not wait for the writer of a pipe. */
const READ = constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0) | (constants.O_NONBLOCK ?? 0)

/**
 * Creates a store that keeps each attachment in a file of its own. The name of the file is the attachment's id, so no label or media type
 * becomes a path. Several processes may use one folder. Files are written atomically, with mode 0600, and survive a power cut.
 *
 * @param folder the folder of the files, created if needed
 */
export function fileAttachmentStore(folder: string): AttachmentStore {
  const root = resolve(folder)
  return {
    async put(bytes, info) {
      const { ref, copy } = await describeBytes(bytes, info)
      const path = join(root, ref.id)
      try {
        await makeFolder(root)
        const stored = await read(path)
        if (stored === undefined || Buffer.compare(stored, copy) !== 0)
          await writeAtomically(path, copy, `${path}.${randomBytes(8).toString("hex")}.tmp`, { mode: 0o600 })
      } catch (error) {
        throw unavailable(ref.id, "stored", error)
      }
      return ref
    },
    async get(id) {
      // Any other text could be a path that leads out of the folder.
      if (!isAttachmentId(id)) return undefined
      let stored: Uint8Array<ArrayBuffer> | undefined
      try {
        stored = await read(join(root, id))
      } catch (error) {
        throw unavailable(id, "read", error)
      }
      if (stored !== undefined && (await digestOf(stored)) !== id)
        throw new AttachmentStoreError(
          "damaged",
          `The file of attachment ${id} is damaged: its content has another digest. Store the attachment again.`,
        )
      return stored
    },
  }
}

/** Creates a folder whose name survives a power cut. */
async function makeFolder(path: string): Promise<void> {
  const first = await mkdir(path, { recursive: true })
  if (first === undefined) return
  for (let created = path; created.length >= first.length; created = dirname(created)) await syncFolder(dirname(created))
}

async function read(path: string): Promise<Uint8Array<ArrayBuffer> | undefined> {
  try {
    const handle = await open(path, READ)
    try {
      return new Uint8Array(await handle.readFile())
    } finally {
      await handle.close()
    }
  } catch (error) {
    if (errorCode(error) === "ENOENT") return undefined
    throw error
  }
}

function unavailable(id: string, what: "stored" | "read", cause: unknown): AttachmentStoreError {
  return new AttachmentStoreError("unavailable", `Attachment ${id} cannot be ${what}, because ${fileReason(cause)}.`, { cause })
}
