import type { Goal, GoalContract, GoalStatus } from "../../wire/goal.ts"
import type { Message } from "../../wire/message.ts"
import { money } from "../model/prices.ts"
import { formatCount, oneLine, plural, seconds, sentence } from "../terminal/format.ts"
import type { Style } from "../terminal/style.ts"
import type { Waiting } from "./goal-reporter.ts"

/** The usage of a goal, with its budgets and by how much it exceeds them: one phrase for each. */
export function usedOf(goal: Goal): readonly string[] {
  const { tokensUsed, childTokensUsed, tokenBudget, secondsUsed, secondsBudget, costUsedMicros, costBudgetMicros } = goal
  const tokens = tokensUsed + childTokensUsed
  const over = (used: number, budget: number, text: (amount: number) => string): string => (used > budget ? `, ${text(used - budget)} over` : "")
  return [
    tokenBudget === null
      ? plural(tokens, "token")
      : `${formatCount(tokens)} of ${formatCount(tokenBudget)} tokens${over(tokens, tokenBudget, formatCount)}`,
    secondsBudget === null
      ? seconds(secondsUsed)
      : `${seconds(secondsUsed)} of ${seconds(secondsBudget)}${over(secondsUsed, secondsBudget, seconds)}`,
    ...(costBudgetMicros !== null
      ? [`${money(costUsedMicros)} of ${money(costBudgetMicros)}${over(costUsedMicros, costBudgetMicros, money)}`]
      : costUsedMicros > 0
        ? [`cost ${money(costUsedMicros)}`]
        : []),
  ]
}

/** What is left of each budget; empty without budgets. */
export function leftOf({
  tokensUsed,
  childTokensUsed,
  tokenBudget,
  secondsUsed,
  secondsBudget,
  costUsedMicros,
  costBudgetMicros,
}: Goal): readonly string[] {
  const left = (budget: number, used: number): number => Math.max(0, budget - used)
  return [
    ...(tokenBudget === null ? [] : [plural(left(tokenBudget, tokensUsed + childTokensUsed), "token")]),
    ...(secondsBudget === null ? [] : [seconds(left(secondsBudget, secondsUsed))]),
    ...(costBudgetMicros === null ? [] : [money(left(costBudgetMicros, costUsedMicros))]),
  ]
}

export function statusWord(status: GoalStatus): string {
  return status.replaceAll("_", " ")
}

export function statusStyle(status: GoalStatus): Style {
  if (status === "complete") return ["bold", "green"]
  return status === "active" ? "bold" : ["bold", status === "blocked" ? "red" : "yellow"]
}

/** Suggests the next command for a goal; `state`: the flag that names its folder, or an empty string. */
export function nextCommand(goal: Goal | null, state: string): string {
  const command = (rest: string): string => `turn-machine goal ${rest}${state}`
  if (goal === null) return `Start one: ${command('"what to achieve"')}`
  switch (goal.status) {
    case "complete":
      return `Start another: ${command('"what to achieve"')}`
    case "budget_limited": {
      const flags = [
        ...(goal.tokenBudget !== null && goal.tokensUsed + goal.childTokensUsed >= goal.tokenBudget ? ["--add-tokens N"] : []),
        ...(goal.secondsBudget !== null && goal.secondsUsed >= goal.secondsBudget ? ["--add-time 10m"] : []),
        ...(goal.costBudgetMicros !== null && goal.costUsedMicros >= goal.costBudgetMicros ? ["--add-cost 0.50"] : []),
      ]
      // A hard budget stops before it is used up.
      if (flags.length === 0 && goal.tokenBudget !== null) flags.push("--add-tokens N")
      return `Extend the budget with: ${command(["resume", ...flags].join(" "))}`
    }
    default:
      return `Resume with: ${command("resume")}`
  }
}

/** One row for each field of a contract. */
export function contractRows(contract: GoalContract | undefined): readonly (readonly [string, string])[] {
  if (contract === undefined) return []
  const { outcome, verification, constraints, boundaries, stopWhen } = contract
  const rows: readonly (readonly [string, string | undefined])[] = [
    ["outcome", outcome],
    ["verify", verification],
    ["keep", constraints],
    ["leave", boundaries],
    ["stop", stopWhen],
  ]
  return rows.flatMap(([name, text]) => (text === undefined ? [] : [[name, oneLine(text)] as const]))
}

/** What a goal waits for, in a sentence. */
export function waitText({ until, event, reason }: Waiting): string {
  const when = until === undefined ? "" : `${isToday(until) ? new Date(until).toLocaleTimeString() : new Date(until).toLocaleString()}`
  const why = reason === undefined ? "" : ` ${sentence(reason)}`
  if (event === undefined) return `The next turn starts at ${when} or later.${why}`
  return `The next turn starts when ${oneLine(event)} happens${when === "" ? "" : `, at ${when}`}, or after goal say or goal resume.${why}`
}

function isToday(time: number): boolean {
  return new Date(time).toDateString() === new Date().toDateString()
}

/** What a user said, as one text. Attachments are named by their type. */
export function inputText({ parts }: Message): string {
  return parts.map((part) => ("text" in part ? part.text : `[${part.type}]`)).join(" ")
}
