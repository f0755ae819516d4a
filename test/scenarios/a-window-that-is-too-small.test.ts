import { describe, expect, test } from "vitest"
import { judgeValidation } from "../../src/checks/judge.ts"
import { chatDriver } from "../../src/drivers/chat.ts"
import { compactingDriver } from "../../src/drivers/compaction/driver.ts"
import { type Host, LlmCallError } from "../../src/hosts/host.ts"
import { memoryJournalStore } from "../../src/hosts/journal/memory.ts"
import { JudgedThread } from "../../src/hosts/judge/judged-thread.ts"
import { runThread, Thread } from "../../src/hosts/thread/thread.ts"
import type { TurnConfig } from "../../src/machine/config.ts"
import { estimateTokens } from "../../src/machine/usage-estimate.ts"
import { chatProjector } from "../../src/projectors/chat.ts"
import { viewProjector } from "../../src/projectors/view.ts"
import type { LlmRequest, LlmResponse, OutputPart } from "../../src/schemas/llm.ts"
import type { HistoryRecord } from "../../src/schemas/message.ts"
import { failuresOf, isCompactionRequest, recordsOf } from "../drivers/compaction/support.ts"

const WINDOW = 8_000
const FILES = 30
const OBJECTIVE = "Read all 30 files, and report the word of each."
const CRITERIA = ["Words 1 to 10 are reported.", "Words 11 to 20 are reported.", "Words 21 to 30 are reported."]
const WORDS = Array.from({ length: FILES }, (_, index) => `heron${index * 7 + 3}`)

/** A file of about 2,000 tokens, so 60,000 in all. */
const fileText = (number: number): string => `${"reed ".repeat(800)}word ${number} is ${WORDS[number - 1]}\n${"sedge ".repeat(660)}`

/**
 * A model of a small window that knows nothing but its request: it refuses what is longer, and works from what it reads there. It reports
 * the words that it has seen, ten more in each turn.
 */
class StrictModel {
  readonly requests: LlmRequest[] = []
  readonly events: HistoryRecord[] = []
  refused = 0
  spent = 0
  #calls = 0

  readonly host: Host = {
    llmCall: async ({ request }) => {
      if (request.tools.some(({ name }) => name === "submit_checklist" || name === "update_checklist")) return this.#judge(request)
      const tokens = estimateTokens(request)
      if (tokens > WINDOW) {
        this.refused += 1
        const message = `This model's maximum context length is ${WINDOW} tokens.`
        throw new LlmCallError({ message, retryable: false, kind: "context_overflow", terminalReason: "context_overflow" })
      }
      this.requests.push(request)
      return this.#work(request, tokens)
    },
    tools: {
      call: async ({ args }) => ({ output: { status: "success", value: fileText((args as { readonly number: number }).number) } }),
      effects: () => "idempotent",
    },
    progress: async ({ eventDelta }) => void this.events.push(...eventDelta),
  }

  #work(request: LlmRequest, tokens: number): LlmResponse {
    const text = JSON.stringify(request.messages)
    const seen = new Map([...text.matchAll(/word (\d+) is (heron\d+)/g)].map(([, number, word]) => [Number(number), word]))
    const known = [...seen].sort(([left], [right]) => left - right).map(([number, word]) => `word ${number} is ${word}`)
    if (isCompactionRequest(request)) return this.#says(`Found so far: ${known.join("; ")}.`, tokens)
    const next = Array.from({ length: FILES }, (_, index) => index + 1).find((number) => !seen.has(number)) ?? FILES + 1
    const reported = Number(/Reported up to (\d+)/.exec(text.slice(text.lastIndexOf("Reported up to")))?.[1] ?? 0)
    if (next - 1 >= reported + 10 || next > FILES) return this.#says(`Reported up to ${next - 1}. ${known.join("; ")}.`, tokens)
    this.#calls += 1
    return this.#says("", tokens, {
      type: "tool_call",
      callId: `c${this.#calls}`,
      toolName: "read_file",
      inputJson: JSON.stringify({ number: next }),
    })
  }

  #says(text: string, tokens: number, ...calls: readonly OutputPart[]): LlmResponse {
    const parts: readonly OutputPart[] = text === "" ? calls : [{ type: "text", text }, ...calls]
    this.spent += tokens + 20
    const usage = { inputTokens: tokens, cachedInputTokens: 0, outputTokens: 20, reasoningTokens: 0 }
    return { text, parts, usage, terminalReason: calls.length > 0 ? "tool_use" : "stop" }
  }

  /** The judge has a window of its own, and settles a criterion once the last answer reports its words. */
  #judge({ tools, messages }: LlmRequest): LlmResponse {
    const usage = { inputTokens: 1, cachedInputTokens: 0, outputTokens: 1, reasoningTokens: 0 }
    const answer = (toolName: string, args: object): LlmResponse => {
      return { text: "", parts: [{ type: "tool_call", callId: "j", toolName, inputJson: JSON.stringify(args) }], usage, terminalReason: "tool_use" }
    }
    if (tools.some(({ name }) => name === "submit_checklist")) return answer("submit_checklist", { items: CRITERIA.map((text) => ({ text })) })
    const text = JSON.stringify(messages)
    const response = text.slice(text.lastIndexOf("latest response"))
    const updates = CRITERIA.flatMap((_, index) => {
      const words = WORDS.slice(index * 10, index * 10 + 10)
      if (!words.every((word) => new RegExp(`\\b${word}\\b`).test(response)) || text.includes(`[x] ${CRITERIA[index]}`)) return []
      return [{ index: index + 1, status: "completed", evidence: `The response reports ${words.join(", ")}.` }]
    })
    return answer("update_checklist", { updates, new_items: [], reason: "More words are to come." })
  }
}

async function reachesTheGoal(maxContextTokens: number | undefined): Promise<{ model: StrictModel; thread: Thread; judged: JudgedThread }> {
  const model = new StrictModel()
  const config: TurnConfig = {
    model: "small",
    systemPrompt: "You read files.",
    tools: [{ name: "read_file", description: "Reads a file.", inputSchema: { type: "object", properties: { number: { type: "integer" } } } }],
    driver: compactingDriver(chatDriver()),
    projector: viewProjector(chatProjector),
    maxContextTokens,
  }
  let at = 1_000_000
  const now = (): number => (at += 1_000)
  const store = memoryJournalStore()
  const thread = await Thread.open(store, "t", { config, policy: { endedBy: "judge", maxIdleContinuations: 0 }, now })
  const judged = await JudgedThread.open(store, thread, { judge: { model: "judge", validation: judgeValidation }, host: model.host })
  await thread.command({ type: "set", objective: OBJECTIVE })
  await runThread(thread, model.host, { now, wait: () => Promise.resolve(), between: () => judged.between() })
  return { model, thread, judged }
}

describe("a task of 60,000 tokens with a model whose window has 8,000", () => {
  test("reaches its goal, and the checklist is in every request", async () => {
    const { model, thread, judged } = await reachesTheGoal(WINDOW)
    expect(thread.goal).toMatchObject({ status: "complete" })
    expect(judged.state.goal?.checklist.map(({ text, status }) => `${text} ${status}`)).toEqual(CRITERIA.map((text) => `${text} completed`))
    // The window was known, so no request was refused.
    expect(model.refused).toBe(0)
    let isListed = false
    for (const request of model.requests) {
      const text = JSON.stringify(request.messages)
      expect(text).toContain(OBJECTIVE)
      // The judge writes the list after the first turn.
      isListed ||= text.includes("<goal_checklist>")
      for (const criterion of isListed ? CRITERIA : []) expect(text).toContain(criterion)
      expect(estimateTokens(request)).toBeLessThanOrEqual(WINDOW)
    }
    expect(isListed).toBe(true)
    const { history } = thread
    const compactions = recordsOf(history)
    expect(compactions.length).toBeGreaterThan(5)
    expect(compactions.length).toBeLessThan(25)
    expect(failuresOf(history)).toEqual([])
    // Every call is charged once, those of compactions included.
    expect(thread.goal?.tokensUsed).toBe(model.spent)
    // Each file was read once: no summary lost a word.
    const reads = history.flatMap((record) =>
      record.type === "conversation" ? record.message.parts.filter(({ type }) => type === "tool_result") : [],
    )
    expect(reads.length).toBe(FILES)
  })

  test("also where nobody knows the window: the first overflow shows it", async () => {
    const { model, thread } = await reachesTheGoal(undefined)
    expect(thread.goal).toMatchObject({ status: "complete" })
    expect(thread.goal?.tokensUsed).toBe(model.spent)
    expect(model.refused).toBeLessThan(4)
    expect(recordsOf(thread.history)[0]).toMatchObject({ reason: "overflow" })
  })

  test("without compaction the same task fails", async () => {
    const model = new StrictModel()
    const config: TurnConfig = {
      model: "small",
      tools: [{ name: "read_file", description: "Reads a file.", inputSchema: { type: "object" } }],
      driver: chatDriver(),
      projector: chatProjector,
    }
    const thread = await Thread.open(memoryJournalStore(), "t", { config, now: () => 1 })
    await thread.command({ type: "set", objective: OBJECTIVE })
    await runThread(thread, model.host, { now: () => 1 })
    expect(thread.goal).toMatchObject({ status: "blocked" })
  })
})
