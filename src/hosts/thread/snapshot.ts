import { readGoal } from "../../drivers/goal/history.ts"
import type { Json } from "../../json.ts"
import { isUnfinishedHeader, readJournal } from "../../replay/journal.ts"
import { resume } from "../../replay/replay.ts"
import { journalValidation, wireValidation } from "../../schemas/validation.ts"
import type { Goal, GoalCommand } from "../../wire/goal.ts"
import type { HistoryRecord } from "../../wire/message.ts"
import type { JournalStore } from "../journal/store.ts"
import { type GoalTurnOptions, goalConfig, type ThreadTurn } from "./config.ts"
import { type EndedThreadTurn, ThreadLog, unsettled } from "./log.ts"

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
}

/**
 * Reads a thread without opening it, also while a process runs it. Nothing is written.
 * @param read returns the text of a journal, which may end in an incomplete line; `undefined` if there is no such journal
 * @param options the options of the thread; with `undefined`, the snapshot leaves out what an open turn has done so far
 * @returns `undefined` if there is no such thread
 * @throws {JournalError | ReplayDivergence | CheckpointError} a journal is damaged, or was written by another version
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
    const given = goalConfig(threadId, openTurn, options)
    const config = { ...given, validation: given.validation ?? wireValidation }
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

/** A store that reads texts and ignores writes. */
function readOnly(read: (name: string) => Promise<string | undefined>): JournalStore {
  const nothing = async (): Promise<void> => {}
  return { open: async (name) => ({ text: (await read(name)) ?? "", append: nothing, replace: nothing, close: nothing }) }
}
