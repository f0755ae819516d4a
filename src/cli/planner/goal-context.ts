import type { LlmMessage } from "../../schemas/llm.ts"
import { type Exchange, readExchanges } from "./conversation.ts"

/** A goal's turn, as far as its request tells of it. */
export interface GoalContext {
  readonly objective: string
  /** Every call of the thread, in order, and those of this turn. */
  readonly all: readonly Exchange[]
  readonly turn: readonly Exchange[]
  /** The turn was told to come to an end, because a budget is used up or nearly so. */
  readonly isToEnd: boolean
  /** Open items of the list that a judge keeps, where there is one. */
  readonly openItems: readonly string[]
}

/** Reads the request of a goal's turn; `undefined` for any other. */
export function readGoalContext(messages: readonly LlmMessage[]): GoalContext | undefined {
  const texts = messages.map(({ role, blocks }) =>
    role === "user" ? blocks.flatMap((block) => (block.type === "text" ? [block.text] : [])).join("\n") : "",
  )
  const told = texts.map((text) => text.startsWith("<goal_context>\n"))
  const last = texts.findLastIndex((text) => text !== "")
  if (last < 0 || told[last] !== true) return undefined
  const start = texts.findLastIndex((text, index) => told[index] === true && text.includes("You are still working on the goal"))
  const objective = texts.findLast((text, index) => told[index] === true && OBJECTIVE.test(text)) ?? ""
  return {
    objective: unescaped(OBJECTIVE.exec(objective)?.[2] ?? ""),
    all: readExchanges(messages),
    turn: readExchanges(messages.slice(start + 1)),
    isToEnd: texts.slice(start + 1).some((text, index) => told[start + 1 + index] === true && /has used up a budget|is nearly used up/.test(text)),
    openItems: [...(texts[start] ?? "").matchAll(/^ {2}\[ \] (.+)$/gm)].map(([, item = ""]) => item),
  }
}

const OBJECTIVE = /<(objective|untrusted_objective)>\n([\s\S]*?)\n<\/\1>/

function unescaped(text: string): string {
  return text.replaceAll("&lt;", "<").replaceAll("&gt;", ">").replaceAll("&amp;", "&")
}
