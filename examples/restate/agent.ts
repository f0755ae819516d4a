import { appendFileSync, existsSync, readFileSync } from "node:fs"
import { setTimeout as sleep } from "node:timers/promises"
import { chatDriver, chatProjector, type LlmResponse, type OutputPart, type TurnConfig, type TurnStart, userMessage } from "turn-machine"
import { approvalDriver } from "turn-machine/drivers/approval"
import { defineTool, type Host, toolbox } from "turn-machine/hosts"
import * as z from "zod"

/** What a turn is asked to do. */
export interface Task {
  readonly turnId: string
  /** How often the model calls tools. */
  readonly rounds: number
  /** The model also wants to send the parcel, which a person has to approve. */
  readonly asks?: boolean
  /** How long each piece of work takes, in milliseconds. Default 5. */
  readonly workMs?: number
  /** How long the results of `look_up` are, in characters. Default 20. */
  readonly resultChars?: number
}

/** One line for each piece of work that was done: the world outside, which sees when work is done twice. */
export interface Work {
  readonly key: string
  readonly what: string
  readonly pid: number
}

/** The file with the work that was done. `WORLD`: where it is. */
const WORLD = process.env["WORLD"] ?? "data/world.jsonl"

export function done(key: string | undefined, what: string): void {
  appendFileSync(WORLD, `${JSON.stringify({ key, what, pid: process.pid } satisfies Omit<Work, "key"> & { key: string | undefined })}\n`)
}

export function workDone(file: string = WORLD): readonly Work[] {
  if (!existsSync(file)) return []
  return readFileSync(file, "utf8")
    .split("\n")
    .flatMap((line) => (line === "" ? [] : [JSON.parse(line) as Work]))
}

/** The agent: a turn that looks up prices and pays for them, with a model that follows a script. */
export function agentFor({ rounds, asks = false, workMs = 5, resultChars = 20 }: Task): { config: TurnConfig; start: TurnStart; host: Host } {
  const lookUp = defineTool({
    name: "look_up",
    description: "Looks up the price of an article.",
    input: z.object({ article: z.string() }),
    effects: "none",
    async execute({ article }, { idempotencyKey, signal }) {
      await sleep(workMs, undefined, { signal })
      done(idempotencyKey, "look_up")
      return `${article} costs 5 euros.`.padEnd(resultChars, " It is in stock.")
    },
  })
  const reserve = defineTool({
    name: "reserve",
    description: "Reserves an article. The shop knows the key of each reservation, and makes it once.",
    input: z.object({ article: z.string() }),
    effects: "idempotent",
    async execute({ article }, { idempotencyKey }) {
      done(idempotencyKey, "reserve")
      await sleep(workMs)
      return `${article} is reserved.`
    },
  })
  const pay = defineTool({
    name: "pay",
    description: "Pays for an article.",
    input: z.object({ article: z.string() }),
    effects: "once",
    async execute({ article }, { idempotencyKey, signal }) {
      await sleep(workMs / 2, undefined, { signal })
      done(idempotencyKey, "pay")
      await sleep(workMs / 2)
      return `${article} is paid for.`
    },
    // After a crash, the bank knows whether the payment was made.
    recover({ article }, { idempotencyKey }) {
      const isPaid = workDone().some(({ key }) => key === idempotencyKey)
      return isPaid ? { ran: true, value: `${article} is paid for.` } : { ran: false }
    },
  })
  const ring = defineTool({
    name: "ring",
    description: "Rings the bell of the shop. There is no way to find out whether it rang.",
    input: z.object({ article: z.string() }),
    effects: "once",
    async execute(_input, { idempotencyKey }) {
      done(idempotencyKey, "ring")
      await sleep(workMs)
      return "It rang."
    },
  })
  const send = defineTool({
    name: "send",
    description: "Sends a parcel.",
    input: z.object({ article: z.string() }),
    effects: "once",
    approval: "always",
    async execute({ article }, { idempotencyKey }) {
      done(idempotencyKey, "send")
      return `${article} is on its way.`
    },
  })
  const tools = toolbox([lookUp, reserve, pay, ring, send])
  const config: TurnConfig = {
    driver: approvalDriver(chatDriver(), { policy: tools.approvals }),
    projector: chatProjector,
    model: "scripted",
    // A deployment may change the prompt. What is open then continues with the old one, or ends with an error.
    systemPrompt: process.env["PROMPT"] ?? "You buy articles.",
    tools: tools.specs,
  }
  const host: Host = {
    tools,
    // Stands for a model. Use `openAiCompatible({ … })` instead.
    async llmCall({ request }, { idempotencyKey, signal }) {
      await sleep(workMs, undefined, { signal })
      done(idempotencyKey, "model")
      const said = request.messages.filter(({ role }) => role === "assistant").length
      const calls = said < rounds ? CALLS[said % CALLS.length] : said === rounds && asks ? ["send"] : undefined
      return calls === undefined ? says("Everything is bought.") : wants(calls, `article ${said}`, said)
    },
  }
  return { config, start: { messages: [userMessage("Buy everything on the list.", { id: "user-1" })] }, host }
}

/** The tools of each round: two or three in parallel. */
const CALLS = [
  ["look_up", "pay"],
  ["reserve", "look_up"],
  ["look_up", "ring", "pay"],
] as const

const USAGE = { inputTokens: 100, cachedInputTokens: 0, outputTokens: 10, reasoningTokens: 0 }

function says(text: string): LlmResponse {
  return { text, parts: [{ type: "text", text }], usage: USAGE, terminalReason: "stop" }
}

function wants(tools: readonly string[], article: string, round: number): LlmResponse {
  const parts = tools.map(
    (toolName): OutputPart => ({ type: "tool_call", callId: `${toolName}_${round}`, toolName, inputJson: JSON.stringify({ article }) }),
  )
  return { text: "", parts, usage: USAGE, terminalReason: "tool_use" }
}
