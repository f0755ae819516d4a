import { withChanges } from "../../lazy.ts"
import { estimateTokens } from "../../machine/usage-estimate.ts"
import { cutMiddle } from "../../text.ts"
import type { Block, LlmMessage, LlmRequest } from "../../wire/llm.ts"

/**
 * Returns the request of a compaction: the request that was about to be made, with the instruction as its last message, so that a
 * provider's cache of it holds. If it is longer than `limitTokens`, its oldest tool results are cut, then its oldest texts.
 */
export function compactionRequest(request: LlmRequest, instruction: string, limitTokens: number): LlmRequest {
  const asked: LlmMessage = { role: "user", blocks: [{ type: "text", text: instruction }] }
  const whole = withChanges(request, { messages: [...request.messages, asked] })
  if (estimateTokens(whole) <= limitTokens) return whole
  const messages = [...cutToFit(request, limitTokens - estimateTokens({ ...request, messages: [asked], attachments: [] })), asked]
  return withChanges(request, { messages, attachments: [] })
}

/** How long a text may stay, in characters, one step after the other. */
const STEPS: readonly { readonly only: "results" | "all"; readonly characters: number }[] = [
  { only: "results", characters: 1_000 },
  { only: "results", characters: 200 },
  { only: "all", characters: 1_000 },
  { only: "all", characters: 200 },
]

/** The messages of a request, cut from the oldest on until they take at most `limitTokens`. System messages at the beginning stay whole. */
function cutToFit(request: LlmRequest, limitTokens: number): readonly LlmMessage[] {
  // The tools are counted with the instruction.
  const tokensOf = (messages: readonly LlmMessage[]): number => estimateTokens({ ...request, messages, tools: [], attachments: [] })
  const messages = request.messages.map(withoutBound)
  let tokens = tokensOf(messages)
  const first = messages.findIndex(({ role }) => role !== "system")
  for (const { only, characters } of STEPS) {
    for (let index = Math.max(0, first); index < messages.length && tokens > limitTokens; index += 1) {
      const message = messages[index] as LlmMessage
      const cut: LlmMessage = { ...message, blocks: message.blocks.map((block) => cutBlock(block, only === "all", characters)) }
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

function cutBlock(block: Block, all: boolean, characters: number): Block {
  if (block.type === "tool_result") return { ...block, text: cutMiddle(block.text, characters) }
  if (!all) return block
  if (block.type === "text") return { ...block, text: cutMiddle(block.text, characters) }
  if (block.type === "tool_call" && block.inputJson.length > characters)
    return { ...block, inputJson: JSON.stringify({ shortened: cutMiddle(block.inputJson, characters) }) }
  if (block.type === "opaque") return { type: "text", text: cutMiddle(block.text ?? `[The ${block.kind} is left out here.]`, characters) }
  return block
}
