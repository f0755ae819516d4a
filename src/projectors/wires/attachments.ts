import type { LlmRequest, ToolResultBlock } from "../../wire/llm.ts"
import type { AttachmentRef } from "../../wire/message.ts"

/** The attachments that a result names. They follow it as blocks. */
export interface Shown {
  readonly ids: ReadonlySet<string>
  readonly toolName?: string
}

export const NOTHING_SHOWN: Shown = { ids: new Set() }

export function shownBy({ content = [], toolName }: ToolResultBlock): Shown {
  const ids = new Set(content.flatMap((part) => (part.type === "attachment" ? [part.attachment.id] : [])))
  return toolName === undefined ? { ids } : { ids, toolName }
}

/** The text of a result, with a name in the place of each attachment. */
export function resultText({ content, text }: ToolResultBlock): string {
  if (content === undefined) return text
  return content.reduce((joined, part, index) => {
    if (part.type === "attachment") return joined + describeAttachment(part.attachment)
    return content[index - 1]?.type === "text" ? `${joined}\n${part.text}` : joined + part.text
  }, "")
}

/** Returns a name with the extension that providers read the type of a PDF from. */
export function fileName({ id, label, mediaType }: AttachmentRef): string {
  const name = label ?? id
  return mediaType === "application/pdf" && !/\.pdf$/i.test(name) ? `${name}.pdf` : name
}

export function isImage({ mediaType }: AttachmentRef): boolean {
  return mediaType.startsWith("image/")
}

/**
 * Returns the text that stands for an attachment, such as `[Image: Sales, image/png]`.
 * @param toolName the tool whose result the attachment belongs to
 */
export function describeAttachment(attachment: AttachmentRef, toolName?: string): string {
  const { height, label, mediaType, width } = attachment
  const size = width === undefined || height === undefined ? [] : [`${width}x${height}`]
  const origin = toolName === undefined ? [] : [`a result of ${toolName}`]
  return `[${isImage(attachment) ? "Image" : "File"}: ${[...(label === undefined ? [] : [label]), mediaType, ...size, ...origin].join(", ")}]`
}

/** Returns the text that stands for an attachment that the request does not have. */
export function missingAttachment(type: "image" | "file"): string {
  return `[${type === "image" ? "Image" : "File"}: not available]`
}

/** The bytes of a `data:` URL in base64, and their media type. `undefined` for any other URL. */
export function base64Of(url: string): { readonly mediaType: string; readonly data: string } | undefined {
  const [, mediaType = "", data = ""] = /^data:([^;,]+);base64,(.*)$/s.exec(url) ?? []
  return mediaType === "" ? undefined : { mediaType, data }
}

/** The images that OpenAI accepts. `image/jpg` is a frequent name for JPEG. */
export const OPENAI_IMAGES: readonly string[] = ["image/jpeg", "image/jpg", "image/png", "image/gif", "image/webp"]

/** Whether a URL is an address, or bytes in base64 of one of the types. An endpoint reads the type of bytes from the URL, whatever the attachment says. */
export function isSendable(url: string, types: readonly string[]): boolean {
  if (!isData(url)) return /^https?:/i.test(url)
  const bytes = base64Of(url)
  return bytes !== undefined && bytes.data !== "" && types.includes(bytes.mediaType)
}

export function isData(url: string): boolean {
  return /^data:/i.test(url)
}

/** The attachment of a block, if the request has it. */
export function attachmentOf(request: LlmRequest, { attachmentIndex }: { readonly attachmentIndex: number }): AttachmentRef | undefined {
  return request.attachments[attachmentIndex]
}
