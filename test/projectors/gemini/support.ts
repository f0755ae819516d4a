import { readFileSync } from "node:fs"
import { type GeminiBody, type GeminiPart, type GeminiWireOptions, geminiWire } from "../../../src/projectors/gemini/index.ts"
import type { DecodeOptions, EncodeOptions, LlmResult } from "../../../src/projectors/wires/wire.ts"
import type { TurnEvent } from "../../../src/schemas/event.ts"
import type { LlmFailure, LlmResponse } from "../../../src/schemas/llm.ts"
import type { Block, LlmMessage, LlmRequest, Producer } from "../../../src/wire/llm.ts"

export const NO_USAGE = { inputTokens: 0, cachedInputTokens: 0, outputTokens: 0, reasoningTokens: 0 }
export const MODEL = "gemini-3-pro"
export const OURS: Producer = { provider: "generativelanguage.googleapis.com", api: "gemini", model: MODEL }
export const OTHERS: Producer = { provider: "api.anthropic.com", api: "anthropic-messages", model: "claude" }

export function request(messages: readonly LlmMessage[], more: Partial<LlmRequest> = {}): LlmRequest {
  return { model: MODEL, messages, attachments: [], tools: [], toolChoice: "auto", generation: {}, ...more }
}

export function encode(messages: readonly LlmMessage[], more: Partial<LlmRequest> = {}, options: GeminiWireOptions & EncodeOptions = {}): GeminiBody {
  return geminiWire(options).encode(request(messages, more), options)
}

/** The contents as pairs of role and parts. */
export function contents(
  messages: readonly LlmMessage[],
  more?: Partial<LlmRequest>,
  options?: GeminiWireOptions & EncodeOptions,
): readonly (readonly [string, readonly GeminiPart[]])[] {
  return encode(messages, more, options).contents.map(({ parts, role }) => [role, parts] as const)
}

export const user = (...blocks: readonly (Block | string)[]): LlmMessage => ({ role: "user", blocks: blocks.map(block) })
export const model = (...blocks: readonly (Block | string)[]): LlmMessage => ({ role: "assistant", blocks: blocks.map(block), producer: OURS })
export const other = (...blocks: readonly (Block | string)[]): LlmMessage => ({ role: "assistant", blocks: blocks.map(block), producer: OTHERS })
export const system = (...blocks: readonly (Block | string)[]): LlmMessage => ({ role: "system", blocks: blocks.map(block) })
export const call = (callId: string, toolName = "look", inputJson = "{}", signature?: string): Block => ({
  type: "tool_call",
  callId,
  toolName,
  inputJson,
  ...(signature !== undefined && { replay: { opaque: signature } }),
})
export const result = (callId: string, text = "seen"): Block => ({ type: "tool_result", callId, text })

function block(given: Block | string): Block {
  return typeof given === "string" ? { type: "text", text: given } : given
}

/** An answer with one candidate; without a finish reason: a chunk before the last. */
export const body = (parts: readonly unknown[], finishReason: string | null = "STOP", more: object = {}): object => ({
  candidates: [{ content: { role: "model", parts }, ...(finishReason !== null && { finishReason }), index: 0 }],
  ...more,
})

export const decode = (given: unknown, options?: DecodeOptions): LlmResult => geminiWire().decode(given, options)

/** Reads chunks, and collects their events. */
export function stream(chunks: readonly unknown[], options?: DecodeOptions) {
  const reader = geminiWire().stream(options)
  const events: TurnEvent[] = []
  for (const chunk of chunks) events.push(...reader.push(chunk))
  return { events, reader, result: reader.finish() }
}

/** The response of a call that succeeded. */
export function answer(given: LlmResult): LlmResponse {
  if (!given.ok) throw new Error(`Failed: ${given.error.message}`)
  return given.response
}

/** The error of a call that failed. */
export function failure(given: LlmResult): LlmFailure {
  if (given.ok) throw new Error(`Answered: ${JSON.stringify(given.response)}`)
  return given.error
}

/** The data of a fixture's events. */
export function events(name: string): readonly unknown[] {
  return fixture(`${name}.sse`)
    .split(/\r?\n/)
    .filter((line) => line.startsWith("data: "))
    .map((line) => JSON.parse(line.slice(6)) as unknown)
}

export function fixture(name: string): string {
  return readFileSync(new URL(`../../fixtures/gemini/${name}`, import.meta.url), "utf8")
}
