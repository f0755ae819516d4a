import { describe, expect, test } from "vitest"
import type { AnswerableEffect } from "../../src/schemas/effect.ts"
import { answerTo } from "../../src/testing/answers.ts"
import { expectTurn } from "../../src/testing/expect-turn.ts"
import { type HostMove, scriptedHost } from "../../src/testing/scripted-host.ts"
import type { TurnInput } from "../../src/testing/turn-input.ts"
import { holding } from "../hosts/run/held-support.ts"
import { calls, start, configOf as turnConfig } from "../hosts/run/support.ts"
import { CHECKPOINT, configOf, FINISH, REQUEST, START, START_LLM, START_TOOLS } from "./turns.ts"

const CONFIG = configOf([[START_LLM], [START_TOOLS], [CHECKPOINT], [FINISH]])
const POLL: HostMove = { type: "poll" }
const ANSWER: HostMove = { type: "answer" }

function play(...moves: readonly HostMove[]): readonly TurnInput[] {
  return scriptedHost(moves).play(CONFIG, START)
}

/** Summarizes inputs: the effect answered, its calls, and the expected verdict. */
function brief(inputs: readonly TurnInput[]): readonly string[] {
  return inputs.map((input) => {
    if (input.type !== "respond") return "expect" in input && input.expect !== undefined ? `${input.type}: ${input.expect}` : input.type
    const { type, id } = input.response
    const calls = input.response.type === "tool_results" ? ` ${input.response.results.map(({ callId }) => callId).join("")}` : ""
    return `${type} ${id}${calls}${input.expect === undefined ? "" : `: ${input.expect}`}`
  })
}

describe("a scripted host", () => {
  test("answers the outstanding effect, and does nothing if there is none", () => {
    const inputs = play(ANSWER, POLL, ANSWER, POLL, ANSWER, POLL, ANSWER, POLL, ANSWER, POLL)
    expect(brief(inputs)).toEqual(["poll", "llm_complete 1", "poll", "tool_results 2 abc", "poll", "checkpoint_delivery 3", "poll", "poll"])
    expect(expectTurn(CONFIG, START, inputs).outcome).toEqual({ type: "finished", finish: { type: "assistant_message", text: "the end" } })
  })

  test("answers the picked calls of a batch, in that order and each once", () => {
    const some = (...pick: readonly number[]): HostMove => ({ type: "answer", pick })
    expect(brief(play(POLL, ANSWER, some(2, 0, 2), some(), some(7), POLL))).toEqual([
      "poll",
      "llm_complete 1",
      "tool_results 2 ca",
      "tool_results 2 ",
      "tool_results 2 b",
      "poll",
    ])
  })

  test("repeats earlier answers, but not parts of a batch that waits for more", () => {
    const inputs = play(
      POLL,
      ANSWER,
      { type: "answer", pick: [0] },
      { type: "repeat", back: 0 },
      { type: "repeat", back: 1 },
      { type: "repeat", back: 5 },
    )
    expect(brief(inputs)).toEqual(["poll", "llm_complete 1", "tool_results 2 a", "llm_complete 1: stale"])
  })

  test("sends inputs that must be refused, and states the expected code", () => {
    const offences = Array.from({ length: 28 }, (_, which): HostMove => ({ type: "offend", which }))
    const inputs = play(POLL, ANSWER, ...offences)
    const codes = new Set(inputs.flatMap((input) => ("expect" in input && input.expect !== undefined ? [input.expect] : [])))
    expect([...codes].sort()).toEqual([
      "action_after_finish",
      "action_starts_work",
      "call_already_answered",
      "invalid_actions",
      "invalid_response",
      "unexpected_response",
      "unknown_call",
      "unknown_effect",
    ])
    expectTurn(CONFIG, START, inputs)
  })

  test("continues to play after the end of the turn", () => {
    const inputs = play(
      POLL,
      { type: "cancel" },
      { type: "apply", actions: [] },
      ANSWER,
      { type: "finish", outcome: { type: "agent_frame_switch", frameId: "f" } },
      POLL,
    )
    expect(brief(inputs)).toEqual(["poll", "cancel", "apply: turn_finished", "finish", "poll"])
    expect(expectTurn(CONFIG, START, inputs).outcome).toEqual({ type: "stopped", stop: { type: "cancelled" } })
  })
})

describe("an answer", () => {
  const effects: readonly AnswerableEffect[] = [
    { type: "sync_execution_surface", id: 1, updateMachineConfig: true },
    { type: "llm_call", id: 2, request: REQUEST },
    {
      type: "tool_calls",
      id: 3,
      calls: ["a", "b", "c"].map((callId) => ({ callId, toolName: `tool ${callId}`, args: { callId }, replay: { itemId: callId } })),
    },
    { type: "exec_code", id: 4, code: "1" },
    { type: "checkpoint", id: 5, checkpoint: "after_work" },
  ]

  test("matches its effect, and succeeds by default", () => {
    const usage = { inputTokens: 0, cachedInputTokens: 0, outputTokens: 0, reasoningTokens: 0 }
    const done = { output: { status: "success", value: "done" }, durationMs: 0 }
    expect(effects.map((effect) => answerTo(effect))).toEqual([
      { type: "execution_surface_synced", id: 1, result: { ok: true } },
      { type: "llm_complete", id: 2, result: { ok: true, response: { text: "done", parts: [], usage, terminalReason: "stop" } } },
      {
        type: "tool_results",
        id: 3,
        results: ["a", "b", "c"].map((callId) => ({ callId, toolName: `tool ${callId}`, args: { callId }, replay: { itemId: callId }, ...done })),
      },
      { type: "exec_result", id: 4, result: { ok: true, value: { observations: [], toolCalls: [], images: [], printedImages: [], durationMs: 0 } } },
      { type: "checkpoint_delivery", id: 5, delivery: {} },
    ])
  })

  test("is the one given for that type of effect; tools use theirs in rotation", () => {
    const answers = {
      surface: { ok: false, error: "no" },
      llm: { ok: false, error: { message: "no", retryable: true, terminalReason: "unknown" } },
      textStreamed: true,
      tools: [{ output: { status: "success", value: 1 } }, { output: { status: "success", value: 2 } }],
      exec: { ok: false, error: "no" },
      delivery: { events: [1] },
    } as const
    const [surface, llm, tools, exec, delivered] = effects.map((effect) => answerTo(effect, answers, 7))
    expect(surface).toEqual({ type: "execution_surface_synced", id: 1, at: 7, result: answers.surface })
    expect(llm).toEqual({ type: "llm_complete", id: 2, at: 7, textStreamed: true, result: answers.llm })
    expect(tools?.type === "tool_results" && tools.results.map(({ output }) => output)).toEqual([
      { status: "success", value: 1 },
      { status: "success", value: 2 },
      { status: "success", value: 1 },
    ])
    expect(exec).toEqual({ type: "exec_result", id: 4, at: 7, result: answers.exec })
    expect(delivered).toEqual({ type: "checkpoint_delivery", id: 5, at: 7, delivery: answers.delivery })
  })
})

describe("held calls", () => {
  const config = turnConfig({ driver: holding() })
  const asks: HostMove = { type: "answer", answers: { llm: { ok: true, response: calls(["h1", "pay"], ["f1", "look"], ["h2", "pay"]) } } }

  test("are decided in any order, and calls may continue outside", () => {
    const moves: readonly HostMove[] = [
      ...[POLL, asks, POLL, { type: "pend", place: 0, token: "job" } as const],
      { type: "decide", decisions: [{ decision: "approve" }], pick: [1], at: 5 },
      { type: "decide", decisions: [{ decision: "reject" }] },
      { type: "decide", decisions: [{ decision: "approve" }] },
    ]
    const responses = scriptedHost(moves)
      .play(config, start)
      .flatMap((input) => (input.type === "respond" ? [input.response] : []))
    expect(responses.slice(1)).toEqual([
      { type: "tool_pending", id: 2, callId: "f1", token: "job" },
      { type: "tool_decisions", id: 2, at: 5, decisions: [{ requestId: "2:h2", digest: "sha-h2", decision: "approve" }] },
      { type: "tool_decisions", id: 2, decisions: [{ requestId: "2:h1", digest: "sha-h1", decision: "reject" }] },
    ])
  })
})
