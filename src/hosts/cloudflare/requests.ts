import { parse } from "../../checks/checking.ts"
import { goalCommand } from "../../checks/generated/records.ts"
import type { Decision } from "../../wire/approval.ts"
import type { GoalCommand } from "../../wire/goal.ts"
import type { ToolAnswer } from "../host.ts"
import type { RedirectOptions, SayOptions, ThreadAnswerOptions, ThreadInput, ThreadInputOptions } from "../thread/thread.ts"
import { TurnObjectError } from "./turn-object-error.ts"

/** The longest body of a request, in bytes. */
const MAX_BODY_BYTES = 8_000_000

/** The fields of a body. */
export type Body = { readonly [field: string]: unknown }

/**
 * Reads the JSON object in a request; an empty body is an empty object.
 * @throws {TurnObjectError} `bad_request`, `request_too_large`
 */
export async function bodyOf(request: Request): Promise<Body> {
  const text = await textOf(request)
  if (text.trim() === "") return {}
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (cause) {
    throw new TurnObjectError("bad_request", "The body of the request is not JSON.", { cause })
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw invalid("The body of the request must be a JSON object.")
  return value as Body
}

async function textOf(request: Request): Promise<string> {
  const reader = request.body?.getReader()
  if (reader === undefined) return ""
  const decoder = new TextDecoder()
  let text = ""
  let bytes = 0
  for (;;) {
    const { done, value } = await reader.read()
    if (done) return text + decoder.decode()
    bytes += value.byteLength
    if (bytes > MAX_BODY_BYTES) {
      await reader.cancel()
      throw new TurnObjectError(
        "request_too_large",
        `The body of the request is longer than ${MAX_BODY_BYTES} bytes. Store large files elsewhere, and pass them as attachments.`,
      )
    }
    text += decoder.decode(value, { stream: true })
  }
}

/** What is said: `{ input, when?, key?, attachments? }`. The thread checks the input. @throws {TurnObjectError} `bad_request` */
export function inputOf(body: Body, withTime: boolean): readonly [ThreadInput, SayOptions] {
  onlyFields(body, ["input", "key", "attachments", ...(withTime ? ["when"] : [])])
  const { input, when, attachments } = body
  if (input === undefined) throw invalid('The body needs an "input": a text, a list of parts, or a message.')
  if (when !== undefined && when !== "now" && when !== "turn_end" && when !== "next_turn")
    throw invalid('"when" must be "now", "turn_end" or "next_turn".')
  if (attachments !== undefined && !Array.isArray(attachments)) throw invalid('"attachments" must be a list.')
  return [
    input as ThreadInput,
    {
      ...keyOf(body),
      ...(when !== undefined && { when }),
      ...(attachments !== undefined && { attachments: attachments as NonNullable<RedirectOptions["attachments"]> }),
    },
  ]
}

/** `{ command, key? }`. @throws {TurnObjectError | SchemaError} `bad_request`, `invalid_record` */
export function commandOf(body: Body): readonly [GoalCommand, ThreadInputOptions] {
  onlyFields(body, ["command", "key"])
  return [parse(goalCommand, body["command"], "invalid_record", "goal command"), keyOf(body)]
}

/** `{ name, key? }`. @throws {TurnObjectError} `bad_request` */
export function eventOf(body: Body): readonly [string, ThreadInputOptions] {
  onlyFields(body, ["name", "key"])
  return [textIn(body, "name"), keyOf(body)]
}

/** `{ decisions, turnId? }`. The journal checks the decisions. @throws {TurnObjectError} `bad_request` */
export function decisionsOf(body: Body): readonly [readonly Decision[], ThreadAnswerOptions] {
  onlyFields(body, ["decisions", "turnId"])
  const { decisions } = body
  if (!Array.isArray(decisions)) throw invalid('The body needs "decisions": a list.')
  return [decisions as Decision[], turnOf(body)]
}

/** `{ callId, answer, turnId? }`. The journal checks the answer. @throws {TurnObjectError} `bad_request` */
export function answerOf(body: Body): readonly [string, ToolAnswer, ThreadAnswerOptions] {
  onlyFields(body, ["callId", "answer", "turnId"])
  const { answer } = body
  if (typeof answer !== "object" || answer === null) throw invalid('The body needs an "answer": { "output": { "status", … } }.')
  return [textIn(body, "callId"), answer as ToolAnswer, turnOf(body)]
}

/** `{ reason? }`. @throws {TurnObjectError} `bad_request` */
export function reasonOf(body: Body): string | undefined {
  onlyFields(body, ["reason"])
  return body["reason"] === undefined ? undefined : textIn(body, "reason")
}

/** `{ inputId }`. @throws {TurnObjectError} `bad_request` */
export function inputIdOf(body: Body): string {
  onlyFields(body, ["inputId"])
  return textIn(body, "inputId")
}

function keyOf(body: Body): ThreadInputOptions {
  return body["key"] === undefined ? {} : { key: textIn(body, "key") }
}

function turnOf(body: Body): ThreadAnswerOptions {
  return body["turnId"] === undefined ? {} : { turnId: textIn(body, "turnId") }
}

function textIn(body: Body, field: string): string {
  const value = body[field]
  if (typeof value !== "string" || value === "") throw invalid(`"${field}" must be a text that is not empty.`)
  return value
}

/** A misspelled field would be ignored otherwise. */
function onlyFields(body: Body, known: readonly string[]): void {
  const unknown = Object.keys(body).find((field) => !known.includes(field))
  if (unknown !== undefined)
    throw invalid(`The body has an unknown field ${JSON.stringify(unknown)}; it may have ${known.map((field) => `"${field}"`).join(", ")}.`)
}

function invalid(message: string): TurnObjectError {
  return new TurnObjectError("bad_request", message)
}
