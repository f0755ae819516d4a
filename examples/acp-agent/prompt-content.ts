import { createHash } from "node:crypto"
import { type ContentBlock, RequestError } from "@agentclientprotocol/sdk"
import type { AttachmentStore } from "turn-machine/hosts"
import type { InputPart } from "turn-machine/hosts/thread"
import type { AttachmentRef, Message } from "turn-machine/schemas"

/**
 * Makes the parts of a user's message of the blocks of a prompt. Bytes are stored.
 * @throws {RequestError} invalid params: a block that the agent did not say it accepts, or that is not what it claims to be
 */
export async function partsOf(prompt: readonly ContentBlock[], attachments: AttachmentStore): Promise<readonly InputPart[]> {
  const parts: InputPart[] = []
  for (const [index, block] of prompt.entries()) parts.push(await partOf(block, `prompt[${index}]`, attachments))
  if (parts.every((part) => part.type === "text" && part.text.trim() === ""))
    throw RequestError.invalidParams({ prompt: "empty" }, "The prompt is empty.")
  return parts
}

async function partOf(block: ContentBlock, place: string, attachments: AttachmentStore): Promise<InputPart> {
  switch (block.type) {
    case "text":
      return { type: "text", text: block.text }
    case "image":
      if (!block.mimeType.startsWith("image/")) throw invalid(place, `is an image of the type "${block.mimeType}"`)
      return { type: "image", attachment: await stored(block.data, block.mimeType, place, attachments, block.uri ?? undefined) }
    case "resource_link":
      // The model reads it with read_file, if it needs to.
      return { type: "text", text: tag("resource_link", { uri: block.uri, name: block.name }) }
    case "resource": {
      const { resource } = block
      if ("text" in resource) return { type: "text", text: embedded(resource) }
      const mimeType = resource.mimeType ?? "application/octet-stream"
      const attachment = await stored(resource.blob, mimeType, place, attachments, resource.uri)
      return mimeType.startsWith("image/") ? { type: "image", attachment } : { type: "file", attachment }
    }
    default:
      throw invalid(place, `is of the type "${block.type}", which this agent does not accept`)
  }
}

async function stored(data: string, mediaType: string, place: string, attachments: AttachmentStore, label?: string): Promise<AttachmentRef> {
  // `Buffer` ignores what is not base64.
  if (data === "" || !/^[A-Za-z0-9+/\s]*={0,2}\s*$/.test(data)) throw invalid(place, "is not base64")
  try {
    return await attachments.put(Buffer.from(data, "base64"), { mediaType, ...(label !== undefined && { label }) })
  } catch (error) {
    if (error instanceof TypeError) throw invalid(place, `is refused: ${error.message}`)
    throw error
  }
}

function invalid(place: string, what: string): RequestError {
  return RequestError.invalidParams({ place }, `${place} ${what}.`)
}

/** The end of a resource depends on its text, so that a text cannot pretend to end earlier. */
function embedded({ uri, text }: { readonly uri: string; readonly text: string }): string {
  const digest = createHash("sha256").update(text).digest("hex").slice(0, 12)
  return `${tag("resource", { uri })}\n${text}\n</resource-${digest}>`
}

function tag(name: string, attributes: { readonly [name: string]: string }): string {
  const written = Object.entries(attributes).map(
    ([name, value]) => ` ${name}="${value.replace(/[&"<>\n]/g, (character) => `&#${character.codePointAt(0)};`)}"`,
  )
  return `<${name}${written.join("")}${name === "resource_link" ? " /" : ""}>`
}

/** Makes the blocks that a message of the user was said with, to show it again. */
export async function blocksOf({ parts }: Message, attachments: AttachmentStore): Promise<readonly ContentBlock[]> {
  const blocks: ContentBlock[] = []
  for (const part of parts) {
    if (part.type === "text") blocks.push(textBlock(part.text))
    if ((part.type === "image" || part.type === "file") && part.attachment !== undefined)
      blocks.push(await attachmentBlock(part.attachment, attachments))
  }
  return blocks
}

function textBlock(text: string): ContentBlock {
  const [, linked, name = ""] = /^<resource_link uri="([^"]*)" name="([^"]*)" \/>$/.exec(text) ?? []
  if (linked !== undefined) return { type: "resource_link", uri: unescaped(linked), name: unescaped(name) }
  const [, uri, content = ""] = /^<resource uri="([^"]*)">\n([\s\S]*)\n<\/resource-\w+>$/.exec(text) ?? []
  if (uri !== undefined) return { type: "resource", resource: { uri: unescaped(uri), text: content } }
  return { type: "text", text }
}

function unescaped(value: string): string {
  return value.replace(/&#(\d+);/g, (_, code) => String.fromCodePoint(Number(code)))
}

/** The bytes of an attachment for the client; a line about them if they are lost. */
export async function attachmentBlock({ id, mediaType, byteLength, label }: AttachmentRef, attachments: AttachmentStore): Promise<ContentBlock> {
  const bytes = await attachments.get(id).catch(() => undefined)
  if (bytes === undefined) return { type: "text", text: `[${label ?? mediaType}, ${byteLength} bytes]` }
  const data = Buffer.from(bytes).toString("base64")
  if (mediaType.startsWith("image/")) return { type: "image", data, mimeType: mediaType }
  return { type: "resource", resource: { uri: label ?? `attachment:${id}`, mimeType: mediaType, blob: data } }
}
