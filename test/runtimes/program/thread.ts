import { chatDriver, chatProjector } from "turn-machine"
import { defineTool, type Host, memoryJournalStore, openAiCompatible, toolbox } from "turn-machine/hosts"
import { runThread, Thread, type ThreadEvent, type ThreadOptions } from "turn-machine/hosts/thread"
import { toResponse } from "turn-machine/hosts/ui-stream"
import { uiMessages } from "turn-machine/projectors/ui-stream"
import * as z from "zod"
import { endpoint } from "./endpoint.ts"
import { describe, expect, record, test } from "./registry.ts"

const write = defineTool({
  name: "write",
  description: "Writes a chapter.",
  input: z.object({ chapter: z.int() }),
  execute: async ({ chapter }) => `Chapter ${chapter} is written.`,
})
const tools = toolbox([write])

function options(): ThreadOptions & { readonly now: () => number } {
  let clock = 1_000_000
  const now = (): number => (clock += 100)
  return { config: { driver: chatDriver(), projector: chatProjector, model: "scripted", systemPrompt: "You write.", tools: tools.specs }, now }
}

/** A host whose model is an HTTP endpoint, with a `fetch` that reaches none. */
function hostOf(answers: Parameters<typeof endpoint>[0]): Host {
  const model = openAiCompatible({ baseUrl: "https://model.example/v1", apiKey: "key", fetch: endpoint(answers), maxRetries: 0 })
  return { ...model, tools }
}

describe("a thread with a goal and a model that streams", () => {
  test("pursues its goal over turns, and streams every text", async () => {
    const host = hostOf([
      { tool: "write", args: { chapter: 1 } },
      "Chapter one — “Früh 🌅” — is written.",
      { tool: "write", args: { chapter: 2 } },
      "Both are written.",
      { tool: "update_goal", args: { status: "complete" } },
      "Done.",
    ])
    const store = memoryJournalStore()
    const given = options()
    const thread = await Thread.open(store, "book", given)
    await thread.command({ type: "set", objective: "Write a book of two chapters.", tokenBudget: 20_000 })
    const streamed: string[] = []
    const rest = await runThread(thread, host, {
      onEvent: (event) => {
        if (event.type === "text_delta") streamed.push(event.content)
      },
      onGoal: (output) => record(output),
    })
    expect(rest.reason).toBe("The goal is complete.")
    expect(streamed.join("")).toBe("Chapter one — “Früh 🌅” — is written.Both are written.Done.")
    expect(streamed.length).toBeGreaterThan(10)
    record(thread.history)
    await thread.close()

    const names: string[] = []
    for await (const name of store.list()) names.push(name)
    expect(names).toEqual(["book.1", "book.2", "book.3", "book.thread"])
  })

  test("delivers what the user says, and an event stream of the thread ends at the same place", async () => {
    const store = memoryJournalStore()
    const thread = await Thread.open(store, "talk", { ...options(), goals: false })
    await thread.say("Hello, I am Ada.")
    const host = hostOf(["Hello Ada.", "You said hello."])
    await runThread(thread, host)
    const { inputId } = await thread.say("What did I say?")
    await runThread(thread, host)
    const texts = thread.history.flatMap((entry) =>
      entry.type === "conversation" ? entry.message.parts.flatMap((part) => (part.type === "text" ? [part.text] : [])) : [],
    )
    expect(texts).toEqual(["Hello, I am Ada.", "Hello Ada.", "What did I say?", "You said hello."])
    const response = await toResponse(thread, { select: { type: "input", inputId } })
    const stream = await response.text()
    record(stream)
    expect(stream.split("\n\n").at(-2)).toBe("data: [DONE]")
    const durable: ThreadEvent[] = []
    for await (const event of thread.events({ live: false })) durable.push(event)
    const { messages } = uiMessages(durable)
    record(messages)
    expect(messages.map(({ role }) => role)).toEqual(["user", "assistant", "user", "assistant"])
    const events: string[] = []
    const controller = new AbortController()
    for await (const event of thread.events({ signal: controller.signal })) {
      events.push(event.type)
      record({ ...event })
      if (events.filter((type) => type === "turn_ended").length === 2) controller.abort()
    }
    expect(events.filter((type) => type === "message").length).toBe(4)
    await thread.close()
  })

  test("stops a model call when it is interrupted", async () => {
    const hanging: typeof fetch = (_input, init) =>
      new Promise((_resolve, reject) => {
        init?.signal?.addEventListener("abort", () => reject(init.signal?.reason))
      })
    const model = openAiCompatible({ baseUrl: "https://model.example/v1", fetch: hanging })
    const controller = new AbortController()
    const thread = await Thread.open(memoryJournalStore(), "stopped", { ...options(), goals: false })
    await thread.say("Are you there?")
    setTimeout(() => controller.abort(), 20)
    const { outcome } = await runThread(thread, { ...model, tools }, { signal: controller.signal })
    expect(outcome).toEqual({ type: "stopped", stop: { type: "cancelled" } })
    await thread.close()
  })
})
