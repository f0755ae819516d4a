import { heldRecord, lostUsageRecord, stopRecord } from "../../drivers/goal/deliveries.ts"
import { costOf } from "../../drivers/goal/goal.ts"
import { protocolRecord, type RecordList, readGoal } from "../../drivers/goal/history.ts"
import { changeGoal, endGoalTurn } from "../../drivers/goal/thread.ts"
import { checkedConfig, type TurnConfig } from "../../machine/config.ts"
import { progressEffect } from "../../machine/effects.ts"
import { addUsage, NO_USAGE } from "../../machine/limits.ts"
import type { ExecutionSurface } from "../../machine/turn.ts"
import type { TurnMachine } from "../../machine/turn-machine.ts"
import { afterHistory } from "../../replay/base.ts"
import { digest } from "../../replay/digest.ts"
import type { TurnStart } from "../../wire/config.ts"
import type { Done } from "../../wire/effect.ts"
import type { Outcome } from "../../wire/event.ts"
import type { GoalInput, GoalOutput } from "../../wire/goal.ts"
import type { TokenUsage } from "../../wire/llm.ts"
import type { DeliveredMessage, HistoryRecord, Message } from "../../wire/message.ts"
import type { ThreadCommanded, ThreadTurnBegun, ThreadTurnEnded } from "../../wire/thread.ts"
import type { Host, Suspended } from "../host.ts"
import { logHistory } from "../journal/log-history.ts"
import { isDurable, type ThreadLog } from "../journal/thread-log.ts"
import { logName } from "../journal/thread-names.ts"
import { TurnJournal } from "../journal/turn-journal.ts"
import { runTurn } from "../run/run-turn.ts"
import { goalConfig } from "./config.ts"
import { EngineTurn } from "./engine-turn.ts"
import { chargeLeftChildren } from "./left-children.ts"
import type { OpenTurn, ThreadLoopOptions } from "./loop-options.ts"
import { redirectingJournal } from "./redirect-turn.ts"
import { threadHost, unreportedUsage } from "./thread-host.ts"
import { commandInput, type ThreadState } from "./thread-state.ts"
import { countedUsage } from "./tokens-left.ts"
import { trimTurn } from "./trim.ts"

/** How far apart the leases of two journals of one process may end, in milliseconds: more than the time between two renewals. */
const MOST_APART_MS = 12_000

/** Begins a turn: with inputs of the user that come next, or with a continuation, which becomes part of the history. `say`: more text for it. */
export async function beginTurn(thread: ThreadState, continuation?: DeliveredMessage, say?: string): Promise<void> {
  const { log } = thread
  const number = log.turns + 1
  const id = `continue-${number}`
  const messages: readonly Message[] =
    continuation === undefined
      ? []
      : [
          {
            id,
            role: continuation.role,
            parts: [{ id: `${id}.p0`, type: "text", text: say === undefined ? continuation.content : `${continuation.content}\n\n${say}` }],
            ...(continuation.origin !== undefined && { origin: continuation.origin }),
          },
        ]
  await log.append({
    type: "turn_begun",
    at: thread.now(),
    turnId: `${thread.threadId}.${number}`,
    origin: continuation === undefined ? "user" : "continuation",
    said: continuation === undefined ? log.queue.forNextTurn().map(({ inputId }) => inputId) : [],
    messages: [...messages],
    ...(thread.options.goals === false && { goals: false as const }),
  })
}

/** Runs the turn that has begun, or resumes it, and records its end, unless it is suspended. */
export function runOpenTurn(thread: ThreadState, turn: ThreadTurnBegun, host: Host, options: ThreadLoopOptions): Promise<Done | Suspended> {
  return thread.interruptible(options.signal, (signal) => runUntilEnd(thread, turn, host, { ...options, signal }))
}

async function runUntilEnd(thread: ThreadState, turn: ThreadTurnBegun, host: Host, options: ThreadLoopOptions): Promise<Done | Suspended> {
  const { turnId, origin, at: startedAt } = turn
  const { runTurn: loop = runTurn, openTurn, resume = thread.options.resume, ...runOptions } = options
  await reportRecords(thread, host)
  const { now } = thread.options
  thread.calling = undefined
  thread.deliveringEffect = undefined
  let journal: TurnJournal | undefined
  let isSuspended = false
  try {
    const { machine, resumed } = await thread.withJournalLock(async () => {
      if (openTurn !== undefined) return openRecorded(thread, turn, openTurn)
      journal = await openTurnJournal(thread, turnId)
      const opened = await openMachine(thread, turn, journal, configOf(thread, turn), resume)
      thread.journal = journal
      return opened
    })
    await options.onTurn?.({ turnId, origin, startedAt, resumed, machine })
    thread.running = machine
    if (openTurn !== undefined) thread.engineTurn = new EngineTurn(machine, () => thread.now())
    const attended = threadHost(thread, machine, thread.events.shownBy(turnId, host), {
      attend: () => options.attend?.(),
      isRecorded: openTurn !== undefined,
    })
    // Without the log, the inputs that are assigned to the turn could be delivered twice.
    const isFatal = (error: unknown): boolean => error === thread.failure?.error || runOptions.isFatal?.(error) === true
    const log = journal && redirectingJournal(thread, machine, journal)
    const ended = await loop(machine, attended, {
      conversationId: thread.threadId,
      ...runOptions,
      isFatal,
      suspend: true,
      ...(log && { journal: log }),
      ...(now !== undefined && { now }),
    })
    isSuspended = ended.type === "suspended"
    if (ended.type === "done") {
      const { lastTurn } = thread.log
      await endTurn(thread, turn, machine, ended.outcome)
      if (isCancelled(ended.outcome)) await thread.children?.cancel(turnId)
      if (lastTurn !== undefined && thread.options.retain === "log")
        await trimTurn(thread.store, thread.log, lastTurn.turnId, lastTurn.messages.some(callsTools))
    }
    return ended
  } finally {
    // What a suspended turn has done so far belongs to the history.
    if (!isSuspended) thread.running = undefined
    thread.journal = undefined
    await thread.withJournalLock(async () => journal?.close())
    await chargeLeftChildren(thread)
  }
}

/** Opens the journal of a turn. The owner of the log is the owner of its turns: after a crash, their leases may end some seconds apart. */
export function openTurnJournal(thread: ThreadState, turnId: string): Promise<TurnJournal> {
  const { waitMs = 0 } = thread.options
  const { log } = thread
  const history = log.turn?.turnId === turnId && log.turnPlace ? { history: logHistory(logName(thread.threadId), log.turnPlace, log) } : {}
  return TurnJournal.open(thread.store, turnId, { ...thread.options, ...history, waitMs: Math.max(waitMs, MOST_APART_MS) })
}

async function openMachine(
  thread: ThreadState,
  turn: ThreadTurnBegun,
  journal: TurnJournal,
  config: TurnConfig,
  resume: ThreadLoopOptions["resume"],
): Promise<{ readonly machine: TurnMachine; readonly resumed: boolean }> {
  const { turnId } = turn
  if (journal.recorded === undefined) return { machine: await journal.begin(config, startOf(thread, turn, config), { turnId }), resumed: false }
  const machine = await journal.resume(config, resume)
  await recordInterruptedWork(thread, machine, journal, turnId)
  return { machine, resumed: true }
}

/** The configuration of the open turn. */
export function configOf(thread: ThreadState, { turnId, origin, at: startedAt }: ThreadTurnBegun): TurnConfig {
  const config = goalConfig(thread.threadId, { turnId, origin, startedAt }, { ...thread.options, goals: thread.hasGoals })
  thread.maxTokens = config.maxTokens
  return config
}

/** Opens a turn that an engine records. */
function openRecorded(thread: ThreadState, turn: ThreadTurnBegun, open: OpenTurn): ReturnType<OpenTurn> {
  const { log, threadId } = thread
  const config = configOf(thread, turn)
  const { turnId, origin, at: startedAt } = turn
  const { messages, events } = logHistory(logName(threadId), log.turnPlace ?? log.place, log)
  const start = afterHistory(startOf(thread, turn, config), { messages, events })
  return open({ turnId, origin, startedAt, config, start, history: { messages: messages.length, events: events.length } })
}

/** What the turn begins with after the history of the log. */
function startOf({ log, options }: ThreadState, { messages, at }: ThreadTurnBegun, config: TurnConfig): TurnStart {
  const { iteration, surface } = log
  const { turnDeadlineMs } = options
  const surfaceChanged = surface !== undefined && surface !== surfaceDigest(checkedConfig(config))
  return {
    messages: messages.filter((message) => !isDurable(message)),
    iterationOffset: iteration,
    ...(surfaceChanged && { surfaceChanged }),
    ...(turnDeadlineMs !== undefined && { deadlineAt: at + turnDeadlineMs }),
  }
}

/** Only a tool call can have begun the turn of a child. */
function callsTools({ parts }: Message): boolean {
  return parts.some(({ type }) => type === "tool_call")
}

function surfaceDigest({ systemPrompt, tools }: ExecutionSurface): string {
  return digest([systemPrompt, tools])
}

/**
 * Records what a crash interrupted, before the turn resumes: the lost usage of an outstanding model call, which is made again, and
 * the downtime, which the goal's clock does not count.
 */
async function recordInterruptedWork(thread: ThreadState, machine: TurnMachine, journal: TurnJournal, turnId: string): Promise<void> {
  const { threadId } = thread
  const { outstanding } = machine
  if (outstanding === undefined || !thread.hasGoals) return
  const { lostUsage } = thread.options
  const isLost = outstanding.type === "llm_call" && lostUsage !== undefined
  const stop = stopRecord(machine.turn.record.events, threadId, thread.now(), machine.turn.position)
  const events = [...(isLost ? [lostUsageRecord(threadId, turnId, lostUsage(outstanding.request))] : []), ...(stop === undefined ? [] : [stop])]
  if (events.length === 0) return
  await journal.command(machine, { type: "apply", actions: [{ type: "append_events", events }] })
}

async function endTurn(thread: ThreadState, { turnId }: ThreadTurnBegun, machine: TurnMachine, outcome: Outcome): Promise<void> {
  const { log } = thread
  const at = thread.now()
  const { costMicros } = thread.options.goal ?? {}
  if (!thread.hasGoals) {
    const records = machine.turn.record.events.slice(log.records.length)
    const { iteration, usage } = machine
    return log.append({ type: "turn_ended", at, turnId, outcome, iteration, records, usage, ...surfaceFields(log, machine) })
  }
  // A turn that was cancelled while it waited for people: its driver did not see how long.
  const waited = heldRecord(machine.turn.record.events, thread.threadId, machine.turn.position, at)
  const { events } = machine.turn.record
  // What is appended to these is what the log appends: they share one storage, and what was read of it is not read again.
  const history = waited === undefined ? events : events.append([waited])
  const cancelled = isCancelled(outcome)
  const estimated = (cancelled ? unreportedUsage(thread, machine, thread.calling) : undefined) ?? NO_USAGE
  const usage = addUsage(machine.usage, estimated)
  const counted = addUsage(countedUsage(machine, thread.threadId), estimated)
  const commanded = cancelled ? commandsBeforeAbort(thread, turnId, history, counted, at) : NOTHING
  const ended = endGoalTurn(
    { ...thread.goalThread, history: history.append(commanded.records) },
    { turnId, outcome, usage, ...(costMicros !== undefined && { costMicros }) },
    at,
  )
  const own = machine.turn.record.events.slice(log.records.length)
  await log.append({
    type: "turn_ended",
    at,
    turnId,
    outcome,
    iteration: machine.iteration,
    records: [...own, ...(waited === undefined ? [] : [waited]), ...commanded.records, ...ended.records],
    reported: own.length,
    usage,
    ...surfaceFields(log, machine),
  })
  await thread.report([...commanded.outputs, ...ended.outputs])
}

/** The digest of the turn's last system prompt and tools; the log stores them whenever they differ from those that it has. */
function surfaceFields({ newestSurfaceDigest }: ThreadLog, { turn }: TurnMachine): Pick<ThreadTurnEnded, "surface" | "newSurface"> {
  const { systemPrompt, tools } = turn.surface
  const surface = surfaceDigest(turn.surface)
  return { surface, ...(surface !== newestSurfaceDigest && { newSurface: { systemPrompt, tools } }) }
}

function isCancelled(outcome: Outcome): boolean {
  return outcome.type === "stopped" && outcome.stop.type === "cancelled"
}

interface Commanded {
  readonly records: readonly HistoryRecord[]
  readonly outputs: readonly GoalOutput[]
}

const NOTHING: Commanded = { records: [], outputs: [] }

/**
 * Applies the commands that were given before the turn was aborted, and that it did not receive: a pause that an interrupt follows is a
 * pause of the user, and is not refused because the interrupt has paused the goal. What the turn used is charged first.
 */
function commandsBeforeAbort(thread: ThreadState, turnId: string, history: RecordList, usage: TokenUsage, at: number): Commanded {
  const { threadId, abortedAt = Number.NEGATIVE_INFINITY, pendingCommands, goalThread, options } = thread
  const commands = pendingCommands.filter((command) => command.at <= abortedAt)
  if (commands.length === 0) return NOTHING
  const costMicros = costOf(readGoal(history, threadId).state.turn, usage, options.goal?.costMicros)
  const reported: GoalInput = { type: "usage_reported", at, turnId, usage, ...(costMicros !== undefined && { costMicros }) }
  const { records, outputs } = changeGoal({ ...goalThread, history }, reported, ...commands.map(commandInput))
  return { records: [...commands.map((command) => commandRecord(threadId, command)), ...records], outputs }
}

/** The record by which the log finds that a command is settled. */
function commandRecord(threadId: string, command: ThreadCommanded): HistoryRecord {
  return protocolRecord({ type: "goal_input", threadId, input: commandInput(command), told: true })
}

/**
 * Reports the records that no turn has reported: the messages that a turn begins with, what was noted between turns, and what the end of a
 * turn did to the goal. A process reports them once; the next process may report the last of them again, at the same places.
 */
export async function reportRecords(thread: ThreadState, host: Host): Promise<void> {
  const { records, messages, reported, iteration } = thread.log
  const from = Math.max(reported, thread.reported)
  if (from >= records.length) return
  await host.progress?.(progressEffect(messages, records.slice(from), from, iteration))
  thread.reported = records.length
}
