import type { AttachmentRef } from "../../wire/message.ts"
import { base64Of } from "../wires/attachments.ts"
import type { GeminiMedia } from "./body.ts"
import type { GeminiRequestOptions } from "./options.ts"

const MEDIA_TYPES: readonly string[] = [
  "image/png",
  "image/jpeg",
  "image/webp",
  "image/heic",
  "image/heif",
  "application/pdf",
  "text/*",
  "audio/*",
  "video/*",
]

/** What a result may show. @see https://ai.google.dev/gemini-api/docs/function-calling#multimodal (2026-11) */
const RESULT_TYPES: readonly string[] = ["image/png", "image/jpeg", "image/webp", "application/pdf", "text/plain"]

const BASE64 = /^[A-Za-z0-9+/_-]+={0,2}$/

/** Returns an attachment as the endpoint accepts it; `undefined` if it does not, or the host has no URL for it. */
export function mediaOf(attachment: AttachmentRef, { attachmentUrl, mediaTypes = MEDIA_TYPES }: GeminiRequestOptions): GeminiMedia | undefined {
  const { mediaType: mimeType } = attachment
  if (!matches(mediaTypes, mimeType)) return undefined
  const url = attachmentUrl?.(attachment)
  if (url === undefined) return undefined
  const bytes = base64Of(url)
  if (bytes !== undefined) return BASE64.test(bytes.data) ? { inlineData: { mimeType, data: bytes.data } } : undefined
  return /^(?:https?|gs):\/\//.test(url) ? { fileData: { mimeType, fileUri: url } } : undefined
}

/** Returns an attachment as a result may show it: its bytes, of some types. */
export function resultMediaOf(attachment: AttachmentRef, options: GeminiRequestOptions): GeminiMedia | undefined {
  const media = matches(RESULT_TYPES, attachment.mediaType) ? mediaOf(attachment, options) : undefined
  return media !== undefined && "inlineData" in media ? media : undefined
}

function matches(types: readonly string[], mediaType: string): boolean {
  return types.some((type) => (type.endsWith("/*") ? mediaType.startsWith(type.slice(0, -1)) : type === mediaType))
}
