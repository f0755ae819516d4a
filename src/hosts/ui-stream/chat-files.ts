import type { Json } from "../../json.ts"
import type { AttachmentRef } from "../../wire/message.ts"
import type { AttachmentStore } from "../attachments/store.ts"
import { ChatRequestError } from "./chat-request-error.ts"

/** A file of a message. */
export interface ChatFile {
  readonly mediaType: string
  readonly bytes: Uint8Array
  readonly label?: string
}

const MEDIA_TYPE = /^[a-z0-9][a-z0-9!#$&^_.+-]{0,126}\/[a-z0-9][a-z0-9!#$&^_.+-]{0,126}$/

/** Reads the file of a part. @throws {ChatRequestError} */
export function fileOf(
  { url, mediaType, filename }: { readonly [Key in "url" | "mediaType" | "filename"]?: Json },
  accepted: readonly string[] | undefined,
): ChatFile {
  if (typeof url !== "string" || typeof mediaType !== "string")
    throw new ChatRequestError("invalid_chat_request", "A file has no url, or no mediaType.")
  const type = mediaType.toLowerCase()
  const isAccepted = accepted === undefined || accepted.some((one) => one === type || (one.endsWith("/*") && type.startsWith(one.slice(0, -1))))
  if (!MEDIA_TYPE.test(type) || !isAccepted)
    throw new ChatRequestError("file_type_not_accepted", `Files of the type ${JSON.stringify(mediaType.slice(0, 100))} are not accepted.`, 415)
  const [, base64] = /^data:[^,]*;base64,(.*)$/s.exec(url) ?? []
  const bytes = base64 === undefined ? undefined : bytesOf(base64)
  // A server that fetched an address for a client would reach what the client cannot.
  if (bytes === undefined) throw new ChatRequestError("file_url_not_accepted", "A file has to be sent as a data: URL with base64.")
  return { mediaType: type, bytes, ...(typeof filename === "string" && filename !== "" && { label: filename.slice(0, 200) }) }
}

/** Stores files, and returns their references in order. @throws {ChatRequestError} `files_not_accepted` */
export async function storeFiles(files: readonly ChatFile[], store: Pick<AttachmentStore, "put"> | undefined): Promise<readonly AttachmentRef[]> {
  if (files.length === 0) return []
  if (store === undefined) throw new ChatRequestError("files_not_accepted", "This chat does not accept files.", 415)
  return Promise.all(files.map(({ bytes, mediaType, label }) => store.put(bytes, { mediaType, ...(label !== undefined && { label }) })))
}

function bytesOf(base64: string): Uint8Array | undefined {
  try {
    return Uint8Array.from(atob(base64), (character) => character.charCodeAt(0))
  } catch {
    return undefined
  }
}
