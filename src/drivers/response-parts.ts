import { type Json, parseJson } from "../json.ts"
import type { DriverContext } from "../machine/driver.ts"
import { isReplayable } from "../projectors/chat.ts"
import { isBlank, trim } from "../text.ts"
import type { DriverAction } from "../wire/action.ts"
import type { LlmResponse, OutputPart, ReasoningBlock, TextOutput, ToolCallBlock } from "../wire/llm.ts"
import type { Part } from "../wire/message.ts"
import type { PendingToolCall } from "../wire/tool.ts"

/** A model's answer, split into texts, reasoning and tool calls. */
export interface ReadResponse {
  /** All texts joined, with an empty line between two of them. */
  readonly text: string
  /** The single texts including their separators. Concatenated they give `text`. */
  readonly texts: readonly TextOutput[]
  /** Reasoning and tool calls in their original order. */
  readonly steps: readonly (ReasoningBlock | ToolCallBlock)[]
  readonly calls: readonly PendingToolCall[]
}

/** Splits an answer into its parts. Without parts, its `text` counts as the only one. Replaces blank or repeated call ids with generated ones. */
export function readResponse(context: DriverContext, response: LlmResponse): ReadResponse {
  const parts: readonly OutputPart[] = response.parts.length > 0 ? response.parts : [{ type: "text", text: response.text }]
  let text = ""
  let newlines = 0
  const texts: TextOutput[] = []
  const steps: (ReasoningBlock | ToolCallBlock)[] = []
  const calls: PendingToolCall[] = []
  const callIds = new Set<string>()
  for (const part of parts) {
    if (part.type === "text") {
      if (part.text === "") continue
      const piece = text === "" ? part.text : separator(newlines, part.text) + part.text
      // Counted incrementally: reading the end of a growing string copies it each time.
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

/** Arguments that are not JSON, or nested too deeply to be stored, become `{}`. The tool then reports what is missing. */
function readArguments(inputJson: string): Json {
  const args = parseJson(inputJson)
  return args === undefined ? {} : args
}

/** The newlines to add for an empty line before a text, given the number already before it. */
function separator(newlines: number, text: string): string {
  let leading = 0
  while (leading < 2 && text.charAt(leading) === "\n") leading += 1
  return "\n".repeat(Math.max(0, 2 - newlines - leading))
}

/** The number of newlines at the end, at most two, after `piece` is appended to a text that ends in `newlines` newlines. */
function trailingNewlines(newlines: number, piece: string): number {
  let trailing = 0
  while (trailing < 2 && piece.charAt(piece.length - 1 - trailing) === "\n") trailing += 1
  return trailing < piece.length ? trailing : Math.min(2, newlines + trailing)
}

/** The events of an answer: its texts, unless they were streamed, and `llm_response`. */
export function showResponse(read: ReadResponse, iteration: number, textStreamed: boolean): DriverAction[] {
  const actions: DriverAction[] = []
  if (!textStreamed) for (const { text } of read.texts) actions.push({ type: "emit", event: { type: "text_delta", content: text } })
  actions.push({ type: "emit", event: { type: "llm_response", iteration, content: read.text, durationMs: 0 } })
  return actions
}

/** The parts of the assistant's message: the texts first, then reasoning and calls in their order. */
export function assistantParts(messageId: string, read: ReadResponse): readonly Part[] {
  const parts: Part[] = []
  for (const part of read.texts) if (!isBlank(part.text)) parts.push({ id: `${messageId}.p${parts.length}`, ...part })
  for (const part of read.steps) {
    const id = `${messageId}.p${parts.length}`
    if (part.type === "tool_call" && part.replay === undefined) {
      // The most frequent part. Spelled out, because a spread costs as much as everything else here.
      const { type, callId, toolName, inputJson } = part
      parts.push({ id, type, callId, toolName, inputJson })
    } else parts.push({ id, ...part })
  }
  return parts
}
