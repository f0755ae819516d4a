import * as z from "zod"
import type * as wire from "../wire/checklist.ts"
import { LlmCall } from "./effect.ts"
import { Count, exact, type Schema, type Tagged, Timestamp } from "./json.ts"
import { LlmMessage, TokenUsage } from "./llm.ts"
import { Message } from "./message.ts"

/** The status of an item of a checklist. */
export type ItemStatus = wire.ItemStatus
export const ItemStatus: Schema<ItemStatus> = exact(z.enum(["pending", "completed", "impossible"]))

/** Why an item is completed or impossible: the judge's words, or a mark of the user. */
export type Evidence = wire.Evidence
export const Evidence: Tagged<Evidence> = exact(
  z.discriminatedUnion("type", [z.object({ type: z.literal("text"), text: z.string() }), z.object({ type: z.literal("user_mark") })]),
)

/** One criterion of a goal. Times are milliseconds since the epoch. */
export type ChecklistItem = wire.ChecklistItem
export const ChecklistItem: Tagged<ChecklistItem> = exact(
  z.object({
    id: z.string(),
    text: z.string(),
    status: ItemStatus,
    addedBy: z.enum(["judge", "user"]),
    addedAt: Timestamp,
    completedAt: Timestamp.exactOptional(),
    evidence: Evidence.exactOptional(),
  }),
)

/** The reason of a verdict. `text` holds words of the judge or the user; `reasonText` words all others. */
export type JudgeReason = wire.JudgeReason
export const JudgeReason: Tagged<JudgeReason> = exact(
  z.discriminatedUnion("type", [
    z.object({ type: z.literal("text"), text: z.string() }),
    z.object({ type: z.literal("decomposed"), items: Count }),
    z.object({ type: z.enum(["empty_goal", "empty_response", "empty_reply", "no_verdict", "none_given", "judge_off", "user_marks"]) }),
    z.object({ type: z.literal("not_json"), text: z.string() }),
    z.object({ type: z.literal("bad_arguments"), toolName: z.string(), problem: z.string() }),
    z.object({ type: z.literal("judge_error"), code: z.string().exactOptional(), message: z.string() }),
  ]),
)

/** Why a goal is paused. */
export type PauseReason = wire.PauseReason
export const PauseReason: Tagged<PauseReason> = exact(
  z.discriminatedUnion("type", [
    z.object({ type: z.literal("user") }),
    z.object({ type: z.enum(["text", "blocked", "asked_to_stop"]), text: z.string() }),
    z.object({ type: z.enum(["unparseable", "unreachable"]), failures: Count }),
    z.object({ type: z.literal("budget"), turnsUsed: Count, maxTurns: z.int() }),
    z.object({ type: z.literal("stalled"), turns: Count, mode: z.enum(["freeform", "none"]).exactOptional() }),
  ]),
)

/** A goal with its checklist. Times are milliseconds since the epoch. */
export type ChecklistGoal = wire.ChecklistGoal
export const ChecklistGoal: Tagged<ChecklistGoal> = exact(
  z.object({
    goalId: z.string(),
    revision: Count,
    goal: z.string(),
    status: z.enum(["active", "paused", "done", "cleared"]),
    turnsUsed: Count,
    maxTurns: z.int(),
    createdAt: Timestamp,
    lastTurnAt: Timestamp.exactOptional(),
    lastVerdict: z.enum(["decompose", "continue", "done", "blocked", "asked_to_stop", "wait", "skipped"]).exactOptional(),
    lastReason: JudgeReason.exactOptional(),
    pausedReason: PauseReason.exactOptional(),
    notBefore: Timestamp.exactOptional(),
    waitsFor: z.string().exactOptional(),
    contract: z.string().exactOptional(),
    lastResponse: z.string().exactOptional(),
    consecutiveParseFailures: Count,
    consecutiveTransportFailures: Count,
    stalledTurns: Count,
    checklist: z.array(ChecklistItem),
    decomposed: z.boolean(),
    nextItemNumber: Count,
  }),
)

/** The goals of a thread. */
export type ChecklistState = wire.ChecklistState
export const ChecklistState: Tagged<ChecklistState> = exact(
  z.object({
    nextGoalNumber: Count,
    goal: ChecklistGoal.exactOptional(),
    clearedGoal: ChecklistGoal.exactOptional(),
  }),
)

const at = { at: Timestamp }
const item = { itemId: z.string().exactOptional(), index: z.union([z.number(), z.string()]).exactOptional() }

/** A command of the user for a goal. `at`: milliseconds since the epoch. */
export type ChecklistCommand = wire.ChecklistCommand
export const ChecklistCommand: Tagged<ChecklistCommand> = exact(
  z.discriminatedUnion("type", [
    z.object({ type: z.literal("set"), goal: z.string(), contract: z.string().exactOptional(), maxTurns: z.int().exactOptional(), ...at }),
    z.object({ type: z.literal("edit"), goal: z.string(), contract: z.string().exactOptional(), ...at }),
    z.object({ type: z.literal("pause"), reason: z.string().exactOptional(), ...at }),
    z.object({ type: z.literal("resume"), resetBudget: z.boolean().exactOptional(), ...at }),
    z.object({ type: z.enum(["clear", "clear_checklist"]), ...at }),
    z.object({ type: z.literal("mark_done"), reason: z.string(), ...at }),
    z.object({ type: z.literal("add_item"), text: z.string(), ...at }),
    z.object({ type: z.literal("mark_item"), ...item, status: z.string(), ...at }),
    z.object({ type: z.enum(["undo_item", "remove_item"]), ...item, ...at }),
  ]),
)

/**
 * How a goal is judged. `compat: "reference"` sets the defaults of the reference; an explicit value wins.
 * docs/checklist-judge.md gives the reasons for the defaults. Where 0 is not explained, it means the default.
 */
export type ChecklistPolicy = wire.ChecklistPolicy
export const ChecklistPolicy: Tagged<ChecklistPolicy> = exact(
  z.object({
    model: z.string(),
    modelVariant: z.string().exactOptional(),
    sessionId: z.string().exactOptional(),
    compat: z.literal("reference").exactOptional(),
    judge: z.enum(["checklist", "freeform", "none"]).exactOptional(),
    defaultMaxTurns: z.int().exactOptional(),
    maxItems: Count.exactOptional(),
    maxStalledTurns: Count.exactOptional(),
    maxParseFailures: Count.exactOptional(),
    maxTransportFailures: Count.exactOptional(),
    maxHistoryPages: Count.exactOptional(),
    historyPageChars: Count.exactOptional(),
    maxWaitMs: Count.exactOptional(),
    maxOutputTokens: Count.exactOptional(),
    temperature: z.number().nonnegative().nullable().exactOptional(),
  }),
)

/** A transcript that the judge may read. */
export type EvidenceTranscript = wire.EvidenceTranscript
export const EvidenceTranscript: Tagged<EvidenceTranscript> = exact(
  z.object({ id: z.string(), messages: z.array(Message), lastTurn: Count.exactOptional() }),
)

/** A turn to judge. */
export type JudgedTurn = wire.JudgedTurn
export const JudgedTurn: Tagged<JudgedTurn> = exact(
  z.object({
    response: z.string(),
    ended: z.enum(["finished", "failed", "cancelled"]).exactOptional(),
    transcript: EvidenceTranscript.exactOptional(),
    said: z.array(z.string()).exactOptional(),
    worked: z.boolean().exactOptional(),
    at: Timestamp,
  }),
)

/** The judge's ruling on one item. */
export type ItemRuling = wire.ItemRuling
export const ItemRuling: Tagged<ItemRuling> = exact(
  z.object({ itemId: z.string(), status: z.enum(["completed", "impossible"]), evidence: z.string().exactOptional() }),
)

/** The result of an evaluation. */
export type Finding = wire.Finding
export const Finding: Tagged<Finding> = exact(
  z.discriminatedUnion("type", [
    z.object({ type: z.enum(["inactive", "waiting", "turn_failed", "turn_cancelled"]) }),
    z.object({ type: z.literal("decomposed"), items: z.array(z.string()) }),
    z.object({
      type: z.literal("judged"),
      mode: z.enum(["checklist", "freeform", "none"]),
      answer: z.enum(["usable", "unparseable", "unreachable", "unasked"]),
      says: z.enum(["continue", "done", "blocked", "asked_to_stop", "wait", "skipped"]),
      waitMs: Count.exactOptional(),
      waitsFor: z.string().exactOptional(),
      rulings: z.array(ItemRuling),
      newItems: z.array(z.string()),
      reason: JudgeReason,
    }),
  ]),
)

/** A verdict, addressed to one revision of one goal. */
export type Judgement = wire.Judgement
export const Judgement: Tagged<Judgement> = exact(
  z.object({
    goalId: z.string(),
    revision: Count,
    decomposeTried: z.boolean(),
    finding: Finding,
    usage: TokenUsage,
    requests: Count,
    response: z.string().exactOptional(),
    worked: z.boolean().exactOptional(),
    heard: z.literal(true).exactOptional(),
  }),
)

const asking = { attempt: Count, outstanding: LlmCall }
/** The state of a judge. A waiting state carries the whole effect that it waits for. */
export type JudgeState = wire.JudgeState
export const JudgeState: Tagged<JudgeState> = exact(
  z.discriminatedUnion("type", [
    z.object({ type: z.literal("decomposing"), ...asking }),
    z.object({ type: z.literal("evaluating"), ...asking, pagesLeft: Count, exchange: z.array(LlmMessage) }),
    z.object({ type: z.literal("judging_freely"), ...asking }),
    z.object({ type: z.literal("finished"), finding: Finding }),
  ]),
)

/** One evaluation as a value: what it is about, and its progress. */
export type Evaluation = wire.Evaluation
export const Evaluation: Tagged<Evaluation> = exact(
  z.object({
    goalId: z.string(),
    revision: Count,
    goal: z.string(),
    items: z.array(ChecklistItem),
    response: z.string(),
    transcript: EvidenceTranscript.exactOptional(),
    contract: z.string().exactOptional(),
    said: z.array(z.string()).exactOptional(),
    worked: z.boolean().exactOptional(),
    decomposeTried: z.boolean(),
    state: JudgeState,
    nextEffectId: Count,
    requests: Count,
    usage: TokenUsage,
  }),
)

export const JUDGE_CHECKPOINT_FORMAT = "turn-machine/checklist-judge"
export const JUDGE_CHECKPOINT_VERSION = 1

/** A saved judge: plain JSON. Unknown keys are refused. It may leave out the transcript, which `restore` then needs. */
export type JudgeCheckpoint = wire.JudgeCheckpoint
export const JudgeCheckpoint: Tagged<JudgeCheckpoint> = exact(
  z.object({
    format: z.literal(JUDGE_CHECKPOINT_FORMAT),
    version: z.literal(JUDGE_CHECKPOINT_VERSION),
    evaluation: Evaluation,
  }),
)
