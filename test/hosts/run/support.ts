import { expect } from "vitest"
import { chatDriver } from "../../../src/drivers/chat.ts"
import type { Host, HostTools, RunOptions } from "../../../src/hosts/host.ts"
import { runTurn } from "../../../src/hosts/run/run-turn.ts"
import type { TurnConfig } from "../../../src/machine/config.ts"
import type { ProtocolDriver } from "../../../src/machine/driver.ts"
import { chatProjector } from "../../../src/projectors/chat.ts"
import type { Done } from "../../../src/schemas/effect.ts"
import type { TurnEvent } from "../../../src/schemas/event.ts"
import type { Json } from "../../../src/schemas/json.ts"
import type { LlmResponse } from "../../../src/schemas/llm.ts"
import { TurnMachine } from "../../../src/validated-turn-machine.ts"

export const start = { messages: [{ id: "u1", role: "user", parts: [{ id: "u1.p0", type: "text", text: "Where is it?" }] }] } as const

export type Overrides = Partial<Omit<TurnConfig, "validation">> & { readonly validation?: undefined }

export function configOf(overrides: Overrides = {}): TurnConfig {
  const config: Omit<TurnConfig, "validation"> = {
    model: "test",
    sessionId: "s",
    systemPrompt: "You find things.",
    tools: [],
    generation: {},
    syncExecutionSurface: false,
    emitLlmTrace: false,
    driver: chatDriver(),
    projector: chatProjector,
    ...overrides,
  }
  return config
}

export function newTurn(overrides: Overrides = {}): TurnMachine {
  return new TurnMachine(configOf(overrides), start)
}

/** Runs one piece of code and submits its result. */
export const execDriver: ProtocolDriver = {
  name: "exec",
  version: 1,
  prepareIteration: () => [{ type: "start_exec", code: "1 + 1", driverState: null }],
  onLlmComplete: () => [],
  onToolResults: () => [],
  onExecResult: (_context, _waiting, result) => [
    { type: "finish", outcome: { type: "finished", finish: { type: "submitted_value", value: result as unknown as Json } } },
  ],
}

/** Starts a batch without calls and submits its results. */
export const emptyBatchDriver: ProtocolDriver = {
  name: "empty-batch",
  version: 1,
  prepareIteration: () => [{ type: "start_tools", calls: [] }],
  onLlmComplete: () => [],
  onToolResults: (_context, results) => [
    { type: "finish", outcome: { type: "finished", finish: { type: "submitted_value", value: results as unknown as Json } } },
  ],
}

export const usage = { inputTokens: 1, cachedInputTokens: 0, outputTokens: 1, reasoningTokens: 0 }

export function says(text: string): LlmResponse {
  return { text, parts: [{ type: "text", text }], usage, terminalReason: "stop" }
}

export function calls(...named: readonly (readonly [callId: string, toolName: string])[]): LlmResponse {
  const parts = named.map(([callId, toolName]) => ({ type: "tool_call", callId, toolName, inputJson: "{}" }) as const)
  return { text: "", parts, usage, terminalReason: "tool_use" }
}

/** A model that returns these answers in order. */
export function script(...answers: readonly LlmResponse[]): () => Promise<LlmResponse> {
  const left = [...answers]
  return async () => {
    const answer = left.shift()
    if (answer === undefined) throw new Error("The script has no more answers.")
    return answer
  }
}

export function neverCalled(): never {
  throw new Error("This was not to be called.")
}

export const succeed: HostTools["call"] = async () => ({ output: { status: "success", value: "fine" } })

export async function runAndWatch(machine: TurnMachine, host: Host, options: RunOptions = {}): Promise<{ done: Done; events: readonly TurnEvent[] }> {
  const events: TurnEvent[] = []
  const done = await runTurn(machine, host, { ...options, onEvent: (event) => void events.push(event) })
  return { done, events }
}

export function errors(events: readonly TurnEvent[]): readonly string[] {
  return events.flatMap((event) => (event.type === "error" ? [`${event.envelope?.code}: ${event.message}`] : []))
}

export function failures(events: readonly TurnEvent[]): readonly unknown[] {
  return events.flatMap((event) => (event.type === "tool_call" && event.output.status === "failure" ? [event.output.failure] : []))
}

/** The result of each tool call in the transcript. */
export function toolTexts(done: Done): readonly string[] {
  return done.messages.flatMap((message) => message.parts.flatMap((part) => (part.type === "tool_result" ? [part.text] : [])))
}

export function submitted(done: Done): unknown {
  const { outcome } = done
  return outcome.type === "finished" && outcome.finish.type === "submitted_value" ? outcome.finish.value : outcome
}

export interface Deferred<Value> {
  readonly promise: Promise<Value>
  resolve(value: Value): void
}

export function deferred<Value>(): Deferred<Value> {
  let resolve: (value: Value) => void = neverCalled
  const promise = new Promise<Value>((settle) => {
    resolve = settle
  })
  return { promise, resolve: (value) => resolve(value) }
}

/** Runs everything that is ready, without waiting for timers. */
export async function ticks(count: number): Promise<void> {
  for (let index = 0; index < count; index += 1) await Promise.resolve()
}

/**
 * Watches the fake timers that are set until `end`. `left`: how many of a length are neither cleared nor due. `vi.getTimerCount` also counts those
 * that belong to no test of the file: the files of the fast lane share a thread, and what an earlier file left to end by itself may set a timer at
 * any time.
 */
export function watchTimers(): { readonly left: (ms: number) => number; readonly end: () => void } {
  const { setTimeout: set, clearTimeout: clear } = globalThis
  const lengths = new Map<unknown, number | undefined>()
  const watched = (act: () => void, ms?: number): unknown => {
    const timer = set(() => {
      lengths.delete(timer)
      act()
    }, ms)
    lengths.set(timer, ms)
    return timer
  }
  const forgotten: typeof clearTimeout = (timer) => {
    lengths.delete(timer)
    clear(timer)
  }
  Object.assign(globalThis, { setTimeout: watched, clearTimeout: forgotten })
  return {
    left: (ms) => [...lengths.values()].filter((length) => length === ms).length,
    end: () => void Object.assign(globalThis, { setTimeout: set, clearTimeout: clear }),
  }
}

export async function until(holds: () => boolean): Promise<void> {
  for (let index = 0; index < 1_000 && !holds(); index += 1) await Promise.resolve()
  expect(holds()).toBe(true)
}

export function success(value: unknown): unknown {
  return { output: { status: "success", value } }
}

export function circle(): unknown {
  const list: unknown[] = []
  list.push({ list })
  return list
}

export function nested(depth: number): Json {
  let value: Json = []
  for (let level = 1; level < depth; level += 1) value = [value]
  return value
}
