import { readFileSync } from "node:fs"
import { type OpenAiResponsesBody, type OpenAiResponsesWireOptions, openAiResponsesWire } from "../../../src/projectors/openai-responses/index.ts"
import type { DecodeOptions, EncodeOptions, LlmResult } from "../../../src/projectors/wires/wire.ts"
import type { TurnEvent } from "../../../src/wire/event.ts"
import type { Block, LlmFailure, LlmMessage, LlmRequest, LlmResponse } from "../../../src/wire/llm.ts"
import type { Producer } from "../../../src/wire/message.ts"

export const MODEL = "gpt-5.5"
export const PRODUCER: Producer = { provider: "openai", api: "openai-responses", model: MODEL }
export const OTHER: Producer = { provider: "anthropic", api: "anthropic-messages", model: "claude" }

export const base: LlmRequest = { model: MODEL, messages: [], attachments: [], tools: [], toolChoice: "auto", generation: {} }

export type Options = OpenAiResponsesWireOptions & EncodeOptions

export function body(request: Partial<LlmRequest>, options: Options = {}): OpenAiResponsesBody {
  return openAiResponsesWire(options).encode({ ...base, ...request }, options)
}

/** The input for some messages. */
export function input(messages: readonly LlmMessage[], options?: Options, request: Partial<LlmRequest> = {}): readonly object[] {
  return body({ ...request, messages }, options).input
}

/** A message of the model that reads the request. */
export function own(...blocks: readonly Block[]): LlmMessage {
  return { role: "assistant", blocks, producer: PRODUCER }
}

export function user(text: string): LlmMessage {
  return { role: "user", blocks: [{ type: "text", text }] }
}

export function decode(value: unknown, options: DecodeOptions = { producer: PRODUCER }): LlmResult {
  return openAiResponsesWire().decode(value, options)
}

/** Reads a whole answer that has ended with these items. */
export function answered(...output: readonly object[]): LlmResult {
  return decode({ id: "resp_1", object: "response", status: "completed", output })
}

/** Reads events as a stream. */
export function streamed(events: readonly unknown[], options: DecodeOptions = { producer: PRODUCER }) {
  const stream = openAiResponsesWire().stream(options)
  const shown: TurnEvent[] = []
  for (const event of events) shown.push(...stream.push(event))
  return { shown, stream, result: stream.finish() }
}

/** The texts that events show, by kind. */
export function shownTexts(shown: readonly TurnEvent[]): { readonly text: string; readonly reasoning: string } {
  const of = (type: string): string => shown.map((event) => (event.type === type && "content" in event ? event.content : "")).join("")
  return { text: of("text_delta"), reasoning: of("reasoning_delta") }
}

export function response(result: LlmResult): LlmResponse {
  if (!result.ok) throw new Error(`Failed: ${result.error.message}`)
  return result.response
}

export function failure(result: LlmResult): LlmFailure {
  if (result.ok) throw new Error(`Answered: ${JSON.stringify(result.response)}`)
  return result.error
}

export function fixture(name: string): unknown {
  return JSON.parse(readFileSync(new URL(`../../fixtures/openai-responses/${name}.json`, import.meta.url), "utf8"))
}

export function fixtureEvents(name: string): readonly Record<string, unknown>[] {
  return readFileSync(new URL(`../../fixtures/openai-responses/${name}.sse`, import.meta.url), "utf8")
    .split("\n")
    .filter((line) => line.startsWith("data: "))
    .map((line) => JSON.parse(line.slice(6)) as Record<string, unknown>)
}
