import { describe, expect, test } from "vitest"
import type { ProtocolDriver } from "../../src/machine/driver.ts"
import { handle } from "../../src/machine/step.ts"
import { TurnMachine as BareTurnMachine } from "../../src/machine/turn-machine.ts"
import type { DriverAction } from "../../src/schemas/action.ts"
import type { Decision } from "../../src/schemas/approval.ts"
import { TurnMachine } from "../../src/validated-turn-machine.ts"
import {
  about,
  answered,
  batchOf,
  decides,
  driverError,
  follow,
  goesOn,
  hold,
  holdingConfig,
  letRun,
  outstandingBatch,
  rejected,
  resultsOf,
  shape,
  waiting,
} from "./held-support.ts"
import {
  completed,
  configOf,
  driverOf,
  effectNames,
  expectRefused,
  moved,
  pending,
  plain,
  pollAll,
  REQUEST,
  respond,
  results,
  says,
  startedWith,
  userMessage,
} from "./support.ts"

const FINISH: DriverAction = { type: "finish", outcome: { type: "agent_frame_switch", frameId: "f" } }

describe("a batch with held calls", () => {
  test("is emitted with its free calls and its held ones, each in its place, after an event for each held call", () => {
    const machine = new TurnMachine(holdingConfig(batchOf(["a", "b", "c"], ["a", "c"])), { messages: [] })
    const effects = pollAll(machine)
    expect(effectNames(effects)).toEqual(["emit approval_requested", "emit approval_requested", "tool_calls 1"])
    const ask = { allow: ["approve", "edit", "reject"], scopes: ["turn"] }
    const a = { ...pending("a"), requestId: "1:a", index: 0, digest: "digest of a", ask }
    const c = { ...pending("c"), requestId: "1:c", index: 2, digest: "digest of c", ask }
    expect(effects.at(-1)).toEqual({ type: "tool_calls", id: 1, calls: [pending("b")], held: [a, c] })
    expect(effects[0]).toEqual({ type: "emit", event: { type: "approval_requested", held: a } })
  })

  test("of held calls alone has no call to run", () => {
    const machine = waiting(batchOf(["a", "b"]))
    expect(shape(outstandingBatch(machine))).toEqual({ calls: [], held: ["a", "b"] })
    expect(pollAll(machine)).toEqual([])
  })

  test("an empty list of holds makes an ordinary batch, also for a driver without onToolDecisions", () => {
    const machine = startedWith([{ type: "start_tools", calls: [pending("a")], held: [] }])
    expect(machine.outstanding).toEqual({ type: "tool_calls", id: 1, calls: [pending("a")] })
  })

  test("a held call that its driver settled needs no decision", () => {
    const machine = waiting(batchOf(["a", "b"], ["a", "b"], { settled: [completed("a", "known")] }))
    const { held, ...batch } = outstandingBatch(machine)
    expect(batch).toEqual({ type: "tool_calls", id: 1, calls: [] })
    expect(held?.map(({ callId, index }) => [callId, index])).toEqual([["b", 1]])
    respond(machine, decides(about("b", "reject")))
    expect(resultsOf(machine)).toEqual([
      ["a", "known"],
      ["b", "rejected"],
    ])
  })

  test("places count where one object is the call twice, and its driver settled one", () => {
    const twice = pending("a")
    const start = { ...batchOf(["b"]), calls: [twice, twice, pending("b")], settled: [completed("a", "known")] }
    const machine = new BareTurnMachine(holdingConfig(start), { messages: [] })
    expect(letRun(pollAll(machine))).toEqual(["a"])
    machine.handle(results(1, completed("a", "ran")))
    machine.handle(decides(about("b", "reject")))
    expect(resultsOf(machine)).toEqual([
      ["a", "known"],
      ["a", "ran"],
      ["b", "rejected"],
    ])
  })

  test("whose held calls are all settled waits for the others, without a driver that decides", () => {
    const machine = startedWith([{ ...batchOf(["a", "b"], ["a"]), settled: [completed("a")] }])
    expect(machine.outstanding).toEqual({ type: "tool_calls", id: 1, calls: [pending("b")] })
  })

  test.each<readonly [string, DriverAction, RegExp]>([
    ["unknown", batchOf(["a"], ["x"]), /holds the call "x", which it does not have/],
    ["held twice", { ...batchOf(["a"]), held: [hold("a"), hold("a")] }, /holds the call "a" twice/],
    ["one of two with its id", batchOf(["a", "b", "a"], ["a"]), /holds the call "a" and has another call with this id/],
    ["one of two with its id, one of them settled", batchOf(["a", "a"], ["a"], { settled: [completed("a")] }), /another call with this id/],
  ])("a hold that is %s is invalid_hold, and no call runs", (_what, action, message) => {
    const machine = new TurnMachine(holdingConfig(action as never), { messages: [] })
    expect(letRun(pollAll(machine))).toEqual([])
    expect(driverError(machine)).toBe("invalid_hold")
    expect(JSON.stringify(machine.outcome)).toMatch(new RegExp(message.source.replaceAll('"', '\\\\"')))
  })

  test("a driver that holds calls needs onToolDecisions", () => {
    const machine = new TurnMachine(configOf({ driver: driverOf({ prepareIteration: () => [batchOf(["a"])] }) }), { messages: [] })
    expect([machine.mayHold, letRun(pollAll(machine)), driverError(machine)]).toEqual([false, [], "missing_callback"])
    expect(waiting(batchOf(["a"])).mayHold).toBe(true)
  })

  test("a driver that lost onToolDecisions after a restore ends the turn, and the held call did not run", () => {
    const { onToolDecisions: _dropped, ...driver } = holdingConfig(batchOf(["a"])).driver
    const machine = moved(waiting(batchOf(["a"])), configOf({ driver }))
    expect(letRun(respond(machine, decides(about("a"))))).toEqual([])
    expect(driverError(machine)).toBe("missing_callback")
    expect(answered(machine)).toEqual([["a", "[Tool execution cancelled]\nThe turn ended with an error."]])
  })

  test("results of undecided calls are refused as a whole, whatever comes with them", () => {
    const machine = waiting(batchOf(["a", "b"], ["a"]))
    const error = expectRefused(machine, () => machine.handle(results(1, completed("b"), completed("a"))), "call_is_held")
    expect(error.message).toBe('The call "a" of effect 1 waits for a decision; it must not have run.')
    respond(machine, decides(about("a")))
    respond(machine, results(1, completed("a"), completed("b")))
    expect(machine.done).toBe(true)
  })

  test("settled, free, held and pending calls at once keep the order of the batch", () => {
    const batch = batchOf(["s1", "h1", "f1", "s2", "p1", "h2", "s3"], ["h1", "h2"], {
      settled: ["s3", "s1", "s2"].map((callId) => completed(callId, "mine")),
    })
    const machine = waiting(batch)
    expect(shape(outstandingBatch(machine))).toEqual({ calls: ["f1", "p1"], held: ["h1", "h2"] })
    respond(machine, goesOn("p1"))
    expect(letRun(respond(machine, decides(about("h2"))))).toEqual(["h2"])
    expect(shape(outstandingBatch(machine))).toEqual({ calls: ["f1", "h2"], held: ["h1"], pending: ["p1"] })
    respond(machine, results(1, completed("h2", 2)))
    const later = moved(machine, holdingConfig(batch))
    respond(later, decides(about("h1", "reject")))
    respond(later, results(1, completed("p1", 3), completed("f1", 4)))
    expect(resultsOf(later)).toEqual([
      ["s1", "mine"],
      ["h1", "rejected"],
      ["f1", 4],
      ["s2", "mine"],
      ["p1", 3],
      ["h2", 2],
      ["s3", "mine"],
    ])
  })
})

describe("a release", () => {
  const three = batchOf(["a", "b", "c"], ["a", "b"])

  test("names the calls that may run now, under the id of the batch; it is not outstanding", () => {
    const machine = waiting(three)
    const effects = respond(machine, decides(about("b"), about("a")))
    expect(effects.at(-1)).toEqual({ type: "tool_calls_released", id: 1, calls: [pending("b"), pending("a")] })
    expect(shape(outstandingBatch(machine))).toEqual({ calls: ["a", "b", "c"] })
  })

  test("follows the record of its decision: a host stores who allowed a call before it runs it", () => {
    const machine = waiting(three)
    const effects = respond(machine, decides(about("a")))
    expect(effectNames(effects)).toEqual(["emit approval_decided", "progress", "tool_calls_released 1"])
    const progress = effects[1]
    expect(progress?.type === "progress" && progress.eventDelta).toEqual([
      { type: "protocol", event: { type: "approval", requestId: "1:a", decision: "approve" } },
    ])
  })

  test("is not emitted if the batch was not polled before: it names the calls itself", () => {
    const machine = new TurnMachine(holdingConfig(three), { messages: [] })
    for (let effect = machine.poll(); effect?.type === "emit" && machine.outstanding === undefined; effect = machine.poll());
    expect(machine.handle(decides(about("a"))).status).toBe("accepted")
    const effects = pollAll(machine)
    expect(letRun(effects)).toEqual(["a", "c"])
    expect(effects.filter(({ type }) => type === "tool_calls_released")).toEqual([])
  })

  test("that was not polled is covered by the batch at a restore", () => {
    const machine = waiting(three)
    machine.handle(decides(about("a")))
    const { unpolled } = machine.checkpoint()
    expect(unpolled.map(({ type }) => type)).toEqual(["emit", "progress"])
    const later = moved(machine, holdingConfig(three))
    const effects = pollAll(later)
    expect(effectNames(effects)).toEqual(["emit approval_decided", "progress", "tool_calls 1"])
    expect(letRun(effects)).toEqual(["a", "c"])
  })

  test("that was not polled is covered by the batch of a turn that is resumed as a value", () => {
    const config = holdingConfig(three)
    const machine = waiting(three)
    const { turn, effects } = handle(config, machine.turn, decides(about("a")))
    expect(letRun(pollAll(BareTurnMachine.of(config, turn, effects)))).toEqual(["a", "c"])
  })

  test("after a restore, before the batch is polled, is covered by the batch", () => {
    const later = moved(waiting(three), holdingConfig(three))
    later.handle(decides(about("a")))
    const effects = pollAll(later)
    expect(letRun(effects)).toEqual(["a", "c"])
    expect(effects.map(({ type }) => type)).not.toContain("tool_calls_released")
  })

  test("of calls whose results came already names only the others, or is not emitted at all", () => {
    const machine = waiting(three)
    machine.handle(decides(about("a"), about("b")))
    machine.handle(results(1, completed("a")))
    expect(letRun(pollAll(machine))).toEqual(["b"])
    const other = waiting(three)
    other.handle(decides(about("a")))
    other.handle(decides(about("b")))
    other.handle(results(1, completed("b"), completed("a")))
    expect(pollAll(other).map(({ type }) => type)).not.toContain("tool_calls_released")
  })

  test("of a batch that was answered before it was polled is not emitted, although the next batch has a call with the same id", () => {
    const next = (held: readonly string[]): Parameters<typeof waiting>[1] => ({
      onToolResults: (context) => [...(context.iteration > 0 ? [FINISH] : [{ type: "advance_iteration" } as const, batchOf(["a"], held)])],
    })
    for (const held of [["a"], []]) {
      const machine = waiting(batchOf(["a"]), next(held))
      machine.handle(decides(about("a")))
      machine.handle(results(1, completed("a")))
      expect(outstandingBatch(machine).id).toBe(2)
      const effects = pollAll(machine)
      expect(effects.filter(({ type }) => type === "tool_calls_released")).toEqual([])
      expect(letRun(effects)).toEqual(held.length === 0 ? ["a"] : [])
    }
  })

  test("of a call that continues outside already is not emitted", () => {
    const machine = waiting(three)
    machine.handle(decides(about("a")))
    machine.handle(goesOn("a"))
    expect(letRun(pollAll(machine))).toEqual([])
  })

  test("of ten thousand calls that were all answered in the meantime is passed over at once", () => {
    const callIds = Array.from({ length: 10_000 }, (_, index) => `c${index}`)
    const machine = new BareTurnMachine(holdingConfig(batchOf(callIds), { onToolDecisions: (_context, _waiting, [only]) => [release(only)] }), {
      messages: [],
    })
    pollAll(machine)
    for (const callId of callIds) machine.handle(decides(about(callId)))
    machine.handle(results(1, ...callIds.slice(1).map((callId) => completed(callId))))
    expect(letRun(pollAll(machine))).toEqual(["c0"])
  })

  test("is withdrawn by the end of the turn", () => {
    const machine = waiting(three)
    machine.handle(decides(about("a")))
    machine.cancel()
    expect(letRun(pollAll(machine))).toEqual([])
    expect(answered(machine).map(([callId]) => callId)).toEqual(["a", "b", "c"])
  })

  function release(decision: Decision | undefined): DriverAction {
    return { type: "release_calls", requestIds: decision === undefined ? [] : [decision.requestId] }
  }
})

describe("a driver that answers decisions", () => {
  const two = batchOf(["a", "b"])

  /** What a driver answers to a decision about `a`, while `b` is held, too. */
  const answering = (actions: readonly DriverAction[], callbacks: Partial<ProtocolDriver> = {}) => {
    const machine = waiting(two, { onToolDecisions: () => actions, ...callbacks })
    const effects = respond(machine, decides(about("a", "approve", { by: "anna" })))
    return { machine, effects }
  }

  test("is shown the undecided calls, and each new decision once", () => {
    const seen: unknown[] = []
    const onToolDecisions: typeof follow = (context, shown, decisions) => {
      seen.push([shown.id, shown.held.map(({ callId }) => callId), decisions.map(({ requestId }) => requestId)])
      return follow(context, shown, decisions)
    }
    const machine = waiting(batchOf(["a", "b", "c", "d"], ["a", "b", "c"]), { onToolDecisions })
    respond(machine, decides(about("b")))
    machine.handle(decides(about("b"), about("a", "reject"), about("a", "reject"), about("c")))
    expect(seen).toEqual([
      [1, ["a", "b", "c"], ["1:b"]],
      [1, ["a", "c"], ["1:a", "1:c"]],
    ])
  })

  test("may settle a call that was approved: a policy has the last word", () => {
    const { machine, effects } = answering([{ type: "settle_calls", results: [rejected("a")] }])
    expect(effectNames(effects)).toEqual(["emit approval_decided", "emit tool_call"])
    expect(machine.checkpoint().state).toMatchObject({ decided: [{ requestId: "1:a", decision: "approve", by: "anna" }], results: [{}, null] })
  })

  test("may release calls that were not decided, as approved; who decided is its word", () => {
    const { machine, effects } = answering([
      { type: "release_calls", requestIds: ["1:a"], by: "not used" },
      { type: "release_calls", requestIds: ["1:b"], by: "a grant" },
    ])
    expect(letRun(effects)).toEqual(["a", "b"])
    const events = effects.flatMap((effect) => (effect.type === "emit" ? [effect.event] : []))
    expect(events).toEqual([
      { type: "approval_decided", requestId: "1:a", callId: "a", name: "look", decision: "approve", by: "anna" },
      { type: "approval_decided", requestId: "1:b", callId: "b", name: "look", decision: "approve", by: "a grant" },
    ])
    expect(machine.handle(decides(about("b"))).status).toBe("stale")
    const error = expectRefused(machine, () => machine.handle(decides(about("b", "reject"))), "call_already_decided")
    expect(error.message).toBe('The call "b" is decided already: approve by "a grant".')
  })

  test("may settle calls that were not decided, as rejected", () => {
    const { machine, effects } = answering([
      { type: "settle_calls", results: [rejected("b")] },
      { type: "release_calls", requestIds: ["1:a"] },
    ])
    expect(effectNames(effects)).toEqual(["emit approval_decided", "emit approval_decided", "emit tool_call", "tool_calls_released 1"])
    expect(machine.handle(decides(about("b", "reject"))).status).toBe("stale")
    respond(machine, results(1, completed("a")))
    expect(resultsOf(machine)).toEqual([
      ["a", "result of a"],
      ["b", "rejected"],
    ])
  })

  test("is asked what follows at once, when the last call is settled", () => {
    const machine = waiting(two)
    const effects = respond(machine, decides(about("b", "reject"), about("a", "expired")))
    expect(effectNames(effects)).toEqual([
      ...["emit approval_decided", "emit approval_decided", "emit tool_call", "emit tool_call"],
      ...["progress", "progress", "emit turn_outcome", "emit done", "done"],
    ])
    expect(resultsOf(machine)).toEqual([
      ["a", "rejected"],
      ["b", "rejected"],
    ])
  })

  test("may follow the last decision with a batch that it answers itself, as it may follow results", () => {
    let asked = 0
    const next = batchOf(["c"], [], { settled: [completed("c", "mine")] })
    const onToolResults: ProtocolDriver["onToolResults"] = (_context, given) => {
      asked += 1
      return asked === 1 ? [next] : [{ type: "finish", outcome: { type: "finished", finish: { type: "submitted_value", value: given as never } } }]
    }
    const machine = waiting(batchOf(["a"]), { onToolResults })
    const effects = respond(machine, decides(about("a", "reject")))
    expect(resultsOf(machine)).toEqual([["c", "mine"]])
    expect(effectNames(effects).filter((name) => name === "emit tool_call")).toHaveLength(2)
    asked = 0
    const twice = waiting(batchOf(["a"]), { onToolResults: () => [next] })
    respond(twice, decides(about("a", "reject")))
    expect(driverError(twice)).toBe("no_way_forward")
  })

  test("a driver that does nothing with the results of a batch that a decision completed ends the turn, with the results", () => {
    const machine = waiting(batchOf(["a"]), { onToolResults: () => [] })
    respond(machine, decides(about("a", "reject")))
    expect(driverError(machine)).toBe("no_way_forward")
    expect(machine.messages.at(-1)?.parts).toMatchObject([{ type: "tool_result", callId: "a", isError: true }])
  })

  test("counts the usage of what it settles", () => {
    const usage = { inputTokens: 5, cachedInputTokens: 0, outputTokens: 1, reasoningTokens: 0 }
    const { machine } = answering([{ type: "settle_calls", results: [{ ...rejected("a"), usage }] }])
    expect(machine.usage).toMatchObject(usage)
  })

  test("has the mark of edited results left out of what it settles", () => {
    const { machine } = answering([{ type: "settle_calls", results: [{ ...rejected("a"), edited: true }] }])
    expect(machine.checkpoint().state).toMatchObject({ results: [rejected("a"), null] })
    expect(JSON.stringify(machine.checkpoint())).not.toContain("edited")
  })

  const RELEASE_A: DriverAction = { type: "release_calls", requestIds: ["1:a"] }
  const RELEASE_B: DriverAction = { type: "release_calls", requestIds: ["1:b"] }
  test.each<readonly [string, readonly DriverAction[], RegExp]>([
    ["nothing", [], /neither released nor settled "1:a"/],
    ["only about another call", [{ type: "release_calls", requestIds: ["1:b"] }], /neither released nor settled "1:a"/],
    ["twice", [RELEASE_A, RELEASE_A], /decided about "a", which was decided before/],
    ["both ways", [RELEASE_A, { type: "settle_calls", results: [completed("a")] }], /decided about "a", which was decided before/],
    ["about an unknown request", [RELEASE_A, { type: "release_calls", requestIds: ["1:x"] }], /decided about "1:x", which is not held/],
    ["about an unknown call", [RELEASE_A, { type: "settle_calls", results: [completed("x")] }], /decided about "x", which is not held/],
    ["with a call id for a request", [{ type: "release_calls", requestIds: ["a"] }], /decided about "a", which is not held/],
    ["and starts a model call", [RELEASE_A, { type: "start_llm", request: REQUEST }], /may not start or end anything, such as llm_call/],
    ["and starts a batch", [RELEASE_A, { type: "start_tools", calls: [pending("c")] }], /such as tool_calls/],
    [
      "and starts a batch that it settles",
      [RELEASE_A, { type: "start_tools", calls: [pending("c")], settled: [completed("c")] }],
      /such as tool_calls/,
    ],
    ["and finishes", [RELEASE_A, FINISH], /may not start or end anything, such as/],
    ["no list", undefined as never, /threw/],
  ])("and answers %s ends the turn; each call gets one result, and none runs", (_what, actions, message) => {
    const { machine, effects } = answering(actions)
    expect(letRun(effects)).toEqual([])
    expect(["invalid_decision", "driver_threw"]).toContain(driverError(machine))
    expect(JSON.stringify(machine.outcome)).toMatch(new RegExp(message.source.replaceAll('"', '\\\\"')))
    expect(answered(machine)).toEqual([
      ["a", "[Tool execution cancelled]\nThe turn ended with an error."],
      ["b", "[Tool execution cancelled]\nThe turn ended with an error."],
    ])
  })

  test.each(["reject", "expired", "cancelled"] as const)("may not release a call although it is %s", (decision) => {
    const machine = waiting(two, { onToolDecisions: () => [RELEASE_A] })
    expect(letRun(respond(machine, decides(about("a", decision))))).toEqual([])
    expect(driverError(machine)).toBe("invalid_decision")
    expect(JSON.stringify(machine.outcome)).toContain(`although the decision is ${decision}`)
  })

  test("may not name a call that was decided before", () => {
    const machine = waiting(two, { onToolDecisions: (_context, _waiting, [only]) => [RELEASE_A, ...(only?.requestId === "1:b" ? [RELEASE_B] : [])] })
    respond(machine, decides(about("a")))
    expect(letRun(respond(machine, decides(about("b"))))).toEqual([])
    expect(JSON.stringify(machine.outcome)).toContain("which was decided before")
    expect(driverError(machine)).toBe("invalid_decision")
  })

  test("and throws ends the turn; results that came before stay", () => {
    const machine = waiting(batchOf(["a", "b"], ["a"]), {
      onToolDecisions: () => {
        throw new Error("No.")
      },
    })
    respond(machine, results(1, completed("b")))
    expect(letRun(respond(machine, decides(about("a"))))).toEqual([])
    expect(driverError(machine)).toBe("driver_threw")
    expect(answered(machine)).toEqual([
      ["a", "[Tool execution cancelled]\nThe turn ended with an error."],
      ["b", "result of b"],
    ])
    expect(machine.messages.find(({ parts }) => parts[0]?.type === "tool_result")?.id).toBe("m_0_tools_1")
  })

  test("and fails when it is asked what follows: the results of the batch stay", () => {
    const machine = waiting(batchOf(["a"]), {
      onToolResults: () => {
        throw new Error("No.")
      },
    })
    respond(machine, decides(about("a", "reject")))
    expect(driverError(machine)).toBe("driver_threw")
    expect(answered(machine)).toEqual([["a", "[Tool execution failed]\nNot allowed."]])
  })

  test.each<readonly [string, DriverAction]>([
    ["release_calls", RELEASE_A],
    ["settle_calls", { type: "settle_calls", results: [completed("a")] }],
  ])("%s is only for answers to decisions", (type, action) => {
    const only = (machine: TurnMachine): void => {
      expect(driverError(machine)).toBe("invalid_decision")
      expect(JSON.stringify(machine.outcome)).toContain(`A driver may use ${type} only in answer to a decision.`)
    }
    only(startedWith([action]))
    only(startedWith([action, FINISH]))
    const model = startedWith([{ type: "start_llm", request: REQUEST }], { onLlmComplete: () => [action, FINISH] })
    respond(model, says(1, "Hi."))
    only(model)
    for (const answer of [[action], [action, FINISH]]) {
      const tools = waiting(batchOf(["a"]), { onToolResults: () => answer })
      respond(tools, decides(about("a")))
      respond(tools, results(1, completed("a")))
      only(tools)
    }
    const machine = waiting(batchOf(["a"]))
    expectRefused(machine, () => machine.apply([action]), "action_starts_work")
    expect(letRun(pollAll(machine))).toEqual([])
  })
})

describe("a turn that ends while calls are held", () => {
  const batch = batchOf(["held", "released", "free", "outside", "done"], ["held", "released"])
  const CANCELLED = "[Tool execution cancelled]\n"

  function half(): TurnMachine {
    const machine = waiting(batch)
    respond(machine, decides(about("released")))
    respond(machine, goesOn("outside"))
    respond(machine, results(1, completed("done")))
    return machine
  }

  test.each<readonly [string, string, (machine: TurnMachine) => void]>([
    ["cancel", "The turn was cancelled.", (machine) => machine.cancel()],
    ["fail", "The turn ended with an error.", (machine) => machine.fail({ type: "message", text: "x", kind: "k" })],
    ["finish", "The turn was ended.", (machine) => machine.finish({ type: "agent_frame_switch", frameId: "f" })],
    ["apply", "The turn was ended.", (machine) => machine.apply([FINISH])],
  ])("%s gives every call one result, in call order, and runs none", (_how, reason, end) => {
    const machine = half()
    end(machine)
    expect(letRun(pollAll(machine))).toEqual([])
    expect(answered(machine)).toEqual([
      ...["held", "released", "free", "outside"].map((callId) => [callId, `${CANCELLED}${reason}`]),
      ["done", "result of done"],
    ])
  })

  test("takes late results, but none of a call that must not have run", () => {
    const machine = half()
    const late = results(1, completed("held"), completed("released", "late"), completed("outside", "late"), completed("done", "again"))
    machine.command({ type: "cancel", answer: late })
    const effects = pollAll(machine)
    expect(effectNames(effects).filter((name) => name === "emit tool_call")).toHaveLength(2)
    expect(answered(machine)).toEqual([
      ["held", `${CANCELLED}The turn was cancelled.`],
      ["released", "late"],
      ["free", `${CANCELLED}The turn was cancelled.`],
      ["outside", "late"],
      ["done", "result of done"],
    ])
  })

  test.each([decides(about("held")), goesOn("free")])("takes no late $type", (answer) => {
    const machine = half()
    machine.command({ type: "cancel", answer })
    expect(letRun(pollAll(machine))).toEqual([])
    expect(answered(machine)[0]?.[1]).toBe(`${CANCELLED}The turn was cancelled.`)
    expect(plain(machine.history).filter(({ type }) => type === "protocol")).toHaveLength(1)
  })

  test("an edited call that is cancelled shows its arguments", () => {
    const machine = waiting(batchOf(["a"]))
    respond(machine, decides(about("a", "edit")))
    machine.cancel()
    pollAll(machine)
    expect(answered(machine)).toEqual([["a", `The user changed the arguments of this call: {"edited":"a"}\n${CANCELLED}The turn was cancelled.`]])
  })

  test("does not take the decisions that come after it", () => {
    const machine = half()
    machine.cancel()
    expect(machine.handle(decides(about("held"))).status).toBe("stale")
    expect(letRun(pollAll(machine))).toEqual([])
  })
})

test("a later turn may hold calls under the same ids: requests are told apart by their effect", () => {
  const machine = new TurnMachine(
    holdingConfig(batchOf(["a"]), {
      onToolResults: (context) => (context.messages.length > 1 ? [FINISH] : [{ type: "advance_iteration" }, batchOf(["a"])]),
    }),
    { messages: [userMessage("Pay.")] },
  )
  pollAll(machine)
  respond(machine, decides(about("a")))
  const [second] = respond(machine, results(1, completed("a"))).filter(({ type }) => type === "tool_calls")
  expect(second).toMatchObject({ id: 2, held: [{ requestId: "2:a" }] })
  const decision: Decision = about("a")
  expectRefused(machine, () => machine.handle({ type: "tool_decisions", id: 2, decisions: [decision] }), "unknown_request")
  expect(machine.handle(decides(decision)).status).toBe("stale")
})
