import { describe, expect, test } from "vitest"
import { approvalDriver } from "../../src/drivers/approval/driver.ts"
import { chatDriver } from "../../src/drivers/chat.ts"
import { codeDriver } from "../../src/drivers/code.ts"
import { goalDriver } from "../../src/drivers/goal/driver.ts"
import { readGoal } from "../../src/drivers/goal/history.ts"
import { changeGoal } from "../../src/drivers/goal/thread.ts"
import type { TurnConfig } from "../../src/machine/config.ts"
import type { HostCommand } from "../../src/machine/step.ts"
import { REDIRECTION, TRANSITIONS } from "../../src/machine/transitions.ts"
import type { StateName } from "../../src/machine/turn.ts"
import type { DriverAction } from "../../src/schemas/action.ts"
import type { Effect } from "../../src/schemas/effect.ts"
import type { LlmResponse } from "../../src/schemas/llm.ts"
import type { Message } from "../../src/schemas/message.ts"
import { TurnMachine } from "../../src/validated-turn-machine.ts"
import { compactingConfig, LOOK, long } from "../drivers/compaction/support.ts"
import { about, answered, batchOf, decides, goesOn, holdingConfig, letRun, waiting } from "./held-support.ts"
import {
  callsTools,
  completed,
  configOf,
  delivers,
  driverOf,
  effectNames,
  expectRefused,
  moved,
  pollAll,
  REQUEST,
  respond,
  results,
  says,
  startedWith,
  userMessage,
} from "./support.ts"

const OTHER = userMessage("Read the other file.", "u2")
const REDIRECT: HostCommand = { type: "redirect", messages: [OTHER] }
const USAGE = { inputTokens: 5, cachedInputTokens: 0, outputTokens: 2, reasoningTokens: 0 }
const PARTIAL: LlmResponse = { text: "I will", parts: [{ type: "text", text: "I will" }], usage: USAGE, terminalReason: "stop" }
const NOT_DONE = "[Tool execution cancelled]\nThe user redirected the turn before this was done."

function texts(messages: readonly Message[]): readonly string[] {
  return messages.map(({ role, parts }) => `${role}: ${parts.map((part) => ("text" in part ? part.text : part.type)).join(" | ")}`)
}

/** The effects of work, with their ids. */
function work(effects: readonly Effect[]): readonly string[] {
  return effects.flatMap((effect) => ("id" in effect ? [`${effect.type} ${effect.id}`] : []))
}

function begun(changes: Partial<TurnConfig> = {}): TurnMachine {
  const machine = new TurnMachine(configOf(changes), { messages: [userMessage("Read a file.")] })
  pollAll(machine)
  return machine
}

describe("a turn is redirected in every state but the last", () => {
  const SYNCED: Partial<TurnConfig> = { syncExecutionSurface: true }
  const exec: DriverAction = { type: "start_exec", code: "1", driverState: null }

  /** For each state: a turn in it, the work that follows, and by how much the iteration rises. */
  const STATES: { readonly [State in Exclude<StateName, "finished">]: readonly [() => TurnMachine, readonly string[], number] } = {
    preparing: [() => new TurnMachine(configOf(), { messages: [userMessage("Read a file.")] }), ["llm_call 1"], 0],
    waiting_execution_surface: [() => begun(SYNCED), ["sync_execution_surface 2"], 0],
    prepare_iteration: [
      () => {
        const machine = begun(SYNCED)
        machine.handle({ type: "execution_surface_synced", id: 1, result: { ok: true } })
        return machine
      },
      ["llm_call 2"],
      0,
    ],
    waiting_llm: [() => begun(), ["cancel_llm 1", "llm_call 2"], 1],
    waiting_tools: [
      () => {
        const machine = begun()
        respond(machine, callsTools(1, ["a"]))
        return machine
      },
      ["llm_call 3"],
      1,
    ],
    waiting_exec: [() => started([exec]), ["llm_call 2"], 1],
    waiting_checkpoint: [
      () => {
        const machine = begun()
        respond(machine, says(1, "Done."))
        return machine
      },
      ["llm_call 3"],
      1,
    ],
  }

  /** A turn whose driver starts this first, and asks the model from then on. */
  function started(first: readonly DriverAction[]): TurnMachine {
    let isFirst = true
    const prepareIteration = (): readonly DriverAction[] => {
      const actions: readonly DriverAction[] = isFirst ? first : [{ type: "start_llm", request: REQUEST }]
      isFirst = false
      return actions
    }
    return startedWith([], { prepareIteration })
  }

  test.each(Object.entries(STATES))("%s", (state, [make, expected, iterations]) => {
    const machine = make()
    expect(machine.state).toBe(state)
    const { iteration } = machine
    machine.command(REDIRECT)
    expect(REDIRECTION.next).toContain(machine.state)
    expect(work(pollAll(machine))).toEqual(expected)
    expect(machine.iteration - iteration).toBe(iterations)
    expect(machine.messages.filter(({ id }) => id === OTHER.id)).toHaveLength(1)
    expect(machine.history.at(-1)).toEqual({ type: "conversation", message: OTHER })
  })

  test("a side call: the iteration has not begun, so the next one is the same", () => {
    const machine = started([{ type: "start_llm", request: REQUEST, purpose: "compaction" }])
    machine.command(REDIRECT)
    expect(work(pollAll(machine))).toEqual(["cancel_llm 1", "llm_call 2"])
    expect(machine.iteration).toBe(0)
  })

  test("the list has every state of the table", () => {
    expect([...Object.keys(STATES), "finished"].sort()).toEqual(Object.keys(TRANSITIONS).sort())
    const machine = begun()
    machine.finish({ type: "finished", finish: { type: "assistant_message", text: "" } })
    expectRefused(machine, () => machine.command(REDIRECT), "turn_finished")
  })

  test("and says so in one event, after what was stored of the work, and before the messages", () => {
    const machine = begun()
    machine.command({ ...REDIRECT, partial: PARTIAL })
    const effects = pollAll(machine)
    expect(effectNames(effects)).toEqual([
      ...["cancel_llm 1", "emit token_usage", "emit message", "progress"],
      ...["progress", "emit llm_request", "llm_call 2"],
    ])
    expect(effects[2]).toEqual({ type: "emit", event: { type: "message", text: "The user redirected the turn.", kind: "redirected" } })
    expect(effects.flatMap((effect) => (effect.type === "progress" ? [effect.eventDelta.length] : []))).toEqual([1, 1])
  })
})

describe("the calls of a batch that is redirected", () => {
  test("are cancelled whether they ran, wait for a decision or continue outside, and each is reported", () => {
    const batch = batchOf(["free", "held", "outside"], ["held"])
    const machine = waiting(batch, { onDelivery: () => [{ type: "start_llm", request: REQUEST }] })
    respond(machine, goesOn("outside"))
    machine.command({ ...REDIRECT, at: 5 })
    const effects = pollAll(machine)
    expect(effects.flatMap((effect) => (effect.type === "emit" && effect.event.type === "tool_call" ? [effect.event.callId] : []))).toEqual([
      "free",
      "held",
      "outside",
    ])
    expect(answered(machine)).toEqual(["free", "held", "outside"].map((callId) => [callId, NOT_DONE]))
    expect(machine.handle(decides(about("held")))).toEqual({ status: "stale" })
    expect(machine.handle(results(1, completed("outside")))).toEqual({ status: "stale" })
    expect(letRun(pollAll(machine))).toEqual([])
  })

  test("that was approved and not polled does not run", () => {
    const batch = batchOf(["held", "other"])
    const machine = waiting(batch, { onDelivery: () => [{ type: "start_llm", request: REQUEST }] })
    machine.handle(decides(about("held")))
    machine.command(REDIRECT)
    const effects = pollAll(machine)
    expect(letRun(effects)).toEqual([])
    expect(answered(machine)).toEqual(["held", "other"].map((callId) => [callId, NOT_DONE]))
  })

  test("takes no result of a held call, and one result for each call, however many arrive", () => {
    const batch = batchOf(["free", "held"], ["held"])
    const machine = waiting(batch, { onDelivery: () => [{ type: "start_llm", request: REQUEST }] })
    const late = results(1, completed("held", "ran"), completed("free", "first"), completed("free", "second"), completed("unknown", "x"))
    machine.command({ ...REDIRECT, answer: late })
    expect(answered(machine)).toEqual([
      ["free", "first"],
      ["held", NOT_DONE],
    ])
  })

  test("are the same after a restore in between, and no released call is emitted again", () => {
    const batch = batchOf(["free", "held"], ["held"])
    const callbacks = { onDelivery: (): readonly DriverAction[] => [{ type: "start_llm", request: REQUEST }] }
    const machine = waiting(batch, callbacks)
    respond(machine, decides(about("held")))
    const restored = moved(machine, holdingConfig(batch, callbacks))
    for (const turn of [machine, restored]) turn.command(REDIRECT)
    expect(pollAll(restored)).toEqual(pollAll(machine))
    expect(restored.checkpoint()).toEqual(machine.checkpoint())
  })

  test("count the time until then as waited for people", () => {
    const batch = batchOf(["held"])
    const machine = waiting(batch, { onDelivery: () => [{ type: "start_llm", request: REQUEST }] })
    respond(machine, { ...results(1), at: 1_000 })
    machine.command({ ...REDIRECT, at: 4_000 })
    expect(machine.checkpoint()).toMatchObject({ at: 4_000, heldMs: 3_000 })
    expect(machine.checkpoint()).not.toHaveProperty("heldSince")
  })
})

describe("messages that a turn cannot be redirected with", () => {
  const call = { id: "p", type: "tool_call", callId: "x", toolName: "look", inputJson: "{}" } as const
  const result = { id: "p", type: "tool_result", callId: "x", toolName: "look", text: "" } as const
  test.each<readonly [what: string, messages: unknown, path: string]>([
    ["none", [], "/messages"],
    ["one of the model", [OTHER, { ...OTHER, role: "assistant" }], "/messages/1/role"],
    ["a call", [{ ...OTHER, parts: [...OTHER.parts, call] }], "/messages/0/parts/1"],
    ["a result", [{ ...OTHER, parts: [result] }], "/messages/0/parts/0"],
    ["a text", "Stop!", ""],
    ["null", null, ""],
    ["an unknown part", [{ ...OTHER, parts: [{ id: "", type: "nonsense" }] }], ""],
  ])("%s", (_what, messages, path) => {
    for (const machine of [begun(), new TurnMachine(configOf(), { messages: [] })]) {
      const error = expectRefused(machine, () => machine.command({ type: "redirect", messages: messages as never }), "invalid_response")
      if (path !== "") expect(error).toMatchObject({ issues: [{ path }] })
    }
  })

  test.each([Number.NaN, Number.POSITIVE_INFINITY, 0.5, "now"])("a time of %s", (at) => {
    const machine = begun()
    expectRefused(machine, () => machine.command({ ...REDIRECT, at: at as never }), "invalid_response")
  })

  test("an id that the transcript has already is the caller's: the turn does not check it, and can be restored", () => {
    const machine = begun()
    machine.command({ type: "redirect", messages: [userMessage("Again.", "u1"), OTHER, OTHER] })
    expect(texts(machine.messages).slice(1)).toEqual(["user: Again.", "user: Read the other file.", "user: Read the other file."])
    expect(moved(machine, configOf()).checkpoint()).toEqual(machine.checkpoint())
  })

  test("a huge one is stored whole", () => {
    const machine = begun()
    const text = "x".repeat(5_000_000)
    machine.command({ type: "redirect", messages: [userMessage(text, "u2")] })
    expect(machine.messages.at(-1)?.parts[0]).toMatchObject({ text })
  })
})

describe("a driver whose turn is redirected", () => {
  const GOAL = { threadId: "t1", turnId: "turn-1", startedAt: 0 }
  const events = changeGoal({ threadId: "t1", history: [] }, { type: "command", at: 0, command: { type: "set", objective: "Read all." } }).records
  test.each([
    ["a call that was cut off", { partial: PARTIAL }, false],
    ["a tool that was stopped", { answer: results(2, completed("a", "late", { usage: USAGE })) }, true],
  ])("charges its goal once for %s", (_what, more, callsFirst) => {
    const machine = new TurnMachine(configOf({ driver: goalDriver(chatDriver(), GOAL), tools: [LOOK] }), { messages: [userMessage("Go.")], events })
    pollAll(machine)
    if (callsFirst) respond(machine, callsTools(1, ["a", "b"]))
    machine.command({ ...REDIRECT, at: 10, ...more })
    pollAll(machine)
    const { outstanding, usage } = machine
    expect(usage.inputTokens + usage.outputTokens).toBe(callsFirst ? 12 + 7 : 7)
    respond(machine, callsTools(outstanding?.id ?? 0, ["c"]))
    respond(machine, results((outstanding?.id ?? 0) + 1, completed("c")))
    expect(readGoal(machine.history, "t1").state.goal?.tokensUsed).toBe(callsFirst ? 12 + 7 + 12 : 7 + 12)
  })

  test("sees nothing outstanding, and what was stored of the work", () => {
    const seen: unknown[] = []
    const driver = driverOf({
      onLlmCutOff: () => [{ type: "append_events", events: [{ type: "protocol", event: { type: "cut" } }] }],
      onDelivery: (context) => {
        seen.push(context.events.toArray(), context.usage.inputTokens, context.at)
        return []
      },
    })
    const machine = begun({ driver })
    machine.command({ ...REDIRECT, at: 9, partial: PARTIAL })
    expect(seen).toEqual([[{ type: "protocol", event: { type: "cut" } }], 5, 9])
  })

  test("stores that its code was stopped, and asks the model about the new message", () => {
    const machine = begun({ driver: codeDriver() })
    respond(machine, says(1, "Let me see.\n```ts\nlook()\n```"))
    expect(machine.state).toBe("waiting_exec")
    machine.command(REDIRECT)
    expect(work(pollAll(machine))).toEqual(["llm_call 3"])
    expect(texts(machine.messages).join("\n")).toContain("The user redirected the turn before this was done.")
    expect(texts(machine.messages).at(-1)).toBe("user: Read the other file.")
  })

  test("stores the result of code that ended in time", () => {
    const machine = begun({ driver: codeDriver() })
    respond(machine, says(1, "```ts\nlook()\n```"))
    const value = { observations: ["printed"], toolCalls: [], images: [], printedImages: [], durationMs: 1, terminalFinish: "the end" }
    machine.command({ ...REDIRECT, answer: { type: "exec_result", id: 2, result: { ok: true, value } } })
    expect(work(pollAll(machine))).toEqual(["llm_call 3"])
    expect(texts(machine.messages).join("\n")).toContain("printed")
  })

  test("that holds calls has none of them left", () => {
    const driver = approvalDriver(chatDriver(), { policy: () => ({ hold: {} }) })
    const machine = begun({ driver, tools: [LOOK] })
    respond(machine, callsTools(1, ["a", "b"]))
    expect(machine.outstanding).toMatchObject({ held: [{ callId: "a" }, { callId: "b" }] })
    machine.command(REDIRECT)
    expect(work(pollAll(machine))).toEqual(["llm_call 3"])
    expect(answered(machine)).toEqual(["a", "b"].map((callId) => [callId, NOT_DONE]))
  })

  test("stores nothing of a summary that was cut off, counts its tokens, and summarizes before its next request", () => {
    const machine = begun(compactingConfig({ keepTailTokens: 0 }))
    respond(machine, callsTools(1, ["a"]))
    respond(machine, results(2, completed("a", long(900))))
    respond(machine, delivers(3))
    const compacting = { driverState: { compaction: { reason: "threshold" } } }
    expect(machine.turn.position.state).toMatchObject(compacting)
    const { inputTokens } = machine.usage
    machine.command({ ...REDIRECT, partial: PARTIAL })
    expect(texts(machine.messages).slice(-1)).toEqual(["user: Read the other file."])
    expect(texts(machine.messages).filter((text) => text.startsWith("assistant"))).toHaveLength(1)
    expect(machine.usage.inputTokens).toBe(inputTokens + 5)
    expect(work(pollAll(machine))).toEqual(["cancel_llm 4", "llm_call 5"])
    expect(machine.turn.position.state).toMatchObject(compacting)
    respond(machine, says(5, "A file was read."))
    respond(machine, delivers(6))
    expect(machine.turn.position.state).not.toMatchObject(compacting)
    expect(texts(machine.messages).at(-1)).toBe("user: Read the other file.")
  })

  test("that fails to store what was said does not stop the redirection, and the failure is shown", () => {
    const onLlmCutOff = (): never => {
      throw new Error("no")
    }
    const machine = begun({ driver: driverOf({ onLlmCutOff }) })
    machine.command({ ...REDIRECT, partial: PARTIAL })
    const effects = pollAll(machine)
    expect(effects).toContainEqual({
      type: "emit",
      event: expect.objectContaining({ type: "error", envelope: expect.objectContaining({ code: "driver_threw" }) }),
    })
    expect(work(effects)).toEqual(["cancel_llm 1", "llm_call 2"])
    expect(machine.usage.inputTokens).toBe(5)
  })

  test("ends as at fault if it starts two pieces of work for the messages, with all that was stored", () => {
    const start: DriverAction = { type: "start_llm", request: REQUEST }
    const machine = begun({ driver: driverOf({ onDelivery: () => [start, start] }) })
    machine.command(REDIRECT)
    expect(machine.outcome).toMatchObject({ stop: { type: "runtime_error", error: { code: "two_starts" } } })
    expect(texts(machine.messages).at(-1)).toBe("user: Read the other file.")
    expect(work(pollAll(machine))).toEqual(["cancel_llm 1"])
  })
})

describe("the limits of a turn that is redirected", () => {
  test("a deadline that the time of the redirection reaches ends the turn, with the message stored", () => {
    const machine = new TurnMachine(configOf(), { messages: [userMessage("Go.")], deadlineAt: 100 })
    pollAll(machine)
    machine.command({ ...REDIRECT, at: 100 })
    expect(work(pollAll(machine))).toEqual(["cancel_llm 1"])
    expect(machine.outcome).toEqual({ type: "stopped", stop: { type: "deadline" } })
    expect(texts(machine.messages)[1]).toBe("user: Read the other file.")
  })

  test("the tokens of the call that was cut off count", () => {
    const machine = begun({ maxTokens: 7 })
    machine.command({ ...REDIRECT, partial: PARTIAL })
    pollAll(machine)
    expect(machine.outcome).toEqual({ type: "stopped", stop: { type: "max_tokens" } })
  })
})
