import type { Difference } from "../errors.ts"
import type { TokenPrices } from "../hosts/models/prices.ts"
import type { StateName } from "../machine/turn.ts"
import type { DriverAction } from "../wire/action.ts"
import type { ChecklistState } from "../wire/checklist.ts"
import type { TurnConfigData } from "../wire/config.ts"
import type { AnswerableEffect } from "../wire/effect.ts"
import type { GoalPolicyData, TurnOrigin } from "../wire/goal.ts"
import type { JournalHeader, JournalRecord } from "../wire/journal.ts"
import type { LlmMessage, LlmRequest } from "../wire/llm.ts"
import type { HistoryRecord, Message } from "../wire/message.ts"

/** What a page shows: the journals, and what is needed to replay them. It is the only part of the page that differs between two exports. */
export interface ViewerData {
  readonly title: string
  /** Texts, arguments and values were replaced before they were written. */
  readonly redacted?: true
  /** In the order of the page: turns of a thread in their order, each followed by its children. */
  readonly turns: readonly ViewedTurn[]
  readonly threads: readonly ViewedThread[]
}

/** A journal. */
export interface ViewedTurn {
  /** Its file, as the reader knows it. */
  readonly file: string
  /** The file as a word of a shell, for commands. */
  readonly word: string
  readonly header: JournalHeader
  readonly entries: readonly ViewedEntry[]
  /** Bytes of the header's line. */
  readonly headerBytes: number
  /** How the page replays the turn. Absent: it cannot; see `steps`, and `note` for the reason. */
  readonly agent?: AgentSpec
  /** What a replay computed when the page was made. */
  readonly steps?: StoredSteps
  /** Why the page has neither. */
  readonly note?: string
  /** The model that the turn is asked of, if known. */
  readonly model?: string
  readonly prices?: TokenPrices
  /** The damage after the intact records, in a sentence. */
  readonly damage?: string
  /** The thread of the turn, by its id. */
  readonly thread?: string
  /** The system prompt and tools that the turn began with, where the header leaves them to the log. */
  readonly surface?: JournalHeader["surface"]
}

/** A record of a journal. Snapshots are written short where they can be. `print`: the fingerprint of the effect that it answers. */
export interface ViewedEntry {
  readonly number: number
  readonly record: JournalRecord
  readonly print?: string
  /** Bytes of its line. */
  readonly bytes?: number
}

/** A configuration as data, where driver and projector are the package's. */
export interface AgentSpec {
  readonly driver: "chat" | "compacting(chat)"
  /** The driver is wrapped in a goal driver with these options. */
  readonly goal?: GoalSpec
  readonly projector: "chat" | "view"
  readonly data: TurnConfigData
  /** The keys of the configuration that the journal does not have, so that requests are shown without them. Absent: none. */
  readonly unknown?: readonly string[]
}

/** The options of a goal driver. */
export interface GoalSpec {
  readonly threadId: string
  readonly turnId: string
  /** Milliseconds since the epoch. */
  readonly startedAt: number
  readonly origin: TurnOrigin
  readonly policy: GoalPolicyData
  /** Costs are counted. */
  readonly prices?: TokenPrices
}

/** A thread's history, and its goal's checklist. */
export interface ViewedThread {
  readonly threadId: string
  /** The records of the history; those of turns that have ended. */
  readonly records: readonly HistoryRecord[]
  readonly turns: readonly { readonly turnId: string; readonly at: number; readonly endedAt?: number; readonly origin: TurnOrigin }[]
  readonly checklist?: ChecklistState
}

/** A replay that was computed when the page was made. */
export interface StoredSteps {
  readonly verdict: Verdict
  readonly steps: readonly StoredStep[]
  /** How many requests were compared with one before. */
  readonly compared: number
}

/** Whether the replayed turn makes the recorded requests. */
export type Verdict =
  | { readonly type: "agrees"; readonly effects: number }
  | { readonly type: "differs"; readonly record: number; readonly message: string; readonly differences: readonly Difference[] }

/** What one record did to the turn. */
export interface Step {
  readonly number: number
  /** The states that the turn went through, the first one before the record. */
  readonly states: readonly StateName[]
  /** The effect that the record answers, without the request of a model call. */
  readonly effect?: BareEffect
  /** The driver's callbacks that were called, and the actions that each returned. */
  readonly asked: readonly DriverCall[]
  /** What the history gained. */
  readonly records: readonly HistoryRecord[]
  /** What the transcript gained. */
  readonly messages: readonly Message[]
  /** The iteration after the record, from 1. */
  readonly iteration: number
  /** The turn refused the record, or it changed nothing. */
  readonly refused?: string
}

/** A call of a driver. */
export interface DriverCall {
  readonly callback: string
  /** The request of a model call is left out. */
  readonly actions: readonly BareAction[]
}

/** An effect; a model call without its request. */
export type BareEffect = Exclude<AnswerableEffect, { type: "llm_call" }> | Omit<Extract<AnswerableEffect, { type: "llm_call" }>, "request">

/** An action; the start of a model call without its request. */
export type BareAction = Exclude<DriverAction, { type: "start_llm" }> | Omit<Extract<DriverAction, { type: "start_llm" }>, "request">

/** A step with its request as a difference to the request before it. */
export interface StoredStep extends Step {
  readonly request?: StoredRequest
  /** The record that answers the request that this one is compared with. */
  readonly previous?: number
  readonly broken?: RequestBreak
}

/** A request as a difference to the stored one before it. */
export interface StoredRequest {
  /** How many of its first messages are those of the request before. */
  readonly kept: number
  readonly messages: readonly LlmMessage[]
  /** Everything but the messages. Absent: as in the request before. */
  readonly rest?: Omit<LlmRequest, "messages">
}

/** Where a request differs from the one that it should begin with. */
export interface RequestBreak {
  readonly at: string
  readonly reason: "system" | "tools" | "message"
  /** A record of the history announced it. */
  readonly marked: boolean
}
