import { expect, test } from "vitest"
import { chatDriver } from "../../src/drivers/chat.ts"
import { compactingDriver } from "../../src/drivers/compaction/driver.ts"
import { wrapDriver } from "../../src/drivers/wrap-driver.ts"
import type { DriverContext, ProtocolDriver } from "../../src/machine/driver.ts"
import type { Transcript } from "../../src/projectors/projector.ts"
import { callIn, compactingConfig, isCompactionRequest, long, recordsOf, started } from "../drivers/compaction/support.ts"
import { callsTools, completed, delivers, pollAll, respond, results, says } from "../machine/support.ts"
import { SLOW } from "./check.ts"

// Law 9 without a clock: what the driver reads of the transcript and the history is counted.

test("what compacting reads does not depend on the iterations and compactions before", SLOW, () => {
  const counted = new CountedReads()
  const config = compactingConfig({}, { driver: counted.under(compactingDriver(chatDriver(), { keepTailTokens: 100 })), maxContextTokens: 2_000 })
  const machine = started(config)
  let effects = pollAll(machine)
  let compactions = 0
  const perCycle: number[] = []
  for (let id = 1; compactions < 60; ) {
    if (isCompactionRequest(callIn(effects).request)) {
      respond(machine, says(id, "All is well so far."))
      effects = respond(machine, delivers(id + 1))
      compactions += 1
      perCycle.push(counted.reads)
      counted.reads = 0
      id += 2
    } else {
      respond(machine, callsTools(id, ["a"]))
      respond(machine, results(id + 1, completed("a", long(200))))
      effects = respond(machine, delivers(id + 2))
      id += 3
    }
  }
  expect(recordsOf(machine.history).length).toBe(60)
  expect(machine.messages.length).toBeGreaterThan(500)
  expect(perCycle[5]).toBeGreaterThan(20)
  // The first cycles begin without a summary.
  expect(new Set(perCycle.slice(5))).toEqual(new Set([perCycle[5]]))
})

/** Counts the reads of items of the transcript and of the history. */
class CountedReads {
  reads = 0
  readonly #storages = new WeakMap<readonly unknown[], readonly unknown[]>()

  /** The driver, with contexts whose reads are counted. */
  under(inner: ProtocolDriver): ProtocolDriver {
    return wrapDriver(inner, {
      prepareIteration: (next, context) => next(this.#context(context)),
      onLlmComplete: (next, context, ...rest) => next(this.#context(context), ...rest),
      onToolResults: (next, context, given) => next(this.#context(context), given),
      onDelivery: (next, context, ...rest) => next(this.#context(context), ...rest),
    })
  }

  #context(context: DriverContext): DriverContext {
    const changed = new Map<PropertyKey, unknown>([
      ["messages", this.#transcript(context.messages)],
      ["events", this.#transcript(context.events)],
    ])
    return new Proxy(context, {
      get: (target, key) => {
        if (changed.has(key)) return changed.get(key)
        const value: unknown = Reflect.get(target, key)
        return typeof value === "function" ? (value.bind(target) as unknown) : value
      },
    })
  }

  #transcript<Item>({ storage, length }: Transcript<Item>): Transcript<Item> {
    const counted = this.#storage(storage)
    return {
      storage: counted,
      length,
      at: (index) => counted[index < 0 ? length + index : index],
      slice: (start, end = length) => counted.slice(start, Math.min(end, length)),
      toArray: () => counted.slice(0, length),
      [Symbol.iterator]: () => counted.slice(0, length)[Symbol.iterator](),
    }
  }

  #storage<Item>(storage: readonly Item[]): readonly Item[] {
    let known = this.#storages.get(storage) as readonly Item[] | undefined
    if (known === undefined) {
      known = new Proxy(storage, {
        get: (target, key, receiver) => {
          if (typeof key === "string" && /^\d+$/.test(key)) this.reads += 1
          return Reflect.get(target, key, receiver) as unknown
        },
      })
      this.#storages.set(storage, known)
    }
    return known
  }
}
