import { approvalDriver } from "../../../src/drivers/approval/driver.ts"
import type { ApprovalPolicy } from "../../../src/drivers/approval/policy.ts"
import { chatDriver } from "../../../src/drivers/chat.ts"
import type { TurnConfig } from "../../../src/machine/config.ts"
import type { ProtocolDriver } from "../../../src/machine/driver.ts"
import type { Effect, ToolCalls } from "../../../src/schemas/effect.ts"
import type { Json } from "../../../src/schemas/json.ts"
import type { OutputPart } from "../../../src/schemas/llm.ts"
import type { HistoryRecord } from "../../../src/schemas/message.ts"
import type { Response } from "../../../src/schemas/response.ts"
import type { CompletedToolCall, ToolSpec } from "../../../src/schemas/tool.ts"
import { TurnMachine } from "../../../src/validated-turn-machine.ts"
import type { Decision, HeldCall, Verdict } from "../../../src/wire/approval.ts"
import { answer, configOf, pollAll, respond, userMessage } from "../../machine/support.ts"

export const PAY: ToolSpec = { name: "pay", description: "Pays.", inputSchema: { type: "object" } }
export const LOOK: ToolSpec = { name: "look", description: "Looks.", inputSchema: { type: "object" } }

/** Holds every call of `pay`. */
export const HOLD_PAY: ApprovalPolicy = ({ toolName }) => (toolName === "pay" ? { hold: {} } : "run")

export function configWith(policy: ApprovalPolicy, changes: Partial<TurnConfig> & { readonly inner?: ProtocolDriver; readonly ttlMs?: number } = {}) {
  const { inner = chatDriver(), ttlMs, ...others } = changes
  const driver = approvalDriver(inner, { policy, ...(ttlMs !== undefined && { ttlMs }) })
  return configOf({ driver, tools: [PAY, LOOK], ...others })
}

/** A machine that waits for its first model call, with effect 1. */
export function begun(
  config: TurnConfig,
  start: { readonly events?: readonly HistoryRecord[]; readonly iterationOffset?: number } = {},
): TurnMachine {
  const machine = new TurnMachine(config, { messages: [userMessage("hello")], ...start })
  pollAll(machine)
  return machine
}

export function call(callId: string, toolName = "pay", args: Json = {}): OutputPart {
  return { type: "tool_call", callId, toolName, inputJson: JSON.stringify(args) }
}

export function broken(callId: string, toolName = "pay"): OutputPart {
  return { type: "tool_call", callId, toolName, inputJson: "{" }
}

export function asks(id: number, ...parts: readonly OutputPart[]): Response {
  return { ...answer(id, parts, { terminalReason: "tool_use" }), at: 1_000 }
}

/** A machine after its model called tools. The batch is effect 2. */
export function batchOf(config: TurnConfig, ...parts: readonly OutputPart[]): TurnMachine {
  const machine = begun(config)
  respond(machine, asks(1, ...parts))
  return machine
}

export function batch(machine: TurnMachine): ToolCalls {
  const { outstanding } = machine
  if (outstanding?.type !== "tool_calls") throw new Error(`The turn waits for ${outstanding?.type ?? "nothing"}.`)
  return outstanding
}

export function held(machine: TurnMachine, callId: string): HeldCall {
  const found = batch(machine).held?.find((each) => each.callId === callId)
  if (found === undefined) throw new Error(`${callId} is not held.`)
  return found
}

export function heldIds(machine: TurnMachine): readonly string[] {
  return (batch(machine).held ?? []).map(({ callId }) => callId)
}

export function callIds(machine: TurnMachine): readonly string[] {
  return batch(machine).calls.map(({ callId }) => callId)
}

export function decision(machine: TurnMachine, callId: string, verdict: Verdict, more: Partial<Decision> = {}): Decision {
  const { requestId, digest } = held(machine, callId)
  return { requestId, digest, ...verdict, ...more } as Decision
}

export function decides(machine: TurnMachine, decisions: readonly Decision[], at = 2_000): readonly Effect[] {
  return respond(machine, { type: "tool_decisions", id: batch(machine).id, at, decisions })
}

export function approves(machine: TurnMachine, callId: string, more: Partial<Decision> = {}, at?: number): readonly Effect[] {
  return decides(machine, [decision(machine, callId, { decision: "approve" }, more)], at)
}

/** The calls that an effect lets run. */
export function released(effects: readonly Effect[]): readonly { readonly callId: string; readonly args: Json }[] {
  return effects.flatMap((effect) => (effect.type === "tool_calls_released" ? effect.calls.map(({ callId, args }) => ({ callId, args })) : []))
}

export function ran(callId: string, toolName = "pay", value: Json = `ran ${callId}`): CompletedToolCall {
  return { callId, toolName, args: {}, output: { status: "success", value }, durationMs: 1 }
}

/** The records of approvals in the history, without digests. */
export function approvals(machine: TurnMachine): readonly Json[] {
  return [...machine.history].flatMap((record) => {
    if (record.type !== "protocol") return []
    const event = record.event as { readonly type?: Json; readonly [key: string]: Json | undefined }
    return String(event.type).startsWith("approval") ? [event as Json] : []
  })
}

/** The text that the model reads of each call. */
export function resultTexts(machine: TurnMachine): Readonly<Record<string, string>> {
  const results = machine.messages.flatMap(({ parts }) => parts.flatMap((part) => (part.type === "tool_result" ? [part] : [])))
  return Object.fromEntries(results.map(({ callId, text }) => [callId, text]))
}

/** The failures of calls that got their results by now, by call id. */
export function failures(effects: readonly Effect[]): Readonly<Record<string, string>> {
  const codes: Record<string, string> = {}
  for (const effect of effects) {
    if (effect.type !== "emit" || effect.event.type !== "tool_call") continue
    const { callId, output } = effect.event
    codes[callId ?? ""] = output.status === "failure" ? output.failure.code : output.status
  }
  return codes
}
