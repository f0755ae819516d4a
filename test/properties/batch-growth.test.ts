import { describe, expect, test } from "vitest"
import { chatDriver } from "../../src/drivers/chat.ts"
import { wrapDriver } from "../../src/drivers/wrap-driver.ts"
import type { ProtocolDriver } from "../../src/machine/driver.ts"
import { handle } from "../../src/machine/step.ts"
import { TurnMachine } from "../../src/machine/turn-machine.ts"
import type { DriverAction } from "../../src/schemas/action.ts"
import type { TurnCause } from "../../src/schemas/message.ts"
import type { CompletedToolCall } from "../../src/schemas/tool.ts"
import { about, batchOf, decides, holdingConfig, waiting as waitingForPeople } from "../machine/held-support.ts"
import { callsTools, completed, configOf, delivers, driverOf, pending, pollAll, REQUEST, results, says, userMessage } from "../machine/support.ts"

// Law 9 for long batches and many causes, without a clock: the items that array methods, maps and sets touch are counted.

const SIZES = [500, 1_000, 2_000] as const

describe("a batch costs the same for each result at any length", () => {
  const ids = (count: number): string[] => Array.from({ length: count }, (_, index) => `c${index}`)

  function waiting(callIds: readonly string[], driver = chatDriver()): TurnMachine {
    const machine = new TurnMachine(configOf({ driver }), { messages: [userMessage("hello")] })
    while (machine.poll() !== undefined);
    machine.handle(callsTools(1, callIds))
    while (machine.poll() !== undefined);
    return machine
  }

  const answerAll = (machine: TurnMachine, callIds: readonly string[]): void => {
    for (const callId of callIds) {
      machine.handle(results(2, completed(callId)))
      while (machine.poll() !== undefined);
    }
    expect(machine.state).toBe("waiting_checkpoint")
  }

  test.each<readonly [string, (callIds: string[]) => string[]]>([
    ["first to last", (callIds) => callIds],
    ["last to first", (callIds) => callIds.reverse()],
    ["from both ends", (callIds) => callIds.map((_, index) => callIds[index % 2 === 0 ? index / 2 : callIds.length - (index + 1) / 2] as string)],
  ])("answered one by one, %s", (_order, order) => {
    expectLinear((count) => {
      const machine = waiting(ids(count))
      return countTouched(() => answerAll(machine, order(ids(count))))
    })
  })

  test("all with the same id", () => {
    expectLinear((count) => {
      const calls = ids(count).map(() => pending("same"))
      const machine = new TurnMachine(configOf({ driver: driverOf({ prepareIteration: () => [{ type: "start_tools", calls }] }) }), { messages: [] })
      while (machine.poll() !== undefined);
      return countTouched(() => {
        for (let index = 0; index < count; index += 1) machine.handle(results(1, completed("same", index)))
        expect(machine.done).toBe(true)
      })
    })
  })

  test("after a restore in its middle", () => {
    expectLinear((count) => {
      const machine = waiting(ids(count))
      for (const callId of ids(count).slice(0, count / 2)) machine.handle(results(2, completed(callId)))
      const restored = TurnMachine.restore(configOf(), JSON.stringify(machine.checkpoint()))
      while (restored.poll() !== undefined);
      return countTouched(() => answerAll(restored, ids(count).slice(count / 2)))
    })
  })

  test("with the outstanding effect looked at after every result, as a host does", () => {
    expectLinear((count) => {
      const machine = waiting(ids(count))
      return countTouched(() => {
        for (const callId of ids(count)) {
          machine.handle(results(2, completed(callId)))
          expect(machine.outstanding?.type).toBeDefined()
        }
      })
    })
  })

  test("under a wrapped driver, and with duplicates that are refused", () => {
    expectLinear((count) => {
      const machine = waiting(ids(count), wrapDriver(chatDriver(), { name: "wrapped" }))
      return countTouched(() => {
        for (const callId of ids(count).slice(0, -1)) {
          machine.handle(results(2, completed(callId)))
          expect(() => machine.handle(results(2, completed(callId)))).toThrow(/already has its result/)
        }
      })
    })
  })

  test("every second call settled by the driver", () => {
    expectLinear((count) => {
      const calls = ids(count).map((callId) => pending(callId))
      const settled = calls.filter((_, index) => index % 2 === 1).map(({ callId }) => completed(callId, "mine"))
      let seen: readonly CompletedToolCall[] = []
      const machine = new TurnMachine(
        configOf({
          driver: driverOf({
            prepareIteration: () => [{ type: "start_tools", calls, settled }],
            onToolResults: (_context, given) => {
              seen = given
              return [{ type: "start_llm", request: REQUEST }]
            },
          }),
        }),
        { messages: [] },
      )
      while (machine.poll() !== undefined);
      const touched = countTouched(() => {
        for (const callId of ids(count).filter((_, index) => index % 2 === 0)) machine.handle(results(1, completed(callId)))
      })
      expect(seen.map(({ callId }) => callId)).toEqual(ids(count))
      return touched
    })
  })

  describe("of held calls", () => {
    /** Decides without a look at the other calls. */
    const onToolDecisions: NonNullable<ProtocolDriver["onToolDecisions"]> = (_context, _waiting, decisions) =>
      decisions.map(({ requestId, decision }): DriverAction => {
        const callId = requestId.slice(2)
        return decision === "approve" ? { type: "release_calls", requestIds: [requestId] } : { type: "settle_calls", results: [completed(callId)] }
      })
    const HELD = { onToolDecisions }
    const decide = (callId: string, index: number) => decides(about(callId, index % 2 === 0 ? "approve" : "reject"))

    test.each<readonly [string, (callIds: string[]) => string[]]>([
      ["first to last", (callIds) => callIds],
      ["last to first", (callIds) => callIds.reverse()],
    ])("decided one by one, %s, with repeated decisions and results in between", (_order, order) => {
      expectLinear((count) => {
        const machine = waitingForPeople(batchOf(ids(count)), HELD)
        return countTouched(() => {
          order(ids(count)).forEach((callId, index) => {
            const response = decide(callId, index)
            machine.handle(response)
            while (machine.poll() !== undefined);
            if (machine.done) return
            expect(machine.handle(response).status).toBe("stale")
            if (index % 2 === 0) machine.handle(results(1, completed(callId)))
          })
          expect(machine.done).toBe(true)
        })
      })
    })

    test("decided one by one, before anything is polled", () => {
      expectLinear((count) => {
        const machine = waitingForPeople(batchOf(ids(count)), HELD)
        return countTouched(() => {
          ids(count).forEach((callId, index) => void machine.handle(decide(callId, index)))
          while (machine.poll() !== undefined);
          expect(machine.state).toBe("waiting_tools")
        })
      })
    })

    test("after a restore in their middle", () => {
      expectLinear((count) => {
        const machine = waitingForPeople(batchOf(ids(count)), HELD)
        const half = count / 2
        ids(count).forEach((callId, index) => {
          if (index < half) machine.handle(decide(callId, index))
        })
        const restored = TurnMachine.restore(holdingConfig(batchOf(ids(count)), HELD), JSON.stringify(machine.checkpoint()))
        while (restored.poll() !== undefined);
        return countTouched(() => {
          ids(count).forEach((callId, index) => {
            if (index >= half) restored.handle(decide(callId, index))
          })
          while (restored.poll() !== undefined);
        })
      })
    })

    test("ten thousand, one by one", () => {
      const machine = waitingForPeople(batchOf(ids(10_000)), HELD)
      ids(10_000).forEach((callId, index) => void machine.handle(decide(callId, index)))
      const { outstanding } = machine
      expect(outstanding?.type === "tool_calls" && outstanding.calls.length).toBe(5_000)
    })
  })

  test("an old turn of a batch is still usable, and forks", () => {
    const machine = waiting(ids(6))
    const old = machine.turn
    answerAll(machine, ids(6))
    let turn = old
    for (const callId of ids(6).reverse()) turn = handle(configOf(), turn, results(2, completed(callId, `again ${callId}`))).turn
    expect(turn.position.state.type).toBe("waiting_checkpoint")
    expect(JSON.stringify(turn.record.messages.toArray())).toContain("again c5")
    expect(JSON.stringify(machine.messages)).not.toContain("again")
  })
})

describe("many causes and many unpolled effects", () => {
  const cause = (id: string): TurnCause => ({ id, eventType: "mail", origin: { type: "plugin", pluginId: "mail" }, text: id })
  const AFTER_WORK: DriverAction = { type: "start_checkpoint", checkpoint: "after_work", onEmpty: { type: "prepare_iteration" } }

  test("a delivery of a known cause reads none of the others", () => {
    const touchedWith = (count: number): number => {
      const turnCauses = Array.from({ length: count }, (_, index) => cause(`e${index}`))
      const machine = new TurnMachine(configOf({ driver: driverOf({ prepareIteration: () => [AFTER_WORK] }) }), { messages: [], turnCauses })
      while (machine.poll() !== undefined);
      const deliver = (id: number): void => {
        machine.handle(delivers(id, { turnCauses: [cause(`e${count - 1}`)] }))
        while (machine.poll() !== undefined);
      }
      deliver(1)
      return countTouched(() => {
        for (let id = 2; id < 50; id += 1) deliver(id)
      })
    }
    expect(touchedWith(2_000)).toBe(touchedWith(100))
  })

  test("iterations without a new cause cost the same with 2,000 causes as with 100", () => {
    const touchedWith = (count: number): number => {
      const turnCauses = Array.from({ length: count }, (_, index) => cause(`e${index}`))
      const machine = new TurnMachine(configOf(), { messages: [userMessage("hello")], turnCauses })
      const iterate = (from: number, to: number): void => {
        for (let iteration = from; iteration < to; iteration += 1) {
          while (machine.poll() !== undefined);
          machine.handle(callsTools(3 * iteration + 1, ["a"]))
          machine.handle(results(3 * iteration + 2, completed("a")))
          machine.handle(delivers(3 * iteration + 3))
        }
      }
      iterate(0, 5)
      return countTouched(() => iterate(5, 30))
    }
    const few = touchedWith(100)
    expect(touchedWith(2_000)).toBeLessThan(few + 25 * 100)
  })

  test("a new cause is not compared with those before it", () => {
    const comparedWith = (count: number): number => {
      const machine = new TurnMachine(configOf(), { messages: [userMessage("hello")] })
      const every = Array.prototype.every
      let compared = 0
      Array.prototype.every = function (this: unknown[], ...given: Parameters<typeof every>) {
        if ((this[0] as TurnCause | undefined)?.eventType === "mail") compared += this.length
        return every.apply(this, given)
      } as typeof every
      try {
        for (let iteration = 0; iteration < count; iteration += 1) {
          while (machine.poll() !== undefined);
          machine.handle(callsTools(3 * iteration + 1, ["a"]))
          machine.handle(results(3 * iteration + 2, completed("a")))
          machine.handle(delivers(3 * iteration + 3, { turnCauses: [cause(`e${iteration}`)] }))
        }
      } finally {
        Array.prototype.every = every
      }
      return compared
    }
    // The delivered list itself is one cause long.
    expect(comparedWith(200)).toBeLessThanOrEqual(200)
  })

  test("effects that a host leaves unpolled are not searched for every answer after a restore", () => {
    const config = configOf({ driver: driverOf({ onLlmComplete: () => [{ type: "start_llm", request: REQUEST }] }) })
    expectLinear((count) => {
      const machine = new TurnMachine(config, { messages: [] })
      pollAll(machine)
      const restored = TurnMachine.restore(config, JSON.stringify(machine.checkpoint()))
      return countTouched(() => {
        for (let id = 1; id <= count; id += 1) restored.handle(says(id, "Hi."))
      })
    })
  })
})

/** Checks that twice the size costs at most a little more than twice. */
function expectLinear(cost: (count: number) => number): void {
  const [small, middle, large] = SIZES.map(cost) as [number, number, number]
  expect(small).toBeGreaterThan(0)
  expect(middle).toBeLessThan(2.4 * small)
  expect(large).toBeLessThan(2.4 * middle)
}

/** How many items the methods of arrays go through, and how many are put into maps and sets, while something runs. */
function countTouched(act: () => void): number {
  const prototype = Array.prototype as unknown as Record<string, (...given: unknown[]) => unknown>
  const names = [
    "slice",
    "concat",
    "map",
    "filter",
    "every",
    "some",
    "find",
    "findIndex",
    "indexOf",
    "lastIndexOf",
    "includes",
    "flatMap",
    "forEach",
    "splice",
    "sort",
    "join",
  ]
  const real = names.map((name) => [name, prototype[name]] as const)
  let touched = 0
  for (const [name, method] of real)
    prototype[name] = function (this: unknown[], ...given: unknown[]) {
      // A slice copies only what it returns, a search stops at what it finds.
      const before = this.length
      const result = Reflect.apply(method as (...args: unknown[]) => unknown, this, given)
      if (name === "slice") touched += (result as unknown[]).length
      else if (name === "indexOf" || name === "findIndex")
        touched += (result as number) < 0 ? before - Number(given[1] ?? 0) : (result as number) - Number(name === "indexOf" ? (given[1] ?? 0) : 0) + 1
      else touched += before
      return result
    }
  const { set } = Map.prototype
  const { add } = Set.prototype
  Map.prototype.set = function (...given) {
    touched += 1
    return Reflect.apply(set, this, given) as typeof this
  }
  Set.prototype.add = function (...given) {
    touched += 1
    return Reflect.apply(add, this, given) as typeof this
  }
  const iterator = Array.prototype[Symbol.iterator]
  Array.prototype[Symbol.iterator] = function (this: unknown[]) {
    touched += this.length
    return Reflect.apply(iterator, this, [])
  }
  try {
    act()
  } finally {
    for (const [name, method] of real) prototype[name] = method as (...given: unknown[]) => unknown
    Array.prototype[Symbol.iterator] = iterator
    Map.prototype.set = set
    Set.prototype.add = add
  }
  return touched
}
