import { chatDriver } from "../../src/drivers/chat.ts"
import type { ProtocolDriver } from "../../src/machine/driver.ts"
import { chatProjector } from "../../src/projectors/chat.ts"
import type { DriverAction } from "../../src/wire/action.ts"
import type { Decision, HeldCall } from "../../src/wire/approval.ts"
import type { LlmResponse } from "../../src/wire/llm.ts"
import type { CompletedToolCall, PendingToolCall } from "../../src/wire/tool.ts"

/** What a policy answers about a call. */
export type Answer = "run" | "hold" | "deny"

/** A driver that holds calls as a policy says, without more: to see what a host and its journal do with held calls. `asked`: receives each question. */
export function holding(policy: (call: PendingToolCall) => Answer, { expiresAt }: { readonly expiresAt?: number } = {}): ProtocolDriver {
  const inner = chatDriver()
  const denied = (call: PendingToolCall, code = "denied_by_policy"): CompletedToolCall => ({
    ...call,
    output: { status: "failure", failure: { class: "permission_denied", code, message: `No: ${code}.`, source: "policy", retry: { type: "never" } } },
    durationMs: 0,
  })
  return {
    ...inner,
    name: "holding",
    onLlmComplete: (context, waiting, response, textStreamed) =>
      inner.onLlmComplete(context, waiting, response, textStreamed).map((action): DriverAction => {
        if (action.type !== "start_tools") return action
        const answers = new Map(action.calls.map((call) => [call, policy(call)]))
        const held = action.calls
          .filter((call) => answers.get(call) === "hold")
          .map((call) => ({ callId: call.callId, digest: digestOf(call), ask: ask(expiresAt) }))
        const settled = action.calls.filter((call) => answers.get(call) === "deny").map((call) => denied(call))
        return { ...action, held, settled: [...(action.settled ?? []), ...settled] }
      }),
    onToolDecisions(_context, { held }, decisions) {
      const exact = new Set(decisions.map(({ requestId }) => requestId))
      return decisions.flatMap((decision) => {
        const call = held.find(({ requestId }) => requestId === decision.requestId) as HeldCall
        const isWide = "scope" in decision && decision.scope !== undefined && decision.scope !== "call"
        const reached = isWide ? held.filter((other) => other.toolName === call.toolName && !exact.has(other.requestId)) : []
        return [call, ...reached].flatMap((each) => conclude(each, decision))
      })
    },
  }

  function conclude({ requestId, callId, toolName, args }: HeldCall, decision: Decision): readonly DriverAction[] {
    const by = decision.by === undefined ? {} : { by: decision.by }
    if (decision.decision === "approve") return [{ type: "release_calls", requestIds: [requestId], ...by }]
    const edited = { callId, toolName, args: decision.decision === "edit" ? decision.args : args }
    if (decision.decision === "edit" && policy(edited) !== "deny") return [{ type: "release_calls", requestIds: [requestId] }]
    const code = decision.decision === "edit" ? "denied_by_policy" : decision.decision
    return [{ type: "settle_calls", results: [denied(edited, code)], ...by }]
  }
}

function ask(expiresAt: number | undefined): HeldCall["ask"] {
  return { allow: ["approve", "edit", "reject"], scopes: ["call", "turn", "thread"], ...(expiresAt !== undefined && { expiresAt }) }
}

function digestOf({ toolName, args }: PendingToolCall): string {
  return `digest of ${toolName} ${JSON.stringify(args)}`
}

/** A decision about a held call. */
export function decide(call: Pick<HeldCall, "requestId" | "digest">, decision: object = {}): Decision {
  return { requestId: call.requestId, digest: call.digest, decision: "approve", ...decision } as Decision
}

/** The configuration of a turn under {@link holding}. */
export function heldConfig(policy: (call: PendingToolCall) => Answer, options: { readonly expiresAt?: number } = {}) {
  const spec = (name: string) => ({ name, description: name, inputSchema: { type: "object" } })
  return { driver: holding(policy, options), projector: chatProjector, model: "scripted", tools: ["pay", "look", "ship"].map(spec) }
}

export const USER_START = {
  messages: [{ id: "u", role: "user" as const, parts: [{ id: "u.p0", type: "text" as const, text: "Go." }] }],
}

const USAGE = { inputTokens: 5, cachedInputTokens: 0, outputTokens: 2, reasoningTokens: 0 }

/** An answer of a model that calls tools: `pay:p1` is the call `p1` of the tool `pay`. Without calls, it ends the turn. */
export function calling(...calls: readonly string[]): LlmResponse {
  const parts = calls.map((call) => {
    const [toolName = "", callId = ""] = call.split(":")
    return { type: "tool_call", callId, toolName, inputJson: JSON.stringify({ for: callId }) } as const
  })
  return { text: parts.length === 0 ? "Done." : "", parts, usage: USAGE, terminalReason: parts.length === 0 ? "stop" : "tool_use" }
}
