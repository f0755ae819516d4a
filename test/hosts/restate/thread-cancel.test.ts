import { describe, expect, test, vi } from "vitest"
import type { ApprovalPolicy } from "../../../src/drivers/approval/policy.ts"
import type { Host } from "../../../src/hosts/host.ts"
import type { CancelResult, RestateThreadOptions, SayResult } from "../../../src/hosts/restate/thread.ts"
import type { InputReceipt } from "../../../src/hosts/thread/thread.ts"
import { count, says } from "../thread/support.ts"
import type { FakeEngine } from "./thread-engine.ts"
import { engineOf, START_AT, settled, snapshotOf, statusOf, useClock, worldOf } from "./thread-support.ts"

useClock()

const STRIDE = process.env["TEST_LANE"] === "fast" ? 29 : 1

/** What happens at a step. `cancel`: a client cancels. `stop`, `kill`: an operator cancels, or kills, the invocation that runs the thread. */
type Act = "cancel" | "stop" | "kill"

interface Scenario {
  /** For how many rounds of the event loop a model or tool works, unless it is aborted. */
  readonly rounds: number
  readonly options?: Partial<RestateThreadOptions>
}

const HOLD_A: ApprovalPolicy = ({ callId }) => (callId === "a" ? { hold: {} } : "run")

const SCENARIOS: Record<string, Scenario> = {
  "answers at once": { rounds: 0 },
  "needs time": { rounds: 20 },
  "holds a call": { rounds: 0, options: { approvals: { policy: HOLD_A } } },
  "continues in new invocations": { rounds: 0, options: { segment: { effects: 1 }, approvals: { policy: HOLD_A } } },
}

/** The inputs of a play: two before the cancellation, and one after it. */
const INPUTS = ["Hello there.", "And then?", "Goodbye."]

interface Played {
  readonly engine: FakeEngine
  readonly say: PromiseSettledResult<SayResult>
  readonly cancelled: CancelResult | undefined
  readonly next: SayResult
  /** The idempotency keys of the calls that began, in order. */
  readonly ran: readonly string[]
}

/**
 * Two inputs for one turn with two `once` calls. At a step, the turn is cancelled; at another one, the service is killed. Then another input.
 * `undefined`: the thread rests before the step.
 */
async function play(scenario: Scenario, act: Act, at: number, killAt: number | undefined): Promise<Played | undefined> {
  vi.setSystemTime(START_AT)
  const ran: string[] = []
  const work = async (signal: AbortSignal): Promise<void> => {
    for (let round = 0; round < scenario.rounds; round += 1) {
      await new Promise((resolve) => setImmediate(resolve))
      signal.throwIfAborted()
    }
  }
  const world = worldOf(async (_calls, { messages }, signal) => {
    await work(signal)
    if (JSON.stringify(messages).includes("Goodbye.")) return says("Bye.")
    return messages.some(({ role }) => role === "assistant") ? says("Done.") : says("Let me look.", "a=count", "b=count")
  })
  const host: Host = {
    ...world.host,
    tools: {
      effects: () => "once",
      call: async (_call, { signal, idempotencyKey = "" }) => {
        ran.push(idempotencyKey)
        await work(signal)
        return { output: { status: "success", value: 1 } }
      },
    },
  }
  const engine = engineOf(world, { host, cancelGraceMs: 0, ...scenario.options })
  engine.mostSteps = 2_000
  let cancelling: Promise<CancelResult> | undefined
  let isReached = false
  engine.killsAt = (_step, number) => {
    if (number === at) {
      isReached = true
      const running = engine.invocations.find(({ method, isDone, attempt }) => method === "run" && !isDone && attempt !== undefined)
      if (act === "cancel") cancelling = engine.call<CancelResult>("agent", "t1", "cancel")
      else if (running !== undefined && act === "stop") engine.cancel(running)
      else if (running !== undefined) setImmediate(() => engine.kill(running))
    }
    return number === killAt
  }
  const saying = engine.call<SayResult>("agent", "t1", "say", INPUTS[0])
  const steering = engine.call<InputReceipt>("agent", "t1", "steer", { input: INPUTS[1], when: "turn_end" })
  // Whatever is held is approved, when nothing else happens.
  const [said, steered] = await Promise.allSettled([settled(engine, saying, approveHeld), settled(engine, steering, approveHeld)])
  if (!isReached) return undefined
  if (said.status === "rejected" && !isOfOperator(act, said.reason)) throw said.reason
  if (steered.status === "rejected" && !isOfOperator(act, steered.reason)) throw steered.reason
  const cancelled = cancelling && (await settled(engine, cancelling))
  engine.killsAt = undefined
  const next = await settled(engine, engine.call<SayResult>("agent", "t1", "say", INPUTS[2]), approveHeld)
  return { engine, say: said, cancelled, next, ran }
}

/** A client learns that an operator killed what it waits for. Its input is queued. */
function isOfOperator(act: Act, { code }: { readonly code?: unknown }): boolean {
  return act === "kill" && code === 409
}

/** Returns whether something was held. */
async function approveHeld(engine: FakeEngine): Promise<boolean> {
  const { held } = JSON.parse(engine.stateOf("agent/t1").get("head") ?? '{"held":[]}') as Awaited<ReturnType<typeof statusOf>>
  if (held.length === 0) return false
  const decisions = held.map(({ requestId, digest }) => ({ requestId, digest, decision: "approve" }))
  void engine.call("agent", "t1", "decide", { decisions })
  return true
}

async function check({ engine, say, cancelled, next, ran }: Played, act: Act): Promise<void> {
  if (say.status === "fulfilled" && act === "cancel") expect(["finished", "stopped"]).toContain(say.value.outcome?.type)
  expect(next.outcome).toMatchObject({ type: "finished", finish: { text: "Bye." } })
  const { queue, held, pending, arrived, openTurn } = await statusOf(engine)
  expect({ queue, held, pending, arrived, openTurn }).toEqual({ queue: [], held: [], pending: [], arrived: 0, openTurn: undefined })
  const history = JSON.stringify((await snapshotOf(engine)).history)
  const returned = JSON.stringify(cancelled?.returned ?? [])
  for (const input of INPUTS) expect(`${input} ${count(history, `"text":"${input}"`) + count(returned, `"text":"${input}"`)}`).toBe(`${input} 1`)
  expect(new Set(ran).size).toBe(ran.length)
}

interface Tested {
  readonly title: string
  readonly act: Act
  /** How many steps later the service is killed. */
  readonly killed?: number
}

const TESTED: readonly Tested[] = [
  { title: "cancelled by a client", act: "cancel" },
  { title: "cancelled by a client, and the service is killed one step later", act: "cancel", killed: 1 },
  { title: "cancelled by a client, and the service is killed five steps later", act: "cancel", killed: 5 },
  { title: "in an invocation that an operator cancels", act: "stop" },
  { title: "in an invocation that an operator kills", act: "kill" },
  { title: "in an invocation that an operator kills, and the service is killed one step later", act: "kill", killed: 1 },
]

describe.each(Object.keys(SCENARIOS))("a turn that %s loses no input, and its thread continues", (name) => {
  const scenario = SCENARIOS[name] as Scenario

  test.each(TESTED)(
    "if at any step it is $title",
    async ({ act, killed }) => {
      let cases = 0
      for (let at = 1; ; at += STRIDE) {
        try {
          const played = await play(scenario, act, at, killed && at + killed)
          if (played === undefined) break
          await check(played, act)
          cases += 1
        } catch (error) {
          throw new Error(`At step ${at}: ${String(error)}`, { cause: error })
        }
      }
      // A turn has more than a hundred steps.
      expect(cases).toBeGreaterThanOrEqual(Math.floor(100 / STRIDE))
    },
    600_000,
  )
})
