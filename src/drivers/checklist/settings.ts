import type { ChecklistPolicy } from "../../schemas/checklist.ts"

/** A {@link ChecklistPolicy} with everything filled in. A limit of 0 is no limit. */
export interface ChecklistSettings {
  readonly model: string
  readonly modelVariant: string | undefined
  readonly sessionId: string | undefined
  /** The reference's own ways of reading answers, cutting texts and ending goals, where no limit tells them apart. */
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
  readonly maxOutputTokens: { readonly decompose: number; readonly evaluate: number; readonly freeform: number }
}

const DAY_MS = 24 * 60 * 60 * 1000

/** Fills in what a policy leaves open. Of two values the one given in the policy wins over the one that `compat` stands for. */
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
    // An answer that is cut off is no verdict. The reference's limits are too narrow for long lists and for models that reason first.
    maxOutputTokens:
      tokens === undefined && reference
        ? { decompose: 2000, evaluate: 1500, freeform: 200 }
        : { decompose: tokens || 4096, evaluate: tokens || 4096, freeform: tokens || 4096 },
  }
}

/** In code points: how much of the goal and of the response the judge is shown. */
export const LIMITS = {
  goalToDecompose: 4000,
  goal: 2000,
  response: 4000,
  /** Of texts that the judge wrote and that go into the goal. The reference keeps them whole. */
  judgeText: 2000,
  /** Items of one answer that are looked at. */
  texts: 1000,
} as const
