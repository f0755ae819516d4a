import fc from "fast-check"
import { describe, expect, test, vi } from "vitest"
import { errorEvent } from "../../src/machine/terminal.ts"
import { deriveModelReturn, toolResultParts } from "../../src/machine/tool-results.ts"
import type { Json } from "../../src/schemas/json.ts"
import { CutText, cutLines, cutMiddle } from "../../src/text.ts"
import { completed } from "./support.ts"

// No fold puts together more than it shows. What is put together is counted, not timed.

/** The characters that `JSON.stringify` makes meanwhile, and the longest piece of them. */
function written(act: () => void): { readonly longest: number; readonly total: number } {
  const pieces: number[] = []
  const real = JSON.stringify
  const spy = vi.spyOn(JSON, "stringify").mockImplementation(((value: unknown) => {
    const text = real(value)
    pieces.push(text.length)
    return text
  }) as typeof JSON.stringify)
  try {
    act()
  } finally {
    spy.mockRestore()
  }
  return { longest: Math.max(0, ...pieces), total: pieces.reduce((sum, length) => sum + length, 0) }
}

const text = fc.string({ unit: fc.constantFrom("a", "\n", '"', "\\", "é", "🙂", "\ud83d", "\ude42"), maxLength: 60 })

describe("CutText", () => {
  test("gives what cutMiddle gives of the whole text, for any pieces and any limit", () => {
    const piece = text.filter((given) => !/[\ud800-\udbff]$/.test(given))
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 12 }), fc.integer({ min: 0, max: 80 }), (pieces, limit) => {
        const cut = new CutText(limit)
        for (const given of pieces) cut.push(given)
        expect(cut.toString()).toBe(cutMiddle(pieces.join(""), limit))
        expect(cut.length).toBe(pieces.join("").length)
      }),
    )
  })

  test("of a text that is far longer than the limit, too", () => {
    const cut = new CutText(10)
    for (let count = 0; count < 1_000; count += 1) cut.push(`${count}${"🙂".repeat(400)}`)
    const whole = Array.from({ length: 1_000 }, (_, count) => `${count}${"🙂".repeat(400)}`).join("")
    expect(cut.toString()).toBe(cutMiddle(whole, 10))
    const last = `${"x".repeat(100_000)}${"🙂".repeat(20)}`
    cut.push(last)
    expect(cut.toString()).toBe(cutMiddle(whole + last, 10))
  })

  test("lines are cut as their joined text is", () => {
    fc.assert(
      fc.property(fc.array(text, { maxLength: 8 }), fc.integer({ min: 0, max: 80 }), (lines, limit) => {
        expect(cutLines(lines, limit)).toBe(cutMiddle(lines.join("\n"), limit))
      }),
    )
  })
})

describe("the result of a tool", () => {
  const attachment = { id: "i", mediaType: "image/png", byteLength: 1 }
  const value = fc.letrec<{ value: Json }>((tie) => ({
    value: fc.oneof(
      { maxDepth: 4 },
      text,
      fc.integer(),
      fc.constant(null),
      fc.constant({ $attachment: attachment }),
      fc.array(tie("value"), { maxLength: 5 }),
      fc.dictionary(text, tie("value"), { maxKeys: 5 }),
    ),
  })).value

  test("is the same as if its whole text had been made and cut", () => {
    fc.assert(
      fc.property(value, fc.integer({ min: 1, max: 120 }), (given, limit) => {
        const output = { status: "success", value: given } as const
        const derived = toolResultParts("m", [completed("a", given)], limit)
        expect(derived).toEqual(toolResultParts("m", [completed("a", null, { output, modelReturn: deriveModelReturn(output) })], limit))
      }),
      { numRuns: 500 },
    )
  })

  test("a string of any length in a value is written in pieces", () => {
    const long = `${"x".repeat(16_383)}🙂${"y\n".repeat(40_000)}`
    const { longest } = written(() => toolResultParts("m", [completed("a", { long })], 1_000))
    expect(longest).toBeLessThan(50_000)
    const [whole] = deriveModelReturn({ status: "success", value: { long } }).parts
    expect(whole).toEqual({ type: "text", text: JSON.stringify({ long }) })
  })

  test.each([16_382, 16_383, 16_384, 16_385])("a pair of surrogates at character %i of a string is not divided", (place) => {
    const given = [`${"x".repeat(place)}🙂${"y".repeat(16_384)}🙂`]
    const json = JSON.stringify(given)
    expect(deriveModelReturn({ status: "success", value: given }).parts).toEqual([{ type: "text", text: json }])
    // Within the limit, so that nothing of it is left out.
    expect(toolResultParts("m", [completed("a", given)], 40_000)).toMatchObject([{ text: json }])
  })

  test("long texts around an attachment share the limit, however many pieces they are written in", () => {
    const given = ["x".repeat(30_000), { $attachment: attachment }, "y".repeat(30_000)]
    const [result] = toolResultParts("m", [completed("a", given)], 10_000)
    const content = result?.type === "tool_result" ? (result.content ?? []) : []
    const counts = content.map((part) => (part.type === "text" ? part.text.split(/\n\n.*\n\n/).map(({ length }) => length) : part.type))
    expect(counts).toEqual([[2_500, 2_500], "attachment", [2_500, 2_500]])
  })

  test("texts around an attachment that are as long as the limit together are whole, however they share it", () => {
    // ["xxxx…", is 12 characters, and ,1] is 3.
    const given = ["x".repeat(8), { $attachment: attachment }, 1]
    const parts = [
      { type: "text", text: '["xxxxxxxx",' },
      { type: "attachment", attachment },
      { type: "text", text: ",1]" },
    ] as const
    const shared = [
      { type: "text", text: "[\n\n... (11 chars omitted) ...\n\n" },
      { type: "attachment", attachment },
    ]
    for (const result of [completed("a", given), completed("a", null, { modelReturn: { parts: [...parts] } })]) {
      expect(toolResultParts("m", [result], 15)[0]).toMatchObject({ content: parts })
      expect(shared).toHaveLength(2)
      expect(toolResultParts("m", [result], 14)[0]).not.toMatchObject({ content: parts })
    }
  })

  test("a failure's raw value is searched for attachments, and its text is not made", () => {
    const failure = { class: "execution", code: "c", message: "no", source: "tool", retry: { type: "never" } } as const
    const raw = ["x".repeat(100_000), { $attachment: attachment }]
    const parts = deriveModelReturn({ status: "failure", failure: { ...failure, raw } }).parts
    expect(parts).toEqual([
      { type: "text", text: "[Tool execution failed]\nno" },
      { type: "attachment", attachment },
    ])
  })
})

test("an error keeps 4,000 characters of a raw text of 50 MB, and not the text", () => {
  const event = errorEvent("no", { kind: "llm_provider", raw: ` ${"🙂".repeat(12_500_000)} ` })
  const raw = event.type === "error" ? (event.envelope?.raw ?? "") : ""
  expect(raw).toHaveLength(2 * 4_000 + "\n\n... (12496000 chars omitted) ...\n\n".length)
  expect(raw).toContain("(12496000 chars omitted)")
})
