import type * as z from "zod"
import { canonicalJson, type Json as JsonValue, whyNotJson } from "../json.ts"
import { Count, Json, Timestamp } from "./json.ts"

/** Whether a value that was parsed from JSON is exactly what a schema accepts, without unknown keys. */
export type Match = (value: unknown) => boolean

/**
 * Compiles the checks of a schema for values that were parsed from JSON. They accept nothing that the schema refuses or would change, so the value
 * itself can be used: no copy is made, and none is compared for keys that parsing dropped. A value that is not accepted is to be parsed
 * with the schema, which says why.
 */
export function exactMatch(schema: z.core.$ZodType): Match {
  const known = matches.get(schema)
  if (known !== undefined) return known
  const match = compiled(schema)
  matches.set(schema, match)
  return match
}

const matches = new WeakMap<z.core.$ZodType, Match>()

matches.set(Json as unknown as z.core.$ZodType, (value) => whyNotJson(value) === undefined)
matches.set(Count, (value) => Number.isSafeInteger(value) && (value as number) >= 0)
matches.set(Timestamp, Number.isSafeInteger)

function compiled(schema: z.core.$ZodType): Match {
  const def = schema._zod.def as z.core.$ZodTypes["_zod"]["def"]
  // What refines a schema is not looked into.
  if (def.checks !== undefined && def.checks.length > 0) return parsed(schema)
  switch (def.type) {
    case "string":
      return "format" in def ? parsed(schema) : isText
    case "boolean":
      return (value) => typeof value === "boolean"
    case "literal": {
      const [only] = def.values
      return def.values.length === 1 ? (value) => value === only : parsed(schema)
    }
    case "enum": {
      const values = new Set<unknown>(Object.values(def.entries))
      return (value) => values.has(value)
    }
    case "array": {
      const item = exactMatch(def.element)
      return (value) => {
        if (!Array.isArray(value)) return false
        // Not `every`, which passes over holes.
        for (let index = 0; index < value.length; index += 1) if (!item(value[index])) return false
        return true
      }
    }
    case "object":
      return def.catchall === undefined ? object(def.shape) : parsed(schema)
    case "union":
      return "discriminator" in def ? (tagged(def as z.core.$ZodDiscriminatedUnionDef) ?? parsed(schema)) : parsed(schema)
    default:
      return parsed(schema)
  }
}

function isText(value: unknown): boolean {
  return typeof value === "string"
}

/** The schema itself, and whether it changes the value. */
function parsed(schema: z.core.$ZodType): Match {
  return (value) => {
    const result = (schema as z.ZodType).safeParse(value)
    return result.success && (result.data === value || canonicalJson(result.data as JsonValue) === canonicalJson(value as JsonValue))
  }
}

function object(shape: z.core.$ZodShape): Match {
  const names = Object.keys(shape)
  const isOptional = names.map((name) => isExactOptional(shape[name] as z.core.$ZodType))
  const fields = names.map((name, index) => {
    const field = shape[name] as z.core.$ZodType
    return exactMatch(isOptional[index] === true ? (field as z.core.$ZodExactOptional)._zod.def.innerType : field)
  })
  return (value) => {
    if (typeof value !== "object" || value === null || Array.isArray(value)) return false
    let found = 0
    for (let index = 0; index < names.length; index += 1) {
      const field = (value as Record<string, unknown>)[names[index] as string]
      // JSON has no `undefined`.
      if (field === undefined) {
        if (isOptional[index] !== true) return false
      } else if ((fields[index] as Match)(field)) found += 1
      else return false
    }
    return Object.keys(value).length === found
  }
}

function isExactOptional(schema: z.core.$ZodType): boolean {
  return schema._zod.traits.has("$ZodExactOptional")
}

/** `undefined`: two members could accept one value, or a member has no tag. */
function tagged({ discriminator, options }: z.core.$ZodDiscriminatedUnionDef): Match | undefined {
  const members = new Map<unknown, Match>()
  for (const option of options) {
    const tags = option._zod.propValues?.[discriminator]
    if (tags === undefined) return undefined
    const match = exactMatch(option)
    for (const tag of tags) {
      if (members.has(tag)) return undefined
      members.set(tag, match)
    }
  }
  return (value) => {
    if (typeof value !== "object" || value === null) return false
    const match = members.get((value as Record<string, unknown>)[discriminator])
    return match?.(value) === true
  }
}
