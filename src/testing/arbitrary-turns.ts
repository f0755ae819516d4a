import * as fc from "fast-check"
import type { DriverAction, OnEmpty } from "../wire/action.ts"
import type { TurnConfigData, TurnStart } from "../wire/config.ts"
import type { Answers, ScriptedDecision, ScriptedToolAnswer } from "./answers.ts"
import * as wire from "./arbitrary-values.ts"
import { few, object } from "./arbitrary-values.ts"
import type { OptionalCallback, ScriptedAnswer } from "./scripted-driver.ts"
import type { HostMove } from "./scripted-host.ts"

// fast-check arbitraries of whole turns: configs, starts, driver scripts and host moves.

type Arbitrary<Value> = fc.Arbitrary<Value>

const yes = fc.constant(true as const)

export const configData: Arbitrary<TurnConfigData> = object(
  {
    model: wire.text,
    sessionId: wire.text,
    systemPrompt: wire.text,
    tools: few(wire.toolSpec),
    generation: wire.generation,
    syncExecutionSurface: fc.boolean(),
    emitLlmTrace: fc.boolean(),
  },
  {
    modelVariant: wire.text,
    runSessionId: wire.text,
    maxContextTokens: wire.count,
    maxResultTokens: fc.integer({ min: 1, max: 500 }),
    maxIterations: fc.nat({ max: 4 }),
    parallelToolCalls: fc.constant(false as const),
    cache: fc.constantFrom("auto", "off"),
  },
)

export const start: Arbitrary<TurnStart> = object(
  { messages: few(wire.message, 4) },
  { events: few(wire.historyRecord), turnCauses: few(wire.turnCause, 1), iterationOffset: fc.nat({ max: 5 }), surfaceChanged: yes },
)

const append: Arbitrary<DriverAction> = object({ type: fc.constant("append_events" as const), events: few(wire.historyRecord) })

/** Actions that neither start work nor finish the turn. */
export const quietAction: Arbitrary<DriverAction> = fc.oneof(
  { weight: 4, arbitrary: object({ type: fc.constant("emit" as const), event: wire.turnEvent }) },
  { weight: 4, arbitrary: append },
  { weight: 2, arbitrary: fc.constant({ type: "advance_iteration" } as const) },
  { weight: 1, arbitrary: object({ type: fc.constant("schedule_turn_limit_final" as const), message: wire.message }) },
)

const finish: Arbitrary<Extract<DriverAction, { type: "finish" }>> = object({ type: fc.constant("finish" as const), outcome: wire.outcome })

const onEmpty: Arbitrary<OnEmpty> = fc.oneof(fc.constant({ type: "prepare_iteration" } as const), finish)

/** Actions that start one piece of work. */
export const startAction: Arbitrary<DriverAction> = fc.oneof(
  { weight: 4, arbitrary: object({ type: fc.constant("start_llm" as const), request: wire.llmRequest }, { driverState: wire.json }) },
  { weight: 3, arbitrary: object({ type: fc.constant("start_tools" as const), calls: few(wire.pendingToolCall, 4) }) },
  { weight: 1, arbitrary: settledBatch() },
  { weight: 3, arbitrary: heldBatch() },
  {
    weight: 2,
    arbitrary: object({ type: fc.constant("start_exec" as const), code: wire.text, driverState: wire.json }, { language: wire.text }),
  },
  { weight: 4, arbitrary: object({ type: fc.constant("start_checkpoint" as const), checkpoint: wire.checkpointKind, onEmpty }) },
)

/** A valid list: one piece of work among quiet actions, or quiet actions followed by a finish. */
const leadingList: Arbitrary<readonly DriverAction[]> = fc.oneof(
  {
    weight: 12,
    arbitrary: fc.tuple(few(quietAction), startAction, few(quietAction, 1)).map(([before, work, after]) => [...before, work, ...after]),
  },
  { weight: 1, arbitrary: fc.tuple(few(quietAction), finish).map(([before, end]) => [...before, end]) },
)

/** A list that a driver must not return: it starts no work and does not finish, starts two pieces of work, or contains an invalid action. */
const misleadingList: Arbitrary<readonly DriverAction[]> = fc.oneof(
  few(quietAction),
  fc.tuple(startAction, few(quietAction, 1), fc.oneof(startAction, finish)).map(([first, between, second]) => [first, ...between, second]),
  fc.tuple(finish, fc.oneof(quietAction, startAction, finish)),
  fc.constant([{ type: "start_tools", calls: [], held: [{ callId: "none", digest: "", ask: { allow: [], scopes: [] } }] }]),
  fc.constantFrom<DriverAction>({ type: "release_calls", requestIds: [] }, { type: "settle_calls", results: [] }).map((action) => [action]),
  few(quietAction, 1).map((before) => [...before, { type: "nonsense" } as never]),
)

export const scriptedAnswer: Arbitrary<ScriptedAnswer> = fc.oneof(
  { weight: 40, arbitrary: leadingList.map((actions) => ({ actions })) },
  { weight: 1, arbitrary: misleadingList.map((actions) => ({ actions })) },
  { weight: 1, arbitrary: fc.constantFrom<ScriptedAnswer>({}, { throws: "The script says so." }) },
)

/** The answers of a scripted driver. A call after the last answer ends the turn. */
export const script: Arbitrary<readonly ScriptedAnswer[]> = oftenLong(scriptedAnswer, 5, 12)

export const callbacks: Arbitrary<readonly OptionalCallback[]> = fc.oneof(
  {
    weight: 9,
    arbitrary: fc
      .subarray<OptionalCallback>(["onLlmCutOff", "onLlmFailed", "onDelivery"])
      .map((others) => ["onExecResult" as const, "onToolDecisions" as const, ...others]),
  },
  { weight: 1, arbitrary: fc.constant([]) },
)

const toolAnswer: Arbitrary<ScriptedToolAnswer> = object({ output: wire.toolOutput }, { modelReturn: wire.modelReturn })

const scriptedDecision: Arbitrary<ScriptedDecision> = fc
  .tuple(object({}, { by: wire.text, note: wire.text }), wire.verdict)
  .map(([facts, decided]) => ({ ...facts, ...decided }))

/** A host's answers to each type of effect. */
export const answers: Arbitrary<Answers> = object(
  {
    surface: wire.surfaceResult,
    llm: wire.llmResult,
    tools: fc.array(toolAnswer, { minLength: 1, maxLength: 3 }),
    decisions: fc.array(scriptedDecision, { minLength: 1, maxLength: 3 }),
    exec: wire.execResult,
    delivery: wire.delivery,
  },
  { textStreamed: yes },
)

const pollAll: Arbitrary<HostMove> = fc.constant({ type: "poll" } as const)
const pollSome: Arbitrary<HostMove> = object({ type: fc.constant("poll" as const), most: fc.integer({ min: 1, max: 3 }) })
const answerAll: Arbitrary<HostMove> = object({ type: fc.constant("answer" as const), answers }, { at: wire.timestamp })
const answerSome: Arbitrary<HostMove> = object(
  { type: fc.constant("answer" as const), answers, pick: fc.array(fc.nat({ max: 3 }), { maxLength: 2 }) },
  { at: wire.timestamp },
)
const decide: Arbitrary<HostMove> = object(
  { type: fc.constant("decide" as const), decisions: fc.array(scriptedDecision, { minLength: 1, maxLength: 3 }) },
  { pick: fc.array(fc.nat({ max: 3 }), { maxLength: 2 }), at: wire.timestamp },
)
const pend: Arbitrary<HostMove> = object(
  { type: fc.constant("pend" as const), place: fc.nat({ max: 3 }), token: wire.text },
  { note: wire.text, at: wire.timestamp },
)
const repeat: Arbitrary<HostMove> = object({ type: fc.constant("repeat" as const), back: fc.nat({ max: 2 }) })
const offend: Arbitrary<HostMove> = object({ type: fc.constant("offend" as const), which: fc.nat({ max: 40 }) })
const apply: Arbitrary<HostMove> = object({ type: fc.constant("apply" as const), actions: few(quietAction) })

const redirect: Arbitrary<HostMove> = object(
  { type: fc.constant("redirect" as const), messages: wire.userMessages },
  { at: wire.timestamp, partial: wire.llmResponse, answers, pick: fc.array(fc.nat({ max: 3 }), { maxLength: 2 }) },
)

/** The moves of a working host, and common disturbances. */
const round: Arbitrary<readonly HostMove[]> = fc.oneof(
  { weight: 10, arbitrary: fc.tuple(pollAll, answerAll) },
  { weight: 6, arbitrary: fc.tuple(pollAll, answerSome, pollAll, answerAll) },
  { weight: 2, arbitrary: fc.tuple(pollAll, answerSome, offend, answerAll) },
  { weight: 2, arbitrary: fc.tuple(pollSome, answerAll) },
  { weight: 4, arbitrary: fc.tuple(pollAll, decide, pollAll, answerSome, decide, answerAll) },
  { weight: 1, arbitrary: fc.tuple(decide, pollSome, pend, answerAll) },
  { weight: 1, arbitrary: fc.tuple(pend) },
  { weight: 1, arbitrary: fc.tuple(answerAll) },
  { weight: 1, arbitrary: fc.tuple(answerSome) },
  { weight: 1, arbitrary: fc.tuple(pollSome) },
  { weight: 1, arbitrary: fc.tuple(repeat) },
  { weight: 2, arbitrary: fc.tuple(offend) },
  { weight: 1, arbitrary: fc.tuple(apply) },
  { weight: 1, arbitrary: fc.tuple(redirect) },
  { weight: 1, arbitrary: fc.tuple(pollAll, redirect, pollSome, redirect) },
  { weight: 1, arbitrary: fc.tuple(pollAll, answerSome, pollAll, redirect) },
  { weight: 1, arbitrary: fc.tuple(decide, pollSome, redirect, pollAll, answerAll) },
)

const endMove: Arbitrary<HostMove> = fc.oneof(
  { weight: 4, arbitrary: object({ type: fc.constant("cancel" as const) }, { reason: wire.text, partial: wire.llmResponse }) },
  { weight: 1, arbitrary: object({ type: fc.constant("fail" as const), event: wire.turnEvent }, { partial: wire.llmResponse }) },
  { weight: 1, arbitrary: object({ type: fc.constant("finish" as const), outcome: wire.outcome }, { partial: wire.llmResponse }) },
  {
    weight: 1,
    arbitrary: fc.tuple(few(quietAction, 1), finish).map(([before, end]): HostMove => ({ type: "apply", actions: [...before, end] })),
  },
)

/** A host's moves on a turn: work, then a finish by the host if the turn has not ended, then a few more moves. */
export const moves: Arbitrary<readonly HostMove[]> = fc
  .tuple(oftenLong(round, 4, 10), few(fc.oneof(pollAll, pollSome), 1), endMove, few(round, 1), pollAll)
  .map(([work, before, end, after, last]) => [...work.flat(), ...before, end, ...after.flat(), last])

/** A batch of which the driver answers some calls, or all. */
function settledBatch(): Arbitrary<Extract<DriverAction, { type: "start_tools" }>> {
  return fc.array(fc.tuple(wire.pendingToolCall, wire.completedToolCall, fc.boolean()), { minLength: 1, maxLength: 4 }).map((drawn) => ({
    type: "start_tools",
    calls: drawn.map(([call]) => call),
    settled: drawn.flatMap(([{ callId, toolName, args }, result, isSettled]) => (isSettled ? [{ ...result, callId, toolName, args }] : [])),
  }))
}

/** A batch of which some calls are held, and some are answered by the driver. Each call has an id of its own. */
function heldBatch(): Arbitrary<Extract<DriverAction, { type: "start_tools" }>> {
  const role = fc.constantFrom("free", "settled", "held", "held", "both")
  return fc.array(fc.tuple(wire.pendingToolCall, wire.completedToolCall, role, wire.ask, wire.text), { minLength: 1, maxLength: 4 }).map((drawn) => {
    const batch = drawn.map(([call, result, is, ask, digest], index) => {
      const { callId, toolName, args } = { ...call, callId: `${call.callId}#${index}` }
      return { call: { ...call, callId }, result: { ...result, callId, toolName, args }, is, hold: { callId, digest, ask } }
    })
    return {
      type: "start_tools",
      calls: batch.map(({ call }) => call),
      settled: batch.flatMap(({ result, is }) => (is === "settled" || is === "both" ? [result] : [])),
      held: batch.flatMap(({ hold, is }) => (is === "held" || is === "both" ? [hold] : [])),
    }
  })
}

/** A list that is longer on average than fast-check's. It shrinks to a short one. */
function oftenLong<Item>(item: Arbitrary<Item>, long: number, most: number): Arbitrary<readonly Item[]> {
  return fc.oneof(
    { withCrossShrink: true },
    { weight: 1, arbitrary: fc.array(item, { maxLength: most, size: "max" }) },
    { weight: 5, arbitrary: fc.array(item, { minLength: long, maxLength: most, size: "max" }) },
  )
}
