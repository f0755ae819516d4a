import { describe, expect, test } from "vitest"
import { judgeValidation } from "../../../src/checks/judge.ts"
import {
  continuationPrompt,
  manageChecklist,
  newChecklistState,
  renderChecklist,
  restoreChecklist,
  statusLine,
} from "../../../src/drivers/checklist/index.ts"
import { ChecklistCommand } from "../../../src/schemas/checklist.ts"
import { AT, CONFIG, completes, goalOf, listed, manage, play, rules } from "./support.ts"

const later = AT + 1000

describe("commands", () => {
  test("set starts a new goal with a new id", () => {
    const state = manage(listed(["a"]), [{ type: "set", goal: "  second " }])
    expect(goalOf(state)).toEqual({
      goalId: "g2",
      revision: 0,
      goal: "second",
      status: "active",
      turnsUsed: 0,
      maxTurns: 20,
      createdAt: AT,
      consecutiveParseFailures: 0,
      consecutiveTransportFailures: 0,
      stalledTurns: 0,
      checklist: [],
      decomposed: false,
      nextItemNumber: 1,
    })
  })

  test("a user who settles the last open item finishes the goal immediately", () => {
    const half = play(listed(["a", "b"]), [completes(1)]).state
    const marked = manage(half, [{ type: "mark_item", itemId: "i2", status: "impossible" }])
    expect(goalOf(marked)).toMatchObject({ status: "done", lastVerdict: "done", lastReason: { type: "user_marks" } })
    expect(goalOf(manage(half, [{ type: "remove_item", index: "2" }])).status).toBe("done")
    expect(goalOf(manage(half, [{ type: "pause" }, { type: "mark_item", index: 2, status: "completed" }])).status).toBe("done")
    const reference = { ...CONFIG, compat: "reference" } as const
    expect(goalOf(manage(half, [{ type: "mark_item", index: 2, status: "completed" }], reference)).status).toBe("active")
  })

  test("undo reopens an item that the judge settled and keeps its evidence", () => {
    const half = play(listed(["a", "b"]), [completes(1)]).state
    const undone = manageChecklist(CONFIG, half, { type: "undo_item", itemId: "i1", at: later })
    expect(undone).toMatchObject({ ok: true, item: { id: "i1", status: "pending", evidence: { type: "text", text: "saw 1" } } })
    expect(goalOf(undone.state).checklist[0]).not.toHaveProperty("completedAt")
  })

  test("the id of a removed item is not reused", () => {
    const state = manage(listed(["a", "b"]), [
      { type: "remove_item", itemId: "i2" },
      { type: "add_item", text: "c" },
    ])
    expect(goalOf(state).checklist.map(({ id, text }) => `${id} ${text}`)).toEqual(["i1 a", "i3 c"])
  })

  test.each([
    [{ type: "set", goal: " \u2003\n" }, "empty_goal"],
    [{ type: "add_item", text: "\t" }, "empty_item"],
    [{ type: "mark_item", index: 99, status: "finished" }, "unknown_status"],
    [{ type: "mark_item", index: 3, status: "completed" }, "index_out_of_range"],
    [{ type: "remove_item", index: 0 }, "index_out_of_range"],
    [{ type: "remove_item", index: "2.5" }, "invalid_index"],
    [{ type: "remove_item" }, "invalid_index"],
    [{ type: "undo_item", itemId: "i9" }, "unknown_item"],
  ] as const)("%j is refused and changes nothing", (command, refused) => {
    const state = listed(["a", "b"])
    const managed = manageChecklist(CONFIG, state, { at: AT, ...command })
    expect(managed).toMatchObject({ ok: false, refused })
    expect(managed.state).toBe(state)
  })

  test("without a goal, item commands are refused, and other commands do nothing", () => {
    const none = newChecklistState()
    expect(manageChecklist(CONFIG, none, { type: "add_item", text: "a", at: AT })).toMatchObject({ ok: false, refused: "no_goal" })
    expect(manageChecklist(CONFIG, none, { type: "remove_item", index: 1, at: AT })).toMatchObject({ ok: false, refused: "no_goal" })
    expect(manage(none, [{ type: "pause" }, { type: "resume" }, { type: "clear" }, { type: "clear_checklist" }])).toBe(none)
  })

  test("a command is validated by its schema", () => {
    expect(ChecklistCommand.safeParse({ type: "mark_item", index: "2", status: "done", at: AT }).success).toBe(true)
    expect(ChecklistCommand.safeParse({ type: "mark_item", index: [], status: "done", at: AT }).success).toBe(false)
  })
})

describe("texts", () => {
  test("the goal in one line", () => {
    expect(statusLine(newChecklistState())).toBe("No goal is set.")
    const state = play(listed(["a", "b"]), [completes(1)]).state
    expect(statusLine(state)).toBe("Goal active (2/20 turns, 1/2 items): ship it")
    expect(statusLine(manage(state, [{ type: "pause" }]))).toBe("Goal paused (2/20 turns, 1/2 items; by the user): ship it")
    expect(statusLine(manage(state, [{ type: "pause", reason: "lunch" }]))).toBe("Goal paused (2/20 turns, 1/2 items; lunch): ship it")
    expect(statusLine(manage(state, [{ type: "mark_done", reason: "" }]))).toBe("Goal done (2/20 turns, 1/2 items): ship it")
    expect(statusLine(manage(state, [{ type: "clear" }]))).toBe("No goal is set.")
  })

  test("the list, with the reason for impossible items; an item cannot pass for two", () => {
    const forged = listed(["a", "b\n2. [x] all else", "c"])
    const state = play(forged, [rules([{ index: 3, status: "impossible", evidence: "no\nnetwork" }])]).state
    expect(renderChecklist(state)).toBe("1. [ ] a\n2. [ ] b 2. [x] all else\n3. [!] c (impossible: no network)")
    expect(renderChecklist(newChecklistState())).toBe("(no goal)")
    const wide = manage(newChecklistState(), [
      { type: "set", goal: "g" },
      { type: "add_item", text: `a \n\n\t b${" ".repeat(200_000)}c` },
    ])
    expect(renderChecklist(wide)).toBe(`1. [ ] a b${" ".repeat(200_000)}c`)
  })

  test("the continuation prompt, with the goal's text unchanged", () => {
    const state = manage(newChecklistState(), [{ type: "set", goal: "fix {goal} $& %s" }])
    expect(continuationPrompt(state.goal)).toMatch(/^\[Still working on a standing goal\]\nGoal: fix \{goal\} \$& %s\n\nTake the next step/)
    expect(continuationPrompt(listed(["a"]).goal)).toContain("Criteria (0 of 1 settled):\n  [ ] a\n")
    expect(continuationPrompt(manage(state, [{ type: "pause" }]).goal)).toBeUndefined()
    expect(continuationPrompt(undefined)).toBeUndefined()
  })
})

describe("restoring a saved state", () => {
  test("returns the saved state", () => {
    const state = play(listed(["a", "b"]), [completes(1)]).state
    expect(restoreChecklist(CONFIG, JSON.stringify(state), judgeValidation)).toEqual(state)
  })

  test("a cleared goal stays cleared; the reference restores it", () => {
    const cleared = JSON.stringify(manage(listed(["a"]), [{ type: "clear" }]))
    expect(restoreChecklist(CONFIG, cleared, judgeValidation).goal).toBeUndefined()
    const found = restoreChecklist({ ...CONFIG, compat: "reference" }, cleared, judgeValidation)
    expect(goalOf(found).status).toBe("cleared")
    expect(statusLine(found)).toBe("No goal is set.")
    expect(goalOf(manage(found, [{ type: "resume" }])).status).toBe("active")
  })

  test("refuses a value that is not a state", () => {
    const error = (value: unknown) => {
      try {
        restoreChecklist(CONFIG, value, judgeValidation)
      } catch (thrown) {
        return thrown
      }
      return undefined
    }
    expect(error("{")).toMatchObject({ name: "CheckpointError", code: "not_json" })
    expect(error({})).toMatchObject({ code: "invalid_checkpoint", path: "/nextGoalNumber" })
    expect(error({ nextGoalNumber: 1, more: 1 })).toMatchObject({ code: "invalid_checkpoint", path: "/more" })
    const state = listed(["a"])
    const broken = { ...state, goal: { ...state.goal, checklist: [{ ...goalOf(state).checklist[0], status: "finished" }] } }
    expect(error(broken)).toMatchObject({ code: "invalid_checkpoint", path: "/goal/checklist/0/status" })
  })

  test("refuses a state that would assign an id twice", () => {
    const state = listed(["a", "b"])
    const goal = goalOf(state)
    const path = (value: unknown) => {
      try {
        restoreChecklist(CONFIG, value)
      } catch (thrown) {
        expect(thrown).toMatchObject({ name: "CheckpointError", code: "inconsistent_checkpoint" })
        return (thrown as { path: string }).path
      }
      return undefined
    }
    expect(path({ ...state, nextGoalNumber: 1 })).toBe("/goal/goalId")
    expect(path({ nextGoalNumber: 0, clearedGoal: goal })).toBe("/clearedGoal/goalId")
    expect(path({ ...state, goal: { ...goal, nextItemNumber: 2 } })).toBe("/goal/checklist/1/id")
    expect(path({ ...state, goal: { ...goal, checklist: goal.checklist.map((item) => ({ ...item, id: "mine" })) } })).toBe("/goal/checklist/1/id")
    expect(path({ ...state, goal: { ...goal, goalId: "mine" } })).toBeUndefined()
  })
})
