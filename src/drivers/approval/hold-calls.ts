import { DriverError } from "../../errors.ts"
import { resultsByCall } from "../../machine/batch.ts"
import type { DriverContext } from "../../machine/driver.ts"
import { quoted } from "../../text.ts"
import type { StartTools } from "../../wire/action.ts"
import type { ApprovalGrant, HoldCall } from "../../wire/approval.ts"
import type { CompletedToolCall, PendingToolCall, ToolSpec } from "../../wire/tool.ts"
import { callDigest, grantKey } from "./digests.ts"
import { grantFor } from "./grants.ts"
import { type ApprovalPolicy, judge } from "./policy.ts"
import { deniedByGrant, deniedByPolicy } from "./results.ts"

/** The options of an approval driver, checked. */
export interface ApprovalSettings {
  readonly policy: ApprovalPolicy
  /** Milliseconds. */
  readonly ttlMs: number | undefined
}

/** What the calls of a batch are judged with. */
interface Batch {
  readonly settings: ApprovalSettings
  readonly context: DriverContext
  readonly tools: ReadonlyMap<string, ToolSpec>
  readonly grants: readonly ApprovalGrant[]
}

/**
 * Asks the policy about the calls of a batch that are not settled: those to hold are added as held, denied ones as settled. Calls of tools
 * that a wrapper answers are left to it. Returns the same action if all calls run.
 * @throws {DriverError} `policy_threw`, `invalid_policy_answer`, `invalid_hold`, `missing_callback`
 */
export function holdCalls(settings: ApprovalSettings, context: DriverContext, start: StartTools, grants: readonly ApprovalGrant[]): StartTools {
  const { calls, settled = [], held: heldByInner = [], ...rest } = start
  if (heldByInner.length > 0) throw new DriverError("missing_callback", "A driver inside approvalDriver holds calls but has no onToolDecisions.")
  const batch: Batch = { settings, context, tools: toolsByName(context.tools), grants }
  const wrappersTools = toolsOfWrappers(context)
  const results = resultsByCall(settled)
  const reopened = new Set<CompletedToolCall>()
  const held: HoldCall[] = []
  const denied: CompletedToolCall[] = []
  for (const call of calls) {
    const result = results.get(call.callId)?.pop()
    if (wrappersTools.has(call.toolName)) continue
    if (result !== undefined && !isBroken(result)) continue
    const stop = result === undefined ? stopCall(batch, call) : stopBroken(batch, call)
    if (stop === undefined) continue
    if ("ask" in stop) held.push(stop)
    else denied.push(stop)
    if (result !== undefined) reopened.add(result)
  }
  if (held.length === 0 && denied.length === 0) return start
  refuseRepeated(calls, [...held, ...denied])
  const answered = settled.filter((result) => !reopened.has(result)).concat(denied)
  return { ...rest, calls, ...(answered.length > 0 && { settled: answered }), ...(held.length > 0 && { held }) }
}

/** The hold of a call that waits for a person, or the result of one that is denied; `undefined` if it runs. */
function stopCall(batch: Batch, call: PendingToolCall): HoldCall | CompletedToolCall | undefined {
  const { settings, context, tools, grants } = batch
  const tool = tools.get(call.toolName)
  const judgement = judge(settings.policy, call, { grants, tool, iteration: context.iteration })
  if (judgement.type === "deny") return deniedByPolicy(call, judgement.message)
  const grant = grants.length === 0 ? undefined : grantFor(grants, grantKey(call.toolName, tool))
  if (grant?.effect === "deny") return deniedByGrant(call, grant)
  if (judgement.type === "run" || (grant !== undefined && judgement.ask.scopes.includes(grant.scope))) return undefined
  return holdOf(batch, call, judgement.ask)
}

/**
 * The hold of a call whose arguments cannot be read, for a person who may edit them, or its result where a person denied all calls of the
 * tool. No grant lets it run as it is. `undefined`: it stays settled, as does a call of a tool that the host does not have: an inner driver
 * would have answered it.
 */
function stopBroken(batch: Batch, call: PendingToolCall): HoldCall | CompletedToolCall | undefined {
  const { settings, context, tools, grants } = batch
  if (!context.hostTools.some(({ name }) => name === call.toolName)) return undefined
  const tool = tools.get(call.toolName)
  const judgement = judge(settings.policy, call, { grants, tool, iteration: context.iteration, broken: true })
  if (judgement.type !== "hold") return undefined
  const grant = grants.length === 0 ? undefined : grantFor(grants, grantKey(call.toolName, tool))
  return grant?.effect === "deny" ? deniedByGrant(call, grant) : holdOf(batch, call, judgement.ask)
}

function holdOf({ settings: { ttlMs }, context: { at }, tools }: Batch, call: PendingToolCall, ask: HoldCall["ask"]): HoldCall {
  // A checkpoint could not hold a later time.
  const expiry = ttlMs === undefined || at === undefined ? {} : { expiresAt: Math.min(at + ttlMs, Number.MAX_SAFE_INTEGER) }
  return { callId: call.callId, digest: callDigest(call, tools.get(call.toolName)), ask: { ...ask, ...expiry } }
}

/** The tools by name. Of two with one name the first is shown to the model. */
export function toolsByName(tools: readonly ToolSpec[]): ReadonlyMap<string, ToolSpec> {
  return new Map([...tools].reverse().map((tool) => [tool.name, tool]))
}

/** The names of the tools that wrappers outside this driver answer. */
function toolsOfWrappers({ tools, hostTools }: DriverContext): ReadonlySet<string> {
  if (tools === hostTools) return NO_NAMES
  const ofHost = new Set(hostTools.map(({ name }) => name))
  return new Set(tools.flatMap(({ name }) => (ofHost.has(name) ? [] : [name])))
}

const NO_NAMES: ReadonlySet<string> = new Set()

/** Whether the inner driver settled a call because its arguments cannot be read. */
function isBroken({ output }: CompletedToolCall): boolean {
  return output.status === "failure" && output.failure.code === "broken_arguments" && output.failure.source === "runtime"
}

/** The results of a batch are matched by call id: with two calls of one id, the wrong one could run. */
function refuseRepeated(calls: readonly PendingToolCall[], stopped: readonly { readonly callId: string }[]): void {
  const counts = new Map<string, number>()
  for (const { callId } of calls) counts.set(callId, (counts.get(callId) ?? 0) + 1)
  const repeated = stopped.find(({ callId }) => counts.get(callId) !== 1)
  if (repeated === undefined) return
  const name = quoted(repeated.callId)
  throw new DriverError("invalid_hold", `The approval policy holds or denies the call ${name}, and its batch has another call with this id.`)
}
