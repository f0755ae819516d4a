import { chatDriver, chatProjector, type LlmResponse } from "turn-machine"
import { defineTool, type Host, toolbox } from "turn-machine/hosts"
import type { ThreadOptions } from "turn-machine/hosts/thread"
import * as z from "zod"

export interface AgentSettings {
  readonly shopUrl: string
  /** How long the scripted model takes for a word, in milliseconds. */
  readonly wordMs: number
}

/** An agent that looks up orders and refunds them: how the turns of its threads are configured, and the host that runs them. */
export function supportAgent({ shopUrl, wordMs }: AgentSettings): { readonly options: ThreadOptions; readonly host: Host } {
  const shop = async (path: string, init: RequestInit = {}): Promise<Response> => fetch(`${shopUrl}${path}`, init)

  const lookUpOrder = defineTool({
    name: "look_up_order",
    description: "Looks up an order.",
    input: z.object({ order: z.number().int() }),
    effects: "none",
    async execute({ order }, { signal }) {
      const response = await shop(`/orders/${order}`, { signal })
      return (await response.json()) as { order: number; euros: number }
    },
  })
  const refund = defineTool({
    name: "refund",
    description: "Pays the price of an order back to the customer.",
    input: z.object({ order: z.number().int(), euros: z.number().positive() }),
    approval: "always",
    // Money must not move twice: after a crash, the shop is asked whether it did.
    effects: "once",
    async execute({ order, euros }, { idempotencyKey = "" }) {
      const response = await shop(`/refunds/${encodeURIComponent(idempotencyKey)}`, { method: "POST", body: JSON.stringify({ order, euros }) })
      if (!response.ok) throw new Error(`The shop answered ${response.status}.`)
      return { refunded: euros, order }
    },
    async recover({ order, euros }, { idempotencyKey = "" }) {
      const response = await shop(`/refunds/${encodeURIComponent(idempotencyKey)}`)
      return response.ok ? { ran: true, value: { refunded: euros, order } } : { ran: false }
    },
  })
  const tools = toolbox([lookUpOrder, refund])
  return {
    options: {
      config: {
        driver: chatDriver(),
        projector: chatProjector,
        model: "scripted",
        systemPrompt: "You help customers of a shop.",
        tools: tools.specs,
        maxIterations: 10_000,
      },
      approvals: tools.approvals,
      // Without goals, no turn begins without an input.
      goals: false,
    },
    host: {
      tools,
      // Use the `llmCall` of `openAiCompatible({ … })` for a real model. It streams, too.
      async llmCall({ request }, { emit, signal }) {
        const answer = answerTo(request.messages)
        for (const word of answer.text.split(/(?<= )/)) {
          if (wordMs > 0) await pause(wordMs, signal)
          emit({ type: "text_delta", content: word })
        }
        return answer
      },
    },
  }
}

type RequestMessages = Parameters<Host["llmCall"]>[0]["request"]["messages"]

/**
 * The script of the model. It looks up each order that the last input names, from one number to another ("orders 1 to 5"), one call after the
 * other, then refunds the last of them if it is asked to.
 */
function answerTo(messages: RequestMessages): LlmResponse {
  let start = messages.length - 1
  while (start > 0 && !(messages[start]?.role === "user" && messages[start]?.blocks.some(({ type }) => type === "text"))) start -= 1
  const asked = textOf(messages[start])
  const results = messages.slice(start + 1).reduce((count, { blocks }) => count + blocks.filter(({ type }) => type === "tool_result").length, 0)
  const [, from = "", to = from] = /orders? (\d+)(?: to (\d+))?/.exec(asked) ?? []
  if (from === "") return response(`About "${asked}": noted.`)
  const orders = Number(to) - Number(from) + 1
  const order = Number(from) + results
  if (results < orders) return response(`I look up order ${order}. `, "look_up_order", { order })
  if (!asked.includes("refund") || results > orders) return response(results > orders ? "The refund is settled." : `I looked up ${orders} orders.`)
  return response("The order can be refunded. ", "refund", { order: Number(to), euros: 20 })
}

function textOf(message: RequestMessages[number] | undefined): string {
  return message?.blocks.flatMap((block) => (block.type === "text" ? [block.text] : [])).join("") ?? ""
}

function response(text: string, toolName?: string, args?: { readonly order: number; readonly euros?: number }): LlmResponse {
  const usage = { inputTokens: 100, cachedInputTokens: 0, outputTokens: 20, reasoningTokens: 0 }
  const said = { type: "text", text } as const
  if (toolName === undefined || args === undefined) return { text, parts: [said], usage, terminalReason: "stop" }
  const call = { type: "tool_call", callId: `${toolName}-${args.order}`, toolName, inputJson: JSON.stringify(args) } as const
  return { text, parts: [said, call], usage, terminalReason: "tool_use" }
}

/** Waits, and rejects when the work is no longer needed. */
function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const stop = () => {
      clearTimeout(timer)
      reject(signal.reason)
    }
    const timer = setTimeout(() => {
      signal.removeEventListener("abort", stop)
      resolve()
    }, ms)
    if (signal.aborted) stop()
    else signal.addEventListener("abort", stop, { once: true })
  })
}
