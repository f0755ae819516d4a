import { DriverError } from "../../errors.ts"
import { quoted, textOf } from "../../text.ts"
import { unknownKey } from "../../unknown-key.ts"
import type { ApprovalChoice, ApprovalGrant, ApprovalScope, Ask } from "../../wire/approval.ts"
import type { PendingToolCall, ToolSpec } from "../../wire/tool.ts"

/**
 * Decides about one tool call before it runs. Pure and synchronous: the same call and facts give the same answer.
 *
 *     const policy: ApprovalPolicy = ({ toolName }) => (toolName === "delete_file" ? { hold: { risk: "high" } } : "run")
 */
export type ApprovalPolicy = (call: PendingToolCall, facts: PolicyFacts) => PolicyAnswer

/** What a policy knows apart from the call. */
export interface PolicyFacts {
  /** The grants that hold in this turn, oldest first. The driver applies them; a policy need not. */
  readonly grants: readonly ApprovalGrant[]
  /** The tool as the model was shown it. `undefined`: the turn has no such tool. */
  readonly tool: ToolSpec | undefined
  readonly iteration: number
  /**
   * The arguments cannot be read: `args` is their text. Such a call never runs as it is, and only a `hold` has an effect: a person can edit
   * or reject the call. Otherwise the model reads what is wrong with it.
   */
  readonly broken?: true
  /** A person edited the arguments of a held call. Only a `deny` has an effect. */
  readonly edited?: true
}

/** `run`: without a question. `hold`: a person is asked. `deny`: the call fails, and the model reads the text. */
export type PolicyAnswer = "run" | { readonly hold: AskOptions } | { readonly deny: string }

/** What a person is asked. */
export type AskOptions = {
  /** One line that says what the call would do. Default: the tool's name and the arguments, cut. */
  readonly summary?: string
  readonly risk?: NonNullable<Ask["risk"]>
  /** Default: all three. A call with broken arguments cannot be approved as it is. */
  readonly allow?: readonly ApprovalChoice[]
  /** How far a decision may reach, and which grants reach the call. `["call"]`: each call is asked about. Default: all three. */
  readonly scopes?: readonly ApprovalScope[]
}

const CHOICES: readonly ApprovalChoice[] = ["approve", "edit", "reject"]
const SCOPES: readonly ApprovalScope[] = ["call", "turn", "thread"]
const RISKS: readonly unknown[] = ["low", "medium", "high"]
const KEYS = ["summary", "risk", "allow", "scopes"] as const satisfies readonly (keyof AskOptions)[]

/** The answer of a policy, checked and complete. */
export type Judgement = { readonly type: "run" } | { readonly type: "deny"; readonly message: string } | { readonly type: "hold"; readonly ask: Ask }

/**
 * Asks a policy about a call.
 * @throws {DriverError} `policy_threw`, `invalid_policy_answer`
 */
export function judge(policy: ApprovalPolicy, call: PendingToolCall, facts: PolicyFacts): Judgement {
  let answer: unknown
  try {
    answer = policy(call, facts)
  } catch (cause) {
    throw new DriverError("policy_threw", `The approval policy threw for the call ${nameOf(call)}: ${textOf(cause)}`, { cause })
  }
  if (answer === "run") return { type: "run" }
  const invalid = (problem: string): DriverError =>
    new DriverError("invalid_policy_answer", `The approval policy gave no valid answer for the call ${nameOf(call)}: ${problem}.`)
  if (typeof answer !== "object" || answer === null) throw invalid(`it must be "run", { hold } or { deny }, not ${shown(answer)}`)
  if ("then" in answer) throw invalid("it is a promise, and a policy is synchronous")
  const [only, ...others] = Object.keys(answer)
  if (others.length > 0 || (only !== "hold" && only !== "deny")) throw invalid("it must be an object with either hold or deny")
  const { hold, deny } = answer as { readonly hold?: unknown; readonly deny?: unknown }
  if (only === "deny") {
    if (typeof deny !== "string") throw invalid(`deny must be a text for the model, not ${shown(deny)}`)
    return { type: "deny", message: deny }
  }
  const problem = askProblem(hold)
  if (problem !== undefined) throw invalid(problem)
  return { type: "hold", ask: completeAsk(call, hold as AskOptions, facts.broken === true) }
}

/** Refuses what would be ignored: a misspelled `allow` would allow everything. */
function askProblem(hold: unknown): string | undefined {
  if (typeof hold !== "object" || hold === null || Array.isArray(hold)) return `hold must be an object, not ${shown(hold)}`
  if ("then" in hold) return "hold is a promise, and a policy is synchronous"
  const unknown = unknownKey(hold, KEYS)
  if (unknown !== undefined) return `hold has the unknown key ${quoted(unknown.key)}; ${unknown.hint ?? `the keys are ${KEYS.join(", ")}`}`
  const { summary, risk, allow, scopes } = hold as { readonly [Key in keyof AskOptions]?: unknown }
  if (summary !== undefined && typeof summary !== "string") return `summary must be a text, not ${shown(summary)}`
  if (risk !== undefined && !RISKS.includes(risk)) return `risk must be "low", "medium" or "high", not ${shown(risk)}`
  if (allow !== undefined && !isListOf(allow, CHOICES)) return `allow must be a list of ${CHOICES.join(", ")} with at least one of them`
  if (scopes !== undefined && !isListOf(scopes, SCOPES)) return `scopes must be a list of ${SCOPES.join(", ")} with at least one of them`
  return undefined
}

function isListOf(value: unknown, items: readonly unknown[]): boolean {
  return Array.isArray(value) && value.length > 0 && Array.from(value).every((item) => items.includes(item))
}

function completeAsk(
  call: PendingToolCall,
  { summary = summaryOf(call), risk, allow = CHOICES, scopes = SCOPES }: AskOptions,
  isBroken: boolean,
): Ask {
  const possible = CHOICES.filter((choice) => allow.includes(choice) && !(isBroken && choice === "approve"))
  return {
    summary,
    ...(risk !== undefined && { risk }),
    allow: possible.length > 0 ? possible : ["edit", "reject"],
    scopes: SCOPES.filter((scope) => scopes.includes(scope)),
  }
}

const SUMMARY_LENGTH = 200
/** Control characters, and those with the property Bidi_Control. */
const CONTROLS = /[\p{Cc}\p{Bidi_Control}]/gu

/**
 * One line: the tool's name and the arguments, cut. A model wrote them, so characters that control a terminal or the direction of text are
 * escaped as in JSON.
 */
export function summaryOf({ toolName, args }: Pick<PendingToolCall, "toolName" | "args">): string {
  const text = `${toolName} ${typeof args === "string" ? args : JSON.stringify(args)}`
    .slice(0, 4 * SUMMARY_LENGTH)
    .replace(/\s+/g, " ")
    .replace(CONTROLS, (control) => `\\u${control.charCodeAt(0).toString(16).padStart(4, "0")}`)
  const points = Array.from(text)
  return points.length > SUMMARY_LENGTH ? `${points.slice(0, SUMMARY_LENGTH - 1).join("")}…` : text
}

function nameOf({ callId, toolName }: PendingToolCall): string {
  return `${quoted(callId)} of ${quoted(toolName)}`
}

function shown(value: unknown): string {
  return typeof value === "string" ? quoted(value) : textOf(value)
}
