import { getEventListeners } from "node:events"
import { afterEach, describe, expect, expectTypeOf, test, vi } from "vitest"
import * as z from "zod"
import {
  type HostPatch,
  pending,
  type Recovered,
  RunError,
  type RunOptions,
  type Suspended,
  type TurnLog,
  wrapHost,
} from "../../../src/hosts/host.ts"
import { journaled } from "../../../src/hosts/journal/journaled.ts"
import { memoryJournalStore } from "../../../src/hosts/journal/memory.ts"
import { performEffect } from "../../../src/hosts/run/perform-effect.ts"
import { runTurn } from "../../../src/hosts/run/run-turn.ts"
import { wakeRun } from "../../../src/hosts/run/wake-run.ts"
import { type DefinedTool, defineTool } from "../../../src/hosts/tools/define-tool.ts"
import { toolbox } from "../../../src/hosts/tools/toolbox.ts"
import type { ProtocolDriver } from "../../../src/machine/driver.ts"
import type { TurnMachine } from "../../../src/machine/turn-machine.ts"
import type { Decision, HeldCall } from "../../../src/schemas/approval.ts"
import type { Done, ToolCalls } from "../../../src/schemas/effect.ts"
import type { TurnEvent } from "../../../src/schemas/event.ts"
import type { LlmResponse } from "../../../src/schemas/llm.ts"
import { type Asked, approve, Counted, decided, doneOf, heldOf, heldTurn, holding, hostOf, reject, restored, suspendedOf } from "./held-support.ts"
import {
  calls,
  configOf,
  deferred,
  emptyBatchDriver,
  errors,
  execDriver,
  neverCalled,
  newTurn,
  says,
  script,
  start,
  submitted,
  ticks,
  toolTexts,
  until,
} from "./support.ts"

const PAY = [["c1", "pay"]] as const
const MIXED = [
  ["f1", "look"],
  ["h1", "pay"],
  ["f2", "look"],
  ["h2", "pay"],
] as const
const twelve = Array.from({ length: 12 }, (_, index) => [`h${index}`, "pay"] as const)

function watching(): { readonly events: TurnEvent[]; readonly onEvent: (event: TurnEvent) => void } {
  const events: TurnEvent[] = []
  return { events, onEvent: (event) => void events.push(event) }
}

const diagnostics = (events: readonly TurnEvent[]): readonly string[] =>
  events.flatMap((event) => (event.type === "message" && event.kind === "diagnostic" ? [event.text] : []))

describe("a run that may meet held calls", () => {
  test("is refused at its start without a decider, before anything is performed", async () => {
    const machine = heldTurn()
    const run = runTurn(machine, { llmCall: neverCalled })
    await expect(run).rejects.toThrow(RunError)
    await expect(run).rejects.toMatchObject({ code: "held_without_decider" })
    expect(machine.state).toBe("preparing")
  })

  test("is not refused for a turn that has ended", async () => {
    const machine = heldTurn()
    machine.cancel()
    expect((await runTurn(machine, { llmCall: neverCalled })).type).toBe("done")
  })

  test("runs to its end without suspend, if no call is held", async () => {
    const counted = new Counted()
    const done = await runTurn(heldTurn(), hostOf(counted, [["c1", "look"]], { decide: neverCalled }))
    expect(done.outcome).toMatchObject({ finish: { text: "Done." } })
  })
})

describe("Host.decide", () => {
  test("is asked while free calls run, and an approved call runs beside them", async () => {
    const look = deferred<void>()
    const counted = new Counted(({ toolName }) => (toolName === "look" ? look.promise : look.resolve()))
    const asked: (readonly string[])[] = []
    const { events, onEvent } = watching()
    const host = hostOf(counted, [...MIXED], {
      decide: async (held, { effectId, idempotencyKey }) => {
        asked.push([...held.map(({ callId }) => callId), `${effectId}`, `${idempotencyKey}`])
        return [approve(held.at(-1) as HeldCall)]
      },
    })
    const done = await runTurn(heldTurn(), host, { onEvent, turnId: "t" })
    expect(asked).toEqual([
      ["h1", "h2", "2", "t:2"],
      ["h1", "2", "t:2"],
    ])
    expect(counted.all).toEqual({ f1: 1, f2: 1, h1: 1, h2: 1 })
    expect(toolTexts(done)).toEqual(["ran f1", "ran h1", "ran f2", "ran h2"].map((text) => JSON.stringify(text).slice(1, -1)))
    const order = events.flatMap((event) => {
      if (event.type === "approval_requested") return [`requested ${event.held.callId}`]
      if (event.type === "approval_decided") return [`${event.decision} ${event.callId}`]
      return event.type === "tool_call" && event.name === "pay" ? [`ran ${event.callId}`] : []
    })
    expect(order.slice(0, 3)).toEqual(["requested h1", "requested h2", "approve h2"])
    expect(order.indexOf("ran h2")).toBeGreaterThan(order.indexOf("approve h2"))
    expect(order.indexOf("ran h1")).toBeGreaterThan(order.indexOf("approve h1"))
  })

  test("twelve held calls at once are all asked for, in a run with eight places, and approved in reverse order", async () => {
    const counted = new Counted()
    const seen: number[] = []
    const host = hostOf(counted, twelve, {
      decide: async (held) => {
        seen.push(held.length)
        return held.toReversed().map(approve)
      },
    })
    const done = await runTurn(heldTurn(), host, { toolConcurrency: 8 })
    expect(seen).toEqual([12])
    expect(counted.order).toEqual(twelve.map(([callId]) => callId).reverse())
    expect(toolTexts(done)).toEqual(twelve.map(([callId]) => `ran ${callId}`))
  })

  test("held calls take no place, and released ones wait for one", async () => {
    let running = 0
    let most = 0
    const counted = new Counted(async () => {
      running += 1
      most = Math.max(most, running)
      await ticks(200)
      running -= 1
    })
    await runTurn(heldTurn(), hostOf(counted, twelve, { decide: async (held) => held.map(approve) }), { toolConcurrency: 2 })
    expect(most).toBe(2)
    expect(Object.values(counted.all)).toEqual(twelve.map(() => 1))
  })

  test("a decision that the turn refuses is reported with its code, takes no other with it, and its call stays held", async () => {
    const counted = new Counted()
    const { events, onEvent } = watching()
    const host = hostOf(counted, [...MIXED], {
      decide: async ([first, second]) =>
        second === undefined
          ? undefined
          : [
              { ...approve(first as HeldCall), digest: "of another call" },
              approve(second),
              { requestId: "9:9", digest: "d", decision: "approve" },
              { requestId: first?.requestId, decision: "maybe" } as unknown as Decision,
            ],
    })
    const suspended = suspendedOf(await runTurn(heldTurn(), host, { suspend: true, onEvent }))
    expect(suspended.held.map(({ callId }) => callId)).toEqual(["h1"])
    expect(counted.all).toEqual({ f1: 1, f2: 1, h2: 1 })
    expect(diagnostics(events).map((text) => /\((\w+)\)/.exec(text)?.[1])).toEqual(["digest_mismatch", "unknown_request", "invalid_response"])
  })

  test.each([
    ["throws", () => Promise.reject(new Error("The approver is down.")), "executor_threw: The held calls were not decided. The approver is down."],
    [
      "returns something else",
      async () => "yes" as never,
      "invalid_decisions: The held calls were not decided. Host.decide must return a list of decisions, or undefined.",
    ],
  ])("a decider that %s decides nothing, and says so in an error event", async (_how, decide, error) => {
    const { events, onEvent } = watching()
    const counted = new Counted()
    const machine = heldTurn()
    const suspended = suspendedOf(await runTurn(machine, hostOf(counted, [...PAY], { decide }), { suspend: true, onEvent }))
    expect(suspended.held).toHaveLength(1)
    expect(errors(events)).toEqual([error])
    expect(counted.all).toEqual({})
  })

  test("a fatal error of a decider ends the run", async () => {
    const fatal = new Error("fatal")
    const host = hostOf(new Counted(), [...PAY], { decide: () => Promise.reject(fatal) })
    await expect(runTurn(heldTurn(), host, { isFatal: (error) => error === fatal })).rejects.toBe(fatal)
  })

  test.each([undefined, []])(
    "one that gives up (%s) rejects a run that may not suspend, when everything else has run; the turn is unchanged",
    async (none) => {
      const counted = new Counted()
      const machine = heldTurn()
      const run = runTurn(machine, hostOf(counted, [...MIXED], { decide: async () => none }))
      await expect(run).rejects.toMatchObject({ name: "RunError", code: "held_without_decider" })
      await expect(run).rejects.toThrow('The call "h1" of the tool "pay" waits for a decision')
      expect(counted.all).toEqual({ f1: 1, f2: 1 })
      expect(heldOf(machine).map(({ callId }) => callId)).toEqual(["h1", "h2"])
      const done = await runTurn(machine, hostOf(counted, [], { decide: async (held) => held.map(approve), llmCall: script(says("Done.")) }))
      expect(done.outcome).toMatchObject({ finish: { text: "Done." } })
      expect(counted.all).toEqual({ f1: 1, f2: 1, h1: 1, h2: 1 })
    },
  )

  test("is aborted when the turn is cancelled, and what it decides later is dropped", async () => {
    const controller = new AbortController()
    const late = deferred<readonly Decision[]>()
    const counted = new Counted()
    const machine = heldTurn()
    let signal: AbortSignal | undefined
    const host = hostOf(counted, [...PAY], {
      decide: (held, context) => {
        signal = context.signal
        controller.abort("enough")
        queueMicrotask(() => late.resolve(held.map(approve)))
        return late.promise
      },
    })
    const done = await runTurn(machine, host, { signal: controller.signal })
    await ticks(20)
    expect(signal?.aborted).toBe(true)
    expect(done.outcome).toMatchObject({ type: "stopped", stop: { type: "cancelled" } })
    expect(counted.all).toEqual({})
    expect(toolTexts(done)).toHaveLength(1)
    expect(toolTexts(done)[0]).not.toContain("may have taken effect")
  })

  test("a decision that was made but not handed in when the turn is cancelled is dropped", async () => {
    const controller = new AbortController()
    const counted = new Counted()
    const { events, onEvent } = watching()
    const host = hostOf(counted, [...MIXED], { decide: async (held) => held.map(approve) })
    await runTurn(heldTurn(), host, {
      signal: controller.signal,
      onEvent: (event) => {
        onEvent(event)
        if (event.type === "approval_decided") controller.abort()
      },
    })
    expect(events.flatMap((event) => (event.type === "approval_decided" ? [event.callId] : []))).toEqual(["h1"])
    expect(counted.counts.has("h2")).toBe(false)
  })

  test("a decision that waits while the turn is cancelled during a write is dropped", async () => {
    const controller = new AbortController()
    const { events, onEvent } = watching()
    const machine = heldTurn()
    const save = async (): Promise<void> => {
      if (heldOf(machine).length === 1) controller.abort()
    }
    await runTurn(machine, hostOf(new Counted(), [...MIXED], { save, decide: async (held) => held.map(approve) }), {
      signal: controller.signal,
      onEvent,
    })
    expect(events.flatMap((event) => (event.type === "approval_decided" ? [event.callId] : []))).toEqual(["h1"])
  })

  test("two deciders race: the first decision counts, the other is reported, and each call runs once", async () => {
    const machine = heldTurn()
    const { events, onEvent } = watching()
    // The batch stays open until the late decision has arrived.
    const counted = new Counted(() => until(() => diagnostics(events).length === 1))
    const both = [
      ["h1", "pay"],
      ["h2", "pay"],
    ] as const
    const host = hostOf(counted, both, {
      decide: async (held) => {
        decided(machine, approve(held[0] as HeldCall))
        decided(machine, reject(held[1] as HeldCall))
        wakeRun(machine)
        await until(() => counted.counts.get("h1") === 1)
        return held.map(approve)
      },
    })
    const done = await runTurn(machine, host, { onEvent })
    expect(counted.all).toEqual({ h1: 1 })
    expect(toolTexts(done)).toEqual(["ran h1", expect.stringContaining("A person said no.")])
    expect(diagnostics(events)).toEqual([expect.stringContaining("2:h2 was refused (call_already_decided)")])
  })

  test("a contrary decision that comes second names the first", async () => {
    const machine = heldTurn()
    const { events, onEvent } = watching()
    const host = hostOf(new Counted(), [...MIXED], {
      decide: async (held) => {
        if (held.length < 2) return undefined
        decided(machine, reject(held[0] as HeldCall))
        return [approve(held[0] as HeldCall), approve(held[1] as HeldCall)]
      },
    })
    await runTurn(machine, host, { onEvent })
    expect(diagnostics(events)).toEqual([expect.stringContaining('(call_already_decided): The call "h1" is decided already: reject')])
  })

  test("nothing that is refused is recorded", async () => {
    const recorded: string[] = []
    const journal: TurnLog = {
      turnId: "t",
      response: async (_machine, response) => void recorded.push(response.type),
      command: neverCalled,
      callStarted: async () => "first",
      mayHaveRun: () => false,
      settled: async () => {},
    }
    const host = hostOf(new Counted(), [...PAY], {
      decide: async ([call]) => [{ ...approve(call as HeldCall), digest: "?" }, approve(call as HeldCall), approve(call as HeldCall)],
    })
    await runTurn(heldTurn(), host, { journal })
    expect(recorded).toEqual(["llm_complete", "tool_decisions", "tool_results", "checkpoint_delivery", "llm_complete", "checkpoint_delivery"])
  })
})

describe("a run that may suspend", () => {
  test("suspends when only held calls are left, everything emitted is delivered and saved, and another process finishes", async () => {
    const counted = new Counted()
    const { events, onEvent } = watching()
    const saved: string[] = []
    const machine = heldTurn()
    const save = async (): Promise<void> => void saved.push(JSON.stringify(machine.checkpoint()))
    const suspended = suspendedOf(await runTurn(machine, hostOf(counted, [...MIXED], { save }), { suspend: true, onEvent }))
    expect(suspended).toMatchObject({ type: "suspended", pending: [], usage: { inputTokens: 1 } })
    expect(suspended.held.map(({ callId }) => callId)).toEqual(["h1", "h2"])
    expect(suspended.messages.map(({ role }) => role)).toEqual(["user", "assistant"])
    expect(events.filter(({ type }) => type === "tool_call")).toHaveLength(2)
    expect(machine.poll()).toBeUndefined()
    expect(saved.at(-1)).toBe(JSON.stringify(machine.checkpoint()))

    const next = restored(machine)
    for (const call of [...suspended.held].reverse()) decided(next, call.callId === "h1" ? reject(call) : approve(call))
    const done = doneOf(await runTurn(next, hostOf(counted, [], { llmCall: script(says("Done.")) }), { suspend: true }))
    expect(counted.all).toEqual({ f1: 1, f2: 1, h2: 1 })
    expect(toolTexts(done)).toEqual(["ran f1", expect.stringContaining("A person said no."), "ran f2", "ran h2"])
  })

  test("each call runs once, wherever the process stops between two decisions", async () => {
    for (let cut = 0; cut <= 12; cut += 1) {
      const counted = new Counted()
      let machine = heldTurn()
      const { held } = suspendedOf(await runTurn(machine, hostOf(counted, twelve), { suspend: true }))
      for (const [index, call] of [...held].reverse().entries()) {
        if (index === cut) {
          machine = restored(machine)
          await runTurn(machine, hostOf(counted, [], { llmCall: neverCalled }), { suspend: true })
        }
        decided(machine, approve(call))
      }
      const done = doneOf(await runTurn(restored(machine), hostOf(counted, [], { llmCall: script(says("Done.")) }), { suspend: true }))
      expect(done.outcome).toMatchObject({ finish: { text: "Done." } })
      expect(counted.all).toEqual(Object.fromEntries(twelve.map(([callId]) => [callId, 1]).sort()))
    }
  })

  test("a machine that is run again, with a released call that was not polled, runs it once", async () => {
    const counted = new Counted()
    const machine = heldTurn()
    const { held } = suspendedOf(await runTurn(machine, hostOf(counted, [...PAY]), { suspend: true }))
    decided(machine, approve(held[0] as HeldCall))
    doneOf(await runTurn(machine, hostOf(counted, [], { llmCall: script(says("Done.")) }), { suspend: true }))
    expect(counted.all).toEqual({ c1: 1 })
  })

  test.each([1, 2, 3, 4, 5])("a decision that comes during save %i of a held batch is acted on, once", async (place) => {
    const counted = new Counted(() => ticks(30).then(() => undefined))
    const machine = heldTurn()
    let saves = 0
    const save = async (): Promise<void> => {
      const [call] = heldOf(machine)
      if (call === undefined) return
      saves += 1
      if (saves >= place) decided(machine, approve(call))
    }
    const both = [
      ["f1", "look"],
      ["c1", "pay"],
    ] as const
    let result = await runTurn(machine, hostOf(counted, both, { save }), { suspend: true })
    if (result.type === "suspended") {
      for (const call of heldOf(machine)) decided(machine, approve(call))
      result = await runTurn(machine, hostOf(counted, [], { llmCall: script(says("Done.")) }), { suspend: true })
    } else expect(saves).toBe(place)
    expect(doneOf(result).outcome).toMatchObject({ finish: { text: "Done." } })
    expect(counted.all).toEqual({ c1: 1, f1: 1 })
  })

  test("a decision that comes with its last save is acted on by the same run", async () => {
    const counted = new Counted()
    const machine = heldTurn()
    let isIdle = false
    const save = async (): Promise<void> => {
      const [call] = heldOf(machine)
      if (isIdle && call !== undefined) decided(machine, approve(call))
    }
    const decide = async (): Promise<undefined> => {
      isIdle = true
      return undefined
    }
    const result = await runTurn(machine, hostOf(counted, [...PAY], { save, decide }), { suspend: true })
    expect(doneOf(result).outcome).toMatchObject({ finish: { text: "Done." } })
    expect(counted.all).toEqual({ c1: 1 })
  })

  test("can be cancelled while it is suspended: its held calls did not run", async () => {
    const machine = heldTurn()
    suspendedOf(await runTurn(machine, hostOf(new Counted(), [...PAY]), { suspend: true }))
    const done = await runTurn(machine, { llmCall: neverCalled, decide: neverCalled }, { signal: AbortSignal.abort("never mind") })
    expect(done.outcome).toMatchObject({ stop: { type: "cancelled" } })
    expect(toolTexts(done)[0]).not.toContain("may have taken effect")
  })

  test("wrapHost wraps decide, and leaves a host without it without", async () => {
    const asked: number[] = []
    const patch: HostPatch = {
      decide: (next, held, context) => {
        asked.push(held.length)
        return next(held, context)
      },
    }
    expect(wrapHost({ llmCall: neverCalled }, patch).decide).toBeUndefined()
    await runTurn(heldTurn(), wrapHost(hostOf(new Counted(), [...PAY], { decide: async (held) => held.map(approve) }), patch))
    expect(asked).toEqual([1])
  })
})

describe("pending", () => {
  test("the call runs once, the run suspends, and the result that comes later finishes the turn in another process", async () => {
    const counted = new Counted(({ callId }) => (callId === "f1" ? pending({ token: "job-7", note: "About an hour." }) : undefined))
    const { events, onEvent } = watching()
    const machine = heldTurn()
    const asked = [
      ["f1", "look"],
      ["f2", "look"],
    ] as const
    const suspended = suspendedOf(await runTurn(machine, hostOf(counted, asked), { suspend: true, onEvent }))
    expect(suspended.held).toEqual([])
    expect(suspended.pending).toEqual([{ callId: "f1", toolName: "look", args: {}, token: "job-7", note: "About an hour." }])
    expect(events).toContainEqual({ type: "tool_pending", callId: "f1", name: "look", token: "job-7", note: "About an hour." })

    const next = restored(machine)
    suspendedOf(await runTurn(next, hostOf(counted, [], { llmCall: neverCalled }), { suspend: true }))
    const result = { callId: "f1", toolName: "look", args: {}, output: { status: "success", value: "The report." }, durationMs: 5 } as const
    next.handle({ type: "tool_results", id: next.outstanding?.id ?? 0, results: [result] })
    const done = doneOf(await runTurn(next, hostOf(counted, [], { llmCall: script(says("Done.")) }), { suspend: true }))
    expect(toolTexts(done)).toEqual(["The report.", "ran f2"])
    expect(counted.all).toEqual({ f1: 1, f2: 1 })
  })

  test("a run that may not suspend rejects, when everything else has run", async () => {
    const counted = new Counted(() => pending({ token: "job" }))
    const machine = heldTurn()
    const run = runTurn(machine, hostOf(counted, [["f1", "look"]], { decide: neverCalled }))
    await expect(run).rejects.toMatchObject({ code: "pending_without_suspend" })
    expect(machine.outstanding).toMatchObject({ calls: [], pending: [{ callId: "f1" }] })
  })

  test("is what a defined tool may return, beside its values", async () => {
    const report = defineTool({
      name: "report",
      description: "Writes a report.",
      input: z.object({}),
      execute: async (_input, { idempotencyKey }) => (idempotencyKey === undefined ? String(idempotencyKey) : pending({ token: idempotencyKey })),
    })
    expectTypeOf(report).toEqualTypeOf<DefinedTool<"report", string>>()
    const machine = heldTurn()
    const host = { llmCall: script(calls(["f1", "report"])), tools: toolbox([report]) }
    const suspended = suspendedOf(await runTurn(machine, host, { suspend: true, turnId: "t" }))
    expect(suspended.pending).toMatchObject([{ callId: "f1", token: "t:2:f1" }])
  })

  test("only a run that may suspend has Suspended in its type", () => {
    const [machine, host] = [heldTurn(), { llmCall: neverCalled }] as const
    const run = {
      plain: () => runTurn(machine, host),
      options: (options: RunOptions) => runTurn(machine, host, options),
      suspend: () => runTurn(machine, host, { suspend: true }),
      pause: (pause: AbortSignal) => runTurn(machine, host, { pause }),
      maybe: (options: { readonly pause?: AbortSignal }) => runTurn(machine, host, { ...options }),
    }
    expectTypeOf(run.plain).returns.resolves.toEqualTypeOf<Done>()
    expectTypeOf(run.options).returns.resolves.toEqualTypeOf<Done>()
    expectTypeOf(run.suspend).returns.resolves.toEqualTypeOf<Done | Suspended>()
    expectTypeOf(run.pause).returns.resolves.toEqualTypeOf<Done | Suspended>()
    expectTypeOf(run.maybe).returns.resolves.toEqualTypeOf<Done | Suspended>()
  })

  test.each(["", undefined, 7])("refuses the token %j", (token) => {
    expect(() => pending({ token: token as string })).toThrow("pending needs a token")
  })

  test("a call that was reported as pending from outside keeps that token", async () => {
    const machine = heldTurn()
    const counted = new Counted(({ callId }) => {
      machine.handle({ type: "tool_pending", id: machine.outstanding?.id ?? 0, callId, token: "first" })
      return pending({ token: "second" })
    })
    const suspended = suspendedOf(await runTurn(machine, hostOf(counted, [["f1", "look"]]), { suspend: true }))
    expect(suspended.pending).toMatchObject([{ callId: "f1", token: "first" }])
  })

  test("a call whose id is not unique in its batch cannot continue outside: it fails, and not the run", async () => {
    const call = { callId: "same", toolName: "look", args: {} }
    const driver: ProtocolDriver = { ...emptyBatchDriver, prepareIteration: () => [{ type: "start_tools", calls: [call, call] }] }
    const done = await runTurn(newTurn({ driver }), { llmCall: neverCalled, tools: new Counted(() => pending({ token: "job" })).tools })
    expect(submitted(done)).toMatchObject([
      { output: { failure: { code: "invalid_tool_result", message: expect.stringContaining("cannot name one of them") } } },
      { output: { failure: { code: "invalid_tool_result" } } },
    ])
  })
})

/** Runs two pieces of code. */
const twiceDriver: ProtocolDriver = {
  ...execDriver,
  prepareIteration: () => [{ type: "start_exec", code: "first", driverState: 1 }],
  onExecResult: (context, { driverState }, result) =>
    driverState === 1
      ? [{ type: "start_exec", code: "second", driverState: 2 }]
      : (execDriver.onExecResult?.(context, { type: "waiting_exec", driverState } as never, result) ?? []),
}

describe("pause", () => {
  const paused = AbortSignal.abort("shutdown")

  test("that is aborted at the start performs nothing", async () => {
    const machine = heldTurn()
    const suspended = suspendedOf(await runTurn(machine, { llmCall: neverCalled }, { pause: paused }))
    expect(suspended).toMatchObject({ held: [], pending: [] })
    expect(machine.outstanding?.type).toBe("llm_call")
    doneOf(await runTurn(machine, hostOf(new Counted(), [["f1", "look"]]), { suspend: true }))
  })

  test("during a model call lets it end, stores it, and the next run performs what follows", async () => {
    const controller = new AbortController()
    const counted = new Counted()
    const machine = heldTurn()
    const llmCall = async () => {
      controller.abort()
      await ticks(10)
      return calls(["f1", "look"])
    }
    suspendedOf(await runTurn(machine, { llmCall, tools: counted.tools }, { pause: controller.signal }))
    expect(machine.outstanding?.type).toBe("tool_calls")
    expect(counted.all).toEqual({})
    doneOf(await runTurn(restored(machine), hostOf(counted, [], { llmCall: script(says("Done.")) }), { suspend: true }))
    expect(counted.all).toEqual({ f1: 1 })
  })

  test("during a batch lets the running calls end, and no other begins", async () => {
    const controller = new AbortController()
    const counted = new Counted(async ({ callId }) => {
      if (callId === "f2") controller.abort()
      await ticks(10)
    })
    const machine = heldTurn()
    const asked = Array.from({ length: 6 }, (_, index) => [`f${index}`, "look"] as const)
    suspendedOf(await runTurn(machine, hostOf(counted, asked), { pause: controller.signal, toolConcurrency: 3 }))
    expect(counted.all).toEqual({ f0: 1, f1: 1, f2: 1 })
    expect(machine.outstanding).toMatchObject({ calls: [{ callId: "f3" }, { callId: "f4" }, { callId: "f5" }] })
    doneOf(await runTurn(restored(machine), hostOf(counted, [], { llmCall: script(says("Done.")) }), { suspend: true }))
    expect(Object.values(counted.all)).toEqual([1, 1, 1, 1, 1, 1])
  })

  test("while a person decides aborts the decider, and the call stays held", async () => {
    const controller = new AbortController()
    const machine = heldTurn()
    const { events, onEvent } = watching()
    const decide = (held: readonly HeldCall[], { signal }: { readonly signal: AbortSignal }) =>
      new Promise<readonly Decision[]>((resolve, refuse) => {
        signal.addEventListener("abort", () => (held.length > 5 ? resolve([]) : refuse(new Error("aborted"))))
        controller.abort()
      })
    const suspended = suspendedOf(await runTurn(machine, hostOf(new Counted(), [...PAY], { decide }), { pause: controller.signal, onEvent }))
    expect(suspended.held.map(({ callId }) => callId)).toEqual(["c1"])
    expect(errors(events)).toEqual([])
  })

  test("does not wait for a decider that ignores that it is aborted, and what it decides later is dropped", async () => {
    const controller = new AbortController()
    const machine = heldTurn()
    let later: (decisions: readonly Decision[]) => void = () => {}
    const decide = () =>
      new Promise<readonly Decision[]>((resolve) => {
        later = resolve
        controller.abort()
      })
    const suspended = suspendedOf(await runTurn(machine, hostOf(new Counted(), [...PAY], { decide }), { pause: controller.signal }))
    later(suspended.held.map(approve))
    await new Promise((resolve) => setTimeout(resolve, 0))
    expect(heldOf(machine).map(({ callId }) => callId)).toEqual(["c1"])
  })

  test("during a checkpoint lets its delivery arrive", async () => {
    const controller = new AbortController()
    const machine = heldTurn()
    const checkpoint = async () => {
      controller.abort()
      return undefined
    }
    const llmCall = script(calls(["f1", "look"]), says("Done."))
    suspendedOf(await runTurn(machine, { llmCall, tools: new Counted().tools, checkpoint }, { pause: controller.signal }))
    expect(machine.outstanding?.type).toBe("llm_call")
    doneOf(await runTurn(restored(machine), { llmCall: script(says("Done.")) }, { suspend: true }))
  })

  test("emits what happened to the turn while its suspension was saved", async () => {
    const machine = heldTurn()
    const { events, onEvent } = watching()
    const event = { type: "message", text: "From elsewhere.", kind: "info" } as const
    let saves = 0
    const save = async (): Promise<void> => {
      saves += 1
      if (saves === 1) machine.apply([{ type: "emit", event }])
    }
    suspendedOf(await runTurn(machine, { llmCall: neverCalled, save }, { pause: paused, onEvent }))
    expect(events).toContainEqual(event)
  })

  test("lets code, and an update of the execution surface, end", async () => {
    const during = async (kind: "code" | "surface"): Promise<TurnMachine> => {
      const controller = new AbortController()
      const machine = newTurn(kind === "code" ? { driver: twiceDriver } : { driver: holding(), syncExecutionSurface: true })
      const stop = <Value>(value: Value): Value => {
        controller.abort()
        return value
      }
      const ran = { observations: [], toolCalls: [], images: [], printedImages: [], durationMs: 0 }
      const host = { llmCall: neverCalled, code: { run: async () => stop(ran) }, syncExecutionSurface: async () => stop(undefined) }
      suspendedOf(await runTurn(machine, host, { pause: controller.signal }))
      return machine
    }
    expect((await during("code")).outstanding).toMatchObject({ type: "exec_code", id: 2, code: "second" })
    expect((await during("surface")).outstanding).toMatchObject({ type: "llm_call" })
  })

  test("is overruled by a cancellation", async () => {
    const both = await runTurn(heldTurn(), { llmCall: neverCalled }, { pause: paused, signal: AbortSignal.abort("stop") })
    expect(doneOf(both).outcome).toMatchObject({ stop: { type: "cancelled" } })
  })

  test("during the last piece of work lets the turn end: it is done", async () => {
    const controller = new AbortController()
    const checkpoint = async (): Promise<undefined> => void controller.abort()
    const done = doneOf(await runTurn(heldTurn(), { llmCall: script(says("Done.")), checkpoint }, { pause: controller.signal }))
    expect(done.outcome).toMatchObject({ finish: { text: "Done." } })
  })
})

describe("a suspended run leaves nothing", () => {
  afterEach(() => void vi.useRealTimers())

  test("no timer and no listener", async () => {
    vi.useFakeTimers()
    const [signal, pause] = [new AbortController().signal, new AbortController().signal]
    const host = hostOf(new Counted(), [...MIXED], { decide: async ([call]) => (call?.callId === "h1" ? [approve(call)] : undefined) })
    suspendedOf(await runTurn(heldTurn(), host, { suspend: true, signal, pause }))
    expect(vi.getTimerCount()).toBe(0)
    expect(getEventListeners(signal, "abort")).toEqual([])
    expect(getEventListeners(pause, "abort")).toEqual([])
  })
})

describe("performEffect", () => {
  async function outstanding(asked: Asked): Promise<{ readonly machine: ReturnType<typeof heldTurn>; readonly effect: ToolCalls }> {
    const machine = heldTurn()
    const controller = new AbortController()
    const llmCall = async (): Promise<LlmResponse> => {
      controller.abort()
      return calls(...asked)
    }
    suspendedOf(await runTurn(machine, { llmCall }, { pause: controller.signal }))
    return { machine, effect: machine.outstanding as ToolCalls }
  }

  test("runs the calls of a batch, and never those that are held", async () => {
    const { machine, effect } = await outstanding([...MIXED])
    const counted = new Counted()
    const host = { llmCall: neverCalled, tools: counted.tools }
    const response = await performEffect(host, effect, { check: (given) => machine.check(given) })
    expect(counted.all).toEqual({ f1: 1, f2: 1 })
    machine.handle(response)
    const rest = machine.outstanding as ToolCalls
    expect(await performEffect(host, rest)).toEqual({ type: "tool_results", id: rest.id, results: [] })
    for (const call of rest.held ?? []) decided(machine, approve(call))
    const released = []
    for (let next = machine.poll(); next !== undefined; next = machine.poll()) if (next.type === "tool_calls_released") released.push(next)
    for (const { calls: approved } of released) machine.handle(await performEffect(host, { ...rest, calls: approved }))
    expect(counted.all).toEqual({ f1: 1, f2: 1, h1: 1, h2: 1 })
    expect(machine.state).not.toBe("waiting_tools")
  })

  test("reports calls that continue outside apart from the results, or alone", async () => {
    const { machine, effect } = await outstanding([
      ["f1", "look"],
      ["f2", "look"],
    ])
    const tools = new Counted(({ callId }) => (callId === "f1" ? pending({ token: "job" }) : undefined)).tools
    const host = { llmCall: neverCalled, tools }
    const given: string[] = []
    const response = await performEffect(host, effect, { onPending: ({ callId, token }) => void given.push(`${callId} ${token}`) })
    expect(given).toEqual(["f1 job"])
    expect(response).toMatchObject({ type: "tool_results", results: [{ callId: "f2" }] })
    expect(await performEffect(host, { ...effect, calls: effect.calls.slice(0, 1) })).toMatchObject({
      type: "tool_pending",
      callId: "f1",
      token: "job",
    })
    const failed = await performEffect(host, effect, { check: (one) => machine.check(one) })
    expect(failed).toMatchObject({
      results: expect.arrayContaining([expect.objectContaining({ callId: "f1", output: expect.objectContaining({ status: "failure" }) })]),
    })
  })
})

describe("once calls", () => {
  const once = (): "once" => "once"
  const turn = { config: configOf({ driver: holding() }), start }

  test("that are held have not begun: approved after a restart they run, once, and are never looked up", async () => {
    const store = memoryJournalStore()
    const counted = new Counted(undefined, once)
    const tools = { ...counted.tools, recover: neverCalled }
    const host = hostOf(counted, [...PAY], { tools })
    suspendedOf(await journaled(host, store).run("t", turn, { suspend: true }))
    const decide = async (held: readonly HeldCall[]): Promise<readonly Decision[]> => held.map(approve)
    const next = { llmCall: script(says("Done.")), tools, decide }
    const done = await journaled(next, store).run("t", turn)
    expect(toolTexts(done)).toEqual(["ran c1"])
    expect(counted.all).toEqual({ c1: 1 })
  })

  test("that are released and interrupted by a crash are looked up, and do not run again", async () => {
    const store = memoryJournalStore()
    const fatal = new Error("killed")
    const counted = new Counted(() => Promise.reject(fatal), once)
    const decide = async (held: readonly HeldCall[]): Promise<readonly Decision[]> => held.map(approve)
    const run = journaled(hostOf(counted, [...PAY], { decide }), store).run("t", turn, { isFatal: (error) => error === fatal })
    await expect(run).rejects.toBe(fatal)
    const recover = async (): Promise<Recovered> => ({ ran: true, answer: pending({ token: "found" }) })
    const suspended = await journaled({ llmCall: neverCalled, tools: { ...counted.tools, recover } }, store).run("t", turn, { suspend: true })
    expect(suspendedOf(suspended).pending).toMatchObject([{ callId: "c1", token: "found" }])
    expect(counted.all).toEqual({ c1: 1 })
  })

  test("of a cancelled turn: one that continues outside is unknown, one that is held was not run", async () => {
    const store = memoryJournalStore()
    const asked = [
      ["f1", "look"],
      ["f2", "look"],
      ["h1", "pay"],
    ] as const
    const effects = ({ callId }: { readonly callId: string }): "none" | "once" => (callId === "f2" ? "none" : "once")
    const counted = new Counted(() => pending({ token: "job" }), effects)
    suspendedOf(await journaled(hostOf(counted, asked), store).run("t", turn, { suspend: true }))
    const next = { llmCall: neverCalled, tools: counted.tools, decide: neverCalled }
    const done = await journaled(next, store).run("t", turn, { signal: AbortSignal.abort("stop") })
    const [outside, other, held] = toolTexts(done)
    expect(outside).toContain("may have taken effect")
    for (const text of [other, held]) expect(text).not.toContain("may have taken effect")
    expect(counted.all).toEqual({ f1: 1, f2: 1 })
  })

  test("that continue outside are unknown, also where another call of the cancelled batch ends in time", async () => {
    const store = memoryJournalStore()
    const controller = new AbortController()
    const counted = new Counted(
      async ({ callId }) => {
        if (callId === "f1") return pending({ token: "job" })
        await ticks(200)
        controller.abort()
        return undefined
      },
      ({ callId }) => (callId === "f1" ? "once" : "none"),
    )
    const asked = [
      ["f1", "look"],
      ["f2", "look"],
      ["h1", "pay"],
    ] as const
    const done = await journaled(hostOf(counted, asked), store).run("t", turn, { suspend: true, signal: controller.signal })
    const [outside, inTime, held] = toolTexts(doneOf(done))
    expect(outside).toContain("may have taken effect")
    expect(inTime).toBe("ran f2")
    expect(held).not.toContain("may have taken effect")
  })

  test("that continue outside end with the cancellation: the driver is not asked what follows", async () => {
    const store = memoryJournalStore()
    const call = { callId: "f1", toolName: "look", args: {} }
    const driver: ProtocolDriver = { ...emptyBatchDriver, prepareIteration: () => [{ type: "start_tools", calls: [call] }] }
    const host = { llmCall: neverCalled, tools: new Counted(() => pending({ token: "job" }), once).tools }
    const only = { config: configOf({ driver }), start }
    suspendedOf(await journaled(host, store).run("t", only, { suspend: true }))
    const done = await journaled(host, store).run("t", only, { signal: AbortSignal.abort() })
    expect(done.outcome).toMatchObject({ stop: { type: "cancelled" } })
    expect(toolTexts(done)[0]).toContain("may have taken effect")
  })

  test("that are held are refused in a run without a journal", async () => {
    const counted = new Counted(undefined, once)
    const machine = heldTurn()
    await expect(runTurn(machine, hostOf(counted, [...PAY]), { suspend: true })).rejects.toMatchObject({ code: "once_without_log" })
  })
})
