import type { DriverContext } from "../machine/driver.ts"
import { stopped } from "../machine/terminal.ts"
import { isBlank } from "../text.ts"
import type { DriverAction } from "../wire/action.ts"
import type { LlmRequest, LlmResponse, OutputPart, TerminalReason } from "../wire/llm.ts"
import type { HistoryRecord, InterruptedReason, Message, Part, Producer } from "../wire/message.ts"
import { assistantParts, partsOf } from "./response-parts.ts"
import { pairToolCalls } from "./tool-pairs.ts"

/** Wraps a message as a history record. */
export function conversation(message: Message): HistoryRecord {
  return { type: "conversation", message }
}

/** An answer that becomes a message: its parts, and the model that wrote it. */
export interface AnswerParts {
  readonly parts: readonly OutputPart[]
  readonly producer: Producer | undefined
}

/** Builds the history record of a model's answer. `interrupted`: the answer was cut off for this reason, which its last part says. */
export function assistantRecord(context: DriverContext, { parts, producer }: AnswerParts, interrupted?: InterruptedReason): HistoryRecord {
  const id = context.newMessageId("assistant")
  const answered = assistantParts(id, parts)
  const all: readonly Part[] =
    interrupted === undefined ? answered : [...answered, { id: `${id}.p${answered.length}`, type: "interrupted", reason: interrupted }]
  return conversation({ id, role: "assistant", parts: all, ...(producer !== undefined && { producer }) })
}

/**
 * Returns the actions that store an answer that was cut off: what the model said, without its tool calls, which never run. Nothing if it
 * said nothing.
 */
export function cutOffActions(context: DriverContext, response: LlmResponse): readonly DriverAction[] {
  const { terminalReason, producer } = response
  const said = partsOf(response).filter((part) => part.type !== "tool_call")
  if (!said.some(saysSomething)) return []
  return [{ type: "append_events", events: [assistantRecord(context, { parts: said, producer }, REASONS[terminalReason] ?? "provider_error")] }]
}

/** Returns the actions that show the provider's word for an end of an answer that is not known. */
export function diagnosis({ terminalReason, terminalDiagnostic }: LlmResponse): readonly DriverAction[] {
  if (terminalReason !== "unknown" || terminalDiagnostic === undefined) return []
  return [{ type: "emit", event: { type: "message", text: terminalDiagnostic, kind: "diagnostic" } }]
}

/** Whether a part has something that a person or its provider could read. */
export function saysSomething(part: OutputPart): boolean {
  if (part.type !== "text" && part.type !== "reasoning") return true
  if (!isBlank(part.text) || part.providerMetadata !== undefined) return true
  return part.type === "text" ? part.responseMeta !== undefined : part.replay !== undefined
}

const REASONS: { readonly [Reason in TerminalReason]?: InterruptedReason } = {
  cancelled: "cancelled",
  output_limit: "output_limit",
  context_overflow: "context_overflow",
  content_filter: "content_filter",
  refusal: "refusal",
}

/**
 * Returns the actions that start the iteration's model call. If the system prompt or the tools changed, a record says before it that the
 * request does not continue the one before.
 */
export function startRequest(context: DriverContext, options: { readonly tools: boolean }): readonly DriverAction[] {
  const request: LlmRequest = pairToolCalls(context.projectRequest(options))
  const start: DriverAction = { type: "start_llm", request }
  return context.surfaceChanged ? [{ type: "append_events", events: [surfaceChangeRecord(context)] }, start] : [start]
}

/** The record of a changed system prompt or tool list: requests before and after it have no common beginning. */
export function surfaceChangeRecord({ iteration }: DriverContext): HistoryRecord {
  return { type: "protocol", event: { type: "surface_change", contextReset: true, iteration } }
}

/**
 * Returns the actions that start the next iteration, after an `after_work` checkpoint.
 * At the turn's limit they append a message about the limit and finish the turn as `max_iterations`.
 */
export function nextIteration(context: DriverContext): readonly DriverAction[] {
  if (!context.limitReached(1)) {
    return [{ type: "advance_iteration" }, { type: "start_checkpoint", checkpoint: "after_work", onEmpty: { type: "prepare_iteration" } }]
  }
  return [
    { type: "advance_iteration" },
    { type: "append_events", events: [conversation(context.turnLimitMessage())] },
    { type: "finish", outcome: stopped("max_iterations") },
  ]
}
