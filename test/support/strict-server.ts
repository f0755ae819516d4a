/**
 * A chat-completions endpoint on 127.0.0.1 whose answers a script gives. It refuses what strict providers refuse, counts what caching
 * providers count, and fails as real ones fail. It needs only Node.
 *
 *     const server = await startStrictServer(() => "Done.", { rules: ["user_before_calls"] })
 *     const host = openAiCompatible({ baseUrl: server.url })
 *     …
 *     server.bill      // { calls, refused, promptTokens, cachedTokens, outputTokens, fullPriceTokens }
 *     await server.close()
 *
 * Tokens are counted at four bytes each, of the JSON of tools and messages. Cached tokens are those of the longest prefix that an earlier
 * request had too, in whole units of the cache.
 */
import { createHash } from "node:crypto"
import { createServer, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"
import { setTimeout as sleep } from "node:timers/promises"
import { type ChatMessage, type ChatTool, type Rule, refusalOf } from "./strict-rules.ts"

/** The body of a request. */
export interface ChatBody {
  readonly model: string
  readonly messages: readonly ChatMessage[]
  readonly tools?: readonly ChatTool[]
  readonly stream?: boolean
  readonly stream_options?: { readonly include_usage?: boolean }
  readonly temperature?: number
  readonly max_tokens?: number
  readonly max_completion_tokens?: number
}

/** What the endpoint does for one request. All fields are optional; a text stands for `{ text }`. */
export interface ScriptedAnswer {
  readonly text?: string
  readonly reasoning?: string
  /** Tool calls. `args` is sent as it is if it is a text, which need not be JSON. */
  readonly calls?: readonly { readonly name: string; readonly args?: object | string; readonly id?: string }[]
  /** Default: `tool_calls` with calls, else `stop`. */
  readonly finishReason?: string
  /** Fails with this HTTP status. */
  readonly status?: number
  /** The error code of a failure. */
  readonly code?: string
  /** A failure is charged for its prompt, and its body has a `usage`. */
  readonly billed?: boolean
  /** The value of a failure's `retry-after` header, in seconds. */
  readonly retryAfter?: number
  /** Breaks the connection after this many characters of the text. They are charged. */
  readonly cutAfter?: number
  /** Milliseconds before the first byte. */
  readonly firstByteMs?: number
  /** Milliseconds between two chunks of a stream. */
  readonly betweenMs?: number
  /** The answer has no `usage`. */
  readonly noUsage?: boolean
  /** Replaces the counted tokens of the output, for budgets. */
  readonly outputTokens?: number
}

/** Returns the answer to a request. `number` counts the accepted requests from 1. */
export type Script = (request: ChatBody, number: number) => ScriptedAnswer | string | Promise<ScriptedAnswer | string>

export interface StrictServerOptions {
  /** Checked beside the rules that every provider has. Default: none. */
  readonly rules?: readonly Rule[]
  /** The unit of the cache: 128 tokens, or a whole message. Default `blocks`. */
  readonly cache?: "blocks" | "messages" | "off"
  /** No answer has a `usage`. */
  readonly noUsage?: boolean
}

/** What requests cost. */
export interface Bill {
  /** Requests that were answered, or failed after they were accepted. */
  readonly calls: number
  /** Requests that broke a rule. They cost nothing. */
  readonly refused: number
  readonly promptTokens: number
  readonly cachedTokens: number
  readonly outputTokens: number
  /** Prompt tokens that were not cached, and output tokens. */
  readonly fullPriceTokens: number
}

export interface SeenRequest {
  readonly body: ChatBody
  /** Why it was refused. */
  readonly refusal?: string
  readonly bill: Bill
}

export interface StrictServer {
  /** The base URL for a client. */
  readonly url: string
  /** All requests, in order of arrival. */
  readonly requests: readonly SeenRequest[]
  readonly bill: Bill
  close(): Promise<void>
}

const NOTHING: Bill = { calls: 0, refused: 0, promptTokens: 0, cachedTokens: 0, outputTokens: 0, fullPriceTokens: 0 }
const BLOCK_BYTES = 128 * 4
const CHUNK_CHARS = 24

/** Adds up bills. */
export function totalOf(requests: readonly SeenRequest[]): Bill {
  const total = { ...NOTHING }
  for (const { bill } of requests) for (const key of Object.keys(NOTHING) as (keyof Bill)[]) (total as Record<keyof Bill, number>)[key] += bill[key]
  return total
}

/** Starts an endpoint on a free port. A list answers in order; its last answer repeats. */
export async function startStrictServer(
  script: Script | readonly (ScriptedAnswer | string)[],
  { rules = [], cache = "blocks", noUsage = false }: StrictServerOptions = {},
): Promise<StrictServer> {
  const answerTo: Script = typeof script === "function" ? script : (_request, number) => script[Math.min(number, script.length) - 1] ?? ""
  const requests: SeenRequest[] = []
  const known = new Set<string>()
  let accepted = 0

  const answer = async (text: string, response: ServerResponse): Promise<void> => {
    const body = JSON.parse(text) as ChatBody
    const refusal = refusalOf(body.messages, body.tools ?? [], rules)
    if (refusal !== undefined) {
      requests.push({ body, refusal, bill: { ...NOTHING, refused: 1 } })
      sendJson(response, 400, { error: { message: refusal, type: "invalid_request_error", code: "invalid_request_message_order" } })
      return
    }
    const seen: { body: ChatBody; bill: Bill } = { body, bill: { ...NOTHING, calls: 1 } }
    requests.push(seen)
    accepted += 1
    const { promptTokens, cachedTokens } = countPrompt(body, cache, known)
    const given = await answerTo(body, accepted)
    const scripted = typeof given === "string" ? { text: given } : given
    const { status = 200, cutAfter = Number.POSITIVE_INFINITY } = scripted
    const output = `${scripted.reasoning ?? ""}${(scripted.text ?? "").slice(0, cutAfter)}${cutAfter === Number.POSITIVE_INFINITY ? JSON.stringify(scripted.calls ?? "") : ""}`
    const isCharged = status < 400 || scripted.billed === true
    const outputTokens = status >= 400 ? 0 : (scripted.outputTokens ?? tokens(output))
    if (isCharged) seen.bill = { ...seen.bill, promptTokens, cachedTokens, outputTokens, fullPriceTokens: promptTokens - cachedTokens + outputTokens }
    const usage =
      noUsage || scripted.noUsage === true || !isCharged
        ? undefined
        : { prompt_tokens: promptTokens, completion_tokens: outputTokens, prompt_tokens_details: { cached_tokens: cachedTokens } }
    await send(response, body, scripted, usage, accepted)
  }

  const server = createServer((request, response) => {
    if (request.method === "GET") {
      sendJson(response, 200, { requests, bill: totalOf(requests) })
      return
    }
    const chunks: Buffer[] = []
    request.on("data", (chunk: Buffer) => chunks.push(chunk))
    request.on("end", () => {
      answer(Buffer.concat(chunks).toString("utf8"), response).catch((error: unknown) => {
        if (!response.headersSent) sendJson(response, 500, { error: { message: `The script failed: ${String(error)}`, code: "script_failed" } })
        else response.destroy()
      })
    })
  })
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`,
    requests,
    get bill() {
      return totalOf(requests)
    },
    close() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()))
      server.closeAllConnections()
      return closed
    },
  }
}

type Usage = { readonly prompt_tokens: number; readonly completion_tokens: number } | undefined

async function send(response: ServerResponse, { model, stream, stream_options }: ChatBody, scripted: ScriptedAnswer, usage: Usage, number: number) {
  const { betweenMs = 0, calls = [], code, cutAfter, firstByteMs = 0, reasoning, retryAfter, status = 200, text = "" } = scripted
  if (firstByteMs > 0) await sleep(firstByteMs)
  if (response.destroyed) return
  if (status >= 400) {
    if (retryAfter !== undefined) response.setHeader("retry-after", String(retryAfter))
    sendJson(response, status, { error: { message: `Scripted failure ${status}.`, ...(code !== undefined && { code }) }, ...(usage && { usage }) })
    return
  }
  const id = `chatcmpl-${number}`
  const sent = calls.map(({ args = {}, id: callId, name }, index) => ({
    id: callId ?? `call_${number}_${index}`,
    type: "function",
    function: { name, arguments: typeof args === "string" ? args : JSON.stringify(args) },
  }))
  const finish_reason = scripted.finishReason ?? (calls.length > 0 ? "tool_calls" : "stop")
  if (stream !== true) {
    if (cutAfter !== undefined) {
      response.destroy()
      return
    }
    const message = {
      role: "assistant",
      content: text === "" && sent.length > 0 ? null : text,
      ...(reasoning !== undefined && { reasoning_content: reasoning }),
      ...(sent.length > 0 && { tool_calls: sent }),
    }
    sendJson(response, 200, { id, object: "chat.completion", model, choices: [{ index: 0, message, finish_reason }], ...(usage && { usage }) })
    return
  }

  response.writeHead(200, { "content-type": "text/event-stream" })
  const chunk = (choices: readonly object[], more: object = {}): void =>
    void response.write(`data: ${JSON.stringify({ id, object: "chat.completion.chunk", model, choices, ...more })}\n\n`)
  const delta = async (value: object): Promise<void> => {
    chunk([{ index: 0, delta: value, finish_reason: null }])
    if (betweenMs > 0) await sleep(betweenMs)
  }
  await delta({ role: "assistant", content: "" })
  if (reasoning !== undefined) await delta({ reasoning_content: reasoning })
  const shown = text.slice(0, cutAfter)
  for (let start = 0; start < shown.length && !response.destroyed; start += CHUNK_CHARS)
    await delta({ content: shown.slice(start, start + CHUNK_CHARS) })
  if (cutAfter !== undefined) {
    // What was written before must arrive.
    await sleep(10)
    response.destroy()
    return
  }
  for (const [index, call] of sent.entries()) await delta({ tool_calls: [{ index, ...call }] })
  chunk([{ index: 0, delta: {}, finish_reason }])
  if (usage !== undefined && stream_options?.include_usage === true) chunk([], { usage })
  response.end("data: [DONE]\n\n")
}

function sendJson(response: ServerResponse, status: number, body: object): void {
  response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body))
}

function tokens(text: string): number {
  return Math.ceil(Buffer.byteLength(text) / 4)
}

/** Counts the tokens of a prompt, and those of its first units that an earlier request had too. `known`: the digests of all prefixes. */
function countPrompt({ messages, tools = [] }: ChatBody, cache: "blocks" | "messages" | "off", known: Set<string>) {
  // Providers put the tools before the messages: other tools change the whole prompt.
  const prompt = [JSON.stringify(tools), ...messages.map((message) => JSON.stringify(message))]
  const whole = Buffer.from(prompt.join("\n"))
  const units: Buffer[] = []
  if (cache === "messages") units.push(...prompt.map((line) => Buffer.from(`${line}\n`)))
  else if (cache === "blocks")
    for (let start = 0; start + BLOCK_BYTES <= whole.length; start += BLOCK_BYTES) units.push(whole.subarray(start, start + BLOCK_BYTES))
  let [cachedBytes, digest, isCached] = [0, "", true]
  for (const unit of units) {
    digest = createHash("sha1").update(digest).update(unit).digest("base64")
    isCached &&= known.has(digest)
    if (isCached) cachedBytes += unit.length
    known.add(digest)
  }
  const promptTokens = Math.ceil(whole.length / 4)
  return { promptTokens, cachedTokens: Math.min(Math.floor(cachedBytes / 4), promptTokens) }
}
