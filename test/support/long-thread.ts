import { chatDriver } from "../../src/drivers/chat.ts"
import type { Host } from "../../src/hosts/host.ts"
import { textOf } from "../../src/hosts/journal/parts.ts"
import type { JournalStore } from "../../src/hosts/journal/store.ts"
import { runThread, type Thread, type ThreadOptions } from "../../src/hosts/thread/thread.ts"
import { chatProjector } from "../../src/projectors/chat.ts"
import type { HistoryRecord } from "../../src/schemas/message.ts"

/** How long each text is that somebody says: the user, the model, a tool. */
export const TEXT_CHARS = 1_000

const LOOK = { name: "look", description: "Looks.", inputSchema: { type: "object" } }

export const LONG_THREAD: ThreadOptions = { config: { driver: chatDriver(), projector: chatProjector, model: "m", tools: [LOOK] } }

/** A text of its own for each number. */
export function longText(number: number): string {
  return `${number}: `.padEnd(TEXT_CHARS, `the ${number} quick foxes `)
}

/** A host whose model answers with a long text; with `calls`, it calls a tool first, whose result is another one. */
export function longHost(calls = false): Host {
  let number = 0
  const usage = { inputTokens: 10, cachedInputTokens: 0, outputTokens: 2, reasoningTokens: 0 }
  return {
    async llmCall({ request: { messages } }) {
      number += 1
      if (calls && messages.at(-1)?.blocks.at(-1)?.type !== "tool_result")
        return { text: "", parts: [{ type: "tool_call", callId: "c", toolName: "look", inputJson: "{}" }], usage, terminalReason: "tool_use" }
      const text = longText(number)
      return { text, parts: [{ type: "text", text }], usage, terminalReason: "stop" }
    },
    tools: { call: async () => ({ output: { status: "success", value: longText(number) } }), effects: () => "idempotent" },
  }
}

/** Runs turns of a thread, each with a message of the user. Returns how many characters were said. */
export async function playTurns(thread: Thread, host: Host, count: number, calls = false): Promise<number> {
  for (let turn = 0; turn < count; turn += 1) {
    await thread.say(longText(thread.turns))
    await runThread(thread, host)
  }
  return count * TEXT_CHARS * (calls ? 3 : 2)
}

/** How many characters the messages of a history have: of the user, the model and tools, and of a goal that continues. */
export function saidChars(history: readonly HistoryRecord[]): number {
  let chars = 0
  for (const record of history) {
    if (record.type !== "conversation") continue
    for (const part of record.message.parts) if ("text" in part) chars += part.text?.length ?? 0
  }
  return chars
}

/** How many characters the journals of a store have whose names begin with a prefix. */
export async function storedChars(store: JournalStore, prefix: string): Promise<number> {
  let chars = 0
  for await (const name of store.list({ prefix })) chars += (await textOf(await store.read(name))).length
  return chars
}
