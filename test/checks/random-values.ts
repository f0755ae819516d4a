import { isProxy } from "node:util/types"
import * as fc from "fast-check"
import type * as z from "zod"
import { Json } from "../../src/schemas/json.ts"

type Schema = z.core.$ZodType

/** Random values that a schema accepts. */
export function valid(schema: Schema): fc.Arbitrary<unknown> {
  if (schema === (Json as unknown)) return fc.jsonValue({ maxDepth: 2 })
  const def = schema._zod.def as z.core.$ZodTypes["_zod"]["def"]
  switch (def.type) {
    case "string":
      return fc.string({ maxLength: 4 })
    case "boolean":
      return fc.boolean()
    case "number":
      return fc.integer({ min: 0, max: 1 }).map((number) => ("checks" in def && def.checks?.length === 1 ? number + 1 : number))
    case "literal":
      return fc.constantFrom(...def.values)
    case "enum":
      return fc.constantFrom(...Object.values(def.entries))
    case "array":
      return fc.array(valid(def.element), { maxLength: 2 })
    case "object": {
      const fields = Object.entries(def.shape)
      const requiredKeys = fields.filter(([, field]) => field._zod.optin === undefined).map(([key]) => key)
      return fc.record(Object.fromEntries(fields.map(([key, field]) => [key, valid(field)])), { requiredKeys, noNullPrototype: true })
    }
    case "union":
      return fc.oneof(...def.options.map(valid))
    case "record":
      return fc.dictionary(fc.string({ maxLength: 3 }), valid(def.valueType), { maxKeys: 2, noNullPrototype: true })
    case "nullable":
      return fc.option(valid(def.innerType))
    case "optional":
      return valid(def.innerType)
    default:
      throw new Error(`No random values for ${def.type}.`)
  }
}

class Thing {
  readonly type = "text"
}

/** Values that are wrong in most places, each made anew. */
const ODD: readonly (() => unknown)[] = [
  ...[
    undefined,
    null,
    true,
    false,
    0,
    -0,
    -1,
    0.5,
    1.5,
    2,
    2 ** 53,
    -(2 ** 53),
    1e308,
    Number.NaN,
    Number.POSITIVE_INFINITY,
    Number.NEGATIVE_INFINITY,
  ],
  ...["", "text", "user", "1", "__proto__", "constructor", 1n, Symbol.iterator],
].map((value) => () => value)
const ODD_OBJECTS: readonly (() => unknown)[] = [
  () => () => 1,
  () => [],
  () => ({}),
  () => [undefined],
  () => Object.assign([], { length: 3 }),
  () => ({ type: "text" }),
  () => ({ a: undefined }),
  () => new Thing(),
  () => new Date(0),
  () => new Map([["type", "done"]]),
  () => new String("text"),
  () => new Uint8Array(2),
  () => Promise.resolve(1),
  () => Object.assign(Object.create(null) as object, { type: "text", text: "t" }),
  () => Object.create({ type: "text", text: "t", ok: true, error: "e" }) as object,
  () => JSON.parse('{"__proto__":{"type":"text"},"type":"text"}') as unknown,
  () => ({ toJSON: () => 1 }),
  () => ({ constructor: 1 }),
  () => ({ constructor: { name: Symbol("name") } }),
  () => Object.create({ constructor: { name: Symbol("name") } }) as object,
  () => ({
    get type(): never {
      throw new Error("no")
    },
  }),
  () => {
    const object: Record<string, unknown> = { type: "text" }
    object["text"] = object
    return object
  },
  () => JSON.parse("[".repeat(130) + "]".repeat(130)) as unknown,
  () =>
    new Proxy(
      {},
      {
        get: () => {
          throw new RangeError("no")
        },
        // A check reads no optional member that is not there; a schema does.
        has: () => {
          throw new RangeError("no")
        },
      },
    ),
  () => new Proxy({ type: "text", text: "t" }, {}),
  () => {
    const { proxy, revoke } = Proxy.revocable([], {})
    revoke()
    return proxy
  },
]

const odd: fc.Arbitrary<() => unknown> = fc.oneof(
  fc.constantFrom(...ODD, ...ODD_OBJECTS),
  fc.jsonValue({ maxDepth: 2 }).map((value) => () => value),
)

/** A value that a schema accepts, with all keys that it may have. */
export function fullValue(schema: Schema): unknown {
  if (schema === (Json as unknown)) return { any: [1] }
  const def = schema._zod.def as z.core.$ZodTypes["_zod"]["def"]
  switch (def.type) {
    case "string":
      return "text"
    case "boolean":
      return true
    case "number":
      return 1
    case "literal":
      return def.values[0]
    case "enum":
      return Object.values(def.entries)[0]
    case "array":
      return [fullValue(def.element)]
    case "object":
      return Object.fromEntries(Object.entries(def.shape).map(([key, field]) => [key, fullValue(field)]))
    case "union":
      return fullValue(def.options[0] as Schema)
    case "record":
      return { key: fullValue(def.valueType) }
    case "nullable":
    case "optional":
      return fullValue(def.innerType)
    default:
      throw new Error(`No value for ${def.type}.`)
  }
}

/** Every odd value at every place of a schema. An object or union that occurs at several places is looked into at the first. */
export function* oddAtEveryPlace(schema: Schema, seen: Set<Schema> = new Set()): Generator<unknown> {
  for (const make of [...ODD, ...ODD_OBJECTS]) yield make()
  const def = schema._zod.def as z.core.$ZodTypes["_zod"]["def"]
  if (schema === (Json as unknown) || ((def.type === "object" || def.type === "union") && seen.has(schema))) return
  seen.add(schema)
  switch (def.type) {
    case "literal":
      yield* def.values
      break
    case "enum":
      yield* Object.values(def.entries)
      break
    case "array":
      yield []
      for (const item of oddAtEveryPlace(def.element, seen)) yield [fullValue(def.element), item]
      break
    case "object": {
      const full = fullValue(schema) as object
      yield full
      yield { ...full, unknown: 1 }
      for (const [key, field] of Object.entries(def.shape)) {
        const { [key as never]: _, ...rest } = full
        yield rest
        for (const value of oddAtEveryPlace(field, seen)) yield { ...full, [key]: value }
      }
      break
    }
    case "union":
      for (const option of def.options) yield* oddAtEveryPlace(option, seen)
      break
    case "record":
      for (const value of oddAtEveryPlace(def.valueType, seen)) yield { key: value }
      break
    case "nullable":
    case "optional":
      yield* oddAtEveryPlace(def.innerType, seen)
      break
  }
}

/** Changes an object or a list in place, at one of its keys. */
type Change = (holder: Record<string, unknown>, key: string, other: unknown) => void

/** Assignment would call setters, and set the prototype. */
function put(holder: Record<string, unknown>, key: string, value: unknown): void {
  Object.defineProperty(holder, key, { value, enumerable: true, configurable: true, writable: true })
}

/** `undefined` where a getter throws. */
function valueAt(holder: Record<string, unknown>, key: string): unknown {
  try {
    return holder[key]
  } catch {
    return undefined
  }
}

const CHANGES: readonly Change[] = [
  put,
  (holder, key) => {
    delete holder[key]
  },
  (holder, key) => put(holder, key, undefined),
  (holder, key) => {
    const value = valueAt(holder, key)
    delete holder[key]
    put(holder, `${key}s`, value)
  },
  (holder, _key, other) => put(holder, "unknown", other),
  (holder, _key, other) => put(holder, "__proto__", other),
  (holder, _key, other) => Object.defineProperty(holder, Symbol("s"), { value: other, enumerable: true, configurable: true }),
  (holder, key) => Object.defineProperty(holder, key, { enumerable: false }),
  (holder, key) => {
    const value = valueAt(holder, key)
    Object.defineProperty(holder, key, { get: () => value, enumerable: true, configurable: true })
  },
  (holder, key) =>
    Object.defineProperty(holder, key, {
      get: () => {
        throw new Error("no")
      },
      enumerable: true,
      configurable: true,
    }),
  (holder, key) => {
    const value = valueAt(holder, key)
    delete holder[key]
    Object.setPrototypeOf(holder, { [key]: value })
  },
  (holder) => Object.setPrototypeOf(holder, null),
  (holder) => Object.setPrototypeOf(holder, { inherited: 1 }),
  (holder) => Object.setPrototypeOf(holder, Thing.prototype),
]

/** Random valid values of a schema, with up to two changes, each somewhere in it. */
export function changed(schema: Schema): fc.Arbitrary<{ readonly value: unknown }> {
  const change = fc.tuple(fc.nat(), fc.constantFrom(...CHANGES), odd)
  return fc.tuple(valid(schema), fc.array(change, { maxLength: 2 })).map(([value, changes]) => {
    // The arbitrary uses its values again.
    const root: Record<string, unknown> = { root: structuredClone(value) }
    for (const [number, change, other] of changes) {
      const places = placesIn(root, [])
      const [holder, key] = places[number % places.length] ?? [root, "root"]
      change(holder, key, other())
    }
    return { value: valueAt(root, "root") }
  })
}

/** Every value in a value, by what holds it, and its key. */
function placesIn(holder: Record<string, unknown>, seen: readonly unknown[]): readonly (readonly [Record<string, unknown>, string])[] {
  return Object.keys(holder).flatMap((key) => {
    const value = valueAt(holder, key)
    const isEnd = typeof value !== "object" || value === null || isProxy(value) || ArrayBuffer.isView(value) || value instanceof String
    const isInside = isEnd || seen.includes(value) || seen.length === 20
    return [[holder, key] as const, ...(isInside ? [] : placesIn(value as Record<string, unknown>, [...seen, value]))]
  })
}
