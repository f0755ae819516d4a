import { isBlank, NO_RESULT } from "../../text.ts"
import type { AnthropicBlock, AnthropicMessage, AnthropicToolResult } from "./body.ts"
import { NAMED, type RawBlock } from "./raw-block.ts"

/** A call that waits for its result. */
interface OpenCall {
  readonly callId: string
  /** Its id on the wire. */
  readonly sentId: string
}

const BEGINNING: AnthropicBlock = { type: "text", text: "[The conversation begins with an answer.]" }
const CONTINUE: AnthropicBlock = { type: "text", text: "[Continue.]" }

/**
 * The turns of a request. User and assistant alternate, and the user begins. The user's turn after calls begins with exactly one result for
 * each. No turn is empty, none of the assistant's ends with reasoning, and the last one is the user's, unless a tool of the provider
 * is still running in it: the provider refuses anything else.
 */
export class Conversation {
  readonly #turns: Turn[] = []
  /** The unanswered calls of the last answer. */
  #open: readonly OpenCall[] = []
  #results: AnthropicToolResult[] = []
  /** What the user's turn contains after the results. */
  #content: AnthropicBlock[] = []

  /** Adds an answer of the model with its calls. */
  addAnswer(blocks: readonly AnthropicBlock[], calls: readonly OpenCall[]): void {
    this.#endUser()
    push(this.#turns, "assistant", blocks)
    this.#open = calls
  }

  /** Adds the result of an open call. Returns false if there is no such call. */
  addResult(callId: string, result: Omit<AnthropicToolResult, "type" | "tool_use_id">): boolean {
    const call = this.#open.find((open) => open.callId === callId)
    if (call === undefined) return false
    this.#results.push({ type: "tool_result", tool_use_id: call.sentId, ...result })
    this.#open = this.#open.filter((open) => open !== call)
    return true
  }

  /** Adds what the user says. */
  addUser(blocks: readonly AnthropicBlock[]): void {
    for (const block of blocks) this.#content.push(block)
  }

  /** Ends the conversation and returns its messages. */
  end(): readonly AnthropicMessage[] {
    this.#endUser()
    const { broken, waiting } = pairing(this.#turns)
    const turns: Turn[] = []
    for (const { content, role } of this.#turns) {
      const kept = content.filter((block) => !broken.has(block))
      if (role === "user") endAnswer(turns)
      push(turns, role, kept)
    }
    const last = turns.at(-1)
    if (last?.role === "assistant" && (waiting > 0 || isRaw(last.content.at(-1)))) trimEnd(last.content)
    else if (last?.role !== "user") {
      endAnswer(turns)
      push(turns, "user", [CONTINUE])
    }
    return turns
  }

  /** Ends the user's turn. A call without a result gets a note instead. */
  #endUser(): void {
    const notes = this.#open.map(
      ({ sentId }): AnthropicToolResult => ({ type: "tool_result", tool_use_id: sentId, content: [{ type: "text", text: NO_RESULT }] }),
    )
    const content = [...this.#results, ...notes, ...this.#content]
    this.#open = []
    this.#results = []
    this.#content = []
    if (content.length === 0) return
    push(this.#turns, "user", content)
  }
}

interface Turn {
  readonly role: "user" | "assistant"
  readonly content: AnthropicBlock[]
}

function push(turns: Turn[], role: Turn["role"], content: readonly AnthropicBlock[]): void {
  if (content.length === 0) return
  const last = turns.at(-1)
  if (last?.role === role) last.content.push(...content)
  else if (last === undefined && role === "assistant") turns.push({ role: "user", content: [BEGINNING] }, { role, content: [...content] })
  else turns.push({ role, content: [...content] })
}

/** The provider refuses an answer that ends with reasoning. One that has nothing else is left out. */
function endAnswer(turns: Turn[]): void {
  const last = turns.at(-1)
  if (last?.role !== "assistant") return
  while (isReasoning(last.content.at(-1))) last.content.pop()
  if (last.content.length === 0) turns.pop()
}

export function isReasoning(block: AnthropicBlock | undefined): boolean {
  return block?.type === "thinking" || block?.type === "redacted_thinking"
}

/** Whether a block is of the provider's own. */
function isRaw(block: AnthropicBlock | undefined): boolean {
  return block !== undefined && !NAMED.has(block.type)
}

/**
 * Finds the calls of the provider's own tools that cannot go back, because they have no result, and the results without a call. A call
 * may wait for its result as long as the user says nothing: the provider runs it, or waits itself for the results of other calls.
 */
function pairing(turns: readonly Turn[]): { readonly broken: ReadonlySet<AnthropicBlock>; readonly waiting: number } {
  const waiting = new Map<unknown, AnthropicBlock>()
  const broken = new Set<AnthropicBlock>()
  for (const { content, role } of turns) {
    if (role === "user") {
      if (content.every(({ type }) => type === "tool_result")) continue
      for (const block of waiting.values()) broken.add(block)
      waiting.clear()
      continue
    }
    for (const block of content) {
      if (!isRaw(block)) continue
      const { id, tool_use_id: call, type } = block as unknown as RawBlock
      if (typeof call === "string") {
        if (!waiting.delete(call)) broken.add(block)
      } else if (typeof id === "string" && type.endsWith("_tool_use")) {
        const before = waiting.get(id)
        if (before !== undefined) broken.add(before)
        waiting.set(id, block)
      }
    }
  }
  return { broken, waiting: waiting.size }
}

/** The provider refuses white space at the end of an answer that it is to continue, and reasoning. */
function trimEnd(content: AnthropicBlock[]): void {
  for (let last = content.at(-1); last !== undefined; last = content.at(-1)) {
    if (last.type === "text" && !isBlank(last.text)) {
      content[content.length - 1] = { ...last, text: last.text.trimEnd() }
      return
    }
    if (last.type !== "text" && !isReasoning(last)) return
    content.pop()
  }
}
