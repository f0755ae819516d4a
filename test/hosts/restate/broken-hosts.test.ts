import { expect, test } from "vitest"
import { wrapHost } from "../../../src/hosts/host.ts"
import type { DurablePromise, RestateContext } from "../../../src/hosts/restate/context.ts"
import { ConformanceError, hostConformance } from "../../../src/testing/index.ts"
import type { FakeContext } from "./fake-restate.ts"
import { type Breakage, restateHost } from "./tested-restate.ts"

/** The names of the checks of one scenario that a host fails. */
async function failed(breakage: Breakage, scenario: string, mostPlaces = 10): Promise<readonly string[]> {
  const names: string[] = []
  for (const { name, run } of hostConformance(() => restateHost(breakage), { timeoutMs: 1_000, mostPlaces, promises: { held: true } })) {
    if (!name.startsWith(`${scenario}: `)) continue
    try {
      await run()
    } catch (thrown) {
      if (!(thrown instanceof ConformanceError)) throw thrown
      names.push(name.slice(scenario.length + 2))
    }
  }
  return names
}

/** A context whose steps are changed. */
function withSteps(
  run: (ctx: FakeContext, name: string, action: () => Promise<unknown>) => DurablePromise<unknown>,
): (ctx: FakeContext) => RestateContext {
  return (ctx) => ({
    run: <Value>(name: string, action: () => Promise<Value>) => run(ctx, name, action) as DurablePromise<Value>,
    sleep: (millis) => ctx.sleep(millis),
    signal: <Value>(name: string) => ctx.signal<Value>(name),
    awakeable: () => ctx.awakeable(),
    request: () => ctx.request(),
  })
}

interface Broken {
  readonly fault: string
  readonly scenario: string
  /** The check that must fail, among others. */
  readonly check: string
  readonly breakage: Breakage
  readonly mostPlaces?: number
}

const BROKEN: readonly Broken[] = [
  {
    fault: "takes every start for the first",
    mostPlaces: 30,
    scenario: "killed at every place",
    check: "a call that must not run twice never begins twice",
    breakage: {
      // The closure of a step that was recorded runs again.
      ctx: withSteps((ctx, name, action) => {
        if (name.endsWith(" started")) void action()
        return ctx.run(name, action)
      }),
    },
  },
  {
    fault: "performs work again whose answer is recorded",
    scenario: "killed at every place",
    check: "no answer that was acted on is asked for again",
    breakage: {
      ctx: withSteps((ctx, name, action) => {
        if (name.endsWith("llm_call")) void action()
        return ctx.run(name, action)
      }),
    },
  },
  {
    fault: "has keys of its own in each attempt",
    scenario: "killed at every place",
    check: "work is repeated only under the same idempotency key, which no other work has",
    breakage: {
      host: (host) =>
        wrapHost(host, { llmCall: (next, effect, context) => next(effect, { ...context, idempotencyKey: `${effect.id} ${Math.random()}` }) }),
    },
  },
  {
    fault: "hears nothing of a cancellation",
    scenario: "cancelled while a call does not return",
    check: "it ends as without an interruption",
    breakage: {
      engine: (engine) => {
        const known = engine.invocation.bind(engine)
        engine.invocation = (id, key) => Object.assign(known(id, key), { cancel: () => {} })
      },
    },
  },
  {
    fault: "takes a fatal error for a failure",
    scenario: "suspended by a fatal error",
    check: "a fatal error ends the run and is not an answer",
    breakage: { options: (options) => ({ ...options, isFatal: () => false }) },
  },
  {
    fault: "reports nothing",
    scenario: "undisturbed",
    check: "records are reported in order, each at its place, without a gap",
    breakage: { host: (host) => wrapHost(host, { progress: () => {} }) },
  },
  {
    fault: "continues with any code",
    scenario: "code changed between processes",
    check: "changed code is refused with an error, or continues the turn correctly",
    breakage: {
      // What is recorded fits any code.
      ctx: withSteps((ctx, name, action) => {
        let now: unknown
        const known = ctx.run(name, async () => action())
        if (!name.startsWith("turn ")) return known
        void action().then((value) => {
          now = value
        })
        return known.map((_value, failure) => {
          if (failure !== undefined) throw failure
          return now
        })
      }),
    },
  },
  {
    fault: "lets held calls run",
    scenario: "held calls, one decided in each process",
    check: "a run suspends with exactly the calls that wait",
    breakage: {
      ctx: (ctx) => {
        const signal = <Value>(name: string): DurablePromise<Value> => ctx.run(`guess ${name}`, async () => ({ decision: "approve" }) as Value)
        return { ...withSteps((own, name, action) => own.run(name, action))(ctx), signal } as RestateContext
      },
    },
  },
]

test.each(BROKEN)("a host fails that $fault", { timeout: 60_000 }, async ({ scenario, check, breakage, mostPlaces }) => {
  expect(await failed(breakage, scenario, mostPlaces)).toContain(check)
})
