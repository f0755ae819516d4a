import { type Json, parseJson } from "../../json.ts"
import type { Block, LlmMessage } from "../../schemas/llm.ts"

/** A tool call of the conversation and what came of it. */
export interface Exchange {
  readonly toolName: string
  readonly input: Json
  readonly result: { readonly ok: true; readonly value: Json } | { readonly ok: false; readonly message: string }
}

export interface Conversation {
  /** What the user asked last. */
  readonly task: string
  /** Every call made since then, in order. */
  readonly exchanges: readonly Exchange[]
}

/** Reads a request's messages: the last task, and the calls made for it with their results. */
export function readConversation(messages: readonly LlmMessage[]): Conversation {
  const asked = messages.findLastIndex(
    ({ role, blocks }) => role === "user" && blocks.some((block) => block.type === "text") && !blocks.some(isResult),
  )
  const task = (messages[asked]?.blocks ?? []).flatMap((block) => (block.type === "text" ? [block.text] : [])).join("\n")
  return { task, exchanges: readExchanges(messages.slice(asked + 1)) }
}

/** The calls of some messages with what came of them. */
export function readExchanges(messages: readonly LlmMessage[]): readonly Exchange[] {
  const blocks = messages.flatMap((message) => message.blocks)
  const results = new Map(blocks.filter(isResult).map((block) => [block.callId, block.text]))
  return blocks.flatMap((block): readonly Exchange[] => {
    if (block.type !== "tool_call") return []
    return [{ toolName: block.toolName, input: parseJson(block.inputJson) ?? {}, result: readResult(results.get(block.callId)) }]
  })
}

function isResult(block: Block): block is Extract<Block, { type: "tool_result" }> {
  return block.type === "tool_result"
}

/** The tools answer with objects; what is no object is the words of a failure. */
function readResult(text = "there is no result"): Exchange["result"] {
  const value = parseJson(text)
  if (typeof value === "object" && value !== null) return { ok: true, value }
  return { ok: false, message: text.replace(/^\[[^\]]*\]\n/, "") }
}
