import { isCharged } from "../../drivers/goal/goal.ts"
import { readGoal } from "../../drivers/goal/history.ts"
import { changeGoal, type GoalThread } from "../../drivers/goal/thread.ts"
import type { Json } from "../../json.ts"
import type { History } from "../../machine/history.ts"
import type { TurnMachine } from "../../machine/turn-machine.ts"
import type { ResumeOptions } from "../../replay/replay.ts"
import type { Goal, GoalInput, GoalOutput } from "../../wire/goal.ts"
import type { LlmRequest, TokenUsage } from "../../wire/llm.ts"
import type { HistoryRecord } from "../../wire/message.ts"
import type { ThreadCommanded, ThreadRecord } from "../../wire/thread.ts"
import type { DetachedChildren } from "../host.ts"
import { isSame, type QueuedInput } from "../journal/input-queue.ts"
import { type JournalStore, JournalStoreError } from "../journal/store.ts"
import { type ThreadLog, unsettled } from "../journal/thread-log.ts"
import type { TurnJournal, TurnJournalOptions } from "../journal/turn-journal.ts"
import { onAbort } from "../timers.ts"
import { ThreadChildren } from "./children.ts"
import type { GoalTurnOptions } from "./config.ts"
import type { EngineTurn } from "./engine-turn.ts"
import type { EventHub } from "./event-hub.ts"

/** Options that all turns of a thread share. */
export interface ThreadOptions extends GoalTurnOptions, Omit<TurnJournalOptions, "compactAboveChars" | "history"> {
  /**
   * How an open turn is resumed. With `{ reconfigure: true }`, it continues after a deployment that changed the model, its settings or the
   * code, and its journal records the change.
   */
  readonly resume?: ResumeOptions
  /** How long a turn may take from its beginning, in milliseconds; then it stops as `deadline`. Default: no limit. */
  readonly turnDeadlineMs?: number
  /** Continues a goal inside the running turn instead of in a new one. Default false. */
  readonly continueInTurn?: boolean
  /**
   * Estimates the usage of a model call whose answer was lost in a crash. The estimate is charged, and the call is made again.
   * Default: nothing is charged.
   */
  readonly lostUsage?: (request: LlmRequest) => TokenUsage
  /**
   * What is stored of turns that have ended. `journals`: everything; each can be replayed. `log`: their messages and records, in the thread's
   * log; a journal is deleted when the turn after it has ended. The journals of the open turn, of the turn before it, and of children that have not ended,
   * or whose end the thread has not received, stay.
   * Default `journals`.
   */
  readonly retain?: "journals" | "log"
  /** Any data of the host, stored in the header of a new thread. */
  readonly meta?: Json
}

/** The state of an open thread that its API, its loop and its host share. Not public. */
export class ThreadState {
  readonly threadId: string
  readonly options: ThreadOptions
  readonly store: JournalStore
  readonly log: ThreadLog
  /** The machine of the open turn as this process ran it last: it runs, or is suspended. */
  running: TurnMachine | undefined
  /** The journal of the open turn while this process runs it. */
  journal: TurnJournal | undefined
  /** The last turn that an engine records, as this process ran it. */
  engineTurn: EngineTurn | undefined
  /** How many records of the history this process has reported outside of turns. */
  reported = 0
  /** The goal was loaded from a log, and its machine has not been informed. */
  isReloaded = false
  /** The model call that runs, or that an abort interrupted, with the usage that was counted before it. */
  calling: { readonly request: LlmRequest; readonly counted: TokenUsage } | undefined
  /** The time of the log's last record when the running work was aborted. */
  abortedAt: number | undefined
  #work: AbortController | undefined
  /** An interruption of the open turn, which does not run yet. */
  #interruption: { readonly reason: string | undefined } | undefined
  readonly #waiting = new Set<() => void>()
  #isClosed = false
  /** Whether a decision or a result arrived since the open turn ran last. */
  #isAnswered = false
  #journalLock: Promise<unknown> = Promise.resolve()
  /** Resolves when all runs so far have ended. */
  #runs: Promise<unknown> = Promise.resolve()
  /** The error of a write to the log that a checkpoint needed. The run of the turn rejects with it. */
  failure: { readonly error: unknown } | undefined
  /** The limit of the running turn's tokens. */
  maxTokens: number | undefined
  /** The checkpoint that delivers inputs. */
  deliveringEffect: number | undefined
  /** Whether the run of the open turn was asked to redirect it. */
  isRedirecting = false
  /** The assigned inputs that a machine has received, and how much of its history was read for that. */
  #received: { readonly machine: TurnMachine; readonly inputs: Set<string>; read: number } | undefined
  /** What the readers of the thread's events follow. */
  readonly events: EventHub
  /** The children that the last run was given. They are followed until the thread is closed. */
  children: ThreadChildren | undefined
  /** Receives changes and metrics of the goal. */
  onGoal: ((output: GoalOutput) => unknown) | undefined

  constructor(store: JournalStore, threadId: string, log: ThreadLog, options: ThreadOptions, events: EventHub) {
    this.store = events.watched(store)
    this.events = events
    this.threadId = threadId
    this.log = log
    this.options = options
  }

  get history(): readonly HistoryRecord[] {
    return this.running?.history ?? this.log.history
  }

  /** {@link history}, as what reads the goal from it remembers. */
  get #records(): History<HistoryRecord> {
    return this.running?.turn.record.events ?? this.log.records
  }

  get goal(): Goal | null {
    return readGoal(this.#records, this.threadId).state.goal
  }

  get goalThread(): GoalThread {
    const { policy = {}, mode = "default" } = this.options
    return { threadId: this.threadId, history: this.#records, policy, mode }
  }

  /** Appends a record that a turn needs before it continues. If that fails, its run rejects with the error. */
  async appendOrFail(record: ThreadRecord): Promise<void> {
    try {
      await this.log.append(record)
    } catch (error) {
      this.failure = { error }
      throw error
    }
  }

  /** Whether the open turn has a goal driver; without one, whether the next turn will. */
  get hasGoals(): boolean {
    const { turn } = this.log
    return turn === undefined ? this.options.goals !== false : turn.goals !== false
  }

  /** The inputs that are assigned to the open turn, and that its machine has not received, in order. */
  unreceived(machine: TurnMachine): readonly QueuedInput[] {
    const { assigned } = this.log.queue
    if (assigned.length === 0) return assigned
    const { events } = machine.turn.record
    // The machine of the open turn began with the history of the log.
    if (this.#received?.machine !== machine) this.#received = { machine, inputs: new Set(), read: this.log.records.length }
    const received = this.#received
    for (; received.read < events.length; received.read += 1) {
      const record = events.at(received.read)
      if (record?.type !== "conversation") continue
      const { message } = record
      const input = this.log.queue.messageOf(message.id)
      if (input !== undefined && isSame(input, message)) received.inputs.add(message.id)
    }
    return assigned.filter(({ inputId }) => !received.inputs.has(inputId))
  }

  /** Whether a checkpoint that the turn waits for has chosen the inputs that it delivers. */
  isDelivering({ outstanding }: TurnMachine): boolean {
    return outstanding !== undefined && outstanding.id === this.deliveringEffect
  }

  /** Whether a turn is to stop what it does, and to continue with an input. */
  isRedirected(machine: TurnMachine): boolean {
    return this.unreceived(machine).some(({ inputId }) => this.log.queue.redirects(inputId))
  }

  /** The commands that the running turn has not received. */
  get pendingCommands(): readonly ThreadCommanded[] {
    const { commands, records } = this.log
    return commands.length === 0 ? commands : unsettled(commands, this.#records.slice(records.length))
  }

  now(): number {
    return Math.floor((this.options.now ?? Date.now)())
  }

  /** A time for a command or an event that no other one of the thread has. */
  uniqueTime(): number {
    return Math.max(this.now(), this.log.at + 1)
  }

  /** Runs a turn or checks with a signal that is aborted by {@link interrupt} or with the signal of the run. */
  async interruptible<Result>(signal: AbortSignal | undefined, work: (signal: AbortSignal) => Promise<Result>): Promise<Result> {
    const controller = new AbortController()
    this.#work = controller
    this.#isAnswered = false
    this.abortedAt = undefined
    const stopNoting = onAbort(controller.signal, () => {
      this.abortedAt = this.log.at
    })
    const stopListening = onAbort(signal, () => controller.abort(signal?.reason))
    if (this.#interruption !== undefined) controller.abort(this.#interruption.reason)
    this.#interruption = undefined
    try {
      return await work(controller.signal)
    } finally {
      this.#work = undefined
      stopListening()
      stopNoting()
    }
  }

  /** Aborts the running turn or the running checks. A turn that is open and does not run yet ends when it runs. */
  interrupt(reason: string | undefined): void {
    if (this.#work !== undefined) this.#work.abort(reason)
    else if (this.log.turn !== undefined) this.#interruption = { reason }
    this.wake()
  }

  /** Lets the suspended turn continue. */
  answered(): void {
    this.#isAnswered = true
    this.wake()
  }

  /** Whether the suspended turn has to run: something was decided, or it has to end or was redirected. A message alone waits for its next checkpoint. */
  get mayContinue(): boolean {
    const isRedirected = this.running !== undefined && this.isRedirected(this.running)
    return this.#isAnswered || this.#interruption !== undefined || isRedirected || this.stopsGoal
  }

  /** Whether a pending command stops or replaces the goal of the open turn. */
  get stopsGoal(): boolean {
    const { pendingCommands, goalThread, goal } = this
    if (!this.hasGoals || pendingCommands.length === 0 || goal === null || !isCharged(goal.status)) return false
    const { state } = changeGoal(goalThread, ...pendingCommands.map(commandInput))
    return state.goal?.goalId !== goal.goalId || !isCharged(state.goal.status)
  }

  /** Runs `act` while no one else of this process opens or closes the journal of the open turn. */
  async withJournalLock<Result>(act: () => Promise<Result>): Promise<Result> {
    const result = this.#journalLock.then(act)
    this.#journalLock = result.catch(() => {})
    return result
  }

  /**
   * Runs `run` when every run before it has ended.
   * @throws {JournalStoreError} `closed`: the thread was closed
   */
  runAlone<Result>(run: () => Promise<Result>): Promise<Result> {
    const ended = this.#runs.then(() => {
      if (this.#isClosed) throw new JournalStoreError("closed", `The thread ${JSON.stringify(this.threadId)} is closed. Open it again to run it.`)
      return run()
    })
    this.#runs = ended.catch(() => {})
    return ended
  }

  /** Whether there is input that a loop must act on. Without goals, commands and events from before are left as they are. */
  get hasInput(): boolean {
    const { queue, commands, events } = this.log
    return !queue.isEmpty || (this.hasGoals && (commands.length > 0 || events.length > 0))
  }

  /** Follows the children of a run, and continues those that are open. */
  async followChildren(given: DetachedChildren | undefined): Promise<void> {
    if (given === undefined) return
    if (this.children?.isOf(given) !== true) {
      this.children?.stop()
      this.children = new ThreadChildren(this, given)
    }
    await this.children.resume()
  }

  /** Charges between turns what children used. */
  async settleChildren(): Promise<void> {
    const { state } = readGoal(this.#records, this.threadId)
    const inputs = this.children?.usage(state.goal, state.memory) ?? []
    if (inputs.length > 0) await this.apply(inputs)
  }

  /** Ends the wait of a loop, which rejects: the thread is closed. */
  close(): void {
    this.children?.stop()
    this.#isClosed = true
    this.wake()
  }

  /** Wakes the loop if it waits. */
  wake(): void {
    for (const wake of this.#waiting) wake()
  }

  /** Waits with a signal that is aborted when input arrives, or when the run's signal is. Returns at once if there is input. */
  waitForInput(signal: AbortSignal | undefined, wait: (signal: AbortSignal) => Promise<void>): Promise<void> {
    return this.waitUntil(() => this.hasInput, [signal], wait)
  }

  /**
   * Waits with a signal that is aborted when `isDue` has become true, or when one of the signals is. Returns at once if it is true.
   * @throws {JournalStoreError} `closed`: the thread was closed
   */
  async waitUntil(isDue: () => boolean, signals: readonly (AbortSignal | undefined)[], wait: (signal: AbortSignal) => Promise<void>): Promise<void> {
    if (isDue()) return
    // A thread may have been closed since its run suspended: nothing would end the wait.
    this.#checkWaiting()
    const controller = new AbortController()
    const wake = (): void => {
      if (this.#isClosed || isDue()) controller.abort()
    }
    this.#waiting.add(wake)
    const stopListening = signals.map((signal) => onAbort(signal, () => controller.abort()))
    try {
      await wait(controller.signal)
    } finally {
      this.#waiting.delete(wake)
      for (const stop of stopListening) stop()
    }
    this.#checkWaiting()
  }

  #checkWaiting(): void {
    if (this.#isClosed) throw new JournalStoreError("closed", `The thread ${JSON.stringify(this.threadId)} was closed while its run waited.`)
  }

  /** Passes changes and metrics on to the host. Outputs of type `event` belong to the history only. */
  async report(outputs: readonly GoalOutput[]): Promise<void> {
    if (this.onGoal !== undefined) for (const output of outputs) if (output.type !== "event") await this.onGoal(output)
  }

  /** Informs the goal machine that the thread was loaded, at most once for each time that it was opened. */
  async reportReload(): Promise<void> {
    if (!this.isReloaded) return
    this.isReloaded = false
    const { mode } = this.goalThread
    await this.apply([{ type: "thread_resumed", at: this.now(), mode: mode ?? "default" }])
  }

  /** Applies all pending commands between turns. */
  async settleCommands(): Promise<void> {
    const { commands } = this.log
    if (commands.length > 0) await this.apply(commands.map(commandInput), commands)
  }

  /** Applies all events so far between turns. */
  async settleEvents(): Promise<void> {
    const { events } = this.log
    if (events.length === 0) return
    const inputs = events.map(({ at, event }): GoalInput => ({ type: "event_happened", at, event }))
    await this.apply(inputs, events)
  }

  /** Applies inputs to the goal between turns, with one record, and reports what they changed. `settled`: the records of the log that they are from. */
  async apply(inputs: readonly GoalInput[], settled: readonly { readonly at: number }[] = []): Promise<void> {
    const { records, outputs } = changeGoal(this.goalThread, ...inputs)
    if (records.length > 0 || settled.length > 0)
      await this.log.append({ type: "noted", at: this.now(), records, commands: settled.map(({ at }) => at) })
    await this.report(outputs)
  }
}

/** A recorded command as an input of the goal machine. */
export function commandInput({ at, command }: ThreadCommanded): GoalInput {
  return { type: "command", at, command }
}
