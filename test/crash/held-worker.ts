import { appendFileSync, readFileSync } from "node:fs"
import { approvalDriver } from "../../src/drivers/approval/driver.ts"
import { chatDriver } from "../../src/drivers/chat.ts"
import type { Host } from "../../src/hosts/host.ts"
import { journaled } from "../../src/hosts/journal/journaled.ts"
import { pendingApprovals } from "../../src/hosts/journal/pending-approvals.ts"
import { JournalStoreError } from "../../src/hosts/journal/store.ts"
import { TurnJournal } from "../../src/hosts/journal/turn-journal.ts"
import { fileJournalStore } from "../../src/hosts/node/index.ts"
import { chatProjector } from "../../src/projectors/chat.ts"
import type { LlmResponse } from "../../src/schemas/llm.ts"
import type { Decision } from "../../src/wire/approval.ts"

// A separate process, which a test kills. It runs a turn until it ends or waits for a person (`run`), or decides as a person does (`decide`).
// Each payment is a line of a file.

const { CRASH_EFFECTS = "", CRASH_BY = "ada" } = process.env
const [folder = "", act = "run"] = process.argv.slice(2)
const NAME = "turn.journal"
const USAGE = { inputTokens: 10, cachedInputTokens: 0, outputTokens: 2, reasoningTokens: 0 }

function answerTo(answered: number): LlmResponse {
  const batch = ["p1", "l1", "p2", "p3"].slice(0, answered === 0 ? 4 : 0)
  const parts = batch.map((callId) => ({ type: "tool_call", callId, toolName: callId === "l1" ? "look" : "pay", inputJson: '{"amount":9}' }) as const)
  return { text: parts.length === 0 ? "Paid." : "", parts, usage: USAGE, terminalReason: parts.length === 0 ? "stop" : "tool_use" }
}

const host: Host = {
  llmCall: async ({ request }) => answerTo(request.messages.filter(({ role }) => role === "assistant").length),
  tools: {
    async call({ callId, toolName, args }, { idempotencyKey }) {
      if (toolName === "pay") appendFileSync(CRASH_EFFECTS, `${callId} ${JSON.stringify(args)} ${idempotencyKey}\n`)
      return { output: { status: "success", value: `did ${callId}` } }
    },
    effects: ({ toolName }) => (toolName === "pay" ? "once" : "none"),
    async recover({ callId }, { idempotencyKey }) {
      const isPaid = readFileSync(CRASH_EFFECTS, "utf8").includes(` ${idempotencyKey}\n`)
      return isPaid ? { ran: true, answer: { output: { status: "success", value: `did ${callId}` } } } : { ran: false }
    },
  },
}

const spec = (name: string) => ({ name, description: name, inputSchema: { type: "object" } })
const config = {
  driver: approvalDriver(chatDriver(), { policy: ({ toolName }) => (toolName === "pay" ? { hold: {} } : "run") }),
  projector: chatProjector,
  model: "scripted",
  tools: [spec("pay"), spec("look")],
}
const start = { messages: [{ id: "u", role: "user" as const, parts: [{ id: "u.p0", type: "text" as const, text: "Go." }] }] }
const store = fileJournalStore(folder)

/** The person approves p1, rejects p2 and edits p3, the last first. */
async function decided(): Promise<unknown> {
  const requests = []
  for await (const turn of pendingApprovals(store)) {
    if (turn.error !== undefined) throw turn.error
    requests.push(...turn.held)
  }
  const verdicts: Readonly<Record<string, object>> = {
    p1: { decision: CRASH_BY === "bob" ? "reject" : "approve" },
    p2: { decision: CRASH_BY === "bob" ? "approve" : "reject" },
    p3: { decision: "edit", args: { amount: CRASH_BY === "bob" ? 2 : 1 } },
  }
  const decisions = requests
    .map(({ callId, requestId, digest }) => ({ requestId, digest, by: CRASH_BY, ...verdicts[callId] }) as unknown as Decision)
    .reverse()
  const journal = await TurnJournal.open(store, NAME, { waitMs: 20_000 })
  try {
    return await journal.decide(decisions)
  } finally {
    await journal.close()
  }
}

try {
  const result = act === "decide" ? await decided() : await journaled(host, store).run(NAME, { config, start, turnId: "turn-1" }, { suspend: true })
  process.stdout.write(JSON.stringify(result))
} catch (error) {
  if (!(error instanceof JournalStoreError)) throw error
  process.stdout.write(JSON.stringify({ refused: error.code }))
  process.exitCode = 3
}
