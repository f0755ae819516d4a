import { type AnthropicBody, type AnthropicWireOptions, anthropicMessagesWire } from "../../../src/projectors/anthropic-messages/index.ts"
import type { DecodeOptions, EncodeOptions, LlmResult } from "../../../src/projectors/wires/wire.ts"
import type { TurnEvent } from "../../../src/wire/event.ts"
import type { Block, LlmFailure, LlmMessage, LlmRequest, LlmResponse } from "../../../src/wire/llm.ts"

export const CLAUDE = { provider: "api.anthropic.com", api: "anthropic-messages", model: "claude" } as const
export const OTHER = { provider: "api.openai.com", api: "openai-chat", model: "gpt" } as const

export function request(messages: readonly LlmMessage[], rest: Partial<LlmRequest> = {}): LlmRequest {
  return { model: "claude", messages, attachments: [], tools: [], toolChoice: "auto", generation: {}, cache: "off", ...rest }
}

export function encode(
  messages: readonly LlmMessage[],
  rest: Partial<LlmRequest> = {},
  options: AnthropicWireOptions & EncodeOptions = {},
): AnthropicBody {
  return anthropicMessagesWire(options).encode(request(messages, rest), options)
}

export const user = (...blocks: readonly (Block | string)[]): LlmMessage => ({ role: "user", blocks: blocks.map(asBlock) })
export const system = (...blocks: readonly (Block | string)[]): LlmMessage => ({ role: "system", blocks: blocks.map(asBlock) })
/** An answer of the model that reads it. */
export const own = (...blocks: readonly (Block | string)[]): LlmMessage => ({ role: "assistant", blocks: blocks.map(asBlock), producer: CLAUDE })
/** An answer of another model. */
export const foreign = (...blocks: readonly (Block | string)[]): LlmMessage => ({ role: "assistant", blocks: blocks.map(asBlock), producer: OTHER })
export const call = (callId: string, inputJson = "{}", toolName = "look"): Block => ({ type: "tool_call", callId, toolName, inputJson })
export const result = (callId: string, text = "done"): Block => ({ type: "tool_result", callId, text })

function asBlock(block: Block | string): Block {
  return typeof block === "string" ? { type: "text", text: block } : block
}

/** A whole answer on the wire. */
export function message(content: readonly unknown[], stopReason: string | null = "end_turn", rest: object = {}): object {
  const usage = { input_tokens: 10, cache_creation_input_tokens: 5, cache_read_input_tokens: 100, output_tokens: 7 }
  return { id: "msg_1", type: "message", role: "assistant", model: "claude", content, stop_reason: stopReason, stop_sequence: null, usage, ...rest }
}

export function decode(body: unknown, options?: DecodeOptions): LlmResult {
  return anthropicMessagesWire().decode(body, options)
}

/** Reads a stream of events. `undefined` at the end: the connection was cut. */
export function read(events: readonly unknown[], options?: DecodeOptions): { readonly result: LlmResult; readonly shown: readonly TurnEvent[] } {
  const stream = anthropicMessagesWire().stream(options)
  const shown = events.flatMap((event) => stream.push(event))
  return { result: stream.finish(), shown }
}

export const start = (rest: object = {}): object => ({
  type: "message_start",
  message: {
    ...message([], null),
    usage: { input_tokens: 10, cache_creation_input_tokens: 5, cache_read_input_tokens: 100, output_tokens: 1 },
    ...rest,
  },
})
export const open = (index: number, content_block: unknown): object => ({ type: "content_block_start", index, content_block })
export const delta = (index: number, piece: unknown): object => ({ type: "content_block_delta", index, delta: piece })
export const close = (index: number): object => ({ type: "content_block_stop", index })
export const end = (stop_reason: string | null, rest: object = {}): readonly object[] => [
  { type: "message_delta", delta: { stop_reason, stop_sequence: null, ...rest }, usage: { output_tokens: 7 } },
  { type: "message_stop" },
]
export const says = (text: string): object => ({ type: "text_delta", text })
export const thinks = (thinking: string): object => ({ type: "thinking_delta", thinking })
export const signs = (signature: string): object => ({ type: "signature_delta", signature })
export const writes = (partial_json: string): object => ({ type: "input_json_delta", partial_json })
export const TEXT = { type: "text", text: "" } as const
export const THINKING = { type: "thinking", thinking: "", signature: "" } as const
export const toolUse = (id: string, name = "look", input: unknown = {}): object => ({ type: "tool_use", id, name, input })

export function answer(outcome: LlmResult): LlmResponse {
  if (!outcome.ok) throw new Error(`Failed: ${outcome.error.message}`)
  return outcome.response
}

export function failure(outcome: LlmResult): LlmFailure {
  if (outcome.ok) throw new Error(`Answered: ${JSON.stringify(outcome.response)}`)
  return outcome.error
}
