import type { Json } from "../../json.ts"
import { storageOf } from "../../lazy.ts"
import { addUsage, NO_USAGE } from "../../machine/limits.ts"
import type { GoalEvent, GoalInput, GoalOutput, GoalState, GoalTurn } from "../../wire/goal.ts"
import type { TokenUsage } from "../../wire/llm.ts"
import type { DeliveredMessage, HistoryRecord } from "../../wire/message.ts"
import { applyGoal } from "./apply-goal.ts"
import { newGoalState } from "./goal.ts"
import type { GoalPolicy } from "./policy.ts"

/** The goal driver's own record: the open turn and the clock, which goal events do not hold. */
interface GoalTurnRecord {
  readonly type: "goal_turn"
  readonly threadId: string
  readonly turn: GoalTurn | null
  readonly clock: GoalState["clock"]
  /** Number of tool calls in the turn so far. */
  readonly toolCalls: number
  /** The goal and budget for which the model was warned that the next call would exceed the budget. */
  readonly warned?: string
  /** Model calls in the turn since it reached a budget. Absent: it reached none. */
  readonly callsAfterBudget?: number
  /** The failure of the model call that ended the turn. */
  readonly error?: GoalTurnError
  /** How long the turn has waited for nothing but people, in milliseconds, as far as the clock excludes it. Absent: it did not. */
  readonly heldMs?: number
}

/** Why a turn failed: an account's usage limit, a transient error, or any other. */
export type GoalTurnError = Extract<GoalInput, { type: "turn_failed" }>["error"]

/** A message for the model from the goal machine. Pending until a `goal_delivered` record counts it. */
export interface GoalSteerRecord {
  readonly type: "goal_steer"
  readonly threadId: string
  readonly kind: "budget_limit" | "objective_updated"
  readonly message: DeliveredMessage
}

/** Marks the oldest `count` pending messages as delivered. */
interface GoalDeliveredRecord {
  readonly type: "goal_delivered"
  readonly threadId: string
  readonly count: number
}

/** An input that a host delivers for the driver to apply, mostly a command during a turn. */
interface GoalInputRecord {
  readonly type: "goal_input"
  readonly threadId: string
  readonly input: GoalInput
  /** The resulting messages for the model are part of the same delivery. */
  readonly told?: true
}

/** Usage that no response reports: of a model call whose answer was lost with its process, or of an endpoint that reports none. */
interface UnreportedUsageRecord {
  /** `goal_lost`: as earlier versions wrote it. */
  readonly type: "goal_unreported_usage" | "goal_lost"
  readonly threadId: string
  readonly turnId: string
  readonly usage: TokenUsage
}

type GoalRecord = GoalEvent | GoalTurnRecord | GoalSteerRecord | GoalDeliveredRecord | GoalInputRecord | UnreportedUsageRecord

/** A history: an array of records, or `machine.history`. */
export interface RecordList {
  readonly length: number
  at(index: number): HistoryRecord | undefined
  /** Shared by all histories that grow from one another. Used as a cache key. */
  readonly storage?: readonly HistoryRecord[]
}

/** The goal read from a history, including the open turn. */
export interface GoalInHistory {
  readonly state: GoalState
  readonly toolCalls: number
  readonly warned: string | undefined
  /** Model calls in the turn since it reached a budget; `undefined` if it reached none. */
  readonly callsAfterBudget: number | undefined
  readonly error: GoalTurnError | undefined
  /** How long the turn has waited for nothing but people, in milliseconds, as far as the clock excludes it. */
  readonly heldMs: number
  /** Usage of the open turn that its machine does not count. */
  readonly unreported: TokenUsage
  /** Messages not yet delivered, oldest first. */
  readonly undelivered: readonly GoalSteerRecord[]
  /** Whether the history contains any goal records of the thread. */
  readonly known: boolean
}

interface CachedRead {
  readonly threadId: string
  readonly seen: number
  readonly goal: GoalInHistory
}

const cache = new WeakMap<readonly HistoryRecord[], CachedRead>()

/** Reads the goal from a history. It continues after the records read last, so the cost does not grow with the history. */
export function readGoal(history: RecordList, threadId: string): GoalInHistory {
  const storage = storageOf(history)
  const last = storage === undefined ? undefined : cache.get(storage)
  const from = last !== undefined && last.threadId === threadId && last.seen <= history.length ? last : undefined
  let goal = from?.goal ?? withoutGoal(threadId)
  for (let index = from?.seen ?? 0; index < history.length; index += 1) {
    const record = goalRecord(history.at(index), threadId)
    if (record !== undefined) goal = applyRecord(goal, record)
  }
  if (storage !== undefined) cache.set(storage, { threadId, seen: history.length, goal })
  return goal
}

function withoutGoal(threadId: string): GoalInHistory {
  return {
    state: newGoalState(threadId),
    toolCalls: 0,
    warned: undefined,
    callsAfterBudget: undefined,
    error: undefined,
    heldMs: 0,
    unreported: NO_USAGE,
    undelivered: [],
    known: false,
  }
}

function applyRecord(before: GoalInHistory, record: GoalRecord): GoalInHistory {
  const { state, undelivered } = before
  switch (record.type) {
    case "goal": {
      const { at, goal, memory } = record
      return { ...before, known: true, state: { ...state, goal, memory, clock: { ...state.clock, seenAt: at } } }
    }
    case "goal_turn": {
      const { turn, clock, toolCalls, warned, callsAfterBudget, error, heldMs = 0 } = record
      // Pending messages and unreported usage of an ended turn do not carry over to the next one.
      const { undelivered: pending, unreported } = turn?.turnId === state.turn?.turnId ? before : NOTHING_PENDING
      const facts = { toolCalls, warned, callsAfterBudget, error, heldMs }
      return { known: true, state: { ...state, turn, clock }, ...facts, undelivered: pending, unreported }
    }
    case "goal_steer":
      return { ...before, known: true, undelivered: [...undelivered, record] }
    case "goal_delivered":
      return { ...before, known: true, undelivered: undelivered.slice(record.count) }
    case "goal_unreported_usage":
    case "goal_lost":
      return record.turnId === state.turn?.turnId ? { ...before, unreported: addUsage(before.unreported, record.usage) } : before
    case "goal_input":
      return before
  }
}

const NOTHING_PENDING: Pick<GoalInHistory, "undelivered" | "unreported"> = { undelivered: [], unreported: NO_USAGE }

/** The id of the goal that a turn was charged to when it ended; `undefined` if it was charged to none. Reads from the end of the history. */
export function chargedGoal(history: RecordList, threadId: string, turnId: string): string | undefined {
  let isCharged = false
  for (let index = history.length - 1; index >= 0; index -= 1) {
    const record = goalRecord(history.at(index), threadId)
    if (record?.type === "goal" && isCharged) return record.goal?.goalId
    if (record?.type !== "goal_turn" || record.turn?.turnId !== turnId) continue
    if (!record.turn.marked) return undefined
    isCharged = true
  }
  return undefined
}

/** Returns the goal record of this thread in a history record, if any. Records are trusted: this package wrote them, or validation checked them. */
export function goalRecord(record: HistoryRecord | undefined, threadId: string): GoalRecord | undefined {
  return record?.type === "protocol" ? goalEvent(record.event, threadId) : undefined
}

export function goalEvent(event: Json, threadId: string): GoalRecord | undefined {
  if (typeof event !== "object" || event === null || Array.isArray(event)) return undefined
  const { type, threadId: owner } = event as { readonly [key: string]: Json | undefined }
  return typeof type === "string" && RECORD_TYPES.has(type) && owner === threadId ? (event as unknown as GoalRecord) : undefined
}

const RECORD_TYPES: ReadonlySet<string> = new Set<GoalRecord["type"]>([
  "goal",
  "goal_turn",
  "goal_steer",
  "goal_delivered",
  "goal_input",
  "goal_unreported_usage",
  "goal_lost",
])

type TurnFacts = Pick<GoalInHistory, "state" | (typeof FACTS)[number]>

/** Builds the record of the open turn and the clock. */
export function turnRecord({ state, toolCalls, warned, callsAfterBudget, error, heldMs }: TurnFacts): GoalTurnRecord {
  const { threadId, turn, clock } = state
  return {
    type: "goal_turn",
    threadId,
    turn,
    clock,
    toolCalls,
    ...(warned !== undefined && { warned }),
    ...(callsAfterBudget !== undefined && { callsAfterBudget }),
    ...(error !== undefined && { error }),
    ...(heldMs > 0 && { heldMs }),
  }
}

/** Wraps a goal record as a history record. */
export function protocolRecord(record: GoalRecord): HistoryRecord {
  return { type: "protocol", event: asJson(record) }
}

/** Goal records are plain JSON by type. */
export function asJson(record: GoalRecord): Json {
  return record as unknown as Json
}

/** What a turn's record holds apart from the goal machine's state. */
const FACTS = ["toolCalls", "warned", "callsAfterBudget", "error", "heldMs"] as const

/** Applies inputs in order to the goal of a history, and collects the records to append. */
export class GoalWriter {
  readonly #before: GoalInHistory
  readonly #policy: GoalPolicy
  readonly #records: GoalRecord[] = []
  readonly #unreported: UnreportedUsageRecord[] = []
  state: GoalState
  toolCalls: number
  warned: string | undefined
  callsAfterBudget: number | undefined
  error: GoalTurnError | undefined
  heldMs: number

  constructor(before: GoalInHistory, policy: GoalPolicy) {
    this.#before = before
    this.#policy = policy
    this.state = before.state
    this.toolCalls = before.toolCalls
    this.warned = before.warned
    this.callsAfterBudget = before.callsAfterBudget
    this.error = before.error
    this.heldMs = before.heldMs
  }

  /** Usage of the open turn that its machine does not count. */
  get unreported(): TokenUsage {
    return this.#unreported.reduce((sum, { usage }) => addUsage(sum, usage), this.#before.unreported)
  }

  /** Records usage that no response reports. It counts once the turn's usage is reported again. */
  addUnreported(turnId: string, usage: TokenUsage): void {
    this.#unreported.push({ type: "goal_unreported_usage", threadId: this.state.threadId, turnId, usage })
  }

  /**
   * Excludes from the clock what the turn waited for nothing but people until `at`, in milliseconds. `heldMs` is cumulative; only what it
   * grew since the last time moves the clock.
   */
  excludeHeld(heldMs: number, at: number): void {
    const { seenAt, markedAt } = this.state.clock
    const more = heldMs - this.heldMs
    if (more <= 0) return
    this.heldMs = heldMs
    if (markedAt === null) return
    const now = Math.max(seenAt ?? at, at)
    this.state = { ...this.state, clock: { seenAt: now, markedAt: Math.min(markedAt + more, now) } }
  }

  /** Applies one input. `delivered`: its messages for the model are delivered already, so no pending record is written. */
  apply(input: GoalInput, delivered = false): readonly GoalOutput[] {
    const before = this.state.goal
    const { state, outputs } = applyGoal(this.state, input, this.#policy)
    this.state = state
    if (input.type === "turn_started") {
      this.toolCalls = 0
      this.callsAfterBudget = undefined
      this.error = undefined
    }
    if (state.goal?.status !== "budget_limited") this.callsAfterBudget = undefined
    else if (before?.status === "active" && state.turn?.marked === true) this.callsAfterBudget = 0
    for (const output of outputs) {
      if (output.type === "event") this.#records.push(output.event)
      else if (output.type === "steer" && !delivered) {
        this.#records.push({ type: "goal_steer", threadId: state.threadId, kind: output.kind, message: output.message })
      }
    }
    return outputs
  }

  /** The records to append. Empty for a thread that never had a goal. */
  records(): readonly HistoryRecord[] {
    const { goal, turn, clock } = this.state
    const before = this.#before
    if (goal === null && !before.known) return this.#records.map(protocolRecord)
    const written = this.#records.slice()
    const noted = FACTS.some((fact) => this[fact] !== before[fact])
    const moved = turn !== before.state.turn || hasMoved(before.state.clock, clock) || noted
    if (moved) written.push(turnRecord(this))
    // After the record of the turn that they belong to.
    return [...written, ...this.#unreported].map(protocolRecord)
  }
}

/** A clock that is not running has nothing to record. */
function hasMoved(before: GoalState["clock"], { seenAt, markedAt }: GoalState["clock"]): boolean {
  return markedAt !== before.markedAt || (markedAt !== null && seenAt !== before.seenAt)
}
