import { type Json, parseJson } from "../json.ts"
import { jsonFault } from "../json-fault.ts"
import type { DriverContext } from "../machine/driver.ts"
import { isBlank, shortened } from "../text.ts"
import type { DriverAction } from "../wire/action.ts"
import type { LlmResponse, OutputPart, Producer, ToolCallBlock } from "../wire/llm.ts"
import type { Part } from "../wire/message.ts"
import type { CompletedToolCall, PendingToolCall, ToolFailure, ToolSpec } from "../wire/tool.ts"

/** A model's answer, as a driver reads it. */
export interface ReadResponse {
  /** All texts joined, with an empty line between two of them. */
  readonly text: string
  /** The single texts including their separators. Concatenated they give `text`. */
  readonly texts: readonly string[]
  /** The answer part by part, as the model gave it. Blank or repeated call ids are replaced with counted ones. */
  readonly parts: readonly OutputPart[]
  /** All calls, in order. */
  readonly calls: readonly PendingToolCall[]
  /** The results of those calls that cannot be run: their arguments are broken, or the request did not offer the tool. */
  readonly settled: readonly CompletedToolCall[]
  readonly producer: Producer | undefined
  /** Milliseconds; 0 if the host did not say. */
  readonly durationMs: number
}

/**
 * Reads an answer. Without a text among its parts, its `text` counts as the first of them. `offered`: the tools of the request; a call of any other is settled
 * as a failure. If the request offered none, the host decides what it runs.
 */
export function readResponse(context: DriverContext, response: LlmResponse, offered: readonly ToolSpec[] = []): ReadResponse {
  const given = partsOf(response)
  let text = ""
  let newlines = 0
  const texts: string[] = []
  const parts: OutputPart[] = []
  const calls: PendingToolCall[] = []
  const settled: CompletedToolCall[] = []
  const callIds = new Set<string>()
  for (const part of given) {
    if (part.type === "text") {
      parts.push(part)
      if (part.text === "") continue
      const piece = text === "" ? part.text : separator(newlines, part.text) + part.text
      // Counted incrementally: reading the end of a growing string copies it each time.
      newlines = trailingNewlines(newlines, piece)
      text += piece
      texts.push(piece)
    } else if (part.type === "tool_call") {
      let { callId } = part
      while (isBlank(callId) || callIds.has(callId)) callId = context.newMessageId("call")
      callIds.add(callId)
      const call = callId === part.callId ? part : { ...part, callId }
      parts.push(call)
      const { args, fault } = readCall(call, offered)
      const pending =
        call.replay === undefined ? { callId, toolName: call.toolName, args } : { callId, toolName: call.toolName, args, replay: call.replay }
      calls.push(pending)
      if (fault !== undefined) settled.push({ ...pending, output: { status: "failure", failure: fault }, durationMs: 0 })
    } else {
      parts.push(part)
    }
  }
  return { text, texts, parts, calls, settled, producer: response.producer, durationMs: response.durationMs ?? 0 }
}

/** The parts of an answer. One that has its text only as `text` gets a part for it, because the user was shown it. */
export function partsOf({ text, parts }: LlmResponse): readonly OutputPart[] {
  const hasText = (text === "" && parts.length > 0) || parts.some((part) => part.type === "text")
  return hasText ? parts : [{ type: "text", text }, ...parts]
}

/** The arguments of a call, or why it cannot be run. Broken arguments stay text: a call never runs with other ones than the model wrote. */
function readCall({ toolName, inputJson }: ToolCallBlock, offered: readonly ToolSpec[]): { readonly args: Json; readonly fault?: ToolFailure } {
  const args = isBlank(inputJson) ? null : parseJson(inputJson)
  const isObject = typeof args === "object" && !Array.isArray(args)
  if (offered.length > 0 && !offered.some(({ name }) => name === toolName)) {
    return { args: isObject ? (args ?? {}) : inputJson, fault: failure("unknown_tool", `${unknownTool(toolName, offered)} Nothing was run.`) }
  }
  if (isObject) return { args: args ?? {} }
  const what = args === undefined ? jsonFault(inputJson) : `They are ${Array.isArray(args) ? "a list" : `a ${typeof args}`}, not a JSON object.`
  return {
    args: inputJson,
    fault: failure("broken_arguments", `The call was not run: its arguments cannot be read. ${what} Call it again with a JSON object.`),
  }
}

function failure(code: string, message: string): ToolFailure {
  return { class: "invalid_request", code, message, source: "runtime", retry: { type: "never" } }
}

function unknownTool(name: string, offered: readonly ToolSpec[]): string {
  const names = offered.slice(0, 30).map((tool) => tool.name)
  const more = offered.length > names.length ? ", …" : ""
  return `There is no tool ${JSON.stringify(shortened(name))}. The tools are: ${names.join(", ")}${more}.`
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
  if (!textStreamed) for (const content of read.texts) actions.push({ type: "emit", event: { type: "text_delta", content } })
  actions.push({ type: "emit", event: { type: "llm_response", iteration, content: read.text, durationMs: read.durationMs } })
  return actions
}

/** The parts of the assistant's message: those of the answer, in order and unchanged. */
export function assistantParts(messageId: string, parts: readonly OutputPart[]): readonly Part[] {
  return parts.map((part, index): Part => {
    const id = `${messageId}.p${index}`
    if (part.type !== "tool_call" || part.replay !== undefined || part.providerMetadata !== undefined) return { id, ...part }
    // The most frequent part. Spelled out, because a spread costs as much as everything else here.
    const { type, callId, toolName, inputJson } = part
    return { id, type, callId, toolName, inputJson }
  })
}
