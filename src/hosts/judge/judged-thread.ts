import type { Decision } from "../../drivers/checklist/decision.ts"
import { ChecklistJudge, type JudgeConfig } from "../../drivers/checklist/judge.ts"
import { applyJudgement } from "../../drivers/checklist/judgement.ts"
import { type Managed, manageChecklist } from "../../drivers/checklist/manager.ts"
import { continuationPrompt, judgeRemark } from "../../drivers/checklist/prompts.ts"
import { pauseText } from "../../drivers/checklist/wording.ts"
import { escapeXml } from "../../drivers/goal/prompts.ts"
import { wrapDriver } from "../../drivers/wrap-driver.ts"
import { withChanges } from "../../lazy.ts"
import type { ProtocolDriver } from "../../machine/driver.ts"
import { addUsage, NO_USAGE } from "../../machine/limits.ts"
import type { DriverAction } from "../../wire/action.ts"
import type { ChecklistCommand, ChecklistState, JudgedTurn } from "../../wire/checklist.ts"
import type { Outcome } from "../../wire/event.ts"
import type { GoalInput } from "../../wire/goal.ts"
import type { HistoryRecord, Message } from "../../wire/message.ts"
import type { Host } from "../host.ts"
import type { JournalStore, OpenOptions } from "../journal/store.ts"
import type { EndedThreadTurn } from "../thread/log.ts"
import type { Guidance, Thread } from "../thread/thread.ts"
import { type JudgeMemory, judgeName, StoredJudgeMemory } from "./judge-memory.ts"
import { type JudgeOptions, runJudge } from "./run-judge.ts"

/** Options of {@link JudgedThread}. */
export interface JudgedThreadOptions extends OpenOptions, Pick<JudgeOptions, "signal" | "onEvent" | "isFatal"> {
  readonly judge: JudgeConfig
  /** The host whose model the judge calls. */
  readonly host: Pick<Host, "llmCall">
  /** Called before a turn is judged. Awaited. */
  readonly onJudging?: (turnId: string) => unknown
  /** Called when the checklist has changed. `decision` is given if a judgement changed it. Awaited. */
  readonly onChecklist?: (state: ChecklistState, decision?: Decision) => unknown
}

/**
 * A judge for the goal of a thread. After each turn it decides on the checklist, and its decision completes, blocks or pauses the goal.
 * Its state is the journal `<threadId>.judge` beside the thread's log. Each turn is judged once, and a judge whose process crashed
 * resumes. Its tokens are charged to the goal as usage of a child.
 *
 *     const judged = await JudgedThread.open(store, thread, { judge: { model }, host })
 *     await runThread(thread, host, { between: () => judged.between() })
 *     await judged.close()
 */
export class JudgedThread {
  readonly #thread: Thread
  readonly #options: JudgedThreadOptions
  readonly #memory: StoredJudgeMemory

  private constructor(thread: Thread, memory: StoredJudgeMemory, options: JudgedThreadOptions) {
    this.#thread = thread
    this.#memory = memory
    this.#options = options
  }

  /**
   * Opens the state of the judge exclusively, creating it if needed.
   * @throws {CheckpointError} `not_json`, `not_a_checkpoint`, `unsupported_version`, `invalid_checkpoint`
   * @throws {JournalStoreError} `in_use`, `unavailable`
   */
  static async open(store: JournalStore, thread: Thread, options: JudgedThreadOptions): Promise<JudgedThread> {
    const stored = await store.open(judgeName(thread.threadId), options)
    try {
      const memory = await StoredJudgeMemory.read(stored)
      const judged = new JudgedThread(thread, memory, options)
      if (thread.openTurn === undefined) await judged.#settle()
      if (thread.openTurn === undefined || memory.current.goalId === undefined) await judged.#followGoal()
      return judged
    } catch (error) {
      await stored.close()
      throw error
    }
  }

  /** The checklist. */
  get state(): ChecklistState {
    return this.#memory.current.checklist
  }

  /**
   * Applies a user's command to the checklist, at any time. Settling the last open item completes the goal.
   * @throws {JournalStoreError} `fenced`, `closed`, `unavailable`
   */
  async manage(command: ChecklistCommand): Promise<Managed> {
    const managed = manageChecklist(this.#options.judge, this.state, command)
    if (!managed.ok) return managed
    const isDone = managed.state.goal?.status === "done" && this.state.goal?.status !== "done"
    await this.#update({ checklist: managed.state })
    if (isDone && this.#thread.goal?.status === "active") await this.#thread.command({ type: "set", status: "complete" })
    return managed
  }

  /**
   * Judges the last turn if it was not judged yet, and returns advice for the next one. Call it between turns.
   * @throws {JournalStoreError} `fenced`, `closed`, `unavailable`
   */
  async between(): Promise<Guidance> {
    await this.#settle()
    await this.#followGoal()
    const { lastTurn } = this.#thread
    if (lastTurn !== undefined && lastTurn.turnId !== this.#memory.current.judged && this.#isActive()) await this.#judge(lastTurn)
    const { goal } = this.state
    if (!this.#isActive() || goal?.status !== "active") return {}
    // Without a list, the goal's own prompt already says everything else.
    const advice = goal.checklist.length === 0 ? judgeRemark(goal) : continuationPrompt(goal)
    // Texts of users and judges are untrusted data here, as in the goal's own prompt.
    const say = advice === undefined ? undefined : `<goal_checklist>\n${escapeXml(advice)}\n</goal_checklist>`
    return { ...(say !== undefined && { say }), ...(goal.notBefore !== undefined && { notBefore: goal.notBefore }) }
  }

  /** Closes the journal. A running judge can be resumed later. Idempotent. */
  close(): Promise<void> {
    return this.#memory.close()
  }

  #isActive(): boolean {
    return this.#thread.goal?.status === "active"
  }

  /** Brings the checklist in line with the goal: a changed objective gets a new list, and a resumed goal resumes its list. */
  async #followGoal(): Promise<void> {
    const { goal, lastTurn } = this.#thread
    const { goalId, objective } = this.#memory.current
    if (goal === null) return
    if (goal.goalId !== goalId || goal.objective !== objective) {
      const managed = manageChecklist(this.#options.judge, this.state, { type: "set", goal: goal.objective, at: this.#now() })
      const judged = lastTurn === undefined ? {} : { judged: lastTurn.turnId }
      await this.#update({ checklist: managed.state, goalId: goal.goalId, objective: goal.objective, judging: undefined, ...judged })
      return
    }
    const listed = this.state.goal
    if (goal.status !== "active" || listed === undefined || listed.status === "active") return
    const isOpen = listed.checklist.some(({ status }) => status === "pending")
    if (listed.status === "done" && !isOpen) await this.#thread.command({ type: "set", status: "complete" })
    else await this.#update({ checklist: manageChecklist(this.#options.judge, this.state, { type: "resume", at: this.#now() }).state })
  }

  async #judge(turn: EndedThreadTurn): Promise<void> {
    const { judge: config, host, signal, onEvent, isFatal } = this.#options
    const { turnId } = turn
    await this.#options.onJudging?.(turnId)
    const judge = await this.#judgeOf(turn)
    const judgement = await runJudge(judge, host, {
      turnId,
      save: (saved) => this.#update({ judging: { turnId, checkpoint: saved.checkpoint() } }, false),
      ...(signal !== undefined && { signal }),
      ...(onEvent !== undefined && { onEvent }),
      ...(isFatal !== undefined && { isFatal }),
    })
    if (judgement === undefined) return
    const key = `${turnId}:${judgement.goalId}:${judgement.revision}`
    const { lost = NO_USAGE } = this.#memory.current
    await this.#update({ lost: undefined, owed: { key: `${key}:usage`, usage: addUsage(judgement.usage, lost) } }, false)
    await this.#settle()
    // Pending commands come before the judgement, which stays stored and is applied to the goal afterwards.
    if (this.#thread.isCommanded) return
    const { state, decision } = applyJudgement(config, this.state, judgement, this.#now())
    const isStale = decision.verdict === "stale"
    const owed = { key: `${key}:verdict`, ...endOf(decision) }
    await this.#update({ checklist: state, judging: undefined, owed, ...(!isStale && { judged: turnId }) }, true, decision)
    await this.#settle()
    // A user changed the list during the judgement: the same turn is judged again with the current list.
    if (isStale && this.#isActive() && !this.#thread.isCommanded) await this.#judge(turn)
  }

  /** The judge that a crash interrupted, or a new one. */
  async #judgeOf(turn: EndedThreadTurn): Promise<ChecklistJudge> {
    const { judge: config } = this.#options
    const { judging, lost = NO_USAGE } = this.#memory.current
    if (judging?.turnId !== turn.turnId) return new ChecklistJudge(config, this.state, judgedTurn(turn, this.#now()))
    const judge = ChecklistJudge.restore(config, judging.checkpoint)
    const { outstanding } = judge
    const { lostUsage } = this.#thread.options
    // The outstanding call may have been made, and will be made again.
    if (outstanding !== undefined && lostUsage !== undefined) await this.#update({ lost: addUsage(lost, lostUsage(outstanding.request)) }, false)
    return judge
  }

  /** Records in the thread what a judgement cost, or what it means for the goal. Each is recorded once. */
  async #settle(): Promise<void> {
    const { owed } = this.#memory.current
    if (owed === undefined) return
    const { threadId, history } = this.#thread
    const { key, usage, status, reason } = owed
    if (!history.some((record) => isJudged(record, threadId, key))) {
      const at = this.#now()
      const inputs: GoalInput[] = usage === undefined ? [] : [{ type: "child_usage_reported", at, usage }]
      if (status !== undefined && this.#isActive())
        inputs.push({ type: "command", at, command: { type: "set", status, ...(reason !== undefined && { reason }) } })
      await this.#thread.note(inputs, [{ type: "protocol", event: { type: "judged", threadId, key } }])
    }
    await this.#update({ owed: undefined }, false)
  }

  async #update(changes: Partial<JudgeMemory>, notify = true, decision?: Decision): Promise<void> {
    await this.#memory.update(changes)
    if (notify) await this.#options.onChecklist?.(this.state, decision)
  }

  #now(): number {
    return Math.floor((this.#thread.options.now ?? Date.now)())
  }
}

function judgedTurn({ turnId, outcome, messages }: EndedThreadTurn, at: number): JudgedTurn {
  const ended = outcome.type !== "stopped" ? "finished" : outcome.stop.type === "cancelled" ? "cancelled" : workedOn(outcome) ? "finished" : "failed"
  return { response: responseOf(outcome, messages), ended, transcript: { id: turnId, messages: [...messages] }, at }
}

/** Whether a stopped turn did work: one that came to a limit did. */
function workedOn(outcome: Outcome): boolean {
  return outcome.type === "stopped" && ["max_iterations", "max_tokens", "deadline", "incomplete"].includes(outcome.stop.type)
}

/** The final text or value of the turn; of a stopped one, the agent's last text. */
function responseOf(outcome: Outcome, messages: EndedThreadTurn["messages"]): string {
  if (outcome.type === "finished") return outcome.finish.type === "assistant_message" ? outcome.finish.text : JSON.stringify(outcome.finish.value)
  return lastAnswer(messages)
}

/** The text of the agent's last message. */
export function lastAnswer(messages: readonly Message[]): string {
  const last = messages.findLast(({ role }) => role === "assistant")
  return (last?.parts ?? []).flatMap((part) => (part.type === "text" ? [part.text] : [])).join("\n")
}

/** The goal status that a decision leads to, if it ends the work on the goal. */
export function endOf({ notice }: Decision): { readonly status?: "complete" | "blocked" | "paused"; readonly reason?: string } {
  if (notice?.type === "done") return { status: "complete" }
  if (notice?.type !== "paused") return {}
  const { reason } = notice
  if (reason.type === "blocked")
    return { status: "blocked", reason: `Blocked by the judge: ${reason.text.replace(/\.?$/, ".")} Clear the blocker, then resume.` }
  return { status: "paused", reason: `Paused by the judge: ${pauseText(reason)}. Edit the list, settle items yourself or resume.` }
}

/** Whether the history already has the record with this key. */
function isJudged(record: HistoryRecord, threadId: string, key: string): boolean {
  if (record.type !== "protocol" || typeof record.event !== "object" || record.event === null) return false
  const event = record.event as { readonly type?: unknown; readonly threadId?: unknown; readonly key?: unknown }
  return event.type === "judged" && event.threadId === threadId && event.key === key
}

/**
 * Wraps a driver so that its model cannot report the goal as reached or blocked itself: requests do not offer `update_goal`. Use it for
 * threads whose goal is judged.
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

export { readJudged } from "./judge-memory.ts"
