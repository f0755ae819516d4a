import { ANSWERS, isAnswerTo, type ResponseType } from "../machine/transitions.ts"
import type { DriverAction } from "../wire/action.ts"
import type { Decision } from "../wire/approval.ts"
import type { TurnCheckpoint } from "../wire/checkpoint.ts"
import type { ToolCalls } from "../wire/effect.ts"
import type { Message } from "../wire/message.ts"
import type { Response } from "../wire/response.ts"
import type { CompletedToolCall } from "../wire/tool.ts"
import type { TestedMachine, TurnInput } from "./turn-input.ts"

/** An input that a turn must refuse, and the code it must refuse it with. */
export interface Refusal {
  readonly what: string
  readonly input: Extract<TurnInput, { type: "respond" | "apply" | "redirect" }>
  readonly code: string
}

/** The inputs that a turn must refuse in its current state. */
export function refusalsOf(machine: TestedMachine): readonly Refusal[] {
  const { outstanding, done } = machine
  const { state, nextEffectId } = machine.checkpoint()
  const id = outstanding?.id ?? 1
  const refusals: Refusal[] = [
    ...malformed(id),
    respond("an id that was never issued", sample("llm_complete", nextEffectId), "unknown_effect"),
    respond("the largest id", sample("checkpoint_delivery", Number.MAX_SAFE_INTEGER), "unknown_effect"),
    respond("id 0", sample("exec_result", 0), "unknown_effect"),
    { what: "invalid actions", input: { type: "apply", actions: [{ type: "nonsense" }] as never }, code: "invalid_actions" },
    { what: "an action that starts work", input: { type: "apply", actions: [START] }, code: done ? "turn_finished" : "action_starts_work" },
    { what: "an action after a finish", input: { type: "apply", actions: [END, END] }, code: done ? "turn_finished" : "action_after_finish" },
  ]
  refusals.push(...badRedirections(done))
  if (outstanding === undefined) return refusals
  for (const type of RESPONSE_TYPES) {
    if (!isAnswerTo(outstanding, { type })) refusals.push(respond(`${type} for ${outstanding.type}`, sample(type, id), "unexpected_response"))
  }
  if (outstanding.type === "tool_calls")
    refusals.push(...badResults(outstanding, state), ...badReports(outstanding, state), ...badDecisions(outstanding, state))
  return refusals
}

const END: DriverAction = { type: "finish", outcome: { type: "stopped", stop: { type: "plugin_abort" } } }
const START: DriverAction = { type: "start_checkpoint", checkpoint: "after_work", onEmpty: { type: "prepare_iteration" } }
const RESPONSE_TYPES = Object.values(ANSWERS).flat()

const ANOTHER: Message = { id: "another", role: "user", parts: [{ id: "another.p0", type: "text", text: "Another one." }] }

/** Redirections without a message, with one of the model, or at no time; and each of a turn that has ended. */
function badRedirections(done: boolean): readonly Refusal[] {
  const refuse = (what: string, messages: readonly Message[], code = "invalid_response", at?: number): Refusal => ({
    what,
    input: { type: "redirect", messages, ...(at !== undefined && { at }) },
    code,
  })
  const refusals = [
    refuse("a redirection without a message", []),
    refuse("a redirection with a message of the model", [{ ...ANOTHER, role: "assistant" }]),
    refuse("a redirection at a time that is not finite", [ANOTHER], "invalid_response", Number.NaN),
  ]
  return done ? [...refusals, refuse("a redirection after the end", [ANOTHER], "turn_finished")] : refusals
}

function respond(what: string, response: unknown, code: string): Refusal {
  return { what, input: { type: "respond", response: response as Response }, code }
}

/** Values that are not a response, or whose id is invalid. */
function malformed(id: number): readonly Refusal[] {
  const values: readonly (readonly [what: string, value: unknown])[] = [
    ["null", null],
    ["a text", "llm_complete"],
    ["a list", []],
    ["an object without a type", { id }],
    ["an unknown type", { type: "nonsense", id }],
    ["a type from the prototype", { type: "constructor", id }],
    ["a response without its result", { type: "llm_complete", id }],
    ["a negative id", sample("llm_complete", -1)],
    ["an id that is not finite", sample("tool_results", Number.NaN)],
    ["an id that is a text", { ...sample("checkpoint_delivery", 1), id: String(id) }],
    ["half an id", sample("exec_result", 0.5)],
  ]
  return values.map(([what, value]) => respond(what, value, "invalid_response"))
}

/** A well-formed response of a type. */
function sample(type: ResponseType, id: number): Response {
  switch (type) {
    case "execution_surface_synced":
      return { type, id, result: { ok: true } }
    case "llm_complete":
      return { type, id, result: { ok: false, error: { message: "no answer", retryable: false, terminalReason: "provider_error" } } }
    case "tool_results":
      return { type, id, results: [] }
    case "tool_decisions":
      return { type, id, decisions: [] }
    case "tool_pending":
      return { type, id, callId: "", token: "" }
    case "exec_result":
      return { type, id, result: { ok: false, error: "no result" } }
    case "checkpoint_delivery":
      return { type, id, delivery: {} }
  }
}

/** Results of calls that do not exist, alone and after a valid one, and of a call that is already answered. */
function badResults(outstanding: ToolCalls, state: TurnCheckpoint["state"]): readonly Refusal[] {
  const { id, pending = [] } = outstanding
  const calls = [...outstanding.calls, ...pending]
  const unknown = result(unusedCallId(state))
  const missing = calls.map((call) => result(call.callId))
  const refusals = [
    respond("the result of a call that does not exist", { type: "tool_results", id, results: [unknown] }, "unknown_call"),
    respond("a valid result and one of an unknown call", { type: "tool_results", id, results: [...missing.slice(0, 1), unknown] }, "unknown_call"),
  ]
  const answered =
    state.type === "waiting_tools" ? state.results.find((given) => given !== null && calls.every((call) => call.callId !== given.callId)) : undefined
  const twice = answered?.callId ?? missing[0]?.callId
  if (twice === undefined) return refusals
  const open = calls.filter((call) => call.callId === twice).length
  const tooMany = Array.from({ length: open + 1 }, () => result(twice))
  return [...refusals, respond("one result more than there are calls", { type: "tool_results", id, results: tooMany }, "call_already_answered")]
}

/** Reports about calls that do not exist, that have their result, that wait for a decision, or that are pending under another token. */
function badReports({ id, held = [], pending = [] }: ToolCalls, state: TurnCheckpoint["state"]): readonly Refusal[] {
  const report = (what: string, callId: string, code: string, token = ""): Refusal =>
    respond(`a report about ${what}`, { type: "tool_pending", id, callId, token }, code)
  const refusals = [report("a call that does not exist", unusedCallId(state), "unknown_call")]
  const [undecided] = held
  if (undecided !== undefined) {
    refusals.push(report("a held call", undecided.callId, "call_is_held"))
    refusals.push(respond("the result of a held call", { type: "tool_results", id, results: [result(undecided.callId)] }, "call_is_held"))
  }
  const [outside] = pending
  if (outside !== undefined) refusals.push(report("a pending call, under another token", outside.callId, "call_is_pending", `${outside.token}!`))
  return refusals
}

/** Decisions about unknown and about changed calls, those that a call does not allow, and those that contradict an earlier one. */
function badDecisions({ id, held = [] }: ToolCalls, state: TurnCheckpoint["state"]): readonly Refusal[] {
  const decide = (what: string, code: string, ...decisions: readonly Decision[]): Refusal =>
    respond(what, { type: "tool_decisions", id, decisions }, code)
  const unknown: Decision = { requestId: `no request of ${unusedCallId(state)}`, digest: "", decision: "expired" }
  const refusals = [decide("a decision about an unknown request", "unknown_request", unknown)]
  const [call] = held
  if (call !== undefined) {
    const { requestId, digest, ask } = call
    const valid: Decision = { requestId, digest, decision: "cancelled" }
    refusals.push(decide("a valid decision and one about an unknown request", "unknown_request", valid, unknown))
    refusals.push(decide("a decision about a changed call", "digest_mismatch", { ...valid, digest: `${digest}!` }))
    refusals.push(decide("two contrary decisions", "call_already_decided", valid, { ...valid, decision: "expired" }))
    if (!ask.allow.includes("approve"))
      refusals.push(decide("an approval that is not allowed", "decision_not_allowed", { requestId, digest, decision: "approve" }))
    else if (!ask.scopes.includes("thread"))
      refusals.push(decide("an approval that reaches too far", "decision_not_allowed", { requestId, digest, decision: "approve", scope: "thread" }))
  }
  const { outstanding, decided = [] } = state.type === "waiting_tools" ? state : { outstanding: { held: [] } }
  const [first] = decided
  const digest = outstanding.held?.find(({ requestId }) => requestId === first?.requestId)?.digest
  if (first === undefined || digest === undefined) return refusals
  const decision = first.decision === "expired" ? "cancelled" : "expired"
  return [...refusals, decide("a decision that contradicts one", "call_already_decided", { requestId: first.requestId, digest, decision })]
}

function unusedCallId(state: TurnCheckpoint["state"]): string {
  const { calls, held = [] } = state.type === "waiting_tools" ? state.outstanding : { calls: [] }
  const used = [...calls, ...held].map((call) => call.callId)
  return `no call of ${used.join()}`
}

function result(callId: string): CompletedToolCall {
  return { callId, toolName: "tool", args: {}, output: { status: "success", value: "unwanted" }, durationMs: 0 }
}
