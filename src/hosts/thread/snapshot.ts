import { journalLineValidation } from "../../checks/records.ts"
import { wireValidation } from "../../checks/validation.ts"
import { readGoal } from "../../drivers/goal/history.ts"
import type { Json } from "../../json.ts"
import { withHistory } from "../../replay/base.ts"
import { resume } from "../../replay/replay.ts"
import type { Goal, GoalCommand } from "../../wire/goal.ts"
import type { HistoryRecord, Message } from "../../wire/message.ts"
import type { QueuedInput } from "../journal/input-queue.ts"
import { logHistory } from "../journal/log-history.ts"
import { readJournalParts } from "../journal/parts.ts"
import { type PendingApproval, pendingIn } from "../journal/pending-approvals.ts"
import type { JournalStore } from "../journal/store.ts"
import { type EndedThreadTurn, ThreadLog, undelivered, unsettled } from "../journal/thread-log.ts"
import { logName } from "../journal/thread-names.ts"
import { type GoalTurnOptions, goalConfig, type ThreadTurn } from "./config.ts"
import { checkLog } from "./list-threads.ts"

/** The state of a thread at the time it was read. */
export interface ThreadSnapshot {
  readonly goal: Goal | null
  readonly history: readonly HistoryRecord[]
  readonly meta: Json | undefined
  /** How many turns have begun. */
  readonly turns: number
  readonly openTurn: ThreadTurn | undefined
  readonly lastTurn: EndedThreadTurn | undefined
  /** The goal commands that are not carried out yet. */
  readonly commands: readonly GoalCommand[]
  /** The user messages that no turn has received yet. */
  readonly undelivered: readonly Message[]
  /** Those of them that can be retracted, in the order in which they are delivered, as {@link Thread.queue}. */
  readonly queue: readonly QueuedInput[]
  /** The calls of the open turn that wait for a decision, or whose work continues outside; `undefined` if there are none. */
  readonly pendingApprovals: PendingApproval | undefined
}

/**
 * Reads a thread without opening it, also while a process runs it. Nothing is written.
 * @param options the options of the thread; with `undefined`, the snapshot leaves out what an open turn has done so far
 * @returns `undefined` if there is no such thread
 * @throws {JournalError | ReplayDivergence | CheckpointError} a journal is damaged, or was written by another version
 * @throws {JournalStoreError} `invalid_name`, `unavailable`
 */
export async function snapshotThread(
  store: Pick<JournalStore, "read">,
  threadId: string,
  options: GoalTurnOptions | undefined,
): Promise<ThreadSnapshot | undefined> {
  const text = await store.read(logName(threadId))
  const log = text && (await ThreadLog.read(text))
  if (log?.header === undefined) return undefined
  checkLog(log, threadId)
  const { turn } = log
  const openTurn = turn && { turnId: turn.turnId, origin: turn.origin, startedAt: turn.at }
  const parts = openTurn === undefined || options === undefined ? undefined : await store.read(openTurn.turnId)
  const { journal } = parts === undefined ? { journal: undefined } : await readJournalParts(parts, journalLineValidation)
  let { history, commands, undelivered: messages } = log
  let queue = log.queue.waiting
  if (openTurn !== undefined && options !== undefined && journal !== undefined) {
    const given = goalConfig(threadId, openTurn, { ...options, goals: turn?.goals !== false })
    const config = { ...given, validation: given.validation ?? wireValidation }
    const began = logHistory(logName(threadId), log.turnPlace ?? log.place, log)
    const machine = resume(withHistory(journal, began), config, { checkEffects: false })
    const added = machine.history.slice(history.length)
    commands = unsettled(commands, added)
    messages = undelivered(messages, added)
    queue = queue.filter(({ message }) => messages.includes(message))
    history = machine.history
  }
  return {
    goal: readGoal(history, threadId).state.goal,
    history,
    meta: log.header.meta,
    turns: log.turns,
    openTurn,
    lastTurn: log.lastTurn,
    commands: commands.map(({ command }) => command),
    undelivered: messages,
    queue,
    pendingApprovals: openTurn && (await pendingIn(store, openTurn.turnId)),
  }
}
