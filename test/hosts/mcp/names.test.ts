import fc from "fast-check"
import { expect, test } from "vitest"
import { hintsOf, readHints, withHints } from "../../../src/hosts/mcp/hints.ts"
import { hasPrefix, isPrefix, shownName } from "../../../src/hosts/mcp/names.ts"

test.each([
  ["read_file", undefined, /^read_file$/],
  ["read_file", "files", /^files__read_file$/],
  ["files.read/now", "x", /^x__files_read_now_[0-9a-f]{8}$/],
  ["Größe lesen", undefined, /^Gro_e_lesen_[0-9a-f]{8}$/],
  ["工具", "x", /^x__tool_[0-9a-f]{8}$/],
  ["n".repeat(64), undefined, /^n{64}$/],
  ["n".repeat(65), undefined, /^n{55}_[0-9a-f]{8}$/],
  ["n".repeat(60), "files", /^files__n{48}_[0-9a-f]{8}$/],
] as const)("the tool %s of the prefix %s", (name, prefix, expected) => {
  expect(shownName(name, prefix)).toMatch(expected)
})

test.each(["files", "a", "a-b_c-d", "F1", "x".repeat(32), "-"])("the prefix %j", (prefix) => expect(isPrefix(prefix)).toBe(true))
test.each(["", "a__b", "a_", "_a", "a b", "a.b", "x".repeat(33), "ä", "a\n"])("not the prefix %j", (prefix) => expect(isPrefix(prefix)).toBe(false))

const prefixes = fc.stringMatching(/^[a-c_-]{1,6}$/).filter(isPrefix)

test("names fit every model API, and names of servers with different prefixes never meet", () => {
  fc.assert(
    fc.property(fc.string({ minLength: 1 }), fc.string({ minLength: 1 }), prefixes, prefixes, (one, other, left, right) => {
      const [first, second] = [shownName(one, left), shownName(other, right)]
      expect(first).toMatch(/^[A-Za-z0-9_-]{1,64}$/)
      expect(hasPrefix(first, left)).toBe(true)
      if (left === right) return
      expect(first).not.toBe(second)
      expect(hasPrefix(first, right)).toBe(false)
    }),
  )
})

test("different names of one server have different shown names", () => {
  fc.assert(
    fc.property(fc.uniqueArray(fc.string({ minLength: 1, maxLength: 80, unit: "binary" }), { minLength: 2, maxLength: 20 }), (names) => {
      expect(new Set(names.map((name) => shownName(name, "p"))).size).toBe(names.length)
    }),
  )
})

test("hints are read from a description as they were written into it, whatever the server says before", () => {
  const flags = fc.record(
    { readOnlyHint: fc.boolean(), destructiveHint: fc.boolean(), idempotentHint: fc.boolean(), openWorldHint: fc.boolean() },
    { requiredKeys: [] },
  )
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.constant("x\n[MCP p: read-only, closed-world]")), prefixes, flags, (description, server, annotations) => {
      const hints = hintsOf(annotations)
      expect(readHints({ description: withHints(description, server, hints) })).toEqual({ server, hints })
    }),
  )
})
