import { isPlain } from "../../json.ts"
import type { ToolEffects } from "../host.ts"
import { shorten } from "./argument-errors.ts"
import { ToolDefinitionError } from "./tool-definition-error.ts"

const EFFECTS: { readonly [Effects in ToolEffects]: true } = { none: true, idempotent: true, once: true }

/** @throws {ToolDefinitionError} `invalid_name`. `what` names the tool, which has no name of its own. */
export function checkName(name: unknown, what: string): asserts name is string {
  if (typeof name !== "string" || name.trim() === "") throw new ToolDefinitionError("invalid_name", `${what} needs a name.`)
}

/**
 * Refuses names that model APIs refuse. OpenAI, Anthropic and Gemini all accept this alphabet, up to 64 characters.
 * @throws {ToolDefinitionError} `invalid_name`
 */
export function checkNameForModels(name: string): void {
  if (/^[\w-]{1,64}$/.test(name)) return
  const rule = "must match [A-Za-z0-9_-]{1,64}: letters from A to Z, digits, _ and -, at most 64 characters."
  const words = name
    .normalize("NFKD")
    .replace(/\p{M}/gu, "")
    .match(/[\w-]+/g)
  const hint = words === null ? "" : ` Use ${JSON.stringify(words.join("_").slice(0, 64))}.`
  throw new ToolDefinitionError("invalid_name", `The tool name ${JSON.stringify(shorten(name))} ${rule}${hint}`)
}

/** @throws {ToolDefinitionError} `invalid_description` */
export function checkDescription(name: string, description: unknown): asserts description is string {
  if (typeof description !== "string") throw new ToolDefinitionError("invalid_description", `The description of the tool "${name}" must be a string.`)
}

/**
 * Refuses effects that do not exist. Anything but `once` lets a call run again after a crash, so a misspelt `once` would run twice.
 * @throws {ToolDefinitionError} `invalid_effects`
 */
export function checkEffects(name: string, effects: unknown): void {
  if (effects === undefined || (typeof effects === "string" && Object.hasOwn(EFFECTS, effects))) return
  const given = typeof effects === "string" ? JSON.stringify(effects) : kindOf(effects)
  throw new ToolDefinitionError("invalid_effects", `effects of the tool "${name}" must be "none", "idempotent" or "once", not ${given}.`)
}

/** Whether a value is a schema of zod, of version 3 or 4. */
export function isZodLike(value: object): boolean {
  return "_zod" in value || ("_def" in value && "parse" in value)
}

/** Whether a value is an object literal, or parsed JSON: not an array and not an instance of a class. */
export function isPlainObject(value: unknown): boolean {
  return typeof value === "object" && value !== null && !Array.isArray(value) && isPlain(value)
}

/** Names the kind of a value in a message: `null`, `a number`, `an array`, `an instance of Date`. */
export function kindOf(value: unknown): string {
  if (value === null || value === undefined) return String(value)
  if (Array.isArray(value)) return "an array"
  if (typeof value !== "object") return `a ${typeof value}`
  if (isPlainObject(value)) return "an object"
  const className: unknown = (value.constructor as { readonly name?: unknown } | undefined)?.name
  return typeof className === "string" && className !== "" ? `an instance of ${className}` : "an instance of a class"
}
