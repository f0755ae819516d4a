import { isBlank, NO_RESULT } from "../../text.ts"
import type { AnthropicBlock, AnthropicMessage, AnthropicToolResult } from "./body.ts"

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
  readonly #turns: { readonly role: "user" | "assistant"; readonly content: AnthropicBlock[] }[] = []
  /** The unanswered calls of the last answer. */
  #open: readonly OpenCall[] = []
  #results: AnthropicToolResult[] = []
  /** What the user's turn contains after the results. */
  #content: AnthropicBlock[] = []

  /** Adds an answer of the model with its calls. */
  addAnswer(blocks: readonly AnthropicBlock[], calls: readonly OpenCall[]): void {
    this.#endUser()
    this.#push("assistant", blocks)
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
    const last = this.#turns.at(-1)
    if (last === undefined) return [{ role: "user", content: [CONTINUE] }]
    if (last.role === "assistant") {
      if (last.content.some(isRunning)) trimEnd(last.content)
      else {
        this.#endAssistant()
        this.#push("user", [CONTINUE])
      }
    }
    return this.#turns
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
    this.#endAssistant()
    this.#push("user", content)
  }

  /** The provider refuses an answer that ends with reasoning. One that has nothing else is left out. */
  #endAssistant(): void {
    const last = this.#turns.at(-1)
    if (last?.role !== "assistant") return
    while (isReasoning(last.content.at(-1))) last.content.pop()
    if (last.content.length === 0) this.#turns.pop()
  }

  #push(role: "user" | "assistant", content: readonly AnthropicBlock[]): void {
    if (content.length === 0) return
    const last = this.#turns.at(-1)
    if (last?.role === role) last.content.push(...content)
    else if (last === undefined && role === "assistant") this.#turns.push({ role: "user", content: [BEGINNING] }, { role, content: [...content] })
    else this.#turns.push({ role, content: [...content] })
  }
}

export function isReasoning(block: AnthropicBlock | undefined): boolean {
  return block?.type === "thinking" || block?.type === "redacted_thinking"
}

/** Whether a block is of the provider's own. It is asked to continue after them. */
function isRunning({ type }: AnthropicBlock): boolean {
  return !NAMED.has(type)
}

/** The types of the blocks that the wire itself makes. Any other is of the provider's own. */
export const NAMED: ReadonlySet<string> = new Set<AnthropicBlock["type"]>([
  "text",
  "image",
  "document",
  "tool_use",
  "tool_result",
  "thinking",
  "redacted_thinking",
])

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
