/** What the journal of an invocation holds of a turn: answers without the prompts and arguments that the turn makes again. */

import { TurnError } from "../../errors.ts"
import type { Json } from "../../json.ts"
import type { TurnMachine } from "../../machine/turn-machine.ts"
import { digest } from "../../replay/digest.ts"
import { fingerprint } from "../../replay/fingerprint.ts"
import { quoted } from "../../text.ts"
import type { AnswerableEffect, ToolCalls } from "../../wire/effect.ts"
import type { LlmRequest, LlmResponse } from "../../wire/llm.ts"
import type { Response } from "../../wire/response.ts"
import type { RestateSdk } from "./context.ts"

/** The answer to an effect, or to one call of a batch, as the journal holds it. */
export interface StoredAnswer {
  /** When the answer was ready, in milliseconds since the epoch. */
  readonly at: number
  /** Digests of what was asked. It is asked again in the same way, or the code changed. */
  readonly fingerprint: string
  /** Absent: the work was cancelled and has no answer. */
  readonly answer?: Response
  /** Of cancelled work: whether its executor was called, and what a model had said. */
  readonly cutOff?: { readonly begun: boolean; readonly partial?: LlmResponse }
}

/** One call of a batch, as an effect of its own. */
export type SingleCall = ToolCalls & { readonly calls: readonly [ToolCalls["calls"][number]] }

/** The answer without the name and arguments of its call, which the model's answer has. */
export function packed(response: Response): Response {
  if (response.type !== "tool_results") return response
  return { ...response, results: response.results.map(({ toolName: _name, args: _args, replay: _replay, ...rest }) => rest) } as unknown as Response
}

/** The inverse of {@link packed}. */
export function unpacked(response: Response, effect: AnswerableEffect): Response {
  if (response.type !== "tool_results" || effect.type !== "tool_calls") return response
  const calls = new Map(effect.calls.map((call) => [call.callId, call]))
  return { ...response, results: response.results.map((result) => ({ ...calls.get(result.callId), ...result })) }
}

/** The size of a value as JSON in UTF-8, in bytes. */
export function jsonBytes(value: unknown): number {
  const text = JSON.stringify(value) ?? ""
  return new TextEncoder().encode(text).length
}

/** Digests of an effect: of the whole, and for a model call of the parts whose change can be named. */
export function fingerprintOf(effect: AnswerableEffect): string {
  if (effect.type !== "llm_call") return fingerprint(effect)
  return [fingerprint(effect), ...Object.entries(partsOf(effect.request)).map(([name, part]) => `${name}:${part}`)].join(" ")
}

function partsOf(request: LlmRequest): Record<string, string> {
  const { model, modelVariant, tools, toolChoice, generation } = request
  const [first] = request.messages
  const system = first?.role === "system" ? first : null
  return {
    model: short([model, modelVariant ?? null]),
    system: short(system as unknown as Json),
    tools: toolsDigest(tools),
    generation: short([generation as unknown as Json, toolChoice as unknown as Json]),
  }
}

const toolsDigests = new WeakMap<LlmRequest["tools"], string>()

/** Computed once for each list: a turn has the same tools in all requests. */
function toolsDigest(tools: LlmRequest["tools"]): string {
  const known = toolsDigests.get(tools) ?? short(tools as unknown as Json)
  toolsDigests.set(tools, known)
  return known
}

function short(value: Json): string {
  return digest(value).slice(0, 6)
}

/** The paths of an effect that differ from those of the fingerprint that was stored. */
function changedPaths(stored: string, now: string): readonly string[] {
  const parts = (text: string): Map<string, string> =>
    new Map(
      text
        .split(" ")
        .slice(1)
        .map((part) => part.split(":") as [string, string]),
    )
  const [before, after] = [parts(stored), parts(now)]
  const paths = [...after].flatMap(([name, part]) => (before.get(name) === part ? [] : [`request/${name}`]))
  return paths.length > 0 || after.size === 0 ? paths : ["request/messages"]
}

/** What must be the same in all attempts of an invocation. */
export function codeOf(machine: TurnMachine, turnId: string): Record<string, string> {
  const { systemPrompt, tools } = machine.turn.surface
  const { driver } = machine.checkpoint()
  return {
    turnId,
    driver: `${driver.name}@${driver.version}`,
    systemPrompt: short(systemPrompt),
    tools: short(tools as unknown as Json),
  }
}

/** Refuses to replay a turn with other code than that which began it. @throws {RestateTurnError} `code_changed` */
export function checkCode(stored: Record<string, string>, now: Record<string, string>): void {
  const paths = Object.keys(now).filter((name) => stored[name] !== now[name])
  if (paths.length === 0) return
  const [name = ""] = paths
  const shown = name === "driver" || name === "turnId" ? ` (${name}: ${quoted(String(stored[name]))}, now ${quoted(String(now[name]))})` : ""
  throw codeChanged(paths, `This invocation began with another ${paths.join(", ")}${shown}.`)
}

/** Refuses a stored answer that answers something else. @throws {RestateTurnError} `code_changed` */
export function checkFingerprint(effect: AnswerableEffect, what: string, stored: StoredAnswer): void {
  const now = fingerprintOf(effect)
  if (stored.fingerprint === now) return
  const paths = changedPaths(String(stored.fingerprint), now)
  const where = paths.length === 0 ? "" : ` It differs in ${paths.join(", ")}.`
  throw codeChanged(paths.length === 0 ? [effect.type] : paths, `The code now asks for something else in ${what} than what was answered.${where}`)
}

function codeChanged(paths: readonly string[], what: string): RestateTurnError {
  return new RestateTurnError(paths, `${what} Deploy the code that began it: Restate then continues the turn. Or kill the invocation.`)
}

/**
 * The code that replays an invocation is not the code that began it. The attempt fails, nothing is performed, and Restate tries again: it
 * accepts no end of a handler in the middle of a replay. So an open turn is not lost by a deployment.
 */
export class RestateTurnError extends TurnError<"code_changed"> {
  /** What differs, such as `driver` or `request/model`. */
  readonly paths: readonly string[]

  constructor(paths: readonly string[], message: string) {
    super("code_changed", `code_changed: ${message}`)
    this.paths = paths
  }
}

/** Codes of the errors with which the adapter ends an invocation. They are in the message and in the `metadata` of the `TerminalError`. */
export type RestateTurnErrorCode = "invalid_turn_id" | "segment_without_state" | "segment_lost"

/** An error that Restate does not retry. */
export function turnError(sdk: RestateSdk, code: RestateTurnErrorCode, message: string, errorCode = 500): Error {
  return new sdk.TerminalError(`${code}: ${message}`, { errorCode, metadata: { code } })
}
