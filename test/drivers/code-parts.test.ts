import fc from "fast-check"
import { describe, expect, test } from "vitest"
import type { LlmResponse, OutputPart } from "../../src/schemas/llm.ts"
import { check } from "../properties/check.ts"
import { RUN, Talk } from "./code-talk.ts"

const text = (content: string): OutputPart => ({ type: "text", text: content })
const reasoning = (content: string): OutputPart => ({ type: "reasoning", text: content, replay: { signature: `of ${content}` } })
const search: OutputPart = { type: "opaque", provider: "p", kind: "web_search_call", data: { id: "ws" } }
const call: OutputPart = { type: "tool_call", callId: "c", toolName: "t", inputJson: "{}" }

const textOf = (parts: readonly OutputPart[]): string => parts.map((part) => (part.type === "text" ? part.text : "")).join("")

/** The parts of the last assistant message, without their ids. */
function stored({ machine }: Talk): readonly object[] {
  const answers = machine.messages.filter(({ role }) => role === "assistant")
  return (answers.at(-1)?.parts ?? []).map(({ id: _id, ...part }) => part)
}

function answered(parts: readonly OutputPart[], rest: Partial<LlmResponse> = {}): Talk {
  return new Talk({ languages: ["js"] }).says(textOf(parts), { parts, ...rest })
}

describe("an answer in several parts", () => {
  test("code that is split over parts runs as the model wrote it", () => {
    const parts = [text("I run\n```j"), text("s\nprint("), reasoning("x"), text("1)\n``"), text("`\nIt prints 1.")]
    const talk = answered(parts)
    expect(talk.machine.outstanding).toMatchObject({ type: "exec_code", code: "print(1)" })
    expect(stored(talk)).toEqual([text("I run\n```j"), text("s\nprint("), reasoning("x"), text("1)\n``"), text("`")])
  })

  test("a block may begin in a part of its own, after a line that does not end", () => {
    expect(answered([text("I run:"), text("```js\nprint(1)\n```")]).machine.messages.at(-1)?.parts[0]).toMatchObject({
      text: expect.stringContaining('"```js" looks like a fence'),
    })
    expect(answered([text("I run:\n"), text("```js\nprint(1)\n```")]).machine.outstanding).toMatchObject({ code: "print(1)" })
  })

  test("what follows code at the end of a part is dropped, also what is not text", () => {
    const talk = answered([reasoning("a"), text("```js\nprint(1)\n```"), reasoning("b"), search, text("\nIt prints 1.")])
    expect(talk.machine.outstanding).toMatchObject({ type: "exec_code", code: "print(1)" })
    expect(stored(talk)).toEqual([reasoning("a"), text("```js\nprint(1)\n```")])
  })

  test("what follows the fence is dropped, and native calls are", () => {
    const cut: OutputPart = { type: "text", text: "```js\na\n```\nmore", responseMeta: { id: "m1" }, providerMetadata: { p: { a: 1 } } }
    const talk = answered([reasoning("first"), call, search, cut, reasoning("later"), search, text("```js\nb\n```")])
    expect(stored(talk)).toEqual([reasoning("first"), search, { ...cut, text: "```js\na\n```" }])
  })

  test("an answer whose code runs keeps its producer", () => {
    const producer = { provider: "p", api: "a", model: "m" }
    const talk = answered([reasoning("a"), text("```js\na\n```\nmore")], { producer })
    expect(talk.machine.outstanding?.type).toBe("exec_code")
    expect(talk.machine.messages.at(-1)?.producer).toEqual(producer)
  })

  test("an answer in words is stored part by part", () => {
    const parts = [reasoning("a"), text(" So "), search, text("\n\n3."), reasoning("b")]
    const talk = answered(parts, { producer: { provider: "p", api: "a", model: "m" } })
    expect(stored(talk)).toEqual(parts)
    expect(talk.machine.messages.at(-1)?.producer).toEqual({ provider: "p", api: "a", model: "m" })
  })

  test("an answer to repair is stored part by part", () => {
    const parts = [reasoning("a"), text("```js\n"), text("print(1)")]
    expect(stored(answered(parts))).toEqual(parts)
  })

  test("any split of an answer runs the same code and stores the beginning of what was said", () => {
    const answer = "Now:\n\n1. ```js\n   print(`a`)\n\n   print(2)\n   ```\n\nThen ```js\nprint(3)\n```\n"
    const end = answer.indexOf("\n\nThen")
    check(
      500,
      fc.property(fc.array(fc.nat(answer.length), { maxLength: 8 }), fc.nat(2), (cuts, between) => {
        const at = [0, ...cuts.toSorted((left, right) => left - right), answer.length]
        const pieces = at.slice(1).map((cut, index) => text(answer.slice(at[index], cut)))
        const parts = between === 0 ? pieces : pieces.flatMap((piece, index) => [piece, between === 1 ? reasoning(`r${index}`) : call])
        const talk = answered(parts)
        expect(talk.machine.outstanding).toMatchObject({ code: "print(`a`)\n\nprint(2)" })
        const kept = stored(talk) as readonly OutputPart[]
        expect(textOf(kept)).toBe(answer.slice(0, end))
        const whole = parts.filter(({ type }) => type !== "tool_call")
        expect(kept.slice(0, -1)).toEqual(whole.slice(0, kept.length - 1))
        expect(kept.at(-1)?.type).toBe("text")
      }),
    )
  })
})

describe("an answer that was cut off", () => {
  test.each(["output_limit", "content_filter", "refusal", "context_overflow", "cancelled"] as const)(
    "%s: it is stored, and its code does not run",
    (reason) => {
      const parts = [reasoning("x"), text("I run\n```js\nprint(1)\n```\nand"), call]
      const talk = answered(parts, { terminalReason: reason, usage: { inputTokens: 1, cachedInputTokens: 0, outputTokens: 9, reasoningTokens: 0 } })
      expect(talk.machine.done).toBe(true)
      expect(talk.effects.some(({ type }) => type === "exec_code")).toBe(false)
      expect(stored(talk)).toEqual([parts[0], parts[1], { type: "interrupted", reason }])
    },
  )

  test("a cancelled call: what the host had streamed is stored", () => {
    const talk = new Talk()
    const partial: LlmResponse = {
      text: "```ts\nprint(1)\n```",
      parts: [],
      usage: { inputTokens: 1, cachedInputTokens: 0, outputTokens: 1, reasoningTokens: 0 },
      terminalReason: "cancelled",
    }
    talk.machine.cancel(undefined, partial)
    expect(stored(talk)).toEqual([text("```ts\nprint(1)\n```"), { type: "interrupted", reason: "cancelled" }])
    expect(talk.machine.outcome).toEqual({ type: "stopped", stop: { type: "cancelled" } })
  })
})

describe("an answer that is not over, or over for an unknown reason", () => {
  test("paused: the answer is stored, and the model continues", () => {
    const talk = answered([text("I search.\n```js\npr"), search], { terminalReason: "paused" })
    expect(stored(talk)).toEqual([text("I search.\n```js\npr"), search])
    expect(talk.machine.outstanding).toMatchObject({ type: "checkpoint", checkpoint: "after_work" })
    talk.continues().says("All done.").continues()
    expect(talk.machine.outcome).toMatchObject({ finish: { text: "All done." } })
  })

  test.each([
    ["half a block", "I search.\n```js\npr"],
    ["a fence in a line", "I run ```js print(1)"],
    ["words", "I search."],
    ["nothing", ""],
  ])("paused after %s: no repair is asked for", (_what, content) => {
    const talk = new Talk({ languages: ["js"], maxRepairs: 0 }).says(content, { parts: [text(content)], terminalReason: "paused" })
    expect(talk.machine.outstanding).toMatchObject({ type: "checkpoint", checkpoint: "after_work" })
    expect(talk.machine.messages.slice(1).map(({ role }) => role)).toEqual(content === "" ? [] : ["assistant"])
    expect(talk.machine.history).toHaveLength(content === "" ? 0 : 1)
  })

  test("an empty answer is not stored, only the request to repair it", () => {
    const talk = answered([text(" \n")])
    expect(talk.machine.messages.slice(1).map(({ role }) => role)).toEqual(["system"])
  })

  test("paused after a whole block: the code runs", () => {
    const talk = answered([text("```js\nprint(1)\n```"), search], { terminalReason: "paused" })
    expect(talk.machine.outstanding).toMatchObject({ type: "exec_code", code: "print(1)" })
    talk.gives({ ok: true, value: RUN }).continues()
    expect(talk.machine.outstanding).toMatchObject({ type: "llm_call" })
  })

  test("unknown: the answer counts, and the user sees the provider's word", () => {
    const talk = answered([text("```js\nprint(1)\n```")], { terminalReason: "unknown", terminalDiagnostic: "The provider said odd." })
    expect(talk.machine.outstanding).toMatchObject({ type: "exec_code", code: "print(1)" })
    expect(talk.effects).toContainEqual({ type: "emit", event: { type: "message", text: "The provider said odd.", kind: "diagnostic" } })
  })
})
