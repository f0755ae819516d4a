import { Agent, FunctionTool, Model, type ModelStreamEvent } from "@strands-agents/sdk"
import { ANSWER, argumentsOf, type Contender, QUESTION, SYSTEM, TOOL, type Work } from "../script.ts"

class Scripted extends Model {
  readonly #work: Work

  constructor(work: Work) {
    super()
    this.#work = work
  }

  updateConfig(): void {}

  getConfig() {
    return { modelId: "bench" }
  }

  async *stream(): AsyncIterable<ModelStreamEvent> {
    const step = this.#work.nextStep()
    yield { type: "modelMessageStartEvent", role: "assistant" }
    if (step === undefined) {
      yield { type: "modelContentBlockStartEvent" }
      yield { type: "modelContentBlockDeltaEvent", delta: { type: "textDelta", text: ANSWER } }
    } else {
      yield { type: "modelContentBlockStartEvent", start: { type: "toolUseStart", name: TOOL.name, toolUseId: `call_${step}` } }
      yield { type: "modelContentBlockDeltaEvent", delta: { type: "toolUseInputDelta", input: JSON.stringify(argumentsOf(step)) } }
    }
    yield { type: "modelContentBlockStopEvent" }
    yield { type: "modelMessageStopEvent", stopReason: step === undefined ? "endTurn" : "toolUse" }
    yield { type: "modelMetadataEvent", usage: { inputTokens: 1000, outputTokens: 20, totalTokens: 1020 } }
  }
}

export const agent: Contender = (work) => {
  const read = new FunctionTool({
    name: TOOL.name,
    description: TOOL.description,
    inputSchema: TOOL.inputSchema as never,
    callback: (input) => work.result((input as { path: string }).path),
  })
  return new Agent({ model: new Scripted(work), tools: [read], systemPrompt: SYSTEM, printer: false }).invoke(QUESTION)
}
