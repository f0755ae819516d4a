import { withChanges } from "../../lazy.ts"
import { estimateTokens } from "../../machine/usage-estimate.ts"
import { cutMiddle } from "../../text.ts"
import type { Block, LlmMessage, LlmRequest } from "../../wire/llm.ts"
import type { Message } from "../../wire/message.ts"

/**
 * Returns the request of a compaction: the request that was about to be made, with the instruction as its last message, so that a
 * provider's cache of it holds. It may be answered with text, whatever the request demanded. `tail`: the messages at its end that the
 * summary is not about. `undefined`: they are not found in it.
 */
export function compactionRequest(request: LlmRequest, instruction: string, tail: readonly Message[] = []): LlmRequest | undefined {
  const end = endBefore(request.messages, tail)
  return end === undefined
    ? undefined
    : withChanges(answerableWithText(request), { messages: [...request.messages.slice(0, end), asking(instruction)] })
}

/** A summary is text, not a tool call or JSON. A tool choice that allows text stays: providers bind their cache to it. */
function answerableWithText(request: LlmRequest): LlmRequest {
  const { outputSpec: _outputSpec, ...rest } = request
  const { toolChoice } = request
  return toolChoice === "auto" || toolChoice === "none" ? rest : { ...rest, toolChoice: "auto" }
}

/** {@link compactionRequest}, with its oldest calls and results, and then its oldest texts, cut until it has at most `limitTokens`. */
export function shortenedRequest(request: LlmRequest, instruction: string, limitTokens: number): LlmRequest {
  const asked = asking(instruction)
  const messages = [...cutToFit(request, limitTokens - estimateTokens({ ...request, messages: [asked], attachments: [] })), asked]
  return withChanges(answerableWithText(request), { messages, attachments: [] })
}

function asking(instruction: string): LlmMessage {
  return { role: "user", blocks: [{ type: "text", text: instruction }] }
}

/**
 * The place in a request before which the messages of a tail begin. A projector shows each answer of the model as one message, but may add
 * messages around it, so answers are counted from the end.
 */
function endBefore(messages: readonly LlmMessage[], tail: readonly Message[]): number | undefined {
  let left = 0
  for (const { role, parts } of tail) {
    if (role !== "assistant") continue
    // What of reasoning is shown depends on the projector.
    if (!parts.some(({ type }) => type === "text" || type === "code" || type === "tool_call")) return undefined
    left += 1
  }
  let end = messages.length
  while (left > 0 && end > 0) {
    end -= 1
    if (messages[end]?.role === "assistant") left -= 1
  }
  return left === 0 ? end : undefined
}

/**
 * How long a text may stay, in characters, one step after the other. What the model wrote into calls, such as the content of a file, is in
 * its place; results are found again; words of the user and earlier summaries are nowhere else.
 */
const STEPS: readonly { readonly kinds: ReadonlySet<Block["type"]>; readonly characters: number }[] = [
  { kinds: new Set(["tool_call"]), characters: 1_000 },
  { kinds: new Set(["tool_result"]), characters: 1_000 },
  { kinds: new Set(["tool_call", "tool_result"]), characters: 200 },
  { kinds: new Set(["tool_call", "tool_result", "text", "opaque"]), characters: 1_000 },
  { kinds: new Set(["tool_call", "tool_result", "text", "opaque"]), characters: 200 },
]

/** The messages of a request, cut from the oldest on until they take at most `limitTokens`. System messages at the beginning stay whole. */
function cutToFit(request: LlmRequest, limitTokens: number): readonly LlmMessage[] {
  // The tools are counted with the instruction.
  const tokensOf = (messages: readonly LlmMessage[]): number => estimateTokens({ ...request, messages, tools: [], attachments: [] })
  const messages = request.messages.map(withoutBound)
  let tokens = tokensOf(messages)
  let first = 0
  while (messages[first]?.role === "system") first += 1
  for (const { kinds, characters } of STEPS) {
    for (let index = first; index < messages.length && tokens > limitTokens; index += 1) {
      const message = messages[index] as LlmMessage
      const cut: LlmMessage = { ...message, blocks: message.blocks.map((block) => (kinds.has(block.type) ? cutBlock(block, characters) : block)) }
      tokens += tokensOf([cut]) - tokensOf([message])
      messages[index] = cut
    }
  }
  return messages
}

/** A message without what is bound to the exact messages before it (reasoning), and without attachments. */
function withoutBound(message: LlmMessage): LlmMessage {
  const blocks = message.blocks.flatMap((block): readonly Block[] => {
    switch (block.type) {
      case "reasoning":
        return []
      case "image":
      case "file":
        return [{ type: "text", text: `[The ${block.type} is left out here.]` }]
      case "tool_result": {
        const { content: _content, ...result } = block
        return [result]
      }
      default:
        return [block]
    }
  })
  return { ...message, blocks: blocks.length === 0 ? [{ type: "text", text: "[Reasoning is left out here.]" }] : blocks }
}

function cutBlock(block: Block, characters: number): Block {
  switch (block.type) {
    case "tool_result":
    case "text":
      return { ...block, text: cutMiddle(block.text, characters) }
    case "tool_call":
      return block.inputJson.length <= characters
        ? block
        : { ...block, inputJson: JSON.stringify({ shortened: cutMiddle(block.inputJson, characters) }) }
    case "opaque":
      return { type: "text", text: cutMiddle(block.text ?? `[The ${block.kind} is left out here.]`, characters) }
    default:
      return block
  }
}
