import { expect, test } from "vitest"
import * as z from "zod"
import { defineTool } from "../../src/hosts/index.ts"

const definition = { name: "t", description: "d", execute: async () => null }

// https://github.com/mastra-ai/mastra/issues/18255
test.each([
  [
    "a discriminated union",
    z.discriminatedUnion("do", [z.object({ do: z.literal("add"), n: z.number() }), z.object({ do: z.literal("drop"), id: z.string() })]),
  ],
  ["a union", z.union([z.object({ a: z.string() }), z.object({ b: z.string() })])],
  ["a text", z.string()],
])("%s as a tool's input is refused with the way out", (_, input) => {
  expect(() => defineTool({ ...definition, input })).toThrow("it is not an object. Wrap it")
})

// https://github.com/colinhacks/zod/issues/6026
test("an object with an id of its own is an object", () => {
  const { spec } = defineTool({ ...definition, input: z.object({ name: z.string() }).meta({ id: "Visitor" }) })
  expect(spec.inputSchema).toMatchObject({ type: "object", properties: { name: { type: "string" } } })
})
