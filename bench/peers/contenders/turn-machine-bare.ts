import { chatDriver, chatProjector, TurnMachine, userMessage } from "turn-machine"
import { type Contender, QUESTION, SYSTEM, TOOL } from "../script.ts"
import { model } from "../turn-machine-model.ts"

/** The loop of docs/the-bare-loop.md, without promises. */
export const bareLoop: Contender = async (work) => {
  const config = { driver: chatDriver(), projector: chatProjector, model: "bench", systemPrompt: SYSTEM, tools: [TOOL] }
  const machine = new TurnMachine(config, { messages: [userMessage(QUESTION)] })
  for (let effect = machine.poll(); effect !== undefined; effect = machine.poll()) {
    if (effect.type === "llm_call") machine.handle({ type: "llm_complete", id: effect.id, result: { ok: true, response: model(work) } })
    else if (effect.type === "tool_calls") {
      const results = effect.calls.map((call) => {
        const value = work.result((call.args as { readonly path: string }).path)
        return { ...call, output: { status: "success", value }, durationMs: 0 } as const
      })
      machine.handle({ type: "tool_results", id: effect.id, results })
    } else if (effect.type === "checkpoint") machine.handle({ type: "checkpoint_delivery", id: effect.id, delivery: {} })
  }
  return machine.turn
}
