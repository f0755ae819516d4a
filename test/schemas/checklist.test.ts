import { describe, expect, test } from "vitest"
import type * as z from "zod"
import * as schemas from "../../src/schemas/index.ts"

const { judgeValidation } = schemas

const AT = 1_700_000_000_000
const usage = { inputTokens: 1, cachedInputTokens: 2, outputTokens: 3, reasoningTokens: 1 }
const message = { id: "m1", role: "user", parts: [{ id: "m1.p0", type: "text", text: "hello" }] }
const items = [
  { id: "i1", text: "a", status: "pending", addedBy: "judge", addedAt: AT },
  { id: "i2", text: "b", status: "completed", addedBy: "user", addedAt: AT, completedAt: AT, evidence: { type: "user_mark" } },
  { id: "i3", text: "c", status: "impossible", addedBy: "judge", addedAt: AT, completedAt: AT, evidence: { type: "text", text: "no" } },
]
const goal = {
  goalId: "g1",
  revision: 3,
  goal: "ship it",
  status: "paused",
  turnsUsed: 3,
  maxTurns: -1,
  createdAt: AT,
  lastTurnAt: AT,
  lastVerdict: "blocked",
  lastReason: { type: "judge_error", code: "529", message: "overloaded" },
  pausedReason: { type: "budget", turnsUsed: 3, maxTurns: 3 },
  notBefore: AT,
  consecutiveParseFailures: 1,
  consecutiveTransportFailures: 0,
  stalledTurns: 2,
  checklist: items,
  decomposed: true,
  nextItemNumber: 4,
}
const policy = {
  model: "m",
  modelVariant: "fast",
  sessionId: "s",
  compat: "reference",
  judge: "freeform",
  defaultMaxTurns: 1,
  maxItems: 2,
  maxStalledTurns: 3,
  maxParseFailures: 4,
  maxTransportFailures: 5,
  maxHistoryPages: 6,
  historyPageChars: 7,
  maxWaitMs: 8,
  maxOutputTokens: 9,
}
const transcript = { id: "t1", messages: [message] }
const request = { model: "m", messages: [], attachments: [], tools: [], toolChoice: "none", generation: {} }
const asking = { attempt: 0, outstanding: { type: "llm_call", id: 1, request } }
const ruling = { itemId: "i1", status: "completed", evidence: "saw it" }
const finding = {
  type: "judged",
  mode: "checklist",
  answer: "usable",
  says: "wait",
  waitMs: 5,
  rulings: [ruling],
  newItems: ["d"],
  reason: { type: "none_given" },
}
const states = [
  { type: "decomposing", ...asking },
  { type: "evaluating", ...asking, pagesLeft: 5, exchange: [{ role: "user", blocks: [{ type: "text", text: "page" }] }] },
  { type: "judging_freely", ...asking },
  { type: "finished", finding },
]
const evaluation = {
  goalId: "g1",
  revision: 3,
  goal: "ship it",
  items,
  response: "I shipped it.",
  transcript,
  decomposeTried: true,
  state: states[1],
  nextEffectId: 2,
  requests: 1,
  usage,
}
const at = { at: AT }

/** Full examples, written from the docs. `optional`: the keys that may be left out. */
const EXAMPLES: Readonly<Record<string, { readonly schema: z.ZodType; readonly values: readonly unknown[]; readonly optional?: readonly string[] }>> =
  {
    ChecklistState: {
      schema: schemas.ChecklistState,
      values: [{ nextGoalNumber: 2, goal, clearedGoal: goal }],
      optional: ["goal", "clearedGoal"],
    },
    ChecklistGoal: {
      schema: schemas.ChecklistGoal,
      values: [goal],
      optional: ["lastTurnAt", "lastVerdict", "lastReason", "pausedReason", "notBefore"],
    },
    ChecklistItem: { schema: schemas.ChecklistItem, values: [...items].reverse(), optional: ["completedAt", "evidence"] },
    ItemStatus: { schema: schemas.ItemStatus, values: ["pending", "completed", "impossible"] },
    Evidence: { schema: schemas.Evidence, values: [{ type: "user_mark" }, { type: "text", text: "" }] },
    JudgeReason: {
      schema: schemas.JudgeReason,
      values: [
        { type: "text", text: "t" },
        { type: "decomposed", items: 1 },
        ...["empty_goal", "empty_response", "empty_reply", "no_verdict", "none_given", "judge_off", "user_marks"].map((type) => ({ type })),
        { type: "not_json", text: "t" },
        { type: "bad_arguments", toolName: "t", problem: "p" },
        { type: "judge_error", message: "m" },
      ],
    },
    PauseReason: {
      schema: schemas.PauseReason,
      values: [
        { type: "user" },
        { type: "text", text: "lunch" },
        { type: "blocked", text: "no key" },
        { type: "unparseable", failures: 3 },
        { type: "unreachable", failures: 5 },
        { type: "budget", turnsUsed: 1, maxTurns: 1 },
        { type: "stalled", turns: 8 },
      ],
    },
    ChecklistCommand: {
      schema: schemas.ChecklistCommand,
      values: [
        { type: "set", goal: "g", maxTurns: 3, ...at },
        { type: "set", goal: "g", ...at },
        { type: "pause", reason: "lunch", ...at },
        { type: "resume", resetBudget: false, ...at },
        { type: "clear", ...at },
        { type: "clear_checklist", ...at },
        { type: "mark_done", reason: "seen", ...at },
        { type: "add_item", text: "a", ...at },
        { type: "mark_item", itemId: "i1", status: "impossible", ...at },
        { type: "undo_item", index: 1, ...at },
        { type: "remove_item", index: "2", ...at },
      ],
      optional: ["maxTurns"],
    },
    ChecklistPolicy: { schema: schemas.ChecklistPolicy, values: [policy], optional: Object.keys(policy).filter((key) => key !== "model") },
    EvidenceTranscript: { schema: schemas.EvidenceTranscript, values: [transcript] },
    JudgedTurn: { schema: schemas.JudgedTurn, values: [{ response: "", ended: "failed", transcript, ...at }], optional: ["ended", "transcript"] },
    ItemRuling: { schema: schemas.ItemRuling, values: [ruling], optional: ["evidence"] },
    Finding: {
      schema: schemas.Finding,
      values: [finding, ...["inactive", "waiting", "turn_failed", "turn_cancelled"].map((type) => ({ type })), { type: "decomposed", items: ["a"] }],
      optional: ["waitMs"],
    },
    Judgement: { schema: schemas.Judgement, values: [{ goalId: "g1", revision: 3, decomposeTried: false, finding, usage, requests: 2 }] },
    JudgeState: { schema: schemas.JudgeState, values: states },
    Evaluation: { schema: schemas.Evaluation, values: [evaluation], optional: ["transcript"] },
    JudgeCheckpoint: {
      schema: schemas.JudgeCheckpoint,
      values: states.map((state) => ({ format: "turn-machine/checklist-judge", version: 1, evaluation: { ...evaluation, state } })),
    },
  }

describe.each(Object.entries(EXAMPLES))("%s", (_, { schema, values, optional = [] }) => {
  test("is accepted and comes out unchanged", () => {
    for (const value of values) expect(schema.parse(JSON.parse(JSON.stringify(value)))).toEqual(value)
  })

  test("has exactly these optional keys, and none that may be null", () => {
    const [value] = values
    if (typeof value !== "object" || value === null) return
    for (const key of Object.keys(value)) {
      const { [key]: _dropped, ...rest } = value as Record<string, unknown>
      expect(schema.safeParse(rest).success, `without ${key}`).toBe(optional.includes(key))
      expect(schema.safeParse({ ...rest, [key]: null }).success, `${key}: null`).toBe(false)
    }
  })
})

describe("saved values must not lose anything", () => {
  const thrown = (act: () => unknown): unknown => {
    try {
      return act()
    } catch (error) {
      return error
    }
  }
  const checkpoint = { format: "turn-machine/checklist-judge", version: 1, evaluation }

  test("an unknown key is refused, at any depth", () => {
    expect(judgeValidation.checkpoint(checkpoint)).toEqual(checkpoint)
    const state = { nextGoalNumber: 2, goal: { ...goal, checklist: [{ ...items[0], "a/b": 1 }] } }
    expect(thrown(() => judgeValidation.state(state))).toMatchObject({ code: "invalid_checkpoint", path: "/goal/checklist/0/a~1b" })
    expect(
      thrown(() => judgeValidation.checkpoint({ ...checkpoint, evaluation: { ...evaluation, state: { ...states[0], extra: 1 } } })),
    ).toMatchObject({
      code: "invalid_checkpoint",
      path: "/evaluation/state/extra",
      message: 'The judge\'s checkpoint has an unknown key at "/evaluation/state/extra"; dropping it could lose its meaning.',
    })
  })

  test("a value that throws when it is read is refused", () => {
    const throwing = (key: string): object =>
      Object.defineProperty({}, key, {
        enumerable: true,
        get: () => {
          throw new Error("trap")
        },
      })
    expect(thrown(() => judgeValidation.state(throwing("nextGoalNumber")))).toMatchObject({
      name: "CheckpointError",
      code: "invalid_checkpoint",
      path: "",
    })
    expect(thrown(() => judgeValidation.response(throwing("type")))).toMatchObject({ name: "SchemaError", code: "invalid_response" })
    expect(thrown(() => judgeValidation.turn(throwing("response")))).toMatchObject({ name: "SchemaError", code: "invalid_start" })
  })
})
