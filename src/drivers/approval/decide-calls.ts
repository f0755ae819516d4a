import type { Json } from "../../json.ts"
import type { DriverContext } from "../../machine/driver.ts"
import { isReached } from "../../machine/held.ts"
import type { DriverAction } from "../../wire/action.ts"
import type { ApprovalGrant, ApprovalRecord, Decision, HeldCall } from "../../wire/approval.ts"
import type { HistoryRecord } from "../../wire/message.ts"
import type { CompletedToolCall, ToolSpec } from "../../wire/tool.ts"
import { callDigest, grantKey } from "./digests.ts"
import { grantFor, grantsOf } from "./grants.ts"
import { type ApprovalSettings, toolsByName } from "./hold-calls.ts"
import { judge } from "./policy.ts"
import { approvalCancelled, approvalExpired, brokenEdit, deniedByGrant, deniedByPolicy, rejected, toolChanged } from "./results.ts"

/**
 * Applies decisions about held calls: each decided call is released or settled, and so is every other held call that a grant of these
 * decisions reaches. A call that is decided here itself follows its own decision.
 * @throws {DriverError} `policy_threw`, `invalid_policy_answer`
 */
export function decideCalls(
  settings: ApprovalSettings,
  context: DriverContext,
  held: readonly HeldCall[],
  decisions: readonly Decision[],
): readonly DriverAction[] {
  const tools = toolsByName(context.tools)
  const byRequest = new Map(held.map((call) => [call.requestId, call]))
  const records: HistoryRecord[] = []
  const made: ApprovalGrant[] = []
  const released: string[] = []
  const settled: CompletedToolCall[] = []
  for (const decision of decisions) {
    const call = byRequest.get(decision.requestId)
    if (call === undefined) continue
    byRequest.delete(decision.requestId)
    const isChanged = hasChanged(call, tools)
    const result = resultOf(settings, context, { call, decision, isChanged, tool: tools.get(call.toolName) })
    if (result === undefined) released.push(call.requestId)
    else settled.push(result)
    records.push(protocol(recordOf(context, call, decision)))
    const grant = isChanged ? undefined : grantOf(context, call, decision, tools)
    if (grant === undefined) continue
    made.push(grant)
    records.push(protocol(grant))
  }
  const actions: DriverAction[] = []
  if (released.length > 0) actions.push({ type: "release_calls", requestIds: released })
  if (settled.length > 0) actions.push({ type: "settle_calls", results: settled })
  if (made.length > 0) {
    for (const call of byRequest.values()) {
      const grant = grantFor(made, grantKey(call.toolName, tools.get(call.toolName)))
      if (grant === undefined || !isReached(call, grant)) continue
      const by = grant.by === undefined ? {} : { by: grant.by }
      actions.push(
        grant.effect === "allow"
          ? { type: "release_calls", requestIds: [call.requestId], ...by }
          : { type: "settle_calls", results: [deniedByGrant(call, grant)], ...by },
      )
      records.push(protocol(recordByGrant(context, call, grant)))
    }
  }
  return [{ type: "append_events", events: records }, ...actions]
}

/** A decision with what it is about. */
interface Decided {
  readonly call: HeldCall
  readonly decision: Decision
  /** Whether the tool is not the one that a person was asked about. */
  readonly isChanged: boolean
  readonly tool: ToolSpec | undefined
}

/** The result of a decided call that does not run; `undefined` if it runs. */
function resultOf(settings: ApprovalSettings, context: DriverContext, { call, decision, isChanged, tool }: Decided): CompletedToolCall | undefined {
  switch (decision.decision) {
    case "approve":
      return isChanged ? toolChanged(call) : undefined
    case "edit":
      return isChanged ? toolChanged(call) : editResult(settings, context, { call, args: decision.args, tool })
    case "reject":
      return rejected(call, decision.message, isChanged ? "call" : decision.scope)
    case "expired":
      return approvalExpired(call)
    case "cancelled":
      return approvalCancelled(call)
  }
}

/** The policy was not asked about these arguments. A person wrote them, so a hold counts as granted. */
function editResult(
  { policy }: ApprovalSettings,
  { events, iteration, iterationOffset }: DriverContext,
  { call, args, tool }: { readonly call: HeldCall; readonly args: Json; readonly tool: ToolSpec | undefined },
): CompletedToolCall | undefined {
  const isFree = call.ask.allow.includes("approve") && !isObject(call.args)
  if (!isObject(args) && !isFree) return brokenEdit(call)
  const { callId, toolName, replay } = call
  const edited = { callId, toolName, args, ...(replay !== undefined && { replay }) }
  const judgement = judge(policy, edited, { grants: grantsOf(events, iterationOffset), tool, iteration, edited: true })
  return judgement.type === "deny" ? deniedByPolicy(call, judgement.message, true) : undefined
}

function isObject(value: Json): boolean {
  return typeof value === "object" && value !== null && !Array.isArray(value)
}

/** Whether the tool of a held call has another description or schema than when a person was asked. */
function hasChanged(call: HeldCall, tools: ReadonlyMap<string, ToolSpec>): boolean {
  return callDigest(call, tools.get(call.toolName)) !== call.digest
}

/** The grant that a decision makes for other calls. */
function grantOf(
  { at, iterationOffset }: DriverContext,
  call: HeldCall,
  decision: Decision,
  tools: ReadonlyMap<string, ToolSpec>,
): ApprovalGrant | undefined {
  if (decision.decision !== "approve" && decision.decision !== "reject") return undefined
  const { scope = "call", by } = decision
  if (scope === "call") return undefined
  return {
    type: "approval_grant",
    key: grantKey(call.toolName, tools.get(call.toolName)),
    effect: decision.decision === "approve" ? "allow" : "deny",
    scope,
    ...(scope === "turn" && { turn: iterationOffset }),
    ...(by !== undefined && { by }),
    ...(at !== undefined && { at }),
  }
}

function recordOf({ at }: DriverContext, { callId, toolName, digest }: HeldCall, decision: Decision): ApprovalRecord {
  const { requestId, by, note } = decision
  return {
    type: "approval",
    requestId,
    callId,
    toolName,
    digest,
    decision: decision.decision,
    ...(decision.decision === "edit" && { args: decision.args }),
    ...("scope" in decision && decision.scope !== undefined && { scope: decision.scope }),
    ...(by !== undefined && { by }),
    ...(note !== undefined && { note }),
    ...(decision.decision === "reject" && decision.message !== undefined && { message: decision.message }),
    ...(at !== undefined && { at }),
  }
}

function recordByGrant(
  { at }: DriverContext,
  { requestId, callId, toolName, digest }: HeldCall,
  { effect, scope, by }: ApprovalGrant,
): ApprovalRecord {
  return {
    type: "approval",
    requestId,
    callId,
    toolName,
    digest,
    decision: effect === "allow" ? "approve" : "reject",
    scope,
    byGrant: true,
    ...(by !== undefined && { by }),
    ...(at !== undefined && { at }),
  }
}

function protocol(event: ApprovalRecord | ApprovalGrant): HistoryRecord {
  return { type: "protocol", event: event as unknown as Json }
}
