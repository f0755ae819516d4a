/** The results of calls that do not run. The model reads them, so each says what not to do next. */

import { cutMiddle, isBlank, trim } from "../../text.ts"
import type { ApprovalGrant, ApprovalScope } from "../../wire/approval.ts"
import type { CompletedToolCall, PendingToolCall, ToolFailure } from "../../wire/tool.ts"

const MESSAGE_LENGTH = 10_000

/** The policy denies the call. `edited`: with the arguments that a person wrote. */
export function deniedByPolicy(call: PendingToolCall, message: string, edited = false): CompletedToolCall {
  const what = edited
    ? "The user changed the arguments of this call, and the policy does not allow it with them"
    : "The policy does not allow this call"
  return failed(call, denied("denied_by_policy", `${what}, so it did not run.${said(message)} ${NOT_AGAIN}`))
}

/** A grant denies all calls of the tool. */
export function deniedByGrant(call: PendingToolCall, { scope }: Pick<ApprovalGrant, "scope">): CompletedToolCall {
  const where = scope === "turn" ? "in this turn" : "in this conversation"
  const message = `The user rejected all calls of this tool ${where}, so this one did not run. Do not call the tool again. Continue without it, or ask the user.`
  return failed(call, denied("denied_by_grant", message))
}

/** A person rejected the call. `message` is theirs. */
export function rejected(call: PendingToolCall, message: string | undefined, scope: ApprovalScope = "call"): CompletedToolCall {
  const reach = scope === "call" ? "" : ` All calls of this tool are rejected ${scope === "turn" ? "in this turn" : "in this conversation"}.`
  const why = message === undefined || isBlank(message) ? "" : `\nThe user says: ${short(message)}`
  return failed(call, denied("rejected", `The user rejected this call, so it did not run.${reach} ${NOT_AGAIN}${why}`))
}

/** No decision came in time. */
export function approvalExpired(call: PendingToolCall): CompletedToolCall {
  const message = "This call needs the user's approval, which did not come in time, so it did not run."
  return failed(call, denied("approval_expired", `${message} Continue without it, or tell the user what you would do and wait for an answer.`))
}

/** The tool is not the one that a person was asked about. */
export function toolChanged(call: PendingToolCall): CompletedToolCall {
  const message = "The tool changed after the user was asked about this call, so it did not run."
  return failed(call, denied("tool_changed", `${message} Read the tool's description; if the call is still needed, call it again.`))
}

/** A person wrote arguments that no tool takes. */
export function brokenEdit(call: PendingToolCall): CompletedToolCall {
  const message = "The user changed the arguments of this call, and they are not a JSON object, so it did not run."
  return failed(call, {
    class: "invalid_request",
    code: "broken_arguments",
    message: `${message} Ask the user what they want.`,
    source: "policy",
    retry: { type: "never" },
  })
}

/** A host withdrew the question. */
export function approvalCancelled(call: PendingToolCall): CompletedToolCall {
  const message = "The request for the user's approval was cancelled, so this call did not run."
  return { ...bare(call), output: { status: "cancelled", message, source: "cancellation" }, durationMs: 0 }
}

const NOT_AGAIN = "Do not make the same call again. Find another way, or ask the user."

function said(message: string): string {
  return isBlank(message) ? "" : ` ${short(message)}`
}

function short(message: string): string {
  return cutMiddle(trim(message), MESSAGE_LENGTH)
}

function denied(code: string, message: string): ToolFailure {
  return { class: "permission_denied", code, message, source: "policy", retry: { type: "never" } }
}

function failed(call: PendingToolCall, failure: ToolFailure): CompletedToolCall {
  return { ...bare(call), output: { status: "failure", failure }, durationMs: 0 }
}

/** A held call has more than its result repeats. */
function bare({ callId, toolName, args, replay }: PendingToolCall): PendingToolCall {
  return replay === undefined ? { callId, toolName, args } : { callId, toolName, args, replay }
}
