import { NO_USAGE } from "../../machine/limits.ts"
import type { LlmFailure } from "../../wire/llm.ts"
import type { ToolFailure } from "../../wire/tool.ts"
import { LlmCallError, ToolError } from "../host.ts"
import { membersOf } from "./plain-json.ts"

/** The message of a thrown value. Never throws. */
export function messageOf(thrown: unknown): string {
  try {
    if (thrown instanceof Error) return String(thrown.message === "" ? thrown.name : thrown.message)
    return typeof thrown === "string" ? thrown : `A value that is not an error was thrown: ${String(thrown)}`
  } catch {
    return "A value that cannot be shown was thrown."
  }
}

/** The failure of a model call whose executor threw. */
export function llmFailureOf(thrown: unknown): LlmFailure {
  if (thrown instanceof LlmCallError) return thrown.failure
  return { message: messageOf(thrown), retryable: false, code: "executor_threw", terminalReason: "provider_error" }
}

/** What the model said and used before its call failed or was aborted, as far as the executor knows. It may not be a valid answer. */
export function partialOf(thrown: unknown): unknown {
  if (!(thrown instanceof LlmCallError)) return undefined
  const { failure, partial } = thrown
  const said = membersOf(partial)
  const { usage = said.usage, retriedUsage = said.retriedUsage } = membersOf(failure)
  if (partial === undefined && usage === undefined && retriedUsage === undefined) return undefined
  return { text: "", parts: [], ...said, usage: usage ?? NO_USAGE, ...(retriedUsage !== undefined && { retriedUsage }) }
}

/** The failure of a tool call whose executor threw. */
export function toolFailureOf(thrown: unknown): ToolFailure {
  if (thrown instanceof ToolError) return thrown.failure
  return { class: "execution", code: "tool_threw", message: messageOf(thrown), source: "tool", retry: { type: "never" } }
}

/** The failure of a tool call whose result cannot be serialized. */
export function invalidToolResult(error: unknown): ToolFailure {
  const message = `The tool ran, but its result cannot be used. ${messageOf(error)}`
  return { class: "internal", code: "invalid_tool_result", message, source: "tool", retry: { type: "never" } }
}
