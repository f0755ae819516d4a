import * as fc from "fast-check"
import { expect, test } from "vitest"
import { judgeValidation } from "../../src/checks/judge.ts"
import { ChecklistJudge, JUDGE_TRANSITIONS, type JudgeConfig, manageChecklist, newChecklistState } from "../../src/drivers/checklist/index.ts"
import type { ChecklistState, JudgedTurn, Judgement } from "../../src/schemas/checklist.ts"
import type { LlmCall } from "../../src/schemas/effect.ts"
import type { Response } from "../../src/schemas/response.ts"
import { check, SLOW } from "./check.ts"
import { type Answer, answer, MOST_REQUESTS } from "./checklist-stories.ts"

const messages = [{ id: "m", role: "user", parts: [{ id: "p", type: "text", text: "😀".repeat(40_000) }] }] as const
const turn = fc.record({ response: fc.constantFrom("", "I worked", "x".repeat(9000)), withHistory: fc.boolean() })
const config = fc.record(
  { model: fc.constant("judge"), compat: fc.constant("reference" as const), maxHistoryPages: fc.constantFrom(0, 1, 5) },
  { requiredKeys: ["model"] },
)
/** Goals for an evaluation: without a list, with one, and with a partly settled one. */
const goal = fc.constantFrom("new", "listed", "partly settled")
const evaluation = fc.record({ config, goal, turn, answers: fc.array(answer, { minLength: 1, maxLength: 8 }) })

function stateOf(kind: string): ChecklistState {
  const commands = {
    new: [],
    listed: [{ type: "add_item", text: "a" } as const],
    "partly settled": [
      { type: "add_item", text: "a" } as const,
      { type: "add_item", text: "b" } as const,
      { type: "mark_item", index: 1, status: "completed" } as const,
    ],
  }[kind]
  const set = manageChecklist({ model: "judge" }, newChecklistState(), { type: "set", goal: "g", at: 0 }).state
  return (commands ?? []).reduce((state, command) => manageChecklist({ model: "judge" }, state, { ...command, at: 0 }).state, set)
}

interface Case {
  readonly config: JudgeConfig
  readonly state: ChecklistState
  readonly turn: JudgedTurn
  readonly answers: readonly Answer[]
}

interface Trace {
  readonly calls: readonly LlmCall[]
  readonly answers: readonly Response[]
  readonly checkpoints: readonly string[]
  readonly judgement: Judgement
}

/** Plays a judge from its current state to the end. `between` runs before each answer. */
function play(given: Case, judge: ChecklistJudge, between: (judge: ChecklistJudge, trace: Omit<Trace, "judgement">) => void = () => {}): Trace {
  const trace = { calls: [] as LlmCall[], answers: [] as Response[], checkpoints: [] as string[] }
  for (let call = judge.poll(); call !== undefined; call = judge.poll()) {
    trace.calls.push(call)
    trace.checkpoints.push(JSON.stringify(judge.checkpoint()))
    between(judge, trace)
    const result = given.answers[(call.id - 1) % given.answers.length] as Answer
    const response: Response = { type: "llm_complete", id: call.id, result }
    expect(judge.handle(response)).toEqual({ status: "accepted" })
    trace.answers.push(response)
  }
  trace.checkpoints.push(JSON.stringify(judge.checkpoint()))
  between(judge, trace)
  if (judge.judgement === undefined) throw new Error("The judge neither asks nor ends.")
  return { ...trace, judgement: judge.judgement }
}

function law(name: string, holds: (given: Case, begin: () => ChecklistJudge) => void): void {
  test(name, SLOW, () => {
    check(
      200,
      fc.property(evaluation, (value) => {
        const { response, withHistory } = value.turn
        const given: Case = {
          config: { ...value.config, validation: judgeValidation } as JudgeConfig,
          state: stateOf(value.goal),
          turn: { response, at: 1, ...(withHistory && { transcript: { id: "t", messages } }) },
          answers: value.answers,
        }
        holds(given, () => new ChecklistJudge(given.config, given.state, given.turn))
      }),
    )
  })
}

law("replay: the same answers give equal calls and an equal judgement", (given, begin) => {
  expect(play(given, begin())).toEqual(play(given, begin()))
})

law("cut: a judge restored at any call behaves the same afterwards", (given, begin) => {
  const whole = play(given, begin())
  for (const [index, checkpoint] of whole.checkpoints.entries()) {
    const rest = play(given, ChecklistJudge.restore(given.config, checkpoint))
    expect(rest.calls).toEqual(whole.calls.slice(index))
    expect(rest.judgement).toEqual(whole.judgement)
  }
})

law("duplicates: a repeated answer is stale, changes nothing, and cancels no call", (given, begin) => {
  play(given, begin(), (judge, { answers }) => {
    const before = JSON.stringify(judge.checkpoint())
    const again = ChecklistJudge.restore(given.config, before)
    for (const response of answers) {
      expect(judge.handle(response)).toEqual({ status: "stale" })
      expect(again.handle(response)).toEqual({ status: "stale" })
    }
    expect(JSON.stringify(judge.checkpoint())).toBe(before)
    expect(again.poll()).toEqual(judge.outstanding)
  })
})

law("refusal: a response that does not answer the outstanding call throws a coded error and changes nothing", (given, begin) => {
  play(given, begin(), (judge) => {
    const before = JSON.stringify(judge.checkpoint())
    const id = judge.outstanding?.id
    const wrong: unknown[] = [
      null,
      {},
      { type: "llm_complete", id: 99, result: given.answers[0] },
      { type: "checkpoint_delivery", id: 99, delivery: {} },
    ]
    if (id !== undefined) wrong.push({ type: "tool_results", id, results: [] }, { type: "llm_complete", id, result: { ok: true, response: {} } })
    for (const response of wrong) {
      let code: unknown
      try {
        judge.handle(response as never)
      } catch (error) {
        code = (error as { code?: unknown }).code
      }
      expect(["invalid_response", "unknown_effect", "unexpected_response"]).toContain(code)
    }
    expect(JSON.stringify(judge.checkpoint())).toBe(before)
    expect(judge.outstanding?.id).toBe(id)
  })
})

law("calls are numbered from 1, bounded, and follow the table; after the last page only the verdict is offered", (given, begin) => {
  let before: ChecklistJudge["state"] | undefined
  const { calls, judgement } = play(given, begin(), ({ state }) => {
    if (before !== undefined) expect(JUDGE_TRANSITIONS[before].llm_complete?.next).toContain(state)
    before = state
  })
  expect(calls.map(({ id }) => id)).toEqual(calls.map((_, index) => index + 1))
  expect(calls.length).toBeLessThanOrEqual(MOST_REQUESTS)
  expect(judgement.requests).toBe(calls.length)
  const allowed = given.turn.transcript === undefined ? 0 : (given.config.maxHistoryPages ?? 5)
  for (const { request } of calls) {
    const { tools } = request
    const pages = (request.messages.length - 2) / 2
    const names = tools.map(({ name }) => name)
    const reader = given.config.compat === "reference" ? "read_file" : "read_history"
    expect(pages).toBeLessThanOrEqual(allowed)
    expect(names.includes(reader)).toBe(names.includes("update_checklist") && pages < allowed)
    expect(JSON.stringify(request.messages).length).toBeLessThan(20_000 + pages * 140_000)
  }
})
