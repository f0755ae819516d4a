import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { chatDriver, chatProjector, type LlmResponse, TurnMachine, userMessage } from "turn-machine"
import { defineTool, type Host, memoryJournalStore, runTurn, toolbox } from "turn-machine/hosts"
import { journaled } from "turn-machine/hosts/journal"
import { fileJournalStore } from "turn-machine/hosts/node"
import * as z from "zod"
import { ANSWER, argumentsOf, type Contender, QUESTION, SYSTEM, TOOL, type Work } from "../script.ts"

const USAGE = { inputTokens: 100, cachedInputTokens: 900, outputTokens: 20, reasoningTokens: 0 }

function model(work: Work): LlmResponse {
  const step = work.nextStep()
  if (step === undefined) return { text: ANSWER, parts: [{ type: "text", text: ANSWER }], usage: USAGE, terminalReason: "stop" }
  const call = { type: "tool_call", callId: `call_${step}`, toolName: TOOL.name, inputJson: JSON.stringify(argumentsOf(step)) } as const
  return { text: "", parts: [call], usage: USAGE, terminalReason: "tool_use" }
}

function turnOf(work: Work) {
  const tools = toolbox([
    defineTool({ name: TOOL.name, description: TOOL.description, input: z.object({ path: z.string() }), execute: ({ path }) => work.result(path) }),
  ])
  const host: Host = { llmCall: async () => model(work), tools }
  const config = { driver: chatDriver(), projector: chatProjector, model: "bench", systemPrompt: SYSTEM, tools: tools.specs }
  return { host, config, start: { messages: [userMessage(QUESTION)] } }
}

/** The loop of docs/the-bare-loop.md, without promises. */
export const bareLoop: Contender = async (work) => {
  const { config, start } = turnOf(work)
  const machine = new TurnMachine(config, start)
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

export const withRunTurn: Contender = async (work) => {
  const { config, start, host } = turnOf(work)
  return runTurn(new TurnMachine(config, start), host)
}

export const journaledInMemory: Contender = async (work) => {
  const { config, start, host } = turnOf(work)
  const store = memoryJournalStore()
  await journaled(host, store).run("turn.jsonl", { config, start })
  return store
}

/** As a user gets it: each append is on the disk before the turn continues. */
export const journaledInFile: Contender = async (work) => {
  const { config, start, host } = turnOf(work)
  const folder = mkdtempSync(join(tmpdir(), "turn-machine-peers-"))
  try {
    await journaled(host, fileJournalStore(folder)).run("turn.jsonl", { config, start })
  } finally {
    rmSync(folder, { recursive: true })
  }
}
