import type { DriverErrorCode } from "../errors.ts"
import { isBlank } from "../text.ts"
import type { Effect } from "../wire/effect.ts"
import type { LlmRequest, LlmResponse, OutputPart } from "../wire/llm.ts"
import type { Message, Part } from "../wire/message.ts"
import { requireEqual, requireThat } from "./laws.ts"

/** @throws {LawError} `driver`, if one of the effects reports that the driver broke its contract */
export function checkDriverErrors(where: string, effects: readonly Effect[]): void {
  for (const effect of effects) {
    if (effect.type !== "emit" || effect.event.type !== "error") continue
    const { message, envelope } = effect.event
    requireThat("driver", where, !(envelope?.kind === "driver" && isDriverError(envelope.code)), message)
  }
}

const DRIVER_ERRORS: { readonly [Code in DriverErrorCode]: true } = {
  no_way_forward: true,
  two_starts: true,
  action_after_finish: true,
  unknown_action: true,
  unknown_settled_call: true,
  invalid_hold: true,
  invalid_decision: true,
  invalid_action: true,
  second_end: true,
  invalid_limit_message: true,
  missing_callback: true,
  policy_threw: true,
  invalid_policy_answer: true,
  driver_threw: true,
}

function isDriverError(code: string | undefined): boolean {
  return code !== undefined && Object.hasOwn(DRIVER_ERRORS, code)
}

/**
 * Law 10. Call ids may repeat in later answers of the model, so the calls of an answer and their results are matched up to the next
 * answer.
 * @throws {LawError} `orphans`
 */
export function checkOrphans(where: string, { messages }: LlmRequest): void {
  let open = new Map<string, number>()
  const requireNone = (place: string): void => {
    const [callId] = open.keys()
    requireThat("orphans", where, callId === undefined, `the call ${JSON.stringify(callId)} has no result ${place}`)
  }
  messages.forEach(({ role, blocks }, index) => {
    if (role === "assistant") {
      requireNone(`before message ${index} of the request`)
      open = new Map()
    }
    for (const block of blocks) {
      if (block.type === "tool_call") open.set(block.callId, (open.get(block.callId) ?? 0) + 1)
      if (block.type !== "tool_result") continue
      const due = open.get(block.callId) ?? 0
      requireThat(
        "orphans",
        where,
        due > 0,
        `message ${index} of the request has a result for ${JSON.stringify(block.callId)}, which is not an open call`,
      )
      if (due === 1) open.delete(block.callId)
      else open.set(block.callId, due - 1)
    }
  })
  requireNone("at the end of the request")
}

/**
 * Law 12 for one answer: `appended` are the messages that followed it. Blank texts may be left out, and repeated or blank call ids
 * replaced. `cutOff`: the answer ended the turn without the driver; its calls are left out, because they never run.
 * @throws {LawError} `verbatim`
 */
export function checkVerbatim(where: string, response: LlmResponse, cutOff: boolean, appended: readonly Message[]): void {
  const given: readonly OutputPart[] = response.parts.length > 0 ? response.parts : [{ type: "text", text: response.text }]
  const due = given.filter((part) => saysSomething(part) && !(cutOff && part.type === "tool_call"))
  const stored = appended.flatMap(({ role, parts }) => (role === "assistant" ? parts.filter(saysSomething) : []))
  requireEqual("verbatim", where, "the parts stored and the parts of the answer", stored.map(essence), due.map(essence))
}

function saysSomething(part: OutputPart | Part): boolean {
  if (part.type === "text") return !isBlank(part.text) || part.providerMetadata !== undefined || part.responseMeta !== undefined
  if (part.type === "reasoning") return !isBlank(part.text) || part.providerMetadata !== undefined || part.replay !== undefined
  return part.type === "tool_call" || part.type === "opaque"
}

/** What must be stored: everything but ids, which the turn may replace. */
function essence(part: OutputPart | Part): unknown {
  const { id: _id, callId: _callId, ...rest } = part as OutputPart & { readonly id?: string; readonly callId?: string }
  return rest
}
