import * as fc from "fast-check"
import { expect, test } from "vitest"
import { memoryJournalStore } from "../../src/hosts/journal/memory.ts"
import type { JournalStore } from "../../src/hosts/journal/store.ts"
import { threadEvents } from "../../src/hosts/thread/events.ts"
import type { Thread, ThreadOptions } from "../../src/hosts/thread/thread.ts"
import { ThreadEvent as ThreadEventSchema } from "../../src/schemas/thread-event.ts"
import type { Message } from "../../src/wire/message.ts"
import type { DurableThreadEvent, ThreadEvent } from "../../src/wire/thread-event.ts"
import { aPlainStory, playStory, type Story } from "../support/thread-stories.ts"
import { checkAsync, SLOW } from "./check.ts"

// Conversations with crashes, cancellations, held calls and inputs at any time, and readers of their events that connect and disconnect.

/** For each reader, how many durable events it receives before it connects again; and whether it reads the store instead. */
const someReaders = fc.array(fc.record({ cuts: fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 5 }), isOutside: fc.boolean() }), {
  minLength: 1,
  maxLength: 3,
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

async function play(story: Story, given: readonly { readonly cuts: readonly number[]; readonly isOutside: boolean }[]) {
  const store = memoryJournalStore()
  const readers = [new Reader([], false), ...given.map(({ cuts, isOutside }) => new Reader(cuts, isOutside))]
  const { options, history } = await playStory(story, store, async (thread, { killed, closed }) => {
    const ended = AbortSignal.any([killed, closed])
    // The others end with the thread.
    await Promise.all(readers.map((reader) => reader.follow(thread, store, reader.isOutside ? ended : killed)))
  })
  for (const reader of readers.slice(1)) await reader.finish(store, options)
  return { store, options, readers, history }
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
    fc.asyncProperty(aPlainStory, someReaders, async (story, given) => {
      const { store, options, readers, history } = await play(story, given)
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
