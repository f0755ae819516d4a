import { setTimeout as sleep } from "node:timers/promises"
import { chatDriver, chatProjector, type LlmRequest, type LlmResponse, type TurnConfig } from "turn-machine"
import { defineTool, type Host, toolbox } from "turn-machine/hosts"
import { restateThread } from "turn-machine/hosts/restate"
import * as z from "zod"
import { done } from "./agent.ts"

/** How long each piece of work takes, in milliseconds. */
const WORK_MS = Number(process.env["WORK_MS"] ?? "40")

/** How often the agent looks something up until its goal is complete. */
const STEPS = Number(process.env["STEPS"] ?? "12")

/** After so many steps, its turn ends, and the goal continues in the next one. */
const STEPS_OF_A_TURN = Number(process.env["STEPS_OF_A_TURN"] ?? "4")

const lookUp = defineTool({
  name: "look_up",
  description: "Looks something up.",
  input: z.object({ what: z.string() }),
  effects: "none",
  async execute({ what }, { idempotencyKey, signal }) {
    await sleep(WORK_MS, undefined, { signal })
    done(idempotencyKey, "look_up")
    return `${what}: found.`
  },
})

const send = defineTool({
  name: "send",
  description: "Sends a report.",
  input: z.object({ to: z.string() }),
  effects: "once",
  approval: "always",
  async execute({ to }, { idempotencyKey }) {
    done(idempotencyKey, "send")
    return `The report is on its way to ${to}.`
  },
})

const tools = toolbox([lookUp, send])

const config: TurnConfig = {
  driver: chatDriver(),
  projector: chatProjector,
  model: "scripted",
  systemPrompt: "You write reports.",
  tools: tools.specs,
}

const host: Host = {
  tools,
  // Stands for a model. Use `openAiCompatible({ … })` instead.
  async llmCall({ request }, { idempotencyKey, signal }) {
    await sleep(WORK_MS, undefined, { signal })
    done(idempotencyKey, "model")
    return answerTo(request)
  },
}

function answerTo({ messages }: LlmRequest): LlmResponse {
  const blocks = messages.flatMap((message) => message.blocks)
  const results = (name: string): number => blocks.filter((block) => block.type === "tool_result" && block.toolName === name).length
  const last = messages.at(-1)?.blocks.at(-1)
  const asked = last?.type === "text" ? last.text : ""
  if (asked.startsWith("Send")) return wants("send", `send_${messages.length}`, { to: "Eve" })
  // Without a goal, it only talks.
  if (!blocks.some((block) => block.type === "text" && block.text.includes("<goal_context>"))) return says("What can I do for you?")
  const steps = results("look_up")
  if (steps >= STEPS) return results("update_goal") === 0 ? wants("update_goal", "complete", { status: "complete" }) : says("The report is written.")
  const isNewTurn = last?.type === "text"
  if (!isNewTurn && steps % STEPS_OF_A_TURN === 0) return says(`${steps} of ${STEPS} are done.`)
  return wants("look_up", `look_up_${steps}`, { what: `Figure ${steps}` })
}

const USAGE = { inputTokens: 100, cachedInputTokens: 0, outputTokens: 10, reasoningTokens: 0 }

function says(text: string): LlmResponse {
  return { text, parts: [{ type: "text", text }], usage: USAGE, terminalReason: "stop" }
}

function wants(toolName: string, callId: string, args: object): LlmResponse {
  return { text: "", parts: [{ type: "tool_call", callId, toolName, inputJson: JSON.stringify(args) }], usage: USAGE, terminalReason: "tool_use" }
}

/** A conversation with a goal for each key. */
export const agent = restateThread({
  name: "agent",
  config,
  host,
  approvals: { policy: tools.approvals },
  cancelGraceMs: 100,
  objectOptions: { retryPolicy: { initialInterval: 20, maxInterval: 250, exponentiationFactor: 2, maxAttempts: 10_000, onMaxAttempts: "pause" } },
})
