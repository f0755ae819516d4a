import { describe, expect, test } from "vitest"
import { applyJudgement, ChecklistJudge, decisionText, newChecklistState } from "../../../src/drivers/checklist/index.ts"
import { AT, answerOf, CONFIG, completes, goalOf, itemsOf, list, listed, manage, play, rules } from "./support.ts"

const goal = () => manage(newChecklistState(), [{ type: "set", goal: "ship it" }])

describe("the list", () => {
  test("is created by the first turn, which is not judged", () => {
    const { state, decision } = play(goal(), [list("a", "b")])
    expect(itemsOf(state)).toEqual(["a:pending", "b:pending"])
    expect(goalOf(state).checklist.map((item) => item.id)).toEqual(["i1", "i2"])
    expect(decision).toMatchObject({ verdict: "decompose", shouldContinue: true, notice: { type: "created", items: 2 } })
  })

  test("does not get an item twice, regardless of case and surrounding space", () => {
    const mine = manage(goal(), [{ type: "add_item", text: "Tests pass" }])
    expect(itemsOf(play(mine, [list(" tests PASS ", "Straße", "STRASSE", "docs")]).state)).toEqual([
      "Tests pass:pending",
      "Straße:pending",
      "docs:pending",
    ])
    const state = listed(["a"])
    expect(itemsOf(play(state, [rules([], { new_items: [{ text: "A " }, { text: "b" }, "b"] })]).state)).toEqual(["a:pending", "b:pending"])
  })

  test("holds at most maxItems items of the judge, 50 by default; a user can add more", () => {
    const many = Array.from({ length: 120 }, (_, index) => `item ${index}`)
    expect(goalOf(listed(many)).checklist).toHaveLength(50)
    const small = { ...CONFIG, maxItems: 3 }
    const full = manage(listed(["a", "b", "c", "d"], small), [{ type: "add_item", text: "mine" }], small)
    expect(itemsOf(full)).toEqual(["a:pending", "b:pending", "c:pending", "mine:pending"])
    expect(itemsOf(play(full, [rules([], { new_items: ["more"] })], {}, small).state)).toEqual(itemsOf(full))
  })

  test("is not written by a freeform judge, which rules on a user's items if there are any", () => {
    const freeform = { ...CONFIG, judge: "freeform" } as const
    const plain = play(goal(), ['{"verdict": "continue", "reason": "more"}'], {}, freeform)
    expect(plain.requests[0]?.tools).toEqual([])
    const mine = manage(goal(), [{ type: "add_item", text: "mine" }])
    expect(play(mine, [completes(1)], {}, freeform).decision.verdict).toBe("done")
  })

  test("without a judge no request is made, turns are counted and the budget applies", () => {
    const none = { ...CONFIG, judge: "none", defaultMaxTurns: 2 } as const
    const first = play(manage(newChecklistState(), [{ type: "set", goal: "g" }], none), [], {}, none)
    expect(first.decision).toMatchObject({ verdict: "continue", shouldContinue: true, reason: { type: "judge_off" } })
    expect(play(first.state, [], {}, none).decision).toMatchObject({ status: "paused", notice: { type: "paused", reason: { type: "budget" } } })
  })
})

describe("verdicts", () => {
  test("blocked pauses with the judge's reason and is not done", () => {
    const { state, decision } = play(listed(["a"]), [rules([], { verdict: "blocked", reason: "needs a key" })])
    expect(decision).toMatchObject({ status: "paused", verdict: "blocked", shouldContinue: false })
    expect(goalOf(state).pausedReason).toEqual({ type: "blocked", text: "needs a key" })
    expect(decisionText(decision)).toBe("Goal paused: blocked: needs a key.")
    const whole = play(goal(), ["no list", '{"verdict": "blocked", "reason": "cannot be done"}'])
    expect(whole.decision).toMatchObject({ status: "paused", verdict: "blocked" })
  })

  test("a list that gains an item when all others are settled is not done", () => {
    const { state, decision } = play(listed(["a"]), [rules([{ index: 1, status: "completed", evidence: "e" }], { new_items: ["b"] })])
    expect(itemsOf(state)).toEqual(["a:completed", "b:pending"])
    expect(decision.status).toBe("active")
  })

  test("a list that is settled is done, even if the judge says blocked", () => {
    const reply = rules([{ index: 1, status: "impossible", evidence: "no network" }], { verdict: "blocked" })
    expect(play(listed(["a"]), [reply]).decision).toMatchObject({ status: "done", verdict: "done" })
  })

  test("wait does not count the turn, and nothing is judged until its time is over", () => {
    const before = listed(["a"])
    const { state, decision } = play(before, [rules([], { verdict: "wait", wait_seconds: 90 })])
    expect(decision).toMatchObject({ status: "active", verdict: "wait", shouldContinue: false, notBefore: AT + 90_000 })
    expect(goalOf(state)).toMatchObject({ turnsUsed: goalOf(before).turnsUsed, notBefore: AT + 90_000, lastVerdict: "wait" })
    const early = play(state, [], { at: AT + 89_999 })
    expect(early.state).toBe(state)
    expect(early.decision).toMatchObject({ verdict: "wait", notBefore: AT + 90_000, shouldContinue: false })
    const late = play(state, [completes(1)], { at: AT + 90_000 })
    expect(goalOf(late.state)).not.toHaveProperty("notBefore")
    expect(goalOf(late.state)).toMatchObject({ status: "done", turnsUsed: 2 })
    expect(goalOf(manage(state, [{ type: "resume" }]))).not.toHaveProperty("notBefore")
  })

  test("a wait is limited to a day; a wait without a duration and an unknown word mean continue", () => {
    expect(play(listed(["a"]), [rules([], { verdict: "wait", wait_seconds: 1e9 })]).decision.notBefore).toBe(AT + 86_400_000)
    for (const more of [
      { verdict: "wait" },
      { verdict: "wait", wait_seconds: -1 },
      { verdict: "wait", wait_seconds: "soon" },
      { verdict: "perhaps" },
    ])
      expect(play(listed(["a"]), [rules([], more)]).decision).toMatchObject({ verdict: "continue", shouldContinue: true })
  })

  test("failed and cancelled turns are neither judged nor counted", () => {
    const state = listed(["a"])
    for (const ended of ["failed", "cancelled"] as const) {
      const skipped = play(state, [], { ended })
      expect(skipped.state).toBe(state)
      expect(skipped.decision).toMatchObject({ status: "active", verdict: "skipped", shouldContinue: false, reason: { type: `turn_${ended}` } })
    }
  })
})

describe("limits", () => {
  const failing = { fails: "connection reset", code: "ECONNRESET" }

  test("failed calls count separately from answers without a verdict, and the fifth in a row pauses", () => {
    let state = play(listed(["a"]), ["no verdict"]).state
    for (let turn = 1; turn <= 4; turn += 1) {
      state = play(state, [failing]).state
      expect(goalOf(state)).toMatchObject({ status: "active", consecutiveParseFailures: 1, consecutiveTransportFailures: turn })
    }
    const fifth = play(state, [failing])
    expect(fifth.decision).toMatchObject({ status: "paused", notice: { type: "paused", reason: { type: "unreachable", failures: 5 } } })
    expect(goalOf(play(state, ["no verdict"]).state)).toMatchObject({ consecutiveParseFailures: 2, consecutiveTransportFailures: 0 })
    expect(goalOf(play(state, [rules([])]).state)).toMatchObject({ consecutiveParseFailures: 0, consecutiveTransportFailures: 0 })
  })

  test("resume resets all counts", () => {
    let state = listed(["a"])
    for (let turn = 1; turn <= 3; turn += 1) state = play(state, ["no verdict"]).state
    expect(goalOf(state)).toMatchObject({ status: "paused", pausedReason: { type: "unparseable", failures: 3 } })
    const resumed = goalOf(manage(state, [{ type: "resume" }]))
    expect(resumed).toMatchObject({ status: "active", turnsUsed: 0, consecutiveParseFailures: 0, stalledTurns: 0 })
    expect(resumed).not.toHaveProperty("pausedReason")
    expect(goalOf(manage(state, [{ type: "resume", resetBudget: false }])).turnsUsed).toBe(4)
  })

  test("eight turns without a settled or a new item pause the goal", () => {
    let state = listed(["a", "b"])
    for (let turn = 1; turn <= 7; turn += 1) state = play(state, [rules([])]).state
    expect(goalOf(state)).toMatchObject({ status: "active", stalledTurns: 7 })
    expect(goalOf(play(state, [completes(1)]).state)).toMatchObject({ status: "active", stalledTurns: 0 })
    expect(goalOf(manage(state, [{ type: "mark_item", index: 1, status: "completed" }])).stalledTurns).toBe(0)
    expect(goalOf(play(state, [rules([], { verdict: "wait", wait_seconds: 1 })]).state).pausedReason).toEqual({ type: "stalled", turns: 8 })
    expect(goalOf(play(state, [rules([], { new_items: ["c"] })]).state)).toMatchObject({ status: "active", stalledTurns: 0 })
    const eighth = play(state, [rules([], { new_items: ["A"] })])
    expect(eighth.decision).toMatchObject({ status: "paused", notice: { reason: { type: "stalled", turns: 8 } } })
    expect(decisionText(eighth.decision)).toMatch(/^Goal paused: no item was settled in 8 turns\./)
  })

  test("a limit of 0 means unlimited", () => {
    const free = { ...CONFIG, maxStalledTurns: 0, maxTransportFailures: 0, maxParseFailures: 0, maxItems: 0 }
    let state = listed(
      Array.from({ length: 60 }, (_, index) => `${index}`),
      free,
      1000,
    )
    expect(goalOf(state).checklist).toHaveLength(60)
    for (let turn = 0; turn < 20; turn += 1) state = play(state, [turn % 2 === 0 ? failing : "no verdict"], {}, free).state
    expect(goalOf(state).status).toBe("active")
  })

  test("done takes precedence over every pause, and the judge's failures over the budget", () => {
    const last = listed(["a"], CONFIG, 2)
    expect(play(last, [completes(1)]).decision.status).toBe("done")
    expect(play(last, [rules([])]).decision).toMatchObject({ notice: { reason: { type: "budget", turnsUsed: 2, maxTurns: 2 } } })
    const weak = { ...CONFIG, maxParseFailures: 1 }
    expect(play(last, ["?"], {}, weak).decision).toMatchObject({ notice: { reason: { type: "unparseable", failures: 1 } } })
  })
})

describe("a late judgement", () => {
  /** The verdict that everything is done, given while the goal changed. */
  const lateVerdict = (state: ReturnType<typeof goal>) => {
    const judge = new ChecklistJudge(CONFIG, state, { response: "done", at: AT })
    judge.handle(answerOf(judge.poll()?.id ?? 0, completes(1, 2)))
    if (judge.judgement === undefined) throw new Error("no judgement")
    return judge.judgement
  }
  const before = listed(["a", "b"])
  const judgement = lateVerdict(before)

  test.each([
    ["a new goal", manage(before, [{ type: "set", goal: "another" }])],
    ["a clear", manage(before, [{ type: "clear" }])],
    ["a pause", manage(before, [{ type: "pause" }])],
    ["a pause and a resume", manage(before, [{ type: "pause" }, { type: "resume" }])],
    ["a new list", manage(before, [{ type: "clear_checklist" }])],
    ["a mark that finished the goal", manage(before, [{ type: "mark_done", reason: "by hand" }])],
    ["another judgement", play(before, [rules([])]).state],
  ])("loses to %s", (_, changed) => {
    const { state, decision } = applyJudgement(CONFIG, changed, judgement, AT)
    expect(state).toBe(changed)
    expect(decision).toMatchObject({ verdict: "stale", shouldContinue: false })
  })

  test("counts once if applied twice", () => {
    const once = applyJudgement(CONFIG, before, judgement, AT).state
    expect(applyJudgement(CONFIG, once, judgement, AT).state).toBe(once)
  })

  test("applies to its items, even if their numbers have changed", () => {
    const changed = manage(before, [
      { type: "remove_item", index: 1 },
      { type: "add_item", text: "c" },
    ])
    const { state, decision } = applyJudgement(CONFIG, changed, judgement, AT)
    expect(itemsOf(state)).toEqual(["b:completed", "c:pending"])
    expect(decision.status).toBe("active")
  })

  test("does not change an item that a user has settled since", () => {
    const changed = manage(before, [{ type: "mark_item", index: 1, status: "impossible" }])
    const { state, decision } = applyJudgement(CONFIG, changed, judgement, AT + 5)
    expect(itemsOf(state)).toEqual(["a:impossible", "b:completed"])
    expect(goalOf(state).checklist[0]).toMatchObject({ completedAt: AT, evidence: { type: "user_mark" } })
    expect(decision.status).toBe("done")
  })

  test("on the whole no longer applies once there are items", () => {
    const freeform = { ...CONFIG, judge: "freeform" } as const
    const judge = new ChecklistJudge(freeform, goal(), { response: "done", at: AT })
    judge.handle(answerOf(1, '{"verdict": "done"}'))
    const changed = manage(goal(), [{ type: "add_item", text: "one more" }])
    if (judge.judgement === undefined) throw new Error("no judgement")
    expect(applyJudgement(freeform, changed, judge.judgement, AT)).toMatchObject({ state: changed, decision: { verdict: "stale" } })
  })

  test("of an inactive goal does not apply to a goal set since", () => {
    const judge = new ChecklistJudge(CONFIG, newChecklistState(), { response: "x", at: AT })
    if (judge.judgement === undefined) throw new Error("no judgement")
    expect(applyJudgement(CONFIG, goal(), judge.judgement, AT).decision.verdict).toBe("stale")
    expect(applyJudgement(CONFIG, newChecklistState(), judge.judgement, AT).decision).toEqual({
      shouldContinue: false,
      verdict: "inactive",
      reason: { type: "no_active_goal" },
    })
  })
})
