import type { Decision } from "../../drivers/checklist/decision.ts"
import type { ThreadTurn } from "../../hosts/thread/thread.ts"
import type { ExternalCall, HeldCall } from "../../wire/approval.ts"
import type { ChecklistState } from "../../wire/checklist.ts"
import type { TurnEvent } from "../../wire/event.ts"
import type { Goal, GoalCheck, GoalCheckResult, GoalOutput } from "../../wire/goal.ts"
import { plainHeld } from "../approvals/commands.ts"
import type { ShownServer } from "../mcp/servers.ts"
import { shownUrl } from "../model/model-settings.ts"
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
  checklist(state: ChecklistState, decision: Ruling | undefined): void
  /** The judge starts to rule on a turn. */
  judging(): void
  /** The checks of the goal start, after a turn. */
  checksStarted(turnId: string, checks: readonly GoalCheck[]): void
  /** One of them runs. */
  checking(name: string): void
  /** One of them ended. */
  checked(result: GoalCheckResult): void
  /** All of them ended. */
  checks(turnId: string, results: readonly GoalCheckResult[]): void
  /** No turn starts yet. Called when the wait begins, and at least every 30 minutes. */
  waiting(wait: Waiting): void
  /** A remark for the user, such as a warning. */
  notice(text: string): void
  /** A request from another terminal was handled. */
  requested(request: ResolvedRequest | undefined, result: RequestResult): void
  /** The goal stops; calls of its turn wait for a decision. */
  suspended(facts: GoalSuspension): void
  /** A person is asked now: about a call, or what to do. */
  asking(call?: HeldCall): void
  /** The goal ended, or stopped until it is resumed. */
  ended(facts: GoalEnd): void
  /** The process stops; the goal can be resumed from its folder. */
  interrupted(facts: GoalEnd): void
  /** The process stops because of an error. */
  failed(message: string): void
  /** Stops all output. Idempotent. */
  close(): void
}

/** A ruling of the judge, as far as it is shown. */
export type Ruling = Pick<Decision, "reason"> & { readonly verdict: string }

/** What a goal waits for. Times are milliseconds since the epoch. */
export interface Waiting {
  readonly until?: number
  readonly event?: string
  readonly reason?: string
}

export interface GoalStart {
  readonly goal: Goal | null
  /** The token budget is the default one. */
  readonly isDefaultBudget?: boolean
  /** This process only watches the goal. */
  readonly isWatching?: boolean
  /** The process that runs the goal, where this one only watches it. */
  readonly watched?: string | undefined
  readonly state: string
  readonly resumed: boolean
  /** The judge's list; `undefined` without a judge. */
  readonly checklist: ChecklistState | undefined
  /** The MCP servers that this process started. */
  readonly servers?: readonly ShownServer[]
}

export interface GoalEnd {
  readonly goal: Goal | null
  readonly reason: string
  readonly notBefore?: number
  readonly turns: number
  readonly files: readonly string[]
  readonly exitCode: number
}

export interface GoalSuspension extends GoalEnd {
  readonly held: readonly HeldCall[]
  readonly pending: readonly ExternalCall[]
}

/**
 * Reports a goal as JSON, one object per line: `goal_started`, then as they happen `turn_started`, the turns' events, `goal_updated`
 * and the other outputs of the goal machine, `checklist`, `checks_started`, `checks`, `waiting`, `notice` and `request`, and last exactly one of `goal_ended`, `goal_interrupted`,
 * `goal_suspended` and `goal_failed`.
 */
export function goalLines(output: Output): GoalReporter {
  const write = (value: object): void => void output.write(`${plainJson(value)}\n`)
  let place = ""
  return {
    started({ run: { dir, out, model }, meta }, facts) {
      const { judge, maxIterations, contextTokens, judgeModel, judgeProvider, judgeBaseUrl, checks, hard, prices, judgePrices } = meta
      const { goal, state, resumed, checklist, isDefaultBudget = false, watched, servers = [] } = facts
      place = state
      const endpoint = model.type === "endpoint" ? { provider: model.provider, baseUrl: shownUrl(model.baseUrl) } : {}
      write({
        type: "goal_started",
        goal,
        dir,
        out,
        model: model.name,
        ...endpoint,
        maxIterations,
        ...(contextTokens !== undefined && { contextTokens }),
        judge,
        ...(judgeModel !== undefined && { judgeModel }),
        ...(judgeProvider !== undefined && { judgeProvider }),
        ...(judgeBaseUrl !== undefined && { judgeBaseUrl: shownUrl(judgeBaseUrl) }),
        ...(prices !== undefined && { prices }),
        ...(judgePrices !== undefined && { judgePrices }),
        ...(checks !== undefined && { checks }),
        ...(hard === true && { hard }),
        ...(isDefaultBudget && { isDefaultBudget }),
        ...(watched !== undefined && { runner: watched }),
        ...(servers.length > 0 && { servers }),
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
    checksStarted: (turnId, checks) => write({ type: "checks_started", turnId, checks }),
    checking() {},
    checked() {},
    checks: (turnId, results) => write({ type: "checks", turnId, results }),
    waiting: (wait) => write({ type: "waiting", ...wait }),
    notice: (message) => write({ type: "notice", message }),
    requested: (request, result) => write({ type: "request", ...(request !== undefined && { order: request }), answer: result }),
    suspended: ({ held, ...facts }) =>
      write({ type: "goal_suspended", status: facts.goal?.status ?? null, held: held.map((call) => plainHeld(call, place)), ...facts }),
    asking() {},
    ended: (facts) => write({ type: "goal_ended", status: facts.goal?.status ?? null, ...facts }),
    interrupted: (facts) => write({ type: "goal_interrupted", status: facts.goal?.status ?? null, ...facts }),
    failed: (message) => write({ type: "goal_failed", message }),
    close() {},
  }
}
