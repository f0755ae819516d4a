import { readGoal } from "../../drivers/goal/history.ts"
import type { Json } from "../../json.ts"
import { isUnfinishedHeader, readJournal } from "../../replay/journal.ts"
import { resume } from "../../replay/replay.ts"
import type { Goal, GoalCommand } from "../../schemas/goal.ts"
import type { HistoryRecord } from "../../schemas/message.ts"
import { journalValidation, wireValidation } from "../../schemas/validation.ts"
import type { JournalStore } from "../journal/store.ts"
import { type GoalTurnOptions, goalConfig, type ThreadTurn } from "./config.ts"
import { type EndedThreadTurn, ThreadLog, unsettled } from "./log.ts"

/** A thread as it stood at one moment. */
export interface ThreadSnapshot {
  readonly goal: Goal | null
  readonly history: readonly HistoryRecord[]
  readonly meta: Json | undefined
  /** How many turns have begun. */
  readonly turns: number
  readonly openTurn: ThreadTurn | undefined
  readonly lastTurn: EndedThreadTurn | undefined
  /** What is wanted of the goal and was not carried out yet. */
  readonly commands: readonly GoalCommand[]
}

/**
 * Looks at a thread without taking hold of it: at any moment, also while a process runs it. `read` gives the text of a
 * journal as it is, whose end may be torn; `undefined` if there is none. Nothing is written or waited for.
 * @param options those of the thread; `undefined`: of a turn that is open nothing is known then but that it is
 * @returns `undefined` where there is no such thread
 * @throws {JournalError | ReplayDivergence | CheckpointError} what is kept is damaged, or was kept by another version
 */
export async function snapshotThread(
  read: (name: string) => Promise<string | undefined>,
  threadId: string,
  options: GoalTurnOptions | undefined,
): Promise<ThreadSnapshot | undefined> {
  const log = await ThreadLog.open(readOnly(read), `${threadId}.thread`, {})
  if (log.header === undefined) return undefined
  const { turn } = log
  const openTurn = turn && { turnId: turn.turnId, origin: turn.origin, startedAt: turn.at }
  const text = openTurn === undefined || options === undefined ? undefined : await read(openTurn.turnId)
  let { history, commands } = log
  if (openTurn !== undefined && options !== undefined && text !== undefined && !isUnfinishedHeader(text)) {
    const config = { validation: wireValidation, ...goalConfig(threadId, openTurn, options) }
    const machine = resume(readJournal(text, journalValidation), config, { checkEffects: false })
    commands = unsettled(commands, machine.history.slice(history.length))
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
  }
}

/** A store of texts that are only read: what is written to it is kept nowhere. */
function readOnly(read: (name: string) => Promise<string | undefined>): JournalStore {
  const nothing = async (): Promise<void> => {}
  return { open: async (name) => ({ text: (await read(name)) ?? "", append: nothing, replace: nothing, close: nothing }) }
}
