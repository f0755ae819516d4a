/**
 * What a caller got wrong is thrown as one of these; what the world did (a failed model call, a failed tool) is a value.
 *
 *     TurnError
 *     ├─ ProtocolError     the host: a response or an order that the turn cannot take now
 *     ├─ SchemaError       the host: a value that has not the shape of the wire
 *     ├─ DriverError       the driver: a list of actions that leads nowhere, or to two places
 *     ├─ CheckpointError   a checkpoint that cannot be restored
 *     ├─ JournalError      a journal that is damaged, or none
 *     ├─ ForkError         a journal that cannot be gone on with otherwise at that record, or not with that answer
 *     └─ ReplayDivergence  a journal that another turn than the replayed one has written
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
  | "turn_finished"
  | "action_starts_work"

/** A response or an order that the turn cannot take now. The turn is unchanged. */
export class ProtocolError extends TurnError<ProtocolErrorCode> {}

/** One thing that is wrong with a value: where, and what was expected there. */
export interface SchemaIssue {
  readonly path: string
  readonly message: string
}

/** Which of the values from outside has not the shape of the wire. */
export type SchemaErrorCode = "invalid_response" | "invalid_actions" | "invalid_start" | "invalid_config" | "invalid_record"

/** A value that has not the shape of the wire. Nothing was changed. `issues` says where, as JSON pointers. */
export class SchemaError extends TurnError<SchemaErrorCode> {
  readonly issues: readonly SchemaIssue[]

  constructor(code: SchemaErrorCode, message: string, issues: readonly SchemaIssue[], options?: ErrorOptions) {
    super(code, message, options)
    this.issues = issues
  }
}

/** What may be wrong with a list of driver actions, or with the driver that was asked for one. */
export type DriverErrorCode = "no_way_forward" | "two_starts" | "action_after_finish" | "unknown_action" | "missing_callback" | "driver_threw"

/** A list of driver actions that leads nowhere, or to two places. From a driver it ends the turn; from `apply` it is thrown. */
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

/** Why a journal cannot be read on. */
export type JournalErrorCode = "not_a_journal" | "unsupported_version" | "damaged_record" | "invalid_record" | "dropped_record"

/**
 * A journal that is damaged, or none. `record` counts from 1. What stands before it is whole: the first `intactLength`
 * characters of the text are a journal of their own. 0: nothing is left to go on with, as of a compacted journal without its snapshot.
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

/** A journal that cannot be gone on with otherwise at that record, or not with that answer. `record` is the one that was named. */
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

/** How a replay can part from its journal. */
export type ReplayErrorCode = "configuration_differs" | "effect_differs" | "outcome_differs" | "snapshot_differs"

/** A replay that does not give what its journal holds. `differences` are the first eight of `differenceCount`. */
export class ReplayDivergence extends TurnError<ReplayErrorCode> {
  /** The record at which the two parted, counted from 1. */
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
