import { describe, expect, test } from "vitest"
import { JUDGE_TRANSITIONS } from "../../src/drivers/checklist/index.ts"
import { PREPARATION, REDIRECTION, TRANSITIONS } from "../../src/machine/transitions.ts"
import type { StateName } from "../../src/machine/turn.ts"
import { type Exploration, exploreTurn } from "../../src/testing/explore-turn.ts"
import type { StepLaw } from "../../src/testing/step-checker.ts"
import { LANE } from "../lane.ts"
import { EXPLORED } from "./explored-drivers.ts"
import { exploreJudge, JUDGES } from "./explored-judge.ts"

const IS_FAST = LANE === "fast"
const MINUTES = 600_000

const SYNCED = "waiting_execution_surface × execution_surface_synced"
const ANSWERED = "waiting_llm × llm_complete"
const RESULTS = "waiting_tools × tool_results"
const DECISIONS = "waiting_tools × tool_decisions"
const PENDING = "waiting_tools × tool_pending"
const RAN = "waiting_exec × exec_result"
const DELIVERED = "waiting_checkpoint × checkpoint_delivery"

const CHAT = [ANSWERED, RESULTS, PENDING, DELIVERED]
const HELD = [ANSWERED, RESULTS, DECISIONS, PENDING, DELIVERED]
const CODE = [ANSWERED, RAN, DELIVERED]

/** The rows of the table that each exploration reaches, by hand. */
const ROWS: { readonly [name: string]: readonly string[] } = {
  chat: CHAT,
  "chat, prompt and tools synced": IS_FAST ? [SYNCED, ANSWERED, DELIVERED] : [SYNCED, ...CHAT],
  "chat, an empty answer asked for once more": IS_FAST ? [ANSWERED, DELIVERED] : CHAT,
  "chat, output as answer": CHAT,
  "chat, output as tool": CHAT,
  code: CODE,
  "code, wrapped with a state of its own": CODE,
  approval: HELD,
  "approval of one call of two": HELD,
  "approval that denies": IS_FAST ? [ANSWERED, DECISIONS, DELIVERED] : HELD,
  compaction: IS_FAST ? [ANSWERED, DELIVERED] : CHAT,
  goal: CHAT,
  "goal with a budget, continued": CHAT,
  "children of a goal": CHAT,
  "goal around compaction around approval": IS_FAST ? [ANSWERED, DELIVERED] : HELD,
  "chat, redirected": IS_FAST ? [ANSWERED, DELIVERED] : CHAT,
  "chat, prompt and tools synced, redirected": [SYNCED, ...CHAT],
  "approval, redirected": HELD,
  "goal, redirected": CHAT,
  "compaction, redirected": [ANSWERED, DELIVERED],
  "code, redirected": CODE,
  "chat, with hostile answers": CHAT,
  // Within two answers, no call that was approved has a result.
  "approval, with hostile answers": IS_FAST ? [ANSWERED, DECISIONS, DELIVERED] : HELD,
  "goal, with hostile answers": CHAT,
  "chat, output as tool, with hostile answers": CHAT,
  "chat, with additions of the host": IS_FAST ? [ANSWERED, DELIVERED] : CHAT,
  "chat, prompt and tools synced, with additions of the host": [SYNCED, ...CHAT],
  "approval, with additions of the host": HELD,
  "goal, with additions of the host": CHAT,
  "compaction, with additions of the host": [ANSWERED, DELIVERED],
  "code, with additions of the host": CODE,
}

/**
 * What the table allows a driver, and none of this package does. A driver that may start any work after any response needs these rows: the
 * scripted drivers of test/properties/reach.test.ts take each of them.
 */
const NOT_REACHED: { readonly [row: string]: readonly StateName[] } = {
  // No driver of this package acts by calls and by code in one turn. The next request follows a checkpoint, which begins an iteration.
  [RESULTS]: ["waiting_llm", "waiting_exec"],
  [DECISIONS]: ["waiting_llm", "waiting_exec"],
  [RAN]: ["waiting_llm", "waiting_tools", "waiting_exec"],
  // A delivery is followed by an iteration, or by the end that the checkpoint was made for.
  [DELIVERED]: ["waiting_llm", "waiting_tools", "waiting_exec", "waiting_checkpoint"],
}

const nextOf = new Map<string, Set<StateName>>()
const polledTo = new Set<StateName>()
const redirectedTo = new Set<StateName>()

/** Notes what follows the steps that are not responses. */
const NOTES: StepLaw = ({ input, before, after }) => {
  if (before === undefined) polledTo.add(after.state)
  else if (input?.type === "redirect") redirectedTo.add(after.state)
  return undefined
}

function rowsOf({ rows }: Exploration): readonly string[] {
  return rows.reached.map(({ state, response }) => `${state} × ${response}`)
}

const inLane = EXPLORED.flatMap(({ name, options, bounds: { fast, full } }) => {
  const bounds = IS_FAST ? fast : full
  return bounds === undefined ? [] : [{ name, options: { ...options, bounds } }]
})

describe("the drivers of this package follow the laws in every state of a small turn", () => {
  test.each(inLane)(
    "$name",
    ({ name, options }) => {
      const explored = exploreTurn({ ...options, laws: { ...options.laws, notes: NOTES } })
      expect(rowsOf(explored)).toEqual(ROWS[name])
      for (const { state, response, next } of explored.rows.reached)
        nextOf.set(`${state} × ${response}`, new Set([...(nextOf.get(`${state} × ${response}`) ?? []), ...next]))
      expect(Object.keys(explored.outcomes)).toEqual(expect.arrayContaining(["stopped cancelled", "stopped plugin_abort", "stopped runtime_error"]))
    },
    MINUTES,
  )

  test("together they reach every row of the table, and every state that may follow, but for those that only other drivers reach", () => {
    const rows = Object.entries(TRANSITIONS).flatMap(([state, row]) =>
      Object.entries(row).map(([response, { next }]) => ({ row: `${state} × ${response}`, next: next as readonly StateName[] })),
    )
    const notReached = rows.flatMap(({ row, next }) => {
      const missing = next.filter((state) => nextOf.get(row)?.has(state) !== true)
      return missing.length === 0 ? [] : [[row, missing] as const]
    })
    expect(Object.fromEntries(notReached)).toEqual(NOT_REACHED)
    expect([...polledTo].sort()).toEqual(["waiting_execution_surface", "waiting_llm"])
    expect(PREPARATION.preparing.next).toEqual(expect.arrayContaining([...polledTo]))
    // Of a redirected turn, the explorer sees the state after it was polled: an iteration was prepared.
    if (!IS_FAST) expect([...redirectedTo].sort()).toEqual(["waiting_execution_surface", "waiting_llm"])
    expect(REDIRECTION.next).toContain("prepare_iteration")
  })
})

describe("the checklist judge follows its table in every state of an evaluation", () => {
  const nextOf = new Map<string, Set<string>>()

  test.each(JUDGES)(
    "$name",
    (judge) => {
      const { states, next, requests } = exploreJudge(judge)
      for (const [state, after] of next) nextOf.set(state, new Set([...(nextOf.get(state) ?? []), ...after]))
      expect(states).toBeGreaterThan(20)
      expect(requests).toBeLessThanOrEqual(9)
    },
    MINUTES,
  )

  test("together they reach every row of it", () => {
    const reached = Array.from(nextOf, ([state, next]) => [state, [...next].sort()] as const)
    const table = Object.entries(JUDGE_TRANSITIONS).flatMap(([state, { llm_complete: rule }]) =>
      rule === undefined ? [] : [[state, [...rule.next].sort()] as const],
    )
    expect(Object.fromEntries(reached)).toEqual(Object.fromEntries(table))
  })
})
