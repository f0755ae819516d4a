import type { DriverContext } from "../../machine/driver.ts"
import type { CompactionReason } from "../../wire/compaction.ts"
import type { HistoryRecord } from "../../wire/message.ts"
import { restateGoal } from "../goal/restate.ts"
import { checkOptions, invalidOption } from "../options.ts"

/** What {@link CompactingDriverOptions.due} may go by. Sizes are in tokens. */
export interface CompactionFacts {
  /** The estimated size of the next request. */
  readonly requestTokens: number
  /** The size from which the default compacts. `undefined`: the window is unknown. */
  readonly thresholdTokens: number | undefined
}

/** A history as {@link CompactingDriverOptions.restate} gets it. */
export interface CompactedHistory {
  readonly length: number
  at(index: number): HistoryRecord | undefined
  readonly storage: readonly HistoryRecord[]
}

/** Options of {@link compactingDriver}. */
export interface CompactingDriverOptions {
  /**
   * Decides before each model call whether the context is compacted first. Must be pure. Default: if the next request, as estimated or as
   * the last answer's usage shows, reaches 80% of `maxContextTokens`, or leaves less room than `generation.maxOutputTokens`. Without
   * `maxContextTokens` the default compacts only after an overflow.
   */
  readonly due?: (context: DriverContext, facts: CompactionFacts) => Extract<CompactionReason, "threshold" | "manual"> | undefined
  /** The user's messages that stay word for word, newest first, in tokens. Default 20,000; at most an eighth of the window. */
  readonly keepUserTokens?: number
  /** The newest messages that stay as they are, in tokens. Default 4,000; at most an eighth of the window. */
  readonly keepTailTokens?: number
  /** What the model reads after our instruction for the summary. Default: nothing. */
  readonly instructions?: string
  /** The length that the model is asked for, in tokens. Default 2,000; at most an eighth of the window. A longer summary is used if it saves enough. */
  readonly maxSummaryTokens?: number
  /** Failures after which compaction rests until new input arrives, and after which an overflow ends the turn. Default 3. */
  readonly maxFailures?: number
  /** The share of a request that a compaction must save, from 0 to 1, or it is not used. After an overflow any gain counts. Default 0.3. */
  readonly minGain?: number
  /**
   * Returns what requests must show word for word after a compaction. Must be pure. Default: {@link restateGoal}, the objective, the
   * contract and the checklist of the thread's goal.
   */
  readonly restate?: (history: CompactedHistory) => string | undefined
}

/** The options, checked and complete. */
export interface CompactionSettings {
  readonly due: CompactingDriverOptions["due"]
  readonly keepUserTokens: number
  readonly keepTailTokens: number
  readonly instructions: string | undefined
  readonly maxSummaryTokens: number
  readonly maxFailures: number
  readonly minGain: number
  readonly restate: (history: CompactedHistory) => string | undefined
}

const KNOWN = ["due", "keepUserTokens", "keepTailTokens", "instructions", "maxSummaryTokens", "maxFailures", "minGain", "restate"] as const

/** @throws {SchemaError} `invalid_config`: an unknown or invalid option */
export function settingsOf(options: CompactingDriverOptions): CompactionSettings {
  checkOptions("compactingDriver", options, KNOWN)
  const { due, keepUserTokens = 20_000, keepTailTokens = 4_000, instructions, maxSummaryTokens = 2_000, maxFailures = 3 } = options
  const { minGain = 0.3, restate = restateGoal } = options
  const refuse = (option: (typeof KNOWN)[number], problem: string) => invalidOption("compactingDriver", option, problem)
  for (const [option, tokens] of Object.entries({ keepUserTokens, keepTailTokens, maxSummaryTokens }))
    if (!(Number.isSafeInteger(tokens) && tokens >= 0)) throw refuse(option as "keepUserTokens", "it must be a whole number of tokens, 0 or more")
  if (!(Number.isSafeInteger(maxFailures) && maxFailures >= 1)) throw refuse("maxFailures", "it must be a whole number, 1 or more")
  if (!(minGain >= 0 && minGain < 1)) throw refuse("minGain", "it must be a number from 0 to less than 1")
  if (due !== undefined && typeof due !== "function") throw refuse("due", "it must be a function: (context, facts) => reason | undefined")
  if (typeof restate !== "function") throw refuse("restate", "it must be a function: (history) => text | undefined")
  if (instructions !== undefined && typeof instructions !== "string") throw refuse("instructions", "it must be a text")
  return { due, keepUserTokens, keepTailTokens, instructions, maxSummaryTokens, maxFailures, minGain, restate }
}
