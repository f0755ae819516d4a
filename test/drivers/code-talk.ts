import { type CodeDriverOptions, codeDriver } from "../../src/drivers/code.ts"
import { chatProjector } from "../../src/projectors/chat.ts"
import type { Effect } from "../../src/schemas/effect.ts"
import type { LlmMessage, LlmResponse } from "../../src/schemas/llm.ts"
import type { ExecResult } from "../../src/schemas/response.ts"
import type { ExecResponse } from "../../src/schemas/tool.ts"
import { TurnMachine } from "../../src/validated-turn-machine.ts"

export const USAGE = { inputTokens: 1, cachedInputTokens: 0, outputTokens: 1, reasoningTokens: 0 }
export const BASE = {
  model: "m",
  sessionId: "s",
  systemPrompt: "",
  tools: [],
  generation: {},
  syncExecutionSurface: false,
  emitLlmTrace: false,
}
export const RUN: ExecResponse = { observations: [], toolCalls: [], images: [], printedImages: [], durationMs: 1 }

/** A turn under the code driver as a dialogue: the model's answers, the results of its code, and what it sees. */
export class Talk {
  readonly machine: TurnMachine
  readonly effects: Effect[] = []

  constructor(options: CodeDriverOptions = {}, maxIterations?: number) {
    const config = { ...BASE, driver: codeDriver(options), projector: chatProjector, ...(maxIterations !== undefined && { maxIterations }) }
    this.machine = new TurnMachine(config, { messages: [{ id: "u", role: "user", parts: [{ id: "u.p0", type: "text", text: "Sum the files." }] }] })
    this.#poll()
  }

  says(text: string, response: Partial<LlmResponse> = {}): this {
    return this.answers({
      type: "llm_complete",
      id: this.#id(),
      result: { ok: true, response: { text, parts: [], usage: USAGE, terminalReason: "stop", ...response } },
    })
  }

  gives(result: ExecResult["result"]): this {
    return this.answers({ type: "exec_result", id: this.#id(), result })
  }

  continues(): this {
    return this.answers({ type: "checkpoint_delivery", id: this.#id(), delivery: {} })
  }

  answers(response: Parameters<TurnMachine["handle"]>[0]): this {
    this.machine.handle(response)
    this.#poll()
    return this
  }

  /** The messages of the last request. */
  shown(): readonly LlmMessage[] {
    const calls = this.effects.filter((effect) => effect.type === "llm_call")
    return calls.at(-1)?.request.messages ?? []
  }

  lastTexts(count: number): readonly string[] {
    return this.shown()
      .slice(-count)
      .flatMap((message) => message.blocks.map((block) => ("text" in block ? `${message.role}: ${block.text}` : block.type)))
  }

  #id(): number {
    return this.machine.outstanding?.id ?? 0
  }

  #poll(): void {
    for (let effect = this.machine.poll(); effect; effect = this.machine.poll()) this.effects.push(effect)
  }
}
