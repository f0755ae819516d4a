import { goalDeliveries, lostUsageRecord, mergeDeliveries, stopRecord } from "../../drivers/goal/deliveries.ts"
import { readGoal } from "../../drivers/goal/history.ts"
import { changeGoal, endGoalTurn, type GoalThread, goalChanges, nextTurn } from "../../drivers/goal/thread.ts"
import { JournalError } from "../../errors.ts"
import type { Json } from "../../json.ts"
import type { TurnMachine } from "../../machine/turn-machine.ts"
import type { Checkpoint } from "../../schemas/effect.ts"
import type { Outcome } from "../../schemas/event.ts"
import type { Goal, GoalCommand, GoalInput, GoalOutput } from "../../schemas/goal.ts"
import type { LlmRequest, TokenUsage } from "../../schemas/llm.ts"
import type { CheckpointDelivery, DeliveredMessage, HistoryRecord, Message } from "../../schemas/message.ts"
import type { ThreadCommanded, ThreadTurnBegun } from "../../schemas/thread.ts"
import { type Host, type RunOptions, wrapHost } from "../host.ts"
import type { JournalStore } from "../journal/store.ts"
import { TurnJournal, type TurnJournalOptions } from "../journal/turn-journal.ts"
import { runTurn } from "../run/run-turn.ts"
import { type GoalTurnOptions, goalConfig, type ThreadTurn } from "./config.ts"
import { type EndedThreadTurn, ThreadLog, unsettled, waiting } from "./log.ts"

export type { ThreadTurn }

/** What a thread's turns have in common. */
export interface ThreadOptions extends GoalTurnOptions, Omit<TurnJournalOptions, "compactAboveChars"> {
  /** Goes on with a goal inside its turn, instead of in a new one. Default false. */
  readonly continueInTurn?: boolean
  /** About what a model call used whose answer was lost with its process; it is charged, and made again. Absent: nothing. */
  readonly lostUsage?: (request: LlmRequest) => TokenUsage
  /** The host's own facts, kept in the header of a new thread. */
  readonly meta?: Json
}

/** How {@link runThread} is to run. */
export interface RunThreadOptions extends Omit<RunOptions, "journal" | "turnId"> {
  /** Called at each checkpoint and between turns, before anything is decided: the moment to `say` and `command` what came in. */
  readonly attend?: (thread: Thread) => Promise<void> | void
  /** What became of the goal: changes and metrics, as they become durable, each at least once; and commands that came to be refused. */
  readonly onGoal?: (output: GoalOutput) => void
  /** A turn begins, or is taken up (`resumed`). */
  readonly onTurn?: (turn: ThreadTurn & { readonly resumed: boolean; readonly machine: TurnMachine }) => void
  /** The loop of a turn. Default `runTurn` of `turn-machine/hosts`; that of `openTelemetry` runs turns in spans. */
  readonly runTurn?: typeof runTurn
  /** Waits until a time, or until the signal aborts. Default: a timer. */
  readonly wait?: (until: number, signal: AbortSignal | undefined) => Promise<void>
  /**
   * Called between turns, when all commands are settled and before it is decided whether a continuation starts: the moment to
   * judge what the last turn did, and to `note` what came of it.
   */
  readonly between?: (thread: Thread) => Promise<Guidance | undefined> | Guidance | undefined
  /** For how long at most a run waits before a continuation; beyond it, it rests. Milliseconds; default 600,000. */
  readonly maxWaitMs?: number
}

/** What a host knows of the next continuation. */
export interface Guidance {
  /** Before this time none starts. Milliseconds since the epoch. */
  readonly notBefore?: number
  /** What it is told besides the goal. */
  readonly say?: string
}

/** Why no turn runs any more. */
export interface ThreadRest {
  readonly reason: string
  /** When to run the thread again, if that is known. */
  readonly notBefore?: number
  /** How the last turn of this run ended; absent if none ran. */
  readonly outcome?: Outcome
}

const DEFAULT_MAX_WAIT_MS = 600_000
/** Timers hold 31 bits of milliseconds; a longer one would go off at once. */
const MAX_TIMER_MS = 2 ** 31 - 1

/**
 * A conversation that outlives turns, with its goal: a log in a store, and a journal for each turn beside it. Held by one
 * process at a time. What the user says and what is wanted of the goal is kept before it is acted on.
 *
 *     const thread = await Thread.open(store, "thread-1", { config })
 *     await thread.command({ type: "set", objective: "Make the tests pass.", tokenBudget: 200_000 })
 *     const { reason } = await runThread(thread, host)
 *     await thread.close()
 */
export class Thread {
  readonly threadId: string
  readonly options: ThreadOptions
  readonly #store: JournalStore
  readonly #log: ThreadLog
  /** The machine of the turn that runs in this process. */
  #running: TurnMachine | undefined
  #journal: TurnJournal | undefined
  #onGoal: RunThreadOptions["onGoal"]

  private constructor(store: JournalStore, threadId: string, log: ThreadLog, options: ThreadOptions) {
    this.#store = store
    this.threadId = threadId
    this.#log = log
    this.options = options
  }

  /**
   * Takes hold of a thread, which need not exist: its log is the journal `<threadId>.thread`, its turns are
   * `<threadId>.1`, `<threadId>.2`, …
   * @throws {JournalError} the log is damaged, or none
   * @throws {JournalStoreError} `in_use`, `unavailable`
   */
  static async open(store: JournalStore, threadId: string, options: ThreadOptions): Promise<Thread> {
    const log = await ThreadLog.open(store, `${threadId}.thread`, options)
    const known = log.header?.threadId ?? threadId
    if (known !== threadId) {
      await log.close()
      throw new JournalError("invalid_record", 1, 0, `The log is that of the thread ${JSON.stringify(known)}, not of ${JSON.stringify(threadId)}.`)
    }
    const thread = new Thread(store, threadId, log, options)
    if (log.header === undefined) await log.begin(threadId, thread.#now(), options.meta)
    else if (log.turn === undefined) await thread.#passOverStop()
    return thread
  }

  get goal(): Goal | null {
    return readGoal(this.history, this.threadId).state.goal
  }
  /** The history of all turns, up to this moment, and what was noted between them. */
  get history(): readonly HistoryRecord[] {
    return this.#running?.history ?? this.#log.history
  }
  /** The host's own facts, from the header. */
  get meta(): Json | undefined {
    return this.#log.header?.meta
  }
  /** How many turns have begun. */
  get turns(): number {
    return this.#log.turns
  }
  /** The turn that began and is not over: it is taken up first. */
  get openTurn(): ThreadTurn | undefined {
    const { turn } = this.#log
    return turn && { turnId: turn.turnId, origin: turn.origin, startedAt: turn.at }
  }

  /** The turn that was over last: how it ended, and the messages it left. */
  get lastTurn(): EndedThreadTurn | undefined {
    return this.#log.lastTurn
  }
  /** Whether something is wanted of the goal that was not carried out yet. */
  get isCommanded(): boolean {
    return this.#waitingCommands().length > 0
  }

  /**
   * Something that the user says. Without a turn it begins one; a running turn takes it at its next checkpoint.
   * @throws {JournalStoreError}
   */
  say(text: string): Promise<void> {
    const id = `user-${this.#log.saidInAll + 1}`
    const message: Message = { id, role: "user", parts: [{ id: `${id}.p0`, type: "text", text }] }
    return this.#log.append({ type: "said", at: this.#now(), message })
  }

  /**
   * Something that is wanted of the goal. A running turn takes it at its next checkpoint. Gives what would come of it as
   * things stand; one that is `refused` is not kept. While a turn is open and not taken up yet nobody knows what it did to the
   * goal: whatever rests on that is kept, and nothing is given.
   * @throws {JournalStoreError}
   */
  async command(command: GoalCommand): Promise<readonly GoalOutput[]> {
    const at = Math.max(this.#now(), this.#log.at + 1)
    const before = this.#waitingCommands().map((waits) => ({ type: "command", at: waits.at, command: waits.command }) as const)
    const thread = { ...this.#thread(), history: [...this.history, ...changeGoal(this.#thread(), ...before).records] }
    const { outputs } = changeGoal(thread, { type: "command", at, command })
    const refused = outputs.find((output) => output.type === "refused")
    const isUnsure = this.#log.turn !== undefined && this.#running === undefined && (refused?.code === "no_goal" || refused?.code === "not_active")
    if (refused === undefined || isUnsure) await this.#log.append({ type: "commanded", at, command })
    return isUnsure ? [] : outputs
  }

  /**
   * Puts what happened between turns into the history, all of it or nothing: inputs of the goal, as usage of children, and records of
   * the host's own. Gives what came of the inputs.
   * @throws {TypeError} a turn is open
   * @throws {JournalStoreError}
   */
  async note(inputs: readonly GoalInput[], records: readonly HistoryRecord[] = []): Promise<readonly GoalOutput[]> {
    if (this.#log.turn !== undefined) throw new TypeError("A turn is open: only between turns can be noted what happened between them.")
    const changed = changeGoal(this.#thread(), ...inputs)
    await this.#log.append({ type: "noted", at: this.#now(), records: [...changed.records, ...records], commands: [] })
    this.#tell(changed.outputs)
    return changed.outputs
  }

  /**
   * Carries out what is wanted of the goal, between turns. {@link run} does so by itself.
   * @throws {TypeError} a turn is open
   * @throws {JournalStoreError}
   */
  async settle(): Promise<void> {
    if (this.#log.turn !== undefined) throw new TypeError("A turn is open: it takes commands at its next checkpoint.")
    await this.#settleCommands()
  }

  /** Lets go of the thread. A turn that runs is left as it stands, and its run rejects. A second time does nothing. */
  async close(): Promise<void> {
    await this.#journal?.close()
    await this.#log.close()
  }

  /** Runs turns until the thread rests; {@link runThread} is this. */
  async run(host: Host, options: RunThreadOptions = {}): Promise<ThreadRest> {
    const { signal, attend, between, maxWaitMs = DEFAULT_MAX_WAIT_MS, wait = waitUntil } = options
    this.#onGoal = options.onGoal
    let outcome: Outcome | undefined
    const rest = (reason: string, notBefore?: number): ThreadRest => ({
      reason,
      ...(notBefore !== undefined && { notBefore }),
      ...(outcome !== undefined && { outcome }),
    })
    for (;;) {
      await attend?.(this)
      if (this.#log.turn !== undefined) {
        outcome = await this.#runOpenTurn(this.#log.turn, host, options)
        if (signal?.aborted === true) return rest("The run was stopped.")
        continue
      }
      if (signal?.aborted === true) return rest("The run was stopped.")
      await this.#settleCommands()
      const { say, notBefore = 0 } = (await between?.(this)) ?? {}
      if (this.#log.commands.length > 0 || isAborted(signal)) continue
      const now = this.#now()
      const next = nextTurn({ ...this.#thread(), queuedInput: this.#log.said.length > 0 }, now)
      if (next.type === "rest") return rest(next.reason, next.notBefore)
      const until = next.type === "continue" ? Math.max(next.notBefore ?? 0, notBefore) : 0
      if (until > now) {
        if (until - now > maxWaitMs) return rest("The goal waits before it goes on.", until)
        await wait(until, signal)
        continue
      }
      await this.#beginTurn(next.type === "continue" ? next.message : undefined, say)
    }
  }

  #tell(outputs: readonly GoalOutput[]): void {
    // What goes into the history is the thread's own affair.
    if (this.#onGoal !== undefined) for (const output of outputs) if (output.type !== "event") this.#onGoal(output)
  }

  async #settleCommands(): Promise<void> {
    const { commands } = this.#log
    if (commands.length === 0) return
    const inputs = commands.map(({ at, command }) => ({ type: "command", at, command }) as const)
    const { records, outputs } = changeGoal(this.#thread(), ...inputs)
    await this.#log.append({ type: "noted", at: this.#now(), records, commands: commands.map(({ at }) => at) })
    this.#tell(outputs)
  }

  async #beginTurn(continuation: DeliveredMessage | undefined, say?: string): Promise<void> {
    const number = this.#log.turns + 1
    const id = `continue-${number}`
    const messages: readonly Message[] =
      continuation === undefined
        ? []
        : [
            {
              id,
              role: continuation.role,
              parts: [{ id: `${id}.p0`, type: "text", text: say === undefined ? continuation.content : `${continuation.content}\n\n${say}` }],
              ...(continuation.origin !== undefined && { origin: continuation.origin }),
            },
          ]
    await this.#log.append({
      type: "turn_begun",
      at: this.#now(),
      turnId: `${this.threadId}.${number}`,
      origin: continuation === undefined ? "user" : "continuation",
      said: continuation === undefined ? this.#log.said.map((message) => message.id) : [],
      messages: [...messages],
    })
  }

  async #runOpenTurn(turn: ThreadTurnBegun, host: Host, options: RunThreadOptions): Promise<Outcome> {
    const { turnId, origin, at: startedAt } = turn
    const { runTurn: loop = runTurn, ...runOptions } = options
    const { now } = this.options
    const journal = await TurnJournal.open(this.#store, turnId, this.options)
    this.#journal = journal
    try {
      const config = goalConfig(this.threadId, { turnId, origin, startedAt }, this.options)
      const resumed = journal.recorded !== undefined
      const machine = resumed ? await journal.resume(config) : await journal.begin(config, this.#start(turn), { turnId })
      if (resumed) await this.#takeUp(machine, journal, turnId)
      options.onTurn?.({ turnId, origin, startedAt, resumed, machine })
      this.#running = machine
      const { outcome } = await loop(machine, this.#hostOf(machine, host, options), { ...runOptions, journal, ...(now !== undefined && { now }) })
      await this.#endTurn(turn, machine, outcome)
      return outcome
    } finally {
      this.#running = undefined
      this.#journal = undefined
      await journal.close()
    }
  }

  #start({ messages }: ThreadTurnBegun): {
    readonly messages: readonly Message[]
    readonly events: readonly HistoryRecord[]
    readonly iterationOffset: number
  } {
    const said = this.#log.history.flatMap((record) => (record.type === "conversation" ? [record.message] : []))
    return { messages: [...said, ...messages], events: this.#log.history, iterationOffset: this.#log.iteration }
  }

  /** The call that was outstanding may have been made, and will be made again. The time in which nobody ran the turn is free. */
  async #takeUp(machine: TurnMachine, journal: TurnJournal, turnId: string): Promise<void> {
    const { outstanding } = machine
    if (outstanding === undefined) return
    const { lostUsage } = this.options
    const isLost = outstanding.type === "llm_call" && lostUsage !== undefined
    const stop = stopRecord(machine.history, this.threadId, this.#now())
    const events = [
      ...(isLost ? [lostUsageRecord(this.threadId, turnId, lostUsage(outstanding.request))] : []),
      ...(stop === undefined ? [] : [stop]),
    ]
    if (events.length === 0) return
    const actions = [{ type: "append_events", events }] as const
    await journal.command(machine, { type: "apply", actions })
    machine.apply(actions)
  }

  async #passOverStop(): Promise<void> {
    const at = this.#now()
    const stop = stopRecord(this.#log.history, this.threadId, at)
    if (stop !== undefined) await this.#log.append({ type: "noted", at, records: [stop], commands: [] })
  }

  async #endTurn(turn: ThreadTurnBegun, machine: TurnMachine, outcome: Outcome): Promise<void> {
    const { turnId } = turn
    const at = this.#now()
    const { costMicros } = this.options.goal ?? {}
    const history = machine.history
    const ended = endGoalTurn(
      { ...this.#thread(), history },
      { turnId, outcome, usage: machine.usage, ...(costMicros !== undefined && { costMicros }) },
      at,
    )
    const records = [...history.slice(this.#log.history.length), ...ended.records]
    await this.#log.append({ type: "turn_ended", at, turnId, outcome, iteration: machine.iteration, records })
    this.#tell(ended.outputs)
  }

  /** The host, with the thread's own deliveries before those of the goal, and the goal's changes told. */
  #hostOf(machine: TurnMachine, host: Host, options: RunThreadOptions): Host {
    const { threadId } = this
    let goal = readGoal(machine.history, threadId).state.goal
    return wrapHost(host, {
      progress: async (next, effect) => {
        await next(effect)
        const outputs = goalChanges(effect.eventDelta, threadId, goal)
        goal = readGoal(machine.history, threadId).state.goal
        this.#tell(outputs)
      },
      checkpoint: async (next, effect, context) => {
        await options.attend?.(this)
        const own = (await next(effect, context)) ?? {}
        return this.#deliver(machine, effect, own)
      },
    })
  }

  #deliver(machine: TurnMachine, { checkpoint }: Checkpoint, own: CheckpointDelivery): CheckpointDelivery {
    const { policy = {}, continueInTurn = false } = this.options
    const history = machine.history
    const { said } = this.#log
    const userMessages = said.length === 0 ? said : waiting(said, history.slice(this.#log.history.length))
    const commands = this.#waitingCommands()
    const queuedInput = userMessages.length > 0 || Object.values(own).some((list) => Array.isArray(list) && list.length > 0)
    // What was no mistake when it was said may be one by now.
    const inputs = commands.map(({ at, command }) => ({ type: "command", at, command }) as const)
    if (inputs.length > 0) this.#tell(changeGoal(this.#thread(), ...inputs).outputs.filter(({ type }) => type === "refused"))
    const goals = goalDeliveries(history, checkpoint, this.#now(), { threadId: this.threadId, policy, commands, continueInTurn, queuedInput })
    return mergeDeliveries({ ...(userMessages.length > 0 && { userMessages: [...userMessages] }) }, own, goals)
  }

  /** Those of which the running turn was not told. */
  #waitingCommands(): readonly ThreadCommanded[] {
    const { commands, history } = this.#log
    return commands.length === 0 ? commands : unsettled(commands, this.history.slice(history.length))
  }

  #thread(): GoalThread {
    const { policy = {}, mode = "default" } = this.options
    return { threadId: this.threadId, history: this.history, policy, mode }
  }

  #now(): number {
    return Math.floor((this.options.now ?? Date.now)())
  }
}

/**
 * Runs a thread until it rests: an open turn is taken up first, then what the user said, then continuations of its goal,
 * as `nextTurn` decides. Aborting the signal cancels the turn that runs, which pauses the goal under the default policy; to
 * leave a turn as it stands, end the process. Rejects with what `runTurn` rejects with; the thread can then be opened anew.
 */
export function runThread(thread: Thread, host: Host, options: RunThreadOptions = {}): Promise<ThreadRest> {
  return thread.run(host, options)
}

/** Asked anew: it may have been aborted while something was awaited. */
function isAborted(signal: AbortSignal | undefined): boolean {
  return signal?.aborted === true
}

function waitUntil(until: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted === true) return resolve()
    const end = (): void => {
      clearTimeout(timer)
      signal?.removeEventListener("abort", end)
      resolve()
    }
    const timer = setTimeout(end, Math.min(Math.max(0, until - Date.now()), MAX_TIMER_MS))
    signal?.addEventListener("abort", end)
  })
}
