import type { Json } from "../../json.ts"
import { parseJson } from "../../json.ts"
import type { AttachmentRef, Message, Part, ToolCallPart } from "../../wire/message.ts"
import type { UiChunk, UiPart, UiStreamOptions } from "./chunks.ts"
import type { BlockKind } from "./cursor.ts"

/** Consecutive texts of an answer, or consecutive reasoning, as a page shows them while they are written: as one. */
export interface Block {
  readonly kind: BlockKind
  readonly text: string
}

/**
 * The blocks of an answer. While it is written, only its texts and its reasoning are known, and not what is between them; so two texts form one block also
 * if a call is between them, and the calls follow.
 */
export function blocksOf({ parts }: Message, withReasoning: boolean): readonly Block[] {
  const blocks: { kind: BlockKind; text: string }[] = []
  for (const part of parts) {
    if ((part.type !== "text" && part.type !== "reasoning") || part.text === "" || (part.type === "reasoning" && !withReasoning)) continue
    const last = blocks.at(-1)
    if (last?.kind === part.type) last.text += part.text
    else blocks.push({ kind: part.type, text: part.text })
  }
  return blocks
}

/** The chunks of a part that has no text of its own; none for parts that other events show. */
export function partChunks(part: Part, options: UiStreamOptions): readonly UiChunk[] {
  switch (part.type) {
    case "image":
    case "file":
      return part.attachment === undefined ? [] : [fileChunk(part.attachment, options)]
    case "opaque": {
      const { provider, kind, text } = part
      return [{ type: "data-opaque", data: { provider, kind, ...(text !== undefined && { text }) } }]
    }
    case "interrupted":
      return [{ type: "data-interrupted", data: { reason: part.reason } }]
    default:
      return []
  }
}

function fileChunk(attachment: AttachmentRef, { fileUrl }: UiStreamOptions): UiChunk {
  const url = fileUrl?.(attachment)
  return url === undefined ? { type: "data-attachment", data: attachment as unknown as Json } : { type: "file", url, mediaType: attachment.mediaType }
}

/** The parts of a message of the user. */
export function userParts({ parts }: Message, { fileUrl }: UiStreamOptions): readonly UiPart[] {
  return parts.flatMap((part): readonly UiPart[] => {
    if (part.type === "text" || part.type === "code" || part.type === "output" || part.type === "error") return [{ type: "text", text: part.text }]
    if (part.type !== "image" && part.type !== "file") return []
    const { attachment } = part
    if (attachment === undefined) return part.type === "image" && part.text !== undefined ? [{ type: "text", text: part.text }] : []
    const url = fileUrl?.(attachment)
    if (url === undefined) return [{ type: "data-attachment", data: attachment as unknown as Json }]
    return [{ type: "file", mediaType: attachment.mediaType, url, ...(attachment.label !== undefined && { filename: attachment.label }) }]
  })
}

/** The arguments of a call as the model wrote them; `undefined`: they are not a JSON object. */
export function argumentsOf({ inputJson }: ToolCallPart): Json | undefined {
  if (inputJson.trim() === "") return {}
  const args = parseJson(inputJson)
  return typeof args === "object" && !Array.isArray(args) ? (args ?? {}) : undefined
}
