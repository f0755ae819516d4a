import { canonicalJson } from "../json.ts"
import type { TurnConfig } from "../machine/config.ts"
import { addUsage } from "../machine/limits.ts"
import type { Turn } from "../machine/turn.ts"
import type { TurnEvent } from "../wire/event.ts"
import type { GoalEvent, TurnOrigin } from "../wire/goal.ts"
import type { JournalHeader } from "../wire/journal.ts"
import type { HistoryRecord, Message } from "../wire/message.ts"
import type { LlmComplete, Response } from "../wire/response.ts"
import type { ThreadRecord, ThreadTurnBegun, ThreadTurnEnded } from "../wire/thread.ts"
import type { DurableThreadEvent } from "../wire/thread-event.ts"
import type { TokenUsage } from "../wire/usage.ts"
import type { JournalEntry } from "./journal-entry.ts"
import { type EventKind, START, type ThreadPosition } from "./thread-cursor.ts"
import { type TurnBase, type TurnFact, TurnFacts } from "./turn-facts.ts"

/** An event without its cursor, which depends on what its reader has read before. */
export type ThreadEventContent = WithoutCursor<DurableThreadEvent>
type WithoutCursor<Event> = Event extends unknown ? Omit<Event, "cursor"> : never

/** An event with its place in its thread. */
export interface PlacedEvent {
  readonly kind: EventKind
  readonly position: ThreadPosition
  readonly content: ThreadEventContent
}

/** A turn whose journal is to be replayed. */
export interface ReplayedTurn {
  readonly turnId: string
  readonly origin: TurnOrigin
  /** Milliseconds since the epoch. */
  readonly startedAt: number
  /** The turn has no goal driver. Absent: it has one. */
  readonly goals?: false
}

/** What the log of a thread has before the first record that is folded. */
export interface EventBase {
  /** The position before its events. */
  readonly position: ThreadPosition
  readonly history: Iterable<HistoryRecord>
  /** The messages of the user that no turn had received. */
  readonly undelivered: readonly Message[]
  /** The system prompt and tools that the log had last. */
  readonly surface: ThreadTurnEnded["newSurface"]
}

/** Returns the configuration of a turn; `undefined` or a throw: its journal is not replayed, and its messages are those of the log. */
export type ConfigOfTurn = (turn: ReplayedTurn) => TurnConfig | undefined

/**
 * Folds the records of a thread to its durable events: the records of the log in their order, and those of the journal of a turn between the
 * beginning of the turn and its end. Pure: the same records give the same events, live or later.
 *
 * The journal of a turn may be left out, or be one that cannot be replayed. Its messages are then those that the log has at its end.
 */
export class ThreadEventFold {
  readonly #configOf: ConfigOfTurn
  #position: ThreadPosition
  /** The history as the log has it. */
  readonly #history: HistoryRecord[]
  #undelivered: readonly Message[]
  #turn: ThreadTurnBegun | undefined
  #facts: TurnFacts | undefined
  /** The system prompt and tools that the log has last. */
  #surface: ThreadTurnEnded["newSurface"]
  /** The calls that started and have no result, by id. */
  #open = new Map<string, string>()
  /** The model call that was answered last. */
  #answered = 0

  /** @param base what the log has before the record that comes first, which begins a turn. Default: nothing */
  constructor(configOf: ConfigOfTurn, { position, history, undelivered, surface }: EventBase = NOTHING) {
    this.#configOf = configOf
    this.#position = position
    this.#history = [...history]
    this.#undelivered = undelivered
    this.#surface = surface
  }

  /** The position after all events so far. */
  get position(): ThreadPosition {
    return this.#position
  }

  /** The turn that has begun and not ended. */
  get openTurn(): ThreadTurnBegun | undefined {
    return this.#turn
  }

  /** The id of the last model call of the open turn that has ended; 0 without one. */
  get answeredModelCall(): number {
    return this.#answered
  }

  /** The open turn as its journal leads to it. `undefined`: there is none, or it cannot be replayed. */
  get replayed(): Turn | undefined {
    return this.#facts?.turn
  }

  /** The events of the next record of the log. `number`: counted from 1. */
  log(record: ThreadRecord, number: number): readonly PlacedEvent[] {
    const { at } = record
    switch (record.type) {
      case "said": {
        this.#undelivered = [...this.#undelivered, record.message]
        this.#position = { ...this.#position, inputs: number, inputIndex: 0 }
        const { message, key, when } = record
        const given = { ...(key !== undefined && { key }), ...(when !== undefined && { when }) }
        return [this.#input({ type: "input_queued", at, inputId: message.id, message, ...given })]
      }
      case "retracted":
        this.#position = { ...this.#position, inputs: number, inputIndex: 0 }
        return record.inputs.map((inputId) => {
          this.#undelivered = this.#undelivered.filter(({ id }) => id !== inputId)
          return this.#input({ type: "input_retracted", at, inputId, ...(record.by !== undefined && { by: record.by }) })
        })
      case "reordered": {
        const { input: inputId, before } = record
        this.#position = { ...this.#position, inputs: number, inputIndex: 0 }
        return [this.#input({ type: "input_reordered", at, inputId, ...(before !== undefined && { before }) })]
      }
      case "assigned":
      case "commanded":
      case "happened":
      case "deleted":
        return []
      case "header":
        this.#advance(number)
        return []
      case "noted":
        this.#advance(number)
        return this.#add(record.records, at)
      case "turn_begun":
        return this.#begin(record, number)
      case "turn_ended":
        return this.#end(record, number)
    }
  }

  /** The events of the next record of the open turn's journal. The header is the first. */
  journal({ number, record, fingerprint }: Pick<JournalEntry, "number" | "record" | "fingerprint">): readonly PlacedEvent[] {
    const turn = this.#turn
    if (turn === undefined) return []
    if (record.type === "header") {
      this.#facts = this.#begun(record, turn)
      return []
    }
    this.#position = { ...this.#position, record: number, index: 0 }
    const at = "at" in record ? record.at : undefined
    return callsAfterAnswer((this.#facts?.next({ record, fingerprint }) ?? []).flatMap((fact) => this.#factEvents(fact, turn.turnId, at)))
  }

  #begun(header: JournalHeader, { turnId, origin, at: startedAt, goals }: ThreadTurnBegun): TurnFacts | undefined {
    try {
      const config = this.#configOf({ turnId, origin, startedAt, ...(goals !== undefined && { goals }) })
      return config && new TurnFacts(header, config, this.#base())
    } catch {
      return undefined
    }
  }

  #base(): TurnBase {
    const events = [...this.#history]
    return {
      events,
      ...(this.#surface !== undefined && { surface: this.#surface }),
      messages: events.flatMap((record) => (record.type === "conversation" ? [record.message] : [])),
    }
  }

  #begin(record: ThreadTurnBegun, number: number): readonly PlacedEvent[] {
    const { at, turnId, origin, said, messages } = record
    this.#advance(number)
    this.#turn = record
    this.#facts = undefined
    this.#open = new Map()
    this.#answered = 0
    const received = said.flatMap((inputId) => this.#undelivered.filter(({ id }) => id === inputId))
    const added = [...received, ...messages.filter(isDurable)].map((message): HistoryRecord => ({ type: "conversation", message }))
    return [this.#fact({ type: "turn_started", at, turnId, origin }), ...this.#add(added, at, turnId)]
  }

  #end(record: ThreadTurnEnded, number: number): readonly PlacedEvent[] {
    const { at, turnId, outcome, usage, records, newSurface } = record
    if (newSurface !== undefined) this.#surface = newSurface
    this.#advance(number)
    this.#turn = undefined
    this.#facts = undefined
    const added = this.#add(records, at, turnId)
    return [...added, this.#fact({ type: "turn_ended", at, turnId, outcome, ...(usage !== undefined && { usage }) })]
  }

  #advance(number: number): void {
    this.#position = { ...this.#position, main: number, record: 0, index: 0 }
  }

  /** Adds records to the history of the log. Those that the journal of their turn has shown are not shown again. */
  #add(records: readonly HistoryRecord[], at: number, turnId?: string): readonly PlacedEvent[] {
    const from = this.#history.length
    this.#history.push(...records)
    this.#undelivered = withoutDelivered(this.#undelivered, records)
    return this.#historyEvents(records, from, at, turnId)
  }

  /** The events of history records, the first of them at `from`. */
  #historyEvents(records: readonly HistoryRecord[], from: number, at: number | undefined, turnId: string | undefined): readonly PlacedEvent[] {
    const events: PlacedEvent[] = []
    for (const [offset, record] of records.entries()) {
      if (from + offset < this.#position.places) continue
      if (record.type === "conversation" && turnId !== undefined) events.push(...this.#leftCalls(record.message, turnId, at))
      this.#position = { ...this.#position, places: from + offset + 1 }
      const content = contentOf(record, { ...(at !== undefined && { at }), ...(turnId !== undefined && { turnId }) })
      if (content !== undefined) events.push({ kind: "history", position: this.#position, content })
    }
    return events
  }

  /** The ends of calls that have no result of their own: the turn left them. */
  #leftCalls({ parts }: Message, turnId: string, at: number | undefined): readonly PlacedEvent[] {
    const events: PlacedEvent[] = []
    for (const part of parts) {
      const toolName = part.type === "tool_result" ? this.#open.get(part.callId) : undefined
      if (part.type !== "tool_result" || toolName === undefined) continue
      this.#open.delete(part.callId)
      events.push(this.#fact({ type: "tool_call_ended", ...timed(at), turnId, callId: part.callId, toolName, status: "cancelled" }))
    }
    return events
  }

  #factEvents(fact: TurnFact, turnId: string, at: number | undefined): readonly PlacedEvent[] {
    switch (fact.type) {
      case "history":
        return this.#historyEvents(fact.records, 0, at, turnId)
      case "answer":
        return this.#answerEvents(fact.response, turnId)
      case "command": {
        const { command, left } = fact
        const usage = "partial" in command ? command.partial?.usage : undefined
        const ended = left === undefined ? [] : [this.#modelCallEnded({ turnId, effectId: left, terminalReason: "cancelled", ...used(usage) }, at)]
        return command.type === "redirect" ? [...ended, this.#fact({ type: "redirected", ...timed(command.at ?? at), turnId })] : ended
      }
      case "effect": {
        const { effect } = fact
        switch (effect.type) {
          case "progress":
          case "done":
            return this.#historyEvents(effect.eventDelta, effect.recordsFrom, at, turnId)
          case "tool_calls":
          case "tool_calls_released":
            return effect.calls.map(({ callId, toolName, args }) => {
              this.#open.set(callId, toolName)
              return this.#fact({ type: "tool_call_started", ...timed(at), turnId, effectId: effect.id, callId, toolName, args })
            })
          case "exec_code": {
            const { id: effectId, code, language } = effect
            return [this.#fact({ type: "code_started", ...timed(at), turnId, effectId, code, ...(language !== undefined && { language }) })]
          }
          case "emit": {
            const content = this.#shown(effect.event, turnId, at)
            return content === undefined ? [] : [this.#fact(content)]
          }
          default:
            return []
        }
      }
    }
  }

  #answerEvents(response: Response, turnId: string): readonly PlacedEvent[] {
    const { at, id: effectId } = response
    if (response.type === "llm_complete") return [this.#modelCallEnded({ turnId, effectId, ...answerOf(response) }, at)]
    if (response.type !== "exec_result") return []
    const { result } = response
    const ended = result.ok
      ? { result: result.value, ...(result.value.error !== undefined && { error: result.value.error }) }
      : { error: result.error }
    return [this.#fact({ type: "code_ended", ...timed(at), turnId, effectId, ...ended })]
  }

  #modelCallEnded(facts: Omit<Extract<ThreadEventContent, { type: "model_call_ended" }>, "type" | "at">, at: number | undefined): PlacedEvent {
    this.#answered = facts.effectId
    return this.#fact({ type: "model_call_ended", ...timed(at), ...facts })
  }

  #shown(event: TurnEvent, turnId: string, at: number | undefined): ThreadEventContent | undefined {
    switch (event.type) {
      case "tool_call": {
        const { callId, name: toolName, output, durationMs } = event
        if (callId !== undefined) this.#open.delete(callId)
        const ended = { toolName, status: output.status, output, durationMs }
        return { type: "tool_call_ended", ...timed(at), turnId, ...(callId !== undefined && { callId }), ...ended }
      }
      case "approval_requested":
        return { ...timed(at), turnId, ...event }
      case "approval_decided": {
        const { name: toolName, ...decided } = event
        return { ...timed(at), turnId, toolName, ...decided }
      }
      case "tool_pending": {
        const { type: _type, name: toolName, ...pending } = event
        return { type: "tool_call_pending", ...timed(at), turnId, toolName, ...pending }
      }
      case "message":
        return { type: "notice", ...timed(at), turnId, kind: event.kind, text: event.text }
      case "error":
        return { ...timed(at), turnId, ...event }
      default:
        return undefined
    }
  }

  #fact(content: ThreadEventContent): PlacedEvent {
    this.#position = { ...this.#position, index: this.#position.index + 1 }
    return { kind: "fact", position: this.#position, content }
  }

  #input(content: ThreadEventContent): PlacedEvent {
    this.#position = { ...this.#position, inputIndex: this.#position.inputIndex + 1 }
    return { kind: "input", position: this.#position, content }
  }
}

/**
 * The events of a record with the answer of the model before what happened to its calls: a driver decides which of them are held or denied before it
 * adds the answer to the history. Events of one kind stay in their order, as their positions are.
 */
function callsAfterAnswer(events: readonly PlacedEvent[]): readonly PlacedEvent[] {
  const ended = events.map(({ content }) => content.type).lastIndexOf("model_call_ended")
  const answer = events.findIndex(({ content }, index) => index > ended && content.type === "message" && content.message.role === "assistant")
  const first = events.findIndex(({ content: { type } }, index) => index > ended && (type === "approval_requested" || type === "tool_call_ended"))
  if (ended < 0 || first < 0 || answer < first) return events
  const between = events.slice(first, answer + 1)
  const isHistory = ({ kind }: PlacedEvent): boolean => kind === "history"
  return [...events.slice(0, first), ...between.filter(isHistory), ...between.filter((event) => !isHistory(event)), ...events.slice(answer + 1)]
}

const NOTHING: EventBase = { position: START, history: [], undelivered: [], surface: undefined }

function timed(at: number | undefined): { readonly at?: number } {
  return at === undefined ? {} : { at }
}

function used(usage: TokenUsage | undefined): { readonly usage?: TokenUsage } {
  return usage === undefined ? {} : { usage }
}

/** How a model call ended. Attempts that failed before are counted in its usage. */
function answerOf({ result }: LlmComplete): Pick<Extract<ThreadEventContent, { type: "model_call_ended" }>, "terminalReason" | "usage" | "error"> {
  const { terminalReason, retriedUsage } = result.ok ? result.response : result.error
  const own = result.ok ? result.response.usage : (result.error.usage ?? result.partial?.usage)
  const usage = own !== undefined && retriedUsage !== undefined ? addUsage(own, retriedUsage) : (own ?? retriedUsage)
  if (result.ok) return { terminalReason, ...used(usage) }
  const { message, code, kind } = result.error
  return { terminalReason, ...used(usage), error: { message, ...(code !== undefined && { code }), ...(kind !== undefined && { kind }) } }
}

/** The event of a history record; `undefined`: it is of a driver's own. */
function contentOf(record: HistoryRecord, facts: { readonly at?: number; readonly turnId?: string }): ThreadEventContent | undefined {
  if (record.type === "conversation") return { type: "message", ...facts, message: record.message }
  const { event } = record
  const { type } = (event ?? {}) as { readonly type?: unknown }
  if (typeof type !== "string" || INTERNAL.test(type)) return undefined
  if (type !== "goal") return { type: "notice", ...facts, kind: type, event }
  const { cause, goal } = event as unknown as GoalEvent
  return cause === "noted" ? undefined : { type: "goal_updated", ...facts, cause, goal }
}

/** Events of the history that others already show, or that the drivers of goals and approvals, and judges, have for themselves. */
const INTERNAL = /^(?:goal_|approval$|approval_turn_started$|judge)/

/** Whether a message stays in the history. One that is marked as transient is part of its turn only. */
function isDurable({ origin }: Message): boolean {
  return origin?.type !== "plugin" || origin.transient !== true
}

/** The messages that are not among the added records. One of the host's own may have the same id, so the content counts, too. */
function withoutDelivered(messages: readonly Message[], added: readonly HistoryRecord[]): readonly Message[] {
  if (messages.length === 0) return messages
  const received = new Set(added.flatMap((record) => (record.type === "conversation" ? [canonicalJson(record.message)] : [])))
  return received.size === 0 ? messages : messages.filter((message) => !received.has(canonicalJson(message)))
}
