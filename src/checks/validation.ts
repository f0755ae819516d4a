import { SchemaError } from "../errors.ts"
import type { Validation } from "../machine/config.ts"
import { shortened } from "../text.ts"
import type { TurnConfigData, TurnStart } from "../wire/config.ts"
import { parse, parseSaved } from "./checking.ts"
import { configMistake } from "./config-mistakes.ts"
import { driverActions, response, turnCheckpoint, turnConfigData, turnStart } from "./generated/turn.ts"
import { startMistake, unknownStartKey } from "./start-mistakes.ts"

function parseConfig(value: unknown): TurnConfigData {
  const mistake = configMistake(value)
  if (mistake === undefined) return parse(turnConfigData, value, "invalid_config", "turn configuration")
  const { path, message } = mistake
  throw new SchemaError("invalid_config", `Not a valid turn configuration: "${shortened(path)}": ${message}${message.endsWith("?") ? "" : "."}`, [
    mistake,
  ])
}

function parseStart(value: unknown): TurnStart {
  try {
    const start = parse<TurnStart>(turnStart, value, "invalid_start", "start of a turn")
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

/** Checks every value from outside for a turn machine against its schema. */
export const wireValidation: Validation = {
  response: (value) => parse(response, value, "invalid_response", "response"),
  actions: (value) => parse(driverActions, value, "invalid_actions", "list of actions"),
  start: parseStart,
  config: parseConfig,
  checkpoint: (value) => parseSaved(turnCheckpoint, value, "checkpoint"),
}
