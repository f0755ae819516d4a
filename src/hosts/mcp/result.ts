import { canonicalJson, type Json, parseJson } from "../../json.ts"
import { shortened } from "../../text.ts"
import type { ReturnPart } from "../../wire/message.ts"
import type { ModelReturn } from "../../wire/tool.ts"
import { type AttachmentStore, isMediaType } from "../attachments/store.ts"
import { messageOf } from "../run/failures.ts"
import { ownJson } from "../run/plain-json.ts"

/** A result of a server, as the turn stores it. */
export interface ReadResult {
  readonly isError: boolean
  /** Structured content where there is any; the text of a result that is one text; otherwise its blocks, with attachments in place of bytes. */
  readonly value: Json
  /** What the model reads, in the server's order. */
  readonly parts: readonly ReturnPart[]
  readonly modelReturn?: ModelReturn
}

/** A result that cannot be used. */
export class UnusableResult extends Error {
  readonly isTooLarge: boolean

  constructor(message: string, isTooLarge = false) {
    super(message)
    this.isTooLarge = isTooLarge
  }
}

export interface ReadOptions {
  readonly attachments: AttachmentStore | undefined
  readonly maxChars: number
}

/** Reads what a server sent as the result of `tools/call`. @throws {UnusableResult} */
export async function readCallResult(result: unknown, options: ReadOptions): Promise<ReadResult> {
  const { content, structuredContent, isError } = objectOf(result, options.maxChars)
  if (content !== undefined && !Array.isArray(content)) throw new UnusableResult("Its content is not a list.")
  const blocks = (content ?? []) as readonly Json[]
  const read = await Promise.all(blocks.map((block) => readBlock(block, options.attachments)))
  const parts = read.map(({ part }) => part)
  if (structuredContent !== undefined && !saysTheSame(blocks, structuredContent)) parts.push(text(JSON.stringify(structuredContent)))
  return { isError: isError === true, ...shown(read, parts, structuredContent) }
}

/** Reads what a server sent as the result of `resources/read`. @throws {UnusableResult} */
export async function readResourceResult(result: unknown, options: ReadOptions): Promise<ReadResult> {
  const { contents } = objectOf(result, options.maxChars)
  if (!Array.isArray(contents)) throw new UnusableResult("It has no list of contents.")
  const read = await Promise.all((contents as readonly Json[]).map((resource) => readResource(resource, options.attachments)))
  return {
    isError: false,
    ...shown(
      read,
      read.map(({ part }) => part),
      undefined,
    ),
  }
}

/** Reads what a server sent as the result of `prompts/get`: its messages, each after the name of its role. @throws {UnusableResult} */
export async function readPromptResult(result: unknown, options: ReadOptions): Promise<ReadResult> {
  const { messages } = objectOf(result, options.maxChars)
  if (!Array.isArray(messages)) throw new UnusableResult("It has no list of messages.")
  const read = (messages as readonly Json[]).map(async (message): Promise<readonly Read[]> => {
    const { role, content } = membersOf(message)
    const name = `${typeof role === "string" ? shortened(role) : "unknown"}:`
    return [{ value: { type: "text", text: name }, part: text(name) }, await readBlock(content ?? null, options.attachments)]
  })
  const all = (await Promise.all(read)).flat()
  return {
    isError: false,
    ...shown(
      all,
      all.map(({ part }) => part),
      undefined,
    ),
  }
}

/** Reads any other result: the model reads its JSON. @throws {UnusableResult} */
export function readJsonResult(result: unknown, { maxChars }: ReadOptions): ReadResult {
  const value = Object.fromEntries(Object.entries(objectOf(result, maxChars)).filter(([key]) => key !== "_meta"))
  return { isError: false, value, parts: [] }
}

function shown(read: readonly Read[], parts: readonly ReturnPart[], structured: Json | undefined): Omit<ReadResult, "isError"> {
  const [only] = parts
  // The model reads a text as it is.
  if (structured === undefined && parts.length === 1 && only?.type === "text") return { value: only.text, parts }
  const value = structured === undefined ? read.map((block) => block.value) : structured
  return { value, parts, modelReturn: { parts } }
}

/** One block: as it is stored, and as the model reads it. */
interface Read {
  readonly value: Json
  readonly part: ReturnPart
}

async function readBlock(block: Json, store: AttachmentStore | undefined): Promise<Read> {
  const { type, ...rest } = membersOf(block)
  switch (type) {
    case "text":
      if (typeof rest["text"] === "string") return { value: { type, text: rest["text"] }, part: text(rest["text"]) }
      break
    case "image":
    case "audio":
      return readBytes(type, rest["data"], rest["mimeType"], undefined, store)
    case "resource":
      return readResource(rest["resource"] ?? null, store)
    case "resource_link": {
      const { uri, name, description, mimeType } = rest
      const link = { type, ...strings({ uri, name, description, mimeType }) }
      const about = [name, mimeType, description].filter((word) => typeof word === "string" && word !== "").join(", ")
      return { value: link, part: text(`[Resource ${typeof uri === "string" ? uri : "without a URI"}${about === "" ? "" : `: ${about}`}]`) }
    }
  }
  // A later revision of the protocol may have other blocks. Nothing is lost.
  return { value: block, part: text(JSON.stringify(block)) }
}

async function readResource(resource: Json, store: AttachmentStore | undefined): Promise<Read> {
  const { uri, mimeType, text: content, blob } = membersOf(resource)
  const name = typeof uri === "string" ? uri : "a resource without a URI"
  if (typeof content === "string") {
    const value = { type: "resource", ...strings({ uri, mimeType }), text: content }
    return { value, part: text(`[Resource ${name}]\n${content}`) }
  }
  if (typeof blob === "string") return readBytes("resource", blob, mimeType, name, store)
  return { value: resource, part: text(JSON.stringify(resource)) }
}

async function readBytes(
  type: string,
  data: unknown,
  mimeType: unknown,
  label: string | undefined,
  store: AttachmentStore | undefined,
): Promise<Read> {
  const mediaType = typeof mimeType === "string" && isMediaType(mimeType) ? mimeType : "application/octet-stream"
  const what = label === undefined ? `${type === "image" ? "Image" : "Audio"}, ${mediaType}` : `Resource ${label}, ${mediaType}`
  const bytes = typeof data === "string" ? decoded(data) : undefined
  const left = (why: string): Read => ({
    value: { type, mimeType: mediaType, ...(label !== undefined && { uri: label }), omitted: why },
    part: text(`[${what}: ${why}]`),
  })
  if (bytes === undefined) return left("its data is not base64")
  if (store === undefined) return left(`${bytes.byteLength} bytes that are not shown, because the host stores no attachments`)
  try {
    // Labels are for people and prompts: no line breaks and no length of a server's choice.
    const attachment = await store.put(bytes, { mediaType, ...(label !== undefined && { label: shortened(label).replace(/\p{Cc}/gu, " ") }) })
    return { value: { $attachment: attachment }, part: { type: "attachment", attachment } }
  } catch (error) {
    // The tool has run: the rest of its result counts.
    return left(`${bytes.byteLength} bytes that could not be stored: ${shortened(messageOf(error))}`)
  }
}

function decoded(base64: string): Uint8Array | undefined {
  try {
    return Uint8Array.from(atob(base64), (character) => character.charCodeAt(0))
  } catch {
    return undefined
  }
}

/**
 * Servers repeat structured content as a text for clients that do not know it: as its JSON, or, where it only wraps one value as in
 * `{ "result": … }`, as that value.
 */
function saysTheSame(blocks: readonly Json[], structured: Json): boolean {
  const [only, ...others] = Object.values(membersOf(structured))
  const said = only === undefined || others.length > 0 ? [structured] : [structured, only]
  const expected = new Set(said.map(canonicalJson))
  return blocks.some((block) => {
    const { type, text: content } = membersOf(block)
    if (type !== "text" || typeof content !== "string") return false
    if (said.includes(content)) return true
    const parsed = parseJson(content)
    return parsed !== undefined && expected.has(canonicalJson(parsed))
  })
}

/** A copy of a result as JSON. @throws {UnusableResult} */
function objectOf(result: unknown, maxChars: number): { readonly [key: string]: Json } {
  if (isLonger(result, maxChars))
    throw new UnusableResult(`It has more than ${maxChars.toLocaleString("en")} characters, which is the limit of this host.`, true)
  let json: Json
  try {
    json = ownJson(result)
  } catch (error) {
    throw new UnusableResult(messageOf(error))
  }
  if (typeof json !== "object" || json === null || Array.isArray(json)) throw new UnusableResult("It is not an object.")
  return json as { readonly [key: string]: Json }
}

/** What one value or key counts besides its text. */
const OVERHEAD = 4

/** Whether a value has more characters than the limit. It is not copied, and nothing is read beyond the limit. */
function isLonger(value: unknown, limit: number): boolean {
  let left = limit
  const open: unknown[] = [value]
  while (open.length > 0) {
    const next = open.pop()
    left -= OVERHEAD + (typeof next === "string" ? next.length : 0)
    if (left < 0) return true
    if (typeof next !== "object" || next === null) continue
    for (const [key, item] of Object.entries(next)) {
      left -= key.length
      open.push(item)
    }
    if (open.length * OVERHEAD > left) return true
  }
  return false
}

function text(content: string): ReturnPart {
  return { type: "text", text: content }
}

function membersOf(value: Json): { readonly [key: string]: Json } {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as { readonly [key: string]: Json }) : {}
}

function strings(members: { readonly [key: string]: Json | undefined }): { readonly [key: string]: string } {
  return Object.fromEntries(Object.entries(members).filter((entry): entry is [string, string] => typeof entry[1] === "string"))
}
