import { describe, expect, test } from "vitest"
import { type Host, wrapHost } from "../../../src/hosts/host.ts"
import { journaled } from "../../../src/hosts/journal/journaled.ts"
import { memoryJournalStore } from "../../../src/hosts/journal/memory.ts"
import { runTurn } from "../../../src/hosts/run/run-turn.ts"
import type { Decision, HeldCall } from "../../../src/schemas/approval.ts"
import {
  CONFORMANCE_LAWS,
  ConformanceError,
  type HostConformanceOptions,
  type HostInstance,
  hostConformance,
  type MakeHost,
  type TestedHost,
  type TestedRunOptions,
} from "../../../src/testing/index.ts"
import { TurnMachine } from "../../../src/validated-turn-machine.ts"
import { type Entry, journaledHost, savingHost, type Workflow, workflowHost } from "./hosts.ts"

/** The errors of the checks of one scenario that a host fails, by the law. */
async function failed(makeHost: MakeHost, scenario: string, options: HostConformanceOptions = {}): Promise<Map<string, ConformanceError>> {
  const errors = new Map<string, ConformanceError>()
  for (const check of hostConformance(makeHost, { timeoutMs: 2_000, mostPlaces: 30, ...options })) {
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

interface Broken {
  /** What the host does wrong. */
  readonly fault: string
  readonly scenario: string
  /** The check that must fail, among others. */
  readonly check: string
  readonly change: (workflow: Workflow) => void
  readonly options?: HostConformanceOptions
}

const BROKEN: readonly Broken[] = [
  {
    fault: "runs a once call again, because it stores no start",
    scenario: "killed at every place",
    check: "a call that must not run twice never begins twice",
    change: (workflow) => {
      const store = workflow.store.bind(workflow)
      workflow.store = async (entry) => (entry.type === "started" ? undefined : store(entry))
    },
  },
  {
    fault: "loses the answer of a model",
    scenario: "killed at every place",
    check: "no answer that was acted on is asked for again",
    change: (workflow) => {
      const store = workflow.store.bind(workflow)
      workflow.store = async (entry) => (entry.type === "answer" && entry.response.type === "llm_complete" ? undefined : store(entry))
    },
  },
  {
    fault: "acts before it stores",
    scenario: "killed at every place",
    check: "no answer that was acted on is asked for again",
    change: (workflow) => {
      let late: Entry[] = []
      const store = workflow.store.bind(workflow)
      workflow.store = async (entry) => {
        const before = late
        late = [entry]
        for (const one of before) await store(one)
      }
      const loop = workflow.loop.bind(workflow)
      workflow.loop = async () => {
        const end = await loop()
        for (const one of late) await store(one)
        return end
      }
    },
  },
  {
    fault: "forgets a turn that has ended",
    scenario: "undisturbed",
    check: "its end is given again, and nothing is performed",
    change: (workflow) => {
      const loop = workflow.loop.bind(workflow)
      workflow.loop = async () => {
        const end = await loop()
        workflow.log.clear(workflow.turn.turnId)
        return end
      }
    },
  },
  {
    fault: "reports records twice",
    scenario: "undisturbed",
    check: "records are reported in order, each at its place, without a gap",
    change: (workflow) => {
      const report = workflow.report.bind(workflow)
      workflow.report = async (effect) => {
        await report(effect)
        if (effect.eventDelta.length > 0) await report(effect)
      }
    },
  },
  {
    fault: "does not report what it replays, and then counts from there",
    scenario: "killed at every place",
    check: "records are reported in order, each at its place, without a gap",
    change: (workflow) => {
      let missed = 0
      const report = workflow.report.bind(workflow)
      workflow.report = async (effect) => {
        if (workflow.at < workflow.entries.length) missed += effect.eventDelta.length
        else await report({ ...effect, recordsFrom: effect.recordsFrom - missed })
      }
    },
  },
  {
    fault: "skips what a process reported before it died",
    scenario: "killed at every place",
    check: "records are reported in order, each at its place, without a gap",
    change: (workflow) => {
      let isReplaying = true
      const [report, store] = [workflow.report.bind(workflow), workflow.store.bind(workflow)]
      workflow.store = (entry) => {
        isReplaying = false
        return store(entry)
      }
      workflow.report = async (effect) => (isReplaying && workflow.entries.length > 0 && effect.type === "progress" ? undefined : report(effect))
    },
  },
  {
    fault: "gives a call a new idempotency key when it runs again",
    scenario: "killed at every place",
    check: "work is repeated only under the same idempotency key, which no other work has",
    change: (workflow) => {
      workflow.keyId = `turn-1 ${Math.random()}`
    },
  },
  {
    fault: "says that an interrupted once call was not run",
    scenario: "cancelled while a call does not return",
    check: "a result says what happened: no call reads as not run that may have run, or as run that did not",
    change: (workflow) => {
      const handle = workflow.handle.bind(workflow)
      const output = { status: "cancelled", message: "Cancelled.", source: "cancellation" } as const
      workflow.handle = async (response, print) => {
        const isCancelled = workflow.options.signal.aborted && response.type === "tool_results"
        await handle(isCancelled ? { ...response, results: response.results.map((result) => ({ ...result, output })) } : response, print)
      }
      workflow.cancel = async () => {
        await workflow.store({ type: "cancelled" })
        workflow.machine.cancel()
      }
    },
  },
  {
    fault: "makes up the result of an interrupted call",
    scenario: "killed at every place",
    check: "it ends as without an interruption",
    change: (workflow) => {
      const perform = workflow.perform.bind(workflow)
      workflow.perform = async (effect, print, started) => {
        const [call] = effect.type === "tool_calls" ? effect.calls : []
        if (call === undefined || !started.has(call.callId)) return perform(effect, print, started)
        const result = { ...call, output: { status: "success", value: "made up" } as const, durationMs: 0 }
        await workflow.handle({ type: "tool_results", id: effect.id, results: [result] }, print)
      }
    },
  },
  {
    fault: "does not refuse a second instance",
    scenario: "two instances at once",
    check: "only one instance continues the turn",
    change: (workflow) => {
      workflow.takeOver = () => true
      workflow.store = async (entry) => workflow.log.write(workflow.turn.turnId, entry)
    },
  },
  {
    fault: "does not fence off the instance that it takes over from",
    scenario: "taken over from an instance that still runs",
    check: "only one instance continues the turn",
    change: (workflow) => {
      workflow.store = async (entry) => workflow.log.write(workflow.turn.turnId, entry)
    },
  },
  {
    fault: "keeps its lock when it rejects",
    scenario: "suspended by a fatal error",
    check: "it ends as without an interruption",
    change: (workflow) => {
      workflow.run = async () => {
        workflow.entries = workflow.log.open(workflow.turn.turnId, workflow.owner, workflow.takeOver(), workflow.code())
        const end = await workflow.loop()
        workflow.log.close(workflow.turn.turnId, workflow.owner)
        return end
      }
    },
  },
  {
    fault: "takes a fatal error for an answer",
    scenario: "suspended by a fatal error",
    check: "a fatal error ends the run and is not an answer",
    change: (workflow) => {
      workflow.options = { ...workflow.options, isFatal: () => false }
    },
  },
  {
    fault: "does not notice changed code",
    scenario: "code changed between processes",
    check: "changed code is refused with an error, or continues the turn correctly",
    change: (workflow) => {
      workflow.code = () => "the same"
    },
  },
  {
    fault: "stores the results of a batch only when all of its calls have ended",
    scenario: "killed while a call runs",
    check: "finished calls of a batch do not run again",
    change: (workflow) => {
      const handle = workflow.handle.bind(workflow)
      const waiting: (() => Promise<void>)[] = []
      workflow.handle = async (response, print) => {
        const { outstanding } = workflow.machine
        waiting.push(() => handle(response, print))
        if (outstanding?.type === "tool_calls" && waiting.length < outstanding.calls.length) return
        for (const next of waiting.splice(0)) await next()
      }
    },
  },
  {
    fault: "ignores a cancellation, and forgets it",
    scenario: "cancelled while a call does not return",
    check: "it ends as without an interruption",
    change: (workflow) => {
      workflow.options = { ...workflow.options, signal: new AbortController().signal }
    },
  },
  {
    fault: "ends a cancelled turn without storing that it was cancelled",
    scenario: "cancelled at every place",
    check: "its end is given again, and nothing is performed",
    change: (workflow) => {
      const store = workflow.store.bind(workflow)
      workflow.store = async (entry) => (entry.type === "cancelled" ? undefined : store(entry))
    },
  },
  {
    fault: "handles an answer that arrives twice as two answers",
    scenario: "answers arrive twice",
    check: "it ends as without an interruption",
    options: { promises: { deliveries: true } },
    change: (workflow) => {
      workflow.deliver = (response) => {
        workflow.machine.handle(response)
      }
    },
  },
  {
    fault: "emits events after the end",
    scenario: "undisturbed",
    check: "nothing is emitted after the end",
    change: (workflow) => {
      const loop = workflow.loop.bind(workflow)
      workflow.loop = async () => {
        const end = await loop()
        setTimeout(() => workflow.options.onEvent({ type: "done" }), 0)
        return end
      }
    },
  },
  {
    fault: "stores the whole transcript with each answer",
    scenario: "1,000 effects",
    check: "what is stored grows in proportion to the effects",
    options: { timeoutMs: 10_000 },
    change: (workflow) => {
      const store = workflow.store.bind(workflow)
      workflow.store = (entry) => store(Object.assign({ prompt: workflow.machine.messages }, entry))
    },
  },
  {
    fault: "never ends",
    scenario: "undisturbed",
    check: "it ends as without an interruption",
    options: { timeoutMs: 20 },
    change: (workflow) => {
      workflow.end = () => new Promise(() => {}) as never
    },
  },
]

describe("a check fails for a host that", () => {
  test.each(BROKEN)("$fault", async ({ scenario, check, change, options }) => {
    const errors = await failed(() => workflowHost(change), scenario, options)
    expect([...errors.keys()]).toContain(check)
    expect(errors.get(check)?.faults.every(({ place, message }) => place !== "" && message !== "")).toBe(true)
  })

  test("has no journal, but promises everything", async () => {
    expect([...(await failed(savingHost, "undisturbed")).keys()]).toContain("it ends as without an interruption")
    const options = { promises: { once: false } }
    expect([...(await failed(savingHost, "two instances at once", options)).keys()]).toContain("only one instance continues the turn")
    expect([...(await failed(savingHost, "1,000 effects", { ...options, timeoutMs: 10_000 })).keys()]).toEqual([
      "what is stored grows in proportion to the effects",
    ])
  })

  test("keeps its turns in memory", async () => {
    const makeHost = (): TestedHost => ({ start: (process) => journaledHost(memoryJournalStore).start(process) })
    expect([...(await failed(makeHost, "killed at every place")).keys()]).toEqual(
      expect.arrayContaining(["no answer that was acted on is asked for again", "a call that must not run twice never begins twice"]),
    )
  })

  test("changes what its executors return", async () => {
    const makeHost = (): TestedHost => {
      const host = workflowHost()
      return {
        async start(process) {
          const instance = await host.start(process)
          const run: typeof instance.run = (turn, executors, options) => {
            const llmCall = async (...given: Parameters<typeof executors.llmCall>) => ({ ...(await executors.llmCall(...given)), text: "Made up." })
            return instance.run(turn, wrapHost(executors, { llmCall: (_next, ...given) => llmCall(...given) }), options)
          }
          return { run }
        },
      }
    }
    expect([...(await failed(makeHost, "undisturbed")).keys()]).toContain("it ends as without an interruption")
  })
})

test("a failure names the check, the place of the kill, and what was expected", async () => {
  const broken = BROKEN.find(({ fault }) => fault === "acts before it stores")
  const law = "no answer that was acted on is asked for again"
  const error = (await failed(() => workflowHost(broken?.change), "killed at every place")).get(law)
  const [first = "", place = "", message = ""] = error?.message.split("\n") ?? []
  expect(first).toBe(`Broken: killed at every place: ${law}.`)
  expect(place).toMatch(/^- a chat turn, killed at place \d+ of process 1, (before|after) .*:$/)
  expect(message).toMatch(/^ {2}the \w+ of effect \d+ was asked for again, although effect \d+ had begun, which follows from its answer\.$/)
  expect(error?.message).toMatch(/\(and \d+ more\)$/)
})

describe("checks", () => {
  const names = (options?: HostConformanceOptions): string[] => hostConformance(() => workflowHost(), options).map(({ name }) => name)

  test("have different names, which do not depend on the host", () => {
    expect(new Set(names()).size).toBe(names().length)
    expect(names()).toContain("killed at every place: it ends as without an interruption")
  })

  test("of promises that a host does not make are left out", () => {
    const promises = { once: false, exclusive: false, cancel: false, fatal: false, calls: false, linear: false }
    expect(names({ promises }).join("\n")).not.toMatch(/twice never|instance|cancelled|fatal|finished calls|proportion/)
    expect(names().join("\n")).not.toContain("answers arrive twice")
    expect(names({ promises: { deliveries: true } }).join("\n")).toContain("answers arrive twice")
  })
})

describe("a host of held calls is found if it", () => {
  const promises = { held: true }
  const ONE_EACH = "held calls, one decided in each process"
  const hostWith = (change: (executors: Host, options: TestedRunOptions) => readonly [Host, object]): MakeHost => {
    return () => {
      const store = memoryJournalStore()
      return {
        start: ({ takeOver }) => ({
          async run(turn, executors, { deliveries: _deliveries, ...options }) {
            const [host, changed] = change(executors, { ...options, deliveries: 1 })
            const { deliveries: _mine, ...runOptions } = { ...options, ...changed } as TestedRunOptions
            return journaled(host, store, { takeOver }).run(turn.turnId, turn, runOptions)
          },
        }),
      }
    }
  }

  test("approves calls that nobody has decided about", async () => {
    const approving = hostWith((executors) => {
      const decide = async (held: readonly HeldCall[]): Promise<readonly Decision[]> =>
        held.map(({ requestId, digest }) => ({ requestId, digest, decision: "approve" }))
      return [wrapHost(executors, { decide: (_next, held) => decide(held) }), {}]
    })
    const errors = await failed(approving, ONE_EACH, { promises })
    expect(errors.get(CONFORMANCE_LAWS.consent)?.message).toMatch(/began, although (it has no decision|it was rejected)/)
    expect(errors.has(CONFORMANCE_LAWS.suspended)).toBe(true)
  })

  test("does not pass decide on", async () => {
    const errors = await failed(
      hostWith(({ decide: _decide, ...executors }) => [executors, {}]),
      "held calls, killed at every place",
      { promises },
    )
    expect(errors.get(CONFORMANCE_LAWS.ends)?.message).toContain("The driver may hold calls")
  })

  test("does not pass suspend on", async () => {
    const errors = await failed(
      hostWith((executors) => [executors, { suspend: undefined }]),
      ONE_EACH,
      { promises },
    )
    expect(errors.get(CONFORMANCE_LAWS.suspended)?.message).toContain("was not suspended, but: rejected")
  })

  test("is suspended before its free calls have run", async () => {
    const errors = await failed(
      hostWith((executors, { suspend }) => [executors, suspend ? { pause: AbortSignal.abort() } : {}]),
      ONE_EACH,
      { promises },
    )
    expect(errors.get(CONFORMANCE_LAWS.suspended)?.message).toContain("other calls than those that wait")
  })

  test("forgets decisions, so that people are asked about a call that ran", async () => {
    const forgetful: MakeHost = () => {
      let first: string | undefined
      return {
        start: () => ({
          async run({ config, start }, executors, { deliveries: _deliveries, ...options }) {
            const machine = first === undefined ? new TurnMachine(config, start) : TurnMachine.restore(config, first)
            const save = async (): Promise<void> => {
              if (machine.outstanding?.type === "tool_calls") first ??= JSON.stringify(machine.checkpoint())
            }
            return runTurn(machine, wrapHost(executors, { save }), { ...options, turnId: "t" })
          },
        }),
      }
    }
    const errors = await failed(forgetful, ONE_EACH, { promises: { ...promises, once: false, exclusive: false } })
    expect(errors.get(CONFORMANCE_LAWS.consent)?.message).toContain("was asked for, although the call took effect")
  })

  const deciding = (
    decide: (
      inner: NonNullable<HostInstance["decide"]>,
      ...given: Parameters<NonNullable<HostInstance["decide"]>>
    ) => ReturnType<NonNullable<HostInstance["decide"]>>,
  ): MakeHost => {
    return () => {
      const store = memoryJournalStore()
      return {
        async start(process) {
          const instance = await journaledHost(() => store).start(process)
          const inner = instance.decide?.bind(instance)
          return { ...instance, ...(inner && { decide: (...given) => decide(inner, ...given) }) }
        },
      }
    }
  }

  test("says that a decision is stored, and forgets it", async () => {
    const forgetful = deciding(async (_decide, _turn, decisions) => decisions.map(() => ({ status: "accepted" })))
    const errors = await failed(forgetful, "held calls, decided while no process runs the turn", { promises })
    expect(errors.get(CONFORMANCE_LAWS.decided)?.message).toContain("A decision about call c0 was asked for, although one was stored.")
  })

  test("accepts every decision", async () => {
    const errors = await failed(
      deciding(async (decide, ...given) => {
        await decide(...given)
        return given[1].map(() => ({ status: "accepted" }))
      }),
      "held calls, decided again and too late",
      { promises },
    )
    expect(errors.get(CONFORMANCE_LAWS.decided)?.message).toContain("The decision to approve call c0 was accepted. Expected: stale.")
  })

  test("does not notice that approvals expired", async () => {
    const errors = await failed(
      deciding((decide, turn, decisions) => decide(turn, decisions, () => 1_000)),
      "held calls whose approvals expired",
      { promises },
    )
    expect(errors.get(CONFORMANCE_LAWS.consent)?.message).toContain("began, although it was rejected")
  })
})
