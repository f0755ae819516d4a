import { type Json, whyNotJson } from "../../json.ts"
import { ChatRequestError } from "./chat-request-error.ts"

/** Reads a posted JSON value, and no more than `maxBytes`. @throws {ChatRequestError} */
export async function readJson(request: Request, maxBytes: number): Promise<Json> {
  if (request.method !== "POST") throw new ChatRequestError("method_not_allowed", "Send the message with POST.", 405)
  const [type = ""] = (request.headers.get("content-type") ?? "").split(";")
  // A page of another origin can post forms and plain text without asking first.
  if (type.trim().toLowerCase() !== "application/json")
    throw new ChatRequestError("content_type_not_json", "Send the message as application/json.", 415)
  const value = parsed(await readText(request, maxBytes))
  const why = value === undefined ? "the text cannot be parsed" : whyNotJson(value)
  if (why !== undefined) throw new ChatRequestError("body_not_json", `The body is not JSON: ${why}.`)
  return value as Json
}

async function readText(request: Request, maxBytes: number): Promise<string> {
  const tooLarge = (): ChatRequestError => new ChatRequestError("body_too_large", `The body is larger than ${maxBytes} bytes.`, 413)
  if (Number(request.headers.get("content-length") ?? 0) > maxBytes) throw tooLarge()
  const decoder = new TextDecoder()
  const reader = request.body?.getReader()
  let text = ""
  let length = 0
  while (reader !== undefined) {
    const { done, value } = await reader.read()
    if (done) break
    length += value.byteLength
    if (length > maxBytes) {
      await reader.cancel()
      throw tooLarge()
    }
    text += decoder.decode(value, { stream: true })
  }
  return text + decoder.decode()
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
