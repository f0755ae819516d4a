import { describe, expect, test } from "vitest"
import { manageChecklist, newChecklistState } from "../../../src/drivers/checklist/index.ts"
import { goalDriver } from "../../../src/drivers/goal/driver.ts"
import { readGoal } from "../../../src/drivers/goal/history.ts"
import { changeGoal } from "../../../src/drivers/goal/thread.ts"
import type { Host } from "../../../src/hosts/host.ts"
import { judgedCheckpoint } from "../../../src/hosts/judge/judged-checkpoint.ts"
import { runTurn } from "../../../src/hosts/run/run-turn.ts"
import type { ChecklistState, PauseReason } from "../../../src/schemas/checklist.ts"
import type { Done } from "../../../src/schemas/effect.ts"
import type { GoalCheck } from "../../../src/schemas/goal.ts"
import type { LlmRequest, LlmResponse } from "../../../src/schemas/llm.ts"
import type { HistoryRecord } from "../../../src/schemas/message.ts"
import { TurnMachine } from "../../../src/validated-turn-machine.ts"
import { answerOf, completes, CONFIG as JUDGE, list, type Reply, rules } from "../../drivers/checklist/support.ts"
import { CONFIG, START } from "../../replay/support.ts"

const USAGE = { inputTokens: 8, cachedInputTokens: 0, outputTokens: 2, reasoningTokens: 0 }

/** A turn that is judged where it would end; the worker's answers and the judge's are two scripts. */
class Judged {
  readonly worker: LlmRequest[] = []
  readonly judge: LlmRequest[] = []
  readonly verdicts: string[] = []
  state: ChecklistState
  /** What happens while the judge is at work, at its first, second, … call. */
  onJudge: (asked: number) => void = () => {}
  readonly machine: TurnMachine
  readonly #options: {
    readonly works: readonly string[]
    readonly rules: readonly Reply[]
    readonly threadId?: string
    readonly checks?: readonly GoalCheck[]
  }

  constructor(options: {
    readonly works: readonly string[]
    readonly rules: readonly Reply[]
    readonly threadId?: string
    readonly checks?: readonly GoalCheck[]
  }) {
    this.#options = options
    this.state = manageChecklist(JUDGE, newChecklistState(), { type: "set", goal: "Paint the fence.", at: 1 }).state
    const { threadId, checks = [] } = options
    const inner = CONFIG.driver
    const driver = threadId === undefined ? inner : goalDriver(inner, { threadId, turnId: "turn-1", startedAt: 1 })
    const history: readonly HistoryRecord[] =
      threadId === undefined
        ? []
        : changeGoal({ threadId, history: [] }, { type: "command", at: 1, command: { type: "set", objective: "Paint the fence.", checks } }).records
    this.machine = new TurnMachine({ ...CONFIG, driver }, { ...START, events: history })
  }

  async run(isFatal?: (error: unknown) => boolean): Promise<Done> {
    const { works, rules: replies, threadId } = this.#options
    const llmCall = async (request: LlmRequest): Promise<LlmResponse> => {
      if (request.model !== "judge") {
        this.worker.push(request)
        const text = works[this.worker.length - 1] ?? "Nothing more."
        return { text, parts: [{ type: "text", text }], usage: USAGE, terminalReason: "stop" }
      }
      this.judge.push(request)
      this.onJudge(this.judge.length)
      const reply = replies[this.judge.length - 1]
      if (reply === undefined) throw new Error("The judge asks once too often.")
      const { result } = answerOf(1, reply)
      if (!result.ok) throw new Error(result.error.message)
      return result.response
    }
    const host: Host = {
      llmCall: ({ request }) => llmCall(request),
      checkpoint: (effect, context) =>
        judgedCheckpoint({
          judge: JUDGE,
          host,
          state: () => this.state,
          save: (state, { verdict }) => {
            this.state = state
            this.verdicts.push(verdict)
          },
          messages: () => this.machine.messages,
          now: () => 50,
          ...(threadId !== undefined && { threadId }),
        })(effect, context),
    }
    return runTurn(this.machine, host, { now: () => 50, ...(isFatal !== undefined && { isFatal }) })
  }
}

const shown = (request: LlmRequest | undefined): string => JSON.stringify(request?.messages ?? [])

describe("a turn that is judged before it ends", () => {
  test("continues until its list is settled, in the plain loop", async () => {
    const judged = new Judged({ works: ["I begin.", "One side is green.", "Both are."], rules: [list("front", "back"), completes(1), completes(2)] })
    const done = await judged.run()
    expect(judged.verdicts).toEqual(["decompose", "continue", "done"])
    expect(done.outcome).toEqual({ type: "finished", finish: { type: "assistant_message", text: "Both are." } })
    expect(judged.worker).toHaveLength(3)
    expect(shown(judged.worker[1])).toContain("Paint the fence.")
    expect(shown(judged.worker[2])).toMatch(/1 of 2 settled/)
    expect(shown(judged.judge[1])).toContain("One side is green.")
    expect(judged.state.goal?.status).toBe("done")
  })

  test("gets its prompts as messages that stay in the history: each request begins with the one before", async () => {
    const judged = new Judged({ works: ["I begin.", "One side is green.", "Both are."], rules: [list("front", "back"), completes(1), completes(2)] })
    await judged.run()
    const texts = judged.worker.map(({ messages }) => messages.map((message) => JSON.stringify(message)))
    for (const [index, messages] of texts.entries()) expect(messages.slice(0, texts[index - 1]?.length ?? 0)).toEqual(texts[index - 1] ?? [])
    const prompts = judged.machine.messages.filter(({ id }) => id.startsWith("judge-"))
    expect(prompts.map(({ id, origin }) => [id, origin])).toEqual(
      ["judge-g1-1", "judge-g1-2"].map((id) => [id, { type: "plugin", pluginId: "goal" }]),
    )
  })

  test("ends if the judge says that nothing can be done", async () => {
    const judged = new Judged({ works: ["I begin.", "I need paint."], rules: [list("front"), rules([], { verdict: "blocked", reason: "no paint" })] })
    await judged.run()
    expect(judged.worker).toHaveLength(2)
    expect(judged.state.goal?.status).toBe("paused")
  })

  test("rejects with a fatal error of the judge's model, and judges nothing", async () => {
    const fatal = new Error("The engine suspends.")
    const judged = new Judged({ works: ["I begin."], rules: [] })
    judged.onJudge = () => {
      throw fatal
    }
    await expect(judged.run((error) => error === fatal)).rejects.toBe(fatal)
    expect(judged.verdicts).toEqual([])
    expect(judged.machine.outstanding?.type).toBe("checkpoint")
  })

  test("ends if there is nothing to judge", async () => {
    const judged = new Judged({ works: ["Done."], rules: [] })
    judged.state = newChecklistState()
    await judged.run()
    expect(judged.judge).toEqual([])
    expect(judged.worker).toHaveLength(1)
  })

  test("reports the result and the judge's usage to the goal of its thread", async () => {
    const judged = new Judged({ works: ["I begin.", "All green."], rules: [list("front"), completes(1)], threadId: "t1" })
    await judged.run()
    const { goal } = readGoal(judged.machine.history, "t1").state
    expect(goal).toMatchObject({ status: "complete", childTokensUsed: 30 })
    expect(judged.worker).toHaveLength(2)
  })

  test("leaves the decision to the checks of the goal, if it has any", async () => {
    const checks = [{ name: "dry", command: "touch it" }]
    const judged = new Judged({ works: ["I begin.", "All green."], rules: [list("front"), completes(1)], threadId: "t1", checks })
    await judged.run()
    const { goal, memory } = readGoal(judged.machine.history, "t1").state
    expect(goal).toMatchObject({ status: "active" })
    expect(memory.checks).toMatchObject({ claimed: true })
  })

  test("completes the goal of a list that a user settled, or whose verdict was lost in a crash", async () => {
    const judged = new Judged({ works: ["All green."], rules: [], threadId: "t1" })
    judged.state = manageChecklist(JUDGE, judged.state, { type: "mark_done", reason: "seen", at: 2 }).state
    await judged.run()
    expect(judged.judge).toEqual([])
    expect(readGoal(judged.machine.history, "t1").state.goal).toMatchObject({ status: "complete" })
  })

  test("passes the reason of a pause on to the goal, except a user's pause", async () => {
    const paused = async (pausedReason: PauseReason): Promise<string | undefined> => {
      const judged = new Judged({ works: ["I wait."], rules: [], threadId: "t1" })
      const { goal } = judged.state
      if (goal !== undefined) judged.state = { ...judged.state, goal: { ...goal, status: "paused", pausedReason } }
      await judged.run()
      return readGoal(judged.machine.history, "t1").state.goal?.status
    }
    expect(await paused({ type: "blocked", text: "no paint" })).toBe("blocked")
    expect(await paused({ type: "stalled", turns: 8 })).toBe("paused")
    expect(await paused({ type: "user" })).toBe("active")
  })

  test("is judged again if a user changed the list during the judgement, and both are charged", async () => {
    const judged = new Judged({ works: ["All green."], rules: [list("front"), completes(1), completes(1)], threadId: "t1" })
    judged.onJudge = (asked) => {
      if (asked === 2) judged.state = manageChecklist(JUDGE, judged.state, { type: "resume", at: 60 }).state
    }
    await judged.run()
    expect(judged.verdicts).toEqual(["decompose", "stale", "done"])
    expect(judged.worker).toHaveLength(2)
    expect(readGoal(judged.machine.history, "t1").state.goal).toMatchObject({ status: "complete", childTokensUsed: 45 })
  })

  test("is not judged at other checkpoints", async () => {
    const handler = judgedCheckpoint({
      judge: JUDGE,
      host: { llmCall: () => Promise.reject(new Error("asked")) },
      state: () => newChecklistState(),
      save: () => {
        throw new Error("kept")
      },
      messages: () => [],
    })
    const context = { effectId: 1, idempotencyKey: undefined, signal: new AbortController().signal, emit: () => {} }
    expect(await handler({ type: "checkpoint", id: 1, checkpoint: "after_work" }, context)).toEqual({})
  })
})
