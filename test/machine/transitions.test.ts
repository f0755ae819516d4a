import { describe, expect, test } from "vitest"
import { shapesOf, tagsOf } from "../../scripts/shapes.ts"
import { ANSWERS, PREPARATION, TRANSITIONS } from "../../src/machine/transitions.ts"
import type { StateName } from "../../src/machine/turn.ts"
import { TurnMachine as BareTurnMachine } from "../../src/machine/turn-machine.ts"
import { AnswerableEffect, type HoldCall, Response, TurnCheckpoint } from "../../src/schemas/index.ts"
import { TurnMachine } from "../../src/validated-turn-machine.ts"
import {
  completed,
  configOf,
  delivers,
  driverOf,
  expectRefused,
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

/** Which effect each waiting state waits for. */
const WAITS_FOR = {
  waiting_execution_surface: "sync_execution_surface",
  waiting_llm: "llm_call",
  waiting_tools: "tool_calls",
  waiting_exec: "exec_code",
  waiting_checkpoint: "checkpoint",
} as const
const QUIET = ["preparing", "prepare_iteration", "finished"] as const
const ALL: readonly string[] = [...Object.keys(WAITS_FOR), ...QUIET].sort()

const EXAMPLES: { readonly [Type in Response["type"]]: (id: number) => Extract<Response, { type: Type }> } = {
  execution_surface_synced: (id) => ({ type: "execution_surface_synced", id, result: { ok: true } }),
  llm_complete: (id) => says(id, "Hi."),
  tool_results: (id) => results(id, completed("a")) as Extract<Response, { type: "tool_results" }>,
  tool_decisions: (id) => ({ type: "tool_decisions", id, decisions: [{ requestId: "1:a", digest: "d", decision: "approve" }] }),
  tool_pending: (id) => ({ type: "tool_pending", id, callId: "a", token: "job-1" }),
  exec_result: (id) => ({ type: "exec_result", id, result: { ok: false, error: "e" } }),
  checkpoint_delivery: (id) => delivers(id) as Extract<Response, { type: "checkpoint_delivery" }>,
}

const HOLD_A = { callId: "a", digest: "d", ask: { allow: ["approve"], scopes: [] } } as const satisfies HoldCall

/** A machine that waits in each state, for effect 1. `response`: the one that it is to accept. */
function waitingIn(state: keyof typeof WAITS_FOR, response?: Response["type"]): TurnMachine {
  switch (state) {
    case "waiting_execution_surface": {
      const machine = new TurnMachine(configOf({ driver: driverOf(), syncExecutionSurface: true }), { messages: [userMessage("hello")] })
      pollAll(machine)
      return machine
    }
    case "waiting_llm":
      return startedWith([{ type: "start_llm", request: REQUEST }])
    case "waiting_tools":
      return startedWith([{ type: "start_tools", calls: [pending("a")], ...(response === "tool_decisions" && { held: [HOLD_A] }) }], {
        onToolDecisions: () => [{ type: "release_calls", requestIds: ["1:a"] }],
      })
    case "waiting_exec":
      return startedWith([{ type: "start_exec", code: "1", driverState: null }], {
        onExecResult: () => [{ type: "finish", outcome: { type: "agent_frame_switch", frameId: "f" } }],
      })
    case "waiting_checkpoint":
      return startedWith([{ type: "start_checkpoint", checkpoint: "after_work", onEmpty: { type: "prepare_iteration" } }])
  }
}

describe("the table", () => {
  test("has every state, and no other", () => {
    expect(Object.keys(TRANSITIONS).sort()).toEqual(ALL)
    const saved = shapesOf(TurnCheckpoint).flatMap(({ state }) => (state === undefined ? [] : tagsOf(state)))
    expect([...saved].sort()).toEqual(ALL)
  })

  test("a waiting state accepts exactly the responses that answer its effect", () => {
    for (const [state, effect] of Object.entries(WAITS_FOR)) {
      expect(Object.keys(TRANSITIONS[state as StateName])).toEqual(ANSWERS[effect])
    }
    for (const state of QUIET) expect(TRANSITIONS[state]).toEqual({})
  })

  test("every answerable effect has an answer, and every response answers one effect", () => {
    const effects = tagsOf(AnswerableEffect)
    expect(Object.keys(ANSWERS).sort()).toEqual([...effects].sort())
    const responses = tagsOf(Response)
    expect(Object.values(ANSWERS).flat().sort()).toEqual([...responses].sort())
  })

  test("each row names existing states, once each, and none returns to the start", () => {
    const rows = [...Object.values(TRANSITIONS).flatMap((rules) => Object.values(rules)), ...Object.values(PREPARATION)]
    expect(rows).toHaveLength(9)
    for (const { next } of rows) {
      expect(ALL).toEqual(expect.arrayContaining([...next]))
      expect(new Set(next).size).toBe(next.length)
      expect(next).not.toContain("preparing")
      // A call that continues outside does not move a turn, so its driver is not asked.
      if (next !== TRANSITIONS.waiting_tools.tool_pending.next) expect(next).toContain("finished")
    }
  })

  test("the two states that a poll leaves are those without an outstanding effect that are not the end", () => {
    expect(Object.keys(PREPARATION).sort()).toEqual(["prepare_iteration", "preparing"])
  })
})

describe.each(Object.keys(WAITS_FOR) as (keyof typeof WAITS_FOR)[])("a turn in %s", (state) => {
  const right: readonly Response["type"][] = ANSWERS[WAITS_FOR[state]]
  const [first] = ANSWERS[WAITS_FOR[state]]

  test("waits for its effect, under the first id", () => {
    const machine = waitingIn(state)
    expect(machine.state).toBe(state)
    expect(machine.outstanding).toMatchObject({ type: WAITS_FOR[state], id: 1 })
  })

  test.each(right)("accepts %s, once", (type) => {
    const machine = waitingIn(state, type)
    const response = EXAMPLES[type](1)
    respond(machine, response)
    const before = JSON.stringify(machine.checkpoint())
    expect(machine.handle(response)).toEqual({ status: "stale" })
    expect(JSON.stringify(machine.checkpoint())).toBe(before)
  })

  test.each((Object.keys(EXAMPLES) as Response["type"][]).filter((type) => !right.includes(type)))("refuses %s under the id it waits for", (type) => {
    const machine = waitingIn(state)
    const error = expectRefused(machine, () => machine.handle(EXAMPLES[type](1)), "unexpected_response")
    expect(error.message).toBe(`A turn in "${state}" does not accept "${type}"; it accepts ${right.join(", ")} for effect 1.`)
    expect(machine.handle(EXAMPLES[first](1))).toEqual({ status: "accepted" })
  })

  test.each([0, 2, 3, Number.MAX_SAFE_INTEGER])("refuses an answer to effect %d, which was never emitted", (id) => {
    const machine = waitingIn(state)
    const error = expectRefused(machine, () => machine.handle(EXAMPLES[first](id)), "unknown_effect")
    expect(error.message).toBe(`No effect has the id ${id}; a turn in "${state}" accepts ${right.join(", ")} for effect 1.`)
  })
})

describe("a turn that does not wait for a response", () => {
  test("refuses every answer before it starts", () => {
    const machine = new TurnMachine(configOf(), { messages: [] })
    for (const example of Object.values(EXAMPLES)) {
      const error = expectRefused(machine, () => machine.handle(example(1)), "unknown_effect")
      expect(error.message).toBe('No effect has the id 1; a turn in "preparing" accepts no response now.')
    }
  })

  test("reports a repeated answer as stale, whatever its type, also after the end", () => {
    const machine = waitingIn("waiting_checkpoint")
    machine.handle(delivers(1))
    for (const example of Object.values(EXAMPLES)) expect(machine.handle(example(1))).toEqual({ status: "stale" })
    machine.cancel()
    for (const example of Object.values(EXAMPLES)) expect(machine.handle(example(1))).toEqual({ status: "stale" })
    expectRefused(machine, () => machine.handle(says(2, "Hi.")), "unknown_effect")
  })
})

describe("tool results that do not fit", () => {
  const batch = (): TurnMachine => startedWith([{ type: "start_tools", calls: [pending("a"), pending("b")] }])

  test("an unknown call", () => {
    const machine = batch()
    const error = expectRefused(machine, () => machine.handle(results(1, completed("a"), completed("x"))), "unknown_call")
    expect(error.message).toBe('Effect 1 has no call "x".')
  })

  test("a call that has its result already, in the same answer or in one before", () => {
    const machine = batch()
    expectRefused(machine, () => machine.handle(results(1, completed("a"), completed("a"))), "call_already_answered")
    machine.handle(results(1, completed("a")))
    const error = expectRefused(machine, () => machine.handle(results(1, completed("b"), completed("a"))), "call_already_answered")
    expect(error.message).toBe('The call "a" of effect 1 already has its result.')
    expect(machine.handle(results(1, completed("b")))).toEqual({ status: "accepted" })
  })

  test("an empty list of results is accepted, and changes nothing", () => {
    const machine = batch()
    const before = JSON.stringify(machine.checkpoint())
    expect(respond(machine, results(1))).toEqual([])
    expect(JSON.stringify(machine.checkpoint())).toBe(before)
  })

  test("the driver gets them in call order, in whatever order they arrive", () => {
    const seen: string[] = []
    const machine = startedWith([{ type: "start_tools", calls: ["a", "b", "c"].map((callId) => pending(callId)) }], {
      onToolResults: (_, found) => {
        seen.push(...found.map((result) => result.callId))
        return [{ type: "finish", outcome: { type: "agent_frame_switch", frameId: "f" } }]
      },
    })
    respond(machine, results(1, completed("c")))
    respond(machine, results(1, completed("b"), completed("a")))
    expect(seen).toEqual(["a", "b", "c"])
  })

  test("two calls under one id take one result each", () => {
    const machine = startedWith([{ type: "start_tools", calls: [pending("a"), pending("a")] }])
    machine.handle(results(1, completed("a", 1)))
    machine.handle(results(1, completed("a", 2)))
    expect(machine.done).toBe(true)
  })
})

describe("the latest time seen", () => {
  test("is opaque to the machine, and saved with the turn", () => {
    const seen: (number | undefined)[] = []
    const driver = driverOf({
      prepareIteration: (context) => {
        seen.push(context.at)
        return [{ type: "start_checkpoint", checkpoint: "after_work", onEmpty: { type: "prepare_iteration" } }]
      },
    })
    const machine = new TurnMachine(configOf({ driver }), { messages: [] })
    pollAll(machine)
    for (const [id, at] of [
      [1, undefined],
      [2, 500],
      [3, 400],
      [4, undefined],
      [5, 501],
    ] as const) {
      respond(machine, { ...delivers(id), ...(at !== undefined && { at }) } as Response)
    }
    expect(seen).toEqual([undefined, undefined, 500, 500, 500, 501])
    expect(plain(machine.checkpoint()).at).toBe(501)
  })

  test("is not moved by an answer that is stale or refused", () => {
    const machine = waitingIn("waiting_checkpoint")
    respond(machine, { ...delivers(1), at: 10 } as Response)
    machine.handle({ ...delivers(1), at: 99 } as Response)
    expectRefused(machine, () => machine.handle({ ...results(2), at: 99 } as Response), "unexpected_response")
    expect(machine.checkpoint().at).toBe(10)
  })

  test("is not moved back by the part of a batch that took longest", () => {
    const machine = startedWith([{ type: "start_tools", calls: [pending("a"), pending("b")] }])
    machine.handle({ ...results(1, completed("b")), at: 20 } as Response)
    machine.handle({ ...results(1, completed("a")), at: 15 } as Response)
    expect(machine.checkpoint().at).toBe(20)
  })
})

describe("a turn as a value", () => {
  test("later polls and answers do not change an old checkpoint", () => {
    const machine = new TurnMachine(configOf(), { messages: [userMessage("hello")] })
    const old = machine.turn
    const before = JSON.stringify(machine.checkpoint())
    pollAll(machine)
    respond(machine, says(1, "Hi."))
    expect(old.position.state.type).toBe("preparing")
    expect(old.record.messages.toArray()).toEqual([userMessage("hello")])
    expect(before).not.toBe(JSON.stringify(machine.checkpoint()))
  })
})

test("without validation, an inherited member is not a response type", () => {
  const machine = new BareTurnMachine(configOf(), { messages: [userMessage("hello")] })
  while (machine.poll() !== undefined);
  for (const type of ["constructor", "toString", "__proto__"]) {
    expectRefused(machine, () => machine.handle({ type, id: 1 } as unknown as Response), "unexpected_response")
  }
})
