import { describe, expect, test } from "vitest"
import * as z from "zod"
import * as mini from "zod/mini"
import type { EffectContext } from "../../../src/hosts/host.ts"
import { defineTool, type ToolDefinition } from "../../../src/hosts/tools/define-tool.ts"
import { ToolDefinitionError } from "../../../src/hosts/tools/tool-definition-error.ts"
import type { Tool } from "../../../src/hosts/tools/toolbox.ts"
import type { ZodSchema } from "../../../src/hosts/tools/zod-schema.ts"
import type { Json } from "../../../src/schemas/json.ts"

const text = { type: "string" }
const number = { type: "number" }

const person = z.object({ name: z.string() }).meta({ id: "Person" })
const tree = z.object({
  size: z.number(),
  get trees() {
    return z.array(tree)
  },
})
const treeShape = {
  type: "object",
  properties: { size: number, trees: { type: "array", items: { $ref: "#/$defs/__schema0" } } },
  required: ["size", "trees"],
}
const list: z.ZodType<{ head: number }> = z.lazy(() => z.object({ head: z.number(), rest: list.optional() }))
const listShape = { type: "object", properties: { head: number, rest: { $ref: "#/$defs/__schema0" } }, required: ["head"] }
const oak = z
  .object({
    get acorns() {
      return z.array(oak)
    },
  })
  .meta({ id: "oak/tree~1" })
const oakShape = { type: "object", properties: { acorns: { type: "array", items: { $ref: "#/$defs/oak~1tree~01" } } }, required: ["acorns"] }
const husband = z.object({
  get wife() {
    return wife.optional()
  },
})
const wife = z.object({
  get husband() {
    return husband.optional()
  },
})
const miniTree = mini.object({
  size: mini.number(),
  get trees() {
    return mini.array(miniTree)
  },
})
const jsonShape = {
  anyOf: [
    text,
    number,
    { type: "boolean" },
    { type: "null" },
    { type: "array", items: { $ref: "#/$defs/__schema0" } },
    { type: "object", propertyNames: text, additionalProperties: { $ref: "#/$defs/__schema0" } },
  ],
}

interface Kind {
  readonly input: ZodSchema
  readonly shown: object
  readonly valid: readonly Json[]
  readonly invalid: readonly Json[]
}

const objectOf = (properties: object, required = Object.keys(properties)): object => ({ type: "object", properties, required })
const named = objectOf({ name: text })
const NAMED = { valid: [{ name: "Ada" }], invalid: [{}, { name: 1 }, [], null, "Ada"] }
const TREES = { valid: [{ size: 1, trees: [{ size: 2, trees: [] }] }], invalid: [{ size: 1 }, { size: 1, trees: [{ size: "2", trees: [] }] }] }
const LISTS = { valid: [{ head: 1 }, { head: 1, rest: { head: 2 } }], invalid: [{ head: 1, rest: { head: "2" } }, { rest: { head: 2 } }] }
const AB = { valid: [{ a: "x", b: 1 }], invalid: [{ a: "x" }, { b: 1 }, { a: "x", b: "1" }, null] }
const ab = objectOf({ a: text, b: number })

const KINDS: { readonly [name: string]: Kind } = {
  "an object": { input: z.object({ name: z.string() }), shown: named, ...NAMED },
  "an object of zod/mini": { input: mini.object({ name: mini.string() }), shown: named, ...NAMED },
  "an empty object": { input: z.object({}), shown: { type: "object", properties: {} }, valid: [{}], invalid: [null, []] },
  "a strict object": {
    input: z.strictObject({ name: z.string() }),
    shown: { ...named, additionalProperties: false },
    valid: [{ name: "" }],
    invalid: [{ name: "", a: 1 }],
  },
  "a loose object": {
    input: z.looseObject({ name: z.string() }),
    shown: { ...named, additionalProperties: {} },
    valid: [{ name: "", a: 1 }],
    invalid: [{}],
  },
  "an object with an id": { input: person, shown: named, ...NAMED },
  "an object of zod/mini with an id": {
    input: mini.object({ name: mini.string() }).register(z.globalRegistry, { id: "MiniPerson" }),
    shown: named,
    ...NAMED,
  },
  "an object with an id and a description": { input: person.describe("Who."), shown: { ...named, description: "Who." }, ...NAMED },
  "an object with an id, in a lazy schema": { input: z.lazy(() => person), shown: named, ...NAMED },
  "an optional object with an id": { input: person.optional(), shown: named, ...NAMED },
  "an object with the id __proto__": { input: z.object({ name: z.string() }).meta({ id: "__proto__" }), shown: named, ...NAMED },
  "an object with a default": {
    input: z.object({ name: z.string() }).default({ name: "Ada" }),
    shown: { ...named, default: { name: "Ada" } },
    ...NAMED,
  },
  "a branded, readonly, refined object": {
    input: z
      .object({ name: z.string() })
      .refine(({ name }) => name !== "Bob")
      .brand("Person")
      .readonly(),
    shown: { ...named, readOnly: true },
    valid: NAMED.valid,
    invalid: [...NAMED.invalid, { name: "Bob" }],
  },
  "a transformed object": { input: z.object({ name: z.string() }).transform(({ name }) => name.length), shown: named, ...NAMED },
  "a preprocessed object": { input: z.preprocess((value) => value, z.object({ name: z.string() })), shown: named, ...NAMED },
  "an object with an id, described, with an id of its own": {
    input: person.describe("Who.").meta({ id: "Named" }),
    shown: { ...named, description: "Who." },
    ...NAMED,
  },
  "an object with an id, in a lazy schema with an id": { input: z.lazy(() => person).meta({ id: "Later" }), shown: named, ...NAMED },
  "an object with an id and two descriptions: the last": {
    input: z.object({ name: z.string() }).meta({ id: "Twice", description: "Old." }).describe("New."),
    shown: { ...named, description: "New." },
    ...NAMED,
  },
  "a property of an id, twice": {
    input: z.object({ from: person, to: person }),
    shown: { ...objectOf({ from: { $ref: "#/$defs/Person" }, to: { $ref: "#/$defs/Person" } }), $defs: { Person: named } },
    valid: [{ from: { name: "Ada" }, to: { name: "Bob" } }],
    invalid: [{ from: { name: "Ada" }, to: {} }],
  },

  "a property of an id that refers to another id": {
    input: z.object({ both: z.object({ from: person, to: person }).meta({ id: "Pair" }) }),
    shown: {
      ...objectOf({ both: { $ref: "#/$defs/Pair" } }),
      $defs: { Pair: objectOf({ from: { $ref: "#/$defs/Person" }, to: { $ref: "#/$defs/Person" } }), Person: named },
    },
    valid: [{ both: { from: { name: "Ada" }, to: { name: "Bob" } } }],
    invalid: [{ both: { from: { name: "Ada" }, to: {} } }, {}],
  },

  "a recursive object": { input: tree, shown: { ...treeShape, $defs: { __schema0: treeShape } }, ...TREES },
  "a recursive object of zod/mini": { input: miniTree, shown: { ...treeShape, $defs: { __schema0: treeShape } }, ...TREES },
  "a recursive object with an id": {
    input: oak,
    shown: { ...oakShape, $defs: { "oak/tree~1": oakShape } },
    valid: [{ acorns: [{ acorns: [] }] }],
    invalid: [{ acorns: [{}] }],
  },
  "a recursive object with metadata in place of its properties": {
    input: tree.meta({ properties: {} }),
    shown: { type: "object", properties: {}, required: ["size", "trees"] },
    ...TREES,
  },
  "a recursive object as a property": {
    input: z.object({ root: tree }),
    shown: { ...objectOf({ root: { $ref: "#/$defs/__schema0" } }), $defs: { __schema0: treeShape } },
    valid: TREES.valid.map((root) => ({ root })),
    invalid: TREES.invalid.map((root) => ({ root })),
  },
  "an optional recursive object": { input: tree.optional(), shown: { ...treeShape, $defs: { __schema0: treeShape } }, ...TREES },
  "a lazy recursive object": { input: list, shown: { ...listShape, $defs: { __schema0: listShape } }, ...LISTS },
  "two objects that refer to each other": {
    input: husband,
    shown: {
      type: "object",
      properties: { wife: { type: "object", properties: { husband: { $ref: "#/$defs/__schema0" } } } },
      $defs: { __schema0: { type: "object", properties: { wife: { type: "object", properties: { husband: { $ref: "#/$defs/__schema0" } } } } } },
    },
    valid: [{}, { wife: { husband: {} } }],
    invalid: [{ wife: 1 }, { wife: { husband: [] } }],
  },

  "a union as a property": {
    input: z.object({ size: z.union([z.number(), z.literal("all")]) }),
    shown: objectOf({ size: { anyOf: [number, { type: "string", const: "all" }] } }),
    valid: [{ size: 1 }, { size: "all" }],
    invalid: [{ size: "some" }, {}],
  },
  "a discriminated union as a property": {
    input: z.object({ act: z.discriminatedUnion("do", [z.object({ do: z.literal("add"), n: z.number() }), z.object({ do: z.literal("drop") })]) }),
    shown: objectOf({
      act: { oneOf: [objectOf({ do: { type: "string", const: "add" }, n: number }), objectOf({ do: { type: "string", const: "drop" } })] },
    }),
    valid: [{ act: { do: "add", n: 1 } }, { act: { do: "drop" } }],
    invalid: [{ act: { do: "add" } }, { act: { do: "look" } }, { do: "drop" }],
  },
  "an intersection": { input: z.intersection(z.object({ a: z.string() }), z.object({ b: z.number() })), shown: ab, ...AB },
  "an intersection of zod/mini": { input: mini.intersection(mini.object({ a: mini.string() }), mini.object({ b: mini.number() })), shown: ab, ...AB },
  "an intersection of three": {
    input: z
      .object({ a: z.string() })
      .and(z.object({ b: z.number() }))
      .and(z.object({ c: z.boolean().optional() })),
    shown: objectOf({ a: text, b: number, c: { type: "boolean" } }, ["a", "b"]),
    ...AB,
  },
  "an intersection with a description": {
    input: z
      .object({ a: z.string() })
      .and(z.object({ b: z.number() }))
      .describe("Both."),
    shown: { ...ab, description: "Both." },
    ...AB,
  },
  "an intersection with an id": {
    input: z
      .object({ a: z.string() })
      .and(z.object({ b: z.number() }))
      .meta({ id: "Both" }),
    shown: ab,
    ...AB,
  },
  "an intersection of an object with an id": {
    input: person.and(z.object({ age: z.number() })),
    shown: objectOf({ name: text, age: number }),
    valid: [{ name: "Ada", age: 36 }],
    invalid: [{ name: "Ada" }, { age: 36 }],
  },
  "an intersection of a recursive object": {
    input: tree.and(z.object({ name: z.string() })),
    shown: {
      ...objectOf({ ...treeShape.properties, name: text }, ["size", "trees", "name"]),
      $defs: { __schema0: treeShape },
    },
    valid: [{ name: "oak", size: 1, trees: [{ size: 2, trees: [] }] }],
    invalid: TREES.valid,
  },
  "an intersection of objects that both require a property": {
    input: person.and(z.object({ name: z.string(), age: z.number() })),
    shown: objectOf({ name: { allOf: [text, text] }, age: number }),
    valid: [{ name: "Ada", age: 36 }],
    invalid: [{ name: "Ada" }, { age: 36 }],
  },
  "an intersection with a property of both": {
    input: person.and(z.object({ name: z.string().max(3) })),
    shown: objectOf({ name: { allOf: [text, { type: "string", maxLength: 3 }] } }),
    valid: [{ name: "Ada" }],
    invalid: [{ name: "Charles" }, {}],
  },

  "a record": {
    input: z.record(z.string(), z.number()),
    shown: { type: "object", properties: {}, propertyNames: text, additionalProperties: number },
    valid: [{}, { a: 1 }],
    invalid: [{ a: "1" }, null],
  },
  "a record of some keys": {
    input: z.record(z.enum(["a", "b"]), z.number()),
    shown: {
      type: "object",
      properties: {},
      propertyNames: { type: "string", enum: ["a", "b"] },
      additionalProperties: number,
      required: ["a", "b"],
    },
    valid: [{ a: 1, b: 2 }],
    invalid: [{ a: 1 }, { a: 1, b: 2, c: 3 }],
  },
  "a record as a property": {
    input: z.object({ sizes: z.record(z.string(), z.number()) }),
    shown: objectOf({ sizes: { type: "object", propertyNames: text, additionalProperties: number } }),
    valid: [{ sizes: { a: 1 } }],
    invalid: [{ sizes: [] }],
  },

  "any JSON as a property": {
    input: z.object({ value: z.json() }),
    shown: { ...objectOf({ value: { $ref: "#/$defs/__schema0" } }), $defs: { __schema0: jsonShape } },
    valid: [{ value: null }, { value: { deep: [1, "a", { b: true }] } }],
    invalid: [{}],
  },
  "a property named $ref": {
    input: z.object({ $ref: z.string(), id: z.string(), $defs: z.number() }),
    shown: objectOf({ $ref: text, id: text, $defs: number }),
    valid: [{ $ref: "#/$defs/a", id: "a", $defs: 1 }],
    invalid: [{ $ref: "a", id: "a" }],
  },
}

const plain = { name: "plain", description: "Does nothing." }
const context: EffectContext = { effectId: 1, idempotencyKey: undefined, signal: new AbortController().signal, emit: () => {} }

const toolOf = (input: ZodSchema): Tool => defineTool({ ...plain, input, execute: () => null })

describe.each(Object.entries(KINDS))("an input that is %s", (_name, { input, shown, valid, invalid }) => {
  const tool = toolOf(input)
  const statusOf = async (args: Json) => (await tool.call({ callId: "c1", toolName: "plain", args }, context)).output.status

  test("is shown as an object, without a reference at the root", () => {
    expect(tool.spec.inputSchema).toStrictEqual(shown)
    expect(tool.spec.inputSchema).toMatchObject({ type: "object", properties: {} })
    expect(Object.keys(tool.spec.inputSchema)).not.toContain("$ref")
  })

  test("refers only to definitions that it contains, each used", () => {
    const { $defs = {} } = tool.spec.inputSchema as { readonly $defs?: object }
    const references = [...JSON.stringify(tool.spec.inputSchema).matchAll(/"\$ref":"([^"]+)"/g)].map(([, reference = ""]) =>
      reference.replace("#/$defs/", "").replaceAll("~1", "/").replaceAll("~0", "~"),
    )
    expect(Object.keys($defs).sort()).toEqual([...new Set(references)].sort())
  })

  test.each(valid.map((args) => [args]))("accepts %j, as its JSON Schema does", async (args) => {
    expect(await statusOf(args)).toBe("success")
    expect(z.fromJSONSchema(tool.spec.inputSchema as never).safeParse(args).error).toBeUndefined()
  })

  test.each(invalid.map((args) => [args]))("refuses %j", async (args) => {
    expect(await statusOf(args)).toBe("failure")
  })
})

const a = z.object({ a: z.string() })
const b = z.object({ b: z.string() })
const NOT_AN_OBJECT = "it is not an object. Wrap it: z.object({ … })."

describe("an input that is refused", () => {
  test.each<readonly [string, ZodSchema, string]>([
    ["a union", z.union([a, b]), `is a union: ${NOT_AN_OBJECT}`],
    ["a union of zod/mini", mini.union([mini.object({ a: mini.string() }), mini.object({})]), `is a union: ${NOT_AN_OBJECT}`],
    [
      "a discriminated union",
      z.discriminatedUnion("k", [z.object({ k: z.literal("a") }), z.object({ k: z.literal("b") })]),
      `is a union: ${NOT_AN_OBJECT}`,
    ],
    ["an exclusive union", z.xor([a, b]), `is a union: ${NOT_AN_OBJECT}`],
    ["a union with an id", z.union([a, b]).meta({ id: "Either" }), `is a union: ${NOT_AN_OBJECT}`],
    ["a union in a lazy schema", z.lazy(() => z.union([a, b])), `is a union: ${NOT_AN_OBJECT}`],
    ["an object or null", a.nullable(), `is a union: ${NOT_AN_OBJECT}`],
    ["an intersection with a union", a.and(z.union([b, z.object({ c: z.string() })])), `: ${NOT_AN_OBJECT}`],
    ["an intersection with a record", a.and(z.record(z.string(), z.string())), `is an intersection: ${NOT_AN_OBJECT}`],
    ["any JSON", z.json(), `is a union: ${NOT_AN_OBJECT}`],
    ["anything", z.unknown(), `is of any type: ${NOT_AN_OBJECT}`],
    [
      "a lazy schema that is only itself",
      (() => {
        const self: z.ZodType = z.lazy(() => self)
        return self
      })(),
      `is of any type: ${NOT_AN_OBJECT}`,
    ],
    ["a text", z.string(), `is of type string: ${NOT_AN_OBJECT}`],
    ["a list", z.array(a), `is of type array: ${NOT_AN_OBJECT}`],
    ["a tuple", z.tuple([a]), `is of type array: ${NOT_AN_OBJECT}`],
    ["a date", z.object({ at: z.date() }), "JSON has no dates: use z.iso.datetime(), with .pipe(z.coerce.date()) to receive a Date."],
    ["a coerced date", z.object({ at: z.coerce.date() }), "JSON has no dates: use z.iso.datetime()"],
    ["a date of zod/mini", mini.object({ at: mini.date() }), "JSON has no dates: use z.iso.datetime()"],
    ["a bigint", z.object({ n: z.bigint() }), "cannot be shown to a model: BigInt cannot be represented in JSON Schema"],
    ["a map", z.object({ m: z.map(z.string(), z.string()) }), "cannot be shown to a model: Map cannot be represented in JSON Schema"],
    ["a set", z.object({ s: z.set(z.string()) }), "cannot be shown to a model: Set cannot be represented in JSON Schema"],
    ["bytes", z.object({ b: z.instanceof(Uint8Array) }), "cannot be shown to a model: Custom types cannot be represented in JSON Schema"],
    ["a file, which no JSON is", z.object({ f: z.file() }), "cannot be shown to a model: File cannot be represented in JSON Schema"],
    ["undefined", z.object({ u: z.undefined() }), "cannot be shown to a model: Undefined cannot be represented in JSON Schema"],
  ])("%s", (_name, input, message) => {
    const define = (): Tool => toolOf(input)
    expect(define).toThrow(ToolDefinitionError)
    expect(define).toThrow(expect.objectContaining({ code: "invalid_input_schema", message: expect.stringContaining(message) }))
  })

  test("is accepted once it is wrapped", () => {
    for (const input of [z.union([a, b]), z.json(), z.array(a), z.string(), a.nullable()])
      expect(toolOf(z.object({ value: input })).spec.inputSchema).toMatchObject({ type: "object", required: ["value"] })
  })
})

describe("a date as an input", () => {
  test.each([
    ["piped into a date", z.iso.datetime().pipe(z.coerce.date())],
    ["transformed", z.iso.datetime().transform((at) => new Date(at))],
    ["a codec", z.codec(z.iso.datetime(), z.date(), { decode: (at) => new Date(at), encode: (at) => at.toISOString() })],
  ])("that is a text, %s, is shown as a text and received as a date", async (_name, at) => {
    const received: unknown[] = []
    const tool = defineTool({ ...plain, input: z.object({ at }), execute: (input) => void received.push(input.at) })
    expect(tool.spec.inputSchema).toMatchObject({ properties: { at: { type: "string", format: "date-time" } } })
    await tool.call({ callId: "c1", toolName: "plain", args: { at: "2026-01-02T03:04:05Z" } }, context)
    expect(received).toEqual([new Date("2026-01-02T03:04:05Z")])
    const { output } = await tool.call({ callId: "c1", toolName: "plain", args: { at: "yesterday" } }, context)
    expect(output).toMatchObject({ status: "failure", failure: { code: "invalid_arguments" } })
  })
})

describe("an output schema", () => {
  test.each<readonly [string, ZodSchema, object]>([
    ["a text", z.string(), text],
    ["a union", z.union([z.string(), z.number()]), {}],
    ["an object with an id", person, { ...named, additionalProperties: false }],
    ["a recursive object", tree, { type: "object", $defs: { __schema0: { type: "object" } } }],
  ])("may be %s", (_name, output, shown) => {
    const { spec } = defineTool({ ...plain, input: a, output, execute: () => null as never })
    expect(spec.outputSchema).toMatchObject(shown)
    expect(JSON.stringify(spec.outputSchema)).not.toContain('"$ref":"#"')
  })

  test.each<readonly [string, ZodSchema, string]>([
    ["a date", z.object({ at: z.date() }), "JSON has no dates: use z.iso.datetime()"],
    ["a transform", z.string().transform((value) => value.length), "Transforms cannot be represented in JSON Schema"],
  ])("may not be %s", (_name, output, message) => {
    const define = (): Tool => defineTool({ ...plain, input: a, output, execute: () => null as never })
    expect(define).toThrow(expect.objectContaining({ code: "invalid_output_schema", message: expect.stringContaining(message) }))
  })
})

describe("the name of a tool", () => {
  const named = (name: string): Tool => defineTool({ ...plain, name, input: a, execute: () => null })

  test.each(["a", "read_file", "read-file", "__proto__", "7", "-", "A".repeat(64)])("may be %s", (name) => {
    expect(named(name).spec.name).toBe(name)
  })

  test.each([
    ["browser.tabs.open", ' Use "browser_tabs_open".'],
    ["read file", ' Use "read_file".'],
    [" read ", ' Use "read".'],
    ["files/read", ' Use "files_read".'],
    ["größe", ' Use "gro_e".'],
    ["naïve_café", ' Use "naive_cafe".'],
    ["read\n", ' Use "read".'],
    ["_a.b_", ' Use "_a_b_".'],
    ["搜索", ""],
    ["🦎", ""],
    ["a".repeat(65), ` Use "${"a".repeat(64)}".`],
    [`${"a".repeat(64)}.b`, ` Use "${"a".repeat(64)}".`],
  ])("may not be %j, and the refusal suggests another", (name, suggestion) => {
    const rule = "must match [A-Za-z0-9_-]{1,64}: letters from A to Z, digits, _ and -, at most 64 characters."
    const define = (): Tool => named(name)
    expect(define).toThrow(ToolDefinitionError)
    expect(define).toThrow(expect.objectContaining({ code: "invalid_name", message: `The tool name ${JSON.stringify(name)} ${rule}${suggestion}` }))
    const [, suggested] = /Use "(.+)"/.exec(suggestion) ?? []
    if (suggested !== undefined) expect(named(suggested).spec.name).toBe(suggested)
  })

  test("is shortened in the refusal", () => {
    expect(() => named(".".repeat(1_000_000))).toThrow(/^.{1,500}$/)
  })

  test("must be a text", () => {
    expect(() => defineTool({ ...plain, name: 7, input: a, execute: () => null } as unknown as ToolDefinition<typeof a>)).toThrow(
      expect.objectContaining({ code: "invalid_name", message: "A tool needs a name." }),
    )
  })
})
