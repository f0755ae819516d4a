import type { LlmResponse } from "turn-machine"
import { ANSWER, argumentsOf, TOOL, type Work } from "./script.ts"

export const USAGE = { inputTokens: 100, cachedInputTokens: 900, outputTokens: 20, reasoningTokens: 0 }

/** The model of all contenders of turn-machine. */
export function model(work: Work): LlmResponse {
  const step = work.nextStep()
  if (step === undefined) return { text: ANSWER, parts: [{ type: "text", text: ANSWER }], usage: USAGE, terminalReason: "stop" }
  const call = { type: "tool_call", callId: `call_${step}`, toolName: TOOL.name, inputJson: JSON.stringify(argumentsOf(step)) } as const
  return { text: "", parts: [call], usage: USAGE, terminalReason: "tool_use" }
}
