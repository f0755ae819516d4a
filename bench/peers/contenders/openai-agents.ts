import { Agent, Runner, setTracingDisabled, tool, Usage } from "@openai/agents"
import { ANSWER, argumentsOf, type Contender, QUESTION, SYSTEM, TOOL } from "../script.ts"

setTracingDisabled(true)

export const run: Contender = async (work) => {
  const model = {
    getResponse: async () => {
      const step = work.nextStep()
      const output =
        step === undefined
          ? { type: "message", role: "assistant", status: "completed", content: [{ type: "output_text", text: ANSWER }] }
          : { type: "function_call", callId: `call_${step}`, name: TOOL.name, status: "completed", arguments: JSON.stringify(argumentsOf(step)) }
      return { usage: new Usage({ inputTokens: 1000, outputTokens: 20, totalTokens: 1020 }), output: [output] }
    },
  }
  const read = tool({
    name: TOOL.name,
    description: TOOL.description,
    parameters: TOOL.inputSchema as never,
    strict: true,
    execute: async (input) => work.result((input as { path: string }).path),
  })
  const agent = new Agent({ name: "bench", instructions: SYSTEM, model: model as never, tools: [read] })
  return new Runner({ tracingDisabled: true }).run(agent, QUESTION, { maxTurns: work.steps + 2 })
}
