import * as z from "zod"
import { type Json as JsonValue, MAX_JSON_DEPTH, whyNotJson } from "../json.ts"

/** A value's type with all properties readonly, all the way down: values that crossed the edge are never changed in place. */
export type Readonlys<T> = Json extends T
  ? T
  : T extends readonly (infer Item)[]
    ? readonly Readonlys<Item>[]
    : T extends object
      ? { readonly [Key in keyof T]: Readonlys<T[Key]> }
      : T

/** The schema of a wire value. The type is written out in src/wire, so that messages and hovers name it. */
export type Schema<T> = z.ZodType<T, T>
/** The schema of an object or of a tagged union: it may be a member of a tagged union. */
export type Tagged<T> = z.ZodType<T, T, z.core.$ZodTypeInternals<T, T> & { readonly propValues: z.core.util.PropValues }>

type Same<Left, Right> = (<T>() => T extends Left ? 1 : 2) extends <T>() => T extends Right ? 1 : 2 ? true : false
type Exact<Of extends z.ZodType, T> = Same<Readonlys<z.output<Of>>, Readonlys<T>> extends true ? Of : { readonly "is not exactly": T }

/** Returns the schema under the name of its type. Compiles only where what it parses to is exactly that type. */
/* @__NO_SIDE_EFFECTS__ */
export function exact<T, Of extends z.ZodType>(
  schema: Of & Exact<Of, T>,
): z.ZodType<T, T, z.core.$ZodTypeInternals<T, T> & Pick<Of["_zod"], "propValues">> {
  return schema as never
}

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
