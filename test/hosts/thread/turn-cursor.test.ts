import { expect, test } from "vitest"
import { memoryJournalStore } from "../../../src/hosts/journal/memory.ts"
import type { JournalStore } from "../../../src/hosts/journal/store.ts"
import { threadEvents } from "../../../src/hosts/thread/events.ts"
import { Thread, type ThreadOptions } from "../../../src/hosts/thread/thread.ts"
import { toResponse } from "../../../src/hosts/ui-stream/index.ts"
import type { ThreadEvent } from "../../../src/wire/thread-event.ts"
import { CONFIG } from "../../replay/support.ts"
import { says, World } from "./support.ts"

const OPTIONS: Partial<ThreadOptions> = {
  config: { ...CONFIG, tools: ["look", "pay"].map((name) => ({ name, description: name, inputSchema: { type: "object" } })) },
  goals: false,
  approvals: ({ toolName }) => (toolName === "pay" ? { hold: {} } : "run"),
}

/** A store that notes what is read without being open. */
function watched(): { readonly store: JournalStore; readonly read: string[] } {
  const store = memoryJournalStore()
  const read: string[] = []
  return {
    read,
    store: {
      open: (...given) => store.open(...given),
      list: (...given) => store.list(...given),
      delete: (...given) => store.delete(...given),
      read: (name) => {
        read.push(name)
        return store.read(name)
      },
    },
  }
}

async function all(events: AsyncIterable<ThreadEvent>): Promise<ThreadEvent[]> {
  const read: ThreadEvent[] = []
  for await (const event of events) read.push(event)
  return read
}

/** Three turns have ended, an input was retracted, and a fourth turn waits for a decision, with an input after it. */
async function conversation() {
  const { store, read } = watched()
  const world = new World((calls) => (calls === 4 ? says("I pay.", "c9=pay") : calls === 0 ? says("I look.", "c1=look") : says(`Answer ${calls}.`)))
  const options = world.options(OPTIONS)
  const thread = await Thread.open(store, "t", options)
  for (const text of ["One", "Two", "Three"]) {
    await thread.say(text)
    await world.run(thread)
  }
  await thread.retract((await thread.say("Never mind")).inputId)
  await thread.say("Four")
  await world.run(thread, { suspend: true })
  await thread.say("Five", { when: "next_turn" })
  return { store, read, thread, world, options }
}

test("a turn's cursor is the place before it: the events after it are those of the turn, and of what follows", async () => {
  const { store, thread, options } = await conversation()
  const whole = await all(thread.events({ live: false }))
  for (const number of [1, 2, 3, 4]) {
    const after = await thread.turnCursor(number)
    expect(await thread.turnCursor(`t.${number}`)).toBe(after)
    const events = await all(thread.events({ live: false, ...(after !== undefined && { after }) }))
    expect(events[0]).toMatchObject({ type: "turn_started", turnId: `t.${number}` })
    // The same as in the whole, with the same cursors, also for a process that reads the store.
    expect(events).toEqual(whole.slice(whole.findIndex((event) => event.type === "turn_started" && event.turnId === `t.${number}`)))
    expect(await all(threadEvents(store, "t", { after, thread: options }))).toEqual(events)
  }
  expect(await thread.turnCursor()).toBe(await thread.turnCursor(4))
  for (const none of [0, 5, -1, 1.5, "t.0", "t.5", "t.04", "t.1.c1", "other.1", "", "t"]) expect(await thread.turnCursor(none)).toBeUndefined()
})

test("from the last turns of an open thread, neither its log nor earlier journals are read", async () => {
  const { thread, read, world } = await conversation()
  read.length = 0
  await all(thread.events({ live: false, after: (await thread.turnCursor()) ?? "" }))
  expect(read).toEqual(["t.4"])

  // A turn may begin between what a reader has read and what it follows.
  read.length = 0
  await all(thread.events({ live: false, after: (await thread.turnCursor(3)) ?? "" }))
  expect(read).toEqual(["t.3", "t.4"])

  read.length = 0
  const signal = AbortSignal.timeout(60_000)
  const following = thread.events({ after: (await thread.turnCursor()) ?? "", signal })[Symbol.asyncIterator]()
  const [call] = (await thread.pendingApprovals())?.held ?? []
  if (call === undefined) throw new Error("No call is held.")
  await thread.decide([{ requestId: call.requestId, digest: call.digest, decision: "reject" }])
  await world.run(thread)
  const types: string[] = []
  while (types.filter((type) => type === "turn_ended").length < 2) types.push((await following.next()).value?.type ?? "end")
  expect(types.filter((type) => type === "turn_started").length).toBe(2)
  await following.return?.()
  expect(read).not.toContain("t.thread")
})

test("a closed thread is read from its store: another process may continue it", async () => {
  const { store, thread, options } = await conversation()
  const after = (await thread.turnCursor()) ?? ""
  await thread.close()
  const other = await Thread.open(store, "t", options)
  await other.say("Six", { when: "next_turn" })
  const events = await all(thread.events({ live: false, after }))
  expect(events).toContainEqual(expect.objectContaining({ type: "input_queued", inputId: "user-7" }))
  await other.close()
})

test("the responses to a page read the last turn only, except about an input of an earlier one", async () => {
  const { thread, read } = await conversation()
  const textOf = async (select: Parameters<typeof toResponse>[1]): Promise<string> => {
    read.length = 0
    return (await toResponse(thread, select)).text()
  }
  const [first] = thread.queue()
  await thread.retract(first?.inputId ?? "")
  expect(await textOf({ select: { type: "open" } })).toBe("")
  expect(read).toEqual(["t.4"])
  expect(await textOf({ select: { type: "continued", turnId: "t.4", requestIds: ["none"] } })).toBe("data: [DONE]\n\n")
  expect(read).toEqual(["t.4"])
  expect(await textOf({ select: { type: "continued", turnId: "t.9", requestIds: ["none"] } })).toBe("data: [DONE]\n\n")
  expect(read).toEqual([])
  const answer = await textOf({ select: { type: "input", inputId: "user-1" } })
  expect(answer).toContain('"delta":"I look."')
  expect(answer).toContain("Answer 1.")
  expect(answer).not.toContain("Answer 2.")
  expect(read).toContain("t.1")

  const own = await textOf({
    select: {
      type: "input",
      inputId:
        thread.history
          .flatMap((r) =>
            r.type === "conversation" && r.message.role === "user" && r.message.parts.some((p) => p.type === "text") ? [r.message.id] : [],
          )
          .at(-1) ?? "",
    },
  })
  expect(own).toContain('"tool-approval-request"')
  expect(new Set(read)).toEqual(new Set(["t.4"]))

  // Its cursors continue, from the same process and from the store.
  const cursors = [...own.matchAll(/^id: (.*)$/gm)].map(([, cursor = ""]) => cursor)
  expect(cursors.length).toBeGreaterThan(4)
  for (const cursor of cursors.slice(0, -1)) {
    const rest = await textOf({ select: { type: "after", cursor } })
    expect(own.endsWith(rest), cursor).toBe(true)
    expect(rest).not.toBe("")
    expect(new Set(read)).toEqual(new Set(["t.4"]))
  }
})
