import type { ChecklistPolicy, ChecklistState, Evaluation, JudgeCheckpoint, JudgedTurn, Judgement, JudgeValidation } from "../../schemas/checklist.ts"
import type { LlmCall } from "../../schemas/effect.ts"
import type { TokenUsage } from "../../schemas/llm.ts"
import type { Response } from "../../schemas/response.ts"
import { answerJudge, beginEvaluation, type JudgeStateName, outstandingCall } from "./evaluation.ts"
import { readJudgeCheckpoint, writeJudgeCheckpoint } from "./saved.ts"
import { type ChecklistSettings, checklistSettings } from "./settings.ts"

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

  /** @throws {SchemaError} `invalid_config`, `invalid_start`, where `validation` is given */
  constructor(config: JudgeConfig, state: ChecklistState, turn: JudgedTurn) {
    const { validation } = config
    this.#settings = checklistSettings(validation?.policy(config) ?? config)
    this.#validation = validation
    this.#evaluation = beginEvaluation(this.#settings, state, validation?.turn(turn) ?? turn)
  }

  /**
   * Takes up a saved judge, from its JSON text or its parsed value. The outstanding call is handed out once more, under its id.
   * @throws {CheckpointError} with the `code` and `path` of what is wrong
   * @throws {SchemaError} `invalid_config`, where `validation` is given
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
