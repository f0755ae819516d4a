import * as z from "zod"

/** Any JSON value. Free JSON (tool arguments, values, driver state) is carried by reference and never copied. */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json }

/** Deeper JSON is refused: `JSON.stringify` recurses, so a deeper value could enter a turn but never leave it. */
export const MAX_JSON_DEPTH = 128

/** All properties readonly, all the way down: values that crossed the edge are never changed in place. */
export type Readonlys<T> = T extends readonly (infer Item)[]
  ? readonly Readonlys<Item>[]
  : T extends object
    ? { readonly [Key in keyof T]: Readonlys<T[Key]> }
    : T

/** Says what keeps a value from being JSON, or `undefined` if nothing does. Reads, never calls, what it is given. */
function notJson(value: unknown, depth: number): string | undefined {
  switch (typeof value) {
    case "string":
    case "boolean":
      return undefined
    case "number":
      return Number.isFinite(value) ? undefined : "a number that is not finite"
    case "object":
      break
    default:
      return `a value of type ${typeof value}`
  }
  if (value === null) return undefined
  if (depth === MAX_JSON_DEPTH) return `JSON nested deeper than ${MAX_JSON_DEPTH}`
  if (Array.isArray(value)) {
    for (let index = 0; index < value.length; index += 1) {
      const found = notJson(value[index], depth + 1)
      if (found !== undefined) return found
    }
    return undefined
  }
  const prototype: unknown = Object.getPrototypeOf(value)
  if (prototype !== null && prototype !== Object.prototype && Object.getPrototypeOf(prototype) !== null) return "an instance of a class"
  for (const key of Object.keys(value)) {
    const found = notJson((value as Record<string, unknown>)[key], depth + 1)
    if (found !== undefined) return found
  }
  return undefined
}

/** Free JSON: finite numbers, plain objects and arrays, at most {@link MAX_JSON_DEPTH} deep. */
export const Json: z.ZodType<Json> = z.unknown().check((context) => {
  const found = notJson(context.value, 0)
  if (found !== undefined) context.issues.push({ code: "custom", message: `Expected JSON, received ${found}`, input: context.value })
}) as unknown as z.ZodType<Json>

/** A count or an id: a non-negative safe integer. */
export const Count: z.ZodInt = z.int().check(z.nonnegative())
/** Integer milliseconds since the Unix epoch, as the host's clock gave them. */
export const Timestamp: z.ZodInt = z.int()
