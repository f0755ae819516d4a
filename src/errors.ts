/**
 * What a caller got wrong is thrown as one of these; what the world did (a failed model call, a failed tool) is a value.
 *
 *     TurnError
 *     ├─ ProtocolError     the host: a response or a command that the turn does not accept now
 *     ├─ SchemaError       the host: a value that does not have the shape of the wire
 *     ├─ DriverError       the driver: a list of actions without a way forward, or with two
 *     ├─ CheckpointError   a checkpoint that cannot be restored
 *     ├─ JournalError      a journal that is damaged, or a text that is not one
 *     ├─ ForkError         a journal that cannot be forked at that record, or not with that answer
 *     └─ ReplayDivergence  a replay that differs from its journal
 *
 * Every error has a stable `code` to branch on; docs/errors.md lists them with what to do.
 */
export abstract class TurnError<Code extends string = string> extends Error {
  readonly code: Code

  constructor(code: Code, message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
    this.name = new.target.name
  }
}

/** What a host may get wrong about a turn. */
export type ProtocolErrorCode =
  | "unexpected_response"
  | "unknown_effect"
  | "unknown_call"
  | "call_already_answered"
  | "call_is_held"
  | "call_is_pending"
  | "call_not_unique"
  | "unknown_request"
  | "digest_mismatch"
  | "decision_not_allowed"
  | "call_already_decided"
  | "turn_finished"
  | "action_starts_work"
  | "not_recorded"
  | "another_turn"
  | "journal_ended"

/** A response or a command that the turn does not accept now. The turn is unchanged. */
export class ProtocolError extends TurnError<ProtocolErrorCode> {}

/** One thing that is wrong with a value: where, and what was expected there. */
export interface SchemaIssue {
  readonly path: string
  readonly message: string
}

/** Which value from outside does not have the shape of the wire. */
export type SchemaErrorCode = "invalid_response" | "invalid_actions" | "invalid_start" | "invalid_config" | "invalid_record"

/** A value that does not have the shape of the wire. Nothing changed. `issues` lists where, as JSON pointers. */
export class SchemaError extends TurnError<SchemaErrorCode> {
  readonly issues: readonly SchemaIssue[]

  constructor(code: SchemaErrorCode, message: string, issues: readonly SchemaIssue[], options?: ErrorOptions) {
    super(code, message, options)
    this.issues = issues
  }
}

/** What may be wrong with a list of driver actions, or with the driver that was asked for one. */
export type DriverErrorCode =
  | "no_way_forward"
  | "two_starts"
  | "action_after_finish"
  | "unknown_action"
  | "unknown_settled_call"
  | "invalid_hold"
  | "invalid_decision"
  | "invalid_action"
  | "second_end"
  | "invalid_limit_message"
  | "missing_callback"
  | "policy_threw"
  | "invalid_policy_answer"
  | "driver_threw"

/** A list of actions without a way forward, or with two. From a driver it ends the turn; from `apply` it is thrown. */
export class DriverError extends TurnError<DriverErrorCode> {}

/** Why a checkpoint cannot be restored. */
export type CheckpointErrorCode =
  | "not_json"
  | "not_a_checkpoint"
  | "unsupported_version"
  | "driver_mismatch"
  | "invalid_checkpoint"
  | "inconsistent_checkpoint"

/** A checkpoint that cannot be restored. `path` is a JSON pointer to what is wrong; "" is the whole. */
export class CheckpointError extends TurnError<CheckpointErrorCode> {
  readonly path: string

  constructor(code: CheckpointErrorCode, path: string, message: string, options?: ErrorOptions) {
    super(code, message, options)
    this.path = path
  }
}

/** Why a journal cannot be read further, or a record not be written. */
export type JournalErrorCode =
  | "not_a_journal"
  | "unsupported_version"
  | "damaged_record"
  | "invalid_record"
  | "dropped_record"
  | "record_too_long"
  | "missing_log"
  | "changed_log"
  | "deleted_thread"

/**
 * A journal that is damaged, or a text that is not one. `record` counts from 1. The records before it are whole: the first
 * `intactLength` characters of the text are a journal of their own. 0: the turn cannot be continued from any of it, as with a
 * compacted journal without its snapshot.
 */
export class JournalError extends TurnError<JournalErrorCode> {
  readonly record: number
  readonly intactLength: number

  constructor(code: JournalErrorCode, record: number, intactLength: number, message: string, options?: ErrorOptions) {
    super(code, message, options)
    this.record = record
    this.intactLength = intactLength
  }
}

/** Why a journal cannot be forked. */
export type ForkErrorCode = "no_such_record" | "not_a_response" | "answers_another_effect" | "invalid_answer" | "turn_id_in_use"

/** A journal that cannot be forked at that record, or not with that answer. `record` is the one that was asked for. */
export class ForkError extends TurnError<ForkErrorCode> {
  readonly record: number

  constructor(code: ForkErrorCode, record: number, message: string, options?: ErrorOptions) {
    super(code, message, options)
    this.record = record
  }
}

/**
 * One place at which two JSON values differ. `path` is a JSON pointer; "" is the whole value. A missing value is `undefined`.
 * Of a replay, `expected` is what the journal holds; of two journals, what the first one holds.
 */
export interface Difference {
  readonly path: string
  readonly expected: unknown
  readonly received: unknown
}

/** What differs between a replay and its journal. */
export type ReplayErrorCode = "configuration_differs" | "effect_differs" | "outcome_differs" | "snapshot_differs"

/** A replay that differs from its journal. `differences` are the first eight of `differenceCount`. */
export class ReplayDivergence extends TurnError<ReplayErrorCode> {
  /** The first record that differs, counted from 1. */
  readonly record: number
  readonly effectId: number | undefined
  readonly differences: readonly Difference[]
  readonly differenceCount: number

  constructor(code: ReplayErrorCode, record: number, effectId: number | undefined, all: readonly Difference[], message: string) {
    super(code, message)
    this.record = record
    this.effectId = effectId
    this.differences = all.slice(0, 8)
    this.differenceCount = all.length
  }
}
