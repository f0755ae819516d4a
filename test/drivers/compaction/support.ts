import { chatDriver } from "../../../src/drivers/chat.ts"
import { compactingDriver } from "../../../src/drivers/compaction/driver.ts"
import type { CompactingDriverOptions } from "../../../src/drivers/compaction/settings.ts"
import type { CompleteTurnConfig, TurnConfig } from "../../../src/machine/config.ts"
import { estimateTokens } from "../../../src/machine/usage-estimate.ts"
import { chatProjector } from "../../../src/projectors/chat.ts"
import { viewProjector } from "../../../src/projectors/view.ts"
import type { Effect } from "../../../src/schemas/effect.ts"
import type { LlmMessage, LlmRequest } from "../../../src/schemas/llm.ts"
import type { HistoryRecord } from "../../../src/schemas/message.ts"
import type { LlmComplete } from "../../../src/schemas/response.ts"
import { TurnMachine } from "../../../src/validated-turn-machine.ts"
import type { CompactionFailed, CompactionRecord } from "../../../src/wire/compaction.ts"
import type { LlmFailure } from "../../../src/wire/llm.ts"
import { configOf, userMessage } from "../../machine/support.ts"

export const LOOK = { name: "look", description: "Looks.", inputSchema: { type: "object" } } as const

export function compactingConfig(options: CompactingDriverOptions = {}, changes: Partial<TurnConfig> = {}): CompleteTurnConfig {
  return configOf({
    driver: compactingDriver(chatDriver(), options),
    projector: viewProjector(chatProjector),
    tools: [LOOK],
    maxContextTokens: 1_000,
    maxResultTokens: 100_000,
    ...changes,
  })
}

/** About that many tokens of text. */
export function long(tokens: number, letter = "x"): string {
  return letter.repeat(4 * tokens)
}

export function started(config: TurnConfig, text = "Do the work."): TurnMachine {
  return new TurnMachine(config, { messages: [userMessage(text)] })
}

/** The text of a message of a request. */
export function textOfMessage({ blocks }: LlmMessage): string {
  return blocks.map((block) => ("text" in block ? block.text : "toolName" in block ? `call ${block.toolName}` : block.type)).join(" ")
}

export function isCompactionRequest({ messages }: LlmRequest): boolean {
  const last = messages.at(-1)
  return last !== undefined && textOfMessage(last).startsWith("<compaction>")
}

export function callIn(effects: readonly Effect[]): Extract<Effect, { type: "llm_call" }> {
  const call = effects.find((effect) => effect.type === "llm_call")
  if (call?.type !== "llm_call") throw new Error(`No model call in ${effects.map(({ type }) => type).join(", ")}`)
  return call
}

export function recordsOf(history: readonly HistoryRecord[]): readonly CompactionRecord[] {
  return eventsOf<CompactionRecord>(history, "compaction")
}

export function failuresOf(history: readonly HistoryRecord[]): readonly CompactionFailed[] {
  return eventsOf<CompactionFailed>(history, "compaction_failed")
}

function eventsOf<Event>(history: readonly HistoryRecord[], type: string): readonly Event[] {
  return history.flatMap((record) => {
    if (record.type !== "protocol") return []
    const { event } = record
    return typeof event === "object" && event !== null && "type" in event && event["type"] === type ? [event as unknown as Event] : []
  })
}

export function fails(id: number, error: Partial<LlmFailure> = {}): LlmComplete {
  const failure: LlmFailure = { message: "Bad gateway.", retryable: true, terminalReason: "provider_error", kind: "overloaded", ...error }
  return { type: "llm_complete", id, result: { ok: false, error: failure } }
}

export function overflows(id: number): LlmComplete {
  return fails(id, { message: "Too long.", retryable: false, kind: "context_overflow", terminalReason: "context_overflow" })
}

export { estimateTokens }
