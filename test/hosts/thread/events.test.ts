import { describe, expect, test } from "vitest"
import { type Host, pending } from "../../../src/hosts/host.ts"
import { memoryJournalStore } from "../../../src/hosts/journal/memory.ts"
import type { JournalStore } from "../../../src/hosts/journal/store.ts"
import { type ReadThreadEventsOptions, threadEvents } from "../../../src/hosts/thread/events.ts"
import { Thread, type ThreadOptions } from "../../../src/hosts/thread/thread.ts"
import { ThreadEvent as ThreadEventSchema } from "../../../src/schemas/thread-event.ts"
import type { HeldCall } from "../../../src/wire/approval.ts"
import type { LlmResponse } from "../../../src/wire/llm.ts"
import type { DurableThreadEvent, ThreadEvent } from "../../../src/wire/thread-event.ts"
import { CONFIG as BASE } from "../../replay/support.ts"
import { says, World } from "./support.ts"

const spec = (name: string) => ({ name, description: name, inputSchema: { type: "object" } })
const CONFIG = { ...BASE, tools: ["look", "pay", "wait"].map(spec) }

/** One word for each event that says what it shows. */
function told(event: ThreadEvent): string {
  switch (event.type) {
    case "input_queued":
      return `queued ${event.inputId}`
    case "message":
      return `${event.message.role} ${event.message.parts.map((part) => ("text" in part && part.text !== "" ? part.text : part.type)).join(" ")}`
    case "tool_call_started":
      return `start ${event.callId}`
    case "tool_call_ended":
      return `end ${event.callId} ${event.status}`
    case "text_delta":
      return `+${event.delta}`
    case "turn_started":
    case "turn_ended":
      return `${event.type} ${event.turnId}`
    case "notice":
      return `notice ${event.kind}`
    default:
      return event.type
  }
}

const isDurable = (event: ThreadEvent): event is DurableThreadEvent => "cursor" in event
const nextTask = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

/** A world whose model streams its words, and a store that counts what is read. */
class Story extends World {
  readonly read: string[] = []
  readonly store: JournalStore = this.#counting()

  #counting(): JournalStore {
    const store = memoryJournalStore()
    return {
      ...store,
      read: (name) => {
        this.read.push(name)
        return store.read(name)
      },
    }
  }

  readonly own: Host = {
    llmCall: async (effect, context) => {
      const answer = await this.host.llmCall(effect, context)
      for (const word of answer.text.split(/(?<= )/)) {
        if (word !== "") context.emit({ type: "text_delta", content: word })
        await nextTask()
      }
      return answer
    },
    tools: {
      effects: () => "idempotent",
      call: async ({ toolName, callId }, { emit }) => {
        if (toolName === "wait") return pending({ token: "job" })
        emit({ type: "tool_progress", callId, name: toolName, progress: 1, total: 2 })
        await nextTask()
        return { output: { status: "success", value: "seen" } }
      },
    },
  }

  open(more: Partial<ThreadOptions> = {}, id = "t"): Promise<Thread> {
    return Thread.open(this.store, id, this.options({ config: CONFIG, ...more }))
  }

  async recorded(options: ReadThreadEventsOptions = {}, id = "t"): Promise<readonly DurableThreadEvent[]> {
    const events: DurableThreadEvent[] = []
    for await (const event of threadEvents(this.store, id, { thread: this.options({ config: CONFIG }), ...options })) events.push(event)
    return events
  }
}

const answering = (...answers: readonly LlmResponse[]) => new Story((calls) => answers[calls] ?? says("Done."))

/** Receives events until there are no more, or until one is the last. */
async function received(events: AsyncIterable<ThreadEvent>, isLast: (event: ThreadEvent) => boolean = () => false): Promise<readonly ThreadEvent[]> {
  const all: ThreadEvent[] = []
  for await (const event of events) {
    all.push(event)
    if (isLast(event)) break
  }
  return all
}

const hasEnded = ({ type }: ThreadEvent): boolean => type === "turn_ended"

describe("a turn", () => {
  test("is shown while it runs, and the same from its records", async () => {
    const story = answering(says("I look now.", "c1=look"))
    const thread = await story.open()
    const live = received(thread.events())
    await thread.say("Hello")
    await story.run(thread, {}, story.own)
    await thread.close()

    const events = await live
    expect(events.map(told)).toEqual([
      "queued user-1",
      "turn_started t.1",
      "user Hello",
      "model_call_started",
      "+I ",
      "+look ",
      "+now.",
      "model_call_ended",
      "assistant I look now. tool_call",
      "start c1",
      "tool_progress",
      "end c1 success",
      "user seen",
      "model_call_started",
      "+Done.",
      "model_call_ended",
      "assistant Done.",
      "turn_ended t.1",
    ])
    for (const event of events) expect(ThreadEventSchema.parse(event)).toEqual(event)
    expect(await story.recorded()).toEqual(events.filter(isDurable))
    expect(events.at(-1)).toMatchObject({ outcome: { type: "finished" }, usage: { inputTokens: 16, outputTokens: 4 } })
    expect(events.find(({ type }) => type === "model_call_ended")).toMatchObject({
      effectId: 1,
      terminalReason: "tool_use",
      usage: { outputTokens: 2 },
    })
  })

  test("shows the last words of a model call before its end, also if they come together", async () => {
    const story = answering(says("one two"))
    const thread = await story.open()
    const live = received(thread.events())
    const host: Host = {
      ...story.own,
      llmCall: async (effect, context) => {
        for (const content of ["one ", "two"]) context.emit({ type: "text_delta", content })
        return story.host.llmCall(effect, context)
      },
    }
    await thread.say("Hello")
    await story.run(thread, {}, host)
    await thread.close()
    const texts = (await live).map(told)
    const said = texts.slice(texts.indexOf("model_call_started"), texts.indexOf("model_call_ended"))
    expect(said.flatMap((text) => (text.startsWith("+") ? [text.slice(1)] : [])).join("")).toBe("one two")
  })

  test("continues for a reader from any of its cursors", async () => {
    const story = answering(says("I look now.", "c1=look"))
    const thread = await story.open()
    await thread.say("Hello")
    await story.run(thread, {}, story.own)
    const events = await story.recorded()
    expect(events.length).toBeGreaterThan(8)
    for (const [index, { cursor }] of events.entries()) {
      expect(await story.recorded({ after: cursor })).toEqual(events.slice(index + 1))
      expect(await received(thread.events({ after: cursor, live: false }))).toEqual(events.slice(index + 1))
    }
    await thread.close()
  })

  test("shows its messages when its journal was deleted, and none again to a reader that saw them", async () => {
    const story = answering(says("I look now.", "c1=look"))
    const thread = await story.open()
    await thread.say("Hello")
    await story.run(thread, {}, story.own)
    await thread.close()
    const events = await story.recorded()
    await story.store.delete("t.1")

    expect((await story.recorded()).map(told)).toEqual([
      ...["queued user-1", "turn_started t.1", "user Hello"],
      ...["assistant I look now. tool_call", "user seen", "assistant Done.", "turn_ended t.1"],
    ])
    const [after] = events.filter(({ type }) => type === "tool_call_started")
    expect((await story.recorded({ after: after?.cursor })).map(told)).toEqual(["user seen", "assistant Done.", "turn_ended t.1"])
  })

  test("of another driver, and without the options of the thread, shows its messages at its end", async () => {
    const story = answering(says("I look now.", "c1=look"))
    const thread = await story.open()
    await thread.say("Hello")
    await story.run(thread, {}, story.own)
    await thread.close()
    const messages = ["user Hello", "assistant I look now. tool_call", "user seen", "assistant Done."]
    const later = { ...CONFIG, driver: { ...CONFIG.driver, version: 99 } }
    for (const options of [{ thread: undefined }, { thread: story.options({ config: later }) }])
      expect((await story.recorded(options)).map(told)).toEqual(["queued user-1", "turn_started t.1", ...messages, "turn_ended t.1"])
  })
})

describe("a reader that comes late", () => {
  test("receives the text so far as one delta, and then what follows", async () => {
    const story = answering(says("one two three four five"))
    const thread = await story.open()
    let late: Promise<readonly ThreadEvent[]> | undefined
    const host: Host = {
      ...story.own,
      llmCall: async (effect, context) => {
        for (const word of ["one ", "two ", "three "]) context.emit({ type: "text_delta", content: word })
        late = received(thread.events(), hasEnded)
        for (let task = 0; task < 50; task += 1) await nextTask()
        for (const word of ["four ", "five"]) {
          context.emit({ type: "text_delta", content: word })
          for (let task = 0; task < 5; task += 1) await nextTask()
        }
        return story.host.llmCall(effect, context)
      },
    }
    await thread.say("Hello")
    await story.run(thread, {}, host)
    const deltas = ((await late) ?? []).map(told).filter((text) => text.startsWith("+"))
    expect(deltas).toEqual(["+one two three ", "+four ", "+five"])
    await thread.close()
  })

  test("reads the journal of the last turn alone, of many", async () => {
    const story = answering()
    const thread = await story.open()
    for (let turn = 0; turn < 30; turn += 1) {
      await thread.say(`Hello ${turn}`)
      await story.run(thread)
    }
    await thread.close()
    const events = await story.recorded()
    const after = events.at(-4)?.cursor
    story.read.length = 0
    expect(await story.recorded({ after })).toEqual(events.slice(-3))
    expect(story.read).toEqual(["t.thread", "t.30"])

    story.read.length = 0
    const opened = await story.open()
    expect(await received(opened.events({ after, live: false }))).toEqual(events.slice(-3))
    const live = received(opened.events({ after }))
    await nextTask()
    await opened.close()
    expect(await live).toEqual(events.slice(-3))
    expect(new Set(story.read)).toEqual(new Set(["t.30"]))
  })
})

describe("a slow reader", () => {
  test("receives every durable event, and the words that it missed are joined or left out", async () => {
    const story = new Story((calls) => (calls < 120 ? says(`Word ${calls} and more.`, `c${calls}=look`) : says("Done.")))
    const thread = await story.open()
    const events: ThreadEvent[] = []
    let most = 0
    const reading = (async () => {
      for await (const event of thread.events()) {
        events.push(event)
        // As long as the turn runs, this reader is far behind.
        if (thread.openTurn !== undefined) for (let task = 0; task < 300; task += 1) await nextTask()
        most = Math.max(most, events.length)
      }
    })()
    await thread.say("Hello")
    await story.run(thread, {}, story.own)
    const whole = await story.recorded()
    expect(whole.length).toBeGreaterThan(500)
    const behind = events.filter(isDurable).length
    expect(behind).toBeLessThan(whole.length / 2)
    await thread.close()
    await reading
    expect(events.filter(isDurable)).toEqual(whole)
    // What it did not see of the live events is lost, and takes no memory until it comes.
    expect(events.filter((event) => !isDurable(event)).length).toBeLessThan(whole.length / 2)
  })
})

describe("calls", () => {
  test("that are held are shown with their decision, and start when they are approved", async () => {
    const story = answering(says("", "p1=pay", "p2=pay", "c1=look"))
    const approvals: ThreadOptions["approvals"] = ({ toolName }) => (toolName === "pay" ? { hold: {} } : "run")
    const thread = await story.open({ approvals })
    const live = received(thread.events())
    await thread.say("Pay")
    const rest = await story.run(thread, { suspend: true }, story.own)
    const held: readonly HeldCall[] = rest.type === "suspended" ? rest.held : []
    for (const [index, { requestId, digest }] of held.entries())
      await thread.decide([{ requestId, digest, decision: index === 0 ? "approve" : "reject", by: "Ada" }])
    await story.run(thread, { suspend: true }, story.own)
    await thread.close()
    const events = await live
    expect(events.filter(isDurable).map(told).slice(3, -3)).toEqual([
      ...["model_call_ended", "assistant tool_call tool_call tool_call", "approval_requested", "approval_requested", "start c1", "end c1 success"],
      ...["approval_decided", "start p1", "approval_decided", "end p2 failure", "end p1 success"],
      expect.stringContaining("user"),
    ])
    expect(events.find(({ type }) => type === "approval_decided")).toMatchObject({ callId: "p1", toolName: "pay", decision: "approve", by: "Ada" })
    expect(await story.recorded({ thread: story.options({ config: CONFIG, approvals }) })).toEqual(events.filter(isDurable))
  })

  test("that continue outside are pending, and an interrupt ends them", async () => {
    const story = answering(says("", "w1=wait"))
    const thread = await story.open()
    const live = received(thread.events())
    await thread.say("Wait")
    await story.run(thread, { suspend: true }, story.own)
    await thread.interrupt("Enough.")
    await story.run(thread, { suspend: true }, story.own)
    await thread.close()
    const events = await live
    expect(events.filter(isDurable).map(told).slice(3)).toEqual([
      ...["model_call_ended", "assistant tool_call", "start w1", "tool_call_pending"],
      ...["notice cancelled", "end w1 cancelled"],
      expect.stringContaining("user"),
      "turn_ended t.1",
    ])
    expect(await story.recorded()).toEqual(events.filter(isDurable))
  })
})

test("changes of a goal are shown, and records of the host as notices", async () => {
  const story = answering()
  const thread = await story.open()
  await thread.command({ type: "set", objective: "Look around." })
  await thread.settle()
  await thread.note([], [{ type: "protocol", event: { type: "compaction", id: "k1", summary: "Short." } }])
  await thread.command({ type: "clear" })
  await thread.settle()
  await thread.close()
  const events = await story.recorded()
  expect(events).toMatchObject([
    { type: "goal_updated", cause: "command", goal: { objective: "Look around.", status: "active" } },
    { type: "notice", kind: "compaction", event: { id: "k1", summary: "Short." } },
    { type: "goal_updated", goal: null },
  ])
})

test("inputs are shown as they wait, move, are taken back and are delivered; a redirected turn says so", async () => {
  const story = answering(says("one two three"))
  const thread = await story.open({ goals: false })
  const live = received(thread.events())
  await thread.say("First", { when: "next_turn", key: "k" })
  const { inputId } = await thread.say("Second", { when: "next_turn" })
  await thread.say("Third", { when: "next_turn" })
  await thread.reorder("user-3", inputId)
  await thread.retract(inputId)
  const host: Host = {
    ...story.own,
    llmCall: async (effect, context) => {
      if (story.requests.length > 0) return story.host.llmCall(effect, context)
      await story.host.llmCall(effect, context)
      context.emit({ type: "text_delta", content: "one " })
      await thread.redirect("Instead")
      while (!context.signal.aborted) await nextTask()
      throw context.signal.reason
    },
  }
  await story.run(thread, {}, host)
  await thread.close()
  const events = await live
  expect(events.find(({ type }) => type === "input_queued")).toMatchObject({ inputId: "user-1", when: "next_turn", key: "k" })
  expect(events.find(({ type }) => type === "input_reordered")).toMatchObject({ inputId: "user-3", before: "user-2" })
  expect(events.find(({ type }) => type === "input_retracted")).toMatchObject({ inputId: "user-2" })
  const shown = events.filter((event) => isDurable(event) && !event.type.startsWith("input_")).map(told)
  expect(shown.slice(0, 7)).toEqual([
    ...["turn_started t.1", "user First", "model_call_ended", "redirected", "notice redirected"],
    expect.stringContaining("assistant one"),
    "user Instead",
  ])
  const recorded = await story.recorded({ thread: thread.options })
  const isInput = ({ type }: ThreadEvent): boolean => type.startsWith("input_")
  const bare = ({ cursor: _cursor, ...content }: DurableThreadEvent) => content
  for (const isOne of [isInput, (event: ThreadEvent) => !isInput(event)])
    expect(events.filter(isDurable).filter(isOne).map(bare)).toEqual(recorded.filter(isOne).map(bare))
})

describe("a cursor", () => {
  const story = answering()

  test("of another thread, of none, and beyond the end is refused", async () => {
    for (const id of ["one", "two"]) {
      const thread = await story.open({}, id)
      await thread.say("Hello")
      await story.run(thread)
      await thread.close()
    }
    const [one, two] = [await story.recorded({}, "one"), await story.recorded({}, "two")]
    const last = one.at(-1)?.cursor ?? ""
    await expect(story.recorded({ after: two.at(-1)?.cursor }, "one")).rejects.toMatchObject({ code: "cursor_of_other_thread" })
    for (const after of ["", "nonsense", `${last}0`, last.slice(0, -1)])
      await expect(story.recorded({ after }, "one")).rejects.toMatchObject({ name: "ThreadCursorError", code: "invalid_cursor" })
    await expect(story.recorded({ after: last }, "none")).rejects.toMatchObject({ code: "cursor_beyond_end" })
    expect(await story.recorded({ after: last }, "one")).toEqual([])

    const older = memoryJournalStore()
    const stored = await older.open("one.thread")
    const lines: string[] = []
    for await (const part of (await story.store.read("one.thread")) ?? []) lines.push(...part.split(/(?<=\n)/))
    await stored.append(lines.slice(0, 2).join(""))
    const copy = threadEvents(older, "one", { after: last })
    await expect(copy.next()).rejects.toMatchObject({ code: "cursor_beyond_end" })
  })

  test("beyond the end of the journal of the open turn is refused", async () => {
    const store = memoryJournalStore()
    const world = new World((calls) => {
      if (calls > 0) throw new Error("fatal")
      return says("", "a=look")
    })
    const options = world.options({ config: CONFIG, goals: false })
    const thread = await Thread.open(store, "t", options)
    await thread.say("Hello")
    await expect(world.run(thread, { isFatal: () => true })).rejects.toThrow("fatal")
    await thread.close()
    const recorded = async (after?: string): Promise<readonly DurableThreadEvent[]> => {
      const events: DurableThreadEvent[] = []
      for await (const event of threadEvents(store, "t", { after, thread: options })) events.push(event)
      return events
    }
    const ended = (await recorded()).filter(({ type }) => type === "model_call_ended").at(-1)?.cursor
    expect((await recorded(ended)).length).toBeGreaterThan(0)
    const journal = await store.open("t.1")
    let text = ""
    for await (const part of journal.read()) text += part
    await journal.replace(`${text.split("\n")[0]}\n`)
    await journal.close()
    await expect(recorded(ended)).rejects.toMatchObject({ code: "cursor_beyond_end" })
  })

  test("sorts as its events do", async () => {
    const cursors = (await story.recorded({}, "one")).map(({ cursor }) => cursor)
    expect([...cursors].sort()).toEqual(cursors)
    expect(new Set(cursors).size).toBe(cursors.length)
  })
})

describe("reading ends", () => {
  test("when the signal is aborted, and when the thread closes", async () => {
    const story = answering()
    const thread = await story.open()
    const stop = new AbortController()
    const stopped = received(thread.events({ signal: stop.signal }))
    const closed = received(thread.events())
    await thread.say("Hello")
    await nextTask()
    stop.abort()
    expect((await stopped).map(told)).toEqual(["queued user-1"])
    await thread.close()
    expect((await closed).map(told)).toEqual(["queued user-1"])
  })

  test("with polling, only when the signal is aborted", async () => {
    const story = answering()
    const thread = await story.open()
    const stop = new AbortController()
    const polled = received(threadEvents(story.store, "t", { thread: thread.options, pollMs: 5, signal: stop.signal }), hasEnded)
    await thread.say("Hello")
    await story.run(thread)
    await thread.close()
    expect((await polled).map(told)).toEqual([
      ...["queued user-1", "turn_started t.1", "user Hello", "model_call_ended", "assistant Done.", "turn_ended t.1"],
    ])
    const idle = received(threadEvents(story.store, "t", { after: (await polled).filter(isDurable).at(-1)?.cursor, pollMs: 5, signal: stop.signal }))
    setTimeout(() => stop.abort(), 20)
    expect(await idle).toEqual([])
    await expect(threadEvents(story.store, "t", { pollMs: 0 }).next()).rejects.toThrow(RangeError)
  })

  test("with the error, if the log is damaged", async () => {
    const story = answering()
    const thread = await story.open()
    await thread.close()
    const stored = await story.store.open("t.thread")
    await stored.append("nonsense\n")
    await expect(story.recorded()).rejects.toMatchObject({ code: "damaged_record" })
  })
})
