import { type Json, parseJson } from "../../json.ts"
import type { Block, LlmMessage } from "../../wire/llm.ts"
import { cutList } from "./conversation.ts"
import { MAX_SHOWN_LENGTH } from "./report.ts"

/** What the planner writes when it is asked for a summary: the calls that it made, with what it needs of their results. */
interface Summary {
  /** The number of the last call, so that ids stay unique. */
  readonly calls: number
  /** The task, or the message that began the turn of a goal. */
  readonly opening: string
  /** The messages of the user's side since then. */
  readonly notes: readonly string[]
  /** The calls before the opening, and those after it. */
  readonly earlier: readonly SummarizedCall[]
  readonly exchanges: readonly SummarizedCall[]
}

interface SummarizedCall {
  readonly callId: string
  readonly toolName: string
  readonly input: Json
  readonly result: string
}

const TITLE = "What the embedded planner found, as JSON:"

/** A request's messages as if nothing had been summarized. */
export interface ReadMessages {
  readonly messages: readonly LlmMessage[]
  /** The number of the last call of the conversation. */
  readonly callsBefore: number
  /** Whether the last message asks for a summary. It is not one of the messages. */
  readonly isAskedForSummary: boolean
}

/** Puts the calls of a summary back in its place. */
export function readSummary(given: readonly LlmMessage[]): ReadMessages {
  const last = given.at(-1)
  const isAskedForSummary = last?.role === "user" && textOf(last).startsWith("<compaction>\n")
  const asked = (isAskedForSummary ? given.slice(0, -1) : given).filter((message) => !isBroken(message))
  const place = asked.findLastIndex((message) => summaryIn(message) !== undefined)
  const summary = asked[place] && summaryIn(asked[place])
  if (summary === undefined) return { messages: asked, callsBefore: lastCall(asked), isAskedForSummary }
  // The goal is stated anew after the summary. The turn begins after it.
  const next = asked[place + 1]
  const isRestated = next !== undefined && textOf(next).startsWith("<goal_context>\n")
  const tail = asked.slice(isRestated ? place + 2 : place + 1)
  // What the summary has of the tail as well is not repeated.
  const inTail = new Set(callsIn(tail).map(({ callId }) => callId))
  const exchanges = summary.exchanges.filter(({ callId }) => !inTail.has(callId))
  const system = asked.filter(({ role }, index) => role === "system" && index < place)
  const messages = [
    ...system,
    ...summary.earlier.flatMap(messagesOf),
    ...(isRestated ? [next] : []),
    ...[summary.opening, ...summary.notes]
      .filter((text) => text !== "")
      .map((text): LlmMessage => ({ role: "user", blocks: [{ type: "text", text }] })),
    ...exchanges.flatMap(messagesOf),
    ...tail,
  ]
  return { messages, callsBefore: Math.max(summary.calls, lastCall(tail)), isAskedForSummary }
}

function messagesOf({ callId, toolName, input, result }: SummarizedCall): readonly LlmMessage[] {
  return [
    { role: "assistant", blocks: [{ type: "tool_call", callId, toolName, inputJson: JSON.stringify(input) }] },
    { role: "user", blocks: [{ type: "tool_result", callId, toolName, text: result }] },
  ]
}

const SUMMARY = /<summary>\n([\s\S]*)\n<\/summary>/

/** Whether a message has a summary that was cut. The planner then begins anew. */
function isBroken(message: LlmMessage): boolean {
  return message.role === "user" && textOf(message).includes(`<summary>\n${TITLE}`) && summaryIn(message) === undefined
}

function summaryIn(message: LlmMessage): Summary | undefined {
  if (message.role !== "user") return undefined
  const [, json = ""] = SUMMARY.exec(textOf(message)) ?? []
  if (!json.startsWith(TITLE)) return undefined
  const value = parseJson(json.slice(TITLE.length))
  return typeof value === "object" && value !== null && "exchanges" in value ? (value as unknown as Summary) : undefined
}

/** Writes the summary of a conversation. Pure. */
export function summarize(messages: readonly LlmMessage[], calls: number): string {
  const isText = ({ role, blocks }: LlmMessage): boolean => role === "user" && blocks.some(({ type }) => type === "text") && !blocks.some(isResult)
  const texts = messages.map((message) => (isText(message) ? textOf(message) : ""))
  const start = texts.findLastIndex((text) => CONTINUATION.test(text))
  const opening = start >= 0 ? start : texts.findLastIndex((text) => text !== "")
  const exchanges = callsIn(messages.slice(opening + 1))
  const isWritten = exchanges.some(({ toolName, result }) => toolName === "write_file" && parseJson(result) !== undefined)
  const summary: Summary = {
    calls,
    opening: texts[opening] ?? "",
    notes: texts.slice(opening + 1).filter((text) => text !== ""),
    // Of earlier turns, only what was written counts.
    earlier: callsIn(messages.slice(0, Math.max(0, opening))).filter(({ toolName }) => toolName === "write_file"),
    exchanges: exchanges.map((call) => (start >= 0 ? withoutContent(call) : shortened(call, isWritten))),
  }
  return `${TITLE}\n${JSON.stringify({ ...summary, earlier: summary.earlier.map(withoutContent) })}`
}

const CONTINUATION = /^<goal_context>\n[\s\S]*(?:You are still working on the goal|The goal of this thread is still active)/

function callsIn(messages: readonly LlmMessage[]): readonly SummarizedCall[] {
  const blocks = messages.flatMap((message) => message.blocks)
  const results = new Map(blocks.filter(isResult).map((block) => [block.callId, block.text]))
  return blocks.flatMap((block): readonly SummarizedCall[] => {
    if (block.type !== "tool_call") return []
    const { callId, toolName, inputJson } = block
    return [{ callId, toolName, input: parseJson(inputJson) ?? {}, result: results.get(callId) ?? "there is no result" }]
  })
}

/** A report that was written is in its file. */
function withoutContent(call: SummarizedCall): SummarizedCall {
  if (call.toolName !== "write_file") return call
  const { content: _content, ...input } = call.input as { readonly [key: string]: Json }
  return { ...call, input }
}

/**
 * A call of a search, with what its report needs of the result: not the files of a list, and of a line what the report shows; nothing of the
 * lines once it is written.
 */
function shortened(call: SummarizedCall, isWritten: boolean): SummarizedCall {
  const { toolName, result } = call
  const value = (parseJson(result) ?? cutList(result)) as { readonly [key: string]: Json } | undefined
  if (toolName === "list_files" && value !== undefined) return { ...call, result: JSON.stringify({ ...value, files: [] }) }
  if (toolName === "read_file" && isWritten) return { ...call, input: {}, result: "{}" }
  if (toolName === "read_file" && typeof value?.["text"] === "string") {
    // More than is shown, so that the report cuts the line as it would have.
    const text = value["text"]
      .split("\n")
      .map((line) => line.slice(0, 2 * MAX_SHOWN_LENGTH))
      .join("\n")
    return { ...call, result: JSON.stringify({ ...value, text }) }
  }
  return withoutContent(call)
}

/** The highest number of a call in some messages: the planner numbers its calls. 0: there is none. */
function lastCall(messages: readonly LlmMessage[]): number {
  const numbers = callsIn(messages).map(({ callId }) => Number(/^call_(\d+)$/.exec(callId)?.[1] ?? 0))
  return numbers.reduce((highest, number) => Math.max(highest, number), 0)
}

function textOf({ blocks }: LlmMessage): string {
  return blocks.flatMap((block) => (block.type === "text" ? [block.text] : [])).join("\n")
}

function isResult(block: Block): block is Extract<Block, { type: "tool_result" }> {
  return block.type === "tool_result"
}
