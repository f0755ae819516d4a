import * as z from "zod"
import { type Json as JsonValue, MAX_JSON_DEPTH, whyNotJson } from "../json.ts"

/** All properties readonly, all the way down: values that crossed the edge are never changed in place. */
export type Readonlys<T> = T extends readonly (infer Item)[]
  ? readonly Readonlys<Item>[]
  : T extends object
    ? { readonly [Key in keyof T]: Readonlys<T[Key]> }
    : T

export type Json = JsonValue
export { MAX_JSON_DEPTH }

/** Free JSON: finite numbers, plain objects and arrays, at most {@link MAX_JSON_DEPTH} deep. */
export const Json: z.ZodType<Json> = z.unknown().check((context) => {
  const found = whyNotJson(context.value)
  if (found !== undefined) context.issues.push({ code: "custom", message: `Expected JSON, received ${found}`, input: context.value })
}) as unknown as z.ZodType<Json>

/** A count or an id: a non-negative safe integer. */
export const Count: z.ZodInt = z.int().check(z.nonnegative())
/** Integer milliseconds since the Unix epoch, as the host's clock gave them. */
export const Timestamp: z.ZodInt = z.int()
