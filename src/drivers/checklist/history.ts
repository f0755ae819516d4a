import type { Json } from "../../json.ts"
import type { EvidenceTranscript } from "../../schemas/checklist.ts"
import type { Message, Part } from "../../schemas/message.ts"
import { trim } from "../../text.ts"
import { type JsonObject, ownValue } from "./json-text.ts"
import { looseIndex, looseText, truthy } from "./loose-values.ts"

/**
 * A page of a transcript. `content` is whole messages, as many as fit; a message that is longer than a page is shown in
 * pieces. `next` is the cursor of what comes behind, null at the end: pages read one after the other leave nothing out.
 */
export interface HistoryPage {
  readonly transcript: string
  readonly messages: number
  readonly cursor: string
  readonly next: string | null
  readonly content: string
}

export type HistoryAnswer = HistoryPage | { readonly error: string }

/** Where to read on: a message, from 1, and how many of its code points were shown already. Written `3` or `3:32000`. */
interface Cursor {
  readonly message: number
  readonly shown: number
}

const MOST_MESSAGES = 400

/**
 * Answers a call of the tool that reads history. The transcript is named by `transcript` (or `path`), the place by `cursor` (or
 * `offset`), the number of messages by `limit`. A call that cannot be answered gets an error that says why.
 */
export function readHistory(transcript: EvidenceTranscript, args: JsonObject, pageChars: number): HistoryAnswer {
  const wanted = looseText(ownValue(args, "transcript") ?? ownValue(args, "path"), false)
  if (wanted === "") return { error: "Name the transcript to read." }
  if (wanted !== transcript.id && wanted !== trim(transcript.id))
    return { error: `Only the transcript ${JSON.stringify(transcript.id)} of this conversation can be read.` }
  const cursor = readCursor(ownValue(args, "cursor") ?? ownValue(args, "offset"))
  if (cursor === undefined) return { error: "The cursor is neither the number of a message nor the `next` of a page." }
  const limit = readLimit(ownValue(args, "limit"))
  if (limit === undefined) return { error: "The limit is no whole number." }
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
  const limit = truthy(value) ? looseIndex(value) : MOST_MESSAGES
  return limit === undefined ? undefined : Math.min(Math.max(limit, 1), MOST_MESSAGES)
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
      // Only what is too long for any page is broken up, and then from the top of a page.
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

/** Reasoning is left out: what a model thought is no evidence of what it did. What was pruned to save room is shown in full where it is kept. */
function renderMessage(number: number, { role, parts }: Message): string {
  const texts = parts.map(renderPart).filter((text) => text !== "")
  return `--- message ${number}, ${role} ---\n${texts.join("\n")}\n`
}

function renderPart(part: Part): string {
  switch (part.type) {
    case "text":
      return asSaid(part.text)
    case "code":
    case "output":
    case "error":
      return `[${part.type}]\n${asSaid(part.text)}`
    case "image": {
      const { attachment, text } = part
      return `[image${attachment?.label === undefined ? "" : `: ${asSaid(attachment.label)}`}]${text === undefined ? "" : ` ${asSaid(text)}`}`
    }
    case "tool_call":
      return `[call of ${part.toolName}, ${part.callId}] ${asSaid(part.inputJson)}`
    case "tool_result":
      return `[result of ${part.toolName ?? "call"}, ${part.callId}]\n${asSaid(part.text)}`
    case "reasoning":
      return ""
  }
}

/** A line that looks like one of ours gets a backslash, so that no text can pass for another message or for a tool's result. */
function asSaid(text: string): string {
  return text.replace(/^(?=[ \t]*(?:--- message\b|\[(?:code|output|error|image|call of|result of)\b))/gim, "\\")
}
