import type { Json } from "../json.ts"
import { cutMiddle } from "../text.ts"
import type { AttachmentRef, Part, ReturnPart } from "../wire/message.ts"
import type { CompletedToolCall, ModelReturn, ToolOutput } from "../wire/tool.ts"

/**
 * Returns the parts of the message that answers a batch: for each call, in call order, exactly one `tool_result`, followed by its
 * attachments. Several texts of one result are joined by a newline; a result without text answers with "". A text that is longer than
 * `limit` characters loses its middle, so that one result never fills the context of every later request.
 */
export function toolResultParts(messageId: string, results: readonly CompletedToolCall[], limit: number = Number.POSITIVE_INFINITY): readonly Part[] {
  const parts: Part[] = []
  for (const { callId, toolName, output, modelReturn } of results) {
    const returned = (modelReturn ?? deriveModelReturn(output)).parts
    const texts: string[] = []
    const attachments: AttachmentRef[] = []
    for (const part of returned) {
      if (part.type === "attachment") attachments.push(part.attachment)
      else if (part.text !== "") texts.push(part.text)
    }
    const result = { id: `${messageId}.p${parts.length}`, type: "tool_result", callId, toolName, text: cutMiddle(texts.join("\n"), limit) } as const
    const marked = output.status === "success" ? result : { ...result, isError: true as const }
    parts.push(attachments.length === 0 ? marked : { ...marked, content: shortContent(returned.filter(isContent), limit) })
    for (const attachment of attachments) {
      const type = attachment.mediaType.startsWith("image/") ? "image" : "file"
      parts.push({ id: `${messageId}.p${parts.length}`, type, attachment })
    }
  }
  return parts
}

function isContent(part: ReturnPart): boolean {
  return part.type === "attachment" || part.text !== ""
}

/** Texts that together are longer than the limit share it. */
function shortContent(content: readonly ReturnPart[], limit: number): readonly ReturnPart[] {
  const texts = content.filter((part) => part.type === "text")
  const length = texts.reduce((sum, { text }) => sum + text.length, 0)
  if (length <= limit) return content
  const share = Math.floor(limit / texts.length)
  return content.map((part) => (part.type === "text" ? { type: "text", text: cutMiddle(part.text, share) } : part))
}

/**
 * Derives what the model reads of an output: a text as it is; any other value as compact JSON, cut around its attachments; a failure or cancellation as a bracketed line and its message.
 */
export function deriveModelReturn(output: ToolOutput): ModelReturn {
  switch (output.status) {
    case "success":
      return { parts: valueParts(output.value) }
    case "failure":
      return { parts: [troubleText("[Tool execution failed]", output.failure.message), ...attachmentsOf(output.failure.raw)] }
    case "cancelled":
      return { parts: [troubleText("[Tool execution cancelled]", output.message), ...attachmentsOf(output.raw)] }
  }
}

function troubleText(label: string, message: string): ReturnPart {
  return { type: "text", text: message === "" ? label : `${label}\n${message}` }
}

function attachmentsOf(raw: Json | undefined): readonly ReturnPart[] {
  return raw === undefined ? [] : valueParts(raw).filter((part) => part.type === "attachment")
}

function valueParts(value: Json): readonly ReturnPart[] {
  if (typeof value === "string") return value === "" ? [] : [{ type: "text", text: value }]
  const parts: ReturnPart[] = []
  let text = ""
  const write = (piece: Json): void => {
    if (piece === null || typeof piece !== "object") {
      text += JSON.stringify(piece)
    } else if (isList(piece)) {
      text += "["
      piece.forEach((item, index) => {
        if (index > 0) text += ","
        write(item)
      })
      text += "]"
    } else {
      const attachment = readAttachment(piece)
      if (attachment !== undefined) {
        if (text !== "") parts.push({ type: "text", text })
        text = ""
        parts.push({ type: "attachment", attachment })
        return
      }
      const shown = unescapeObject(piece)
      text += "{"
      Object.keys(shown).forEach((key, index) => {
        if (index > 0) text += ","
        text += `${JSON.stringify(key)}:`
        write(shown[key] as Json)
      })
      text += "}"
    }
  }
  write(value)
  if (text !== "") parts.push({ type: "text", text })
  return parts
}

type JsonObject = { readonly [key: string]: Json }

function isList(value: Json): value is readonly Json[] {
  return Array.isArray(value)
}

/**
 * `{ "$attachment": AttachmentRef }`, the form in which a tool's value refers to bytes. Tool values are free JSON, and a
 * reference goes into the transcript: one that the wire does not allow would make a turn that cannot be restored.
 */
function readAttachment(value: JsonObject): AttachmentRef | undefined {
  const reference = Object.hasOwn(value, "$attachment") && Object.keys(value).length === 1 ? value["$attachment"] : undefined
  if (typeof reference !== "object" || reference === null || isList(reference)) return undefined
  const { id, mediaType, byteLength, width, height, label } = reference
  if (typeof id !== "string" || typeof mediaType !== "string" || !isCount(byteLength)) return undefined
  if (!(width === undefined || isCount(width)) || !(height === undefined || isCount(height))) return undefined
  if (!(label === undefined || typeof label === "string")) return undefined
  return {
    id,
    mediaType,
    byteLength,
    ...(width !== undefined && { width }),
    ...(height !== undefined && { height }),
    ...(label !== undefined && { label }),
  }
}

function isCount(value: Json | undefined): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0
}

/** An object of a tool's own that has a `$attachment` or `$object` key travels as `{ "$object": { … } }`. */
function unescapeObject(value: JsonObject): JsonObject {
  const inner = Object.hasOwn(value, "$object") && Object.keys(value).length === 1 ? value["$object"] : undefined
  return typeof inner === "object" && inner !== null && !isList(inner) ? inner : value
}
