import { type Json, parseJson } from "../../json.ts"
import type { Block, LlmMessage } from "../../wire/llm.ts"

/** A tool call with its result. */
export interface Exchange {
  readonly toolName: string
  readonly input: Json
  readonly result: { readonly ok: true; readonly value: Json } | { readonly ok: false; readonly message: string }
}

export interface Conversation {
  /** The user's last task. */
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

/** Reads the tool calls in some messages, with their results. */
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

/** What the model reads before the result of a call whose arguments a person changed. */
const EDITED = /^Ran with arguments changed by the user: [^\n]*\n/

/** The tools return objects; any other result is the message of a failure. */
function readResult(text = "there is no result"): Exchange["result"] {
  const value = parseJson(text.replace(EDITED, "")) ?? cutList(text)
  if (typeof value === "object" && value !== null) return { ok: true, value }
  if (text.startsWith("{")) return { ok: false, message: "The result is longer than the context window allows." }
  return { ok: false, message: text.replace(/^\[[^\]]*\]\n/, "") }
}

/** A list of files that was cut in the middle, for a small window: what it says apart from the files. */
const CUT_LIST = /^(\{"root":.*?,"files":\[)[\s\S]*?(\],"totalFiles":\d+,"totalBytes":\d+,"skippedFolders":\[[\s\S]*\})$/

/** The value of such a list, without its files. `undefined`: the text is not one. */
export function cutList(text: string): Json | undefined {
  const [, head = "", end = ""] = CUT_LIST.exec(text) ?? []
  return head === "" ? undefined : parseJson(`${head}${end}`)
}

/** A check that failed after the turn before. */
export interface FailingCheck {
  readonly name: string
  /** The end of its output. */
  readonly tail: string
}

/** What the request of a goal's turn says about the goal. */
export interface GoalContext {
  readonly objective: string
  /** Every call of the thread, in order, and those of this turn. */
  readonly all: readonly Exchange[]
  readonly turn: readonly Exchange[]
  /** Whether the request asks the turn to end because a budget is used up, or nearly. */
  readonly isToEnd: boolean
  /** Open items of the judge's list; empty without a judge. */
  readonly openItems: readonly string[]
  readonly failingChecks: readonly FailingCheck[]
}

/**
 * Reads the request of a goal's turn; `undefined` for any other. The message that begins the turn is the full text of the goal or a
 * reminder, and earlier ones may still be in the history. What the user says during the turn does not change whose turn it is.
 */
export function readGoalContext(messages: readonly LlmMessage[]): GoalContext | undefined {
  const texts = messages.map(({ role, blocks }) =>
    role === "user" ? blocks.flatMap((block) => (block.type === "text" ? [block.text] : [])).join("\n") : "",
  )
  const isContext = texts.map((text) => text.startsWith("<goal_context>\n"))
  const start = texts.findLastIndex((text, index) => isContext[index] === true && CONTINUATION.test(text))
  const last = texts.findLastIndex((text) => text !== "")
  if (last < 0 || (isContext[last] !== true && (start < 0 || hasAnswer(messages.slice(start + 1))))) return undefined
  const objective = texts.findLast((text, index) => isContext[index] === true && OBJECTIVE.test(text)) ?? ""
  const opening = texts[start] ?? ""
  return {
    objective: unescaped(OBJECTIVE.exec(objective)?.[2] ?? ""),
    all: readExchanges(messages),
    turn: readExchanges(messages.slice(start + 1)),
    isToEnd: texts
      .slice(start + 1)
      .some((text, index) => isContext[start + 1 + index] === true && /has used up a budget|is nearly used up/.test(text)),
    openItems: [...opening.matchAll(/^ {2}\[ \] (.+)$/gm)].map(([, item = ""]) => item),
    failingChecks: readFailingChecks(opening),
  }
}

const CONTINUATION = /You are still working on the goal|The goal of this thread is still active/
const OBJECTIVE = /<(objective|untrusted_objective)>\n([\s\S]*?)\n<\/\1>/
// The name of a check in a line of its own, then its output in tags.
const CHECK_OUTPUT = /^(.+)\n<(check_output|output|tail)>\n([\s\S]*?)\n<\/\2>/gm

function readFailingChecks(text: string): readonly FailingCheck[] {
  return [...text.matchAll(CHECK_OUTPUT)].map(([, name = "", , tail = ""]) => ({
    name: unescaped(name.replace(/ \(exit code -?\d+\)$/, "")),
    tail: unescaped(tail),
  }))
}

/** Whether the model ended a turn in these messages: it answered without a call. */
function hasAnswer(messages: readonly LlmMessage[]): boolean {
  return messages.some(({ role, blocks }) => role === "assistant" && blocks.every(({ type }) => type !== "tool_call"))
}

function unescaped(text: string): string {
  return text.replaceAll("&lt;", "<").replaceAll("&gt;", ">").replaceAll("&amp;", "&")
}
