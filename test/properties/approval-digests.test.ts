import { createHash } from "node:crypto"
import * as fc from "fast-check"
import { expect, test } from "vitest"
import { callDigest, toolDigest } from "../../src/drivers/approval/digests.ts"
import type { Json } from "../../src/schemas/json.ts"
import { check } from "./check.ts"

const TOOL = { name: "pay", description: "Pays.", inputSchema: { type: "object" } }
const aText = fc.oneof(
  fc.string({ unit: "binary" }),
  fc.string({ unit: "grapheme" }),
  fc.constantFrom("__proto__", "constructor", "\ud800", "10", "9", ""),
)
const { json: aJson } = fc.letrec<{ json: Json }>((tie) => ({
  json: fc.oneof(
    { depthSize: "small" },
    fc.constantFrom<Json>(null, true, false, -0, 0, 1e21, 0.1),
    fc.double({ noNaN: true, noDefaultInfinity: true }),
    aText,
    fc.array(tie("json"), { maxLength: 4 }),
    fc.array(fc.tuple(aText, tie("json")), { maxLength: 25 }).map((entries) => objectOf(entries)),
  ),
}))

/** Of JSON text, so that `__proto__` is a key as any other. */
function objectOf(entries: readonly (readonly [string, Json])[]): Json {
  return JSON.parse(`{${entries.map(([key, value]) => `${JSON.stringify(key)}:${JSON.stringify(value)}`).join()}}`)
}

function turned(value: Json): Json {
  if (typeof value !== "object" || value === null) return value
  if (Array.isArray(value)) return value.map(turned)
  return objectOf(
    Object.entries(value)
      .reverse()
      .map(([key, item]) => [key, turned(item)]),
  )
}

/** Canonical JSON, written once more: keys in the order of their UTF-16 code units. */
function canonical(value: Json): string {
  if (typeof value !== "object" || value === null) return JSON.stringify(value)
  if (Array.isArray(value)) return `[${value.map(canonical).join()}]`
  const entries = Object.entries(value).sort(([left], [right]) => (left < right ? -1 : 1))
  return `{${entries.map(([key, item]) => `${JSON.stringify(key)}:${canonical(item)}`).join()}}`
}

test("a digest is SHA-256 of canonical JSON, the same in any order of keys and after storage", () => {
  check(
    500,
    fc.property(aJson, aText, (args, toolName) => {
      const digest = callDigest({ toolName, args }, TOOL)
      const text = `[1,${JSON.stringify(toolName)},"${toolDigest(TOOL)}",${canonical(args)}]`
      expect(digest).toBe(createHash("sha256").update(text).digest("hex"))
      expect(callDigest({ toolName, args: turned(args) }, TOOL)).toBe(digest)
      expect(callDigest({ toolName, args: JSON.parse(JSON.stringify(args)) }, TOOL)).toBe(digest)
    }),
  )
})

test("other arguments have another digest", () => {
  check(
    300,
    fc.property(aJson, aJson, (left, right) => {
      fc.pre(canonical(left) !== canonical(right))
      expect(callDigest({ toolName: "pay", args: left }, TOOL)).not.toBe(callDigest({ toolName: "pay", args: right }, TOOL))
    }),
  )
})
