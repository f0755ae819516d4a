import { ProtocolError } from "../../errors.ts"
import type { TurnMachine } from "../../machine/turn-machine.ts"
import type { Decision } from "../../wire/approval.ts"
import type { ToolDecisions, ToolResults } from "../../wire/response.ts"
import type { ToolAnswer, ToolError } from "../host.ts"
import {
  type AnsweredTurn,
  checkedDecisions,
  type DecisionResult,
  MachineBatch,
  type Outside,
  type OutsideAnswerCode,
  type OutsideAnswerResult,
  outsideDecision,
  outsideResult,
} from "../journal/outside-answers.ts"
import type { OutsideOptions } from "../journal/outside-inputs.ts"
import type { TurnJournal } from "../journal/turn-journal.ts"
import { wakeRun } from "../run/wake-run.ts"

/** What receives answers from outside for the open turn: its journal, or, if an engine records it, its machine. */
export type AnsweredByOutside = Pick<TurnJournal, "decide" | "answer">

/** A turn that an engine records. Its machine receives answers from outside at once: the engine has recorded them before. */
export class EngineTurn implements AnsweredByOutside {
  readonly #machine: TurnMachine
  readonly #now: () => number
  readonly #records: (ToolDecisions | ToolResults)[] = []

  constructor(machine: TurnMachine, now: () => number) {
    this.#machine = machine
    this.#now = now
  }

  async decide(decisions: readonly Decision[], { at = this.#now(), tools }: OutsideOptions = {}): Promise<readonly DecisionResult[]> {
    return checkedDecisions(decisions).map((decision) => {
      const { requestId } = decision
      return { requestId, ...this.#hand(outsideDecision(this.#turn(tools), decision, at)) }
    })
  }

  async answer(callId: string, answer: ToolAnswer | ToolError, { at = this.#now() }: OutsideOptions = {}): Promise<OutsideAnswerResult> {
    return this.#hand(outsideResult(this.#turn(undefined), callId, answer, { at, since: undefined }))
  }

  #hand({ response, result }: Outside<OutsideAnswerResult>): OutsideAnswerResult {
    if (response === undefined) return result
    try {
      this.#machine.handle(response)
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error
      return { status: "refused", code: error.code as OutsideAnswerCode, message: error.message }
    }
    if (response.type === "tool_decisions" || response.type === "tool_results") this.#records.push(response)
    wakeRun(this.#machine)
    return result
  }

  #turn(tools: OutsideOptions["tools"]): AnsweredTurn {
    const { batch, at, tools: known } = new MachineBatch(this.#machine, tools ?? this.#machine.configuredTools)
    const otherwise = this.#machine.done
      ? { code: "turn_finished" as const, message: "The turn has ended." }
      : { code: "not_waiting_for_tools" as const, message: "The turn does not wait for tool calls." }
    return { batch, at, tools: known, records: this.#records, otherwise }
  }
}
