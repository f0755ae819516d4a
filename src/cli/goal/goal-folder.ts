import { realpath, stat } from "node:fs/promises"
import { basename, dirname, join } from "node:path"
import { CheckpointError, JournalError, ReplayDivergence } from "../../errors.ts"
import { type JournalStore, JournalStoreError } from "../../hosts/journal/store.ts"
import { readJudged } from "../../hosts/judge/judged-thread.ts"
import { errorCode, fileReason } from "../../hosts/node/file-error.ts"
import { fileJournalStore } from "../../hosts/node/file-journal-store.ts"
import { lockHolder } from "../../hosts/node/file-lock.ts"
import { snapshotThread, type ThreadSnapshot } from "../../hosts/thread/snapshot.ts"
import type { ChecklistState } from "../../schemas/checklist.ts"
import { readRegular, storeRefusal } from "../journal/journal-file.ts"
import { CliError } from "../terminal/errors.ts"
import { oneLine } from "../terminal/format.ts"
import { isInside } from "../workspace/folder.ts"
import { goalOptions } from "./goal-config.ts"
import { type GoalMeta, readGoalMeta } from "./goal-meta.ts"
import { Inbox } from "./inbox.ts"

/** The thread in a goal's folder; its log is `goal.thread`, its turns are `goal.1`, `goal.2`, … */
export const THREAD_ID = "goal"

/** A goal as it stands in its folder. */
export interface KeptGoal extends ThreadSnapshot {
  readonly known: GoalMeta
  readonly checklist: ChecklistState | undefined
}

/** The folder of `--state`: a goal's log, the journals of its turns, what its judge remembers, and an inbox. */
export class GoalFolder {
  /** Its real path. */
  readonly path: string
  readonly inbox: Inbox
  readonly store: JournalStore
  readonly shown: string

  private constructor(path: string) {
    this.path = path
    this.shown = `The goal's folder ${path}`
    this.inbox = new Inbox(join(path, "inbox"))
    this.store = fileJournalStore(path)
  }

  /** A folder that need not exist, but the one it is in must. @throws {CliError} */
  static async find(path: string): Promise<GoalFolder> {
    const found = await stat(path).catch(() => undefined)
    if (found !== undefined && !found.isDirectory()) throw new CliError(`${path} is no folder. Give a folder for the goal's state with --state.`)
    if (found !== undefined) return new GoalFolder(await realpath(path))
    try {
      return new GoalFolder(join(await realpath(dirname(path)), basename(path)))
    } catch (error) {
      throw new CliError(
        `The goal's folder ${path} cannot be made: ${fileReason(error)}. Make the folder it is in, or give another path with --state.`,
      )
    }
  }

  /** Whether an absolute path is the folder or in it. */
  readonly owns = (path: string): boolean => isInside(this.path, path)

  /** The goal as it is now, whoever runs it; `undefined` where none was begun. @throws {CliError} */
  async read(): Promise<KeptGoal | undefined> {
    try {
      const bare = await snapshotThread(this.#text, THREAD_ID, undefined)
      if (bare === undefined) return undefined
      const known = readGoalMeta(bare.meta)
      if (typeof known === "string") throw new CliError(`${this.shown} cannot be used here: ${known}. Give another one with --state.`)
      const kept = bare.openTurn === undefined ? bare : await snapshotThread(this.#text, THREAD_ID, goalOptions(known))
      return { ...(kept ?? bare), known, checklist: known.judge === "none" ? undefined : readJudged(await this.#text(`${THREAD_ID}.judge`)) }
    } catch (error) {
      throw this.explain(error)
    }
  }

  /** The same, where there must be one. */
  async readExisting(): Promise<KeptGoal> {
    const kept = await this.read()
    if (kept === undefined) throw new CliError(`There is no goal in ${this.path}. Begin one: turn-machine goal "what to achieve".`)
    return kept
  }

  /** Who runs the goal now, in words; `undefined`: nobody. */
  async runner(): Promise<string | undefined> {
    const held = await lockHolder(join(this.path, `${THREAD_ID}.thread`))
    if (held === undefined) return undefined
    if (held.holder === undefined) return "a process that left no name"
    const { pid, host, where } = held.holder
    return where === "another host" ? `process ${pid} of host ${host}` : `process ${pid}`
  }

  /** An error in one line, if it is about what is kept; else the error itself. */
  explain(error: unknown): unknown {
    if (error instanceof JournalStoreError) return storeRefusal(this.shown, error, "give another folder with --state")
    if (error instanceof JournalError || error instanceof CheckpointError)
      return new CliError(
        `${this.shown} cannot be used: ${oneLine(error.message).replace(/\.$/, "")}. It was left as it is; begin anew with another --state.`,
      )
    if (!(error instanceof ReplayDivergence)) return error
    return new CliError(
      `${this.shown} was written by a version of this program that asked for something else (record ${error.record}). Go on with that version.`,
      2,
      {
        cause: error,
      },
    )
  }

  readonly #text = async (name: string): Promise<string | undefined> => {
    try {
      return await readRegular(join(this.path, name))
    } catch (error) {
      if (errorCode(error) === "ENOENT") return undefined
      throw new CliError(`${this.shown} cannot be read: ${fileReason(error)}.`)
    }
  }
}
