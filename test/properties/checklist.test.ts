import * as fc from "fast-check"
import { expect, test } from "vitest"
import { judgeValidation } from "../../src/checks/judge.ts"
import {
  allTerminal,
  applyJudgement,
  ChecklistJudge,
  type JudgeConfig,
  manageChecklist,
  newChecklistState,
  restoreChecklist,
} from "../../src/drivers/checklist/index.ts"
import type { ChecklistGoal, ChecklistItem, ChecklistState } from "../../src/schemas/checklist.ts"
import { check, SLOW } from "./check.ts"
import { type Answer, answer, MOST_REQUESTS, type Step, story } from "./checklist-stories.ts"

const START = manageChecklist({ model: "judge" }, newChecklistState(), { type: "set", goal: "g", at: 0 }).state

/** Plays a story. `cut`: saves and restores all state at every step. */
function playStory(given: JudgeConfig, story: readonly Step[], cut: boolean, watch?: Watch): ChecklistState {
  const config = { ...given, validation: judgeValidation }
  let state = START
  for (const step of story) {
    if (cut) state = reload(state)
    if (step.type === "command") {
      state = manageChecklist(config, state, step.command).state
      continue
    }
    const transcript = { id: "t", messages: [{ id: "m", role: "user", parts: [{ id: "p", type: "text", text: "😀".repeat(50_000) }] } as const] }
    let judge = new ChecklistJudge(config, state, { response: step.response, at: step.at, ...(step.withHistory && { transcript }) })
    let asked = 0
    for (let next = judge.poll(); next !== undefined; next = judge.poll()) {
      if (cut) {
        judge = ChecklistJudge.restore(config, JSON.stringify(judge.checkpoint()))
        expect(judge.poll()).toEqual(next)
      }
      const result = step.answers[asked % step.answers.length] as Answer
      asked += 1
      expect(asked).toBeLessThanOrEqual(MOST_REQUESTS)
      judge.handle({ type: "llm_complete", id: next.id, result })
    }
    const { judgement } = judge
    if (judgement === undefined) throw new Error("The judge neither asks nor ends.")
    expect(judgement.requests).toBe(asked)
    for (const inner of step.commands) state = manageChecklist(config, state, inner).state
    const applied = applyJudgement(config, state, judgement, step.at)
    watch?.({ before: state, applied, judgement })
    state = applied.state
  }
  return state
}

/** A saved state continues unchanged; only the reference restores cleared goals. */
function reload(state: ChecklistState): ChecklistState {
  return restoreChecklist({ model: "judge" }, JSON.stringify(state), judgeValidation)
}

type Watch = (seen: {
  readonly before: ChecklistState
  readonly applied: ReturnType<typeof applyJudgement>
  readonly judgement: NonNullable<ChecklistJudge["judgement"]>
}) => void

test("a judgement never changes or removes a settled item", SLOW, () => {
  check(
    400,
    fc.property(story, ({ config, steps }) => {
      playStory(config as JudgeConfig, steps as readonly Step[], false, ({ before, applied }) => {
        const after = new Map((applied.state.goal?.checklist ?? []).map((item) => [item.id, item]))
        for (const item of before.goal?.checklist ?? []) {
          const now = after.get(item.id) as ChecklistItem
          if (item.status !== "pending") expect(now).toEqual(item)
          else expect({ ...now, status: 0, evidence: 0, completedAt: 0 }).toEqual({ ...item, status: 0, evidence: 0, completedAt: 0 })
        }
      })
    }),
  )
})

test("a judgement finishes a goal if and only if all items are settled, or a freeform judge says done", SLOW, () => {
  check(
    400,
    fc.property(story, ({ config, steps }) => {
      playStory(config as JudgeConfig, steps as readonly Step[], false, ({ before, applied, judgement }) => {
        if (applied.state === before) return
        const { finding } = judgement
        const goal = applied.state.goal as ChecklistGoal
        const settled = allTerminal(goal.checklist)
        const wholeDone = finding.type === "judged" && finding.mode === "freeform" && finding.says === "done"
        const looked = finding.type === "judged" && (finding.answer !== "unasked" || finding.mode === "none")
        expect(goal.status === "done").toBe(wholeDone || (settled && looked))
        expect(applied.decision.verdict === "done").toBe(goal.status === "done")
        expect(applied.decision.shouldContinue).toBe(goal.status === "active" && applied.decision.verdict !== "wait")
      })
    }),
  )
})

test("a judgement for another goal or an older revision changes nothing, nor does one applied before", SLOW, () => {
  check(
    400,
    fc.property(story, ({ config, steps }) => {
      playStory(config as JudgeConfig, steps as readonly Step[], false, ({ before, applied, judgement }) => {
        const { goal } = before
        if (goal === undefined || goal.goalId !== judgement.goalId || goal.revision !== judgement.revision) expect(applied.state).toBe(before)
        const again = applyJudgement(config as JudgeConfig, applied.state, judgement, 1)
        expect(again.state).toBe(applied.state)
        if (applied.state !== before) expect(again.decision).toMatchObject({ shouldContinue: false })
      })
    }),
  )
})

test("a story that is saved and restored at every step ends in the same way as without", SLOW, () => {
  check(
    200,
    fc.property(story, ({ config, steps }) => {
      const whole = playStory(config as JudgeConfig, steps as readonly Step[], false)
      expect(playStory(config as JudgeConfig, steps as readonly Step[], true)).toEqual(whole)
      expect(reload(whole)).toEqual(whole)
    }),
  )
})

test("under the defaults no goal runs forever: turns, stalls and failures each stop it", SLOW, () => {
  check(
    60,
    fc.property(fc.array(answer, { minLength: 1, maxLength: 5 }), (answers) => {
      let [state, turns] = [START, 0]
      for (let now = 0; state.goal?.status === "active"; turns += 1) {
        expect(turns).toBeLessThan(200)
        const judge = new ChecklistJudge({ model: "judge" }, state, { response: "x", at: now })
        for (let next = judge.poll(), asked = 0; next !== undefined; next = judge.poll(), asked += 1)
          judge.handle({ type: "llm_complete", id: next.id, result: answers[(turns + asked) % answers.length] as Answer })
        if (judge.judgement === undefined) throw new Error("The judge neither asks nor ends.")
        const { state: next, decision } = applyJudgement({ model: "judge" }, state, judge.judgement, now)
        state = next
        now = decision.notBefore ?? now + 1
      }
    }),
  )
})
