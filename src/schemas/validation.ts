import * as z from "zod"
import { CheckpointError, SchemaError, type SchemaErrorCode, type SchemaIssue } from "../errors.ts"
import type { Validation } from "../machine/turn.ts"
import { DriverAction } from "./action.ts"
import { TurnCheckpoint } from "./checkpoint.ts"
import { TurnConfigData, TurnStart } from "./config.ts"
import { JournalRecord } from "./journal.ts"
import { Response } from "./response.ts"

const DriverActions = z.array(DriverAction)

/** Checks one record of a journal; a key that nobody knows is refused, because leaving it out could lose what it means. */
export function journalValidation(value: unknown): JournalRecord {
  const record = parse(JournalRecord, value, "invalid_record", "journal record")
  const lost = unknownKey(value, record)
  if (lost === undefined) return record
  const path = pointer(lost)
  throw new SchemaError("invalid_record", `Not a valid journal record: unknown key at "${path}".`, [{ path, message: "unknown key" }])
}

/** Checks every value that crosses the machine's edge against its schema. */
export const wireValidation: Validation = {
  response: (value) => parse(Response, value, "invalid_response", "response"),
  actions: (value) => parse(DriverActions, value, "invalid_actions", "list of actions"),
  start: (value) => parse(TurnStart, value, "invalid_start", "start of a turn"),
  config: (value) => parse(TurnConfigData, value, "invalid_config", "turn configuration"),
  checkpoint(value) {
    const refuse = (cause: unknown) =>
      new CheckpointError("invalid_checkpoint", "", "The checkpoint cannot be read: looking at it throws.", { cause })
    const result = look(() => TurnCheckpoint.safeParse(value), refuse)
    if (!result.success) {
      const [first] = look(() => issuesOf(result.error), refuse)
      const { path, message } = first ?? { path: "", message: "unknown" }
      throw new CheckpointError("invalid_checkpoint", path, `The checkpoint is not valid at "${path}": ${message}.`, { cause: result.error })
    }
    const lost = look(() => unknownKey(value, result.data), refuse)
    if (lost === undefined) return result.data
    const path = pointer(lost)
    throw new CheckpointError("invalid_checkpoint", path, `The checkpoint has an unknown key at "${path}"; leaving it out could lose what it means.`)
  },
}

function parse<Schema extends z.ZodType>(schema: Schema, value: unknown, code: SchemaErrorCode, what: string): z.output<Schema> {
  const refuse = (cause: unknown) =>
    new SchemaError(code, `Not a valid ${what}: looking at it throws.`, [{ path: "", message: "it cannot be read" }], { cause })
  const result = look(() => schema.safeParse(value), refuse)
  if (result.success) return result.data
  // The messages are made when they are read, and making them looks at the value again.
  const issues = look(() => issuesOf(result.error), refuse)
  const shown = issues.slice(0, 3).map(({ path, message }) => `${path === "" ? "the whole" : `"${path}"`}: ${message}`)
  throw new SchemaError(code, `Not a valid ${what}: ${shown.join("; ")}.`, issues, { cause: result.error })
}

/** A proxy or a getter may throw whatever it likes; what comes out of here is one of our errors. */
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

/** The path of a key that parsing dropped, if any. What parsing passed on by reference (free JSON) is not searched. */
function unknownKey(input: unknown, output: unknown): readonly PropertyKey[] | undefined {
  if (input === output || typeof input !== "object" || input === null) return undefined
  if (Array.isArray(input)) {
    for (let index = 0; index < input.length; index += 1) {
      const found = unknownKey(input[index], (output as readonly unknown[])[index])
      if (found !== undefined) return [index, ...found]
    }
    return undefined
  }
  for (const key of Object.keys(input)) {
    if (!Object.hasOwn(output as object, key)) return [key]
    const found = unknownKey((input as Record<string, unknown>)[key], (output as Record<string, unknown>)[key])
    if (found !== undefined) return [key, ...found]
  }
  return undefined
}
