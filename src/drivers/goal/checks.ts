import { trim } from "../../text.ts"
import type { Goal, GoalCheck, GoalCheckMemory, GoalCheckResult, GoalInput, GoalOutput, GoalTurn } from "../../wire/goal.ts"
import { fingerprint } from "../fingerprint.ts"
import { isBraked, isCharged, withStatus } from "./goal.ts"
import { brake, type GoalStep, updateMemory, write } from "./step.ts"
import { nextStatus } from "./transitions.ts"

const NOT_RUN: GoalCheckMemory = { alike: 0 }

/** How much of a failed check's output the memory holds, in characters. It is repeated with each goal event. */
const MAX_TAIL = 2000
const MAX_TAILS = 4000

/** Whether the goal has checks that decide about its completion. */
export function hasChecks(goal: Goal | null): goal is Goal & { readonly checks: readonly GoalCheck[] } {
  return goal?.checks !== undefined && goal.checks.length > 0
}

/** What was checked before a turn does not hold after it. The user may have asked for more, so a claim before it does not count either. */
export function outdateChecks(step: GoalStep, { mode, origin }: Pick<GoalTurn, "mode" | "origin">): void {
  if (mode === "plan" || step.memory.checks === undefined) return
  const { due: _, passed: __, claimed, ...kept } = step.memory.checks
  if (origin === "user") setChecks(step, { ...kept, alike: 0 })
  else setChecks(step, { ...kept, ...(claimed !== undefined && { claimed }) })
}

/** Makes the checks due after an ended turn of the goal, even if that turn reached a budget. */
export function requireChecks(step: GoalStep, turn: GoalTurn): void {
  const { goal, memory } = step
  if (!hasChecks(goal) || !isCharged(goal.status) || turn.mode === "plan" || !turn.ofGoal) return
  setChecks(step, { ...(memory.checks ?? NOT_RUN), due: turn.turnId })
}

/** Records that the goal is complete once its checks pass. Between turns they become due at once. */
export function claimComplete(step: GoalStep): void {
  const { goal, memory, turn } = step
  if (goal === null) return
  const checks = memory.checks ?? NOT_RUN
  const isDue = turn === null && isCharged(goal.status)
  setChecks(step, { ...checks, claimed: true, ...(isDue && { due: checks.due ?? goal.goalId }) })
}

/** Drops the claim that the goal is complete. */
export function dropClaim(step: GoalStep): void {
  const { claimed, ...checks } = step.memory.checks ?? NOT_RUN
  if (claimed !== undefined) setChecks(step, checks)
}

/** Whether the checks passed after the last turn. */
export function checksPassed({ memory, turn }: GoalStep): boolean {
  return memory.checks?.passed !== undefined && turn === null
}

/** The checks to run now, if any. */
export function dueChecks({ goal, memory, turn }: GoalStep): Extract<GoalOutput, { type: "run_checks" }> | undefined {
  const due = memory.checks?.due
  if (due === undefined || turn !== null || !hasChecks(goal) || !(isCharged(goal.status) || isBraked(goal, memory))) return undefined
  return { type: "run_checks", turnId: due, checks: goal.checks }
}

/** Applies the results of due checks. Results for another turn are too late, and change nothing. */
export function checksReported(step: GoalStep, { turnId, results }: Extract<GoalInput, { type: "checks_reported" }>): void {
  if (dueChecks(step)?.turnId !== turnId || !hasChecks(step.goal)) return
  const failing = step.goal.checks.map(({ name }) => resultOf(name, results)).filter(({ ok }) => !ok)
  if (failing.length === 0) pass(step, turnId)
  else fail(step, failing)
}

function resultOf(name: string, results: readonly GoalCheckResult[]): GoalCheckResult {
  return results.find((result) => result.name === name) ?? { name, ok: false, tail: "No result was reported." }
}

function pass(step: GoalStep, turnId: string): void {
  const { goal, memory } = step
  const claimed = memory.checks?.claimed === true
  setChecks(step, { alike: 0, passed: turnId })
  if (goal === null || !claimed) return
  const status = nextStatus(goal.status, "checks_passed", false)
  if (status !== goal.status) write(step, withStatus(goal, status), "checks")
}

function fail(step: GoalStep, failing: readonly GoalCheckResult[]): void {
  const failedAs = fingerprint(JSON.stringify(failing.map(({ name, exitCode, tail }) => [name, exitCode ?? null, normalised(tail)]))) ?? ""
  const before = step.memory.checks ?? NOT_RUN
  const alike = before.failedAs === failedAs ? before.alike + 1 : 1
  setChecks(step, { failing: bounded(failing), failedAs, alike })
  const { maxAlikeCheckFailures } = step.policy
  if (maxAlikeCheckFailures === 0 || alike < maxAlikeCheckFailures) return
  const names = failing.map(({ name, exitCode }) => (exitCode === undefined ? name : `${name}, exit code ${exitCode}`)).join("; ")
  brake(step, `Paused: the checks failed alike ${alike} times in a row (${names}). Look at their output, then resume or say how to continue.`)
}

/** Output without what differs from run to run, such as times and addresses. */
function normalised(tail: string): string {
  return trim(tail.replace(/\d+/g, "0").replace(/\s+/g, " "))
}

/** The results with the ends of their output, within the limits of the memory. */
function bounded(results: readonly GoalCheckResult[]): readonly GoalCheckResult[] {
  let room = MAX_TAILS
  return results.map((result) => {
    const most = Math.min(MAX_TAIL, room)
    // The cut may be inside of a pair of surrogates.
    const tail = most === 0 ? "" : result.tail.slice(-most).replace(/^[\uDC00-\uDFFF]/, "")
    room -= tail.length
    return { ...result, tail }
  })
}

/** Replaces the memory of the checks, if it differs. */
export function setChecks(step: GoalStep, checks: GoalCheckMemory): void {
  if (JSON.stringify(checks) !== JSON.stringify(step.memory.checks)) updateMemory(step, { checks })
}
