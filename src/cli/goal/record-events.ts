import type { TurnEvent } from "../../wire/event.ts"
import type { JournalRecord } from "../../wire/journal.ts"
import type { LlmComplete } from "../../wire/response.ts"

/**
 * What a user sees of a record of a turn's journal: the events that its process emitted, as far as the record holds them. `toolOf`: the tool
 * of a held call.
 */
export function recordEvents(record: JournalRecord, iteration: number, toolOf: (requestId: string) => string | undefined): readonly TurnEvent[] {
  switch (record.type) {
    case "llm_complete": {
      const { result, purpose } = record
      if (purpose !== undefined) return sideCall(iteration, purpose, result)
      if (!result.ok) return [request(iteration), { type: "error", message: `LLM error: ${result.error.message}` }]
      const { text, usage } = result.response
      return [
        request(iteration),
        ...(text === "" ? [] : [{ type: "text_delta", content: text } as const]),
        { type: "llm_response", iteration, content: text, durationMs: 0 },
        { type: "token_usage", iteration, usage, cumulative: usage },
      ]
    }
    case "tool_results":
      return record.results.map(({ callId, toolName: name, args, output, durationMs }) => ({
        type: "tool_call",
        callId,
        name,
        args,
        output,
        durationMs,
      }))
    case "tool_decisions":
      return record.decisions.map((decision): TurnEvent => {
        const { requestId, decision: type, by } = decision
        const callId = requestId.slice(requestId.indexOf(":") + 1)
        const args = decision.decision === "edit" ? { args: decision.args } : {}
        return {
          type: "approval_decided",
          requestId,
          callId,
          name: toolOf(requestId) ?? callId,
          decision: type,
          ...args,
          ...(by !== undefined && { by }),
        }
      })
    case "tool_pending":
      return [{ type: "tool_pending", callId: record.callId, name: record.callId, token: record.token }]
    case "end":
      return [{ type: "turn_outcome", outcome: record.outcome }, { type: "done" }]
    default:
      return []
  }
}

/** The text of a side call is not an answer. */
function sideCall(iteration: number, purpose: string, result: LlmComplete["result"]): readonly TurnEvent[] {
  const request: TurnEvent = { type: "llm_request", iteration, messageCount: 0, tools: [], purpose }
  const usage = result.ok ? result.response.usage : result.error.usage
  const did = purpose === "compaction" ? "The conversation was summarized" : `A model call for ${purpose} ended`
  const text = result.ok ? `${did}.` : `A model call for ${purpose} failed: ${result.error.message}`
  return [
    request,
    { type: "message", text, kind: purpose },
    ...(usage === undefined ? [] : [{ type: "token_usage", iteration, usage, cumulative: usage } as const]),
  ]
}

function request(iteration: number): TurnEvent {
  return { type: "llm_request", iteration, messageCount: 0, tools: [] }
}
