import { TurnError } from "../errors.ts"
import { digest } from "./digest.ts"

/**
 * How far the events of a thread go. Inputs are counted on their own, because how they lie between the records of a running turn is not
 * recorded.
 */
export interface ThreadPosition {
  /** The last record of the log that is not an input, counted from 1; the beginning of a turn while its journal is read. */
  readonly main: number
  /** The last record of the turn's journal; 0 for those of the log. */
  readonly record: number
  /** How many events of this record there were, beside those of the history. */
  readonly index: number
  /** How many records of the history there were. */
  readonly places: number
  /** The last record of the log that is an input. */
  readonly inputs: number
  /** How many events of this input there were. */
  readonly inputIndex: number
}

/** What an event counts as. */
export type EventKind = "input" | "history" | "fact"

export const START: ThreadPosition = { main: 0, record: 0, index: 0, places: 0, inputs: 0, inputIndex: 0 }

const PARTS = ["main", "record", "index", "places", "inputs", "inputIndex"] as const satisfies readonly (keyof ThreadPosition)[]

/** Whether an event at `position` is among those up to `known`. */
export function isKnown(kind: EventKind, position: ThreadPosition, known: ThreadPosition): boolean {
  if (kind === "history") return position.places <= known.places
  if (kind === "input") return compare([position.inputs, position.inputIndex], [known.inputs, known.inputIndex]) <= 0
  return compare(mainOf(position), mainOf(known)) <= 0
}

/** Whether every event up to `position` is among those up to `known`. */
export function includes(known: ThreadPosition, position: ThreadPosition): boolean {
  return (["history", "input", "fact"] as const).every((kind) => isKnown(kind, position, known))
}

/** The events up to both positions. */
export function joined(left: ThreadPosition, right: ThreadPosition): ThreadPosition {
  const { main, record, index } = compare(mainOf(left), mainOf(right)) < 0 ? right : left
  const { inputs, inputIndex } = isKnown("input", left, right) ? right : left
  return { main, record, index, places: Math.max(left.places, right.places), inputs, inputIndex }
}

function mainOf({ main, record, index }: ThreadPosition): readonly number[] {
  return [main, record, index]
}

function compare(left: readonly number[], right: readonly number[]): number {
  for (const [place, value] of left.entries()) if (value !== right[place]) return value - (right[place] ?? 0)
  return 0
}

/** Why a cursor is refused. */
export type ThreadCursorErrorCode = "invalid_cursor" | "cursor_of_other_thread" | "cursor_beyond_end"

/** A cursor that a thread's events cannot continue from. */
export class ThreadCursorError extends TurnError<ThreadCursorErrorCode> {}

/** What the cursors of a thread begin with: a digest of its id, and of when it was created. */
export function cursorTag(threadId: string, createdAt: number): string {
  return digest([threadId, createdAt]).slice(0, 8)
}

/** The cursor of a position. Of two positions in one stream, the later one has the greater cursor, as JavaScript compares texts. */
export function cursorOf(tag: string, position: ThreadPosition): string {
  return `${tag}-${PARTS.map((part) => sortable(position[part])).join("")}`
}

/** A number as text that sorts as the number does: the length of its digits in base 36, and these. */
function sortable(value: number): string {
  const digits = value.toString(36)
  return `${digits.length.toString(36)}${digits}`
}

/** @throws {ThreadCursorError} `invalid_cursor`, `cursor_of_other_thread` */
export function positionOf(tag: string, cursor: string): ThreadPosition {
  const [, own, numbers] = (typeof cursor === "string" && /^([0-9a-f]{8})-([0-9a-z]+)$/.exec(cursor)) || []
  const position = numbers === undefined ? undefined : read(numbers)
  if (position === undefined)
    throw new ThreadCursorError(
      "invalid_cursor",
      `Not a cursor of a thread: ${JSON.stringify(cursor)}. Pass the cursor of an event, or leave after out.`,
    )
  if (own !== tag)
    throw new ThreadCursorError(
      "cursor_of_other_thread",
      `The cursor ${JSON.stringify(cursor)} belongs to another thread. Leave after out to read this thread from its beginning.`,
    )
  return position
}

function read(text: string): ThreadPosition | undefined {
  const values: number[] = []
  let at = 0
  for (const _part of PARTS) {
    const length = Number.parseInt(text[at] ?? "", 36)
    const digits = text.slice(at + 1, at + 1 + length)
    const value = Number.parseInt(digits, 36)
    if (!(length > 0) || digits.length !== length || !Number.isSafeInteger(value) || value.toString(36) !== digits) return undefined
    values.push(value)
    at += 1 + length
  }
  const [main = 0, record = 0, index = 0, places = 0, inputs = 0, inputIndex = 0] = values
  return at === text.length ? { main, record, index, places, inputs, inputIndex } : undefined
}

export function beyondEnd(cursor: string): ThreadCursorError {
  const message = `The cursor ${JSON.stringify(cursor)} is beyond the end of the thread, which was restored from an older copy, or written by another store. Leave after out to read it from its beginning.`
  return new ThreadCursorError("cursor_beyond_end", message)
}
