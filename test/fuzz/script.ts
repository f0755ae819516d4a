import * as fc from "fast-check"
import type { ToolEffects } from "../../src/hosts/host.ts"
import type { TerminalReason } from "../../src/schemas/llm.ts"

/** A way to run a turn so that it survives its process. */
export const SHAPES = ["journaled", "thread", "effects", "saved"] as const
export type Shape = (typeof SHAPES)[number]

/** One call of an answer, as data. `tool` is an index into the script's tools, and one of no tool is an unknown name. */
export interface ScriptedCall {
  readonly tool: number
  readonly args: "whole" | "broken"
}

/** One answer of the model. */
export type ScriptedAnswer =
  | { readonly type: "text"; readonly reason: TerminalReason }
  | { readonly type: "calls"; readonly calls: readonly ScriptedCall[]; readonly said: boolean; readonly reason: TerminalReason }
  | { readonly type: "code"; readonly count: number }
  | { readonly type: "fails"; readonly retryable: boolean; readonly partial: boolean }
  | { readonly type: "goal_done" }

/** A tool, as data. */
export interface ScriptedTool {
  readonly effects: ToolEffects
  /** How a `once` call is looked up. Absent: it cannot be looked up. */
  readonly recover?: "finds" | "knows_nothing" | "throws" | undefined
  readonly ends: "value" | "fails" | "throws" | "ends_turn" | "invalid"
  /** The number of microtask ticks before the call takes effect, and before it answers. */
  readonly before: number
  readonly after: number
}

/** The places at which something may go wrong: callbacks of the host, and calls of the store. */
export const PLACES = [
  "llm begins",
  "llm ends",
  "tool begins",
  "tool ends",
  "recover",
  "effects",
  "code begins",
  "code ends",
  "code recover",
  "checkpoint",
  "sync",
  "progress",
  "save",
  "event",
  "log",
  "now",
  "attend",
  "store open",
  "store read",
  "store append",
  "store appended",
  "store replace",
  "store replaced",
  "store close",
] as const
export type Place = (typeof PLACES)[number]

/**
 * What goes wrong. `redirects`: the user redirects the turn that runs. `delay`: it takes a while. `hangs`: until its signal is aborted. `stuck`: for ever. `kill`: the process is gone.
 * `taken over`: another process takes the journal, while this one lives. `torn`: half of an append is stored, and it fails.
 */
export const FAULTS = [
  "delay",
  "throws",
  "rejects",
  "fatal",
  "hangs",
  "stuck",
  "aborts",
  "redirects",
  "kill",
  "taken over",
  "garbage",
  "torn",
] as const
export type FaultKind = (typeof FAULTS)[number]

/** Something that goes wrong the `nth` time that a place is reached, from 0. */
export interface Fault {
  readonly at: Place
  readonly nth: number
  readonly what: FaultKind
  /** What is left open: how long a delay is, how much of a text is stored. */
  readonly much: number
}

/** One case: a turn, the way it is run, and what goes wrong. */
export interface Script {
  readonly shape: Shape
  readonly store: "memory" | "file" | "sqlite"
  readonly driver: "chat" | "code" | "goal"
  /** Answers of the model by the number of its call. The last one is followed by a text. */
  readonly answers: readonly ScriptedAnswer[]
  readonly tools: readonly ScriptedTool[]
  readonly code: Pick<ScriptedTool, "effects" | "recover" | "ends">
  readonly streams: boolean
  readonly syncs: boolean
  /** The checkpoints, by their number, at which a user's message is delivered. */
  readonly deliverAt: readonly number[]
  readonly maxIterations: number
  /** A callback of the driver, or the projector, that throws in an iteration. */
  readonly throwing: { readonly callback: "onLlmComplete" | "onToolResults" | "onDelivery" | "project"; readonly iteration: number } | undefined
  readonly toolConcurrency: number
  readonly snapshotEveryRecords: number
  readonly compactAboveChars: number
  readonly keepEffects: boolean
  readonly cancelGraceMs: number
  readonly asyncNow: boolean
  /** For threads: messages of the user, and the budget of a goal. */
  readonly says: number
  readonly goalTokens: number | undefined
  readonly faults: readonly Fault[]
}

const few = fc.nat({ max: 5 })

/** No script has so many tools. */
const UNKNOWN_TOOL = 9

const call: fc.Arbitrary<ScriptedCall> = fc.record({
  tool: fc.oneof({ weight: 20, arbitrary: fc.nat({ max: 3 }) }, { weight: 1, arbitrary: fc.constant(UNKNOWN_TOOL) }),
  args: fc.oneof({ weight: 9, arbitrary: fc.constant("whole" as const) }, { weight: 1, arbitrary: fc.constant("broken" as const) }),
})

const answer: fc.Arbitrary<ScriptedAnswer> = fc.oneof(
  {
    weight: 16,
    arbitrary: fc.record({
      type: fc.constant("calls" as const),
      calls: fc.array(call, { minLength: 1, maxLength: 5 }),
      said: fc.boolean(),
      reason: fc.oneof(
        { weight: 9, arbitrary: fc.constant<TerminalReason>("tool_use") },
        { weight: 1, arbitrary: fc.constantFrom<TerminalReason>("output_limit", "stop", "unknown") },
      ),
    }),
  },
  { weight: 3, arbitrary: fc.record({ type: fc.constant("code" as const), count: fc.integer({ min: 1, max: 2 }) }) },
  {
    weight: 2,
    arbitrary: fc.record({
      type: fc.constant("text" as const),
      reason: fc.constantFrom<TerminalReason>("stop", "stop", "output_limit", "content_filter", "refusal", "paused", "context_overflow", "unknown"),
    }),
  },
  { weight: 1, arbitrary: fc.record({ type: fc.constant("fails" as const), retryable: fc.boolean(), partial: fc.boolean() }) },
  { weight: 1, arbitrary: fc.constant<ScriptedAnswer>({ type: "goal_done" }) },
)

const tool: fc.Arbitrary<ScriptedTool> = fc.record({
  effects: fc.constantFrom<ToolEffects>("once", "once", "idempotent", "none"),
  recover: fc.constantFrom(undefined, "finds", "finds", "knows_nothing", "throws"),
  ends: fc.oneof(
    { weight: 12, arbitrary: fc.constant<ScriptedTool["ends"]>("value") },
    { weight: 4, arbitrary: fc.constantFrom<ScriptedTool["ends"]>("fails", "throws", "invalid", "ends_turn") },
  ),
  before: few,
  after: few,
})

/** Weighted to where something can be lost. */
const place: fc.Arbitrary<Place> = fc.oneof(
  { weight: 2, arbitrary: fc.constantFrom(...PLACES) },
  { weight: 5, arbitrary: fc.constantFrom<Place>("tool begins", "tool ends", "tool ends", "code begins", "code ends", "recover") },
  { weight: 2, arbitrary: fc.constantFrom<Place>("store append", "store appended", "store replace", "progress", "event") },
)

const fault: fc.Arbitrary<Fault> = fc.record({
  at: place,
  nth: fc.oneof({ weight: 2, arbitrary: few }, { weight: 1, arbitrary: fc.nat({ max: 20 }) }),
  what: fc.oneof(
    { weight: 3, arbitrary: fc.constantFrom(...FAULTS) },
    {
      weight: 4,
      arbitrary: fc.constantFrom<FaultKind>(
        "kill",
        "kill",
        "kill",
        "aborts",
        "aborts",
        "redirects",
        "redirects",
        "hangs",
        "rejects",
        "taken over",
        "torn",
      ),
    },
  ),
  much: fc.nat({ max: 100 }),
})

const CODE_FOR_TOOLS: { readonly [Name in Place]?: Place } = {
  "tool begins": "code begins",
  "tool ends": "code ends",
  effects: "code begins",
  recover: "code recover",
}
const TOOLS_FOR_CODE: { readonly [Name in Place]?: Place } = { "code begins": "tool begins", "code ends": "tool ends", "code recover": "recover" }

/** A place that a case does not have, replaced by a similar one. */
function reachable(at: Place, { driver, shape, syncs }: Pick<Script, "driver" | "shape" | "syncs">): Place {
  if (at === "attend" && shape !== "thread") return "progress"
  if (at === "sync" && !syncs) return "checkpoint"
  if (at.startsWith("store") && shape === "saved") return "save"
  if (at.startsWith("store") && shape === "effects") return at === "store append" ? at : "store appended"
  if (at === "save" && shape === "effects") return "progress"
  return (driver === "code" ? CODE_FOR_TOOLS : TOOLS_FOR_CODE)[at] ?? at
}

/** One in so many cases and one more. */
function rarely<Value>(arbitrary: fc.Arbitrary<Value>, weight: number): fc.Arbitrary<Value | undefined> {
  return fc.oneof({ weight, arbitrary: fc.constant(undefined) }, { weight: 1, arbitrary })
}

/** Random cases. */
export const script: fc.Arbitrary<Script> = fc
  .record<Script>({
    shape: fc.constantFrom<Shape>("journaled", "journaled", "journaled", "thread", "thread", "effects", "effects", "saved"),
    store: fc.constantFrom("memory", "memory", "memory", "sqlite", "sqlite", "file"),
    driver: fc.constantFrom("chat", "chat", "chat", "code", "goal"),
    answers: fc.oneof(
      { weight: 1, arbitrary: fc.array(answer, { maxLength: 1 }) },
      { weight: 6, arbitrary: fc.array(answer, { minLength: 2, maxLength: 5 }) },
    ),
    tools: fc.array(tool, { minLength: 4, maxLength: 4 }),
    code: fc.record({
      effects: fc.constantFrom<ToolEffects>("once", "idempotent", "none"),
      recover: fc.constantFrom(undefined, "finds", "knows_nothing", "throws"),
      ends: fc.constantFrom<ScriptedTool["ends"]>("value", "value", "value", "fails", "throws", "invalid"),
    }),
    streams: fc.boolean(),
    syncs: fc.boolean(),
    deliverAt: fc.subarray([0, 1, 2, 3], { maxLength: 2 }),
    maxIterations: fc.constantFrom(2, 4, 8),
    throwing: rarely(
      fc.record({
        callback: fc.constantFrom("onLlmComplete" as const, "onToolResults" as const, "onDelivery" as const, "project" as const),
        iteration: fc.nat({ max: 3 }),
      }),
      12,
    ),
    toolConcurrency: fc.integer({ min: 1, max: 8 }),
    snapshotEveryRecords: fc.constantFrom(0, 1, 3, 300),
    compactAboveChars: fc.constantFrom(0, 0, 1, 3_000),
    keepEffects: fc.boolean(),
    cancelGraceMs: fc.constantFrom(0, 5, 2_000),
    asyncNow: fc.boolean(),
    says: fc.integer({ min: 1, max: 3 }),
    goalTokens: rarely(fc.integer({ min: 10, max: 80 }), 1),
    faults: fc.oneof(
      { weight: 1, arbitrary: fc.array(fault, { maxLength: 1 }) },
      { weight: 4, arbitrary: fc.array(fault, { minLength: 3, maxLength: 8 }) },
    ),
  })
  // Two of the shapes have a storage of their own, and code is written only under its driver.
  .map((drawn) => ({
    ...drawn,
    ...((drawn.shape === "effects" || drawn.shape === "saved") && { store: "memory" as const }),
    faults: drawn.faults.map((drawnFault) => ({ ...drawnFault, at: reachable(drawnFault.at, drawn) })),
    answers: drawn.answers.map((each) =>
      drawn.driver === "code" && each.type === "calls" ? { type: "code" as const, count: each.calls.length } : each,
    ),
  }))
