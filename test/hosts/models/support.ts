import { readFileSync } from "node:fs"
import { createServer, type IncomingMessage, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"
import { afterEach } from "vitest"
import { LlmCallError } from "../../../src/hosts/host.ts"
import { type OpenAiCompatibleOptions, openAiCompatible } from "../../../src/hosts/models/openai-compatible.ts"
import type { TurnEvent } from "../../../src/schemas/event.ts"
import type { LlmFailure, LlmRequest, LlmResponse } from "../../../src/schemas/llm.ts"

export const KEY = "sk-test-0123456789/abcdef"
export const HI: LlmRequest = {
  model: "gpt-4.1",
  messages: [{ role: "user", blocks: [{ type: "text", text: "Hi" }] }],
  attachments: [],
  tools: [],
  toolChoice: "none",
  generation: { maxOutputTokens: 99 },
}

export type Handler = (response: ServerResponse, request: IncomingMessage) => void

interface Recorded {
  readonly method: string | undefined
  readonly path: string | undefined
  readonly headers: IncomingMessage["headers"]
  readonly body: string
}

const servers: { close(): Promise<void> }[] = []

afterEach(async () => {
  await Promise.all(servers.splice(0).map((server) => server.close()))
})

/** A server on loopback that answers each request with the next handler, and the last one for ever. */
export async function serve(...handlers: readonly [Handler, ...Handler[]]) {
  const requests: Recorded[] = []
  const server = createServer((request, response) => {
    const chunks: Uint8Array[] = []
    request.on("data", (chunk: Uint8Array) => chunks.push(chunk))
    request.on("end", () => {
      requests.push({ method: request.method, path: request.url, headers: request.headers, body: Buffer.concat(chunks).toString() })
      const handler = handlers[Math.min(requests.length, handlers.length) - 1]
      handler?.(response, request)
    })
  })
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  const close = (): Promise<void> =>
    new Promise((resolve) => {
      server.close(() => resolve())
      server.closeAllConnections()
    })
  servers.push({ close })
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`, requests, close }
}

export function send(status: number, body: string | Uint8Array, headers: Record<string, string> = { "content-type": "text/event-stream" }): Handler {
  return (response) => void response.writeHead(status, headers).end(body)
}

export function sendFile(name: string, headers: Record<string, string> = {}, status = 200): Handler {
  const type = name.endsWith(".sse") ? "text/event-stream" : "application/json"
  return send(status, fixture(name), { "content-type": type, ...headers })
}

export type CallOptions = Omit<OpenAiCompatibleOptions, "baseUrl" | "sleep"> & {
  /** Given as undefined: the real one. */
  readonly sleep?: undefined
  readonly signal?: AbortSignal
  readonly onEvent?: (event: TurnEvent) => unknown
}

/** Calls the model with waits that take no time. */
export async function call(baseUrl: string, options: CallOptions = {}, request = HI) {
  const { response, ...rest } = await attempt(baseUrl, options, request)
  if (response === undefined) throw rest.error
  return { ...rest, response }
}

export async function refused(baseUrl: string, options: CallOptions = {}) {
  const { error, response, ...rest } = await attempt(baseUrl, options, HI)
  if (!(error instanceof LlmCallError)) throw new Error(`No refusal, but ${JSON.stringify(response)}`, { cause: error })
  const failure: LlmFailure = error.failure
  return { ...rest, error, failure }
}

async function attempt(baseUrl: string, options: CallOptions, request: LlmRequest) {
  const { onEvent, signal = new AbortController().signal, sleep: _real, ...rest } = options
  const events: TurnEvent[] = []
  const waits: number[] = []
  const instantly = "sleep" in options ? {} : { sleep: async (ms: number) => void waits.push(ms) }
  const host = openAiCompatible({ baseUrl, random: () => 0, ...rest, ...instantly })
  const emit = (event: TurnEvent): void => {
    events.push(event)
    onEvent?.(event)
  }
  let response: LlmResponse | undefined
  let error: unknown
  try {
    response = await host.llmCall({ type: "llm_call", id: 1, request }, { effectId: 1, idempotencyKey: undefined, signal, emit })
  } catch (thrown) {
    error = thrown
  }
  return { events, waits, response, error }
}

export function fixture(name: string): Buffer {
  return readFileSync(new URL(`../../fixtures/openai/${name}`, import.meta.url))
}

/** A step of a streamed answer: a chunk, a text as it is, or a pause in milliseconds. */
export type Step = object | string | number

/** Streams an answer step by step. `hang`: the connection stays open; `destroy`: it breaks. */
export function streamed(steps: readonly Step[], end: "end" | "hang" | "destroy" = "end", type = "text/event-stream"): Handler {
  return async (response) => {
    response.writeHead(200, { "content-type": type })
    for (const step of steps) {
      if (response.destroyed) return
      if (typeof step === "number") await new Promise((resolve) => setTimeout(resolve, step))
      else await new Promise((resolve) => response.write(typeof step === "string" ? step : `data: ${JSON.stringify(step)}\n\n`, resolve))
    }
    if (end === "end") response.end()
    if (end === "destroy") response.destroy()
  }
}

/** A chunk with a delta of the first choice. */
export function delta(content: object, finishReason: string | null = null): object {
  return { id: "chatcmpl-1", choices: [{ index: 0, delta: content, finish_reason: finishReason }] }
}

/** The last chunk with the usage. */
export const USAGE: object = { id: "chatcmpl-1", choices: [], usage: { prompt_tokens: 9, completion_tokens: 4 } }
