import * as fc from "fast-check"
import { expect, test } from "vitest"
import * as arbitrary from "../../../src/testing/arbitraries.ts"
import { TurnMachine } from "../../../src/validated-turn-machine.ts"
import type { LlmMessage, LlmResponse } from "../../../src/wire/llm.ts"
import { completed, configOf, moved, pollAll, respond, results, userMessage } from "../../machine/support.ts"
import { check, SLOW } from "../../properties/check.ts"
import { type ApiItem, eventsOf } from "../../support/responses-events.ts"
import { responsesRefusal } from "../../support/strict-responses-rules.ts"
import { body, decode, own, response, shownTexts, streamed } from "./support.ts"

/** The items of an answer as OpenAI sends them: each reasoning item with an item after it, all ids and call ids different. */
const item: fc.Arbitrary<ApiItem> = fc.oneof(
  fc.record({
    type: fc.constant("message"),
    role: fc.constant("assistant"),
    status: fc.constant("completed"),
    phase: fc.constantFrom("commentary", "final_answer"),
    content: fc.array(
      fc.record({
        type: fc.constant("output_text"),
        text: fc.string({ maxLength: 12 }),
        annotations: fc.constantFrom([], [{ type: "url_citation", url: "https://a.example", title: "A", start_index: 0, end_index: 1 }]),
      }),
      { minLength: 1, maxLength: 2 },
    ),
  }),
  fc.record({
    type: fc.constant("function_call"),
    status: fc.constant("completed"),
    name: fc.constantFrom("read", "list"),
    arguments: arbitrary.inputJson.filter((text) => isObjectText(text) && !/\\u|[\ud800-\udfff]/.test(text)),
  }),
  fc.constant({ type: "web_search_call", status: "completed", action: { type: "search", query: "x" } }),
)
const reasoning: fc.Arbitrary<ApiItem> = fc.record({
  type: fc.constant("reasoning"),
  summary: fc.array(
    fc.string({ maxLength: 12 }).map((text) => ({ type: "summary_text", text })),
    { maxLength: 2 },
  ),
  encrypted_content: fc.string({ minLength: 1, maxLength: 12 }),
})

const TYPES: { readonly [type: string]: string } = { message: "text", web_search_call: "opaque" }
const PREFIXES: { readonly [type: string]: string } = { message: "msg", function_call: "fc", web_search_call: "ws", reasoning: "rs" }

const output: fc.Arbitrary<readonly ApiItem[]> = fc
  .tuple(reasoning, fc.array(fc.tuple(fc.option(reasoning), item), { minLength: 1, maxLength: 5 }))
  .map(([first, pairs]) => [first, ...pairs.flatMap(([thought, said]) => (thought === null ? [said] : [thought, said]))])
  .map((items) =>
    items.map((one, index) => ({ ...one, id: `${PREFIXES[one.type]}_${index}`, ...(one.type === "function_call" && { call_id: `call_${index}` }) })),
  )

function isObjectText(text: string): boolean {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === "object" && value !== null && !Array.isArray(value)
  } catch {
    return false
  }
}

const ended = (items: readonly ApiItem[]) => ({
  id: "resp_1",
  object: "response",
  status: "completed",
  output: items,
  usage: { input_tokens: 3, output_tokens: 2 },
})

/** The items of a request that the model wrote, as it wrote them. Calls go back without their status. */
function modelItems(input: readonly object[]): readonly object[] {
  return input.filter((one) => (one as ApiItem).type !== "function_call_output")
}
function asSent(items: readonly ApiItem[]): readonly object[] {
  return items.map((one) => {
    const { status: _status, ...rest } = one
    return one.type === "function_call" ? rest : one
  })
}

test("the items of an answer go back byte for byte and in order", SLOW, () => {
  check(
    1_000,
    fc.property(output, (items) => {
      const { parts } = response(decode(ended(items)))
      expect(modelItems(body({ messages: [own(...parts)] }).input)).toEqual(asSent(items))
    }),
  )
})

/** The messages of the request after an answer with calls, in a turn that another process continues. */
function afterResults(answer: LlmResponse): readonly LlmMessage[] {
  const config = configOf()
  let machine = new TurnMachine(config, { messages: [userMessage("Look.")] })
  pollAll(machine)
  respond(machine, { type: "llm_complete", id: machine.outstanding?.id ?? 0, result: { ok: true, response: answer } })
  machine = moved(machine, config)
  pollAll(machine)
  const { outstanding } = machine
  if (outstanding?.type !== "tool_calls") throw new Error(`No calls but ${outstanding?.type}`)
  respond(machine, results(outstanding.id, ...outstanding.calls.map(({ args, callId, toolName }) => completed(callId, "seen", { args, toolName }))))
  if (machine.outstanding?.type === "checkpoint") respond(machine, { type: "checkpoint_delivery", id: machine.outstanding.id, delivery: {} })
  if (machine.outstanding?.type !== "llm_call") throw new Error(`No model call but ${machine.outstanding?.type}`)
  return machine.outstanding.request.messages
}

test("also through the driver that stores them and the projector that shows them", SLOW, () => {
  check(
    100,
    fc.property(output, (items) => {
      const call = { type: "function_call", id: "fc_last", call_id: "last", name: "look", arguments: "{}" }
      const messages = afterResults(response(decode(ended([...items, call]))))
      expect(modelItems(body({ messages }).input.slice(1))).toEqual(asSent([...items, call]))
    }),
  )
})

const cuts = fc.array(fc.nat({ max: 12 }), { maxLength: 3 })

test("an answer is the same in any pieces, and what is shown is its text", SLOW, () => {
  check(
    500,
    fc.property(output, cuts, (items, places) => {
      const split = (text: string): readonly string[] =>
        [...new Set([0, ...places.filter((place) => place < text.length), text.length])]
          .sort((a, b) => a - b)
          .map((place, index, all) => text.slice(place, all[index + 1] ?? text.length))
      const { result, shown } = streamed(eventsOf(ended(items), split))
      expect(result).toEqual(decode(ended(items)))
      expect(shownTexts(shown).text).toBe(response(result).text)
    }),
  )
})

test("a stream that is cut anywhere keeps what was shown, and nothing that the endpoint refuses", SLOW, () => {
  check(
    500,
    fc.property(output, fc.nat(), (items, place) => {
      const events = eventsOf(ended(items), (text) => [text])
      const { result, shown } = streamed(events.slice(0, place % events.length))
      if (result.ok) throw new Error("complete")
      expect(result.partial?.text ?? "").toBe(shownTexts(shown).text)
      const parts = result.partial?.parts ?? []
      expect(parts.some(({ type }) => type === "tool_call")).toBe(false)
      const messages = [own(...parts, { type: "text", text: "[cut off]" })]
      expect(responsesRefusal(body({ messages }))).toBeUndefined()
      // Reasoning that goes back is followed by what followed it in the answer.
      for (const [index, part] of parts.entries()) {
        if (part.type !== "reasoning" || part.replay === undefined) continue
        const place = items.findIndex(({ id }) => id === part.replay?.itemId)
        const [before, after] = [parts.slice(index + 1), items.slice(place + 1)]
        expect(before.find(({ type }) => type !== "reasoning")?.type).toBe(TYPES[after.find(({ type }) => type !== "reasoning")?.type ?? ""])
      }
    }),
  )
})

test("nothing throws, whatever comes", SLOW, () => {
  const key = fc.constantFrom(
    "type",
    "item",
    "response",
    "output",
    "output_index",
    "item_id",
    "id",
    "delta",
    "text",
    "content",
    "summary",
    "status",
    "error",
    "arguments",
    "call_id",
    "sequence_number",
  )
  const word = fc.constantFrom(
    "response.created",
    "response.output_item.added",
    "response.output_item.done",
    "response.output_text.delta",
    "response.output_text.done",
    "response.function_call_arguments.delta",
    "response.completed",
    "response.failed",
    "error",
    "message",
    "reasoning",
    "function_call",
    "completed",
    "failed",
  )
  const value = fc.letrec((tie) => ({
    value: fc.oneof(
      { maxDepth: 4 },
      arbitrary.json,
      word,
      fc.nat({ max: 3 }),
      fc.constant(Number.POSITIVE_INFINITY),
      tie("object"),
      fc.array(tie("value"), { maxLength: 3 }),
    ),
    object: fc.dictionary(key, tie("value"), { maxKeys: 6 }),
  })).value
  check(
    2_000,
    fc.property(fc.array(value, { maxLength: 6 }), (values) => {
      const { result } = streamed(values)
      expect(typeof result.ok).toBe("boolean")
      for (const one of values) expect(typeof decode(one).ok).toBe("boolean")
    }),
  )
})
