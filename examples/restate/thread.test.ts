import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { afterAll, beforeAll, expect, test } from "vitest"
import { workDone } from "./agent.ts"
import { bundle } from "./bundle.ts"
import { Client } from "./client.ts"
import { type EngineOptions, freePort, freePorts, type RunningEngine, type RunningService, startEngine, startService } from "./engine.ts"
import { ThreadClient } from "./thread-client.ts"
import { faultsOf, repeatsOf } from "./world.ts"

const KILLS = Number(process.env["GOAL_KILLS"] ?? "6")
const LONG = 600_000

const folder = mkdtempSync(join(tmpdir(), "turn-machine-restate-"))
const world = join(folder, "world.jsonl")
const killed = new Set<number>()
let options: EngineOptions
let port: number
let program: string
let engine: RunningEngine
let service: RunningService
let client: Client

beforeAll(async () => {
  options = { data: join(folder, "data"), ports: await freePorts() }
  port = await freePort()
  program = await bundle(folder)
  engine = await startEngine(options)
  client = new Client(engine)
  await startAgain()
  await client.register(port)
}, LONG)

afterAll(async () => {
  await service?.kill()
  await engine?.kill()
  rmSync(folder, { recursive: true, force: true })
}, LONG)

async function startAgain(env: Record<string, string> = {}): Promise<void> {
  service = await startService(port, { program, env: { WORLD: world, WORK_MS: "60", ...env } })
}

/** With it, a turn takes minutes, so that it runs when something arrives for it. */
const LONG_TURNS = { STEPS: "2000", STEPS_OF_A_TURN: "2000" }

async function startWith(env: Record<string, string>): Promise<void> {
  await killService()
  await startAgain(env)
}

async function killService(): Promise<void> {
  killed.add(service.pid)
  await service.kill()
}

const threadOf = (key: string): ThreadClient => new ThreadClient(client, key)
const workOf = (key: string) => workDone(world).filter((work) => work.key?.startsWith(`agent/${key}.`))

test("a goal survives kills of the service and of the server", { timeout: LONG }, async () => {
  const thread = threadOf("goal")
  await thread.command({ type: "set", objective: "Write a report of 12 figures.", tokenBudget: 50_000 }, "c1")
  for (let kills = 0; kills < KILLS; kills += 1) {
    await sleep(100 + Math.random() * 200)
    await killService()
    if (kills % 3 === 2) {
      await engine.kill()
      engine = await startEngine(options)
    }
    await startAgain()
  }
  const status = await thread.until(({ goal, rest }) => goal?.status === "complete" && rest !== undefined, LONG)
  // Twelve steps, the ends of three turns, and the call that completes the goal: 16 calls of the model. The goal is not charged for the last one.
  expect(status).toMatchObject({ turns: 3, goal: { tokensUsed: 15 * 110, status: "complete" }, usage: { inputTokens: 1_600, outputTokens: 160 } })
  const work = workOf("goal")
  expect(faultsOf(work, killed)).toEqual([])
  expect(new Set(work.map(({ key }) => key)).size).toBe(28)
  console.log(
    `A goal of 3 turns, ${KILLS} kills of the service: ${work.length} pieces of work, ${repeatsOf(work)} of them repeats of work in flight.`,
  )
})

test("the same input twice is one input, and a command that the goal refuses says so", { timeout: LONG }, async () => {
  const thread = threadOf("twice")
  const first = await thread.say("Hello", "i1")
  expect(first).toMatchObject({ inputId: "user-1", outcome: { type: "finished" } })
  expect(await thread.say("Hello", "i1")).toEqual(first)
  expect((await thread.status()).turns).toBe(1)
  expect(await thread.command({ type: "pause" }, "c1")).toMatchObject([{ type: "refused", code: "no_goal" }])
  await expect(thread.say("Something else", "i1")).rejects.toThrow("key_reused")
})

test("a held call of a thread waits while neither the server nor the service runs, and then runs once", { timeout: LONG }, async () => {
  const thread = threadOf("held")
  await thread.sayLater("Send the report.", "i1")
  await thread.until(({ held }) => held.length === 1)
  await killService()
  await engine.kill()
  engine = await startEngine(options)
  await startAgain()
  const { held } = await thread.until((status) => status.held.length === 1)
  const [call] = held
  if (call === undefined) throw new Error("No call is held.")
  expect(workOf("held").filter(({ what }) => what === "send")).toEqual([])
  const decision = { requestId: call.requestId, digest: call.digest, decision: "approve", by: "eve" } as const
  expect(await thread.decide([{ ...decision, digest: "0-0" }])).toMatchObject([{ status: "refused", code: "digest_mismatch" }])
  expect(await thread.decide([decision])).toMatchObject([{ status: "accepted" }])
  await thread.until(({ rest }) => rest !== undefined)
  expect(workOf("held").filter(({ what }) => what === "send")).toHaveLength(1)
})

test("a cancelled turn ends in order, its goal pauses, and continues when it is resumed", { timeout: LONG }, async () => {
  await startWith(LONG_TURNS)
  const thread = threadOf("cancelled")
  await thread.command({ type: "set", objective: "Write a report of 12 figures." }, "c1")
  await thread.until(({ progress }) => progress !== undefined)
  expect(await thread.cancel("Enough for now.")).toMatchObject({ wasRunning: true })
  const paused = await thread.until(({ rest }) => rest !== undefined)
  expect(paused).toMatchObject({ goal: { status: "paused" }, lastTurn: { outcome: { type: "stopped" } } })
  expect(paused.goal?.tokensUsed).toBeGreaterThan(0)
  await startWith({})
  await thread.command({ type: "resume" }, "c2")
  await thread.until(({ goal }) => goal?.status === "complete")
})

test("a pause reaches a running turn, and no value of the state is long", { timeout: LONG }, async () => {
  await startWith(LONG_TURNS)
  const thread = threadOf("paused")
  await thread.command({ type: "set", objective: "Write a report of 12 figures." }, "c1")
  await thread.until(({ progress }) => progress !== undefined)
  await thread.command({ type: "pause" }, "c2")
  const { turns } = await thread.until(({ goal, rest }) => goal?.status === "paused" && rest !== undefined)
  expect(turns).toBe(1)
  const [{ longest = 0 } = {}] = await client.query<{ longest: number }>(
    "select max(length(value)) as longest from state where service_name = 'agent'",
  )
  expect(longest).toBeLessThan(70_000)
})

test("a turn that is cancelled at any time ends, and loses no input", { timeout: LONG }, async () => {
  const thread = threadOf("cancelled-often")
  for (let round = 0; round < 15; round += 1) {
    const saying = thread.say(`Hello ${round}`, `i${round}`)
    await sleep(Math.random() * 150)
    const cancelled = await thread.cancel("Stop.")
    const { inputId } = await saying
    // Either the input came back, or a turn received it.
    const isReturned = cancelled.returned.some((input) => input.inputId === inputId)
    expect(await thread.retract(inputId)).toBe(isReturned ? "retracted" : "delivered")
    expect(await thread.status()).toMatchObject({ queue: [], held: [], arrived: 0 })
  }
  expect(await thread.say("Goodbye", "end")).toMatchObject({ outcome: { type: "finished" } })
})

test("a thread receives inputs although the state of its inbox was cleared", { timeout: LONG }, async () => {
  const thread = threadOf("cleared")
  await thread.say("Hello", "i1")
  await client.clearState("agent", "cleared/inbox")
  while ((await client.query("select key from state where service_name = 'agent' and service_key = 'cleared/inbox'")).length > 0) await sleep(20)
  expect(await thread.say("Are you there?", "i2")).toMatchObject({ outcome: { type: "finished" } })
  expect(await thread.status()).toMatchObject({ turns: 2, queue: [], arrived: 0 })
  // The run of a held call waits for what arrives.
  await thread.sayLater("Send the report.", "i3")
  const { held } = await thread.until((status) => status.held.length === 1)
  await client.clearState("agent", "cleared/inbox")
  while ((await client.query("select key from state where service_name = 'agent' and service_key = 'cleared/inbox'")).length > 0) await sleep(20)
  const [{ requestId = "", digest = "" } = {}] = held
  expect(await thread.decide([{ requestId, digest, decision: "reject", message: "No." }])).toMatchObject([{ status: "accepted" }])
  expect(await thread.until(({ rest }) => rest !== undefined)).toMatchObject({ turns: 3, lastTurn: { outcome: { type: "finished" } } })
})

test("any key is one of its own or refused", { timeout: LONG }, async () => {
  for (const key of ["a/b", "__proto__", "a b", "日本", "x".repeat(1_000)])
    expect(await threadOf(key).say("Hello", "i1")).toMatchObject({ inputId: "user-1", outcome: { type: "finished" } })
  for (const key of ["a/b/inbox", "x".repeat(1_001)]) await expect(threadOf(key).say("Hello", "i1")).rejects.toThrow("invalid_key")
})
