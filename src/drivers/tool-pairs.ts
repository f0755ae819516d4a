import { Joined, messagesListing, type Segment, withOtherMessages } from "../lazy.ts"
import { NO_RESULT, strayResultText } from "../text.ts"
import type { Block, LlmMessage, LlmRequest } from "../wire/llm.ts"

type CallBlock = Extract<Block, { type: "tool_call" }>
type ResultBlock = Extract<Block, { type: "tool_result" }>

/**
 * Repairs a request so that every tool call is followed by exactly one result, because providers refuse anything else. A
 * transcript can break this rule if a turn stopped between call and result, or through delivered messages.
 *
 * A call is answered by results that come before the next assistant message. They move right after their calls, over messages
 * that were delivered while the tools ran. A call without a result gets a note in its place, and a result without a call becomes a text.
 * What precedes the last assistant message is final: later messages do not change how it is shown. It is paired once for all
 * requests of a transcript.
 */
export function pairToolCalls(request: LlmRequest): LlmRequest {
  const segments = messagesListing<LlmMessage>(request)?.segments?.()
  if (segments === undefined) {
    const { messages } = request
    if (isPaired(messages)) return request
    return { ...request, messages: new Joined(pairSegment({ storage: messages, length: messages.length })).toArray() }
  }
  const isSame = segments.every((segment) => isUnchanged(segment))
  return isSame ? request : withOtherMessages(request, new Joined(segments.flatMap(pairSegment)))
}

/** The paired messages of a list that grows. */
interface Pairing {
  /** All exchanges that no later message changes. An exchange is an assistant message with calls, up to its last result or the next assistant message. */
  readonly closed: LlmMessage[]
  /** How many of `closed` the first n messages of the list give. */
  readonly ends: number[]
  /** Where the open exchange of the first n messages begins; n, if there is none. */
  readonly opens: number[]
  /** How often the open exchange calls with each id and has no result yet. `undefined`: it is only its first message. */
  unanswered: Map<string, number> | undefined
  /** The least number of messages that are not shown as they are. */
  changedFrom: number
}

const pairings = new WeakMap<readonly LlmMessage[], Pairing>()

/** Whether pairing the first messages of a list leaves them as they are. */
function isUnchanged({ storage, length }: Segment<LlmMessage>): boolean {
  const { opens, changedFrom } = readUpTo(storage, length)
  return opens[length] === length && length < changedFrom
}

/** Pairs the first messages of a list. Returns the segment itself if nothing changes. */
function pairSegment(segment: Segment<LlmMessage>): readonly Segment<LlmMessage>[] {
  if (isUnchanged(segment)) return [segment]
  const { storage, length } = segment
  const { closed, ends, opens } = readUpTo(storage, length)
  const open = opens[length] as number
  const final: Segment<LlmMessage> = { storage: closed, length: ends[length] as number }
  if (open === length) return [final]
  const last = pairExchange(storage.slice(open, length))
  return [final, { storage: last, length: last.length }]
}

/** Pairs the messages of a list that are new since the last time. */
function readUpTo(storage: readonly LlmMessage[], length: number): Pairing {
  let pairing = pairings.get(storage)
  if (pairing === undefined) {
    pairing = { closed: [], ends: [0], opens: [0], unanswered: undefined, changedFrom: Number.POSITIVE_INFINITY }
    pairings.set(storage, pairing)
  }
  for (let index = pairing.ends.length - 1; index < length; index += 1) {
    pairing.opens.push(read(pairing, storage, index))
    pairing.ends.push(pairing.closed.length)
  }
  return pairing
}

/** Reads one message. Returns where the open exchange begins after it, or the next index if there is none. */
function read(pairing: Pairing, storage: readonly LlmMessage[], index: number): number {
  const message = storage[index] as LlmMessage
  const open = pairing.opens[index] as number
  if (open < index) {
    const head = storage[open] as LlmMessage
    // The usual case: the message right after the calls has all results.
    if (open === index - 1 && !has(head, "tool_result") && answersAll(message, head)) {
      pairing.closed.push(head, message)
      return index + 1
    }
    if (message.role !== "assistant") {
      pairing.unanswered ??= callsOf(head)
      for (const block of message.blocks) if (block.type === "tool_result") answer(pairing.unanswered, block.callId)
      if (pairing.unanswered.size > 0) return open
      close(pairing, storage.slice(open, index + 1), index)
      return index + 1
    }
    close(pairing, storage.slice(open, index), index)
  }
  if (message.role === "assistant" && has(message, "tool_call")) return index
  const shown = withoutStrays(message)
  if (shown !== message) pairing.changedFrom = Math.min(pairing.changedFrom, index + 1)
  if (shown !== undefined) pairing.closed.push(shown)
  return index + 1
}

/** Adds an exchange that is shown in another way, and that no later message changes. `index`: the message that ends it. */
function close(pairing: Pairing, exchange: readonly LlmMessage[], index: number): void {
  pairing.changedFrom = Math.min(pairing.changedFrom, index + 1)
  for (const shown of pairExchange(exchange)) pairing.closed.push(shown)
  pairing.unanswered = undefined
}

function callsOf({ blocks }: LlmMessage): Map<string, number> {
  const calls = new Map<string, number>()
  for (const block of blocks) if (block.type === "tool_call") calls.set(block.callId, (calls.get(block.callId) ?? 0) + 1)
  return calls
}

function answer(unanswered: Map<string, number>, callId: string): void {
  const calls = unanswered.get(callId)
  if (calls === undefined) return
  if (calls === 1) unanswered.delete(callId)
  else unanswered.set(callId, calls - 1)
}

/** Whether a list needs no repair. Faster than to repair it, for lists that are new in every request. */
function isPaired(messages: readonly LlmMessage[]): boolean {
  for (let index = 0; index < messages.length; index += 1) {
    const message = messages[index] as LlmMessage
    if (hasStrays(message)) return false
    if (!has(message, "tool_call")) continue
    index += 1
    if (!answersAll(messages[index], message)) return false
  }
  return true
}

/** Pairs an assistant message with calls and the messages that may hold results of them. */
function pairExchange(exchange: readonly LlmMessage[]): readonly LlmMessage[] {
  const head = exchange[0] as LlmMessage
  const shownHead = withoutStrays(head)
  const rest = exchange.slice(1)
  if (answersAll(rest[0], head)) return [...listOf(shownHead), ...rest]

  const calls = head.blocks.filter((block) => block.type === "tool_call")
  const results: (ResultBlock | undefined)[] = calls.map(() => undefined)
  // Calls with the same id are answered in their order.
  const waiting = new Map<string, number[]>()
  for (let index = calls.length - 1; index >= 0; index -= 1) {
    const { callId } = calls[index] as CallBlock
    const places = waiting.get(callId)
    if (places === undefined) waiting.set(callId, [index])
    else places.push(index)
  }
  const others = rest.flatMap((message) => {
    const shown = withoutStrays(message, (result) => {
      const place = waiting.get(result.callId)?.pop()
      if (place !== undefined) results[place] = result
      return place !== undefined
    })
    return listOf(shown)
  })
  const blocks = results.map((result, index): ResultBlock => {
    const { callId, toolName } = calls[index] as CallBlock
    return result ?? { type: "tool_result", callId, toolName, text: NO_RESULT }
  })
  return [...listOf(shownHead), { role: "user", blocks }, ...others]
}

/** Whether a message of the user answers each call of the one before it, and no other call. It then stays as it is. */
function answersAll(message: LlmMessage | undefined, asked: LlmMessage): boolean {
  if (message?.role !== "user" || has(message, "tool_call")) return false
  const calls = callIds(asked, "tool_call")
  const results = callIds(message, "tool_result")
  return isSame(calls, results) || isSame(calls.sort(), results.sort())
}

function callIds({ blocks }: LlmMessage, type: "tool_call" | "tool_result"): string[] {
  const ids: string[] = []
  for (const block of blocks) if (block.type === type) ids.push(block.callId)
  return ids
}

function isSame(left: readonly string[], right: readonly string[]): boolean {
  return left.length === right.length && left.every((item, index) => item === right[index])
}

/**
 * A message without calls that the model did not make, and with its results as texts, except those that `isMoved` accepts, which
 * are left out. The message itself if nothing changes; `undefined` if nothing remains.
 */
function withoutStrays(message: LlmMessage, isMoved: (result: ResultBlock) => boolean = () => false): LlmMessage | undefined {
  if (!hasStrays(message)) return message
  const blocks = message.blocks.flatMap((block): readonly Block[] => {
    if (block.type === "tool_call") return message.role === "assistant" ? [block] : []
    if (block.type !== "tool_result") return [block]
    if (isMoved(block)) return []
    return [{ type: "text", text: strayResultText(block.text) }]
  })
  return blocks.length > 0 ? { ...message, blocks } : undefined
}

function hasStrays(message: LlmMessage): boolean {
  return has(message, "tool_result") || (message.role !== "assistant" && has(message, "tool_call"))
}

function has({ blocks }: LlmMessage, type: Block["type"]): boolean {
  for (const block of blocks) if (block.type === type) return true
  return false
}

function listOf(message: LlmMessage | undefined): readonly LlmMessage[] {
  return message === undefined ? [] : [message]
}
