import type {
  ChecklistGoal,
  ChecklistItem,
  ChecklistPolicy,
  ChecklistState,
  Finding,
  ItemRuling,
  Judgement,
  PauseReason,
} from "../../wire/checklist.ts"
import { allTerminal, foldText, hasList, isTerminal, newItems } from "./checklist.ts"
import { continuing, type Decision } from "./decision.ts"
import { continuationPrompt } from "./prompts.ts"
import { type ChecklistSettings, checklistSettings } from "./settings.ts"
import { reasonText } from "./wording.ts"

export interface Applied {
  readonly state: ChecklistState
  readonly decision: Decision
}

type Judged = Extract<Finding, { type: "judged" }>

/**
 * Applies a judgement to its goal and returns the next state and the decision. Pure; `at` is in milliseconds since the epoch. A
 * judgement of another goal or of an older revision, or one already applied, changes nothing: its decision is `stale`.
 */
export function applyJudgement(policy: ChecklistPolicy, state: ChecklistState, judgement: Judgement, at: number): Applied {
  const settings = checklistSettings(policy)
  const { goal } = state
  const { finding } = judgement
  if (finding.type === "inactive" && goal?.status !== "active") return unchanged(state, { verdict: "inactive", reason: { type: "no_active_goal" } })
  if (goal === undefined || finding.type === "inactive" || !isCurrent(judgement, goal))
    return unchanged(state, { verdict: "stale", reason: { type: "stale" } })
  switch (finding.type) {
    case "waiting": {
      const { lastReason = { type: "none_given" }, notBefore } = goal
      return unchanged(state, { verdict: "wait", reason: lastReason, ...(notBefore !== undefined && { notBefore }) })
    }
    case "turn_failed":
    case "turn_cancelled":
      return unchanged(state, { verdict: "skipped", reason: { type: finding.type } })
    case "decomposed":
      return addList(settings, state, startTurn(goal, judgement, at), finding.items, at)
    case "judged":
      return rule(settings, state, startTurn(goal, judgement, at), { finding, judgement, at })
  }
}

/** Whether a judgement still applies. A freeform verdict does not once the goal has items. */
function isCurrent({ goalId, revision, finding }: Judgement, goal: ChecklistGoal): boolean {
  if (goal.status !== "active" || goalId !== goal.goalId || revision !== goal.revision) return false
  return finding.type !== "judged" || finding.mode !== "freeform" || goal.checklist.length === 0
}

function unchanged(state: ChecklistState, decision: Pick<Decision, "verdict" | "reason" | "notBefore">): Applied {
  const status = state.goal?.status
  return { state, decision: { ...(status !== undefined && { status }), shouldContinue: false, ...decision } }
}

/** Counts the turn when its judgement is applied, so that a turn whose judgement was lost is not counted. */
function startTurn(goal: ChecklistGoal, { decomposeTried }: Judgement, at: number): ChecklistGoal {
  const { notBefore: _until, waitsFor: _event, ...rest } = goal
  return { ...rest, revision: goal.revision + 1, turnsUsed: goal.turnsUsed + 1, lastTurnAt: at, decomposed: goal.decomposed || decomposeTried }
}

/** Adds the list. The turn that creates it is not judged, and no limit is checked. */
function addList(settings: ChecklistSettings, state: ChecklistState, goal: ChecklistGoal, texts: readonly string[], at: number): Applied {
  const added = freshTexts(settings, goal, texts)
  const reason = { type: "decomposed", items: added.length } as const
  const next: ChecklistGoal = { ...newItems(goal, added, "judge", at), lastVerdict: "decompose", lastReason: reason, stalledTurns: 0 }
  return continueGoal(state, next, { verdict: "decompose", reason, notice: { type: "created", items: added.length } })
}

interface Ruling {
  readonly finding: Judged
  readonly judgement: Judgement
  readonly at: number
}

function rule(settings: ChecklistSettings, state: ChecklistState, goal: ChecklistGoal, { finding, judgement, at }: Ruling): Applied {
  const { mode, answer, says, reason } = finding
  const rulings = new Map(finding.rulings.map((ruling) => [ruling.itemId, ruling]))
  const ruled = goal.checklist.map((item) => ruleItem(item, rulings.get(item.id), at))
  const settled = ruled.some((item, index) => item !== goal.checklist[index])
  const fresh = freshTexts(settings, { ...goal, checklist: ruled }, finding.newItems)
  const listed: ChecklistGoal = newItems({ ...goal, checklist: ruled }, fresh, "judge", at)

  const isSettled = allTerminal(listed.checklist) && hasList(settings, listed)
  const done = mode === "freeform" ? says === "done" : isSettled && (answer !== "unasked" || mode === "none")
  const waits = says === "wait" && (finding.waitMs !== undefined || finding.waitsFor !== undefined) && !done
  const progressed = settings.reference
    ? settled || mode !== "checklist"
    : judgement.heard === true || (mode === "checklist" ? settled || fresh.length > 0 : isNew(goal, judgement))
  const next: ChecklistGoal = {
    ...listed,
    turnsUsed: waits ? goal.turnsUsed - 1 : goal.turnsUsed,
    lastVerdict: done ? "done" : says === "done" ? "continue" : says,
    lastReason: reason,
    ...(judgement.response !== undefined && { lastResponse: judgement.response }),
    ...countFailures(settings, goal, answer),
    stalledTurns: !waits && progressed ? 0 : goal.stalledTurns + 1,
  }
  if (done) {
    return {
      state: { ...state, goal: { ...next, status: "done" } },
      decision: { status: "done", shouldContinue: false, verdict: "done", reason, notice: { type: "done" } },
    }
  }
  const pause = whyPause(settings, next, finding)
  if (pause !== undefined) {
    const verdict = pause.type === "blocked" || pause.type === "asked_to_stop" ? pause.type : "continue"
    const paused: ChecklistGoal = { ...next, status: "paused", pausedReason: pause }
    return {
      state: { ...state, goal: paused },
      decision: { status: "paused", shouldContinue: false, verdict, reason, notice: { type: "paused", reason: pause } },
    }
  }
  if (waits) {
    const { waitMs, waitsFor } = finding
    const wait = { ...(waitMs !== undefined && { notBefore: at + waitMs }), ...(waitsFor !== undefined && { waitsFor }) }
    const waiting: ChecklistGoal = { ...next, ...wait }
    return {
      state: { ...state, goal: waiting },
      decision: { status: "active", shouldContinue: false, ...wait, verdict: "wait", reason, notice: { type: "waiting", ...wait } },
    }
  }
  return continueGoal(state, next, { verdict: "continue", reason, notice: continuing(next) })
}

/** Without a list, a turn makes progress if it worked or answered something new. */
function isNew({ lastResponse }: ChecklistGoal, { worked, response }: Judgement): boolean {
  return worked === true || response === undefined || response !== lastResponse
}

function continueGoal(state: ChecklistState, goal: ChecklistGoal, decision: Pick<Decision, "verdict" | "reason" | "notice">): Applied {
  const prompt = continuationPrompt(goal)
  return {
    state: { ...state, goal },
    decision: { status: goal.status, shouldContinue: true, ...(prompt !== undefined && { continuationPrompt: prompt }), ...decision },
  }
}

/** Applies a ruling to an open item. Only a user can change a terminal one. */
function ruleItem(item: ChecklistItem, ruling: ItemRuling | undefined, at: number): ChecklistItem {
  if (ruling === undefined || isTerminal(item)) return item
  const { status, evidence } = ruling
  return { ...item, status, completedAt: at, ...(evidence !== undefined && { evidence: { type: "text", text: evidence } as const }) }
}

/** The texts that the judge may add: new ones only, up to the maximum of the list. The reference accepts all. */
function freshTexts({ reference, maxItems }: ChecklistSettings, { checklist }: ChecklistGoal, texts: readonly string[]): readonly string[] {
  const known = new Set(checklist.map((item) => foldText(item.text)))
  const fresh = reference
    ? texts
    : texts.filter((text) => {
        const folded = foldText(text)
        return !known.has(folded) && known.add(folded)
      })
  return maxItems === 0 ? fresh : fresh.slice(0, Math.max(0, maxItems - checklist.length))
}

/**
 * Counts failed calls and answers without a verdict separately: the former say nothing about the judge's model, the latter nothing
 * about its endpoint. The reference has one count.
 */
function countFailures(
  { reference }: ChecklistSettings,
  { consecutiveParseFailures: parse, consecutiveTransportFailures: transport }: ChecklistGoal,
  answer: Judged["answer"],
): Pick<ChecklistGoal, "consecutiveParseFailures" | "consecutiveTransportFailures"> {
  switch (answer) {
    case "unparseable":
      return { consecutiveParseFailures: parse + 1, consecutiveTransportFailures: 0 }
    case "unreachable":
      return { consecutiveParseFailures: reference ? 0 : parse, consecutiveTransportFailures: transport + 1 }
    case "usable":
      return { consecutiveParseFailures: 0, consecutiveTransportFailures: 0 }
    case "unasked":
      return { consecutiveParseFailures: reference ? 0 : parse, consecutiveTransportFailures: transport }
  }
}

/** Returns the first reason to pause, in this order. */
function whyPause(settings: ChecklistSettings, goal: ChecklistGoal, { mode, says, reason }: Judged): PauseReason | undefined {
  const { consecutiveParseFailures: parse, consecutiveTransportFailures: transport, turnsUsed, maxTurns, stalledTurns } = goal
  const reached = (count: number, limit: number): boolean => limit > 0 && count >= limit
  if (says === "blocked" || says === "asked_to_stop") return { type: says, text: reasonText(reason) }
  if (reached(parse, settings.maxParseFailures)) return { type: "unparseable", failures: parse }
  if (reached(transport, settings.maxTransportFailures)) return { type: "unreachable", failures: transport }
  if (turnsUsed >= maxTurns) return { type: "budget", turnsUsed, maxTurns }
  if (reached(stalledTurns, settings.maxStalledTurns))
    return { type: "stalled", turns: stalledTurns, ...(mode !== "checklist" && !settings.reference && { mode }) }
  return undefined
}
