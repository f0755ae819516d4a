import type pg from "pg"
import { chatDriver, chatProjector, type LlmResponse, type TurnConfig, userMessage } from "turn-machine"
import { defineTool, type Host, toolbox } from "turn-machine/hosts"
import type { JournaledTurn } from "turn-machine/hosts/journal"
import * as z from "zod"
import { SCHEMA } from "./database.ts"

/** An agent that handles orders: it reserves the goods and charges the customer, then ships. */
export interface Agent {
  readonly host: Host
  turnOf(order: string): JournaledTurn
}

/** How long a model call or a tool takes, in milliseconds. */
const WORK_MS = Number(process.env["WORK_MS"] ?? "60")

/** `worker`: who does the work, for the lines in `executions`. */
export function orderAgent(pool: pg.Pool, worker: string): Agent {
  const input = z.object({ order: z.string() })
  const execute = async (tool: string, order: string, key = ""): Promise<void> => {
    await pool.query(`INSERT INTO ${SCHEMA}.executions (order_id, tool, key, worker) VALUES ($1, $2, $3, $4)`, [order, tool, key, worker])
    await sleep(WORK_MS)
  }
  const reserve = defineTool({
    name: "reserve",
    description: "Reserves the goods of an order. Reserving again under the same key changes nothing.",
    input,
    effects: "idempotent",
    async execute({ order }, { idempotencyKey }) {
      await execute("reserve", order, idempotencyKey)
      return { reserved: order }
    },
  })
  const charge = defineTool({
    name: "charge",
    description: "Charges the customer. Must not run twice.",
    input,
    // No `recover`: after a crash in the middle of a charge, the model reads that it may have been made.
    effects: "once",
    async execute({ order }, { idempotencyKey }) {
      await execute("charge", order, idempotencyKey)
      return { charged: order }
    },
  })
  const ship = defineTool({
    name: "ship",
    description: "Ships an order. Shipping again under the same key changes nothing.",
    input,
    effects: "idempotent",
    async execute({ order }, { idempotencyKey }) {
      await execute("ship", order, idempotencyKey)
      return { shipped: order }
    },
  })
  const tools = toolbox([reserve, charge, ship])
  const config: TurnConfig = {
    driver: chatDriver(),
    projector: chatProjector,
    model: "scripted",
    systemPrompt: "You handle orders.",
    tools: tools.specs,
  }
  return {
    host: {
      tools,
      // Use the `llmCall` of `openAiCompatible({ … })` for a real model.
      async llmCall({ request }) {
        await sleep(WORK_MS)
        return answerTo(request.messages)
      },
    },
    turnOf: (order) => ({ config, start: { messages: [userMessage(`Handle order ${order}.`, { id: `order-${order}` })] }, turnId: order }),
  }
}

type RequestMessages = Parameters<Host["llmCall"]>[0]["request"]["messages"]

/** The script of the model. */
function answerTo(messages: RequestMessages): LlmResponse {
  const blocks = messages.flatMap((message) => message.blocks)
  const texts = blocks.flatMap((block) => (block.type === "text" ? [block.text] : []))
  const results = blocks.flatMap((block) => (block.type === "tool_result" ? [block.text] : []))
  const order = texts.map((text) => /^Handle order (\S+)\.$/.exec(text)?.[1]).find((id) => id !== undefined) ?? ""
  const has = (result: string): boolean => results.some((text) => text.includes(`"${result}"`))
  if (has("shipped")) return says(`Order ${order} is shipped.`)
  if (has("charged")) return calls(order, "ship")
  if (results.length > 0) return says(`Order ${order}: the charge may have been made. A person must look at it.`)
  return calls(order, "reserve", "charge")
}

const USAGE = { inputTokens: 100, cachedInputTokens: 0, outputTokens: 20, reasoningTokens: 0 }

function says(text: string): LlmResponse {
  return { text, parts: [{ type: "text", text }], usage: USAGE, terminalReason: "stop" }
}

function calls(order: string, ...names: readonly string[]): LlmResponse {
  const parts = names.map((toolName) => ({ type: "tool_call", callId: toolName, toolName, inputJson: JSON.stringify({ order }) }) as const)
  return { text: "", parts, usage: USAGE, terminalReason: "tool_use" }
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}
