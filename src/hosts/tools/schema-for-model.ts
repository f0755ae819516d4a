import { $ZodObject, type $ZodType, toJSONSchema } from "zod/v4/core"
import type { Json } from "../../json.ts"
import { toJson } from "../run/plain-json.ts"

/** A JSON Schema as an object, with the keys that matter at its root. */
export type RootSchema = {
  readonly type?: Json
  readonly properties?: { readonly [key: string]: Json }
  readonly required?: readonly string[]
  readonly $ref?: Json
  readonly anyOf?: Json
  readonly oneOf?: Json
  readonly allOf?: readonly RootSchema[]
  /** Versions of zod before 4.5 write the `id` of a schema here. JSON Schema has no such keyword. */
  readonly id?: Json
}

type Definitions = { readonly [id: string]: RootSchema }

/**
 * Converts a zod schema to a JSON Schema in the form that model APIs accept: the root is not a reference, and not an intersection of
 * objects; a recursive schema refers to itself through `$defs`.
 * @throws {Error} a part of the schema has no JSON Schema
 */
export function schemaForModel(schema: $ZodType, io: "input" | "output"): RootSchema {
  // As a property, a recursive schema is in `$defs`. As the root, it refers to itself as "#", which is another schema once it is in a request.
  const wrapper = new $ZodObject({ type: "object", shape: { root: schema } })
  const shown = toJSONSchema(wrapper, {
    io,
    override({ zodSchema }) {
      // zod shows a file as a text, but does not accept one.
      if (zodSchema._zod.def.type === "file") throw new Error("File cannot be represented in JSON Schema")
    },
  })
  const { properties, $defs = {} } = toJson(shown) as unknown as { properties: { root: RootSchema }; $defs?: Definitions }
  const root = merged(inlined(properties.root, $defs), $defs)
  const ids = usedIds(root, $defs)
  const used = Object.entries($defs)
    .filter(([id]) => ids.has(id))
    .map(([id, { id: _id, ...definition }]) => [id, definition] as const)
  return {
    // OpenAI refuses an object without `properties`, such as a record, at the root.
    ...(root.type === "object" && { type: "object", properties: {} }),
    ...root,
    ...(used.length > 0 && { $defs: Object.fromEntries(used) }),
  }
}

/** Replaces a reference at the root by its definition. zod moves a schema with an `id`, and a recursive one, into `$defs`. */
function inlined(schema: RootSchema, definitions: Definitions): RootSchema {
  const { $ref, ...root } = schema
  const id = $ref === undefined ? undefined : Object.keys(definitions).find((candidate) => refersTo({ $ref }, candidate))
  if (id === undefined) return schema
  const { [id]: target, ...others } = definitions
  const { id: _id, ...definition } = target as RootSchema
  return inlined({ ...definition, ...root }, others)
}

/** The ids of the definitions that a schema refers to, also through one another. */
function usedIds(schema: RootSchema, definitions: Definitions, used: Set<string> = new Set()): ReadonlySet<string> {
  for (const [id, definition] of Object.entries(definitions)) {
    if (used.has(id) || !refersTo(schema, id)) continue
    used.add(id)
    usedIds(definition, definitions, used)
  }
  return used
}

function refersTo(schema: RootSchema, id: string): boolean {
  const text = JSON.stringify(schema)
  // Versions of zod before 4.5 do not escape the id.
  return [id, id.replaceAll("~", "~0").replaceAll("/", "~1")].some((name) => text.includes(`"$ref":${JSON.stringify(`#/$defs/${name}`)}`))
}

const MERGED = ["type", "properties", "required"]

/** Merges an intersection of objects into one object, as zod 4.6 does where no part is in `$defs`. */
function merged(schema: RootSchema, definitions: Definitions): RootSchema {
  const { allOf, ...root } = schema
  const parts = allOf?.map((part) => merged(inlined(part, definitions), definitions))
  if (!parts?.every((part) => part.type === "object" && Object.keys(part).every((key) => MERGED.includes(key)))) return schema
  const entries = parts.flatMap(({ properties = {} }) => Object.entries(properties))
  const properties = entries.map(([key, property]) => {
    const all = entries.filter(([other]) => other === key).map(([, each]) => each)
    return [key, all.length > 1 ? { allOf: all } : property] as const
  })
  const required = [...new Set(parts.flatMap((part) => part.required ?? []))]
  return { type: "object", properties: Object.fromEntries(properties), ...(required.length > 0 && { required }), ...root }
}
