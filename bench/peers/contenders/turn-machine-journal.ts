import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { chatDriver, chatProjector, userMessage } from "turn-machine"
import { defineTool, type Host, memoryJournalStore, toolbox } from "turn-machine/hosts"
import { journaled } from "turn-machine/hosts/journal"
import { fileJournalStore } from "turn-machine/hosts/node"
import { readJournal, resume } from "turn-machine/replay"
import * as z from "zod"
import { ANSWER, type Contender, type Crash, QUESTION, type Saved, SYSTEM, savedText, type Work } from "../script.ts"
import { turnOf } from "../turn-machine-host.ts"
import { USAGE } from "../turn-machine-model.ts"

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

/** The text of the journal, folded into the turn again. */
export const journaledInMemorySaved = async (work: Work): Promise<() => Saved> => {
  const { config, start, host } = turnOf(work)
  const store = memoryJournalStore()
  await journaled(host, store).run("turn.jsonl", { config, start })
  let lines = ""
  for await (const part of (await store.read("turn.jsonl")) ?? []) lines += part
  return () => savedText(lines, (text) => resume(readJournal(text), config))
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
