import { afterEach, beforeEach, vi } from "vitest"
import type { RestateThreadOptions, ThreadStatus } from "../../../src/hosts/restate/thread.ts"
import { readOnlyStore } from "../../../src/hosts/restate/thread-store.ts"
import { snapshotThread, type ThreadSnapshot } from "../../../src/hosts/thread/snapshot.ts"
import { CONFIG } from "../../replay/support.ts"
import { World } from "../thread/support.ts"
import { FakeEngine, onClock } from "./thread-engine.ts"

export const START_AT = 1_000_000

export const COMPLETE = 'u=update_goal {"status":"complete"}'

/** Gives each test of a file a clock of its own. */
export function useClock(): void {
  beforeEach(() => {
    vi.useFakeTimers({ toFake: ["Date"], now: START_AT })
    onClock((at) => vi.setSystemTime(Math.max(at, Date.now())))
  })
  afterEach(() => {
    vi.useRealTimers()
  })
}

/** A world whose clock is that of the test. */
export function worldOf(answer: World["answer"]): World {
  const world = new World(answer)
  Object.defineProperty(world, "at", { get: () => Date.now(), set: (at: number) => void vi.setSystemTime(at) })
  return world
}

export function engineOf(world: World, more: Partial<RestateThreadOptions> = {}): FakeEngine {
  const engine = new FakeEngine()
  engine.deploy(optionsOf(world, more))
  return engine
}

export function optionsOf(world: World, more: Partial<RestateThreadOptions> = {}): RestateThreadOptions {
  return { name: "agent", config: CONFIG, host: world.host, cancelGraceMs: 10, ...more }
}

/** The thread as its log in the state has it. */
export async function snapshotOf(engine: FakeEngine, key = "t1"): Promise<ThreadSnapshot> {
  const snapshot = await snapshotThread(storeOf(engine, key), `agent/${key}`, undefined)
  if (snapshot === undefined) throw new Error("There is no thread.")
  return snapshot
}

/** The texts in the state of an object. */
export function storeOf(engine: FakeEngine, key: string): ReturnType<typeof readOnlyStore> {
  const state = engine.stateOf(`agent/${key}`)
  return readOnlyStore({
    get: async (name) => {
      const text = state.get(name)
      return text === undefined ? null : JSON.parse(text)
    },
    stateKeys: async () => [...state.keys()],
  })
}

export function statusOf(engine: FakeEngine, key = "t1"): Promise<ThreadStatus> {
  return engine.call<ThreadStatus>("agent", key, "status")
}

/** After so many rounds of the event loop in which nothing happens, nothing will. */
const QUIET_ROUNDS = 200

/**
 * The result of a request. Fails, with what every invocation waits for, if the engine comes to rest before: it does not wait for a time to pass.
 * `otherwise`: called when the engine rests; it may make something happen, and then returns true.
 */
export async function settled<Result>(
  engine: FakeEngine,
  result: Promise<Result>,
  otherwise: (engine: FakeEngine) => Promise<boolean> = async () => false,
): Promise<Result> {
  let isSettled = false
  const note = (): void => {
    isSettled = true
  }
  result.then(note, note)
  for (let quiet = 0, steps = -1; !isSettled && engine.faults.length === 0; steps = engine.steps.length) {
    quiet = engine.steps.length === steps && !engine.isWorking ? quiet + 1 : 0
    if (quiet > QUIET_ROUNDS) {
      if (!(await otherwise(engine))) throw new Error(`Nothing happens any more.\n${engine.waits}`)
      quiet = 0
    }
    await new Promise((resolve) => setImmediate(resolve))
  }
  return result
}

/** Resolves when something is true. */
export async function until(isTrue: () => boolean | Promise<boolean>): Promise<void> {
  for (let round = 0; round < 2_000; round += 1) {
    if (await isTrue()) return
    await new Promise((resolve) => setImmediate(resolve))
  }
  throw new Error("It does not happen.")
}

/** A value that a test gives when it likes. */
export function gate<Value>(): { readonly promise: Promise<Value>; open(value: Value): void } {
  let open: (value: Value) => void = () => {}
  const promise = new Promise<Value>((resolve) => {
    open = resolve
  })
  return { promise, open }
}
