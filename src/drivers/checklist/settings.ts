import type { ChecklistPolicy } from "../../wire/checklist.ts"

/** A {@link ChecklistPolicy} with all defaults. A limit of 0 means unlimited. */
export interface ChecklistSettings {
  readonly model: string
  readonly modelVariant: string | undefined
  readonly sessionId: string | undefined
  /** Reads answers, cuts texts and ends goals as the reference does. */
  readonly reference: boolean
  readonly judge: "checklist" | "freeform" | "none"
  readonly defaultMaxTurns: number
  readonly maxItems: number
  readonly maxStalledTurns: number
  readonly maxParseFailures: number
  readonly maxTransportFailures: number
  readonly maxHistoryPages: number
  readonly historyPageChars: number
  readonly maxWaitMs: number
  /** Absent: the provider's own. */
  readonly temperature: number | undefined
  readonly maxOutputTokens: { readonly decompose: number; readonly evaluate: number; readonly freeform: number }
}

const DAY_MS = 24 * 60 * 60 * 1000

/** Fills in the defaults of a policy. A value in the policy overrides the one of `compat`. */
export function checklistSettings(policy: ChecklistPolicy): ChecklistSettings {
  const reference = policy.compat === "reference"
  const tokens = policy.maxOutputTokens
  return {
    model: policy.model,
    modelVariant: policy.modelVariant,
    sessionId: policy.sessionId,
    reference,
    judge: policy.judge ?? "checklist",
    defaultMaxTurns: policy.defaultMaxTurns || 20,
    maxItems: policy.maxItems ?? (reference ? 0 : 50),
    maxStalledTurns: policy.maxStalledTurns ?? (reference ? 0 : 8),
    maxParseFailures: policy.maxParseFailures ?? 3,
    maxTransportFailures: policy.maxTransportFailures ?? (reference ? 0 : 5),
    maxHistoryPages: policy.maxHistoryPages ?? 5,
    historyPageChars: policy.historyPageChars || 32_000,
    maxWaitMs: policy.maxWaitMs || DAY_MS,
    temperature: policy.temperature === null ? undefined : (policy.temperature ?? 0),
    // An answer that is cut off gives no verdict. The reference's limits are too small for long lists and for reasoning models.
    maxOutputTokens:
      tokens === undefined && reference
        ? { decompose: 2000, evaluate: 1500, freeform: 200 }
        : { decompose: tokens || 4096, evaluate: tokens || 4096, freeform: tokens || 4096 },
  }
}

/** The maximum lengths, in code points, of the texts that the judge sees. */
export const LIMITS = {
  goalToDecompose: 4000,
  goal: 2000,
  response: 4000,
  contract: 4000,
  /** How many messages of the user are shown, and how much of each. */
  said: 20,
  saidText: 2000,
  /** Texts of the judge that become part of the goal. The reference does not cut them. */
  judgeText: 2000,
  /** The maximum number of items read from one answer. */
  texts: 1000,
  /** The name of an event that a judge waits for. */
  eventName: 200,
} as const
