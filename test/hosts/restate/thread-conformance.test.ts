import { test } from "vitest"
import type { CancelResult, ThreadStatus } from "../../../src/hosts/restate/thread.ts"
import { snapshotThread } from "../../../src/hosts/thread/snapshot.ts"
import type { InputReceipt } from "../../../src/hosts/thread/thread.ts"
import { type TestedProcess, type TestedStatus, type TestedThread, type ThreadInstance, threadConformance } from "../../../src/testing/index.ts"
import type { GoalOutput } from "../../../src/wire/goal.ts"
import { FakeEngine } from "./thread-engine.ts"
import { storeOf } from "./thread-support.ts"

const IS_FAST = process.env["TEST_LANE"] === "fast"
const NAME = "agent"

/** Serves a thread of the harness by an object in `engine`. Each process is a service, and the engine outlives them. */
function serve(engine: FakeEngine, process: TestedProcess, { threadId: key, config, goals, executors, now }: TestedThread): ThreadInstance {
  engine.now = now
  engine.timersFire = false
  engine.stop()
  engine.reached = (place) => process.reached(place)
  engine.deploy({ name: NAME, config, goals, host: executors, now, maxWaitMs: 0, cancelGraceMs: 50 })
  process.killed.addEventListener("abort", () => engine.stop(), { once: true })
  engine.start()
  const call = <Result>(handler: Parameters<FakeEngine["call"]>[2], request?: unknown): Promise<Result> =>
    engine.call<Result>(NAME, key, handler, request)
  const statusOf = (): Promise<ThreadStatus> => call<ThreadStatus>("status")
  const stored = <Value>(name: string, of = key): Value | undefined => {
    const text = engine.stateOf(`${NAME}/${of}`).get(name)
    return text === undefined ? undefined : (JSON.parse(text) as Value)
  }
  return {
    async run() {
      const running = call<{ readonly rest: { readonly notBefore?: number } }>("run")
      let isOver = false
      const over = running.finally(() => {
        isOver = true
      })
      // A run waits for people in its invocation. The loop ends with the run, and with its process.
      const waits = (async () => {
        for (let quiet = 0, steps = -1; !isOver && !process.killed.aborted; quiet = engine.steps.length === steps ? quiet + 1 : 0) {
          steps = engine.steps.length
          const { held = [] } = stored<ThreadStatus>("head") ?? {}
          const arrived = (stored<number>("end", `${key}/inbox`) ?? 0) - (stored<{ readonly number: number }>("cursor")?.number ?? 0)
          const [invocation] = engine.invocations.filter(({ method, isDone, attempt }) => method === "run" && !isDone && attempt !== undefined)
          if (held.length > 0 && arrived === 0 && invocation !== undefined && engine.isIdle(invocation) && quiet > 20) return { rest: {} }
          await new Promise((resolve) => setImmediate(resolve))
        }
        return over
      })()
      return (await Promise.race([over, waits])).rest
    },
    say: async (input, options) => (await call<InputReceipt>("steer", { input, ...options })).inputId,
    retract: (inputId) => call("retract", { inputId }),
    interrupt: async () => (await call<CancelResult>("cancel")).returned.map(({ inputId }) => inputId),
    command: (command, options) => call<readonly GoalOutput[]>("command", { command, ...options }),
    decide: (decisions, turnId) => call("decide", { decisions, ...(turnId !== undefined && { turnId }) }),
    async status(): Promise<TestedStatus> {
      const { held, openTurn } = await statusOf()
      const found = await snapshotThread(storeOf(engine, key), `${NAME}/${key}`, undefined)
      return {
        messages: (found?.history ?? []).flatMap((record) => (record.type === "conversation" ? [record.message] : [])),
        queue: (found?.queue ?? []).map(({ inputId }) => inputId),
        held,
        openTurn: openTurn?.turnId,
        goal: found?.goal ?? null,
      }
    },
    close: () => engine.stop(),
    kill: () => engine.stop(),
  }
}

const checks = threadConformance(
  () => {
    const engine = new FakeEngine()
    return { start: (process, thread) => serve(engine, process, thread) }
  },
  {
    promises: { redirect: false, exclusive: false, linear: false },
    timeoutMs: 30_000,
    mostPlaces: Number(process.env["CONFORMANCE_PLACES"] ?? (IS_FAST ? "1" : "3")),
  },
)

// The long thread takes a quarter of a minute.
for (const { name, run } of checks) test.skipIf(IS_FAST && name.startsWith("80 turns"))(name, run, IS_FAST ? 60_000 : 600_000)
