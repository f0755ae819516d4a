import { afterEach, beforeEach, describe, expect, test, vi } from "vitest"
import * as z from "zod"
import { journalValidation } from "../../../src/checks/records.ts"
import { chatDriver } from "../../../src/drivers/chat.ts"
import { type EffectContext, type Host, type HostTools, RunError, type ToolAnswer, ToolError } from "../../../src/hosts/host.ts"
import { journaled } from "../../../src/hosts/journal/journaled.ts"
import { memoryJournalStore } from "../../../src/hosts/journal/memory.ts"
import type { JournalStore } from "../../../src/hosts/journal/store.ts"
import { TurnJournal } from "../../../src/hosts/journal/turn-journal.ts"
import { performEffect } from "../../../src/hosts/run/perform-effect.ts"
import { runTurn } from "../../../src/hosts/run/run-turn.ts"
import { defineTool } from "../../../src/hosts/tools/define-tool.ts"
import { toolbox } from "../../../src/hosts/tools/toolbox.ts"
import { readJournal } from "../../../src/replay/journal.ts"
import { verifyReplay } from "../../../src/replay/verify.ts"
import type { Done } from "../../../src/schemas/effect.ts"
import type { PendingToolCall } from "../../../src/schemas/tool.ts"
import { readText } from "../../support/stored-text.ts"
import { calls, configOf, deferred, execDriver, neverCalled, newTurn, says, script, start, submitted, toolTexts } from "./support.ts"

const MAY_HAVE =
  "[Tool execution failed]\nThe call had begun when it was cancelled: it may have taken effect or not. Find out before asking for it once more."
const CODE = { observations: ["2"], toolCalls: [], images: [], printedImages: [], durationMs: 1 }
const answer = (value: string): ToolAnswer => ({ output: { status: "success", value } })

/** The value, after something else was done. */
function and<Value>(_done: unknown, value: Value): Value {
  return value
}

function tool(call: HostTools["call"], effects: HostTools["effects"] = () => "once"): HostTools {
  return { call, effects }
}

describe("a once tool in a run without a journal", () => {
  const pay = defineTool({ name: "pay", description: "Pays.", input: z.object({}), effects: "once", execute: neverCalled })

  test("is refused before the model is called, if it is offered", async () => {
    const tools = toolbox([pay])
    const machine = newTurn({ tools: tools.specs })
    const run = runTurn(machine, { llmCall: neverCalled, tools })
    await expect(run).rejects.toThrow(RunError)
    await expect(run).rejects.toMatchObject({ code: "once_without_log" })
    await expect(run).rejects.toThrow('The tool "pay" must not run twice')
    expect(machine.state).toBe("preparing")
  })

  test("is refused before any call of its batch runs, if only the call tells", async () => {
    const ran: string[] = []
    const tools = tool(
      async ({ callId }) => and(ran.push(callId), answer("done")),
      ({ callId }) => (callId === "c3" ? "once" : "none"),
    )
    const machine = newTurn()
    await expect(runTurn(machine, { llmCall: script(calls(["c1", "a"], ["c2", "a"], ["c3", "b"])), tools })).rejects.toMatchObject({
      code: "once_without_log",
    })
    expect(ran).toEqual([])
    expect(machine.outstanding?.type).toBe("tool_calls")
  })

  test("does not keep a finished turn from being read", async () => {
    const machine = newTurn()
    await runTurn(machine, { llmCall: script(says("Hi.")) })
    expect((await runTurn(machine, { llmCall: neverCalled, tools: tool(neverCalled) })).outcome.type).toBe("finished")
  })

  test("code is refused likewise", async () => {
    const code = { run: neverCalled, effects: "once" } as const
    await expect(runTurn(newTurn({ driver: execDriver }), { llmCall: neverCalled, code })).rejects.toMatchObject({ code: "once_without_log" })
  })

  test.each([["Once"], [Promise.resolve("once")], [undefined]])(
    "effects that are none are refused, and not taken for idempotent: %s",
    async (effects) => {
      const host = { llmCall: script(calls(["c1", "pay"])), tools: { effects: () => effects, call: neverCalled } } as unknown as Host
      const turn = { config: configOf(), start }
      await expect(journaled(host, memoryJournalStore()).run("t", turn)).rejects.toThrow('The tool "pay" has the effects')
      const code = { run: neverCalled, ...(effects !== undefined && { effects }) } as unknown as NonNullable<Host["code"]>
      const run = runTurn(newTurn({ driver: execDriver }), { llmCall: neverCalled, code })
      if (effects === undefined) await run
      else await expect(run).rejects.toThrow("The host's code has the effects")
    },
  )

  test("performEffect refuses it without callStarted, and asks that one first", async () => {
    const effect = { type: "tool_calls", id: 4, calls: [{ callId: "c:1", toolName: "pay", args: {} }] } as const
    const seen: unknown[] = []
    const host: Host = { llmCall: neverCalled, tools: tool(async (_call, { idempotencyKey }) => and(seen.push(idempotencyKey), answer("paid"))) }
    await expect(performEffect(host, effect)).rejects.toMatchObject({ code: "once_without_log" })
    const first = await performEffect(host, effect, {
      turnId: "t",
      now: () => 7,
      callStarted: async (...ids) => and(seen.push(ids), "first" as const),
    })
    expect(first).toEqual({ type: "tool_results", id: 4, at: 7, results: [{ ...effect.calls[0], ...answer("paid"), durationMs: 0 }] })
    expect(seen).toEqual([[4, "c:1"], "t:4:c%3A1"])
    const again = await performEffect(host, effect, { callStarted: async () => "again" })
    expect(again).toMatchObject({ results: [{ output: { failure: { code: "outcome_unknown" } } }] })
    expect(seen).toHaveLength(2)
  })
})

test("a once call that is looked up while its effect is cancelled does not run, whatever is found", async () => {
  const effect = { type: "tool_calls", id: 4, calls: [{ callId: "c1", toolName: "pay", args: {} }] } as const
  const stopping = new AbortController()
  const asked = deferred<void>()
  const found = deferred<{ readonly ran: false }>()
  const ran: string[] = []
  const tools: HostTools = {
    call: async ({ callId }) => and(ran.push(callId), answer("paid")),
    effects: () => "once",
    recover: () => and(asked.resolve(), found.promise),
  }
  const run = performEffect({ llmCall: neverCalled, tools }, effect, {
    signal: stopping.signal,
    cancelGraceMs: 1,
    callStarted: async () => "again",
  })
  await asked.promise
  stopping.abort("Stopped.")
  expect(await run).toMatchObject({ results: [{ output: { failure: { code: "outcome_unknown" } } }] })
  found.resolve({ ran: false })
  await new Promise((resolve) => setImmediate(resolve))
  expect(ran).toEqual([])
})

describe("a cancelled once call", () => {
  beforeEach(() => {
    vi.useFakeTimers()
  })
  afterEach(() => {
    vi.useRealTimers()
  })

  /** Lets time pass until a promise settles, at most this long. */
  async function passing<Value>(promise: Promise<Value>, mostMs: number): Promise<Value> {
    for (let elapsed = 0; elapsed < mostMs; elapsed += 10) await vi.advanceTimersByTimeAsync(10)
    return promise
  }

  type Call = (call: PendingToolCall, context: EffectContext) => Promise<ToolAnswer>

  /** Runs a batch of three calls, the last of which waits for a place, and aborts when two have begun. */
  async function cancelled(call: Call, effects: HostTools["effects"] = () => "once", cancelGraceMs = 1_000): Promise<Done> {
    const controller = new AbortController()
    let begun = 0
    const host: Host = {
      llmCall: script(calls(["c1", "pay"], ["c2", "pay"], ["c3", "pay"])),
      tools: tool(async (given, context) => {
        begun += 1
        if (begun === 2) queueMicrotask(() => controller.abort("Stop."))
        return call(given, context)
      }, effects),
    }
    const store = memoryJournalStore()
    const turn = { config: configOf(), start }
    const running = journaled(host, store).run("t", turn, { signal: controller.signal, toolConcurrency: 2, cancelGraceMs })
    const done = await passing(running, cancelGraceMs + 10)
    const again = await passing(journaled({ llmCall: neverCalled }, store).run("t", turn), 10)
    expect(again.messages).toEqual(done.messages)
    return done
  }

  test("that never ends may have happened; one that never began is cancelled", async () => {
    expect(toolTexts(await cancelled(() => new Promise(() => {})))).toEqual([MAY_HAVE, MAY_HAVE, "[Tool execution cancelled]\nStop."])
  })

  test("whose signal makes it throw may have happened", async () => {
    const call: Call = (_call, { signal }) => new Promise((_resolve, reject) => signal.addEventListener("abort", () => reject(signal.reason)))
    expect(toolTexts(await cancelled(call))).toEqual([MAY_HAVE, MAY_HAVE, "[Tool execution cancelled]\nStop."])
  })

  test("whose signal makes a defined tool throw may have happened", async () => {
    const pay = defineTool({
      name: "pay",
      description: "Pays.",
      input: z.object({}),
      effects: "once",
      execute: (_input, { signal }) => new Promise((_resolve, reject) => signal.addEventListener("abort", () => reject(new Error("aborted")))),
    })
    const { call, effects } = toolbox([pay])
    expect(toolTexts(await cancelled(call, effects))).toEqual([MAY_HAVE, MAY_HAVE, "[Tool execution cancelled]\nStop."])
  })

  test("that ends within the grace time has its result, and so has one that reports a failure of its own", async () => {
    const call: Call = async ({ callId }) => {
      await new Promise((resolve) => setTimeout(resolve, 900))
      if (callId === "c2") throw new ToolError({ class: "permission_denied", code: "no_money", message: "No money." })
      return answer("paid")
    }
    expect(toolTexts(await cancelled(call))).toEqual(["paid", "[Tool execution failed]\nNo money.", "[Tool execution cancelled]\nStop."])
  })

  test("that ends after the grace time may have happened", async () => {
    const call: Call = async () => {
      await new Promise((resolve) => setTimeout(resolve, 900))
      return answer("paid")
    }
    expect(toolTexts(await cancelled(call, () => "once", 800)).slice(0, 2)).toEqual([MAY_HAVE, MAY_HAVE])
  })

  test.each(["never ends", "ends in time"])("that %s on the last iteration still cancels the turn: no driver is asked what follows", async (how) => {
    const asked: string[] = []
    const driver = chatDriver()
    const watched: typeof driver = {
      ...driver,
      onToolResults: (context, results) => and(asked.push("results"), driver.onToolResults(context, results)),
    }
    const controller = new AbortController()
    const host: Host = {
      llmCall: script(calls(["c1", "pay"])),
      tools: tool(() => {
        queueMicrotask(() => controller.abort("Stop."))
        return how === "never ends" ? new Promise(() => {}) : new Promise((resolve) => setTimeout(resolve, 10, answer("paid")))
      }),
    }
    const store = memoryJournalStore()
    const turn = { config: configOf({ driver: watched, maxIterations: 1 }), start }
    const done = await passing(journaled(host, store).run("t", turn, { signal: controller.signal, cancelGraceMs: 50 }), 80)
    expect(done.outcome).toEqual({ type: "stopped", stop: { type: "cancelled" } })
    expect(toolTexts(done)).toEqual([how === "never ends" ? MAY_HAVE : "paid"])
    expect(asked).toEqual([])
    const again = await passing(journaled({ llmCall: neverCalled }, store).run("t", turn), 20)
    expect(again.messages).toEqual(done.messages)
    const text = await readText(store, "t")
    expect(verifyReplay(readJournal(text ?? "", journalValidation), turn.config).outcome).toEqual(done.outcome)
  })

  test("is told from calls that may run again", async () => {
    const texts = toolTexts(
      await cancelled(
        () => new Promise(() => {}),
        ({ callId }) => (callId === "c2" ? "once" : "idempotent"),
      ),
    )
    expect(texts).toEqual(["[Tool execution cancelled]\nStop.", MAY_HAVE, "[Tool execution cancelled]\nStop."])
  })

  test("of an earlier process may have happened, also if the turn is cancelled before it runs again", async () => {
    const store = memoryJournalStore()
    const turn = { config: configOf(), start }
    const begun = deferred<void>()
    const host: Host = { llmCall: script(calls(["c1", "pay"])), tools: tool(() => and(begun.resolve(), new Promise(() => {}))) }
    void journaled(host, store).run("t", turn)
    await begun.promise
    const done = await passing(journaled(host, store, { takeOver: true }).run("t", turn, { signal: AbortSignal.abort() }), 20)
    expect(toolTexts(done)).toEqual([MAY_HAVE])
  })

  /** Aborts when the start of the first call is stored. */
  function abortingStore(controller: AbortController): JournalStore {
    const store = memoryJournalStore()
    return {
      ...store,
      async open(...given: Parameters<typeof store.open>) {
        const stored = await store.open(...given)
        const append = async (text: string): Promise<void> => {
          await stored.append(text)
          if (text.includes("call_started")) controller.abort("Stop.")
        }
        return new Proxy(stored, { get: (target, name) => (name === "append" ? append : bound(target, name)) })
      },
    }
  }

  test("whose start was recorded and that did not begin is cancelled", async () => {
    const controller = new AbortController()
    const host: Host = { llmCall: script(calls(["c1", "pay"])), tools: tool(neverCalled) }
    const running = journaled(host, abortingStore(controller)).run("t", { config: configOf(), start }, { signal: controller.signal })
    expect(toolTexts(await passing(running, 20))).toEqual(["[Tool execution cancelled]\nStop."])
  })

  test("that did not begin leaves no other call waiting for its place", async () => {
    const controller = new AbortController()
    const host: Host = { llmCall: script(calls(["c1", "pay"], ["c2", "pay"])), tools: tool(neverCalled) }
    const options = { signal: controller.signal, toolConcurrency: 1, cancelGraceMs: 60_000 }
    const running = journaled(host, abortingStore(controller)).run("t", { config: configOf(), start }, options)
    const texts = await Promise.race([running.then(toolTexts), passing(Promise.resolve("It waits."), 100)])
    expect(texts).toEqual(["[Tool execution cancelled]\nStop.", "[Tool execution cancelled]\nStop."])
  })

  test("that waits for the clock when the turn is cancelled has not begun", async () => {
    const controller = new AbortController()
    const journal = await TurnJournal.open(memoryJournalStore(), "t")
    const machine = await journal.begin(configOf(), start)
    const host: Host = { llmCall: script(calls(["c1", "pay"])), tools: tool(neverCalled) }
    const now = async (): Promise<number> => {
      const { outstanding } = machine
      if (outstanding?.type === "tool_calls" && journal.mayHaveRun(outstanding.id, "c1")) controller.abort("Stop.")
      return 1
    }
    const done = await passing(runTurn(machine, host, { journal, now, signal: controller.signal }), 20)
    expect(toolTexts(done)).toEqual(["[Tool execution cancelled]\nStop."])
  })
})

function bound<Target extends object>(target: Target, name: PropertyKey): unknown {
  const member: unknown = Reflect.get(target, name)
  return typeof member === "function" ? member.bind(target) : member
}

describe("once code", () => {
  const turn = { config: configOf({ driver: execDriver }), start }

  async function interrupted(recover: NonNullable<Host["code"]>["recover"]): Promise<{ done: Done; ran: number }> {
    const store = memoryJournalStore()
    const begun = deferred<void>()
    let ran = 0
    const count = (): void => {
      ran += 1
    }
    const host = (run: () => Promise<typeof CODE>): Host => ({
      llmCall: neverCalled,
      code: { effects: "once", run: () => and(count(), run()), ...(recover !== undefined && { recover }) },
    })
    void journaled(
      host(() => and(begun.resolve(), new Promise<never>(() => {}))),
      store,
    ).run("t", turn)
    await begun.promise
    const done = await journaled(
      host(async () => CODE),
      store,
      { takeOver: true },
    ).run("t", turn)
    return { done, ran }
  }

  test("that a crash interrupted is recovered", async () => {
    const { done, ran } = await interrupted(async () => ({ ran: true, answer: { ...CODE, observations: ["found"] } }))
    expect(submitted(done)).toMatchObject({ ok: true, value: { observations: ["found"] } })
    expect(ran).toBe(1)
  })

  test("runs if it is found not to have run", async () => {
    const { done, ran } = await interrupted(async () => ({ ran: false }))
    expect(submitted(done)).toMatchObject({ ok: true, value: { observations: ["2"] } })
    expect(ran).toBe(2)
  })

  test("fails if nothing is known", async () => {
    const { done, ran } = await interrupted(undefined)
    expect(submitted(done)).toMatchObject({ ok: false, error: expect.stringContaining("it may have taken effect or not") })
    expect(ran).toBe(1)
  })

  test("that is cancelled may have happened", async () => {
    const controller = new AbortController()
    const code = { effects: "once", run: () => and(controller.abort(), new Promise<never>(() => {})) } as const
    const errors: unknown[] = []
    const driver = {
      ...execDriver,
      onExecResult: (_context: unknown, _waiting: unknown, result: unknown) =>
        and(errors.push(result), [{ type: "start_exec", code: "2", driverState: null } as const]),
    }
    const options = { signal: controller.signal, cancelGraceMs: 1 }
    const done = await journaled({ llmCall: neverCalled, code }, memoryJournalStore()).run("t", { config: configOf({ driver }), start }, options)
    expect(errors).toEqual([{ ok: false, error: expect.stringContaining("The call had begun when it was cancelled") }])
    expect(done.outcome).toEqual({ type: "stopped", stop: { type: "cancelled" } })
  })
})
