import { threadValidation } from "../../checks/records.ts"
import { stopRecord } from "../../drivers/goal/deliveries.ts"
import { changeGoal } from "../../drivers/goal/thread.ts"
import { copyOf, type Json } from "../../json.ts"
import { cursorOf } from "../../replay/thread-cursor.ts"
import type { Decision } from "../../wire/approval.ts"
import type { Goal, GoalCommand, GoalInput, GoalOutput, GoalRefusal } from "../../wire/goal.ts"
import type { AttachmentRef, HistoryRecord } from "../../wire/message.ts"
import type { InputTime } from "../../wire/thread.ts"
import type { ThreadEvent } from "../../wire/thread-event.ts"
import type { ToolSpec } from "../../wire/tool.ts"
import type { Host, SuspendedChild, ToolAnswer, ToolError } from "../host.ts"
import { findChild, waitingChildren, waitingChildrenOf } from "../journal/child-journals.ts"
import { isSame, type QueuedInput } from "../journal/input-queue.ts"
import { memoryJournalStore } from "../journal/memory.ts"
import type { DecisionResult, OutsideAnswerResult } from "../journal/outside-answers.ts"
import { type PendingApproval, pendingIn } from "../journal/pending-approvals.ts"
import { runningChild } from "../journal/running-children.ts"
import { type JournalStore, JournalStoreError, type ListOptions, type OpenOptions } from "../journal/store.ts"
import { type EndedThreadTurn, ThreadLog } from "../journal/thread-log.ts"
import { logName } from "../journal/thread-names.ts"
import { TurnJournal } from "../journal/turn-journal.ts"
import { toolsNow } from "../run/changed-tool.ts"
import type { ThreadTurn } from "./config.ts"
import { deleteThread } from "./delete-threads.ts"
import type { AnsweredByOutside } from "./engine-turn.ts"
import { EventHub } from "./event-hub.ts"
import { tagOf } from "./event-records.ts"
import { eventSource, followEvents, type ThreadEventsOptions } from "./events.ts"
import { type InputPart, inputMessage, isOwnId, type ThreadInput, type UserPart } from "./input-message.ts"
import { checkLog, type ListedThread, listThreads, type UnreadableThread } from "./list-threads.ts"
import type { Guidance, SuspendedTurn, ThreadLoopOptions, ThreadRest } from "./loop-options.ts"
import { openTurnJournal } from "./open-turn.ts"
import { redirectTurn } from "./redirect-turn.ts"
import { runTurns } from "./run-thread.ts"
import { ThreadError } from "./thread-error.ts"
import { commandInput, type ThreadOptions, ThreadState } from "./thread-state.ts"
import { trimTurns } from "./trim.ts"
import { decideReplayed, replayedTurn, waitingCalls } from "./waiting-calls.ts"

export type { Guidance, InputPart, InputTime, QueuedInput, SuspendedTurn, ThreadInput, ThreadOptions, ThreadRest, ThreadTurn, UserPart }

/** Options of a command or an event of a thread. */
export interface ThreadInputOptions {
  /** Identifies the input among all of its kind in the thread. One whose key the thread already has is ignored, so that it can be sent again. */
  readonly key?: string
}

/** Options of {@link Thread.redirect}. */
export interface RedirectOptions {
  /** Identifies the input among all that were said in the thread: sent again, it is one input and has the same receipt. */
  readonly key?: string
  /** Stored bytes that the model is shown after the text, as images if their `mediaType` says so, otherwise as files. */
  readonly attachments?: readonly AttachmentRef[]
}

/** Options of {@link Thread.say}. */
export interface SayOptions extends RedirectOptions {
  /** When a turn receives the input. Default `now`. */
  readonly when?: InputTime
}

/** The input is stored. It is delivered once, unless it is retracted. */
export interface InputReceipt {
  /** The id of its message. */
  readonly inputId: string
  readonly status: "queued"
}

/** What an interrupt took out of the queue. */
export interface Interrupted {
  /** The inputs that the turn did not receive, in the order of the queue. They are retracted: say them again, or show them to their author. */
  readonly returned: readonly QueuedInput[]
}

/** Options of {@link Thread.decide} and {@link Thread.answer}. */
export interface ThreadAnswerOptions {
  /** When the answer was given. Milliseconds since the epoch. Default: the thread's clock. */
  readonly at?: number
  /**
   * The turn that the answer is about, as `pendingApprovals` and `verifyDecision` return it. Give it where an answer may be handed in again or
   * late: the same call of a later turn has the same request, and would be decided. The open turn, the last one, and the children of all turns
   * are known; any other refuses as `turn_not_begun`. Default: the open turn, or else the last one.
   */
  readonly turnId?: string | undefined
}

/** The calls of a thread's open turn that wait. */
export interface ThreadApprovals extends PendingApproval {
  /** The children of the turn that wait, and their children. Decide about their calls with their `turnId`. Absent: none. */
  readonly children?: readonly SuspendedChild[]
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
    const events = new EventHub(eventSource(store, threadId, options))
    const log = await ThreadLog.open(events.watched(store), logName(threadId), options)
    events.opened(log)
    const state = new ThreadState(store, threadId, log, options, events)
    const isReloaded = log.header !== undefined && log.turn === undefined
    try {
      checkLog(log, threadId)
      if (log.header === undefined) await log.begin(threadId, state.now(), options.meta)
      else if (log.turn === undefined && state.hasGoals) await recordDowntime(state)
      // A process may have died before it trimmed, or the option is new.
      if (options.retain === "log") await trimTurns(store, { threadId, below: log.turns - (log.turn === undefined ? 0 : 1), log })
      state.isReloaded = isReloaded && options.goals !== false
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
   * Records an input of the user: a text, the parts of a message, or a message. Resolves when it is stored; from then on it is delivered exactly
   * once, as a message of its own, or is retracted. It ends a wait.
   *
   * `when`: with `now`, the running turn receives it at its next checkpoint; with `turn_end`, when it would end: one input each time, after those
   * that wait for `now`; with `next_turn`, a turn begins with it alone, before the goal continues. Without a running turn, the next one begins with
   * all inputs for `now` together; without any, with the first for `turn_end`, or else for `next_turn`. A turn that has reached a limit leaves its
   * inputs to the next one.
   *
   * The id of the input is that of its message: `user-<n>`, or the one that a message has, which must be unique in the thread.
   * @throws {ThreadError} `invalid_input`; `id_taken`; `key_reused`: an input with this key has other content, or another `when`. Nothing was recorded.
   * @throws {SchemaError} `invalid_record`: a part is not valid. Nothing was recorded.
   * @throws {JournalStoreError} `fenced`, `closed`, `unavailable`
   */
  async say(input: ThreadInput, { when = "now", ...options }: SayOptions = {}): Promise<InputReceipt> {
    return this.#record(input, when, options)
  }

  /**
   * Stops what the open turn does, and continues it with this input. What the model said until then stays in the transcript, marked as interrupted,
   * and is charged as after an interrupt. Open calls get a result: they were cancelled, or may have run. A turn that waits for decisions continues,
   * too. Inputs that wait for `now` come before this one. Without an open turn, it is {@link say}.
   *
   * Resolves when the input is stored. The turn is redirected when its run notices; after a crash until then, when it is resumed. If the turn ends
   * first, or cannot continue because of a limit, the next turn begins with the input.
   * @throws as {@link say}
   */
  async redirect(input: ThreadInput, options: RedirectOptions = {}): Promise<InputReceipt> {
    const receipt = await this.#record(input, "now", options, true)
    const { running } = this.#state
    // If it rejects, so does the run.
    if (running !== undefined) redirectTurn(this.#state, running).catch(() => {})
    this.#state.wake()
    return receipt
  }

  /** Returns the inputs that no turn has received and that can be retracted, in the order in which they are delivered. */
  queue(): readonly QueuedInput[] {
    return this.#state.log.queue.waiting
  }

  /**
   * Moves an input before another one that waits for the same time; without `before`, after all of them. Resolves when that is stored. An input that
   * no longer waits stays as it is: the result says what happened to it. Before an input that a turn has received is the first place.
   * @throws {ThreadError} `input_not_queued`: `before` was retracted, is unknown, or waits for another time. Nothing was recorded.
   * @throws {JournalStoreError} `fenced`, `closed`, `unavailable`
   */
  async reorder(inputId: string, before?: string): Promise<"reordered" | "delivered" | "retracted" | "unknown"> {
    const { log } = this.#state
    const when = log.queue.timeOf(inputId)
    if (when === undefined) return this.#whereabouts(inputId)
    if (before === inputId) return "reordered"
    const state = before === undefined ? undefined : log.queue.stateOf(before)
    const [first] = log.queue.waitingFor(when)
    const place = state === "delivered" || state === "assigned" ? first?.inputId : before
    if (place !== undefined && log.queue.timeOf(place) !== when)
      throw new ThreadError("input_not_queued", `The input ${JSON.stringify(place)} does not wait for ${when}, so no other can be placed before it.`)
    if (place !== inputId)
      await log.append({ type: "reordered", at: this.#state.now(), input: inputId, ...(place !== undefined && { before: place }) })
    return "reordered"
  }

  /**
   * Takes an input back. Resolves when that is stored. `delivered`: a turn has received the input, or is about to, and no crash changes that.
   * Idempotent.
   * @throws {JournalStoreError} `fenced`, `closed`, `unavailable`
   */
  async retract(inputId: string): Promise<"retracted" | "delivered" | "unknown"> {
    const { log } = this.#state
    if (log.queue.stateOf(inputId) !== "waiting") return this.#whereabouts(inputId)
    await log.append({ type: "retracted", at: this.#state.now(), inputs: [inputId] })
    return "retracted"
  }

  /**
   * Records a goal command. A running turn receives it at its next checkpoint. Returns what the command does to the goal as it is now; a
   * `refused` command is not recorded. While a turn is open but not resumed, its effect on the goal is unknown: a command that depends
   * on it is recorded, and the result is empty. The result of a repeated command, by its key, is empty, too.
   * @throws {ThreadError} `without_goals`: the thread was opened with `goals: false`
   * @throws {JournalStoreError} `fenced`, `closed`, `unavailable`
   */
  async command(command: GoalCommand, { key }: ThreadInputOptions = {}): Promise<readonly GoalOutput[]> {
    this.#needGoals()
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
   * @throws {ThreadError} `without_goals`: the thread was opened with `goals: false`
   * @throws {JournalStoreError} `fenced`, `closed`, `unavailable`
   */
  async event(name: string, { key }: ThreadInputOptions = {}): Promise<void> {
    this.#needGoals()
    const { log } = this.#state
    await log.appendOnce({ type: "happened", at: this.#state.uniqueTime(), event: name, ...(key !== undefined && { key }) })
    this.#state.wake()
  }

  /**
   * Records decisions about held calls of the open turn, or with `turnId` of a child, with a result for each, as `TurnJournal.decide` does, which
   * compares the tools of the open turn with those of the thread's `config`. A turn that runs receives them at once, and a run that waits for them continues. A message of the user
   * decides nothing: it is delivered at the next checkpoint. An answer that is `stale` continues the run, too.
   * @throws {SchemaError} `invalid_response`: not decisions. Nothing was written.
   * @throws {JournalStoreError} `in_use`: another process decides at the moment; `fenced`, `closed`, `unavailable`
   */
  decide(decisions: readonly Decision[], options: ThreadAnswerOptions = {}): Promise<readonly DecisionResult[]> {
    const timed = this.#timed(options)
    return this.#answerTurn(options, async (journal, isChild) => {
      if (isChild) return journal.decide(decisions, timed)
      const given = { ...timed, ...this.#tools() }
      const results = await journal.decide(decisions, given)
      return (await decideReplayed(this.#state, results, (config) => journal.decide(decisions, { ...given, config }))) ?? results
    })
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
   * Returns the calls of the open turn that wait for a decision, or whose work continues outside, with those of its children; `undefined` if
   * there are none.
   * @throws {JournalError} the turn does not run in this process, and its journal is damaged
   * @throws {JournalStoreError} `unavailable`
   */
  async pendingApprovals(): Promise<ThreadApprovals | undefined> {
    const { turn } = this.#state.log
    if (turn === undefined) return undefined
    const { turnId } = turn
    const own = await this.#ownApprovals(turnId)
    const children = await waitingChildren(this.#state.store, turnId)
    if (children.length === 0) return own
    return { ...(own ?? { name: turnId, turnId, held: [], pending: [] }), children }
  }

  /**
   * Returns the children of all turns that wait for decisions, or for work outside, and their children: also those in the background, whose turn
   * has ended.
   * @throws {JournalStoreError} `unavailable`
   */
  async suspendedChildren(): Promise<readonly SuspendedChild[]> {
    return waitingChildrenOf(this.#state.store, this.threadId)
  }

  async #ownApprovals(turnId: string): Promise<PendingApproval | undefined> {
    const { running, journal, store, events } = this.#state
    if (running !== undefined && journal !== undefined) return waitingCalls(running.turn, turnId)
    return (await pendingIn(store, turnId)) ?? waitingCalls(await replayedTurn(events.source), turnId)
  }

  /**
   * Ends the running turn at once, as an aborted signal does, and no other turn: what it used is charged, and the goal is paused under the
   * default policy. Running checks are stopped and run again when the goal continues. A turn that is open and does not run yet
   * ends when it runs. Without an open turn or running checks, it does nothing.
   *
   * With an open turn, the inputs that wait for `now` and `turn_end` leave the queue as retracted, and are returned; those for `next_turn` stay. Resolves
   * when that is stored. After a crash before that, they are still queued, and the turn is resumed. An aborted signal of the run returns nothing: all
   * inputs stay.
   * @throws {JournalStoreError} `fenced`, `closed`, `unavailable`
   */
  interrupt(reason?: string): Promise<Interrupted> {
    const { log } = this.#state
    this.#state.interrupt(reason)
    // The end of a child in the background has no author to return it to: the next turn begins with it.
    const returned = log.turn === undefined ? [] : log.queue.waiting.filter(({ when, message }) => when !== "next_turn" && message.role !== "event")
    if (returned.length === 0) return Promise.resolve({ returned })
    const inputs = returned.map(({ inputId }) => inputId)
    const stored = log.append({ type: "retracted", at: this.#state.now(), inputs, by: "interrupt" }).then(() => ({ returned }))
    // A caller that does not need the inputs need not wait. The run rejects, too.
    stored.catch(() => {})
    return stored
  }

  /**
   * Adds records to the history between turns, atomically: goal inputs, such as the usage of child threads, and the host's own
   * records. Returns what the inputs did to the goal.
   * @throws {ThreadError} `without_goals`: goal inputs, and the thread was opened with `goals: false`
   * @throws {TypeError} a turn is open
   * @throws {JournalStoreError} `fenced`, `closed`, `unavailable`
   */
  async note(inputs: readonly GoalInput[], records: readonly HistoryRecord[] = []): Promise<readonly GoalOutput[]> {
    const { log, goalThread } = this.#state
    if (inputs.length > 0) this.#needGoals()
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
    if (this.#state.hasGoals) await this.#state.settleCommands()
  }

  /** Closes the thread. A running turn stays open and can be resumed; its run rejects. Idempotent. */
  async close(): Promise<void> {
    this.#state.close()
    await this.#state.journal?.close()
    await this.#state.log.close()
    this.#state.events.close()
  }

  /**
   * The events of the thread for a user interface: first those that are recorded after the cursor, then those that come, without a gap. It ends when
   * the thread closes, and can be read by any number of readers at once.
   *
   *     for await (const event of thread.events({ after: lastCursor })) {
   *       send(event)
   *       if ("cursor" in event) lastCursor = event.cursor
   *     }
   *
   * A durable event has a `cursor`: no reader misses it or receives it twice, over reconnections, processes and restarts. The other events are live:
   * they show what executors of this process emit, and may be lost or repeated. A reader that comes in the middle of a message receives its
   * text so far as one delta. For a slow reader, deltas are joined, and durable events are read from the records again, so that it costs no memory.
   *
   * Events come in their order, except that of an input (`input_queued`, …) between the events of a running turn: a reader that reads it later may
   * receive it earlier among them. The messages of a turn whose journal is not there any more, or that the present code cannot replay, come
   * with its end; its other events are left out.
   * @throws {ThreadCursorError} `invalid_cursor`, `cursor_of_other_thread`, `cursor_beyond_end`, from the iteration, as all errors
   * @throws {JournalError | JournalStoreError} the records cannot be read
   */
  events(options: ThreadEventsOptions = {}): AsyncGenerator<ThreadEvent, void, undefined> {
    return followEvents(this.#state.events, options)
  }

  /**
   * Returns the cursor before a turn: {@link events} then begins with it, and neither reads nor replays the turns before it. `turn`: its id, or its number,
   * counted from 1. Default: the last one that has begun. `undefined`: there is no such turn. From the cursor of the last turn, also the log is not read.
   *
   * Inputs that were queued before the turn began are not among the events, except as the messages of the turns that received them.
   * @throws {JournalStoreError} `fenced`, `unavailable`: the beginning of the turn could not be stored
   */
  async turnCursor(turn: string | number = this.turns): Promise<string | undefined> {
    const { log, threadId } = this.#state
    const number = typeof turn === "number" ? turn : turn.startsWith(`${threadId}.`) ? Number(turn.slice(threadId.length + 1)) : 0
    const position = log.begun[number - 1]
    // A name such as `t.01` is not that of a turn.
    if (position === undefined || (typeof turn === "string" && turn !== `${threadId}.${number}`)) return undefined
    await log.written
    return cursorOf(tagOf({ log }) ?? "", position)
  }

  async #record(input: ThreadInput, when: InputTime, { key, attachments = [] }: RedirectOptions, redirects = false): Promise<InputReceipt> {
    const { log } = this.#state
    const known = key === undefined ? undefined : log.queue.withKey(key)
    if (known !== undefined) {
      const { message } = known
      const same = inputMessage(input, attachments, (given) => given ?? message.id)
      if (known.when !== when || !isSame(message, same))
        throw new ThreadError(
          "key_reused",
          `An input with the key ${JSON.stringify(key)} was recorded with other content. Use a key for one input only.`,
        )
      await log.written
      return { inputId: message.id, status: "queued" }
    }
    const message = inputMessage(input, attachments, (given) => this.#messageId(given))
    const record = threadValidation({
      type: "said",
      at: this.#state.now(),
      message: copyOf(message),
      ...(when !== "now" && { when }),
      ...(key !== undefined && { key }),
      ...(redirects && log.turn !== undefined && { redirects }),
    })
    await log.append(record)
    this.#state.wake()
    return { inputId: message.id, status: "queued" }
  }

  /** A new id, or the given one, which no other message of the thread may have. */
  #messageId(given: string | undefined): string {
    const { log, running } = this.#state
    const added = running?.turn.record.events.slice(log.records.length) ?? []
    const ids = new Set(added.flatMap((record) => (record.type === "conversation" ? [record.message.id] : [])))
    const isTaken = (id: string): boolean => log.queue.hasId(id) || ids.has(id)
    if (given !== undefined) {
      if (isTaken(given) || isOwnId(given))
        throw new ThreadError(
          "id_taken",
          `The thread has, or makes, a message with the id ${JSON.stringify(given)}. Leave the id out, or choose another one.`,
        )
      return given
    }
    let number = log.userMessageCount + 1
    while (isTaken(`user-${number}`)) number += 1
    return `user-${number}`
  }

  /** What happened to an input that does not wait. Resolves when it is stored. */
  async #whereabouts(inputId: string): Promise<"delivered" | "retracted" | "unknown"> {
    const { log } = this.#state
    const state = log.queue.stateOf(inputId)
    await log.written
    if (state === undefined) return "unknown"
    return state === "retracted" ? "retracted" : "delivered"
  }

  #needGoals(): void {
    if (this.options.goals !== false) return
    throw new ThreadError("without_goals", "The thread was opened with goals: false. Open it without that option to give it a goal.")
  }

  /** Hands an answer to the turn that runs, or to the journal of the open turn; without one, to that of the last turn, which knows what was decided. */
  async #answerTurn<Result extends OutsideAnswerResult>({ turnId: given }: ThreadAnswerOptions, act: Act<Result>): Promise<readonly Result[]> {
    const state = this.#state
    const found = await state.withJournalLock(async () => {
      const { journal = state.engineTurn, log } = state
      if (journal !== undefined && (given === undefined || given === log.turn?.turnId)) return { journal }
      const known = [log.turn, log.lastTurn].flatMap((turn) => (turn === undefined ? [] : [turn.turnId]))
      const own = given === undefined ? known[0] : known.find((id) => id === given)
      const name = own ?? (given && (await findChild(state.store, `${state.threadId}.`, given)))
      const running = name === undefined ? undefined : runningChild(state.store, name)
      if (running !== undefined) return { journal: running, isChild: true }
      // Without a turn, an empty journal of no store says so.
      const opened = await (name === undefined ? TurnJournal.open(memoryJournalStore(), "none") : openTurnJournal(state, name))
      try {
        return { results: await act(opened, own === undefined), isChild: own === undefined }
      } finally {
        await opened.close()
      }
    })
    const results = found.journal === undefined ? found.results : await this.#answerRunning(found.journal, found.isChild === true, given, act)
    // A stale answer is in the journal, but the run that waits may not know it: another process stored it, or the run closed the journal right after.
    if (results.every(({ status }) => status === "refused")) return results
    state.answered()
    // A child in the background that waited for the decision runs on.
    if (found.isChild === true) await state.children?.resume()
    return results
  }

  /** A run that suspends closes the journal of its turn. */
  async #answerRunning<Result extends OutsideAnswerResult>(
    journal: AnsweredByOutside,
    isChild: boolean,
    turnId: string | undefined,
    act: Act<Result>,
  ): Promise<readonly Result[]> {
    try {
      return await act(journal, isChild)
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
 * Runs a thread until it rests: first an open turn, then user messages, then continuations of the goal, as `nextTurn` decides. A thread that
 * already runs is run again when that run has ended, so each input can be followed by a run of its own: one that arrives as a run ends is not left.
 * Aborting the signal cancels the running turn, which pauses the goal under the default policy. Aborting `pause` leaves the turn open instead.
 *
 * A turn with held calls that nothing decides waits for `thread.decide`, then the run rests with `type: "suspended"`; with `suspend: true` at
 * once. An interrupt, or a command that stops its goal, ends the turn: its calls are cancelled, and none of them has run. Rejects with what `runTurn` rejects with; the thread can then be opened again.
 */
export function runThread(thread: Thread, host: Host, options: RunThreadOptions = {}): Promise<ThreadRest> {
  return thread.run(host, options)
}

/** Hands an answer to a journal. `isChild`: whether it is that of a child of a turn. */
type Act<Result> = (journal: AnsweredByOutside, isChild: boolean) => Promise<readonly Result[]>

/** Refusals of commands that depend on the goal at the time. */
const DEPEND_ON_GOAL: ReadonlySet<GoalRefusal> = new Set<GoalRefusal>(["no_goal", "other_goal", "no_budget", "not_active"])

/** Records how long no process ran the thread, so that the goal's clock does not count it. */
async function recordDowntime(state: ThreadState): Promise<void> {
  const at = state.now()
  const stop = stopRecord(state.log.records, state.threadId, at)
  if (stop !== undefined) await state.log.append({ type: "noted", at, records: [stop], commands: [] })
}
