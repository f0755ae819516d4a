import { describe, expect, test } from "vitest"
import { judgeValidation } from "../../../src/checks/judge.ts"
import { applyJudgement, ChecklistJudge, type JudgeConfig, manageChecklist, newChecklistState } from "../../../src/drivers/checklist/index.ts"
import { type Host, LlmCallError, runJudge } from "../../../src/hosts/index.ts"
import type { LlmCall } from "../../../src/schemas/effect.ts"
import type { LlmResponse, OutputPart } from "../../../src/schemas/llm.ts"

const AT = 1_700_000_000_000
const CONFIG: JudgeConfig = { model: "judge", validation: judgeValidation }

const goal = () => manageChecklist(CONFIG, newChecklistState(), { type: "set", goal: "ship it", at: AT }).state
const newJudge = (config = CONFIG) => new ChecklistJudge(config, goal(), { response: "I shipped it.", at: AT })

const answers = (part: OutputPart): LlmResponse => ({
  text: part.type === "text" ? part.text : "",
  parts: [part],
  usage: { inputTokens: 100, cachedInputTokens: 0, outputTokens: 10, reasoningTokens: 0 },
  terminalReason: "stop",
})
const says = (text: string) => answers({ type: "text", text })
const lists = (...items: string[]) =>
  answers({ type: "tool_call", callId: "c1", toolName: "submit_checklist", inputJson: JSON.stringify({ items: items.map((text) => ({ text })) }) })

/** Returns scripted answers in order, and records the requests. */
function script(...steps: readonly (LlmResponse | Error | (() => unknown))[]): Host & { readonly calls: LlmCall[] } {
  const calls: LlmCall[] = []
  const llmCall = async (call: LlmCall): Promise<LlmResponse> => {
    calls.push(call)
    const step = steps[calls.length - 1]
    if (step === undefined) throw new Error("There is no such step.")
    if (step instanceof Error) throw step
    return typeof step === "function" ? ((await step()) as LlmResponse) : step
  }
  return { calls, llmCall }
}

describe("runJudge", () => {
  test("makes every call, and handles every answer", async () => {
    const host = script(says("I make no lists."), says('{"verdict": "done", "reason": "it is shipped"}'))
    const judgement = await runJudge(newJudge(), host)
    expect(host.calls.map(({ id, request }) => [id, request.model, request.tools.length])).toEqual([
      [1, "judge", 1],
      [2, "judge", 0],
    ])
    expect(judgement).toMatchObject({
      goalId: "g1",
      requests: 2,
      usage: { inputTokens: 200, outputTokens: 20 },
      finding: { says: "done", reason: { type: "text", text: "it is shipped" } },
    })
  })

  test("makes no call if none is needed", async () => {
    const host = script()
    const judge = new ChecklistJudge(CONFIG, newChecklistState(), { response: "x", at: AT })
    expect(await runJudge(judge, host)).toMatchObject({ finding: { type: "inactive" }, requests: 0 })
    expect(host.calls).toEqual([])
  })

  test("continues after its call was polled, or after a restore", async () => {
    const judge = newJudge()
    judge.poll()
    expect(await runJudge(judge, script(lists("a")))).toMatchObject({ finding: { type: "decomposed", items: ["a"] } })
    expect(await runJudge(judge, script())).toMatchObject({ finding: { type: "decomposed" } })
    const restored = ChecklistJudge.restore(CONFIG, JSON.stringify(newJudge().checkpoint()))
    expect(await runJudge(restored, script(lists("b")))).toMatchObject({ finding: { items: ["b"] } })
  })

  test("uses idempotency keys of the turn, the judge and the revision", async () => {
    const keys: (string | undefined)[] = []
    const model = script(says("no list"), says('{"verdict": "continue"}'))
    const host: Host = {
      llmCall: (call, context) => {
        keys.push(context.idempotencyKey)
        return model.llmCall(call, context)
      },
    }
    await runJudge(newJudge(), host, { turnId: "t7" })
    expect(keys).toEqual(["t7:judge:g1:0:1", "t7:judge:g1:0:2"])
  })

  test("is saved before a call and after each answer, and resumes from each save", async () => {
    const saved: string[] = []
    const host = script(says("no list"), says('{"verdict": "continue"}'))
    await runJudge(newJudge(), host, { save: (judge) => void saved.push(stateOf(judge)) })
    expect(saved.map((text) => ChecklistJudge.restore(CONFIG, text).state)).toEqual(["decomposing", "judging_freely", "finished"])
  })
})

const stateOf = (judge: ChecklistJudge): string => JSON.stringify(judge.checkpoint())

describe("failures of the model and its executor never reject", () => {
  test.each([
    ["a failure with its facts", new LlmCallError({ message: "overloaded", retryable: true, code: "529", terminalReason: "provider_error" }), "529"],
    ["an error", new Error("connection reset"), "executor_threw"],
    ["a value that is not an error", () => Promise.reject(null), "executor_threw"],
    ["no answer", () => undefined, "invalid_llm_response"],
    ["an answer of another shape", () => ({ text: "done" }), "invalid_llm_response"],
    ["an answer that JSON cannot hold", () => ({ ...says("x"), providerUsage: () => 1 }), "invalid_llm_response"],
  ])("%s counts as a failed call", async (_, step, code) => {
    for (const config of [CONFIG, { model: "judge" }]) {
      const judgement = await runJudge(newJudge(config), script(step))
      expect(judgement).toMatchObject({ requests: 1, finding: { answer: "unreachable", reason: { type: "judge_error", code } } })
      if (judgement === undefined) throw new Error("no judgement")
      const { state, decision } = applyJudgement(config, goal(), judgement, AT)
      expect(decision).toMatchObject({ verdict: "continue", shouldContinue: true })
      expect(state.goal).toMatchObject({ consecutiveTransportFailures: 1, decomposed: false })
    }
  })

  test("a failure that names the tool choice is retried with a weaker one", async () => {
    const no = new LlmCallError({ message: "The endpoint answered 400: tool_choice", retryable: false, terminalReason: "provider_error" })
    const host = script(no, no, lists("a"))
    expect(await runJudge(newJudge(), host)).toMatchObject({ requests: 3, finding: { items: ["a"] } })
    expect(host.calls.map(({ request }) => request.toolChoice)).toEqual([{ toolName: "submit_checklist" }, "required", "auto"])
  })

  test("but errors of the host's own save, clock or listener reject", async () => {
    const judge = newJudge()
    const broken = () => {
      throw new Error("disk full")
    }
    await expect(runJudge(judge, script(lists("a")), { save: broken })).rejects.toThrow("disk full")
    await expect(runJudge(judge, script(lists("a")), { now: broken })).rejects.toThrow("disk full")
    let seen: AbortSignal | undefined
    const shows: Host = {
      llmCall: (_call, { emit, signal }) => {
        seen = signal
        emit({ type: "text_delta", content: "hm" })
        return new Promise(() => {})
      },
    }
    await expect(runJudge(judge, shows, { onEvent: broken })).rejects.toThrow("disk full")
    expect(seen?.aborted).toBe(true)
  })
})

describe("an abort", () => {
  test("stops the open call, charges nothing, and leaves a judge that can run again", async () => {
    const controller = new AbortController()
    const judge = newJudge()
    const before = stateOf(judge)
    let seen: AbortSignal | undefined
    let answer: (response: LlmResponse) => void = () => {}
    const running = runJudge(
      judge,
      {
        llmCall: (_call, { signal }) => {
          seen = signal
          controller.abort(new Error("enough"))
          return new Promise((resolve) => {
            answer = resolve
          })
        },
      },
      { signal: controller.signal },
    )
    expect(await running).toBeUndefined()
    expect(seen?.aborted).toBe(true)
    expect(seen?.reason).toEqual(new Error("enough"))
    answer(lists("too late"))
    await Promise.resolve()
    expect(stateOf(judge)).toBe(before)
    expect(await runJudge(judge, script(lists("a")))).toMatchObject({ requests: 1, finding: { items: ["a"] } })
  })

  test("beforehand makes no call; an existing judgement is still returned", async () => {
    const host = script(lists("a"))
    expect(await runJudge(newJudge(), host, { signal: AbortSignal.abort() })).toBeUndefined()
    expect(host.calls).toEqual([])
    const judge = newJudge()
    await runJudge(judge, host)
    expect(await runJudge(judge, script(), { signal: AbortSignal.abort() })).toMatchObject({ finding: { type: "decomposed" } })
  })

  test("between two calls stops before the second, and keeps the answer of the first", async () => {
    const controller = new AbortController()
    const judge = newJudge()
    const saved: string[] = []
    const host = script(says("no list"), says('{"verdict": "done"}'))
    const save = ({ state }: ChecklistJudge): void => {
      saved.push(state)
      if (state === "judging_freely") controller.abort()
    }
    expect(await runJudge(judge, host, { signal: controller.signal, save })).toBeUndefined()
    expect(saved).toEqual(["decomposing", "judging_freely"])
    expect(judge.checkpoint().evaluation).toMatchObject({ requests: 2, usage: { inputTokens: 100 } })
  })
})
