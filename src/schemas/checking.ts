import type * as z from "zod"
import { CheckpointError, SchemaError, type SchemaErrorCode, type SchemaIssue } from "../errors.ts"

/**
 * Parses a value from outside. Keys that the schema does not know are left out.
 * @throws {SchemaError} `code`, with the first three issues in its message
 */
export function parse<Schema extends z.ZodType>(schema: Schema, value: unknown, code: SchemaErrorCode, what: string): z.output<Schema> {
  const refuse = (cause: unknown) =>
    new SchemaError(code, `Not a valid ${what}: reading it throws.`, [{ path: "", message: "it cannot be read" }], { cause })
  const result = look(() => schema.safeParse(value), refuse)
  if (result.success) return result.data
  // The messages are made when they are read, which reads the value again.
  const issues = look(() => issuesOf(result.error), refuse)
  const shown = issues.slice(0, 3).map(({ path, message }) => `${path === "" ? "the whole" : `"${path}"`}: ${message}`)
  throw new SchemaError(code, `Not a valid ${what}: ${shown.join("; ")}.`, issues, { cause: result.error })
}

/**
 * Parses a saved value, which must not lose anything: a key that the schema does not know is refused.
 * @throws {CheckpointError} `invalid_checkpoint`
 */
export function parseSaved<Schema extends z.ZodType>(schema: Schema, value: unknown, what: string): z.output<Schema> {
  const refuse = (cause: unknown) => new CheckpointError("invalid_checkpoint", "", `The ${what} cannot be read: reading it throws.`, { cause })
  const result = look(() => schema.safeParse(value), refuse)
  if (!result.success) {
    const [first] = look(() => issuesOf(result.error), refuse)
    const { path, message } = first ?? { path: "", message: "unknown" }
    throw new CheckpointError("invalid_checkpoint", path, `The ${what} is not valid at "${path}": ${message}.`, { cause: result.error })
  }
  const path = look(() => unknownKey(value, result.data), refuse)
  if (path === undefined) return result.data
  throw new CheckpointError("invalid_checkpoint", path, `The ${what} has an unknown key at "${path}"; dropping it could lose its meaning.`)
}

/** Returns the JSON pointer of a key that parsing dropped, if any. */
export function unknownKey(input: unknown, output: unknown): string | undefined {
  const found = droppedKey(input, output)
  return found === undefined ? undefined : pointer(found)
}

/** Values that parsing passed through by reference (free JSON) are not searched. */
function droppedKey(input: unknown, output: unknown): readonly PropertyKey[] | undefined {
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

function issuesOf(error: z.ZodError): readonly SchemaIssue[] {
  return error.issues.map((issue) => ({ path: pointer(issue.path), message: issue.message }))
}

function pointer(path: readonly PropertyKey[]): string {
  return path.map((key) => `/${String(key).replaceAll("~", "~0").replaceAll("/", "~1")}`).join("")
}
