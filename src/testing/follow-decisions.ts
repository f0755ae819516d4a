import type { ProtocolDriver } from "../machine/driver.ts"
import { isWide } from "../machine/held.ts"
import type { DriverAction } from "../wire/action.ts"
import type { ApprovalRecord, Decision, HeldCall } from "../wire/approval.ts"
import type { CompletedToolCall, ToolOutput } from "../wire/tool.ts"

/**
 * Does what was decided, and records it: approved and edited calls are released, the others get a failed or cancelled result. A decision
 * with a scope other than `call` reaches the undecided calls of the same tool; one about a call itself wins.
 */
export const followDecisions: NonNullable<ProtocolDriver["onToolDecisions"]> = (_context, { held }, decisions) => {
  const done = new Set(decisions.map(({ requestId }) => requestId))
  return decisions.flatMap((decision): readonly DriverAction[] => {
    const call = held.find(({ requestId }) => requestId === decision.requestId)
    if (call === undefined) throw new Error(`The driver was asked about ${decision.requestId}, which it was not shown as held.`)
    const siblings = isWide(decision) ? held.filter(({ requestId, toolName }) => toolName === call.toolName && !done.has(requestId)) : []
    for (const { requestId } of siblings) done.add(requestId)
    return [{ type: "append_events", events: [{ type: "protocol", event: recordOf(call, decision) }] }, ...conclude([call, ...siblings], decision)]
  })
}

function conclude(calls: readonly HeldCall[], decision: Decision): readonly DriverAction[] {
  const by = decision.by === undefined ? {} : { by: decision.by }
  if (decision.decision === "approve" || decision.decision === "edit")
    return [{ type: "release_calls", requestIds: calls.map(({ requestId }) => requestId), ...by }]
  return [{ type: "settle_calls", results: calls.map((call) => notRun(call, decision)), ...by }]
}

function notRun({ callId, toolName, args }: HeldCall, decision: Decision): CompletedToolCall {
  return { callId, toolName, args, output: outputOf(decision), durationMs: 0 }
}

function outputOf(decision: Decision): ToolOutput {
  if (decision.decision === "cancelled") return { status: "cancelled", message: "The request was cancelled.", source: "cancellation" }
  const [code, message] =
    decision.decision === "expired"
      ? ["approval_expired", "There was no decision in time."]
      : ["rejected", ("message" in decision && decision.message) || "No."]
  return { status: "failure", failure: { class: "permission_denied", code, message, source: "policy", retry: { type: "never" } } }
}

function recordOf({ callId, toolName }: HeldCall, { decision, requestId, digest, ...facts }: Decision): ApprovalRecord {
  return { type: "approval", callId, toolName, requestId, digest, decision, ...facts }
}
