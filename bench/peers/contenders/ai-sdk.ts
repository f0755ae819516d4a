import { generateText, isStepCount, jsonSchema, tool } from "ai"
import { ANSWER, argumentsOf, type Contender, QUESTION, SYSTEM, TOOL } from "../script.ts"

const usage = { inputTokens: { total: 1000, noCache: 100, cacheRead: 900, cacheWrite: 0 }, outputTokens: { total: 20, text: 20, reasoning: 0 } }

export const generate: Contender = async (work) => {
  const model = {
    specificationVersion: "v4",
    provider: "bench",
    modelId: "bench",
    supportedUrls: {},
    doGenerate: async () => {
      const step = work.nextStep()
      return step === undefined
        ? { content: [{ type: "text", text: ANSWER }], finishReason: { unified: "stop", raw: "stop" }, usage, warnings: [] }
        : {
            content: [{ type: "tool-call", toolCallId: `call_${step}`, toolName: TOOL.name, input: JSON.stringify(argumentsOf(step)) }],
            finishReason: { unified: "tool-calls", raw: "tool_calls" },
            usage,
            warnings: [],
          }
    },
  }
  return generateText({
    model: model as never,
    instructions: SYSTEM,
    prompt: QUESTION,
    stopWhen: isStepCount(work.steps + 1),
    tools: {
      [TOOL.name]: tool({
        description: TOOL.description,
        inputSchema: jsonSchema<{ path: string }>(TOOL.inputSchema as never),
        execute: async ({ path }: { path: string }) => work.result(path),
      }),
    },
  })
}
