import { readFileSync } from "node:fs"
import type { LlmResult } from "../../../src/projectors/wires/wire.ts"
import type { TurnEvent } from "../../../src/schemas/event.ts"
import type { LlmFailure, LlmResponse } from "../../../src/schemas/llm.ts"
import { type ChatAnswerOptions, chatAnswer, chatStream } from "../../support/openai-chat.ts"

export const NO_USAGE = { inputTokens: 0, cachedInputTokens: 0, outputTokens: 0, reasoningTokens: 0 }

/** Reads a fixture as a whole answer. */
export function whole(name: string, options?: ChatAnswerOptions): LlmResult {
  return chatAnswer(fixture(`${name}.json`, JSON.parse), options)
}

/** Reads a fixture as a stream, and collects its events. */
export function streamed(name: string, options?: ChatAnswerOptions) {
  const stream = chatStream(options)
  const data = fixture(`${name}.sse`)
    .split(/\r?\n/)
    .filter((line) => line.startsWith("data: "))
  const events: TurnEvent[] = []
  for (const line of data) if (line !== "data: [DONE]") events.push(...stream.push(JSON.parse(line.slice(6))))
  return { events, result: stream.finish(), stream }
}

/** Reads an answer made of one message. */
export function response(message: object, finishReason: string | null): LlmResult {
  return chatAnswer({ choices: [{ index: 0, message: { role: "assistant", ...message }, finish_reason: finishReason }] })
}

/** A tool call in a delta. */
export function piece(index: number | undefined, id: string | undefined, name: string | undefined, text: unknown): object {
  return {
    ...(index !== undefined && { index }),
    ...(id !== undefined && { id }),
    type: "function",
    function: { ...(name !== undefined && { name }), ...(text !== undefined && { arguments: text }) },
  }
}

/** The response of a call that succeeded. */
export function answer(result: LlmResult): LlmResponse {
  if (!result.ok) throw new Error(`Failed: ${result.error.message}`)
  return result.response
}

/** The error of a call that failed. */
export function failure(result: LlmResult): LlmFailure {
  if (result.ok) throw new Error(`Answered: ${JSON.stringify(result.response)}`)
  return result.error
}

/** An object in an object, so many levels deep. */
export function nested(depth: number): unknown {
  let value: unknown = {}
  for (let level = 0; level < depth; level += 1) value = { value }
  return value
}

export function fixture(name: string): string
export function fixture<Value>(name: string, read: (text: string) => Value): Value
export function fixture<Value>(name: string, read?: (text: string) => Value): Value | string {
  const text = readFileSync(new URL(`../../fixtures/openai/${name}`, import.meta.url), "utf8")
  return read === undefined ? text : read(text)
}
