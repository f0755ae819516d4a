import type { Decision } from "../../drivers/checklist/decision.ts"
import type { ThreadTurn } from "../../hosts/thread/thread.ts"
import type { ChecklistState } from "../../schemas/checklist.ts"
import type { TurnEvent } from "../../schemas/event.ts"
import type { Goal, GoalOutput } from "../../schemas/goal.ts"
import type { GoalSettings } from "./goal-settings.ts"
import type { Answer, Settled } from "./orders.ts"

/** Shows the pursuit of a goal to whoever watches. */
export interface GoalReporter {
  started(settings: GoalSettings, facts: GoalStart): void
  turn(turn: ThreadTurn & { readonly number: number; readonly resumed: boolean }): void
  event(event: TurnEvent): void
  goal(output: GoalOutput): void
  /** The judge's list is another now; `decision`: because it judged a turn. */
  checklist(state: ChecklistState, decision: Decision | undefined): void
  /** The judge looks at a turn. */
  judging(): void
  /** Nothing starts before a time, in milliseconds since the epoch. */
  waiting(until: number): void
  /** Somebody asked for something from another terminal, and got an answer. */
  asked(settled: Settled | undefined, answer: Answer): void
  /** No turn starts any more. */
  ended(facts: GoalEnd): void
  /** The process stops; the goal stands in its folder. */
  interrupted(facts: GoalEnd): void
  /** The process must stop because of a mistake or trouble of its own. */
  failed(message: string): void
  /** Nothing is shown any more. */
  close(): void
}

export interface GoalStart {
  readonly goal: Goal | null
  readonly state: string
  readonly resumed: boolean
  /** The judge's list as it stands, where there is one. */
  readonly checklist: ChecklistState | undefined
}

export interface GoalEnd {
  readonly goal: Goal | null
  readonly reason: string
  readonly notBefore?: number
  readonly turns: number
  readonly files: readonly string[]
  readonly exitCode: number
}
