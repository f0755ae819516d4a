import { expect, test } from "vitest"
import type { DriverAction } from "../../src/schemas/action.ts"
import type { ToolResults } from "../../src/schemas/response.ts"
import { expectTurn } from "../../src/testing/expect-turn.ts"
import type { TurnInput } from "../../src/testing/turn-input.ts"
import { CHECKPOINT, configOf } from "../testing/turns.ts"

// Failures that the properties found, shrunk, with the broken rule.

const FINISH: DriverAction = { type: "finish", outcome: { type: "stopped", stop: { type: "incomplete" } } }

const CALLS = ["a", "b"].map((callId) => ({ callId, toolName: "tool", args: {} }))

function answer(effectId: number, ...callIds: readonly string[]): TurnInput {
  const results: ToolResults["results"] = callIds.map((callId) => ({
    callId,
    toolName: "tool",
    args: {},
    output: { status: "success", value: callId },
    durationMs: 0,
  }))
  return { type: "respond", response: { type: "tool_results", id: effectId, results } }
}

test("a batch answered in part right after a restore is still redelivered, with the missing calls (law 2)", () => {
  const config = configOf([[{ type: "start_tools", calls: CALLS }], [FINISH]])
  expectTurn(config, { messages: [] }, [{ type: "poll" }, answer(1, "a"), { type: "poll" }, answer(1, "b"), { type: "poll" }])
})

test("a batch answered in part before it was polled is emitted with the missing calls only", () => {
  const config = configOf([
    [CHECKPOINT],
    [
      { type: "emit", event: { type: "text_delta", content: "before the tools" } },
      { type: "start_tools", calls: CALLS },
    ],
    [FINISH],
  ])
  const turn = expectTurn(config, { messages: [] }, [
    { type: "poll" },
    { type: "respond", response: { type: "checkpoint_delivery", id: 1, delivery: {} } },
    { type: "poll", most: 1 },
    answer(2, "a"),
    { type: "poll" },
  ])
  const batches = turn.effects.filter((effect) => effect.type === "tool_calls")
  expect(batches.map((batch) => batch.calls.map((call) => call.callId))).toEqual([["b"]])
})
