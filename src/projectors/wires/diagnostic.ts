import type { TerminalReason } from "../../wire/llm.ts"

/** Describes why an answer ended early, for people. `undefined`: it did not, or the provider gave no reason. */
export function diagnosticOf(reason: TerminalReason, finishReason: string | undefined): string | undefined {
  switch (reason) {
    case "output_limit":
      return "The answer was cut off at the limit of output tokens."
    case "context_overflow":
      return "The answer was cut off because the context window is full."
    case "content_filter":
      return "The provider's content filter cut the answer off."
    case "refusal":
      return "The model refused to answer."
    case "unknown":
      return finishReason === undefined ? undefined : `The provider ended the answer with the finish reason "${finishReason.slice(0, 100)}".`
    default:
      return undefined
  }
}
