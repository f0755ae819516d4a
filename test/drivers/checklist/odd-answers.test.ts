import { describe, expect, test } from "vitest"
import { ChecklistJudge, type JudgeConfig, newChecklistState } from "../../../src/drivers/checklist/index.ts"
import type { OutputPart } from "../../../src/schemas/llm.ts"
import { AT, answerParts, CONFIG, goalOf, IS_SLOWED, itemsOf, listed, manage, play } from "./support.ts"

const FREEFORM: JudgeConfig = { ...CONFIG, judge: "freeform" }
const freeformGoal = () => manage(newChecklistState(), [{ type: "set", goal: "All tests pass." }])

function freeform(text: string): string {
  const { state, decision } = play(freeformGoal(), [text], {}, FREEFORM)
  return goalOf(state).consecutiveParseFailures > 0 ? "counted" : decision.verdict
}

const DONE = '{"verdict": "done", "reason": "41 pass"}'
const CONTINUE = '{"verdict": "continue", "reason": "…"}'
const update = (status: string, index = 1): string => JSON.stringify({ updates: [{ index, status, evidence: "e" }], new_items: [], reason: "r" })

describe("a verdict on the whole in an odd shape", () => {
  test.each([
    ["announced in prose", `I think:\nFinal verdict: ${DONE}`, "done"],
    ["announced after a draft", `${CONTINUE}\n**Final verdict:** ${DONE}`, "done"],
    ["announced, and the words refer to the JSON before", `${DONE}\nFinal verdict: as above.`, "done"],
    ["announced after reasoning that is not closed by its own tag", `<think>${CONTINUE}</reasoning>\nVerdict: ${DONE}`, "done"],
    ["announced in plain words", "All 41 tests pass.\n\nFinal verdict: done", "done"],
    ["announced in bold", "**Verdict:** CONTINUE — the tests are missing", "continue"],
    ["announced with a reason after a comma", "Verdict: blocked, it needs the user's key", "blocked"],
    ["announced with `is`", "My verdict is done.", "done"],
    ["announced with `is` and a colon", "My verdict is: done.", "done"],
    ["another word after the JSON", `${CONTINUE}\nOn second thought. Final verdict: done`, "done"],
    ["as two lines", "verdict: done\nreason: 41 pass", "done"],
    ["as a flag in a line", "done: true\nreason: 41 pass", "done"],
    ["as a flag in a line that is false", "done: false", "continue"],
    ["in tags", "<verdict>done</verdict><reason>41 pass</reason>", "done"],
    ["as a single word", "Done.", "done"],
    ["as a single bold word", "**DONE**", "done"],
    ["with single quotes", "{'verdict': 'done', 'reason': 'it''s fine'}".replace("''", "\\'"), "done"],
    ["with a comma too many", '{"verdict": "done", "reason": "41 pass",}', "done"],
    ["with the words of Python", "{'done': True, 'reason': None}", "done"],
    ["as a call written into the text", `<tool_call>{"name": "verdict", "arguments": ${DONE}}</tool_call>`, "done"],
    [
      "in harmony's channels",
      `<|channel|>analysis<|message|>${CONTINUE}<|end|><|start|>assistant<|channel|>final <|constrain|>json<|message|>${DONE}<|return|>`,
      "done",
    ],
    [
      "in harmony's channel of a tool",
      `<|channel|>analysis<|message|>hm<|end|><|channel|>commentary to=functions.verdict <|constrain|>json<|message|>${DONE}<|call|>`,
      "done",
    ],
    ["after [THINK]", `[THINK]${CONTINUE}[/THINK]\n${DONE}`, "done"],
    ["after ◁think▷", `◁think▷${CONTINUE}◁/think▷${DONE}`, "done"],
    ["after begin_of_thought", `<|begin_of_thought|>${DONE}<|end_of_thought|>${CONTINUE}`, "continue"],
    ["after START_THINKING", `<|START_THINKING|>${DONE}<|END_THINKING|>${CONTINUE}`, "continue"],
    ["after antThinking", `<antThinking>${DONE}</antThinking>${CONTINUE}`, "continue"],
    ["plain words only in reasoning", "<think>Verdict: done</think>", "counted"],
    ["plain words only in reasoning that never ends", "<think>Hm.\nVerdict: done", "counted"],
    ["plain words in reasoning without an opening mark", "Verdict: done\n</think>\nVerdict: continue", "continue"],
    ["a word that is unknown", '{"verdict": "maybe", "reason": "r"}', "counted"],
    ["a word that is unknown, announced", "Verdict: perhaps", "counted"],
    ["impossible", '{"verdict": "impossible", "reason": "no wind"}', "blocked"],
    ["stuck", '{"verdict": "stuck", "reason": "no key"}', "blocked"],
    ["not done", '{"verdict": "not done", "reason": "r"}', "continue"],
    ["prose with the word in it", "It is not clear that it is done.", "counted"],
    ["a sentence about a verdict", "I cannot give a verdict yet", "counted"],
  ])("%s", (_, text, verdict) => expect(freeform(text)).toBe(verdict))

  test("the reason in plain words is read", () => {
    const reason = (text: string) => play(freeformGoal(), [text], {}, FREEFORM).decision.reason
    expect(reason("**Verdict:** CONTINUE — the tests are missing")).toEqual({ type: "text", text: "the tests are missing" })
    expect(reason("verdict: done\nreason: 41 pass")).toEqual({ type: "text", text: "41 pass" })
    expect(reason("<verdict>done</verdict><reason>41 pass</reason>")).toEqual({ type: "text", text: "41 pass" })
    expect(reason(`${DONE}\nFinal verdict: done`)).toEqual({ type: "text", text: "41 pass" })
    expect(reason('{"verdict": "done", "reasoning": "41 pass"}')).toEqual({ type: "text", text: "41 pass" })
  })

  test.each([
    ["of an unknown tool", [{ toolName: "verdict", args: DONE }], "done"],
    ["with wrapped arguments", [{ toolName: "verdict", args: `{"arguments": ${DONE}}` }], "done"],
    ["with wrapped arguments as JSON text", [{ toolName: "respond", args: JSON.stringify({ arguments: DONE }) }], "done"],
    ["with arguments of JSON text", [{ toolName: "json", args: JSON.stringify(DONE) }], "done"],
    ["twice: the last counts", [CONTINUE, DONE].map((args) => ({ toolName: "json", args })), "done"],
    ["without a verdict", [{ toolName: "sh", args: '{"cmd": "ls"}' }], "counted"],
  ])("a call %s", (_, calls, verdict) => {
    const parts = calls.map(({ toolName, args }, index): OutputPart => ({ type: "tool_call", callId: `c${index}`, toolName, inputJson: args }))
    const judge = new ChecklistJudge(FREEFORM, freeformGoal(), { response: "I worked.", at: AT })
    judge.handle(answerParts(1, parts))
    const finding = judge.judgement?.finding
    if (finding?.type !== "judged") throw new Error("not judged")
    expect(finding.answer === "unparseable" ? "counted" : finding.says).toBe(verdict)
  })

  test("under reference, only JSON counts", () => {
    for (const text of ["Final verdict: done", "Done.", "done: true"]) {
      const { state } = play(freeformGoal(), [text], {}, { ...FREEFORM, compat: "reference" })
      expect(goalOf(state).consecutiveParseFailures).toBe(1)
    }
  })
})

/** Judges two open items with an answer of these parts. */
function ruled(parts: readonly OutputPart[], config = CONFIG) {
  const state = listed(["a", "b"])
  const judge = new ChecklistJudge(config, state, { response: "I worked.", at: AT })
  judge.handle(answerParts(1, parts))
  const { judgement } = judge
  if (judgement?.finding.type !== "judged") throw new Error("not judged")
  const { rulings, answer, reason, newItems, says } = judgement.finding
  return { rulings: rulings.map(({ itemId, status }) => `${itemId} ${status}`).join(), answer, reason, newItems, says }
}
const text = (value: string): readonly OutputPart[] => [{ type: "text", text: value }]
const call = (args: string, toolName = "update_checklist", callId = "c"): OutputPart => ({ type: "tool_call", callId, toolName, inputJson: args })
const BOTH = "i1 completed,i2 completed"
const FIRST = "i1 completed"

describe("rulings in an odd shape", () => {
  test.each<[string, readonly OutputPart[], string]>([
    ["a call for each item", [call(update("completed", 1)), call(update("completed", 2), "update_checklist", "d")], BOTH],
    ["a name in a namespace", [call(update("completed"), "functions.update_checklist")], FIRST],
    ["a name in camel case", [call(update("completed"), "updateChecklist")], FIRST],
    ["a name with dashes", [call(update("completed"), "update-checklist")], FIRST],
    ["arguments in arguments", [call(`{"arguments": ${update("completed")}}`)], FIRST],
    ["arguments in parameters, as JSON text", [call(JSON.stringify({ parameters: update("completed") }))], FIRST],
    ["arguments under the tool's name", [call(`{"update_checklist": ${update("completed")}}`)], FIRST],
    ["a list of arguments", [call(`[${update("completed")}]`)], FIRST],
    ["a list of rulings", [call('[{"index": 1, "status": "completed"}, {"index": 2, "status": "done"}]')], BOTH],
    ["a single ruling", [call('{"index": 1, "status": "completed", "evidence": "e"}')], FIRST],
    ["rulings under another name", [call('{"rulings": [{"index": 1, "status": "completed"}], "reason": "r"}')], FIRST],
    ["numbers by status", [call('{"completed": [1, "2"], "reason": "r"}')], BOTH],
    ["arguments of Python", [call("{'updates': [{'index': 1, 'status': 'completed', 'evidence': None}], 'new_items': [], 'reason': 'r'}")], FIRST],
    ["a comma too many", [call('{"updates": [{"index": 1, "status": "completed",},], "reason": "r"}')], FIRST],
    ["a call written into the text", text(`<tool_call>\n{"name": "update_checklist", "arguments": ${update("completed")}}\n</tool_call>`), FIRST],
    [
      "two calls written into the text",
      text([1, 2].map((index) => `{"name": "update_checklist", "arguments": ${update("completed", index)}}`).join("\n")),
      BOTH,
    ],
    [
      "a call of OpenAI's format in the text",
      text(JSON.stringify({ type: "function", function: { name: "update_checklist", arguments: update("completed") } })),
      FIRST,
    ],
    ["rulings in the text", text('[{"index": 1, "status": "completed"}, {"index": 2, "status": "completed"}]'), BOTH],
    [
      "in harmony's channel of a tool",
      text(`<|channel|>commentary to=functions.update_checklist <|constrain|>json<|message|>${update("completed")}<|call|>`),
      FIRST,
    ],
    ["after reasoning with another verdict", text(`<think>${update("impossible", 2)}</think>Final verdict: ${update("completed")}`), FIRST],
    ["after a draft", text(`${update("impossible")}\nNo:\n${update("completed")}`), FIRST],
  ])("%s", (_, parts, expected) => expect(ruled(parts)).toMatchObject({ rulings: expected, answer: "usable" }))

  test("several calls are one verdict: all items, the last reason and the stance of any", () => {
    const blocked = JSON.stringify({ updates: [], new_items: ["c"], reason: "no key", verdict: "blocked" })
    const found = ruled([call(blocked), call(update("completed"), "update_checklist", "d")])
    expect(found).toMatchObject({ rulings: FIRST, says: "blocked", newItems: ["c"], reason: { type: "text", text: "r" }, answer: "usable" })
  })

  test("a call of several that cannot be read counts, and so do rulings that differ", () => {
    const problem = (...calls: OutputPart[]) => {
      const { rulings, answer, reason } = ruled(calls)
      return [rulings, answer, reason.type === "bad_arguments" ? reason.problem : reason.type]
    }
    const cut = call('{"updates": [{"index": 2, "status": "comp', "update_checklist", "d")
    expect(problem(call(update("completed")), cut)).toEqual([FIRST, "unparseable", "of several calls, one cannot be read: they are not JSON"])
    expect(problem(cut, call(update("completed")))).toEqual([FIRST, "unparseable", "of several calls, one cannot be read: they are not JSON"])
    expect(problem(call(update("completed")), call("{}", "update_checklist", "d"))[2]).toBe("of several calls, one has no verdict")
    expect(problem(call(update("completed")), call(update("impossible"), "update_checklist", "d"))).toEqual([
      FIRST,
      "unparseable",
      "two rulings on item 1 differ",
    ])
    expect(problem(cut, cut)[2]).toBe("they are not JSON")
  })

  test("a verdict word that is unknown counts", () => {
    expect(ruled([call('{"updates": [], "reason": "r", "verdict": "maybe"}')])).toMatchObject({
      answer: "unparseable",
      reason: { problem: 'the verdict "maybe" is unknown' },
    })
    expect(ruled([call('{"updates": [], "reason": "r", "verdict": "in progress"}')])).toMatchObject({ answer: "usable", says: "continue" })
  })

  test("under reference, the first call counts", () => {
    const calls = [call(update("completed", 1)), call(update("completed", 2), "update_checklist", "d")]
    expect(ruled(calls, { ...CONFIG, compat: "reference" })).toMatchObject({ rulings: FIRST })
  })

  test.each([
    ["several calls", [call('{"items": ["a"]}', "submit_checklist"), call('{"items": ["b"]}', "submit_checklist", "d")]],
    ["a list of texts", [call('["a", "b"]', "submit_checklist")]],
    ["another key", [call('{"criteria": ["a", "b"]}', "submit_checklist")]],
    ["a call written into the text", text('<tool_call>{"name": "submit_checklist", "arguments": {"items": ["a", "b"]}}</tool_call>')],
  ])("a list in %s is read", (_, parts) => {
    const state = manage(newChecklistState(), [{ type: "set", goal: "g" }])
    const judge = new ChecklistJudge(CONFIG, state, { response: "I worked.", at: AT })
    judge.handle(answerParts(1, parts as readonly OutputPart[]))
    expect(judge.judgement?.finding).toEqual({ type: "decomposed", items: ["a", "b"] })
  })

  // Reading any of these in quadratic time would take minutes.
  test.skipIf(IS_SLOWED)("nothing of it is slow", { timeout: 60_000 }, () => {
    for (const piece of [
      "Verdict: ",
      "verdict is ",
      "'",
      "{'a':",
      "<verdict>",
      "done: ",
      "final verdict",
      "<think>",
      "</think>",
      "<|end|>",
      "* ",
      ",   ",
    ]) {
      const long = piece.repeat(Math.ceil(200_000 / piece.length))
      expect(freeform(long), `${piece}, repeated, is no verdict`).toBe("counted")
      play(listed(["a"]), [long])
    }
  })

  test("items that a verdict settles are settled once", () => {
    const { state } = play(listed(["a", "b"]), [JSON.stringify([{ index: 1, status: "completed" }])])
    expect(itemsOf(state)).toEqual(["a:completed", "b:pending"])
  })
})
