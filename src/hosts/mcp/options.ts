import type { Json } from "../../json.ts"
import { quoted } from "../../text.ts"
import { unknownKey } from "../../unknown-key.ts"
import type { AttachmentStore } from "../attachments/store.ts"
import type { ToolEffects } from "../host.ts"
import { kindOf } from "../tools/definition-checks.ts"
import type { McpApproval, McpHints } from "./hints.ts"
import { DEFAULT_LIMITS, type McpAllow, type McpLimits } from "./listed-tools.ts"
import { McpToolboxError } from "./mcp-error.ts"
import { isPrefix } from "./names.ts"

/** Options of {@link mcpToolbox}. */
export interface McpToolboxOptions {
  /**
   * What the names of the tools begin with, as `files` in `files__read_file`: 1 to 32 letters from A to Z, digits and `-`, with single `_`
   * between them. Give each of several servers its own. Default: none.
   */
  readonly prefix?: string
  /** Which tools are offered, by the server's own names. A name that the server does not have is refused. Default: all. */
  readonly allow?: McpAllow
  /**
   * Who is asked before a call runs. Unless no tool asks, the turn's driver must be an `approvalDriver` with the toolbox's `approvals`. The hints are the server's
   * word: a server that you do not trust may call a tool read-only that is not. Default `unless-read-only`.
   */
  readonly approval?: McpApproval
  /**
   * What a call does to the world, which decides whether it may run again after a crash. `hints`: `none` for a tool that the server calls
   * read-only, `idempotent` for one that it calls so, and `once` for any other, which needs a journal. Default `hints`.
   */
  readonly effects?: "hints" | ToolEffects | ((tool: { readonly name: string; readonly hints: McpHints }) => ToolEffects)
  /** Where images, audio and other bytes are stored. Absent: a line says what was left out. */
  readonly attachments?: AttachmentStore
  /** Milliseconds that a call may take without an answer or a progress notification. Then it is cancelled, as `tool_timeout`. Default 60,000. */
  readonly timeoutMs?: number
  /** Offers `list_resources` and `read_resource`, if the server has resources. Default false. */
  readonly resources?: boolean
  /** Offers `list_prompts` and `get_prompt`, if the server has prompts. Default false. */
  readonly prompts?: boolean
  /** How much the server may say. */
  readonly limits?: McpLimits
  /** What is sent as `_meta` of a call, such as its idempotency key for a server of your own. Default: nothing. */
  readonly meta?: (call: { readonly name: string; readonly idempotencyKey: string | undefined }) => { readonly [key: string]: Json }
}

/** The options with their defaults. */
export interface CheckedOptions {
  readonly prefix: string | undefined
  readonly allow: McpAllow | undefined
  readonly approval: McpApproval
  readonly effects: NonNullable<McpToolboxOptions["effects"]>
  readonly attachments: AttachmentStore | undefined
  readonly timeoutMs: number
  readonly resources: boolean
  readonly prompts: boolean
  readonly limits: Required<McpLimits>
  readonly meta: McpToolboxOptions["meta"]
}

const KEYS: { readonly [Key in keyof Required<McpToolboxOptions>]: true } = {
  prefix: true,
  allow: true,
  approval: true,
  effects: true,
  attachments: true,
  timeoutMs: true,
  resources: true,
  prompts: true,
  limits: true,
  meta: true,
}
const DEFAULT_TIMEOUT_MS = 60_000
const APPROVALS: readonly unknown[] = ["unless-read-only", "always", "never"]
const EFFECTS: readonly unknown[] = ["hints", "none", "idempotent", "once"]

/** @throws {McpToolboxError} `unknown_option`, `invalid_option`, `invalid_prefix` */
export function checkOptions(options: McpToolboxOptions): CheckedOptions {
  if (typeof options !== "object" || options === null) throw invalid("The options of mcpToolbox", "an object", options)
  checkKeys(options, Object.keys(KEYS), "mcpToolbox")
  const { prefix, allow, approval = "unless-read-only", effects = "hints", attachments, timeoutMs = DEFAULT_TIMEOUT_MS, limits = {}, meta } = options
  if (prefix !== undefined && !(typeof prefix === "string" && isPrefix(prefix)))
    throw new McpToolboxError(
      "invalid_prefix",
      `The prefix ${typeof prefix === "string" ? quoted(prefix) : kindOf(prefix)} must be 1 to 32 letters from A to Z, digits and -, with single _ between them.`,
    )
  if (allow !== undefined && typeof allow !== "function" && !(Array.isArray(allow) && allow.every((name) => typeof name === "string")))
    throw invalid("allow", "a list of names, or a function", allow)
  // A misspelt word would let calls run without a question.
  if (typeof approval !== "function" && !APPROVALS.includes(approval))
    throw invalid("approval", '"unless-read-only", "always", "never" or a function', approval)
  if (typeof effects !== "function" && !EFFECTS.includes(effects))
    throw invalid("effects", '"hints", "none", "idempotent", "once" or a function', effects)
  if (attachments !== undefined && typeof attachments.put !== "function") throw invalid("attachments", "an attachment store", attachments)
  if (!(typeof timeoutMs === "number" && timeoutMs > 0)) throw invalid("timeoutMs", "a positive number", timeoutMs)
  if (meta !== undefined && typeof meta !== "function") throw invalid("meta", "a function", meta)
  return {
    prefix,
    allow,
    approval,
    effects,
    attachments,
    timeoutMs,
    resources: flag("resources", options.resources),
    prompts: flag("prompts", options.prompts),
    limits: checkLimits(limits),
    meta,
  }
}

function checkLimits(limits: McpLimits): Required<McpLimits> {
  if (typeof limits !== "object" || limits === null) throw invalid("limits", "an object", limits)
  checkKeys(limits, Object.keys(DEFAULT_LIMITS), "limits")
  for (const [name, value] of Object.entries(limits))
    if (value !== undefined && !(Number.isInteger(value) && value >= 1)) throw invalid(`limits.${name}`, "a whole number from 1", value)
  const given = Object.fromEntries(Object.entries(limits).filter(([, value]) => value !== undefined)) as McpLimits
  return { ...DEFAULT_LIMITS, ...given }
}

function flag(name: string, value: unknown): boolean {
  if (value !== undefined && typeof value !== "boolean") throw invalid(name, "true or false", value)
  return value === true
}

function checkKeys(value: object, known: readonly string[], what: string): void {
  const unknown = unknownKey(value, known)
  if (unknown === undefined) return
  const { key, hint = `the options are ${known.join(", ")}.` } = unknown
  throw new McpToolboxError("unknown_option", `${what} was given the unknown option ${JSON.stringify(key)}; ${hint}`)
}

function invalid(what: string, expected: string, value: unknown): McpToolboxError {
  return new McpToolboxError("invalid_option", `${what} must be ${expected}, not ${typeof value === "string" ? quoted(value) : kindOf(value)}.`)
}
