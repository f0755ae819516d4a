import { describe, expect, test } from "vitest"
import type { TurnConfig } from "../../src/machine/config.ts"
import type { ProtocolDriver } from "../../src/machine/driver.ts"
import { stopped } from "../../src/machine/terminal.ts"
import type { DriverAction } from "../../src/schemas/action.ts"
import type { CheckpointDelivery, TurnCause } from "../../src/schemas/message.ts"
import { TurnMachine } from "../../src/validated-turn-machine.ts"
import {
  configOf,
  delivers,
  driverOf,
  effectNames,
  moved,
  pending,
  plain,
  pollAll,
  REQUEST,
  respond,
  says,
  startedWith,
  userMessage,
} from "./support.ts"

const AFTER_WORK: DriverAction = { type: "start_checkpoint", checkpoint: "after_work", onEmpty: { type: "prepare_iteration" } }
const BEFORE_COMPLETION: DriverAction = {
  type: "start_checkpoint",
  checkpoint: "before_completion",
  onEmpty: { type: "finish", outcome: { type: "finished", finish: { type: "assistant_message", text: "done" } } },
}

/** Waits at a checkpoint once, then starts a model call in each iteration. */
function waitingAt(checkpoint: DriverAction, callbacks: Partial<ProtocolDriver> = {}): TurnMachine {
  let first = true
  const prepareIteration = (): readonly DriverAction[] => {
    if (!first) return [{ type: "start_llm", request: REQUEST }]
    first = false
    return [checkpoint]
  }
  return startedWith([], { prepareIteration, ...callbacks })
}

function cause(id: string, text = `text of ${id}`): TurnCause {
  return { id, eventType: "mail", origin: { type: "process", processId: "p", eventType: "mail", sequence: 1 }, text }
}

describe("the delivered messages", () => {
  test("comes in this order: user messages, messages, transient ones, turn causes; events are records only", () => {
    const machine = waitingAt(AFTER_WORK)
    const effects = respond(
      machine,
      delivers(1, {
        turnCauses: [cause("e1")],
        events: [{ of: "the driver" }],
        transientMessages: [{ role: "system", content: "for now" }],
        messages: [{ role: "user", content: "for good" }],
        userMessages: [userMessage("mine", "u2"), { ...userMessage("and mine", "u3"), role: "assistant" }],
      }),
    )
    expect(effectNames(effects)).toEqual(["progress", "emit llm_request", "llm_call 2"])
    const records = [
      { type: "conversation", message: userMessage("mine", "u2") },
      { type: "conversation", message: { ...userMessage("and mine", "u3"), role: "assistant" } },
      { type: "protocol", event: { of: "the driver" } },
    ]
    expect(effects[0]).toMatchObject({ eventDelta: records, iteration: 0 })
    expect(machine.history).toEqual(records)
    expect(machine.turnCauses).toEqual([cause("e1")])
    expect(machine.messages.slice(1)).toEqual([
      userMessage("mine", "u2"),
      { ...userMessage("and mine", "u3"), role: "assistant" },
      {
        id: "m_0_checkpoint_1",
        role: "user",
        parts: [{ id: "m_0_checkpoint_1.p0", type: "text", text: "for good" }],
        origin: { type: "plugin", pluginId: "plugin" },
      },
      {
        id: "m_0_checkpoint_2",
        role: "system",
        parts: [{ id: "m_0_checkpoint_2.p0", type: "text", text: "for now" }],
        origin: { type: "plugin", pluginId: "plugin", transient: true },
      },
      { id: "e1", role: "event", parts: [{ id: "e1.p0", type: "text", text: "text of e1" }], origin: cause("e1").origin },
    ])
  })

  test("keeps the origin and the parts it was given; part ids are counted, the content is not used", () => {
    const machine = waitingAt(AFTER_WORK)
    const origin = { type: "process", processId: "p", eventType: "t", sequence: 3 } as const
    const attachment = { id: "att", mediaType: "image/png", byteLength: 1 }
    respond(
      machine,
      delivers(1, {
        transientMessages: [
          {
            role: "user",
            content: "not used",
            origin,
            parts: [
              { id: "mine", type: "text", text: "t" },
              { id: "mine", type: "image", attachment },
            ],
          },
        ],
      }),
    )
    expect(machine.messages.at(-1)).toEqual({
      id: "m_0_checkpoint_1",
      role: "user",
      parts: [
        { id: "m_0_checkpoint_1.p0", type: "text", text: "t" },
        { id: "m_0_checkpoint_1.p1", type: "image", attachment },
      ],
      origin,
    })
  })

  test("an empty text is a message as well, and so is one with an empty list of parts", () => {
    const machine = waitingAt(AFTER_WORK)
    respond(machine, delivers(1, { messages: [{ role: "user", content: "", parts: [] }] }))
    expect(machine.messages.at(-1)?.parts).toEqual([{ id: "m_0_checkpoint_1.p0", type: "text", text: "" }])
  })

  test("a host does not speak for the model: assistant and event messages are dropped, and use no id", () => {
    const machine = waitingAt(AFTER_WORK)
    const messages = (["assistant", "user", "event", "system"] as const).map((role) => ({ role, content: role }))
    respond(machine, delivers(1, { messages }))
    expect(machine.messages.slice(1).map(({ id, role }) => [id, role])).toEqual([
      ["m_0_checkpoint_1", "user"],
      ["m_0_checkpoint_2", "system"],
    ])
  })

  test("a cause is added once, even if it is delivered again", () => {
    const machine = waitingAt(AFTER_WORK)
    respond(machine, delivers(1, { turnCauses: [cause("e1"), cause("e2"), cause("e1", "changed")] }))
    expect(machine.turnCauses).toEqual([cause("e1"), cause("e2")])
    expect(machine.messages.slice(1).map((message) => message.id)).toEqual(["e1", "e2"])
  })
})

describe("which deliveries count", () => {
  test.each<readonly [string, CheckpointDelivery]>([
    ["nothing", {}],
    ["empty lists", { userMessages: [], messages: [], transientMessages: [], turnCauses: [], events: [] }],
  ])("%s: the turn goes on as its driver ordered", (_, delivery) => {
    const machine = waitingAt(BEFORE_COMPLETION)
    expect(effectNames(respond(machine, delivers(1, delivery)))).toEqual(["emit turn_outcome", "emit done", "done"])
    expect(machine.outcome).toEqual({ type: "finished", finish: { type: "assistant_message", text: "done" } })
    const working = waitingAt(AFTER_WORK)
    expect(effectNames(respond(working, delivers(1, delivery)))).toEqual(["emit llm_request", "llm_call 2"])
  })

  test.each<readonly [string, CheckpointDelivery]>([
    ["a user message", { userMessages: [userMessage("x", "u2")] }],
    ["a message that is dropped", { messages: [{ role: "assistant", content: "x" }] }],
    ["a transient message", { transientMessages: [{ role: "user", content: "x" }] }],
    ["a cause", { turnCauses: [cause("e1")] }],
  ])("%s: the turn prepares anew, in a new iteration", (_, delivery) => {
    const machine = waitingAt(BEFORE_COMPLETION)
    expect(effectNames(respond(machine, delivers(1, delivery)))).toEqual(["progress", "emit llm_request", "llm_call 2"])
    expect(machine.iteration).toBe(1)
    const working = waitingAt(AFTER_WORK)
    expect(effectNames(respond(working, delivers(1, delivery)))).toEqual(["progress", "emit llm_request", "llm_call 2"])
    expect(working.iteration).toBe(0)
  })
})

describe("a delivery of the driver's events alone", () => {
  const delivery: CheckpointDelivery = { events: [null] }

  test("is recorded, and the turn continues as its driver decided: the model has nothing to read", () => {
    const machine = waitingAt(BEFORE_COMPLETION)
    expect(effectNames(respond(machine, delivers(1, delivery)))).toEqual(["progress", "emit turn_outcome", "emit done", "done"])
    expect(machine.history).toEqual([{ type: "protocol", event: null }])
    expect(machine.outcome).toEqual({ type: "finished", finish: { type: "assistant_message", text: "done" } })
    const working = waitingAt(AFTER_WORK)
    expect(effectNames(respond(working, delivers(1, delivery)))).toEqual(["progress", "emit llm_request", "llm_call 2"])
  })

  test("lets the driver start work or finish instead", () => {
    const starting = waitingAt(BEFORE_COMPLETION, { onDelivery: () => [{ type: "start_llm", request: REQUEST }] })
    expect(effectNames(respond(starting, delivers(1, delivery)))).toEqual(["emit llm_request", "progress", "llm_call 2"])
    expect(starting.iteration).toBe(0)
    const ending = waitingAt(AFTER_WORK, { onDelivery: () => [{ type: "finish", outcome: stopped("plugin_abort") }] })
    respond(ending, delivers(1, delivery))
    expect(ending.outcome).toEqual({ type: "stopped", stop: { type: "plugin_abort" } })
    const noting = waitingAt(BEFORE_COMPLETION, { onDelivery: () => [{ type: "append_events", events: [{ type: "protocol", event: 1 }] }] })
    expect(effectNames(respond(noting, delivers(1, delivery)))).toEqual(["progress", "emit turn_outcome", "emit done", "done"])
  })
})

describe("the driver's callback for deliveries", () => {
  const delivery: CheckpointDelivery = { events: [{ steer: true }], userMessages: [userMessage("x", "u2")] }

  test("gets the checkpoint and the delivery, and sees the turn before it", () => {
    const seen: unknown[] = []
    const onDelivery: ProtocolDriver["onDelivery"] = (context, checkpoint, given) => {
      seen.push(checkpoint, plain(given), context.messages.length, context.events.length, context.iteration)
      return []
    }
    const machine = waitingAt(BEFORE_COMPLETION, { onDelivery })
    expect(effectNames(respond(machine, delivers(1, delivery)))).toEqual(["progress", "emit llm_request", "llm_call 2"])
    expect(seen).toEqual(["before_completion", delivery, 1, 0, 0])
  })

  test("is not called for an empty delivery", () => {
    const machine = waitingAt(AFTER_WORK, {
      onDelivery: () => {
        throw new Error("asked")
      },
    })
    respond(machine, delivers(1))
    expect(machine.state).toBe("waiting_llm")
  })

  test("what it appends follows what was delivered, in one progress", () => {
    const machine = waitingAt(AFTER_WORK, { onDelivery: () => [{ type: "append_events", events: [{ type: "protocol", event: "noted" }] }] })
    const effects = respond(machine, delivers(1, delivery))
    expect(effectNames(effects)).toEqual(["progress", "emit llm_request", "llm_call 2"])
    expect(machine.history.map((record) => (record.type === "protocol" ? record.event : record.message.id))).toEqual(["u2", { steer: true }, "noted"])
  })

  test("work that it starts replaces preparing", () => {
    const machine = waitingAt(AFTER_WORK, { onDelivery: () => [{ type: "start_tools", calls: [pending("a")] }] })
    expect(effectNames(respond(machine, delivers(1, delivery)))).toEqual(["progress", "tool_calls 2"])
  })

  test("so does a finish", () => {
    const machine = waitingAt(AFTER_WORK, { onDelivery: () => [{ type: "finish", outcome: { type: "agent_frame_switch", frameId: "f" } }] })
    expect(effectNames(respond(machine, delivers(1, delivery)))).toEqual(["progress", "emit turn_outcome", "emit done", "done"])
    expect(machine.messages.at(-1)).toEqual(userMessage("x", "u2"))
  })

  test("a restored turn calls it too", () => {
    let asked = 0
    const machine = waitingAt(AFTER_WORK, {
      onDelivery: () => {
        asked += 1
        return []
      },
    })
    machine.handle(delivers(1, delivery))
    pollAll(machine)
    expect(asked).toBe(1)
  })
})

describe("a delivery that holds only turn causes that are known counts as empty", () => {
  test.each<readonly [string, CheckpointDelivery]>([
    ["once", { turnCauses: [cause("e1")] }],
    ["twice", { turnCauses: [cause("e1"), cause("e1", "other words")] }],
    ["with empty lists", { turnCauses: [cause("e1")], messages: [], userMessages: [], transientMessages: [], events: [] }],
  ])("of the start, %s", (_what, delivery) => {
    const machine = new TurnMachine(configOf({ driver: driverOf({ prepareIteration: () => [BEFORE_COMPLETION] }) }), {
      messages: [],
      turnCauses: [cause("e1")],
    })
    pollAll(machine)
    const effects = respond(machine, delivers(1, delivery))
    expect(machine.outcome).toMatchObject({ type: "finished" })
    expect(effectNames(effects)).toEqual(["emit turn_outcome", "emit done", "done"])
    expect(machine.turnCauses).toEqual([cause("e1")])
  })

  test("of an earlier delivery, after a restore, too", () => {
    const machine = waitingAt(AFTER_WORK, { onLlmComplete: () => [BEFORE_COMPLETION] })
    respond(machine, delivers(1, { turnCauses: [cause("e1"), cause("e2")] }))
    respond(machine, says(2, "Done."))
    const config = configOf({ driver: driverOf() })
    for (const turn of [moved(machine, config), machine]) {
      turn.handle(delivers(3, { turnCauses: [cause("e2"), cause("e1")] }))
      expect(turn.outcome).toMatchObject({ type: "finished" })
    }
  })

  test("beside one that is new, or a message that will be dropped, it counts", () => {
    for (const more of [
      { turnCauses: [cause("e1"), cause("e2")] },
      { turnCauses: [cause("e1")], messages: [{ role: "assistant", content: "dropped" }] },
    ] as const) {
      const known = new TurnMachine(configOf({ driver: driverOf({ prepareIteration: () => [BEFORE_COMPLETION] }) }), {
        messages: [],
        turnCauses: [cause("e1")],
      })
      pollAll(known)
      known.handle(delivers(1, more))
      expect(known.state).toBe("prepare_iteration")
    }
  })

  test("with events, only the driver reads it", () => {
    const seen: unknown[] = []
    const machine = new TurnMachine(
      configOf({
        driver: driverOf({
          prepareIteration: () => [BEFORE_COMPLETION],
          onDelivery: (_context, _kind, delivery) => {
            seen.push(delivery.events)
            return []
          },
        }),
      }),
      { messages: [], turnCauses: [cause("e1")] },
    )
    pollAll(machine)
    respond(machine, delivers(1, { turnCauses: [cause("e1")], events: ["mine"] }))
    expect(seen).toEqual([["mine"]])
    expect(machine.outcome).toMatchObject({ type: "finished" })
    expect(machine.messages).toEqual([])
  })
})

describe("the limit of iterations, when something is delivered", () => {
  /** The messages of the turn, and for which limits its host was asked for a message. */
  function deliveredAt(checkpoint: DriverAction, maxIterations: number): readonly [ids: readonly string[], asked: readonly string[]] {
    const asked: string[] = []
    const turnLimitMessage: TurnConfig["turnLimitMessage"] = (_id, max, when) => {
      asked.push(`${max} ${when}`)
      return userMessage("The last one.", "last")
    }
    let first = true
    const prepareIteration = (): readonly DriverAction[] => {
      const actions: readonly DriverAction[] = [first ? checkpoint : { type: "start_llm", request: REQUEST }]
      first = false
      return actions
    }
    const machine = new TurnMachine(configOf({ maxIterations, turnLimitMessage, driver: driverOf({ prepareIteration }) }), { messages: [] })
    pollAll(machine)
    respond(machine, delivers(1, { userMessages: [userMessage("more", "u2")] }))
    return [machine.messages.map(({ id }) => id), asked]
  }

  test("is announced in the last iteration, and only then", () => {
    expect(deliveredAt(BEFORE_COMPLETION, 1)).toEqual([["u2", "last"], ["1 last_iteration"]])
    expect(deliveredAt(BEFORE_COMPLETION, 2)).toEqual([["u2"], []])
  })

  test("is not announced after work: the iteration is not over", () => {
    expect(deliveredAt(AFTER_WORK, 1)).toEqual([["u2"], []])
  })
})
