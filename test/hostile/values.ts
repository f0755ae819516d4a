import type { Response } from "../../src/schemas/response.ts"
import { answer, completed, delivers, results, says, set, userMessage } from "../machine/support.ts"

export function nested(depth: number): unknown {
  return JSON.parse("[".repeat(depth) + "]".repeat(depth))
}

export function nestedObject(depth: number): unknown {
  return JSON.parse(`${'{"a":'.repeat(depth)}1${"}".repeat(depth)}`)
}

class Thing {
  readonly polluted = true
}

/** Values that are invalid in most places. Each call creates a new one. */
export const HOSTILE: { readonly [name: string]: () => unknown } = {
  undefined: () => undefined,
  null: () => null,
  NaN: () => Number.NaN,
  infinity: () => Number.NEGATIVE_INFINITY,
  "minus zero": () => -0,
  "a negative number": () => -1,
  "a fraction": () => 0.5,
  "a number beyond the safe integers": () => 2 ** 53,
  "a huge number": () => 1e308,
  "a number as text": () => "1",
  "a lone surrogate": () => "\ud800",
  "__proto__ as text": () => "__proto__",
  true: () => true,
  "a BigInt": () => 1n,
  "a symbol": () => Symbol("s"),
  "a function": () => () => "called",
  "a date": () => new Date(0),
  "a map": () => new Map([["type", "done"]]),
  "an instance of a class": () => new Thing(),
  "a promise": () => Promise.resolve(1),
  "a regular expression": () => /x/,
  "a boxed text": () => new String("text"),
  bytes: () => new Uint8Array([1, 2]),
  "an empty object": () => ({}),
  "an empty list": () => [],
  "a list with holes": () => Object.assign([], { length: 3 }),
  "a list with undefined": () => [undefined],
  "an object with undefined": () => ({ a: undefined }),
  "an object that contains itself": () => {
    const object: Record<string, unknown> = { type: "text" }
    object["self"] = object
    return object
  },
  "a list that contains itself": () => {
    const list: unknown[] = []
    list.push(list, list)
    return list
  },
  "10,000 lists in one another": () => nested(10_000),
  "10,000 objects in one another": () => nestedObject(10_000),
  "129 lists in one another": () => nested(129),
  "an object with __proto__": () => JSON.parse('{"__proto__":{"polluted":true},"constructor":{"prototype":{"polluted":true}}}'),
  "an object without a prototype": () => Object.assign(Object.create(null) as object, { type: "text" }),
  "an object with a getter that throws": () => ({
    get type(): never {
      throw new Error("no")
    },
  }),
  "an object with toJSON": () => ({ toJSON: () => ({ polluted: true }) }),
  "a list with toJSON": () => Object.assign([], { toJSON: () => 1n }),
  "a proxy of nothing much": () => new Proxy({}, {}),
  "a proxy that throws when it is read": () =>
    new Proxy(
      {},
      {
        get: () => {
          throw new RangeError("no")
        },
      },
    ),
  "a proxy that throws when its keys are listed": () =>
    new Proxy(
      {},
      {
        ownKeys: () => {
          throw new TypeError("no")
        },
      },
    ),
  "a proxy without end": () => {
    const endless: object = new Proxy(
      {},
      { get: () => endless, getPrototypeOf: () => Object.prototype, ownKeys: () => ["a"], preventExtensions: () => false },
    )
    return endless
  },
  "a revoked proxy": () => {
    const { proxy, revoke } = Proxy.revocable({}, {})
    revoke()
    return proxy
  },
  "a revoked proxy of a list": () => {
    const { proxy, revoke } = Proxy.revocable([], {})
    revoke()
    return proxy
  },
}

const attachment = { id: "att", mediaType: "image/png", byteLength: 3, width: 1, height: 1, label: "l" }
const failure = {
  class: "internal",
  code: "c",
  message: "m",
  source: "tool",
  retry: { type: "safe", afterMs: 1 },
  raw: { $attachment: attachment },
} as const
export const origin = { type: "process", processId: "p", eventType: "t", sequence: 1, wakeId: "w", causedBy: { a: 1 } } as const
const part = { id: "p", type: "text", text: "t", responseMeta: { id: "i" }, prune: { type: "deleted", breadcrumb: "b", archiveHash: "h" } } as const

/** Whether every value is tried at every place: not in the fast lane. */
export const EVERY_VALUE = process.env["TEST_LANE"] !== "fast"

/**
 * The values to try at one place. The full lane tries all of them; the fast lane tries one in five, and different ones at the
 * next place.
 */
export function hostileAt(placeIndex: number): readonly (readonly [name: string, make: () => unknown])[] {
  const all = Object.entries(HOSTILE)
  return EVERY_VALUE ? all : all.filter((_, index) => (index + placeIndex) % 5 === 0)
}

/** Responses that together have every possible key. */
export const FULL: { readonly [name: string]: Response } = {
  synced: {
    type: "execution_surface_synced",
    id: 1,
    at: 1,
    result: { ok: true, update: { systemPrompt: "p", tools: [{ name: "n", description: "d", inputSchema: {}, outputSchema: {} }] } },
  },
  "not synced": { type: "execution_surface_synced", id: 1, result: { ok: false, error: "e" } },
  "a text": {
    ...answer(
      1,
      [
        { type: "text", text: "t", responseMeta: { id: "i", status: "s", phase: "p" } },
        { type: "reasoning", text: "r", replay: { itemId: "i", encryptedContent: "e", signature: "s", redacted: true, summary: ["x"] } },
      ],
      { terminalDiagnostic: "d", providerUsage: { a: 1 }, requestBody: "b", httpSummary: "h" },
    ),
    at: 5,
    textStreamed: true,
  },
  "tool calls": answer(1, [{ type: "tool_call", callId: "c", toolName: "t", inputJson: '{"a":1}', replay: { itemId: "i", opaque: "o" } }]),
  "a cut answer": says(1, "t", { terminalReason: "output_limit" }),
  "a failed call": {
    type: "llm_complete",
    id: 1,
    result: { ok: false, error: { message: "m", retryable: true, code: "c", raw: "r", terminalReason: "unknown", requestBody: "b" } },
  },
  results: {
    ...results(
      2,
      completed("a", [{ $attachment: attachment }, { $object: { $attachment: 1 } }], {
        modelReturn: {
          parts: [
            { type: "text", text: "t" },
            { type: "attachment", attachment },
          ],
        },
        replay: { itemId: "i" },
        output: {
          status: "success",
          value: { $attachment: attachment },
          control: { type: "switch_agent_frame", frameId: "f", initialNodes: [1], task: "t" },
        },
      }),
      completed("b", null, { output: { status: "failure", failure, control: { type: "fail", failure } } }),
    ),
    at: 3,
  } as Response,
  "cancelled results": results(
    2,
    completed("b", null, { output: { status: "cancelled", message: "m", source: "policy", raw: [{ $attachment: attachment }] } }),
    completed("a", { $attachment: attachment }),
  ),
  "a result that ends the turn": results(
    2,
    completed("a"),
    completed("b", 1, { output: { status: "success", value: 1, control: { type: "finish", value: { v: 1 } } } }),
  ),
  decisions: {
    type: "tool_decisions",
    id: 1,
    at: 3,
    decisions: [
      { requestId: "1:a", digest: "digest of a", decision: "edit", args: { amount: 1 }, by: "anna", note: "n" },
      { requestId: "1:b", digest: "digest of b", decision: "reject", message: "m", scope: "thread", by: "bo" },
    ],
  },
  "an approval and an expiry": {
    type: "tool_decisions",
    id: 1,
    decisions: [
      { requestId: "1:b", digest: "digest of b", decision: "approve", scope: "turn" },
      { requestId: "1:a", digest: "digest of a", decision: "expired" },
    ],
  },
  "a cancelled request": { type: "tool_decisions", id: 1, decisions: [{ requestId: "1:b", digest: "digest of b", decision: "cancelled" }] },
  "a call that continues outside": { type: "tool_pending", id: 2, at: 3, callId: "b", token: "job-1", note: "n" },
  executed: {
    type: "exec_result",
    id: 1,
    result: {
      ok: true,
      value: {
        observations: ["o"],
        toolCalls: [1],
        images: [1],
        printedImages: [attachment],
        error: "e",
        durationMs: 1,
        terminalFinish: 1,
        observationTruncation: [1],
      },
    },
  },
  "not executed": { type: "exec_result", id: 1, result: { ok: false, error: "e" } },
  delivered: delivers(1, {
    userMessages: [{ ...userMessage("u", "u2"), origin }],
    messages: [{ role: "user", content: "c", origin, parts: [part, { id: "q", type: "image", attachment }] }],
    transientMessages: [{ role: "system", content: "c", parts: [{ id: "r", type: "tool_call", callId: "c", toolName: "t", inputJson: "{}" }] }],
    turnCauses: [{ id: "e1", eventType: "t", origin, text: "t" }],
    events: [{ mine: [1] }],
  }),
}

/** Returns a JSON pointer to every place in a JSON value. */
export function places(value: unknown, pointer = ""): readonly string[] {
  if (typeof value !== "object" || value === null) return [pointer]
  return [pointer, ...Object.entries(value).flatMap(([key, inner]) => places(inner, `${pointer}/${key}`))]
}

export function withValueAt(root: object, pointer: string, value: unknown): unknown {
  if (pointer === "") return value
  const copy = structuredClone(root)
  set(pointer, value)(copy)
  return copy
}
