import { wireValidation } from "../../src/checks/validation.ts"
import type { TurnConfig } from "../../src/machine/config.ts"
import type { ProtocolDriver } from "../../src/machine/driver.ts"
import { chatProjector } from "../../src/projectors/chat.ts"
import type { DriverAction } from "../../src/schemas/action.ts"
import type { Ask } from "../../src/schemas/approval.ts"
import type { TurnStart } from "../../src/schemas/config.ts"
import type { AnswerableEffect } from "../../src/schemas/effect.ts"
import type { Response } from "../../src/schemas/response.ts"
import type { CompletedToolCall, PendingToolCall } from "../../src/schemas/tool.ts"

// A turn that waits for people, with every field of held calls, decisions, pending calls and records about them.

const AT = 1_800_000_000_000
const ASK: Ask = { summary: "Pays 5.", risk: "high", allow: ["approve", "edit", "reject"], scopes: ["call", "turn", "thread"], expiresAt: AT + 5_000 }
const call = (callId: string): PendingToolCall => ({ callId, toolName: "pay", args: { to: callId, amount: 5 }, replay: { opaque: "o" } })
const result = (callId: string, message: string): CompletedToolCall => ({
  ...call(callId),
  output: { status: "failure", failure: { class: "permission_denied", code: "rejected", message, source: "policy", retry: { type: "never" } } },
  durationMs: 0,
})
const key = { toolName: "pay", toolDigest: "digest of pay" }

const DRIVER: ProtocolDriver = {
  name: "held",
  version: 3,
  prepareIteration: () => [
    {
      type: "start_tools",
      calls: ["a", "b", "c", "d", "e"].map(call),
      settled: [result("a", "Never.")],
      held: ["b", "c", "e"].map((callId) => ({ callId, digest: `digest of ${callId}`, ask: ASK })),
    },
  ],
  onLlmComplete: () => [],
  onToolDecisions: (_context, { held }, decisions) =>
    decisions.flatMap((decision): readonly DriverAction[] => {
      const { requestId, digest, by = "", note = "" } = decision
      const { callId = "" } = held.find((waiting) => waiting.requestId === requestId) ?? {}
      const isEdit = decision.decision === "edit"
      const facts = { requestId, digest, callId, toolName: "pay", decision: decision.decision, by, note, at: AT }
      const records = [
        { type: "approval", ...facts, ...(isEdit && { args: decision.args }) },
        { type: "approval_grant", key, effect: "allow", scope: "turn", turn: 0, by, at: AT },
        { type: "approval_grant_revoked", key, by, at: AT },
      ]
      return [
        { type: "append_events", events: records.map((event) => ({ type: "protocol", event })) },
        isEdit ? { type: "release_calls", requestIds: [requestId], by } : { type: "settle_calls", results: [result(callId, "Too much.")], by },
      ]
    }),
  onToolResults: (_context, results) => [
    { type: "finish", outcome: { type: "finished", finish: { type: "submitted_value", value: results.map(({ args }) => args) } } },
  ],
}

export const HELD_CONFIG: TurnConfig = { driver: DRIVER, projector: chatProjector, validation: wireValidation, model: "large" }
export const HELD_START: TurnStart = { messages: [] }

/** The next answer to the batch, by what is still open: decisions, then reports about the calls that may run, then their results. */
export function heldAnswer(effect: AnswerableEffect): Response {
  if (effect.type !== "tool_calls") throw new Error(`The turn has only a batch, not ${effect.type}.`)
  const { id, calls, held = [], pending = [] } = effect
  const at = AT + 10 - held.length
  const [next] = held
  if (next !== undefined) {
    const facts = { requestId: next.requestId, digest: next.digest, by: "anna", note: "seen" }
    const rejected = { ...facts, decision: "reject", message: "Too much.", scope: "call" } as const
    return { type: "tool_decisions", id, at, decisions: [next.callId === "c" ? rejected : { ...facts, decision: "edit", args: { amount: 3 } }] }
  }
  const [runnable] = calls
  if (runnable !== undefined) return { type: "tool_pending", id, at, callId: runnable.callId, token: `job-${runnable.callId}`, note: "at the bank" }
  const [done] = pending
  if (done === undefined) throw new Error("The batch has no open call.")
  const { token: _token, note: _note, ...pay } = done
  return { type: "tool_results", id, at: at + pending.length, results: [{ ...pay, output: { status: "success", value: "paid" }, durationMs: 4 }] }
}
