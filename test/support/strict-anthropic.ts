import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { anthropicRefusal, type Fields } from "./strict-anthropic-rules.ts"

/** A block of a scripted answer. The endpoint adds ids to calls, and signatures to reasoning. */
export type ScriptedBlock =
  | { readonly type: "text"; readonly text: string }
  | { readonly type: "thinking"; readonly thinking: string }
  | { readonly type: "redacted_thinking"; readonly data: string }
  | { readonly type: "tool_use"; readonly name: string; readonly input: object }
  | Fields

export interface ScriptedMessage {
  readonly content: readonly ScriptedBlock[]
  /** Default: `tool_use` with calls, else `end_turn`. */
  readonly stopReason?: string
  /** The id of the container in which code runs. */
  readonly container?: string
}

export interface AnthropicReply {
  readonly status: number
  /** A whole answer, or an error in the provider's form. Absent: the answer is in `events`. */
  readonly body?: Fields
  /** The events of a stream. */
  readonly events?: readonly Fields[]
}

/** Where reasoning was written: what stood before it, and what it said. */
interface Issued {
  readonly block: string
  readonly prefix: string
}

/**
 * A Messages endpoint in memory whose answers a script gives. It refuses what the provider refuses: all that `anthropicRefusal` names,
 * reasoning that it did not write or that was changed, reasoning after another beginning of the conversation than the one in which it was
 * written, and calls without the reasoning that led to them. It imports nothing of the projectors.
 */
export class StrictAnthropic {
  /** The accepted requests. */
  readonly requests: Fields[] = []
  /** Why requests were refused. */
  readonly refusals: string[] = []
  readonly #script: (body: Fields, number: number) => ScriptedMessage
  readonly #issued = new Map<string, Issued>()
  /** The reasoning of the answer in which a call was made, by the id of the call. */
  readonly #reasoningOf = new Map<string, readonly string[]>()

  /** @param script returns the answer to a request. `number` counts the accepted requests from 1. */
  constructor(script: (body: Fields, number: number) => ScriptedMessage) {
    this.#script = script
  }

  /** Answers a request. The body is read as JSON text, as over a network. */
  post(text: string): AnthropicReply {
    const body = JSON.parse(text) as Fields
    const refusal = anthropicRefusal(body) ?? this.#reasoningRefusal(body)
    if (refusal !== undefined) {
      this.refusals.push(refusal)
      return { status: 400, body: { type: "error", error: { type: "invalid_request_error", message: refusal }, request_id: "req_1" } }
    }
    this.requests.push(body)
    const message = this.#answer(body, this.requests.length)
    return body["stream"] === true ? { status: 200, events: eventsOf(message) } : { status: 200, body: message }
  }

  #answer(body: Fields, number: number): Message {
    const { container, content: scripted, stopReason } = this.#script(body, number)
    const prefix = prefixOf(body, blocksOf(body).length)
    const content = scripted.map((block, index): Fields => {
      if (block["type"] === "tool_use") return { caller: { type: "direct" }, ...block, id: `toolu_${number}_${index}` }
      return block["type"] === "thinking" ? { ...block, signature: `c2ln${number}/${index}==` } : block
    })
    const reasoning = content.filter(isReasoning)
    for (const block of reasoning) this.#issued.set(keyOf(block), { block: JSON.stringify(block), prefix })
    for (const block of content) if (block["type"] === "tool_use") this.#reasoningOf.set(String(block["id"]), reasoning.map(keyOf))
    const hasCalls = content.some(({ type }) => type === "tool_use")
    return {
      id: `msg_${number}`,
      type: "message",
      role: "assistant",
      model: body["model"],
      content,
      stop_reason: stopReason ?? (hasCalls ? "tool_use" : "end_turn"),
      stop_sequence: null,
      ...(container !== undefined && { container: { id: container, expires_at: "2026-12-01T00:00:00Z" } }),
      usage: { input_tokens: 10, cache_creation_input_tokens: 5, cache_read_input_tokens: 100, output_tokens: 7 },
    }
  }

  #reasoningRefusal(body: Fields): string | undefined {
    for (const [index, { content }] of blocksOf(body).entries()) {
      const keys = new Set(content.filter(isReasoning).map(keyOf))
      for (const block of content) {
        if (isReasoning(block)) {
          const issued = this.#issued.get(keyOf(block))
          if (issued === undefined) return `messages.${index}: Invalid \`signature\` in \`thinking\` block`
          if (issued.block !== JSON.stringify(sorted(block, JSON.parse(issued.block) as Fields)))
            return `messages.${index}: \`thinking\` blocks in the latest assistant message cannot be modified.`
          if (issued.prefix !== prefixOf(body, index)) return `messages.${index}: the block is bound to a different conversation`
        } else if (block["type"] === "tool_use") {
          const missing = (this.#reasoningOf.get(String(block["id"])) ?? []).find((key) => !keys.has(key))
          if (missing !== undefined) return `messages.${index}: Expected \`thinking\`, but found \`tool_use\`.`
        }
      }
    }
    return undefined
  }
}

/** Serves an endpoint on a free port of 127.0.0.1. */
export async function serveStrictAnthropic(endpoint: StrictAnthropic): Promise<{ readonly url: string; close(): Promise<void> }> {
  const server = createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on("data", (chunk: Buffer) => chunks.push(chunk))
    request.on("end", () => {
      const { body, events, status } = endpoint.post(Buffer.concat(chunks).toString("utf8"))
      if (events === undefined) return void response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body))
      response.writeHead(status, { "content-type": "text/event-stream", "request-id": "req_1" })
      for (const event of events) response.write(`event: ${String(event["type"])}\ndata: ${JSON.stringify(event)}\n\n`)
      response.end()
    })
  })
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()))
      server.closeAllConnections()
      return closed
    },
  }
}

interface Message extends Fields {
  readonly content: readonly Fields[]
  readonly usage: Fields
}

/** The events of a message. Texts and arguments come in two pieces. */
export function eventsOf(message: Message): readonly Fields[] {
  const { container, content, stop_reason: reason, usage } = message
  const blocks = content.flatMap((block, index): readonly Fields[] => {
    const { input, signature, text, thinking, type } = block
    const first = { ...block }
    const deltas: Fields[] = []
    const addPieces = (key: string, from: string, kind: string, empty: unknown, value: string): void => {
      const half = Math.ceil(value.length / 2)
      first[key as "type"] = empty
      for (const piece of [value.slice(0, half), value.slice(half)]) deltas.push({ type: kind, [from]: piece })
    }
    if (typeof text === "string") addPieces("text", "text", "text_delta", "", text)
    if (typeof thinking === "string") addPieces("thinking", "thinking", "thinking_delta", "", thinking)
    if (typeof signature === "string") {
      first["signature" as "type"] = ""
      deltas.push({ type: "signature_delta", signature })
    }
    if (type === "tool_use") addPieces("input", "partial_json", "input_json_delta", {}, JSON.stringify(input))
    return [
      { type: "content_block_start", index, content_block: first },
      ...deltas.map((delta) => ({ type: "content_block_delta", index, delta })),
      { type: "content_block_stop", index },
    ]
  })
  return [
    { type: "message_start", message: { ...message, container: null, content: [], stop_reason: null, usage: { ...usage, output_tokens: 1 } } },
    { type: "ping" },
    ...blocks,
    {
      type: "message_delta",
      delta: { stop_reason: reason, stop_sequence: null, container: container ?? null },
      usage: { output_tokens: usage["output_tokens"] },
    },
    { type: "message_stop" },
  ]
}

function isReasoning({ type }: Fields): boolean {
  return type === "thinking" || type === "redacted_thinking"
}

function keyOf(block: Fields): string {
  return String(block["signature"] ?? block["data"])
}

/** A block with its keys in the order of another. */
function sorted(block: Fields, like: Fields): Fields {
  return Object.fromEntries([...new Set([...Object.keys(like), ...Object.keys(block)])].map((key) => [key, block[key]]))
}

function blocksOf(body: Fields): readonly { readonly content: readonly Fields[] }[] {
  return body["messages"] as readonly { readonly content: readonly Fields[] }[]
}

/** What stands before a message: system prompt, tools and messages. Marks for the cache are no part of it. */
function prefixOf(body: Fields, index: number): string {
  const prefix = [body["model"], body["system"], body["tools"], blocksOf(body).slice(0, index)]
  return JSON.stringify(prefix, (key, value: unknown) => (key === "cache_control" ? undefined : value))
}
