import { lostUsageRecord, stopRecord } from "../../drivers/goal/deliveries.ts"
import { endGoalTurn, nextTurn } from "../../drivers/goal/thread.ts"
import { checkedConfig, type TurnConfig } from "../../machine/config.ts"
import type { ExecutionSurface } from "../../machine/turn.ts"
import type { TurnMachine } from "../../machine/turn-machine.ts"
import { digest } from "../../replay/digest.ts"
import type { ResumeOptions } from "../../replay/replay.ts"
import type { TurnStart } from "../../wire/config.ts"
import type { Outcome } from "../../wire/event.ts"
import type { GoalOutput } from "../../wire/goal.ts"
import type { DeliveredMessage, Message } from "../../wire/message.ts"
import type { ThreadTurnBegun } from "../../wire/thread.ts"
import type { Host, RunOptions } from "../host.ts"
import { TurnJournal } from "../journal/turn-journal.ts"
import { runTurn } from "../run/run-turn.ts"
import { sleep } from "../timers.ts"
import { goalConfig, type ThreadTurn } from "./config.ts"
import { threadHost } from "./thread-host.ts"
import type { ThreadState } from "./thread-state.ts"

/** Options of the loop, with callbacks that know their thread. */
export interface ThreadLoopOptions extends Omit<RunOptions, "journal" | "turnId"> {
  /** Called at each checkpoint and between turns, before the next decision. Pass new user input to `say` and `command` here. */
  readonly attend?: () => Promise<void> | void
  /** Receives changes and metrics of the goal when they are stored, each at least once, and commands that were refused later. Awaited. */
  readonly onGoal?: (output: GoalOutput) => unknown
  /** Called when a turn begins or is resumed. Awaited. If it throws, the run rejects. */
  readonly onTurn?: (turn: ThreadTurn & { readonly resumed: boolean; readonly machine: TurnMachine }) => unknown
  /** The loop that runs a turn. Default `runTurn` of `turn-machine/hosts`; the one of `openTelemetry` runs turns in spans. */
  readonly runTurn?: typeof runTurn
  /** Waits until a time (milliseconds since the epoch) or until the signal is aborted. Default: a timer. */
  readonly wait?: (until: number, signal: AbortSignal | undefined) => Promise<void>
  /**
   * Called between turns, when all commands are settled and before the loop decides whether to continue the goal. Judge the last turn
   * here, and record the result with `note`.
   */
  readonly between?: () => Promise<Guidance | undefined> | Guidance | undefined
  /** How an open turn is resumed. Default: as in the options of the thread. */
  readonly resume?: ResumeOptions
  /** The longest wait for a continuation, in milliseconds. If it would take longer, the thread rests. Default 600,000. */
  readonly maxWaitMs?: number
}

/** Advice of the host about the next continuation. */
export interface Guidance {
  /** The earliest time to start it. Milliseconds since the epoch. */
  readonly notBefore?: number
  /** Text for the model, added to the goal's own prompt. */
  readonly say?: string
}

/** Why a thread stopped running turns. */
export interface ThreadRest {
  readonly reason: string
  /** When to run the thread again, if known. Milliseconds since the epoch. */
  readonly notBefore?: number
  /** The outcome of the last turn of this run; absent if no turn ran. */
  readonly outcome?: Outcome
}

/** How far apart the leases of two journals of one process may end, in milliseconds: more than the time between two renewals. */
const MOST_APART_MS = 12_000

const DEFAULT_MAX_WAIT_MS = 600_000

/** Runs turns until the thread rests. */
export async function runTurns(thread: ThreadState, host: Host, options: ThreadLoopOptions): Promise<ThreadRest> {
  const rest = await runUntilRest(thread, host, options)
  await reportRecords(thread, host)
  return rest
}

/**
 * Reports the records that no turn has reported: the messages that a turn begins with, what was noted between turns, and what the end of a
 * turn did to the goal. A process reports them once; the next process may report the last of them again, at the same places.
 */
async function reportRecords(thread: ThreadState, host: Host): Promise<void> {
  const { history, reported, iteration } = thread.log
  const from = Math.max(reported, thread.reported)
  if (from >= history.length) return
  const messages = history.flatMap((record) => (record.type === "conversation" ? [record.message] : []))
  await host.progress?.({ type: "progress", messages, eventDelta: history.slice(from), recordsFrom: from, iteration })
  thread.reported = history.length
}

async function runUntilRest(thread: ThreadState, host: Host, options: ThreadLoopOptions): Promise<ThreadRest> {
  const { log } = thread
  const { signal, attend, between, maxWaitMs = DEFAULT_MAX_WAIT_MS, wait = waitUntil } = options
  thread.onGoal = options.onGoal
  let outcome: Outcome | undefined
  const rest = (reason: string, notBefore?: number): ThreadRest => ({
    reason,
    ...(notBefore !== undefined && { notBefore }),
    ...(outcome !== undefined && { outcome }),
  })
  for (;;) {
    await attend?.()
    if (log.turn !== undefined) {
      outcome = await runOpenTurn(thread, log.turn, host, options)
      if (signal?.aborted === true) return rest("The run was stopped.")
      continue
    }
    if (signal?.aborted === true) return rest("The run was stopped.")
    await thread.settleCommands()
    const { say, notBefore = 0 } = (await between?.()) ?? {}
    if (log.commands.length > 0 || isAborted(signal)) continue
    const now = thread.now()
    const next = nextTurn({ ...thread.goalThread, queuedInput: log.undelivered.length > 0 }, now)
    if (next.type === "rest") return rest(next.reason, next.notBefore)
    const until = next.type === "continue" ? Math.max(next.notBefore ?? 0, notBefore) : 0
    if (until > now) {
      if (until - now > maxWaitMs) return rest("The goal waits before it continues.", until)
      await wait(until, signal)
      continue
    }
    await beginTurn(thread, next.type === "continue" ? next.message : undefined, say)
  }
}

/** Read again after an await: the signal may have been aborted since. */
function isAborted(signal: AbortSignal | undefined): boolean {
  return signal?.aborted === true
}

function waitUntil(until: number, signal: AbortSignal | undefined): Promise<void> {
  return sleep(until - Date.now(), signal)
}

async function beginTurn(thread: ThreadState, continuation: DeliveredMessage | undefined, say?: string): Promise<void> {
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
    said: continuation === undefined ? log.undelivered.map((message) => message.id) : [],
    messages: [...messages],
  })
}

async function runOpenTurn(thread: ThreadState, turn: ThreadTurnBegun, host: Host, options: ThreadLoopOptions): Promise<Outcome> {
  const { threadId } = thread
  const { turnId, origin, at: startedAt } = turn
  const { runTurn: loop = runTurn, resume = thread.options.resume, ...runOptions } = options
  await reportRecords(thread, host)
  const { now } = thread.options
  // The owner of the log is the owner of its turns. After a crash, the lease of a turn's journal may end some seconds after that of the log.
  const { waitMs = 0 } = thread.options
  const journal = await TurnJournal.open(thread.store, turnId, { ...thread.options, waitMs: Math.max(waitMs, MOST_APART_MS) })
  thread.journal = journal
  try {
    const config = goalConfig(threadId, { turnId, origin, startedAt }, thread.options)
    const resumed = journal.recorded !== undefined
    const machine = resumed ? await journal.resume(config, resume) : await journal.begin(config, startOf(thread, turn, config), { turnId })
    if (resumed) await recordInterruptedWork(thread, machine, journal, turnId)
    await options.onTurn?.({ turnId, origin, startedAt, resumed, machine })
    thread.running = machine
    const attended = threadHost(thread, machine, host, () => options.attend?.())
    const { outcome } = await loop(machine, attended, { ...runOptions, journal, ...(now !== undefined && { now }) })
    await endTurn(thread, turn, machine, outcome)
    return outcome
  } finally {
    thread.running = undefined
    thread.journal = undefined
    await journal.close()
  }
}

function startOf({ log, options }: ThreadState, { messages, at }: ThreadTurnBegun, config: TurnConfig): TurnStart {
  const { history, iteration, surface } = log
  const { turnDeadlineMs } = options
  const earlier = history.flatMap((record) => (record.type === "conversation" ? [record.message] : []))
  const surfaceChanged = surface !== undefined && surface !== surfaceDigest(checkedConfig(config))
  return {
    messages: [...earlier, ...messages],
    events: history,
    iterationOffset: iteration,
    ...(surfaceChanged && { surfaceChanged }),
    ...(turnDeadlineMs !== undefined && { deadlineAt: at + turnDeadlineMs }),
  }
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
  if (outstanding === undefined) return
  const { lostUsage } = thread.options
  const isLost = outstanding.type === "llm_call" && lostUsage !== undefined
  const stop = stopRecord(machine.history, threadId, thread.now())
  const events = [...(isLost ? [lostUsageRecord(threadId, turnId, lostUsage(outstanding.request))] : []), ...(stop === undefined ? [] : [stop])]
  if (events.length === 0) return
  await journal.command(machine, { type: "apply", actions: [{ type: "append_events", events }] })
}

async function endTurn(thread: ThreadState, { turnId }: ThreadTurnBegun, machine: TurnMachine, outcome: Outcome): Promise<void> {
  const { log } = thread
  const at = thread.now()
  const { costMicros } = thread.options.goal ?? {}
  const { history } = machine
  const ended = endGoalTurn(
    { ...thread.goalThread, history },
    { turnId, outcome, usage: machine.usage, ...(costMicros !== undefined && { costMicros }) },
    at,
  )
  const own = history.slice(log.history.length)
  await log.append({
    type: "turn_ended",
    at,
    turnId,
    outcome,
    iteration: machine.iteration,
    records: [...own, ...ended.records],
    reported: own.length,
    surface: surfaceDigest(machine.turn.surface),
  })
  await thread.report(ended.outputs)
}
