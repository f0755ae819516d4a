import { describe, expect, test } from "vitest"
import { checkLoosely, PartialAnswer } from "../../../src/hosts/run/partial-answer.ts"
import { NO_USAGE } from "../../../src/machine/limits.ts"
import type { TurnEvent } from "../../../src/schemas/event.ts"
import { calls, says, usage } from "./support.ts"

const text = (content: string): TurnEvent => ({ type: "text_delta", content })
const reasoning = (content: string): TurnEvent => ({ type: "reasoning_delta", content })

function answerOf(reported: unknown, ...events: readonly TurnEvent[]): unknown {
  const said = new PartialAnswer(checkLoosely)
  for (const event of events) said.add(event)
  return said.response(reported, "cancelled")
}

describe("what a call emitted", () => {
  test.each<readonly [string, readonly TurnEvent[], string, readonly (readonly ["text" | "reasoning", string])[]]>([
    ["text in pieces is one part", [text("Hel"), text("lo.")], "Hello.", [["text", "Hello."]]],
    ["reasoning is not text", [reasoning("H"), reasoning("m.")], "", [["reasoning", "Hm."]]],
    [
      "each turn to the other kind begins a part",
      [reasoning("Hm."), text("Yes"), reasoning("Or?"), text(", no.")],
      "Yes, no.",
      [
        ["reasoning", "Hm."],
        ["text", "Yes"],
        ["reasoning", "Or?"],
        ["text", ", no."],
      ],
    ],
    ["empty pieces leave no part", [text(""), reasoning(""), text("Yes"), text("")], "Yes", [["text", "Yes"]]],
    ["other events say nothing", [text("Y"), { type: "message", text: "no", kind: "note" }, text("es")], "Yes", [["text", "Yes"]]],
    ["blanks are text", [text(" "), text("\n")], " \n", [["text", " \n"]]],
  ])("%s", (_rule, events, said, parts) => {
    expect(answerOf(undefined, ...events)).toEqual({
      text: said,
      parts: parts.map(([type, piece]) => ({ type, text: piece })),
      usage: NO_USAGE,
      terminalReason: "cancelled",
    })
  })

  test("nothing is no partial answer", () => {
    expect(answerOf(undefined)).toBeUndefined()
    expect(answerOf(undefined, text(""))).toBeUndefined()
  })
})

describe("what its executor reports", () => {
  test.each([
    ["text", says("Yes.")],
    ["reasoning alone", { ...says(""), parts: [{ type: "reasoning", text: "Hm." }] }],
    ["an opaque part alone", { ...says(""), parts: [{ type: "opaque", provider: "p", kind: "k", data: 1 }] }],
    ["text without parts", { ...says("Yes."), parts: [] }],
  ])("is used instead of what was emitted if it has %s", (_what, reported) => {
    expect(answerOf(reported, text("No."))).toEqual({ ...reported, terminalReason: "cancelled" })
  })

  test.each([
    ["nothing", says("")],
    ["blanks", says(" \n")],
    ["only a call, which may be half of one", calls(["c1", "look"])],
  ])("gives its usage to what was emitted if it says %s", (_what, reported) => {
    const both = { ...reported, retriedUsage: usage }
    expect(answerOf(both, text("No."))).toEqual({
      text: "No.",
      parts: [{ type: "text", text: "No." }],
      usage,
      retriedUsage: usage,
      terminalReason: "cancelled",
    })
    expect(answerOf(both)).toEqual({ ...both, terminalReason: "cancelled" })
  })

  test.each([
    ["null", null],
    ["a text", "Yes."],
    ["a list", [1]],
    ["an object without an answer's members", { usage: 1 }],
    ["a usage that is null", { ...says("Yes."), usage: null }],
    ["a value without a JSON form", { ...says("Yes."), parts: [() => 1] }],
  ])("is left out, except for a usage that is valid, if it is %s", (_what, reported) => {
    const emitted = { text: "No.", parts: [{ type: "text", text: "No." }], usage: NO_USAGE, terminalReason: "cancelled" }
    const usable = typeof reported === "object" && reported !== null && "usage" in reported && typeof reported.usage === "object" && reported.usage
    expect(answerOf(reported, text("No."))).toEqual({ ...emitted, ...(usable ? { usage: reported.usage } : {}) })
    expect(answerOf(reported)).toEqual(usable ? { ...emitted, text: "", parts: [], usage: reported.usage } : undefined)
  })

  test("has the reason why the call ended, whatever it says itself", () => {
    const said = new PartialAnswer(checkLoosely)
    expect(said.response(says("Yes."), "provider_error")).toMatchObject({ terminalReason: "provider_error" })
  })
})

test("a whole answer has what an answer needs, and the reason why it ended", () => {
  const said = new PartialAnswer(checkLoosely)
  expect(said.accepts(says("Yes."))).toBe(true)
  for (const value of [undefined, null, "Yes.", {}, { ...says("Yes."), terminalReason: undefined }, { ...says("Yes."), parts: 1 }])
    expect(said.accepts(value)).toBe(false)
})
