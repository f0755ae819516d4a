import type { AnthropicBlock, AnthropicBody, AnthropicCacheControl, AnthropicMessage, AnthropicText, AnthropicTool } from "./body.ts"
import { isReasoning } from "./conversation.ts"
import { NAMED } from "./raw-block.ts"

/** The provider accepts so many marks in a request. */
const MAX_MARKS = 4

/** What of a body may be cached. */
type Cached = Pick<AnthropicBody, "system" | "tools" | "messages">

/**
 * Marks what the provider should cache: up to the end of the tools, of the system prompt and of the last message, up to the last of the
 * blocks in `asked`, and up to the end of the request before, as far as the provider accepts more marks. From a mark, the provider looks back
 * for what it has cached over 20 blocks only; an answer with many calls and their results has more.
 * @see https://platform.claude.com/docs/en/build-with-claude/prompt-caching (2026-11)
 */
export function marked({ messages, system, tools }: Cached, asked: ReadonlySet<AnthropicBlock>, mark: AnthropicCacheControl): Cached {
  const marks = new Set<AnthropicBlock | AnthropicTool>()
  const add = (block: AnthropicBlock | AnthropicTool | undefined): void => {
    if (block !== undefined && marks.size < MAX_MARKS) marks.add(block)
  }
  add(tools?.at(-1))
  add(system?.at(-1))
  add(messages.at(-1)?.content.filter(isCacheable).at(-1))
  for (const block of [...(system ?? []), ...messages.flatMap(({ content }) => content)].reverse()) if (asked.has(block)) add(block)
  add(endBeforeLastAnswer(messages)?.content.filter(isCacheable).at(-1))
  const withMark = <Block extends AnthropicBlock | AnthropicTool>(block: Block): Block =>
    marks.has(block) ? { ...block, cache_control: mark } : block
  return {
    ...(system !== undefined && { system: system.map((block): AnthropicText => withMark(block)) }),
    messages: messages.map(
      (message): AnthropicMessage =>
        message.content.some((block) => marks.has(block)) ? { ...message, content: message.content.map(withMark) } : message,
    ),
    ...(tools !== undefined && { tools: tools.map(withMark) }),
  }
}

/** The last message of the request before, which asked for the last answer. */
function endBeforeLastAnswer(messages: readonly AnthropicMessage[]): AnthropicMessage | undefined {
  const answer = messages.map(({ role }) => role).lastIndexOf("assistant")
  return messages[answer - 1]
}

/** Reasoning cannot be marked. Blocks of the provider's own go back as they came. */
function isCacheable(block: AnthropicBlock): boolean {
  return !isReasoning(block) && NAMED.has(block.type)
}
