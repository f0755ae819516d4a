/** Any JSON value. The core carries free JSON (tool arguments, values, driver state) by reference; hosts copy what crosses their edge. */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json }

/** Deeper JSON is refused: `JSON.stringify` recurses, so a deeper value could enter a turn but never leave it. */
export const MAX_JSON_DEPTH = 128

/** Returns why a value is not JSON, or `undefined` if it is. `depth`: how deeply the value is nested already. */
export function whyNotJson(value: unknown, depth = 0): string | undefined {
  switch (typeof value) {
    case "string":
    case "boolean":
      return undefined
    case "number":
      return Number.isFinite(value) ? undefined : "a number that is not finite"
    case "object":
      return value === null ? undefined : whyNotJsonObject(value, depth)
    default:
      return `a value of type ${typeof value}`
  }
}

function whyNotJsonObject(value: object, depth: number): string | undefined {
  if (depth === MAX_JSON_DEPTH) return `JSON nested deeper than ${MAX_JSON_DEPTH}`
  if (Array.isArray(value)) {
    if (hasOwnJson(value)) return "a list with a toJSON method"
    // Not `every`, which passes over holes.
    for (let index = 0; index < value.length; index += 1) {
      const found = whyNotJson(value[index], depth + 1)
      if (found !== undefined) return found
    }
    return undefined
  }
  if (!isPlain(value)) return "an instance of a class"
  if (hasOwnJson(value)) return "an object with a toJSON method"
  for (const key of Object.keys(value)) {
    const found = whyNotJson((value as Record<string, unknown>)[key], depth + 1)
    if (found !== undefined) return found
  }
  return undefined
}

/** Whether an object is a literal or parsed JSON, and not an instance of a class, such as an array or a date. */
export function isPlain(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value)
  // A plain object of another realm has that realm's Object.prototype, which is the end of its chain, too.
  return prototype === null || Object.getPrototypeOf(prototype) === null
}

/** `JSON.stringify` reads `toJSON` of every object first. Reading it here refuses now what would throw then. */
function hasOwnJson(value: object): boolean {
  return typeof (value as { readonly toJSON?: unknown }).toJSON === "function"
}

/** Parses JSON text. Returns `undefined` if it is not JSON, or nested deeper than {@link MAX_JSON_DEPTH}. */
export function parseJson(text: string): Json | undefined {
  try {
    const value: unknown = JSON.parse(text)
    return whyNotJson(value) === undefined ? (value as Json) : undefined
  } catch {
    return undefined
  }
}

/** A copy of JSON that shares nothing with it. */
export function copyOf<Value extends Json>(value: Value): Value {
  return copied(value) as Value
}

function copied(value: Json): Json {
  if (typeof value !== "object" || value === null) return value
  if (Array.isArray(value)) return value.map(copied)
  const copy: Record<string, Json> = {}
  for (const key of Object.keys(value)) {
    const item = copied((value as { readonly [key: string]: Json })[key] as Json)
    setMember(copy, key, item)
  }
  return copy
}

/** Sets a member of an object, whatever its name. Assigning `__proto__` would set the prototype. */
export function setMember(object: Record<string, Json>, key: string, value: Json): void {
  if (key === "__proto__") Object.defineProperty(object, key, { value, enumerable: true, configurable: true, writable: true })
  else object[key] = value
}
/** JSON text with object keys in the order of their UTF-16 code units and no white space. Keys with the value `undefined` are left out. */
export function canonicalJson(value: Json): string {
  if (typeof value === "string") return JSON.stringify(value)
  if (value === null || typeof value !== "object") return JSON.stringify(value) ?? "null"
  let text = ""
  if (isList(value)) {
    for (const item of value) text += text === "" ? canonicalJson(item) : `,${canonicalJson(item)}`
    return `[${text}]`
  }
  for (const key of sortedKeys(value)) {
    const field = value[key]
    if (field !== undefined) text += `${text === "" ? "" : ","}${quoted(key)}:${canonicalJson(field)}`
  }
  return `{${text}}`
}

export function isList(value: Json): value is readonly Json[] {
  return Array.isArray(value)
}

/** Sorted by insertion: objects have few keys, and for those it takes a third of the time that `sort` does. */
export function sortedKeys(value: object): readonly string[] {
  const keys = Object.keys(value)
  if (keys.length > MOST_INSERTED) return keys.sort()
  for (let index = 1; index < keys.length; index += 1) {
    const key = keys[index] as string
    let place = index - 1
    for (; place >= 0 && (keys[place] as string) > key; place -= 1) keys[place + 1] = keys[place] as string
    keys[place + 1] = key
  }
  return keys
}

const MOST_INSERTED = 20
const PLAIN_KEY = /^[\w-]*$/

function quoted(key: string): string {
  return PLAIN_KEY.test(key) ? `"${key}"` : JSON.stringify(key)
}
