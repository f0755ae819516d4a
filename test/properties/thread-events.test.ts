import * as fc from "fast-check"
import { expect, test } from "vitest"
import type { Host } from "../../src/hosts/host.ts"
import { memoryJournalStore } from "../../src/hosts/journal/memory.ts"
import type { JournalStore } from "../../src/hosts/journal/store.ts"
import { threadEvents } from "../../src/hosts/thread/events.ts"
import { runThread, Thread, type ThreadOptions } from "../../src/hosts/thread/thread.ts"
import { ThreadEvent as ThreadEventSchema } from "../../src/schemas/thread-event.ts"
import type { Decision } from "../../src/wire/approval.ts"
import type { OutputPart } from "../../src/wire/llm.ts"
import type { Message } from "../../src/wire/message.ts"
import type { DurableThreadEvent, ThreadEvent } from "../../src/wire/thread-event.ts"
import { CONFIG as BASE } from "../replay/support.ts"
import { dyingStore } from "../support/dying-store.ts"
import { checkAsync, SLOW } from "./check.ts"

// Conversations with crashes, cancellations, held calls and inputs at any time, and readers of their events that connect and disconnect.

const USAGE = { inputTokens: 3, cachedInputTokens: 0, outputTokens: 2, reasoningTokens: 0 }
const spec = (name: string) => ({ name, description: name, inputSchema: { type: "object" } })
const TOOLS = ["look", "pay", "fail"] as const

/** What the model does in one call. `meanwhile`: what the user does while it speaks. */
interface Answer {
  readonly words: readonly string[]
  readonly calls: readonly (typeof TOOLS)[number][]
  readonly meanwhile: "say" | "later" | "redirect" | "interrupt" | "goal" | "nothing"
}

interface Story {
  readonly says: number
  readonly answers: readonly Answer[]
  /** For each process but the last, the writes after which it is killed. */
  readonly lives: readonly number[]
  readonly decisions: readonly ("approve" | "reject" | "wait")[]
  /** For each reader, how many durable events it receives before it connects again; and whether it reads the store instead. */
  readonly readers: readonly { readonly cuts: readonly number[]; readonly isOutside: boolean }[]
}

const anAnswer: fc.Arbitrary<Answer> = fc.record({
  words: fc.array(fc.constantFrom("one ", "two ", "three ", "four"), { maxLength: 5 }),
  calls: fc.array(fc.constantFrom(...TOOLS), { maxLength: 3 }),
  meanwhile: fc.constantFrom("nothing", "nothing", "nothing", "say", "later", "redirect", "interrupt", "goal"),
})

const aStory: fc.Arbitrary<Story> = fc.record({
  says: fc.integer({ min: 1, max: 3 }),
  answers: fc.array(anAnswer, { minLength: 1, maxLength: 8 }),
  lives: fc.array(fc.integer({ min: 2, max: 25 }), { maxLength: 4 }),
  decisions: fc.array(fc.constantFrom("approve", "reject", "wait"), { maxLength: 5 }),
  readers: fc.array(fc.record({ cuts: fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 5 }), isOutside: fc.boolean() }), {
    minLength: 1,
    maxLength: 3,
  }),
})

const isDurable = (event: ThreadEvent): event is DurableThreadEvent => "cursor" in event
const isInput = ({ type }: ThreadEvent): boolean => type.startsWith("input_")
const bare = (event: DurableThreadEvent): Omit<DurableThreadEvent, "cursor"> => {
  const { cursor: _cursor, ...content } = event
  return content
}

/** A reader that lives over connections and processes. */
class Reader {
  readonly events: DurableThreadEvent[] = []
  /** The text of each model call that was shown live in this process, by turn and effect. */
  readonly #texts = new Map<string, string>()
  readonly differences: string[] = []
  readonly #cuts: readonly number[]
  readonly isOutside: boolean
  #connections = 0
  #ended: string | undefined

  constructor(cuts: readonly number[], isOutside: boolean) {
    this.#cuts = cuts
    this.isOutside = isOutside
  }

  async follow(thread: Thread, store: JournalStore, signal: AbortSignal): Promise<void> {
    this.#texts.clear()
    let hasEnded = false
    while (!hasEnded && !signal.aborted) {
      const cut = this.#cuts[this.#connections % Math.max(1, this.#cuts.length)] ?? Number.POSITIVE_INFINITY
      this.#connections += 1
      const after = this.events.at(-1)?.cursor
      const events = this.isOutside
        ? threadEvents(store, "t", { after, signal, thread: thread.options, pollMs: 150 })
        : thread.events({ ...(after !== undefined && { after }), signal })
      let left = cut
      hasEnded = true
      for await (const event of events) {
        this.#receive(event)
        // What is live comes again with each connection.
        if (isDurable(event)) left -= 1
        if (left > 0) continue
        hasEnded = false
        break
      }
    }
  }

  /** Receives what is left, when no process runs the thread. */
  async finish(store: JournalStore, options: ThreadOptions): Promise<void> {
    for await (const event of threadEvents(store, "t", { after: this.events.at(-1)?.cursor, thread: options })) this.#receive(event)
  }

  #receive(event: ThreadEvent): void {
    expect(ThreadEventSchema.parse(event)).toEqual(event)
    if (isDurable(event)) {
      const last = this.events.at(-1)
      if (last !== undefined) expect(event.cursor > last.cursor).toBe(true)
      this.events.push(event)
    }
    if (event.type === "model_call_started") this.#texts.set(`${event.turnId} ${event.effectId}`, "")
    if (event.type === "text_delta") {
      const key = `${event.turnId} ${event.effectId}`
      this.#texts.set(key, `${this.#texts.get(key) ?? "?"}${event.delta}`)
    }
    if (event.type === "model_call_ended") this.#ended = `${event.turnId} ${event.effectId}`
    if (event.type === "message" && event.message.role === "assistant") {
      const said = this.#texts.get(this.#ended ?? "")
      const whole = event.message.parts.flatMap((part) => (part.type === "text" ? [part.text] : [])).join("")
      if (said !== undefined && said !== whole) this.differences.push(`${said} | ${whole}`)
    }
  }
}

async function play({ says, answers, lives, decisions, readers: given }: Story) {
  const store = memoryJournalStore()
  const readers = [new Reader([], false), ...given.map(({ cuts, isOutside }) => new Reader(cuts, isOutside))]
  let at = 1_000_000
  let calls = 0
  let ids = 0
  const options: ThreadOptions = {
    config: { ...BASE, tools: TOOLS.map(spec) },
    now: () => at,
    approvals: ({ toolName }) => (toolName === "pay" ? { hold: {} } : "run"),
    snapshotEveryRecords: 3,
  }
  const hostOf = (thread: Thread): Host => ({
    llmCall: async (_effect, context) => {
      const { words, calls: tools, meanwhile } = answers[calls] ?? { words: ["Done."], calls: [], meanwhile: "nothing" as const }
      calls += 1
      at += 10
      for (const [index, word] of words.entries()) {
        await new Promise((resolve) => setImmediate(resolve))
        if (context.signal.aborted) throw context.signal.reason
        context.emit({ type: "text_delta", content: word })
        if (index !== 1) continue
        if (meanwhile === "say") await thread.say("And this.")
        if (meanwhile === "later") await thread.say("And then this.", { when: "turn_end" })
        if (meanwhile === "redirect") await thread.redirect("This instead.")
        if (meanwhile === "interrupt") void thread.interrupt("Stop.")
        if (meanwhile === "goal") await thread.command({ type: "set", objective: "Look around.", tokenBudget: 40 })
      }
      const text = words.join("")
      const parts: OutputPart[] = text === "" ? [] : [{ type: "text", text }]
      for (const toolName of tools) {
        ids += 1
        parts.push({ type: "tool_call", callId: `c${ids}`, toolName, inputJson: "{}" })
      }
      return { text, parts, usage: USAGE, terminalReason: tools.length > 0 ? "tool_use" : "stop" }
    },
    tools: {
      effects: () => "idempotent",
      call: async ({ toolName, callId }, { emit }) => {
        emit({ type: "tool_progress", callId, name: toolName, progress: 1 })
        await new Promise((resolve) => setImmediate(resolve))
        if (toolName === "fail") throw new Error("It fails.")
        return { output: { status: "success", value: `${toolName} done` } }
      },
    },
  })

  const wait = async (until: number): Promise<void> => {
    at = Math.max(at + 1, until)
  }
  let said = 0
  let decided = 0
  for (const [number, writes] of [...lives, Number.POSITIVE_INFINITY].entries()) {
    const isLast = number === lives.length
    const own = isLast ? store : dyingStore(store, writes)
    const [killed, closed] = [new AbortController(), new AbortController()]
    const following: Promise<void>[] = []
    try {
      const thread = await Thread.open(own, "t", { ...options, takeOver: true })
      following.push(
        ...readers.map((reader) => reader.follow(thread, store, reader.isOutside ? AbortSignal.any([killed.signal, closed.signal]) : killed.signal)),
      )
      const host = hostOf(thread)
      for (let round = 0; round < 12; round += 1) {
        if (said < says) {
          said += 1
          await thread.say(`Hello ${said}`, { key: `say ${said}` })
        }
        const rest = await runThread(thread, host, { suspend: true, now: () => at, cancelGraceMs: 5, wait })
        if (rest.type !== "suspended") {
          if (said < says) continue
          break
        }
        const decision = isLast && round > 6 ? "reject" : (decisions[decided] ?? "reject")
        decided += 1
        const [call] = rest.held
        if (decision === "wait" || call === undefined) continue
        const made: Decision = { requestId: call.requestId, digest: call.digest, decision }
        await thread.decide([made])
      }
      await thread.close()
      // The others end with the thread.
      closed.abort()
      await Promise.all(following)
      following.length = 0
      const { history } = thread
      if (isLast) {
        for (const reader of readers.slice(1)) await reader.finish(store, options)
        return { store, options, readers, history }
      }
    } catch (error) {
      if (!(error instanceof Error) || error.message !== "killed") throw error
    } finally {
      killed.abort()
      await Promise.all(following)
    }
  }
  throw new Error("The last process ended early.")
}

/** A call is shown before what happens to it. */
function expectCallsFirst(events: readonly DurableThreadEvent[]): void {
  const shown = new Set<string>()
  for (const event of events) {
    if (event.type === "message") for (const part of event.message.parts) if (part.type === "tool_call") shown.add(part.callId)
    const callId = event.type === "approval_requested" ? event.held.callId : "callId" in event ? event.callId : undefined
    if (callId !== undefined) expect(shown, `${event.type} ${callId}`).toContain(callId)
  }
}

const messagesOf = (events: readonly DurableThreadEvent[]): readonly Message[] =>
  events.flatMap((event) => (event.type === "message" ? [event.message] : []))

test("every reader receives every durable event once and in order, whatever happens to it and to the thread", SLOW, async () => {
  await checkAsync(
    300,
    fc.asyncProperty(aStory, async (story) => {
      const { store, options, readers, history } = await play(story)
      const whole: DurableThreadEvent[] = []
      for await (const event of threadEvents(store, "t", { thread: options })) whole.push(event)

      expectCallsFirst(whole)
      for (const reader of readers) {
        expect(reader.events.filter(isInput).map(bare)).toEqual(whole.filter(isInput).map(bare))
        expect(reader.events.filter((event) => !isInput(event)).map(bare)).toEqual(whole.filter((event) => !isInput(event)).map(bare))
        expect(messagesOf(reader.events)).toEqual(history.flatMap((record) => (record.type === "conversation" ? [record.message] : [])))
        expect(reader.differences).toEqual([])
      }
    }),
    20,
  )
})
