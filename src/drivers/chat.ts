import type { DriverContext, ProtocolDriver } from "../machine/driver.ts"
import { errorEvent, stopped } from "../machine/terminal.ts"
import { toolResultParts } from "../machine/tool-results.ts"
import { isBlank } from "../text.ts"
import type { DriverAction } from "../wire/action.ts"
import type { Outcome } from "../wire/event.ts"
import type { CompletedToolCall } from "../wire/tool.ts"
import { type ReadResponse, readResponse, showResponse } from "./response-parts.ts"
import { assistantRecord, conversation, nextIteration } from "./steps.ts"
import { pairToolCalls } from "./tool-pairs.ts"

/**
 * The driver for models with native tool calls. An answer with calls runs the tools and continues; an answer without calls
 * ends the turn. In every request, each tool call has exactly one result.
 */
export function chatDriver(): ProtocolDriver {
  return CHAT_DRIVER
}

const CHAT_DRIVER: ProtocolDriver = {
  name: "chat",
  version: 1,

  prepareIteration(context) {
    return [{ type: "start_llm", request: pairToolCalls(context.projectRequest({ tools: true }), context.messages) }]
  },

  onLlmComplete(context, _waiting, response, textStreamed) {
    const read = readResponse(context, response)
    const actions = read.calls.length > 0 ? runTools(context, read) : complete(context, read)
    return showResponse(read, context.iteration, textStreamed).concat(actions)
  },

  onToolResults(context, results) {
    const appended = appendResults(context, results)
    const outcome = controlOutcome(results)
    if (outcome !== undefined) return [...appended, { type: "finish", outcome }]
    return appended.concat(nextIteration(context))
  },
}

function runTools(context: DriverContext, read: ReadResponse): readonly DriverAction[] {
  return [
    { type: "append_events", events: [assistantRecord(context, read)] },
    { type: "start_tools", calls: read.calls },
  ]
}

/** Appends the answer before the checkpoint, so that delivered messages come after it in the transcript. */
function complete(context: DriverContext, read: ReadResponse): readonly DriverAction[] {
  const silent = isBlank(read.text) && read.steps.length === 0
  if (silent && !followsToolResult(context)) {
    const event = errorEvent("The model answered with neither text nor a tool call.", { kind: "llm_provider", code: "empty_response" })
    return [
      { type: "emit", event },
      { type: "finish", outcome: stopped("provider_error") },
    ]
  }
  const outcome: Outcome = { type: "finished", finish: { type: "assistant_message", text: silent ? "" : read.text } }
  return [
    { type: "append_events", events: silent ? [] : [assistantRecord(context, read)] },
    { type: "start_checkpoint", checkpoint: "before_completion", onEmpty: { type: "finish", outcome } },
  ]
}

/** An empty answer is fine after a tool result, when the model may have nothing to add. As an answer to a user it is an error. */
function followsToolResult(context: DriverContext): boolean {
  const last = context.messages.at(-1)
  return last?.role === "user" && last.parts.some((part) => part.type === "tool_result")
}

function appendResults(context: DriverContext, results: readonly CompletedToolCall[]): DriverAction[] {
  if (results.length === 0) return []
  const id = context.newMessageId("tools")
  return [{ type: "append_events", events: [conversation({ id, role: "user", parts: toolResultParts(id, results) })] }]
}

/** The outcome requested by the first successful tool with a `control`, if any. */
function controlOutcome(results: readonly CompletedToolCall[]): Outcome | undefined {
  for (const { output, toolName } of results) {
    if (output.status !== "success" || output.control === undefined) continue
    const { control } = output
    switch (control.type) {
      case "finish":
        return { type: "finished", finish: { type: "tool_value", toolName, value: control.value } }
      case "fail":
        return { type: "stopped", stop: { type: "tool_error", toolName, value: control.failure } }
      case "switch_agent_frame":
        if (!isBlank(control.frameId)) return { type: "agent_frame_switch", frameId: control.frameId }
    }
  }
  return undefined
}
