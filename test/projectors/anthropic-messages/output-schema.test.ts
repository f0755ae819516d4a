import { describe, expect, test } from "vitest"
import * as z from "zod"
import { defineOutput } from "../../../src/hosts/tools/define-output.ts"
import type { Json } from "../../../src/json.ts"
import { outputSchema } from "../../../src/projectors/anthropic-messages/output-schema.ts"
import type { AnthropicWireOptions } from "../../../src/projectors/anthropic-messages/request.ts"
import { encode, system, user } from "./support.ts"

const object = (properties: { readonly [name: string]: Json }, rest: object = {}): Json => ({
  type: "object",
  properties,
  required: Object.keys(properties),
  ...rest,
})

describe("the schema of an answer", () => {
  test("is closed, and what the provider does not enforce is in its descriptions", () => {
    const schema = object({
      name: { type: "string", minLength: 1, description: "Who." },
      age: { type: "integer", minimum: 0, maximum: Number.MAX_SAFE_INTEGER },
      mail: { type: "string", format: "email", pattern: "@" },
      link: { type: "string", format: "uri-reference" },
      kind: { type: "string", enum: ["a", "b"] },
      tags: { type: "array", items: { type: "string" }, minItems: 1, maxItems: 3 },
      pair: { type: "array", items: { type: "number" }, minItems: 2 },
      size: { type: ["number", "null"] },
      shape: { oneOf: [object({ r: { type: "number" } }), { type: "null" }] },
    })
    expect(outputSchema({ $schema: "https://json-schema.org/draft/2020-12/schema", ...(schema as object) } as Json)).toEqual({
      type: "object",
      properties: {
        name: { type: "string", description: "Who. (minLength: 1)" },
        age: { type: "integer", description: "(minimum: 0)" },
        mail: { type: "string", format: "email", description: '(pattern: "@")' },
        link: { type: "string", description: '(format: "uri-reference")' },
        kind: { enum: ["a", "b"] },
        tags: { type: "array", items: { type: "string" }, minItems: 1, description: "(maxItems: 3)" },
        pair: { type: "array", items: { type: "number" }, description: "(minItems: 2)" },
        size: { anyOf: [{ type: "number" }, { type: "null" }] },
        shape: {
          anyOf: [{ type: "object", properties: { r: { type: "number" } }, required: ["r"], additionalProperties: false }, { type: "null" }],
        },
      },
      required: ["name", "age", "mail", "link", "kind", "tags", "pair", "size", "shape"],
      additionalProperties: false,
    })
  })

  test("keeps definitions that it refers to", () => {
    const schema = { ...(object({ a: { $ref: "#/$defs/A" }, b: { $ref: "#/$defs/A" } }) as object), $defs: { A: { type: "string" }, B: {} } }
    expect(outputSchema(schema as Json)).toMatchObject({
      properties: { a: { $ref: "#/$defs/A" }, b: { $ref: "#/$defs/A" } },
      $defs: { A: { type: "string" } },
    })
  })

  const optional = (count: number): Json => ({
    type: "object",
    properties: Object.fromEntries(Array.from({ length: count }, (_, index) => [`p${index}`, { type: "string" }])),
  })

  test("may have ten optional properties", () => expect(outputSchema(optional(10))).toMatchObject({ additionalProperties: false }))

  test.each<[string, Json]>([
    ["an object with any keys", { type: "object" }],
    ["a record", object({ a: { type: "object", additionalProperties: { type: "string" } } })],
    ["a value of any type", object({ a: {} })],
    ["a list of anything", object({ a: { type: "array" } })],
    ["an intersection", { allOf: [object({ a: { type: "string" } })] }],
    ["a tuple", object({ a: { type: "array", prefixItems: [{ type: "string" }] } })],
    ["an object among literals", object({ a: { const: {} } })],
    ["a schema within itself", { ...(object({ a: { $ref: "#/$defs/A" } }) as object), $defs: { A: object({ a: { $ref: "#/$defs/A" } }) } }],
    ["a reference to nothing", object({ a: { $ref: "#/$defs/A" } })],
    ["a reference to the whole", object({ a: { $ref: "#" } })],
    ["many optional properties", optional(11)],
    ["a choice beside properties", object({ a: { type: "string" } }, { anyOf: [{ type: "object" }] })],
    ["true", true],
  ])("is not enforced if it has %s", (_what, schema) => {
    expect(outputSchema(schema)).toBeUndefined()
  })

  const weather = defineOutput({ name: "weather", schema: z.object({ degrees: z.int().min(-90).max(60), sky: z.enum(["clear", "grey"]) }) })
  const asks = (schema: Json, model = "claude", options: AnthropicWireOptions = {}) =>
    encode([system("s"), user("a")], { model, outputSpec: { type: "json_schema", name: "n", schema, strict: true } }, options)

  test("of zod is sent without the bounds that the provider refuses", () => {
    const body = asks(weather.jsonSchema)
    expect(body.output_config?.format?.schema).toEqual({
      type: "object",
      properties: { degrees: { type: "integer", description: "(minimum: -90, maximum: 60)" }, sky: { enum: ["clear", "grey"] } },
      required: ["degrees", "sky"],
      additionalProperties: false,
    })
    expect(body.system).toEqual([{ type: "text", text: "s" }])
  })

  test("that is not enforced is after the system prompt, and so it is for models that enforce none", () => {
    const note = { type: "text", text: expect.stringMatching(/^Answer with nothing but JSON .*: \{"type":"object"/) as string }
    const open = { type: "object", additionalProperties: { type: "string" } }
    for (const body of [asks(open), asks(weather.jsonSchema, "claude-sonnet-4-20250514"), asks(weather.jsonSchema, "glm-5")]) {
      expect(body.output_config).toBeUndefined()
      expect(body.system).toEqual([{ type: "text", text: "s" }, note])
    }
    const enforced = [
      asks(weather.jsonSchema, "claude-opus-4-1"),
      asks(weather.jsonSchema, "claude-sonnet-4.5"),
      asks(weather.jsonSchema, "glm-5", { structuredOutput: true }),
    ]
    for (const body of enforced) expect(body.output_config).toBeDefined()
  })
})
