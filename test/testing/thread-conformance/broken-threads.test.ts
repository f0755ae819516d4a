import { describe, expect, test } from "vitest"
import { wrapHost } from "../../../src/hosts/host.ts"
import { memoryJournalStore } from "../../../src/hosts/journal/memory.ts"
import type { JournalStore, StoredJournal } from "../../../src/hosts/journal/store.ts"
import {
  ConformanceError,
  type MakeThreadHost,
  storedThread,
  type TestedProcess,
  type TestedThread,
  THREAD_LAWS,
  type ThreadConformanceOptions,
  type ThreadInstance,
  type ThreadLaw,
  type ThreadPromises,
  threadConformance,
} from "../../../src/testing/index.ts"
import { wrapMembers } from "../../../src/wrap.ts"

/** The errors of the checks of one scenario that a host fails, by the law. */
async function failed(makeHost: MakeThreadHost, scenario: string, options: ThreadConformanceOptions = {}): Promise<Map<string, ConformanceError>> {
  const errors = new Map<string, ConformanceError>()
  for (const check of threadConformance(makeHost, { timeoutMs: 2_000, mostPlaces: 12, ...options })) {
    if (!check.name.startsWith(`${scenario}: `)) continue
    try {
      await check.run()
    } catch (thrown) {
      if (!(thrown instanceof ConformanceError)) throw thrown
      expect(thrown.check).toBe(check.name)
      errors.set(check.name.slice(scenario.length + 2), thrown)
    }
  }
  return errors
}

/** Makes an instance that does something wrong of one that does not. `store`: what all processes share. */
type Change = (
  instance: ThreadInstance,
  shared: { readonly store: JournalStore; readonly memory: Map<string, unknown>; readonly process: TestedProcess },
) => Partial<ThreadInstance>

interface Broken {
  /** What the host does wrong. */
  readonly fault: string
  readonly scenario: string
  /** The law that the check must find broken, among others. */
  readonly law: ThreadLaw
  readonly change?: Change
  /** Changes what the host makes of the thread that it is asked to serve. */
  readonly thread?: (thread: TestedThread) => TestedThread
  readonly store?: (store: JournalStore) => JournalStore
  readonly options?: ThreadConformanceOptions
}

function broken({ change = () => ({}), thread: changed = (thread) => thread, store: storeOf = (store) => store }: Partial<Broken>): MakeThreadHost {
  return () => {
    const store = memoryJournalStore()
    const memory = new Map<string, unknown>()
    return {
      async start(process, thread) {
        const instance = await storedThread(storeOf(store), process, changed(thread))
        return { ...instance, ...change(instance, { store, memory, process }) }
      },
    }
  }
}

let freshTexts = 0

/** A text that no call returned before. */
function fresh(): string {
  freshTexts += 1
  return String(freshTexts)
}

const BROKEN: readonly Broken[] = [
  {
    fault: "ignores the keys of inputs",
    scenario: "inputs that are sent again",
    law: "again",
    change: (instance) => ({ say: (text, { when }) => instance.say(text, { when, key: fresh() }) }),
  },
  {
    fault: "accepts another text with a known key, and drops it",
    scenario: "inputs that are sent again",
    law: "again",
    change: (instance) => {
      const known = new Map<string, string>()
      return {
        async say(text, input) {
          const id = known.get(input.key) ?? (await instance.say(text, input))
          known.set(input.key, id)
          return id
        },
      }
    },
  },
  {
    fault: "gives a receipt before the input is stored",
    scenario: "inputs while a turn runs, killed at every place",
    law: "delivered",
    change: (instance) => {
      const waiting: (() => Promise<unknown>)[] = []
      return {
        async say(text, input) {
          waiting.push(() => instance.say(text, input))
          return `early-${input.key}-${fresh()}`
        },
        async run() {
          for (const next of waiting.splice(0)) await next()
          const rest = await instance.run()
          if (waiting.length === 0) return rest
          for (const next of waiting.splice(0)) await next()
          return instance.run()
        },
      }
    },
  },
  {
    fault: "loses what is said while a turn runs",
    scenario: "inputs while a turn runs",
    law: "delivered",
    change: (instance) => {
      let isRunning = false
      return {
        say: async (text, input) => (isRunning ? `lost-${input.key}` : instance.say(text, input)),
        async run() {
          isRunning = true
          const rest = await instance.run()
          isRunning = false
          return rest
        },
      }
    },
  },
  {
    fault: "delivers every input as soon as it can",
    scenario: "inputs while a turn runs",
    law: "when",
    change: (instance) => ({ say: (text, { key }) => instance.say(text, { key, when: "now" }) }),
  },
  {
    fault: "delivers what is said in a turn only when the turn has ended",
    scenario: "inputs while a turn runs",
    law: "when",
    change: (instance) => ({ say: (text, { key }) => instance.say(text, { key, when: "next_turn" }) }),
  },
  {
    fault: "delivers the newest input first",
    scenario: "inputs while a turn runs",
    law: "order",
    change: (instance) => {
      let waiting: (() => Promise<string>)[] = []
      return {
        say: async (text, input) => {
          waiting.push(() => instance.say(text, input))
          return `late-${input.key}`
        },
        async run() {
          const last = waiting
          waiting = []
          for (const next of last.reverse()) await next()
          const rest = await instance.run()
          return waiting.length === 0 ? rest : (this.run?.() ?? rest)
        },
      }
    },
  },
  {
    fault: "says that an input is retracted, and delivers it",
    scenario: "inputs that are taken back",
    law: "delivered",
    change: () => ({ retract: async () => "retracted" }),
  },
  {
    fault: "returns inputs at an interrupt, and delivers them later",
    scenario: "an interrupt while the model answers",
    law: "delivered",
    change: (instance) => {
      const texts = new Map<string, string>()
      return {
        async say(text, input) {
          const id = await instance.say(text, input)
          texts.set(id, text)
          return id
        },
        async interrupt() {
          const returned = (await instance.interrupt?.()) ?? []
          for (const id of returned) await instance.say(texts.get(id) ?? "", { key: `again-${id}`, when: "next_turn" })
          return returned
        },
      }
    },
  },
  {
    fault: "does not stop a turn that is interrupted",
    scenario: "an interrupt while a tool runs",
    law: "rests",
    change: () => ({ interrupt: async () => [] }),
  },
  {
    fault: "does not stop the work of a turn that is redirected",
    scenario: "a turn that is redirected",
    law: "rests",
    change: (instance) => ({ redirect: (text, { key }) => instance.say(text, { key, when: "now" }) }),
  },
  {
    fault: "interrupts the turn, and begins another one, where it was to redirect it",
    scenario: "a turn that is redirected",
    law: "stops",
    change: (instance) => ({
      async redirect(text, { key }) {
        const id = await instance.say(text, { key, when: "next_turn" })
        await instance.interrupt?.()
        return id
      },
    }),
  },
  {
    fault: "carries out a command twice that is sent again",
    scenario: "commands for a goal",
    law: "commands",
    change: (instance) => ({ command: (command) => instance.command?.(command, { key: fresh() }) ?? Promise.resolve([]) }),
  },
  {
    fault: "forgets a command of a process that is killed",
    scenario: "commands for a goal, killed at every place",
    law: "commands",
    change: (instance) => {
      const waiting: (() => Promise<unknown> | undefined)[] = []
      return {
        async command(command, given) {
          if (command.type === "resume") return instance.command?.(command, given) ?? []
          waiting.push(() => instance.command?.(command, given))
          return []
        },
        async run() {
          for (const next of waiting.splice(0)) await next()
          const rest = await instance.run()
          for (const next of waiting.splice(0)) await next()
          return rest
        },
      }
    },
  },
  {
    fault: "says nothing of a command that is refused",
    scenario: "commands for a goal",
    law: "commands",
    change: (instance) => ({
      command: async (command, given) => ((await instance.command?.(command, given)) ?? []).filter(({ type }) => type !== "refused"),
    }),
  },
  {
    fault: "continues a goal before its time",
    scenario: "a goal that waits",
    law: "early",
    thread: (thread) => ({ ...thread, now: () => thread.now() + Number(fresh()) * 1_000_000 }),
  },
  {
    fault: "charges an answer twice",
    scenario: "a goal that waits",
    law: "continues",
    thread: (thread) => ({
      ...thread,
      executors: wrapHost(thread.executors, {
        async llmCall(next, ...given) {
          const response = await next(...given)
          return { ...response, retriedUsage: response.usage }
        },
      }),
    }),
  },
  {
    fault: "shows another status after a restart",
    scenario: "inputs while a turn runs",
    law: "status",
    change: (instance) => {
      let messages = 0
      const count = async (): Promise<void> => {
        messages = (await instance.status()).messages.length
      }
      return {
        async run() {
          const rest = await instance.run()
          await count()
          return rest
        },
        async status() {
          const status = await instance.status()
          return { ...status, messages: status.messages.slice(0, messages) }
        },
      }
    },
  },
  {
    fault: "keeps the journals of its turns in memory",
    scenario: "inputs while a turn runs, killed at every place",
    law: "history",
    store: (store) => {
      const turns = memoryJournalStore()
      return wrapMembers(store, {
        open: (next: JournalStore["open"], ...given: Parameters<JournalStore["open"]>) =>
          given[0].endsWith(".thread") ? next(...given) : turns.open(...given),
        read: (next: JournalStore["read"], ...given: Parameters<JournalStore["read"]>) =>
          given[0].endsWith(".thread") ? next(...given) : turns.read(...given),
      })
    },
  },
  {
    fault: "runs a call again that must not run twice",
    scenario: "an interrupt while a tool runs, killed at every place",
    law: "once",
    thread: (thread) => {
      const { tools, ...executors } = thread.executors
      return { ...thread, executors: { ...executors, ...(tools && { tools: { ...tools, effects: () => "idempotent" } }) } }
    },
  },
  {
    fault: "gives a call a new idempotency key when it runs again",
    scenario: "a goal, killed at every place",
    law: "keys",
    thread: (thread) => ({
      ...thread,
      executors: wrapHost(thread.executors, {
        llmCall: (next, effect, context) => next(effect, { ...context, idempotencyKey: `${context.idempotencyKey} ${fresh()}` }),
      }),
    }),
  },
  {
    fault: "approves held calls itself",
    scenario: "a held call that is rejected",
    law: "consent",
    change: (instance) => ({
      async run() {
        const rest = await instance.run()
        const { held, openTurn } = await instance.status()
        if (held.length === 0) return rest
        await instance.decide?.(
          held.map(({ requestId, digest }) => ({ requestId, digest, decision: "approve" })),
          openTurn,
        )
        return instance.run()
      },
    }),
  },
  {
    fault: "forgets a decision at a restart",
    scenario: "a held call that is approved while no process runs the thread",
    law: "rests",
    change: (instance) => {
      const waiting: (() => Promise<unknown> | undefined)[] = []
      return {
        async decide(...given) {
          waiting.push(() => instance.decide?.(...given))
          return given[0].map(() => ({ status: "accepted" }))
        },
        async run() {
          for (const next of waiting.splice(0)) await next()
          return instance.run()
        },
      }
    },
  },
  {
    fault: "accepts every decision",
    scenario: "a held call with several decisions",
    law: "decided",
    change: (instance) => ({
      async decide(...given) {
        await instance.decide?.(...given)
        return given[0].map(() => ({ status: "accepted" }))
      },
    }),
  },
  {
    fault: "approves what a person did not see, because it ignores digests",
    scenario: "a held call with several decisions",
    law: "decided",
    change: (instance) => ({
      async decide(decisions, turnId) {
        const { held } = await instance.status()
        const digestOf = (requestId: string): string | undefined => held.find((call) => call.requestId === requestId)?.digest
        return (
          instance.decide?.(
            decisions.map((decision) => ({ ...decision, digest: digestOf(decision.requestId) ?? decision.digest })),
            turnId,
          ) ?? []
        )
      },
    }),
  },
  {
    fault: "shows inputs that wait in another order than that of their delivery",
    scenario: "an input while a call is held",
    law: "status",
    change: (instance) => ({
      async status() {
        const status = await instance.status()
        return { ...status, queue: [...status.queue].reverse() }
      },
    }),
  },
  {
    fault: "does not notice that an approval came too late",
    scenario: "a held call whose approval comes too late",
    law: "consent",
    thread: (thread) => ({ ...thread, now: () => 1_000_000 }),
  },
  {
    fault: "serves a thread in two processes",
    scenario: "two processes at once",
    law: "exclusive",
    store: unlocked,
  },
  {
    fault: "does not fence off the process that it takes over from",
    scenario: "taken over from a process that still runs",
    law: "exclusive",
    store: unlocked,
  },
  {
    fault: "stores the whole thread with each input",
    scenario: "80 turns",
    law: "linear",
    change: (instance, { process }) => ({
      async say(text, input) {
        const { messages } = await instance.status()
        await process.reached("after a snapshot was stored", { chars: JSON.stringify(messages).length })
        return instance.say(text, input)
      },
    }),
    options: { timeoutMs: 10_000 },
  },
  {
    fault: "never rests",
    scenario: "inputs that are sent again",
    law: "rests",
    change: () => ({ run: () => new Promise(() => {}) }),
    options: { timeoutMs: 20 },
  },
]

/** A store whose owners are never fenced off. */
function unlocked(store: JournalStore): JournalStore {
  return wrapMembers(store, {
    async open(next: JournalStore["open"], name: string, options?: Parameters<JournalStore["open"]>[1]) {
      const open = (): Promise<StoredJournal> => next(name, { ...options, takeOver: true })
      let stored = await open()
      return wrapMembers(stored, {
        async append(_next: StoredJournal["append"], text: string): Promise<void> {
          try {
            await stored.append(text)
          } catch {
            stored = await open()
            await stored.append(text)
          }
        },
        close: async () => {},
      })
    },
  })
}

describe("a check fails for a host of threads that", () => {
  test.each(BROKEN)("$fault", async ({ scenario, law, options, ...parts }) => {
    const errors = await failed(broken(parts), scenario, options)
    expect([...errors.keys()]).toContain(THREAD_LAWS[law])
    expect(errors.get(THREAD_LAWS[law])?.faults.every(({ place, message }) => place !== "" && message !== "")).toBe(true)
  })

  test("has no method for what it promises", async () => {
    const errors = await failed(broken({ change: () => ({ retract: undefined as never }) }), "inputs that are taken back")
    expect(errors.get(THREAD_LAWS.rests)?.message).toContain("The instance has no retract, which the promises of the host need.")
  })
})

test("a failure names the check, the place of the kill, and what was expected", async () => {
  const early = BROKEN.find(({ fault }) => fault === "gives a receipt before the input is stored")
  const error = (await failed(broken(early ?? {}), "inputs while a turn runs, killed at every place")).get(THREAD_LAWS.delivered)
  const [first, place, message] = error?.message.split("\n") ?? []
  expect(first).toBe("Broken: inputs while a turn runs, killed at every place: an accepted input is delivered exactly once, or taken back.")
  expect(place).toMatch(/^- inputs while a turn runs, killed at place \d+ of process \d+, .*:$/)
  expect(message).toMatch(/^ {2}Input \w is in the thread 0 times\. Expected: 1\.$/)
})

describe("checks of threads", () => {
  const names = (promises: ThreadPromises = {}): string[] => threadConformance(broken({}), { promises }).map(({ name }) => name)

  test("have different names, which do not depend on the host", () => {
    expect(new Set(names()).size).toBe(names().length)
    expect(names()).toContain("a goal, killed at every place: a goal continues until it ends, and is charged once for each answer")
  })

  test("of promises that a host does not make are left out", () => {
    const left = names({ retract: false, interrupt: false, redirect: false, goals: false, held: false, once: false, exclusive: false, linear: false })
    expect(left.join("\n")).not.toMatch(
      /^(inputs that are taken back|an interrupt|a turn that|a goal|commands|a held|an input while|two processes|taken over)|proportion/m,
    )
    expect(left.length).toBeGreaterThan(20)
  })

  test("hold for a host that promises little", async () => {
    const promises = { steer: false, when: false, redirect: false, once: false } as const
    const queueing = broken({
      change: (instance) => {
        // Accepted at once, and delivered in a turn of its own.
        return { say: (text, { key }) => instance.say(text, { key, when: "next_turn" }) }
      },
    })
    for (const scenario of ["inputs while a turn runs", "a goal", "commands for a goal, killed at every place"])
      expect([...(await failed(queueing, scenario, { promises, mostPlaces: 10 })).values()].map(({ message }) => message)).toEqual([])
  })
})
