import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { afterAll, beforeAll, expect, test } from "vitest"
import { workDone } from "./agent.ts"
import { Client } from "./client.ts"
import { type EngineOptions, freePort, freePorts, type RunningEngine, type RunningService, startEngine, startService } from "./engine.ts"
import { ThreadClient } from "./thread-client.ts"
import { faultsOf, repeatsOf } from "./world.ts"

const KILLS = Number(process.env["GOAL_KILLS"] ?? "6")
const LONG = 300_000

const folder = mkdtempSync(join(tmpdir(), "turn-machine-restate-"))
const world = join(folder, "world.jsonl")
const killed = new Set<number>()
let options: EngineOptions
let port: number
let engine: RunningEngine
let service: RunningService
let client: Client

beforeAll(async () => {
  options = { data: join(folder, "data"), ports: await freePorts() }
  port = await freePort()
  engine = await startEngine(options)
  client = new Client(engine)
  await startAgain()
  await client.register(port)
}, 60_000)

afterAll(async () => {
  await service?.kill()
  await engine?.kill()
  rmSync(folder, { recursive: true, force: true })
})

async function startAgain(): Promise<void> {
  service = await startService(port, { env: { WORLD: world, WORK_MS: "60" } })
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
  const thread = threadOf("cancelled")
  await thread.command({ type: "set", objective: "Write a report of 12 figures." }, "c1")
  await thread.until(({ progress }) => progress !== undefined)
  expect(await thread.cancel("Enough for now.")).toMatchObject({ wasRunning: true })
  const paused = await thread.until(({ rest }) => rest !== undefined)
  expect(paused).toMatchObject({ goal: { status: "paused" }, lastTurn: { outcome: { type: "stopped" } } })
  expect(paused.goal?.tokensUsed).toBeGreaterThan(0)
  await thread.command({ type: "resume" }, "c2")
  await thread.until(({ goal }) => goal?.status === "complete")
})

test("a pause reaches a running turn, and no value of the state is long", { timeout: LONG }, async () => {
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
