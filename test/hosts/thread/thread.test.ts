import { describe, expect, test } from "vitest"
import type { Host } from "../../../src/hosts/host.ts"
import { memoryJournalStore } from "../../../src/hosts/journal/memory.ts"
import type { JournalStore } from "../../../src/hosts/journal/store.ts"
import { runTurn } from "../../../src/hosts/run/run-turn.ts"
import { type RunThreadOptions, runThread, Thread, type ThreadOptions } from "../../../src/hosts/thread/thread.ts"
import type { LlmCall } from "../../../src/schemas/effect.ts"
import type { GoalOutput } from "../../../src/schemas/goal.ts"
import type { LlmRequest, LlmResponse, OutputPart } from "../../../src/schemas/llm.ts"
import { CONFIG } from "../../replay/support.ts"
import { dyingStore } from "../../support/dying-store.ts"
import { opened } from "../../support/stored-text.ts"

const USAGE = { inputTokens: 8, cachedInputTokens: 90, outputTokens: 2, reasoningTokens: 1 }

/** An answer of ten tokens: a text, calls, or both. A call is `id=tool`, with arguments after a space. */
function says(text: string, ...calls: readonly string[]): LlmResponse {
  const parts: OutputPart[] = text === "" ? [] : [{ type: "text", text }]
  for (const call of calls) {
    const [name = "", inputJson = "{}"] = call.split(/ (.*)/s)
    const [callId = "", toolName = ""] = name.split("=")
    parts.push({ type: "tool_call", callId, toolName, inputJson })
  }
  return { text, parts, usage: USAGE, terminalReason: calls.length > 0 ? "tool_use" : "stop" }
}

const COMPLETE = 'u=update_goal {"status":"complete"}'

/** Completes the goal, and says so when that is done. */
function completes({ messages }: LlmRequest): LlmResponse {
  const isDone = messages.some(({ blocks }) => blocks.some((block) => block.type === "tool_result" && block.toolName === "update_goal"))
  return isDone ? says("All done.") : says("", COMPLETE)
}

/** A world with a clock: each model call takes a second. */
class World {
  at = 1_000_000
  readonly requests: LlmRequest[] = []
  readonly waits: number[] = []
  readonly reported: string[] = []
  readonly answer: (calls: number, request: LlmRequest) => LlmResponse | Promise<LlmResponse>

  constructor(answer: World["answer"]) {
    this.answer = answer
  }

  readonly host: Host = {
    llmCall: async ({ request }: LlmCall) => {
      this.at += 1000
      this.requests.push(request)
      return this.answer(this.requests.length - 1, request)
    },
    tools: { call: async ({ toolName }) => ({ output: { status: "success", value: `${toolName} done` } }), effects: () => "idempotent" },
  }

  options(more: Partial<ThreadOptions> = {}): ThreadOptions {
    return { config: CONFIG, now: () => this.at, ...more }
  }

  run(thread: Thread, more: RunThreadOptions = {}): ReturnType<typeof runThread> {
    return runThread(thread, this.host, {
      now: () => this.at,
      onGoal: (output) => this.reported.push(describeGoal(output)),
      wait: async (until) => {
        this.waits.push(until - this.at)
        this.at = until
      },
      ...more,
    })
  }
}

function describeGoal(output: GoalOutput): string {
  if (output.type === "goal_updated") return `${output.cause}: ${output.goal.status} ${output.goal.tokensUsed}`
  return output.type === "metric" ? output.name : output.type
}

const shown = (request: LlmRequest | undefined): string => JSON.stringify(request?.messages ?? [])
/** Without the figures of a clock, which a repeated call moves. */
const timeless = (request: LlmRequest): string => shown(request).replace(/(secondsUsed|updatedAt)\\":\d+/g, "$1")

describe("a thread without a goal", () => {
  test("runs a turn for a user message, remembers it, and rests", async () => {
    const world = new World((calls) => says(`Answer ${calls}.`))
    const thread = await Thread.open(memoryJournalStore(), "t", world.options())
    await thread.say("One?")
    expect(await world.run(thread)).toEqual({
      reason: "There is no goal.",
      outcome: { type: "finished", finish: { type: "assistant_message", text: "Answer 0." } },
    })
    await thread.say("Two?")
    await world.run(thread)
    expect(shown(world.requests[1])).toMatch(/One\?.*Answer 0\..*Two\?/)
    expect(thread.turns).toBe(2)
  })

  test("stops a turn that takes longer than `turnDeadlineMs`, counted from its own beginning", async () => {
    const world = new World((calls) => says("", `c${calls}=look`))
    const thread = await Thread.open(memoryJournalStore(), "t", world.options({ turnDeadlineMs: 2_500 }))
    for (const text of ["Look.", "Look again."]) {
      await thread.say(text)
      expect((await world.run(thread)).outcome).toMatchObject({ type: "stopped", stop: { type: "deadline" } })
    }
    expect(world.requests).toHaveLength(6)
    await thread.close()
  })

  test("waits for the journal of its turn, whose lease may end after that of its log", async () => {
    const world = new World(() => says("Done."))
    const store = memoryJournalStore()
    const waited: unknown[] = []
    const open: typeof store.open = (name, options) => {
      waited.push([name, options?.waitMs])
      return store.open(name, options)
    }
    const thread = await Thread.open({ ...store, open }, "t", world.options())
    await thread.say("Look.")
    await world.run(thread)
    expect(waited).toEqual([
      ["t.thread", undefined],
      ["t.1", 12_000],
    ])
    await thread.close()
  })

  test("rests at once without a user message", async () => {
    const world = new World(() => says("?"))
    const thread = await Thread.open(memoryJournalStore(), "t", world.options())
    expect(await world.run(thread)).toEqual({ reason: "There is no goal." })
    expect(world.requests).toEqual([])
  })

  test("all messages that arrived between turns go into one turn", async () => {
    const world = new World(() => says("Both."))
    const thread = await Thread.open(memoryJournalStore(), "t", world.options())
    await thread.say("One?")
    await thread.say("Two?")
    await world.run(thread)
    expect(world.requests).toHaveLength(1)
    expect(shown(world.requests[0])).toMatch(/One\?.*Two\?/)
  })

  test("a message during a turn is delivered at its next checkpoint, once", async () => {
    const world = new World(async (calls) => {
      if (calls === 0) await thread.say("And quickly.")
      return calls < 2 ? says("", `c${calls}=count`) : says("Done.")
    })
    const thread = await Thread.open(memoryJournalStore(), "t", world.options())
    await thread.say("Count.")
    await world.run(thread)
    expect(world.requests.map((request) => shown(request).split("And quickly.").length - 1)).toEqual([0, 1, 1])
    expect(thread.turns).toBe(1)
    expect(thread.history.filter((record) => record.type === "conversation" && record.message.id === "user-2")).toHaveLength(1)
  })
})

describe("a thread with a goal", () => {
  test("continues turn after turn until the model completes it", async () => {
    const world = new World((calls, request) =>
      calls >= 4 ? completes(request) : calls % 2 === 0 ? says("", `c${calls}=count`) : says(`Part ${calls}.`),
    )
    const thread = await Thread.open(memoryJournalStore(), "t", world.options())
    await thread.command({ type: "set", objective: "Count everything." })
    const rest = await world.run(thread)
    expect(thread.goal).toMatchObject({ status: "complete", tokensUsed: 50, continuations: 3, secondsUsed: 4 })
    expect(rest.reason).toMatch(/complete/i)
    expect(thread.turns).toBe(3)
    expect(world.reported.filter((output) => output.startsWith("goal."))).toEqual([
      "goal.created",
      "goal.completed",
      "goal.token_count",
      "goal.duration_s",
    ])
  })

  test("is stopped by its budget, and each change is reported once", async () => {
    const world = new World((calls) => (calls % 3 === 2 ? says(`Part ${calls}.`) : says("", `c${calls}=count`)))
    const thread = await Thread.open(memoryJournalStore(), "t", world.options())
    await thread.command({ type: "set", objective: "Count everything.", tokenBudget: 25 })
    expect((await world.run(thread)).reason).toMatch(/^Stopped: the token budget is used up \(tokens: 30 of 25, 5 over\)\./)
    expect(world.reported).toEqual([
      "command: active 0",
      "goal.created",
      "usage: active 10",
      "usage: active 20",
      "usage: budget_limited 30",
      "goal.budget_limited",
      "goal.token_count",
      "goal.duration_s",
    ])
  })

  test("waits after a transient error as long as the goal says, and rests if that is too long", async () => {
    const failing = new World(() => {
      throw Object.assign(new Error("busy"), {})
    })
    const options = failing.options({ goal: { errorOf: (failure) => ({ kind: "transient", message: failure.message }) } })
    const thread = await Thread.open(memoryJournalStore(), "t", options)
    await thread.command({ type: "set", objective: "Try." })
    const rest = await failing.run(thread, { maxWaitMs: 25_000 })
    expect(failing.waits).toEqual([10_000, 20_000])
    expect(rest).toMatchObject({ reason: "The goal waits before it continues.", notBefore: failing.at + 40_000 })
  })

  test("a user message comes before a continuation", async () => {
    const world = new World(async (calls, request) => {
      if (calls === 0) await thread.say("Stop that. Sing.")
      return calls < 2 ? says("Hm.") : completes(request)
    })
    const thread = await Thread.open(memoryJournalStore(), "t", world.options({ policy: { maxIdleContinuations: 9 } }))
    await thread.command({ type: "set", objective: "Dance." })
    await world.run(thread)
    expect(shown(world.requests[1])).toContain("Stop that. Sing.")
  })

  test("runs as one long turn with `continueInTurn`", async () => {
    const world = new World((calls) => says(`Thought ${calls}.`))
    const thread = await Thread.open(memoryJournalStore(), "t", world.options({ continueInTurn: true }))
    await thread.command({ type: "set", objective: "Think." })
    expect((await world.run(thread)).reason).toMatch(/called no tool/)
    expect(thread.turns).toBe(1)
    expect(world.requests).toHaveLength(3)
  })

  test("passes on the host's own deliveries", async () => {
    const world = new World((calls, request) => (calls === 0 ? says("", "c=count") : completes(request)))
    const host: Host = {
      ...world.host,
      checkpoint: async ({ checkpoint }) => (checkpoint === "after_work" ? { messages: [{ role: "system", content: "It rains." }] } : undefined),
    }
    const thread = await Thread.open(memoryJournalStore(), "t", world.options())
    await thread.command({ type: "set", objective: "Go out." })
    await runThread(thread, host, { now: () => world.at })
    expect(shown(world.requests[1])).toContain("It rains.")
  })

  test("runs its turns in the given loop, for example a traced one", async () => {
    const world = new World((_calls, request) => completes(request))
    const thread = await Thread.open(memoryJournalStore(), "t", world.options())
    await thread.command({ type: "set", objective: "Count." })
    const turns: (string | undefined)[] = []
    await world.run(thread, {
      runTurn: (machine, host, options) => {
        turns.push(options?.journal?.turnId)
        return runTurn(machine, host, options)
      },
    })
    expect(turns).toEqual(["t.1"])
  })
})

describe("commands", () => {
  test("are refused at once if they cannot be carried out, and nothing is recorded", async () => {
    const world = new World(() => says("?"))
    const store = memoryJournalStore()
    const thread = await Thread.open(store, "t", world.options())
    expect(await thread.command({ type: "pause" })).toMatchObject([{ type: "refused", code: "no_goal" }])
    await thread.close()
    expect((await (await opened(store, "t.thread")).text).split("\n")).toHaveLength(2)
  })

  test("during a turn are delivered at its next checkpoint: a pause ends the goal's turns in order", async () => {
    const world = new World(async (calls) => {
      if (calls === 0) expect((await thread.command({ type: "pause" })).at(-1)).toMatchObject({ type: "goal_updated", goal: { status: "paused" } })
      return calls === 0 ? says("", "c=count") : says("Then that.")
    })
    const thread = await Thread.open(memoryJournalStore(), "t", world.options())
    await thread.command({ type: "set", objective: "Count." })
    expect((await world.run(thread)).reason).toMatch(/paused/i)
    expect(world.requests).toHaveLength(1)
    expect(thread.goal).toMatchObject({ status: "paused", tokensUsed: 10 })
  })

  test("several at once take effect in order, and later ones see the result of the earlier", async () => {
    const world = new World((_calls, request) => completes(request))
    const thread = await Thread.open(memoryJournalStore(), "t", world.options())
    await thread.command({ type: "set", objective: "One." })
    expect((await thread.command({ type: "pause" })).at(-1)).toMatchObject({ goal: { status: "paused" } })
    expect(await thread.command({ type: "pause" })).toMatchObject([{ type: "refused", code: "not_active" }])
    await thread.command({ type: "resume", tokenBudget: 500 })
    await world.run(thread)
    expect(thread.goal).toMatchObject({ status: "complete", tokenBudget: 500, objective: "One." })
  })

  test("that are refused when they are delivered are reported", async () => {
    const world = new World(async (calls) => {
      if (calls === 0) {
        await thread.command({ type: "pause" })
        return says("", COMPLETE, "c=count")
      }
      return says("All done.")
    })
    const thread = await Thread.open(memoryJournalStore(), "t", world.options())
    await thread.command({ type: "set", objective: "Count." })
    await world.run(thread)
    expect(world.reported).toContain("refused")
    expect(thread.goal?.status).toBe("complete")
  })

  test("about a goal that the running turn created are accepted", async () => {
    const world = new World(async (calls) => {
      if (calls === 1) expect((await thread.command({ type: "pause" })).at(-1)).toMatchObject({ goal: { status: "paused" } })
      return calls === 0 ? says("", 'g=create_goal {"objective":"Learn to fly."}') : calls === 1 ? says("", "c=count") : says("Paused, then.")
    })
    const thread = await Thread.open(memoryJournalStore(), "t", world.options())
    await thread.say("Make yourself a goal.")
    await world.run(thread)
    expect(thread.goal).toMatchObject({ status: "paused", objective: "Learn to fly." })
  })
})

describe("a run that is stopped", () => {
  test("by its signal cancels the turn, which pauses the goal", async () => {
    const controller = new AbortController()
    const world = new World(() => {
      controller.abort("Enough.")
      return new Promise<never>(() => {})
    })
    const thread = await Thread.open(memoryJournalStore(), "t", world.options())
    await thread.command({ type: "set", objective: "Wait." })
    expect(await world.run(thread, { signal: controller.signal })).toEqual({
      reason: "The run was stopped.",
      outcome: { type: "stopped", stop: { type: "cancelled" } },
    })
    expect(thread.goal?.status).toBe("paused")
  })
})

describe("a process that crashes", () => {
  const answer = (_calls: number, request: LlmRequest): LlmResponse => {
    const said = request.messages.filter(({ role }) => role === "assistant").length
    const answers = [says("", "a=count"), says("First part."), says("", "b=count"), says("Second part."), says("", COMPLETE), says("All done.")]
    return answers[said] ?? says("What else?")
  }
  const objective = "Count everything."

  test("at any write is resumed by the next one: the same turns, no recorded call repeated, the same goal", async () => {
    const whole = new World(answer)
    const counting = memoryJournalStore()
    const thread = await Thread.open(counting, "t", whole.options())
    await thread.command({ type: "set", objective })
    await whole.run(thread)
    expect(thread.goal).toMatchObject({ status: "complete", tokensUsed: 50, continuations: 3 })
    const texts = whole.requests.map(timeless)

    let crashes = 0
    for (let writes = 2; ; writes += 1) {
      const store = memoryJournalStore()
      const first = new World(answer)
      const begun = await Thread.open(dyingStore(store, writes), "t", first.options())
      await begun.command({ type: "set", objective })
      const died = await first.run(begun).then(
        () => false,
        (error: Error) => error.message === "killed",
      )
      if (!died) break
      crashes += 1
      const second = new World(answer)
      second.at = first.at
      const taken = await Thread.open(store, "t", second.options({ takeOver: true }))
      await second.run(taken)
      expect(taken.goal).toMatchObject({ status: "complete", objective, continuations: 3, tokensUsed: 50 })
      expect(taken.turns).toBe(3)
      const asked = [...first.requests, ...second.requests].map(timeless)
      expect(new Set(asked)).toEqual(new Set(texts))
      expect(asked.length - texts.length).toBeLessThanOrEqual(1)
    }
    expect(crashes).toBeGreaterThan(20)
  })

  test("during a model call: the lost call and the repeated call are charged, if the host estimates the usage", async () => {
    const store = memoryJournalStore()
    const first = new World(() => new Promise<never>(() => {}))
    const begun = await Thread.open(store, "t", first.options())
    await begun.command({ type: "set", objective })
    void first.run(begun)
    while (first.requests.length === 0) await new Promise((resolve) => setImmediate(resolve))
    const second = new World((_calls, request) => completes(request))
    const lostUsage = () => ({ inputTokens: 7, cachedInputTokens: 0, outputTokens: 0, reasoningTokens: 0 })
    const taken = await Thread.open(store, "t", second.options({ takeOver: true, lostUsage }))
    await second.run(taken)
    expect(taken.goal).toMatchObject({ status: "complete", tokensUsed: 17 })
  })

  test("loses no message or command that was not delivered", async () => {
    const store = memoryJournalStore()
    const world = new World((_calls, request) => completes(request))
    const first = await Thread.open(store, "t", world.options({ meta: { made: "by hand" } }))
    await first.say("Hello?")
    await first.command({ type: "set", objective: "Answer." })
    const second = await Thread.open(store, "t", world.options({ takeOver: true }))
    expect(second.meta).toEqual({ made: "by hand" })
    await world.run(second)
    expect(shown(world.requests[0])).toContain("Hello?")
    expect(second.goal?.status).toBe("complete")
  })

  test("leaves a thread that accepts commands before its turn is resumed, whatever that turn did to the goal", async () => {
    const store = memoryJournalStore()
    const first = new World((calls) => (calls === 0 ? says("", 'g=create_goal {"objective":"Learn to fly."}') : new Promise<never>(() => {})))
    const begun = await Thread.open(store, "t", first.options())
    await begun.say("Make yourself a goal.")
    void first.run(begun)
    while (first.requests.length < 2) await new Promise((resolve) => setImmediate(resolve))

    const second = new World(() => says("Paused, then."))
    const taken = await Thread.open(store, "t", second.options({ takeOver: true }))
    expect(await taken.command({ type: "pause" })).toEqual([])
    expect(await taken.command({ type: "set", objective: " " })).toMatchObject([{ type: "refused", code: "objective_empty" }])
    await second.run(taken)
    expect(taken.goal).toMatchObject({ status: "paused", objective: "Learn to fly." })
  })

  test("a log under another name is refused", async () => {
    const store = memoryJournalStore()
    const world = new World(answer)
    const thread = await Thread.open(store, "t", world.options())
    await thread.close()
    const { text } = await opened(store, "t.thread")
    const copy = await store.open("copy.thread")
    await copy.append(text)
    await copy.close()
    await expect(Thread.open(store, "copy", world.options())).rejects.toMatchObject({ code: "invalid_record" })
    await expect(Thread.open(store, "copy", world.options())).rejects.toMatchObject({ code: "invalid_record" })
  })

  test("every prefix of the log is resumed, or refused as not a log", async () => {
    const store = memoryJournalStore()
    const world = new World(answer)
    const thread = await Thread.open(store, "t", world.options())
    await thread.command({ type: "set", objective })
    await world.run(thread)
    await thread.close()
    const whole = await opened(store, "t.thread")
    await whole.close()
    for (let length = 0; length < whole.text.length; length += 7) {
      const cut = memoryJournalStore()
      const stored = await cut.open("t.thread")
      await stored.append(whole.text.slice(0, length))
      await stored.close()
      const taken = await Thread.open(cut, "t", world.options())
      expect(taken.turns).toBeLessThanOrEqual(3)
      await taken.close()
    }
  })

  test.each([
    ["a flipped character", (text: string) => text.replace("Count everything", "Count everybody"), "damaged_record"],
    ["another format", (text: string) => text.replace("turn-machine/thread", "turn-machine/threat"), "damaged_record"],
    ["some other text", () => "hello", "not_a_journal"],
    ["what only begins like one", () => '["01234567",{"type":"header","format":"turn-machine/x', "not_a_journal"],
  ])("%s in the log is refused", async (_what, change, code) => {
    const store = memoryJournalStore()
    const world = new World(answer)
    const thread = await Thread.open(store, "t", world.options())
    await thread.command({ type: "set", objective })
    await thread.close()
    const stored = await opened(store, "t.thread")
    await stored.replace(change(stored.text))
    await stored.close()
    await expect(Thread.open(store, "t", world.options())).rejects.toMatchObject({ name: "JournalError", code })
  })

  test("a log that cannot be begun is closed, so that it can be opened again", async () => {
    const store = memoryJournalStore()
    const failing: JournalStore = {
      ...store,
      open: async (name, options) => {
        const journal = await store.open(name, options)
        return { ...journal, read: () => journal.read(), append: () => Promise.reject(new Error("The disk is full.")), close: () => journal.close() }
      },
    }
    const world = new World(answer)
    await expect(Thread.open(failing, "t", world.options())).rejects.toThrow("The disk is full.")
    const thread = await Thread.open(store, "t", world.options())
    await thread.close()
  })
})
