import * as fc from "fast-check"
import { describe, expect, test } from "vitest"
import * as z from "zod"
import { unknownKey } from "../../src/schemas/checking.ts"
import { exactMatch } from "../../src/schemas/exact-match.ts"
import { Count, Json } from "../../src/schemas/json.ts"
import { ThreadRecord } from "../../src/schemas/thread.ts"
import { threadLineValidation } from "../../src/schemas/validation.ts"
import { check } from "../properties/check.ts"

const usage = { inputTokens: 10, cachedInputTokens: 0, outputTokens: 2, reasoningTokens: 0 }
const message = {
  id: "m1",
  role: "user",
  parts: [
    { id: "p0", type: "text", text: "Hello." },
    { id: "p1", type: "file", attachment: { id: "a", mediaType: "image/png", byteLength: 3, width: 1 } },
    { id: "p2", type: "output", text: "x", providerMetadata: { any: [1, null] } },
  ],
  origin: { type: "plugin", pluginId: "mail", transient: true },
}
const call = { id: "p", type: "tool_call", callId: "c", toolName: "look", inputJson: "{}", replay: { itemId: "i" } }

/** One of each type, with most of the fields that it may have. */
const RECORDS = [
  { type: "header", format: "turn-machine/thread", version: 1, threadId: "t", at: 1, meta: { a: [1] } },
  { type: "said", at: -1, message, when: "turn_end", key: "k", redirects: true },
  { type: "assigned", at: 1, inputs: ["m1"] },
  { type: "retracted", at: 1, inputs: [], by: "interrupt" },
  { type: "reordered", at: 1, input: "m1", before: "m2" },
  { type: "commanded", at: 1, command: { type: "set", objective: "Count." }, key: "k" },
  { type: "happened", at: 1, event: "ci" },
  { type: "noted", at: 1, records: [{ type: "protocol", event: { type: "goal" } }], commands: [1, 2] },
  { type: "turn_begun", at: 1, turnId: "t.1", origin: "user", said: ["m1"], messages: [message], goals: false },
  {
    type: "turn_ended",
    at: 1,
    turnId: "t.1",
    outcome: { type: "finished", finish: { type: "assistant_message", text: "Yes." } },
    iteration: 0,
    records: [{ type: "conversation", message: { id: "m2", role: "assistant", parts: [call] } }],
    reported: 1,
    usage,
    surface: "0",
    newSurface: { systemPrompt: "", tools: [{ name: "look", description: "Looks.", inputSchema: {} }] },
    said: [0],
  },
  { type: "deleted", at: 1 },
]

const ODD: readonly unknown[] = [null, true, false, 0, -1, 0.5, "", "text", "user", [], {}, { type: "text" }, [null], 2 ** 53, { other: 1 }]

/** The paths of all values in a value. */
function pathsOf(value: unknown): readonly (readonly string[])[] {
  if (typeof value !== "object" || value === null) return [[]]
  return [[], ...Object.entries(value).flatMap(([key, item]) => pathsOf(item).map((path) => [key, ...path]))]
}

/** A copy with another value at a path; `undefined`: without what is there. */
function changed(value: unknown, [key, ...rest]: readonly string[], other: unknown): unknown {
  if (key === undefined) return other
  if (typeof value !== "object" || value === null) return value
  const copy = structuredClone(value) as Record<string, unknown>
  const item = changed(copy[key], rest, other)
  if (item === undefined) delete copy[key]
  else copy[key] = item
  return copy
}

describe("the compiled checks of a schema", () => {
  test.each(RECORDS.map((record) => [record.type, record]))("accept a valid record: %s", (_type, record) => {
    expect(ThreadRecord.safeParse(record).success).toBe(true)
    expect(exactMatch(ThreadRecord)(record)).toBe(true)
    expect(threadLineValidation(record)).toBe(record)
  })

  test("accept nothing that the schema refuses or changes", () => {
    const seen = { accepted: 0, refused: 0, unknown: 0 }
    const match = exactMatch(ThreadRecord)
    const compare = (given: unknown): void => {
      const value: unknown = given === undefined ? undefined : JSON.parse(JSON.stringify(given))
      const parsed = ThreadRecord.safeParse(value)
      const isExact = parsed.success && unknownKey(value, parsed.data) === undefined
      expect([value, match(value)]).toEqual([value, isExact])
      if (isExact) expect(parsed.data).toEqual(value)
      if (isExact) seen.accepted += 1
      else if (parsed.success) seen.unknown += 1
      else seen.refused += 1
    }
    for (const record of RECORDS) for (const path of pathsOf(record)) for (const other of [...ODD, undefined]) compare(changed(record, path, other))
    for (const record of RECORDS) for (const path of pathsOf(record)) compare(changed(record, [...path, "unknown"], 1))
    for (const record of RECORDS) compare({ ...record, ...(JSON.parse('{"__proto__":{"type":"said"}}') as object) })
    for (const [name, count] of Object.entries(seen)) expect([name, count > 10]).toEqual([name, true])
  })

  test("accept what the schema accepts, for random JSON in place of a value", () => {
    check(
      2_000,
      fc.property(fc.constantFrom(...RECORDS), fc.nat(), fc.jsonValue(), (record, number, other) => {
        const paths = pathsOf(record)
        const value = changed(record, paths[number % paths.length] ?? [], JSON.parse(JSON.stringify(other)))
        const parsed = ThreadRecord.safeParse(value)
        expect(exactMatch(ThreadRecord)(value)).toBe(parsed.success && unknownKey(value, parsed.data) === undefined)
      }),
    )
  })

  test.each<[title: string, schema: z.ZodType, accepted: readonly unknown[], refused: readonly unknown[]]>([
    ["a refined text", z.string().check(z.minLength(2)), ["ab"], ["a", 1]],
    ["a text with a format", z.iso.date(), ["2026-01-01"], ["today"]],
    ["a refined object", z.object({ a: z.string() }).check(z.refine(({ a }) => a === "x")), [{ a: "x" }], [{ a: "y" }, { a: "x", b: 1 }]],
    ["a refined list", z.array(z.string()).check(z.minLength(1)), [["a"]], [[], [1]]],
    ["a loose object", z.looseObject({ a: z.string() }), [{ a: "x", b: 1 }], [{ b: 1 }]],
    ["a strict object", z.strictObject({ a: z.string() }), [{ a: "x" }], [{ a: "x", b: 1 }]],
    ["a union without tags", z.union([z.string(), z.object({ a: Count })]), ["x", { a: 1 }], [1, { a: -1 }, { a: 1, b: 1 }]],
    ["a record", z.record(z.string(), Count), [{ a: 1 }], [{ a: "1" }]],
    ["a nullable value", z.object({ a: z.string().nullable() }), [{ a: null }, { a: "" }], [{}, { a: 1 }]],
    ["several literals", z.literal(["a", 1]), ["a", 1], ["1", null]],
    ["free JSON", Json, [null, { a: [1] }], [Number.NaN, undefined]],
  ])("%s is checked by its schema", (_title, schema, accepted, refused) => {
    expect(accepted.map(exactMatch(schema))).toEqual(accepted.map(() => true))
    expect(refused.map(exactMatch(schema))).toEqual(refused.map(() => false))
  })

  test("what may change a value is left to the schema", () => {
    expect(exactMatch(z.object({ a: z.string().optional() }))({})).toBe(false)
    expect(exactMatch(z.object({ a: z.string().transform((text) => text.length) }))({ a: "x" })).toBe(false)
    expect(exactMatch(z.object({ a: z.string().default("x") }))({})).toBe(false)
  })
})
