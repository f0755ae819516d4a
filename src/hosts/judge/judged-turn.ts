import type { EvidenceTranscript, JudgedTurn } from "../../wire/checklist.ts"
import type { Outcome } from "../../wire/event.ts"
import type { GoalContract } from "../../wire/goal.ts"
import type { HistoryRecord, Message } from "../../wire/message.ts"
import type { EndedThreadTurn } from "../journal/thread-log.ts"

/** The facts of a thread that a turn is judged with. */
export interface TurnFacts {
  readonly threadId: string
  readonly history: readonly HistoryRecord[]
  readonly turn: EndedThreadTurn
  /** The id of the last message that the judge knew when it gave its last verdict; "": it knew none. */
  readonly heard: string | undefined
  readonly at: number
}

/** The turn as the judge receives it, with all messages of the thread. */
export function judgedTurn(facts: TurnFacts): JudgedTurn {
  const { turn, heard, at } = facts
  const { outcome, messages: own } = turn
  const transcript = transcriptOf(facts)
  const known = transcript.messages.findIndex(({ id }) => id === heard)
  const fresh = transcript.messages.slice(known < 0 && heard !== "" ? (transcript.lastTurn ?? 1) - 1 : known + 1)
  return {
    response: responseOf(outcome, own),
    ended: outcome.type !== "stopped" ? "finished" : outcome.stop.type === "cancelled" ? "cancelled" : workedOn(outcome) ? "finished" : "failed",
    transcript,
    said: fresh.filter(isOfUser).map(textOf),
    worked: own.some(({ parts }) => parts.some((part) => part.type === "tool_call" && !GOAL_TOOLS.has(part.toolName))),
    at,
  }
}

/** All messages of the thread. The last turn begins with the messages of the user, or of the goal, right before its own. */
export function transcriptOf({ threadId, history, turn }: Pick<TurnFacts, "threadId" | "history" | "turn">): EvidenceTranscript {
  const messages = history.flatMap((record) => (record.type === "conversation" ? [record.message] : []))
  const [first] = turn.messages
  let begin = first === undefined ? messages.length : messages.findLastIndex(({ id }) => id === first.id)
  if (begin < 0) begin = Math.max(0, messages.length - turn.messages.length)
  while (begin > 0 && isInput(messages[begin - 1])) begin -= 1
  return { id: threadId, messages, lastTurn: begin + 1 }
}

const GOAL_TOOLS: ReadonlySet<string> = new Set(["create_goal", "update_goal", "get_goal"])

function isInput(message: Message | undefined): boolean {
  return message?.role === "user" && !message.parts.some(({ type }) => type === "tool_result")
}

/** A message of the user's own: one with an origin comes from the goal or another part of the host. */
function isOfUser(message: Message): boolean {
  return isInput(message) && message.origin === undefined && textOf(message) !== ""
}

function textOf({ parts }: Message): string {
  return parts.flatMap((part) => (part.type === "text" ? [part.text] : [])).join("\n")
}

/** Whether a stopped turn did work: one that came to a limit did. */
function workedOn(outcome: Outcome): boolean {
  return outcome.type === "stopped" && ["max_iterations", "max_tokens", "deadline", "incomplete"].includes(outcome.stop.type)
}

/** The final text or value of the turn; of a stopped one, the agent's last text. */
function responseOf(outcome: Outcome, messages: EndedThreadTurn["messages"]): string {
  if (outcome.type === "finished") return outcome.finish.type === "assistant_message" ? outcome.finish.text : JSON.stringify(outcome.finish.value)
  return lastAnswer(messages)
}

/** The text of the agent's last message. */
export function lastAnswer(messages: readonly Message[]): string {
  const last = messages.findLast(({ role }) => role === "assistant")
  return last === undefined ? "" : textOf(last)
}

/** A contract as text for the judge; "" without one. */
export function contractText(contract: GoalContract | undefined): string {
  if (contract === undefined) return ""
  const { outcome, verification, constraints, boundaries, stopWhen } = contract
  const lines = { Outcome: outcome, Verification: verification, Constraints: constraints, Boundaries: boundaries, "Stop when": stopWhen }
  return Object.entries(lines)
    .flatMap(([name, text]) => (text === undefined ? [] : [`${name}: ${text}`]))
    .join("\n")
}
