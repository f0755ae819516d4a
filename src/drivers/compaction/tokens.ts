import { estimateTokens } from "../../machine/usage-estimate.ts"
import type { Transcript } from "../../projectors/projector.ts"
import type { Block, LlmMessage, LlmRequest } from "../../wire/llm.ts"
import type { AttachmentRef, Message, Part } from "../../wire/message.ts"
import type { ToolSpec } from "../../wire/tool.ts"

const measured = new WeakMap<Message, number>()

/** Estimates the tokens that a message of the transcript takes in a request. */
export function messageTokens(message: Message): number {
  let tokens = measured.get(message)
  if (tokens === undefined) {
    const attachments: AttachmentRef[] = []
    for (const part of message.parts) if ("attachment" in part && part.attachment !== undefined) attachments.push(part.attachment)
    tokens = estimateTokens({ ...NOTHING, messages: [{ role: "user", blocks: message.parts.flatMap(blocksOf) }], attachments })
    measured.set(message, tokens)
  }
  return tokens
}

const NOTHING: LlmRequest = { model: "", messages: [], attachments: [], tools: [], toolChoice: "none", generation: {} }

function blocksOf(part: Part): readonly Block[] {
  switch (part.type) {
    case "image":
      return part.text === undefined ? [] : [{ type: "text", text: part.text }]
    case "code":
    case "output":
    case "error":
      return [{ type: "text", text: part.text }]
    case "file":
    case "interrupted":
      return []
    default:
      return [part]
  }
}

const sums = new WeakMap<readonly Message[], number[]>()

/** Estimates the tokens of a transcript. Measures only messages that are new since the last time. */
export function transcriptTokens({ storage, length }: Transcript<Message>): number {
  let ends = sums.get(storage)
  if (ends === undefined) {
    ends = [0]
    sums.set(storage, ends)
  }
  for (let index = ends.length - 1; index < length; index += 1) ends.push((ends[index] as number) + messageTokens(storage[index] as Message))
  return ends[length] as number
}

/** Estimates the tokens of what precedes the messages of a request. */
export function surfaceTokens(systemPrompt: string, tools: readonly ToolSpec[]): number {
  const messages: readonly LlmMessage[] = systemPrompt === "" ? [] : [{ role: "system", blocks: [{ type: "text", text: systemPrompt }] }]
  return estimateTokens({ ...NOTHING, messages, tools })
}
