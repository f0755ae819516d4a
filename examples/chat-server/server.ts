import { type Context, Hono, type Next } from "hono"
import { bodyLimit } from "hono/body-limit"
import { HTTPException } from "hono/http-exception"
import { streamSSE } from "hono/streaming"
import { userMessage } from "turn-machine"
import { ThreadCursorError, ThreadError } from "turn-machine/hosts/thread"
import { ChatRequestError, lastCursor, readChatRequest } from "turn-machine/hosts/ui-stream"
import * as z from "zod"
import { type Chat, RefusedDecision } from "./chat.ts"
import type { ChatChange, Chats } from "./chats.ts"
import type { Page } from "./page.ts"

/** The longest message of a user, in characters. */
const MAX_TEXT = 20_000
/** A decision comes with the whole message that it is about. */
const MAX_BODY_BYTES = 4_000_000

const Input = z.object({ id: z.string().regex(/^[\w-]{1,64}$/), text: z.string().trim().min(1).max(MAX_TEXT) })

/**
 * The chats over HTTP, for a page of the same origin.
 *
 *     GET    /api/chats               the list
 *     POST   /api/chats               a new chat
 *     GET    /api/changes             the list and then its changes, as server-sent events
 *     GET    /api/chats/ID            the messages, for a page that loads
 *     DELETE /api/chats/ID
 *     POST   /api/chats/ID/messages   what `useChat` posts: a message or decisions. Answered with the stream of the turn
 *     GET    /api/chats/ID/stream     the turn that runs, or the rest of it after `Last-Event-ID`
 *     POST   /api/chats/ID/inputs     { id, text }: a message for the turn that runs
 *     POST   /api/chats/ID/stop       → { returned }: the messages that the turn has not received
 */
export function chatServer(chats: Chats, page: Page, model: string): Hono {
  const app = new Hono()
  app.use(onlyOwnPages)
  app.use("/api/*", bodyLimit({ maxSize: MAX_BODY_BYTES, onError: () => refuse(413, "The request is too large.") }))
  app.onError(answerError)

  app.get("/api/chats", (c) => c.json({ model, chats: chats.list() }))
  app.post("/api/chats", (c) => c.json(chats.create(), 201))
  app.get("/api/changes", (c) => streamChanges(c, chats))
  app.get("/api/chats/:id", async (c) => c.json(await (await chatOf(c, chats)).state()))
  app.delete("/api/chats/:id", async (c) => ((await chats.delete(c.req.param("id"))) ? c.body(null, 204) : refuse(404, "There is no such chat.")))
  app.post("/api/chats/:id/messages", async (c) => {
    const chat = await chatOf(c, chats)
    const asked = await readChatRequest(c.req.raw, { maxTextLength: MAX_TEXT, maxBodyBytes: MAX_BODY_BYTES })
    const { signal } = c.req.raw
    if (asked.type === "input") {
      // The message is stored when `say` resolves. From then on it is answered, whatever happens to this process or to the client.
      const inputId = await chat.say(asked.message, asked.key)
      return chat.respond({ type: "input", inputId }, signal)
    }
    const { turnId, decisions } = asked
    await chat.decide({ turnId, decisions })
    return chat.respond({ type: "continued", turnId, requestIds: decisions.map(({ requestId }) => requestId) }, signal)
  })
  app.get("/api/chats/:id/stream", async (c) => {
    const chat = await chatOf(c, chats)
    const cursor = lastCursor(c.req.raw)
    return chat.respond(cursor === undefined ? { type: "open" } : { type: "after", cursor }, c.req.raw.signal)
  })
  app.post("/api/chats/:id/inputs", async (c) => {
    const chat = await chatOf(c, chats)
    const { id, text } = Input.parse(await c.req.json())
    return c.json({ inputId: await chat.say(userMessage(text, { id }), id) })
  })
  app.post("/api/chats/:id/stop", async (c) => c.json({ returned: await (await chatOf(c, chats)).stop() }))

  const html = (c: Context) => c.html(page.html)
  app.get("/", html)
  app.get("/chats/:id", html)
  app.get("/app.js", (c) => c.body(page.script, 200, { "content-type": "text/javascript; charset=utf-8" }))
  app.get("/app.css", (c) => c.body(page.style, 200, { "content-type": "text/css; charset=utf-8" }))
  return app
}

const HEADERS = {
  "content-security-policy":
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  "cross-origin-resource-policy": "same-origin",
  "referrer-policy": "no-referrer",
  "x-content-type-options": "nosniff",
} as const

/**
 * Lets only pages of this server in. Any page that the user visits can send requests to 127.0.0.1: under a name of its own that it has made point
 * there, which the `Host` shows, or across origins, which `Origin` and `Sec-Fetch-Site` show. Browsers do not let a page change these headers.
 */
async function onlyOwnPages(c: Context, next: Next): Promise<void> {
  const { host = "", origin, "sec-fetch-site": site = "none" } = c.req.header()
  if (!/^(?:127\.0\.0\.1|localhost|\[::1\])(?::\d{1,5})?$/i.test(host)) refuse(421, "This server answers only on 127.0.0.1 and localhost.")
  if (origin !== undefined && origin !== `http://${host}`) refuse(403, "This server answers only its own pages.")
  if (c.req.path.startsWith("/api/") && site !== "same-origin" && site !== "none") refuse(403, "This server answers only its own pages.")
  await next()
  for (const [name, value] of Object.entries(HEADERS)) c.res.headers.set(name, value)
  if (!c.res.headers.has("cache-control")) c.res.headers.set("cache-control", "no-store")
}

/** An id is only looked up, and never a part of a path. */
async function chatOf(c: Context, chats: Chats): Promise<Chat> {
  return (await chats.get(c.req.param("id") ?? "")) ?? refuse(404, "There is no such chat.")
}

/** The list first. Of several changes of a chat that the client has not read, it is sent the last. */
function streamChanges(c: Context, chats: Chats): Response {
  return streamSSE(c, async (stream) => {
    const waiting = new Map<string, ChatChange>()
    let wake = () => {}
    const end = chats.onChange((change) => {
      waiting.set(change.type === "chat" ? change.chat.id : change.id, change)
      wake()
    })
    stream.onAbort(() => wake())
    try {
      await stream.writeSSE({ event: "chats", data: JSON.stringify(chats.list()) })
      while (!stream.aborted) {
        const changes = [...waiting.values()]
        waiting.clear()
        for (const change of changes) await stream.writeSSE({ event: "change", data: JSON.stringify(change) })
        if (waiting.size > 0) continue
        await new Promise<void>((resolve) => {
          const timer = setTimeout(resolve, 15_000)
          wake = () => {
            clearTimeout(timer)
            resolve()
          }
        })
        // Shows a client that has gone.
        if (waiting.size === 0) await stream.write(": still here\n\n")
      }
    } finally {
      end()
    }
  })
}

function refuse(status: 403 | 404 | 413 | 421, message: string): never {
  throw new HTTPException(status, { res: Response.json({ message }, { status, headers: HEADERS }) })
}

function answerError(error: Error, c: Context): Response {
  if (error instanceof HTTPException) return error.getResponse()
  if (error instanceof ChatRequestError) return error.toResponse()
  const { message } = error
  if (error instanceof z.ZodError || error instanceof SyntaxError) return c.json({ message: "The request has no valid message." }, 400)
  if (error instanceof ThreadCursorError) return c.json({ code: error.code, message }, 400)
  if (error instanceof ThreadError) return c.json({ code: error.code, message }, 409)
  if (error instanceof RefusedDecision) return c.json({ message }, 409)
  console.error(error)
  return c.json({ message: "The server failed. Its terminal says why." }, 500)
}
