import * as fc from "fast-check"
import { afterAll, describe, expect, test } from "vitest"
import { type TurnLog, wrapHost } from "../../src/hosts/host.ts"
import { type Change, wrapMembers } from "../../src/wrap.ts"
import { checkAsync, SLOW } from "../properties/check.ts"
import { oneByOne } from "../support/one-by-one.ts"
import { countingRejections, fuzz } from "./fuzz.ts"
import { script } from "./script.ts"
import type { Broken } from "./shapes.ts"
import { newFigures } from "./world.ts"

const figures = newFigures()
const startedAt = performance.now()

const CASES = 250
const MOST_FACTOR = 100

test("whatever goes wrong in a host and its store, a turn ends once and keeps its promises", SLOW, async () => {
  const property = fc.asyncProperty(script, async (scripted) => {
    expect(await fuzz(scripted, figures)).toEqual([])
  })
  await countingRejections(() => checkAsync(CASES, property, MOST_FACTOR))
})

/** Breaks the log of a run. */
function withLog(change: { readonly [Name in keyof TurnLog]?: Change<TurnLog[Name]> }): Broken {
  return ({ host, options }) => ({
    host,
    options: { ...options, ...(options.journal !== undefined && { journal: wrapMembers(oneByOne(options.journal), change) }) },
  })
}

const BROKEN: { readonly [what: string]: Broken } = {
  "starts of once calls are not stored": withLog({ callStarted: async () => "first" }),
  "starts of once calls are forgotten": withLog({ mayHaveRun: () => false }),
  "a once call is begun although it may have run": withLog({
    callStarted: async (next, effectId, callId) => {
      await next(effectId, callId)
      return "first"
    },
  }),
  "answers are not stored": withLog({
    response: async (next, machine, response) => (response.type === "checkpoint_delivery" ? undefined : next(machine, response)),
  }),
  "answers are stored twice": withLog({
    response: async (next, machine, response) => {
      await next(machine, response)
      await next(machine, response)
    },
  }),
  "commands are carried out and not stored": withLog({ command: async (_next, machine, command) => machine.turn && machine.command(command) }),
  "the end is not stored": withLog({ settled: async (next, machine) => (machine.done ? undefined : next(machine)) }),
  "records are lost": ({ host, options }) => ({
    host: wrapHost(host, { progress: async (next, effect) => (effect.type === "progress" ? undefined : next(effect)) }),
    options,
  }),
  "records are reported at a wrong place": ({ host, options }) => ({
    host: wrapHost(host, { progress: (next, effect) => next({ ...effect, recordsFrom: effect.recordsFrom + 1 }) }),
    options,
  }),
  "calls run twice": ({ host, options }) => ({
    host: wrapHost(host, {
      tools: {
        call: async (next, call, context) => {
          await next(call, context)
          return next(call, context)
        },
      },
    }),
    options,
  }),
  "idempotency keys are new in each process": ({ host, options }) => ({ host, options: { ...options, turnId: `${performance.now()}` } }),
  "a timer is left": (run) => {
    setTimeout(() => {}, 1_000)
    return run
  },
  "a listener is left": (run) => {
    run.options.signal?.addEventListener("abort", () => {})
    return run
  },
  "a rejection is not handled": (run) => {
    Promise.reject(new Error("Nobody handles it."))
    return run
  },
  "errors are swallowed": ({ host, options }) => ({ host, options: { ...options, isFatal: () => true } }),
}

describe("the fuzzer sees when", () => {
  // The fastest ones.
  const cases = fc.sample(script, { numRuns: 2_500, seed: 11 }).filter(({ shape, store }) => shape === "journaled" && store === "memory")
  const found: string[] = []

  test.each(Object.keys(BROKEN))("%s", SLOW, async (what) => {
    let seen: number | undefined
    await countingRejections(async () => {
      for (const [index, scripted] of cases.entries()) {
        if ((await fuzz(scripted, newFigures(), BROKEN[what])).length === 0) continue
        seen = index + 1
        return
      }
    })
    found.push(`${String(seen).padStart(6)}  ${what}`)
    expect(seen).toBeDefined()
  })

  afterAll(() => console.info(`cases until it was seen:\n${found.join("\n")}`))
})

afterAll(() => {
  console.info(`${Math.round((performance.now() - startedAt) / 100) / 10} s: ${JSON.stringify(figures)}`)
})
