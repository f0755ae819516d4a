import type { TurnMachine } from "../../machine/turn-machine.ts"
import type { AnswerableEffect } from "../../wire/effect.ts"
import type { PendingToolCall, ToolSpec } from "../../wire/tool.ts"
import { type Host, RunError, type SuspendingRunOptions, type ToolEffects } from "../host.ts"
import { maySuspend } from "./suspend.ts"

/**
 * Refuses mistakes that may compile: a missing model, and tools or code that would never run.
 * @throws {TypeError}
 */
export function checkHost(host: Host): void {
  if (typeof host?.llmCall !== "function") throw new TypeError("The host needs an llmCall function.")
  const { tools, code } = host
  if (tools !== undefined && (typeof tools?.call !== "function" || typeof tools.effects !== "function"))
    throw new TypeError("The host's tools are not a toolbox: they need call and effects. Pass tools: toolbox([add]).")
  if (tools === undefined && "call" in host && "effects" in host)
    throw new TypeError("Tools are spread into the host, so they would never run. Pass them as a member: { llmCall, tools }.")
  if (host.decide !== undefined && typeof host.decide !== "function") throw new TypeError("The host's decide is not a function.")
  if (code !== undefined && typeof code?.run !== "function") throw new TypeError("The host's code is not an executor: pass code: { run }.")
  if (code?.effects !== undefined) checkEffects("The host's code", code.effects)
  if ("execCode" in host) throw new TypeError("The host has an execCode function, which is never called. Pass code: { run }.")
  if ("toolCall" in host) throw new TypeError("The host has a toolCall function, which is never called. Pass tools: toolbox([add]).")
}

/**
 * Whether a call must not run twice.
 * @throws {TypeError} the host's `effects` returned something else, such as a promise, which would run a `once` call twice
 */
export function isOnce({ tools }: Host, call: PendingToolCall): boolean {
  if (tools === undefined) return false
  const effects = tools.effects(call)
  checkEffects(`The tool ${JSON.stringify(call.toolName)}`, effects)
  return effects === "once"
}

const EFFECTS: readonly unknown[] = ["none", "idempotent", "once"] satisfies readonly ToolEffects[]

function checkEffects(what: string, effects: unknown): void {
  if (EFFECTS.includes(effects)) return
  const found = typeof effects === "string" ? JSON.stringify(effects) : `a value of type ${typeof effects}`
  throw new TypeError(`${what} has the effects ${found}; they are "none", "idempotent" or "once".`)
}

/** Refuses a number of places in which no call would ever run. @throws {RangeError} */
export function checkToolConcurrency(toolConcurrency: number | undefined): void {
  if (toolConcurrency !== undefined && !(toolConcurrency >= 1)) throw new RangeError(`toolConcurrency must be at least 1, not ${toolConcurrency}.`)
}

/** Milliseconds that the executors of a cancelled effect have to end and to report what happened. */
export const DEFAULT_CANCEL_GRACE_MS = 2_000

/** @throws {RangeError} */
export function checkGrace(cancelGraceMs: number): void {
  if (!(cancelGraceMs >= 0)) throw new RangeError(`cancelGraceMs must be at least 0, not ${cancelGraceMs}.`)
}

/**
 * Refuses `once` calls and code of an effect, for a run that records no starts: after a crash they would run again.
 * @throws {RunError} `once_without_log`
 */
export function refuseOnce(host: Host, effect: AnswerableEffect): void {
  if (effect.type === "exec_code" && host.code?.effects === "once") throw withoutLog("The host's code")
  if (effect.type !== "tool_calls") return
  for (const call of [...effect.calls, ...(effect.held ?? [])]) if (isOnce(host, call)) throw withoutLog(`The tool ${JSON.stringify(call.toolName)}`)
}

/**
 * Refuses a run that records no starts and offers `once` tools, before it performs anything.
 * @throws {RunError} `once_without_log`
 */
export function refuseOnceTools(host: Host, offered: readonly ToolSpec[]): void {
  if (host.code?.effects === "once") throw withoutLog("The host's code")
  for (const { name } of offered) if (isOnce(host, { callId: "", toolName: name, args: {} })) throw withoutLog(`The tool ${JSON.stringify(name)}`)
}

/**
 * Refuses tools whose `approval` would have no effect, because the turn's driver cannot hold calls: every call would run.
 * @throws {RunError} `approval_without_driver`
 */
export function refuseUnasked({ mayHold, turn }: TurnMachine, { tools }: Host): void {
  if (mayHold) return
  const asking = turn.surface.tools.find(({ name }) => tools?.asks?.(name) === true)
  if (asking === undefined) return
  throw new RunError(
    "approval_without_driver",
    `The tool ${JSON.stringify(asking.name)} asks before its calls run, and the turn's driver cannot hold calls, so they would all run. Use approvalDriver(driver, { policy: tools.approvals }), or approvals: tools.approvals of a thread. To run them without a question, set approval: "never" for the tool.`,
  )
}

/**
 * Refuses a run in which a call may be held and nothing could decide about it: at its start, and not when the call comes.
 * @throws {RunError} `held_without_decider`
 */
export function refuseWithoutDecider({ mayHold, outstanding }: TurnMachine, { decide }: Host, options: SuspendingRunOptions): void {
  const isHeld = outstanding?.type === "tool_calls" && outstanding.held !== undefined
  if ((!mayHold && !isHeld) || decide !== undefined || maySuspend(options)) return
  throw new RunError(
    "held_without_decider",
    "The driver may hold calls for a person, and this run cannot wait for one. Give the host a decide function, or run the turn with suspend: true.",
  )
}

function withoutLog(what: string): RunError {
  const message = `${what} must not run twice (effects: "once"), and this run records no starts, so that a crash would run it again.`
  return new RunError(
    "once_without_log",
    `${message} Run the turn with a journal: journaled(host, store). In a loop of your own, pass callStarted to performEffect.`,
  )
}
