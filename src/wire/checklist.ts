import type { LlmCall } from "./effect.ts"
import type { LlmMessage, TokenUsage } from "./llm.ts"
import type { Message } from "./message.ts"
import type { Response } from "./response.ts"

/** The status of an item of a checklist. */
export type ItemStatus = "pending" | "completed" | "impossible"

/** Why an item is completed or impossible: the judge's words, or a mark of the user. */
export type Evidence = { readonly type: "text"; readonly text: string } | { readonly type: "user_mark" }

/** One criterion of a goal. Times are milliseconds since the epoch. */
export type ChecklistItem = {
  /** Counted (`i1`, `i2`, …); never reused within a goal. */
  readonly id: string
  readonly text: string
  readonly status: ItemStatus
  readonly addedBy: "judge" | "user"
  readonly addedAt: number
  readonly completedAt?: number
  readonly evidence?: Evidence
}

/** The reason of a verdict. `text` holds words of the judge or the user; `reasonText` words all others. */
export type JudgeReason =
  | { readonly type: "text"; readonly text: string }
  | { readonly type: "decomposed"; readonly items: number }
  | { readonly type: "empty_goal" | "empty_response" | "empty_reply" | "no_verdict" | "none_given" | "judge_off" | "user_marks" }
  | { readonly type: "not_json"; readonly text: string }
  | { readonly type: "bad_arguments"; readonly toolName: string; readonly problem: string }
  | { readonly type: "judge_error"; readonly code?: string; readonly message: string }

/** Why a goal is paused. */
export type PauseReason =
  | { readonly type: "user" }
  | { readonly type: "text" | "blocked" | "asked_to_stop"; readonly text: string }
  | { readonly type: "unparseable" | "unreachable"; readonly failures: number }
  | { readonly type: "budget"; readonly turnsUsed: number; readonly maxTurns: number }
  /** `mode`: how the turns were judged, unless by a list. */
  | { readonly type: "stalled"; readonly turns: number; readonly mode?: "freeform" | "none" }

/** A goal with its checklist. Times are milliseconds since the epoch. */
export type ChecklistGoal = {
  /** Counted (`g1`, `g2`, …). */
  readonly goalId: string
  /** Rises with every verdict that is applied, and with every command after which an older verdict must not count. */
  readonly revision: number
  readonly goal: string
  readonly status: "active" | "paused" | "done" | "cleared"
  readonly turnsUsed: number
  readonly maxTurns: number
  readonly createdAt: number
  readonly lastTurnAt?: number
  readonly lastVerdict?: "decompose" | "continue" | "done" | "blocked" | "asked_to_stop" | "wait" | "skipped"
  readonly lastReason?: JudgeReason
  readonly pausedReason?: PauseReason
  /** The end of a wait that the judge set. */
  readonly notBefore?: number
  /** The event that the wait is for, if the judge named one. */
  readonly waitsFor?: string
  /** What the user expects beyond the goal's text. */
  readonly contract?: string
  /** A digest of the response that was last judged, by which a repetition is noticed. */
  readonly lastResponse?: string
  readonly consecutiveParseFailures: number
  readonly consecutiveTransportFailures: number
  readonly stalledTurns: number
  readonly checklist: readonly ChecklistItem[]
  readonly decomposed: boolean
  readonly nextItemNumber: number
}

/** The goals of a thread. */
export type ChecklistState = {
  readonly nextGoalNumber: number
  /** The present goal. */
  readonly goal?: ChecklistGoal
  /** The goal that was cleared last, if none came after it. */
  readonly clearedGoal?: ChecklistGoal
}

/** Changes the status of an item. */
export type MarkItem = {
  readonly type: "mark_item"
  readonly itemId?: string
  readonly index?: number | string
  readonly status: string
  readonly at: number
}

/** Sets an item back to pending, or removes it. */
export type ChangeItem = {
  readonly type: "undo_item" | "remove_item"
  readonly itemId?: string
  readonly index?: number | string
  readonly at: number
}

/** A command of the user for a goal. `at`: milliseconds since the epoch. */
export type ChecklistCommand =
  | { readonly type: "set"; readonly goal: string; readonly contract?: string; readonly maxTurns?: number; readonly at: number }
  /**
   * Changes the text of the goal. The judge writes a new list; the user's own items stay as they are. Without `contract` the contract stays,
   * and a blank one removes it.
   */
  | { readonly type: "edit"; readonly goal: string; readonly contract?: string; readonly at: number }
  | { readonly type: "pause"; readonly reason?: string; readonly at: number }
  | { readonly type: "resume"; readonly resetBudget?: boolean; readonly at: number }
  | { readonly type: "clear" | "clear_checklist"; readonly at: number }
  | { readonly type: "mark_done"; readonly reason: string; readonly at: number }
  | { readonly type: "add_item"; readonly text: string; readonly at: number }
  | MarkItem
  | ChangeItem

/**
 * How a goal is judged. `compat: "reference"` sets the defaults of the reference; an explicit value wins.
 * docs/checklist-judge.md gives the reasons for the defaults. Where 0 is not explained, it means the default.
 */
export type ChecklistPolicy = {
  /** The judge's model. */
  readonly model: string
  readonly modelVariant?: string
  readonly sessionId?: string
  readonly compat?: "reference"
  /** `checklist`: write a list first, then rule item by item. `freeform`: no list. `none`: no model is called. Default `checklist`. */
  readonly judge?: "checklist" | "freeform" | "none"
  /** Turns after which a goal pauses. Default 20. */
  readonly defaultMaxTurns?: number
  /** The most items of a list to which the judge may add. Default 50; 0: no limit. */
  readonly maxItems?: number
  /**
   * Turns in a row without progress, or with a wait, before the goal pauses. Progress is a settled or added item; without a list, work
   * outside of the text or a new response. What the user says, edits or settles counts as progress. Default 8; 0: no limit.
   */
  readonly maxStalledTurns?: number
  /** Answers in a row without a verdict before the goal pauses. Default 3; 0: no limit. */
  readonly maxParseFailures?: number
  /** Failed model calls in a row before the goal pauses. Default 5; 0: no limit. */
  readonly maxTransportFailures?: number
  /** Pages of history per evaluation. Default 5; 0: none. */
  readonly maxHistoryPages?: number
  /** Code points of one page. Default 32,000. */
  readonly historyPageChars?: number
  /** The longest wait that the judge may set, in milliseconds. Default 24 hours. */
  readonly maxWaitMs?: number
  /** Tokens of one answer of the judge. Default 4,096. */
  readonly maxOutputTokens?: number
  /** The judge's temperature. Default 0. `null`: the provider's own, for models that accept no other. */
  readonly temperature?: number | null
}

/** A transcript that the judge may read. */
export type EvidenceTranscript = {
  readonly id: string
  readonly messages: readonly Message[]
  /** The number of the message with which the last turn begins, from 1. Absent: unknown. */
  readonly lastTurn?: number
}

/** A turn to judge. */
export type JudgedTurn = {
  readonly response: string
  /** How the turn ended. Only a finished turn is judged. */
  readonly ended?: "finished" | "failed" | "cancelled"
  readonly transcript?: EvidenceTranscript
  /** What the user said during the turn or before it, since the turn that was judged last. */
  readonly said?: readonly string[]
  /** Whether the turn did work that shows outside of its text, such as a tool call. Absent: unknown. */
  readonly worked?: boolean
  /** Milliseconds since the epoch. */
  readonly at: number
}

/** The judge's ruling on one item. */
export type ItemRuling = {
  readonly itemId: string
  readonly status: "completed" | "impossible"
  readonly evidence?: string
}

/** A verdict of the judge. */
export type JudgedFinding = {
  readonly type: "judged"
  readonly mode: "checklist" | "freeform" | "none"
  /** `usable`: a verdict. `unparseable`: an answer without one, or with a part that cannot be read; the rest of it counts. `unreachable`: the call failed. `unasked`: no call was needed. */
  readonly answer: "usable" | "unparseable" | "unreachable" | "unasked"
  readonly says: "continue" | "done" | "blocked" | "asked_to_stop" | "wait" | "skipped"
  readonly waitMs?: number
  readonly waitsFor?: string
  readonly rulings: readonly ItemRuling[]
  readonly newItems: readonly string[]
  readonly reason: JudgeReason
}

/** The result of an evaluation. */
export type Finding =
  | { readonly type: "inactive" | "waiting" | "turn_failed" | "turn_cancelled" }
  | { readonly type: "decomposed"; readonly items: readonly string[] }
  | JudgedFinding

/** A verdict, addressed to one revision of one goal. */
export type Judgement = {
  readonly goalId: string
  readonly revision: number
  readonly decomposeTried: boolean
  readonly finding: Finding
  /** The tokens of all calls of the judge. */
  readonly usage: TokenUsage
  /** How many calls there were. */
  readonly requests: number
  /** A digest of the judged response, by which a repetition is noticed. */
  readonly response?: string
  /** Whether the turn did work that shows outside of its text. */
  readonly worked?: boolean
  /** The user said something since the turn that was judged last. */
  readonly heard?: true
}

/** The state of a judge. A waiting state carries the whole effect that it waits for. */
export type JudgeState =
  | { readonly type: "decomposing"; readonly attempt: number; readonly outstanding: LlmCall }
  | {
      readonly type: "evaluating"
      readonly attempt: number
      readonly outstanding: LlmCall
      readonly pagesLeft: number
      readonly exchange: readonly LlmMessage[]
    }
  | { readonly type: "judging_freely"; readonly attempt: number; readonly outstanding: LlmCall }
  | { readonly type: "finished"; readonly finding: Finding }

/** One evaluation as a value: what it is about, and its progress. */
export type Evaluation = {
  readonly goalId: string
  readonly revision: number
  readonly goal: string
  readonly items: readonly ChecklistItem[]
  readonly response: string
  readonly transcript?: EvidenceTranscript
  readonly contract?: string
  readonly said?: readonly string[]
  readonly worked?: boolean
  readonly decomposeTried: boolean
  readonly state: JudgeState
  readonly nextEffectId: number
  readonly requests: number
  readonly usage: TokenUsage
}

/** A saved judge: plain JSON. Unknown keys are refused. It may leave out the transcript, which `restore` then needs. */
export type JudgeCheckpoint = {
  readonly format: "turn-machine/checklist-judge"
  readonly version: 1
  readonly evaluation: Evaluation
}

/** Checks values from outside for a judge. Each check returns a clean value, or throws an error that says where the value is wrong. */
export interface JudgeValidation {
  /** @throws {SchemaError} `invalid_config` */
  policy(value: unknown): ChecklistPolicy
  /** @throws {SchemaError} `invalid_start` */
  turn(value: unknown): JudgedTurn
  /** @throws {SchemaError} `invalid_response` */
  response(value: unknown): Response
  /** @throws {CheckpointError} `invalid_checkpoint` */
  checkpoint(value: unknown): JudgeCheckpoint
  /** @throws {CheckpointError} `invalid_checkpoint` */
  state(value: unknown): ChecklistState
}
