import { type $ZodIssue, safeParse, safeParseAsync } from "zod/v4/core"
import { messageOptions } from "./argument-errors.ts"
import { coreSchema, type ZodSchema } from "./zod-schema.ts"

/** What a schema made of a value, or what is wrong with it. */
export type Parsed<Output> = { readonly success: true; readonly data: Output } | { readonly success: false; readonly issues: readonly $ZodIssue[] }

/**
 * As zod's `safeParseAsync`, but without a promise where nothing in the schema is async, as in most. A value that does not match is parsed once
 * more for the words that say why.
 */
export function parseInput<Output>(schema: ZodSchema<Output>, value: unknown): Parsed<Output> | Promise<Parsed<Output>> {
  const core = coreSchema(schema)
  const result = core._zod.run({ value, issues: [] }, { ...messageOptions(), async: true })
  if (result instanceof Promise)
    return result.then(async (made) => (made.issues.length === 0 ? matched(made.value) : parsed(await safeParseAsync(core, value, messageOptions()))))
  return result.issues.length === 0 ? matched(result.value) : parsed(safeParse(core, value, messageOptions()))
}

function matched<Output>(value: unknown): Parsed<Output> {
  return { success: true, data: value as Output }
}

/** A schema that looks at the world may accept now what it refused. */
function parsed<Output>(result: ReturnType<typeof safeParse>): Parsed<Output> {
  return result.success ? matched(result.data) : { success: false, issues: result.error.issues }
}
