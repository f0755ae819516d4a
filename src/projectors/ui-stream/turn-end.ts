import type { Json } from "../../json.ts"
import type { Outcome, StoppedOutcome } from "../../wire/event.ts"
import type { TurnEnded } from "../../wire/thread-event.ts"
import type { UiChunk, UiFinishReason, UiMessageMetadata, UiStreamOptions } from "./chunks.ts"

/** An error that a page may be shown. */
export interface ShownError {
  readonly message: string
  readonly code?: string
}

/** The chunks of a value that a turn ended with. They belong to its last step. */
export function valueChunks(outcome: Outcome): readonly UiChunk[] {
  if (outcome.type !== "finished" || outcome.finish.type === "assistant_message") return []
  const { finish } = outcome
  const data: Json = finish.type === "tool_value" ? { toolName: finish.toolName, value: finish.value } : { value: finish.value }
  return [{ type: "data-result", data }]
}

/**
 * The chunks that end a message. An error comes last, because a client stops reading at it.
 * `error`: the error that the turn reported before.
 */
export function endChunks({ at, outcome, usage }: TurnEnded, error: ShownError | undefined, options: UiStreamOptions): readonly UiChunk[] {
  const { cost, errorText = ({ message }: ShownError) => message } = options
  const messageMetadata: UiMessageMetadata = {
    ...(at !== undefined && { endedAt: at }),
    outcome: outcome.type === "stopped" ? outcome.stop.type : outcome.type,
    ...(usage !== undefined && { usage }),
    ...(usage !== undefined && cost !== undefined && { costMicros: cost(usage) }),
  }
  if (outcome.type !== "stopped") return [{ type: "finish", finishReason: "stop", messageMetadata }]
  const { stop } = outcome
  const finish: UiChunk = { type: "finish", finishReason: reasonOf(stop), messageMetadata }
  if (stop.type === "cancelled") return [finish, { type: "abort", ...(stop.error !== undefined && { reason: stop.error.userMessage }) }]
  if (finish.finishReason !== "error") return [finish]
  const { userMessage, code } = stop.error ?? {}
  const shown = userMessage === undefined ? error : { message: userMessage, ...(code !== undefined && { code }) }
  return [finish, { type: "error", errorText: errorText(shown ?? { message: "The turn failed.", code: stop.type }) }]
}

function reasonOf({ type, error }: StoppedOutcome["stop"]): UiFinishReason {
  switch (type) {
    case "cancelled":
    case "max_iterations":
    case "deadline":
      return "other"
    case "max_tokens":
      return "length"
    case "incomplete":
      if (error?.terminalReason === "output_limit" || error?.terminalReason === "context_overflow") return "length"
      return error?.terminalReason === "content_filter" || error?.terminalReason === "refusal" ? "content-filter" : "error"
    default:
      return "error"
  }
}
