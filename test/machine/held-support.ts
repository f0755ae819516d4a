import { expect } from "vitest"
import type { TurnConfig } from "../../src/machine/config.ts"
import type { ProtocolDriver } from "../../src/machine/driver.ts"
import { resultsAction } from "../../src/machine/terminal.ts"
import type { Effect, ToolCalls } from "../../src/schemas/effect.ts"
import type { Response } from "../../src/schemas/response.ts"
import type { CompletedToolCall, ToolFailure } from "../../src/schemas/tool.ts"
import { TurnMachine } from "../../src/validated-turn-machine.ts"
import type { DriverAction, StartTools } from "../../src/wire/action.ts"
import type { Ask, Decision, HoldCall, Verdict } from "../../src/wire/approval.ts"
import { completed, configOf, driverOf, pending, pollAll, userMessage } from "./support.ts"

export const ASK: Ask = { allow: ["approve", "edit", "reject"], scopes: ["turn"] }

export function hold(callId: string, ask: Partial<Ask> = {}): HoldCall {
  return { callId, digest: `digest of ${callId}`, ask: { ...ASK, ...ask } }
}

/** A batch of calls. Those whose id is in `heldIds` are held. */
export function batchOf(callIds: readonly string[], heldIds: readonly string[] = callIds, more: Partial<StartTools> = {}): StartTools {
  return { type: "start_tools", calls: callIds.map((callId) => pending(callId)), held: heldIds.map((callId) => hold(callId)), ...more }
}

export const REJECTED: ToolFailure = {
  class: "permission_denied",
  code: "rejected",
  message: "Not allowed.",
  source: "policy",
  retry: { type: "never" },
}

export function rejected(callId: string): CompletedToolCall {
  return completed(callId, null, { output: { status: "failure", failure: REJECTED }, durationMs: 0 })
}

/** Releases what was approved or edited, settles the rest, and records each decision. */
export const follow: NonNullable<ProtocolDriver["onToolDecisions"]> = (_context, { held }, decisions) =>
  decisions.flatMap((decision): readonly DriverAction[] => {
    const { requestId } = decision
    const { callId = "" } = held.find((call) => call.requestId === requestId) ?? {}
    const runs = decision.decision === "approve" || decision.decision === "edit"
    return [
      { type: "append_events", events: [{ type: "protocol", event: { type: "approval", requestId, decision: decision.decision } }] },
      runs ? { type: "release_calls", requestIds: [requestId] } : { type: "settle_calls", results: [rejected(callId)] },
    ]
  })

/** Starts one batch, follows decisions, and finishes with the results, which the transcript has as one message. */
export function holdingDriver(batch: StartTools, callbacks: Partial<ProtocolDriver> = {}): ProtocolDriver {
  return driverOf({
    prepareIteration: () => [batch],
    onToolDecisions: follow,
    onToolResults: (context, results) => [
      resultsAction(context, "tools", results),
      { type: "finish", outcome: { type: "finished", finish: { type: "submitted_value", value: results as never } } },
    ],
    ...callbacks,
  })
}

export function holdingConfig(batch: StartTools, callbacks: Partial<ProtocolDriver> = {}, changes: Partial<TurnConfig> = {}): TurnConfig {
  return configOf({ driver: holdingDriver(batch, callbacks), ...changes })
}

/** A machine that waits for the batch, as effect 1, and has polled it. */
export function waiting(batch: StartTools, callbacks: Partial<ProtocolDriver> = {}, changes: Partial<TurnConfig> = {}): TurnMachine {
  const machine = new TurnMachine(holdingConfig(batch, callbacks, changes), { messages: [userMessage("Pay.")] })
  pollAll(machine)
  return machine
}

/** A decision about the call of effect 1. */
export function about(callId: string, verdict: Verdict | Verdict["decision"] = "approve", more: Partial<Decision> = {}): Decision {
  const full = typeof verdict === "string" ? ({ decision: verdict, ...(verdict === "edit" && { args: { edited: callId } }) } as Verdict) : verdict
  return { requestId: `1:${callId}`, digest: `digest of ${callId}`, ...full, ...more } as Decision
}

export function decides(...decisions: readonly Decision[]): Response {
  return { type: "tool_decisions", id: 1, decisions }
}

export function decidesAt(at: number, ...decisions: readonly Decision[]): Response {
  return { type: "tool_decisions", id: 1, at, decisions }
}

export function goesOn(callId: string, token = `job of ${callId}`, note?: string): Response {
  return { type: "tool_pending", id: 1, callId, token, ...(note !== undefined && { note }) }
}

export function outstandingBatch(machine: TurnMachine): ToolCalls {
  const { outstanding } = machine
  if (outstanding?.type !== "tool_calls") throw new Error(`The turn waits for ${outstanding?.type}.`)
  return outstanding
}

/** The ids of the calls of a batch: those that may run, those that are held, and those that continue outside. */
export function shape({ calls, held, pending: outside }: ToolCalls): Readonly<Record<string, readonly string[]>> {
  const ids = (list: readonly { readonly callId: string }[]): readonly string[] => list.map(({ callId }) => callId)
  return { calls: ids(calls), ...(held !== undefined && { held: ids(held) }), ...(outside !== undefined && { pending: ids(outside) }) }
}

/** The ids of the calls that some effects let run. */
export function letRun(effects: readonly Effect[]): readonly string[] {
  return effects.flatMap((effect) =>
    effect.type === "tool_calls" || effect.type === "tool_calls_released" ? effect.calls.map(({ callId }) => callId) : [],
  )
}

/** The results with which the turn finished, by call: a value, or the code of a failure, or `cancelled`. */
export function resultsOf({ outcome }: TurnMachine): readonly (readonly [callId: string, result: unknown])[] {
  if (outcome?.type !== "finished" || outcome.finish.type !== "submitted_value") throw new Error(`The turn ended with ${JSON.stringify(outcome)}.`)
  return (outcome.finish.value as unknown as readonly CompletedToolCall[]).map(({ callId, output }) => [
    callId,
    output.status === "success" ? output.value : output.status === "failure" ? output.failure.code : output.status,
  ])
}

/** The results that the transcript has of a batch, by call. */
export function answered({ messages }: TurnMachine): readonly (readonly [callId: string, text: string])[] {
  return messages.flatMap(({ parts }) => parts.flatMap((part) => (part.type === "tool_result" ? [[part.callId, part.text] as const] : [])))
}

/** The code of the driver error that ended a turn. */
export function driverError(machine: TurnMachine): string | undefined {
  const { outcome } = machine
  expect(outcome).toMatchObject({ type: "stopped", stop: { type: "runtime_error", error: { kind: "driver" } } })
  return outcome?.type === "stopped" && "error" in outcome.stop ? outcome.stop.error?.code : undefined
}
