import { describe, expect, test } from "vitest"
import { applyJudgement, ChecklistJudge, type ChecklistPolicy, manageChecklist, newChecklistState } from "../../src/drivers/checklist/index.ts"
import type { Host } from "../../src/hosts/host.ts"
import { memoryJournalStore, openAiCompatible, runJudge } from "../../src/hosts/index.ts"
import { runThread, Thread } from "../../src/hosts/thread/index.ts"
import type { Json } from "../../src/json.ts"
import type { LlmResponse } from "../../src/wire/llm.ts"
import { chatServer, configOf, refuses, toolsOf } from "./support.ts"

const usage = { inputTokens: 900, cachedInputTokens: 0, outputTokens: 100, reasoningTokens: 0 }

function answers(text: string): LlmResponse {
  return { text, parts: text === "" ? [] : [{ type: "text", text }], usage, terminalReason: "stop" }
}

function callsTool(toolName: string, args: Json): LlmResponse {
  return { text: "", parts: [{ type: "tool_call", callId: "k", toolName, inputJson: JSON.stringify(args) }], usage, terminalReason: "tool_use" }
}

/** A clock that moves only when something waits. */
class Clock {
  ms = 0
  readonly now = (): number => this.ms
  readonly sleep = async (ms: number): Promise<void> => {
    this.ms += ms
  }
}

/** Runs a thread with a goal until it rests. Each call of the model takes a second. */
async function pursue(clock: Clock, { llmCall }: Pick<Host, "llmCall">) {
  const thread = await Thread.open(memoryJournalStore(), "t", { config: configOf(["work"]), now: clock.now })
  await thread.command({ type: "set", objective: "Tidy the shed." })
  const host: Host = {
    llmCall: async (effect, context) => {
      clock.ms += 1_000
      return await llmCall(effect, context)
    },
    tools: toolsOf(() => "ok"),
  }
  const wait = async (until: number): Promise<void> => {
    clock.ms = Math.max(clock.ms, until)
  }
  const rest = await runThread(thread, host, { wait })
  return { rest, status: thread.goal?.status }
}

// https://github.com/openai/codex/issues/46904
test("a goal whose model falls silent is blocked after the second empty turn", async () => {
  let number = 0
  const { status } = await pursue(new Clock(), {
    llmCall: async () => {
      number += 1
      return answers(number === 1 ? "I pause here until you tell me." : "")
    },
  })
  expect(status).toBe("blocked")
  expect(number).toBe(2)
})

// https://github.com/openai/codex/issues/21073
test.each([
  ["a header", { message: "You have hit your usage limit.", type: "usage_limit_reached" }, { "retry-after": "10800" }],
  ["the body", { message: "You have hit your usage limit.", type: "usage_limit_reached", resets_in_seconds: 10_800 }, {}],
])("a usage limit that ends in hours, as %s says, rests the goal until then", async (_, error, headers) => {
  const clock = new Clock()
  const server = await chatServer([refuses(429, error, headers)])
  const { rest, status } = await pursue(clock, openAiCompatible({ baseUrl: server.url, now: clock.now, sleep: clock.sleep }))
  expect(status).toBe("usage_limited")
  expect(rest.notBefore).toBeGreaterThanOrEqual(10_800_000)
  expect(rest.notBefore).toBeLessThan(11_000_000)
  expect(server.bodies.length).toBeLessThanOrEqual(2)
})

/** A goal with one item, ready to be judged. */
function goalToJudge(policy: ChecklistPolicy, item: string) {
  let { state } = manageChecklist(policy, newChecklistState(), { type: "set", goal: "Ship it.", at: 0 })
  state = manageChecklist(policy, state, { type: "add_item", text: item, at: 0 }).state
  return state.goal === undefined ? state : { ...state, goal: { ...state.goal, decomposed: true } }
}

async function judged(policy: ChecklistPolicy, state: ReturnType<typeof goalToJudge>, answer: LlmResponse) {
  const judgement = await runJudge(new ChecklistJudge(policy, state, { response: "41 pass, 0 fail", at: 1 }), { llmCall: async () => answer })
  if (judgement === undefined) throw new Error("There is no judgement.")
  return applyJudgement(policy, state, judgement, 1)
}

describe("a judge", () => {
  const policy: ChecklistPolicy = { model: "m" }

  // https://github.com/NousResearch/hermes-agent/issues/93521
  test("tells the agent what is missing", async () => {
    const answer = callsTool("update_checklist", { updates: [], new_items: [], reason: "Show the output of npm test." })
    const { decision } = await judged(policy, goalToJudge(policy, "All tests pass."), answer)
    expect(decision.continuationPrompt).toContain("Show the output of npm test.")
  })

  // https://github.com/earendil-works/pi/issues/5697
  test("is understood when it writes its list as text", async () => {
    const updates = JSON.stringify([{ index: 1, status: "completed", evidence: "41 pass" }])
    const { decision } = await judged(
      policy,
      goalToJudge(policy, "Tests pass."),
      callsTool("update_checklist", { updates, new_items: [], reason: "Shown." }),
    )
    expect(decision.verdict).toBe("done")
  })

  // https://github.com/NousResearch/hermes-agent/issues/56925
  test.each([
    ["in a think tag", '<think>The form is {"verdict": "continue"}; but {all} pass.</think>\n'],
    ["in a reasoning tag", '<reasoning>As in {"verdict": "continue", "reason": "…"}? No.</reasoning>\n'],
    ["in a thinking tag", '<thinking>{"verdict":"continue","reason":"not yet"}</thinking>'],
  ])("means the verdict after its reasoning, and not one that it quotes %s", async (_, reasoning) => {
    const freeform: ChecklistPolicy = { model: "m", judge: "freeform" }
    const { state } = manageChecklist(freeform, newChecklistState(), { type: "set", goal: "All tests pass.", at: 0 })
    const { decision } = await judged(freeform, state, answers(`${reasoning}{"verdict":"done","reason":"41 pass"}`))
    expect(decision.verdict).toBe("done")
  })
})
