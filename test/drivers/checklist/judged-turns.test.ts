import { describe, expect, test } from "vitest"
import {
  applyJudgement,
  ChecklistJudge,
  type Decision,
  decisionText,
  type JudgeConfig,
  manageChecklist,
  newChecklistState,
  restoreChecklist,
} from "../../../src/drivers/checklist/index.ts"
import type { ChecklistState, JudgedTurn, PauseReason } from "../../../src/schemas/checklist.ts"
import type { OutputPart, TokenUsage } from "../../../src/schemas/llm.ts"
import type { Message, Part } from "../../../src/schemas/message.ts"
import { refusal } from "../../machine/support.ts"
import { AT, answerOf, answerParts, CONFIG, goalOf, itemsOf, list, listed, manage, play, rules } from "./support.ts"

const FREEFORM: JudgeConfig = { ...CONFIG, judge: "freeform" }
const REFERENCE: JudgeConfig = { ...CONFIG, compat: "reference" }
const DONE = '{"verdict": "done", "reason": "41 pass"}'
const goal = (text = "ship it"): ChecklistState => manage(newChecklistState(), [{ type: "set", goal: text }])
const judging = (state: ChecklistState, config: JudgeConfig, turn: Partial<JudgedTurn> = {}) =>
  new ChecklistJudge(config, state, { response: "I worked.", at: AT, ...turn })

describe("a judgement of a goal that is not the one of now", () => {
  const judge = judging(goal(), FREEFORM)
  judge.handle(answerOf(1, DONE))
  const { judgement } = judge
  if (judgement === undefined) throw new Error("The judge is not done.")

  test.each<readonly [string, ChecklistState]>([
    ["another one of the same revision", manage(goal(), [{ type: "clear" }, { type: "set", goal: "sail" }])],
    ["a later revision", manage(goal(), [{ type: "edit", goal: "ship it today" }])],
    ["a goal that a host stored as paused", { ...goal(), goal: { ...goalOf(goal()), status: "paused" } }],
    ["a goal with items since", manage(goal(), [{ type: "add_item", text: "docs" }])],
    ["no goal", newChecklistState()],
  ])("is stale and changes nothing: %s", (_what, state) => {
    const applied = applyJudgement(FREEFORM, state, judgement, AT)
    expect(applied.state).toBe(state)
    expect(applied.decision).toMatchObject({ verdict: "stale", reason: { type: "stale" }, shouldContinue: false })
    expect(applyJudgement(FREEFORM, goal(), judgement, AT).decision.verdict).toBe("done")
  })

  test("is there only when the judge is done", () => {
    const asking = judging(goal(), FREEFORM)
    expect([asking.judgement, asking.done, asking.outstanding?.id]).toEqual([undefined, false, 1])
    asking.handle(answerOf(1, DONE))
    expect([asking.judgement?.finding.type, asking.done, asking.outstanding]).toEqual(["judged", true, undefined])
  })
})

describe("a turn that ends before a wait is over", () => {
  test("is not judged, and the decision says until when and why", () => {
    const wait = rules([], { verdict: "wait", wait_seconds: 60, reason: "the deployment runs" })
    const { state } = play(listed(["a"]), [wait])
    const { decision, state: after } = play(state, [], { at: AT + 59_999 })
    expect(after).toBe(state)
    expect(decision).toEqual({
      status: "active",
      shouldContinue: false,
      verdict: "wait",
      reason: { type: "text", text: "the deployment runs" },
      notBefore: AT + 60_000,
    })
    expect(play(state, [rules([])], { at: AT + 60_000 }).decision.verdict).toBe("continue")
  })
})

describe("a verdict of which a part cannot be read", () => {
  test("counts as unreadable, and the rest of it is applied, its stance included", () => {
    const verdict = rules(
      [
        { index: 1, status: "completed" },
        { index: 9, status: "completed" },
      ],
      { verdict: "blocked", reason: "no key" },
    )
    const { state, decision } = play(listed(["a", "b"]), [verdict])
    expect(decision).toMatchObject({ verdict: "blocked", status: "paused" })
    expect(itemsOf(state)).toEqual(["a:completed", "b:pending"])
    expect(goalOf(state)).toMatchObject({ consecutiveParseFailures: 1, lastReason: { type: "bad_arguments", problem: "the list has no item 9" } })
  })

  test("is a reason, also where it is written into the text", () => {
    // Only the reference reads such numbers.
    const text = '{"updates": [{"index": Infinity, "status": "completed"}], "new_items": [], "reason": "r"}'
    expect(goalOf(play(listed(["a"], REFERENCE), [text], {}, REFERENCE).state).lastReason).toMatchObject({
      type: "bad_arguments",
      problem: "an index is infinite",
    })
    expect(goalOf(play(listed(["a"]), ["I cannot say."]).state).lastReason).toEqual({ type: "no_verdict" })
  })

  test("the goal continues if it says that a silent user asked to stop", () => {
    const { state, decision } = play(listed(["a"]), [rules([], { verdict: "asked_to_stop" })], { said: [] })
    expect(decision).toMatchObject({ verdict: "continue", shouldContinue: true })
    expect(goalOf(state)).toMatchObject({ lastVerdict: "continue", consecutiveParseFailures: 1 })
  })

  const part = (type: "text" | "tool_result" | "image"): Part => ({ id: "p", type, text: "Stop.", callId: "c" }) as Part
  const user = (...types: readonly ("text" | "tool_result" | "image")[]): Message => ({ id: "m", role: "user", parts: types.map(part) })
  const assistant: Message = { id: "a", role: "assistant", parts: [part("text")] }
  test.each<readonly [string, readonly Message[], boolean]>([
    ["a text of the user among others", [assistant, user("text"), assistant], true],
    ["a text of the user with an image", [user("image", "text")], true],
    ["a result of a tool", [user("tool_result")], false],
    ["a message of a plugin", [{ ...user("text"), origin: { type: "plugin", pluginId: "p" } }], false],
    ["a text of the model", [assistant], false],
  ])("a user who asked to stop is heard in %s", (_what, messages, isHeard) => {
    const turn = { said: [], transcript: { id: "t", messages } }
    expect(play(listed(["a"]), [rules([], { verdict: "asked_to_stop" })], turn).decision.verdict).toBe(isHeard ? "asked_to_stop" : "continue")
  })
})

describe("an answer", () => {
  test("that the provider cut off is a failed call, also without a list", () => {
    for (const reason of ["provider_error", "cancelled"] as const) {
      const judge = judging(goal(), FREEFORM)
      judge.handle(answerOf(1, "I th", reason))
      expect(judge.judgement?.finding).toMatchObject({
        answer: "unreachable",
        reason: { type: "judge_error", code: reason, message: expect.stringContaining("cut off") },
      })
    }
    const cut = judging(goal(), FREEFORM)
    cut.handle(answerOf(1, "I th", "output_limit"))
    expect(cut.judgement?.finding).toMatchObject({ answer: "unparseable" })
  })

  test("is read from its texts, and from `text` where it has none", () => {
    const finding = (parts: readonly OutputPart[], text: string) => {
      const judge = judging(goal(), FREEFORM)
      const { result, ...response } = answerParts(1, parts)
      judge.handle({ ...response, result: result.ok ? { ok: true, response: { ...result.response, text } } : result })
      return judge.judgement?.finding
    }
    const split: readonly OutputPart[] = [
      { type: "reasoning", text: '{"verdict": "continue"}' },
      { type: "text", text: '{"verdict": ' },
      { type: "text", text: '"done"}' },
    ]
    expect(finding(split, "")).toMatchObject({ says: "done", answer: "usable" })
    expect(finding(split, "not this")).toMatchObject({ says: "done", answer: "usable" })
    expect(finding([], DONE)).toMatchObject({ says: "done", answer: "usable" })
  })

  test("of the reference is its first call, by the exact name", () => {
    const call = (toolName: string, index: number, callId: string) =>
      ({
        type: "tool_call",
        callId,
        toolName,
        inputJson: JSON.stringify({ updates: [{ index, status: "completed" }], new_items: [], reason: "r" }),
      }) as const
    const settled = (config: JudgeConfig, ...names: readonly string[]): readonly string[] => {
      const state = listed(["a", "b", "c"], config)
      const judge = judging(state, config)
      judge.handle(
        answerParts(
          1,
          names.map((name, index) => call(name, index + 1, `c${index}`)),
        ),
      )
      return itemsOf(applyJudgement(config, state, judge.judgement as never, AT).state)
    }
    expect(settled(REFERENCE, "update_checklist", "update_checklist")).toEqual(["a:completed", "b:pending", "c:pending"])
    expect(settled(REFERENCE, "functions.update_checklist")).toEqual(["a:pending", "b:pending", "c:pending"])
    expect(settled(CONFIG, "update_checklist", "functions.update_checklist")).toEqual(["a:completed", "b:completed", "c:pending"])
  })

  test.each<readonly [Partial<TokenUsage>, boolean]>([
    [{}, true],
    [{ inputTokens: 5 }, false],
    [{ cachedInputTokens: 5 }, false],
    [{ outputTokens: 5 }, false],
    [{ inputTokens: 5, cachedInputTokens: 5 }, false],
    [{ inputTokens: 5, outputTokens: 5 }, false],
  ])("with the usage %o is estimated: %s", (given, isEstimated) => {
    const usage = { inputTokens: 0, cachedInputTokens: 0, outputTokens: 0, reasoningTokens: 0, ...given }
    const judge = judging(goal(), FREEFORM)
    const { result, ...response } = answerOf(1, DONE)
    judge.handle({ ...response, result: result.ok ? { ok: true, response: { ...result.response, usage } } : result })
    if (isEstimated) expect(judge.usage).toMatchObject({ estimated: true, outputTokens: expect.any(Number) })
    else expect(judge.usage).toEqual(usage)
  })

  test.each([0, 2, 99])("to the effect %i, which does not exist, is refused", (id) => {
    const judge = judging(goal(), FREEFORM)
    expect(refusal(() => judge.handle(answerOf(id, DONE))).code).toBe("unknown_effect")
    expect(judge.done).toBe(false)
  })
})

describe("the list of a goal", () => {
  test("is still to be written where another kind of judge judged before", () => {
    for (const judge of ["freeform", "none"] as const) {
      const { state } = play(goal(), judge === "none" ? [] : ['{"verdict": "continue"}'], {}, { ...CONFIG, judge })
      expect(itemsOf(play(state, [list("a")]).state)).toEqual(["a:pending"])
    }
  })

  test("of the reference is asked for once, also if the judge then fails", () => {
    const replies = ["no list", { fails: "Busy." }] as const
    expect(play(goal(), replies, {}, REFERENCE).judge.judgement?.decomposeTried).toBe(true)
    expect(play(goal(), replies).judge.judgement?.decomposeTried).toBe(false)
  })

  test("that the user settled finishes a goal without a judge, and not one whose turn said nothing", () => {
    const marks = [{ type: "mark_item", index: 1, status: "completed" }] as const
    // The reference waits for the next turn.
    const off: JudgeConfig = { ...REFERENCE, judge: "none" }
    const mine = manage(goal(), [{ type: "add_item", text: "docs" }, ...marks], off)
    expect(play(mine, [], {}, off).decision.verdict).toBe("done")
    expect(play(manage(listed(["a"], REFERENCE), marks, REFERENCE), [], { response: " " }, REFERENCE).decision.verdict).toBe("continue")
  })

  test("of a goal that is done can be marked without another end", () => {
    const ended = manage(listed(["a", "b"]), [
      { type: "mark_item", index: 1, status: "completed" },
      { type: "mark_done", reason: "shipped" },
    ])
    const marked = manage(ended, [{ type: "mark_item", index: 2, status: "completed" }])
    expect(goalOf(marked)).toMatchObject({ status: "done", lastReason: { type: "text", text: "shipped" }, revision: goalOf(ended).revision })
  })
})

describe("failures", () => {
  test("of a turn that was not judged keep no digest of its response", () => {
    expect(play(goal(), [], { ended: "failed" }).judge.judgement).not.toHaveProperty("response")
    expect(play(goal(), [list("a")]).judge.judgement).toHaveProperty("response")
  })

  test("in a row end for the reference with a turn that needs no judge", () => {
    const unread = play(listed(["a"], REFERENCE), ["?"], {}, REFERENCE).state
    expect(goalOf(unread).consecutiveParseFailures).toBe(1)
    expect(goalOf(play(unread, [], { response: "" }, REFERENCE).state).consecutiveParseFailures).toBe(0)
    const ours = play(listed(["a"]), ["?"]).state
    expect(goalOf(play(ours, [], { response: "" }).state).consecutiveParseFailures).toBe(1)
  })

  test("are not made of a goal without a text, which a host may have stored", () => {
    const blank: ChecklistState = { ...goal(), goal: { ...goalOf(goal()), goal: " " } }
    for (const config of [FREEFORM, CONFIG])
      expect(play(blank, [], {}, config).judge.judgement?.finding).toMatchObject({
        says: "skipped",
        answer: "unasked",
        reason: { type: "empty_goal" },
      })
  })
})

describe("a saved judge", () => {
  test.each([
    [null],
    [7],
    [undefined],
    ["null"],
    ["7"],
    [
      new Proxy(
        {},
        {
          get: () => {
            throw new Error("No.")
          },
        },
      ),
    ],
  ])("%# is not a checkpoint", (value) => {
    expect(refusal(() => ChecklistJudge.restore(CONFIG, value))).toMatchObject({ code: "not_a_checkpoint", path: "" })
  })

  test("keeps its own transcript, and is refused where the numbers of its calls do not fit", () => {
    const messages = (id: string): readonly Message[] => [{ id, role: "user", parts: [] }]
    const saved = judging(listed(["a"]), CONFIG, { transcript: { id: "t", messages: messages("own") } }).checkpoint()
    const again = ChecklistJudge.restore(CONFIG, saved, { transcript: { id: "t", messages: messages("given") } })
    expect(again.checkpoint()).toEqual(saved)
    const left = ChecklistJudge.restore(CONFIG, saved).checkpoint({ transcript: false })
    expect(left.evaluation).not.toHaveProperty("transcript")
    const wrong = { ...saved, evaluation: { ...saved.evaluation, requests: 3 } }
    expect(refusal(() => ChecklistJudge.restore(CONFIG, wrong))).toMatchObject({ code: "inconsistent_checkpoint", path: "/evaluation/nextEffectId" })
  })

  test("a cleared goal is restored under reference only, and not over another", () => {
    const cleared = manage(goal(), [{ type: "clear" }])
    expect(restoreChecklist(REFERENCE, cleared).goal?.status).toBe("cleared")
    expect(restoreChecklist(CONFIG, cleared)).toEqual(cleared)
    const both = { ...manage(cleared, [{ type: "set", goal: "sail" }]), clearedGoal: cleared.clearedGoal } as ChecklistState
    expect(restoreChecklist(REFERENCE, both)).toEqual(both)
    expect(restoreChecklist(REFERENCE, goal())).toEqual(goal())
  })
})

describe("an item's number", () => {
  test.each([
    [undefined, "invalid_index"],
    ["one", "invalid_index"],
    [Number.POSITIVE_INFINITY, "invalid_index"],
    [0, "index_out_of_range"],
    [-1, "index_out_of_range"],
    [3, "index_out_of_range"],
  ])("%s is refused: %s", (index, refused) => {
    const command = { type: "undo_item", at: AT, ...(index !== undefined && { index }) } as never
    const state = listed(["a", "b"])
    expect(manageChecklist(CONFIG, state, command)).toMatchObject({ ok: false, refused, state })
  })
})

describe("a decision in words", () => {
  const text = { type: "text", text: "41 pass" } as const
  const said = (notice: Decision["notice"], reason: Decision["reason"] = text): string =>
    decisionText({ shouldContinue: false, verdict: "continue", reason, ...(notice !== undefined && { notice }) })
  const paused = (reason: PauseReason): string => said({ type: "paused", reason })

  test("says how far the goal is", () => {
    expect([
      said(undefined),
      said({ type: "created", items: 1 }),
      said({ type: "created", items: 2 }),
      said({ type: "continuing", turnsUsed: 2, maxTurns: 20 }),
      said({ type: "continuing", turnsUsed: 2, maxTurns: 20, settled: 1, items: 3 }),
      said({ type: "done" }),
      said({ type: "waiting" }),
      said({ type: "waiting", waitsFor: "mail" }),
      said({ type: "done" }, { type: "no_active_goal" }),
    ]).toEqual([
      "",
      "The judge wrote a list of 1 item.",
      "The judge wrote a list of 2 items.",
      "Continuing (2/20 turns): 41 pass",
      "Continuing (2/20 turns, 1/3 items): 41 pass",
      "Goal reached: 41 pass",
      "Waiting: 41 pass",
      'Waiting for "mail": 41 pass',
      "Goal reached: no goal is active",
    ])
  })

  test("says why it is paused, and what the user can do about it", () => {
    expect(paused({ type: "user" })).toBe("Goal paused: by the user.")
    expect(paused({ type: "unparseable", failures: 3 })).toMatch(/^Goal paused: 3 answers .* try another\.$/)
    expect(paused({ type: "unreachable", failures: 5 })).toMatch(/^Goal paused: 5 calls .* Check the judge's endpoint/)
    expect(paused({ type: "budget", turnsUsed: 20, maxTurns: 20 })).toMatch(/^Goal paused: .*20\/20\. Resume/)
    expect(paused({ type: "stalled", turns: 8 })).toMatch(/^Goal paused: no item was settled in 8 turns\..*list/)
    expect(paused({ type: "stalled", turns: 8, mode: "none" })).toMatch(/^Goal paused: 8 turns .* Say what to do instead/)
    expect(paused({ type: "asked_to_stop", text: "later" })).toMatch(/: later\. Resume to continue\.$/)
  })
})
