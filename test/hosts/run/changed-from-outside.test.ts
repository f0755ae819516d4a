import { describe, expect, test } from "vitest"
import type { Host, RunOptions, Suspended, SuspendingRunOptions } from "../../../src/hosts/host.ts"
import { journaled } from "../../../src/hosts/journal/journaled.ts"
import { memoryJournalStore } from "../../../src/hosts/journal/memory.ts"
import { runTurn } from "../../../src/hosts/run/run-turn.ts"
import { redirectRun, wakeRun } from "../../../src/hosts/run/wake-run.ts"
import type { ProtocolDriver } from "../../../src/machine/driver.ts"
import type { TurnMachine } from "../../../src/machine/turn-machine.ts"
import type { Done } from "../../../src/schemas/effect.ts"
import type { TurnEvent } from "../../../src/schemas/event.ts"
import type { Message } from "../../../src/schemas/message.ts"
import { approve, Counted, decided, heldTurn, hostOf, suspendedOf } from "./held-support.ts"
import { calls, configOf, neverCalled, newTurn, says, script, start, succeed } from "./support.ts"

// A run waits only where a receiver, a store or a clock is async. Whatever waits, and whatever changes the turn there, the run must notice.

const NOTE: TurnEvent = { type: "message", kind: "diagnostic", text: "From outside." }
const ELSE: Message = { id: "else", role: "user", parts: [{ id: "else.p0", type: "text", text: "Something else." }] }

type Place = "onEvent" | "progress" | "save" | "now" | "llmCall" | "tool"
const PLACES: readonly Place[] = ["onEvent", "progress", "save", "now", "llmCall", "tool"]

/** What is done to a turn that runs, and how it must then end. */
const ACTS: { readonly [act: string]: { readonly ends: string; do(machine: TurnMachine): unknown } } = {
  "is cancelled": { ends: "stopped cancelled", do: (machine) => machine.cancel() },
  "is cancelled, and its run woken": {
    ends: "stopped cancelled",
    do(machine) {
      machine.cancel()
      wakeRun(machine)
    },
  },
  fails: { ends: "stopped runtime_error", do: (machine) => machine.fail({ type: "error", message: "The disk is full." }) },
  "is finished": { ends: "stopped plugin_abort", do: (machine) => machine.finish({ type: "stopped", stop: { type: "plugin_abort" } }) },
  "is added to": { ends: "finished", do: (machine) => machine.apply([{ type: "emit", event: NOTE }]) },
  "is redirected": { ends: "finished", do: (machine) => void redirectRun(machine, [ELSE]) },
}

/** A run of three steps. `hit` is called at each passing of a place, and what it returns is waited for there. */
async function runWith(machine: TurnMachine, place: Place, hit: () => Promise<void> | undefined) {
  const events: TurnEvent[] = []
  const reported: string[] = []
  let begunAfterEnd = 0
  const answers = [calls(["c1", "look"], ["c2", "look"]), calls(["c3", "look"])]
  const at = (where: Place): Promise<void> | undefined => (where === place ? hit() : undefined)
  const begins = (): void => {
    if (machine.done) begunAfterEnd += 1
  }
  const host: Host = {
    async llmCall() {
      begins()
      await at("llmCall")
      return answers.shift() ?? says("Done.")
    },
    tools: {
      async call() {
        begins()
        await at("tool")
        return { output: { status: "success", value: "fine" } }
      },
      effects: () => "idempotent",
    },
    progress({ type }) {
      reported.push(type)
      return at("progress")
    },
    ...(place === "save" && { save: () => at("save") }),
  }
  const options: RunOptions = {
    onEvent(event) {
      events.push(event)
      return at("onEvent")
    },
    ...(place === "now" && { now: (() => at("now")?.then(() => 5) ?? 5) as NonNullable<RunOptions["now"]> }),
  }
  const { outcome } = await runTurn(machine, host, options)
  const end = outcome.type === "stopped" ? `stopped ${outcome.stop.type}` : outcome.type
  return { end, events, reported, begunAfterEnd }
}

describe("a turn that changes from outside while its run waits, or does not wait", () => {
  const cases = PLACES.flatMap((place) => ["at once", "later"].flatMap((when) => Object.keys(ACTS).map((act) => ({ place, when, act }))))

  test.each(cases)("$act in $place, $when: at every passing", async ({ place, when, act: name }) => {
    const act = ACTS[name]
    for (let passing = 1; ; passing += 1) {
      const machine = newTurn()
      let passed = 0
      let isChanged = false
      const change = (): void => {
        passed += 1
        if (passed !== passing || machine.done) return
        isChanged = true
        act?.do(machine)
      }
      const run = await runWith(machine, place, () => {
        if (when === "at once") return void change()
        return Promise.resolve()
          .then(change)
          .then(() => new Promise((resolve) => setImmediate(resolve)))
      })
      expect(machine.poll(), `passing ${passing}`).toBeUndefined()
      expect(run.end, `passing ${passing}`).toBe(isChanged ? act?.ends : "finished")
      expect(run.reported.filter((type) => type === "done")).toHaveLength(1)
      // The clock is read as work begins, and the calls of one batch begin together. Before that, nothing begins for a turn that has ended.
      if (place === "progress" || place === "save") expect(run.begunAfterEnd).toBe(0)
      if (name === "is added to") expect(run.events.filter((event) => "text" in event && event.text === NOTE.text)).toHaveLength(isChanged ? 1 : 0)
      if (passed < passing) break
    }
  })

  test("an abort while the clock is asked at the last checkpoint cancels the turn", async () => {
    const controller = new AbortController()
    let asked = 0
    const now = async (): Promise<number> => {
      asked += 1
      // The beginning of the model call, its answer, and the checkpoint before the end.
      if (asked === 3) controller.abort()
      return asked
    }
    const { outcome } = await runTurn(newTurn(), { llmCall: script(says("Hello.")) }, { now, signal: controller.signal })
    expect(outcome).toMatchObject({ type: "stopped", stop: { type: "cancelled" } })
  })

  test("a call that is decided elsewhere while the host decides nothing runs before the run would suspend", async () => {
    const machine = heldTurn()
    const counted = new Counted()
    const host = hostOf(counted, [["c1", "pay"]])
    const done = await runTurn(
      machine,
      {
        ...host,
        decide: async (held) => {
          for (const call of held) decided(machine, approve(call))
          return []
        },
      },
      { suspend: true },
    )
    expect(done.type).toBe("done")
    expect(counted.order).toEqual(["c1"])
  })

  test("a call that is released after a report with an async receiver runs", async () => {
    const counted = new Counted()
    const host = hostOf(counted, [["c1", "pay"]], { decide: async (held) => held.map(approve), progress: async () => {} })
    const done = await runTurn(heldTurn(), host, { onEvent: async () => {} })
    expect(done.outcome.type).toBe("finished")
    expect(counted.order).toEqual(["c1"])
  })

  test("what a receiver could not receive is not reported once a host without one has run", async () => {
    const machine = newTurn()
    const broken = (): never => {
      throw new Error("store down")
    }
    await expect(runTurn(machine, { llmCall: script(says("Hello.")), progress: broken })).rejects.toThrow("store down")
    const done = await runTurn(machine, { llmCall: neverCalled })
    expect(done.outcome.type).toBe("finished")
    expect((await runTurn(machine, { llmCall: neverCalled, progress: broken })).eventDelta).toEqual([])
  })

  test("a pause at a checkpoint saves what the checkpoint before it led to", async () => {
    const checkpoints: ProtocolDriver = {
      name: "checkpoints",
      version: 1,
      prepareIteration: () => [
        { type: "advance_iteration" },
        { type: "emit", event: NOTE },
        { type: "start_checkpoint", checkpoint: "after_work", onEmpty: { type: "prepare_iteration" } },
      ],
      onLlmComplete: () => [],
      onToolResults: () => [],
    }
    const machine = newTurn({ driver: checkpoints, maxIterations: 9 })
    const pause = new AbortController()
    const saved: string[] = []
    let notes = 0
    const onEvent = (): void => {
      notes += 1
      if (notes === 3) pause.abort()
    }
    const save = (): void => void saved.push(JSON.stringify(machine.checkpoint()))
    suspendedOf(await runTurn(machine, { llmCall: neverCalled, save }, { pause: pause.signal, onEvent }))
    expect(machine.outstanding).toMatchObject({ type: "checkpoint", id: 3 })
    expect(saved.at(-1)).toBe(JSON.stringify(machine.checkpoint()))
  })
})

describe("with a journal, the empty delivery after the last answer is not recorded with it", () => {
  /** Runs a turn of one answer. `act` is called when the answer has come, and before it is handled: an event of it is still being received. */
  async function answeredAfter(act: () => void, options: Pick<SuspendingRunOptions, "signal" | "pause">): Promise<Done | Suspended> {
    const answers = script(says("Hello."), says("Else."))
    const host: Host = {
      async llmCall(_effect, { emit }) {
        emit({ type: "reasoning_delta", content: "A thought." })
        return answers()
      },
    }
    let acts = 1
    const onEvent = async ({ type }: TurnEvent): Promise<void> => {
      if (type !== "reasoning_delta" || acts === 0) return
      acts -= 1
      await new Promise((resolve) => setImmediate(resolve))
      act()
    }
    const given = { config: configOf(), start }
    return journaled(host, memoryJournalStore()).run("turn", given, { ...options, onEvent })
  }

  test("if the run was aborted in the meantime: the turn is cancelled", async () => {
    const controller = new AbortController()
    const end = await answeredAfter(() => controller.abort(), { signal: controller.signal })
    expect(end).toMatchObject({ type: "done", outcome: { type: "stopped", stop: { type: "cancelled" } } })
  })

  test("if the run was paused in the meantime: it is suspended before the end", async () => {
    const controller = new AbortController()
    const end = await answeredAfter(() => controller.abort(), { pause: controller.signal })
    expect(end).toMatchObject({ type: "suspended", held: [] })
  })
})

describe("many events, and many runs", () => {
  test("a hundred thousand events with an async receiver are received in order, before the answer is handled", async () => {
    const COUNT = 100_000
    let [next, last] = [0, 0]
    let isAnswered = false
    const done = await runTurn(
      newTurn(),
      {
        async llmCall(_effect, { emit }) {
          for (let index = 0; index < COUNT; index += 1) emit({ type: "reasoning_delta", content: String(index) })
          return says("Hello.")
        },
        progress: () => {
          isAnswered = true
        },
      },
      {
        async onEvent(event) {
          if (event.type !== "reasoning_delta") return
          expect(Number(event.content)).toBe(next)
          next += 1
          await undefined
          if (isAnswered) throw new Error("The answer was handled before its events were received.")
          last += 1
        },
      },
    )
    expect(done.outcome.type).toBe("finished")
    expect([next, last]).toEqual([COUNT, COUNT])
  })

  test("runs of one machine, each ended by its host, report and perform everything once", async () => {
    const machine = newTurn()
    const reported: string[] = []
    const asked: string[] = []
    let receptions = 0
    const answers = script(calls(["c1", "look"]), calls(["c2", "look"]), says("Done."))
    const host: Host = {
      llmCall: () => answers(),
      tools: {
        call: async (call, context) => {
          asked.push(call.callId)
          return succeed(call, context)
        },
        effects: () => "idempotent",
      },
      // Every second call of a receiver fails: what it was to receive is reported by the next run.
      progress({ type, eventDelta }) {
        receptions += 1
        if (receptions % 2 === 1) throw new Error("store down")
        reported.push(`${type} ${eventDelta.length}`)
      },
    }
    let failed = 0
    for (;;) {
      const run = await runTurn(machine, host).catch(() => undefined)
      if (run !== undefined) break
      failed += 1
    }
    expect(asked).toEqual(["c1", "c2"])
    // The records of the question, and of each answer and result, in the order in which they were made; each delta once.
    expect(reported.at(-1)).toMatch(/^done /)
    expect(failed).toBe(reported.length)
    const total = reported.reduce((sum, text) => sum + Number(text.split(" ")[1]), 0)
    expect(total).toBe(machine.history.length)
  })
})
