import { CheckpointError } from "../errors.ts"
import type { SavedEffect, SavedRecord, SettledCall, TurnCheckpoint } from "../wire/checkpoint.ts"
import type { Effect, LlmCall } from "../wire/effect.ts"
import type { HistoryRecord, Message } from "../wire/message.ts"
import { callsOf, WaitingTools } from "./batch.ts"
import type { CompleteTurnConfig } from "./config.ts"
import { doneEffect, progressEffect } from "./effects.ts"
import { requestIdOf } from "./held.ts"
import { History } from "./history.ts"
import { MAX_SAVED_COUNT } from "./limits.ts"
import type { Turn, TurnRecord, TurnState } from "./turn.ts"

const FORMAT: TurnCheckpoint["format"] = "turn-machine/checkpoint"
const VERSION: TurnCheckpoint["version"] = 2

/** From each older version to the next one. */
export type Migrations = { readonly [version: number]: (checkpoint: Record<string, unknown>) => Record<string, unknown> }
const MIGRATIONS: Migrations = {}

/** The contents of a turn machine: the turn, and the effects that were not polled yet. */
export interface Held {
  readonly turn: Turn
  readonly unpolled: readonly Effect[]
}

/** Returns the turn as plain JSON that later inputs do not change. */
export function writeCheckpoint(config: CompleteTurnConfig, { turn, unpolled }: Held): TurnCheckpoint {
  const { position, record, surface } = turn
  const { syncedIteration, deadlineAt, at } = position
  const messages = record.messages.toArray()
  return {
    format: FORMAT,
    version: VERSION,
    driver: { name: config.driver.name, version: config.driver.version },
    state: plainState(turn.position.state),
    unpolled: saveUnpolled(turn, unpolled),
    messages,
    events: saveRecords(record, messages),
    startLength: record.startLength,
    turnCauses: record.turnCauses.toArray(),
    reportedEvents: record.reportedEvents,
    iteration: position.iteration,
    iterationOffset: position.iterationOffset,
    ...(syncedIteration !== undefined && { syncedIteration }),
    turnLimitScheduled: position.turnLimitScheduled,
    ...(position.heldSince !== undefined && { heldSince: position.heldSince }),
    ...(position.heldMs > 0 && { heldMs: position.heldMs }),
    ...(deadlineAt !== undefined && { deadlineAt }),
    ...(position.surfaceChanged && { surfaceChanged: true as const }),
    nextEffectId: position.nextEffectId,
    nextMessageNumber: position.nextMessageNumber,
    usage: position.usage,
    ...(at !== undefined && { at }),
    systemPrompt: surface.systemPrompt,
    tools: surface.tools,
  }
}

function plainState(state: TurnState): TurnCheckpoint["state"] {
  if (state.type === "waiting_llm") return { ...state, outstanding: plainCall(state.outstanding) }
  if (state.type !== "waiting_tools") return state
  const { type, outstanding, results, settled, decided, pending } = state
  return {
    type,
    outstanding,
    results,
    ...(settled !== undefined && { settled }),
    ...(decided.length > 0 && { decided: decided.toArray() }),
    ...(pending.length > 0 && { pending }),
  }
}

/** A projector may make a request's lists on demand; a checkpoint has them as plain lists. */
function plainCall(call: LlmCall): LlmCall {
  return { ...call, request: { ...call.request } }
}

function saveRecords({ events }: TurnRecord, messages: readonly Message[]): readonly SavedRecord[] {
  const indexes = new Map<Message, number>()
  messages.forEach((message, index) => {
    indexes.set(message, index)
  })
  return events.toArray().map((record) => {
    const index = record.type === "conversation" ? indexes.get(record.message) : undefined
    return index === undefined ? record : { type: "message", index }
  })
}

function saveUnpolled(turn: Turn, unpolled: readonly Effect[]): readonly SavedEffect[] {
  const outstanding = "outstanding" in turn.position.state ? turn.position.state.outstanding : undefined
  // The reported deltas are contiguous and end at `reportedEvents`, so the place of each follows from those after it.
  let eventsTo = turn.record.reportedEvents
  const saved: SavedEffect[] = []
  for (let index = unpolled.length - 1; index >= 0; index -= 1) {
    const effect = unpolled[index] as Effect
    if (effect === outstanding) {
      saved.push({ type: "outstanding" })
    } else if (effect.type === "progress" || effect.type === "done") {
      const eventsFrom = eventsTo - effect.eventDelta.length
      const report = { messageCount: effect.messages.length, eventsFrom, eventsTo, iteration: effect.iteration }
      eventsTo = eventsFrom
      saved.push(effect.type === "done" ? { type: "done", outcome: effect.outcome, ...report } : { type: "progress", ...report })
    } else if (effect.type === "llm_call") {
      saved.push(plainCall(effect))
    } else if (effect.type !== "tool_calls_released") {
      // The calls of a release are among those of the batch, which is emitted again.
      saved.push(effect)
    }
  }
  return saved.reverse()
}

/**
 * Reads a checkpoint: its JSON text or its parsed value, of this version or an older one.
 * @throws {CheckpointError} every code of {@link CheckpointErrorCode}
 */
export function readCheckpoint(config: CompleteTurnConfig, value: unknown, migrations: Migrations = MIGRATIONS): Held {
  const migrated = migrate(identify(typeof value === "string" ? parseText(value) : value), migrations)
  if (config.validation !== undefined) return restoreTurn(config, config.validation.checkpoint(migrated))
  try {
    return restoreTurn(config, migrated as unknown as TurnCheckpoint)
  } catch (cause) {
    if (cause instanceof CheckpointError) throw cause
    throw new CheckpointError("invalid_checkpoint", "", "The checkpoint does not have what a turn needs.", { cause })
  }
}

function restoreTurn(config: CompleteTurnConfig, checkpoint: TurnCheckpoint): Held {
  checkDriver(config, checkpoint)
  checkConsistency(checkpoint)

  const messages = History.of(checkpoint.messages)
  const events = History.of(
    checkpoint.events.map(
      (record): HistoryRecord =>
        record.type === "message" ? { type: "conversation", message: checkpoint.messages[record.index] as Message } : record,
    ),
  )
  const { state, turnCauses, reportedEvents, startLength, systemPrompt, tools, surfaceChanged = false } = checkpoint
  const { iteration, iterationOffset, deadlineAt, syncedIteration, turnLimitScheduled, nextEffectId, nextMessageNumber, usage, at } = checkpoint
  const { heldSince, heldMs = 0 } = checkpoint
  const turn: Turn = {
    record: { messages, events, turnCauses: History.of(turnCauses), reportedEvents, startLength },
    position: {
      state: restoreState(state),
      iteration,
      iterationOffset,
      deadlineAt,
      syncedIteration,
      turnLimitScheduled,
      surfaceChanged,
      nextEffectId,
      nextMessageNumber,
      usage,
      at,
      heldSince,
      heldMs,
    },
    surface: { systemPrompt, tools },
  }
  return { turn, unpolled: restoreUnpolled(turn, checkpoint.unpolled) }
}

/** The state of a checkpoint as a turn has it. */
export function restoreState(state: TurnCheckpoint["state"]): TurnState {
  if (state.type !== "waiting_tools") return state
  const { outstanding, results, settled, decided = [], pending = [] } = state
  const arrived = results.flatMap((result, index): SettledCall[] => (result === null ? [] : [{ index, result }]))
  return new WaitingTools(outstanding, { settled, arrived: History.of(arrived), decided: History.of(decided), pending })
}

function restoreUnpolled(turn: Turn, saved: readonly SavedEffect[]): readonly Effect[] {
  const { state } = turn.position
  const unpolled: Effect[] = []
  for (const effect of saved) {
    if (effect.type === "outstanding") {
      if ("outstanding" in state) unpolled.push(state.outstanding)
    } else if (effect.type === "progress" || effect.type === "done") {
      const messages = turn.record.messages.prefix(effect.messageCount)
      const { eventsFrom, eventsTo, iteration } = effect
      const eventDelta = turn.record.events.slice(eventsFrom, eventsTo)
      // `done` is the last effect of a turn, so the turn's usage is final.
      unpolled.push(
        effect.type === "done"
          ? doneEffect(effect.outcome, messages, eventDelta, eventsFrom, { iteration, usage: turn.position.usage })
          : progressEffect(messages, eventDelta, eventsFrom, iteration),
      )
    } else {
      unpolled.push(effect)
    }
  }
  return unpolled
}

function parseText(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (cause) {
    throw new CheckpointError("not_json", "", "The checkpoint is not JSON text; it may have been cut off.", { cause })
  }
}

function identify(value: unknown): Record<string, unknown> & { version: number } {
  if (typeof value !== "object" || value === null) {
    throw new CheckpointError(
      "not_a_checkpoint",
      "",
      `Expected a checkpoint, got ${value === null || value === undefined ? String(value) : `a ${typeof value}`}.`,
    )
  }
  const { format, version } = readHeader(value)
  if (format !== FORMAT) throw new CheckpointError("not_a_checkpoint", "/format", `Not a checkpoint: its format is not "${FORMAT}".`)
  if (!Number.isSafeInteger(version)) {
    throw new CheckpointError("unsupported_version", "/version", "The checkpoint's version is not a whole number.")
  }
  return value as Record<string, unknown> & { version: number }
}

function readHeader(value: object): { readonly format?: unknown; readonly version?: unknown } {
  try {
    const { format, version } = value as { readonly format?: unknown; readonly version?: unknown }
    return { format, version }
  } catch (cause) {
    throw new CheckpointError("not_a_checkpoint", "", "Not a checkpoint: reading it throws.", { cause })
  }
}

function migrate(checkpoint: Record<string, unknown> & { version: number }, migrations: Migrations): Record<string, unknown> {
  if (checkpoint.version > VERSION) {
    throw new CheckpointError(
      "unsupported_version",
      "/version",
      `The checkpoint has version ${checkpoint.version}; this package reads version ${VERSION}. Update turn-machine.`,
    )
  }
  let migrated: Record<string, unknown> = checkpoint
  for (let version = checkpoint.version; version < VERSION; version += 1) {
    const migration = migrations[version]
    if (migration === undefined) {
      const message = `The checkpoint has version ${checkpoint.version}; this package reads version ${VERSION}. Use the release that wrote it.`
      throw new CheckpointError("unsupported_version", "/version", message)
    }
    try {
      migrated = { ...migration(migrated), version: version + 1 }
    } catch (cause) {
      throw new CheckpointError("invalid_checkpoint", "", `The checkpoint cannot be migrated from version ${version} to ${version + 1}.`, {
        cause,
      })
    }
  }
  return migrated
}

function checkDriver(config: CompleteTurnConfig, checkpoint: TurnCheckpoint): void {
  const { driver } = checkpoint
  const { name, version } = config.driver
  if (driver.name !== name || driver.version !== version) {
    const path = driver.name !== name ? "/driver/name" : "/driver/version"
    throw new CheckpointError(
      "driver_mismatch",
      path,
      `The checkpoint was made under driver "${driver.name}" version ${driver.version}, not "${name}" version ${version}.`,
    )
  }
}

const COUNTERS = ["iteration", "iterationOffset", "nextEffectId", "nextMessageNumber"] as const

/** Counters that contradict each other would emit effects under wrong ids or report records twice. */
function checkConsistency(checkpoint: TurnCheckpoint): void {
  const { state, messages, events, nextEffectId, iteration, iterationOffset, syncedIteration, reportedEvents, startLength } = checkpoint
  const { heldSince, at } = checkpoint
  const require: Require = (holds, path, message) => {
    if (!holds) throw new CheckpointError("inconsistent_checkpoint", path, `The checkpoint contradicts itself at "${path}": ${message}.`)
  }

  for (const counter of COUNTERS) require(checkpoint[counter] <= MAX_SAVED_COUNT, `/${counter}`, "the counter is too high to be counted on")
  require(nextEffectId >= 1, "/nextEffectId", "effect ids count from 1")
  require(iteration >= iterationOffset, "/iteration", `iteration ${iteration} lies before the offset ${iterationOffset}`)
  require(syncedIteration === undefined || syncedIteration <= iteration, "/syncedIteration", "a later iteration than the current one is synced")
  require(reportedEvents <= events.length, "/reportedEvents", `${reportedEvents} of ${events.length} records were reported`)
  require(startLength <= messages.length, "/startLength", `the turn began with ${startLength} of ${messages.length} messages`)
  if ("outstanding" in state) {
    const { id } = state.outstanding
    require(id === nextEffectId - 1, "/state/outstanding/id", `effect ${id} is outstanding while the next id is ${nextEffectId}`)
  }
  if (state.type === "waiting_tools") checkBatch(state, require)
  const mayBeHeld = state.type === "waiting_tools" || state.type === "finished"
  require(heldSince === undefined || (mayBeHeld && heldSince === at), "/heldSince", "the turn did not wait for people since its latest response")
  events.forEach((record, index) => {
    require(record.type !== "message" || record.index < messages.length, `/events/${index}/index`, "the message does not exist")
  })
  checkUnpolled(checkpoint, require)
}

type Require = (holds: boolean, path: string, message: string) => void

/** Results and decisions that belong to no call, or to another one, would run a call without consent, or one that has its result. */
function checkBatch(state: Extract<TurnCheckpoint["state"], { type: "waiting_tools" }>, require: Require): void {
  const { outstanding, results, settled = [], decided = [], pending = [] } = state
  const { held = [] } = outstanding
  const taken = new Set<number>()
  const total = outstanding.calls.length + held.length + settled.length
  settled.forEach(({ index }, place) => {
    const follows = index > (settled[place - 1]?.index ?? -1) && index < total
    require(follows, `/state/settled/${place}/index`, "the result has no place of its own in the batch")
    taken.add(index)
  })
  held.forEach(({ callId, requestId, index }, place) => {
    const path = `/state/outstanding/held/${place}`
    const follows = index > (held[place - 1]?.index ?? -1) && index < total && !taken.has(index)
    require(follows, `${path}/index`, "the held call has no place of its own in the batch")
    require(requestId === requestIdOf(outstanding.id, callId), `${path}/requestId`, "the request is that of another call")
  })
  const calls = callsOf(outstanding, settled)
  require(results.length === calls.length, "/state/results", `there are ${results.length} results for ${calls.length} calls`)
  results.forEach((result, index) => {
    const fits = result === null || result.callId === calls[index]?.callId
    require(fits, `/state/results/${index}/callId`, "the result belongs to another call")
  })
  require(results.length === 0 || results.includes(null), "/state/results", "every call has its result, so nothing is outstanding")
  require(settled.length === 0 || results.length > 0, "/state/settled", "every call has its result, so nothing is outstanding")

  const placeOf = new Map(calls.map(({ callId }, index) => [callId, index]))
  const repeated = new Set(calls.flatMap(({ callId }, index) => (placeOf.get(callId) === index ? [] : [callId])))
  held.forEach(({ callId }, place) => {
    require(!repeated.has(callId), `/state/outstanding/held/${place}/callId`, "two calls of the batch have the id of a held one")
  })
  // A batch becomes outstanding before any of its calls continues outside.
  require(outstanding.pending === undefined, "/state/outstanding/pending", "pending calls are those of the state")
  const isOpen = (callId: string): boolean => results[placeOf.get(callId) ?? -1] === null
  const undecided = new Map(held.map(({ requestId, callId }) => [requestId, callId]))
  decided.forEach(({ requestId, decision, args }, place) => {
    const path = `/state/decided/${place}`
    const callId = undecided.get(requestId)
    require(callId !== undefined, `${path}/requestId`, "the decision is about no held call, or about one that is decided before")
    require((decision === "edit") === (args !== undefined), `${path}/args`, "an edit has arguments, and nothing else has")
    const runs = decision === "approve" || decision === "edit"
    require(runs || !isOpen(callId ?? ""), `${path}/decision`, "a call that was not approved waits for its result")
    undecided.delete(requestId)
  })
  const waiting = new Set(undecided.values())
  for (const callId of waiting) require(isOpen(callId), "/state/results", "a call has a result without a decision")
  pending.forEach(({ callId }, place) => {
    require(isOpen(callId) &&
      !waiting.has(callId) &&
      !repeated.has(callId), `/state/pending/${place}/callId`, "the call does not wait for its result")
    waiting.add(callId)
  })
}

function checkUnpolled(checkpoint: TurnCheckpoint, require: Require): void {
  const { state, unpolled, messages, nextEffectId, reportedEvents } = checkpoint
  // The outstanding effect has an entry of its own type; any other effect was answered before it.
  const answeredBelow = "outstanding" in state ? state.outstanding.id : nextEffectId
  let outstanding = 0
  let reported: { readonly to: number; readonly path: string } | undefined
  unpolled.forEach((effect, index) => {
    const path = `/unpolled/${index}`
    if (effect.type === "outstanding") {
      outstanding += 1
      require("outstanding" in state && outstanding === 1, path, "the effect does not exist")
    } else if (effect.type === "progress" || effect.type === "done") {
      const { eventsFrom, eventsTo } = effect
      require(effect.messageCount <= messages.length, `${path}/messageCount`, "more messages are reported than exist")
      require(eventsFrom <= eventsTo, `${path}/eventsTo`, "the records that are reported end before they begin")
      require(reported === undefined || eventsFrom === reported.to, `${path}/eventsFrom`, "records are reported twice or left out")
      reported = { to: eventsTo, path: `${path}/eventsTo` }
      const last = state.type === "finished" && index === unpolled.length - 1
      require(effect.type !== "done" || last, path, "done is not the last effect of a finished turn")
    } else if ("id" in effect) {
      const { id } = effect
      require(id >= 1 && id < answeredBelow, `${path}/id`, `effect ${id} was never answered: answered ids are between 0 and ${answeredBelow}`)
    }
  })
  if (reported !== undefined)
    require(reported.to === reportedEvents, reported.path, `the reports end at record ${reported.to}, reportedEvents is ${reportedEvents}`)
}
