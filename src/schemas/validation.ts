import * as z from "zod"
import { SchemaError } from "../errors.ts"
import type { Validation } from "../machine/config.ts"
import { shortened } from "../text.ts"
import { DriverAction } from "./action.ts"
import { parse, parseSaved, unknownKey } from "./checking.ts"
import { TurnCheckpoint } from "./checkpoint.ts"
import { TurnConfigData, TurnStart } from "./config.ts"
import { configMistake } from "./config-mistakes.ts"
import { exactMatch } from "./exact-match.ts"
import { JournalRecord } from "./journal.ts"
import { Response } from "./response.ts"
import { startMistake, unknownStartKey } from "./start-mistakes.ts"
import { ThreadRecord } from "./thread.ts"

const DriverActions = z.array(DriverAction)

/** Checks one record of a journal. An unknown key is refused, because dropping it could lose its meaning. A valid record is returned itself. */
export function journalValidation(value: unknown): JournalRecord {
  return exactMatch(JournalRecord)(value) ? (value as JournalRecord) : parseRecord(JournalRecord, value, "journal record")
}

/** Checks one record of the log of a thread. An unknown key is refused. */
export function threadValidation(value: unknown): ThreadRecord {
  return parseRecord(ThreadRecord, value, "thread record")
}

/** As {@link threadValidation}, for a value that was parsed from JSON: one that is valid is returned itself. */
export function threadLineValidation(value: unknown): ThreadRecord {
  return exactMatch(ThreadRecord)(value) ? (value as ThreadRecord) : threadValidation(value)
}

function parseConfig(value: unknown): TurnConfigData {
  const mistake = configMistake(value)
  if (mistake === undefined) return parse(TurnConfigData, value, "invalid_config", "turn configuration")
  const { path, message } = mistake
  throw new SchemaError("invalid_config", `Not a valid turn configuration: "${shortened(path)}": ${message}${message.endsWith("?") ? "" : "."}`, [
    mistake,
  ])
}

function parseStart(value: unknown): TurnStart {
  try {
    const start = parse(TurnStart, value, "invalid_start", "start of a turn")
    const unknown = unknownStartKey(value as object)
    if (unknown === undefined) return start
    throw new SchemaError("invalid_start", unknown, [{ path: "", message: "unknown key" }])
  } catch (error) {
    const mistake = error instanceof SchemaError ? startMistake(value) : undefined
    if (mistake === undefined) throw error
    const { issues, cause } = error as SchemaError
    throw new SchemaError("invalid_start", mistake, issues, { cause })
  }
}

function parseRecord<Schema extends z.ZodType>(schema: Schema, value: unknown, what: string): z.output<Schema> {
  const record = parse(schema, value, "invalid_record", what)
  const path = unknownKey(value, record)
  if (path === undefined) return record
  throw new SchemaError("invalid_record", `Not a valid ${what}: unknown key at "${path}".`, [{ path, message: "unknown key" }])
}

/** Checks every value from outside for a turn machine against its schema. */
export const wireValidation: Validation = {
  response: (value) => parse(Response, value, "invalid_response", "response"),
  actions: (value) => parse(DriverActions, value, "invalid_actions", "list of actions"),
  start: parseStart,
  config: parseConfig,
  checkpoint: (value) => parseSaved(TurnCheckpoint, value, "checkpoint"),
}
