/**
 * A Gemini endpoint whose answers a script gives. It refuses what Gemini refuses, signs what Gemini signs, and wants its signatures back on
 * exactly the parts that it gave them with. It needs only Node.
 *
 *     const gemini = new StrictGemini(["Done."])
 *     gemini.answer(body, { stream: true })     // { status, text }
 *     const server = await serveStrictGemini(gemini)
 *     fetch(`${server.url}/models/gemini-3-pro:streamGenerateContent?alt=sse`, …)
 */
import { createHash } from "node:crypto"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { type GeminiRules, geminiRefusal, signedData } from "./strict-gemini-rules.ts"

type Values = Readonly<Record<string, unknown>>

export interface GeminiRequestBody {
  readonly contents: readonly { readonly role: string; readonly parts: readonly Values[] }[]
  readonly systemInstruction?: { readonly parts: readonly Values[] }
  readonly tools?: readonly Values[]
}

/** What the endpoint does for one request. A text stands for `{ text }`. */
export interface GeminiScripted {
  readonly thought?: string
  readonly text?: string
  readonly calls?: readonly { readonly name: string; readonly args?: object }[]
  /** Parts that are sent as they are, before the text. */
  readonly parts?: readonly Values[]
  /** Default `STOP`. */
  readonly finishReason?: string
  /** Fails with this HTTP status, and with `error` as the body's error. */
  readonly status?: number
  readonly error?: object
  /** In a stream: repeats each call in a chunk of its own without its signature. */
  readonly repeatsCalls?: boolean
  /** Ends the stream after this many chunks. */
  readonly cutAfter?: number
}

export type GeminiScript = (body: GeminiRequestBody, number: number) => GeminiScripted | string

export interface StrictGeminiOptions extends Pick<GeminiRules, "signedCalls" | "ids"> {
  /** Sends texts in pieces of so many characters. Default 12. */
  readonly pieceChars?: number
}

export interface GeminiReply {
  readonly status: number
  /** JSON, or events. */
  readonly text: string
}

export interface SeenGeminiRequest {
  readonly body: GeminiRequestBody
  /** Why it was refused. */
  readonly refusal?: string
  /** How many of the parts of the accepted request before it are its first parts. `undefined`: all. */
  readonly changedAt?: number
}

export class StrictGemini {
  /** All requests, in order of arrival. */
  readonly requests: SeenGeminiRequest[] = []
  readonly #script: GeminiScript
  readonly #options: StrictGeminiOptions
  readonly #issued = new Map<string, string>()
  #accepted = 0
  #before: readonly string[] = []

  constructor(script: GeminiScript | readonly (GeminiScripted | string)[], options: StrictGeminiOptions = {}) {
    this.#script = typeof script === "function" ? script : (_body, number) => script[Math.min(number, script.length) - 1] ?? ""
    this.#options = { signedCalls: true, ...options }
  }

  answer(body: unknown, { stream }: { readonly stream: boolean }): GeminiReply {
    const refusal = geminiRefusal(body, { ...this.#options, issued: this.#issued })
    if (refusal !== undefined) {
      this.requests.push({ body: body as GeminiRequestBody, refusal })
      return { status: 400, text: JSON.stringify({ error: { code: 400, message: refusal, status: "INVALID_ARGUMENT" } }) }
    }
    const request = body as GeminiRequestBody
    const units = [
      JSON.stringify([request.systemInstruction, request.tools]),
      ...request.contents.flatMap(({ parts, role }) => parts.map((part) => `${role} ${JSON.stringify(part)}`)),
    ]
    const changedAt = this.#before.findIndex((unit, index) => unit !== units[index])
    this.#before = units
    this.requests.push({ body: request, ...(changedAt >= 0 && { changedAt }) })
    this.#accepted += 1
    const given = this.#script(request, this.#accepted)
    const scripted = typeof given === "string" ? { text: given } : given
    const { error = {}, status = 200 } = scripted
    if (status >= 400) return { status, text: JSON.stringify({ error: { code: status, message: `Scripted failure ${status}.`, ...error } }) }
    const promptTokenCount = Math.ceil(units.join("").length / 4)
    return { status, text: stream ? this.#streamed(scripted, promptTokenCount) : this.#whole(scripted, promptTokenCount) }
  }

  #whole({ calls = [], finishReason = "STOP", parts = [], text = "", thought }: GeminiScripted, promptTokenCount: number): string {
    const said: Values[] = [...(thought === undefined ? [] : [{ text: thought, thought: true }]), ...parts]
    if (text !== "") said.push(calls.length === 0 ? this.#signed({ text }) : { text })
    said.push(...this.#calls(calls))
    const candidates = [{ content: { role: "model", parts: said }, finishReason, index: 0 }]
    return JSON.stringify({ candidates, usageMetadata: usage(promptTokenCount, said), responseId: `r${this.#accepted}`, modelVersion: "m" })
  }

  #streamed(scripted: GeminiScripted, promptTokenCount: number): string {
    const { calls = [], cutAfter, finishReason = "STOP", parts = [], repeatsCalls = false, text = "", thought } = scripted
    const { pieceChars = 12 } = this.#options
    const said: Values[] = thought === undefined ? [] : pieces(thought, pieceChars).map((piece) => ({ text: piece, thought: true }))
    said.push(...parts, ...pieces(text, pieceChars).map((piece) => ({ text: piece })))
    for (const call of this.#calls(calls)) {
      said.push(call)
      if (repeatsCalls) said.push({ functionCall: call["functionCall"] })
    }
    // The signature of an answer without calls comes last, on an empty text.
    said.push(calls.length === 0 ? this.#signed({ text: "" }) : { text: "" })
    const chunks = said.map((part, index) => ({
      candidates: [{ content: { role: "model", parts: [part] }, ...(index === said.length - 1 && { finishReason }), index: 0 }],
      usageMetadata: usage(promptTokenCount, said.slice(0, index + 1)),
      responseId: `r${this.#accepted}`,
    }))
    return chunks
      .slice(0, cutAfter)
      .map((chunk) => `data: ${JSON.stringify(chunk)}\r\n\r\n`)
      .join("")
  }

  /** Of the calls of an answer only the first is signed. */
  #calls(calls: NonNullable<GeminiScripted["calls"]>): readonly Values[] {
    return calls.map(({ args = {}, name }, index) => {
      const id = this.#options.ids === "refused" ? {} : { id: `fc-${this.#accepted}-${index}` }
      const part = { functionCall: { ...id, name, args } }
      return index === 0 ? this.#signed(part) : part
    })
  }

  #signed(part: Values): Values {
    const data = signedData(part)
    const thoughtSignature = createHash("sha256").update(`${this.#accepted} ${data}`).digest("base64")
    this.#issued.set(thoughtSignature, data)
    return { ...part, thoughtSignature }
  }
}

function usage(promptTokenCount: number, parts: readonly Values[]): object {
  const count = (isThought: boolean): number =>
    Math.ceil(parts.filter((part) => (part["thought"] === true) === isThought).reduce((sum, part) => sum + JSON.stringify(part).length, 0) / 4)
  const [candidatesTokenCount, thoughtsTokenCount] = [count(false), count(true)]
  return {
    promptTokenCount,
    candidatesTokenCount,
    ...(thoughtsTokenCount > 0 && { thoughtsTokenCount }),
    totalTokenCount: promptTokenCount + candidatesTokenCount + thoughtsTokenCount,
  }
}

function pieces(text: string, length: number): readonly string[] {
  return Array.from({ length: Math.ceil(text.length / length) }, (_, index) => text.slice(index * length, (index + 1) * length))
}

/** Serves an endpoint on a free port of 127.0.0.1. */
export async function serveStrictGemini(gemini: StrictGemini): Promise<{ readonly url: string; close(): Promise<void> }> {
  const server = createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on("data", (chunk: Buffer) => chunks.push(chunk))
    request.on("end", () => {
      const stream = /\/models\/[^/]+:streamGenerateContent\?alt=sse$/.test(request.url ?? "")
      if (!stream && !/\/models\/[^/]+:generateContent$/.test(request.url ?? "")) {
        response.writeHead(404).end()
        return
      }
      const { status, text } = gemini.answer(JSON.parse(Buffer.concat(chunks).toString("utf8")), { stream })
      response.writeHead(status, { "content-type": stream && status === 200 ? "text/event-stream" : "application/json" }).end(text)
    })
  })
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1beta`,
    close() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()))
      server.closeAllConnections()
      return closed
    },
  }
}
