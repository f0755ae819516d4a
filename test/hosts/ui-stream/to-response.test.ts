import type { UIMessage, UIMessageChunk } from "ai"
import { describe, expect, test, vi } from "vitest"
import { resumingFetch, toResponse } from "../../../src/hosts/ui-stream/index.ts"
import type { UiMessages } from "../../../src/projectors/ui-stream/index.ts"
import { ThreadCursorError } from "../../../src/replay/thread-cursor.ts"
import { says } from "../thread/support.ts"
import { Chat, ChatServer, hostThatSays } from "./chat-server.ts"

const user = (id: string, text: string) => ({ id, role: "user", parts: [{ type: "text", text }] })
const post = (message: object): RequestInit => ({
  method: "POST",
  headers: { "content-type": "application/json" },
  body: JSON.stringify({ id: "t", trigger: "submit-message", messages: [message] }),
})

/** The events of a response: their ids and their data. */
async function framesOf(response: Response): Promise<{ readonly id: string; readonly data: string }[]> {
  const text = await response.text()
  return text
    .split("\n\n")
    .filter((frame) => frame.includes("data: "))
    .map((frame) => ({ id: /^id: (.*)$/m.exec(frame)?.[1] ?? "", data: /^data: (.*)$/m.exec(frame)?.[1] ?? "" }))
}

const chunksOf = (frames: readonly { readonly data: string }[]): UIMessageChunk[] =>
  frames.filter(({ data }) => data !== "[DONE]").map(({ data }) => JSON.parse(data) as UIMessageChunk)
const textsOf = (message: UIMessage | undefined): string[] => (message?.parts ?? []).flatMap((part) => (part.type === "text" ? [part.text] : []))

/** A gate that a model waits at. */
function gate() {
  let open = (): void => {}
  const opened = new Promise<void>((resolve) => {
    open = resolve
  })
  return { open, opened }
}

test("a message is answered with the chunks of its turn, and a client of useChat reads them", async () => {
  const server = await ChatServer.start(hostThatSays([says("I look.", "c1=look"), says("Done here.")]))
  const response = await server.fetch("http://chat.test/chat", post(user("u1", "Hello")))
  expect(Object.fromEntries(response.headers)).toMatchObject({
    "content-type": "text/event-stream; charset=utf-8",
    "x-vercel-ai-ui-message-stream": "v1",
    "cache-control": "no-cache, no-transform",
  })
  const frames = await framesOf(response)
  expect(frames.at(-1)).toEqual({ id: "", data: "[DONE]" })
  expect(frames.slice(0, -1).every(({ id }) => /^[\w.-]+$/.test(id))).toBe(true)
  expect(chunksOf(frames).at(0)).toMatchObject({ type: "start", messageId: "t.1" })

  const chat = new Chat(server.fetch, [])
  await chat.sendMessage({ text: "And again?" })
  await server.running
  expect(chat.error).toBeDefined() // The model has no third answer: the turn failed.
  expect(chat.messages.map(({ id, role }) => `${role} ${id}`)).toEqual(["user client-0-1", "assistant t.2"])

  const loaded = (await (await server.fetch("http://chat.test/messages")).json()) as UiMessages
  expect(loaded.messages.map(({ id }) => id)).toEqual(["u1", "t.1", "client-0-1", "t.2"])
})

test("an approval ends the stream; the client's answer continues the same message", async () => {
  const server = await ChatServer.start(hostThatSays([says("I pay.", "c1=pay", "c2=look"), says("Paid it.")]))
  const chat = new Chat(server.fetch)
  await chat.sendMessage({ text: "Pay." })
  expect(chat.status).toBe("ready")
  const asked = chat.lastMessage?.parts.find(({ type }) => type === "tool-pay") as unknown as { approval: { id: string; signature: string } }
  expect(asked).toMatchObject({ state: "approval-requested", approval: { id: "2:c1" } })
  expect(chat.lastMessage?.parts).toContainEqual(expect.objectContaining({ type: "tool-look", state: "output-available", output: "look done" }))

  await chat.addToolApprovalResponse({ id: asked.approval.id, approved: true })
  await vi.waitFor(() => expect(textsOf(chat.lastMessage)).toEqual(["I pay.", "Paid it."]), 20_000)
  await vi.waitFor(() => expect(chat.status).toBe("ready"), 20_000)
  expect(chat.messages.map(({ id }) => id)).toEqual(["client-0-1", "t.1"])
  expect(chat.lastMessage?.parts).toContainEqual(expect.objectContaining({ type: "tool-pay", state: "output-available", output: "pay done" }))
  const loaded = (await (await server.fetch("http://chat.test/messages")).json()) as UiMessages
  expect(loaded.messages.at(-1)?.parts.map(({ type }) => type)).toEqual(chat.lastMessage?.parts.map(({ type }) => type))
})

test("a denied call does not run, and the decision is about the call that the page showed", async () => {
  const server = await ChatServer.start(hostThatSays([says("", "c1=pay"), says("Not paid.")]))
  const chat = new Chat(server.fetch)
  await chat.sendMessage({ text: "Pay." })
  await chat.addToolApprovalResponse({ id: "2:c1", approved: false, reason: "Too much." })
  await vi.waitFor(() => expect(textsOf(chat.lastMessage)).toEqual(["Not paid."]), 20_000)
  expect(chat.lastMessage?.parts).toContainEqual(expect.objectContaining({ type: "tool-pay", state: "output-denied" }))

  const again = await ChatServer.start(hostThatSays([says("", "c1=pay"), says("Not paid.")]))
  await new Chat(again.fetch).sendMessage({ text: "Pay." })
  const forged = { type: "tool-pay", toolCallId: "c1", state: "approval-responded", approval: { id: "2:c1", approved: true, signature: "other" } }
  const refused = await again.fetch("http://chat.test/chat", post({ id: "t.1", role: "assistant", parts: [forged] }))
  expect(await refused.text()).toBe("data: [DONE]\n\n")
  expect((await again.thread.pendingApprovals())?.held).toHaveLength(1)
})

test("a tool of the page's own is answered by the page", async () => {
  const server = await ChatServer.start(hostThatSays([says("", "c1=locate"), says("You are there.")]), { clientTools: ["locate"] })
  const chat = new Chat(server.fetch)
  await chat.sendMessage({ text: "Where am I?" })
  expect(chat.status).toBe("ready")
  await chat.addToolOutput({ tool: "locate", toolCallId: "c1", output: { lat: 1 } })
  await chat.sendMessage()
  await server.running
  expect(textsOf(chat.lastMessage)).toEqual(["You are there."])
  expect(chat.lastMessage?.parts).toContainEqual(expect.objectContaining({ type: "tool-locate", state: "output-available", output: { lat: 1 } }))
})

test("a client that lost its connection anywhere receives exactly what it has not seen", async () => {
  const server = await ChatServer.start(hostThatSays([says("I look there.", "c1=look"), says("It is all done.")]))
  const frames = await framesOf(await server.fetch("http://chat.test/chat", post(user("u1", "Hello"))))
  await server.running
  const joined = (chunks: readonly UIMessageChunk[]): unknown[] =>
    chunks.reduce<Record<string, unknown>[]>((all, chunk) => {
      const last = all.at(-1)
      if (chunk.type === "text-delta" && last?.["type"] === "text-delta") all[all.length - 1] = { ...last, delta: `${last["delta"]}${chunk.delta}` }
      else all.push({ ...chunk })
      return all
    }, [])
  const whole = joined(chunksOf(frames))
  for (const [index, { id }] of frames.slice(0, -1).entries()) {
    const isLast = index === frames.length - 2
    const response = await server.fetch("http://chat.test/chat/t/stream", { headers: { "last-event-id": id } })
    expect(response.status).toBe(isLast ? 204 : 200)
    const rest = isLast ? [] : chunksOf(await framesOf(response))
    expect(joined([...chunksOf(frames.slice(0, index + 1)), ...rest])).toEqual(whole)
  }
  const byQuery = await server.fetch(`http://chat.test/chat/t/stream?after=${frames[1]?.id}`)
  expect(chunksOf(await framesOf(byQuery)).length).toBeGreaterThan(3)
})

test("cursors that are not of the thread are refused", async () => {
  const server = await ChatServer.start(hostThatSays([says("Hi.")]))
  const frames = await framesOf(await server.fetch("http://chat.test/chat", post(user("u1", "Hello"))))
  const other = (frames[0]?.id ?? "").replace(/^./, (digit) => (digit === "0" ? "1" : "0"))
  for (const [cursor, code] of [
    ["nonsense", "invalid_cursor"],
    ["0.1.2", "invalid_cursor"],
    [other, "cursor_of_other_thread"],
  ] as const) {
    const refused = toResponse(server.thread, { select: { type: "after", cursor } })
    await expect(refused).rejects.toThrow(ThreadCursorError)
    await expect(refused).rejects.toMatchObject({ code })
  }
})

test("a page that loads in mid-answer receives the running turn from its beginning; without one, nothing", async () => {
  const { open, opened } = gate()
  const reached = gate()
  const server = await ChatServer.start(
    hostThatSays([says("One two three.")], async (word) => {
      if (word !== "three.") return
      reached.open()
      await opened
    }),
  )
  expect((await server.fetch("http://chat.test/chat/t/stream")).status).toBe(204)
  const first = await server.fetch("http://chat.test/chat", post(user("u1", "Count.")))
  await reached.opened
  await first.body?.cancel()

  const loaded = (await (await server.fetch("http://chat.test/messages")).json()) as UiMessages
  expect(loaded).toMatchObject({ status: "running", messages: [{ id: "u1" }] })
  const page = new Chat(server.fetch, loaded.messages as unknown as UIMessage[])
  const resumed = page.resumeStream()
  await vi.waitFor(() => expect(textsOf(page.lastMessage)).toEqual(["One two "]), 20_000)
  open()
  await resumed
  expect(page.messages.map(({ id }) => id)).toEqual(["u1", "t.1"])
  expect(textsOf(page.lastMessage)).toEqual(["One two three."])
  expect((await server.fetch("http://chat.test/chat/t/stream")).status).toBe(204)
})

test("resumingFetch connects again wherever the stream breaks, and the client does not notice", async () => {
  const server = await ChatServer.start(hostThatSays([says("I look there.", "c1=look"), says("It is all done.")]))
  let connections = 0
  /** Breaks each response after some bytes, more with each connection. */
  const breaking: typeof fetch = async (input, init) => {
    const response = await server.fetch(input as Request, init)
    connections += 1
    let left = 150 + connections * 60
    const body = response.body?.pipeThrough(
      new TransformStream<Uint8Array, Uint8Array>({
        transform(bytes, controller) {
          controller.enqueue(bytes.slice(0, left))
          left -= bytes.byteLength
          if (left < 0) controller.error(new TypeError("The connection broke."))
        },
      }),
    )
    return new Response(body ?? null, { status: response.status, headers: response.headers })
  }
  const resumed = resumingFetch({ fetch: breaking, delayMs: 1, resumeUrl: () => "http://chat.test/chat/t/stream", maxAttempts: 30 })
  const chat = new Chat(resumed)
  await chat.sendMessage({ text: "Hello" })
  expect(chat.error).toBeUndefined()
  expect(textsOf(chat.lastMessage)).toEqual(["I look there.", "It is all done."])
  expect(connections).toBeGreaterThan(3)
})

describe("resumingFetch", () => {
  const streaming = (text: string): Response => new Response(text, { headers: { "x-vercel-ai-ui-message-stream": "v1" } })
  const frame = 'id: 0.1\ndata: {"type":"start","messageId":"a"}\n\n'

  test("gives up when the server refuses, and when nothing comes", async () => {
    let calls = 0
    const refusing = resumingFetch({
      fetch: async () => {
        calls += 1
        return calls === 1 ? streaming(frame) : new Response("no", { status: 404 })
      },
      delayMs: 1,
      resumeUrl: () => "http://chat.test/s",
    })
    await expect((await refusing("http://chat.test/chat")).text()).rejects.toThrow("the server answered with 404")
    expect(calls).toBe(2)
    calls = 0
    const silent = resumingFetch({
      fetch: async () => {
        calls += 1
        return calls === 1 ? streaming(frame) : streaming("")
      },
      delayMs: 1,
      maxAttempts: 3,
      resumeUrl: () => "http://chat.test/s",
    })
    await expect((await silent("http://chat.test/chat")).text()).rejects.toThrow("ended before its last chunk")
    expect(calls).toBe(4)
  })

  test("ends where there is nothing more, and passes other responses on", async () => {
    let calls = 0
    const ended = resumingFetch({
      fetch: async () => {
        calls += 1
        return calls === 1 ? streaming(`${frame}id: 0.2\ndata: {"ty`) : new Response(null, { status: 204 })
      },
      delayMs: 1,
      resumeUrl: () => "http://chat.test/s",
    })
    expect(await (await ended("http://chat.test/chat")).text()).toBe(`${frame}data: [DONE]\n\n`)
    const refused = resumingFetch({ fetch: async () => new Response("no", { status: 413 }), resumeUrl: () => "" })
    expect((await refused("http://chat.test/chat")).status).toBe(413)
  })
})

test("a client that leaves is reported once, and one that read everything is not", async () => {
  const { open, opened } = gate()
  const onDisconnect = vi.fn()
  const server = await ChatServer.start(
    hostThatSays([says("One two."), says("Three.")], async (word) => (word === "two." ? opened : undefined)),
    { onDisconnect },
  )
  const leaving = new AbortController()
  const response = await server.fetch("http://chat.test/chat", { ...post(user("u1", "Count.")), signal: leaving.signal })
  const reader = response.body?.getReader()
  await reader?.read()
  expect(onDisconnect).not.toHaveBeenCalled()
  leaving.abort()
  await reader?.cancel().catch(() => {})
  expect(onDisconnect).toHaveBeenCalledTimes(1)
  open()
  await server.running
  await framesOf(await server.fetch("http://chat.test/chat", post(user("u2", "More."))))
  expect(onDisconnect).toHaveBeenCalledTimes(1)
})

test("nothing is read that the client does not ask for, a quiet connection is kept open, and a broken source ends with an error", async () => {
  const asked: number[] = []
  const START = { type: "turn_started", turnId: "t.1", origin: "user", cursor: "aaaaaaaa-1" } as const
  const source = {
    async *events({ live }: { readonly live?: boolean }) {
      if (live === false) yield START
      else
        for (let number = 0; ; number += 1) {
          asked.push(number)
          if (number === 2) await new Promise((resolve) => setTimeout(resolve, 300))
          if (number === 3) throw new Error("secret")
          yield { type: "text_delta", turnId: "t.1", effectId: 1, delta: `${number} ` } as const
        }
    },
  }
  const onError = vi.fn()
  let items = 0
  const response = await toResponse(source, { heartbeatMs: 20, onError, data: () => [{ type: "data-checklist", data: { items } }] })
  const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader()
  const read = async (): Promise<string> => (await reader?.read())?.value ?? ""
  await new Promise((resolve) => setTimeout(resolve, 50))
  expect(asked.length).toBeLessThanOrEqual(1)
  expect(await read()).toBe(
    'data: {"type":"data-checklist","data":{"items":0},"transient":true}\n\nid: 0.1\ndata: {"type":"start","messageId":"t.1"}\n\n',
  )
  items = 1
  let rest = ""
  for (let text = await read(); text !== ""; text = await read()) rest += text
  expect(rest).toContain('{"items":1}')
  expect(rest).toContain('"delta":"1 "')
  expect(rest).toContain(": still here\n\n")
  expect(rest.endsWith('data: {"type":"error","errorText":"The stream failed."}\n\ndata: [DONE]\n\n')).toBe(true)
  expect(rest).not.toContain("secret")
  expect(onError).toHaveBeenCalledWith(new Error("secret"))
})

test("a run that rejects ends the stream with an error, and the reason is for the server only", async () => {
  const START = { type: "turn_started", turnId: "t.1", origin: "user", cursor: "aaaaaaaa-1" } as const
  const waiting = {
    async *events({ live, signal }: { readonly live?: boolean; readonly signal?: AbortSignal }) {
      yield START
      if (live !== false) await new Promise((resolve) => signal?.addEventListener("abort", resolve))
    },
  }
  const onError = vi.fn()
  const response = await toResponse(waiting, { onError, run: Promise.reject(new Error("no database at 10.0.0.7")) })
  const text = await response.text()
  expect(text.endsWith('data: {"type":"error","errorText":"The stream failed."}\n\ndata: [DONE]\n\n')).toBe(true)
  expect(text).not.toContain("10.0.0.7")
  expect(onError.mock.calls).toEqual([[new Error("no database at 10.0.0.7")]])
})

test("a run that ends changes nothing: the stream ends with its turn", async () => {
  const server = await ChatServer.start(hostThatSays([says("Hello.")]))
  const { inputId } = await server.thread.say("Hi", { when: "next_turn" })
  server.run()
  await server.running
  const frames = await framesOf(await toResponse(server.thread, { select: { type: "input", inputId }, run: server.running }))
  expect(chunksOf(frames).at(-1)).toMatchObject({ type: "finish" })
  expect(frames.at(-1)?.data).toBe("[DONE]")
})

test("a thread that closes ends the stream without its mark, so that a client connects again", async () => {
  const { open, opened } = gate()
  const server = await ChatServer.start(hostThatSays([says("One two.")], async (word) => (word === "two." ? opened : undefined)))
  const response = await server.fetch("http://chat.test/chat", post(user("u1", "Count.")))
  const reading = response.text()
  await server.thread.close()
  const text = await reading
  expect(text).toContain('"type":"start"')
  expect(text).not.toContain("[DONE]")
  open()
  await server.running.catch(() => {})
})

test("an input that was taken back, or that nobody said, is an empty stream", async () => {
  const server = await ChatServer.start(hostThatSays([]))
  const { inputId } = await server.thread.say("Never mind.")
  await server.thread.retract(inputId)
  for (const id of [inputId, "unknown"])
    expect(await (await toResponse(server.thread, { select: { type: "input", inputId: id } })).text()).toBe("data: [DONE]\n\n")
})
