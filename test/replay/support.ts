import { chatDriver } from "../../src/drivers/chat.ts"
import { ReplayDivergence } from "../../src/errors.ts"
import type { CompleteTurnConfig, TurnConfig } from "../../src/machine/config.ts"
import { chatProjector } from "../../src/projectors/chat.ts"
import { type Journal, readJournal } from "../../src/replay/journal.ts"
import { Recorder, type RecorderOptions } from "../../src/replay/recorder.ts"
import type { TurnStart } from "../../src/schemas/config.ts"
import type { AnswerableEffect } from "../../src/schemas/effect.ts"
import type { Response } from "../../src/schemas/response.ts"
import { TurnMachine } from "../../src/validated-turn-machine.ts"

export const CONFIG: CompleteTurnConfig = {
  model: "m",
  sessionId: "s",
  systemPrompt: "You count.",
  tools: [{ name: "count", description: "Counts.", inputSchema: { type: "object" } }],
  generation: {},
  syncExecutionSurface: false,
  emitLlmTrace: false,
  driver: chatDriver(),
  projector: chatProjector,
}

export const START: TurnStart = { messages: [{ id: "u", role: "user", parts: [{ id: "u.p0", type: "text", text: "Count to three." }] }] }

const USAGE = { inputTokens: 5, cachedInputTokens: 0, outputTokens: 2, reasoningTokens: 0 }

/** Returns the answer to an effect: `calls` iterations with one tool call each, then text. */
export function answerOf(effect: AnswerableEffect, iteration: number, calls: number): Response {
  const { id } = effect
  switch (effect.type) {
    case "llm_call": {
      if (iteration >= calls)
        return { type: "llm_complete", id, result: { ok: true, response: { text: "Done.", parts: [], usage: USAGE, terminalReason: "stop" } } }
      const part = { type: "tool_call", callId: `c${iteration}`, toolName: "count", inputJson: `{"n":${iteration}}` } as const
      return { type: "llm_complete", id, result: { ok: true, response: { text: "", parts: [part], usage: USAGE, terminalReason: "tool_use" } } }
    }
    case "tool_calls":
      return {
        type: "tool_results",
        id,
        results: effect.calls.map((call) => ({ ...call, output: { status: "success", value: `counted ${iteration}` }, durationMs: 1 })),
      }
    default:
      return { type: "checkpoint_delivery", id, delivery: {} }
  }
}

export interface Recorded {
  readonly text: string
  readonly machine: TurnMachine
  /** The responses alone, one JSON line each. */
  readonly responsesText: string
}

/** Runs a whole turn and records it. */
export function recordTurn(calls: number, options: RecorderOptions = {}, config: TurnConfig = CONFIG): Recorded {
  const machine = new TurnMachine(config, START)
  const { recorder, line } = Recorder.begin(config, START, "turn-1", options)
  let text = line
  let responsesText = ""
  for (;;) {
    while (machine.poll() !== undefined);
    text += recorder.snapshotIfDue(machine)
    if (machine.outstanding === undefined) break
    const response = answerOf(machine.outstanding, machine.iteration, calls)
    text += recorder.response(machine, response)
    responsesText += `${JSON.stringify(response)}\n`
    machine.handle(response)
  }
  return { text: text + recorder.end(machine), machine, responsesText }
}

export function journalOf(calls: number, options: RecorderOptions = {}): Journal {
  return readJournal(recordTurn(calls, options).text)
}

/** Returns the divergence that a replay throws. */
export function divergenceOf(act: () => unknown): ReplayDivergence {
  try {
    act()
  } catch (error) {
    if (error instanceof ReplayDivergence) return error
    throw error
  }
  throw new Error("The replay did not diverge.")
}
