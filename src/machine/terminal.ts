import { cutMiddle, trim } from "../text.ts"
import type { DriverAction } from "../wire/action.ts"
import type { ErrorEnvelope, LogEvent, Outcome, TurnEvent } from "../wire/event.ts"
import type { LlmFailure, LlmResponse, OutputPart, TerminalReason } from "../wire/llm.ts"
import type { Message } from "../wire/message.ts"
import type { CompletedToolCall, PendingToolCall } from "../wire/tool.ts"
import type { DriverContext } from "./driver.ts"
import { resultLimit } from "./limits.ts"
import { toolResultParts } from "./tool-results.ts"

const RAW_LIMIT = 4_000

/** The reasons for which a turn stops without a value. */
export type StopType = Exclude<Extract<Outcome, { type: "stopped" }>["stop"]["type"], "submitted_error" | "tool_error">

/** The outcome of a turn that was stopped without a value. `event`: the error that stopped it; the outcome repeats it without `raw`. */
export function stopped(type: StopType, event?: TurnEvent): Outcome {
  if (event?.type !== "error") return { type: "stopped", stop: { type } }
  const { raw: _raw, ...error } = event.envelope ?? { kind: "host", userMessage: event.message }
  return { type: "stopped", stop: { type, error } }
}

/** Returns the actions that report an error and stop the turn for it. */
export function stopFor(event: TurnEvent, type: StopType): readonly DriverAction[] {
  return [
    { type: "emit", event },
    { type: "finish", outcome: stopped(type, event) },
  ]
}

/** How answers end a turn. The driver decides what the others mean (`stop`, `tool_use`, `paused`, `unknown`). */
const ENDS: Partial<Record<TerminalReason, StopType>> = {
  output_limit: "incomplete",
  context_overflow: "provider_error",
  content_filter: "provider_error",
  refusal: "provider_error",
  provider_error: "provider_error",
  cancelled: "cancelled",
}

/** Returns the actions that end the turn for an answer; `undefined` if the driver decides. */
export function terminalActions({ terminalReason, terminalDiagnostic }: LlmResponse): readonly DriverAction[] | undefined {
  const end = ENDS[terminalReason]
  if (end === undefined) return undefined
  const message = terminalDiagnostic ?? `Model call ended: ${terminalReason}.`
  return stopFor(errorEvent(message, { kind: "llm_provider", code: terminalReason, terminalReason }), end)
}

/** Returns the events of an answer that was cut off. */
export function shownActions({ text, durationMs = 0 }: LlmResponse, textStreamed: boolean, iteration: number): readonly DriverAction[] {
  const response: DriverAction = { type: "emit", event: { type: "llm_response", iteration, content: text, durationMs } }
  return textStreamed || text === "" ? [response] : [{ type: "emit", event: { type: "text_delta", content: text } }, response]
}

/** Returns the actions for a failed model call that the driver does not handle. */
export function failureActions(error: LlmFailure): readonly DriverAction[] {
  const facts = {
    kind: "llm_provider",
    ...(error.code !== undefined && { code: error.code }),
    terminalReason: error.terminalReason,
    ...(error.kind !== undefined && { failureKind: error.kind }),
    ...(error.retryAt !== undefined && { retryAt: error.retryAt }),
    ...(error.raw !== undefined && { raw: error.raw }),
  }
  return stopFor(errorEvent(`LLM error: ${error.message}`, facts), "provider_error")
}

/** Returns the actions that end a turn that cannot continue, with an event that gives the reason. */
export function failWith(event: TurnEvent): readonly DriverAction[] {
  return stopFor(event, "runtime_error")
}

/** What the model reads of work that an error of its turn left without a result. */
export const ENDED_WITH_ERROR = "The turn ended with an error."

/** The result of a call that is left without one. */
export function cancelledCall(call: PendingToolCall, message: string): CompletedToolCall {
  return { ...call, output: { status: "cancelled", message, source: "cancellation" }, durationMs: 0 }
}

/** Returns the action that stores the results of a batch as one message. `scope`: that of its id. */
export function resultsAction(
  context: Pick<DriverContext, "config" | "newMessageId">,
  scope: string,
  results: readonly CompletedToolCall[],
): DriverAction {
  const id = context.newMessageId(scope)
  const message: Message = { id, role: "user", parts: toolResultParts(id, results, resultLimit(context.config)) }
  return { type: "append_events", events: [{ type: "conversation", message }] }
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
    case "opaque":
      return { type: "opaque", provider: part.provider, kind: part.kind }
  }
}

/** The `llm_error` log entry of a failed call. */
export function errorLog(sessionId: string, iteration: number, error: LlmFailure): LogEvent {
  return { type: "llm_error", sessionId, iteration, ...error }
}

/** The event that shows the result of a tool call. */
export function toolCallEvent({ callId, toolName: name, args, output, durationMs }: CompletedToolCall): TurnEvent {
  return { type: "tool_call", callId, name, args, output, durationMs }
}
