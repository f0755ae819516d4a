import type { $ZodType } from "zod/v4/core"
import { messageOf } from "../run/failures.ts"
import { type RootSchema, schemaForModel } from "./schema-for-model.ts"
import { ToolDefinitionError } from "./tool-definition-error.ts"

/**
 * A zod 4 schema, classic or mini, of any copy of zod. The type is structural, so the declarations of this package import no types of
 * zod, and a program with another minor version of zod compiles.
 */
export interface ZodSchema<Output = unknown, Input = unknown> {
  /** Missing? The schema is of zod 3, or is a JSON Schema: import zod 4 (`"zod/v4"` in zod 3.25), or write the tool by hand as `{ spec, call }`. */
  readonly _zod: { readonly output: Output; readonly input: Input }
}

/** How a schema is converted, and what is said if it cannot be. */
export interface Conversion {
  /** `input`: a model writes what the schema describes, so it must describe an object. */
  readonly io: "input" | "output"
  /** The schema's name in messages, such as `The input schema of the tool "look"`. */
  readonly what: string
  readonly code: "invalid_input_schema" | "invalid_output_schema"
  /** What to write instead where there is only a JSON Schema. */
  readonly byHand: string
}

/**
 * Converts a schema to a JSON Schema in the form that model APIs accept.
 * @throws {ToolDefinitionError} the code of the conversion
 */
export function jsonSchemaOf(schema: ZodSchema, { io, what, code, byHand }: Conversion): RootSchema {
  const refuse = (why: string, options?: ErrorOptions): ToolDefinitionError => new ToolDefinitionError(code, `${what} ${why}`, options)
  if (!isZodSchema(schema)) throw refuse(whyNotZodSchema(schema, byHand))
  let shown: RootSchema
  try {
    shown = schemaForModel(schema, io)
  } catch (cause) {
    const message = messageOf(cause)
    const hint = message.startsWith("Date ") ? ". JSON has no dates: use z.iso.datetime(), with .pipe(z.coerce.date()) to receive a Date." : ""
    throw refuse(`cannot be shown to a model: ${message}${hint}`, { cause })
  }
  if (io === "input" && shown.type !== "object") throw refuse(`is ${kindOfSchema(shown)}: it is not an object. Wrap it: z.object({ … }).`)
  return shown
}

/** Names the kind of a schema in a message. */
function kindOfSchema({ type, anyOf, oneOf, allOf }: RootSchema): string {
  if (typeof type === "string") return `of type ${type}`
  return (anyOf ?? oneOf) !== undefined ? "a union" : allOf !== undefined ? "an intersection" : "of any type"
}

function isZodSchema(value: unknown): value is $ZodType {
  return typeof value === "object" && value !== null && "_zod" in value
}

function whyNotZodSchema(value: unknown, byHand: string): string {
  if (value === undefined || value === null) return "is missing. Give a zod schema: z.object({ … })."
  if (typeof value === "object" && "_def" in value)
    return 'is a zod 3 schema; zod 4 is needed. With zod 3.25 or later, import { z } from "zod/v4"; else upgrade zod.'
  return `is not a zod schema. For a JSON Schema, write ${byHand}.`
}

/** A schema as zod's core types it. Another version of zod has the same shape at run time. */
export function coreSchema(schema: ZodSchema): $ZodType {
  return schema as unknown as $ZodType
}
