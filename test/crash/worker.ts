import { appendFileSync, existsSync, readFileSync } from "node:fs"
import { chatDriver } from "../../src/drivers/chat.ts"
import type { Host, ToolEffects } from "../../src/hosts/host.ts"
import { journaled } from "../../src/hosts/journal/journaled.ts"
import { JournalStoreError } from "../../src/hosts/journal/store.ts"
import { fileJournalStore } from "../../src/hosts/node/index.ts"
import { chatProjector } from "../../src/projectors/chat.ts"
import type { LlmResponse } from "../../src/schemas/llm.ts"

// A separate process, which a test kills. It runs one turn with a journal in a file, or resumes it, and prints the result to
// standard output. Each effect of its executors on the world is a line of a file.

const { CRASH_EFFECTS = "", CRASH_COMPACT, CRASH_TAKE_OVER, CRASH_HOLD } = process.env
const [journal = ""] = process.argv.slice(2)

const USAGE = { inputTokens: 10, cachedInputTokens: 0, outputTokens: 2, reasoningTokens: 0 }

/** The effects of each call, by call id. The first batch has one of each kind. */
const EFFECTS: Readonly<Record<string, ToolEffects>> = { a: "none", b: "idempotent", c: "once", d: "once", e: "idempotent" }

function answerTo(answered: number): LlmResponse {
  const batch = [["a", "b", "c", "d"], ["e"]][answered] ?? []
  const parts = batch.map((callId) => ({ type: "tool_call", callId, toolName: "act", inputJson: "{}" }) as const)
  return { text: parts.length === 0 ? "All done." : "", parts, usage: USAGE, terminalReason: parts.length === 0 ? "stop" : "tool_use" }
}

function perform(what: string, key: string | undefined): void {
  appendFileSync(CRASH_EFFECTS, `${what} ${key}\n`)
}

/** Waits until a file exists. A test that runs several processes at once creates it to let them continue. */
async function released(): Promise<void> {
  while (CRASH_HOLD !== undefined && !existsSync(CRASH_HOLD)) await new Promise((resolve) => setTimeout(resolve, 2))
}

const host: Host = {
  async llmCall({ request }, { idempotencyKey }) {
    perform("model", idempotencyKey)
    await released()
    return answerTo(request.messages.filter(({ role }) => role === "assistant").length)
  },
  tools: {
    async call({ callId }, { idempotencyKey }) {
      perform(callId, idempotencyKey)
      return { output: { status: "success", value: `did ${callId}` } }
    },
    effects: ({ callId }) => EFFECTS[callId] ?? "none",
    async recover({ callId }, { idempotencyKey }) {
      if (callId !== "d") return undefined
      if (!readFileSync(CRASH_EFFECTS, "utf8").includes(`d ${idempotencyKey}\n`)) return { ran: false }
      return { ran: true, answer: { output: { status: "success", value: "did d" } } }
    },
  },
  async checkpoint({ checkpoint }, { idempotencyKey }) {
    perform("checkpoint", idempotencyKey)
    if (checkpoint !== "after_work") return undefined
    return { messages: [{ role: "user", content: "Continue." }] }
  },
}

const config = {
  driver: chatDriver(),
  projector: chatProjector,
  model: "scripted",
}
const start = { messages: [{ id: "u", role: "user" as const, parts: [{ id: "u.p0", type: "text" as const, text: "Go." }] }] }

try {
  const options = {
    takeOver: CRASH_TAKE_OVER !== undefined,
    ...(CRASH_COMPACT !== undefined && { snapshotEveryRecords: 4, compactAboveChars: 1 }),
  }
  const done = await journaled(host, fileJournalStore(), options).run(journal, { config, start, turnId: "turn-1" }, { now: () => 1_000 })
  process.stdout.write(JSON.stringify({ outcome: done.outcome, messages: done.messages }))
} catch (error) {
  if (!(error instanceof JournalStoreError)) throw error
  process.stdout.write(JSON.stringify({ refused: error.code }))
  process.exitCode = 3
}
