import { describe, expect, test } from "vitest"
import * as z from "zod"
import { approvalDriver } from "../../../src/drivers/approval/index.ts"
import { chatDriver } from "../../../src/drivers/chat.ts"
import { type Host, type HostTools, LlmCallError, pending } from "../../../src/hosts/host.ts"
import type { RestateContext } from "../../../src/hosts/restate/context.ts"
import { RestateTurnError } from "../../../src/hosts/restate/entries.ts"
import { RestateRun } from "../../../src/hosts/restate/restate-run.ts"
import { restoreSegment } from "../../../src/hosts/restate/segments.ts"
import type { RestateTurnOptions, WaitingCalls } from "../../../src/hosts/restate/turn-options.ts"
import { defineTool } from "../../../src/hosts/tools/define-tool.ts"
import { toolbox } from "../../../src/hosts/tools/toolbox.ts"
import type { TurnConfig } from "../../../src/machine/config.ts"
import type { Done } from "../../../src/schemas/effect.ts"
import type { LlmResponse } from "../../../src/schemas/llm.ts"
import { TurnMachine } from "../../../src/validated-turn-machine.ts"
import { wrapMembers } from "../../../src/wrap.ts"
import { calls, configOf, neverCalled, says, start, toolTexts } from "../run/support.ts"
import { TerminalError } from "./fake-errors.ts"
import { type AttemptEnd, type AttemptHooks, FakeRestate, fakeSdk, type Invocation } from "./fake-restate.ts"
import { diagnostics, doneOf, fine, killedAt, model, Story } from "./turn-support.ts"

describe("the journal", () => {
  const twoCalls = (): Story => new Story({ llmCall: model(calls(["a", "look"], ["b", "look"]), says("Done.")), tools: fine })

  test("has a step for each effect, and for each call of a batch", async () => {
    const story = twoCalls()
    expect(toolTexts(await story.toEnd())).toEqual(["ran a", "ran b"])
    expect(story.steps).toEqual(["turn t", "1 llm_call", "2 look a", "2 look b", "3 checkpoint", "4 llm_call", "5 checkpoint"])
  })

  test("holds answers, and neither prompts nor the arguments of calls", async () => {
    const asked: LlmResponse = {
      ...calls(["a", "write"]),
      parts: [{ type: "tool_call", callId: "a", toolName: "write", inputJson: JSON.stringify({ text: "a long text" }) }],
    }
    const story = new Story({ llmCall: model(asked, says("Done.")), tools: fine }, configOf({ systemPrompt: "A secret prompt." }))
    await story.toEnd()
    const text = JSON.stringify(story.invocation.notifications)
    expect(text).not.toContain("secret prompt")
    expect(text).not.toContain("Where is it?")
    // Once, in the model's answer.
    expect(text.split("a long text")).toHaveLength(2)
    const [, answer] = story.invocation.notifications
    expect(Object.keys((answer as { outcome: { value: object } }).outcome.value).sort()).toEqual(["answer", "at", "fingerprint"])
  })

  test("grows by the same with each round", async () => {
    const bytes = async (rounds: number): Promise<number> => {
      const answers = Array.from({ length: rounds }, (_, round) => calls([`call_${1_000 + round}`, "look"]))
      const story = new Story({ llmCall: model(...answers, says("Done.")), tools: fine })
      await story.toEnd()
      return story.invocation.chars
    }
    const [short, long] = [await bytes(100), await bytes(400)]
    expect(long / short).toBeGreaterThan(3.8)
    expect(long / short).toBeLessThan(4.2)
  })

  test("decides the order of results: all attempts see the same", async () => {
    let turn = 0
    const tools: HostTools = {
      effects: () => "none",
      async call({ callId }) {
        // In the second attempt the order of completion is the opposite.
        const wait = (Number(callId) * (turn === 0 ? 1 : -1) + 10) * 2
        for (let tick = 0; tick < wait; tick += 1) await undefined
        return { output: { status: "success", value: callId } }
      },
    }
    const story = new Story({ llmCall: model(calls(["3", "x"], ["1", "x"], ["2", "x"]), says("Done.")), tools })
    const order = (): readonly string[] => story.events.flatMap((event) => (event.type === "tool_call" ? [String(event.callId)] : []))
    await story.attempt({ hooks: killedAt(story, /before 3 checkpoint is stored/) })
    expect(order()).toEqual(["1", "2", "3"])
    turn = 1
    story.events.length = 0
    await story.toEnd()
    expect(order()).toEqual(["1", "2", "3"])
  })
})

describe("once calls", () => {
  function paying(recover?: HostTools["recover"]): { story: Story; paid: () => number } {
    let paid = 0
    const tools: HostTools = {
      effects: () => "once",
      async call() {
        paid += 1
        return { output: { status: "success", value: "paid" } }
      },
      ...(recover && { recover }),
    }
    return { story: new Story({ llmCall: model(calls(["a", "pay"]), says("Done.")), tools }), paid: () => paid }
  }

  test("record their start first, and do not run again after a crash", async () => {
    const { story, paid } = paying()
    await story.attempt({ hooks: killedAt(story, /before 2 pay a is stored/) })
    expect(story.steps.slice(2, 4)).toEqual(["2 pay a started", "2 pay a"])
    expect(paid()).toBe(1)
    const done = await story.toEnd()
    expect(paid()).toBe(1)
    expect(toolTexts(done)[0]).toContain("may have taken effect")
  })

  test("run where the crash came before the start was recorded", async () => {
    const { story, paid } = paying()
    await story.attempt({ hooks: killedAt(story, /before 2 pay a started is stored/) })
    expect(toolTexts(await story.toEnd())).toEqual(["paid"])
    expect(paid()).toBe(1)
  })

  test("are looked up where the host can", async () => {
    const found = paying(async () => ({ ran: true, answer: { output: { status: "success", value: "found" } } }))
    await found.story.attempt({ hooks: killedAt(found.story, /before 2 pay a is stored/) })
    expect(toolTexts(await found.story.toEnd())).toEqual(["found"])
    const lost = paying(async () => ({ ran: false }))
    await lost.story.attempt({ hooks: killedAt(lost.story, /after 2 pay a started was stored/) })
    expect(toolTexts(await lost.story.toEnd())).toEqual(["paid"])
    expect(lost.paid()).toBe(1)
  })

  test("run at most toolConcurrency at once, and start in their order", async () => {
    let running = 0
    let most = 0
    const tools: HostTools = {
      effects: ({ callId }) => (Number(callId) % 2 === 0 ? "once" : "none"),
      async call({ callId }) {
        running += 1
        most = Math.max(most, running)
        for (let tick = 0; tick < 30 - Number(callId); tick += 1) await undefined
        running -= 1
        return { output: { status: "success", value: callId } }
      },
    }
    const ids = ["1", "2", "3", "4", "5", "6", "7"]
    const story = new Story({ llmCall: model(calls(...ids.map((id) => [id, "x"] as const)), says("Done.")), tools }, configOf(), {
      toolConcurrency: 3,
    })
    expect(toolTexts(await story.toEnd())).toEqual(ids)
    expect(story.steps.filter((step) => /^2 x \d$/.test(step))).toEqual(ids.map((id) => `2 x ${id}`))
    expect(most).toBe(3)
  })
})

describe("changed code", () => {
  async function replayed(config: TurnConfig): Promise<RestateTurnError> {
    const story = new Story({ llmCall: model(calls(["a", "look"]), says("Done.")), tools: fine })
    await story.attempt({ hooks: killedAt(story, /before 4 llm_call is stored/) })
    const end = await story.attempt({ config })
    expect(end.type).toBe("failed")
    // The turn is not lost: it continues with the code that began it.
    expect((await story.toEnd()).outcome.type).toBe("finished")
    return (end as { error: RestateTurnError }).error
  }

  test.each([
    ["the system prompt", configOf({ systemPrompt: "You lose things." }), "systemPrompt"],
    ["the driver's version", configOf({ driver: wrapMembers(chatDriver(), { version: 99 }) }), "driver"],
    ["the tools", configOf({ tools: [{ name: "new", description: "New.", inputSchema: {} }] }), "tools"],
    ["the model", configOf({ model: "other" }), "request/model"],
    ["the generation", configOf({ generation: { temperature: 1 } }), "request/generation"],
  ])("%s fails the attempt with an error that names it", async (_what, config, path) => {
    const error = await replayed(config)
    expect(error).toBeInstanceOf(RestateTurnError)
    expect(error).toMatchObject({ code: "code_changed", paths: [path] })
    expect(error.message).toMatch(/^code_changed: /)
    expect(error.message).toContain(path)
  })

  test("of a driver is shown with both versions", async () => {
    const { message } = await replayed(configOf({ driver: wrapMembers(chatDriver(), { version: 99 }) }))
    expect(message).toMatch(
      /^code_changed: This invocation began with another driver \(driver: "chat@\d+", now "chat@99"\)\. Deploy the code that began it/,
    )
  })
})

describe("failures", () => {
  const failing = (failures: number, retryAt?: number): (() => LlmResponse) => {
    let left = failures
    return () => {
      left -= 1
      if (left < 0) return says("Done.")
      const usage = { inputTokens: 7, cachedInputTokens: 0, outputTokens: 0, reasoningTokens: 0 }
      throw new LlmCallError({
        message: "Busy.",
        retryable: true,
        terminalReason: "provider_error",
        usage,
        ...(retryAt !== undefined && { retryAt }),
      })
    }
  }

  test("of the model are answers, unless they are to be retried", async () => {
    const done = await new Story({ llmCall: model(failing(1)) }).toEnd()
    expect(done.outcome).toMatchObject({ type: "stopped", stop: { type: "provider_error" } })
  })

  test("that say so are retried after durable waits, and their tokens count", async () => {
    const story = new Story({ llmCall: model(failing(2)) }, configOf(), { retry: { attempts: 3, firstMs: 100 } })
    expect(await story.attempt()).toMatchObject({ type: "suspended", timers: 1 })
    expect([...story.invocation.timers.values()]).toEqual([100])
    story.invocation.fireTimers()
    expect(await story.attempt()).toMatchObject({ type: "suspended", timers: 1 })
    expect([...story.invocation.timers.values()]).toEqual([200])
    story.invocation.fireTimers()
    const done = await story.toEnd()
    expect(done.outcome.type).toBe("finished")
    expect(done.usage.inputTokens).toBe(7 + 7 + 1)
    expect(story.steps).toEqual(["turn t", "1 llm_call", "sleep ", "1 llm_call (attempt 2)", "sleep ", "1 llm_call (attempt 3)", "2 checkpoint"])
  })

  test("wait until the provider's time, and are answers after the last attempt or where that is too late", async () => {
    const story = new Story({ llmCall: model(failing(9, 31_000)) }, configOf(), { retry: { attempts: 2, maxMs: 60_000 } })
    await story.attempt()
    expect([...story.invocation.timers.values()]).toEqual([30_000])
    story.invocation.fireTimers()
    const done = await story.toEnd()
    expect(done.outcome).toMatchObject({ type: "stopped" })
    expect(done.usage.inputTokens).toBe(14)
    const late = await new Story({ llmCall: model(failing(1, 90_000)) }, configOf(), { retry: { attempts: 2, maxMs: 60_000 } }).toEnd()
    expect(late.outcome.type).toBe("stopped")
  })

  test("of the engine are no results of tools", async () => {
    const thrown = new TerminalError("The engine says no.")
    const story = new Story({ llmCall: model(calls(["a", "x"])), tools: { effects: () => "none", call: () => Promise.reject(thrown) } })
    const end = await story.attempt()
    expect(end).toMatchObject({ type: "failed", error: { message: "The engine says no." } })
    expect(story.invocation.output).toMatchObject({ failure: { message: "The engine says no." } })
  })

  test("for which isFatal returns true fail the attempt, and the next one runs the call", async () => {
    let isDown = true
    const call: HostTools["call"] = async () => {
      if (isDown) throw new RangeError("down")
      return { output: { status: "success", value: "up" } }
    }
    const options = { isFatal: (error: unknown) => error instanceof RangeError }
    const story = new Story({ llmCall: model(calls(["a", "x"]), says("Done.")), tools: { effects: () => "none", call } }, configOf(), options)
    expect(await story.attempt()).toMatchObject({ type: "failed", error: expect.any(RangeError) })
    expect(story.invocation.output).toBeUndefined()
    isDown = false
    expect(toolTexts(await story.toEnd())).toEqual(["up"])
  })

  test("in the options are refused before anything is recorded", async () => {
    for (const options of [{ toolConcurrency: 0 }, { cancelGraceMs: -1 }, { segment: { effects: 0 } }]) {
      const story = new Story({ llmCall: neverCalled }, configOf(), options)
      expect(await story.attempt()).toMatchObject({ type: "failed", error: expect.any(RangeError) })
      expect(story.steps).toEqual([])
    }
    expect(await new Story({} as Host).attempt()).toMatchObject({ type: "failed", error: expect.any(TypeError) })
  })
})

describe("held calls", () => {
  const pay = defineTool({ name: "pay", description: "Pays.", input: z.object({}), approval: "always", effects: "once", execute: () => "paid" })
  const tools = toolbox([pay])
  const held = (options: Partial<RestateTurnOptions> = {}, more: Partial<Host> = {}, ttlMs?: number): Story => {
    const driver = approvalDriver(chatDriver(), { policy: tools.approvals, ...(ttlMs !== undefined && { ttlMs }) })
    return new Story({ llmCall: model(calls(["a", "pay"]), says("Done.")), tools, ...more }, configOf({ driver, tools: tools.specs }), options)
  }

  test("are refused with a driver that cannot hold them: the attempt fails before anything is performed", async () => {
    const story = new Story({ llmCall: model(says("Done.")), tools }, configOf({ tools: tools.specs }))
    expect(await story.attempt()).toMatchObject({ type: "failed", error: { name: "RunError", code: "approval_without_driver" } })
    expect(story.steps).toEqual([])
  })

  test("wait for a signal with the name of the request, in no process", async () => {
    const waiting: WaitingCalls[] = []
    const story = held({ onWaiting: (calls) => void waiting.push(calls) })
    expect(await story.attempt()).toEqual({ type: "suspended", signals: ["2:a"], timers: 0 })
    expect(waiting).toMatchObject([{ invocationId: "inv_1", held: [{ requestId: "2:a", toolName: "pay" }], pending: [] }])
    // People are asked in a replay, too, and notified once.
    expect(await story.attempt()).toEqual({ type: "suspended", signals: ["2:a"], timers: 0 })
    expect(waiting).toHaveLength(1)
    story.invocation.signal("2:a", { decision: "approve", by: "eve" })
    const done = await story.toEnd()
    expect(toolTexts(done)).toEqual(["paid"])
    expect(story.steps.slice(2, 6)).toEqual(["2 waits", "2 time", "2 pay a started", "2 pay a"])
  })

  test.each([
    ["another digest", { decision: "approve", digest: "other" }, /refused \(digest_mismatch\)/],
    ["no decision", "yes", /is not a decision/],
    ["a decision that there is not", { decision: "maybe" }, /refused \(invalid_response\)/],
  ] as const)("wait for the next signal after %s", async (_what, value, why) => {
    const story = held()
    await story.attempt()
    story.invocation.signal("2:a", value)
    expect(await story.attempt()).toMatchObject({ type: "suspended", signals: ["2:a"] })
    story.invocation.signal("2:a", { decision: "reject", message: "Too much." })
    const done = await story.toEnd()
    expect(diagnostics(story).join()).toMatch(why)
    expect(toolTexts(done)[0]).toContain("Too much.")
  })

  test("wait for the next signal after one that was rejected", async () => {
    const story = held()
    await story.attempt()
    story.invocation.rejectSignal("2:a", "no")
    story.invocation.signal("2:a", { decision: "approve" })
    expect(toolTexts(await story.toEnd())).toEqual(["paid"])
    expect(diagnostics(story).join()).toMatch(/was rejected: no\. To reject the call, resolve it/)
  })

  test("expire by a durable timer", async () => {
    const story = held({}, {}, 5_000)
    expect(await story.attempt()).toMatchObject({ type: "suspended", timers: 1 })
    expect([...story.invocation.timers.values()]).toEqual([5_000])
    story.invocation.fireTimers()
    const done = await story.toEnd()
    expect(toolTexts(done)[0]).toMatch(/expired|time/i)
    expect(story.steps).not.toContain("2 pay a")
  })

  test("are decided by the host where it can", async () => {
    const decide: Host["decide"] = async (calls) => calls.map(({ requestId, digest }) => ({ requestId, digest, decision: "approve" }))
    expect(toolTexts(await held({}, { decide }).toEnd())).toEqual(["paid"])
    const nobody = held({}, { decide: async () => [] })
    expect(await nobody.attempt()).toMatchObject({ type: "suspended", signals: ["2:a"] })
    nobody.invocation.signal("2:a", { decision: "approve" })
    expect(toolTexts(await nobody.toEnd())).toEqual(["paid"])
  })

  test("wait for awakeables where the SDK has no signals", async () => {
    const waiting: WaitingCalls[] = []
    const story = held({ onWaiting: (calls) => void waiting.push(calls) })
    const contextOf = (ctx: RestateContext): RestateContext => ({
      run: (name, action) => ctx.run(name, action),
      sleep: (millis) => ctx.sleep(millis),
      awakeable: () => ctx.awakeable(),
      request: () => ctx.request(),
    })
    const end = await story.attempt({ contextOf })
    const id = waiting[0]?.awakeables?.["2:a"] ?? ""
    expect(end).toMatchObject({ type: "suspended", signals: [id] })
    story.invocation.signal(id, { decision: "approve" })
    expect(toolTexts(await story.toEnd({ contextOf }))).toEqual(["paid"])
  })
})

describe("calls that continue outside", () => {
  const job = (effects: "once" | "idempotent" = "idempotent", more: Partial<HostTools> = {}): Story =>
    new Story({
      llmCall: model(calls(["a", "render"]), says("Done.")),
      tools: { effects: () => effects, call: async () => pending({ token: "job-7" }), ...more },
    })

  test("wait for a signal with the name of their token", async () => {
    const story = job()
    expect(await story.attempt()).toMatchObject({ type: "suspended", signals: ["job-7"] })
    story.invocation.signal("job-7", { output: { status: "success", value: "rendered" } })
    expect(toolTexts(await story.toEnd())).toEqual(["rendered"])
  })

  test("fail where the signal is rejected", async () => {
    const story = job()
    await story.attempt()
    story.invocation.rejectSignal("job-7", "The farm burned down.")
    expect(toolTexts(await story.toEnd())[0]).toContain("The farm burned down.")
  })

  test("fail where the signal has no result", async () => {
    const story = job()
    await story.attempt()
    story.invocation.signal("job-7", "done")
    expect(toolTexts(await story.toEnd())[0]).toContain("The tool ran, but its result cannot be used.")
  })

  test("of a cancelled turn are ended by the host's tools, or may have happened", async () => {
    const ended = job("once", { cancel: async () => ({ output: { status: "success", value: "stopped in time" } }) })
    await ended.attempt()
    ended.invocation.cancel()
    const done = await ended.toEnd()
    expect(done.outcome).toEqual({ type: "stopped", stop: { type: "cancelled" } })
    expect(toolTexts(done)).toEqual(["stopped in time"])
    const unknown = job("once")
    await unknown.attempt()
    unknown.invocation.cancel()
    expect(toolTexts(await unknown.toEnd())[0]).toContain("may have taken effect")
  })
})

describe("a cancellation", () => {
  test("aborts what runs, and counts what it still reports", async () => {
    const story: Story = new Story({
      llmCall: async (_effect, { emit, signal }) => {
        emit({ type: "text_delta", content: "Half an" })
        story.invocation.cancel()
        await new Promise((resolve) => signal.addEventListener("abort", resolve))
        throw signal.reason
      },
    })
    const done = await story.toEnd()
    expect(done.outcome).toEqual({ type: "stopped", stop: { type: "cancelled" } })
    expect(JSON.stringify(done.messages)).toContain("Half an")
  })

  test("ends the turn once, and the same way in a replay", async () => {
    const story: Story = new Story({
      llmCall: model(calls(["a", "x"], ["b", "x"])),
      tools: {
        effects: () => "once",
        call: async ({ callId }, { signal }) => {
          if (callId === "b") story.invocation.cancel()
          await new Promise((resolve) => signal.addEventListener("abort", resolve))
          if (callId === "a") return { output: { status: "success", value: "in time" } }
          throw signal.reason
        },
      },
      progress: () => {},
    })
    await story.attempt({ hooks: killedAt(story, /before done \d+ is stored/) })
    story.invocation.cancel()
    const done = await story.toEnd()
    expect(toolTexts(done)).toEqual(["in time", expect.stringContaining("may have taken effect")])
  })
})

describe("events", () => {
  test("are emitted once, also by several attempts", async () => {
    const host = { llmCall: model(calls(["a", "x"]), calls(["b", "x"]), says("Done.")), tools: fine }
    const whole = new Story(host)
    await whole.toEnd()
    const parts = new Story(host)
    for (const place of [/after 2 x a was stored/, /after 4 llm_call was stored/, /after 6 checkpoint was stored/])
      await parts.attempt({ hooks: killedAt(parts, place) })
    await parts.toEnd()
    expect(parts.events.map(({ type }) => type)).toEqual(whole.events.map(({ type }) => type))
  })

  test("of a receiver that fails fail the attempt", async () => {
    const onEvent = (): Promise<never> => Promise.reject(new Error("The screen is gone."))
    const story = new Story({ llmCall: model(says("Done.")) }, configOf(), { onEvent })
    expect(await story.attempt()).toMatchObject({ type: "failed", error: { message: "The screen is gone." } })
  })
})

describe("segments", () => {
  const long = (rounds: number, resultChars = 10): Host => ({
    llmCall: model(...Array.from({ length: rounds }, (_, round) => calls([`c${round}`, "look"])), says("Done.")),
    tools: { effects: () => "none", call: async ({ callId }) => ({ output: { status: "success", value: callId.padEnd(resultChars, "é") } }) },
  })

  /** Runs a turn in as many invocations as it needs. `kill`: each is killed once before it stores the turn. */
  async function inSegments(
    host: Host,
    effects: number,
    isKilled = false,
  ): Promise<{ engine: FakeRestate; done: Done; invocations: Invocation[]; longest: number }> {
    const engine = new FakeRestate()
    const invocations: Invocation[] = []
    let longest = 0
    for (;;) {
      const invocation = engine.invocation(`inv_${invocations.length}`, "object")
      invocations.push(invocation)
      const config = configOf()
      const attempt = (hooks?: AttemptHooks): Promise<AttemptEnd> =>
        engine.attempt(
          invocation,
          async (ctx) => {
            const machine = (await restoreSegment(fakeSdk, ctx, config, "t")) ?? new TurnMachine(config, start)
            return new RestateRun(fakeSdk, ctx, machine, host, { turnId: "t", segment: { effects } }).run()
          },
          hooks,
        )
      if (isKilled) {
        let left = 20
        await attempt({
          async reached() {
            left -= 1
            if (left > 0) return
            invocation.attempt?.fail(new Error("killed"))
            await new Promise(() => {})
          },
        })
      }
      const end = doneOf(await attempt()) as Done | { type: "suspended" }
      for (const value of engine.stateOf("object").values()) longest = Math.max(longest, value.length)
      if (end.type === "done") return { engine, done: end, invocations, longest }
    }
  }

  test("run a long turn in several invocations, which ends as in one", async () => {
    const one = await new Story(long(40)).toEnd()
    for (const isKilled of [false, true]) {
      const { engine, done, invocations } = await inSegments(long(40), 10, isKilled)
      expect(done.messages).toEqual(one.messages)
      expect(done.usage).toEqual(one.usage)
      expect(invocations.length).toBe(12)
      expect([...engine.stateOf("object").keys()]).toEqual([])
    }
  })

  test("store 1,000 effects in values of bounded length, and each result once", async () => {
    const { done, invocations, longest } = await inSegments(long(334, 2_000), 250)
    expect(done.outcome.type).toBe("finished")
    expect(invocations.length).toBe(5)
    expect(longest).toBeLessThan(64_000 * 1.1)
    const written = invocations.flatMap(({ commands }) =>
      commands.flatMap((command) => (/^set \d+ turn t messages/.test(command) ? [Number(command.split(" ")[1])] : [])),
    )
    const transcript = done.messages.map((message) => JSON.stringify(message).length).reduce((sum, length) => sum + length, 0)
    // Quotes are escaped in a text in JSON. What is written twice would be more.
    expect(written.reduce((sum, length) => sum + length, 0)).toBeLessThan(1.3 * transcript)
  })

  test("cannot be stored by a service, which has no state", async () => {
    const story = new Story(long(2), configOf(), { segment: { effects: 1 } })
    const end = await story.attempt()
    expect(end).toMatchObject({ type: "failed", error: expect.any(TerminalError) })
    expect((end as { error: Error }).error.message).toMatch(/^segment_without_state: A service has no state in which a turn could continue\./)
  })

  test("that lost a piece are refused", async () => {
    const engine = new FakeRestate()
    const config = configOf()
    const run = (id: string): Promise<AttemptEnd> =>
      engine.attempt(engine.invocation(id, "object"), async (ctx) => {
        const machine = (await restoreSegment(fakeSdk, ctx, config, "t")) ?? new TurnMachine(config, start)
        return new RestateRun(fakeSdk, ctx, machine, long(9), { turnId: "t", segment: { effects: 5 } }).run()
      })
    expect(await run("inv_1")).toMatchObject({ type: "ended", value: { type: "suspended", held: [], pending: [] } })
    engine.stateOf("object").delete("turn t messages 0")
    const end = await run("inv_2")
    expect((end as { error: Error }).error.message).toMatch(/^segment_lost: The state has no piece 0 of the messages of turn "t"\./)
  })
})
