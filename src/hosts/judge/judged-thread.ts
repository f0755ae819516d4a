import { type Decision, decisionReasonText } from "../../drivers/checklist/decision.ts"
import { ChecklistJudge, type JudgeConfig } from "../../drivers/checklist/judge.ts"
import { applyJudgement } from "../../drivers/checklist/judgement.ts"
import { type Managed, manageChecklist } from "../../drivers/checklist/manager.ts"
import { continuationPrompt, judgeRemark } from "../../drivers/checklist/prompts.ts"
import { pauseText } from "../../drivers/checklist/wording.ts"
import { isBraked, isCharged, remainingTokens } from "../../drivers/goal/goal.ts"
import { readGoal } from "../../drivers/goal/history.ts"
import { fullPolicy } from "../../drivers/goal/policy.ts"
import { escapeXml } from "../../drivers/goal/prompts.ts"
import { addKnown, NO_USAGE } from "../../machine/limits.ts"
import { upperTokens } from "../../machine/usage-estimate.ts"
import type { ChecklistCommand, ChecklistState } from "../../wire/checklist.ts"
import type { LlmCall } from "../../wire/effect.ts"
import type { Goal, GoalCommand, GoalInput, GoalMemory } from "../../wire/goal.ts"
import type { TokenUsage } from "../../wire/llm.ts"
import type { HistoryRecord } from "../../wire/message.ts"
import type { Host } from "../host.ts"
import type { JournalStore, OpenOptions } from "../journal/store.ts"
import type { EndedThreadTurn } from "../journal/thread-log.ts"
import { judgeName } from "../journal/thread-names.ts"
import type { Guidance, Thread } from "../thread/thread.ts"
import { type JudgeMemory, type Judging, type Owed, StoredJudgeMemory } from "./judge-memory.ts"
import { contractText, judgedTurn, transcriptOf } from "./judged-turn.ts"
import { JUDGE_TIMEOUT_MS, type JudgeOptions, runJudge } from "./run-judge.ts"

/** Options of {@link JudgedThread}. */
export interface JudgedThreadOptions extends OpenOptions, Pick<JudgeOptions, "signal" | "onEvent" | "isFatal" | "sleep"> {
  readonly judge: JudgeConfig
  /** The host whose model the judge calls. It may be another one than the thread's. */
  readonly host: Pick<Host, "llmCall">
  /** The longest time for one call of the judge, in milliseconds. A call that takes longer fails. Default 60,000. */
  readonly timeoutMs?: number
  /** The cost of a usage of the judge's model, in micro-units. Default: as for the turns of the thread. */
  readonly costMicros?: (usage: TokenUsage) => number
  /** Called before a turn is judged. Awaited. */
  readonly onJudging?: (turnId: string) => unknown
  /** Called when the checklist has changed. `decision` is given if a judgement changed it. Awaited. */
  readonly onChecklist?: (state: ChecklistState, decision?: Decision) => unknown
}

/**
 * A judge for the goal of a thread. After each turn it decides on the checklist, and its decision completes, blocks or pauses the goal, or
 * lets it wait. It sees all messages of the thread. Its state is the journal `<threadId>.judge` beside the thread's log. Each turn is judged
 * once, after its checks have passed, and a judge whose process crashed resumes. Each of its calls is charged to the goal as usage of a
 * child.
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
   * @throws {CheckpointError} `not_json`, `not_a_checkpoint`, `unsupported_version`, `invalid_checkpoint`: also if it is damaged
   * @throws {JournalStoreError} `in_use`, `unavailable`
   */
  static async open(store: JournalStore, thread: Thread, options: JudgedThreadOptions): Promise<JudgedThread> {
    const stored = await store.open(judgeName(thread.threadId), options)
    try {
      const memory = await StoredJudgeMemory.read(stored)
      const judged = new JudgedThread(thread, memory, options)
      if (thread.openTurn === undefined) {
        await judged.#settle()
        await judged.#chargeInterruptedCall()
      }
      if (judged.#knowsGoal()) await judged.#followGoal()
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
   * Applies a user's command to the checklist, at any time. Settling the last open item of the present goal's list completes the goal.
   * @throws {JournalStoreError} `fenced`, `closed`, `unavailable`
   */
  async manage(command: ChecklistCommand): Promise<Managed> {
    if (this.#knowsGoal()) await this.#renewList()
    const managed = manageChecklist(this.#options.judge, this.state, command)
    if (!managed.ok) return managed
    const isDone = managed.state.goal?.status === "done" && this.state.goal?.status !== "done"
    await this.#update({ checklist: managed.state })
    const { goal } = this.#thread
    const isOwn = goal !== null && goal.goalId === this.#memory.current.goalId
    if (isDone && isOwn && goal.status !== "complete") await this.#thread.command(completion(goal))
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
    if (lastTurn !== undefined && this.#isToJudge(lastTurn)) await this.#judge(lastTurn)
    const { goal } = this.state
    if (this.#thread.goal?.status !== "active" || goal?.status !== "active") return {}
    // Without a list, the goal's own prompt already says everything else.
    const advice = goal.checklist.length === 0 ? judgeRemark(goal) : continuationPrompt(goal, { isShown: true })
    // Texts of users and judges are untrusted data here, as in the goal's own prompt.
    const say = advice === undefined ? undefined : `<goal_checklist>\n${escapeXml(advice)}\n</goal_checklist>`
    // A wait that the thread's goal holds ends as the goal says: early by an event, a message or a resume.
    const { notBefore } = this.#memory.current.isHeld === true ? {} : goal
    return { ...(say !== undefined && { say }), ...(notBefore !== undefined && { notBefore }) }
  }

  /** Closes the journal. A running judge can be resumed later. Idempotent. */
  close(): Promise<void> {
    return this.#memory.close()
  }

  /** Whether the thread's goal is known: an open turn that has not been resumed may have changed it. */
  #knowsGoal(): boolean {
    return this.#thread.openTurn === undefined || this.#memory.current.goalId === undefined
  }

  /** A turn is judged once, after its checks have passed, also if it reached a budget. */
  #isToJudge({ turnId }: EndedThreadTurn): boolean {
    const { judged, limited } = this.#memory.current
    const { history, threadId } = this.#thread
    const { goal, memory } = readGoal(history, threadId).state
    if (goal === null || !isOpen(goal, memory) || judged === turnId) return false
    if (goal.status === "paused" && memory.brakedAfter !== turnId) return false
    // A pause came when the goal reached a budget.
    if (goal.status === "budget_limited" && memory.interrupted) return false
    if (goal.status === "budget_limited" && limited === true) return false
    return (goal.checks ?? []).length === 0 || memory.checks?.passed === turnId
  }

  /** Brings the checklist in line with the goal: a changed objective gets a new list, and a resumed goal resumes its list. */
  async #followGoal(): Promise<void> {
    if (await this.#renewList()) return
    const { history, threadId } = this.#thread
    const { goal, memory } = readGoal(history, threadId).state
    const listed = this.state.goal
    if (goal?.status !== "active" || listed === undefined || listed.status === "active") return
    // It is complete once its checks pass.
    if (memory.checks?.claimed === true) return
    const isDone = listed.status === "done" && listed.checklist.every(({ status }) => status !== "pending")
    if (isDone && (memory.checks?.failing ?? []).length === 0) await this.#thread.command(completion(goal))
    else await this.#update({ checklist: manageChecklist(this.#options.judge, this.state, { type: "resume", at: this.#now() }).state })
  }

  /** Begins the list of a new goal; of a changed one, the user's own items stay. Returns whether there was a change. */
  async #renewList(): Promise<boolean> {
    const { goal, lastTurn, history } = this.#thread
    const { goalId, objective } = this.#memory.current
    if (goal === null) return false
    const contract = contractText(goal.contract)
    const isSame = goal.goalId === goalId
    if (isSame && objective !== undefined && !this.#isEdited(goal)) return false
    const type = isSame && this.state.goal !== undefined ? "edit" : "set"
    const managed = manageChecklist(this.#options.judge, this.state, { type, goal: goal.objective, contract, at: this.#now() })
    const judged = lastTurn === undefined ? {} : { judged: lastTurn.turnId }
    const heard = isSame ? {} : { heard: lastMessageId(history), limited: undefined }
    const changes = { goalId: goal.goalId, objective: goal.objective, contract, judging: undefined, again: undefined }
    await this.#update({ checklist: managed.state, ...changes, ...judged, ...heard })
    return true
  }

  async #judge(turn: EndedThreadTurn): Promise<void> {
    const { judge: config, host, signal, onEvent, isFatal, sleep, timeoutMs = JUDGE_TIMEOUT_MS } = this.#options
    const { turnId } = turn
    await this.#options.onJudging?.(turnId)
    const { judge, ...begun } = await this.#judgeOf(turn)
    const { attempt } = begun
    // Before the judge is stored: what a crash leaves as outstanding counts as made.
    let refused = judge.outstanding === undefined ? undefined : this.#whyNotAsked(judge.outstanding)
    if (refused !== undefined) return this.#refuse(turnId, refused)
    const judgement = await runJudge(judge, host, {
      turnId,
      attempt,
      timeoutMs,
      save: (saved) => this.#save(saved, { turnId, ...begun }),
      onStopped: (usage) => this.#loseCall(usage),
      admit: (call) => {
        refused = this.#whyNotAsked(call)
        return refused === undefined
      },
      ...(sleep !== undefined && { sleep }),
      ...(signal !== undefined && { signal }),
      ...(onEvent !== undefined && { onEvent }),
      ...(isFatal !== undefined && { isFatal }),
    })
    if (judgement === undefined) {
      if (refused !== undefined) await this.#refuse(turnId, refused)
      return
    }
    // Pending commands come before the judgement, which stays stored and is applied to the goal afterwards.
    if (this.#thread.isCommanded) return
    const before = this.state.goal
    const { state, decision } = applyJudgement(config, this.state, judgement, this.#now())
    const isStale = decision.verdict === "stale"
    // A turn that reached the budget or a brake is the goal's last one: it is judged by the list, too.
    const isLast = decision.verdict === "decompose" && this.#memory.current.judging?.limited === true
    const isAgain = isStale || isLast
    const { finding } = judgement
    const isRead = !isStale && finding.type === "judged" && finding.answer === "usable"
    const isProgress = !isStale && decision.verdict !== "skipped" && state.goal !== before && state.goal?.stalledTurns === 0
    const owed = { key: `${turnId}:${attempt}:verdict`, ...this.#ownerOf(), ...endOf(decision), ...(isProgress && { progress: true as const }) }
    await this.#update(
      {
        checklist: state,
        judging: undefined,
        owed,
        limited: this.#thread.goal?.status === "budget_limited",
        again: isAgain ? { turnId, judged: attempt } : undefined,
        ...(!isAgain && { judged: turnId }),
        ...(isRead && { heard: lastMessageId(this.#thread.history) }),
      },
      true,
      decision,
    )
    await this.#settle()
    const { goal, memory } = readGoal(this.#thread.history, this.#thread.threadId).state
    // A user changed the list during the judgement: the same turn is judged again with the current list.
    if (isAgain && goal !== null && isOpen(goal, memory) && !this.#thread.isCommanded) await this.#judge(turn)
  }

  /** The judge that a crash interrupted, or a new one. */
  async #judgeOf(turn: EndedThreadTurn): Promise<{ readonly judge: ChecklistJudge; readonly attempt: number; readonly limited?: true }> {
    const { judge: config } = this.#options
    const { judging, again, heard } = this.#memory.current
    const { threadId, history, goal } = this.#thread
    if (judging?.turnId !== turn.turnId) {
      const attempt = again?.turnId === turn.turnId ? again.judged + 1 : 1
      // The goal's own wait is over, if a turn has ended since.
      const at = Math.max(this.#now(), this.state.goal?.notBefore ?? 0)
      const judge = new ChecklistJudge(config, this.state, judgedTurn({ threadId, history, turn, heard, at }))
      return { judge, attempt, ...(goal?.status !== "active" && { limited: true }) }
    }
    const judge = ChecklistJudge.restore(config, judging.checkpoint, { transcript: transcriptOf({ threadId, history, turn }) })
    await this.#chargeOutstanding(judge, judging)
    return { judge, attempt: judging.attempt ?? 1 }
  }

  /** Charges the call that a crash interrupted before a command that is pending can stop the goal, which is charged nothing then. */
  async #chargeInterruptedCall(): Promise<void> {
    const { judging } = this.#memory.current
    const { threadId, history, lastTurn: turn } = this.#thread
    if (judging === undefined || turn === undefined || judging.turnId !== turn.turnId) return
    const transcript = transcriptOf({ threadId, history, turn })
    await this.#chargeOutstanding(ChecklistJudge.restore(this.#options.judge, judging.checkpoint, { transcript }), judging)
  }

  /** The outstanding call of a restored judge may have been made, and will be made again. */
  async #chargeOutstanding({ outstanding }: ChecklistJudge, { isLost }: Judging): Promise<void> {
    const { lostUsage } = this.#thread.options
    if (outstanding !== undefined && lostUsage !== undefined && isLost !== true) await this.#loseCall(lostUsage(outstanding.request))
  }

  /** Stores a running judge, and charges what its last call used. */
  async #save(judge: ChecklistJudge, begun: Pick<Judging, "turnId" | "attempt" | "limited">): Promise<void> {
    const { judging } = this.#memory.current
    const { isLost: _madeAgain, charged = NO_USAGE, ...stored }: Partial<Judging> = judging?.turnId === begun.turnId ? judging : {}
    const checkpoint = judge.checkpoint({ transcript: false })
    const { requests } = checkpoint.evaluation
    const usage = usageSince(judge.usage, charged)
    const owed = { key: `${begun.turnId}:${begun.attempt}:${judge.done ? requests : requests - 1}`, ...(usage !== undefined && { usage }) }
    const judgingNow = { ...begun, ...stored, checkpoint, charged: judge.usage }
    await this.#update({ judging: judgingNow, ...(usage !== undefined && { owed }) }, false)
    await this.#settle()
  }

  /** Charges a call that was lost in a crash, or stopped. */
  async #loseCall(usage: TokenUsage): Promise<void> {
    const { judging } = this.#memory.current
    if (judging === undefined) return
    const lostCalls = (judging.lostCalls ?? 0) + 1
    const key = `${judging.turnId}:${judging.attempt ?? 1}:lost:${lostCalls}`
    await this.#update({ judging: { ...judging, lostCalls, isLost: true }, owed: { key, usage } }, false)
    await this.#settle()
  }

  /** With a hard budget, no call is made that could cross it. */
  #whyNotAsked({ request }: LlmCall): string | undefined {
    const { policy = {} } = this.#thread.options
    const left = policy.hardBudget === true ? remainingTokens(this.#thread.goal, fullPolicy(policy)) : null
    if (left === null) return undefined
    const most = upperTokens(request) + (request.generation.maxOutputTokens ?? 0)
    return most <= left ? undefined : `The judge was not asked: its call may use ${most} tokens, and ${left} of the budget are left.`
  }

  /** Records that the outstanding call was not made, so that it is not charged as lost. */
  async #refuse(turnId: string, reason: string): Promise<void> {
    const { judging } = this.#memory.current
    if (judging?.turnId === turnId && judging.isLost !== true) await this.#update({ judging: { ...judging, isLost: true } }, false)
    await this.#limit(reason)
  }

  async #limit(reason: string): Promise<void> {
    const { goal, isCommanded } = this.#thread
    if (goal === null || isCommanded || goal.reason === reason) return
    const command = { type: "set", status: "budget_limited", reason, ifGoalId: goal.goalId } as const
    await this.#thread.note([{ type: "command", at: this.#now(), command }])
  }

  /** Whether the goal has another objective or contract than the one that was judged. */
  #isEdited(goal: Goal): boolean {
    const { objective, contract = "" } = this.#memory.current
    return objective !== undefined && (objective !== goal.objective || contract !== contractText(goal.contract))
  }

  #ownerOf(): { readonly goalId?: string } {
    const { goalId } = this.#memory.current
    return goalId === undefined ? {} : { goalId }
  }

  /** Records in the thread what a call of the judge cost, or what a judgement means for the goal. Each is recorded once. */
  async #settle(): Promise<void> {
    const { owed, lost } = this.#memory.current
    if (owed === undefined) return
    // A command that arrived since the judgement comes before what it means for the goal. During a judgement, commands wait for its end.
    const isVerdict = owed.status !== undefined || owed.wait !== undefined
    while (isVerdict && this.#thread.isCommanded) await this.#thread.settle()
    const { threadId, history } = this.#thread
    if (!history.some((record) => isJudged(record, threadId, owed.key)))
      await this.#thread.note(this.#inputsOf(owed, lost), [{ type: "protocol", event: { type: "judged", threadId, key: owed.key } }])
    const isHeld = owed.wait === undefined ? {} : { isHeld: readGoal(this.#thread.history, threadId).state.memory.wait !== undefined }
    await this.#update({ owed: undefined, lost: undefined, ...isHeld }, false)
  }

  #inputsOf(owed: Owed, lost: TokenUsage | undefined): readonly GoalInput[] {
    const at = this.#now()
    const { costMicros = this.#thread.options.goal?.costMicros } = this.#options
    const { usage: called, status, reason, wait, progress, goalId } = owed
    const usage = addKnown(called, lost)
    const inputs: GoalInput[] = []
    if (usage !== undefined)
      inputs.push({ type: "child_usage_reported", at, usage, ...(costMicros !== undefined && { costMicros: costMicros(usage) }) })
    const { goal, memory } = readGoal(this.#thread.history, this.#thread.threadId).state
    if (goal === null || !isOpen(goal, memory) || (goalId !== undefined && goalId !== goal.goalId) || this.#isEdited(goal)) return inputs
    if (progress === true) inputs.push({ type: "progress_noted", at })
    if (status === "complete") inputs.push({ type: "command", at, command: completion(goal) })
    if (goal.status === "budget_limited") return inputs
    const ifGoalId = goal.goalId
    if (status !== undefined && status !== "complete")
      inputs.push({ type: "command", at, command: { type: "set", status, ifGoalId, ...(reason !== undefined && { reason }) } })
    if (wait !== undefined && goal.status === "active") inputs.push({ type: "command", at, command: { type: "wait", ...wait } })
    return inputs
  }

  async #update(changes: Partial<JudgeMemory>, notify = true, decision?: Decision): Promise<void> {
    await this.#memory.update(changes)
    if (notify) await this.#options.onChecklist?.(this.state, decision)
  }

  #now(): number {
    return Math.floor((this.#thread.options.now ?? Date.now)())
  }
}

/** Whether a verdict can still complete a goal: the last turn of one that reached a budget, or that a brake paused, is judged. */
function isOpen(goal: Goal, memory: GoalMemory): boolean {
  return isCharged(goal.status) || isBraked(goal, memory)
}

/** Completes a goal. One with checks is complete once they pass. */
function completion({ goalId }: Goal): GoalCommand {
  return { type: "complete", ifGoalId: goalId }
}

/** The id of the last message; "" without any. */
function lastMessageId(history: readonly HistoryRecord[]): string {
  const last = history.findLast((record) => record.type === "conversation")
  return last?.type === "conversation" ? last.message.id : ""
}

/** What was used since; `undefined` if nothing. */
function usageSince(now: TokenUsage, then: TokenUsage): TokenUsage | undefined {
  const buckets = ["inputTokens", "cachedInputTokens", "outputTokens", "reasoningTokens"] as const
  const since = Object.fromEntries(buckets.map((name) => [name, Math.max(0, now[name] - then[name])])) as unknown as TokenUsage
  if (buckets.every((name) => since[name] === 0)) return undefined
  const written = (now.cacheWriteTokens ?? 0) - (then.cacheWriteTokens ?? 0)
  return { ...since, ...(written > 0 && { cacheWriteTokens: written }), ...(now.estimated === true && { estimated: true }) }
}

/** What a decision means for the goal, if it ends the work on the goal or lets it wait. */
export function endOf({ notice, reason: why }: Decision): Pick<Owed, "reason" | "wait"> & { readonly status?: "complete" | "blocked" | "paused" } {
  if (notice?.type === "done") return { status: "complete" }
  if (notice?.type === "waiting") {
    const { notBefore: until, waitsFor: event } = notice
    return { wait: { ...(until !== undefined && { until }), ...(event !== undefined && { event }), reason: decisionReasonText(why) } }
  }
  if (notice?.type !== "paused") return {}
  const { reason } = notice
  if (reason.type === "blocked")
    return { status: "blocked", reason: `Blocked by the judge: ${reason.text.replace(/\.?$/, ".")} Clear the blocker, then resume.` }
  if (reason.type === "asked_to_stop")
    return { status: "paused", reason: `The user asked to stop: ${reason.text.replace(/\.?$/, ".")} Resume to continue.` }
  return { status: "paused", reason: `Paused by the judge: ${pauseText(reason)}. Edit the list, settle items yourself or resume.` }
}

/** Whether the history already has the record with this key. */
function isJudged(record: HistoryRecord, threadId: string, key: string): boolean {
  if (record.type !== "protocol" || typeof record.event !== "object" || record.event === null) return false
  const event = record.event as { readonly type?: unknown; readonly threadId?: unknown; readonly key?: unknown }
  return event.type === "judged" && event.threadId === threadId && event.key === key
}

export { readJudged } from "./judge-memory.ts"
