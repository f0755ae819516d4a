import { chatDriver } from "../../drivers/chat.ts"
import { wrapDriver } from "../../drivers/wrap-driver.ts"
import type { ProtocolDriver } from "../../machine/driver.ts"
import type { DriverAction } from "../../wire/action.ts"
import type { Ask, HoldCall } from "../../wire/approval.ts"
import type { FailedOutput, PendingToolCall } from "../../wire/tool.ts"

const ASK: Ask = { allow: ["approve", "reject"], scopes: ["call"] }

const REJECTED: FailedOutput = {
  status: "failure",
  failure: { class: "permission_denied", code: "rejected", message: "A person rejected the call.", source: "policy", retry: { type: "never" } },
}

/** The chat driver, with calls that wait for a decision: approved ones run, others fail as rejected. An approval after `expiresAt` is none. */
export function holdingDriver(isHeld: (call: PendingToolCall) => boolean, expiresAt?: number): ProtocolDriver {
  const ask: Ask = { ...ASK, ...(expiresAt !== undefined && { expiresAt }) }
  const hold = (action: DriverAction): DriverAction => {
    if (action.type !== "start_tools") return action
    const held = action.calls.filter(isHeld).map(({ callId }): HoldCall => ({ callId, digest: `digest of ${callId}`, ask }))
    return held.length === 0 ? action : { ...action, held }
  }
  const onToolDecisions: ProtocolDriver["onToolDecisions"] = (_context, { held }, decisions) =>
    decisions.map(({ requestId, decision }): DriverAction => {
      if (decision === "approve") return { type: "release_calls", requestIds: [requestId] }
      const results = held.flatMap(({ callId, toolName, args, ...call }) =>
        call.requestId === requestId ? [{ callId, toolName, args, output: REJECTED, durationMs: 0 }] : [],
      )
      return { type: "settle_calls", results }
    })
  const holding = wrapDriver(chatDriver(), { name: "holding(chat)", onLlmComplete: (next, ...given) => next(...given).map(hold) })
  return wrapDriver({ ...holding, onToolDecisions }, {})
}
