import { type $ZodIssue, type $ZodRawIssue, config, util } from "zod/v4/core"
import { messageOptions } from "./argument-errors.ts"
import { coreSchema, type ZodSchema } from "./zod-schema.ts"

/** What a schema made of a value, or what is wrong with it. */
export type Parsed<Output> = { readonly success: true; readonly data: Output } | { readonly success: false; readonly issues: readonly $ZodIssue[] }

/** As zod's `safeParseAsync`, but without a promise where nothing in the schema is async, as in most. */
export function parseInput<Output>(schema: ZodSchema<Output>, value: unknown): Parsed<Output> | Promise<Parsed<Output>> {
  const context = { ...messageOptions(), async: true }
  const result = coreSchema(schema)._zod.run({ value, issues: [] }, context)
  const parsed = (made: { readonly value: unknown; readonly issues: readonly $ZodRawIssue[] }): Parsed<Output> =>
    made.issues.length === 0
      ? { success: true, data: made.value as Output }
      : { success: false, issues: made.issues.map((issue) => util.finalizeIssue(issue, context, config())) }
  return result instanceof Promise ? result.then(parsed) : parsed(result)
}
