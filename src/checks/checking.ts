import { CheckpointError, SchemaError, type SchemaErrorCode, type SchemaIssue } from "../errors.ts"
import { type Check, type Key, pointer, Reading } from "./reading.ts"

/** A value that was read: a clean copy, and whether that is all of it; or what is wrong with it. */
export type Read<Value> =
  | { readonly ok: true; readonly value: Value; readonly isWhole: boolean }
  | { readonly ok: false; readonly issues: readonly SchemaIssue[] }

/**
 * Checks a value from outside, and returns a copy. Keys that the schema does not know are left out.
 * @throws {SchemaError} `code`, with the first three issues in its message
 */
export function parse<Value>(check: Check, value: unknown, code: SchemaErrorCode, what: string): Value {
  return parsed(check, value, code, what, false).value as Value
}

/**
 * Checks a record, which must not lose anything: a key that the schema does not know is refused.
 * @throws {SchemaError} `invalid_record`
 */
export function parseRecord<Value>(check: Check, value: unknown, what: string): Value {
  const { value: record, isWhole } = parsed(check, value, "invalid_record", what, true)
  const path = isWhole ? undefined : unknownKey(value, record)
  if (path === undefined) return record as Value
  throw new SchemaError("invalid_record", `Not a valid ${what}: unknown key at "${path}".`, [{ path, message: "unknown key" }])
}

/** As {@link parseRecord}, for a value that was parsed from JSON: one that is valid is returned itself. */
export function parseLine<Value>(check: Check, value: unknown, what: string): Value {
  const reading = new Reading("count")
  reading.whole(check, value)
  // The slower reading says what is wrong.
  if (reading.issues.length > 0 || reading.hasUnknownKey) parseRecord(check, value, what)
  return value as Value
}

/**
 * Checks a saved value, which must not lose anything: a key that the schema does not know is refused.
 * @throws {CheckpointError} `invalid_checkpoint`
 */
export function parseSaved<Value>(check: Check, value: unknown, what: string): Value {
  const refuse = (cause: unknown) => new CheckpointError("invalid_checkpoint", "", `The ${what} cannot be read: reading it throws.`, { cause })
  const result = look(() => read(check, value, true), refuse)
  if (!result.ok) {
    const { path, message } = result.issues[0] as SchemaIssue
    throw new CheckpointError("invalid_checkpoint", path, `The ${what} is not valid at "${path}": ${message}.`)
  }
  const path = result.isWhole ? undefined : look(() => unknownKey(value, result.value), refuse)
  if (path === undefined) return result.value as Value
  throw new CheckpointError("invalid_checkpoint", path, `The ${what} has an unknown key at "${path}"; dropping it could lose its meaning.`)
}

function parsed(check: Check, value: unknown, code: SchemaErrorCode, what: string, findsUnknownKeys: boolean): Read<unknown> & { readonly ok: true } {
  const result = look(
    () => read(check, value, findsUnknownKeys),
    (cause) => new SchemaError(code, `Not a valid ${what}: reading it throws.`, [{ path: "", message: "it cannot be read" }], { cause }),
  )
  if (result.ok) return result
  const { issues } = result
  const shown = issues.slice(0, 3).map(({ path, message }) => `${path === "" ? "the whole" : `"${path}"`}: ${message}`)
  throw new SchemaError(code, `Not a valid ${what}: ${shown.join("; ")}.`, issues)
}

/** Checks a value, and returns what is wrong with it. Throws what reading the value throws. */
export function read<Value>(check: Check, value: unknown, findsUnknownKeys = false): Read<Value> {
  const reading = new Reading(findsUnknownKeys ? "compare" : "ignore")
  const copy = reading.whole(check, value)
  if (reading.issues.length === 0) return { ok: true, value: copy as Value, isWhole: !reading.hasUnknownKey }
  return { ok: false, issues: reading.issues.map(({ path, message }) => ({ path, message })) }
}

/** Returns the JSON pointer of a key that a copy does not have, if any. */
function unknownKey(input: unknown, output: unknown): string | undefined {
  const found = droppedKey(input, output)
  return found === undefined ? undefined : pointer(found)
}

/** Values that are in the copy by reference (free JSON) are not searched. */
function droppedKey(input: unknown, output: unknown): readonly Key[] | undefined {
  if (input === output || typeof input !== "object" || input === null) return undefined
  if (Array.isArray(input)) {
    for (let index = 0; index < input.length; index += 1) {
      const found = droppedKey(input[index], (output as readonly unknown[])[index])
      if (found !== undefined) return [index, ...found]
    }
    return undefined
  }
  for (const key of Object.keys(input)) {
    if (!Object.hasOwn(output as object, key)) return [key]
    const found = droppedKey((input as Record<string, unknown>)[key], (output as Record<string, unknown>)[key])
    if (found !== undefined) return [key, ...found]
  }
  return undefined
}

/** A proxy or a getter may throw anything; this rethrows it as one of our errors. */
function look<Result>(act: () => Result, refuse: (cause: unknown) => Error): Result {
  try {
    return act()
  } catch (cause) {
    throw refuse(cause)
  }
}
