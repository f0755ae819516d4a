import type { Decision } from "../../drivers/checklist/decision.ts"
import type { ThreadTurn } from "../../hosts/thread/thread.ts"
import type { ChecklistState } from "../../wire/checklist.ts"
import type { TurnEvent } from "../../wire/event.ts"
import type { Goal, GoalOutput } from "../../wire/goal.ts"
import { shownUrl } from "../run/run-settings.ts"
import { plainJson } from "../terminal/format.ts"
import type { Output } from "../terminal/io.ts"
import type { RequestResult, ResolvedRequest } from "./control/requests.ts"
import type { GoalSettings } from "./goal-settings.ts"

/** Shows the progress and the result of a goal. */
export interface GoalReporter {
  started(settings: GoalSettings, facts: GoalStart): void
  turn(turn: ThreadTurn & { readonly number: number; readonly resumed: boolean }): void
  event(event: TurnEvent): void
  goal(output: GoalOutput): void
  /** The judge's list changed; `decision`: its ruling on a turn, if that changed the list. */
  checklist(state: ChecklistState, decision: Decision | undefined): void
  /** The judge starts to rule on a turn. */
  judging(): void
  /** No turn starts before `until`, in milliseconds since the epoch. */
  waiting(until: number): void
  /** A request from another terminal was handled. */
  requested(request: ResolvedRequest | undefined, result: RequestResult): void
  /** The goal ended, or stopped until it is resumed. */
  ended(facts: GoalEnd): void
  /** The process stops; the goal can be resumed from its folder. */
  interrupted(facts: GoalEnd): void
  /** The process stops because of an error. */
  failed(message: string): void
  /** Stops all output. Idempotent. */
  close(): void
}

export interface GoalStart {
  readonly goal: Goal | null
  readonly state: string
  readonly resumed: boolean
  /** The judge's list; `undefined` without a judge. */
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

/**
 * Reports a goal as JSON, one object per line: `goal_started`, then as they happen `turn_started`, the turns' events, `goal_updated`
 * and the other outputs of the goal machine, `checklist` and `request`, and last exactly one of `goal_ended`, `goal_interrupted`
 * and `goal_failed`.
 */
export function goalLines(output: Output): GoalReporter {
  const write = (value: object): void => void output.write(`${plainJson(value)}\n`)
  return {
    started({ run: { dir, out, model }, meta: { judge, maxIterations } }, { goal, state, resumed, checklist }) {
      const endpoint = model.type === "endpoint" ? { baseUrl: shownUrl(model.baseUrl) } : {}
      write({
        type: "goal_started",
        goal,
        dir,
        out,
        model: model.name,
        ...endpoint,
        maxIterations,
        judge,
        state,
        resumed,
        items: checklist?.goal?.checklist,
      })
    },
    turn: (turn) => write({ type: "turn_started", ...turn }),
    event: write,
    goal(output) {
      if (output.type === "goal_updated" || output.type === "goal_cleared" || output.type === "metric") write(output)
    },
    checklist: ({ goal }, decision) => write({ type: "checklist", items: goal?.checklist ?? [], ...(decision !== undefined && { decision }) }),
    judging: () => write({ type: "judging" }),
    waiting: (until) => write({ type: "waiting", until }),
    requested: (request, result) => write({ type: "request", ...(request !== undefined && { order: request }), answer: result }),
    ended: (facts) => write({ type: "goal_ended", status: facts.goal?.status ?? null, ...facts }),
    interrupted: (facts) => write({ type: "goal_interrupted", status: facts.goal?.status ?? null, ...facts }),
    failed: (message) => write({ type: "goal_failed", message }),
    close() {},
  }
}
