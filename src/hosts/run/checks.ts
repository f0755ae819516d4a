import type { AnswerableEffect } from "../../wire/effect.ts"
import type { ToolSpec } from "../../wire/tool.ts"
import { type Host, RunError } from "../host.ts"

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
  if (code !== undefined && typeof code?.run !== "function") throw new TypeError("The host's code is not an executor: pass code: { run }.")
  if ("execCode" in host) throw new TypeError("The host has an execCode function, which is never called. Pass code: { run }.")
  if ("toolCall" in host) throw new TypeError("The host has a toolCall function, which is never called. Pass tools: toolbox([add]).")
}

/** Refuses a number of places in which no call would ever run. @throws {RangeError} */
export function checkToolConcurrency(toolConcurrency: number | undefined): void {
  if (toolConcurrency !== undefined && !(toolConcurrency >= 1)) throw new RangeError(`toolConcurrency must be at least 1, not ${toolConcurrency}.`)
}

/**
 * Refuses `once` calls and code of an effect, for a run that records no starts: after a crash they would run again.
 * @throws {RunError} `once_without_log`
 */
export function refuseOnce(host: Host, effect: AnswerableEffect): void {
  if (effect.type === "exec_code" && host.code?.effects === "once") throw withoutLog("The host's code")
  if (effect.type !== "tool_calls") return
  for (const call of effect.calls) if (host.tools?.effects(call) === "once") throw withoutLog(`The tool ${JSON.stringify(call.toolName)}`)
}

/**
 * Refuses a run that records no starts and offers `once` tools, before it performs anything.
 * @throws {RunError} `once_without_log`
 */
export function refuseOnceTools({ tools, code }: Host, offered: readonly ToolSpec[]): void {
  if (code?.effects === "once") throw withoutLog("The host's code")
  for (const { name } of offered)
    if (tools?.effects({ callId: "", toolName: name, args: {} }) === "once") throw withoutLog(`The tool ${JSON.stringify(name)}`)
}

function withoutLog(what: string): RunError {
  const message = `${what} must not run twice (effects: "once"), and this run records no starts, so that a crash would run it again.`
  return new RunError("once_without_log", `${message} Run the turn with a journal: journaled(host, store).`)
}
