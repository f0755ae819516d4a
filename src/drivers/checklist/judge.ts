import { ProtocolError } from "../../errors.ts"
import { addUsage, NO_USAGE } from "../../machine/limits.ts"
import type {
  ChecklistPolicy,
  ChecklistState,
  Evaluation,
  Finding,
  JudgeCheckpoint,
  JudgedTurn,
  Judgement,
  JudgeState,
  JudgeValidation,
} from "../../schemas/checklist.ts"
import type { LlmCall } from "../../schemas/effect.ts"
import type { LlmFailure, LlmResponse, TokenUsage } from "../../schemas/llm.ts"
import type { Response } from "../../schemas/response.ts"
import { isBlank } from "../../text.ts"
import { isActive } from "./checklist.ts"
import { readJudgeCheckpoint, writeJudgeCheckpoint } from "./judge-checkpoint.ts"
import { answerHistoryCall, callOf, endedBadly, textOf } from "./judge-reply.ts"
import { decomposeRequest, evaluateRequest, freeformRequest, LAST_ATTEMPT, rejectsChoice } from "./judge-request.ts"
import { shorten } from "./prompts.ts"
import { type ChecklistSettings, checklistSettings, LIMITS } from "./settings.ts"
import { historyToolName, SUBMIT_CHECKLIST, UPDATE_CHECKLIST } from "./tools.ts"
import {
  type ChecklistVerdict,
  type FreeformVerdict,
  type Read,
  readArguments,
  readFreeformText,
  readItems,
  readItemsText,
  readVerdict,
  readVerdictText,
} from "./verdict.ts"

type JudgeStateName = JudgeState["type"]
type Waiting<Name extends JudgeStateName> = Extract<JudgeState, { type: Name; outstanding: LlmCall }>
type Answer = { readonly ok: true; readonly response: LlmResponse } | { readonly ok: false; readonly error: LlmFailure }

interface JudgeRule<Name extends JudgeStateName> {
  run(settings: ChecklistSettings, evaluation: Evaluation, state: Waiting<Name>, answer: Answer): Evaluation
  readonly next: readonly JudgeStateName[]
}
type JudgeTable = { readonly [Name in JudgeStateName]: { readonly llm_complete?: JudgeRule<Name> } }

/** Everything that decides where a judge may go next. */
export const JUDGE_TRANSITIONS: JudgeTable = {
  decomposing: { llm_complete: { run: takeItems, next: ["decomposing", "evaluating", "judging_freely", "finished"] } },
  evaluating: { llm_complete: { run: takeVerdict, next: ["evaluating", "finished"] } },
  judging_freely: { llm_complete: { run: takeOpinion, next: ["finished"] } },
  finished: {},
}

/** Begins to judge a turn. Pure. An evaluation that has nothing to ask is finished at once. */
export function beginEvaluation(settings: ChecklistSettings, state: ChecklistState, turn: JudgedTurn): Evaluation {
  const { goal } = state
  const { transcript } = turn
  const evaluation: Evaluation = {
    goalId: goal?.goalId ?? "",
    revision: goal?.revision ?? 0,
    goal: goal?.goal ?? "",
    items: goal?.checklist ?? [],
    response: turn.response,
    ...(transcript !== undefined && transcript.messages.length > 0 && { transcript }),
    decomposeTried: false,
    state: { type: "finished", finding: { type: "inactive" } },
    nextEffectId: 1,
    requests: 0,
    usage: NO_USAGE,
  }
  if (goal === undefined || !isActive(state)) return evaluation
  if (turn.ended === "failed") return finish(evaluation, { type: "turn_failed" })
  if (turn.ended === "cancelled") return finish(evaluation, { type: "turn_cancelled" })
  if (goal.notBefore !== undefined && turn.at < goal.notBefore) return finish(evaluation, { type: "waiting" })
  if (settings.judge === "none") return finish(evaluation, unasked({ mode: "none", says: "continue", reason: { type: "judge_off" } }))
  if (settings.judge !== "checklist" || goal.decomposed) return judgeResponse(settings, evaluation)
  const tried: Evaluation = { ...evaluation, decomposeTried: true }
  return isBlank(goal.goal) ? judgeResponse(settings, tried) : ask(settings, tried, { type: "decomposing", attempt: 0 })
}

/**
 * Gives a judge the answer to its call. Pure. One already answered returns `status: "stale"` and the same evaluation.
 * @throws {SchemaError} `invalid_response`, where `validation` is given. The evaluation is unchanged.
 * @throws {ProtocolError} `unexpected_response`, `unknown_effect`. The evaluation is unchanged.
 */
export function answerJudge(
  settings: ChecklistSettings,
  evaluation: Evaluation,
  given: Response,
  validation?: JudgeValidation,
): { readonly evaluation: Evaluation; readonly status: "accepted" | "stale" } {
  const response = validation === undefined ? given : validation.response(given)
  const { state } = evaluation
  const outstanding = outstandingCall(state)
  if (response.id !== outstanding?.id) {
    if (response.id >= 1 && response.id < evaluation.nextEffectId) return { evaluation, status: "stale" }
    const takes = outstanding === undefined ? "nothing now" : `llm_complete for effect ${outstanding.id}`
    throw new ProtocolError("unknown_effect", `No effect has the id ${response.id}; a judge in "${state.type}" takes ${takes}.`)
  }
  if (response.type !== "llm_complete") {
    throw new ProtocolError(
      "unexpected_response",
      `A judge in "${state.type}" cannot take "${response.type}"; it takes llm_complete for effect ${outstanding.id}.`,
    )
  }
  const { result } = response
  const counted = result.ok ? { ...evaluation, usage: addUsage(evaluation.usage, result.response.usage) } : evaluation
  const rule = JUDGE_TRANSITIONS[state.type].llm_complete as JudgeRule<JudgeStateName>
  return { evaluation: rule.run(settings, counted, state as Waiting<JudgeStateName>, result), status: "accepted" }
}

function takeItems(settings: ChecklistSettings, evaluation: Evaluation, state: Waiting<"decomposing">, answer: Answer): Evaluation {
  if (!answer.ok) {
    if (rejectsChoice(answer.error) && state.attempt < LAST_ATTEMPT)
      return ask(settings, evaluation, { type: "decomposing", attempt: state.attempt + 1 })
    return judgeResponse(settings, evaluation)
  }
  const items = itemsOf(settings, answer.response)
  return items.length === 0 ? judgeResponse(settings, evaluation) : finish(evaluation, { type: "decomposed", items })
}

/** A call with an empty list is an answer; the text beside it does not count. */
function itemsOf(settings: ChecklistSettings, response: LlmResponse): readonly string[] {
  const call = callOf(response, SUBMIT_CHECKLIST)
  if (call === undefined) {
    const read = readItemsText(textOf(response), settings)
    return read.ok ? read.value : []
  }
  const args = readArguments(call.toolName, call.inputJson, settings)
  return args.ok ? readItems(args.value, settings) : []
}

/** Judges the response as it is: by the list where there is one. */
function judgeResponse(settings: ChecklistSettings, evaluation: Evaluation): Evaluation {
  const mode = evaluation.items.length > 0 ? "checklist" : "freeform"
  if (isBlank(evaluation.response)) return finish(evaluation, unasked({ mode, says: "continue", reason: { type: "empty_response" } }))
  if (mode === "checklist") {
    const pagesLeft = evaluation.transcript === undefined ? 0 : settings.maxHistoryPages
    return ask(settings, evaluation, { type: "evaluating", attempt: 0, pagesLeft, exchange: [] })
  }
  if (isBlank(evaluation.goal)) return finish(evaluation, unasked({ mode, says: "skipped", reason: { type: "empty_goal" } }))
  return ask(settings, evaluation, { type: "judging_freely", attempt: 0 })
}

function takeVerdict(settings: ChecklistSettings, evaluation: Evaluation, state: Waiting<"evaluating">, answer: Answer): Evaluation {
  if (!answer.ok) {
    const { attempt, pagesLeft, exchange } = state
    if (rejectsChoice(answer.error) && attempt < LAST_ATTEMPT)
      return ask(settings, evaluation, { type: "evaluating", attempt: attempt + 1, pagesLeft, exchange })
    return finish(evaluation, unreachable("checklist", answer.error))
  }
  const { response } = answer
  const update = callOf(response, UPDATE_CHECKLIST)
  if (update !== undefined) {
    const args = readArguments(update.toolName, update.inputJson, settings)
    return finish(evaluation, checklistFinding(evaluation, args.ok ? readVerdict(args.value, update.toolName, settings) : args))
  }
  const { transcript } = evaluation
  const read = callOf(response, historyToolName(settings.reference))
  if (read !== undefined && transcript !== undefined && state.pagesLeft > 0) {
    const exchange = [...state.exchange, ...answerHistoryCall(settings, transcript, response, read)]
    return ask(settings, evaluation, { type: "evaluating", attempt: 0, pagesLeft: state.pagesLeft - 1, exchange })
  }
  const inText = readVerdictText(textOf(response), settings)
  if (inText.ok) return finish(evaluation, checklistFinding(evaluation, inText))
  const failure = endedBadly(response)
  if (failure !== undefined) return finish(evaluation, unreachable("checklist", failure))
  const reason = inText.reason.type === "bad_arguments" ? inText.reason : ({ type: "no_verdict" } as const)
  return finish(evaluation, checklistFinding(evaluation, { ok: false, reason }))
}

/** The judge speaks of numbers; what it said holds for the items that had these numbers when it was asked. The first ruling on an item counts. */
function checklistFinding({ items }: Evaluation, read: Read<ChecklistVerdict>): Finding {
  if (!read.ok) return judged({ mode: "checklist", answer: "unparseable", says: "continue", reason: read.reason })
  const { updates, newItems, ...rest } = read.value
  const ruled = new Set<string>()
  const rulings = updates.flatMap(({ index, ...ruling }) => {
    const itemId = items[index - 1]?.id
    if (itemId === undefined || ruled.has(itemId)) return []
    ruled.add(itemId)
    return [{ itemId, ...ruling }]
  })
  return judged({ mode: "checklist", answer: "usable", ...rest, rulings, newItems })
}

function takeOpinion(settings: ChecklistSettings, evaluation: Evaluation, _state: Waiting<"judging_freely">, answer: Answer): Evaluation {
  if (!answer.ok) return finish(evaluation, unreachable("freeform", answer.error))
  const read: Read<FreeformVerdict> = readFreeformText(textOf(answer.response), settings)
  if (read.ok) return finish(evaluation, judged({ mode: "freeform", answer: "usable", ...read.value }))
  const failure = endedBadly(answer.response)
  if (failure !== undefined) return finish(evaluation, unreachable("freeform", failure))
  return finish(evaluation, judged({ mode: "freeform", answer: "unparseable", says: "continue", reason: read.reason }))
}

type Judged = Extract<Finding, { type: "judged" }>

function judged(facts: Omit<Judged, "type" | "rulings" | "newItems"> & Partial<Pick<Judged, "rulings" | "newItems">>): Finding {
  return { type: "judged", rulings: [], newItems: [], ...facts }
}

function unasked(facts: Pick<Judged, "mode" | "says" | "reason">): Finding {
  return judged({ answer: "unasked", ...facts })
}

function unreachable(mode: Judged["mode"], { code, message }: Pick<LlmFailure, "code" | "message">): Finding {
  const reason = { type: "judge_error", ...(code !== undefined && { code }), message: shorten(message, LIMITS.judgeText, false) } as const
  return judged({ mode, answer: "unreachable", says: "continue", reason })
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

function outstandingCall(state: JudgeState): LlmCall | undefined {
  return state.type === "finished" ? undefined : state.outstanding
}

/** How a judge works, and how what comes from outside is checked. Without `validation`, values are trusted to have their types. */
export interface JudgeConfig extends ChecklistPolicy {
  readonly validation?: JudgeValidation
}

/**
 * Judges one turn of a goal: asks for model calls, takes their answers, and ends with a judgement for {@link applyJudgement}. A
 * thin shell over {@link beginEvaluation} and {@link answerJudge}. It changes no goal: whatever a user does meanwhile, an answer
 * that comes late meets a newer revision.
 *
 *     const judge = new ChecklistJudge(config, state, { response, at })
 *     for (let call = judge.poll(); call; call = judge.poll()) judge.handle(await perform(call))
 *     const { state: next, decision } = applyJudgement(config, state, judge.judgement, at)
 */
export class ChecklistJudge {
  readonly #settings: ChecklistSettings
  readonly #validation: JudgeValidation | undefined
  #evaluation: Evaluation
  #polled: number | undefined

  constructor(config: JudgeConfig, state: ChecklistState, turn: JudgedTurn) {
    this.#settings = checklistSettings(config)
    this.#validation = config.validation
    this.#evaluation = beginEvaluation(this.#settings, state, turn)
  }

  /**
   * Takes up a saved judge, from its JSON text or its parsed value. The outstanding call is handed out once more, under its id.
   * @throws {CheckpointError} with the `code` and `path` of what is wrong
   */
  static restore(config: JudgeConfig, checkpoint: unknown): ChecklistJudge {
    const evaluation = readJudgeCheckpoint(checkpoint, config.validation)
    const judge = new this(config, { nextGoalNumber: 1 }, { response: "", at: 0 })
    judge.#evaluation = evaluation
    return judge
  }

  /** The judge as JSON, at any moment. */
  checkpoint(): JudgeCheckpoint {
    return writeJudgeCheckpoint(this.#evaluation)
  }

  /** The next model call. `undefined`: an answer is awaited, or the judge is done. */
  poll(): LlmCall | undefined {
    const { outstanding } = this
    if (outstanding === undefined || outstanding.id === this.#polled) return undefined
    this.#polled = outstanding.id
    return outstanding
  }

  /**
   * Gives the answer to a call. One already answered is `stale` and changes nothing.
   * @throws {SchemaError} `invalid_response`, where `validation` is given. The judge is unchanged.
   * @throws {ProtocolError} `unexpected_response`, `unknown_effect`. The judge is unchanged.
   */
  handle(response: Response): { readonly status: "accepted" | "stale" } {
    const { evaluation, status } = answerJudge(this.#settings, this.#evaluation, response, this.#validation)
    this.#evaluation = evaluation
    return { status }
  }

  /** What came out; `undefined` while calls are open. */
  get judgement(): Judgement | undefined {
    const { state, goalId, revision, decomposeTried, usage, requests } = this.#evaluation
    return state.type === "finished" ? { goalId, revision, decomposeTried, finding: state.finding, usage, requests } : undefined
  }
  get done(): boolean {
    return this.#evaluation.state.type === "finished"
  }
  get state(): JudgeStateName {
    return this.#evaluation.state.type
  }
  /** The call that waits for its answer. */
  get outstanding(): LlmCall | undefined {
    return outstandingCall(this.#evaluation.state)
  }
  /** What the calls answered so far cost together. */
  get usage(): TokenUsage {
    return this.#evaluation.usage
  }
}
