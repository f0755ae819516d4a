import { describe, expect, test } from "vitest"
import { approvalDriver } from "../../../src/drivers/approval/driver.ts"
import { chatDriver } from "../../../src/drivers/chat.ts"
import { compactingDriver } from "../../../src/drivers/compaction/driver.ts"
import { type Host, LlmCallError } from "../../../src/hosts/host.ts"
import { memoryJournalStore } from "../../../src/hosts/journal/memory.ts"
import { runTurn } from "../../../src/hosts/run/run-turn.ts"
import { redirectRun } from "../../../src/hosts/run/wake-run.ts"
import { runThread, Thread } from "../../../src/hosts/thread/thread.ts"
import type { TurnConfig } from "../../../src/machine/config.ts"
import { chatProjector } from "../../../src/projectors/chat.ts"
import { viewProjector } from "../../../src/projectors/view.ts"
import type { TurnEvent } from "../../../src/schemas/event.ts"
import type { LlmRequest, LlmResponse, OutputPart } from "../../../src/schemas/llm.ts"
import { TurnMachine } from "../../../src/validated-turn-machine.ts"
import { userMessage } from "../../machine/support.ts"
import { isCompactionRequest, LOOK, long, recordsOf, textOfMessage } from "./support.ts"

const USAGE = { inputTokens: 10, cachedInputTokens: 0, outputTokens: 2, reasoningTokens: 0 }
const CONFIG: TurnConfig = {
  model: "small",
  driver: compactingDriver(chatDriver(), { keepTailTokens: 0 }),
  projector: viewProjector(chatProjector),
  tools: [LOOK],
  maxContextTokens: 1_000,
  maxResultTokens: 10_000,
}

/** A model that looks once, summarizes when it is asked to, and then answers. It streams all that it says. */
class Model {
  readonly requests: LlmRequest[] = []
  readonly purposes: (string | undefined)[] = []
  /** Called in each compaction, when half of it has been said. */
  amid: (signal: AbortSignal) => Promise<void> = () => Promise.resolve()

  readonly host: Host = {
    llmCall: async ({ request, purpose }, { emit, signal }) => {
      this.requests.push(request)
      this.purposes.push(purpose)
      if (isCompactionRequest(request)) {
        emit({ type: "reasoning_delta", content: "Hm." })
        emit({ type: "text_delta", content: "Secret " })
        await this.amid(signal)
        emit({ type: "text_delta", content: "summary." })
        return answered("Secret summary.")
      }
      const hasLooked = request.messages.some(({ blocks }) => blocks.some(({ type }) => type === "tool_result")) || isSummarized(request)
      if (!hasLooked) return answered("", { type: "tool_call", callId: "c1", toolName: "look", inputJson: "{}" })
      emit({ type: "text_delta", content: "Done." })
      return answered("Done.")
    },
    tools: { call: async () => ({ output: { status: "success", value: long(900) } }), effects: () => "none" },
  }
}

function isSummarized({ messages }: LlmRequest): boolean {
  return messages.some((message) => textOfMessage(message).includes("<summary>"))
}

function answered(text: string, ...calls: readonly OutputPart[]): LlmResponse {
  const parts: readonly OutputPart[] = text === "" ? calls : [{ type: "text", text }, ...calls]
  return { text, parts, usage: USAGE, terminalReason: calls.length > 0 ? "tool_use" : "stop" }
}

function newTurn(config: Partial<TurnConfig> = {}): TurnMachine {
  return new TurnMachine({ ...CONFIG, ...config }, { messages: [userMessage("Do the work.")] })
}

describe("what a user sees of a compaction", () => {
  test("no text of a summary is emitted, and executors and events name the purpose of the call", async () => {
    const model = new Model()
    const events: TurnEvent[] = []
    const { outcome } = await runTurn(newTurn(), model.host, { onEvent: (event) => void events.push(event) })
    expect(outcome).toMatchObject({ finish: { text: "Done." } })
    expect(model.purposes).toEqual([undefined, "compaction", undefined])
    expect(events.flatMap((event) => (event.type === "llm_request" ? [event.purpose] : []))).toEqual([undefined, "compaction", undefined])
    expect(events.flatMap((event) => (event.type === "text_delta" || event.type === "reasoning_delta" ? [event.content] : []))).toEqual(["Done."])
    expect(JSON.stringify(events)).not.toContain("Secret")
    expect(events.flatMap((event) => (event.type === "message" ? [event.kind] : []))).toEqual(["compaction", "compaction"])
  })

  test("nor is a summary that is cut off, or fails after half of it", async () => {
    for (const end of ["output_limit", "throws"] as const) {
      const model = new Model()
      const { host } = model
      const events: TurnEvent[] = []
      const cut: Host = {
        ...host,
        llmCall: async (effect, context) => {
          if (effect.purpose === undefined) return host.llmCall(effect, context)
          context.emit({ type: "text_delta", content: "Secret" })
          if (end === "throws") throw new LlmCallError({ message: "Gone.", retryable: true, kind: "network", terminalReason: "provider_error" })
          return { ...answered("Secret"), terminalReason: end }
        },
      }
      const machine = newTurn()
      await runTurn(machine, cut, { onEvent: (event) => void events.push(event) })
      expect(machine.outcome).toMatchObject({ finish: { text: "Done." } })
      expect(JSON.stringify(events)).not.toContain("Secret")
      expect(JSON.stringify(machine.messages)).not.toContain("Secret")
      // One notice for one failure, however it is reported.
      expect(events.filter((event) => event.type === "message" && event.text.includes("could not be summarized")).length).toBe(1)
    }
  })
})

describe("a command during a compaction", () => {
  test("redirect: stores nothing of the summary, and the new message is answered", async () => {
    const model = new Model()
    const machine = newTurn()
    let isRedirected: Promise<boolean> | undefined
    model.amid = async (signal) => {
      if (isRedirected !== undefined) return
      isRedirected = redirectRun(machine, [userMessage("Do another thing.", "u2")])
      await new Promise<void>((resolve) => {
        signal.addEventListener("abort", () => resolve())
      })
    }
    await runTurn(machine, model.host)
    expect(await isRedirected).toBe(true)
    expect(machine.outcome).toMatchObject({ finish: { text: "Done." } })
    expect(JSON.stringify(machine.messages)).not.toContain("Secret")
    // The context is still too large, so it is compacted for the new message, which stays word for word.
    expect(recordsOf(machine.history).length).toBe(1)
    expect(model.requests.at(-1)?.messages.map(textOfMessage)).toEqual([
      "Do the work.",
      expect.stringContaining("Secret summary."),
      "Do another thing.",
    ])
  })

  test("an abort of the run ends the turn, and the next turn compacts", async () => {
    const model = new Model()
    const controller = new AbortController()
    const machine = newTurn()
    model.amid = async () => controller.abort("Stop.")
    await runTurn(machine, model.host, { signal: controller.signal })
    expect(machine.outcome).toMatchObject({ stop: { type: "cancelled" } })
    expect(JSON.stringify(machine.messages)).not.toContain("Secret")
    model.amid = () => Promise.resolve()
    const start = { messages: [...machine.messages, userMessage("Again.", "u2")], events: machine.history, iterationOffset: 5 }
    const next = new TurnMachine(CONFIG, start)
    await runTurn(next, model.host)
    expect(next.outcome).toMatchObject({ finish: { text: "Done." } })
    expect(recordsOf(next.history).length).toBe(1)
  })

  test("a turn's token limit that a compaction reaches ends the turn, with the record", async () => {
    const machine = newTurn({ maxTokens: 24 })
    await runTurn(machine, new Model().host)
    expect(machine.outcome).toMatchObject({ stop: { type: "max_tokens" } })
    expect(recordsOf(machine.history).length).toBe(1)
    expect(machine.usage.inputTokens).toBe(20)
  })

  test("the last iteration has room for a compaction", async () => {
    const machine = newTurn({ maxIterations: 2 })
    await runTurn(machine, new Model().host)
    expect(machine.outcome).toMatchObject({ finish: { text: "Done." } })
    expect(machine.iteration).toBe(1)
  })
})

describe("a thread", () => {
  test("continues from the view in its next turn, and stores everything that was said", async () => {
    const model = new Model()
    const store = memoryJournalStore()
    const open = (): Promise<Thread> => Thread.open(store, "t", { config: CONFIG, goals: false, now: () => 1 } as never)
    const thread = await open()
    await thread.say("Do the work.")
    await runThread(thread, model.host, { now: () => 1 })
    await thread.close()
    const again = await open()
    await again.say("And more.")
    await runThread(again, model.host, { now: () => 1 })
    const last = model.requests.at(-1)
    expect(last?.messages.map(textOfMessage)).toEqual([
      "Do the work.",
      expect.stringContaining("Secret summary."),
      "Done.",
      expect.stringContaining("And more."),
    ])
    expect(again.history.filter(({ type }) => type === "conversation").length).toBeGreaterThanOrEqual(6)
    expect(recordsOf(again.history).length).toBe(1)
    await again.close()
  })
})

describe("approvals", () => {
  test.each([
    ["outside", (policy: never) => approvalDriver(compactingDriver(chatDriver(), { keepTailTokens: 0 }), { policy })],
    ["inside", (policy: never) => compactingDriver(approvalDriver(chatDriver(), { policy }), { keepTailTokens: 0 })],
  ] as const)("%s: a grant from before a compaction counts after it", async (_where, driver) => {
    let asked = 0
    const policy = (() => ({ hold: { scopes: ["turn"] } })) as never
    const base = new Model().host
    let looks = 0
    const host: Host = {
      ...base,
      llmCall: async (effect, context) => {
        if (effect.purpose !== undefined) return base.llmCall(effect, context)
        looks += 1
        if (looks > 4) return answered("Done.")
        return answered("", { type: "tool_call", callId: `c${looks}`, toolName: "look", inputJson: "{}" })
      },
      decide: async (held) => {
        asked += held.length
        return held.map(({ requestId, digest }) => ({ requestId, digest, decision: "approve", scope: "turn" })) as never
      },
    }
    const machine = newTurn({ driver: driver(policy) })
    await runTurn(machine, host)
    expect(machine.outcome).toMatchObject({ finish: { text: "Done." } })
    expect(recordsOf(machine.history).length).toBeGreaterThan(1)
    expect(asked).toBe(1)
  })
})
