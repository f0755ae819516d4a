import type {
  ChecklistPolicy,
  ChecklistState,
  Evaluation,
  EvidenceTranscript,
  JudgeCheckpoint,
  JudgedTurn,
  Judgement,
  JudgeValidation,
} from "../../wire/checklist.ts"
import type { LlmCall } from "../../wire/effect.ts"
import type { TokenUsage } from "../../wire/llm.ts"
import type { Response } from "../../wire/response.ts"
import { answerJudge, beginEvaluation, type JudgeStateName, judgementOf, outstandingCall } from "./evaluation.ts"
import { readJudgeCheckpoint, writeJudgeCheckpoint } from "./saved.ts"
import { type ChecklistSettings, checklistSettings } from "./settings.ts"

/** The policy of a judge, and how outside values are validated. Without `validation`, values are trusted to have their types. */
export interface JudgeConfig extends ChecklistPolicy {
  readonly validation?: JudgeValidation
}

/** Options of {@link ChecklistJudge.restore}. */
export interface RestoreJudgeOptions {
  readonly transcript?: EvidenceTranscript
}

/**
 * Judges one turn of a goal: requests model calls, accepts their responses, and ends with a judgement for {@link applyJudgement}.
 * A thin shell over {@link beginEvaluation} and {@link answerJudge}. It changes no goal. If a user changes the goal before the
 * judgement is applied, the judgement is stale.
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

  /** @throws {SchemaError} `invalid_config`, `invalid_start`, if `validation` is given */
  constructor(config: JudgeConfig, state: ChecklistState, turn: JudgedTurn) {
    const { validation } = config
    this.#settings = checklistSettings(validation?.policy(config) ?? config)
    this.#validation = validation
    this.#evaluation = beginEvaluation(this.#settings, state, validation?.turn(turn) ?? turn)
  }

  /**
   * Restores a saved judge from its JSON text or its parsed value. `poll` returns the outstanding call again, under its id. A judge that
   * was saved without its transcript needs the `transcript` again, with the same messages.
   * @throws {CheckpointError} with the `code` and `path` of the problem
   * @throws {SchemaError} `invalid_config`, if `validation` is given
   */
  static restore(config: JudgeConfig, checkpoint: unknown, { transcript }: RestoreJudgeOptions = {}): ChecklistJudge {
    const evaluation = readJudgeCheckpoint(checkpoint, config.validation, transcript)
    const judge = new this(config, { nextGoalNumber: 1 }, { response: "", at: 0 })
    judge.#evaluation = evaluation
    return judge
  }

  /** The judge as JSON. Available in every state. `transcript: false` leaves the transcript out, for hosts that store it elsewhere. */
  checkpoint({ transcript = true }: { readonly transcript?: boolean } = {}): JudgeCheckpoint {
    return writeJudgeCheckpoint(this.#evaluation, transcript)
  }

  /** The next model call. `undefined` while a response is outstanding, or when the judge is done. */
  poll(): LlmCall | undefined {
    const { outstanding } = this
    if (outstanding === undefined || outstanding.id === this.#polled) return undefined
    this.#polled = outstanding.id
    return outstanding
  }

  /**
   * Feeds the response to a call. A call already answered returns `stale` and changes nothing.
   * @throws {SchemaError} `invalid_response`, if `validation` is given. The judge is unchanged.
   * @throws {ProtocolError} `unexpected_response`, `unknown_effect`. The judge is unchanged.
   */
  handle(response: Response): { readonly status: "accepted" | "stale" } {
    const { evaluation, status } = answerJudge(this.#settings, this.#evaluation, response, this.#validation)
    this.#evaluation = evaluation
    return { status }
  }

  /** The judgement; `undefined` until the judge is done. */
  get judgement(): Judgement | undefined {
    return judgementOf(this.#settings, this.#evaluation)
  }
  get done(): boolean {
    return this.#evaluation.state.type === "finished"
  }
  get state(): JudgeStateName {
    return this.#evaluation.state.type
  }
  /** The call whose response is outstanding. */
  get outstanding(): LlmCall | undefined {
    return outstandingCall(this.#evaluation.state)
  }
  /** Tokens of all calls answered so far. */
  get usage(): TokenUsage {
    return this.#evaluation.usage
  }
}
