import { isPlain, type Json, MAX_JSON_DEPTH, setMember } from "../../json.ts"

/**
 * Converts a value to JSON as `JSON.stringify` does, but never drops data silently. `undefined` becomes null, and its key is left out of
 * an object. `toJSON` methods are called, and instances of a class become their own properties. Plain JSON is returned as it is, without
 * a copy.
 * @throws {TypeError} with the place: a number that is not finite; a value that contains itself or is nested deeper than `maxDepth`; a
 *   value without a JSON form, such as a function, symbol, bigint, map, set, promise or error; bytes, such as a `Buffer` or a `Blob`
 */
export function toJson(value: unknown, maxDepth: number = MAX_JSON_DEPTH): Json {
  return plain(value, { maxDepth, ancestors: [], path: [], isOwn: false }) ?? null
}

/**
 * As {@link toJson}, as a frozen copy of its own. What an executor does to its value later does not reach the turn.
 * @throws {TypeError} as {@link toJson}
 */
export function ownJson(value: unknown, maxDepth: number = MAX_JSON_DEPTH): Json {
  return plain(value, { maxDepth, ancestors: [], path: [], isOwn: true }) ?? null
}

/** The own members of a value that an executor returned or threw; none if reading them throws. */
export function membersOf<Value extends object>(value: Value | undefined): Partial<Value> {
  try {
    return { ...value } as Partial<Value>
  } catch {
    return {}
  }
}

interface Walk {
  readonly maxDepth: number
  readonly ancestors: object[]
  readonly path: (string | number)[]
  /** Whether the result is a frozen copy. */
  readonly isOwn: boolean
}

function plain(value: unknown, walk: Walk): Json | undefined {
  if (typeof value !== "object" || value === null) return plainScalar(value, walk)
  const { toJSON } = value as { toJSON?: unknown }
  // The toJSON of a Buffer returns a list of numbers.
  if (typeof toJSON !== "function" || ArrayBuffer.isView(value)) return plainObject(value, walk)
  const own: unknown = toJSON.call(value, String(walk.path.at(-1) ?? ""))
  return typeof own !== "object" || own === null ? plainScalar(own, walk) : plainObject(own, walk)
}

function plainScalar(value: unknown, walk: Walk): Json | undefined {
  switch (typeof value) {
    case "string":
    case "boolean":
    case "undefined":
      return value
    case "number":
      if (!Number.isFinite(value)) throw notJson(`the number ${value}`, walk)
      // JSON has no negative zero, so a checkpoint could not restore it.
      return value === 0 ? 0 : value
    case "object":
      return null
    default:
      throw notJson(`a ${typeof value}`, walk)
  }
}

function plainObject(value: object, walk: Walk): Json {
  if (walk.ancestors.includes(value)) throw notJson("a value that contains itself", walk)
  if (walk.ancestors.length >= walk.maxDepth) throw notJson(`nested deeper than ${walk.maxDepth}`, walk)
  walk.ancestors.push(value)
  const result = Array.isArray(value) ? plainList(value, walk) : plainRecord(value as Record<string, unknown>, walk)
  walk.ancestors.pop()
  return walk.isOwn ? Object.freeze(result) : result
}

function plainList(list: readonly unknown[], walk: Walk): Json {
  let changed = walk.isOwn
  const items: Json[] = []
  // Not `map`, which skips holes.
  for (let index = 0; index < list.length; index += 1) {
    const item = step(list[index], index, walk) ?? null
    changed ||= !Object.is(item, list[index])
    items.push(item)
  }
  return changed ? items : (list as readonly Json[])
}

function plainRecord(record: Record<string, unknown>, walk: Walk): Json {
  // Maps, promises and bytes are instances of classes.
  const isLiteral = isPlain(record) && !(Symbol.toStringTag in record)
  if (!isLiteral) refuseInstance(record, walk)
  const copy: Record<string, Json> = {}
  let changed = walk.isOwn || !isLiteral
  for (const key of Object.keys(record)) {
    const before = record[key]
    const item = step(before, key, walk)
    changed ||= !Object.is(item, before) || item === undefined
    if (item !== undefined) setMember(copy, key, item)
  }
  return changed ? copy : (record as { readonly [key: string]: Json })
}

function refuseInstance(record: object, walk: Walk): void {
  const tag = Object.prototype.toString.call(record).slice("[object ".length, -1)
  if (ArrayBuffer.isView(record) || /^(?:Shared)?ArrayBuffer$|^Blob$|^File$/.test(tag)) throw notJson(`bytes (${tag})`, walk, BYTES_ADVICE)
  if (tag !== "Object") throw notJson(tag === "Promise" ? "a Promise (is an await missing?)" : `an instance of ${tag}`, walk)
}

function step(value: unknown, key: string | number, walk: Walk): Json | undefined {
  if (typeof value === "string") return value
  walk.path.push(key)
  const item = plain(value, walk)
  walk.path.pop()
  return item
}

const BYTES_ADVICE = " Return an attachment (a tool has context.attach), or a text such as base64."

function notJson(found: string, { path }: Walk, advice = ""): TypeError {
  const pointer = path.slice(0, 8).map((key) => `/${key}`)
  return new TypeError(`Not JSON: ${found}${pointer.length > 0 ? ` at "${pointer.join("")}${path.length > 8 ? "/…" : ""}"` : ""}.${advice}`)
}
