import { mkdir, readdir, realpath, stat } from "node:fs/promises"
import { basename, dirname, join } from "node:path"
import { changeGoal, goalChanges } from "../../drivers/goal/thread.ts"
import { CheckpointError, JournalError, ReplayDivergence } from "../../errors.ts"
import { type JournalStore, JournalStoreError } from "../../hosts/journal/store.ts"
import { judgeName, logName } from "../../hosts/journal/thread-names.ts"
import { readJudged } from "../../hosts/judge/judged-thread.ts"
import { fileReason } from "../../hosts/node/file-error.ts"
import { fileJournalStore } from "../../hosts/node/file-journal-store.ts"
import { lockHolder } from "../../hosts/node/file-lock.ts"
import { snapshotThread, type ThreadSnapshot } from "../../hosts/thread/snapshot.ts"
import type { ChecklistState } from "../../wire/checklist.ts"
import type { Goal, GoalInput } from "../../wire/goal.ts"
import { readWaiting, type WaitingTurns } from "../approvals/waiting.ts"
import { reasonOf, storeRefusal } from "../run/journal-file.ts"
import { CliError } from "../terminal/errors.ts"
import { clause, oneLine } from "../terminal/format.ts"
import { type Confirmed, confirm, type WorkFlags } from "../trust/confirm.ts"
import type { OwnStates, StatePlace } from "../trust/own-states.ts"
import { isInside } from "../workspace/folder.ts"
import { Inbox } from "./control/inbox.ts"
import { type GoalMeta, goalOptions, readGoalMeta } from "./goal-config.ts"
import { holderText } from "./out-lock.ts"
import { threadId, threadNumber } from "./thread-ids.ts"

/** The stored state of a goal. */
export interface StoredGoal extends ThreadSnapshot {
  readonly threadId: string
  readonly known: GoalMeta
  /** The judge's state; `undefined` without a judge. */
  readonly checklist: ChecklistState | undefined
  /** What the goal will be when its pending commands are carried out. */
  readonly settled: Goal | null
}

/**
 * The folder of `--state`: for each goal a log, the journals of its turns and the state of its judge, and an inbox. The newest goal is the
 * folder's goal. Earlier ones are complete or cleared; they stay where they are and can be read.
 */
export class GoalFolder {
  /** Its real path. */
  readonly path: string
  readonly inbox: Inbox
  readonly store: JournalStore
  readonly shown: string
  /** The thread of the folder's goal; its log is `<threadId>.thread`, its turns are `<threadId>.1`, `<threadId>.2`, … */
  readonly threadId: string
  readonly #own: OwnStates

  private constructor(path: string, own: OwnStates, number: number) {
    this.path = path
    this.threadId = threadId(number)
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
      const real = await realpath(path)
      return new GoalFolder(real, own, Math.max(1, ...(await numbersIn(real))))
    }
    try {
      return new GoalFolder(join(await realpath(dirname(path)), basename(path)), own, 1)
    } catch (error) {
      throw new CliError(
        `The parent of the goal's folder ${path} cannot be used: ${fileReason(error)}. Create it, or pass another path with --state.`,
      )
    }
  }

  /** The folder with a new thread, for the next goal. */
  next(): GoalFolder {
    return new GoalFolder(this.path, this.#own, threadNumber(this.threadId) + 1)
  }

  /** The goals before the folder's goal, the oldest first. Those that cannot be read are left out. */
  async earlier(): Promise<readonly EarlierGoal[]> {
    const last = threadNumber(this.threadId)
    const numbers = (await numbersIn(this.path)).filter((number) => number < last)
    const goals = await Promise.all(
      numbers.map(async (number) => {
        const found = await snapshotThread(this.store, threadId(number), undefined).catch(() => undefined)
        const changes = found === undefined ? [] : goalChanges([...found.history], threadId(number), null)
        const change = changes.findLast((output) => output.type === "goal_updated")
        return found === undefined || change?.type !== "goal_updated"
          ? []
          : [{ goal: change.goal, isCleared: found.goal === null, turns: found.turns }]
      }),
    )
    return goals.flat()
  }

  /** Whether an absolute path is the folder, inside it, or a record of the user's states. */
  readonly owns = (path: string): boolean => isInside(this.path, path) || this.#own.owns(path)

  /** Decides which settings a stored goal resumes with. @throws {CliError} it may be of another user, and flags are missing */
  async confirm({ known, goal, openTurn, turns }: StoredGoal, flags: WorkFlags): Promise<Confirmed<GoalMeta>> {
    return confirm(known, await this.#own.find(this.#place, known.id ?? ""), flags, {
      name: this.shown,
      purpose: "resume it",
      task: goal?.objective ?? "none",
      next: openTurn && `turn ${turns}, which is open, with the tool calls it waits for`,
    })
  }

  /** Decides whether a new goal may begin here. Checks, a judge and changes of the goal before are not its. @throws {CliError} as of {@link confirm} */
  async confirmNext({ known }: StoredGoal, flags: WorkFlags): Promise<Confirmed<GoalMeta>> {
    const {
      checks: _checks,
      mcp: _servers,
      mcpConfig: _config,
      mcpConfigDigest: _digest,
      judgeModel: _model,
      judgeBaseUrl: _url,
      judgeApiKeyEnv: _key,
      edit: _edit,
      approve: _mode,
      approveWithinMs: _ms,
      ...shared
    } = known
    return confirm(shared, await this.#own.find(this.#place, known.id ?? ""), flags, { name: this.shown, purpose: "start a new goal in it" })
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
      const { threadId } = this
      const bare = await snapshotThread(this.store, threadId, undefined)
      if (bare === undefined) return undefined
      const known = readGoalMeta(bare.meta)
      if (typeof known === "string") throw new CliError(`${this.shown} cannot be used here: ${known}. Pass another one with --state.`)
      const stored = (bare.openTurn === undefined ? undefined : await snapshotThread(this.store, threadId, goalOptions(known))) ?? bare
      const checklist = known.judge === "none" ? undefined : await this.#readJudged()
      return { ...stored, threadId, known, checklist, settled: settledGoal(stored, threadId) }
    } catch (error) {
      if (error instanceof JournalStoreError) throw new CliError(`${this.shown} cannot be read: ${reasonOf(error)}.`)
      throw this.explain(error)
    }
  }

  async #readJudged(): Promise<ChecklistState | undefined> {
    try {
      return await readJudged(this.store, this.threadId)
    } catch (error) {
      if (!(error instanceof CheckpointError)) throw error
      const file = oneLine(join(this.path, judgeName(this.threadId)))
      throw new CliError(
        `${this.shown} cannot be used: ${clause(error.message)}. Nothing was changed. To let the judge begin anew, remove ${file}. For a new goal, pass another --state.`,
        2,
        { cause: error },
      )
    }
  }

  /** Reads the goal, which must exist. @throws {CliError} */
  async readExisting(): Promise<StoredGoal> {
    const stored = await this.read()
    if (stored === undefined) throw new CliError(`There is no goal in ${this.path}. Start one: turn-machine goal "what to achieve".`)
    return stored
  }

  /** Reads which calls of the goal's turn wait, also while another process runs it. @throws {CliError} */
  async waiting(): Promise<WaitingTurns> {
    try {
      return await readWaiting(this.store, `${this.threadId}.`)
    } catch (error) {
      if (error instanceof JournalStoreError) throw new CliError(`${this.shown} cannot be read: ${reasonOf(error)}.`)
      throw error
    }
  }

  /** Names the process that runs the goal now; `undefined` if none does. */
  async runner(): Promise<string | undefined> {
    const held = await lockHolder(join(this.path, logName(this.threadId)))
    return held && holderText(held.holder)
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

/** A goal before the folder's goal, as it was last. */
export interface EarlierGoal {
  readonly goal: Goal
  readonly isCleared: boolean
  readonly turns: number
}

/** The numbers of the threads in a folder, in order. */
async function numbersIn(path: string): Promise<readonly number[]> {
  const names = await readdir(path).catch(() => [])
  const numbers = names.map((name) => (name.endsWith(".thread") ? threadNumber(name.slice(0, -".thread".length)) : 0))
  return numbers.filter((number) => number > 0).sort((one, other) => one - other)
}

function settledGoal({ goal, history, commands }: ThreadSnapshot, threadId: string): Goal | null {
  if (commands.length === 0) return goal
  const at = Date.now()
  return changeGoal({ threadId, history }, ...commands.map((command): GoalInput => ({ type: "command", at, command }))).state.goal
}

/** Checks that a goal's folder contains no link, through which files elsewhere would be read, written and removed. @throws {CliError} */
async function checkLinks(path: string): Promise<void> {
  const entries = await readdir(path, { withFileTypes: true }).catch(() => [])
  const link = entries.find((entry) => entry.isSymbolicLink())
  if (link === undefined) return
  throw new CliError(`The goal's folder ${path} contains the link ${link.name}, which this program did not make. Remove it, or pass another --state.`)
}
