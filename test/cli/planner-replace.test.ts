import { describe, expect, it } from "vitest"
import { readReplacement, replaceStep } from "../../src/cli/planner/replace-step.ts"

describe("a task that asks for a replacement", () => {
  it.each([
    ['Replace "colour" with "color".', { from: "colour", to: "color" }],
    ["please rename `getUser` to `loadUser` everywhere", { from: "getUser", to: "loadUser" }],
    ["Change 'a b' into “c d”", { from: "a b", to: "c d" }],
    ['Replace all "x" by "y"', { from: "x", to: "y" }],
  ])("%s", (task, expected) => {
    expect(readReplacement(task)).toEqual(expected)
  })

  it.each(['Find "colour" and "color".', 'Replace "x" with "x".', "Replace colour with color.", 'Explain "a" to "b"', 'Replace "colour".'])(
    "is not: %s",
    (task) => {
      expect(readReplacement(task)).toBeUndefined()
    },
  )

  it("is carried out in batches, and no refused change is asked for again", () => {
    const matches = Array.from({ length: 14 }, (_, index) => ({ path: "a.txt", line: index + 1, text: `old ${index}` }))
    const search = { toolName: "search_text", input: {}, result: { ok: true, value: { matches, totalMatches: 14 } } } as const
    const first = replaceStep({ from: "old", to: "new" }, [search])
    expect(first.calls).toHaveLength(12)
    expect(first.calls[0]).toEqual({ toolName: "replace_line", input: { path: "a.txt", line: 1, oldText: "old 0", newText: "new 0" } })
    const refused = first.calls.map(({ toolName, input }) => ({ toolName, input, result: { ok: false, message: "No.\nMore." } }) as const)
    const second = replaceStep({ from: "old", to: "new" }, [search, ...refused])
    expect(second.calls.map(({ input }) => (input as { readonly line: number }).line)).toEqual([13, 14])
    const done = second.calls.map(
      ({ toolName, input }) => ({ toolName, input, result: { ok: true, value: { path: "a.txt", line: 1, status: "replaced" } } }) as const,
    )
    const last = replaceStep({ from: "old", to: "new" }, [search, ...refused, ...done])
    expect(last.calls).toEqual([])
    expect(last.text).toContain('I replaced "old" with "new" in 2 lines of 14.\nNot changed:\n- a.txt:1: No.\n')
  })
})
