import { describe, expect, test } from "vitest"
import { memoryJournalStore } from "../../../src/hosts/journal/memory.ts"
import type { JournalStore } from "../../../src/hosts/journal/store.ts"
import { snapshotThread } from "../../../src/hosts/thread/snapshot.ts"
import { Thread, type ThreadInput } from "../../../src/hosts/thread/thread.ts"
import type { LlmRequest } from "../../../src/schemas/llm.ts"
import { dyingStore } from "../../support/dying-store.ts"
import { says, World } from "./support.ts"

/** The texts of the user in a request, in order. */
const textsOf = (request: LlmRequest | undefined): readonly string[] =>
  (request?.messages ?? []).flatMap(({ role, blocks }) =>
    role === "user" ? blocks.flatMap((block) => (block.type === "text" ? [block.text] : [])) : [],
  )
const inputsOf = (thread: Thread): readonly string[] => thread.queue().map(({ inputId }) => inputId)
const conversation = { goals: false } as const

describe("an input", () => {
  test("for now is delivered at the next checkpoint, those for the end of the turn one by one, and those for the next turn one in each", async () => {
    const world = new World(async (calls) => {
      if (calls === 0) {
        await thread.say("later 1", { when: "turn_end" })
        await thread.say("next 1", { when: "next_turn" })
        await thread.say("now 1")
        await thread.say("later 2", { when: "turn_end" })
        await thread.say("next 2", { when: "next_turn" })
        await thread.say("now 2", { when: "now" })
        expect(inputsOf(thread)).toEqual(["user-4", "user-7", "user-2", "user-5", "user-3", "user-6"])
        return says("", "a=look")
      }
      return says(`Answer ${calls}.`)
    })
    const thread = await Thread.open(memoryJournalStore(), "t", world.options(conversation))
    expect(await thread.say("first")).toEqual({ inputId: "user-1", status: "queued" })
    await world.run(thread)
    const begin = ["first", "now 1", "now 2"]
    expect(world.requests.map(textsOf)).toEqual([
      ["first"],
      begin,
      [...begin, "later 1"],
      [...begin, "later 1", "later 2"],
      [...begin, "later 1", "later 2", "next 1"],
      [...begin, "later 1", "later 2", "next 1", "next 2"],
    ])
    expect(thread.turns).toBe(3)
    expect(thread.queue()).toEqual([])
    await thread.close()
  })

  test("without a running turn: all for now share the next turn; without any, each begins one", async () => {
    const world = new World(() => says("Yes."))
    const thread = await Thread.open(memoryJournalStore(), "t", world.options(conversation))
    await thread.say("next", { when: "next_turn" })
    await thread.say("end 1", { when: "turn_end" })
    await thread.say("end 2", { when: "turn_end" })
    await thread.say("now 1")
    await thread.say("now 2")
    await world.run(thread)
    expect(world.requests.map((request) => textsOf(request).length)).toEqual([2, 3, 4, 5])
    expect(textsOf(world.requests[3])).toEqual(["now 1", "now 2", "end 1", "end 2", "next"])
    // Those for the end of a turn are delivered in the turn of the others.
    expect(thread.turns).toBe(2)
    expect(world.requests.at(-1)?.messages.filter(({ role }) => role === "user")).toHaveLength(5)
    await thread.say("end 3", { when: "turn_end" })
    await thread.say("end 4", { when: "turn_end" })
    await world.run(thread)
    expect([thread.turns, textsOf(world.requests[4]).at(-1), textsOf(world.requests[5]).at(-1)]).toEqual([3, "end 3", "end 4"])
    await thread.close()
  })

  test("for the next turn comes before a continuation of the goal, between turns and in one", async () => {
    for (const continueInTurn of [false, true]) {
      const world = new World(async (calls) => {
        if (calls === 0) await thread.say("Aside.", { when: "next_turn" })
        return calls === 1 ? says("", 'u=update_goal {"status":"complete"}') : says("Hm.")
      })
      const thread = await Thread.open(memoryJournalStore(), "t", world.options({ continueInTurn }))
      await thread.command({ type: "set", objective: "Dance." })
      await thread.say("Begin.")
      await world.run(thread)
      expect(textsOf(world.requests[1]).at(-1)).toBe("Aside.")
      expect(thread.turns).toBe(2)
      await thread.close()
    }
  })

  test("that a turn at a limit would not answer begins the next turn", async () => {
    const world = new World(async (calls) => {
      // One iteration follows the limit, and no second one.
      if (calls === 1) await thread.say("One more.")
      if (calls === 2) await thread.say("And another.")
      return calls === 0 ? says("", "a=look") : says("Done.")
    })
    const { config } = world.options()
    const thread = await Thread.open(
      memoryJournalStore(),
      "t",
      world.options({ ...conversation, config: { ...(config as object), maxIterations: 2 } as never }),
    )
    await thread.say("Go.")
    await world.run(thread)
    expect(world.requests).toHaveLength(4)
    expect(textsOf(world.requests[2])).toEqual(["Go.", "One more."])
    expect(textsOf(world.requests[3])).toEqual(["Go.", "One more.", "And another."])
    expect(thread.turns).toBe(2)
    await thread.close()
  })
})

describe("what a user says", () => {
  const attachment = { id: "a".repeat(64), mediaType: "image/png", byteLength: 3 }

  test("may be parts, attachments or a message; ids are the thread's own, or the given ones", async () => {
    const world = new World(() => says("Seen."))
    const thread = await Thread.open(memoryJournalStore(), "t", world.options(conversation))
    await thread.say("Look.", { attachments: [attachment, { ...attachment, mediaType: "application/pdf" }] })
    await thread.say([
      { type: "text", text: "And" },
      { type: "image", id: "mine", attachment },
    ])
    const own = { id: "hello-1", role: "user", parts: [{ id: "x", type: "text", text: "Hello." }] } as const
    expect(await thread.say(own)).toEqual({ inputId: "hello-1", status: "queued" })
    expect(thread.queue().map(({ message }) => message)).toEqual([
      {
        id: "user-1",
        role: "user",
        parts: [
          { id: "user-1.p0", type: "text", text: "Look." },
          { id: "user-1.p1", type: "image", attachment },
          { id: "user-1.p2", type: "file", attachment: { ...attachment, mediaType: "application/pdf" } },
        ],
      },
      {
        id: "user-2",
        role: "user",
        parts: [
          { id: "user-2.p0", type: "text", text: "And" },
          { id: "mine", type: "image", attachment },
        ],
      },
      own,
    ])
    await world.run(thread)
    expect(thread.history.filter((record) => record.type === "conversation" && record.message.role === "user")).toHaveLength(3)
    await thread.close()
  })

  test("is refused and not recorded if it is not a message of the user, or its id is taken", async () => {
    const store = memoryJournalStore()
    const world = new World(() => says("Seen."))
    const thread = await Thread.open(store, "t", world.options(conversation))
    const text = { id: "x", type: "text", text: "Hello." } as const
    await thread.say({ id: "mine", role: "user", parts: [text] })
    const refused: readonly (readonly [unknown, string])[] = [
      [{ id: "mine", role: "user", parts: [text] }, "id_taken"],
      [{ id: "continue-7", role: "user", parts: [text] }, "id_taken"],
      [{ id: "m_3_answer_1", role: "user", parts: [text] }, "id_taken"],
      [{ id: "child:t.1:2:c", role: "user", parts: [text] }, "id_taken"],
      [{ id: "a", role: "assistant", parts: [text] }, "invalid_input"],
      [[], "invalid_input"],
      [[text, text], "invalid_input"],
      [[{ type: "tool_call", callId: "c", toolName: "look", inputJson: "{}" }], "invalid_input"],
      [[null], "invalid_input"],
      [7, "invalid_input"],
      [null, "invalid_input"],
      [[{ type: "text", text: 7 }], "invalid_record"],
      [[{ type: "text", text: "a", colour: "red" }], "invalid_record"],
    ]
    for (const [input, code] of refused) await expect(thread.say(input as ThreadInput), JSON.stringify(input)).rejects.toMatchObject({ code })
    expect(inputsOf(thread)).toEqual(["mine"])
    await world.run(thread)
    await expect(thread.say({ id: "mine", role: "user", parts: [text] })).rejects.toMatchObject({ code: "id_taken" })
    await thread.close()
    // Its log can be read.
    const again = await Thread.open(store, "t", world.options(conversation))
    await expect(again.say({ id: "mine", role: "user", parts: [text] })).rejects.toMatchObject({ code: "id_taken" })
    await again.close()
  })

  test("does not change with the caller's objects", async () => {
    const world = new World(() => says("Seen."))
    const thread = await Thread.open(memoryJournalStore(), "t", world.options(conversation))
    const parts = [{ type: "text" as const, text: "Before." }]
    await thread.say(parts)
    for (const part of parts) part.text = "After."
    await world.run(thread)
    expect(textsOf(world.requests[0])).toEqual(["Before."])
    await thread.close()
  })
})

describe("a key", () => {
  test("makes repeated inputs one, with the same receipt, also after a restart and in another order; other content is refused", async () => {
    const store = memoryJournalStore()
    const world = new World(() => says("Yes."))
    const first = await Thread.open(store, "t", world.options(conversation))
    const receipt = await first.say("Hello.", { key: "k", when: "turn_end" })
    await first.say("Between.")
    const same = await Promise.all([1, 2, 3].map(() => first.say([{ type: "text", text: "Hello." }], { key: "k", when: "turn_end" })))
    expect(same).toEqual([receipt, receipt, receipt])
    await expect(first.say("Hello!", { key: "k", when: "turn_end" })).rejects.toMatchObject({ code: "key_reused" })
    await expect(first.say("Hello.", { key: "k" })).rejects.toMatchObject({ code: "key_reused" })
    await expect(first.redirect("Hello.", { key: "k" })).rejects.toMatchObject({ code: "key_reused" })
    await world.run(first)
    await first.close()
    const second = await Thread.open(store, "t", world.options(conversation))
    expect(await second.say("Hello.", { key: "k", when: "turn_end" })).toEqual(receipt)
    await expect(second.say("Bye.", { key: "k", when: "turn_end" })).rejects.toMatchObject({ code: "key_reused" })
    expect(second.queue()).toEqual([])
    expect(textsOf(world.requests.at(-1))).toEqual(["Between.", "Hello."])
    await second.close()
  })
})

describe("a queue", () => {
  test("can be reordered within a class, and inputs can be taken back; all of it survives a restart", async () => {
    const store = memoryJournalStore()
    const world = new World(() => says("Yes."))
    const first = await Thread.open(store, "t", world.options(conversation))
    for (const text of ["a", "b", "c", "d"]) await first.say(text, { when: "next_turn" })
    await first.say("now")
    expect(await first.reorder("user-3", "user-1")).toBe("reordered")
    expect(inputsOf(first)).toEqual(["user-5", "user-3", "user-1", "user-2", "user-4"])
    expect(await first.reorder("user-1")).toBe("reordered")
    expect(await first.retract("user-2")).toBe("retracted")
    expect(await first.retract("user-2")).toBe("retracted")
    expect(await first.retract("user-99")).toBe("unknown")
    expect(await first.reorder("user-2")).toBe("retracted")
    expect(await first.reorder("user-99")).toBe("unknown")
    await expect(first.reorder("user-1", "user-5")).rejects.toMatchObject({ code: "input_not_queued" })
    await expect(first.reorder("user-1", "user-2")).rejects.toMatchObject({ code: "input_not_queued" })
    await expect(first.reorder("user-1", "user-99")).rejects.toMatchObject({ code: "input_not_queued" })
    await first.close()
    expect((await snapshotThread(store, "t", world.options(conversation)))?.queue.map(({ inputId }) => inputId)).toEqual([
      "user-5",
      "user-3",
      "user-4",
      "user-1",
    ])
    const second = await Thread.open(store, "t", world.options(conversation))
    await world.run(second)
    expect(textsOf(world.requests.at(-1))).toEqual(["now", "c", "d", "a"])
    expect(await second.retract("user-3")).toBe("delivered")
    expect(await second.retract("user-2")).toBe("retracted")
    expect(await second.reorder("user-3")).toBe("delivered")
    await second.close()
  })

  test("an input moves to the first place if the one that it should precede has been delivered", async () => {
    const world = new World(() => says("Yes."))
    const thread = await Thread.open(memoryJournalStore(), "t", world.options(conversation))
    await thread.say("now")
    await world.run(thread)
    await thread.say("a", { when: "next_turn" })
    await thread.say("b", { when: "next_turn" })
    expect(await thread.reorder("user-3", "user-1")).toBe("reordered")
    expect(inputsOf(thread)).toEqual(["user-3", "user-2"])
    expect(await thread.reorder("user-3", "user-1")).toBe("reordered")
    expect(inputsOf(thread)).toEqual(["user-3", "user-2"])
    await thread.close()
  })

  test("the log alone decides a race of delivery and retraction: an input that a checkpoint was about to deliver is delivered, whenever the process dies", async () => {
    const outcomes = new Set<string>()
    for (let writes = 1; writes < 20; writes += 1) {
      const store = memoryJournalStore()
      const dying = dyingStore(store, writes)
      const answers: string[] = []
      const isKilled = (error: unknown): boolean => error instanceof Error && error.message === "killed"
      const world = new World(async (calls) => {
        if (calls === 0) await thread?.say("Steer.", { key: "s" })
        return calls === 0 ? says("", "a=look") : says("Done.")
      })
      let thread: Thread | undefined
      try {
        thread = await Thread.open(dying, "t", world.options(conversation))
        await thread.say("Go.")
        const opened = thread
        const host = {
          ...world.host,
          // The checkpoint has been reached; nothing says yet what it delivers.
          checkpoint: async () => {
            setTimeout(() => {
              void opened.retract("user-2").then(
                (answer) => answers.push(answer),
                () => {},
              )
            }, 0)
            return undefined
          },
        }
        await world.run(thread, { isFatal: isKilled }, host)
      } catch (error) {
        if (!isKilled(error)) throw error
      }
      await new Promise((resolve) => setTimeout(resolve, 2))
      const later = await Thread.open(store, "t", world.options({ ...conversation, takeOver: true }))
      answers.push(await later.retract("user-2"))
      await world.run(later)
      answers.push(await later.retract("user-2"))
      const isDelivered = textsOf(world.requests.at(-1)).includes("Steer.")
      const known = answers.filter((answer) => answer !== "unknown")
      expect([writes, ...new Set(known)]).toEqual([writes, ...(known.length === 0 ? [] : [isDelivered ? "delivered" : "retracted"])])
      for (const answer of known) outcomes.add(answer)
      await later.close()
    }
    expect([...outcomes].sort()).toEqual(["delivered", "retracted"])
  })
})

test("a turn receives nothing before the log has it: a process that dies in that write leaves an input that can be taken back", async () => {
  const base = memoryJournalStore()
  let isReached: () => void = () => {}
  const reached = new Promise<void>((resolve) => {
    isReached = resolve
  })
  const store: JournalStore = {
    ...base,
    open: async (...given) => {
      const stored = await base.open(...given)
      const append = async (text: string): Promise<void> => {
        if (!text.includes('{"type":"assigned"')) return stored.append(text)
        isReached()
        return new Promise(() => {})
      }
      return { read: () => stored.read(), replace: (text) => stored.replace(text), close: () => stored.close(), append }
    },
  }
  const world = new World(async (calls) => {
    if (calls === 0) await thread.say("Steer.")
    return calls === 0 ? says("", "a=look") : says("Done.")
  })
  const thread = await Thread.open(store, "t", world.options(conversation))
  await thread.say("Go.")
  void world.run(thread)
  await reached
  await new Promise((resolve) => setTimeout(resolve, 20))
  const later = await Thread.open(base, "t", world.options({ ...conversation, takeOver: true }))
  expect(await later.retract("user-2")).toBe("retracted")
  await world.run(later)
  expect(textsOf(world.requests.at(-1))).toEqual(["Go."])
  await later.close()
})

test("a run ends with the error of a write that says what its turn receives, and the turn receives nothing", async () => {
  const base = memoryJournalStore()
  let isFull = true
  const store: JournalStore = {
    ...base,
    open: async (...given) => {
      const stored = await base.open(...given)
      const append = async (text: string): Promise<void> => {
        if (isFull && text.includes('{"type":"assigned"')) throw new Error("The disk is full.")
        return stored.append(text)
      }
      return { read: () => stored.read(), replace: (text) => stored.replace(text), close: () => stored.close(), append }
    },
  }
  const world = new World(async (calls) => {
    if (calls === 0) await thread.say("Steer.")
    return calls === 0 ? says("", "a=look") : says("Done.")
  })
  const thread = await Thread.open(store, "t", world.options(conversation))
  await thread.say("Go.")
  await expect(world.run(thread)).rejects.toThrow("The disk is full.")
  expect(world.requests).toHaveLength(1)
  await thread.close()
  isFull = false
  const later = await Thread.open(store, "t", world.options(conversation))
  expect(inputsOf(later)).toEqual(["user-2"])
  await world.run(later)
  expect(textsOf(world.requests.at(-1))).toEqual(["Go.", "Steer."])
  await later.close()
})
