/** Ordinary actions of a driver are checked by a quick check of their own. It must refuse what the schemas refuse. */
import { expect, test } from "vitest"
import type { DriverAction } from "../../src/schemas/action.ts"
import { TurnMachine } from "../../src/validated-turn-machine.ts"
import { driverError } from "./held-support.ts"
import { configOf, driverOf, pollAll, REQUEST } from "./support.ts"

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
  { type: "start_llm", request: REQUEST },
  { type: "start_tools", calls: [{ ...CALL, args: {} }] },
  { type: "start_checkpoint", checkpoint: "after_work", onEmpty: { type: "prepare_iteration" } },
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
      // Any text is a text; a word of a list is none of these.
      if (typeof wrong === "string" && !WORDS.has(key)) continue
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

function codeOf(action: unknown): string | undefined {
  const work: readonly DriverAction[] = String((action as { type?: unknown } | null)?.type).startsWith("start_")
    ? []
    : [{ type: "start_llm", request: REQUEST }]
  const machine = new TurnMachine(configOf({ driver: driverOf({ prepareIteration: () => [action as DriverAction, ...work] }) }), { messages: [] })
  pollAll(machine)
  return machine.done ? driverError(machine) : undefined
}

test.each(ORDINARY.map((action) => [JSON.stringify(action), action] as const))(
  "%s is accepted, and refused with any member of a wrong type",
  (_text, action) => {
    expect(codeOf(action)).toBeUndefined()
    const all = [...broken(action)]
    const accepted = all.filter((wrong) => !["invalid_action", "unknown_action", "driver_threw"].includes(codeOf(wrong) ?? ""))
    expect(accepted).toEqual([])
    expect(all.length).toBeGreaterThan(5)
  },
)
