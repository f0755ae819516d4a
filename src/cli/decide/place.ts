import { stat } from "node:fs/promises"
import { basename, dirname, join, resolve } from "node:path"
import { type JournalStore, JournalStoreError } from "../../hosts/journal/store.ts"
import { logName } from "../../hosts/journal/thread-names.ts"
import { fileReason } from "../../hosts/node/file-error.ts"
import { fileJournalStore } from "../../hosts/node/file-journal-store.ts"
import { childrenPrefix } from "../../hosts/run/child-place.ts"
import { readWaiting, type WaitingTurns } from "../approvals/waiting.ts"
import { GoalFolder } from "../goal/goal-folder.ts"
import { readJournalFile, reasonOf } from "../run/journal-file.ts"
import { readRunMeta } from "../run/run-config.ts"
import { CliError } from "../terminal/errors.ts"
import { oneLine, shellWord } from "../terminal/format.ts"
import type { Io } from "../terminal/io.ts"
import { OwnStates } from "../trust/own-states.ts"

/** The state file of a run, the folder of a goal, or another folder of journals. */
export interface ApprovalPlace {
  readonly path: string
  /** As the user wrote it. */
  readonly shown: string
  readonly store: JournalStore
  /** The goal in it. */
  readonly goal: GoalFolder | undefined
  /** Whether `turn-machine run` wrote the journal. */
  readonly isRun: boolean
  /** Whether it is one journal. */
  readonly isFile: boolean
}

/** Finds the state file or folder that a command was given. @throws {CliError} */
export async function findPlace(word: string, io: Io): Promise<ApprovalPlace> {
  const path = resolve(io.cwd, word)
  const shown = oneLine(word)
  let isFolder: boolean
  try {
    isFolder = (await stat(path)).isDirectory()
  } catch (error) {
    throw new CliError(`${shown} cannot be read: ${fileReason(error)}. Pass the state file of a run, or the folder of a goal.`)
  }
  if (isFolder) {
    const folder = await GoalFolder.find(path, new OwnStates(io.env))
    const isGoal = (await stat(join(folder.path, logName(folder.threadId))).catch(() => undefined)) !== undefined
    if (isGoal) return { path: folder.path, shown, store: folder.store, goal: folder, isRun: false, isFile: false }
    return { path, shown, store: fileJournalStore(path), goal: undefined, isRun: false, isFile: false }
  }
  // Names what is wrong with a file that is not a journal.
  const { journal, damage } = await readJournalFile(path, shown)
  if (damage !== undefined) throw new CliError(`${shown} is damaged. See: turn-machine journal show ${shellWord(shown)}`)
  const isRun = typeof readRunMeta(journal.header.meta) === "object"
  return { path, shown, store: oneJournal(path), goal: undefined, isRun, isFile: true }
}

/** Reads which calls wait in a place, also while a process works on it. @throws {CliError} */
export async function waitingTurns({ store, goal, shown }: ApprovalPlace): Promise<WaitingTurns> {
  if (goal !== undefined) return goal.waiting()
  try {
    return await readWaiting(store)
  } catch (error) {
    if (error instanceof JournalStoreError) throw new CliError(`${shown} cannot be read: ${reasonOf(error)}.`)
    throw error
  }
}

/** A store with one file, whose name is its path, and the journals of the children of its turn, which are beside it. */
function oneJournal(path: string): JournalStore {
  const files = fileJournalStore()
  return {
    ...files,
    async *list() {
      yield path
      for await (const name of fileJournalStore(dirname(path)).list({ prefix: childrenPrefix(basename(path)) })) yield join(dirname(path), name)
    },
  }
}
