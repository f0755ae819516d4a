import type { CompleteTurnConfigData, TurnStart } from "../src/schemas/config.ts"
import type { AnswerableEffect } from "../src/schemas/effect.ts"
import type { Response } from "../src/schemas/response.ts"

/** The script of every measurement: each iteration calls one tool with a result of 200 characters; the last one answers. */
const RESULT = "x".repeat(200)

/** The number of iterations in the measured turns. */
export const LENGTHS = [10, 50, 100, 1_000, 10_000] as const

export const CONFIG: CompleteTurnConfigData = {
  model: "bench",
  sessionId: "bench",
  systemPrompt: "You work through files.",
  tools: [{ name: "read_file", description: "Reads a file.", inputSchema: { type: "object", properties: { path: { type: "string" } } } }],
  generation: {},
  syncExecutionSurface: false,
  emitLlmTrace: false,
}

export const START: TurnStart = {
  messages: [{ id: "m0", role: "user", parts: [{ id: "m0.p0", type: "text", text: "Read all files." }] }],
}

/** Returns the host's response to an effect, with tool calls in the first `calls` iterations. Ids match the machine's. */
export function answer(effect: Pick<AnswerableEffect, "type" | "id">, iteration: number, iterations: number): Response {
  const { id } = effect
  const usage = { inputTokens: 100, cachedInputTokens: 900, outputTokens: 20, reasoningTokens: 0 }
  switch (effect.type) {
    case "llm_call": {
      if (iteration === iterations) {
        const text = "All files are read."
        return {
          type: "llm_complete",
          id,
          at: 1_700_000_000_000 + id,
          result: { ok: true, response: { text, parts: [{ type: "text", text }], usage, terminalReason: "stop" } },
        }
      }
      const call = { type: "tool_call", callId: `call_${iteration}`, toolName: "read_file", inputJson: `{"path":"file-${iteration}.txt"}` } as const
      return {
        type: "llm_complete",
        id,
        at: 1_700_000_000_000 + id,
        result: { ok: true, response: { text: "", parts: [call], usage, terminalReason: "tool_use" } },
      }
    }
    case "tool_calls": {
      const result = {
        callId: `call_${iteration}`,
        toolName: "read_file",
        args: { path: `file-${iteration}.txt` },
        output: { status: "success", value: RESULT },
        durationMs: 3,
      } as const
      return { type: "tool_results", id, at: 1_700_000_000_000 + id, results: [result] }
    }
    default:
      return { type: "checkpoint_delivery", id, at: 1_700_000_000_000 + id, delivery: {} }
  }
}

/** All responses of a turn with that many iterations, created in advance to exclude them from the measurement. */
export function responses(iterations: number): readonly Response[] {
  const all: Response[] = []
  const add = (type: AnswerableEffect["type"], iteration: number): void => {
    all.push(answer({ type, id: all.length + 1 }, iteration, iterations))
  }
  for (let iteration = 0; iteration < iterations; iteration += 1) {
    add("llm_call", iteration)
    add("tool_calls", iteration)
    add("checkpoint", iteration)
  }
  add("llm_call", iterations)
  add("checkpoint", iterations)
  return all
}
