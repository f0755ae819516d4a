import { type $ZodIssue, type $ZodType, type ParsePayload, safeParse } from "zod/v4/core"
import { messageOptions } from "./argument-errors.ts"
import { coreSchema, type ZodSchema } from "./zod-schema.ts"

/** What a schema made of a value, or what is wrong with it. */
export type Parsed<Output> = { readonly success: true; readonly data: Output } | { readonly success: false; readonly issues: readonly $ZodIssue[] }

/** As zod's `safeParseAsync`, but without a promise where nothing in the schema is async, as in most. */
export function parseInput<Output>(schema: ZodSchema<Output>, value: unknown): Parsed<Output> | Promise<Parsed<Output>> {
  const result = coreSchema(schema)._zod.run({ value, issues: [] }, { ...messageOptions(), async: true })
  return result instanceof Promise ? result.then(parsed<Output>) : parsed(result)
}

function parsed<Output>(payload: ParsePayload): Parsed<Output> {
  if (payload.issues.length === 0) return { success: true, data: payload.value as Output }
  // zod words the issues of a schema only as it parses. Parsing the value again would look at the world again.
  const known = { _zod: { run: () => payload } } as unknown as $ZodType
  return { success: false, issues: safeParse(known, payload.value, messageOptions()).error?.issues ?? [] }
}
