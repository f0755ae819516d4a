import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { afterAll, beforeAll, expect, test } from "vitest"
import { workDone } from "./agent.ts"
import { bundle } from "./bundle.ts"
import { Client } from "./client.ts"
import {
  type EngineOptions,
  freePort,
  freePorts,
  NotReachable,
  type RunningEngine,
  type RunningService,
  startEngine,
  startService,
  type WaitingCall,
} from "./engine.ts"
import { journalOf, stepsOf } from "./journal.ts"
import { faultsOf, repeatsOf } from "./world.ts"

const TURNS = Number(process.env["TURNS"] ?? "50")
const KILLS = Number(process.env["SERVICE_KILLS"] ?? "100")
const LONG = 600_000

const folder = mkdtempSync(join(tmpdir(), "turn-machine-restate-"))
const world = join(folder, "world.jsonl")
const waits: WaitingCall[] = []
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
  service = await startService(port, { program, env: { WORLD: world, ...env }, onWaits: (call) => waits.push(call) })
}

async function killService(): Promise<void> {
  killed.add(service.pid)
  await service.kill()
}

async function waiting(invocationId: string): Promise<WaitingCall> {
  for (;;) {
    const call = waits.find((one) => one.invocationId === invocationId)
    if (call !== undefined) return call
    await sleep(20)
  }
}

test("turns complete although the service is killed again and again", { timeout: LONG }, async () => {
  const ids = await Promise.all(Array.from({ length: TURNS }, (_, index) => client.begin({ turnId: `killed-${index}`, rounds: 7, workMs: 40 })))
  let kills = 0
  let isOver = false
  const ends = Promise.all(ids.map((id) => client.end(id, LONG))).finally(() => {
    isOver = true
  })
  for (; kills < KILLS; kills += 1) {
    // Where all turns have ended, more begin: each kill hits something.
    if (isOver) ids.push(await client.begin({ turnId: `more-${kills}`, rounds: 12, workMs: 60 }))
    await sleep(40 + Math.random() * 200)
    await killService()
    await startAgain()
  }
  await ends
  const all = await Promise.all(ids.map((id) => client.end(id, LONG)))
  expect(all.map(({ outcome, text }) => `${outcome}: ${text}`)).toEqual(ids.map(() => "finished: Everything is bought."))
  const work = workDone(world)
  expect(faultsOf(work, killed)).toEqual([])
  console.log(
    `${ids.length} turns, ${kills} kills of the service: ${work.length} pieces of work, ${repeatsOf(work)} of them repeats of work in flight.`,
  )
})

test("turns complete although the server is killed", { timeout: LONG }, async () => {
  const ids = await Promise.all(Array.from({ length: 5 }, (_, index) => client.begin({ turnId: `server-${index}`, rounds: 12, workMs: 40 })))
  // The attempts of a server that was killed end with it: what they do then is work in flight.
  killed.add(service.pid)
  for (let kills = 0; kills < 3; kills += 1) {
    await sleep(200 + Math.random() * 300)
    await engine.kill()
    engine = await startEngine(options)
  }
  for (const id of ids) expect((await client.end(id, LONG)).outcome).toBe("finished")
  expect(faultsOf(workDone(world), killed)).toEqual([])
})

test("a cancelled invocation ends its turn in order, and says so", { timeout: LONG }, async () => {
  // Each call of the model takes longer than the test may.
  const id = await client.begin({ turnId: "cancelled", rounds: 9, workMs: 2 * LONG })
  while (stepsOf(await journalOf(client, id)) < 2) await sleep(50)
  await client.cancel(id)
  expect((await client.end(id)).outcome).toBe("stopped")
  expect(workDone(world).filter(({ key }) => key.startsWith("cancelled:"))).toEqual([])
})

test("a held call waits while neither the server nor the service runs, and then runs once", { timeout: LONG }, async () => {
  const id = await client.begin({ turnId: "held", rounds: 1, asks: true })
  const { requestId, toolName } = await waiting(id)
  expect(toolName).toBe("send")
  await killService()
  await engine.kill()
  await expect(client.decide({ invocationId: id, requestId, decision: { decision: "approve" } })).rejects.toThrow(NotReachable)
  engine = await startEngine(options)
  await startAgain()
  expect(workDone(world).filter(({ key, what }) => key.startsWith("held:") && what === "send")).toEqual([])
  await client.decide({ invocationId: id, requestId, decision: { decision: "approve", by: "eve" } })
  expect((await client.end(id)).outcome).toBe("finished")
  expect(workDone(world).filter(({ key, what }) => key.startsWith("held:") && what === "send")).toHaveLength(1)
})

test("a turn that is replayed with other code waits with an error that names it, and continues with the old code", { timeout: LONG }, async () => {
  const id = await client.begin({ turnId: "changed", rounds: 2, asks: true })
  const { requestId } = await waiting(id)
  await killService()
  await startAgain({ PROMPT: "You sell articles." })
  const before = workDone(world).length
  await client.decide({ invocationId: id, requestId, decision: { decision: "approve" } })
  for (let failure = ""; !failure.includes("code_changed: This invocation began with another systemPrompt."); ) {
    await sleep(50)
    const [row] = await client.query<{ last_failure?: string }>(`select last_failure from sys_invocation where id = '${id}'`)
    failure = row?.last_failure ?? ""
  }
  expect(workDone(world)).toHaveLength(before)
  await killService()
  await startAgain()
  expect((await client.end(id)).outcome).toBe("finished")
  expect(faultsOf(workDone(world), killed)).toEqual([])
})

test("a long turn continues in new invocations", { timeout: LONG }, async () => {
  await client.call("/longTurns/long/run/send", { turnId: "long", rounds: 120, workMs: 0 })
  for (;;) {
    const { end, invocations } = (await client.call("/longTurns/long/status")) as { end: string | null; invocations: number }
    if (end !== null) {
      expect(end).toBe("finished")
      expect(invocations).toBeGreaterThan(1)
      break
    }
    await sleep(100)
  }
  const work = workDone(world).filter(({ key }) => key.startsWith("long:"))
  expect(repeatsOf(work)).toBe(0)
  // The state of the object has only what its handler stored.
  const keys = await client.query<{ key: string }>("select key from state where service_name = 'longTurns'")
  expect(keys.map(({ key }) => key).sort()).toEqual(["end", "invocations"])
})

test("a server that does not run is named in the error", async () => {
  const absent = new Client({ ingress: `http://127.0.0.1:${await freePort()}`, admin: `http://127.0.0.1:${await freePort()}` })
  await expect(absent.begin({ turnId: "x", rounds: 1 })).rejects.toThrow(
    /The server of Restate does not answer at http:\/\/127\.0\.0\.1:\d+\. Start it/,
  )
})
