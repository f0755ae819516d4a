/** Ordinary actions of a driver are checked by a quick check of their own. It must refuse what the schemas refuse. */
import { expect, test, vi } from "vitest"
import { wireValidation } from "../../src/checks/validation.ts"
import type { Validation } from "../../src/machine/config.ts"
import type { DriverAction } from "../../src/schemas/action.ts"
import { TurnMachine } from "../../src/validated-turn-machine.ts"
import { driverError } from "./held-support.ts"
import { configOf, driverOf, moved, plain, pollAll, REQUEST } from "./support.ts"

const said = (id: string, role: string, ...parts: readonly object[]): object => ({
  type: "append_events",
  events: [{ type: "conversation", message: { id, role, parts } }],
})
const CALL = { callId: "c", toolName: "look" }

/** Actions as most turns have them. What is free JSON, and may be anything, is left out below. */
const ORDINARY: readonly object[] = [
  said("m", "user", { id: "m.p0", type: "text", text: "Hi." }),
  said("m", "assistant", { id: "m.p0", type: "tool_call", ...CALL, inputJson: "{}" }),
  said(
    "m",
    "user",
    { id: "m.p0", type: "tool_result", ...CALL, text: "seen" },
    { id: "m.p1", type: "tool_result", ...CALL, text: "no", isError: true },
  ),
  { type: "emit", event: { type: "text_delta", content: "Hi." } },
  { type: "emit", event: { type: "reasoning_delta", content: "Hm." } },
  { type: "emit", event: { type: "llm_response", iteration: 0, content: "Hi.", durationMs: 0 } },
  { type: "advance_iteration" },
  { type: "start_llm", request: REQUEST },
  { type: "start_tools", calls: [{ ...CALL, args: {} }] },
  { type: "start_checkpoint", checkpoint: "after_work", onEmpty: { type: "prepare_iteration" } },
  { type: "start_checkpoint", checkpoint: "before_completion", onEmpty: { type: "prepare_iteration" } },
]

/** Each copy of a value in which one member has a wrong type, or is left out. */
function* broken(value: unknown): Generator<unknown> {
  if (Array.isArray(value)) {
    for (const [index, item] of value.entries()) for (const wrong of broken(item)) yield value.with(index, wrong)
    return
  }
  if (typeof value !== "object" || value === null) return
  for (const [key, member] of Object.entries(value)) {
    if (key === "args" || key === "request") continue
    for (const wrong of [...broken(member), 7, null, [[]], {}, "no such word"]) {
      // Any text is a text, and 7 is a count; a word of a list is none of these.
      if (typeof wrong === "string" && typeof member === "string" && !WORDS.has(key)) continue
      if (typeof wrong === "number" && typeof member === "number") continue
      if (typeof wrong === typeof member && !Array.isArray(member) && JSON.stringify(wrong) === "{}") continue
      yield { ...value, [key]: wrong }
    }
    const { [key]: _, ...rest } = value as Record<string, unknown>
    if (!OPTIONAL.some(([type, name]) => name === key && "type" in value && value.type === type)) yield rest
  }
}

const WORDS: ReadonlySet<string> = new Set(["type", "role", "checkpoint", "isError", "parts", "events", "calls", "message", "onEmpty", "event"])

/** Members that may be absent. */
const OPTIONAL: readonly (readonly [type: string, key: string])[] = [
  ["tool_result", "isError"],
  ["tool_result", "toolName"],
]

/** A machine whose driver emits something, returns an action, and starts work if the action does not. */
function machineFor(action: unknown, validation: Validation = wireValidation): TurnMachine {
  const first: DriverAction = { type: "emit", event: { type: "text_delta", content: "First." } }
  const work: readonly DriverAction[] = String((action as { type?: unknown } | null)?.type).startsWith("start_")
    ? []
    : [{ type: "start_llm", request: REQUEST }]
  return new TurnMachine(configOf({ driver: driverOf({ prepareIteration: () => [first, action as DriverAction, ...work] }), validation }), {
    messages: [],
  })
}

function ended(action: unknown, validation?: Validation): TurnMachine {
  const machine = machineFor(action, validation)
  pollAll(machine)
  return machine
}

function codeOf(action: unknown, validation?: Validation): string | undefined {
  const machine = ended(action, validation)
  return machine.done ? driverError(machine) : undefined
}

/** What comes of an action when its turn is saved right after it, and is resumed elsewhere. */
function resumedWith(action: unknown): unknown {
  const machine = machineFor(action)
  machine.poll()
  const resumed = moved(machine, configOf({ driver: driverOf() }))
  return { effects: pollAll(resumed), turn: plain(resumed.checkpoint()) }
}

const NAMED = ORDINARY.map((action) => [JSON.stringify(action), action] as const)

test.each(NAMED)("%s is accepted, and refused with any member of a wrong type", (_text, action) => {
  expect(codeOf(action)).toBeUndefined()
  const all = [...broken(action)]
  const accepted = all.filter((wrong) => !["invalid_action", "unknown_action"].includes(codeOf(wrong) ?? ""))
  expect(accepted).toEqual([])
  expect(all.length).toBeGreaterThan(2)
})

class Foreign {}

/** Copies of an object that say the same: what is more in them is left out. */
const HARMLESS: readonly ((value: object) => object)[] = [(value) => ({ ...value, more: 1 }), (value) => Object.assign(Object.create(null), value)]

/** Copies of an object or a list that are not JSON. */
const NOT_JSON: readonly ((value: object) => object)[] = [
  (value) => ({ ...value, more: undefined }),
  (value) => Object.assign(new Foreign(), value),
  (value) => Object.create(value),
  (value) => Object.defineProperty(Array.isArray(value) ? [...value] : { ...value }, "toJSON", { value: () => 1 }),
]

const NOT_A_LIST: readonly ((list: readonly unknown[]) => object)[] = [
  (list) => ({ ...list, length: list.length }),
  (list) => Object.assign([...list], { length: list.length + 1 }),
  (list) => [...list, null],
  (list) => [...list, 7],
]

/** Each copy of a value in which one object or list is changed. Free JSON and requests stay as they are. */
function* changed(value: unknown, change: (inner: object) => readonly unknown[]): Generator<unknown> {
  if (typeof value !== "object" || value === null) return
  yield* change(value)
  for (const [key, member] of Object.entries(value)) {
    if (key === "args" || key === "request") continue
    for (const inner of changed(member, change)) yield Array.isArray(value) ? value.with(Number(key), inner) : { ...value, [key]: inner }
  }
}

test.each(NAMED)("%s: what is more in it is left out, so that it does not enter the turn", (_text, action) => {
  const expected = resumedWith(action)
  const all = [...changed(action, (inner) => (Array.isArray(inner) ? [] : HARMLESS.map((change) => change(inner))))]
  for (const same of all) expect(resumedWith(same)).toStrictEqual(expected)
})

test.each(NAMED)("%s: what is in it and is not JSON is refused", (_text, action) => {
  const change = (inner: object): readonly unknown[] =>
    inner === action
      ? []
      : Array.isArray(inner)
        ? [...NOT_A_LIST, ...NOT_JSON.slice(3)].map((spoil) => spoil(inner))
        : NOT_JSON.map((spoil) => spoil(inner))
  for (const wrong of changed(action, change)) expect([wrong, codeOf(wrong)]).toEqual([wrong, "invalid_action"])
})

test.each([-1, 1.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53])("the iteration and the duration of an answer are counts: %s is none", (count) => {
  const answer = { type: "llm_response", iteration: 1, content: "Hi.", durationMs: 2 }
  for (const key of ["iteration", "durationMs"]) expect(codeOf({ type: "emit", event: { ...answer, [key]: count } })).toBe("invalid_action")
})

test.each([7, null, "no request", undefined])("a request that is %s is refused", (request) => {
  const { outcome } = ended({ type: "start_llm", request })
  const userMessage = 'The driver "test" returned an action that is not valid at "/1/request": it is not a request.'
  expect(outcome).toMatchObject({ stop: { error: { code: "invalid_action", userMessage } } })
})

test("the place of what the schemas refuse is that in the driver's list", () => {
  const { outcome } = ended({ type: "emit", event: { type: "message", text: 7, kind: "note" } })
  expect(outcome).toMatchObject({ stop: { error: { code: "invalid_action", userMessage: expect.stringContaining('at "/1/event/text"') } } })
})

test("an error of a host's own validation is shown as it is", () => {
  const actions = (): never => {
    throw new RangeError("no schema today")
  }
  const { outcome } = ended({ type: "emit", event: { type: "message", text: "Hi.", kind: "note" } }, { ...wireValidation, actions })
  expect(outcome).toMatchObject({ stop: { error: { code: "driver_threw", userMessage: expect.stringContaining("RangeError: no schema today") } } })
})

test("none of them is checked by the schemas, which cost as much as all else in a step", () => {
  const schemas = vi.fn(wireValidation.actions)
  for (const action of ORDINARY) expect(codeOf(action, { ...wireValidation, actions: schemas })).toBeUndefined()
  expect(schemas).not.toHaveBeenCalled()
  expect(codeOf({ type: "emit", event: { type: "message", text: "Hi.", kind: "note" } }, { ...wireValidation, actions: schemas })).toBeUndefined()
  expect(schemas).toHaveBeenCalledOnce()
})
