import { isBlank, trim } from "../../text.ts"
import type { Goal, GoalCheck, GoalContract } from "../../wire/goal.ts"

/** A code to branch on, and a message for the caller. */
export interface Problem<Code extends string> {
  readonly code: Code
  readonly message: string
}

/** The maximum length of an objective, in Unicode code points. */
export const MAX_OBJECTIVE_LENGTH = 4000

/** The maximum length of a contract: all its texts together, in Unicode code points. */
export const MAX_CONTRACT_LENGTH = 4000
/** The maximum number of checks of a goal. */
export const MAX_CHECKS = 20
const MAX_NAME_LENGTH = 100
const MAX_CHECKS_LENGTH = 8000

/** The fields of a contract in the order in which the model reads them. */
export const CONTRACT_FIELDS = ["outcome", "verification", "constraints", "boundaries", "stopWhen"] as const

/** The contract and the checks that a command sets. Absent: unchanged; null: removed. */
export interface GivenTerms {
  readonly contract?: GoalContract | null
  readonly checks?: readonly GoalCheck[] | null
}

/** Checks the terms of a command. Returns them with trimmed texts, or the problem. A list without checks counts as null. */
export function givenTerms({ contract, checks }: GivenTerms): GivenTerms | Problem<"contract_invalid" | "checks_invalid"> {
  const terms: { contract?: GoalContract | null; checks?: readonly GoalCheck[] | null } = {}
  if (contract !== undefined) {
    const read = contract === null ? null : readContract(contract)
    if (typeof read === "string") return { code: "contract_invalid", message: read }
    terms.contract = read
  }
  if (checks !== undefined) {
    const problem = checks === null ? undefined : checksProblem(checks)
    if (problem !== undefined) return { code: "checks_invalid", message: problem }
    terms.checks = checks === null || checks.length === 0 ? null : checks
  }
  return terms
}

/** Returns the goal with the given terms. */
export function withTerms({ contract, checks, ...goal }: Goal, given: GivenTerms): Goal {
  const terms = { ...(contract !== undefined && { contract }), ...(checks !== undefined && { checks }), ...given }
  return {
    ...goal,
    ...(terms.contract !== undefined && terms.contract !== null && { contract: terms.contract }),
    ...(terms.checks !== undefined && terms.checks !== null && { checks: terms.checks }),
  }
}

/** Returns the contract with trimmed texts and without blank ones, or what is wrong with it. */
function readContract(given: GoalContract): GoalContract | string {
  const contract: { -readonly [Field in keyof GoalContract]?: string } = {}
  let length = 0
  for (const field of CONTRACT_FIELDS) {
    const text = trim(given[field] ?? "")
    length += Array.from(text).length
    if (text !== "") contract[field] = text
  }
  const { outcome } = contract
  if (outcome === undefined) return "A contract needs an outcome."
  return length > MAX_CONTRACT_LENGTH ? `A contract may have at most ${MAX_CONTRACT_LENGTH} characters.` : { ...contract, outcome }
}

function checksProblem(checks: readonly GoalCheck[]): string | undefined {
  if (checks.length > MAX_CHECKS) return `A goal may have at most ${MAX_CHECKS} checks.`
  const names = new Set<string>()
  for (const check of checks) {
    const { name } = check
    if (isBlank(name) || name.length > MAX_NAME_LENGTH) return `Each check needs a name of at most ${MAX_NAME_LENGTH} characters.`
    if (names.has(name)) return `Two checks are named ${JSON.stringify(name)}. Names must differ.`
    names.add(name)
    if (isBlank("tool" in check ? check.tool : programOf(check.command))) return `The check ${JSON.stringify(name)} needs a command or a tool.`
  }
  return JSON.stringify(checks).length > MAX_CHECKS_LENGTH ? `All checks together may have at most ${MAX_CHECKS_LENGTH} characters.` : undefined
}

function programOf(command: string | readonly string[]): string {
  return typeof command === "string" ? command : (command[0] ?? "")
}

/** Returns the trimmed objective, or the problem. */
export function checkObjective(text: string): string | Problem<"objective_empty" | "objective_too_long"> {
  const objective = trim(text)
  if (objective === "") return { code: "objective_empty", message: "The objective must not be empty." }
  if (tooLong(objective)) return { code: "objective_too_long", message: `The objective may have at most ${MAX_OBJECTIVE_LENGTH} characters.` }
  return objective
}

/** Whether a budget is null or a positive safe integer. */
export function isBudget(budget: number | null): boolean {
  return budget === null || (Number.isSafeInteger(budget) && budget > 0)
}

export const BUDGET_INVALID: Problem<"budget_invalid"> = { code: "budget_invalid", message: "A budget must be a whole number above 0." }

/** A code point has one or two UTF-16 units, so most texts need no counting. A lone surrogate counts as one. */
function tooLong(text: string): boolean {
  if (text.length <= MAX_OBJECTIVE_LENGTH) return false
  if (text.length > 2 * MAX_OBJECTIVE_LENGTH) return true
  return Array.from(text).length > MAX_OBJECTIVE_LENGTH
}
