import { readGoal } from "../../drivers/goal/history.ts"
import { tokensOf } from "../../machine/limits.ts"
import type { Goal, GoalEvent } from "../../wire/goal.ts"
import type { HistoryRecord } from "../../wire/message.ts"
import type { ViewedThread } from "../data.ts"
import type { TurnView } from "./turn-view.ts"

/** What was used at a time. Tokens; milliseconds since the epoch. */
export interface BudgetPoint {
  readonly at: number
  /** By the turns themselves. */
  readonly own: number
  readonly judge: number
  readonly children: number
  /** Reserved for children that run, and not used yet. */
  readonly reserved: number
}

/** What a goal or a turn used over time. */
export interface BudgetSeries {
  readonly points: readonly BudgetPoint[]
  /** Tokens; `undefined`: no limit. The last one, where it was changed. */
  readonly limit: number | undefined
  /** When the limit changed. */
  readonly limits: readonly { readonly at: number; readonly limit: number | undefined }[]
  /** Where the goal's status changed. */
  readonly marks: readonly { readonly at: number; readonly label: string }[]
  /** The tokens at the end. */
  readonly used: number
}

/** A goal's use over time, from the history of its thread. `leases`: what was reserved for its children. */
export function goalBudget({ threadId, records }: ViewedThread, leases: readonly Lease[] = []): BudgetSeries | undefined {
  const points: BudgetPoint[] = []
  const limits: { at: number; limit: number | undefined }[] = []
  const marks: { at: number; label: string }[] = []
  let [own, judge, children] = [0, 0, 0]
  let last: Goal | undefined
  for (const [index, record] of records.entries()) {
    const event = goalEventIn(record, threadId)
    const goal = event?.goal
    if (event === undefined || goal === null || goal === undefined) continue
    const isNew = last?.goalId !== goal.goalId
    if (isNew) [own, judge, children] = [0, 0, 0]
    const before = isNew ? undefined : last
    const childTokens = goal.childTokensUsed - (before?.childTokensUsed ?? 0)
    if (childTokens > 0) {
      if (isJudged(records, index, threadId)) judge += childTokens
      else children += childTokens
    }
    own = goal.tokensUsed
    const limit = goal.tokenBudget ?? undefined
    if (limits.length === 0 || limits.at(-1)?.limit !== limit) limits.push({ at: event.at, limit })
    if (before === undefined) marks.push({ at: event.at, label: "goal set" })
    else if (before.status !== goal.status) marks.push({ at: event.at, label: goal.status.replaceAll("_", " ") })
    points.push({ at: event.at, own, judge, children, reserved: reservedAt(leases, event.at) })
    last = goal
  }
  if (points.length === 0) return undefined
  return { points, limits, limit: limits.at(-1)?.limit, marks, used: own + judge + children }
}

/** A turn's use over time, and the limit of its configuration. */
export function turnBudget({ journal, turn: { agent } }: Pick<TurnView, "journal" | "turn">, leases: readonly Lease[] = []): BudgetSeries {
  const points: BudgetPoint[] = []
  let [own, children] = [0, 0]
  const { header, entries } = journal
  if (header.at !== undefined) points.push({ at: header.at, own, judge: 0, children, reserved: 0 })
  for (const { record } of entries) {
    if (record.type === "llm_complete" && record.at !== undefined) {
      const { result } = record
      const usages = result.ok ? [result.response.usage, result.response.retriedUsage] : [result.error.usage, result.error.retriedUsage]
      for (const usage of usages) own += usage === undefined ? 0 : tokensOf(usage)
    } else if (record.type === "tool_results" && record.at !== undefined)
      for (const { usage } of record.results) children += usage === undefined ? 0 : tokensOf(usage)
    else continue
    points.push({ at: record.at, own, judge: 0, children, reserved: reservedAt(leases, record.at) })
  }
  const limit = agent?.data.maxTokens
  return { points, limit, limits: [], marks: [], used: own + children }
}

/** Tokens that are reserved for a child while it runs. */
export interface Lease {
  readonly from: number
  /** `undefined`: it still runs. */
  readonly to: number | undefined
  readonly tokens: number
}

function reservedAt(leases: readonly Lease[], at: number): number {
  return leases.reduce((sum, { from, to, tokens }) => (from <= at && (to === undefined || at < to) ? sum + tokens : sum), 0)
}

/** The last state of a thread's goal; `null` if it has none. */
export function goalOf({ threadId, records }: ViewedThread): Goal | null {
  return readGoal(records, threadId).state.goal
}

function goalEventIn(record: HistoryRecord, threadId: string): GoalEvent | undefined {
  if (record.type !== "protocol") return undefined
  const event = record.event as Partial<GoalEvent> | null
  return typeof event === "object" && event !== null && event.type === "goal" && event.threadId === threadId && typeof event.at === "number"
    ? (event as GoalEvent)
    : undefined
}

/** Whether the use that a record charges is the judge's: a record that says so follows before the goal changes again. */
function isJudged(records: readonly HistoryRecord[], index: number, threadId: string): boolean {
  for (let next = index + 1; next < records.length; next += 1) {
    const record = records[next] as HistoryRecord
    if (record.type !== "protocol") return false
    const { type } = (record.event ?? {}) as { readonly type?: unknown }
    if (type === "judged") return true
    if (goalEventIn(record, threadId) !== undefined) return false
  }
  return false
}
