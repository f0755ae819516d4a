import { wireValidation } from "../../checks/validation.ts"
import { canonicalJson, type Json } from "../../json.ts"
import type { WaitingTools } from "../../machine/batch.ts"
import { decisionOf, placeDecisions } from "../../machine/held.ts"
import type { TurnMachine } from "../../machine/turn-machine.ts"
import { latest, type OpenBatch } from "../../replay/open-batch.ts"
import type { Decision } from "../../wire/approval.ts"
import type { Response, ToolDecisions, ToolResults } from "../../wire/response.ts"
import type { CompletedToolCall } from "../../wire/tool.ts"
import { type ToolAnswer, ToolError } from "../host.ts"
import { changedTool, type TurnTools } from "../run/changed-tool.ts"
import { ownJson } from "../run/plain-json.ts"

/**
 * Why an answer from outside does not count. `tool_changed`: an approval or an edit, and the tool that would run is not the one that was asked
 * about; the call can be rejected. `turn_not_begun`, `turn_finished`, `not_waiting_for_tools`: the turn is not where it could.
 * `approval_expired`: it counts, as `expired`, because it came too late.
 */
export type OutsideAnswerCode =
  | "unknown_request"
  | "digest_mismatch"
  | "decision_not_allowed"
  | "call_already_decided"
  | "approval_expired"
  | "tool_changed"
  | "unknown_call"
  | "call_already_answered"
  | "call_is_held"
  | "call_not_pending"
  | "turn_not_begun"
  | "turn_finished"
  | "not_waiting_for_tools"

/**
 * The result of an answer. `accepted`: it is stored. `stale`: the same one was stored before. `refused`: nothing was stored, and `code` and
 * `message` say why.
 */
export interface OutsideAnswerResult {
  readonly status: "accepted" | "stale" | "refused"
  readonly code?: OutsideAnswerCode
  /** For people. */
  readonly message?: string
}

/** The result of one decision. */
export interface DecisionResult extends OutsideAnswerResult {
  readonly requestId: string
}

/** A turn that takes answers from outside, as far as it is known. */
export interface AnsweredTurn {
  /** The batch that the turn waits for. */
  readonly batch: WaitingTools | undefined
  /** The latest time that the turn knows. */
  readonly at: number | undefined
  readonly tools: TurnTools
  /** What the turn is if it does not wait for a batch. */
  readonly otherwise: Pick<OutsideAnswerResult, "code" | "message">
  /** The decisions of the turn, and the results of calls that continued outside, in their order. */
  readonly records: readonly (ToolDecisions | ToolResults)[]
}

/** A turn as the records of its journal show it, without its driver. */
export class RecordedBatch {
  #open: OpenBatch | undefined
  readonly #toolsNow: TurnTools["now"]

  constructor(open: OpenBatch | undefined, toolsNow: TurnTools["now"]) {
    this.#open = open
    this.#toolsNow = toolsNow
  }

  get batch(): WaitingTools | undefined {
    return this.#open?.state
  }

  get at(): number | undefined {
    return this.#open?.at
  }

  get tools(): TurnTools {
    return { shown: this.#open?.tools ?? [], now: this.#toolsNow }
  }

  apply(response: Response): void {
    this.#open = this.#open?.after(response)
  }
}

/** A turn as a machine has it. */
export class MachineBatch {
  readonly #machine: TurnMachine
  readonly #toolsNow: TurnTools["now"]

  constructor(machine: TurnMachine, toolsNow: TurnTools["now"]) {
    this.#machine = machine
    this.#toolsNow = toolsNow
  }

  get batch(): WaitingTools | undefined {
    const { state } = this.#machine.turn.position
    return state.type === "waiting_tools" ? state : undefined
  }

  get at(): number | undefined {
    return this.#machine.turn.position.at
  }

  get tools(): TurnTools {
    return { shown: this.#machine.turn.surface.tools, now: this.#toolsNow }
  }

  apply(response: Response): void {
    this.#machine.handle(response)
  }
}

/** What an answer becomes: a response to record, or the reason why not. */
export type Outside<Result> = { readonly response: Response; readonly result: Result } | { readonly response?: undefined; readonly result: Result }

/** Checks the shape of decisions, and orders them: one that may reach other calls follows the exact ones, which win. @throws {SchemaError} `invalid_response` */
export function checkedDecisions(decisions: readonly Decision[]): readonly Decision[] {
  const response = wireValidation.response({ type: "tool_decisions", id: 1, decisions: ownJson(decisions) })
  return response.type === "tool_decisions" ? response.decisions : []
}

/** Finds the response for one decision. Nothing is changed. */
export function outsideDecision(turn: AnsweredTurn, decision: Decision, at: number): Outside<DecisionResult> {
  const { requestId } = decision
  const { batch } = turn
  const refused = (code: OutsideAnswerCode | undefined, message: string | undefined): Outside<DecisionResult> => ({
    result: { requestId, status: "refused", ...(code !== undefined && { code }), ...(message !== undefined && { message }) },
  })
  const known = latest(turn.at, at)
  const placed = batch && placeDecisions(batch, [decision], known)
  if (batch === undefined || placed?.refused?.why === "unknown_request") {
    const earlier = earlierDecision(turn.records, decision)
    if (earlier !== undefined) return { result: { requestId, ...earlier } }
    return batch === undefined ? refused(turn.otherwise.code, turn.otherwise.message) : refused("unknown_request", placed?.refused?.message)
  }
  if (placed?.refused !== undefined) return refused(placed.refused.why, placed.refused.message)
  const counted = placed?.decisions[0]
  if (counted === undefined) return { result: { requestId, status: "stale" } }
  const call = batch.outstanding.held?.find((held) => held.requestId === requestId)
  const changed = call && changedTool(call, counted, turn.tools)
  if (changed !== undefined) return refused("tool_changed", changed)
  const response: ToolDecisions = { type: "tool_decisions", id: batch.outstanding.id, at, decisions: [decision] }
  if (counted.decision === decision.decision) return { response, result: { requestId, status: "accepted" } }
  const message = "The approval came after the time limit of the request. It counts as expired, and the call does not run."
  return { response, result: { requestId, status: "accepted", code: "approval_expired", message } }
}

/** The result of a decision about a call of an earlier batch, if its first decision is in the records. */
function earlierDecision(records: AnsweredTurn["records"], decision: Decision): OutsideAnswerResult | undefined {
  for (const record of records) {
    const first = record.type === "tool_decisions" ? record.decisions.find(({ requestId }) => requestId === decision.requestId) : undefined
    if (first === undefined) continue
    if (first.digest !== decision.digest) return undefined
    const isSame = first.decision === decision.decision && argsOf(first) === argsOf(decision)
    if (isSame) return { status: "stale" }
    const by = first.by === undefined ? "" : ` by ${JSON.stringify(first.by)}`
    return { status: "refused", code: "call_already_decided", message: `The call is decided already: ${first.decision}${by}.` }
  }
  return undefined
}

function argsOf(decision: Decision): string {
  return decision.decision === "edit" ? canonicalJson(decision.args) : ""
}

/** Finds the response for the result of a call that continued outside. `since`: when it did. Nothing is changed. */
export function outsideResult(
  turn: AnsweredTurn,
  callId: string,
  answer: ToolAnswer | ToolError,
  { at, since }: { readonly at: number; readonly since: number | undefined },
): Outside<OutsideAnswerResult> {
  const { batch } = turn
  const given = resultOf(answer)
  const call = batch?.pending.find((pending) => pending.callId === callId)
  if (batch !== undefined && call !== undefined) {
    const { token: _token, note: _note, ...rest } = call
    const result = { ...rest, ...given, durationMs: since === undefined ? 0 : Math.max(0, at - since) }
    const response = wireValidation.response({ type: "tool_results", id: batch.outstanding.id, at, results: [result] })
    return { response, result: { status: "accepted" } }
  }
  const earlier = lastResult(turn.records, callId, batch?.outstanding.id)
  if (earlier !== undefined) {
    const isSame = textOf(earlier) === textOf(given)
    if (isSame) return { result: { status: "stale" } }
    return { result: { status: "refused", code: "call_already_answered", message: `The call ${JSON.stringify(callId)} has another result already.` } }
  }
  if (batch === undefined) return { result: { status: "refused", ...turn.otherwise } }
  return { result: { status: "refused", ...whyNotPending(batch, callId) } }
}

/** The last result of a call. `id`: of the batch that the turn waits for; a result of an earlier batch is then one of another call. */
function lastResult(records: AnsweredTurn["records"], callId: string, id: number | undefined): CompletedToolCall | undefined {
  return records
    .flatMap((record) => (record.type === "tool_results" && (id === undefined || record.id === id) ? record.results : []))
    .findLast((result) => result.callId === callId)
}

function whyNotPending(batch: WaitingTools, callId: string): Pick<OutsideAnswerResult, "code" | "message"> {
  const name = JSON.stringify(callId)
  const index = batch.calls.findIndex((call) => call.callId === callId)
  if (index < 0) return { code: "unknown_call", message: `The turn waits for no call ${name}.` }
  if (batch.results[index] != null) return { code: "call_already_answered", message: `The call ${name} has its result already.` }
  const { isHeld, decided } = decisionOf(batch, callId)
  if (isHeld && decided === undefined) return { code: "call_is_held", message: `The call ${name} waits for a decision, and has not run.` }
  return { code: "call_not_pending", message: `The call ${name} runs in the process that runs the turn, which stores its result.` }
}

function resultOf(answer: ToolAnswer | ToolError): Pick<CompletedToolCall, "output" | "modelReturn" | "usage"> {
  const { output, modelReturn, usage } = answer instanceof ToolError ? { output: { status: "failure", failure: answer.failure } as const } : answer
  if (output?.status === "pending") throw new TypeError("The answer of a pending call is its result; pending is none.")
  const own = ownJson({ output, ...(modelReturn !== undefined && { modelReturn }), ...(usage !== undefined && { usage }) })
  return own as unknown as ReturnType<typeof resultOf>
}

function textOf({ output, modelReturn }: Pick<CompletedToolCall, "output" | "modelReturn">): string {
  return canonicalJson([output, modelReturn ?? null] as unknown as Json)
}
