import type { Json } from "../../json.ts"
import { addUsage, NO_USAGE } from "../../machine/limits.ts"
import type { GoalEvent, GoalInput, GoalOutput, GoalState, GoalTurn } from "../../schemas/goal.ts"
import type { TokenUsage } from "../../schemas/llm.ts"
import type { DeliveredMessage, HistoryRecord } from "../../schemas/message.ts"
import type { PendingToolCall } from "../../schemas/tool.ts"
import { applyGoal } from "./apply-goal.ts"
import { newGoalState } from "./goal.ts"
import type { GoalPolicy } from "./policy.ts"

/** What the goal driver keeps in the history beside the goal's own events: the open turn and the clock, which events do not hold. */
export interface GoalTurnRecord {
  readonly type: "goal_turn"
  readonly threadId: string
  readonly turn: GoalTurn | null
  readonly clock: GoalState["clock"]
  /** Tool calls of the turn so far. */
  readonly toolCalls: number
  /** The whole batch that waits for the host's part of its results. */
  readonly calls?: readonly PendingToolCall[]
  /** The goal and budget of which the model was told that the next call would not fit. */
  readonly warned?: string
  /** Why the model call failed that ended the turn. */
  readonly error?: TurnError
}

/** Why a turn failed, as far as it matters to a goal. */
export type TurnError = Extract<GoalInput, { type: "turn_failed" }>["error"]

/** What the goal machine wants said to the model; said once a later record counts it as delivered. */
export interface GoalSteerRecord {
  readonly type: "goal_steer"
  readonly threadId: string
  readonly kind: "budget_limit" | "objective_updated"
  readonly message: DeliveredMessage
}

/** So many of the oldest undelivered steerings were delivered. */
export interface GoalDeliveredRecord {
  readonly type: "goal_delivered"
  readonly threadId: string
  readonly count: number
}

/** An input that a host delivers, for the driver to apply: a command in mid-turn, mostly. */
export interface GoalInputRecord {
  readonly type: "goal_input"
  readonly threadId: string
  readonly input: GoalInput
  /** What the goal wants said because of it is in the same delivery. */
  readonly told?: true
}

/** What a turn used that no response will ever tell: a model call whose answer was lost with its process. */
export interface GoalLostRecord {
  readonly type: "goal_lost"
  readonly threadId: string
  readonly turnId: string
  readonly usage: TokenUsage
}

type GoalRecord = GoalEvent | GoalTurnRecord | GoalSteerRecord | GoalDeliveredRecord | GoalInputRecord | GoalLostRecord

/** A history: an array of its records, or a turn's own. */
export interface RecordList {
  readonly length: number
  at(index: number): HistoryRecord | undefined
  /** Shared by all histories grown from one another; keys a cache. */
  readonly storage?: readonly HistoryRecord[]
}

/** The goal as a history leaves it, the open turn included. */
export interface GoalInHistory {
  readonly state: GoalState
  readonly toolCalls: number
  readonly calls: readonly PendingToolCall[] | undefined
  readonly warned: string | undefined
  readonly error: TurnError | undefined
  /** What the open turn used beyond what its machine counts. */
  readonly lost: TokenUsage
  /** Steerings that were not delivered yet, the oldest first. */
  readonly undelivered: readonly GoalSteerRecord[]
  /** Whether the history says anything of goals. */
  readonly known: boolean
}

interface Reading {
  readonly threadId: string
  readonly seen: number
  readonly goal: GoalInHistory
}

const readings = new WeakMap<readonly HistoryRecord[], Reading>()

/** Reads a history from where it was last read: what it costs does not grow with the history. */
export function readGoal(history: RecordList, threadId: string): GoalInHistory {
  const { storage } = history
  const last = storage === undefined ? undefined : readings.get(storage)
  const from = last !== undefined && last.threadId === threadId && last.seen <= history.length ? last : undefined
  let goal = from?.goal ?? nothingKnown(threadId)
  for (let index = from?.seen ?? 0; index < history.length; index += 1) {
    const record = goalRecord(history.at(index), threadId)
    if (record !== undefined) goal = follow(goal, record)
  }
  if (storage !== undefined) readings.set(storage, { threadId, seen: history.length, goal })
  return goal
}

function nothingKnown(threadId: string): GoalInHistory {
  return {
    state: newGoalState(threadId),
    toolCalls: 0,
    calls: undefined,
    warned: undefined,
    error: undefined,
    lost: NO_USAGE,
    undelivered: [],
    known: false,
  }
}

function follow(before: GoalInHistory, record: GoalRecord): GoalInHistory {
  const { state, undelivered } = before
  switch (record.type) {
    case "goal": {
      const { at, goal, memory } = record
      return { ...before, known: true, state: { ...state, goal, memory, clock: { ...state.clock, seenAt: at } } }
    }
    case "goal_turn": {
      const { turn, clock, toolCalls, calls, warned, error } = record
      // What was to be said in a turn that is over is not said in the next, and what that turn lost is settled.
      const left = turn?.turnId === state.turn?.turnId ? before : NOTHING_LEFT
      return { known: true, state: { ...state, turn, clock }, toolCalls, calls, warned, error, undelivered: left.undelivered, lost: left.lost }
    }
    case "goal_steer":
      return { ...before, known: true, undelivered: [...undelivered, record] }
    case "goal_delivered":
      return { ...before, known: true, undelivered: undelivered.slice(record.count) }
    case "goal_lost":
      return record.turnId === state.turn?.turnId ? { ...before, lost: addUsage(before.lost, record.usage) } : before
    case "goal_input":
      return before
  }
}

const NOTHING_LEFT: Pick<GoalInHistory, "undelivered" | "lost"> = { undelivered: [], lost: NO_USAGE }

/** A record of goals of this thread. What is in a history was written by this package, or checked at the edge. */
export function goalRecord(record: HistoryRecord | undefined, threadId: string): GoalRecord | undefined {
  return record?.type === "protocol" ? goalEvent(record.event, threadId) : undefined
}

export function goalEvent(event: Json, threadId: string): GoalRecord | undefined {
  if (typeof event !== "object" || event === null || Array.isArray(event)) return undefined
  const { type, threadId: of } = event as { readonly [key: string]: Json | undefined }
  return typeof type === "string" && RECORD_TYPES.has(type) && of === threadId ? (event as unknown as GoalRecord) : undefined
}

const RECORD_TYPES: ReadonlySet<string> = new Set<GoalRecord["type"]>([
  "goal",
  "goal_turn",
  "goal_steer",
  "goal_delivered",
  "goal_input",
  "goal_lost",
])

/** Inputs applied one after another to the goal of a history, and the records that keep what came of it. */
export class GoalWriter {
  readonly #before: GoalInHistory
  readonly #policy: GoalPolicy
  readonly #records: GoalRecord[] = []
  state: GoalState
  toolCalls: number
  calls: readonly PendingToolCall[] | undefined
  warned: string | undefined
  error: TurnError | undefined

  constructor(before: GoalInHistory, policy: GoalPolicy) {
    this.#before = before
    this.#policy = policy
    this.state = before.state
    this.toolCalls = before.toolCalls
    this.calls = before.calls
    this.warned = before.warned
    this.error = before.error
  }

  /** `told`: what it wants said is said already. */
  give(input: GoalInput, told = false): readonly GoalOutput[] {
    const { state, outputs } = applyGoal(this.state, input, this.#policy)
    this.state = state
    if (input.type === "turn_started") {
      this.toolCalls = 0
      this.error = undefined
    }
    for (const output of outputs) {
      if (output.type === "event") this.#records.push(output.event)
      else if (output.type === "steer" && !told) {
        this.#records.push({ type: "goal_steer", threadId: state.threadId, kind: output.kind, message: output.message })
      }
    }
    return outputs
  }

  /** What to append. A thread that never had a goal is left without a trace. */
  records(): readonly HistoryRecord[] {
    const { threadId, goal, turn, clock } = this.state
    const { toolCalls, calls, warned, error } = this
    const before = this.#before
    const written = this.#records.slice()
    const noted = calls !== before.calls || warned !== before.warned || error !== before.error
    const moved = turn !== before.state.turn || clock !== before.state.clock || noted
    if (moved && (goal !== null || before.known || calls !== undefined)) {
      written.push({
        type: "goal_turn",
        threadId,
        turn,
        clock,
        toolCalls,
        ...(calls !== undefined && { calls }),
        ...(warned !== undefined && { warned }),
        ...(error !== undefined && { error }),
      })
    }
    return written.map((event) => ({ type: "protocol", event: event as unknown as Json }))
  }
}
