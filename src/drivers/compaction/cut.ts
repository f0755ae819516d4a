import type { Transcript } from "../../projectors/projector.ts"
import type { TranscriptView } from "../../projectors/view.ts"
import type { Message } from "../../wire/message.ts"
import { isInput } from "./state.ts"
import { messageTokens } from "./tokens.ts"

/**
 * Returns where the tail of a compacted transcript begins: the messages from there to the last input take at most `tailTokens`. No call is
 * separated from its result, and input that no answer follows is always part of the tail. `undefined`: nothing after `from` can be
 * summarized.
 */
export function tailStartOf(messages: Transcript<Message>, from: number, tailTokens: number): number | undefined {
  const safe = safePlaces(messages, from)
  let end = messages.length
  while (end > from && isUnanswered(messages.at(end - 1) as Message)) end -= 1
  while (end > from && !safe.has(end)) end -= 1
  if (end <= from) return undefined
  let start = end
  let tokens = 0
  for (let place = end - 1; place > from; place -= 1) {
    tokens += messageTokens(messages.at(place) as Message)
    if (tokens > tailTokens) break
    if (safe.has(place)) start = place
  }
  return start
}

/** The places from `from` up to `end` before which a cut separates no call from its result, and an answer of the model comes; latest first. */
export function olderTailStarts(messages: Transcript<Message>, from: number, end: number): readonly number[] {
  const safe = safePlaces(messages, from)
  const starts: number[] = []
  for (let place = end - 1; place > from; place -= 1) if (messages.at(place)?.role === "assistant" && safe.has(place)) starts.push(place)
  return starts
}

/** Whether a cut before the message at `place` separates no call from its result. */
export function isSafePlace(messages: Transcript<Message>, from: number, place: number): boolean {
  return safePlaces(messages, from).has(place)
}

/** Input that the model has not answered, a note of the machine or an event. */
function isUnanswered(message: Message): boolean {
  return isInput(message) || ((message.role === "system" || message.role === "event") && !message.parts.some(({ type }) => type === "output"))
}

/**
 * The places from `from` to the end before which a cut separates no call from its result. A result without a call counts as none, and a call
 * that a later message repeats has none: providers may count their ids anew in each answer.
 */
function safePlaces(messages: Transcript<Message>, from: number): ReadonlySet<number> {
  const open = new Map<string, number[]>()
  // The last message with a result of a message's calls.
  const lastResults = new Map<number, number>()
  for (let index = from; index < messages.length; index += 1) {
    for (const part of (messages.at(index) as Message).parts) {
      if (part.type === "tool_call") open.set(part.callId, [...(open.get(part.callId) ?? []).filter((place) => place === index), index])
      if (part.type !== "tool_result") continue
      const call = open.get(part.callId)?.shift()
      if (call !== undefined) lastResults.set(call, index)
    }
  }
  const safe = new Set<number>()
  let until = -1
  for (let place = from; place <= messages.length; place += 1) {
    until = Math.max(until, lastResults.get(place - 1) ?? -1)
    if (until < place) safe.add(place)
  }
  return safe
}

/**
 * The user's own messages before the tail that fit into `keepTokens`, newest first; in the order of the transcript. Only those that the view
 * still shows: one that an earlier compaction left out stays in its summary, and the whole transcript need not be read.
 */
export function keptUserMessages(
  messages: Transcript<Message>,
  view: Pick<TranscriptView, "kept" | "tailStart"> | undefined,
  tailStart: number,
  keepTokens: number,
): readonly Message[] {
  const shown = [...(view?.kept ?? []), ...messages.slice(view?.tailStart ?? 0, tailStart)]
  const kept: Message[] = []
  let left = keepTokens
  for (let index = shown.length - 1; index >= 0 && left > 0; index -= 1) {
    const message = shown[index] as Message
    if (!isInput(message) || message.origin !== undefined) continue
    const tokens = messageTokens(message)
    // A message that is too long is in the summary only.
    if (tokens > left) continue
    left -= tokens
    kept.push(message)
  }
  return kept.reverse()
}
