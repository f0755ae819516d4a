import { chatDriver, chatProjector, userMessage } from "turn-machine"
import { defineTool, type Host, toolbox } from "turn-machine/hosts"
import * as z from "zod"
import { QUESTION, SYSTEM, TOOL, type Work } from "./script.ts"
import { model } from "./turn-machine-model.ts"

/** A turn, and the host that runs it. */
export function turnOf(work: Work) {
  const tools = toolbox([
    defineTool({ name: TOOL.name, description: TOOL.description, input: z.object({ path: z.string() }), execute: ({ path }) => work.result(path) }),
  ])
  const host: Host = { llmCall: async () => model(work), tools }
  const config = { driver: chatDriver(), projector: chatProjector, model: "bench", systemPrompt: SYSTEM, tools: tools.specs }
  return { host, config, start: { messages: [userMessage(QUESTION)] } }
}
