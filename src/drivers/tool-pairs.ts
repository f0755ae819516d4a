import type { Transcript } from "../projectors/projector.ts"
import type { Block, LlmMessage, LlmRequest } from "../wire/llm.ts"
import type { Message } from "../wire/message.ts"

type CallBlock = Extract<Block, { type: "tool_call" }>
type ResultBlock = Extract<Block, { type: "tool_result" }>

const NO_RESULT = "[No result: the call was interrupted before it ended.]"

/**
 * Repairs a request so that every tool call is followed by exactly one result, because providers refuse anything else. A
 * transcript can break this rule if a turn stopped between call and result, or through delivered messages. Results move right
 * after their calls, a missing result becomes a note, and a result without a call becomes a text.
 */
export function pairToolCalls(request: LlmRequest, transcript: Transcript<Message>): LlmRequest {
  if (isPaired(transcript)) return request
  return { ...request, messages: repair(request.messages) }
}

/** How much of a transcript was checked, and the first position where calls and results do not match. */
interface Pairing {
  seen: number
  /** Ids of unanswered calls of the previous message. */
  readonly open: string[]
  /** The transcript length from which on calls and results no longer match. */
  brokenAt: number
}

const pairings = new WeakMap<readonly Message[], Pairing>()

function isPaired(transcript: Transcript<Message>): boolean {
  let pairing = pairings.get(transcript.storage)
  if (pairing === undefined || pairing.seen > transcript.length) {
    pairing = { seen: 0, open: [], brokenAt: Number.POSITIVE_INFINITY }
    pairings.set(transcript.storage, pairing)
  }
  for (; pairing.seen < transcript.length; pairing.seen += 1) {
    if (pairing.brokenAt === Number.POSITIVE_INFINITY && !keepsPairs(pairing.open, transcript.at(pairing.seen) as Message))
      pairing.brokenAt = pairing.seen
  }
  return pairing.brokenAt === Number.POSITIVE_INFINITY && pairing.open.length === 0
}

/** Whether a message keeps calls and results paired, given the open calls before it. Updates `open`. */
function keepsPairs(open: string[], message: Message): boolean {
  const waiting = open.length > 0
  let answered = false
  for (const part of message.parts) {
    if (part.type === "tool_call") {
      if (message.role !== "assistant" || waiting) return false
      open.push(part.callId)
    } else if (part.type === "tool_result") {
      const index = message.role === "user" ? open.indexOf(part.callId) : -1
      if (index < 0) return false
      open.splice(index, 1)
      answered = true
    }
  }
  return !waiting || (answered && open.length === 0)
}

/** A call of the request with the result found for it. */
interface MadeCall {
  readonly block: CallBlock
  result: ResultBlock | undefined
}

function repair(messages: readonly LlmMessage[]): readonly LlmMessage[] {
  const open = new Map<string, MadeCall[]>()
  const orphans = new Set<ResultBlock>()
  const made = messages.map((message): readonly MadeCall[] => {
    for (const block of message.blocks) {
      if (block.type !== "tool_result") continue
      const call = open.get(block.callId)?.pop()
      if (call === undefined) orphans.add(block)
      else call.result = block
    }
    const calls = message.role === "assistant" ? message.blocks.filter((block) => block.type === "tool_call") : []
    const waiting = calls.map((block): MadeCall => ({ block, result: undefined }))
    // Some models reuse call ids across answers. So a result belongs to the latest message with a call of its id, and within that
    // message to the first such call. Pushing in reverse makes pop() return it.
    for (let index = waiting.length - 1; index >= 0; index -= 1) {
      const call = waiting[index] as MadeCall
      const others = open.get(call.block.callId)
      if (others === undefined) open.set(call.block.callId, [call])
      else others.push(call)
    }
    return waiting
  })

  return messages.flatMap((message, position) => {
    const blocks = message.blocks.flatMap((block): readonly Block[] => {
      if (block.type === "tool_call") return message.role === "assistant" ? [block] : []
      if (block.type !== "tool_result") return [block]
      return orphans.has(block) ? [{ type: "text", text: `[Result of an earlier tool call]\n${block.text}` }] : []
    })
    const results = (made[position] ?? []).map(({ block: { callId, toolName }, result }): ResultBlock => {
      return result ?? { type: "tool_result", callId, toolName, text: NO_RESULT }
    })
    const repaired: LlmMessage[] = blocks.length > 0 ? [{ ...message, blocks }] : []
    return results.length > 0 ? [...repaired, { role: "user", blocks: results }] : repaired
  })
}
