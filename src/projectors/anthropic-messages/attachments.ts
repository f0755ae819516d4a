import type { AttachmentRef } from "../../wire/message.ts"
import { base64Of } from "../wires/attachments.ts"
import type { EncodeOptions } from "../wires/wire.ts"
import type { AnthropicDocument, AnthropicImage, AnthropicImageType } from "./body.ts"

const IMAGE_TYPES: ReadonlySet<string> = new Set<AnthropicImageType>(["image/jpeg", "image/png", "image/gif", "image/webp"])

/**
 * Projects an attachment by its media type. `undefined` if the provider does not accept it, or the host has no URL for it.
 * @see https://platform.claude.com/docs/en/build-with-claude/vision (2026-11) and …/pdf-support
 */
export function sentAttachment(
  attachment: AttachmentRef,
  { attachmentUrl }: Pick<EncodeOptions, "attachmentUrl">,
): AnthropicImage | AnthropicDocument | undefined {
  const isPdf = attachment.mediaType === "application/pdf"
  if (!isPdf && !IMAGE_TYPES.has(attachment.mediaType)) return undefined
  const url = attachmentUrl?.(attachment)
  if (url === undefined) return undefined
  const title = attachment.label === undefined || attachment.label.trim() === "" ? {} : { title: attachment.label.slice(0, 200) }
  if (/^https:\/\//i.test(url))
    return isPdf ? { type: "document", source: { type: "url", url }, ...title } : { type: "image", source: { type: "url", url } }
  const bytes = base64Of(url)
  if (bytes === undefined || bytes.data === "") return undefined
  const { data, mediaType } = bytes
  if (isPdf) return { type: "document", source: { type: "base64", media_type: "application/pdf", data }, ...title }
  // The provider compares the type with the bytes, so the URL's counts.
  return IMAGE_TYPES.has(mediaType) ? { type: "image", source: { type: "base64", media_type: mediaType as AnthropicImageType, data } } : undefined
}
