import type { Json } from "../../json.ts"
import { isBlank, trim } from "../../text.ts"
import type { EvidenceTranscript } from "../../wire/checklist.ts"
import type { Block, LlmMessage, LlmResponse, OutputPart } from "../../wire/llm.ts"
import type { Message, Origin, Part } from "../../wire/message.ts"
import { type JsonObject, looseIndex, looseText, ownValue, truthy } from "./json-text.ts"
import type { ChecklistSettings } from "./settings.ts"
import { readArguments } from "./verdict.ts"

/**
 * A page of a transcript. `content` holds as many whole messages as fit; a message longer than a page is split.
 * `next` is the cursor of the following page, null at the end. Consecutive pages cover the complete transcript.
 */
export interface HistoryPage {
  readonly transcript: string
  readonly messages: number
  readonly cursor: string
  readonly next: string | null
  readonly content: string
}

export type HistoryAnswer = HistoryPage | { readonly error: string }

type ToolCall = Extract<OutputPart, { type: "tool_call" }>

/** The position to read from: a message number, from 1, and the code points of it already shown. Written `3` or `3:32000`. */
interface Cursor {
  readonly message: number
  readonly shown: number
}

const MAX_MESSAGES = 400

/**
 * Answers a call of the history tool. `transcript` (or `path`) names the transcript, `cursor` (or `offset`) the position, and
 * `limit` the number of messages. Returns an error with the reason for a call that cannot be answered.
 */
export function readHistory(transcript: EvidenceTranscript, args: JsonObject, pageChars: number): HistoryAnswer {
  const requested = looseText(ownValue(args, "transcript") ?? ownValue(args, "path"), false)
  if (requested === "") return { error: "Name the transcript to read." }
  if (requested !== transcript.id && requested !== trim(transcript.id))
    return { error: `Only the transcript ${JSON.stringify(transcript.id)} of this conversation can be read.` }
  const cursor = readCursor(ownValue(args, "cursor") ?? ownValue(args, "offset"))
  if (cursor === undefined) return { error: "The cursor is neither the number of a message nor the `next` of a page." }
  const limit = readLimit(ownValue(args, "limit"))
  if (limit === undefined) return { error: "The limit is not a whole number." }
  return readPage(transcript, cursor, limit, pageChars)
}

function readCursor(value: Json | undefined): Cursor | undefined {
  if (!truthy(value)) return { message: 1, shown: 0 }
  const [, before, after] = (typeof value === "string" && /^\s*([0-9]{1,15}):([0-9]{1,15})\s*$/.exec(value)) || []
  if (before !== undefined && after !== undefined) return { message: Math.max(1, Number(before)), shown: Number(after) }
  const message = looseIndex(value)
  return message === undefined || !Number.isSafeInteger(message) ? undefined : { message: Math.max(1, message), shown: 0 }
}

function readLimit(value: Json | undefined): number | undefined {
  const limit = truthy(value) ? looseIndex(value) : MAX_MESSAGES
  return limit === undefined ? undefined : Math.min(Math.max(limit, 1), MAX_MESSAGES)
}

function readPage({ id, messages }: EvidenceTranscript, from: Cursor, limit: number, pageChars: number): HistoryPage {
  const pieces: string[] = []
  let room = pageChars
  let next: Cursor | undefined
  for (let number = from.message; number <= messages.length; number += 1) {
    if (pieces.length === limit) {
      next = { message: number, shown: 0 }
      break
    }
    const shown = number === from.message ? from.shown : 0
    const rest = Array.from(renderMessage(number, messages[number - 1] as Message)).slice(shown)
    if (rest.length > room) {
      // Only a message longer than a page is split, starting at the top of a page.
      const fitsNowhere = pieces.length === 0
      if (fitsNowhere) pieces.push(rest.slice(0, room).join(""))
      next = { message: number, shown: fitsNowhere ? shown + room : 0 }
      break
    }
    pieces.push(rest.join(""))
    room -= rest.length
  }
  const content = pieces.join("")
  return { transcript: id, messages: messages.length, cursor: writeCursor(from), next: next === undefined ? null : writeCursor(next), content }
}

function writeCursor({ message, shown }: Cursor): string {
  return shown === 0 ? String(message) : `${message}:${shown}`
}

/** Leaves reasoning out: it is not evidence of what the model did. Pruned parts are shown in full if their text is still stored. */
function renderMessage(number: number, { role, parts, origin }: Message): string {
  const texts = parts.map(renderPart).filter((text) => text !== "")
  return `--- message ${number}, ${role}${origin === undefined ? "" : sender(origin)} ---\n${texts.join("\n")}\n`
}

/** A message with an origin is not the user's own, whatever its role. */
function sender(origin: Origin): string {
  return origin.type === "plugin"
    ? ` (from the plugin ${JSON.stringify(origin.pluginId)})`
    : ` (from the process ${JSON.stringify(origin.processId)})`
}

function renderPart(part: Part): string {
  switch (part.type) {
    case "text":
      return escapeHeaders(part.text)
    case "code":
    case "output":
    case "error":
      return `[${part.type}]\n${escapeHeaders(part.text)}`
    case "image": {
      const { attachment, text } = part
      return `[image${attachment?.label === undefined ? "" : `: ${escapeHeaders(attachment.label)}`}]${text === undefined ? "" : ` ${escapeHeaders(text)}`}`
    }
    case "tool_call":
      return `[call of ${part.toolName}, ${part.callId}] ${escapeHeaders(part.inputJson)}`
    case "tool_result":
      return `[result of ${part.toolName ?? "call"}, ${part.callId}]\n${escapeHeaders(part.text)}`
    case "file":
      return `[file: ${escapeHeaders(part.attachment.label ?? part.attachment.mediaType)}]`
    case "opaque":
      return part.text === undefined ? "" : escapeHeaders(part.text)
    case "interrupted":
      return `[cut off: ${part.reason}]`
    case "reasoning":
      return ""
  }
}

/** Escapes lines that look like our headers, so that no text can pass for another message or a tool result. */
function escapeHeaders(text: string): string {
  return text.replace(/^(?=[ \t]*(?:--- message\b|\[(?:code|output|error|image|file|cut off|call of|result of)\b))/gim, "\\")
}

/**
 * Returns the two messages that a history call adds to the exchange: the judge's own with all its calls, and the page. Only one
 * call is answered at a time. The others get an error result, because providers refuse calls without a result; the reference leaves
 * them open.
 */
export function answerHistoryCall(
  settings: ChecklistSettings,
  transcript: EvidenceTranscript,
  response: LlmResponse,
  answered: ToolCall,
): readonly [LlmMessage, LlmMessage] {
  const args = readArguments(answered.toolName, answered.inputJson, settings)
  const page = args.ok ? readHistory(transcript, args.value, settings.historyPageChars) : { error: "The arguments are not a JSON object." }
  const blocks: Block[] = []
  const results: Block[] = []
  const callIds = new Set<string>()
  for (const part of response.parts) {
    if (part.type === "text") {
      if (part.text !== "") blocks.push(part)
    } else if (part.type === "reasoning") {
      if (part.replay !== undefined) blocks.push(part)
    } else if (part.type === "opaque") {
      blocks.push(part)
    } else {
      const callId = settings.reference ? part.callId : freeCallId(part.callId, callIds)
      callIds.add(callId)
      blocks.push({ ...part, callId })
      const { toolName } = part
      if (part === answered) results.push({ type: "tool_result", callId, toolName, text: JSON.stringify(page) })
      else if (!settings.reference)
        results.push({ type: "tool_result", callId, toolName, text: JSON.stringify({ error: "One call at a time is answered." }) })
    }
  }
  return [
    { role: "assistant", blocks },
    { role: "user", blocks: results },
  ]
}

function freeCallId(callId: string, used: ReadonlySet<string>): string {
  if (!isBlank(callId) && !used.has(callId)) return callId
  let number = used.size + 1
  while (used.has(`call_${number}`)) number += 1
  return `call_${number}`
}
