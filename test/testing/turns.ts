import type { TurnConfig } from "../../src/machine/config.ts"
import type { DriverAction } from "../../src/schemas/action.ts"
import type { TurnStart } from "../../src/schemas/config.ts"
import type { LlmRequest } from "../../src/schemas/llm.ts"
import type { Message } from "../../src/schemas/message.ts"
import { type ScriptedAnswer, scriptedDriver } from "../../src/testing/scripted-driver.ts"

/** A config with a scripted driver that returns these answers. */
export function configOf(answers: readonly (ScriptedAnswer | readonly DriverAction[])[], changes: Partial<TurnConfig> = {}): TurnConfig {
  const given = answers.map((answer): ScriptedAnswer => ("length" in answer ? { actions: answer } : answer))
  return {
    model: "model",
    driver: scriptedDriver(given),
    projector: () => {
      throw new Error("A scripted driver's requests are data.")
    },
    ...changes,
  }
}

export const REQUEST: LlmRequest = { model: "model", messages: [], attachments: [], tools: [], toolChoice: "none", generation: {} }

export const START_LLM: DriverAction = { type: "start_llm", request: REQUEST }
export const START_TOOLS: DriverAction = { type: "start_tools", calls: ["a", "b", "c"].map((callId) => ({ callId, toolName: "tool", args: {} })) }
export const CHECKPOINT: DriverAction = { type: "start_checkpoint", checkpoint: "after_work", onEmpty: { type: "prepare_iteration" } }
export const FINISH: DriverAction = { type: "finish", outcome: { type: "finished", finish: { type: "assistant_message", text: "the end" } } }

/** Appends a message to the history. */
export function say(id: string): DriverAction {
  return { type: "append_events", events: [{ type: "conversation", message: message(id) }] }
}

export function message(id: string): Message {
  return { id, role: "user", parts: [{ id: `${id}.p0`, type: "text", text: id }] }
}

export const START: TurnStart = { messages: [message("asked")] }
