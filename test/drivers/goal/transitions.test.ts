import { describe, expect, test } from "vitest"
import type { GoalChange, GoalStanding } from "../../../src/drivers/goal/transitions.ts"
import { GOAL_TRANSITIONS, nextStatus } from "../../../src/drivers/goal/transitions.ts"

/** By row: the next status for each status while no budget is reached; `-` stays, `!` is refused. Written by hand from the rules of the reference. */
const EXPECTED: { readonly [Change in GoalChange]: string } = {
  //                   none             active           paused           blocked          usage_limited    budget_limited   complete
  claim_complete: "    !                -                -                -                -                -                -",
  complete: "          !                complete         complete         complete         complete         complete         -",
  complete_with_checks: " !              -                !                !                !                -                -",
  wait: "              !                -                !                !                !                !                !",
  checks_passed: "     !                complete         complete         complete         complete         complete         -",
  create_goal: "        active           !                !                !                !                !                active",
  complete_goal: "      !                complete         complete         complete         complete         complete         -",
  block_goal: "         !                blocked          blocked          -                blocked          -                blocked",
  set_active: "         active           -                active           active           active           active           active",
  set_paused: "         paused           paused           -                paused           paused           -                paused",
  set_blocked: "        blocked          blocked          blocked          -                blocked          -                blocked",
  set_usage_limited: "  usage_limited    usage_limited    usage_limited    usage_limited    -                usage_limited    usage_limited",
  set_budget_limited: " budget_limited   budget_limited   budget_limited   budget_limited   budget_limited   -                budget_limited",
  set_complete: "       complete         complete         complete         complete         complete         complete         -",
  set_budget: "         !                -                -                -                -                -                -",
  set_objective: "      !                -                -                -                -                -                -",
  pause: "              !                paused           !                !                !                !                !",
  usage: "              !                -                -                -                -                -                -",
  usage_limit: "        !                usage_limited    -                -                -                usage_limited    -",
  error: "              !                blocked          -                -                -                -                -",
  interrupt: "          !                paused           -                -                -                -                -",
  brake: "              !                paused           -                -                -                -                -",
  reactivate: "         !                -                active           -                -                -                -",
}

const COLUMNS: readonly GoalStanding[] = ["none", "active", "paused", "blocked", "usage_limited", "budget_limited", "complete"]

describe("the table, with no budget reached", () => {
  test.each(Object.entries(EXPECTED) as [GoalChange, string][])("%s", (change, row) => {
    const cells = row.trim().split(/\s+/)
    const expected = COLUMNS.map((from, index) => (cells[index] === "-" ? from : cells[index] === "!" ? "refused" : cells[index]))
    expect(COLUMNS.map((from) => nextStatus(from, change, false))).toEqual(expected)
  })

  test("has only rows that are tested here", () => {
    expect(Object.keys(GOAL_TRANSITIONS).sort()).toEqual(Object.keys(EXPECTED).sort())
  })
})

/** Rows that leave an active goal as it is, whatever was used. */
const KEEPS_ACTIVE: ReadonlySet<GoalChange> = new Set<GoalChange>(["set_objective", "claim_complete", "complete_with_checks", "wait"])

test("with a budget reached, active becomes budget_limited, and every other cell stays the same", () => {
  for (const change of Object.keys(EXPECTED) as GoalChange[]) {
    for (const from of COLUMNS) {
      const withRoom = nextStatus(from, change, false)
      const limited = withRoom === "active" && !KEEPS_ACTIVE.has(change) && !(from === "active" && change === "reactivate")
      expect(`${from} ${change}: ${nextStatus(from, change, true)}`).toBe(`${from} ${change}: ${limited ? "budget_limited" : withRoom}`)
    }
  }
})
