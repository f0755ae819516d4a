import * as z from "zod"
import { parse, parseSaved } from "./checking.ts"
import { LlmCall } from "./effect.ts"
import { Count, type Readonlys, Timestamp } from "./json.ts"
import { LlmMessage, TokenUsage } from "./llm.ts"
import { Message } from "./message.ts"
import { Response } from "./response.ts"

export const ItemStatus = z.enum(["pending", "completed", "impossible"])
export type ItemStatus = z.infer<typeof ItemStatus>

/** Why an item is terminal: the judge's words, or a user's mark. */
export const Evidence = z.discriminatedUnion("type", [
  z.object({ type: z.literal("text"), text: z.string() }),
  z.object({ type: z.literal("user_mark") }),
])
export type Evidence = Readonlys<z.infer<typeof Evidence>>

/** One criterion of a goal. `id` is counted (`i1`, `i2`, …) and never used again within the goal. Times in ms since the epoch. */
export const ChecklistItem = z.object({
  id: z.string(),
  text: z.string(),
  status: ItemStatus,
  addedBy: z.enum(["judge", "user"]),
  addedAt: Timestamp,
  completedAt: Timestamp.exactOptional(),
  evidence: Evidence.exactOptional(),
})
export type ChecklistItem = Readonlys<z.infer<typeof ChecklistItem>>

/** Why a goal was ruled on as it was. `text` holds words of the judge or the user; all else is worded by `reasonText`. */
export const JudgeReason = z.discriminatedUnion("type", [
  z.object({ type: z.literal("text"), text: z.string() }),
  z.object({ type: z.literal("decomposed"), items: Count }),
  z.object({ type: z.enum(["empty_goal", "empty_response", "empty_reply", "no_verdict", "none_given", "judge_off", "user_marks"]) }),
  z.object({ type: z.literal("not_json"), text: z.string() }),
  z.object({ type: z.literal("bad_arguments"), toolName: z.string(), problem: z.string() }),
  z.object({ type: z.literal("judge_error"), code: z.string().exactOptional(), message: z.string() }),
])
export type JudgeReason = Readonlys<z.infer<typeof JudgeReason>>

/** Why a goal is paused. */
export const PauseReason = z.discriminatedUnion("type", [
  z.object({ type: z.literal("user") }),
  z.object({ type: z.enum(["text", "blocked"]), text: z.string() }),
  z.object({ type: z.enum(["unparseable", "unreachable"]), failures: Count }),
  z.object({ type: z.literal("budget"), turnsUsed: Count, maxTurns: z.int() }),
  z.object({ type: z.literal("stalled"), turns: Count }),
])
export type PauseReason = Readonlys<z.infer<typeof PauseReason>>

/**
 * A standing goal with its checklist. `goalId` is counted (`g1`, `g2`, …); `revision` rises with every verdict that was applied and
 * with every command after which an older verdict must not count. `notBefore`: a wait that the judge ordered.
 */
export const ChecklistGoal = z.object({
  goalId: z.string(),
  revision: Count,
  goal: z.string(),
  status: z.enum(["active", "paused", "done", "cleared"]),
  turnsUsed: Count,
  maxTurns: z.int(),
  createdAt: Timestamp,
  lastTurnAt: Timestamp.exactOptional(),
  lastVerdict: z.enum(["decompose", "continue", "done", "blocked", "wait", "skipped"]).exactOptional(),
  lastReason: JudgeReason.exactOptional(),
  pausedReason: PauseReason.exactOptional(),
  notBefore: Timestamp.exactOptional(),
  consecutiveParseFailures: Count,
  consecutiveTransportFailures: Count,
  stalledTurns: Count,
  checklist: z.array(ChecklistItem),
  decomposed: z.boolean(),
  nextItemNumber: Count,
})
export type ChecklistGoal = Readonlys<z.infer<typeof ChecklistGoal>>

/** What a thread remembers of its goals: the present one, and the one that was cleared last, if none came after it. */
export const ChecklistState = z.object({
  nextGoalNumber: Count,
  goal: ChecklistGoal.exactOptional(),
  clearedGoal: ChecklistGoal.exactOptional(),
})
export type ChecklistState = Readonlys<z.infer<typeof ChecklistState>>

const at = { at: Timestamp }
/** An item by its id, or by its number in the list, from 1. A number may be a text, as a user types it. */
const item = { itemId: z.string().exactOptional(), index: z.union([z.number(), z.string()]).exactOptional() }

/** What a user does to a goal. `at`: ms since the epoch. */
export const ChecklistCommand = z.discriminatedUnion("type", [
  z.object({ type: z.literal("set"), goal: z.string(), maxTurns: z.int().exactOptional(), ...at }),
  z.object({ type: z.literal("pause"), reason: z.string().exactOptional(), ...at }),
  z.object({ type: z.literal("resume"), resetBudget: z.boolean().exactOptional(), ...at }),
  z.object({ type: z.enum(["clear", "clear_checklist"]), ...at }),
  z.object({ type: z.literal("mark_done"), reason: z.string(), ...at }),
  z.object({ type: z.literal("add_item"), text: z.string(), ...at }),
  z.object({ type: z.literal("mark_item"), ...item, status: z.string(), ...at }),
  z.object({ type: z.enum(["undo_item", "remove_item"]), ...item, ...at }),
])
export type ChecklistCommand = Readonlys<z.infer<typeof ChecklistCommand>>

/**
 * How a goal is judged. `compat: "reference"` sets what is not given as in the reference; a value given beside it wins.
 * docs/checklist-judge.md says why the defaults are what they are. Where 0 is not explained, it stands for the default.
 */
export const ChecklistPolicy = z.object({
  /** The judge's model. */
  model: z.string(),
  modelVariant: z.string().exactOptional(),
  sessionId: z.string().exactOptional(),
  compat: z.literal("reference").exactOptional(),
  /** `checklist`: first write a list, then rule item by item. `freeform`: no list is written. `none`: no model is asked. Default `checklist`. */
  judge: z.enum(["checklist", "freeform", "none"]).exactOptional(),
  /** Turns after which a goal pauses. Default 20. */
  defaultMaxTurns: z.int().exactOptional(),
  /** Items that the judge may bring a list to. Default 50; 0: no limit. */
  maxItems: Count.exactOptional(),
  /** Turns in a row without an item turning terminal, or with a wait, that pause. Default 8; 0: no limit. */
  maxStalledTurns: Count.exactOptional(),
  /** Answers in a row that hold no verdict and pause. Default 3; 0: no limit. */
  maxParseFailures: Count.exactOptional(),
  /** Failed model calls in a row that pause. Default 5; 0: no limit. */
  maxTransportFailures: Count.exactOptional(),
  /** Pages of history per evaluation. Default 5; 0: none is shown. */
  maxHistoryPages: Count.exactOptional(),
  /** Code points of one page. Default 32,000. */
  historyPageChars: Count.exactOptional(),
  /** The longest wait the judge may order, in ms. Default 24 hours. */
  maxWaitMs: Count.exactOptional(),
  /** Tokens of one answer of the judge. Default 4,096. */
  maxOutputTokens: Count.exactOptional(),
})
export type ChecklistPolicy = Readonlys<z.infer<typeof ChecklistPolicy>>

/** A transcript the judge may read. */
export const EvidenceTranscript = z.object({ id: z.string(), messages: z.array(Message) })
export type EvidenceTranscript = Readonlys<z.infer<typeof EvidenceTranscript>>

/** A turn to judge. `ended`: how it ended; only a finished one is judged. `at`: ms since the epoch. */
export const JudgedTurn = z.object({
  response: z.string(),
  ended: z.enum(["finished", "failed", "cancelled"]).exactOptional(),
  transcript: EvidenceTranscript.exactOptional(),
  at: Timestamp,
})
export type JudgedTurn = Readonlys<z.infer<typeof JudgedTurn>>

/** What the judge says of one item. */
export const ItemRuling = z.object({ itemId: z.string(), status: z.enum(["completed", "impossible"]), evidence: z.string().exactOptional() })
export type ItemRuling = Readonlys<z.infer<typeof ItemRuling>>

/**
 * What came of an evaluation. `usable`: the judge gave a verdict; `unparseable`: it answered without one; `unreachable`: the call
 * failed; `unasked`: there was nothing to ask.
 */
export const Finding = z.discriminatedUnion("type", [
  z.object({ type: z.enum(["inactive", "waiting", "turn_failed", "turn_cancelled"]) }),
  z.object({ type: z.literal("decomposed"), items: z.array(z.string()) }),
  z.object({
    type: z.literal("judged"),
    mode: z.enum(["checklist", "freeform", "none"]),
    answer: z.enum(["usable", "unparseable", "unreachable", "unasked"]),
    says: z.enum(["continue", "done", "blocked", "wait", "skipped"]),
    waitMs: Count.exactOptional(),
    rulings: z.array(ItemRuling),
    newItems: z.array(z.string()),
    reason: JudgeReason,
  }),
])
export type Finding = Readonlys<z.infer<typeof Finding>>

/** A verdict, addressed to one revision of one goal. `usage` is what the judge's calls cost together, `requests` how many they were. */
export const Judgement = z.object({
  goalId: z.string(),
  revision: Count,
  decomposeTried: z.boolean(),
  finding: Finding,
  usage: TokenUsage,
  requests: Count,
})
export type Judgement = Readonlys<z.infer<typeof Judgement>>

const asking = { attempt: Count, outstanding: LlmCall }
/** Where a judge stands. A waiting state carries the whole effect it waits for. */
export const JudgeState = z.discriminatedUnion("type", [
  z.object({ type: z.literal("decomposing"), ...asking }),
  z.object({ type: z.literal("evaluating"), ...asking, pagesLeft: Count, exchange: z.array(LlmMessage) }),
  z.object({ type: z.literal("judging_freely"), ...asking }),
  z.object({ type: z.literal("finished"), finding: Finding }),
])
export type JudgeState = Readonlys<z.infer<typeof JudgeState>>

/** One evaluation as a value: what it is about, and how far it has come. */
export const Evaluation = z.object({
  goalId: z.string(),
  revision: Count,
  goal: z.string(),
  items: z.array(ChecklistItem),
  response: z.string(),
  transcript: EvidenceTranscript.exactOptional(),
  decomposeTried: z.boolean(),
  state: JudgeState,
  nextEffectId: Count,
  requests: Count,
  usage: TokenUsage,
})
export type Evaluation = Readonlys<z.infer<typeof Evaluation>>

export const JUDGE_CHECKPOINT_FORMAT = "turn-machine/checklist-judge"
export const JUDGE_CHECKPOINT_VERSION = 1

/** A saved judge: plain JSON. Unknown keys are refused. */
export const JudgeCheckpoint = z.object({
  format: z.literal(JUDGE_CHECKPOINT_FORMAT),
  version: z.literal(JUDGE_CHECKPOINT_VERSION),
  evaluation: Evaluation,
})
export type JudgeCheckpoint = Readonlys<z.infer<typeof JudgeCheckpoint>>

/** Checks values from outside for a judge. Each throws an error that says where the value is wrong, and gives back a clean one. */
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

/** Checks every value that crosses the judge's edge against its schema. */
export const judgeValidation: JudgeValidation = {
  policy: (value) => parse(ChecklistPolicy, value, "invalid_config", "checklist policy"),
  turn: (value) => parse(JudgedTurn, value, "invalid_start", "turn to judge"),
  response: (value) => parse(Response, value, "invalid_response", "response"),
  checkpoint: (value) => parseSaved(JudgeCheckpoint, value, "judge's checkpoint"),
  state: (value) => parseSaved(ChecklistState, value, "checklist's state"),
}
