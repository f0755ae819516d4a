import { describe, expect, test } from "vitest"
import { lastInput, readCompactions } from "../../../src/drivers/compaction/state.ts"
import { History } from "../../../src/machine/history.ts"
import type { Json } from "../../../src/schemas/json.ts"
import type { HistoryRecord, Message } from "../../../src/schemas/message.ts"
import { userMessage } from "../../machine/support.ts"

const record = (event: Json): HistoryRecord => ({ type: "protocol", event })
const needed = (reason: "threshold" | "overflow", tokens: number): HistoryRecord => record({ type: "compaction_needed", reason, tokens, count: 1 })
const failed = (id: string, reason: string, problem = "call_failed"): HistoryRecord =>
  record({ type: "compaction_failed", id, reason, problem, message: "", count: 1 })
const REQUESTED = record({ type: "compaction_requested" })
const COMPACTED = record({
  type: "compaction",
  contextReset: true,
  id: "c",
  reason: "threshold",
  through: "u1",
  base: { messageId: "u1", count: 1 },
  summary: "s",
  keptUserMessages: [],
  tokensBefore: 2,
  tokensAfter: 1,
})
const INPUT: HistoryRecord = { type: "conversation", message: userMessage("More.") }
const answer = (type: "text" | "tool_result" | "output" | "error", role: Message["role"]): Message => ({
  id: "m",
  role,
  parts: [{ id: "m.p0", type: "text", text: "" }, { id: "m.p1", type, text: "", callId: "c" } as never],
})

describe("what a history says about compactions", () => {
  const manual = { reason: "manual" }
  const threshold = (tokens: number) => ({ reason: "threshold", tokens })
  const overflow = (tokens: number) => ({ reason: "overflow", tokens })

  test.each<readonly [string, readonly HistoryRecord[], object | undefined, readonly string[]]>([
    ["nothing", [INPUT], undefined, []],
    ["a request of a host", [REQUESTED], manual, []],
    ["a size at the threshold", [needed("threshold", 900)], threshold(900), []],
    ["the first of two needs counts", [needed("threshold", 900), REQUESTED, needed("threshold", 950)], threshold(900), []],
    ["also the first of two requests", [REQUESTED, needed("threshold", 900)], manual, []],
    ["but an overflow counts before all", [REQUESTED, needed("overflow", 900), REQUESTED], overflow(900), []],
    ["and the last overflow", [needed("overflow", 900), needed("overflow", 950)], overflow(950), []],
    ["a compaction ends what asked for it", [failed("f", "overflow"), needed("overflow", 900), COMPACTED], undefined, []],
    ["a request that failed is not repeated", [REQUESTED, failed("f", "manual")], undefined, ["f"]],
    ["what the provider reported still counts", [needed("threshold", 900), failed("f", "threshold", "too_little_gain")], threshold(900), ["f"]],
    ["an overflow is tried again", [needed("overflow", 900), failed("f", "overflow")], overflow(900), ["f"]],
    ["but not where it is hopeless", [needed("overflow", 900), failed("f", "overflow", "nothing_to_compact")], undefined, ["f"]],
    ["such as for too little", [needed("overflow", 900), failed("f", "overflow", "too_little_gain")], undefined, ["f"]],
    ["each failure counts once", [failed("f", "overflow"), failed("f", "overflow"), failed("g", "threshold")], undefined, ["f", "g"]],
    ["a delivered summary that was not used is no failure", [REQUESTED, failed("f", "delivered")], manual, []],
    ["input begins anew", [failed("f", "overflow"), INPUT, failed("g", "overflow")], undefined, ["g"]],
    ["an answer does not", [failed("f", "threshold"), { type: "conversation", message: answer("text", "assistant") }], undefined, ["f"]],
    ["nor do results", [failed("f", "threshold"), { type: "conversation", message: answer("tool_result", "user") }], undefined, ["f"]],
    [
      "events of other shapes",
      [null, 7, "compaction_requested", ["compaction_requested"], {}, { type: 7 }, { type: "compaction" }, { kind: "compaction_requested" }].map(
        record,
      ),
      undefined,
      [],
    ],
  ])("%s", (_what, records, need, failures) => {
    const read = readCompactions(History.of(records))
    expect(read.need).toEqual(need)
    expect(read.failures.map(({ id }) => id)).toEqual(failures)
    // The same if it is read as it grows, and after a longer history.
    const whole = History.of(records)
    for (let length = 0; length < records.length; length += 1) readCompactions(whole.prefix(length))
    expect(readCompactions(whole)).toEqual(read)
    const longer = whole.append([needed("overflow", 1), failed("longer", "overflow")])
    readCompactions(longer)
    expect(readCompactions(longer.prefix(whole.length))).toEqual(read)
  })

  test("the smallest request that did not fit, and the last one, outlive a compaction", () => {
    const sizes = [[900], [900, 950], [900, 850, 950]].map((all) => {
      const { smallestOverflow, overflow } = readCompactions(History.of([...all.map((tokens) => needed("overflow", tokens)), COMPACTED]))
      return [smallestOverflow, overflow?.tokens]
    })
    expect(sizes).toEqual([
      [900, 900],
      [900, 950],
      [850, 950],
    ])
    expect(readCompactions(History.of([needed("threshold", 900)]))).toMatchObject({ smallestOverflow: undefined, overflow: undefined })
  })
})

describe("the last input", () => {
  test("is a message of the user, and not a result of tools or code", () => {
    const all = History.of([
      userMessage("u"),
      answer("text", "assistant"),
      answer("tool_result", "user"),
      answer("output", "user"),
      answer("error", "user"),
      answer("text", "system"),
      userMessage("v"),
      answer("text", "event"),
    ])
    // Each length after another, shorter or longer, with the same storage.
    expect([8, 7, 6, 8, 1, 0].map((length) => lastInput(all.prefix(length)))).toEqual([6, 6, 0, 6, 0, -1])
    expect(lastInput(History.of([answer("text", "assistant")]))).toBe(-1)
  })
})
