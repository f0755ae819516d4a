import type { LlmResponse, OutputPart, TerminalReason, TokenUsage } from "../../wire/llm.ts"
import type { Producer } from "../../wire/message.ts"
import { jsonOf } from "./values.ts"

/** What is known of an answer besides its parts. */
interface AnswerFacts {
  readonly terminalReason: TerminalReason
  readonly usage: TokenUsage
  /** The usage as the provider reported it. What is not JSON is left out. */
  readonly providerUsage: unknown
  readonly producer: Producer | undefined
  /** The provider's id of the answer, without secrets. "": it gave none. */
  readonly responseId: string
  /** The provider's name of the model that answered, without secrets. "": it gave none. */
  readonly responseModel: string
}

/** Returns an answer, whose text is that of its parts. */
export function responseOf(parts: readonly OutputPart[], { producer, terminalReason, usage, ...facts }: AnswerFacts): LlmResponse {
  const providerUsage = jsonOf(facts.providerUsage)
  let text = ""
  for (const part of parts) if (part.type === "text") text += part.text
  return {
    text,
    parts,
    usage,
    ...(producer !== undefined && { producer: withResponse(producer, facts) }),
    terminalReason,
    ...(providerUsage !== undefined && providerUsage !== null && { providerUsage }),
  }
}

function withResponse(producer: Producer, { responseId, responseModel }: Pick<AnswerFacts, "responseId" | "responseModel">): Producer {
  const isOther = responseModel !== "" && responseModel !== producer.model
  return { ...producer, ...(responseId !== "" && { responseId }), ...(isOther && { responseModel }) }
}
