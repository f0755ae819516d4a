import { mkdir, readdir, realpath, stat } from "node:fs/promises"
import { basename, dirname, join } from "node:path"
import { CheckpointError, JournalError, ReplayDivergence } from "../../errors.ts"
import { type JournalStore, JournalStoreError } from "../../hosts/journal/store.ts"
import { readJudged } from "../../hosts/judge/judged-thread.ts"
import { fileReason } from "../../hosts/node/file-error.ts"
import { fileJournalStore } from "../../hosts/node/file-journal-store.ts"
import { lockHolder } from "../../hosts/node/file-lock.ts"
import { snapshotThread, type ThreadSnapshot } from "../../hosts/thread/snapshot.ts"
import type { ChecklistState } from "../../wire/checklist.ts"
import { reasonOf, storeRefusal } from "../run/journal-file.ts"
import { CliError } from "../terminal/errors.ts"
import { clause } from "../terminal/format.ts"
import { type Confirmed, confirm, type WorkFlags } from "../trust/confirm.ts"
import type { OwnStates, StatePlace } from "../trust/own-states.ts"
import { isInside } from "../workspace/folder.ts"
import { Inbox } from "./control/inbox.ts"
import { type GoalMeta, goalOptions, readGoalMeta } from "./goal-config.ts"

/** The thread in a goal's folder; its log is `goal.thread`, its turns are `goal.1`, `goal.2`, … */
export const THREAD_ID = "goal"

/** The stored state of a goal. */
export interface StoredGoal extends ThreadSnapshot {
  readonly known: GoalMeta
  readonly checklist: ChecklistState | undefined
}

/** The folder of `--state`: a goal's log, the journals of its turns, the state of its judge, and an inbox. */
export class GoalFolder {
  /** Its real path. */
  readonly path: string
  readonly inbox: Inbox
  readonly store: JournalStore
  readonly shown: string
  readonly #own: OwnStates

  private constructor(path: string, own: OwnStates) {
    this.path = path
    this.#own = own
    this.shown = `The goal's folder ${path}`
    this.inbox = new Inbox(join(path, "inbox"))
    this.store = fileJournalStore(path)
  }

  /** Finds a folder. It need not exist, but its parent must. @throws {CliError} */
  static async find(path: string, own: OwnStates): Promise<GoalFolder> {
    const found = await stat(path).catch(() => undefined)
    if (found !== undefined && !found.isDirectory()) throw new CliError(`${path} is not a folder. Pass a folder for the goal's state with --state.`)
    if (found !== undefined) {
      await checkLinks(path)
      return new GoalFolder(await realpath(path), own)
    }
    try {
      return new GoalFolder(join(await realpath(dirname(path)), basename(path)), own)
    } catch (error) {
      throw new CliError(
        `The parent of the goal's folder ${path} cannot be used: ${fileReason(error)}. Create it, or pass another path with --state.`,
      )
    }
  }

  /** Whether an absolute path is the folder, inside it, or a record of the user's states. */
  readonly owns = (path: string): boolean => isInside(this.path, path) || this.#own.owns(path)

  /** Decides which settings a stored goal resumes with. @throws {CliError} it may be of another user, and flags are missing */
  async confirm({ known, goal, openTurn, turns }: StoredGoal, flags: WorkFlags): Promise<Confirmed<GoalMeta>> {
    return confirm(known, await this.#own.find(this.#place, known.id ?? ""), flags, {
      name: this.shown,
      task: goal?.objective ?? "none",
      next: openTurn && `turn ${turns}, which is open, with the tool calls it waits for`,
    })
  }

  /** Creates the folder, and records the settings as the user's. */
  async record(meta: GoalMeta): Promise<void> {
    // Private, so that other users cannot replace the state. EEXIST: it exists. Opening the goal reports any other error.
    await mkdir(this.path, { mode: 0o700 }).catch(() => {})
    await this.#own.record(this.#place, meta.id ?? "", meta)
  }

  get #place(): StatePlace {
    return { type: "goal", path: this.path }
  }

  /** Reads the goal, also while another process runs it; `undefined` if none was started. @throws {CliError} */
  async read(): Promise<StoredGoal | undefined> {
    try {
      const bare = await snapshotThread(this.store, THREAD_ID, undefined)
      if (bare === undefined) return undefined
      const known = readGoalMeta(bare.meta)
      if (typeof known === "string") throw new CliError(`${this.shown} cannot be used here: ${known}. Pass another one with --state.`)
      const stored = bare.openTurn === undefined ? bare : await snapshotThread(this.store, THREAD_ID, goalOptions(known))
      const checklist = known.judge === "none" ? undefined : await readJudged(this.store, THREAD_ID)
      return { ...(stored ?? bare), known, checklist }
    } catch (error) {
      if (error instanceof JournalStoreError) throw new CliError(`${this.shown} cannot be read: ${reasonOf(error)}.`)
      throw this.explain(error)
    }
  }

  /** Reads the goal, which must exist. @throws {CliError} */
  async readExisting(): Promise<StoredGoal> {
    const stored = await this.read()
    if (stored === undefined) throw new CliError(`There is no goal in ${this.path}. Start one: turn-machine goal "what to achieve".`)
    return stored
  }

  /** Names the process that runs the goal now; `undefined` if none does. */
  async runner(): Promise<string | undefined> {
    const held = await lockHolder(join(this.path, `${THREAD_ID}.thread`))
    if (held === undefined) return undefined
    if (held.holder === undefined) return "an unknown process"
    const { pid, host, where, isSameHost } = held.holder
    return where === "unseen" && !isSameHost ? `process ${pid} on host ${host}` : `process ${pid}`
  }

  /** Turns an error about the stored goal into a one-line {@link CliError}; returns any other error unchanged. */
  explain(error: unknown): unknown {
    if (error instanceof JournalStoreError) return storeRefusal(this.shown, error, "pass another folder with --state")
    if (error instanceof JournalError || error instanceof CheckpointError)
      return new CliError(`${this.shown} cannot be used: ${clause(error.message)}. Nothing was changed. Start a new goal with another --state.`)
    if (!(error instanceof ReplayDivergence)) return error
    return new CliError(
      `${this.shown} was written by a version of this program that made another request (record ${error.record}). Resume it with that version.`,
      2,
      {
        cause: error,
      },
    )
  }
}

/** Checks that a goal's folder contains no link, through which files elsewhere would be read, written and removed. @throws {CliError} */
async function checkLinks(path: string): Promise<void> {
  const entries = await readdir(path, { withFileTypes: true }).catch(() => [])
  const link = entries.find((entry) => entry.isSymbolicLink())
  if (link === undefined) return
  throw new CliError(`The goal's folder ${path} contains the link ${link.name}, which this program did not make. Remove it, or pass another --state.`)
}
