import { describe, expect, test } from "vitest"
import { bulletList, looseList, quote, rulingIndex, rulingStatus } from "../../../src/drivers/checklist/loose-lists.ts"
import { isToolName, unwrapped, writtenArguments, writtenCall } from "../../../src/drivers/checklist/odd-answers.ts"
import { readFreeformCalls, readFreeformText, readItemsText, readVerdict, readVerdictCalls } from "../../../src/drivers/checklist/verdict.ts"
import type { Json } from "../../../src/schemas/json.ts"

const OURS = { reference: false, maxWaitMs: 600_000 }
const REFERENCE = { reference: true, maxWaitMs: 600_000 }

test.each<readonly [Json | undefined, readonly Json[] | undefined]>([
  [undefined, []],
  [null, []],
  [[7], [7]],
  [{}, []],
  [{ index: 1 }, [{ index: 1 }]],
  [
    { "1": "completed", "12": { status: "done" }, "3": null },
    [
      { index: "1", status: "completed" },
      { index: "3", status: null },
      { index: "12", status: "done" },
    ],
  ],
  [{ "1": "completed", more: 2 }, [{ "1": "completed", more: 2 }]],
  [{ "1a": 2 }, [{ "1a": 2 }]],
  [{ a1: 2 }, [{ a1: 2 }]],
  [7, undefined],
  [true, undefined],
  ["", []],
  [" N/A. ", []],
  ["none", []],
  ['"none"', []],
  ["7", undefined],
  ["[1, 2]", [1, 2]],
  ['{"a": 1}, {"a": 2}', [{ a: 1 }, { a: 2 }]],
  ['{"a": 1}\n  {"a": 2}', [{ a: 1 }, { a: 2 }]],
  ["```json\n[1]\n```", [1]],
  ["```\n[1]```", [1]],
  ["So: ```\n[1]\n```", undefined],
  ["```\n[1]\n``` or so", undefined],
  ["words", undefined],
])("the list %j is read as %j", (value, expected) => expect(looseList(value)).toEqual(expected))

test.each<readonly [Json, readonly string[] | undefined]>([
  ["- ab\n*  cd\n• ef", ["ab", "cd", "ef"]],
  ["1. ab\n12) cd\n1234. ef", ["ab", "cd", "ef"]],
  ["  - ab\n\n \n- cd", ["ab", "cd"]],
  ["- [x] ab\n- [ ]   cd\n- [] ef\n-   [X] gh", ["ab", "cd", "ef", "gh"]],
  ["- ab\nwords", undefined],
  ["so - ab", undefined],
  ["-ab", undefined],
  ["- ab\rcd", undefined],
  [7, undefined],
])("the bullets %j are read as %j", (value, expected) => expect(bulletList(value)).toEqual(expected))

test.each<readonly [{ readonly [key: string]: Json }, number | undefined]>([
  [{ index: 2 }, 2],
  [{ item: "#2" }, 2],
  [{ number: "Item 12" }, 12],
  [{ item_index: "2.00" }, 2],
  [{ index: "criterion 3:" }, 3],
  [{ index: "no 4" }, 4],
  [{ index: "no. 5" }, 5],
  [{ index: "(6)" }, 6],
  [{ index: "[7]" }, 7],
  [{ index: "two" }, undefined],
  [{ index: "2 and 3" }, undefined],
  [{ index: null }, undefined],
  [{ place: 2 }, undefined],
])("the number in the ruling %j is %s", (ruling, expected) => expect(rulingIndex(ruling)).toBe(expected))

test.each<readonly [{ readonly [key: string]: Json }, unknown]>([
  [{ status: "Completed." }, "completed"],
  [{ state: "done" }, "completed"],
  [{ completed: true }, "completed"],
  [{ done: "yes" }, "completed"],
  [{ completed: false }, "open"],
  [{ status: "In-Progress" }, "open"],
  [{ status: "not  done" }, "open"],
  [{ status: "[!]" }, "impossible"],
  [{ impossible: true }, "impossible"],
  [{ impossible: true, status: "pending" }, "open"],
  [{ impossible: "yes" }, { problem: "a status is missing" }],
  [{}, { problem: "a status is missing" }],
  [{ status: "do.ne" }, { problem: 'the status "do.ne" is unknown' }],
])("the status in the ruling %j is %j", (ruling, expected) => expect(rulingStatus(ruling)).toEqual(expected))

test("a value is quoted with at most 60 characters", () => {
  expect(quote(undefined)).toBe("nothing")
  expect(quote("a".repeat(58))).toBe(`"${"a".repeat(58)}"`)
  expect(quote("a".repeat(59))).toBe(`"${"a".repeat(59)}…`)
  expect(quote("a".repeat(999))).toBe(`"${"a".repeat(59)}…`)
})

describe("what models wrap around arguments", () => {
  const VERDICT = ["updates", "new_items", "reason", "verdict"]
  const FREEFORM = ["done", "verdict"]
  const ITEMS = ["items", "checklist", "criteria"]
  const ruling = { index: 1, status: "done" }
  const wrapped = (times: number, value: Json): Json => (times === 0 ? value : { arguments: wrapped(times - 1, value) })

  test.each<readonly [Json, readonly string[], Json]>([
    [{ updates: [] }, VERDICT, { updates: [] }],
    [{ arguments: { updates: [] } }, VERDICT, { updates: [] }],
    [{ arguments: '{"updates": []}' }, VERDICT, { updates: [] }],
    [{ arguments: "words" }, VERDICT, { arguments: "words" }],
    [{ type: "function", function: { name: "update_checklist", parameters: { updates: [] } } }, VERDICT, { updates: [] }],
    [{ update_checklist: { updates: [] } }, VERDICT, { updates: [] }],
    [{ submit_checklist: { items: [] } }, ITEMS, { items: [] }],
    [{ verdict: { verdict: "done" } }, FREEFORM, { verdict: "done" }],
    [{ verdict: "done", arguments: { verdict: "continue" } }, FREEFORM, { verdict: "done", arguments: { verdict: "continue" } }],
    // Lists that are written as an object are not wrappers.
    ...["updates", "new_items"].map((key) => [{ [key]: ruling }, VERDICT, { [key]: ruling }] as const),
    ...ITEMS.map((key) => [{ [key]: { text: "a" } }, ITEMS, { [key]: { text: "a" } }] as const),
    ...ITEMS.map((key) => [{ [key]: { text: "a" }, args: { more: 1 } }, ITEMS, { [key]: { text: "a" }, args: { more: 1 } }] as const),
    [ruling, VERDICT, { updates: [ruling] }],
    [ruling, FREEFORM, ruling],
    [[ruling], VERDICT, { updates: [ruling] }],
    [[ruling, { index: 2 }], VERDICT, { updates: [ruling, { index: 2 }] }],
    [[ruling, { other: 2 }], VERDICT, [ruling, { other: 2 }]],
    [[ruling, 7], VERDICT, [ruling, 7]],
    [[ruling], FREEFORM, [ruling]],
    [[], VERDICT, []],
    [["a"], VERDICT, ["a"]],
    [[{ updates: [] }], VERDICT, { updates: [] }],
    [[{ arguments: { updates: [] } }], VERDICT, { updates: [] }],
    [[{ other: 1 }], VERDICT, [{ other: 1 }]],
    [[{ updates: [] }, { updates: [] }], VERDICT, [{ updates: [] }, { updates: [] }]],
    [wrapped(5, { updates: [] }), VERDICT, { updates: [] }],
    [wrapped(6, { updates: [] }), VERDICT, { arguments: { updates: [] } }],
    ["words", VERDICT, "words"],
  ])("%j with the keys %j is read as %j", (value, keys, expected) => expect(unwrapped(value, keys)).toEqual(expected))

  test.each<readonly [{ readonly [key: string]: Json }, Json | undefined]>([
    [{ name: "update_checklist", arguments: { a: 1 } }, { a: 1 }],
    [{ tool: "functions.update_checklist", parameters: "{'a': 1}" }, { a: 1 }],
    [{ function: { name: "updateChecklist", args: { a: 1 } } }, { a: 1 }],
    [{ name: "update_checklist" }, undefined],
    [{ name: "other", arguments: { a: 1 } }, undefined],
    [{ update_checklist: { a: 1 } }, { a: 1 }],
    [{ update_checklist: "a" }, undefined],
  ])("the call %j in a text has the arguments %j", (object, expected) => expect(writtenCall(object, "update_checklist")).toEqual(expected))

  test.each<readonly [{ readonly [key: string]: Json }, Json | undefined]>([
    [{ name: "judge", arguments: { done: true } }, { done: true }],
    [{ name: "judge", arguments: { other: true } }, undefined],
    [{ name: "judge" }, undefined],
    [{ name: 7, arguments: { done: true } }, undefined],
  ])("the call %j of any tool has the arguments %j", (object, expected) => expect(writtenArguments(object, FREEFORM)).toEqual(expected))

  test.each([
    ["update_checklist", true],
    [" update-checklist ", true],
    ["UpdateChecklist", true],
    ["functions.update_checklist", true],
    ["tools/judge:update_checklist", true],
    ["update_checklist_2", false],
    ["checklist", false],
    ["", false],
  ])("%j names update_checklist: %s", (name, expected) => expect(isToolName(name, "update_checklist")).toBe(expected))
})

describe("a verdict on the whole in plain words", () => {
  const says = (text: string, settings = OURS): readonly unknown[] => {
    const read = readFreeformText(text, settings)
    return read.ok ? [read.value.says, read.value.reason.type === "text" ? read.value.reason.text : read.value.reason.type] : [read.reason.type]
  }

  test.each([
    ["<verdict>done</verdict>", ["done", "none_given"]],
    ["<verdict>banana</verdict>", ["not_json"]],
    ["<verdict>[x]</verdict>", ["not_json"]],
    ["done: yes", ["done", "none_given"]],
    ["done: no", ["continue", "none_given"]],
    ["done: true\n \tReason \t: 41 pass\nand more", ["done", "41 pass"]],
    ["done: true\nno reason: none", ["done", "none_given"]],
    ["Verdict: done\n> **Reason:** 41 pass\nand more", ["done", "41 pass"]],
    ["Verdict: done\nreason: 41 pass", ["done", "41 pass"]],
    ["Verdict: done\none reason: none", ["done", "none_given"]],
    ["Verdict: done", ["done", "none_given"]],
    ["Verdict: done - 41 pass", ["done", "41 pass"]],
    ["Verdict: done-ish", ["not_json"]],
    ["Done!!", ["done", "none_given"]],
    [`Done${" ".repeat(200)}!`, ["not_json"]],
    // A call of another tool that is written into the text.
    ['{"name": "judge", "arguments": {"done": true}} {"other": 1}', ["done", "none_given"]],
  ])("%j", (text, expected) => expect(says(text)).toEqual(expected))

  test("is not read by the reference, nor is a call in a text", () => {
    expect(says("Verdict: done", REFERENCE)).toEqual(["not_json"])
    expect(says('{"name": "judge", "arguments": {"done": true}}', REFERENCE)).toEqual(["continue", "none_given"])
  })

  test("is read from the last call with a verdict", () => {
    const read = (...inputs: readonly string[]) => {
      const found = readFreeformCalls(
        inputs.map((inputJson) => ({ inputJson })),
        OURS,
      )
      return found?.ok === true ? found.value.says : undefined
    }
    expect(read('{"verdict": "continue"}', '{"done": true}', "[]", "broken", '{"other": 1}')).toBe("done")
    expect(read("broken", "7")).toBeUndefined()
    expect(read('{"verdict": true}')).toBe("done")
  })
})

describe("a verdict on items", () => {
  const verdict = (args: { readonly [key: string]: Json }, settings = OURS) => readVerdict(args, "update_checklist", settings)

  test.each<readonly [Json, number | undefined]>([
    [60, 60_000],
    [0.0001, 1],
    ["60", 60_000],
    [" 1.25 ", 1_250],
    ["120", 120_000],
    [10_000, 600_000],
    [0, undefined],
    [-5, undefined],
    ["0", undefined],
    ["1e2", undefined],
    ["60s", undefined],
    ["about 60", undefined],
    [true, undefined],
    [null, undefined],
  ])("a wait of %j seconds has %s ms", (wait_seconds, waitMs) => {
    const read = verdict({ updates: [], verdict: "wait", wait_seconds })
    expect(read.ok && [read.value.says, read.value.waitMs]).toEqual(waitMs === undefined ? ["continue", undefined] : ["wait", waitMs])
    const named = verdict({ updates: [], verdict: "wait", wait_seconds, wait_for: "mail" })
    expect(named.ok && [named.value.says, named.value.waitMs, named.value.waitsFor]).toEqual(["wait", waitMs, "mail"])
  })

  test("ignores what is null in a list, and reports what is not a text", () => {
    const read = (new_items: Json) => verdict({ updates: [], new_items })
    expect(read([null, "a", { text: "b" }, " "])).toMatchObject({ ok: true, value: { newItems: ["a", "b"] } })
    expect(read([null, "a"])).not.toHaveProperty("value.problem")
    expect(read(["a", 7])).toMatchObject({ value: { newItems: ["a"], problem: "7 is not a text in new_items" } })
    expect(read([{ other: "a" }])).toMatchObject({ value: { newItems: [], problem: expect.stringContaining("is not a text") } })
  })

  test("of the reference fails with an infinite index, and ignores what is open or is not a ruling", () => {
    const read = (...updates: readonly Json[]) => verdict({ updates }, REFERENCE)
    expect(read({ index: Number.POSITIVE_INFINITY, status: "pending" })).toMatchObject({ ok: false, reason: { problem: "an index is infinite" } })
    expect(read({ index: 1, status: "pending" }, 7, { status: "completed" }, { index: 2, status: "Completed", evidence: "e" })).toMatchObject({
      value: { updates: [{ index: 2, status: "completed", evidence: "e" }] },
    })
  })

  /** Several calls in one answer, read as one. */
  const calls = (...all: readonly object[]) =>
    readVerdictCalls(
      all.map((args) => ({ toolName: "update_checklist", inputJson: JSON.stringify({ updates: [], ...args }) })),
      OURS,
    )

  test.each<readonly [readonly object[], object]>([
    [[{}, { verdict: "wait", wait_seconds: 60 }], { says: "wait", waitMs: 60_000 }],
    [[{ verdict: "wait", wait_for: "mail" }, {}], { says: "wait", waitsFor: "mail" }],
    [[{ verdict: "wait", wait_seconds: 60, wait_for: "mail" }, { verdict: "continue" }], { says: "wait", waitMs: 60_000, waitsFor: "mail" }],
    [[{ verdict: "wait", wait_seconds: 60 }, { verdict: "asked_to_stop" }, { verdict: "blocked" }], { says: "blocked" }],
    [[{}, {}], { says: "continue" }],
  ])("in several calls %j says %j", (all, stance) => {
    expect(calls(...all)).toEqual({ ok: true, value: { updates: [], newItems: [], reason: { type: "none_given" }, ...stance } })
  })

  test("in several calls has the last reason, all rulings and all items; two rulings that differ are a problem", () => {
    const first = { updates: [{ index: 1, status: "completed" }], new_items: ["a"], reason: "one" }
    const same = {
      updates: [
        { index: 1, status: "completed" },
        { index: 2, status: "impossible" },
      ],
      new_items: ["b"],
    }
    expect(calls(first, same)).toEqual({
      ok: true,
      value: { updates: [...first.updates, ...same.updates], newItems: ["a", "b"], says: "continue", reason: { type: "text", text: "one" } },
    })
    expect(calls(first, { ...same, reason: "two" }, { reason: "three" }, {})).toMatchObject({ value: { reason: { type: "text", text: "three" } } })
    expect(calls(first, { updates: [{ index: 1, status: "impossible" }] })).toMatchObject({ value: { problem: "two rulings on item 1 differ" } })
  })

  test("in several calls has at most a thousand rulings and items", () => {
    const many = {
      updates: Array.from({ length: 600 }, (_, index) => ({ index, status: "completed" })),
      new_items: Array.from({ length: 600 }, () => "a"),
    }
    const read = calls(many, many)
    expect(read.ok && [read.value.updates.length, read.value.newItems.length]).toEqual([1_000, 1_000])
  })
})

test.each<readonly [string, readonly string[] | string, readonly string[] | string]>([
  ['{"checklist": ["a", "b"]}', ["a", "b"], ["a", "b"]],
  ['{"checklist": "* a\\n* b"}', ["a", "b"], "no_verdict"],
  ['{"checklist": 7}', "no_verdict", "no_verdict"],
  ['{"name": "submit_checklist", "arguments": {"items": ["a"]}}', ["a"], "no_verdict"],
  ["no list", "not_json", "not_json"],
])("the items in %j are read as %j, and under reference as %j", (text, ours, reference) => {
  const read = (settings: typeof OURS) => {
    const items = readItemsText(text, settings)
    return items.ok ? items.value : items.reason.type
  }
  expect([read(OURS), read(REFERENCE)]).toEqual([ours, reference])
})
