import { read } from "../../checks/checking.ts"
import { goalCheckResult } from "../../checks/generated/records.ts"
import type { GoalCheck, GoalCheckResult, GoalOutput } from "../../wire/goal.ts"
import type { PendingToolCall, ToolOutput } from "../../wire/tool.ts"
import type { EffectContext, Host, HostTools } from "../host.ts"
import { messageOf } from "../run/failures.ts"
import { idempotencyKey } from "../run/idempotency-key.ts"
import { settledInTime } from "../timers.ts"
import type { CheckRequest } from "./check-runner.ts"
import type { ThreadLoopOptions } from "./loop-options.ts"
import { commandInput, type ThreadState } from "./thread-state.ts"

/** The end of a check's output that a thread stores, in UTF-16 units. A longer one is cut. */
const MAX_TAIL_CHARS = 4_000

/** How long a runner may take to end what it has started after an abort, in milliseconds. */
const ABORT_GRACE_MS = 5_000

/** Why the host cannot run the checks of a goal, for people; `undefined` if it can. */
export function missingRunner(checks: readonly GoalCheck[], host: Host, { checks: runner }: ThreadLoopOptions): string | undefined {
  const lacking = checks.filter((check) => (isToolCheck(check) ? host.tools === undefined : runner === undefined))
  if (lacking.length === 0) return undefined
  const names = lacking.map(({ name }) => JSON.stringify(name)).join(", ")
  return lacking.some((check) => !isToolCheck(check))
    ? `The goal has checks that run commands (${names}), and this host runs none. Pass a runner as \`checks\`, such as commandChecks of turn-machine/hosts/node.`
    : `The goal has checks that call tools (${names}), and this host has no tools.`
}

/**
 * Runs the checks that are due, and records their results together. Aborted checks record nothing, and run again.
 * Commands that arrive in the meantime are applied before the results, messages are handled afterwards.
 */
export async function runChecks(
  thread: ThreadState,
  host: Host,
  { turnId, checks }: Extract<GoalOutput, { type: "run_checks" }>,
  options: ThreadLoopOptions,
): Promise<"reported" | "interrupted"> {
  return thread.interruptible(options.signal, async (signal) => {
    await options.onChecks?.({ type: "checking", turnId, checks })
    const results = await untilAborted(resultsOf({ turnId, checks }, host, options, signal), signal)
    if (results === undefined || signal.aborted) return "interrupted"
    // Commands that arrived in the meantime come first: what passed then is not what an edit asks for now.
    const { commands } = thread.log
    await thread.apply([...commands.map(commandInput), { type: "checks_reported", at: thread.now(), turnId, results }], commands)
    await options.onChecks?.({ type: "checked", turnId, results })
    return "reported"
  })
}

/** The result of work; `undefined` if it was aborted and did not end within the grace. */
async function untilAborted<Result>(work: Promise<Result>, signal: AbortSignal): Promise<Result | undefined> {
  let result: Result | undefined
  const settled = work.then((value) => {
    result = value
  })
  try {
    await settledInTime(settled, signal, ABORT_GRACE_MS)
  } catch (error) {
    if (!signal.aborted) throw error
  }
  // It may reject later.
  settled.catch(() => {})
  return result
}

/** A result for each check, in their order. */
async function resultsOf({ turnId, checks }: CheckRequest, host: Host, options: ThreadLoopOptions, signal: AbortSignal): Promise<GoalCheckResult[]> {
  const byRunner = checks.filter((check) => !isToolCheck(check))
  const results = new Map<string, GoalCheckResult>()
  for (const result of await runnerResults({ turnId, checks: byRunner }, options, signal)) results.set(result.name, result)
  for (const check of checks) {
    if (signal.aborted) break
    if (isToolCheck(check) && host.tools !== undefined) results.set(check.name, await toolResult(check, turnId, host.tools, options, signal))
  }
  return checks.map(({ name }) => results.get(name) ?? failed(name, "The check has no result: its runner did not return one."))
}

type ToolCheck = Extract<GoalCheck, { readonly tool: string }>

function isToolCheck(check: GoalCheck): check is ToolCheck {
  return "tool" in check
}

async function runnerResults(request: CheckRequest, { checks: runner, isFatal }: ThreadLoopOptions, signal: AbortSignal): Promise<GoalCheckResult[]> {
  const { checks } = request
  if (checks.length === 0 || runner === undefined) return []
  try {
    const returned: unknown = await runner(request, { signal })
    if (!Array.isArray(returned)) throw new TypeError("The runner of the checks did not return a list of results.")
    return checks.flatMap(({ name }) => named(name, returned))
  } catch (error) {
    if (isFatal?.(error) === true) throw error
    return checks.map(({ name }) => failed(name, messageOf(error)))
  }
}

/** The result of a check. If a runner returned several, it has failed if one of them has; one that is not a result has failed. */
function named(name: string, returned: readonly unknown[]): GoalCheckResult[] {
  const given = returned.filter((value) => (value as { readonly name?: unknown } | null | undefined)?.name === name)
  const results = given.map((value) => {
    try {
      return bounded(checked(value))
    } catch (error) {
      return failed(name, `The runner returned a result that is not valid: ${messageOf(error)}`)
    }
  })
  const result = results.find(({ ok }) => !ok) ?? results[0]
  return result === undefined ? [] : [result]
}

function checked(value: unknown): GoalCheckResult {
  const result = read<GoalCheckResult>(goalCheckResult, value)
  if (result.ok) return result.value
  throw new TypeError(result.issues[0]?.message ?? "It is not a result.")
}

async function toolResult(
  { name, tool, args = {} }: ToolCheck,
  turnId: string,
  tools: HostTools,
  { isFatal }: ThreadLoopOptions,
  signal: AbortSignal,
): Promise<GoalCheckResult> {
  const call: PendingToolCall = { callId: `check-${name}`, toolName: tool, args }
  // A check runs after each turn, and again after a crash.
  if (tools.effects(call) === "once")
    return failed(name, `The tool ${JSON.stringify(tool)} must not run twice, so it cannot be a check: checks run after every turn.`)
  const context: EffectContext = {
    effectId: 0,
    idempotencyKey: idempotencyKey(turnId, "check", name),
    signal,
    emit: () => {},
    ...(isFatal !== undefined && { isFatal }),
  }
  try {
    const { output } = await tools.call(call, context)
    if (output.status === "pending") return failed(name, `The tool ${JSON.stringify(tool)} continues outside, so it cannot be a check.`)
    return bounded({ name, ok: output.status === "success", tail: outputText(output) })
  } catch (error) {
    if (isFatal?.(error) === true) throw error
    return failed(name, messageOf(error))
  }
}

function outputText(output: ToolOutput): string {
  if (output.status === "failure") return output.failure.message
  if (output.status === "cancelled") return output.message
  return typeof output.value === "string" ? output.value : (JSON.stringify(output.value) ?? "")
}

function failed(name: string, tail: string): GoalCheckResult {
  return bounded({ name, ok: false, tail })
}

/** The end of a text is what says why a check failed. */
function bounded(result: GoalCheckResult): GoalCheckResult {
  const { tail } = result
  if (tail.length <= MAX_TAIL_CHARS) return result
  return { ...result, tail: tail.slice(-MAX_TAIL_CHARS).replace(/^[\udc00-\udfff]/, "") }
}
