import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { onTestFinished } from "vitest"
import type { Host, HostTools, RunOptions } from "../../src/hosts/host.ts"
import { openAiCompatible, runTurn } from "../../src/hosts/index.ts"
import type { OpenAiCompatibleOptions } from "../../src/hosts/models/openai-compatible.ts"
import { chatDriver, chatProjector, type Message, type TurnConfig, type TurnEvent, TurnMachine } from "../../src/index.ts"
import type { Json } from "../../src/json.ts"
import type { OpenAiChatBody, OpenAiMessage, OpenAiToolCall } from "../../src/projectors/openai-chat/index.ts"

// A server on this machine that answers as real ones did, and a turn that talks to it.

/** One answer of the server. */
export interface Reply {
  readonly status?: number
  readonly headers?: Readonly<Record<string, string>>
  readonly json?: unknown
  /** A stream: objects are sent as `data:` lines, texts as they are, numbers are waits in milliseconds. */
  readonly events?: readonly (object | string | number)[]
  /** The connection stays open after the last event. */
  readonly staysOpen?: true
}

/** What the server refuses, with its message; `undefined`: it accepts the body. */
export type Rule = (body: OpenAiChatBody, raw: string) => string | undefined

export interface ChatServer {
  readonly url: string
  readonly bodies: readonly OpenAiChatBody[]
  /** The messages of the refusals. */
  readonly refused: readonly string[]
}

/** Starts a server that gives the replies in order, the last one again and again. It ends with the test. */
export async function chatServer(replies: readonly Reply[], ...rules: readonly Rule[]): Promise<ChatServer> {
  const bodies: OpenAiChatBody[] = []
  const refused: string[] = []
  const server = createServer(async (request, response) => {
    let raw = ""
    for await (const piece of request) raw += String(piece)
    const body = JSON.parse(raw) as OpenAiChatBody
    bodies.push(body)
    const why = rules.map((rule) => rule(body, raw)).find((message) => message !== undefined)
    if (why !== undefined) {
      refused.push(why)
      response.writeHead(400, { "content-type": "application/json" }).end(JSON.stringify({ error: { message: why, type: "invalid_request_error" } }))
      return
    }
    const { events, headers, json, status = 200, staysOpen } = replies[Math.min(bodies.length, replies.length) - 1] as Reply
    response.writeHead(status, { "content-type": events === undefined ? "application/json" : "text/event-stream", ...headers })
    if (events === undefined) {
      response.end(JSON.stringify(json))
      return
    }
    for (const event of events) {
      if (typeof event === "number") await new Promise((resolve) => setTimeout(resolve, event))
      else response.write(typeof event === "string" ? event : `data: ${JSON.stringify(event)}\n\n`)
    }
    if (staysOpen !== true) response.end()
  })
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  onTestFinished(() => {
    server.closeAllConnections()
    server.close()
  })
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`, bodies, refused }
}

/** A chunk of a stream. */
export function chunk(delta: object, finishReason: string | null = null): object {
  return { choices: [{ index: 0, delta, finish_reason: finishReason }] }
}

export const END = "data: [DONE]\n\n"

/** A whole answer with a text. */
export function says(content: string): Reply {
  return whole({ content }, "stop")
}

/** A whole answer with calls. */
export function calls(...toolCalls: readonly object[]): Reply {
  return whole({ content: null, tool_calls: toolCalls }, "tool_calls")
}

export function whole(message: object, finishReason: string | null): Reply {
  return {
    json: {
      choices: [{ index: 0, message: { role: "assistant", ...message }, finish_reason: finishReason }],
      usage: { prompt_tokens: 10, completion_tokens: 2 },
    },
  }
}

/** A call in an answer. */
export function call(name: string, text = "{}", id = `${name}_1`): object {
  return { id, type: "function", function: { name, arguments: text } }
}

/** A refused request. */
export function refuses(status: number, error: object, headers: Readonly<Record<string, string>> = {}): Reply {
  return { status, headers, json: { error } }
}

export function userSays(text: string, id = "u1"): Message {
  return { id, role: "user", parts: [{ id: `${id}.p0`, type: "text", text }] }
}

export function configOf(toolNames: readonly string[] = [], more: Partial<TurnConfig> = {}): TurnConfig {
  const tools = toolNames.map((name) => ({ name, description: `The tool ${name}.`, inputSchema: { type: "object" } }))
  return { driver: chatDriver(), projector: chatProjector, model: "m", systemPrompt: "You help.", tools, maxIterations: 10, ...more }
}

/** What a turn did. */
export interface TurnResult {
  readonly outcome: unknown
  /** The calls that ran. */
  readonly ran: readonly { readonly name: string; readonly args: Json }[]
  readonly error: Extract<TurnEvent, { type: "error" }> | undefined
  readonly messages: readonly Message[]
  /** The messages of the last request. */
  readonly sent: readonly OpenAiMessage[]
}

export interface TurnOptions {
  /** Tools whose value is their arguments. */
  readonly tools?: readonly string[]
  readonly execute?: (name: string, args: Json) => Json
  readonly client?: Partial<OpenAiCompatibleOptions>
  readonly config?: Partial<TurnConfig>
  readonly messages?: readonly Message[]
  readonly host?: Partial<Host>
  readonly run?: RunOptions
}

/** Runs one turn that talks to a server. Retries do not wait. */
export async function turnWith(server: ChatServer, options: TurnOptions = {}): Promise<TurnResult> {
  const { client, config, execute = (_, args) => args, host, messages = [userSays("Go.")], run, tools = [] } = options
  const ran: { name: string; args: Json }[] = []
  const events: TurnEvent[] = []
  const machine = new TurnMachine(configOf(tools, config), { messages })
  const done = await runTurn(
    machine,
    {
      ...openAiCompatible({ baseUrl: server.url, sleep: async () => {}, ...client }),
      tools: toolsOf(({ args, toolName }) => {
        ran.push({ name: toolName, args })
        return execute(toolName, args)
      }),
      ...host,
    },
    {
      ...run,
      onEvent: (event) => {
        events.push(event)
        run?.onEvent?.(event)
      },
    },
  )
  const error = events.findLast((event) => event.type === "error")
  return { outcome: done.outcome, ran, error, messages: done.messages, sent: server.bodies.at(-1)?.messages ?? [] }
}

/** Tools that run a function. */
export function toolsOf(execute: (call: Parameters<HostTools["call"]>[0]) => Json | Promise<Json>): HostTools {
  return { call: async (made) => ({ output: { status: "success", value: await execute(made) } }), effects: () => "idempotent" }
}

/** The outcome of a turn that ended with a text. */
export function finishedWith(text: string): object {
  return { type: "finished", finish: { type: "assistant_message", text } }
}

/** The calls in a body. */
export function callsIn({ messages }: OpenAiChatBody): readonly OpenAiToolCall[] {
  return messages.flatMap((message) => (message.role === "assistant" ? (message.tool_calls ?? []) : []))
}

/** Strict servers parse the arguments of each call in the history. */
export const argumentsAreObjects: Rule = (body) =>
  callsIn(body).every(({ function: { arguments: text } }) => isObject(text)) ? undefined : "function.arguments must be a JSON object"

function isObject(text: string): boolean {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === "object" && value !== null && !Array.isArray(value)
  } catch {
    return false
  }
}
