import * as z from "zod"

type Shape = Readonly<Record<string, z.core.$ZodType>>

/** The keys of an object schema, or of each member of a tagged union. The schemas are declared under the names of their types, without their shapes. */
export function shapesOf(schema: z.core.$ZodType): readonly Shape[] {
  if (schema instanceof z.ZodObject) return [schema.shape]
  if (schema instanceof z.ZodDiscriminatedUnion) return schema.options.flatMap(shapesOf)
  throw new Error("Neither an object nor a tagged union.")
}

/** The tags of a tagged union, in order. */
export function tagsOf(schema: z.core.$ZodType): readonly string[] {
  return shapesOf(schema).flatMap(({ type }) => {
    if (type instanceof z.ZodLiteral || type instanceof z.ZodEnum) return [...(type instanceof z.ZodLiteral ? type.values : type.options)].map(String)
    throw new Error("A member without a tag.")
  })
}

/** The values of an enumeration. */
export function valuesOf<Value extends string>(schema: z.ZodType<Value>): readonly Value[] {
  if (schema instanceof z.ZodEnum) return schema.options as readonly unknown[] as readonly Value[]
  throw new Error("Not an enumeration.")
}
