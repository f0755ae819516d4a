import { describe, expect, test } from "vitest"
import * as z from "zod"
import { approvalDriver } from "../../../src/drivers/approval/index.ts"
import { chatDriver } from "../../../src/drivers/chat.ts"
import { type Host, type HostTools, LlmCallError } from "../../../src/hosts/host.ts"
import type { RestateTurnOptions } from "../../../src/hosts/restate/turn-options.ts"
import { defineTool } from "../../../src/hosts/tools/define-tool.ts"
import { toolbox } from "../../../src/hosts/tools/toolbox.ts"
import type { TurnConfig } from "../../../src/machine/config.ts"
import type { Done } from "../../../src/schemas/effect.ts"
import { calls, configOf, says, toolTexts } from "../run/support.ts"
import { TerminalError } from "./fake-errors.ts"
import type { AttemptHooks } from "./fake-restate.ts"
import { until } from "./thread-support.ts"
import { doneOf, killedAt, model, Story } from "./turn-support.ts"

const STRIDE = process.env["TEST_LANE"] === "fast" ? 9 : 3

describe("cancelled and killed at every place", () => {
  interface Played {
    readonly done: Done
    readonly counts: Readonly<Record<string, number>>
    readonly places: number
  }

  /** A turn with a call of each kind, and one that a person approves. */
  function shop(): { story: Story; counts: Record<string, number> } {
    const counts: Record<string, number> = {}
    const execute = (name: string, ticks: number) => async (): Promise<string> => {
      counts[name] = (counts[name] ?? 0) + 1
      for (let tick = 0; tick < ticks; tick += 1) await undefined
      return `${name} done`
    }
    const input = z.object({})
    const tools = toolbox([
      defineTool({ name: "look", description: "Looks.", input, effects: "none", execute: execute("look", 9) }),
      defineTool({ name: "ring", description: "Rings.", input, effects: "once", execute: execute("ring", 5) }),
      defineTool({
        name: "pay",
        description: "Pays.",
        input,
        effects: "once",
        execute: execute("pay", 1),
        recover: () => ((counts["pay"] ?? 0) > 0 ? { ran: true, value: "pay done" } : { ran: false }),
      }),
      defineTool({ name: "send", description: "Sends.", input, effects: "once", approval: "always", execute: execute("send", 3) }),
    ])
    const driver = approvalDriver(chatDriver(), { policy: tools.approvals })
    const host: Host = { llmCall: model(calls(["a", "look"], ["b", "ring"], ["c", "pay"], ["d", "send"]), says("Done.")), tools, progress: () => {} }
    return { story: new Story(host, configOf({ driver, tools: tools.specs }), { cancelGraceMs: 5 }), counts }
  }

  async function play(cancelsAt: readonly number[], killsAt: readonly number[], swaps = false): Promise<Played> {
    const { story, counts } = shop()
    let places = 0
    const hooks: AttemptHooks = {
      losesCommands: swaps,
      async reached() {
        places += 1
        const at = places
        if (cancelsAt.includes(at)) story.invocation.cancel()
        if (!killsAt.includes(at)) return
        story.invocation.attempt?.fail(new Error("killed"))
        await new Promise(() => {})
      },
    }
    for (let attempts = 0; attempts < 12; attempts += 1) {
      const end = await story.attempt({ hooks })
      if (end.type === "suspended") story.invocation.signal("2:d", { decision: "approve" })
      else if (end.type === "failed" && (end.error as Error).message === "killed") continue
      else return { done: doneOf(end), counts, places }
    }
    throw new Error("The turn does not end.")
  }

  test("the turn ends, no once call runs twice, and each call has one result", { timeout: 120_000 }, async () => {
    const whole = await play([], [])
    expect(whole.counts).toEqual({ look: 1, ring: 1, pay: 1, send: 1 })
    const { places } = whole
    for (let cancel = 0; cancel <= places; cancel += Math.ceil(STRIDE / 3))
      for (let kill = 1; kill <= places; kill += STRIDE)
        for (const swaps of [false, true]) {
          const { done, counts } = await play(cancel === 0 ? [] : [cancel, cancel + 2], [kill, kill + 3], swaps)
          const at = `cancelled at ${cancel}, killed at ${kill}`
          for (const name of ["ring", "pay", "send"]) expect(counts[name] ?? 0, `${name}, ${at}`).toBeLessThanOrEqual(1)
          if (cancel === 0) expect(done.outcome.type, at).toBe("finished")
          const texts = toolTexts(done)
          expect([0, 4], at).toContain(texts.length)
          // What ran is not reported as not having run.
          if ((counts["ring"] ?? 0) === 1 && texts.length > 0) expect(texts[1], at).toMatch(/ring done|may have taken effect/)
          if ((counts["pay"] ?? 0) === 1 && texts.length > 0) expect(texts[2], at).toMatch(/pay done|may have taken effect/)
          if ((counts["send"] ?? 0) === 1 && texts.length > 0) expect(texts[3], at).toMatch(/send done|may have taken effect/)
        }
  })
})

describe("a cancelled model call", () => {
  const usage = { inputTokens: 7, cachedInputTokens: 0, outputTokens: 0, reasoningTokens: 0 }
  const busy = (): never => {
    throw new LlmCallError({ message: "Busy.", retryable: true, terminalReason: "provider_error", usage })
  }

  test("counts the tokens of failed attempts, also where the turn waits for the next", async () => {
    const story = new Story({ llmCall: model(busy) }, configOf(), { retry: { attempts: 3 } })
    expect(await story.attempt()).toMatchObject({ type: "suspended", timers: 1 })
    story.invocation.cancel()
    const done = await story.toEnd()
    expect(done.outcome).toEqual({ type: "stopped", stop: { type: "cancelled" } })
    expect(done.usage.inputTokens).toBe(7)
  })

  test("counts the tokens of failed attempts, also during the next", async () => {
    let isSecond = false
    const story: Story = new Story(
      {
        llmCall: async (_effect, { signal, emit }) => {
          if (!isSecond) return busy()
          emit({ type: "text_delta", content: "Half an" })
          story.invocation.cancel()
          await new Promise((resolve) => signal.addEventListener("abort", resolve))
          throw signal.reason
        },
      },
      configOf(),
      { retry: { attempts: 3 } },
    )
    await story.attempt()
    isSecond = true
    story.invocation.fireTimers()
    const done = await story.toEnd()
    expect(done.usage.inputTokens).toBe(7)
    expect(JSON.stringify(done.messages)).toContain("Half an")
  })
})

describe("an error that ends the invocation", () => {
  test("aborts the other calls", async () => {
    let isAborted = false
    const tools: HostTools = {
      effects: () => "none",
      async call({ callId }, { signal }) {
        if (callId === "a") throw new TerminalError("No.")
        await new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve()))
        isAborted = true
        throw signal.reason
      },
    }
    const story = new Story({ llmCall: model(calls(["b", "x"], ["a", "x"])), tools })
    const hooks: AttemptHooks = { reached: (place) => (place.startsWith("before the output") ? until(() => isAborted) : Promise.resolve()) }
    expect(await story.attempt({ hooks })).toMatchObject({ type: "failed", error: expect.any(TerminalError) })
  })
})

describe("held calls", () => {
  const pay = defineTool({ name: "pay", description: "Pays.", input: z.object({}), approval: "always", effects: "once", execute: () => "paid" })
  const tools = toolbox([pay])
  function held(ttlMs: number | undefined, options: Partial<RestateTurnOptions> = {}): Story {
    const driver = approvalDriver(chatDriver(), { policy: tools.approvals, ...(ttlMs !== undefined && { ttlMs }) })
    const config: TurnConfig = configOf({ driver, tools: tools.specs })
    return new Story({ llmCall: model(calls(["a", "pay"]), says("Done.")), tools }, config, options)
  }

  test("receive a signal that arrived before they began to wait", async () => {
    const story = held(undefined)
    story.invocation.signal("2:a", { decision: "approve" })
    expect(toolTexts(await story.toEnd())).toEqual(["paid"])
  })

  test("decided twice run once, and the second decision changes nothing", async () => {
    const story = held(undefined)
    await story.attempt()
    story.invocation.signal("2:a", { decision: "approve" })
    story.invocation.signal("2:a", { decision: "reject" })
    await story.attempt({ hooks: killedAt(story, /after 2 pay a was stored/) })
    expect(toolTexts(await story.toEnd())).toEqual(["paid"])
  })

  test("expire also if the approval comes at the same time, or late", async () => {
    for (const order of ["signal first", "timer first"]) {
      let now = 1_000
      const story = held(5_000, { now: () => now })
      await story.attempt()
      now = 6_001
      if (order === "signal first") story.invocation.signal("2:a", { decision: "approve" })
      story.invocation.fireTimers()
      if (order === "timer first") story.invocation.signal("2:a", { decision: "approve" })
      const done = await story.toEnd()
      expect(toolTexts(done)[0], order).toMatch(/expired|time/i)
      expect(story.steps, order).not.toContain("2 pay a")
    }
  })
})

describe("results that are not JSON, or too large", () => {
  const cyclic: Record<string, unknown> = {}
  cyclic["self"] = cyclic
  test.each([
    ["a bigint", 1n],
    ["a cycle", cyclic],
    ["a function", () => {}],
    ["nothing", undefined],
    ["not a number", Number.NaN],
  ] as const)("%s: the turn goes to its end, and a replay sees the same", async (_what, value) => {
    const tools: HostTools = { effects: () => "none", call: async () => ({ output: { status: "success", value: value as never } }) }
    const host = { llmCall: model(calls(["a", "x"]), says("Done.")), tools }
    const whole = await new Story(host).toEnd()
    const story = new Story(host)
    await story.attempt({ hooks: killedAt(story, /before 4 llm_call is stored/) })
    expect((await story.toEnd()).messages).toEqual(whole.messages)
  })

  test("too large for the server: the call fails once, and is not run again for ever", async () => {
    let runs = 0
    const tools: HostTools = {
      effects: () => "none",
      call: async () => {
        runs += 1
        return { output: { status: "success", value: "é".repeat(600) } }
      },
    }
    const story = new Story({ llmCall: model(calls(["a", "x"]), says("Done.")), tools }, configOf(), { maxResultBytes: 1_000 })
    const [text = ""] = toolTexts(await story.toEnd())
    expect(text).toMatch(/The result has 1\d\d\d bytes as JSON, and 1000 are allowed \(maxResultBytes\)/)
    expect(runs).toBe(1)
    const small = new Story({ llmCall: model(calls(["a", "x"]), says("Done.")), tools }, configOf(), { maxResultBytes: 2_000 })
    expect(toolTexts(await small.toEnd())).toEqual(["é".repeat(600)])
  })

  test("the executor may change what it was given", async () => {
    const tools: HostTools = {
      effects: () => "none",
      async call(call) {
        try {
          ;(call as { toolName: string }).toolName = "changed"
          ;(call.args as Record<string, unknown>)["more"] = "changed"
        } catch {}
        return { output: { status: "success", value: "ran" } }
      },
    }
    const story = new Story({ llmCall: model(calls(["a", "x"]), says("Done.")), tools })
    await story.attempt({ hooks: killedAt(story, /before 4 llm_call is stored/) })
    expect(toolTexts(await story.toEnd())).toEqual(["ran"])
  })
})
