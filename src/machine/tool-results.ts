import type { Json } from "../json.ts"
import { CutText, cutLines, cutMiddle } from "../text.ts"
import type { AttachmentRef, Part, ReturnPart } from "../wire/message.ts"
import type { CompletedToolCall, ModelReturn, ToolOutput } from "../wire/tool.ts"

/**
 * Returns the parts of the message that answers a batch: for each call, in call order, exactly one `tool_result`, followed by its
 * attachments. Several texts of one result are joined by a newline; a result without text answers with "". A text that is longer than
 * `limit` characters loses its middle, so that one result never fills the context of every later request.
 */
export function toolResultParts(messageId: string, results: readonly CompletedToolCall[], limit: number = Number.POSITIVE_INFINITY): readonly Part[] {
  const parts: Part[] = []
  for (const completed of results) {
    const { callId, toolName, output, edited } = completed
    const { text, content } = edited === undefined ? shownResult(completed, limit) : shownEdited(completed, limit)
    const result = { id: `${messageId}.p${parts.length}`, type: "tool_result", callId, toolName, text } as const
    const marked = output.status === "success" ? result : { ...result, isError: true as const }
    const attachments = content.flatMap((part) => (part.type === "attachment" ? [part.attachment] : []))
    parts.push(attachments.length === 0 ? marked : { ...marked, content })
    for (const attachment of attachments) {
      const type = attachment.mediaType.startsWith("image/") ? "image" : "file"
      parts.push({ id: `${messageId}.p${parts.length}`, type, attachment })
    }
  }
  return parts
}

/** What the model reads of a result: all texts as one, and texts and attachments in order. Both are within the limit. */
interface Shown {
  readonly text: string
  /** Needed only with attachments. */
  readonly content: readonly ReturnPart[]
}

function shownResult({ output, modelReturn }: CompletedToolCall, limit: number): Shown {
  return modelReturn === undefined ? shownOutput(output, limit) : shownParts(modelReturn.parts, limit)
}

/** The model wrote other arguments than those that ran. Without this note it would make its call again. */
function shownEdited(completed: CompletedToolCall, limit: number): Shown {
  const { args, output } = completed
  const what = output.status === "success" ? "Ran with arguments changed by the user" : "The user changed the arguments of this call"
  const note = cutMiddle(`${what}: ${JSON.stringify(args)}`, Math.floor(limit / 2))
  const { text, content } = shownResult(completed, limit - note.length - 1)
  return {
    text: text === "" ? note : `${note}\n${text}`,
    content: content.length === 0 ? content : [{ type: "text", text: note }, ...content],
  }
}

function shownParts(parts: readonly ReturnPart[], limit: number): Shown {
  const content = parts.filter(isContent)
  const texts = content.flatMap((part) => (part.type === "text" ? [part.text] : []))
  return { text: cutLines(texts, limit), content: texts.length === content.length ? [] : shortContent(content, limit) }
}

/** As {@link shownParts} of what {@link deriveModelReturn} returns. The text of a large value is never put together as a whole. */
function shownOutput(output: ToolOutput, limit: number): Shown {
  const value = output.status === "success" ? output.value : null
  if (typeof value !== "object" || value === null || limit === Number.POSITIVE_INFINITY) return shownParts(deriveModelReturn(output).parts, limit)
  const text = new CutText(limit)
  let texts = 0
  let length = 0
  let isText = false
  let hasAttachments = false
  writeJson(value, {
    text: (piece) => {
      if (!isText) texts += 1
      text.push(isText || texts === 1 ? piece : `\n${piece}`)
      isText = true
      length += piece.length
    },
    attachment: () => {
      isText = false
      hasAttachments = true
    },
  })
  // As in shortContent: texts that together are longer than the limit share it.
  const share = length <= limit ? Number.POSITIVE_INFINITY : Math.floor(limit / texts)
  return { text: text.toString(), content: hasAttachments ? valueParts(value, share) : [] }
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
  const parts: ReturnPart[] = []
  if (raw !== undefined) writeJson(raw, { text: () => {}, attachment: (attachment) => parts.push({ type: "attachment", attachment }) })
  return parts
}

/** Texts that are longer than the limit lose their middle. */
function valueParts(value: Json, limit: number = Number.POSITIVE_INFINITY): readonly ReturnPart[] {
  if (typeof value === "string") return value === "" ? [] : [{ type: "text", text: value }]
  const parts: ReturnPart[] = []
  let text: CutText | undefined
  const endText = (): void => {
    if (text !== undefined) parts.push({ type: "text", text: text.toString() })
    text = undefined
  }
  writeJson(value, {
    text: (piece) => {
      text ??= new CutText(limit)
      text.push(piece)
    },
    attachment: (attachment) => {
      endText()
      parts.push({ type: "attachment", attachment })
    },
  })
  endText()
  return parts
}

/** Receives a value as JSON text, in pieces of some thousand characters, and the attachments in it. No piece is empty. */
interface JsonReader {
  readonly text: (piece: string) => void
  readonly attachment: (attachment: AttachmentRef) => void
}

const PIECE = 16_384

/** Writes a value as compact JSON, cut around its attachments, without putting the whole text together. */
function writeJson(value: Json, reader: JsonReader): void {
  let text = ""
  const flush = (): void => {
    if (text !== "") reader.text(text)
    text = ""
  }
  const add = (piece: string): void => {
    text += piece
    if (text.length >= PIECE) flush()
  }
  const addString = (string: string): void => {
    if (string.length <= PIECE) {
      add(JSON.stringify(string))
      return
    }
    add('"')
    for (let start = 0; start < string.length; ) {
      // A surrogate pair is not divided.
      const end = start + PIECE + (/[\ud800-\udbff]/.test(string.charAt(start + PIECE - 1)) ? 1 : 0)
      add(JSON.stringify(string.slice(start, end)).slice(1, -1))
      start = end
    }
    add('"')
  }
  const write = (piece: Json): void => {
    if (typeof piece === "string") {
      addString(piece)
    } else if (piece === null || typeof piece !== "object") {
      add(JSON.stringify(piece))
    } else if (isList(piece)) {
      add("[")
      piece.forEach((item, index) => {
        if (index > 0) add(",")
        write(item)
      })
      add("]")
    } else {
      const attachment = readAttachment(piece)
      if (attachment !== undefined) {
        flush()
        reader.attachment(attachment)
        return
      }
      const shown = unescapeObject(piece)
      add("{")
      Object.keys(shown).forEach((key, index) => {
        if (index > 0) add(",")
        addString(key)
        add(":")
        write(shown[key] as Json)
      })
      add("}")
    }
  }
  write(value)
  flush()
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
