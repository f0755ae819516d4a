import { expect } from "vitest"
import { chatDriver } from "../../src/drivers/chat.ts"
import { TurnError } from "../../src/errors.ts"
import { type CompleteTurnConfig, completeConfig, type TurnConfig } from "../../src/machine/config.ts"
import type { ProtocolDriver } from "../../src/machine/driver.ts"
import { chatProjector } from "../../src/projectors/chat.ts"
import type { DriverAction } from "../../src/schemas/action.ts"
import type { Effect } from "../../src/schemas/effect.ts"
import type { Json } from "../../src/schemas/json.ts"
import type { LlmRequest, LlmResponse, OutputPart } from "../../src/schemas/llm.ts"
import type { CheckpointDelivery, Message } from "../../src/schemas/message.ts"
import type { LlmComplete, Response } from "../../src/schemas/response.ts"
import type { CompletedToolCall, PendingToolCall, ToolOutput } from "../../src/schemas/tool.ts"
import { TurnMachine } from "../../src/validated-turn-machine.ts"

/** A configuration of the chat driver without tools, with the changes that a test is about. Complete, and not checked yet. */
export function configOf(changes: Partial<TurnConfig> = {}): CompleteTurnConfig {
  return { ...completeConfig({ model: "test-model", driver: chatDriver(), projector: chatProjector, sessionId: "session", ...changes }) }
}

/** A request as it matters to nobody. */
export const REQUEST: LlmRequest = { model: "test-model", messages: [], attachments: [], tools: [], toolChoice: "none", generation: {} }

/** A driver of which a test gives what it needs: it starts a model call, and finishes on any answer. */
export function driverOf(callbacks: Partial<ProtocolDriver> = {}): ProtocolDriver {
  const finish: DriverAction = { type: "finish", outcome: { type: "finished", finish: { type: "assistant_message", text: "end" } } }
  return {
    name: "test",
    version: 1,
    prepareIteration: () => [{ type: "start_llm", request: REQUEST }],
    onLlmComplete: () => [finish],
    onToolResults: () => [finish],
    ...callbacks,
  }
}

/** A machine in the state that a driver's first list leads to; all effects so far are polled. */
export function startedWith(actions: readonly DriverAction[], callbacks: Partial<ProtocolDriver> = {}): TurnMachine {
  const machine = new TurnMachine(configOf({ driver: driverOf({ prepareIteration: () => actions, ...callbacks }) }), {
    messages: [userMessage("hello")],
  })
  pollAll(machine)
  return machine
}

export function userMessage(text: string, id = "u1"): Message {
  return { id, role: "user", parts: [{ id: `${id}.p0`, type: "text", text }] }
}

export function pending(callId: string, toolName = "look", args: Json = {}): PendingToolCall {
  return { callId, toolName, args }
}

export function completed(callId: string, value: Json = `result of ${callId}`, more: Partial<CompletedToolCall> = {}): CompletedToolCall {
  return { callId, toolName: "look", args: {}, output: { status: "success", value }, durationMs: 1, ...more }
}

export function withOutput(callId: string, output: ToolOutput): CompletedToolCall {
  return completed(callId, null, { output })
}

export function answer(id: number, parts: readonly OutputPart[], more: Partial<LlmResponse> = {}): LlmComplete {
  const usage = { inputTokens: 10, cachedInputTokens: 0, outputTokens: 2, reasoningTokens: 0 }
  return {
    type: "llm_complete",
    id,
    result: { ok: true, response: { text: "", parts: [...parts], usage, terminalReason: "stop", ...more } as LlmResponse },
  }
}

export function says(id: number, text: string, more: Partial<LlmResponse> = {}): LlmComplete {
  return answer(id, [{ type: "text", text }], { text, ...more })
}

export function callsTools(id: number, callIds: readonly string[], more: Partial<LlmResponse> = {}): LlmComplete {
  const parts = callIds.map((callId): OutputPart => ({ type: "tool_call", callId, toolName: "look", inputJson: "{}" }))
  return answer(id, parts, { terminalReason: "tool_use", ...more })
}

export function results(id: number, ...list: readonly CompletedToolCall[]): Response {
  return { type: "tool_results", id, results: list }
}

export function delivers(id: number, delivery: CheckpointDelivery = {}): Response {
  return { type: "checkpoint_delivery", id, delivery }
}

/** Every effect that comes now, as the JSON a host would store. */
export function pollAll(machine: { poll(): Effect | undefined }): readonly Effect[] {
  const effects: Effect[] = []
  for (let effect = machine.poll(); effect !== undefined; effect = machine.poll()) effects.push(effect)
  return plain(effects)
}

/** Gives a response and takes every effect that comes of it. */
export function respond(machine: TurnMachine, response: Response): readonly Effect[] {
  expect(machine.handle(response)).toEqual({ status: "accepted" })
  return pollAll(machine)
}

/** What is left of a value when it has been written as JSON and read again. */
export function plain<T>(value: T): T {
  return JSON.parse(JSON.stringify(value)) as T
}

/** The machine as it would be in another process. */
export function moved(machine: TurnMachine, config: TurnConfig): TurnMachine {
  return TurnMachine.restore(config, JSON.stringify(machine.checkpoint()))
}

/** Returns the types of effects. Events and log entries add their own type, answerable effects their id. */
export function effectNames(effects: readonly Effect[]): readonly string[] {
  return effects.map((effect) => {
    if (effect.type === "emit" || effect.type === "log") return `${effect.type} ${effect.event.type}`
    return "id" in effect ? `${effect.type} ${effect.id}` : effect.type
  })
}

/** The error that something throws; anything but one of ours with a stable code fails the test. */
export function refusal(act: () => unknown): TurnError & { readonly path?: string } {
  try {
    act()
  } catch (error) {
    if (error instanceof TurnError) return error
    throw new Error(`Threw no TurnError but ${error instanceof Error ? error.stack : String(error)}`, { cause: error })
  }
  throw new Error("Nothing was thrown.")
}

/** Checks that something is refused with this code, and that the turn is what it was before. */
export function expectRefused(machine: TurnMachine, act: () => unknown, code: string): TurnError {
  const before = JSON.stringify(machine.checkpoint())
  const error = refusal(act)
  expect(error.code).toBe(code)
  expect(JSON.stringify(machine.checkpoint())).toBe(before)
  return error
}

/** All calls and results of a transcript or request, in order: `call a`, `result a`. */
export function callsAndResults(messages: readonly { readonly parts: Message["parts"] }[]): readonly string[] {
  return messages.flatMap(({ parts }) =>
    parts.flatMap((part) => (part.type === "tool_call" ? [`call ${part.callId}`] : part.type === "tool_result" ? [`result ${part.callId}`] : [])),
  )
}

/** A change to a JSON value in place, at a place named by a JSON pointer. */
export type Edit = (root: object) => void

export function set(pointer: string, value: unknown): Edit {
  return (root) => void Object.defineProperty(...placeOf(root, pointer), { value, enumerable: true, writable: true, configurable: true })
}

export function remove(pointer: string): Edit {
  return (root) => {
    const [holder, key] = placeOf(root, pointer)
    if (Array.isArray(holder)) holder.splice(Number(key), 1)
    else delete (holder as Record<string, unknown>)[key]
  }
}

export function push(pointer: string, ...values: readonly unknown[]): Edit {
  return (root) => {
    const [holder, key] = placeOf(root, pointer)
    ;((holder as Record<string, unknown>)[key] as unknown[]).push(...values)
  }
}

function placeOf(root: object, pointer: string): readonly [object, string] {
  const keys = pointer.slice(1).split("/")
  const last = keys.pop() ?? ""
  let holder: unknown = root
  for (const key of keys) holder = (holder as Record<string, unknown>)[key]
  return [holder as object, last]
}
