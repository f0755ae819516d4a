import { ProtocolError } from "../../errors.ts"
import { addKnown, NO_USAGE } from "../../machine/limits.ts"
import { estimateUsage } from "../../machine/usage-estimate.ts"
import { isBlank, trim } from "../../text.ts"
import type { ChecklistState, Evaluation, Finding, JudgedTurn, Judgement, JudgeState, JudgeValidation } from "../../wire/checklist.ts"
import type { LlmCall } from "../../wire/effect.ts"
import type { LlmFailure, LlmRequest, LlmResponse, OutputPart, TokenUsage } from "../../wire/llm.ts"
import type { Part } from "../../wire/message.ts"
import type { LlmComplete, Response } from "../../wire/response.ts"
import { fingerprint } from "../fingerprint.ts"
import { isActive, isTerminal } from "./checklist.ts"
import { answerHistoryCall } from "./history.ts"
import {
  decomposeRequest,
  evaluateRequest,
  freeformRequest,
  historyToolName,
  LAST_ATTEMPT,
  rejectsChoice,
  SUBMIT_CHECKLIST,
  UPDATE_CHECKLIST,
} from "./judge-request.ts"
import { isToolName } from "./odd-answers.ts"
import { shorten } from "./prompts.ts"
import { type ChecklistSettings, LIMITS } from "./settings.ts"
import {
  type ChecklistVerdict,
  type FreeformVerdict,
  type Read,
  readFreeformCalls,
  readFreeformText,
  readItemCalls,
  readItemsText,
  readVerdictCalls,
  readVerdictText,
  type Stance,
} from "./verdict.ts"

export type JudgeStateName = JudgeState["type"]
type Waiting<Name extends JudgeStateName> = Extract<JudgeState, { type: Name; outstanding: LlmCall }>
type ToolCall = Extract<OutputPart, { type: "tool_call" }>
type Answer = LlmComplete["result"]

interface JudgeRule<Name extends JudgeStateName> {
  run(settings: ChecklistSettings, evaluation: Evaluation, state: Waiting<Name>, answer: Answer): Evaluation
  readonly next: readonly JudgeStateName[]
}
type JudgeTable = { readonly [Name in JudgeStateName]: { readonly llm_complete?: JudgeRule<Name> } }

/** The transition table of the judge: everything that decides its next state. */
export const JUDGE_TRANSITIONS: JudgeTable = {
  decomposing: { llm_complete: { run: readChecklistAnswer, next: ["decomposing", "evaluating", "judging_freely", "finished"] } },
  evaluating: { llm_complete: { run: readVerdictAnswer, next: ["evaluating", "finished"] } },
  judging_freely: { llm_complete: { run: readFreeformAnswer, next: ["finished"] } },
  finished: {},
}

/** Starts to judge a turn. Pure. An evaluation that needs no model call is finished immediately. */
export function beginEvaluation(settings: ChecklistSettings, state: ChecklistState, turn: JudgedTurn): Evaluation {
  const { goal } = state
  const { transcript, said, worked } = turn
  const contract = goal?.contract
  const evaluation: Evaluation = {
    goalId: goal?.goalId ?? "",
    revision: goal?.revision ?? 0,
    goal: goal?.goal ?? "",
    items: goal?.checklist ?? [],
    response: turn.response,
    ...(transcript !== undefined && transcript.messages.length > 0 && { transcript }),
    ...(!settings.reference && {
      ...(contract !== undefined && { contract }),
      ...(said !== undefined && { said }),
      ...(worked !== undefined && { worked }),
    }),
    decomposeTried: false,
    state: { type: "finished", finding: { type: "inactive" } },
    nextEffectId: 1,
    requests: 0,
    usage: NO_USAGE,
  }
  if (goal === undefined || !isActive(state)) return evaluation
  if (turn.ended === "failed") return finish(evaluation, { type: "turn_failed" })
  if (turn.ended === "cancelled") return finish(evaluation, { type: "turn_cancelled" })
  // An event may have ended the wait early.
  if (goal.notBefore !== undefined && turn.at < goal.notBefore && goal.waitsFor === undefined) return finish(evaluation, { type: "waiting" })
  if (settings.judge === "none") return finish(evaluation, withoutRequest({ mode: "none", says: "continue", reason: { type: "judge_off" } }))
  if (settings.judge !== "checklist" || goal.decomposed) return judgeResponse(settings, evaluation)
  const tried: Evaluation = { ...evaluation, decomposeTried: true }
  return isBlank(goal.goal) ? judgeResponse(settings, tried) : ask(settings, tried, { type: "decomposing", attempt: 0 })
}

/**
 * Feeds a judge the response to its call. Pure. A call already answered returns `status: "stale"` and the same evaluation.
 * @throws {SchemaError} `invalid_response`, if `validation` is given. The evaluation is unchanged.
 * @throws {ProtocolError} `unexpected_response`, `unknown_effect`. The evaluation is unchanged.
 */
export function answerJudge(
  settings: ChecklistSettings,
  evaluation: Evaluation,
  input: Response,
  validation?: JudgeValidation,
): { readonly evaluation: Evaluation; readonly status: "accepted" | "stale" } {
  const response = validation === undefined ? input : validation.response(input)
  const { state } = evaluation
  const outstanding = outstandingCall(state)
  if (response.id !== outstanding?.id) {
    if (response.id >= 1 && response.id < evaluation.nextEffectId) return { evaluation, status: "stale" }
    const accepted = outstanding === undefined ? "no response" : `llm_complete for effect ${outstanding.id}`
    throw new ProtocolError("unknown_effect", `No effect has the id ${response.id}; a judge in "${state.type}" accepts ${accepted}.`)
  }
  if (response.type !== "llm_complete") {
    throw new ProtocolError(
      "unexpected_response",
      `A judge in "${state.type}" does not accept "${response.type}"; it accepts llm_complete for effect ${outstanding.id}.`,
    )
  }
  const { result } = response
  const counted = { ...evaluation, usage: addKnown(evaluation.usage, ...usagesOf(settings, outstanding.request, result)) ?? evaluation.usage }
  const rule = JUDGE_TRANSITIONS[state.type].llm_complete as JudgeRule<JudgeStateName>
  return { evaluation: rule.run(settings, counted, state as Waiting<JudgeStateName>, result), status: "accepted" }
}

/** All that a call used. Where no usage was reported but an answer or a part of one arrived, it is estimated; not under `reference`. */
function usagesOf({ reference }: ChecklistSettings, request: LlmRequest, result: LlmComplete["result"]): readonly (TokenUsage | undefined)[] {
  const { retriedUsage } = result.ok ? result.response : result.error
  const answer = result.ok ? result.response : result.partial
  const usage = (result.ok ? undefined : result.error.usage) ?? answer?.usage
  const isUnreported = answer !== undefined && (usage === undefined || sizeOf(usage) === 0)
  return [isUnreported && !reference ? estimateUsage(request, answer) : usage, retriedUsage]
}

function sizeOf({ inputTokens, cachedInputTokens, outputTokens }: TokenUsage): number {
  return inputTokens + cachedInputTokens + outputTokens
}

function readChecklistAnswer(settings: ChecklistSettings, evaluation: Evaluation, state: Waiting<"decomposing">, answer: Answer): Evaluation {
  if (!answer.ok && rejectsChoice(settings, answer.error) && state.attempt < LAST_ATTEMPT)
    return ask(settings, evaluation, { type: "decomposing", attempt: state.attempt + 1 })
  const items = answer.ok ? itemsOf(settings, answer.response) : []
  if (items.length > 0) return finish(evaluation, { type: "decomposed", items })
  // A model that cannot write a list judges without one. A failed call says nothing about the model: the list is requested again later.
  const failure = answer.ok ? endedBadly(answer.response) : rejectsChoice(settings, answer.error) ? undefined : answer.error
  return settings.reference || failure === undefined
    ? judgeResponse(settings, evaluation)
    : finishUnreachable(settings, evaluation, "checklist", failure)
}

/** Reads the items of an answer. If it calls the tool, even with an empty list, its text is ignored. */
function itemsOf(settings: ChecklistSettings, response: LlmResponse): readonly string[] {
  const calls = callsOf(settings, response, SUBMIT_CHECKLIST)
  if (calls.length > 0) return readItemCalls(calls, settings)
  const read = readItemsText(textOf(response), settings)
  return read.ok ? read.value : []
}

/** Judges the response: by its checklist if there is one, else as a whole. */
function judgeResponse(settings: ChecklistSettings, evaluation: Evaluation): Evaluation {
  const mode = evaluation.items.length > 0 ? "checklist" : "freeform"
  if (isBlank(evaluation.response)) return finish(evaluation, withoutRequest({ mode, says: "continue", reason: { type: "empty_response" } }))
  if (mode === "checklist") {
    const pagesLeft = evaluation.transcript === undefined ? 0 : settings.maxHistoryPages
    return ask(settings, evaluation, { type: "evaluating", attempt: 0, pagesLeft, exchange: [] })
  }
  if (isBlank(evaluation.goal)) return finish(evaluation, withoutRequest({ mode, says: "skipped", reason: { type: "empty_goal" } }))
  return ask(settings, evaluation, { type: "judging_freely", attempt: 0 })
}

function readVerdictAnswer(settings: ChecklistSettings, evaluation: Evaluation, state: Waiting<"evaluating">, answer: Answer): Evaluation {
  if (!answer.ok) {
    const { attempt, pagesLeft, exchange } = state
    if (rejectsChoice(settings, answer.error) && attempt < LAST_ATTEMPT)
      return ask(settings, evaluation, { type: "evaluating", attempt: attempt + 1, pagesLeft, exchange })
    return finishUnreachable(settings, evaluation, "checklist", answer.error)
  }
  const { response } = answer
  const updates = callsOf(settings, response, UPDATE_CHECKLIST)
  const [update] = updates
  if (update !== undefined) {
    return finish(evaluation, checklistFinding(settings, evaluation, readVerdictCalls(updates, settings), update.toolName))
  }
  const { transcript } = evaluation
  const [read] = callsOf(settings, response, historyToolName(settings.reference))
  if (read !== undefined && transcript !== undefined && state.pagesLeft > 0) {
    const exchange = [...state.exchange, ...answerHistoryCall(settings, transcript, response, read)]
    return ask(settings, evaluation, { type: "evaluating", attempt: 0, pagesLeft: state.pagesLeft - 1, exchange })
  }
  const inText = readVerdictText(textOf(response), settings)
  if (inText.ok) return finish(evaluation, checklistFinding(settings, evaluation, inText))
  const failure = endedBadly(response)
  if (failure !== undefined) return finishUnreachable(settings, evaluation, "checklist", failure)
  const reason = inText.reason.type === "bad_arguments" ? inText.reason : ({ type: "no_verdict" } as const)
  return finish(evaluation, checklistFinding(settings, evaluation, { ok: false, reason }))
}

/**
 * Maps the judge's item numbers to ids. The numbers refer to the items as they were in the request; rulings on settled items
 * are ignored. The first ruling on an item counts. A verdict of which a part cannot be read counts as unparseable, and the rest of it
 * is applied; the reference ignores such parts. `toolName` is empty for a verdict in a text.
 */
function checklistFinding({ reference }: ChecklistSettings, evaluation: Evaluation, read: Read<ChecklistVerdict>, toolName = ""): Finding {
  const { items } = evaluation
  if (!read.ok) return judged({ mode: "checklist", answer: "unparseable", says: "continue", reason: read.reason })
  const { updates, newItems, problem: unread, ...rest } = read.value
  const ruled = new Set<string>()
  const rulings = updates.flatMap(({ index, ...ruling }) => {
    const item = items[index - 1]
    if (item === undefined || isTerminal(item) || ruled.has(item.id)) return []
    ruled.add(item.id)
    return [{ itemId: item.id, ...ruling }]
  })
  const missing = updates.find(({ index }) => items[index - 1] === undefined)
  const problem = unread ?? (missing === undefined ? stopProblem(evaluation, rest) : `the list has no item ${missing.index}`)
  if (problem === undefined || reference) return judged({ mode: "checklist", answer: "usable", ...rest, rulings, newItems })
  const stance = stopProblem(evaluation, rest) === undefined ? rest : { says: "continue" as const }
  return judged({ mode: "checklist", answer: "unparseable", ...stance, reason: { type: "bad_arguments", toolName, problem }, rulings, newItems })
}

/** Only the user can ask to stop. Where all that the user said is known, and it is nothing, the verdict cannot be right. */
function stopProblem({ said, transcript }: Evaluation, { says }: Pick<Stance, "says">): string | undefined {
  if (says !== "asked_to_stop" || said === undefined || said.length > 0) return undefined
  const isHeard = transcript?.messages.some(({ role, origin, parts }) => role === "user" && origin === undefined && parts.some(isText)) === true
  return isHeard ? undefined : "the user has said nothing, so did not ask to stop"
}

function isText({ type }: Part): boolean {
  return type === "text"
}

function readFreeformAnswer(settings: ChecklistSettings, evaluation: Evaluation, _state: Waiting<"judging_freely">, answer: Answer): Evaluation {
  if (!answer.ok) return finishUnreachable(settings, evaluation, "freeform", answer.error)
  const { response } = answer
  // No tool is offered; a model may still answer with a call.
  const calls = settings.reference ? [] : response.parts.filter((part): part is ToolCall => part.type === "tool_call")
  const read: Read<FreeformVerdict> = readFreeformCalls(calls, settings) ?? readFreeformText(textOf(response), settings)
  if (read.ok) {
    const { problem: unread, ...verdict } = read.value
    const stop = settings.reference ? undefined : stopProblem(evaluation, verdict as Stance)
    const problem = unread ?? stop
    if (problem === undefined) return finish(evaluation, judged({ mode: "freeform", answer: "usable", ...verdict }))
    const reason = { type: "bad_arguments", toolName: "", problem } as const
    return finish(evaluation, judged({ mode: "freeform", answer: "unparseable", says: "continue", reason }))
  }
  const failure = endedBadly(response)
  if (failure !== undefined) return finishUnreachable(settings, evaluation, "freeform", failure)
  return finish(evaluation, judged({ mode: "freeform", answer: "unparseable", says: "continue", reason: read.reason }))
}

type Judged = Extract<Finding, { type: "judged" }>

function judged(facts: Omit<Judged, "type" | "rulings" | "newItems"> & Partial<Pick<Judged, "rulings" | "newItems">>): Finding {
  return { type: "judged", rulings: [], newItems: [], ...facts }
}

function withoutRequest(facts: Pick<Judged, "mode" | "says" | "reason">): Finding {
  return judged({ answer: "unasked", ...facts })
}

/** Finishes with a failed call. A list that could not be requested is requested again after the next turn; the reference tries once. */
function finishUnreachable(
  { reference }: ChecklistSettings,
  evaluation: Evaluation,
  mode: Judged["mode"],
  { code, message }: Pick<LlmFailure, "code" | "message">,
): Evaluation {
  const reason = { type: "judge_error", ...(code !== undefined && { code }), message: shorten(message, LIMITS.judgeText, false) } as const
  const finding = judged({ mode, answer: "unreachable", says: "continue", reason })
  return finish({ ...evaluation, decomposeTried: reference && evaluation.decomposeTried }, finding)
}

function finish(evaluation: Evaluation, finding: Finding): Evaluation {
  return { ...evaluation, state: { type: "finished", finding } }
}

type WithoutCall<State> = State extends { outstanding: LlmCall } ? Omit<State, "outstanding"> : never

function ask(settings: ChecklistSettings, evaluation: Evaluation, state: WithoutCall<JudgeState>): Evaluation {
  const id = evaluation.nextEffectId
  const outstanding: LlmCall = { type: "llm_call", id, request: requestFor(settings, evaluation, state) }
  return { ...evaluation, state: { ...state, outstanding } as JudgeState, nextEffectId: id + 1, requests: evaluation.requests + 1 }
}

function requestFor(settings: ChecklistSettings, evaluation: Evaluation, state: WithoutCall<JudgeState>): LlmCall["request"] {
  switch (state.type) {
    case "decomposing":
      return decomposeRequest(settings, evaluation, state.attempt)
    case "evaluating":
      return evaluateRequest(settings, evaluation, state)
    case "judging_freely":
      return freeformRequest(settings, evaluation)
  }
}

/** The judgement of a finished evaluation. */
export function judgementOf({ reference }: ChecklistSettings, evaluation: Evaluation): Judgement | undefined {
  const { state, goalId, revision, decomposeTried, usage, requests, response, worked, said = [] } = evaluation
  if (state.type !== "finished") return undefined
  const judgement = { goalId, revision, decomposeTried, finding: state.finding, usage, requests }
  if (reference || (state.finding.type !== "judged" && state.finding.type !== "decomposed")) return judgement
  return {
    ...judgement,
    response: fingerprint(trim(response)) ?? "",
    ...(worked !== undefined && { worked }),
    ...(said.length > 0 && { heard: true }),
  }
}

export function outstandingCall(state: JudgeState): LlmCall | undefined {
  return state.type === "finished" ? undefined : state.outstanding
}

/** The calls of a tool in an answer. The reference knows only the first, and only by its exact name. */
function callsOf({ reference }: ChecklistSettings, { parts }: LlmResponse, toolName: string): readonly ToolCall[] {
  const calls = parts.filter((part): part is ToolCall => part.type === "tool_call")
  if (reference) return calls.filter((call) => call.toolName === toolName).slice(0, 1)
  return calls.filter((call) => isToolName(call.toolName, toolName))
}

/** The text of an answer. */
function textOf({ parts, text }: LlmResponse): string {
  const partTexts = parts.map((part) => (part.type === "text" ? part.text : "")).join("")
  return partTexts === "" ? text : partTexts
}

/** Returns the failure of an answer that the provider cut off; such an answer is not the judge's. */
function endedBadly({ terminalReason, terminalDiagnostic }: LlmResponse): Pick<LlmFailure, "code" | "message"> | undefined {
  if (terminalReason !== "provider_error" && terminalReason !== "cancelled") return undefined
  return { code: terminalReason, message: terminalDiagnostic ?? "The provider cut off the answer." }
}
