import type { Json } from "../../json.ts"
import { isRecord } from "../../projectors/wires/values.ts"
import type { LlmRequest } from "../../wire/llm.ts"
import type { AttachmentRef } from "../../wire/message.ts"
import type { AttachmentStore } from "../attachments/store.ts"
import { dataUrls } from "../models/data-urls.ts"

/** A file in base64, or at an address. */
export interface FileData {
  readonly mediaType: string
  readonly base64?: string
  readonly url?: string
  readonly filename?: string
}

/** How a version of the interface writes files. */
export interface FileForm<Part = unknown, InResult = unknown> {
  /** A file in a message. */
  part(file: FileData): Part
  /** A file in the result of a tool. */
  inResult(file: FileData): InResult
}

export interface FilePartV3 {
  readonly type: "file"
  readonly data: string | URL
  readonly mediaType: string
  readonly filename?: string
}

export type ResultFileV3 =
  | { readonly type: "image-data"; readonly data: string; readonly mediaType: string }
  | { readonly type: "file-data"; readonly data: string; readonly mediaType: string; readonly filename?: string }

export const FILES_V3: FileForm<FilePartV3, ResultFileV3> = {
  part: ({ base64: data = "", filename, mediaType, url }) => ({
    type: "file",
    data: url === undefined ? data : new URL(url),
    mediaType,
    ...(filename !== undefined && { filename }),
  }),
  inResult: ({ base64: data = "", filename, mediaType }) =>
    isImage(mediaType)
      ? { type: "image-data", data, mediaType }
      : { type: "file-data", data, mediaType, ...(filename !== undefined && { filename }) },
}

export interface FilePartV4 {
  readonly type: "file"
  readonly data: { readonly type: "data"; readonly data: string } | { readonly type: "url"; readonly url: URL }
  readonly mediaType: string
  readonly filename?: string
}

function partV4({ base64: data = "", filename, mediaType, url }: FileData): FilePartV4 {
  return {
    type: "file",
    data: url === undefined ? { type: "data", data } : { type: "url", url: new URL(url) },
    mediaType,
    ...(filename !== undefined && { filename }),
  }
}

export const FILES_V4: FileForm<FilePartV4, FilePartV4> = { part: partV4, inResult: partV4 }

export function isImage(mediaType: string): boolean {
  return mediaType.startsWith("image/")
}

/** The file of an answer as the transcript holds it: bytes as an attachment if there is a store for them, otherwise in base64. */
export type StoredFile = {
  readonly mediaType: string
  readonly data: { readonly $attachment: AttachmentRef } | { readonly base64: string } | { readonly url: string }
}

/** Reads the file of an answer from the data of its part. `undefined`: it is not one. */
export function storedFile(data: Json): StoredFile | undefined {
  if (!isRecord(data) || typeof data["mediaType"] !== "string" || !isRecord(data["data"])) return undefined
  const { $attachment, base64: bytes, url } = data["data"]
  const isKnown =
    typeof bytes === "string" || (typeof url === "string" && URL.canParse(url)) || (isRecord($attachment) && typeof $attachment["id"] === "string")
  return isKnown ? (data as unknown as StoredFile) : undefined
}

/**
 * The bytes of a request's attachments in base64, by their id: those of messages, and those of files that models generated. One that the
 * store does not have is left out.
 * @throws {LlmCallError} `attachment_unreadable`
 */
export async function loadFiles(store: AttachmentStore | undefined, { attachments, messages }: LlmRequest): Promise<ReadonlyMap<string, string>> {
  if (store === undefined) return new Map()
  const generated = messages.flatMap(({ blocks }) => blocks.flatMap((block) => (block.type === "opaque" ? (attachmentIn(block.data) ?? []) : [])))
  const urls = await dataUrls(store, [...attachments, ...generated])
  return new Map([...urls].map(([id, url]) => [id, url.slice(url.indexOf(",") + 1)]))
}

function attachmentIn(data: Json): AttachmentRef | undefined {
  const file = storedFile(data)
  return file !== undefined && "$attachment" in file.data ? file.data.$attachment : undefined
}

/**
 * Moves the bytes of an opaque part into a store and returns its data with a reference. Data without bytes stays as it is, and so does a file
 * that the store refuses.
 */
export async function inStore(store: AttachmentStore, data: Json): Promise<Json> {
  const file = storedFile(data)
  if (file === undefined || !("base64" in file.data)) return data
  try {
    const bytes = Uint8Array.from(atob(file.data.base64), (character) => character.charCodeAt(0))
    return { ...file, data: { $attachment: await store.put(bytes, { mediaType: file.mediaType }) } }
  } catch {
    return data
  }
}
