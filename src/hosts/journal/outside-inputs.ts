import { wireValidation } from "../../checks/validation.ts"
import { ProtocolError } from "../../errors.ts"
import type { TurnConfig } from "../../machine/config.ts"
import { isWide } from "../../machine/held.ts"
import { TurnMachine } from "../../machine/turn-machine.ts"
import { type Journal, lastSnapshot } from "../../replay/journal.ts"
import { batchAfter } from "../../replay/open-batch.ts"
import { resumeTurn } from "../../replay/replay.ts"
import type { Decision } from "../../wire/approval.ts"
import type { AnswerableEffect } from "../../wire/effect.ts"
import type { JournalRecord, JournalSnapshot } from "../../wire/journal.ts"
import type { Response, ToolDecisions, ToolResults } from "../../wire/response.ts"
import type { ToolSpec } from "../../wire/tool.ts"
import type { ToolAnswer, ToolError } from "../host.ts"
import { type TurnTools, toolsNow } from "../run/changed-tool.ts"
import { wakeRun } from "../run/wake-run.ts"
import {
  type AnsweredTurn,
  checkedDecisions,
  type DecisionResult,
  MachineBatch,
  type Outside,
  type OutsideAnswerResult,
  outsideDecision,
  outsideResult,
  RecordedBatch,
} from "./outside-answers.ts"

/** Options of {@link TurnJournal.decide} and {@link TurnJournal.answer}. */
export interface OutsideOptions {
  /** When the answer was given. Milliseconds since the epoch. Default: the journal's clock. */
  readonly at?: number
  /**
   * The configuration of the turn. With it, the turn is replayed first, so that it is known what earlier decisions led to, such as which calls a
   * grant released. Without it, a decision that may reach other calls counts for all calls of its tool in the batch.
   */
  readonly config?: TurnConfig
  /**
   * The tools that the next run has. An approval or an edit of a call whose tool is not the one that was asked about is refused as
   * `tool_changed`. Default: those of `config`, or of the turn that runs in this process; without either, tools are not compared.
   */
  readonly tools?: readonly ToolSpec[]
}

/** The journal that takes answers from outside. */
export interface AnsweredJournal {
  /** The machine of the turn, if it runs in this process. */
  machine(): TurnMachine | undefined
  /** The records of the journal, if the turn does not run in this process. */
  recorded(): Journal | undefined
  /** What to wait for while the machine has not handled every input that is recorded; ask again after it. */
  handling(): Promise<void> | undefined
  /** Resolves when everything is stored. */
  stored(): Promise<void>
  /** Records a response to the turn that runs in this process. */
  record(machine: TurnMachine, response: Response): Promise<void>
  /** Records responses for the next run of the turn. */
  recordNext(journal: Journal, responses: readonly GivenResponse[]): Promise<void>
  /** @throws the reason why the history of the turn is not known */
  requireHistory(): void
}

/** A response, and the effect that it answers. */
export interface GivenResponse {
  readonly response: Response
  readonly effect: AnswerableEffect | undefined
}

/** Finds what one answer becomes, in the turn as it is then. */
type Find = (turn: AnsweredTurn) => Outside<OutsideAnswerResult> & { readonly settle: (result: OutsideAnswerResult) => void }

/** Takes decisions about held calls and results of calls that continued outside, for a turn that runs in this process or for its next run. */
export class OutsideInputs {
  readonly #journal: AnsweredJournal
  /** When calls continued outside. */
  readonly #pendingSince = new Map<string, number | undefined>()
  /** The decisions of the turn, and the results of calls that continued outside, in their order. */
  readonly #records: (ToolDecisions | ToolResults)[] = []

  constructor(journal: AnsweredJournal) {
    this.#journal = journal
  }

  /** Notes a record of the journal. */
  note(record: JournalRecord): void {
    if (record.type === "tool_pending") this.#pendingSince.set(callKey(record.id, record.callId), record.at)
    else if (record.type === "snapshot") this.#notePending(record)
    else if (record.type === "tool_decisions" || (record.type === "tool_results" && this.#wasPending(record))) this.#records.push(record)
  }

  /** A compaction leaves out when a call continued outside; the snapshot has that it did. */
  #notePending({ checkpoint: { state } }: JournalSnapshot): void {
    if (state.type !== "waiting_tools") return
    for (const { callId } of state.pending ?? []) {
      const key = callKey(state.outstanding.id, callId)
      if (!this.#pendingSince.has(key)) this.#pendingSince.set(key, undefined)
    }
  }

  #wasPending({ id, results }: ToolResults): boolean {
    return this.#pendingSince.size > 0 && results.some(({ callId }) => this.#pendingSince.has(callKey(id, callId)))
  }

  async decide(decisions: readonly Decision[], at: number, options: OutsideOptions): Promise<readonly DecisionResult[]> {
    const checked = checkedDecisions(decisions)
    const results = new Map<Decision, DecisionResult>()
    const order = [...checked.filter((decision) => !isWide(decision)), ...checked.filter(isWide)]
    await this.#answer(
      options,
      order.map((decision) => (turn) => {
        const outside = outsideDecision(turn, decision, at)
        return { ...outside, settle: (result: OutsideAnswerResult) => results.set(decision, { requestId: decision.requestId, ...result }) }
      }),
    )
    return checked.map((decision) => results.get(decision) as DecisionResult)
  }

  async answer(callId: string, answer: ToolAnswer | ToolError, at: number, options: OutsideOptions): Promise<OutsideAnswerResult> {
    let settled: OutsideAnswerResult | undefined
    await this.#answer(options, [
      (turn) => {
        const since = turn.batch && this.#pendingSince.get(callKey(turn.batch.outstanding.id, callId))
        const outside = outsideResult(turn, callId, answer, { at, since })
        return {
          ...outside,
          settle: (result: OutsideAnswerResult) => {
            settled = result
          },
        }
      },
    ])
    return settled as OutsideAnswerResult
  }

  /** Hands answers to the turn that runs in this process, or records them for the next run. */
  async #answer({ config, tools }: OutsideOptions, answers: readonly Find[]): Promise<void> {
    const machine = this.#journal.machine()
    if (machine === undefined) return this.#answerNext(config, tools ?? (config && toolsNow(config)), answers)
    for (const find of answers) {
      // An answer that another caller has recorded counts first.
      for (let handling = this.#journal.handling(); handling !== undefined; handling = this.#journal.handling()) await handling
      const { response, result, settle } = find(this.#turnOf(new MachineBatch(machine, tools ?? machine.configuredTools)))
      settle(result)
      if (response === undefined) continue
      await this.#journal.record(machine, response)
      try {
        machine.handle(response)
      } catch (error) {
        if (!(error instanceof ProtocolError)) throw error
        settle({ status: "refused", code: error.code as NonNullable<OutsideAnswerResult["code"]>, message: error.message })
        continue
      }
      wakeRun(machine)
    }
    await this.#journal.stored()
  }

  async #answerNext(config: TurnConfig | undefined, now: TurnTools["now"], answers: readonly Find[]): Promise<void> {
    const journal = this.#journal.recorded()
    const batch = this.#batchOf(journal, config, now)
    const responses: GivenResponse[] = []
    for (const find of answers) {
      const { response, result, settle } = find(this.#turnOf(batch))
      settle(result)
      if (response === undefined) continue
      responses.push({ response, effect: batch.batch?.outstanding })
      batch.apply(response)
      this.note(response)
    }
    if (journal === undefined || responses.length === 0) return this.#journal.stored()
    return this.#journal.recordNext(journal, responses)
  }

  #batchOf(journal: Journal | undefined, config: TurnConfig | undefined, now: TurnTools["now"]): RecordedBatch | MachineBatch {
    if (journal === undefined) return new RecordedBatch(undefined, now)
    if (config === undefined) return new RecordedBatch(batchAfter(undefined, sinceSnapshot(journal)), now)
    this.#journal.requireHistory()
    const checked = { ...config, validation: config.validation ?? wireValidation }
    return new MachineBatch(TurnMachine.of(checked, resumeTurn(journal, checked).turn), now)
  }

  #turnOf(source: RecordedBatch | MachineBatch): AnsweredTurn {
    const { batch, at, tools } = source
    return { batch, at, tools, records: this.#records, otherwise: this.#whyNotWaiting() }
  }

  #whyNotWaiting(): AnsweredTurn["otherwise"] {
    const [machine, recorded] = [this.#journal.machine(), this.#journal.recorded()]
    if (machine === undefined && recorded === undefined)
      return { code: "turn_not_begun", message: "The journal has no turn: it has not begun, or has another name." }
    const isEnded = machine?.done ?? recorded?.entries.at(-1)?.record.type === "end"
    if (isEnded) return { code: "turn_finished", message: "The turn has ended." }
    const message = "The turn does not wait for tool calls, as far as its journal shows. If its process was killed, run the turn again first."
    return { code: "not_waiting_for_tools", message }
  }
}

/** The entries from the last snapshot on. What is before it may not be parsed, and says nothing of a batch that a snapshot has. */
function sinceSnapshot({ entries }: Journal): Journal["entries"] {
  return entries.slice(Math.max(0, lastSnapshot(entries)))
}

/** Identifies a call of a turn; without `callId`, the code of an effect. */
export function callKey(effectId: number, callId: string | undefined): string {
  return callId === undefined ? `${effectId}` : `${effectId}:${callId}`
}
