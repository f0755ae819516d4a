import type { Json } from "../../json.ts"
import { isRecord } from "./values.ts"

type JsonObject = { readonly [key: string]: Json }

/** The schema of a tool's arguments: an object. */
export interface ObjectSchema extends JsonObject {
  readonly type: "object"
}

const UNIONS = ["anyOf", "oneOf", "allOf"] as const
/** What providers refuse at the top of a schema. */
const REFUSED: ReadonlySet<string> = new Set([...UNIONS, "enum", "const", "not", "$ref"])

/**
 * Returns the schema of a tool's arguments as providers accept it: an object, without a choice at the top. The variants of a choice become one
 * object with the keys of all; what every variant requires stays required. The tool itself still checks its arguments.
 * @see https://github.com/anthropics/claude-code/issues/4886 (2026-11): "input_schema does not support oneOf, allOf, or anyOf at the top level"
 * @see https://github.com/langchain-ai/langchainjs/issues/9804 (2026-11): OpenAI's "must have type 'object' and not have 'oneOf'/'anyOf'/…"
 */
export function objectSchema(schema: Json): ObjectSchema {
  if (!isRecord(schema)) return { type: "object" }
  const given = schema as JsonObject
  return flattened(given, isRecord(given["$defs"]) ? (given["$defs"] as JsonObject) : {}, [])
}

/** The same for OpenAI, which also refuses an object without properties. */
export function openAiParameters(schema: Json): ObjectSchema {
  const object = objectSchema(schema)
  return object["properties"] === undefined ? { ...object, properties: {} } : object
}

/** @param within the definitions in which the schema is */
function flattened(schema: JsonObject, definitions: JsonObject, within: readonly string[]): ObjectSchema {
  if (!Object.keys(schema).some((key) => REFUSED.has(key))) return { ...schema, type: "object" }
  const rest = Object.fromEntries(Object.entries(schema).filter(([key]) => !REFUSED.has(key)))
  const properties = new Map<string, Json>()
  const required = new Set(stringsOf(schema["required"]))
  addProperties(properties, schema)
  const { $ref: reference } = schema
  const name = typeof reference === "string" && reference.startsWith("#/$defs/") ? reference.slice("#/$defs/".length) : ""
  const referred = Object.hasOwn(definitions, name) && !within.includes(name) ? definitions[name] : undefined
  const groups = [
    { isChoice: false, variants: [referred], path: [...within, name] },
    ...UNIONS.map((union) => ({ isChoice: union !== "allOf", variants: listOf(schema[union]), path: within })),
  ]
  for (const { isChoice, path, variants } of groups) {
    const objects = variants.filter(isRecord).map((variant) => flattened(variant as JsonObject, definitions, path))
    for (const object of objects) addProperties(properties, object)
    const lists = objects.map((object) => stringsOf(object["required"]))
    for (const key of lists.flat()) if (!isChoice || lists.every((list) => list.includes(key))) required.add(key)
  }
  return { ...rest, type: "object", properties: Object.fromEntries(properties), ...(required.size > 0 && { required: [...required] }) }
}

/** Adds the properties of a variant. One that an earlier variant has in another form may have either. */
function addProperties(properties: Map<string, Json>, { properties: more }: JsonObject): void {
  if (!isRecord(more)) return
  for (const [key, value] of Object.entries(more as JsonObject)) {
    const before = properties.get(key)
    const isNew = before === undefined || JSON.stringify(before) === JSON.stringify(value)
    properties.set(key, isNew ? value : { anyOf: [before, value] })
  }
}

function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : []
}

function stringsOf(value: unknown): readonly string[] {
  return listOf(value).filter((item) => typeof item === "string")
}
