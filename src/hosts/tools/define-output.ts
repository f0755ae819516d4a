import { safeParse } from "zod/v4/core"
import type { OutputSchema } from "../../drivers/output.ts"
import type { Json } from "../../json.ts"
import { unknownKey } from "../../unknown-key.ts"
import { describeIssues, messageOptions } from "./argument-errors.ts"
import { checkNameForModels } from "./definition-checks.ts"
import type { RootSchema } from "./schema-for-model.ts"
import { ToolDefinitionError } from "./tool-definition-error.ts"
import { coreSchema, jsonSchemaOf, type ZodSchema } from "./zod-schema.ts"

/** The definition of an answer's form for {@link defineOutput}. */
export interface OutputDefinition<Schema extends ZodSchema> {
  /** What the answer is: 1 to 64 letters from A to Z, digits, `_` and `-`. Providers show it to the model. Default `answer`. */
  readonly name?: string
  /** A zod schema of an object. The model sees its input type, and the turn ends with JSON of it. `outputOf` returns its output type. */
  readonly schema: Schema
  /**
   * Whether the provider enforces the schema exactly. Default: if it can, which needs a schema without optional properties, records and
   * intersections.
   */
  readonly strict?: boolean
}

/**
 * Makes the form of a turn's answer from a zod schema, for `chatDriver({ output })`. `outputOf` reads the value of a turn with its type. The
 * schema must not be asynchronous, and must depend on nothing but the answer, because a replay checks it again.
 * @throws {ToolDefinitionError} `unknown_key`, `invalid_name`, `invalid_output_schema`
 */
export function defineOutput<Schema extends ZodSchema>(definition: OutputDefinition<Schema>): OutputSchema<Schema["_zod"]["output"]> {
  checkKeys(definition)
  const { name = "answer", schema } = definition
  checkNameForModels(name)
  const shown = jsonSchemaOf(schema, {
    io: "input",
    what: `The schema of the output "${name}"`,
    code: "invalid_output_schema",
    byHand: "the output by hand: { name, jsonSchema, check }",
  })
  const closed = definition.strict === false ? undefined : closedSchema(shown)
  return {
    name,
    jsonSchema: (closed ?? shown) as Json,
    strict: definition.strict ?? closed !== undefined,
    check(answer) {
      const parsed = safeParse(coreSchema(schema), answer, messageOptions())
      if (!parsed.success) return { ok: false, problem: describeIssues(parsed.error.issues) }
      return { ok: true, value: parsed.data }
    },
  }
}

const KEYS: { readonly [Key in keyof Required<OutputDefinition<ZodSchema>>]: true } = { name: true, schema: true, strict: true }

function checkKeys(definition: unknown): void {
  if (typeof definition !== "object" || definition === null || "_zod" in definition)
    throw new ToolDefinitionError("invalid_output_schema", "defineOutput takes a definition: defineOutput({ name, schema }).")
  const known = Object.keys(KEYS)
  const unknown = unknownKey(definition, known, { output: "schema" })
  if (unknown === undefined) return
  const { key, hint = `the keys are ${known.join(", ")}.` } = unknown
  throw new ToolDefinitionError("unknown_key", `An output has the unknown key ${JSON.stringify(key)}; ${hint}`)
}

/** Keywords that providers do not enforce exactly, and refuse in a schema that is to be. */
const NOT_STRICT = ["allOf", "oneOf", "not", "if", "propertyNames", "patternProperties", "prefixItems", "default"] as const

/**
 * Returns a schema whose objects allow no other properties than their own; `undefined` if a provider cannot enforce it exactly.
 * @see https://platform.openai.com/docs/guides/structured-outputs (2026-11): all properties are required, and no others allowed
 */
function closedSchema(schema: RootSchema): RootSchema | undefined {
  const closed = closedValue(schema as Json)
  return closed === undefined ? undefined : (closed as RootSchema)
}

function closedValue(value: Json): Json | undefined {
  if (typeof value === "boolean") return undefined
  if (typeof value !== "object" || value === null) return value
  const schema = value as { readonly [key: string]: Json }
  if (NOT_STRICT.some((keyword) => Object.hasOwn(schema, keyword))) return undefined
  const entries: [string, Json][] = []
  for (const [key, inner] of Object.entries(schema)) {
    const closed = closedKeyword(key, inner)
    if (closed === undefined) return undefined
    entries.push([key, closed])
  }
  if (schema["type"] !== "object") return Object.fromEntries(entries)
  const { properties = {}, required = [], additionalProperties = false } = schema as { readonly [key: string]: Json }
  const names = Object.keys(properties as object)
  if (additionalProperties !== false || names.length === 0 || names.some((name) => !(required as readonly Json[]).includes(name))) return undefined
  return Object.fromEntries([...entries, ["additionalProperties", false]])
}

/** The value of a keyword with the schemas in it closed. */
function closedKeyword(key: string, value: Json): Json | undefined {
  switch (key) {
    case "properties":
    case "$defs": {
      const entries = Object.entries(value as { readonly [name: string]: Json }).map(([name, inner]) => [name, closedValue(inner)] as const)
      return entries.some(([, inner]) => inner === undefined) ? undefined : (Object.fromEntries(entries) as Json)
    }
    case "anyOf": {
      const options = (value as readonly Json[]).map(closedValue)
      return options.includes(undefined) ? undefined : (options as readonly Json[])
    }
    case "items":
      return closedValue(value)
    default:
      return value
  }
}
