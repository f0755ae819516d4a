import { readGoal } from "../../drivers/goal/history.ts"
import { changeGoal, type GoalThread } from "../../drivers/goal/thread.ts"
import type { Json } from "../../json.ts"
import type { TurnMachine } from "../../machine/turn-machine.ts"
import type { ResumeOptions } from "../../replay/replay.ts"
import type { Goal, GoalInput, GoalOutput } from "../../wire/goal.ts"
import type { LlmRequest, TokenUsage } from "../../wire/llm.ts"
import type { HistoryRecord } from "../../wire/message.ts"
import type { ThreadCommanded } from "../../wire/thread.ts"
import type { JournalStore } from "../journal/store.ts"
import type { TurnJournal, TurnJournalOptions } from "../journal/turn-journal.ts"
import type { GoalTurnOptions } from "./config.ts"
import { type ThreadLog, unsettled } from "./log.ts"

/** Options that all turns of a thread share. */
export interface ThreadOptions extends GoalTurnOptions, Omit<TurnJournalOptions, "compactAboveChars"> {
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
  /** Any data of the host, stored in the header of a new thread. */
  readonly meta?: Json
}

/** The state of an open thread that its API, its loop and its host share. Not public. */
export class ThreadState {
  readonly threadId: string
  readonly options: ThreadOptions
  readonly store: JournalStore
  readonly log: ThreadLog
  /** The machine of the turn that runs in this process. */
  running: TurnMachine | undefined
  /** The journal of the open turn while this process runs it. */
  journal: TurnJournal | undefined
  /** How many records of the history this process has reported outside of turns. */
  reported = 0
  /** Receives changes and metrics of the goal. */
  onGoal: ((output: GoalOutput) => unknown) | undefined

  constructor(store: JournalStore, threadId: string, log: ThreadLog, options: ThreadOptions) {
    this.store = store
    this.threadId = threadId
    this.log = log
    this.options = options
  }

  get history(): readonly HistoryRecord[] {
    return this.running?.history ?? this.log.history
  }

  get goal(): Goal | null {
    return readGoal(this.history, this.threadId).state.goal
  }

  get goalThread(): GoalThread {
    const { policy = {}, mode = "default" } = this.options
    return { threadId: this.threadId, history: this.history, policy, mode }
  }

  /** The commands that the running turn has not received. */
  get pendingCommands(): readonly ThreadCommanded[] {
    const { commands, history } = this.log
    return commands.length === 0 ? commands : unsettled(commands, this.history.slice(history.length))
  }

  now(): number {
    return Math.floor((this.options.now ?? Date.now)())
  }

  /** Passes changes and metrics on to the host. Outputs of type `event` belong to the history only. */
  async report(outputs: readonly GoalOutput[]): Promise<void> {
    if (this.onGoal !== undefined) for (const output of outputs) if (output.type !== "event") await this.onGoal(output)
  }

  /** Applies all pending commands between turns. */
  async settleCommands(): Promise<void> {
    const { commands } = this.log
    if (commands.length === 0) return
    const { records, outputs } = changeGoal(this.goalThread, ...commands.map(commandInput))
    await this.log.append({ type: "noted", at: this.now(), records, commands: commands.map(({ at }) => at) })
    await this.report(outputs)
  }
}

/** A recorded command as an input of the goal machine. */
export function commandInput({ at, command }: ThreadCommanded): GoalInput {
  return { type: "command", at, command }
}
