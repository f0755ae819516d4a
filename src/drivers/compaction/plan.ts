/** Whether and how a context is compacted. Pure: from the transcript, the history and the settings. */

import type { DriverContext } from "../../machine/driver.ts"
import type { Transcript } from "../../projectors/projector.ts"
import { headOf, shownInTail, type TranscriptView, viewOf } from "../../projectors/view.ts"
import type { CompactionFailed, CompactionReason, CompactionRecord } from "../../wire/compaction.ts"
import type { TokenUsage } from "../../wire/llm.ts"
import type { Message } from "../../wire/message.ts"
import { keptUserMessages, tailStartOf } from "./cut.ts"
import type { CompactionFacts, CompactionSettings } from "./settings.ts"
import { type Compactions, lastInput } from "./state.ts"
import { messageTokens, surfaceTokens, transcriptTokens } from "./tokens.ts"

/** The share of a window from which a context is compacted. */
const THRESHOLD = 0.8
/** The largest share of a window for each of: kept user messages, the tail, the summary. */
const SHARE = 1 / 8

/** The sizes of a context, in tokens. */
export interface ContextSize extends CompactionFacts {
  /** The model's window, by the config or by a request that did not fit. `undefined`: unknown. */
  readonly windowTokens: number | undefined
  /** The tokens of the system prompt and the tools. */
  readonly surfaceTokens: number
  readonly view: TranscriptView | undefined
}

/** Measures the context. Reads only messages that are new since the last time. */
export function sizeOf(context: DriverContext, { smallestOverflow }: Compactions): ContextSize {
  const { config, messages, events, tools } = context
  const view = viewOf(messages, events)
  const surface = surfaceTokens(config.systemPrompt, tools)
  const requestTokens = surface + transcriptTokens(view?.messages ?? messages)
  // A window of 0 is an unknown one.
  const known = config.maxContextTokens || undefined
  const windowTokens = known === undefined ? smallestOverflow : Math.min(known, smallestOverflow ?? known)
  return { requestTokens, thresholdTokens: thresholdOf(context, windowTokens), windowTokens, surfaceTokens: surface, view }
}

/** The size from which a context is compacted, for a window. */
export function thresholdOf({ config }: DriverContext, windowTokens: number | undefined): number | undefined {
  if (windowTokens === undefined) return undefined
  const { maxOutputTokens = 0 } = config.generation
  // A reserve of more than half would leave no room to work.
  return Math.floor(Math.min(windowTokens * THRESHOLD, windowTokens - Math.min(maxOutputTokens, windowTokens / 2)))
}

/** Limits a number of tokens to a share of the window. */
export function within(tokens: number, windowTokens: number | undefined): number {
  return windowTokens === undefined ? tokens : Math.min(tokens, Math.floor(windowTokens * SHARE))
}

/** Returns why the context is to be compacted before the next model call; `undefined` if it is not, or if a brake holds. */
export function dueReason(
  settings: CompactionSettings,
  context: DriverContext,
  state: Compactions,
  size: ContextSize,
): Exclude<CompactionReason, "delivered"> | undefined {
  const { need } = state
  if (need?.reason === "overflow" || need?.reason === "manual") return need.reason
  const { thresholdTokens, requestTokens } = size
  // What a provider reported counts for the window of now: a thread may continue with a model of a larger one.
  const largest = Math.max(requestTokens, need?.tokens ?? 0)
  const isReached = thresholdTokens !== undefined && largest >= thresholdTokens
  const reason = settings.due === undefined ? (isReached ? "threshold" : undefined) : settings.due(context, size)
  if (reason === undefined) return undefined
  const { length } = context.messages
  // Something must have been said since the last compaction, and since the last attempt.
  if (size.view !== undefined && length <= size.view.baseLength) return undefined
  if (state.failures.some(({ count }) => count >= length)) return undefined
  return failuresSinceInput(state, context.messages).length < settings.maxFailures ? reason : undefined
}

/** The failures since the last input. */
export function failuresSinceInput({ failures }: Compactions, messages: Transcript<Message>): readonly CompactionFailed[] {
  const input = lastInput(messages)
  return failures.filter(({ count }) => count > input)
}

/** Whether an overflow was recovered from, or tried to, since the last input. */
export function hasRecovered({ overflow }: Compactions, messages: Transcript<Message>): boolean {
  return overflow !== undefined && overflow.count > lastInput(messages)
}

/** What a compaction would leave. */
export interface CompactionPlan {
  readonly tailStart: number
  readonly kept: readonly Message[]
  readonly tokensBefore: number
  /** The size after, without the summary and what is restated. */
  readonly tokensLeft: number
}

/** Where the tail of a compaction begins, as the settings say. `undefined`: there is nothing to summarize. */
export function tailOf(settings: CompactionSettings, { messages }: DriverContext, size: ContextSize, reason: CompactionReason): number | undefined {
  const tailTokens = reason === "overflow" ? 0 : within(settings.keepTailTokens, size.windowTokens)
  return tailStartOf(messages, size.view?.tailStart ?? 0, tailTokens)
}

/** Plans a compaction whose tail begins at `tailStart`. */
export function planOf(settings: CompactionSettings, { messages }: DriverContext, size: ContextSize, tailStart: number): CompactionPlan {
  const kept = keptUserMessages(messages, size.view, tailStart, within(settings.keepUserTokens, size.windowTokens))
  let tokensLeft = size.surfaceTokens
  for (const message of kept) tokensLeft += messageTokens(message)
  for (const message of messages.slice(tailStart)) tokensLeft += messageTokens(shownInTail(message, true))
  return { tailStart, kept, tokensBefore: size.requestTokens, tokensLeft }
}

/** Whether a compaction that leaves `tokensAfter` is worth it. After an overflow any gain is. */
export function isGain({ minGain }: CompactionSettings, reason: CompactionReason, tokensBefore: number, tokensAfter: number): boolean {
  return reason === "overflow" ? tokensAfter < tokensBefore : tokensAfter <= tokensBefore * (1 - minGain)
}

/** The facts of a summary. */
export interface Summary {
  readonly id: string
  readonly reason: CompactionReason
  readonly summary: string
  readonly usage?: TokenUsage | undefined
}

/** The record of a compaction. */
export function recordOf(
  settings: CompactionSettings,
  { messages, events }: DriverContext,
  plan: CompactionPlan,
  { id, reason, summary, usage }: Summary,
): CompactionRecord {
  const { tailStart, kept, tokensBefore, tokensLeft } = plan
  const restated = settings.restate(events)
  const last = messages.at(messages.length - 1) as Message
  let tokensAfter = tokensLeft
  for (const message of headOf([], { id, summary, ...(restated !== undefined && { restated }) })) tokensAfter += messageTokens(message)
  return {
    type: "compaction",
    contextReset: true,
    id,
    reason,
    through: (messages.at(tailStart - 1) as Message).id,
    base: { messageId: last.id, count: messages.length },
    summary,
    ...(restated !== undefined && { restated }),
    keptUserMessages: kept.map((message) => message.id),
    tokensBefore,
    tokensAfter,
    ...(usage !== undefined && { usage }),
  }
}
