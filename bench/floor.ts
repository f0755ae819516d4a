import type { HistoryRecord, Message, Part } from "../src/schemas/message.ts"
import type { LlmMessage, TokenUsage } from "../src/schemas/llm.ts"
import type { Effect } from "../src/schemas/effect.ts"
import type { Response } from "../src/schemas/response.ts"
import { CONFIG, START } from "./script.ts"

/**
 * The floor: the same turn by the least code that gives the same effects. One mutable object, arrays that are pushed to
 * and handed out as they are, nothing checked, nothing that could be saved, resumed or taken back.
 */
export class BareReducer {
  readonly #messages: Message[] = [...START.messages]
  readonly #rendered: LlmMessage[] = [
    { role: "system", blocks: [{ type: "text", text: CONFIG.systemPrompt }] },
    { role: "user", blocks: [{ type: "text", text: "Read all files." }] },
  ]
  readonly #effects: Effect[] = []
  #usage: TokenUsage = { inputTokens: 0, cachedInputTokens: 0, outputTokens: 0, reasoningTokens: 0 }
  #iteration = 0
  #nextId = 1
  #nextMessage = 1
  done = false

  constructor() {
    this.#callModel()
  }

  poll(): Effect | undefined {
    return this.#effects.shift()
  }

  handle(response: Response): void {
    const effects = this.#effects
    const iteration = this.#iteration
    switch (response.type) {
      case "llm_complete": {
        if (!response.result.ok) throw new Error("not in the script")
        const { parts, usage } = response.result.response
        const sum = this.#usage
        this.#usage = {
          inputTokens: sum.inputTokens + usage.inputTokens,
          cachedInputTokens: sum.cachedInputTokens + usage.cachedInputTokens,
          outputTokens: sum.outputTokens + usage.outputTokens,
          reasoningTokens: sum.reasoningTokens + usage.reasoningTokens,
        }
        effects.push({ type: "emit", event: { type: "token_usage", iteration, usage, cumulative: this.#usage } })
        const [part] = parts
        const text = part?.type === "text" ? part.text : ""
        if (text !== "") effects.push({ type: "emit", event: { type: "text_delta", content: text } })
        effects.push({ type: "emit", event: { type: "llm_response", iteration, content: text, durationMs: 0 } })
        const id = `m_0_assistant_${this.#nextMessage++}`
        if (part?.type === "tool_call") {
          this.#append({ id, role: "assistant", parts: [{ id: `${id}.p0`, ...part }] }, { role: "assistant", blocks: [part] })
          const call = { callId: part.callId, toolName: part.toolName, args: JSON.parse(part.inputJson) }
          effects.push({ type: "tool_calls", id: this.#nextId++, calls: [call] })
        } else {
          this.#append({ id, role: "assistant", parts: [{ id: `${id}.p0`, type: "text", text }] }, { role: "assistant", blocks: [{ type: "text", text }] })
          effects.push({ type: "checkpoint", id: this.#nextId++, checkpoint: "before_completion" })
          this.done = true
        }
        return
      }
      case "tool_results": {
        const [result] = response.results
        if (result?.output.status !== "success") throw new Error("not in the script")
        const { callId, toolName, args, output, durationMs } = result
        effects.push({ type: "emit", event: { type: "tool_call", callId, name: toolName, args, output, durationMs } })
        const id = `m_0_tools_${this.#nextMessage++}`
        const part: Part = { id: `${id}.p0`, type: "tool_result", callId, toolName, text: output.value as string }
        this.#iteration += 1
        this.#append({ id, role: "user", parts: [part] }, { role: "user", blocks: [{ type: "tool_result", callId, toolName, text: part.text }] })
        effects.push({ type: "checkpoint", id: this.#nextId++, checkpoint: "after_work" })
        return
      }
      default:
        if (this.done) effects.push({ type: "emit", event: { type: "done" } })
        else this.#callModel()
    }
  }

  #append(message: Message, rendered: LlmMessage): void {
    const eventDelta: HistoryRecord[] = [{ type: "conversation", message }]
    this.#messages.push(message)
    this.#rendered.push(rendered)
    this.#effects.push({ type: "progress", messages: this.#messages, eventDelta, iteration: this.#iteration })
  }

  #callModel(): void {
    const { model, tools, generation } = CONFIG
    const event = { type: "llm_request", iteration: this.#iteration, messageCount: this.#messages.length, tools: tools.map((tool) => tool.name) } as const
    this.#effects.push({ type: "emit", event })
    const request = { model, messages: this.#rendered, attachments: [], tools, toolChoice: "auto", generation } as const
    this.#effects.push({ type: "llm_call", id: this.#nextId++, request })
  }
}
