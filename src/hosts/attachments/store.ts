import { TurnError } from "../../errors.ts"
import type { AttachmentRef } from "../../wire/message.ts"

/**
 * Stores the bytes of attachments by their digest. A transcript contains only an `AttachmentRef`, so checkpoints and journals stay
 * small.
 */
export interface AttachmentStore {
  /**
   * Stores bytes. The id of the reference is the SHA-256 of the bytes, as 64 hexadecimal digits: the same bytes have the same id, and
   * are stored once. Resolves when they are stored.
   * @throws {TypeError} these are not bytes, or `info` is invalid
   * @throws {AttachmentStoreError} `unavailable`
   */
  put(bytes: Uint8Array, info: AttachmentInfo): Promise<AttachmentRef>
  /**
   * Returns the bytes with an id; `undefined` if there are none. Any text is accepted as an id.
   * @throws {AttachmentStoreError} `unavailable`, `damaged`
   */
  get(id: string): Promise<Uint8Array | undefined>
}

/** What is known about bytes. */
export interface AttachmentInfo {
  /** As in `image/png`. The model is shown an image if it starts with `image/`, and a file otherwise. */
  readonly mediaType: string
  /** A name for people and the model, such as a file name. */
  readonly label?: string
}

/** An attachment in a tool's value: JSON that refers to stored bytes. The model is shown the attachment in its place. */
export type Attachment = { readonly $attachment: AttachmentRef }

/** Why an attachment cannot be read or written. */
export type AttachmentStoreErrorCode = "unavailable" | "damaged"

/** An attachment that cannot be read or written. Other attachments are not affected. */
export class AttachmentStoreError extends TurnError<AttachmentStoreErrorCode> {}

/**
 * Copies bytes, and makes the reference that a store returns for them. For implementations of {@link AttachmentStore}.
 * @throws {TypeError} these are not bytes, or `info` is invalid
 */
export async function describeBytes(
  bytes: Uint8Array,
  { mediaType, label }: AttachmentInfo,
): Promise<{ readonly ref: AttachmentRef; readonly copy: Uint8Array<ArrayBuffer> }> {
  if (!ArrayBuffer.isView(bytes)) throw new TypeError("An attachment needs its bytes as a Uint8Array.")
  if (typeof mediaType !== "string" || !isMediaType(mediaType))
    throw new TypeError(`The mediaType of an attachment must be a media type such as "image/png", not ${JSON.stringify(mediaType)}.`)
  if (label !== undefined && typeof label !== "string") throw new TypeError("The label of an attachment must be a string.")
  // The caller may reuse its buffer while the digest is computed.
  const copy = new Uint8Array(bytes.byteLength)
  copy.set(new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength))
  const ref = { id: await digestOf(copy), mediaType, byteLength: copy.byteLength, ...(label !== undefined && { label }) }
  return { ref, copy }
}

/** The SHA-256 of bytes, as 64 hexadecimal digits. */
export async function digestOf(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes))
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("")
}

/** Whether a text is the id of an attachment. Ids come from tools and transcripts, so they may be anything. */
export function isAttachmentId(id: unknown): id is string {
  return typeof id === "string" && /^[0-9a-f]{64}$/.test(id)
}

/** Whether a text is a media type, as stores require it. */
export function isMediaType(text: string): boolean {
  return MEDIA_TYPE.test(text)
}

/** Type and subtype of RFC 6838, with parameters. */
const MEDIA_TYPE = /^[\w!#$&^.+-]+\/[\w!#$&^.+-]+(?:; ?[\w.-]+=[\w.-]+)*$/

/**
 * Returns an attachment as a `data:` URL, for model APIs that take bytes in the request; `undefined` if the store does not have it.
 * @throws {AttachmentStoreError} `unavailable`, `damaged`
 */
export async function dataUrl(store: AttachmentStore, { id, mediaType }: AttachmentRef): Promise<string | undefined> {
  const bytes = await store.get(id)
  if (bytes === undefined) return undefined
  const type = MEDIA_TYPE.test(mediaType) ? mediaType.replaceAll(" ", "") : "application/octet-stream"
  return `data:${type};base64,${base64(bytes)}`
}

/** Arguments of one call: engines limit their number. */
const CHUNK = 0x8000

/** Bytes as base64. */
export function base64(bytes: Uint8Array): string {
  let binary = ""
  for (let start = 0; start < bytes.length; start += CHUNK) binary += String.fromCharCode(...bytes.subarray(start, start + CHUNK))
  return btoa(binary)
}
