import { cutMiddle, trim } from "../text.ts"
import type { DriverAction } from "../wire/action.ts"
import type { ErrorEnvelope, LogEvent, Outcome, TurnEvent } from "../wire/event.ts"
import type { LlmFailure, LlmResponse, OutputPart, TerminalReason } from "../wire/llm.ts"

const RAW_LIMIT = 4_000

/** The reasons for which a turn stops without a value. */
export type StopType = Exclude<Extract<Outcome, { type: "stopped" }>["stop"]["type"], "submitted_error" | "tool_error">

/** The outcome of a turn that was stopped without a value. */
export function stopped(type: StopType): Outcome {
  return { type: "stopped", stop: { type } }
}

/** How answers end a turn without its driver. The driver decides what the others mean (`stop`, `tool_use`, `unknown`). */
const ENDS: Partial<Record<TerminalReason, StopType>> = {
  output_limit: "incomplete",
  context_overflow: "provider_error",
  content_filter: "provider_error",
  provider_error: "provider_error",
  cancelled: "cancelled",
}

/** Returns the actions for an answer that ends the turn; `undefined` if the driver decides. */
export function terminalActions(response: LlmResponse, textStreamed: boolean, iteration: number): readonly DriverAction[] | undefined {
  const end = ENDS[response.terminalReason]
  if (end === undefined) return undefined
  const { text, terminalReason } = response
  const message = response.terminalDiagnostic ?? `Model call ended: ${terminalReason}.`
  const actions: DriverAction[] = []
  if (!textStreamed && text !== "") actions.push({ type: "emit", event: { type: "text_delta", content: text } })
  actions.push(
    { type: "emit", event: { type: "llm_response", iteration, content: text, durationMs: 0 } },
    { type: "emit", event: errorEvent(message, { kind: "llm_provider", code: terminalReason, terminalReason }) },
    { type: "finish", outcome: stopped(end) },
  )
  return actions
}

/** Returns the actions for a failed model call that the driver does not handle. */
export function failureActions(error: LlmFailure): readonly DriverAction[] {
  const facts = {
    kind: "llm_provider",
    ...(error.code !== undefined && { code: error.code }),
    terminalReason: error.terminalReason,
    ...(error.raw !== undefined && { raw: error.raw }),
  }
  return [
    { type: "emit", event: errorEvent(`LLM error: ${error.message}`, facts) },
    { type: "finish", outcome: stopped("provider_error") },
  ]
}

/** Returns the actions that end a turn that cannot continue, with an event that gives the reason. */
export function failWith(event: TurnEvent): readonly DriverAction[] {
  return [
    { type: "emit", event },
    { type: "finish", outcome: stopped("runtime_error") },
  ]
}

/** An error event whose `userMessage` is its message; `raw` is trimmed and cut to 4,000 characters. */
export function errorEvent(message: string, facts: Omit<ErrorEnvelope, "userMessage">): TurnEvent {
  const { raw, ...rest } = facts
  return {
    type: "error",
    message,
    envelope: { ...rest, userMessage: message, ...(raw !== undefined && { raw: cutMiddle(trim(raw), RAW_LIMIT) }) },
  }
}

/** Makes the `llm_debug` log entry of an answer: its parts in short, without the provider's opaque data. */
export function debugLog(sessionId: string, iteration: number, response: LlmResponse): LogEvent {
  const responseParts = response.parts.filter((part) => part.type !== "text" || part.text !== "").map(digestPart)
  return {
    type: "llm_debug",
    sessionId,
    iteration,
    usage: response.usage,
    ...(response.providerUsage !== undefined && { providerUsage: response.providerUsage }),
    ...(response.requestBody !== undefined && { requestBody: response.requestBody }),
    responseText: response.text,
    ...(responseParts.length > 0 && { responseParts }),
  }
}

type PartDigest = NonNullable<Extract<LogEvent, { type: "llm_debug" }>["responseParts"]>[number]

function digestPart(part: OutputPart): PartDigest {
  switch (part.type) {
    case "text":
      return { type: "text", text: part.text }
    case "reasoning": {
      const { replay } = part
      return {
        type: "reasoning",
        ...(replay?.itemId !== undefined && { id: replay.itemId }),
        ...(replay !== undefined && { summary: replay.summary ?? [] }),
        text: part.text,
        hasEncrypted: replay?.encryptedContent !== undefined || replay?.signature !== undefined,
        redacted: replay?.redacted === true,
      }
    }
    case "tool_call":
      return {
        type: "tool_call",
        callId: part.callId,
        toolName: part.toolName,
        inputJson: part.inputJson,
        ...(part.replay?.itemId !== undefined && { id: part.replay.itemId }),
        hasOpaque: part.replay?.opaque !== undefined,
      }
  }
}

/** The `llm_error` log entry of a failed call. */
export function errorLog(sessionId: string, iteration: number, error: LlmFailure): LogEvent {
  return { type: "llm_error", sessionId, iteration, ...error }
}
