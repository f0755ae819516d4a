/**
 * A web server for conversations. It keeps nothing in memory that it needs: kill it at any time and start it again.
 *
 *     GET    /threads/ID/events        the events of a thread, as server-sent events; `Last-Event-ID` is the cursor
 *     POST   /threads/ID/inputs        { text, when?, key?, redirect? } → { inputId, status }
 *     DELETE /threads/ID/inputs/INPUT  → { result: "retracted" | "delivered" | "unknown" }
 *     DELETE /threads/ID
 *
 * `CONVERSATIONS_FOLDER`: where the threads are, default `data`. `PORT`: default 4114. `WORD_MS`, `TOOL_MS`: how slow the model and the tool are.
 */
import { once } from "node:events"
import { createServer, type IncomingMessage, type ServerResponse } from "node:http"
import { fileJournalStore } from "turn-machine/hosts/node"
import { type Thread, ThreadCursorError, ThreadError } from "turn-machine/hosts/thread"
import * as z from "zod"
import { travelAgent } from "./agent.ts"
import { Conversations } from "./conversations.ts"

const { CONVERSATIONS_FOLDER = "data", PORT = "4114", WORD_MS = "150", TOOL_MS = "1500" } = process.env
const store = fileJournalStore(`${CONVERSATIONS_FOLDER}/threads`)
const conversations = new Conversations(store, travelAgent({ wordMs: Number(WORD_MS), toolMs: Number(TOOL_MS) }))

const Input = z.object({
  text: z.string().min(1),
  when: z.enum(["now", "turn_end", "next_turn"]).default("now"),
  /** Makes the request safe to send again: inputs with the same key are one. */
  key: z.string().min(1).max(100).optional(),
  redirect: z.boolean().default(false),
})

async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const [, threads, threadId = "", part, inputId] = new URL(request.url ?? "/", "http://localhost").pathname.split("/")
  const route = `${request.method} ${part ?? ""}`
  if (threads !== "threads" || !/^[a-z0-9-]{1,40}$/.test(threadId)) return send(response, 404, { error: "There is no such page." })
  if (route === "DELETE ") {
    await conversations.delete(threadId)
    return send(response, 200, { result: "deleted" })
  }
  const conversation = await conversations.get(threadId)
  const { thread } = conversation
  if (route === "GET events") return sendEvents(request, response, thread)
  if (route === "POST inputs") {
    const { text, when, key, redirect } = Input.parse(JSON.parse(await bodyOf(request)))
    const options = key === undefined ? {} : { key }
    // The answer is sent when the input is stored. From then on it is delivered once, whatever happens to this process.
    const receipt = redirect ? await thread.redirect(text, options) : await thread.say(text, { ...options, when })
    conversation.run()
    return send(response, 200, receipt)
  }
  if (route === "DELETE inputs" && inputId !== undefined) return send(response, 200, { result: await thread.retract(inputId) })
  return send(response, 404, { error: "There is no such page." })
}

/** Sends what the client has not seen, then what happens, until the client or the thread closes. */
async function sendEvents(request: IncomingMessage, response: ServerResponse, thread: Thread): Promise<void> {
  const gone = new AbortController()
  response.on("close", () => gone.abort())
  const { "last-event-id": cursor } = request.headers
  const after = typeof cursor === "string" ? cursor : undefined
  for await (const event of thread.events({ after, signal: gone.signal })) {
    // A wrong cursor throws before the first event, and is answered with an error.
    if (!response.headersSent) response.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-store" })
    // Only a durable event has a cursor. The client sends the last one back when it reconnects.
    const id = "cursor" in event ? `id: ${event.cursor}\n` : ""
    if (!response.write(`${id}data: ${JSON.stringify(event)}\n\n`)) await once(response, "drain", { signal: gone.signal }).catch(() => {})
  }
  // The thread was closed. A client that is still there may stop.
  response.end("event: closed\ndata: {}\n\n")
}

async function bodyOf(request: IncomingMessage): Promise<string> {
  let body = ""
  for await (const chunk of request.setEncoding("utf8")) {
    body += chunk
    if (body.length > 100_000) throw new SyntaxError("The input is too long.")
  }
  return body
}

function send(response: ServerResponse, status: number, value: object): void {
  response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(value))
}

function statusOf(error: unknown): number {
  if (error instanceof z.ZodError || error instanceof SyntaxError || error instanceof ThreadCursorError) return 400
  return error instanceof ThreadError ? 409 : 500
}

const server = createServer((request, response) => {
  handle(request, response).catch((error: unknown) => {
    if (response.headersSent) response.destroy()
    else send(response, statusOf(error), { error: error instanceof Error ? error.message : String(error) })
  })
})
server.listen(Number(PORT), "127.0.0.1", async () => {
  const address = server.address()
  console.log(`server: listens on http://127.0.0.1:${typeof address === "object" ? address?.port : PORT}`)
  for (const threadId of await conversations.resume()) console.log(`server: found ${threadId} open and resumes it`)
})
