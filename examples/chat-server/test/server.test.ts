import { request } from "node:http"
import { afterAll, afterEach, beforeAll, expect, test, vi } from "vitest"
import type { ChatSummary } from "../chats.ts"
import type { ChatMessage } from "../web/api.ts"
import { Client, seen } from "./client.ts"
import { Places, type Server, type Settings } from "./processes.ts"

vi.setConfig({ testTimeout: 300_000, hookTimeout: 120_000, expect: { poll: { timeout: 60_000 } } })

const KILLS = 3 * Number(process.env["RANDOM_KILLS"] ?? "1")

const places = new Places()
afterEach(() => places.stop())

/** A server with a folder of its own. */
async function start(settings?: Settings): Promise<Server> {
  return (await places.next())(settings)
}

/** One server for the tests that need nothing of their own. */
const sharing = new Places()
let shared: Promise<Server>
beforeAll(async () => {
  shared = (await sharing.next())({ WORD_MS: "20" })
  await shared
})
afterAll(async () => {
  await sharing.remove()
  await places.remove()
})

async function list(url: string): Promise<readonly ChatSummary[]> {
  const { chats } = (await (await fetch(`${url}/api/chats`)).json()) as { readonly chats: readonly ChatSummary[] }
  return chats
}

const numbers = (count: number) => `${Array.from({ length: count }, (_, index) => index + 1).join(", ")}. Done.`

test("chats are listed, named by their first message, and deleted", async () => {
  const { url } = await start()
  const first = await Client.create(url)
  const second = await Client.create(url)
  await second.send("Count to 2.")
  await first.send("Count to 3.")
  expect((await list(url)).map(({ id, title, status }) => ({ id, title, status }))).toEqual([
    { id: first.id, title: "Count to 3.", status: "idle" },
    { id: second.id, title: "Count to 2.", status: "idle" },
  ])
  expect((await first.request("DELETE", "")).status).toBe(204)
  expect((await list(url)).map(({ id }) => id)).toEqual([second.id])
  for (const [method, path] of [
    ["GET", ""],
    ["GET", "/stream"],
    ["POST", "/stop"],
    ["DELETE", ""],
  ] as const)
    expect((await first.request(method, path)).status).toBe(404)
  await expect(first.send("Hello")).rejects.toThrow("There is no such chat.")
})

test("a chat that is deleted while the model answers is gone, also after a restart", async () => {
  const startHere = await places.next()
  const server = await startHere({ WORD_MS: "50" })
  const client = await Client.create(server.url)
  const answer = client.send("Count to 2000.").catch(() => undefined)
  await expect.poll(async () => (await list(server.url))[0]?.status).toBe("running")
  expect((await client.request("DELETE", "")).status).toBe(204)
  await answer
  await server.kill()
  const next = await startHere()
  expect(await list(next.url)).toEqual([])
  expect(next.printed()).not.toContain("Continues")
})

test("an answer is streamed, and a page that loads has the same", async () => {
  const client = await Client.create((await shared).url)
  const lengths: number[] = []
  const answer = await client.send("Count to 40.", ({ parts }) => lengths.push(seen({ parts }).join("").length))
  expect(seen(answer)).toEqual([numbers(40)])
  expect(new Set(lengths).size).toBeGreaterThan(3)
  const { messages, status, queued } = await client.state()
  expect(status).toBe("idle")
  expect(queued).toEqual([])
  expect(messages.map(({ role, parts }) => [role, ...seen({ parts })])).toEqual([
    ["user", "Count to 40."],
    ["assistant", numbers(40)],
  ])
  expect(messages[1]?.metadata?.outcome).toBe("finished")
})

test("what changes something runs when it is approved, and not when it is denied", async () => {
  const client = await Client.create((await start()).url)
  const asked = await client.send("Save a note: buy bread")
  expect(seen(asked)).toEqual(["I can keep that for you.", "tool-save_note approval-requested"])
  expect((await client.state()).status).toBe("waiting")
  expect(seen(await client.decide(asked, true))).toEqual(["I can keep that for you.", "tool-save_note output-available", "I saved it as note 1."])

  const denied = await client.decide(await client.send("Save a note: buy milk"), false)
  expect(seen(denied)).toEqual(["I can keep that for you.", "tool-save_note output-denied", "All right, I leave it as it is."])
  const found = await client.send("Which notes do I have?")
  expect(seen(found)).toEqual(["Let me look.", "tool-find_notes output-available", "You have one note:\n\n- 1: buy bread"])
})

test("two calls are decided together", async () => {
  const client = await Client.create((await start()).url)
  for (const text of ["one", "two"]) await client.decide(await client.send(`Save a note: ${text}`), true)
  const asked = await client.send("Delete notes 1 and 2")
  expect(seen(asked).slice(1)).toEqual(["tool-delete_note approval-requested", "tool-delete_note approval-requested"])
  expect(seen(await client.decide(asked, true)).at(-1)).toBe("I deleted note 1.\nI deleted note 2.")
})

test("a decision that is sent again changes nothing, and one about other arguments is refused", async () => {
  const client = await Client.create((await start()).url)
  const asked = await client.send("Save a note: buy bread")
  const forged = JSON.parse(JSON.stringify(asked).replaceAll(/"signature":"[^"]*"/g, `"signature":"${"0".repeat(64)}"`)) as ChatMessage
  await expect(client.decide(forged, true)).rejects.toThrow()
  expect((await client.state()).status).toBe("waiting")
  const [one, two] = await Promise.all([client.decide(asked, true), client.decide(asked, true)])
  expect(seen(one).at(-1)).toBe("I saved it as note 1.")
  expect(seen(two).at(-1)).toBe("I saved it as note 1.")
  await client.decide(asked, true)
  expect(seen(await client.send("Which notes do I have?")).at(-1)).toBe("You have one note:\n\n- 1: buy bread")
})

test("a message instead of a decision takes the place of the call", async () => {
  const client = await Client.create((await shared).url)
  await client.send("Save a note: buy bread")
  await client.request("POST", "/inputs", { id: "instead", text: "Count to 3." })
  const { messages } = await client.rested()
  expect(messages.map(({ parts }) => seen({ parts }))).toEqual([
    ["Save a note: buy bread"],
    ["I can keep that for you.", "tool-save_note output-error", "you: Count to 3.", numbers(3)],
  ])
})

test("a message for the turn that runs is received by it, and a repeated one is one message", async () => {
  const client = await Client.create((await shared).url)
  const answer = client.send("Count to 300.")
  await expect.poll(async () => (await client.state()).status).toBe("running")
  for (let time = 0; time < 2; time += 1) expect((await client.request("POST", "/inputs", { id: "more", text: "Count to 3." })).status).toBe(200)
  expect((await client.state()).queued.map(({ id }) => id)).toEqual(["more"])
  expect(seen(await answer)).toEqual([numbers(300), "you: Count to 3.", numbers(3)])
  const { messages } = await client.rested()
  expect(messages).toHaveLength(2)
})

test("stop ends the turn, keeps what was said, and returns what was not received", async () => {
  const client = await Client.create((await shared).url)
  const answer = client.send("Count to 2000.")
  await expect.poll(async () => (await client.state()).status).toBe("running")
  await client.request("POST", "/inputs", { id: "more", text: "And to 3?" })
  const stopped = await client.request("POST", "/stop")
  expect(await stopped.json()).toEqual({ returned: ["And to 3?"] })
  await answer
  const { messages, queued, status } = await client.rested()
  expect({ status, queued }).toEqual({ status: "idle", queued: [] })
  expect(messages.at(-1)?.metadata?.outcome).toBe("cancelled")
  expect(seen(await client.send("Count to 2."))).toEqual([numbers(2)])
})

test("stop ends a turn that waits for a decision, and the call does not run", async () => {
  const client = await Client.create((await start()).url)
  await client.send("Save a note: buy bread")
  await client.request("POST", "/stop")
  await expect.poll(async () => (await client.state()).status).toBe("idle")
  const { messages } = await client.state()
  expect(messages.at(-1)?.metadata?.outcome).toBe("cancelled")
  expect(seen(await client.send("Which notes do I have?")).at(-1)).toBe("You have no notes yet.")
})

/** Reads the events of a stream until one is enough, then leaves. */
async function readSome(
  response: Response,
  isEnough: (data: string) => boolean,
): Promise<{ readonly data: readonly string[]; readonly cursor: string }> {
  const data: string[] = []
  let cursor = ""
  let rest = ""
  if (response.body === null) throw new Error("The response has no body.")
  for await (const text of response.body.pipeThrough(new TextDecoderStream())) {
    const events = (rest + text).split("\n\n")
    rest = events.pop() ?? ""
    for (const event of events) {
      const [, id] = /^id: (.*)$/m.exec(event) ?? []
      const [, value] = /^data: (.*)$/m.exec(event) ?? []
      if (value === undefined) continue
      data.push(value)
      cursor = id ?? cursor
      if (isEnough(value)) return { data, cursor }
    }
  }
  return { data, cursor }
}

function deltas(data: readonly string[]): string {
  return data.map((each) => (each === "[DONE]" ? "" : ((JSON.parse(each) as { readonly delta?: string }).delta ?? ""))).join("")
}

test("a client that leaves stops nothing: it reads the turn again from its beginning, or continues after its cursor", async () => {
  const client = await Client.create((await shared).url)
  const message = { id: "m1", role: "user", parts: [{ type: "text", text: "Count to 100." }] }
  const first = await readSome(await client.request("POST", "/messages", { id: client.id, message }), (data) => data.includes('"delta":"9, '))
  expect(deltas(first.data)).not.toContain("100")
  const again = client.resume()
  const rest = await readSome(await client.request("GET", "/stream", undefined, { "last-event-id": first.cursor }), () => false)
  expect(rest.data.at(-1)).toBe("[DONE]")
  expect(deltas(first.data) + deltas(rest.data)).toBe(numbers(100))
  expect(seen((await again) ?? { parts: [] })).toEqual([numbers(100)])
  expect(await client.resume()).toBeUndefined()
  expect((await client.request("GET", "/stream", undefined, { "last-event-id": "nonsense" })).status).toBe(400)
})

test("with CANCEL_AFTER_MS, a turn without a reader is stopped, and one to which a client returns in time is not", async () => {
  const client = await Client.create((await start({ WORD_MS: "20", CANCEL_AFTER_MS: "5000" })).url)
  const leave = async (id: string) => {
    const message = { id, role: "user", parts: [{ type: "text", text: "Count to 600." }] }
    await readSome(await client.request("POST", "/messages", { id: client.id, message }), (data) => data.includes('"delta":"3, '))
  }
  await leave("m1")
  expect(seen((await client.resume()) ?? { parts: [] })).toEqual([numbers(600)])
  await leave("m2")
  const { messages } = await client.rested()
  expect(messages.map(({ metadata }) => metadata?.outcome)).toEqual([undefined, "finished", undefined, "cancelled"])
})

test("a server that is killed while the model answers continues when it is started again", async () => {
  const startHere = await places.next()
  let server = await startHere({ WORD_MS: "50" })
  const client = await Client.create(server.url)
  const message = { id: "m1", role: "user", parts: [{ type: "text", text: "Count to 400." }] }
  await readSome(await client.request("POST", "/messages", { id: client.id, message }), (data) => data.includes('"delta":"9, '))
  for (let kill = 0; kill < KILLS; kill += 1) {
    await server.kill()
    // The last one is fast.
    server = await startHere({ WORD_MS: kill === KILLS - 1 ? "5" : "50" })
    if (kill < KILLS - 1) expect((await client.state()).status).toBe("running")
    await new Promise((resolve) => setTimeout(resolve, Math.random() * 500))
  }
  const { messages } = await client.rested()
  expect(messages.map(({ parts }) => seen({ parts }))).toEqual([["Count to 400."], [numbers(400)]])
})

test("a server that is killed while it waits for a decision still waits for it, and what is approved happens once", async () => {
  const startHere = await places.next()
  let server = await startHere()
  const client = await Client.create(server.url)
  const asked = await client.send("Save a note: buy bread")
  const [before] = await list(server.url)
  await server.kill()
  server = await startHere()
  expect(seen((await client.state()).messages.at(-1) ?? { parts: [] })).toEqual(seen(asked))
  await expect.poll(async () => (await list(server.url))[0]).toEqual(before)
  // Killed at any moment after the decision was sent, and sent again: as a page does that got no answer.
  for (let kill = 0; kill < KILLS; kill += 1) {
    const sent = client.decide(asked, true).catch(() => undefined)
    await new Promise((resolve) => setTimeout(resolve, Math.random() * 100))
    await server.kill()
    await sent
    server = await startHere()
  }
  const { status } = await client.rested()
  if (status === "waiting") await client.decide(asked, true)
  expect(seen((await client.rested()).messages.at(-1) ?? { parts: [] }).at(-1)).toBe("I saved it as note 1.")
  expect(seen(await client.send("Which notes do I have?")).at(-1)).toBe("You have one note:\n\n- 1: buy bread")
})

test("a server that is asked to end leaves the turn open, and the next one continues it", async () => {
  const startHere = await places.next()
  const server = await startHere({ WORD_MS: "50" })
  const client = await Client.create(server.url)
  const message = { id: "m1", role: "user", parts: [{ type: "text", text: "Count to 400." }] }
  await readSome(await client.request("POST", "/messages", { id: client.id, message }), (data) => data.includes('"delta":"9, '))
  await server.kill("SIGTERM")
  const next = await startHere()
  await expect.poll(next.printed).toContain(`Continues ${client.id}`)
  expect(seen((await client.rested()).messages.at(-1) ?? { parts: [] })).toEqual([numbers(400)])
})

test("one server at a time has a folder", async () => {
  const startHere = await places.next()
  const server = await startHere()
  await expect(startHere()).rejects.toThrow("Another server uses the folder")
  expect(await list(server.url)).toEqual([])
})

/** The status of a request with any headers. `fetch` would not send them. */
function statusOf(url: string, path: string, headers: Readonly<Record<string, string>>, method = "GET"): Promise<number | undefined> {
  const { hostname, port } = new URL(url)
  return new Promise((resolve, reject) => {
    const sent = request({ hostname, port, path, method, headers }, (response) => resolve(response.resume().statusCode))
    sent.once("error", reject).end()
  })
}

test("other pages that the user visits are not let in", async () => {
  const { url } = await start()
  const { host } = new URL(url)
  expect(await statusOf(url, "/api/chats", { host })).toBe(200)
  expect(await statusOf(url, "/api/chats", { host: host.replace("127.0.0.1", "localhost") })).toBe(200)
  // A name that another page has made point to this address.
  expect(await statusOf(url, "/api/chats", { host: "attacker.example" })).toBe(421)
  expect(await statusOf(url, "/", { host: "localhost.attacker.example" })).toBe(421)
  expect(await statusOf(url, "/api/chats", { host, origin: "https://attacker.example" }, "POST")).toBe(403)
  expect(await statusOf(url, "/api/chats", { host, origin: "null" }, "POST")).toBe(403)
  // Another server on this machine is another origin.
  expect(await statusOf(url, "/api/chats", { host, origin: "http://127.0.0.1:1" }, "POST")).toBe(403)
  for (const site of ["cross-site", "same-site"]) expect(await statusOf(url, "/api/changes", { host, "sec-fetch-site": site })).toBe(403)
  expect(await statusOf(url, "/api/chats", { host, origin: url, "sec-fetch-site": "same-origin" }, "POST")).toBe(201)
  expect(await list(url)).toHaveLength(1)
  const page = await fetch(url)
  expect(page.headers.get("content-security-policy")).toContain("default-src 'none'")
  expect(page.headers.get("x-content-type-options")).toBe("nosniff")
})

test("what is not a message is refused, and the chat continues", async () => {
  const client = await Client.create((await shared).url)
  const post = async (path: string, body: unknown) => (await client.request("POST", path, body as object)).status
  const message = (parts: unknown) => ({ id: client.id, message: { id: "m1", role: "user", parts } })
  expect(await post("/messages", message([{ type: "text", text: "x".repeat(20_001) }]))).toBe(413)
  expect(await post("/messages", message([{ type: "text", text: "x".repeat(5_000_000) }]))).toBe(413)
  expect(await post("/messages", message([]))).toBe(400)
  expect(await post("/messages", message([{ type: "file", mediaType: "text/plain", url: "file:///etc/passwd" }]))).toBe(400)
  expect(await post("/messages", { id: client.id, message: { id: "../../x", role: "user", parts: [{ type: "text", text: "x" }] } })).toBe(400)
  expect(await post("/messages", "nonsense")).toBe(400)
  expect(await post("/inputs", { id: "m1", text: " " })).toBe(400)
  expect(await post("/inputs", { id: "m1", text: "x".repeat(20_001) })).toBe(400)
  for (const id of ["..%2f..%2fetc%2fpasswd", "%2e%2e", "x%00", "a".repeat(5_000), "constructor"])
    expect((await fetch(`${client.url}/api/chats/${id}/stream`)).status, id).toBe(404)
  expect(seen(await client.send("Count to 2."))).toEqual([numbers(2)])
})
