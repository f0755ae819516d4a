import * as fc from "fast-check"
import { describe, expect, test } from "vitest"
import { decisionReasonText, newChecklistState } from "../../../src/drivers/checklist/index.ts"
import { check } from "../../properties/check.ts"
import { CONFIG, goalOf, IS_SLOWED, itemsOf, listed, manage, play } from "./support.ts"

const FREEFORM = { ...CONFIG, judge: "freeform" } as const

function freeformVerdict(text: string): string {
  const state = manage(newChecklistState(), [{ type: "set", goal: "All tests pass." }])
  const { state: judged, decision } = play(state, [text], {}, FREEFORM)
  return goalOf(judged).consecutiveParseFailures > 0 ? "unparseable" : decision.verdict
}

const DONE = '{"verdict":"done","reason":"41 pass"}'
const CONTINUE = '{"verdict":"continue","reason":"…"}'

describe("the last complete verdict outside of reasoning counts", () => {
  test.each([
    ["think", `<think>The form is {"verdict": "continue"}; but {all} pass.</think>\n${DONE}`, "done"],
    ["thinking", `<thinking>${CONTINUE}</thinking>${DONE}`, "done"],
    ["reasoning", `<reasoning>As in {"verdict": "continue", "reason": "…"}? No.</reasoning>\n${DONE}`, "done"],
    ["upper case, with an attribute", `<THINK depth="2">${CONTINUE}</Think >${DONE}`, "done"],
    ["a tag with a prefix", `<seed:think>${CONTINUE}</seed:think>${DONE}`, "done"],
    ["square brackets", `[THINK]${CONTINUE}[/THINK]${DONE}`, "done"],
    ["channels", `<|channel|>analysis<|message|>${CONTINUE}<|end|><|start|>assistant<|channel|>final<|message|>${DONE}`, "done"],
    ["reasoning inside reasoning", `<think>a <think>b</think> ${CONTINUE}</think>${DONE}`, "done"],
    ["reasoning that is closed by another tag", `<think>${CONTINUE}</thinking>${DONE}`, "done"],
    ["reasoning without an opening tag", `So far ${CONTINUE}\n</think>\n${DONE}`, "done"],
    ["two pieces of reasoning", `<think>${CONTINUE}</think>\n${CONTINUE}\n<think>No.</think>\n${DONE}`, "done"],
    ["reasoning after the verdict", `${DONE}\n<think>Or ${CONTINUE}?</think>`, "done"],
    ["reasoning without a closing tag after the verdict", `${DONE}\n<think>Or ${CONTINUE}?`, "done"],
    ["reasoning in prose", `The form is ${CONTINUE}. But all pass, so:\n${DONE}`, "done"],
    ["a fence", `<think>${CONTINUE}</think>\n\`\`\`json\n${DONE}\n\`\`\`\nThat is all {so far}.`, "done"],
    ["two fences", `\`\`\`json\n${CONTINUE}\n\`\`\`\nOn second thought:\n\`\`\`json\n${DONE}\n\`\`\``, "done"],
    ["a template before the verdict", `{"verdict": "<one word>", "reason": "<one sentence>"}\n${DONE}`, "done"],
    ["a template after the verdict", `${DONE}\nIn the form {"verdict": "<one word>", "reason": "<one sentence>"}.`, "done"],
    ["other objects after the verdict", `${DONE}\nThe page says {"status": 200, "inner": ${CONTINUE}}.`, "done"],
    ["a verdict that is cut off after the whole one", `${DONE}\n{"verdict":"conti`, "done"],
    ["a tag in a reason", '{"verdict":"done","reason":"the <think> tag is stripped"}', "done"],
    ["a closing tag in a reason", `${CONTINUE} {"verdict":"done","reason":"</think> is stripped"}`, "done"],
    ["only in reasoning", `<think>${DONE}</think> I am not sure.`, "unparseable"],
    ["only in reasoning that never ends", `<think>All pass.\n${DONE}`, "unparseable"],
    ["none", "<think>They pass.</think> They pass.", "unparseable"],
  ])("%s", (_, text, verdict) => expect(freeformVerdict(text)).toBe(verdict))

  test("whatever the reasoning says", () => {
    const tag = fc.constantFrom("think", "thinking", "Reasoning", "thought", "analysis", "scratchpad")
    const piece = fc.constantFrom(CONTINUE, DONE, "{all}", "{", "}", '"', "\\", "\n", "```json\n", "<b>", "I think", '{"done": false}', "[1]", "…")
    const text = fc.array(piece, { maxLength: 8 }).map((pieces) => pieces.join(" "))
    const reasoning = fc.tuple(tag, text).map(([name, said]) => `<${name}>${said}</${name}>`)
    const prose = fc.constantFrom("", "\n", "So: ", "```json\n", "{all} of it: ")
    check(
      300,
      fc.property(fc.array(reasoning, { maxLength: 3 }), prose, fc.constantFrom("done", "continue"), prose, (before, lead, verdict, tail) => {
        const last = JSON.stringify({ verdict, reason: "r" })
        expect(freeformVerdict(`${before.join("\n")}${lead}${last}${tail}`)).toBe(verdict)
      }),
    )
  })

  test("also of a verdict on items, and of a list", () => {
    const update = (status: string): string => JSON.stringify({ updates: [{ index: 1, status, evidence: "e" }], new_items: [], reason: "r" })
    const text = `<think>${update("impossible")}</think>\n${update("completed")}\nI gave the reason in {"reason": "…"}.`
    expect(itemsOf(play(listed(["a"]), [text]).state)).toEqual(["a:completed"])
    const goal = manage(newChecklistState(), [{ type: "set", goal: "g" }])
    expect(itemsOf(play(goal, ['<think>{"checklist": ["draft"]}</think>{"checklist": ["a", "b"]}']).state)).toEqual(["a:pending", "b:pending"])
  })
})

describe("a ruling is applied, or counted as an answer that cannot be read", () => {
  const ruling = { index: 1, status: "completed", evidence: "41 pass" }
  const judged = (args: unknown, items = ["a"]) => {
    const { state, decision } = play(listed(items), [{ tool: "update_checklist", args }])
    return { items: itemsOf(state), failures: goalOf(state).consecutiveParseFailures, why: decisionReasonText(decision.reason), decision }
  }

  test.each([
    ["a list", [ruling]],
    ["a list as JSON text", JSON.stringify([ruling])],
    ["a list as JSON text with space", ` ${JSON.stringify([ruling], null, 2)}\n`],
    ["a list as JSON text in a fence", `\`\`\`json\n${JSON.stringify([ruling])}\n\`\`\``],
    ["a list as JSON text twice", JSON.stringify(JSON.stringify([ruling]))],
    ["entries as JSON text", [JSON.stringify(ruling)]],
    ["entries without brackets", `${JSON.stringify(ruling)}\n${JSON.stringify({ ...ruling, index: 1 })}`],
    ["a single entry", ruling],
    ["a single entry as JSON text", JSON.stringify(ruling)],
    ["an object by number", { 1: ruling }],
    ["an object of statuses by number", { 1: "completed" }],
    ["an index as text", [{ ...ruling, index: "1" }]],
    ["an index with a sign", [{ ...ruling, index: "#1" }]],
    ["a number instead of an index", [{ item: 1, status: "completed" }]],
    ["a flag instead of a status", [{ index: 1, completed: true }]],
    ["a boolean status", [{ ...ruling, status: true }]],
  ])("%s is applied", (_, updates) => {
    expect(judged({ updates, new_items: [], reason: "Shown." })).toMatchObject({ items: ["a:completed"], failures: 0, decision: { verdict: "done" } })
  })

  test.each(["completed", "done", "complete", "Completed", " DONE. ", "finished", "passed", "satisfied", "met", "achieved", "verified", "✅", "[x]"])(
    "the status %j means completed",
    (status) =>
      expect(judged({ updates: [{ ...ruling, status }], new_items: [], reason: "r" })).toMatchObject({ items: ["a:completed"], failures: 0 }),
  )

  test.each(["impossible", "Impossible", "not possible", "not-feasible", "cannot be done", "unachievable", "[!]"])(
    "the status %j means impossible",
    (status) =>
      expect(judged({ updates: [{ ...ruling, status }], new_items: [], reason: "r" })).toMatchObject({ items: ["a:impossible"], failures: 0 }),
  )

  test.each([
    "pending",
    "in progress",
    "in_progress",
    "In-Progress",
    "not done",
    "not completed",
    "incomplete",
    "partially completed",
    "open",
    "todo",
    "failed",
    false,
  ])("the status %j leaves the item open", (status) =>
    expect(judged({ updates: [{ ...ruling, status }], new_items: [], reason: "r" })).toMatchObject({ items: ["a:pending"], failures: 0 }),
  )

  test.each([
    ["a status that is unknown", [{ ...ruling, status: "maybe" }], 'the status "maybe" is unknown in the ruling on item 1'],
    ["a missing status", [{ index: 1 }], "a status is missing in the ruling on item 1"],
    ["a missing index", [{ status: "completed" }], 'the ruling {"status":"completed"} has no index'],
    ["an index that is a word", [{ ...ruling, index: "first" }], "has no index"],
    ["an item that does not exist", [{ ...ruling, index: 2 }], "the list has no item 2"],
    ["item 0", [{ ...ruling, index: 0 }], "the list has no item 0"],
    ["a list that is prose", "item 1 is completed", 'updates is not a list but "item 1 is completed"'],
    ["a list that is cut off", '[{"index": 1, "status": "comp', "updates is not a list"],
    ["a number", 1, "updates is not a list but 1"],
    ["true", true, "updates is not a list but true"],
    ["entries that are numbers", [1], "1 is not a ruling"],
    ["entries that are prose", ["item 1"], '"item 1" is not a ruling'],
  ])("%s counts", (_, updates, why) => {
    const found = judged({ updates, new_items: [], reason: "Shown." })
    expect(found).toMatchObject({ items: ["a:pending"], failures: 1, decision: { verdict: "continue", reason: { type: "bad_arguments" } } })
    expect(found.why).toContain(why)
  })

  test("an entry that cannot be read does not undo the others", () => {
    const updates = [
      { ...ruling, status: "who knows" },
      { index: 2, status: "done" },
    ]
    expect(judged({ updates, new_items: [], reason: "r" }, ["a", "b"])).toMatchObject({ items: ["a:pending", "b:completed"], failures: 1 })
  })

  test("a verdict on the whole without rulings counts", () => {
    const found = judged({ updates: [], new_items: [], reason: "r", verdict: "done" })
    expect(found).toMatchObject({ items: ["a:pending"], failures: 1 })
    expect(found.why).toContain('the verdict "done" has no rulings')
    expect(judged({ updates: [ruling], new_items: [], reason: "r", verdict: "done" })).toMatchObject({ items: ["a:completed"], failures: 0 })
  })

  test("a flag that is false leaves the item open", () => {
    expect(judged({ updates: [{ index: 1, completed: false }], reason: "r" })).toMatchObject({ items: ["a:pending"], failures: 0 })
  })

  test("a call without a verdict counts", () => {
    expect(judged({})).toMatchObject({ failures: 1, decision: { reason: { type: "no_verdict" } } })
    expect(judged({ verdicts: [ruling] })).toMatchObject({ failures: 1 })
  })

  test("arguments that are JSON text in JSON text are read", () => {
    expect(judged(JSON.stringify(JSON.stringify({ updates: [ruling], new_items: [], reason: "r" })))).toMatchObject({
      items: ["a:completed"],
      failures: 0,
    })
  })

  test("three such answers in a row pause the goal and say why", () => {
    let played = play(listed(["a"]), [{ tool: "update_checklist", args: { updates: "soon" } }])
    for (let turn = 2; turn <= 3; turn += 1) played = play(played.state, [{ tool: "update_checklist", args: { updates: "soon" } }])
    expect(played.decision).toMatchObject({ status: "paused", notice: { type: "paused", reason: { type: "unparseable", failures: 3 } } })
  })

  test.each([
    ["as JSON text", JSON.stringify(["b", { text: "c" }])],
    ["as bullets", "- b\n- c"],
    ["as numbered lines", "1. b\n2) c"],
    ["as boxes", "- [ ] b\n- [x] c"],
  ])("new items %s are added", (_, new_items) => {
    expect(judged({ updates: [], new_items, reason: "r" })).toMatchObject({ items: ["a:pending", "b:pending", "c:pending"], failures: 0 })
  })

  test("the list as JSON text or as bullets is read", () => {
    const goal = manage(newChecklistState(), [{ type: "set", goal: "g" }])
    for (const items of ['["a", "b"]', '[{"text": "a"}, {"text": "b"}]', "* a\n* b"])
      expect(itemsOf(play(goal, [{ tool: "submit_checklist", args: { items } }]).state)).toEqual(["a:pending", "b:pending"])
  })

  test.skipIf(IS_SLOWED)("no list is slow to read", () => {
    const long = "x".repeat(200_000)
    for (const updates of [
      " ".repeat(200_000),
      `}${" ".repeat(200_000)}`,
      long,
      "[".repeat(200_000),
      `\`\`\`${"\n".repeat(200_000)}`,
      `${"- a\n".repeat(50_000)}`,
    ]) {
      const began = performance.now()
      judged({ updates, new_items: updates, reason: "r" })
      expect(performance.now() - began).toBeLessThan(10_000)
    }
  })
})
