import type { Decision } from "../../drivers/checklist/decision.ts"
import { ChecklistJudge, type JudgeConfig } from "../../drivers/checklist/judge.ts"
import { applyJudgement } from "../../drivers/checklist/judgement.ts"
import { type Managed, manageChecklist } from "../../drivers/checklist/manager.ts"
import { continuationPrompt } from "../../drivers/checklist/prompts.ts"
import { pauseText } from "../../drivers/checklist/wording.ts"
import { escapeXml } from "../../drivers/goal/prompts.ts"
import { wrapDriver } from "../../drivers/wrap-driver.ts"
import { withChanges } from "../../lazy.ts"
import type { ProtocolDriver } from "../../machine/driver.ts"
import { addUsage, NO_USAGE } from "../../machine/limits.ts"
import type { DriverAction } from "../../schemas/action.ts"
import type { ChecklistCommand, ChecklistState, JudgedTurn } from "../../schemas/checklist.ts"
import type { Outcome } from "../../schemas/event.ts"
import type { GoalInput } from "../../schemas/goal.ts"
import type { HistoryRecord, Message } from "../../schemas/message.ts"
import type { Host } from "../host.ts"
import type { JournalStore, OpenOptions } from "../journal/store.ts"
import type { EndedThreadTurn } from "../thread/log.ts"
import type { Guidance, Thread } from "../thread/thread.ts"
import { type JudgeMemory, JudgeNotes } from "./judge-notes.ts"
import { type JudgeOptions, runJudge } from "./run-judge.ts"

/** How a thread is judged. */
export interface JudgedThreadOptions extends OpenOptions, Pick<JudgeOptions, "signal" | "onEvent"> {
  readonly judge: JudgeConfig
  /** Whose model the judge asks. */
  readonly host: Pick<Host, "llmCall">
  /** A turn is about to be judged. */
  readonly onJudging?: (turnId: string) => void
  /** The checklist is another now; `decision`: because of a judgement. */
  readonly onChecklist?: (state: ChecklistState, decision?: Decision) => void
}

/**
 * A judge for the goal of a thread: after each turn it rules on the checklist, and the goal is completed, blocked or paused by
 * what it finds. What it remembers is the journal `<threadId>.judge` beside the thread's log, so that each turn is judged once, and a
 * judge whose process died goes on where it was. Its tokens are charged as a child's.
 *
 *     const judged = await JudgedThread.open(store, thread, { judge: { model }, host })
 *     await runThread(thread, host, { between: () => judged.between() })
 *     await judged.close()
 */
export class JudgedThread {
  readonly #thread: Thread
  readonly #options: JudgedThreadOptions
  readonly #notes: JudgeNotes

  private constructor(thread: Thread, notes: JudgeNotes, options: JudgedThreadOptions) {
    this.#thread = thread
    this.#notes = notes
    this.#options = options
  }

  /**
   * @throws {CheckpointError} what is kept is no memory of a judge, or of another version
   * @throws {JournalStoreError} `in_use`, `unavailable`
   */
  static async open(store: JournalStore, thread: Thread, options: JudgedThreadOptions): Promise<JudgedThread> {
    const stored = await store.open(`${thread.threadId}.judge`, options)
    try {
      const notes = new JudgeNotes(stored)
      const judged = new JudgedThread(thread, notes, options)
      if (thread.openTurn === undefined) await judged.#settle()
      if (thread.openTurn === undefined || notes.memory.goalId === undefined) await judged.#follow()
      return judged
    } catch (error) {
      await stored.close()
      throw error
    }
  }

  get state(): ChecklistState {
    return this.#notes.memory.checklist
  }

  /**
   * Carries out what a user does to the list, at any time. Who settles the last open item completes the goal.
   * @throws {JournalStoreError}
   */
  async manage(command: ChecklistCommand): Promise<Managed> {
    const managed = manageChecklist(this.#options.judge, this.state, command)
    if (!managed.ok) return managed
    const isDone = managed.state.goal?.status === "done" && this.state.goal?.status !== "done"
    await this.#keep({ checklist: managed.state })
    if (isDone && this.#thread.goal?.status === "active") await this.#thread.command({ type: "set", status: "complete" })
    return managed
  }

  /** To be called between turns: judges the last one, if it was not, and says how the next is to begin. @throws {JournalStoreError} */
  async between(): Promise<Guidance> {
    await this.#settle()
    await this.#follow()
    const { lastTurn } = this.#thread
    if (lastTurn !== undefined && lastTurn.turnId !== this.#notes.memory.judged && this.#isActive()) await this.#judge(lastTurn)
    const { goal } = this.state
    if (!this.#isActive() || goal?.status !== "active") return {}
    const open = goal.checklist.length === 0 ? undefined : continuationPrompt(goal)
    // What users and judges wrote is material here as it is in the goal's own prompt.
    const say = open === undefined ? undefined : `<goal_checklist>\n${escapeXml(open)}\n</goal_checklist>`
    return { ...(say !== undefined && { say }), ...(goal.notBefore !== undefined && { notBefore: goal.notBefore }) }
  }

  /** Lets go of the journal. A judge that is at work is left as it stands. A second time does nothing. */
  close(): Promise<void> {
    return this.#notes.close()
  }

  #isActive(): boolean {
    return this.#thread.goal?.status === "active"
  }

  /** Lets the list follow the goal: another objective wants another list, and a goal that was resumed a judge that goes on. */
  async #follow(): Promise<void> {
    const { goal, lastTurn } = this.#thread
    const { goalId, objective } = this.#notes.memory
    if (goal === null) return
    if (goal.goalId !== goalId || goal.objective !== objective) {
      const managed = manageChecklist(this.#options.judge, this.state, { type: "set", goal: goal.objective, at: this.#now() })
      const judged = lastTurn === undefined ? {} : { judged: lastTurn.turnId }
      await this.#keep({ checklist: managed.state, goalId: goal.goalId, objective: goal.objective, judging: undefined, ...judged })
      return
    }
    const kept = this.state.goal
    if (goal.status !== "active" || kept === undefined || kept.status === "active") return
    const isOpen = kept.checklist.some(({ status }) => status === "pending")
    if (kept.status === "done" && !isOpen) await this.#thread.command({ type: "set", status: "complete" })
    else await this.#keep({ checklist: manageChecklist(this.#options.judge, this.state, { type: "resume", at: this.#now() }).state })
  }

  async #judge(turn: EndedThreadTurn): Promise<void> {
    const { judge: config, host, signal, onEvent } = this.#options
    const { turnId } = turn
    this.#options.onJudging?.(turnId)
    const judge = await this.#judgeOf(turn)
    const judgement = await runJudge(judge, host, {
      turnId,
      save: (saved) => this.#keep({ judging: { turnId, checkpoint: saved.checkpoint() } }, false),
      ...(signal !== undefined && { signal }),
      ...(onEvent !== undefined && { onEvent }),
    })
    if (judgement === undefined) return
    const key = `${turnId}:${judgement.goalId}:${judgement.revision}`
    const { lost = NO_USAGE } = this.#notes.memory
    await this.#keep({ lost: undefined, owed: { key: `${key}:usage`, usage: addUsage(judgement.usage, lost) } }, false)
    await this.#settle()
    // What is wanted of the goal comes before what the judge found, which is kept, and then meets the goal as it is.
    if (this.#thread.isCommanded) return
    const { state, decision } = applyJudgement(config, this.state, judgement, this.#now())
    const isStale = decision.verdict === "stale"
    const owed = { key: `${key}:verdict`, ...endOf(decision) }
    await this.#keep({ checklist: state, judging: undefined, owed, ...(!isStale && { judged: turnId }) }, true, decision)
    await this.#settle()
    // A user did something that the judge did not know of: the same turn, with the list as it is now.
    if (isStale && this.#isActive() && !this.#thread.isCommanded) await this.#judge(turn)
  }

  /** The judge that was at work when its process died, or a new one. */
  async #judgeOf(turn: EndedThreadTurn): Promise<ChecklistJudge> {
    const { judge: config } = this.#options
    const { judging, lost = NO_USAGE } = this.#notes.memory
    if (judging?.turnId !== turn.turnId) return new ChecklistJudge(config, this.state, judgedTurn(turn, this.#now()))
    const judge = ChecklistJudge.restore(config, judging.checkpoint)
    const { outstanding } = judge
    const { lostUsage } = this.#thread.options
    // The call may have been made, and will be made again.
    if (outstanding !== undefined && lostUsage !== undefined) await this.#keep({ lost: addUsage(lost, lostUsage(outstanding.request)) }, false)
    return judge
  }

  /** Tells the thread what a judgement cost, or what it means for the goal, once. */
  async #settle(): Promise<void> {
    const { owed } = this.#notes.memory
    if (owed === undefined) return
    const { threadId, history } = this.#thread
    const { key, usage, status, reason } = owed
    if (!history.some((record) => isJudged(record, key))) {
      const at = this.#now()
      const inputs: GoalInput[] = usage === undefined ? [] : [{ type: "child_usage_reported", at, usage }]
      if (status !== undefined && this.#isActive())
        inputs.push({ type: "command", at, command: { type: "set", status, ...(reason !== undefined && { reason }) } })
      await this.#thread.note(inputs, [{ type: "protocol", event: { type: "judged", threadId, key } }])
    }
    await this.#keep({ owed: undefined }, false)
  }

  async #keep(changes: Partial<JudgeMemory>, tell = true, decision?: Decision): Promise<void> {
    await this.#notes.keep(changes)
    if (tell) this.#options.onChecklist?.(this.state, decision)
  }

  #now(): number {
    return Math.floor((this.#thread.options.now ?? Date.now)())
  }
}

function judgedTurn({ turnId, outcome, messages }: EndedThreadTurn, at: number): JudgedTurn {
  const ended = outcome.type !== "stopped" ? "finished" : outcome.stop.type === "cancelled" ? "cancelled" : workedOn(outcome) ? "finished" : "failed"
  return { response: responseOf(outcome, messages), ended, transcript: { id: turnId, messages: [...messages] }, at }
}

/** A turn that used up its iterations or its output has worked. */
function workedOn(outcome: Outcome): boolean {
  return outcome.type === "stopped" && (outcome.stop.type === "max_iterations" || outcome.stop.type === "incomplete")
}

/** What the turn ended with; of one that came to no end of its own, what it said last. */
function responseOf(outcome: Outcome, messages: EndedThreadTurn["messages"]): string {
  if (outcome.type === "finished") return outcome.finish.type === "assistant_message" ? outcome.finish.text : JSON.stringify(outcome.finish.value)
  return lastAnswer(messages)
}

/** What the agent said last, in words. */
export function lastAnswer(messages: readonly Message[]): string {
  const last = messages.findLast(({ role }) => role === "assistant")
  return (last?.parts ?? []).flatMap((part) => (part.type === "text" ? [part.text] : [])).join("\n")
}

/** What a decision means for the thread's goal, if it ends its pursuit. */
export function endOf({ notice }: Decision): { readonly status?: "complete" | "blocked" | "paused"; readonly reason?: string } {
  if (notice?.type === "done") return { status: "complete" }
  if (notice?.type !== "paused") return {}
  const { reason } = notice
  if (reason.type === "blocked")
    return { status: "blocked", reason: `Blocked, says the judge: ${reason.text.replace(/\.?$/, ".")} Clear what stands in the way, then resume.` }
  return { status: "paused", reason: `Paused by the judge: ${pauseText(reason)}. Edit the list, settle items yourself or resume.` }
}

/** Whether the thread was told already. */
function isJudged(record: HistoryRecord, key: string): boolean {
  if (record.type !== "protocol" || typeof record.event !== "object" || record.event === null) return false
  const event = record.event as { readonly type?: unknown; readonly key?: unknown }
  return event.type === "judged" && event.key === key
}

/**
 * A driver whose model does not say itself that a goal is reached or blocked: its requests do not offer `update_goal`. For
 * threads whose goal a judge rules on.
 */
export function judgedDriver(inner: ProtocolDriver): ProtocolDriver {
  return wrapDriver(inner, {
    prepareIteration: (next, ...given) => next(...given).map(withoutUpdateGoal),
    onLlmComplete: (next, ...given) => next(...given).map(withoutUpdateGoal),
    onToolResults: (next, ...given) => next(...given).map(withoutUpdateGoal),
    onExecResult: (next, ...given) => next(...given).map(withoutUpdateGoal),
    onLlmFailed: (next, ...given) => next(...given)?.map(withoutUpdateGoal),
    onDelivery: (next, ...given) => next(...given).map(withoutUpdateGoal),
  })
}

function withoutUpdateGoal(action: DriverAction): DriverAction {
  if (action.type !== "start_llm") return action
  return { ...action, request: withChanges(action.request, { tools: action.request.tools.filter(({ name }) => name !== "update_goal") }) }
}

export { readJudged } from "./judge-notes.ts"
