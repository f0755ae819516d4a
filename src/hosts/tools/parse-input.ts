import { type $ZodIssue, config, type ParsePayload, util } from "zod/v4/core"
import { messageOptions } from "./argument-errors.ts"
import { coreSchema, type ZodSchema } from "./zod-schema.ts"

/** What a schema made of a value, or what is wrong with it. */
export type Parsed<Output> = { readonly success: true; readonly data: Output } | { readonly success: false; readonly issues: readonly $ZodIssue[] }

/** As zod's `safeParseAsync`, but without a promise where nothing in the schema is async, as in most. */
export function parseInput<Output>(schema: ZodSchema<Output>, value: unknown): Parsed<Output> | Promise<Parsed<Output>> {
  const context = { ...messageOptions(), async: true }
  const parsed = ({ issues, value: data }: ParsePayload): Parsed<Output> =>
    issues.length === 0
      ? { success: true, data: data as Output }
      : { success: false, issues: issues.map((issue) => util.finalizeIssue(issue, context, config())) }
  const result = coreSchema(schema)._zod.run({ value, issues: [] }, context)
  return result instanceof Promise ? result.then(parsed) : parsed(result)
}
