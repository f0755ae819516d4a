import { type AgentContext, methods, type PermissionOption, type RequestPermissionResponse, type ToolCallUpdate } from "@agentclientprotocol/sdk"
import type { Decision } from "turn-machine/drivers/approval"
import type { HeldCall } from "turn-machine/schemas"

/** How a session decides about calls that change something. */
export type Mode = "ask" | "auto" | "read-only"

export const MODES: readonly { readonly id: Mode; readonly name: string; readonly description: string }[] = [
  { id: "ask", name: "Ask", description: "Asks before it writes a file, runs a command or uses a tool that may change something." },
  { id: "auto", name: "Auto", description: "Does everything without a question." },
  { id: "read-only", name: "Read only", description: "Changes nothing: what would need a question is rejected." },
]

/** What a mode decides without the client; `undefined`: the client is asked. */
export function decisionOfMode(mode: Mode, { requestId, digest }: HeldCall): Decision | undefined {
  if (mode === "auto") return { requestId, digest, decision: "approve", by: "mode auto" }
  if (mode === "read-only")
    return {
      requestId,
      digest,
      decision: "reject",
      by: "mode read-only",
      message: "The session is in read-only mode. Only look, and say what you would change.",
    }
  return undefined
}

/** The options that a held call allows. An answer for always is a grant: it holds for the tool in the whole session. */
export function optionsOf({ toolName, ask }: HeldCall): PermissionOption[] {
  const isGrant = ask.scopes.includes("thread")
  const options: PermissionOption[] = []
  if (ask.allow.includes("approve")) {
    options.push({ optionId: "allow_once", name: "Allow", kind: "allow_once" })
    if (isGrant) options.push({ optionId: "allow_always", name: `Always allow ${toolName} in this session`, kind: "allow_always" })
  }
  if (ask.allow.includes("reject")) {
    options.push({ optionId: "reject_once", name: "Reject", kind: "reject_once" })
    if (isGrant) options.push({ optionId: "reject_always", name: `Always reject ${toolName} in this session`, kind: "reject_always" })
  }
  return options
}

export interface Question {
  readonly sessionId: string
  readonly held: HeldCall
  readonly toolCall: ToolCallUpdate
  /** Aborted when the answer is no longer needed. */
  readonly signal: AbortSignal
}

/** Asks the client about a held call. `cancelled`: the client ended the turn. What is not an answer to the question rejects the call. */
export async function askClient(client: AgentContext, { sessionId, held, toolCall, signal }: Question): Promise<Decision | "cancelled"> {
  const { requestId, digest } = held
  const rejected = (message: string): Decision => ({ requestId, digest, decision: "reject", by: "agent", message })
  const options = optionsOf(held)
  let response: RequestPermissionResponse
  try {
    const request = { sessionId, toolCall, options }
    response = await client.request(methods.client.session.requestPermission, request, { cancellationSignal: signal, stopWaitingOnCancel: true })
  } catch (error) {
    if (signal.aborted) throw error
    console.error(`${sessionId}: the client did not answer a request for permission:`, error)
    return rejected("The user could not be asked.")
  }
  const { outcome } = response
  if (outcome.outcome === "cancelled") return "cancelled"
  const option = options.find(({ optionId }) => optionId === outcome.optionId)
  if (option === undefined) return rejected("The user's answer could not be understood.")
  const scope = option.kind.endsWith("always") ? "thread" : "call"
  return { requestId, digest, decision: option.kind.startsWith("allow") ? "approve" : "reject", scope, by: "user" }
}
