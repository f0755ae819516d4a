import { isDeepStrictEqual } from "node:util"
import {
  ChecklistJudge,
  type ChecklistState,
  JUDGE_TRANSITIONS,
  type JudgedTurn,
  type JudgeStateName,
  newChecklistState,
} from "../../src/drivers/checklist/index.ts"
import { canonicalJson, type Json } from "../../src/json.ts"
import type { Response } from "../../src/schemas/response.ts"
import { possibleAnswers } from "../../src/testing/possible-answers.ts"
import { type ExploredSpace, exploreStates, inputsTo } from "../../src/testing/state-space.ts"
import { AT, answerOf, CONFIG, completes, list, listed, manage, type Reply, reads, rules } from "../drivers/checklist/support.ts"

/** A turn that a judge judges. */
export interface ExploredJudge {
  readonly name: string
  readonly state: ChecklistState
  readonly turn?: Partial<JudgedTurn>
}

const GOAL = manage(newChecklistState(), [{ type: "set", goal: "ship it" }])
const TRANSCRIPT = {
  id: "t1",
  messages: [{ id: "m1", role: "assistant" as const, parts: [{ id: "m1.p0", type: "text" as const, text: "wrote the file" }] }],
}

export const JUDGES: readonly ExploredJudge[] = [
  { name: "judge of a new goal", state: GOAL },
  { name: "judge of a goal to which a user added an item", state: manage(GOAL, [{ type: "add_item", text: "a" }]) },
  { name: "judge of a list, with pages of history", state: listed(["a", "b"]), turn: { transcript: TRANSCRIPT } },
]

const POLICY = { ...CONFIG, maxHistoryPages: 1 }

/** What only a judge is answered: its own tools, rightly and wrongly, and refusals of its tool choice. */
const REPLIES: readonly Reply[] = [
  list("a", "b"),
  list(),
  { tool: "submit_checklist", args: "{" },
  completes(1),
  completes(1, 2),
  completes(7),
  rules([], { verdict: "wait", wait_seconds: 60 }),
  rules([], { verdict: "blocked" }),
  rules([], { new_items: [{ text: "c" }] }),
  reads({ transcript: "t1" }),
  reads({ transcript: "another" }),
  '{"done": true, "reason": "All is there."}',
  { fails: "tool_choice is not supported" },
]

export interface ExploredEvaluation extends ExploredSpace {
  /** The states that followed, by the state before. */
  readonly next: ReadonlyMap<JudgeStateName, ReadonlySet<JudgeStateName>>
  /** The most model calls of one evaluation. */
  readonly requests: number
}

/**
 * Explores an evaluation exhaustively: in every state, the judge gets every answer. It must continue in a state of its table, be the same after a
 * restore, ignore an answer that it has, and end.
 */
export function exploreJudge({ state, turn = {} }: ExploredJudge): ExploredEvaluation {
  const next = new Map<JudgeStateName, Set<JudgeStateName>>()
  let requests = 0
  const restored = (text: string): ChecklistJudge => ChecklistJudge.restore(POLICY, text)
  const explored = exploreStates<string, Response>({
    start: () => textOf(new ChecklistJudge(POLICY, state, { response: "I worked.", at: AT, ...turn })),
    key: (text) => text,
    inputs: (text) => {
      const judge = restored(text)
      requirePlace(textOf(judge) === text, "A restored judge is not the one that was saved.", [])
      const { outstanding } = judge
      requirePlace(judge.done === (outstanding === undefined) && judge.done === (judge.judgement !== undefined), "It neither asks nor ends.", [])
      if (outstanding === undefined) return []
      return [...possibleAnswers(outstanding, 1), ...REPLIES.map((reply) => answerOf(outstanding.id, reply))]
    },
    next: (text, response, place) => {
      const judge = restored(text)
      const before = judge.state
      const path = [...inputsTo(place), response]
      requirePlace(judge.handle(response).status === "accepted", "An answer is not accepted.", path)
      const after = textOf(judge)
      requirePlace(judge.handle(response).status === "stale" && textOf(judge) === after, "An answer that was given twice counts twice.", path)
      const again = restored(text)
      again.poll()
      again.handle(response)
      requirePlace(isDeepStrictEqual(again.checkpoint(), judge.checkpoint()), "The same answer has two results.", path)
      const allowed: readonly JudgeStateName[] = JUDGE_TRANSITIONS[before].llm_complete?.next ?? []
      requirePlace(allowed.includes(judge.state), `The table does not lead from ${before} to ${judge.state}.`, path)
      next.set(before, (next.get(before) ?? new Set()).add(judge.state))
      requests = Math.max(requests, judge.judgement?.requests ?? 0)
      // Each answer makes another state, so an evaluation that did not end would be as deep as its bounds allow.
      requirePlace(place.depth < MOST_ANSWERS, `It does not end within ${MOST_ANSWERS} answers.`, path)
      return after
    },
  })
  return { ...explored, next, requests }
}

/** Three tool choices for the list, three for the verdict, and three more after a page of history. */
const MOST_ANSWERS = 3 + 3 * 2

function textOf(judge: ChecklistJudge): string {
  return canonicalJson(judge.checkpoint() as unknown as Json)
}

function requirePlace(holds: boolean, what: string, path: readonly Response[]): void {
  if (!holds) throw new Error(`${what} After: ${JSON.stringify(path)}`)
}
