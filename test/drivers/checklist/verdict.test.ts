import { describe, expect, test } from "vitest"
import { objectInText } from "../../../src/drivers/checklist/json-text.ts"
import { readArguments, readFreeformText, readItems, readItemsText, readVerdict, readVerdictText } from "../../../src/drivers/checklist/verdict.ts"
import type { Json } from "../../../src/schemas/json.ts"
import { IS_SLOWED } from "./support.ts"

const OURS = { reference: false, maxWaitMs: 60_000 }
const REFERENCE = { reference: true, maxWaitMs: 60_000 }

describe("the object in a text", () => {
  test.each([
    ["bare", '{"a": 1}', { a: 1 }],
    ["in a fence", 'Here:\n```json\n{"a": 1}\n```\nDone }', { a: 1 }],
    ["two: the last", '{"a": 1} and {"a": 2}', { a: 2 }],
    ["after braces that are not JSON", "f() { return {} } {'b': 2} {\"a\": 1}", { a: 1 }],
    ["before an object that is cut off", '{"a": 1} {"a": 2', { a: 1 }],
    ["after an open brace", 'set {x, then {"a": 1}', { a: 1 }],
    ["with braces in its strings", 'so {"a": "}{", "b": "\\"}"} end', { a: "}{", b: '"}' }],
    ["after thinking", '<think>{"a": 0}</think>\n{"a": 1}', { a: 1 }],
    ["after thinking without an opening tag", '{"a": 0}</think>{"a": 1}', { a: 1 }],
    ["in a list", '[{"a": 1}]', { a: 1 }],
    ["whole, with a tag inside", '{"a": "<think>"}', { a: "<think>" }],
    ["only in thinking without a closing tag", '<think>{"a": 0}', undefined],
    ["none", "no { object } here", undefined],
    ["cut off", '{"a": [1, 2', undefined],
  ])("%s", (_, text, found) => expect(objectInText(text, false)).toEqual(found))

  test.skipIf(IS_SLOWED)("a text built to be slow is abandoned", () => {
    expect(objectInText("{".repeat(400_000), false)).toBeUndefined()
    expect(objectInText("<think>".repeat(100_000), false)).toBeUndefined()
  })

  test("an object nested too deeply is not found", () => {
    expect(objectInText(`${'{"a":'.repeat(200)}1${"}".repeat(200)}`, false)).not.toHaveProperty("b")
    expect(objectInText(`{"a":${"[".repeat(100_000)}${"]".repeat(100_000)}}`, false)).toBeUndefined()
  })
})

describe("arguments", () => {
  test.each([
    ["", "they are not JSON"],
    ['{"updates": [', "they are not JSON"],
    ["[]", "they are not an object"],
    ["null", "they are not an object"],
    ['"text"', "they are not an object"],
    [`${"[".repeat(1000)}${"]".repeat(1000)}`, "they are not JSON"],
  ])("%s cannot be read", (inputJson, problem) => {
    expect(readArguments("update_checklist", inputJson, OURS)).toEqual({
      ok: false,
      reason: { type: "bad_arguments", toolName: "update_checklist", problem },
    })
  })

  test("under reference, malformed JSON counts as {}, but a list or null does not", () => {
    expect(readArguments("t", '{"updates": [', REFERENCE)).toEqual({ ok: true, value: {} })
    expect(readArguments("t", "", REFERENCE)).toEqual({ ok: true, value: {} })
    expect(readArguments("t", "[]", REFERENCE).ok).toBe(false)
    expect(readArguments("t", "null", REFERENCE).ok).toBe(false)
  })
})

describe("verdicts", () => {
  const updates = (...entries: unknown[]) => {
    const read = readVerdict({ updates: entries } as never, "t", OURS)
    return read.ok ? read.value.updates : read.reason
  }

  test("indexes are read as people write them", () => {
    const written = [2, "2", " 3 ", 4.9, true, "1_0", "+5", -1, 0]
    expect(updates(...written.map((index) => ({ index, status: "completed" })))).toEqual(
      [2, 2, 3, 4, 1, 10, 5, -1, 0].map((index) => ({ index, status: "completed" })),
    )
    expect(updates(...["#2", "item 3", "Item #4", "5.", "[6]", "(7)", "8.0"].map((index) => ({ index, status: "completed" })))).toEqual(
      [2, 3, 4, 5, 6, 7, 8].map((index) => ({ index, status: "completed" })),
    )
    expect(updates({ item: 2, status: "completed" }, { number: "3", status: "completed" })).toEqual(
      [2, 3].map((index) => ({ index, status: "completed" })),
    )
  })

  test("an entry that cannot be read is a problem of the verdict, and drops no other entry", () => {
    const wrong = [null, "", "abc", "5.5", [], [1], {}, undefined, "1__0", "_1"]
    const entries = [...wrong.map((index) => ({ index, status: "completed" })), null, 7, "x", []]
    for (const entry of entries) {
      const read = readVerdict({ updates: [entry, { index: 1, status: "completed" }] } as never, "t", OURS)
      expect(read, JSON.stringify(entry)).toMatchObject({ ok: true, value: { updates: [{ index: 1, status: "completed" }] } })
      expect(read.ok && read.value.problem, JSON.stringify(entry)).toMatch(/ruling/)
    }
    expect(readVerdict({ updates: entries } as never, "t", REFERENCE)).toEqual({
      ok: true,
      value: { updates: [], newItems: [], reason: { type: "none_given" }, says: "continue" },
    })
  })

  test("an infinite index invalidates the verdict and does not throw", () => {
    const reason = { type: "bad_arguments", toolName: "t", problem: "an index is infinite" }
    expect(updates({ index: 1, status: "completed" }, { index: Number.POSITIVE_INFINITY, status: "completed" })).toEqual(reason)
    expect(readVerdictText('{"updates": [{"index": 1e999, "status": "completed"}]}', REFERENCE)).toMatchObject({ ok: false })
    expect(readVerdictText('{"updates": [{"index": Infinity, "status": "completed"}]}', REFERENCE)).toMatchObject({ ok: false })
  })

  test("a status must be a known word, evidence becomes a text", () => {
    expect(updates({ index: 1, status: " Completed ", evidence: "  " }, { index: 2, status: "pending" }, { index: 3, status: "gone" })).toEqual([
      { index: 1, status: "completed" },
    ])
    expect(updates({ index: 1, status: "impossible", evidence: 12 }, { index: 2, status: "completed", evidence: { k: "v" } })).toEqual([
      { index: 1, status: "impossible", evidence: "12" },
      { index: 2, status: "completed", evidence: '{"k":"v"}' },
    ])
  })

  test("a missing list is empty, and an empty reason counts as none", () => {
    for (const args of [
      { updates: null, new_items: null, reason: null },
      { reason: false },
      { updates: {}, new_items: "", reason: "  " },
      { updates: "none" },
    ])
      expect(readVerdict(args as never, "t", OURS)).toEqual({
        ok: true,
        value: { updates: [], newItems: [], reason: { type: "none_given" }, says: "continue" },
      })
  })

  test("a value that is not a list is a problem; under reference, it is ignored", () => {
    for (const [args, problem] of [
      [{ updates: 3 }, "updates is not a list but 3"],
      [{ updates: "all of them" }, 'updates is not a list but "all of them"'],
      [{ updates: { 0: {} } }, "a status is missing in the ruling on item 0"],
      [{ new_items: 3 }, "3 is not a list in new_items"],
      [{ new_items: "No new items are needed." }, '"No new items are needed." is not a list in new_items'],
      [{ new_items: [["c"]] }, '["c"] is not a text in new_items'],
    ] as const) {
      expect(readVerdict(args as never, "t", OURS)).toMatchObject({ ok: true, value: { updates: [], newItems: [], problem } })
      expect(readVerdict(args as never, "t", REFERENCE)).toEqual({
        ok: true,
        value: { updates: [], newItems: [], reason: { type: "none_given" }, says: "continue" },
      })
    }
  })

  test("arguments that hold nothing of a verdict are refused", () => {
    for (const args of [{}, { arguments: { updates: [] } }, { done: true }])
      expect(readVerdict(args as never, "t", OURS)).toEqual({ ok: false, reason: { type: "no_verdict" } })
    expect(readVerdict({}, "t", REFERENCE)).toMatchObject({ ok: true, value: { updates: [] } })
  })

  test("inherited keys are ignored", () => {
    const args = JSON.parse('{"__proto__": {"updates": [{"index": 1, "status": "completed"}], "reason": "inherited"}, "constructor": 1}')
    expect(readVerdict(args, "t", OURS)).toEqual({ ok: false, reason: { type: "no_verdict" } })
    expect(readVerdict({ ...args, verdict: "continue" }, "t", OURS)).toMatchObject({
      ok: true,
      value: { updates: [], reason: { type: "none_given" } },
    })
    expect(Object.hasOwn(Object.prototype, "updates")).toBe(false)
  })

  test("at most 1,000 rulings and new items are read from one answer", () => {
    const rulings = Array.from({ length: 1_001 }, (_, index) => ({ index, status: "completed" }))
    const items = rulings.map(({ index }) => `item ${index}`)
    const read = readVerdict({ updates: rulings, new_items: items }, "t", OURS)
    if (!read.ok) throw new Error("not read")
    expect(read.value.updates.map(({ index }) => index)).toEqual(rulings.slice(0, 1_000).map(({ index }) => index))
    expect(read.value.newItems).toEqual(items.slice(0, 1_000))
    expect(read.value).not.toHaveProperty("problem")
  })

  test("null among the new items is not a problem; any other value that is not a text is", () => {
    const problem = (...entries: Json[]) => readVerdict({ new_items: entries }, "t", OURS)
    expect(problem(null, "a", null)).toMatchObject({ ok: true, value: { newItems: ["a"] } })
    expect(problem(null, "a", null)).not.toHaveProperty("value.problem")
    expect(problem("a", 3, null)).toHaveProperty("value.problem", "3 is not a text in new_items")
  })

  test("texts of the judge are shortened", () => {
    const read = readVerdict({ new_items: ["x".repeat(5000)], reason: "y".repeat(5000) }, "t", OURS)
    if (!read.ok || read.value.reason.type !== "text") throw new Error("not read")
    expect(read.value.newItems[0]).toBe(`${"x".repeat(1000)}\n\n... (3000 chars omitted) ...\n\n${"x".repeat(1000)}`)
    expect(read.value.reason.text.length).toBeLessThan(2100)
    const whole = readVerdict({ reason: "y".repeat(5000) }, "t", REFERENCE)
    expect(whole).toMatchObject({ value: { reason: { text: "y".repeat(5000) } } })
  })

  test("freeform: a verdict word, or done of any type; the word takes precedence", () => {
    const says = (text: string) => {
      const read = readFreeformText(text, OURS)
      return read.ok ? read.value.says : read.reason.type
    }
    expect(says('{"verdict": " DONE "}')).toBe("done")
    expect(says('{"verdict": "continue", "done": true}')).toBe("continue")
    expect(says('{"verdict": "blocked"}')).toBe("blocked")
    expect(says('{"verdict": "unsure"}')).toBe("continue")
    expect(says('{"verdict": "Completed."}')).toBe("done")
    expect(says('{"verdict": "in-progress", "done": true}')).toBe("continue")
    expect(says('{"verdict": true}')).toBe("done")
    expect(says('{"done": "finished"}')).toBe("done")
    expect(says('{"verdict": "", "done": "Yes"}')).toBe("done")
    expect(says('{"done": [0]}')).toBe("done")
    expect(says('{"done": {}}')).toBe("continue")
    expect(says("")).toBe("empty_reply")
    expect(says("I think so")).toBe("not_json")
    expect(says('{"reason": "no idea"}')).toBe("no_verdict")
    expect(says('The page says {"status": 200, "inner": {"done": true}}.\n{"verdict": "blocked"}')).toBe("blocked")
    expect(readFreeformText('{"verdict": "wait", "wait_seconds": "1.5"}', OURS)).toMatchObject({ value: { says: "wait", waitMs: 1500 } })
    expect(readFreeformText('{"verdict": "wait", "wait_seconds": 1000}', OURS)).toMatchObject({ value: { waitMs: 60_000 } })
    expect(readFreeformText('{"verdict": "blocked", "done": false}', REFERENCE)).toMatchObject({ value: { says: "continue" } })
  })
})

describe("items", () => {
  test("are texts and objects with a text; under reference, null becomes a word", () => {
    const items = [" a ", { text: "b" }, { text: 5 }, { text: null }, { text: true }, {}, "", { text: " " }, 3, null, ["c"]]
    expect(readItems({ items }, OURS)).toEqual(["a", "b", "5", "true"])
    expect(readItems({ items }, REFERENCE)).toEqual(["a", "b", "5", "None", "True"])
    expect(readItems({ items: [{ text: { k: "it's", l: [null, "x"] } }] }, REFERENCE)).toEqual([`{'k': "it's", 'l': [None, 'x']}`])
    expect(readItems({ items: { 0: "a" } }, OURS)).toEqual([])
  })

  test("in a text, a verdict on items has one of its keys; under reference, any object counts", () => {
    for (const text of ["{}", '{"done": true}', 'Looking at {"updates_seen": {"updates": []}} now.'])
      expect(readVerdictText(text, OURS)).toEqual({ ok: false, reason: { type: "no_verdict" } })
    expect(readVerdictText('I saw {"a": 1}. {"updates": [{"index": 1, "status": "completed"}]}', OURS)).toMatchObject({
      value: { updates: [{ index: 1, status: "completed" }] },
    })
    expect(readVerdictText('{"done": true}', REFERENCE)).toMatchObject({ ok: true, value: { updates: [] } })
  })

  test("in a text, their key is checklist", () => {
    expect(readItemsText('{"checklist": ["a"]}', OURS)).toEqual({ ok: true, value: ["a"] })
    expect(readItemsText('{"items": ["a"]}', OURS)).toEqual({ ok: false, reason: { type: "no_verdict" } })
    expect(readItemsText("prose", OURS)).toEqual({ ok: false, reason: { type: "not_json", text: "prose" } })
  })
})
