import { SchemaError } from "../errors.ts"
import { unknownKey } from "../unknown-key.ts"

/**
 * Refuses options that a driver does not have: a misspelled one would be ignored.
 * @throws {SchemaError} `invalid_config`
 */
export function checkOptions(driver: string, options: object, known: readonly string[]): void {
  const unknown = unknownKey(options, known)
  if (unknown === undefined) return
  const { key, hint = `the options are ${known.join(", ")}` } = unknown
  throw invalidOption(driver, key, `unknown option; ${hint}`)
}

/** The error of an option with a wrong value. */
export function invalidOption(driver: string, option: string, problem: string): SchemaError {
  const path = `/${option}`
  return new SchemaError("invalid_config", `The options of ${driver} are not valid at ${path}: ${problem}.`, [{ path, message: problem }])
}
