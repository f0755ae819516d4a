import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { chatDriver, chatProjector, type LlmResponse, TurnMachine, userMessage } from "turn-machine"
import { defineTool, type Host, memoryJournalStore, openAiCompatible, runTurn, toolbox } from "turn-machine/hosts"
import { journaled } from "turn-machine/hosts/journal"
import { fileJournalStore } from "turn-machine/hosts/node"
import { readJournal, resume } from "turn-machine/replay"
import * as z from "zod"
import {
  ANSWER,
  argumentsOf,
  type Contender,
  type Crash,
  PIECE,
  QUESTION,
  type Saved,
  type Streamer,
  SYSTEM,
  savedText,
  TOOL,
  type Work,
} from "../script.ts"

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

/** A checkpoint at the end of the turn. */
export const withRunTurnSaved = async (work: Work): Promise<() => Saved> => {
  const { config, start, host } = turnOf(work)
  const machine = new TurnMachine(config, start)
  await runTurn(machine, host)
  return () => savedText(JSON.stringify(machine.checkpoint()), (text) => TurnMachine.restore(config, text))
}

/** The text of the journal, folded into the turn again. */
export const journaledInMemorySaved = async (work: Work): Promise<() => Saved> => {
  const { config, start, host } = turnOf(work)
  const store = memoryJournalStore()
  await journaled(host, store).run("turn.jsonl", { config, start })
  let lines = ""
  for await (const part of (await store.read("turn.jsonl")) ?? []) lines += part
  return () => savedText(lines, (text) => resume(readJournal(text), config))
}

export const withRunTurnDeltas: Streamer = (pieces, onPiece) => {
  const host: Host = {
    async llmCall(_effect, context) {
      let text = ""
      for (let piece = 0; piece < pieces; piece += 1) {
        await undefined
        text += PIECE
        context.emit({ type: "text_delta", content: PIECE })
      }
      return { text, parts: [{ type: "text", text }], usage: USAGE, terminalReason: "stop" }
    },
  }
  const config = { driver: chatDriver(), projector: chatProjector, model: "bench", systemPrompt: SYSTEM, tools: [] }
  const machine = new TurnMachine(config, { messages: [userMessage(QUESTION)] })
  return runTurn(machine, host, {
    onEvent(event) {
      if (event.type === "text_delta") onPiece(event.content)
    },
  })
}

/** Over HTTP: each piece is one chunk of a stream of events. */
export const clientDeltas: Streamer = (pieces, onPiece) => {
  const encoder = new TextEncoder()
  const chunkOf = (delta: object, more: object): Uint8Array =>
    encoder.encode(
      `data: ${JSON.stringify({ id: "c", object: "chat.completion.chunk", created: 1, model: "bench", choices: [{ index: 0, delta, ...more }] })}\n\n`,
    )
  const answer = (): Response => {
    let sent = 0
    const body = new ReadableStream({
      pull(controller) {
        sent += 1
        if (sent <= pieces) return controller.enqueue(chunkOf({ content: PIECE }, { finish_reason: null }))
        controller.enqueue(chunkOf({}, { finish_reason: "stop", usage: { prompt_tokens: 1, completion_tokens: pieces } }))
        controller.enqueue(encoder.encode("data: [DONE]\n\n"))
        controller.close()
      },
    })
    return new Response(body, { headers: { "content-type": "text/event-stream" } })
  }
  const host: Host = { ...openAiCompatible({ baseUrl: "http://127.0.0.1:9/v1", model: "bench", apiKey: "bench", fetch: async () => answer() }) }
  const config = { driver: chatDriver(), projector: chatProjector, model: "bench", systemPrompt: SYSTEM, tools: [] }
  return runTurn(new TurnMachine(config, { messages: [userMessage(QUESTION)] }), host, {
    onEvent(event) {
      if (event.type === "text_delta") onPiece(event.content)
    },
  })
}

export const journaledCrash: Crash = async () => {
  const ran: string[] = []
  const store = memoryJournalStore()
  for (const isKilled of [true, false]) {
    const tools = toolbox(
      ["a", "b", "c"].map((name) =>
        defineTool({
          name,
          description: "One of three.",
          input: z.object({}),
          async execute() {
            if (name === "c") await new Promise((resolve) => setTimeout(resolve, 50))
            if (name === "c" && isKilled) throw new Killed()
            ran.push(name)
            return name
          },
        }),
      ),
    )
    const parts = ["a", "b", "c"].map((toolName) => ({ type: "tool_call", callId: `call_${toolName}`, toolName, inputJson: "{}" }) as const)
    const host: Host = {
      tools,
      async llmCall({ request }) {
        const isDone = request.messages.some(({ blocks }) => blocks.some(({ type }) => type === "tool_result"))
        return isDone
          ? { text: ANSWER, parts: [{ type: "text", text: ANSWER }], usage: USAGE, terminalReason: "stop" }
          : { text: "", parts, usage: USAGE, terminalReason: "tool_use" }
      },
    }
    const config = { driver: chatDriver(), projector: chatProjector, model: "bench", systemPrompt: SYSTEM, tools: tools.specs }
    const run = journaled(host, store).run(
      "turn.jsonl",
      { config, start: { messages: [userMessage(QUESTION)] } },
      { isFatal: (error) => error instanceof Killed },
    )
    if (isKilled)
      await run.then(
        () => Promise.reject(new Error("It was not killed.")),
        () => undefined,
      )
    else await run
  }
  return ran
}

/** Ends the run without a trace, as the end of its process would. */
class Killed extends Error {}
