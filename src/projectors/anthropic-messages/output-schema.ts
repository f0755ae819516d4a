import type { Json } from "../../json.ts"
import { isRecord } from "../wires/values.ts"

type JsonObject = { readonly [key: string]: Json }

/** The provider compiles the schema of an answer. It fails, or takes very long, with more optional properties than this. */
const MOST_OPTIONAL = 10

const FORMATS: ReadonlySet<unknown> = new Set(["date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"])

/** Keywords that decide which values are valid, and that neither the provider nor a description can express. */
const NOT_ENFORCED = [
  "allOf",
  "not",
  "if",
  "prefixItems",
  "contains",
  "patternProperties",
  "propertyNames",
  "dependentSchemas",
  "$dynamicRef",
] as const

const SCALARS: ReadonlySet<unknown> = new Set(["string", "number", "integer", "boolean", "null"])

/**
 * Returns the schema of an answer as the provider accepts it; `undefined` if it cannot enforce it: objects with any keys, values of any type,
 * intersections, schemas that contain themselves, and too many optional properties. No object may have properties that are not named.
 * What the provider does not enforce, such as `maximum`, becomes a part of the description, where the model reads it.
 * @see https://platform.claude.com/docs/en/build-with-claude/structured-outputs (2026-11): JSON Schema limitations
 */
export function outputSchema(schema: Json): JsonObject | undefined {
  if (!isRecord(schema)) return undefined
  const definitions = isRecord(schema["$defs"]) ? (schema["$defs"] as JsonObject) : {}
  const made = new OutputSchema(definitions)
  const { $defs: _, ...root } = schema as JsonObject
  const sent = made.of(root, [])
  if (sent === undefined || made.optional > MOST_OPTIONAL) return undefined
  return made.used.size === 0 ? sent : { ...sent, $defs: Object.fromEntries(made.used) }
}

class OutputSchema {
  /** How many properties may be absent. A definition counts wherever it is used. */
  optional = 0
  /** The definitions that the schema refers to, as they are sent. */
  readonly used = new Map<string, JsonObject>()
  readonly #definitions: JsonObject

  constructor(definitions: JsonObject) {
    this.#definitions = definitions
  }

  /** @param within the definitions in which the schema is, which it must not refer to */
  of(schema: Json | undefined, within: readonly string[]): JsonObject | undefined {
    if (!isRecord(schema) || NOT_ENFORCED.some((keyword) => keyword in schema)) return undefined
    const { $ref: reference, anyOf, oneOf, type } = schema as JsonObject
    if (reference !== undefined) return this.#reference(reference, within)
    const choices = anyOf ?? oneOf
    if (choices !== undefined) return this.#choice(schema as JsonObject, choices, within)
    if (schema["enum"] !== undefined || schema["const"] !== undefined) return literal(schema as JsonObject)
    if (Array.isArray(type)) {
      const variants = (type as readonly Json[]).map((one): Json => ({ ...(schema as JsonObject), type: one }))
      return this.#choice({}, variants, within)
    }
    if (type === "object") return this.#object(schema as JsonObject, within)
    if (type === "array") return this.#array(schema as JsonObject, within)
    return SCALARS.has(type) ? scalar(schema as JsonObject) : undefined
  }

  #reference(reference: Json, within: readonly string[]): JsonObject | undefined {
    const name = typeof reference === "string" && reference.startsWith("#/$defs/") ? reference.slice("#/$defs/".length) : undefined
    if (name === undefined || within.includes(name) || !Object.hasOwn(this.#definitions, name)) return undefined
    const sent = this.of(this.#definitions[name], [...within, name])
    if (sent === undefined) return undefined
    this.used.set(name, sent)
    return { $ref: `#/$defs/${name}` }
  }

  #choice(schema: JsonObject, choices: Json, within: readonly string[]): JsonObject | undefined {
    if (!Array.isArray(choices) || "properties" in schema) return undefined
    const variants = (choices as readonly Json[]).map((choice) => this.of(choice, within))
    if (variants.length === 0 || !variants.every((variant) => variant !== undefined)) return undefined
    return { anyOf: variants, ...described(schema, ["anyOf", "oneOf", "type"]) }
  }

  #object(schema: JsonObject, within: readonly string[]): JsonObject | undefined {
    const { additionalProperties = false, properties, required = [] } = schema
    const isClosed = properties !== undefined || schema["additionalProperties"] === false
    if (!isClosed || additionalProperties !== false || (properties !== undefined && !isRecord(properties)) || !Array.isArray(required))
      return undefined
    const sent: [string, Json][] = []
    for (const [name, property] of Object.entries((properties ?? {}) as JsonObject)) {
      const one = this.of(property, within)
      if (one === undefined) return undefined
      if (!(required as readonly Json[]).includes(name)) this.optional += 1
      sent.push([name, one])
    }
    return {
      type: "object",
      properties: Object.fromEntries(sent),
      ...(required.length > 0 && { required }),
      additionalProperties: false,
      ...described(schema, ["type", "properties", "required", "additionalProperties"]),
    }
  }

  #array(schema: JsonObject, within: readonly string[]): JsonObject | undefined {
    const items = this.of(schema["items"], within)
    if (items === undefined) return undefined
    const { minItems } = schema
    const least = minItems === 0 || minItems === 1
    return { type: "array", items, ...(least && { minItems }), ...described(schema, ["type", "items", ...(least ? ["minItems"] : [])]) }
  }
}

function literal(schema: JsonObject): JsonObject | undefined {
  const { const: value, enum: values } = schema
  const all: readonly unknown[] = Array.isArray(values) ? values : [value]
  if (all.length === 0 || all.some((one) => typeof one === "object" && one !== null)) return undefined
  const rest = described(schema, ["const", "enum", "type"])
  return values === undefined ? { const: value as Json, ...rest } : { enum: values, ...rest }
}

function scalar(schema: JsonObject): JsonObject {
  const { format, type = null } = schema
  const hasFormat = type === "string" && FORMATS.has(format)
  return { type, ...(hasFormat && { format: format as Json }), ...described(schema, hasFormat ? ["type", "format"] : ["type"]) }
}

/** Keywords that say nothing about the values. */
const ABOUT: ReadonlySet<string> = new Set(["$schema", "$id", "$comment", "title", "description", "deprecated", "readOnly", "writeOnly"])

/** The title and the description of a schema, with the keywords that are not sent. */
function described(schema: JsonObject, sent: readonly string[]): JsonObject {
  const { description, title } = schema
  const others = Object.entries(schema).filter(([key, value]) => !ABOUT.has(key) && !sent.includes(key) && !isSafeInteger(key, value))
  const notes = others.length === 0 ? "" : `(${others.map(([key, value]) => `${key}: ${JSON.stringify(value)}`).join(", ")})`
  const text = [typeof description === "string" ? description : "", notes].filter((one) => one !== "").join(" ")
  return { ...(typeof title === "string" && { title }), ...(text !== "" && { description: text }) }
}

/** The bounds of integers in JavaScript, which zod adds to all. */
function isSafeInteger(key: string, value: Json): boolean {
  return (key === "minimum" && value === Number.MIN_SAFE_INTEGER) || (key === "maximum" && value === Number.MAX_SAFE_INTEGER)
}
