import { stopRecord } from "../../drivers/goal/deliveries.ts"
import { changeGoal } from "../../drivers/goal/thread.ts"
import type { Json } from "../../json.ts"
import { undecidedCalls } from "../../machine/held.ts"
import type { Decision } from "../../wire/approval.ts"
import type { Goal, GoalCommand, GoalInput, GoalOutput, GoalRefusal } from "../../wire/goal.ts"
import type { HistoryRecord, Message } from "../../wire/message.ts"
import type { ToolSpec } from "../../wire/tool.ts"
import type { Host, ToolAnswer, ToolError } from "../host.ts"
import { memoryJournalStore } from "../journal/memory.ts"
import type { DecisionResult, OutsideAnswerResult } from "../journal/outside-answers.ts"
import { type PendingApproval, pendingIn } from "../journal/pending-approvals.ts"
import { type JournalStore, JournalStoreError, type ListOptions, type OpenOptions } from "../journal/store.ts"
import { TurnJournal } from "../journal/turn-journal.ts"
import { toolsNow } from "../run/changed-tool.ts"
import type { ThreadTurn } from "./config.ts"
import { deleteThread } from "./delete-threads.ts"
import { checkLog, type ListedThread, listThreads, type UnreadableThread } from "./list-threads.ts"
import { type EndedThreadTurn, ThreadLog } from "./log.ts"
import type { Guidance, SuspendedTurn, ThreadLoopOptions, ThreadRest } from "./loop-options.ts"
import { openTurnJournal } from "./open-turn.ts"
import { runTurns } from "./run-thread.ts"
import { commandInput, type ThreadOptions, ThreadState } from "./thread-state.ts"
import { trimTurns } from "./trim.ts"

export type { Guidance, SuspendedTurn, ThreadOptions, ThreadRest, ThreadTurn }

/** Options of an input of a thread. */
export interface ThreadInputOptions {
  /** Identifies the input among all of its kind in the thread. One whose key the thread already has is ignored, so that it can be sent again. */
  readonly key?: string
}

/** Options of {@link Thread.decide} and {@link Thread.answer}. */
export interface ThreadAnswerOptions {
  /** When the answer was given. Milliseconds since the epoch. Default: the thread's clock. */
  readonly at?: number
  /**
   * The turn that the answer is about, as `pendingApprovals` and `verifyDecision` return it. Give it where an answer may be handed in again or
   * late: the same call of a later turn has the same request, and would be decided. Only the open turn and the last one are known; any other
   * refuses as `turn_not_begun`. Default: the open turn, or else the last one.
   */
  readonly turnId?: string | undefined
}

/** Options of {@link runThread}. */
export interface RunThreadOptions extends Omit<ThreadLoopOptions, "attend" | "between"> {
  /** Called at each checkpoint and between turns, before the next decision. Pass new user input to `say` and `command` here. */
  readonly attend?: (thread: Thread) => Promise<void> | void
  /**
   * Called between turns, when all commands are settled and before the loop decides whether to continue the goal. Judge the last turn
   * here, and record the result with `note`.
   */
  readonly between?: (thread: Thread) => Promise<Guidance | undefined> | Guidance | undefined
}

/**
 * A conversation of many turns, with its goal: a log in a store, and a journal for each turn. One process at a time can open it.
 * User messages and goal commands are stored before they are acted on.
 *
 *     const thread = await Thread.open(store, "thread-1", { config })
 *     await thread.command({ type: "set", objective: "Make the tests pass.", tokenBudget: 200_000 })
 *     const { reason } = await runThread(thread, host)
 *     await thread.close()
 */
export class Thread {
  readonly threadId: string
  readonly options: ThreadOptions
  readonly #state: ThreadState

  private constructor(state: ThreadState) {
    this.threadId = state.threadId
    this.options = state.options
    this.#state = state
  }

  /**
   * Opens a thread exclusively, creating it if needed. Its log is the journal `<threadId>.thread`; its turns are `<threadId>.1`,
   * `<threadId>.2`, …
   * @throws {JournalError} `not_a_journal`, `unsupported_version`, `damaged_record`, `invalid_record`, `deleted_thread`
   * @throws {JournalStoreError} `in_use`, `unavailable`
   */
  static async open(store: JournalStore, threadId: string, options: ThreadOptions): Promise<Thread> {
    const log = await ThreadLog.open(store, `${threadId}.thread`, options)
    const state = new ThreadState(store, threadId, log, options)
    const isReloaded = log.header !== undefined && log.turn === undefined
    try {
      checkLog(log, threadId)
      if (log.header === undefined) await log.begin(threadId, state.now(), options.meta)
      else if (log.turn === undefined) await recordDowntime(state)
      // A process may have died before it trimmed, or the option is new.
      if (options.retain === "log") await trimTurns(store, { threadId, below: log.turns - (log.turn === undefined ? 0 : 1) })
      state.isReloaded = isReloaded
    } catch (error) {
      await log.close()
      throw error
    }
    return new Thread(state)
  }

  /**
   * Lists the threads of a store, in the order of the names of their logs, with what a server needs that starts: an open turn or input to resume.
   * Reads the logs without opening them, also those that another process runs. A log that is damaged is listed with its `error`. Nothing is written.
   *
   *     for await (const { threadId, error, openTurn, hasInput } of Thread.list(store))
   *       if (error === undefined && (openTurn !== undefined || hasInput)) await resume(threadId)
   * @throws {JournalStoreError} `unavailable`: the journals cannot be listed
   */
  static list(store: Pick<JournalStore, "list" | "read">, options?: ListOptions): AsyncIterable<ListedThread | UnreadableThread> {
    return listThreads(store, options)
  }

  /**
   * Deletes a thread: the journals of its turns, of their children and of its judge, and its log. Does nothing if there is none. A deletion that a
   * crash interrupted is completed by the next call; until then, the thread cannot be opened.
   * @throws {JournalStoreError} `in_use`: the thread is open, or a turn or a child of it. Nothing was deleted. `invalid_name`, `unavailable`
   */
  static async delete(store: JournalStore, threadId: string, options?: OpenOptions): Promise<void> {
    await deleteThread(store, threadId, options)
  }

  get goal(): Goal | null {
    return this.#state.goal
  }

  /** The history of all turns so far, the running one included, with the records that were noted between them. */
  get history(): readonly HistoryRecord[] {
    return this.#state.history
  }

  /** The host's own data from the header. */
  get meta(): Json | undefined {
    return this.#state.log.header?.meta
  }

  /** How many turns have begun. */
  get turns(): number {
    return this.#state.log.turns
  }

  /** The turn that has begun and not ended. A run resumes it first. */
  get openTurn(): ThreadTurn | undefined {
    const { turn } = this.#state.log
    return turn && { turnId: turn.turnId, origin: turn.origin, startedAt: turn.at }
  }

  /** The last turn that ended: its outcome, and the messages it added. */
  get lastTurn(): EndedThreadTurn | undefined {
    return this.#state.log.lastTurn
  }

  /** Whether a goal command is still to be carried out. */
  get isCommanded(): boolean {
    return this.#state.pendingCommands.length > 0
  }

  /**
   * Records a user message. A running turn receives it at its next checkpoint; otherwise it begins a turn. It ends a wait.
   * @throws {JournalStoreError} `fenced`, `closed`, `unavailable`
   */
  async say(text: string, { key }: ThreadInputOptions = {}): Promise<void> {
    const { log } = this.#state
    const id = `user-${log.userMessageCount + 1}`
    const message: Message = { id, role: "user", parts: [{ id: `${id}.p0`, type: "text", text }] }
    await log.appendOnce({ type: "said", at: this.#state.now(), message, ...(key !== undefined && { key }) })
    this.#state.wake()
  }

  /**
   * Records a goal command. A running turn receives it at its next checkpoint. Returns what the command does to the goal as it is now; a
   * `refused` command is not recorded. While a turn is open but not resumed, its effect on the goal is unknown: a command that depends
   * on it is recorded, and the result is empty. The result of a repeated command, by its key, is empty, too.
   * @throws {JournalStoreError} `fenced`, `closed`, `unavailable`
   */
  async command(command: GoalCommand, { key }: ThreadInputOptions = {}): Promise<readonly GoalOutput[]> {
    const { log, pendingCommands, goalThread, running, history } = this.#state
    const at = this.#state.uniqueTime()
    const record = { type: "commanded", at, command, ...(key !== undefined && { key }) } as const
    const pending = changeGoal(goalThread, ...pendingCommands.map(commandInput))
    const { outputs } = changeGoal({ ...goalThread, history: [...history, ...pending.records] }, { type: "command", at, command })
    const refused = outputs.find((output) => output.type === "refused")
    const isUnsure = log.turn !== undefined && running === undefined && refused !== undefined && DEPEND_ON_GOAL.has(refused.code)
    if (refused !== undefined && !isUnsure && !log.hasKey("commanded", key)) return outputs
    const isNew = await log.appendOnce(record)
    this.#state.wake()
    return isUnsure || !isNew ? [] : outputs
  }

  /**
   * Records that something happened that a goal may wait for. It counts between turns, and ends a wait for this event. While a turn runs,
   * it counts after the turn, so it also ends a wait that the turn begins.
   * @throws {JournalStoreError} `fenced`, `closed`, `unavailable`
   */
  async event(name: string, { key }: ThreadInputOptions = {}): Promise<void> {
    const { log } = this.#state
    await log.appendOnce({ type: "happened", at: this.#state.uniqueTime(), event: name, ...(key !== undefined && { key }) })
    this.#state.wake()
  }

  /**
   * Records decisions about held calls of the open turn, with a result for each, as `TurnJournal.decide` does, which compares the tools with
   * those of the thread's `config`. A turn that runs receives them at once, and a run that waits for them continues. A message of the user
   * decides nothing: it is delivered at the next checkpoint.
   * @throws {SchemaError} `invalid_response`: not decisions. Nothing was written.
   * @throws {JournalStoreError} `in_use`: another process decides at the moment; `fenced`, `closed`, `unavailable`
   */
  decide(decisions: readonly Decision[], options: ThreadAnswerOptions = {}): Promise<readonly DecisionResult[]> {
    return this.#answerTurn(options, (journal) => journal.decide(decisions, { ...this.#timed(options), ...this.#tools() }))
  }

  /**
   * Records the result of a call of the open turn that continued outside, as `TurnJournal.answer` does.
   * @throws as {@link decide}
   */
  async answer(callId: string, answer: ToolAnswer | ToolError, options: ThreadAnswerOptions = {}): Promise<OutsideAnswerResult> {
    const [result] = await this.#answerTurn(options, async (journal) => [await journal.answer(callId, answer, this.#timed(options))])
    return result as OutsideAnswerResult
  }

  /**
   * Returns the calls of the open turn that wait for a decision, or whose work continues outside; `undefined` if there are none.
   * @throws {JournalError} the turn does not run in this process, and its journal is damaged
   * @throws {JournalStoreError} `unavailable`
   */
  async pendingApprovals(): Promise<PendingApproval | undefined> {
    const { log, running, journal, store } = this.#state
    const { turn } = log
    if (turn === undefined) return undefined
    if (running === undefined || journal === undefined) return pendingIn(store, turn.turnId)
    const { state, heldSince } = running.turn.position
    if (state.type !== "waiting_tools") return undefined
    const { held, pending } = { held: undecidedCalls(state), pending: state.pending }
    if (held.length === 0 && pending.length === 0) return undefined
    return { name: turn.turnId, turnId: turn.turnId, held, pending, ...(heldSince !== undefined && { since: heldSince }) }
  }

  /**
   * Ends the running turn at once, as an aborted signal does, and no other turn: what it used is charged, and the goal is paused under the
   * default policy. Running checks are stopped and run again when the goal continues. A turn that is open and does not run yet
   * ends when it runs. Without an open turn or running checks, it does nothing.
   */
  interrupt(reason?: string): void {
    this.#state.interrupt(reason)
  }

  /**
   * Adds records to the history between turns, atomically: goal inputs, such as the usage of child threads, and the host's own
   * records. Returns what the inputs did to the goal.
   * @throws {TypeError} a turn is open
   * @throws {JournalStoreError} `fenced`, `closed`, `unavailable`
   */
  async note(inputs: readonly GoalInput[], records: readonly HistoryRecord[] = []): Promise<readonly GoalOutput[]> {
    const { log, goalThread } = this.#state
    if (log.turn !== undefined) throw new TypeError("A turn is open. Call note only between turns.")
    const changed = changeGoal(goalThread, ...inputs)
    await log.append({ type: "noted", at: this.#state.now(), records: [...changed.records, ...records], commands: [] })
    await this.#state.report(changed.outputs)
    return changed.outputs
  }

  /**
   * Carries out pending goal commands between turns. {@link run} does this automatically.
   * @throws {TypeError} a turn is open
   * @throws {JournalStoreError} `fenced`, `closed`, `unavailable`
   */
  async settle(): Promise<void> {
    if (this.#state.log.turn !== undefined) throw new TypeError("A turn is open. It receives commands at its next checkpoint.")
    await this.#state.settleCommands()
  }

  /** Closes the thread. A running turn stays open and can be resumed; its run rejects. Idempotent. */
  async close(): Promise<void> {
    this.#state.close()
    await this.#state.journal?.close()
    await this.#state.log.close()
  }

  /** Hands an answer to the turn that runs, or to the journal of the open turn; without one, to that of the last turn, which knows what was decided. */
  async #answerTurn<Result extends OutsideAnswerResult>(
    { turnId: given }: ThreadAnswerOptions,
    act: (journal: TurnJournal) => Promise<readonly Result[]>,
  ): Promise<readonly Result[]> {
    const state = this.#state
    const found = await state.withJournalLock(async () => {
      const { journal, log } = state
      if (journal !== undefined && (given === undefined || given === log.turn?.turnId)) return { journal }
      const known = [log.turn, log.lastTurn].flatMap((turn) => (turn === undefined ? [] : [turn.turnId]))
      const turnId = given === undefined ? known[0] : known.find((id) => id === given)
      // Without a turn, an empty journal of no store says so.
      const opened = await (turnId === undefined ? TurnJournal.open(memoryJournalStore(), "none") : openTurnJournal(state, turnId))
      try {
        return { results: await act(opened) }
      } finally {
        await opened.close()
      }
    })
    const results = found.journal === undefined ? found.results : await this.#answerRunning(found.journal, given, act)
    if (results.some(({ status }) => status === "accepted")) state.answered()
    return results
  }

  /** A run that suspends closes the journal of its turn. */
  async #answerRunning<Result extends OutsideAnswerResult>(
    journal: TurnJournal,
    turnId: string | undefined,
    act: (journal: TurnJournal) => Promise<readonly Result[]>,
  ): Promise<readonly Result[]> {
    try {
      return await act(journal)
    } catch (error) {
      if (!(error instanceof JournalStoreError) || error.code !== "closed" || this.#state.journal === journal) throw error
      return this.#answerTurn({ turnId }, act)
    }
  }

  /** The tools that the open turn has when it runs again. */
  #tools(): { readonly tools?: readonly ToolSpec[] } {
    const { openTurn, options } = this
    const { config: given } = options
    const config = typeof given === "function" ? openTurn && given(openTurn) : given
    const tools = config && toolsNow(config)
    return tools === undefined ? {} : { tools }
  }

  #timed({ at = this.#state.now() }: ThreadAnswerOptions): { readonly at: number } {
    return { at }
  }

  /** Runs turns until the thread rests, as {@link runThread}. */
  run(host: Host, options: RunThreadOptions = {}): Promise<ThreadRest> {
    const { attend, between, ...rest } = options
    return runTurns(this.#state, host, {
      ...rest,
      ...(attend !== undefined && { attend: () => attend(this) }),
      ...(between !== undefined && { between: () => between(this) }),
    })
  }
}

/**
 * Runs a thread until it rests: first an open turn, then user messages, then continuations of the goal, as `nextTurn` decides.
 * Aborting the signal cancels the running turn, which pauses the goal under the default policy. Aborting `pause` leaves the turn open instead.
 *
 * A turn with held calls that nothing decides waits for `thread.decide`, then the run rests with `type: "suspended"`; with `suspend: true` at
 * once. An interrupt, or a command that stops its goal, ends the turn: its calls are cancelled, and none of them has run. Rejects with what `runTurn` rejects with; the thread can then be opened again.
 */
export function runThread(thread: Thread, host: Host, options: RunThreadOptions = {}): Promise<ThreadRest> {
  return thread.run(host, options)
}

/** Refusals of commands that depend on the goal at the time. */
const DEPEND_ON_GOAL: ReadonlySet<GoalRefusal> = new Set<GoalRefusal>(["no_goal", "other_goal", "no_budget", "not_active"])

/** Records how long no process ran the thread, so that the goal's clock does not count it. */
async function recordDowntime(state: ThreadState): Promise<void> {
  const at = state.now()
  const stop = stopRecord(state.log.records, state.threadId, at)
  if (stop !== undefined) await state.log.append({ type: "noted", at, records: [stop], commands: [] })
}
