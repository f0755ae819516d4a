/** The words of the generated checks: each reads one kind of value from outside, and returns a clean copy of it or notes what is wrong. */
import type { SchemaIssue } from "../errors.ts"
import { whyNotJson } from "../json.ts"

/** The key of a member, or the index of an item. */
export type Key = PropertyKey
/** The members of an object, by name. */
export type Fields = Record<string, unknown>
/** Reads the value at a key. Where the value is wrong, an issue is noted, and what is returned is not used. */
export type Check = (value: unknown, at: Reading, key: Key) => unknown
/** The checks of the members of a tagged union, by their tags. */
export type Tags = ReadonlyMap<unknown, Check>

/** An issue, and whether the value has the right type otherwise: of a union, the member with only such issues reports them. */
interface Issue extends SchemaIssue {
  readonly isOfRightType: boolean
}

/** The most issues of one value. A list with holes may have any length and cost nothing, so it is not read to its end. */
export const MOST_ISSUES = 100

/** The key of the whole value, which is left out of paths. */
const ROOT = ""

/**
 * How keys are found that a schema does not know: not at all; by comparing an object with its copy; or by counting the keys of both, which is
 * enough for a value that was parsed from JSON, because all of its keys are its own and can be enumerated.
 */
export type UnknownKeys = "ignore" | "compare" | "count"

/** One reading of a value: what is wrong with it, and whether it has keys that its schema does not know. */
export class Reading {
  readonly issues: Issue[] = []
  hasUnknownKey = false
  /** The keys of the objects and lists that are being read. */
  readonly keys: Key[] = []
  readonly #unknownKeys: UnknownKeys

  constructor(unknownKeys: UnknownKeys) {
    this.#unknownKeys = unknownKeys
  }

  /** Reads the whole value. */
  whole(check: Check, value: unknown): unknown {
    return check(value, this, ROOT)
  }

  note(key: Key, message: string, isOfRightType = false): undefined {
    this.issues.push({ path: pointer([...this.keys, key].slice(1)), message, isOfRightType })
  }

  /** Compares an object with its copy, which has the keys that are known. */
  compare(from: Fields, to: Fields): void {
    if (this.#unknownKeys === "ignore" || this.hasUnknownKey) return
    if (this.#unknownKeys === "count") {
      // A copy without issues has no key that the object does not have.
      if (keyCount(from) !== keyCount(to)) this.hasUnknownKey = true
      return
    }
    for (const key of Object.keys(from)) {
      if (Object.hasOwn(to, key)) continue
      this.hasUnknownKey = true
      return
    }
  }
}

function keyCount(fields: Fields): number {
  let count = 0
  for (const _key in fields) count += 1
  return count
}

/** A JSON pointer. */
export function pointer(path: readonly Key[]): string {
  return path.map((key) => `/${String(key).replaceAll("~", "~0").replaceAll("/", "~1")}`).join("")
}

/** Begins to read an object. `missing`: the message if there is no value. */
export function enter(value: unknown, at: Reading, key: Key, missing?: string): Fields | undefined {
  if (!isObject(value)) return wrongType(value, at, key, "object", missing)
  at.keys.push(key)
  return value
}

/** Ends the reading of an object. */
export function leave(from: Fields, to: Fields, at: Reading): Fields {
  at.keys.pop()
  at.compare(from, to)
  return to
}

/** Refuses all other keys of an object that is being read. */
export function refuseOthers(from: Fields, at: Reading, known: readonly string[]): void {
  const others: string[] = []
  for (const key in from) if (!known.includes(key)) others.push(key)
  if (others.length === 0) return
  const key = at.keys.pop() as Key
  at.note(key, `Unrecognized key${others.length > 1 ? "s" : ""}: ${others.map(shown).join(", ")}`, true)
  at.keys.push(key)
}

/** Reads a member of a tagged union. */
export function tagged(value: unknown, at: Reading, key: Key, tag: string, checks: Tags): unknown {
  if (!isObject(value)) return wrongType(value, at, key, "object")
  const check = checks.get(value[tag])
  if (check !== undefined) return check(value, at, key)
  at.keys.push(key)
  at.note(tag, `Invalid discriminator value. Expected ${[...checks.keys()].map((name) => `'${name}'`).join(" | ")}`)
  at.keys.pop()
}

/** Reads a member of a union without tags: the first that accepts the value. */
export function either(value: unknown, at: Reading, key: Key, checks: readonly Check[]): unknown {
  const { hasUnknownKey, issues } = at
  const { length } = issues
  const ofRightType: (readonly Issue[])[] = []
  for (const check of checks) {
    const result = check(value, at, key)
    if (issues.length === length) return result
    const found = issues.splice(length)
    at.hasUnknownKey = hasUnknownKey
    if (found.every(({ isOfRightType }) => isOfRightType)) ofRightType.push(found)
  }
  const [only] = ofRightType
  if (ofRightType.length === 1 && only !== undefined) issues.push(...only)
  else at.note(key, "Invalid input")
}

export function list(value: unknown, at: Reading, key: Key, check: Check): unknown {
  if (!Array.isArray(value)) return wrongType(value, at, key, "array")
  const items: readonly unknown[] = value
  const to: unknown[] = []
  at.keys.push(key)
  for (let index = 0; index < items.length && at.issues.length < MOST_ISSUES; index += 1) to.push(check(items[index], at, index))
  at.keys.pop()
  return to
}

/** Reads an object whose keys are free. */
export function record(value: unknown, at: Reading, key: Key, check: Check): unknown {
  if (!isRecord(value)) return wrongType(value, at, key, "record")
  const to: Fields = {}
  at.keys.push(key)
  for (const name of Reflect.ownKeys(value)) {
    // Assignment would set the prototype.
    if (name === "__proto__" || !Object.prototype.propertyIsEnumerable.call(value, name)) continue
    if (typeof name === "symbol") at.note(name, "Invalid key in record")
    else to[name] = check(value[name], at, name)
  }
  at.keys.pop()
  at.compare(value, to)
  return to
}

export function nullable(value: unknown, at: Reading, key: Key, check: Check): unknown {
  return value === null ? null : check(value, at, key)
}

/** Reads a member that may be `undefined`. */
export function optional(value: unknown, at: Reading, key: Key, check: Check): unknown {
  return value === undefined ? undefined : check(value, at, key)
}

/** `missing`: the message if there is no value. */
export function text(value: unknown, at: Reading, key: Key, missing?: string): unknown {
  return typeof value === "string" ? value : wrongType(value, at, key, "string", missing)
}

export function flag(value: unknown, at: Reading, key: Key): unknown {
  return typeof value === "boolean" ? value : wrongType(value, at, key, "boolean")
}

export function literal(value: unknown, at: Reading, key: Key, only: string | number | boolean): unknown {
  return value === only ? value : at.note(key, `Invalid input: expected ${shown(only)}`)
}

export function oneOf(value: unknown, at: Reading, key: Key, values: readonly string[]): unknown {
  if ((values as readonly unknown[]).includes(value)) return value
  return at.note(key, `Invalid option: expected one of ${values.map(shown).join("|")}`)
}

/** A finite number. What it returns instead of one is NaN, which no limit refuses again. */
export function number(value: unknown, at: Reading, key: Key): number {
  if (Number.isFinite(value)) return value as number
  wrongType(value, at, key, "number")
  return Number.NaN
}

/** A safe integer. */
export function int(value: unknown, at: Reading, key: Key): number {
  if (Number.isSafeInteger(value)) return value as number
  const found = number(value, at, key)
  if (Number.isNaN(found)) return found
  if (Number.isInteger(found)) {
    const limit =
      found > 0 ? `Too big: expected int to be <=${Number.MAX_SAFE_INTEGER}` : `Too small: expected int to be >=${Number.MIN_SAFE_INTEGER}`
    at.note(key, limit, true)
    return found
  }
  wrongType(value, at, key, "int")
  return Number.NaN
}

/** A safe integer that is not negative. */
export function count(value: unknown, at: Reading, key: Key): unknown {
  return atLeast(int(value, at, key), at, key, 0)
}

export function atLeast(value: number, at: Reading, key: Key, least: number): number {
  if (value < least) at.note(key, `Too small: expected number to be >=${least}`, true)
  return value
}

export function above(value: number, at: Reading, key: Key, limit: number): number {
  if (value <= limit) at.note(key, `Too small: expected number to be >${limit}`, true)
  return value
}

export function atMost(value: number, at: Reading, key: Key, most: number): number {
  if (value > most) at.note(key, `Too big: expected number to be <=${most}`, true)
  return value
}

/** Free JSON, which is returned itself. */
export function json(value: unknown, at: Reading, key: Key): unknown {
  const found = whyNotJson(value)
  return found === undefined ? value : at.note(key, `Expected JSON, received ${found}`)
}

function wrongType(value: unknown, at: Reading, key: Key, expected: string, missing?: string): undefined {
  at.note(key, value === undefined && missing !== undefined ? missing : `Invalid input: expected ${expected}, received ${typeNameOf(value)}`)
}

function isObject(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value)
}

/** Whether a value is an object that is not an instance of a class. */
function isRecord(value: unknown): value is Fields & { readonly [key: symbol]: unknown } {
  if (!isObject(value)) return false
  const maker = value["constructor"]
  if (typeof maker !== "function") return true
  const prototype: unknown = maker.prototype
  return isObject(prototype) && Object.hasOwn(prototype, "isPrototypeOf")
}

function typeNameOf(value: unknown): string {
  if (value === null) return "null"
  if (typeof value === "number") return Number.isFinite(value) ? "number" : String(value)
  if (typeof value !== "object") return typeof value
  if (Array.isArray(value)) return "array"
  const isPlain = Object.getPrototypeOf(value) === Object.prototype || !("constructor" in value) || !value.constructor
  return isPlain ? "object" : `${value.constructor.name}`
}

function shown(value: string | number | boolean): string {
  return typeof value === "string" ? `"${value}"` : String(value)
}
