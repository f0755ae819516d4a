import { describe, expect, test } from "vitest"
import { chatDriver } from "../../src/drivers/chat.ts"
import { pairToolCalls } from "../../src/drivers/tool-pairs.ts"
import { Joined, withMessages } from "../../src/lazy.ts"
import type { TurnConfig } from "../../src/machine/config.ts"
import type { ProtocolDriver } from "../../src/machine/driver.ts"
import { History } from "../../src/machine/history.ts"
import { TurnMachine } from "../../src/machine/turn-machine.ts"
import { chatProjector } from "../../src/projectors/chat.ts"
import type { Projector, Transcript } from "../../src/projectors/projector.ts"
import { wrapProjector } from "../../src/projectors/wrap-projector.ts"
import { fingerprint } from "../../src/replay/fingerprint.ts"
import type { DriverAction } from "../../src/schemas/action.ts"
import type { TurnStart } from "../../src/schemas/config.ts"
import type { Effect } from "../../src/schemas/effect.ts"
import type { LlmMessage } from "../../src/schemas/llm.ts"
import type { Message, Part, TurnCause } from "../../src/schemas/message.ts"
import type { Response } from "../../src/schemas/response.ts"
import type { ModelReturn } from "../../src/schemas/tool.ts"
import { configOf } from "../machine/support.ts"

// Law 9 without a clock: what an iteration copies, visits and renders is counted.

const TEXT = "x".repeat(200)
const IMAGE = { id: "image", mediaType: "image/png", byteLength: 10 }

describe("the cost of an iteration does not depend on earlier iterations (law 9)", () => {
  test("the transcript and the history each keep one array through 2,000 iterations", () => {
    const machine = newMachine()
    iterate(machine, 1)
    const { messages, events } = machine.turn.record
    iterate(machine, 1_999)
    const last = machine.turn.record
    expect(last.messages.length).toBe(1 + 2 * 2_000)
    expect(last.messages.storage).toBe(messages.storage)
    expect(last.events.storage).toBe(events.storage)
  })

  test("progress emits two records in every iteration, one before the tools and one after them", () => {
    const effects = iterate(newMachine(), 2_000)
    const deltas = effects.flatMap((effect) => (effect.type === "progress" ? [effect.eventDelta.length] : []))
    expect(deltas.length).toBe(4_000)
    expect(new Set(deltas)).toEqual(new Set([1]))
  })

  test("a checkpoint grows by the same number of bytes with every iteration", () => {
    const machine = newMachine()
    const bytesAfter = (iterations: number): number => {
      iterate(machine, iterations)
      return JSON.stringify(machine.checkpoint()).length
    }
    // From 100 iterations to 300 every count in it has three digits, so that not even their lengths differ.
    const at = [bytesAfter(100), bytesAfter(100), bytesAfter(100)] as const
    expect(at[2] - at[1]).toBe(at[1] - at[0])
  })

  test.each([
    ["texts", { parts: [{ type: "text", text: TEXT }] }],
    [
      "texts and images",
      {
        parts: [
          { type: "text", text: TEXT },
          { type: "attachment", attachment: IMAGE },
        ],
      },
    ],
  ] as const)(
    "array methods touch as many items in iteration 1,990 as in iteration 100, with results that are %s",
    (_what, modelReturn: ModelReturn) => {
      const machine = newMachine()
      iterate(machine, 100, modelReturn)
      const early = countTouched(() => iterate(machine, 10, modelReturn))
      iterate(machine, 1_880, modelReturn)
      const late = countTouched(() => iterate(machine, 10, modelReturn))
      expect(early).toBeGreaterThan(100)
      expect(late).toBe(early)
    },
  )

  test("every message is checked once, frozen once and rendered once", () => {
    const rendered = new Map<string, number>()
    const machine = newMachine(countingDriver(rendered))
    iterate(machine, 500)
    // One part of the model's message and one of the tool's, in every iteration.
    expect(rendered.size).toBe(2 * 500)
    // Each is read when it is checked and frozen, as it is appended, and when it is rendered.
    expect(new Set(rendered.values())).toEqual(new Set([3]))
  })
})

describe("nor does it with causes, open calls and wrapped projectors", () => {
  const origin = { type: "plugin", pluginId: "mail" } as const
  const cause: TurnCause = { id: "cause", eventType: "mail", origin, text: "A mail arrived." }
  const open: Message = {
    id: "cut",
    role: "assistant",
    parts: [{ id: "cut.p0", type: "tool_call", callId: "cut", toolName: "read", inputJson: "{}" }],
  }
  const capped = wrapProjector(chatProjector, { request: ({ generation }) => ({ generation: { ...generation, maxOutputTokens: 200 } }) })
  const quiet = wrapProjector(chatProjector, { input: (input) => ({ ...input, systemPrompt: "Work quietly." }) })

  test.each<[title: string, start: Partial<TurnStart>, projector: Projector]>([
    ["neither", {}, chatProjector],
    ["a cause without a message", { turnCauses: [cause] }, chatProjector],
    ["a cause with a message", { turnCauses: [cause], messages: [{ ...ASKED, id: cause.id, role: "event", origin }] }, chatProjector],
    ["an open call", { messages: [open, ASKED] }, chatProjector],
    ["an open call and a cause", { messages: [open, ASKED], turnCauses: [cause] }, chatProjector],
    ["a wrapped request", {}, capped],
    ["a wrapped input", {}, quiet],
    ["an open call, a cause and a wrapped request", { messages: [open, ASKED], turnCauses: [cause] }, capped],
  ])("array methods touch as many items in iteration 1,490 as in iteration 100, with %s", (_what, start, projector) => {
    const machine = newMachine(chatDriver(), start, projector)
    const fingerprinted = (times: number): void => {
      for (const effect of iterate(machine, times)) if (effect.type === "llm_call") fingerprint(effect)
    }
    fingerprinted(100)
    const early = countTouched(() => fingerprinted(10))
    fingerprinted(1_380)
    const late = countTouched(() => fingerprinted(10))
    expect(early).toBeGreaterThan(100)
    expect(late).toBe(early)
  })

  test("a projection reads only the new messages of its transcript", () => {
    const counted = countedTranscript([open, ASKED])
    const project = (length: number): void => {
      const messages = counted.transcript(length)
      const input = { systemPrompt: "Work.", tools: [], startLength: 2, events: History.of([]), turnCauses: [cause], iteration: 0, useTools: true }
      pairToolCalls(capped({ config: configOf(), messages, ...input }))
    }
    project(2)
    const reads = Array.from({ length: 300 }, (_, index) => {
      const before = counted.reads()
      counted.push({ id: `u${index}`, role: "user", parts: [{ id: "p", type: "text", text: "more" }] })
      project(3 + index)
      return counted.reads() - before
    })
    expect(new Set(reads).size).toBe(1)
  })

  test("pairing reads only the new messages of a request", () => {
    const storage: LlmMessage[] = [{ role: "assistant", blocks: [{ type: "tool_call", callId: "cut", toolName: "read", inputJson: "{}" }] }]
    let reads = 0
    const counted = new Proxy(storage, {
      get(target, key, receiver) {
        if (typeof key === "string" && /^\d+$/.test(key)) reads += 1
        return Reflect.get(target, key, receiver) as unknown
      },
    })
    const rest = { model: "m", attachments: [], tools: [], toolChoice: "none", generation: {} } as const
    const perRequest = Array.from({ length: 300 }, (_, index) => {
      const callId = `c${index}`
      storage.push({ role: "assistant", blocks: [{ type: "tool_call", callId, toolName: "read", inputJson: "{}" }] })
      storage.push({ role: "user", blocks: [{ type: "tool_result", callId, text: "" }] })
      const before = reads
      pairToolCalls(withMessages({ ...rest }, new Joined<LlmMessage>([{ storage: counted, length: storage.length }])))
      return reads - before
    })
    expect(new Set(perRequest.slice(1)).size).toBe(1)
  })
})

/** A transcript that counts how many messages are read of it. */
function countedTranscript(begin: readonly Message[]): {
  readonly push: (message: Message) => void
  readonly transcript: (length: number) => Transcript<Message>
  readonly reads: () => number
} {
  const storage = [...begin]
  let reads = 0
  const count = <Value>(items: number, value: Value): Value => {
    reads += items
    return value
  }
  return {
    push: (message) => storage.push(message),
    reads: () => reads,
    transcript: (length) => ({
      length,
      storage,
      at: (index) => count(1, storage[index]),
      slice: (start, end = length) => count(length, storage.slice(start, end)),
      toArray: () => count(length, storage.slice(0, length)),
      [Symbol.iterator]: () => count(length, storage.slice(0, length))[Symbol.iterator](),
    }),
  }
}

const ASKED: Message = { id: "asked", role: "user", parts: [{ id: "asked.p0", type: "text", text: "Go." }] }

function newMachine(driver: ProtocolDriver = chatDriver(), start: Partial<TurnStart> = {}, projector: Projector = chatProjector): TurnMachine {
  const config: TurnConfig = {
    model: "model",
    systemPrompt: "Work.",
    tools: [{ name: "read", description: "Reads.", inputSchema: { type: "object" } }],
    driver,
    projector,
  }
  return new TurnMachine(config, { messages: [ASKED], ...start })
}

/** Runs whole iterations, from a model call to the checkpoint after its tool; afterwards the next model call is outstanding. */
function iterate(machine: TurnMachine, times: number, modelReturn: ModelReturn = { parts: [{ type: "text", text: TEXT }] }): readonly Effect[] {
  const effects: Effect[] = []
  const drain = (): void => {
    for (let effect = machine.poll(); effect !== undefined; effect = machine.poll()) effects[effects.length] = effect
  }
  drain()
  for (let left = times * 3; left > 0; left -= 1) {
    machine.handle(answer(machine.outstanding as Effect, modelReturn))
    drain()
  }
  return effects
}

function answer(effect: Effect, modelReturn: ModelReturn): Response {
  switch (effect.type) {
    case "llm_call": {
      const usage = { inputTokens: 1, cachedInputTokens: 0, outputTokens: 1, reasoningTokens: 0 }
      const parts = [{ type: "tool_call", callId: "call", toolName: "read", inputJson: "{}" }] as const
      return { type: "llm_complete", id: effect.id, result: { ok: true, response: { text: "", parts, usage, terminalReason: "tool_use" } } }
    }
    case "tool_calls": {
      const [call] = effect.calls
      if (call === undefined) throw new Error("A batch without calls.")
      return { type: "tool_results", id: effect.id, results: [{ ...call, output: { status: "success", value: null }, modelReturn, durationMs: 1 }] }
    }
    case "checkpoint":
      return { type: "checkpoint_delivery", id: effect.id, delivery: {} }
    default:
      throw new Error(`Not expected here: ${effect.type}`)
  }
}

/** Counts the items that array methods and iterations copy or visit while `run` runs. */
function countTouched(run: () => void): number {
  const prototype = Array.prototype as unknown as Record<PropertyKey, (this: unknown[], ...rest: unknown[]) => unknown>
  const methods = [
    "slice",
    "concat",
    "map",
    "filter",
    "flatMap",
    "forEach",
    "find",
    "findIndex",
    "some",
    "every",
    "includes",
    "indexOf",
    "push",
    "splice",
    Symbol.iterator,
  ]
  const originals = methods.map((method) => prototype[method] as (typeof prototype)[string])
  let touched = 0
  methods.forEach((method, index) => {
    const original = originals[index] as (typeof prototype)[string]
    prototype[method] = function (...rest) {
      const result = original.apply(this, rest)
      // A copy counts the copied items; any other method counts all items that it may visit.
      touched += method === "push" ? rest.length : Array.isArray(result) ? result.length : this.length
      return result
    }
  })
  try {
    run()
  } finally {
    for (let index = 0; index < methods.length; index += 1) prototype[methods[index] as PropertyKey] = originals[index] as (typeof prototype)[string]
  }
  return touched
}

/** The chat driver, whose messages count how often the text of a part is read. Only rendering reads it. */
function countingDriver(rendered: Map<string, number>): ProtocolDriver {
  const counted = (part: Part): Part => {
    const key = part.type === "tool_call" ? "inputJson" : "text"
    const value: unknown = part[key as keyof Part]
    const copy = { ...part }
    Object.defineProperty(copy, key, {
      enumerable: true,
      get() {
        rendered.set(part.id, (rendered.get(part.id) ?? 0) + 1)
        return value
      },
    })
    return copy
  }
  const countedMessage = (message: Message): Message => ({ ...message, parts: message.parts.map(counted) })
  const watch = (actions: readonly DriverAction[]): readonly DriverAction[] =>
    actions.map((action) => {
      if (action.type !== "append_events") return action
      const events = action.events.map((record) => (record.type === "conversation" ? { ...record, message: countedMessage(record.message) } : record))
      return { ...action, events }
    })
  const chat = chatDriver()
  return {
    ...chat,
    onLlmComplete: (context, waiting, response, textStreamed) => watch(chat.onLlmComplete(context, waiting, response, textStreamed)),
    onToolResults: (context, results) => watch(chat.onToolResults(context, results)),
  }
}
