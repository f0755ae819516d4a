import { type Json, parseJson } from "../json.ts"
import type { DriverContext } from "../machine/driver.ts"
import { isReplayable } from "../projectors/chat.ts"
import type { DriverAction } from "../schemas/action.ts"
import type { LlmResponse, OutputPart } from "../schemas/llm.ts"
import type { Part } from "../schemas/message.ts"
import type { PendingToolCall } from "../schemas/tool.ts"
import { isBlank, trim } from "../text.ts"

type TextPart = Extract<OutputPart, { type: "text" }>
type ReasoningPart = Extract<OutputPart, { type: "reasoning" }>
type ToolCallPart = Extract<OutputPart, { type: "tool_call" }>

/** A model's answer, sorted: what it said, and what it wants done. */
export interface ReadResponse {
  /** All texts as one, with an empty line between two that had none. */
  readonly text: string
  /** The texts one by one; joined they give `text`. */
  readonly texts: readonly TextPart[]
  /** Reasoning and tool calls in the order they came. */
  readonly steps: readonly (ReasoningPart | ToolCallPart)[]
  readonly calls: readonly PendingToolCall[]
}

/** Sorts the parts of an answer. An answer without parts is its text. Call ids that are blank or repeated are replaced by counted ones. */
export function readResponse(context: DriverContext, response: LlmResponse): ReadResponse {
  const parts: readonly OutputPart[] = response.parts.length > 0 ? response.parts : [{ type: "text", text: response.text }]
  let text = ""
  let newlines = 0
  const texts: TextPart[] = []
  const steps: (ReasoningPart | ToolCallPart)[] = []
  const calls: PendingToolCall[] = []
  const callIds = new Set<string>()
  for (const part of parts) {
    if (part.type === "text") {
      if (part.text === "") continue
      const piece = text === "" ? part.text : separator(newlines, part.text) + part.text
      // Counted along: looking at the end of a growing text copies all of it each time.
      newlines = trailingNewlines(newlines, piece)
      text += piece
      texts.push({ ...part, text: piece })
    } else if (part.type === "reasoning") {
      if (!isBlank(part.text) || isReplayable(part.replay)) steps.push({ ...part, text: trim(part.text) })
    } else {
      const { toolName, inputJson, replay } = part
      let { callId } = part
      while (isBlank(callId) || callIds.has(callId)) callId = context.newMessageId("call")
      callIds.add(callId)
      steps.push(callId === part.callId ? part : { ...part, callId })
      const args = readArguments(inputJson)
      calls.push(replay === undefined ? { callId, toolName, args } : { callId, toolName, args, replay })
    }
  }
  return { text, texts, steps, calls }
}

/** Arguments that are no JSON, or nested too deep to be kept, count as none; the tool says what it misses. */
function readArguments(inputJson: string): Json {
  const args = parseJson(inputJson)
  return args === undefined ? {} : args
}

/** The newlines missing for an empty line before a text, given how many stand before it. */
function separator(newlines: number, text: string): string {
  let leading = 0
  while (leading < 2 && text.charAt(leading) === "\n") leading += 1
  return "\n".repeat(Math.max(0, 2 - newlines - leading))
}

/** How many newlines stand at the end, counted to two, when `piece` follows a text that ends in so many. */
function trailingNewlines(newlines: number, piece: string): number {
  let trailing = 0
  while (trailing < 2 && piece.charAt(piece.length - 1 - trailing) === "\n") trailing += 1
  return trailing < piece.length ? trailing : Math.min(2, newlines + trailing)
}

/** Shows an answer: its texts, unless they were streamed, and that it is complete. */
export function showResponse(read: ReadResponse, iteration: number, textStreamed: boolean): DriverAction[] {
  const actions: DriverAction[] = []
  if (!textStreamed) for (const { text } of read.texts) actions.push({ type: "emit", event: { type: "text_delta", content: text } })
  actions.push({ type: "emit", event: { type: "llm_response", iteration, content: read.text, durationMs: 0 } })
  return actions
}

/** The parts of the assistant's message for an answer: its texts first, then each call with the reasoning that led to it. */
export function assistantParts(messageId: string, read: ReadResponse): readonly Part[] {
  const parts: Part[] = []
  for (const part of read.texts) if (!isBlank(part.text)) parts.push({ id: `${messageId}.p${parts.length}`, ...part })
  for (const part of read.steps) {
    const id = `${messageId}.p${parts.length}`
    if (part.type === "tool_call" && part.replay === undefined) {
      // By far the most frequent part; spelled out, because a spread costs as much as all the rest of it.
      const { type, callId, toolName, inputJson } = part
      parts.push({ id, type, callId, toolName, inputJson })
    } else parts.push({ id, ...part })
  }
  return parts
}
