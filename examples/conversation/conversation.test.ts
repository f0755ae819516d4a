import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { JournalStore } from "turn-machine/hosts"
import { fileJournalStore } from "turn-machine/hosts/node"
import { Thread } from "turn-machine/hosts/thread"
import { afterAll, afterEach, expect, test, vi } from "vitest"
import { travelAgent } from "./agent.ts"
import { textOf } from "./client.ts"
import { freePort, type Running, start } from "./processes.ts"
import { readScreen } from "./screen.ts"

vi.setConfig({ testTimeout: 600_000 })

const ROUNDS = Number(process.env["RANDOM_KILLS"] ?? "1")
const MAX_KILLS = 4
const PACE = { WORD_MS: "10", TOOL_MS: "100" }

const root = mkdtempSync(join(tmpdir(), "conversation-"))
afterAll(() => rmSync(root, { recursive: true, force: true }))
const running = new Set<Running>()
afterEach(async () => {
  for (const process of running) await process.kill()
  running.clear()
})
let places = 0

/** A folder, a port, and the processes that use them. */
class Place {
  readonly threadId = "trip"
  readonly folder: string
  readonly screenFile: string
  readonly store: JournalStore
  readonly #port: number

  private constructor(port: number) {
    places += 1
    this.folder = join(root, `place-${places}`)
    this.screenFile = join(this.folder, "client.json")
    this.store = fileJournalStore(join(this.folder, "threads"))
    this.#port = port
  }

  static async make(): Promise<Place> {
    return new Place(await freePort())
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}`
  }

  /** `killAt`: the change to a file at which the process is killed. */
  server(killAt?: number): Running {
    const env = { ...PACE, CONVERSATIONS_FOLDER: this.folder, PORT: `${this.#port}`, KILL_AT: `${killAt ?? 0}` }
    return this.#start([...(killAt === undefined ? [] : ["--import", "./kill.ts"]), "server.ts"], env)
  }

  client(): Running {
    return this.#start(["client.ts", this.url, this.threadId, this.screenFile], {})
  }

  #start(args: readonly string[], env: Record<string, string>): Running {
    const started = start(args, { env })
    running.add(started)
    return started
  }

  request(method: string, path: string, body?: object, headers: Record<string, string> = {}): Promise<Response> {
    return fetch(`${this.url}/threads/${this.threadId}${path}`, { method, headers, ...(body !== undefined && { body: JSON.stringify(body) }) })
  }

  /** Sends a request until a server answers it. */
  async insist(method: string, path: string, body?: object): Promise<{ readonly inputId?: string; readonly result?: string }> {
    for (;;) {
      try {
        const response = await this.request(method, path, body)
        const value: unknown = await response.json()
        if (response.status < 500) {
          expect(response.status, JSON.stringify(value)).toBe(200)
          return value as { readonly inputId?: string; readonly result?: string }
        }
      } catch (error) {
        if (!(error instanceof TypeError)) throw error
        await sleep(20)
      }
    }
  }

  /** Resolves when the thread has neither an open turn nor input. */
  async rests(): Promise<void> {
    for (;;) {
      for await (const { threadId, error, openTurn, hasInput } of Thread.list(this.store))
        if (threadId === this.threadId && error === undefined && openTurn === undefined && !hasInput) return
      await sleep(20)
    }
  }

  /** What the thread has stored. No server may run. */
  async transcript() {
    const thread = await Thread.open(this.store, this.threadId, { ...travelAgent({ wordMs: 1, toolMs: 1 }).options, waitMs: 60_000 })
    const messages = thread.history.flatMap((record) => (record.type === "conversation" ? [record.message] : []))
    await thread.close()
    return messages.map((message) => ({ id: message.id, role: message.role, text: textOf(message) }))
  }
}

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

/** All kinds of inputs, each sent until it is accepted. Returns their ids, and what happened to the one that was taken back. */
async function converse(place: Place, accepted: (count: number) => void) {
  const inputs = [
    { text: "Hello!" },
    { text: "Plan a day in Lisbon." },
    { text: "We are three.", when: "now" },
    { text: "One of us is vegetarian.", when: "turn_end" },
    { text: "Write a packing list.", when: "next_turn" },
    { text: "No, plan a day in Porto.", redirect: true },
    { text: "Book a hotel.", when: "next_turn" },
  ]
  const ids: string[] = []
  for (const [index, input] of inputs.entries()) {
    const { inputId = "" } = await place.insist("POST", "/inputs", { ...input, key: `k${index}` })
    ids.push(inputId)
    accepted(ids.length)
    await sleep(100 * Math.random())
  }
  const last = ids.at(-1) ?? ""
  const { result } = await place.insist("DELETE", `/inputs/${last}`)
  return { ids, last, result }
}

/**
 * Starts servers, and kills each when `until` resolves, until the conversation rests in one that was not killed in time. `begun` resolves when
 * a few of the inputs were accepted.
 */
async function killUntilDone(
  place: Place,
  starts: (number: number, begun: Promise<void>) => { readonly server: Running; readonly until: Promise<unknown> },
) {
  let isDone = false
  let begin = (): void => {}
  const begun = new Promise<void>((resolve) => {
    begin = resolve
  })
  const few = 1 + Math.floor(4 * Math.random())
  const conversed = converse(place, (count) => {
    if (count === few) begin()
  })
  const done = conversed.then(() => place.rests()).then(() => (isDone = true))
  let client = place.client()
  let kills = 0
  while (!isDone) {
    const { server, until } = starts(kills, begun)
    await Promise.race([done, until])
    if (!isDone) kills += 1
    await server.kill()
    // The client dies with every second server. It cannot know, and continues with its cursor.
    if (isDone || kills % 2 === 1) continue
    await client.kill()
    client = place.client()
  }
  return { ...(await conversed), kills }
}

async function check(place: Place, { ids, last, result }: Awaited<ReturnType<typeof converse>>): Promise<void> {
  const transcript = await place.transcript()
  expect(new Set(ids).size).toBe(ids.length)
  for (const id of ids) expect(transcript.filter((message) => message.id === id)).toHaveLength(id === last && result === "retracted" ? 0 : 1)
  expect(["retracted", "delivered"]).toContain(result)
  // The client has received all events of the thread when the last server has sent them.
  place.server()
  await vi.waitFor(() => expect(readScreen(place.screenFile).transcript).toEqual(transcript), { timeout: 300_000, interval: 100 })
  expect(readScreen(place.screenFile).queue).toEqual([])
}

test.each(Array.from({ length: ROUNDS }, (_, index) => index + 1))(
  "servers and clients that are killed at random times (%i): each input is delivered once, and the client misses nothing",
  async () => {
    const place = await Place.make()
    const { kills, ...result } = await killUntilDone(place, (number, begun) => {
      const server = place.server()
      // The first one dies in the middle, on a machine of any speed. The last one lives: a slow machine may need longer than any random time.
      if (number === 0) return { server, until: begun }
      const pause = () => (number === MAX_KILLS ? new Promise(() => {}) : sleep(100 + 900 * Math.random()))
      return { server, until: server.prints("listens").then(pause) }
    })
    expect(kills).toBeGreaterThan(0)
    await check(place, result)
  },
)

test("servers that are killed at their n-th change to a file, for growing n: the same", async () => {
  const place = await Place.make()
  const { kills, ...result } = await killUntilDone(place, (number) => {
    const server = place.server(10 + 20 * number)
    return { server, until: server.ended }
  })
  expect(kills).toBeGreaterThan(3)
  await check(place, result)
})

test("inputs with one key are one; a wrong input or cursor is refused; a deleted thread ends its clients, and nothing of it is left", async () => {
  const place = await Place.make()
  await place.server().prints("listens")
  const client = place.client()
  const [first, second] = await Promise.all([1, 2].map(() => place.insist("POST", "/inputs", { text: "Hello!", key: "k" })))
  expect(second).toEqual(first)
  expect((await place.request("POST", "/inputs", { text: "Goodbye!", key: "k" })).status).toBe(409)
  expect((await place.request("POST", "/inputs", { text: "Goodbye!", when: "later" })).status).toBe(400)
  expect((await place.request("GET", "/events", undefined, { "last-event-id": "ffffffff-1" })).status).toBe(400)
  await client.prints("turn trip.1 ended")
  expect(readScreen(place.screenFile).transcript.map(({ text }) => text)).toEqual(["Hello!", 'About "Hello!": noted.'])

  expect(await place.insist("DELETE", "")).toEqual({ result: "deleted" })
  await client.prints("the thread is closed")
  await client.ended
  for await (const name of place.store.list({})) expect.unreachable(`${name} is left`)
})
