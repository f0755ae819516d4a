import { fork } from "node:child_process"
import { getEventListeners } from "node:events"
import { afterEach, describe, expect, test, vi } from "vitest"
import * as z from "zod"
import type { Host, HostTools, ToolAnswer } from "../../../src/hosts/host.ts"
import { memoryJournalStore } from "../../../src/hosts/journal/memory.ts"
import { TurnJournal } from "../../../src/hosts/journal/turn-journal.ts"
import { idempotencyKey } from "../../../src/hosts/run/idempotency-key.ts"
import { performEffect } from "../../../src/hosts/run/perform-effect.ts"
import { runTurn } from "../../../src/hosts/run/run-turn.ts"
import { defineTool } from "../../../src/hosts/tools/define-tool.ts"
import { toolbox } from "../../../src/hosts/tools/toolbox.ts"
import type { PendingToolCall } from "../../../src/schemas/tool.ts"
import {
  calls,
  configOf,
  deferred,
  emptyBatchDriver,
  execDriver,
  neverCalled,
  newTurn,
  says,
  script,
  start,
  submitted,
  ticks,
  toolTexts,
} from "./support.ts"

const fine = async (): Promise<ToolAnswer> => ({ output: { status: "success", value: "fine" } })

class Suspend extends Error {}
const isFatal = (error: unknown): boolean => error instanceof Suspend

describe("performEffect", () => {
  test("is all that a loop of another engine needs", async () => {
    const tools = toolbox([defineTool({ name: "get", description: "Gets.", input: z.object({}), execute: () => "fine" })])
    const host: Host = { llmCall: script(calls(["c1", "get"], ["c2", "get"]), says("Done.")), tools, checkpoint: async () => undefined }
    const machine = newTurn({ tools: tools.specs })
    const events: string[] = []
    const keys: (string | undefined)[] = []
    for (let effect = machine.poll(); effect !== undefined; effect = machine.poll()) {
      if (effect.type === "emit") events.push(effect.event.type)
      if (effect.type !== "llm_call" && effect.type !== "tool_calls" && effect.type !== "checkpoint") continue
      const options = {
        turnId: "t",
        check: machine.check.bind(machine),
        onEvent: ({ type }: { type: string }) => events.push(type),
        now: async () => 5.5,
      }
      const split = effect.type === "tool_calls" ? effect.calls.map((call) => ({ ...effect, calls: [call] })) : [effect]
      for (const part of split) machine.handle(await performEffect(host, part, options))
    }
    expect(machine.outcome?.type).toBe("finished")
    expect(events.filter((type) => type === "tool_call_start")).toHaveLength(2)
    expect(keys).toEqual([])
  })

  test("returns the results of a whole batch, each with its call", async () => {
    const slow = deferred<void>()
    const tools: HostTools = {
      effects: () => "none",
      async call({ callId }) {
        if (callId === "a") await slow.promise
        else slow.resolve()
        return { output: { status: "success", value: callId } }
      },
    }
    const effect = { type: "tool_calls", id: 3, calls: ["a", "b"].map((callId) => ({ callId, toolName: "x", args: {} })) } as const
    const response = await performEffect({ llmCall: neverCalled, tools }, effect, { now: () => 9 })
    expect(response).toMatchObject({ type: "tool_results", id: 3, at: 9 })
    const results = response.type === "tool_results" ? response.results : []
    expect(new Map(results.map(({ callId, output }) => [callId, output]))).toEqual(
      new Map(["a", "b"].map((value) => [value, { status: "success", value }])),
    )
  })

  test("of an empty batch, of code, of a checkpoint and of a surface", async () => {
    const host: Host = { llmCall: neverCalled }
    expect(await performEffect(host, { type: "tool_calls", id: 1, calls: [] }, { now: () => 2 })).toEqual({
      type: "tool_results",
      id: 1,
      at: 2,
      results: [],
    })
    expect(await performEffect(host, { type: "exec_code", id: 1, code: "1" })).toMatchObject({
      result: { ok: false, error: "This host does not run code." },
    })
    expect(await performEffect(host, { type: "checkpoint", id: 1, checkpoint: "after_work" })).toMatchObject({ delivery: {} })
    expect(await performEffect(host, { type: "sync_execution_surface", id: 1, updateMachineConfig: true })).toMatchObject({ result: { ok: true } })
  })

  test("uses the failure if the check refuses the answer", async () => {
    const machine = newTurn()
    machine.poll()
    const effect = machine.outstanding
    if (effect === undefined) throw new Error("no effect")
    const response = await performEffect({ llmCall: async () => ({ text: 1 }) as never }, effect, { check: machine.check.bind(machine) })
    expect(response).toMatchObject({ result: { ok: false, error: { code: "invalid_llm_response" } } })
  })

  test("hands in what counts after an abort: results in time, and what may have happened", async () => {
    const controller = new AbortController()
    const tools: HostTools = {
      effects: ({ callId }) => (callId === "c4" ? "none" : "once"),
      async call({ callId }, { signal }) {
        if (callId === "c1") return fine()
        const aborted = new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve()))
        if (callId === "c4") controller.abort("Enough.")
        // c2 ends in the grace time; c3 and c4 do not listen.
        if (callId === "c2") await aborted
        else await new Promise((resolve) => setTimeout(resolve, 10_000).unref())
        return fine()
      },
    }
    const effect = {
      type: "tool_calls",
      id: 2,
      calls: ["c1", "c2", "c3", "c4", "c5"].map((callId) => ({ callId, toolName: "x", args: {} })),
    } as const
    const options = { signal: controller.signal, cancelGraceMs: 40, toolConcurrency: 3, callStarted: async () => "first" as const }
    const response = await performEffect({ llmCall: neverCalled, tools }, effect, options)
    const results = response.type === "tool_results" ? response.results : []
    const known = results.map(({ callId, output }) => `${callId} ${output.status === "failure" ? output.failure.code : output.status}`)
    // c4 may run again, and c5 never began: cancelling the machine reads them as cancelled.
    expect(known.sort()).toEqual(["c1 success", "c2 success", "c3 outcome_unknown"])
  })

  test("reports what an aborted model call had said, and once code that had begun", async () => {
    const controller = new AbortController()
    const said: unknown[] = []
    const model: Host = {
      llmCall(_effect, { emit }) {
        emit({ type: "text_delta", content: "Half an" })
        controller.abort("Enough.")
        return new Promise(() => {})
      },
    }
    const call = { type: "llm_call", id: 1, request: { messages: [] } } as never
    const options = { signal: controller.signal, cancelGraceMs: 1, onCutOff: (partial: { text: string }) => said.push(partial.text) }
    await expect(performEffect(model, call, options)).rejects.toBe("Enough.")
    expect(said).toEqual(["Half an"])

    const next = new AbortController()
    const code = { effects: "once" as const, run: () => new Promise<never>(() => next.abort("Enough.")) }
    const exec = { type: "exec_code", id: 1, code: "1" } as const
    const answer = performEffect({ llmCall: neverCalled, code }, exec, { signal: next.signal, cancelGraceMs: 1, callStarted: async () => "first" })
    expect(await answer).toMatchObject({ type: "exec_result", result: { ok: false, error: expect.stringContaining("may have taken effect") } })
  })

  test("with a signal that is aborted already, calls that an earlier process began may have taken effect, and nothing is performed", async () => {
    const effect = {
      type: "tool_calls",
      id: 7,
      calls: ["c1", "c2"].map((callId) => ({ callId, toolName: "pay", args: {} })),
    } as const
    const tools: HostTools = { call: neverCalled, effects: () => "once" }
    const options = { signal: AbortSignal.abort("Enough."), callStarted: neverCalled }
    const asked: unknown[] = []
    const mayHaveRun = (effectId: number, callId?: string): boolean => {
      asked.push([effectId, callId])
      return callId === "c2"
    }
    const response = await performEffect({ llmCall: neverCalled, tools }, effect, { ...options, mayHaveRun })
    expect(response).toMatchObject({ type: "tool_results", id: 7, results: [{ callId: "c2", output: { failure: { code: "outcome_unknown" } } }] })
    expect(asked).toEqual([
      [7, "c1"],
      [7, "c2"],
    ])
    await expect(performEffect({ llmCall: neverCalled, tools }, effect, options)).rejects.toBe("Enough.")
  })

  test("rejects with the reason of the signal, and aborts the executor", async () => {
    const controller = new AbortController()
    let aborted = false
    const host: Host = {
      llmCall: (_effect, { signal }) =>
        new Promise(() => {
          signal.addEventListener("abort", () => {
            aborted = true
          })
          controller.abort("Enough.")
        }),
    }
    const effect = { type: "llm_call", id: 1, request: { messages: [] } } as never
    await expect(performEffect(host, effect, { signal: controller.signal, cancelGraceMs: 1 })).rejects.toBe("Enough.")
    expect(aborted).toBe(true)
    await expect(performEffect({ llmCall: neverCalled }, effect, { signal: controller.signal })).rejects.toBe("Enough.")
  })

  test("refuses a number of places in which no call would run", async () => {
    const effect = { type: "tool_calls", id: 1, calls: [{ callId: "c", toolName: "get", args: {} }] } as const
    const host: Host = { llmCall: neverCalled, tools: { effects: () => "none", call: fine } }
    for (const toolConcurrency of [0, 0.5, -1, Number.NaN])
      await expect(performEffect(host, effect, { toolConcurrency })).rejects.toThrow(`toolConcurrency must be at least 1, not ${toolConcurrency}.`)
  })
})

describe("an error for which isFatal returns true ends the run", () => {
  const machineFor = { llm: () => newTurn(), exec: () => newTurn({ driver: execDriver }), surface: () => newTurn({ syncExecutionSurface: true }) }
  const suspend = (): never => {
    throw new Suspend("wait")
  }
  const host: Host = { llmCall: script(calls(["c1", "get"])) }

  test.each([
    ["model call", machineFor.llm, { llmCall: suspend }],
    ["tool", machineFor.llm, { ...host, llmCall: script(calls(["c1", "get"])), tools: { effects: () => "none", call: suspend } }],
    ["code", machineFor.exec, { ...host, code: { run: suspend } }],
    ["checkpoint", machineFor.llm, { llmCall: script(says("Hi.")), checkpoint: suspend }],
    ["surface", machineFor.surface, { llmCall: script(says("Hi.")), syncExecutionSurface: suspend }],
  ] as const)("of a %s", async (_what, machine, failing) => {
    const turn = machine()
    await expect(runTurn(turn, failing as Host, { isFatal })).rejects.toThrow(Suspend)
    expect(turn.done).toBe(false)
    expect(turn.outstanding).toBeDefined()
  })

  test("also inside a defined tool, its recovery, and performEffect", async () => {
    const get = defineTool({ name: "get", description: "Gets.", input: z.object({}), execute: suspend })
    const pay = defineTool({ name: "pay", description: "Pays.", input: z.object({}), effects: "once", execute: neverCalled, recover: suspend })
    const tools = toolbox([get, pay])
    await expect(runTurn(newTurn(), { llmCall: script(calls(["c1", "get"])), tools }, { isFatal })).rejects.toThrow(Suspend)
    const effect = (toolName: string) => ({ type: "tool_calls", id: 2, calls: [{ callId: "c", toolName, args: {} }] }) as const
    await expect(performEffect({ llmCall: neverCalled, tools }, effect("get"), { isFatal })).rejects.toThrow(Suspend)
    await expect(performEffect({ llmCall: neverCalled, tools }, effect("pay"), { isFatal, callStarted: async () => "again" })).rejects.toThrow(
      Suspend,
    )
  })

  test("nothing of it is recorded, and another error is a failure as before", async () => {
    const journal = await TurnJournal.open(memoryJournalStore(), "t")
    const machine = await journal.begin(configOf(), start)
    await expect(runTurn(machine, { llmCall: suspend }, { journal, isFatal })).rejects.toThrow(Suspend)
    const done = await runTurn(machine, { llmCall: () => Promise.reject(new Error("no")) }, { journal, isFatal })
    expect(done.outcome).toMatchObject({ type: "stopped", stop: { type: "provider_error" } })
  })
})

describe("the calls of a batch start in call order", () => {
  async function started(options: {
    concurrency: number
    startedAfter: (callId: string) => Promise<unknown>
    effects: HostTools["effects"]
    now?: () => Promise<number>
  }): Promise<string[]> {
    const ids = Array.from({ length: 12 }, (_, index) => `c${index}`)
    const order: string[] = []
    const tools: HostTools = {
      effects: options.effects,
      async call({ callId }: PendingToolCall) {
        order.push(callId)
        await ticks(callId.length * 3 + (Number(callId.slice(1)) % 3) * 5)
        return fine()
      },
    }
    const effect = { type: "tool_calls", id: 2, calls: ids.map((callId) => ({ callId, toolName: "x", args: {} })) } as const
    const callStarted = async (_effectId: number, callId = ""): Promise<"first"> => {
      await options.startedAfter(callId)
      return "first"
    }
    const { concurrency: toolConcurrency, now } = options
    await performEffect({ llmCall: neverCalled, tools }, effect, { toolConcurrency, callStarted, ...(now !== undefined && { now }) })
    return order
  }
  const inOrder = Array.from({ length: 12 }, (_, index) => `c${index}`)

  test.each([1, 2, 5, 12, Number.POSITIVE_INFINITY])("with %d at a time, whatever the time that recording a start takes", async (concurrency) => {
    const effects: HostTools["effects"] = ({ callId }) => (Number(callId.slice(1)) % 2 === 0 ? "once" : "none")
    const startedAfter = (callId: string): Promise<void> => ticks(40 - 3 * Number(callId.slice(1)))
    expect(await started({ concurrency, startedAfter, effects })).toEqual(inOrder)
  })

  test("with a clock that answers out of order", async () => {
    let left = 30
    const now = async (): Promise<number> => {
      left -= 2
      await ticks(Math.max(0, left))
      return 1
    }
    expect(await started({ concurrency: 4, startedAfter: async () => {}, effects: () => "none", now })).toEqual(inOrder)
  })

  test("starts of calls that run at once are recorded at once", async () => {
    const recorded: string[] = []
    const open = deferred<void>()
    const running = started({
      concurrency: 4,
      effects: () => "once",
      startedAfter: (callId) => {
        recorded.push(callId)
        return open.promise
      },
    })
    await ticks(20)
    expect(recorded).toEqual(["c0", "c1", "c2", "c3"])
    open.resolve()
    expect(await running).toEqual(inOrder)
  })
})

describe("receivers of events", () => {
  afterEach(() => {
    vi.restoreAllMocks()
  })

  test.each(["onEvent", "onLog"] as const)("%s that rejects ends the run, and nothing is left unhandled", async (name) => {
    const unhandled: unknown[] = []
    const listener = (error: unknown): void => void unhandled.push(error)
    process.on("unhandledRejection", listener)
    const receive = async (): Promise<void> => {
      await ticks(3)
      throw new Error("The screen is gone.")
    }
    await expect(runTurn(newTurn({ emitLlmTrace: true }), { llmCall: script(says("Hi.")) }, { [name]: receive })).rejects.toThrow(
      "The screen is gone.",
    )
    await new Promise((resolve) => setTimeout(resolve, 5))
    process.off("unhandledRejection", listener)
    expect(unhandled).toEqual([])
  })

  test("what an executor emits is received before its answer is handled, and a rejection ends the run", async () => {
    const order: string[] = []
    const host: Host = {
      async llmCall(_effect, { emit }) {
        emit({ type: "text_delta", content: "Hi." })
        return says("Hi.")
      },
      save: (machine) => void order.push(machine.state),
    }
    await runTurn(newTurn(), host, {
      onEvent: async ({ type }) => {
        if (type !== "text_delta") return
        await ticks(50)
        order.push("received")
      },
    })
    expect(order.indexOf("received")).toBe(order.lastIndexOf("waiting_llm") + 1)
    const failing = runTurn(newTurn(), host, {
      onEvent: async ({ type }) => {
        await ticks(5)
        if (type === "text_delta") throw new Error("gone")
      },
    })
    await expect(failing).rejects.toThrow("gone")
  })
})

test.each(["text_delta", "llm_request", "llm_response"])(
  "a receiver of %s that never ends does not keep a turn from being cancelled",
  async (type) => {
    const controller = new AbortController()
    const host: Host = {
      async llmCall(_effect, { emit }) {
        emit({ type: "text_delta", content: "Hi." })
        return says("Hi.")
      },
    }
    const onEvent = (event: { type: string }): unknown => {
      if (event.type !== type) return undefined
      setTimeout(() => controller.abort(), 5)
      return new Promise(() => {})
    }
    const done = await runTurn(newTurn(), host, { signal: controller.signal, cancelGraceMs: 5, onEvent })
    expect(done.outcome).toEqual({ type: "stopped", stop: { type: "cancelled" } })
  },
)

test("a clock may be async", async () => {
  const machine = newTurn({ driver: emptyBatchDriver })
  const done = await runTurn(machine, { llmCall: neverCalled }, { now: async () => 1_000.7 })
  expect(submitted(done)).toEqual([])
  expect(machine.turn.position.at).toBe(1_000)
  await expect(runTurn(newTurn(), { llmCall: script(says("Hi.")) }, { now: () => Promise.reject(new Error("no clock")) })).rejects.toThrow("no clock")
})

test("an async clock is asked once for each start, and one that rejects leaves no rejection unhandled", async () => {
  const unhandled: unknown[] = []
  const listener = (error: unknown): void => void unhandled.push(error)
  process.on("unhandledRejection", listener)
  const tools: HostTools = { effects: () => "none", call: fine }
  for (const failing of [1, 2, 3, 4, 5, 6, 99]) {
    let asked = 0
    const now = async (): Promise<number> => {
      asked += 1
      if (asked === failing) throw new Error("no clock")
      return 1
    }
    const run = runTurn(newTurn(), { llmCall: script(calls(["c1", "x"], ["c2", "x"]), says("Hi.")), tools }, { now })
    if (failing === 99) await run
    else await expect(run).rejects.toThrow("no clock")
    // Two model calls and two tools, each at its start and at its end, and two checkpoints, for which nothing runs.
    if (failing === 99) expect(asked).toBe(10)
  }
  await new Promise((resolve) => setTimeout(resolve, 5))
  process.off("unhandledRejection", listener)
  expect(unhandled).toEqual([])
})

test("a hundred turns share a signal without a warning, and leave no listener", async () => {
  const controller = new AbortController()
  const warned = vi.spyOn(process, "emitWarning").mockImplementation(() => {})
  const tools: HostTools = { effects: () => "none", call: fine }
  let most = 0
  const turns = Array.from({ length: 100 }, () =>
    runTurn(
      newTurn(),
      { llmCall: script(calls(["c1", "x"], ["c2", "x"]), says("Hi.")), tools },
      {
        signal: controller.signal,
        onEvent: () => {
          most = Math.max(most, getEventListeners(controller.signal, "abort").length)
        },
      },
    ),
  )
  await Promise.all(turns)
  expect(most).toBe(1)
  expect(warned).not.toHaveBeenCalled()
  expect(getEventListeners(controller.signal, "abort")).toEqual([])
  vi.restoreAllMocks()
})

describe("idempotency keys", () => {
  test("have their plain form for ordinary ids", () => {
    expect(idempotencyKey("turn-1", 2, "call_abc")).toBe("turn-1:2:call_abc")
    expect(idempotencyKey("turn.1/x y", 2)).toBe("turn.1/x y:2")
  })

  test("differ for different ids", () => {
    const ids = ["user", "user:2", "2", "x", "2:x", "%", "%3A", ":", "%25", "%253A", "", "user%3A2"]
    const keys = ids.flatMap((turnId) => [idempotencyKey(turnId, 2), ...ids.map((callId) => idempotencyKey(turnId, 2, callId))])
    expect(new Set(keys).size).toBe(keys.length)
    expect(idempotencyKey("user:2", 2, "x")).not.toBe(idempotencyKey("user", 2, "2:x"))
  })

  test("are what executors receive", async () => {
    const keys: (string | undefined)[] = []
    const tools: HostTools = {
      effects: () => "none",
      call: (_call, { idempotencyKey: key }) => {
        keys.push(key)
        return fine()
      },
    }
    const done = await runTurn(newTurn(), { llmCall: script(calls(["c:1", "x"]), says("Hi.")), tools }, { turnId: "user:2" })
    expect(toolTexts(done)).toEqual(["fine"])
    expect(keys).toEqual(["user%3A2:2:c%3A1"])
  })
})

test("a process ends with its run, although a timed tool ignores its signal", async () => {
  const child = fork(new URL("./ends-with-its-run.ts", import.meta.url), { execArgv: ["--import", "tsx"], stdio: "pipe" })
  let printed = ""
  child.stdout?.on("data", (data: Buffer) => {
    printed += data.toString()
  })
  const code = await new Promise((resolve) => child.on("exit", resolve))
  expect(code).toBe(0)
  const [ended, exited] = printed.trim().split("\n").map(Number)
  // The tool may take ten minutes, its timer as long.
  expect((exited ?? Number.NaN) - (ended ?? 0)).toBeLessThan(60_000)
})
