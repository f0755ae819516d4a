import { History } from "../../machine/history.ts"
import { viewOf } from "../../projectors/view.ts"
import type { CompactionDelivered } from "../../wire/compaction.ts"
import type { TurnStart } from "../../wire/config.ts"
import type { TokenUsage } from "../../wire/llm.ts"
import type { HistoryRecord, Message } from "../../wire/message.ts"
import { checkOptions, invalidOption } from "../options.ts"
import { isSafePlace, tailStartOf } from "./cut.ts"
import { summaryPrompt } from "./prompt.ts"

/** A turn whose transcript is summarized elsewhere: a `TurnMachine` while it works, or what is stored of a thread. */
export interface SummarizedTurn {
  readonly messages: readonly Message[]
  readonly history: readonly HistoryRecord[]
}

/** Options of {@link summarizeThrough}. */
export interface SummarizeOptions {
  /** The id of the last message to summarize. Default: as far as `keepTailTokens` leaves. */
  readonly through?: string
  /** The newest messages that stay as they are, in tokens. Default 4,000. */
  readonly keepTailTokens?: number
  /** What the model reads after our instruction for the summary. Default: nothing. */
  readonly instructions?: string
  /** The length that the model is asked for, in tokens. Default 2,000. */
  readonly maxSummaryTokens?: number
}

/** A summary to be made outside of a turn. */
export interface OutsideSummary {
  /** The start of a turn of one model call, whose answer is the summary. Run it with `chatDriver`, `viewProjector` and no tools. */
  readonly start: TurnStart
  /** The id of the last message that the summary replaces. */
  readonly through: string
  /** Returns the event that delivers the summary at a checkpoint of the summarized turn. `usage`: what it cost, for the record. */
  delivery(summary: string, usage?: TokenUsage): CompactionDelivered
}

const KNOWN = ["through", "keepTailTokens", "instructions", "maxSummaryTokens"] as const

/**
 * Prepares a summary of a transcript for a model call outside of its turn, such as with a cheaper model while the turn works. Deliver the
 * result at a checkpoint: `{ events: [summary.delivery(text, usage)] }`. `undefined`: nothing can be summarized, or `through` is not a message
 * after which the transcript can be cut.
 * @throws {SchemaError} `invalid_config`: an unknown or invalid option
 */
export function summarizeThrough({ messages, history }: SummarizedTurn, options: SummarizeOptions = {}): OutsideSummary | undefined {
  checkOptions("summarizeThrough", options, KNOWN)
  const { through, keepTailTokens = 4_000, instructions, maxSummaryTokens = 2_000 } = options
  for (const [option, tokens] of Object.entries({ keepTailTokens, maxSummaryTokens }))
    if (!(Number.isSafeInteger(tokens) && tokens >= 0))
      throw invalidOption("summarizeThrough", option, "it must be a whole number of tokens, 0 or more")
  const [transcript, events] = [History.of(messages), History.of(history)]
  const from = viewOf(transcript, events)?.tailStart ?? 0
  const tailStart =
    (through === undefined ? tailStartOf(transcript, from, keepTailTokens) : messages.map(({ id }) => id).lastIndexOf(through) + 1) ?? 0
  if (tailStart <= from || !isSafePlace(transcript, from, tailStart)) return undefined
  const [last, cut] = [messages.at(-1), messages[tailStart - 1]] as [Message, Message]
  const base = { messageId: last.id, count: messages.length }
  const id = `${cut.id}_summary`
  const asked: Message = { id, role: "user", parts: [{ id: `${id}.p0`, type: "text", text: summaryPrompt(maxSummaryTokens, instructions) }] }
  return {
    start: { messages: [...messages.slice(0, tailStart), asked], events: history },
    through: cut.id,
    delivery: (summary, usage) => ({
      type: "compaction_delivered",
      base,
      through: cut.id,
      summary,
      ...(usage !== undefined && { usage }),
    }),
  }
}
