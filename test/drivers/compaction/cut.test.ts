import { describe, expect, test } from "vitest"
import { isSafePlace, keptUserMessages, olderTailStarts, tailStartOf } from "../../../src/drivers/compaction/cut.ts"
import { History } from "../../../src/machine/history.ts"
import type { Message, Part } from "../../../src/schemas/message.ts"
import { userMessage } from "../../machine/support.ts"

/** A message with parts of these types. A part of text takes 6 tokens, and each message 4 more. */
function message(id: string, role: Message["role"], ...parts: readonly object[]): Message {
  return { id, role, parts: parts.map((part, index) => ({ id: `${id}.p${index}`, type: "text", text: "x".repeat(24), ...part }) as Part) }
}

const user = (id: string): Message => message(id, "user", {})
const said = (id: string): Message => message(id, "assistant", {})
const calls = (id: string, ...callIds: readonly string[]): Message =>
  message(id, "assistant", ...callIds.map((callId) => ({ type: "tool_call", callId, toolName: "look", inputJson: "{}" })))
const result = (id: string, ...callIds: readonly string[]): Message =>
  message(id, "user", ...callIds.map((callId) => ({ type: "tool_result", callId, text: "ok" })))

/** The places before which the messages can be cut. */
function safePlaces(messages: readonly Message[], from = 0): readonly number[] {
  return Array.from({ length: messages.length + 1 }, (_, place) => place).filter(
    (place) => place >= from && isSafePlace(History.of(messages), from, place),
  )
}

describe("a cut", () => {
  test.each<readonly [string, readonly Message[], readonly number[]]>([
    ["between answers and input: anywhere", [user("u"), said("a"), user("v"), said("b")], [0, 1, 2, 3, 4]],
    ["not between a call and its result", [user("u"), calls("a", "c"), result("r", "c"), said("b")], [0, 1, 3, 4]],
    ["not among the results of a batch", [calls("a", "c", "d"), result("r", "c"), result("s", "d"), said("b")], [0, 3, 4]],
    ["not among the results of calls with one id", [calls("a", "c", "c"), result("r", "c"), result("s", "c"), said("b")], [0, 3, 4]],
    ["after the first result, if the second call has none", [calls("a", "c", "d"), result("r", "c"), said("b")], [0, 2, 3]],
    ["a second result has no call", [calls("a", "c"), result("r", "c"), result("s", "c")], [0, 2, 3]],
    ["a call without a result does not pair with a later one", [calls("a", "c"), calls("b", "c"), result("r", "c")], [0, 1, 3]],
    ["nor does a result that comes before the call", [result("r", "c"), calls("a", "c"), said("b")], [0, 1, 2, 3]],
    ["a note between a call and its result", [calls("a", "c"), message("n", "event", {}), result("r", "c")], [0, 3]],
  ])("%s", (_what, messages, places) => {
    expect(safePlaces(messages)).toEqual(places)
    // The same after messages that were compacted, whatever they hold.
    const before = [user("x"), calls("y", "c"), said("z")]
    expect(safePlaces([...before, ...messages], 3)).toEqual(places.map((place) => place + 3))
  })
})

describe("the tail", () => {
  const turn = [user("u"), said("a"), user("v"), said("b"), user("w"), said("c")]

  test.each([
    // Each message has 10 tokens.
    [0, 6],
    [9, 6],
    [10, 5],
    [29, 4],
    [30, 3],
    [1_000, 1],
  ])("of %i tokens begins at %i", (tokens, start) => expect(tailStartOf(History.of(turn), 0, tokens)).toBe(start))

  test("begins after what was compacted before", () => {
    expect(tailStartOf(History.of(turn), 2, 1_000)).toBe(3)
    expect(tailStartOf(History.of(turn), 5, 0)).toBe(6)
    expect(tailStartOf(History.of(turn), 6, 0)).toBeUndefined()
  })

  test("a tail that has room for the results alone does not begin between a call and its results", () => {
    // A call of 8 tokens and a result of 5.
    const messages = History.of([user("u"), calls("a", "c"), result("r", "c")])
    expect(tailStartOf(messages, 0, 5)).toBe(3)
    expect(tailStartOf(messages, 0, 100)).toBe(1)
  })

  test.each<readonly [string, boolean, Message]>([
    ["a user's message", true, user("n")],
    ["a note of the machine", true, message("n", "system", { type: "error" })],
    ["an event", true, message("n", "event", {})],
    ["an answer", false, said("n")],
    ["a result of a tool, with text", false, message("n", "user", { type: "tool_result", callId: "c" }, {})],
    ["output of code", false, message("n", "user", { type: "output" })],
    ["an error of code", false, message("n", "user", {}, { type: "error" })],
    ["output of code as a note", false, message("n", "system", { type: "error" }, { type: "output" })],
    ["output of code as an event", false, message("n", "event", { type: "output" })],
  ])("at the end, %s waits for the model's answer: %s", (_what, isUnanswered, last) => {
    expect(tailStartOf(History.of([...turn, last]), 0, 0)).toBe(isUnanswered ? 6 : 7)
    // Of several, all wait.
    expect(tailStartOf(History.of([...turn, user("x"), last]), 0, 0)).toBe(isUnanswered ? 6 : 8)
  })

  test("of input alone leaves nothing to summarize", () => {
    expect(tailStartOf(History.of([user("u"), message("n", "event", {})]), 0, 0)).toBeUndefined()
  })

  test("does not begin with a note that holds the result of a call", () => {
    const note = message("n", "system", { type: "tool_result", callId: "c", text: "ok" })
    expect(tailStartOf(History.of([user("u"), said("a"), calls("b", "c"), note]), 0, 0)).toBe(2)
  })

  test("may begin earlier, where an answer comes and no batch is cut", () => {
    const messages = History.of([said("0"), user("1"), said("2"), calls("3", "c"), result("4", "c"), message("5", "event", {}), said("6"), said("7")])
    expect(olderTailStarts(messages, 0, 8)).toEqual([7, 6, 3, 2])
    expect(olderTailStarts(messages, 2, 7)).toEqual([6, 3])
    // An answer after a call that a note separates from its result.
    const divided = History.of([user("0"), calls("1", "c"), said("2"), result("3", "c"), said("4")])
    expect(olderTailStarts(divided, 0, 5)).toEqual([4, 1])
  })
})

describe("the user's messages that stay", () => {
  const long = message("long", "user", { text: "y".repeat(400) })
  const injected: Message = { ...user("injected"), origin: { type: "plugin", pluginId: "p" } }
  const transcript = [user("u"), long, said("a"), injected, user("v"), result("r", "c"), user("w"), said("b"), user("tail")]
  const idsOf = (tokens: number, view?: { readonly kept: readonly Message[]; readonly tailStart: number }): readonly string[] =>
    keptUserMessages(History.of(transcript), view, 8, tokens).map(({ id }) => id)

  test("are the newest that fit, in order; one that is too long is passed over", () => {
    // Each has 10 tokens, the long one 104.
    expect([0, 9, 10, 19, 20, 29, 30, 123, 124, 133, 134].map((tokens) => idsOf(tokens))).toEqual([
      [],
      [],
      ["w"],
      ["w"],
      ["v", "w"],
      ["v", "w"],
      ["u", "v", "w"],
      ["u", "v", "w"],
      ["long", "v", "w"],
      ["long", "v", "w"],
      ["u", "long", "v", "w"],
    ])
  })

  test("after a compaction are those that the view shows", () => {
    const kept = [userMessage("x".repeat(24), "kept")]
    expect(idsOf(1_000, { kept, tailStart: 5 })).toEqual(["kept", "w"])
    expect(idsOf(10, { kept, tailStart: 5 })).toEqual(["w"])
  })
})
