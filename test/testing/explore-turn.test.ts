import { describe, expect, test } from "vitest"
import { chatDriver } from "../../src/drivers/chat.ts"
import { codeDriver } from "../../src/drivers/code.ts"
import { goalInputEvent } from "../../src/drivers/goal/deliveries.ts"
import { goalDriver } from "../../src/drivers/goal/driver.ts"
import { readGoal } from "../../src/drivers/goal/history.ts"
import { wrapDriver } from "../../src/drivers/wrap-driver.ts"
import type { DriverContext, ProtocolDriver } from "../../src/machine/driver.ts"
import type { DriverAction } from "../../src/schemas/action.ts"
import type { AnswerableEffect, Effect } from "../../src/schemas/effect.ts"
import type { LlmRequest, OutputPart } from "../../src/schemas/llm.ts"
import type { Part } from "../../src/schemas/message.ts"
import type { Response } from "../../src/schemas/response.ts"
import { answerTo } from "../../src/testing/answers.ts"
import { type Exploration, type ExploreTurnOptions, exploreTurn } from "../../src/testing/explore-turn.ts"
import { possibleAnswers } from "../../src/testing/possible-answers.ts"
import type { TestedMachineClass } from "../../src/testing/turn-input.ts"
import { ExplorationError } from "../../src/testing/witness.ts"
import { TurnMachine } from "../../src/validated-turn-machine.ts"

const FULL = process.env["TEST_LANE"] === "full"
const MINUTES = 300_000

/** The rows that were reached, with the states that followed, as lines. */
function reachedRows({ rows }: Exploration): readonly string[] {
  return rows.reached.map(({ state, response, next }) => `${state} × ${response} → ${next.join(", ")}`)
}

function missedRows({ rows }: Exploration): readonly string[] {
  return rows.notReached.map(({ state, response }) => `${state} × ${response}`)
}

function says(effect: AnswerableEffect, ...parts: readonly OutputPart[]): Response {
  const text = parts.map((part) => (part.type === "text" ? part.text : "")).join("")
  const usage = { inputTokens: 1, cachedInputTokens: 0, outputTokens: 1, reasoningTokens: 0 }
  return answerTo(effect, { llm: { ok: true, response: { text, parts, usage, terminalReason: "stop" } } })
}

describe("the drivers of this package follow the laws in every state of a small turn", () => {
  test(
    "the chat driver",
    () => {
      const explored = exploreTurn({ driver: chatDriver(), bounds: { iterations: FULL ? 2 : 1 } })
      expect(reachedRows(explored)).toEqual([
        `waiting_llm × llm_complete → ${FULL ? "finished, waiting_checkpoint, waiting_tools" : "finished, waiting_checkpoint, waiting_tools"}`,
        `waiting_tools × tool_results → ${FULL ? "finished, waiting_checkpoint, waiting_tools" : "finished, waiting_tools"}`,
        "waiting_checkpoint × checkpoint_delivery → finished, prepare_iteration",
      ])
      expect(missedRows(explored)).toEqual(["waiting_execution_surface × execution_surface_synced", "waiting_exec × exec_result"])
      expect(Object.keys(explored.outcomes)).toEqual([
        ...["finished assistant_message", "finished tool_value", "stopped cancelled", "stopped incomplete", "stopped max_iterations"],
        ...["stopped plugin_abort", "stopped provider_error", "stopped runtime_error"],
      ])
      expect(explored.states).toBeGreaterThan(FULL ? 4000 : 150)
    },
    MINUTES,
  )

  test("the chat driver, with prompt and tools from the host and every delivery", () => {
    const explored = exploreTurn({
      driver: chatDriver(),
      config: { syncExecutionSurface: true, maxIterations: 1 },
      bounds: { calls: FULL ? 1 : 0, deliveries: 9 },
    })
    expect(explored).toMatchObject({ complete: true, cutOff: [] })
    expect(reachedRows(explored)[0]).toBe("waiting_execution_surface × execution_surface_synced → finished, prepare_iteration")
    expect(missedRows(explored)).toEqual(FULL ? ["waiting_exec × exec_result"] : ["waiting_tools × tool_results", "waiting_exec × exec_result"])
  })

  test(
    "the code driver",
    () => {
      const code = ["Look:\n```js\nprint(1)\n```", "```js\nprint(1)"]
      const explored = exploreTurn({
        driver: codeDriver(),
        bounds: { iterations: FULL ? 2 : 1, calls: 0 },
        answers: (effect, defaults) =>
          effect.type === "llm_call" ? [...defaults, ...code.map((text) => says(effect, { type: "text", text }))] : defaults,
        without: ["verbatim"], // It drops what follows the code.
        laws: {
          "the transcript keeps the answer up to the end of its code": ({ input, before, after }) => {
            if (before === undefined || input?.type !== "respond" || input.response.type !== "llm_complete" || !input.response.result.ok) return undefined
            const { text } = input.response.result.response
            const stored = after.messages.slice(before.messages.length).flatMap(({ role, parts }) => (role === "assistant" ? parts : []))
            const kept = stored.map((part) => (part.type === "text" ? part.text : "")).join("")
            return text.startsWith(kept) && (kept !== "" || text === "") ? undefined : `of ${JSON.stringify(text)} it keeps ${JSON.stringify(kept)}`
          },
        },
      })
      expect(reachedRows(explored)).toEqual([
        "waiting_llm × llm_complete → finished, waiting_checkpoint, waiting_exec",
        "waiting_exec × exec_result → finished, waiting_checkpoint",
        "waiting_checkpoint × checkpoint_delivery → finished, prepare_iteration",
      ])
      expect(missedRows(explored)).toEqual(["waiting_execution_surface × execution_surface_synced", "waiting_tools × tool_results"])
      expect(Object.keys(explored.outcomes)).toContain("finished submitted_value")
    },
    MINUTES,
  )

  test(
    "the goal driver",
    () => {
      const goal = (effect: AnswerableEffect, toolName: string, args: object): Response =>
        says(effect, { type: "tool_call", callId: `goal_${effect.id}`, toolName, inputJson: JSON.stringify(args) })
      const set = goalInputEvent("thread", { type: "command", at: 2000, turnId: "turn", command: { type: "set", objective: "sink" } })
      const explored = exploreTurn({
        driver: goalDriver(chatDriver(), { threadId: "thread", turnId: "turn", startedAt: 1000 }),
        bounds: { iterations: FULL ? 2 : 1, calls: 1 },
        answers: (effect, defaults) => {
          if (effect.type === "llm_call")
            return [...defaults, goal(effect, "create_goal", { objective: "swim" }), goal(effect, "update_goal", { status: "complete" })]
          return effect.type === "checkpoint" ? [...defaults, answerTo(effect, { delivery: { events: [set] } })] : defaults
        },
        laws: {
          "a turn never charges more than it used": ({ after }) => {
            const charged = readGoal(after.turn.record.events, "thread").state.turn?.reported
            return (charged?.inputTokens ?? 0) <= after.usage.inputTokens ? undefined : `${charged?.inputTokens} of ${after.usage.inputTokens} tokens`
          },
        },
      })
      expect(missedRows(explored)).toEqual(["waiting_execution_surface × execution_surface_synced", "waiting_exec × exec_result"])
      expect(Object.keys(explored.outcomes)).toContain("finished tool_value")
    },
    MINUTES,
  )
})
