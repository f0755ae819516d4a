/**
 * An endpoint of the Responses API whose answers a script gives. It refuses what OpenAI refuses, and what it did not say: changed or
 * missing reasoning, reasoning without the item after it, and another beginning before reasoning. It is in-process (`post`), and on
 * 127.0.0.1 (`listen`). It imports nothing of the wire.
 *
 *     const endpoint = new StrictResponses([{ reasoning: "Hm.", calls: [{ name: "look" }] }, "Done."])
 *     endpoint.post(body)       // { status: 200, response } or, with `stream: true`, { status: 200, events }; { status: 400, error }
 *     endpoint.refusals         // why requests were refused
 */
import { createServer, type Server } from "node:http"
import type { AddressInfo } from "node:net"
import { type ApiItem, eventsOf } from "./responses-events.ts"
import { type RuleOptions, responsesRefusal } from "./strict-responses-rules.ts"

type Body = Readonly<Record<string, unknown>>

/** An answer. All fields are optional; a text stands for `{ text }`. The items come in the order of the fields. */
export interface ScriptedResponse {
  readonly reasoning?: string
  /** A search that runs at the provider. */
  readonly search?: string
  readonly text?: string
  readonly phase?: "commentary" | "final_answer"
  /** Tool calls, each after reasoning of its own if it has some. */
  readonly calls?: readonly { readonly name: string; readonly args?: object | string; readonly reasoning?: string }[]
  /** The answer is incomplete for this reason; the status of its last item is `incomplete`. */
  readonly incomplete?: "max_output_tokens" | "content_filter"
  /** Fails with this HTTP status. */
  readonly status?: number
  readonly code?: string
  /** Ends the stream after this many events. */
  readonly cutAfter?: number
}

export type ResponsesScript = readonly (ScriptedResponse | string)[] | ((body: Body, number: number) => ScriptedResponse | string)

export type Posted =
  | { readonly status: 200; readonly response: Body; readonly events?: undefined }
  | { readonly status: 200; readonly events: readonly Body[]; readonly response?: undefined }
  | { readonly status: number; readonly error: Body }

/** Reasoning that the endpoint gave: what followed it, and the request that it answers. */
interface Given {
  readonly item: ApiItem
  readonly next: ApiItem
  readonly before: string
}

const CHUNK = 7

export class StrictResponses {
  /** The accepted requests. */
  readonly requests: Body[] = []
  readonly refusals: string[] = []
  readonly #script: ResponsesScript
  readonly #rules: RuleOptions
  readonly #reasoning = new Map<string, Given>()
  /** The ids of items, and the encrypted content of the reasoning before them in their answer. */
  readonly #needs = new Map<string, readonly string[]>()

  constructor(script: ResponsesScript, rules: RuleOptions = {}) {
    this.#script = script
    this.#rules = rules
  }

  post(body: Body): Posted {
    const refusal = responsesRefusal(body, this.#rules) ?? this.#memoryRefusal(body)
    if (refusal !== undefined) {
      this.refusals.push(refusal)
      return { status: 400, error: { error: { message: refusal, type: "invalid_request_error", param: "input", code: null } } }
    }
    this.requests.push(body)
    const number = this.requests.length
    const given = typeof this.#script === "function" ? this.#script(body, number) : (this.#script[Math.min(number, this.#script.length) - 1] ?? "")
    const scripted = typeof given === "string" ? { text: given } : given
    if (scripted.status !== undefined)
      return { status: scripted.status, error: { error: { message: "Scripted.", type: "server_error", code: scripted.code ?? null } } }
    const response = this.#answer(body, scripted, number)
    if (body["stream"] !== true) return { status: 200, response }
    const events = eventsOf(response, (text) => text.match(new RegExp(`[^]{1,${CHUNK}}`, "g")) ?? [])
    return { status: 200, events: events.slice(0, scripted.cutAfter) }
  }

  /** Starts a server on a free port. End it with `close`. */
  async listen(): Promise<{ readonly url: string; readonly server: Server }> {
    const server = createServer((request, response) => {
      const chunks: Buffer[] = []
      request.on("data", (chunk: Buffer) => chunks.push(chunk))
      request.on("end", () => {
        const posted = this.post(JSON.parse(Buffer.concat(chunks).toString("utf8")) as Body)
        if ("error" in posted) {
          response.writeHead(posted.status, { "content-type": "application/json" }).end(JSON.stringify(posted.error))
        } else if (posted.events === undefined) {
          response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(posted.response))
        } else {
          response.writeHead(200, { "content-type": "text/event-stream" })
          for (const event of posted.events) response.write(`event: ${String(event["type"])}\ndata: ${JSON.stringify(event)}\n\n`)
          response.end()
        }
      })
    })
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
    return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`, server }
  }

  #answer(body: Body, scripted: ScriptedResponse, number: number): Body & { readonly output: readonly ApiItem[]; readonly status: string } {
    const { calls = [], incomplete, phase, search, text } = scripted
    const output: ApiItem[] = []
    const add = (type: string, prefix: string, fields: object): void =>
      void output.push({ id: `${prefix}_${number}_${output.length}`, type, ...fields })
    const think = (about: string): void =>
      add("reasoning", "rs", {
        summary: [{ type: "summary_text", text: about }],
        encrypted_content: `enc:${number}:${output.length}:${Buffer.from(about).toString("base64")}`,
      })
    if (scripted.reasoning !== undefined) think(scripted.reasoning)
    if (search !== undefined) add("web_search_call", "ws", { status: "completed", action: { type: "search", query: search } })
    if (text !== undefined) {
      const content = [{ type: "output_text", text, annotations: [] }]
      add("message", "msg", { role: "assistant", status: "completed", ...(phase !== undefined && { phase }), content })
    }
    for (const { args = {}, name, reasoning } of calls) {
      if (reasoning !== undefined) think(reasoning)
      const given = typeof args === "string" ? args : JSON.stringify(args)
      add("function_call", "fc", { status: "completed", call_id: `call_${number}_${output.length}`, name, arguments: given })
    }
    this.#remember(body, output)
    const last = output.at(-1)
    if (incomplete !== undefined && last !== undefined) output[output.length - 1] = { ...last, status: "incomplete" }
    return {
      id: `resp_${number}`,
      object: "response",
      status: incomplete === undefined ? "completed" : "incomplete",
      incomplete_details: incomplete === undefined ? null : { reason: incomplete },
      error: null,
      model: body["model"],
      output,
      usage: {
        input_tokens: 100,
        input_tokens_details: { cached_tokens: 40, cache_write_tokens: 0 },
        output_tokens: 20,
        output_tokens_details: { reasoning_tokens: 5 },
        total_tokens: 120,
      },
    }
  }

  #remember(body: Body, output: readonly ApiItem[]): void {
    const seen: string[] = []
    for (const [index, item] of output.entries()) {
      const next = output.slice(index + 1).find(({ type }) => type !== "reasoning")
      if (item.type === "reasoning" && next !== undefined) {
        const before = prefixOf(body, body["input"] as readonly Body[], output.slice(0, index))
        this.#reasoning.set(String(item["encrypted_content"]), { item, next, before })
        seen.push(String(item["encrypted_content"]))
      }
      this.#needs.set(String(item.id), [...seen])
    }
  }

  /** Why the items that the model said are not those that it said. */
  #memoryRefusal(body: Body): string | undefined {
    const input = body["input"] as readonly Body[]
    const sent = new Set(input.flatMap((item) => (item["type"] === "reasoning" ? [String(item["encrypted_content"])] : [])))
    for (const [index, item] of input.entries()) {
      if (item["type"] === "reasoning") {
        const given = this.#reasoning.get(String(item["encrypted_content"]))
        if (given === undefined) return "The encrypted content could not be verified."
        if (item["id"] !== undefined && item["id"] !== given.item.id) return "Encrypted content item_id did not match the target item id."
        if (JSON.stringify(item["summary"]) !== JSON.stringify(given.item["summary"])) return "The summary of a reasoning item was changed."
        const next = input.slice(index + 1).find(({ type }) => type !== "reasoning")
        if (next === undefined || !isSaid(next, given.next))
          return `Item '${String(given.item.id)}' was provided without its required following item.`
        if (prefixOf(body, input.slice(0, index), []) !== given.before) return `Item '${String(given.item.id)}' is bound to another conversation.`
      }
      for (const need of this.#needs.get(String(item["id"])) ?? []) {
        if (!sent.has(need)) return `Item '${String(item["id"])}' was provided without its required 'reasoning' item.`
      }
    }
    return undefined
  }
}

/** Whether an item is one that the model said: its calls by their ids, its texts by what they say. */
function isSaid(sent: Body, said: ApiItem): boolean {
  if (said.type === "function_call") return sent["call_id"] === said["call_id"] && sent["arguments"] === said["arguments"]
  if (said.type === "message") return textOf(sent) === textOf(said) && (sent["phase"] ?? null) === (said["phase"] ?? null)
  return sent["id"] === said.id && sent["type"] === said.type
}

function textOf({ content }: Body): string {
  if (!Array.isArray(content)) return String(content)
  return (content as readonly { readonly text?: string; readonly refusal?: string }[]).map(({ refusal, text }) => text ?? refusal ?? "").join("")
}

/** What reasoning is bound to: the tools, the instructions, and all items before it. A status and the ids of items do not count. */
function prefixOf({ instructions, tools }: Body, input: readonly Body[], output: readonly ApiItem[]): string {
  const items = [...input, ...output].map(({ id: _id, status: _status, ...item }) =>
    item["type"] === "message" || item["type"] === undefined ? { role: item["role"], phase: item["phase"], text: textOf(item) } : item,
  )
  return JSON.stringify([instructions, tools, items].map(sortKeys))
}

function sortKeys(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sortKeys)
  if (typeof value !== "object" || value === null) return value
  return Object.fromEntries(
    Object.entries(value)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, item]) => [key, sortKeys(item)]),
  )
}
