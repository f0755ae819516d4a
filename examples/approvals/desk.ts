import type { ToolSpec } from "turn-machine"
import { isToolChanged } from "turn-machine/drivers/approval"
import { ApprovalSignatureError, type SignedRequest, signRequest, verifyDecision } from "turn-machine/hosts/approval"
import { type DecisionResult, pendingApprovals, TurnJournal } from "turn-machine/hosts/journal"
import type { Place } from "./agent.ts"

/** Signs what a client gets. A real host has a random secret of its own. */
const SECRET = process.env["APPROVAL_SECRET"] ?? "the secret of this example"

/** An open request as a client gets it: what to show, and what to send back. */
export interface OpenRequest {
  readonly callId: string
  readonly summary: string
  readonly args: unknown
  /** What a person may do: approve, edit, reject. */
  readonly allow: readonly string[]
  /** Sent back unchanged with the decision. */
  readonly request: SignedRequest
}

/** What `GET /approvals` of a web server would return. It reads the journals, and runs nothing. */
export async function openRequests({ store }: Place): Promise<readonly OpenRequest[]> {
  const open: OpenRequest[] = []
  for await (const turn of pendingApprovals(store)) {
    if (turn.error !== undefined) throw turn.error
    for (const held of turn.held) {
      const { callId, args, ask } = held
      const request = await signRequest(SECRET, { turnId: turn.turnId, held })
      open.push({ callId, summary: ask.summary ?? callId, args, allow: ask.allow, request })
    }
  }
  return open
}

/**
 * What `POST /approvals` of a web server would do with the body `{ request, decision }`. `user` is who is signed in; what the body says about
 * that does not count. `tools` are those of the deployed agent.
 */
export async function decide(body: Request, { store }: Place, user: string, tools: readonly ToolSpec[]): Promise<Response> {
  const { request, decision: claimed } = (await body.json()) as { readonly request: unknown; readonly decision: unknown }
  try {
    const { turnId, decision } = await verifyDecision(SECRET, { request, decision: claimed }, { now: Date.now(), by: user })
    // In this example, the turn's id is also the name of its journal.
    for await (const turn of pendingApprovals(store, { prefix: turnId })) {
      const call = turn.error === undefined && turn.name === turnId ? turn.held.find(({ requestId }) => requestId === decision.requestId) : undefined
      if (call !== undefined && decision.decision !== "reject" && isToolChanged(call, tools))
        return Response.json({ status: "refused", code: "tool_changed", message: `The tool ${call.toolName} has changed since.` }, { status: 409 })
    }
    const journal = await TurnJournal.open(store, turnId, { waitMs: 10_000 })
    try {
      const [result] = (await journal.decide([decision])) as readonly [DecisionResult]
      return Response.json(result, { status: result.status === "refused" ? 409 : 200 })
    } finally {
      await journal.close()
    }
  } catch (error) {
    if (!(error instanceof ApprovalSignatureError)) throw error
    return Response.json({ status: "refused", code: error.code, message: error.message }, { status: 403 })
  }
}
