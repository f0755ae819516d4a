import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { gzipSync } from "node:zlib"
import type { ThreadEvent } from "turn-machine/hosts/thread"
import { afterAll, afterEach, expect, test, vi } from "vitest"
import { Client } from "./local/client.ts"
import { openShop, type Shop } from "./local/shop.ts"
import { bundleWorker, type RunningWorker, startWorker } from "./local/workerd.ts"

vi.setConfig({ testTimeout: Number(process.env["TEST_TIMEOUT_MS"] ?? "600000"), hookTimeout: 300_000 })

/** How many times the process is killed, over all rounds of the test of kills. */
const KILLS = Number(process.env["RANDOM_KILLS"] ?? "30")
const ITERATIONS = Number(process.env["ITERATIONS"] ?? "2000")
const RECOVER_AFTER_MS = 300
const TOKEN = "secret"

const root = mkdtempSync(join(tmpdir(), "turn-machine-cloudflare-"))
const places = new Set<Place>()
afterEach(async () => {
  for (const place of places) await place.end()
  places.clear()
})
afterAll(() => rmSync(root, { recursive: true, force: true }))

/** A shop, and a workerd that is restarted on the same storage. */
class Place {
  readonly shop: Shop
  readonly folder: string
  #worker: RunningWorker | undefined
  #url = ""

  private constructor(shop: Shop, folder: string) {
    this.shop = shop
    this.folder = folder
  }

  static async make(vars: Readonly<Record<string, string>> = {}): Promise<Place> {
    const folder = mkdtempSync(join(root, "place-"))
    const shop = await openShop()
    await bundleWorker({
      folder,
      main: "test/worker.ts",
      classes: { SUPPORT: "TestedSupport" },
      vars: { SHOP_URL: shop.url, API_TOKEN: TOKEN, WORD_MS: "0", RECOVER_AFTER_MS: `${RECOVER_AFTER_MS}`, ...vars },
    })
    const place = new Place(shop, folder)
    places.add(place)
    await place.start()
    return place
  }

  get worker(): RunningWorker {
    if (this.#worker === undefined) throw new Error("The Worker does not run.")
    return this.#worker
  }

  async start(): Promise<void> {
    this.#worker = await startWorker(this.folder)
    this.#url = this.#worker.url
  }

  async restart(): Promise<void> {
    await this.worker.kill()
    await this.start()
  }

  client(threadId = "t"): Client {
    return new Client(() => this.#url, threadId, TOKEN)
  }

  /** Calls a method of the object, as a Worker does. */
  async method(name: string, ...args: unknown[]): Promise<{ readonly [field: string]: unknown }> {
    const response = await fetch(`${this.#url}/test/t/${name}`, { method: "POST", body: JSON.stringify(args) })
    return (await response.json()) as { readonly [field: string]: unknown }
  }

  async end(): Promise<void> {
    await this.worker.kill()
    await this.shop.close()
  }
}

/** The durable events of a thread, read again from the beginning, as a new client does: until the n-th turn has ended. */
async function durableEvents(client: Client, turns: number, how: "server-sent events" | "WebSocket" = "server-sent events"): Promise<ThreadEvent[]> {
  const events: ThreadEvent[] = []
  await client.follow(how, (event) => {
    if ("cursor" in event) events.push(event)
    return events.filter(({ type }) => type === "turn_ended").length >= turns
  })
  return events
}

/**
 * What is the same for all readers: the order of the inputs, and that of everything else. Where an input is placed among the events of a running turn
 * depends on when a reader reads it, and so do cursors.
 */
function inOrder(events: readonly ThreadEvent[]): readonly unknown[] {
  const isInput = ({ type }: ThreadEvent) => type.startsWith("input_")
  const placed = [...events.filter(isInput), ...events.filter((event) => !isInput(event))]
  return placed.map((event) => ({ ...event, cursor: undefined }))
}

function saidBy(role: string, events: readonly ThreadEvent[]): readonly string[] {
  return events.flatMap((event) =>
    event.type === "message" && event.message.role === role
      ? [event.message.parts.flatMap((part) => (part.type === "text" ? [part.text] : [])).join("")].filter((text) => text !== "")
      : [],
  )
}

async function until<Value>(look: () => Promise<Value | undefined>, everyMs = 20): Promise<Value> {
  for (;;) {
    const value = await look()
    if (value !== undefined) return value
    await new Promise((resolve) => setTimeout(resolve, everyMs))
  }
}

interface Status {
  readonly isRunning: boolean
  readonly error?: { readonly code: string; readonly message: string; readonly retryAt: number }
  readonly approvals?: { readonly held: readonly { readonly requestId: string; readonly digest: string }[] }
}

/** Approves the call that waits, when one does. */
async function approve(client: Client): Promise<void> {
  const { requestId, digest } = await until(async () => ((await client.callUntilAnswered("status")) as Status).approvals?.held[0])
  await client.callUntilAnswered("decide", { decisions: [{ requestId, digest, decision: "approve" }] })
}

test("a thread is a Durable Object: an approval, and events over both kinds of connections", async () => {
  const place = await Place.make({ WORD_MS: "5" })
  const client = place.client()
  const live: ThreadEvent[] = []
  const following = client.follow("WebSocket", (event) => {
    live.push(event)
    return event.type === "turn_ended"
  })
  expect(await client.call("say", { input: "Check orders 1 to 2, and refund the last one.", key: "k" })).toEqual({
    inputId: "user-1",
    status: "queued",
  })
  await approve(client)
  await following
  expect(live.flatMap((event) => (event.type === "text_delta" ? [event.delta] : [])).join("")).toBe(
    "I look up order 1. I look up order 2. The order can be refunded. The refund is settled.",
  )
  const durable = live.filter((event) => "cursor" in event)
  expect(await durableEvents(client, 1)).toEqual(durable)
  expect(await durableEvents(client, 1, "WebSocket")).toEqual(durable)
  expect(saidBy("assistant", durable)).toEqual([
    "I look up order 1. ",
    "I look up order 2. ",
    "The order can be refunded. ",
    "The refund is settled.",
  ])
  expect([...place.shop.refunds.values()]).toEqual([1])
  // At rest, the object has no alarm, and may be hibernated.
  await until(async () => ((await place.method("alarmAt"))["at"] === null ? true : undefined))
})

test("a Worker calls the methods of the object", async () => {
  const place = await Place.make()
  expect(await place.method("say", "Check order 7.")).toEqual({ inputId: "user-1", status: "queued" })
  await durableEvents(place.client(), 1)
  expect(await place.method("status")).toMatchObject({ turns: 1, queue: [], goal: null })
  const response = await fetch(`${place.worker.url}/test/t/events`, { method: "POST", body: "[]" })
  const lines = (await response.text()).trim().split("\n")
  expect(lines.map((line) => JSON.parse(line) as unknown)).toEqual(await durableEvents(place.client(), 1))
  await place.method("delete")
  expect(await place.method("status")).toMatchObject({ turns: 0 })
  expect(await place.method("stored")).toMatchObject({ count: 1 })
})

test("what is wrong with a request is answered with a code", async () => {
  const place = await Place.make()
  const client = place.client()
  const refusal = async (route: string, body?: object) => {
    const { status, value } = await client.request(route, body)
    return [status, (value as { readonly error?: { readonly code: string } }).error?.code]
  }
  expect(await new Client(() => place.worker.url, "t", "wrong").request("status")).toMatchObject({ status: 401 })
  expect(await refusal("no-such-route")).toEqual([404, "unknown_route"])
  expect(await refusal("say")).toEqual([405, "method_not_allowed"])
  expect(await refusal("status", {})).toEqual([405, "method_not_allowed"])
  expect(await refusal("say", {})).toEqual([400, "bad_request"])
  expect(await refusal("say", [])).toEqual([400, "bad_request"])
  expect(await refusal("say", { input: "a", wen: "now" })).toEqual([400, "bad_request"])
  expect(await refusal("say", { input: 4 })).toEqual([400, "invalid_input"])
  expect(await refusal("say", { input: [{ type: "text", text: 4 }] })).toEqual([400, "invalid_record"])
  expect(await refusal("command", { command: { type: "pause" } })).toEqual([409, "without_goals"])
  expect(await refusal("command", { command: { type: "fly" } })).toEqual([400, "invalid_record"])
  expect(await refusal("decide", { decisions: [{}] })).toEqual([400, "invalid_response"])
  expect(await refusal("events?after=nonsense")).toEqual([400, "invalid_cursor"])
  expect(await refusal("say", { input: "Hello.", key: "k" })).toEqual([200, undefined])
  expect(await refusal("say", { input: "Other.", key: "k" })).toEqual([409, "key_reused"])
  expect(await refusal("retract", { inputId: "user-9" })).toEqual([200, undefined])
  const response = await fetch(`${place.worker.url}/threads/t/say`, { method: "POST", body: "{", headers: { authorization: `Bearer ${TOKEN}` } })
  expect([response.status, await response.json()]).toEqual([400, { error: { code: "bad_request", message: "The body of the request is not JSON." } }])
})

test("killed at random between and during effects, each object is woken by its alarm and ends its turn", async () => {
  const place = await Place.make({ WORD_MS: "1" })
  let kills = 0
  const recoveries: number[] = []
  let restartedAt: number | undefined
  place.shop.onRequest = () => {
    if (restartedAt !== undefined) recoveries.push(performance.now() - restartedAt)
    restartedAt = undefined
  }
  for (let round = 0; kills < KILLS; round += 1) {
    const client = place.client(`round-${round}`)
    const refundsBefore = place.shop.refunds.size
    const events: { [how: string]: ThreadEvent[] } = { "server-sent events": [], WebSocket: [] }
    const following = (["server-sent events", "WebSocket"] as const).map((how) =>
      client.follow(how, (event) => {
        if ("cursor" in event) events[how]?.push(event)
        return (events[how]?.filter(({ type }) => type === "turn_ended").length ?? 0) >= 2
      }),
    )
    let isOver = false
    const ended = Promise.all(following).then(() => {
      isOver = true
    })
    const killing = (async () => {
      for (let count = 0; count < 8 && !isOver; count += 1) {
        await new Promise((resolve) => setTimeout(resolve, 20 + Math.random() * 700))
        if (isOver) return
        restartedAt = undefined
        await place.restart()
        restartedAt = performance.now()
        kills += 1
      }
    })()
    // Each call is repeated until it is answered, under the same key.
    await client.callUntilAnswered("say", { input: "Check orders 1 to 9, and refund the last one.", key: "k1" })
    await client.callUntilAnswered("say", { input: "Thanks.", key: "k2", when: "next_turn" })
    await approve(client)
    await ended
    await killing

    const all = await durableEvents(client, 2)
    for (const how of Object.keys(events)) expect(inOrder(events[how] ?? [])).toEqual(inOrder(all))
    expect(saidBy("user", all)).toEqual(["Check orders 1 to 9, and refund the last one.", "Thanks."])
    expect(all.filter(({ type }) => type === "tool_call_ended")).toHaveLength(10)
    // The refund of this round was made, and asked for once.
    expect(place.shop.refunds.size).toBe(refundsBefore + 1)
  }
  expect([...place.shop.refunds.values()].filter((count) => count !== 1)).toEqual([])
  console.log(
    `${kills} kills, ${place.shop.refunds.size} threads, ${place.shop.lookedUp()} orders looked up for ${place.shop.refunds.size * 9} calls`,
  )
  recoveries.sort((left, right) => left - right)
  console.log(
    `from the start of workerd to the next effect, with recoverAfterMs ${RECOVER_AFTER_MS}: median ${Math.round(recoveries[recoveries.length >> 1] ?? Number.NaN)} ms of ${recoveries.length}`,
  )
})

test(`a turn of ${ITERATIONS} iterations stays below the limits, in time that grows with its length`, async () => {
  const place = await Place.make({ RECOVER_AFTER_MS: "30000" })
  const client = place.client()
  const cpu: number[] = []
  const times: number[] = []
  place.shop.onRequest = () => {
    if (place.shop.lookedUp() % (ITERATIONS / 4) !== 0) return
    cpu.push(cpuSeconds(place.worker.pid))
    times.push(performance.now())
  }
  await client.call("say", { input: `Check orders 1 to ${ITERATIONS}.` })
  await until(async () => (((await client.call("status")) as Status).isRunning ? undefined : true), 200)
  cpu.push(cpuSeconds(place.worker.pid))
  times.push(performance.now())
  const [first = 0, , , last = 0] = differences(cpu)
  // The first quarter has what is done once, such as the compilation of the code.
  expect(last).toBeLessThan(4 * first + 2)
  const reading = cpuSeconds(place.worker.pid)
  const events = await durableEvents(client, 1)
  expect(events.filter(({ type }) => type === "tool_call_ended")).toHaveLength(ITERATIONS)
  expect(events.at(-1)).toMatchObject({ type: "turn_ended", outcome: { type: "finished" } })
  const { count, greatest, bytes } = (await place.method("stored")) as { readonly count: number; readonly greatest: number; readonly bytes: number }
  expect(greatest).toBeLessThan(2_000_000)
  const quarters = differences(times)
  const readSeconds = cpuSeconds(place.worker.pid) - reading
  console.log(
    `${ITERATIONS} iterations: ${quarters.map((ms) => `${Math.round(ms)} ms`).join(", ")} a quarter, CPU ${differences(cpu)
      .map((s) => s.toFixed(2))
      .join(", ")} s; ` +
      `${count} rows, ${bytes} bytes, ${Math.round(bytes / (2 * ITERATIONS))} an effect, the greatest row ${greatest}; CPU to read all events: ${readSeconds.toFixed(2)} s`,
  )
  // Resumed from its journal, in a new process.
  await place.restart()
  expect(await durableEvents(client, 1)).toEqual(events)
})

test("a storage that is full loses nothing, and the turn continues when there is room again", async () => {
  const place = await Place.make()
  const client = place.client()
  await client.call("say", { input: "Check order 1.", key: "k1" })
  await durableEvents(client, 1)

  // In the middle of a turn.
  await place.method("breakAfter", 6)
  await client.call("say", { input: "Check orders 1 to 9.", key: "k2" })
  const { error } = await until(async () => {
    const status = (await client.call("status")) as Status
    return status.error === undefined ? undefined : status
  })
  expect(error).toMatchObject({ code: "unavailable", message: expect.stringContaining("database or disk is full") })
  expect(error?.retryAt).toBeGreaterThan(Date.now() - 5_000)
  // An input that cannot be stored is refused.
  const refused = await client.request("say", { input: "Thanks.", key: "k3" })
  expect(refused).toMatchObject({ status: 503, value: { error: { code: "unavailable" } } })

  await place.method("breakAfter")
  const events = await durableEvents(client, 2)
  expect(saidBy("user", events)).toEqual(["Check order 1.", "Check orders 1 to 9."])
  expect(events.filter(({ type }) => type === "tool_call_ended")).toHaveLength(10)
  await client.call("say", { input: "Thanks.", key: "k3" })
  expect(saidBy("user", await durableEvents(client, 3))).toEqual(["Check order 1.", "Check orders 1 to 9.", "Thanks."])
  expect((await client.call("status")) as Status).not.toHaveProperty("error")
})

test("an input that begins the first turn, while the storage fails, is retried by alarm", async () => {
  const place = await Place.make()
  const client = place.client()
  // The header of the log and the input are stored, the beginning of the turn is not.
  await place.method("breakAfter", 2)
  await client.call("say", { input: "Hello.", key: "k1" })
  await until(async () => (((await client.call("status")) as Status).error === undefined ? undefined : true))
  // The process that knew about the failure is gone; the alarm is not.
  await place.restart()
  expect(saidBy("assistant", await durableEvents(client, 1))).toEqual(['About "Hello.": noted.'])
})

test("a WebSocket of an object that was hibernated misses nothing", async () => {
  const place = await Place.make()
  const client = place.client()
  await client.call("say", { input: "Hello.", key: "k1" })
  const events: ThreadEvent[] = []
  let connections = 0
  const following = client.follow(
    "WebSocket",
    (event) => {
      if ("cursor" in event) events.push(event)
      return events.filter(({ type }) => type === "turn_ended").length >= 2
    },
    () => {
      connections += 1
    },
  )
  await until(async () => (events.some(({ type }) => type === "turn_ended") ? true : undefined))
  const { at: born } = await place.method("bornAt")
  // The platform hibernates an object after 10 seconds in which nothing happens: on a busy machine, perhaps later.
  for (let ms = 14_000, at = born; at === born; ms *= 2) {
    await new Promise((resolve) => setTimeout(resolve, ms))
    at = (await place.method("bornAt"))["at"]
  }
  await client.call("say", { input: "Are you there?", key: "k2" })
  await following
  expect(connections).toBe(1)
  expect(inOrder(events)).toEqual(inOrder(await durableEvents(client, 2)))
})

test("an append costs little", async () => {
  const place = await Place.make()
  await place.method("appendMany", 100, 900)
  const cpu = cpuSeconds(place.worker.pid)
  const start = performance.now()
  await place.method("appendMany", 5_000, 900)
  const microseconds = (value: number) => Math.round((value / 5_000) * 1_000_000)
  console.log(
    `an append of 900 characters: ${microseconds((performance.now() - start) / 1000)} µs, CPU ${microseconds(cpuSeconds(place.worker.pid) - cpu)} µs`,
  )
  expect(cpuSeconds(place.worker.pid) - cpu).toBeLessThan(30)
})

test("the bundle has nothing of Node, and stays small", async () => {
  const folder = mkdtempSync(join(root, "bundle-"))
  const bytes = await bundleWorker({ folder })
  const code = readFileSync(join(folder, "worker.js"), "utf8")
  expect(code).not.toMatch(/["']node:|\bprocess\.|\bBuffer\b|__require|\brequire\(/)
  const gzipped = gzipSync(code).byteLength
  console.log(`worker.js: ${bytes} bytes, ${gzipped} compressed`)
  expect(gzipped).toBeLessThan(200_000)
})

/** User and system time of a process, in seconds. */
function cpuSeconds(pid: number): number {
  try {
    const [, fields = ""] = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")
    const [user = 0, system = 0] = fields.split(" ").slice(11, 13).map(Number)
    return (user + system) / 100
  } catch {
    return Number.NaN
  }
}

function differences(values: readonly number[]): readonly number[] {
  return values.slice(1).map((value, index) => value - (values[index] ?? 0))
}
