import type { Json } from "../../json.ts"
import type { GoalStatus, GoalToolName } from "../../schemas/goal.ts"
import type { ToolOutput, ToolSpec } from "../../schemas/tool.ts"
import { trim } from "../../text.ts"
import { GOAL_STANDINGS } from "./transitions.ts"

/** The tools that a model has for goals, as it sees them. A driver answers them itself; a host never gets to run them. */
export const GOAL_TOOLS: readonly ToolSpec[] = [
  {
    name: "get_goal",
    description: "Shows the goal of this thread with its status, its budgets and what has been used so far, or null if there is none.",
    inputSchema: { type: "object", properties: {}, additionalProperties: false },
  },
  {
    name: "create_goal",
    description:
      "Gives this thread a goal that is pursued until it is complete. Create one only when the user, or the system or developer instructions, ask for a goal in so many words; do not make one out of an ordinary task. Give a token budget only when one was asked for. Fails while the thread has a goal that is not complete.",
    inputSchema: {
      type: "object",
      properties: {
        objective: { type: "string", description: "What is to be achieved, and how one can tell. At most 4000 characters." },
        token_budget: { type: "integer", description: "How many tokens the goal may use, above 0. Leave it out unless it was asked for." },
      },
      required: ["objective"],
      additionalProperties: false,
    },
  },
  {
    name: "update_goal",
    description:
      'Ends the pursuit of this thread\'s goal. "complete": only when the objective is achieved and each of its requirements is proven; when the goal had a budget, tell the user afterwards what was finally used. "blocked": only when the same obstacle has stopped you in at least three goal turns in a row, the user\'s own turn counted, and you cannot go on without the user or a change outside; a goal that was resumed starts that count again. Not for work that is hard or slow, and not because the budget or the turn is running out. Pausing, resuming and limiting a goal are up to the user and the system; this tool cannot do it.',
    inputSchema: {
      type: "object",
      properties: { status: { type: "string", enum: ["complete", "blocked"] } },
      required: ["status"],
      additionalProperties: false,
    },
  },
]

/** Whether a tool is one of the goal tools. */
export function isGoalTool(name: string): name is GoalToolName {
  return name === "get_goal" || name === "create_goal" || name === "update_goal"
}

/** Objectives may have this many characters, counted as Unicode code points. */
export const MAX_OBJECTIVE_LENGTH = 4000

/** Why a goal tool cannot do what it was called for. */
export type GoalToolTrouble =
  | "arguments_invalid"
  | "objective_empty"
  | "objective_too_long"
  | "budget_invalid"
  | "goal_exists"
  | "no_goal"
  | "status_not_allowed"
  | "blocked_too_early"

/** A code to branch on, and a sentence for whoever asked. */
export interface Trouble<Code extends string> {
  readonly code: Code
  readonly message: string
}

/** A failed answer of a goal tool. */
export function toolFailure({ code, message }: Trouble<GoalToolTrouble>): ToolOutput {
  return { status: "failure", failure: { class: "invalid_request", code, message, source: "tool", retry: { type: "never" } } }
}

/** `create_goal`: the trimmed objective and the budget, or what is wrong with them. */
export function createArguments(args: Json): { readonly objective: string; readonly tokenBudget: number | null } | Trouble<GoalToolTrouble> {
  const object = argumentsOf(args, ["objective", "token_budget"])
  if (object === undefined) return invalid("create_goal takes an objective and, where one was asked for, a token_budget.")
  const objective = object["objective"]
  const tokenBudget = object["token_budget"] ?? null
  if (typeof objective !== "string") return invalid("create_goal needs an objective, as text.")
  if (tokenBudget !== null && typeof tokenBudget !== "number") return invalid("The token_budget is an integer.")
  const checked = checkObjective(objective)
  if (typeof checked !== "string") return checked
  if (!isBudget(tokenBudget)) return BUDGET_INVALID
  return { objective: checked, tokenBudget }
}

/** `update_goal`: the status, which need not be one that a model may set. */
export function updateArguments(args: Json): { readonly status: GoalStatus } | Trouble<GoalToolTrouble> {
  const status = argumentsOf(args, ["status"])?.["status"]
  return isStatus(status) ? { status } : invalid('update_goal takes one status, "complete" or "blocked".')
}

/** `get_goal` takes nothing. */
export function getArguments(args: Json): Trouble<GoalToolTrouble> | undefined {
  return argumentsOf(args, []) === undefined ? invalid("get_goal takes no arguments.") : undefined
}

/** The trimmed objective, or what is wrong with it. */
export function checkObjective(text: string): string | Trouble<"objective_empty" | "objective_too_long"> {
  const objective = trim(text)
  if (objective === "") return { code: "objective_empty", message: "The objective must not be empty." }
  if (tooLong(objective)) return { code: "objective_too_long", message: `The objective may have at most ${MAX_OBJECTIVE_LENGTH} characters.` }
  return objective
}

/** None, or a positive safe integer. */
export function isBudget(budget: number | null): boolean {
  return budget === null || (Number.isSafeInteger(budget) && budget > 0)
}

export const BUDGET_INVALID: Trouble<"budget_invalid"> = { code: "budget_invalid", message: "A budget must be a whole number above 0." }

function invalid(message: string): Trouble<GoalToolTrouble> {
  return { code: "arguments_invalid", message }
}

/** The arguments as an object with no other keys than these. */
function argumentsOf(args: Json, keys: readonly string[]): { readonly [key: string]: Json | undefined } | undefined {
  if (typeof args !== "object" || args === null || Array.isArray(args)) return undefined
  const own: { [key: string]: Json | undefined } = {}
  for (const [key, value] of Object.entries(args)) {
    if (!keys.includes(key)) return undefined
    own[key] = value
  }
  return own
}

function isStatus(value: Json | undefined): value is GoalStatus {
  return typeof value === "string" && value !== "none" && (GOAL_STANDINGS as readonly string[]).includes(value)
}

/** A code point has one or two units, so most texts need no counting. A lone surrogate counts as one. */
function tooLong(text: string): boolean {
  if (text.length <= MAX_OBJECTIVE_LENGTH) return false
  if (text.length > 2 * MAX_OBJECTIVE_LENGTH) return true
  return Array.from(text).length > MAX_OBJECTIVE_LENGTH
}
