import fc from "fast-check"
import { expect, test } from "vitest"
import { chatAnswer, chatStream } from "../../support/openai-chat.ts"
import { answer, piece, streamed } from "./support.ts"

test.each<[string, readonly unknown[]]>([
  [
    "google-no-index",
    [
      { type: "tool_call", callId: "call_1", toolName: "get_weather", inputJson: '{"city":"Paris"}' },
      { type: "tool_call", callId: "call_2", toolName: "get_weather", inputJson: '{"city":"Oslo"}' },
    ],
  ],
  ["localai-repeated-id", [{ type: "tool_call", callId: "LipwoT0p", toolName: "exec", inputJson: '{"cmd":"date"}' }]],
  [
    "ollama-all-index-0",
    [
      { type: "tool_call", callId: "call_a1", toolName: "list_files", inputJson: "{}" },
      { type: "tool_call", callId: "call_b2", toolName: "list_files", inputJson: '{"path":"src"}' },
    ],
  ],
])("%s: the calls are read separately", (name, parts) => {
  expect(answer(streamed(name).result)).toMatchObject({ parts, terminalReason: "tool_use" })
})

test.each<[string, readonly unknown[], readonly [string, string, string][]]>([
  [
    "an index, and a new id in each piece",
    [piece(0, "a", "f", "{"), piece(0, "b", undefined, "}"), piece(1, "c", "g", "{}")],
    [
      ["a", "f", "{}"],
      ["c", "g", "{}"],
    ],
  ],
  [
    "no index, an id in each piece, the name late",
    [piece(undefined, "a", undefined, "{"), piece(undefined, "b", undefined, "["), piece(undefined, "a", "f", "}"), piece(undefined, "b", "g", "]")],
    [
      ["a", "f", "{}"],
      ["b", "g", "[]"],
    ],
  ],
  [
    "no index and no id, arguments in pieces",
    [piece(undefined, undefined, "f", "{"), piece(undefined, undefined, undefined, "}"), piece(undefined, undefined, "g", "[]")],
    [
      ["call_1", "f", "{}"],
      ["call_2", "g", "[]"],
    ],
  ],
  ["no index, id and name repeated in each piece", [piece(undefined, "a", "f", "{"), piece(undefined, "a", "f", "}")], [["a", "f", "{}"]]],
  ["an index, id and name repeated in each piece", [piece(0, "a", "f", "{"), piece(0, "a", "f", "}")], [["a", "f", "{}"]]],
  [
    "one id for two calls",
    [piece(0, "a", "f", "{}"), piece(0, "a", "g", "[]")],
    [
      ["a", "f", "{}"],
      ["call_1", "g", "[]"],
    ],
  ],
  [
    "all indexes 0 and no ids",
    [piece(0, undefined, "f", "{}"), piece(0, undefined, "g", "[]")],
    [
      ["call_1", "f", "{}"],
      ["call_2", "g", "[]"],
    ],
  ],
  ["a name in pieces", [piece(0, "a", "read_", undefined), piece(0, undefined, "file", "{}")], [["a", "read_file", "{}"]]],
  ["arguments as an object", [piece(0, "a", "f", { path: "x" })], [["a", "f", '{"path":"x"}']]],
  [
    "one id for calls at several indexes",
    [piece(0, "a", "f", '{"x":1}'), piece(1, "a", "f", '{"x":2}'), piece(2, "a", "g", '{"x":3}')],
    [
      ["a", "f", '{"x":1}'],
      ["call_1", "f", '{"x":2}'],
      ["call_2", "g", '{"x":3}'],
    ],
  ],
  [
    "one id for calls at several indexes, in interleaved pieces",
    [piece(0, "a", "f", '{"x"'), piece(1, "a", "f", '{"x"'), piece(0, "a", undefined, ":1}"), piece(1, "a", undefined, ":2}")],
    [
      ["a", "f", '{"x":1}'],
      ["call_1", "f", '{"x":2}'],
    ],
  ],
  [
    "one id for calls without arguments at several indexes",
    [piece(0, "a", "f", ""), piece(1, "a", "f", "")],
    [
      ["a", "f", ""],
      ["call_1", "f", ""],
    ],
  ],
  [
    "one id, and another index for the rest of the arguments",
    [piece(0, "a", "f", '{"x":'), piece(1, "a", undefined, "1}"), piece(2, "a", "f", '{"x":2}')],
    [
      ["a", "f", '{"x":1}'],
      ["call_1", "f", '{"x":2}'],
    ],
  ],
  [
    "one id for two whole calls without an index",
    [piece(undefined, "a", "f", '{"x":1}'), piece(undefined, "a", "f", '{"x":2}')],
    [
      ["a", "f", '{"x":1}'],
      ["call_1", "f", '{"x":2}'],
    ],
  ],
  [
    "one index for two whole calls of one function, without ids",
    [piece(0, undefined, "f", '{"x":1}'), piece(0, undefined, "f", '{"x":2}')],
    [
      ["call_1", "f", '{"x":1}'],
      ["call_2", "f", '{"x":2}'],
    ],
  ],
  [
    "one index for two equal calls with ids of their own",
    [piece(0, "a", "f", "{}"), piece(0, "b", "f", "{}")],
    [
      ["a", "f", "{}"],
      ["b", "f", "{}"],
    ],
  ],
  [
    "no index and no ids, two equal calls",
    [piece(undefined, undefined, "f", "{}"), piece(undefined, undefined, "f", "{}")],
    [
      ["call_1", "f", "{}"],
      ["call_2", "f", "{}"],
    ],
  ],
  [
    "all indexes 0, in interleaved pieces",
    [piece(0, "a", "f", "{"), piece(0, "b", "g", "{"), piece(0, "a", undefined, "}"), piece(0, "b", undefined, "}")],
    [
      ["a", "f", "{}"],
      ["b", "g", "{}"],
    ],
  ],
  ["a new id and the name in each piece", [piece(0, "a", "f", '{"x"'), piece(0, "b", "f", ":1}")], [["a", "f", '{"x":1}']]],
  [
    "the name in each piece, without index and id",
    [piece(undefined, undefined, "f", '{"x"'), piece(undefined, undefined, "f", ":1}")],
    [["call_1", "f", '{"x":1}']],
  ],
  [
    "the whole arguments again, without a name",
    [piece(0, "a", "f", '{"x":'), piece(0, undefined, undefined, "1}"), piece(0, undefined, undefined, '{"x":1}')],
    [["a", "f", '{"x":1}']],
  ],
  [
    "the whole arguments again, with id and name",
    [piece(0, "a", "f", '{"x":'), piece(0, "a", "f", "1}"), piece(0, "a", "f", '{"x":1}')],
    [["a", "f", '{"x":1}']],
  ],
  [
    "the whole arguments again, in other white space",
    [piece(0, "a", "f", '{"x":1}'), piece(0, "a", undefined, '{ "x": 1 }')],
    [["a", "f", '{"x":1}']],
  ],
  [
    "the whole arguments again, in pieces",
    [piece(0, "a", "f", '{"x":1}'), piece(0, "a", undefined, '{"x"'), piece(0, "a", undefined, ":1}")],
    [["a", "f", '{"x":1}']],
  ],
  ["the whole arguments again, in the same piece", [piece(0, "a", "f", '{"x":1}{"x":1}')], [["a", "f", '{"x":1}']]],
  ["an empty last piece with id and name", [piece(0, "a", "f", '{"x":1}'), piece(0, "a", "f", "")], [["a", "f", '{"x":1}']]],
  [
    "braces and quotes in a text",
    [piece(0, "a", "f", '{"x":"}{'), piece(0, undefined, undefined, '\\"}"'), piece(0, undefined, undefined, "}")],
    [["a", "f", '{"x":"}{\\"}"}']],
  ],
  ["another object after the arguments", [piece(0, "a", "f", '{"x":1}'), piece(0, undefined, undefined, '{"x":2}')], [["a", "f", '{"x":1}{"x":2}']]],
  ["text after the arguments", [piece(0, "a", "f", '{"x":1}'), piece(0, undefined, undefined, " }")], [["a", "f", '{"x":1} }']]],
  [
    "broken arguments",
    [piece(0, "a", "f", '{"x":1 "y"'), piece(0, undefined, undefined, ":2}"), piece(0, undefined, undefined, "{}")],
    [["a", "f", '{"x":1 "y":2}{}']],
  ],
  [
    "an index as text, in interleaved pieces",
    [
      { ...piece(undefined, "a", "f", ""), index: "0" },
      { ...piece(undefined, "b", "g", '{"p":'), index: "1" },
      { ...piece(undefined, undefined, undefined, '{"q":2}'), index: "0" },
      { ...piece(undefined, undefined, undefined, "3}"), index: "1" },
    ],
    [
      ["a", "f", '{"q":2}'],
      ["b", "g", '{"p":3}'],
    ],
  ],
  [
    "an empty object before the arguments",
    [piece(0, "a", "f", "{}"), piece(0, undefined, undefined, '{"city":"Lima"}')],
    [["a", "f", '{"city":"Lima"}']],
  ],
  [
    "an empty object before the arguments, in pieces",
    [piece(0, "a", "f", "{ }"), piece(0, undefined, undefined, ' {"ci'), piece(0, undefined, undefined, 'ty":"Lima"}')],
    [["a", "f", ' {"city":"Lima"}']],
  ],
  [
    "an empty object before the arguments, with id and name",
    [piece(0, "a", "f", "{}"), piece(0, "a", "f", '{"city":'), piece(0, "a", "f", '"Lima"}')],
    [["a", "f", '{"city":"Lima"}']],
  ],
  [
    "an empty object before the arguments, with id and name, without an index",
    [piece(undefined, "a", "f", {}), piece(undefined, "a", "f", { city: "Lima" })],
    [["a", "f", '{"city":"Lima"}']],
  ],
  ["an empty object twice", [piece(0, "a", "f", "{}"), piece(0, "a", "f", "{}")], [["a", "f", "{}"]]],
  [
    "an index only after the first piece",
    [piece(undefined, "a", "f", ""), piece(0, undefined, undefined, '{"n"'), piece(0, undefined, undefined, ":4}")],
    [["a", "f", '{"n":4}']],
  ],
  [
    "an index only after the first piece, with the id",
    [piece(undefined, "a", "f", ""), piece(0, "a", undefined, '{"n":4}'), piece(1, "b", "g", "{}")],
    [
      ["a", "f", '{"n":4}'],
      ["b", "g", "{}"],
    ],
  ],
  ["arguments that are cut off", [piece(0, "a", "f", '{"x":"half a')], [["a", "f", '{"x":"half a']]],
  ["arguments that are not an object", [piece(0, "a", "f", "nu"), piece(0, undefined, undefined, "ll")], [["a", "f", "null"]]],
])("calls are joined with %s", (_what, pieces, expected) => {
  const stream = chatStream()
  for (const tool_call of pieces) stream.push({ choices: [{ index: 0, delta: { tool_calls: [tool_call] }, finish_reason: null }] })
  stream.push({ choices: [{ index: 0, delta: {}, finish_reason: "tool_calls" }] })
  expect(answer(stream.finish()).parts).toEqual(expected.map(([callId, toolName, inputJson]) => ({ type: "tool_call", callId, toolName, inputJson })))
})

/** Reads deltas as a stream. */
function calls(deltas: readonly object[]) {
  const stream = chatStream()
  for (const delta of deltas) stream.push({ choices: [{ index: 0, delta, finish_reason: null }] })
  stream.push({ choices: [{ index: 0, delta: {}, finish_reason: "tool_calls" }] })
  return answer(stream.finish()).parts
}

test("several calls in each delta without an index continue in the same order", () => {
  const names = fc.array(fc.constantFrom("f", "g", "h"), { minLength: 2, maxLength: 4 })
  const cuts = fc.array(fc.nat({ max: 20 }), { minLength: 1, maxLength: 5 })
  fc.assert(
    fc.property(names, cuts, fc.boolean(), fc.boolean(), (made, ends, hasIds, isNamed) => {
      const texts = made.map((name, position) => JSON.stringify({ [`${name}-${position}`]: `{"${position}` }))
      const places = [0, ...[...ends].sort((a, b) => a - b), 99]
      const deltas = places.slice(1).map((end, step) => ({
        tool_calls: made.map((name, position) => {
          const text = texts[position]?.slice(places[step], end) ?? ""
          return piece(undefined, step === 0 && hasIds ? `id_${position}` : undefined, step === 0 || isNamed ? name : undefined, text)
        }),
      }))
      // Whether a name after whole arguments starts a new call is another question.
      fc.pre(!isNamed || ends.length === 1)
      expect(calls(deltas)).toEqual(
        made.map((toolName, position) => ({
          type: "tool_call",
          callId: hasIds ? `id_${position}` : `call_${position + 1}`,
          toolName,
          inputJson: texts[position],
        })),
      )
    }),
  )
})

test("the older field beside the newer one is the same call once more", () => {
  const call = piece(0, "a", "f", '{"n":4}')
  const older = { name: "f", arguments: '{"n":4}' }
  expect(calls([{ tool_calls: [call] }, { function_call: older }])).toMatchObject([{ callId: "a", inputJson: '{"n":4}' }])
  expect(calls([{ function_call: older }])).toMatchObject([{ toolName: "f", inputJson: '{"n":4}' }])
})

test.each([{ tool_calls: "" }, { tool_calls: false }, { function_call: "none" }, { function_call: "auto" }])("%j is not a call", (delta) => {
  expect(calls([{ content: "Hi", ...delta }])).toEqual([{ type: "text", text: "Hi" }])
  expect(chatAnswer({ choices: [{ message: { content: "Hi", ...delta }, finish_reason: "stop" }] })).toMatchObject({ ok: true })
})

test("a signature of a call is stored for its provider, and not overwritten by a piece without one", () => {
  const signed = { google: { thought_signature: "c2ln" } }
  const stream = chatStream()
  const push = (more: object, text: string) =>
    stream.push({ choices: [{ index: 0, delta: { tool_calls: [{ ...piece(0, "a", "f", text), ...more }] }, finish_reason: "tool_calls" }] })
  push({ extra_content: signed }, '{"x":1}')
  push({ extra_content: null }, "")
  push({ extra_content: { google: { thought_signature: "" } } }, '{"x":1}')
  expect(answer(stream.finish()).parts).toEqual([
    { type: "tool_call", callId: "a", toolName: "f", inputJson: '{"x":1}', providerMetadata: { extra_content: signed } },
  ])
})

test("names that were changed for the wire are changed back", () => {
  const stream = chatStream({ toolNames: new Map([["tabs_open", "tabs.open"]]) })
  stream.push({ choices: [{ delta: { tool_calls: [piece(0, "a", "tabs_open", "{}"), piece(1, "b", "other", "{}")] }, finish_reason: "tool_calls" }] })
  expect(answer(stream.finish()).parts).toMatchObject([{ toolName: "tabs.open" }, { toolName: "other" }])
})

/** Servers differ in how they name the calls of an answer. */
const SERVERS: readonly ((call: number, first: boolean) => { readonly index?: number; readonly id?: string; readonly named: boolean })[] = [
  (call, first) => ({ index: call, named: first, ...(first && { id: `id_${call}` }) }),
  (call) => ({ index: call, id: `id_${call}`, named: true }),
  (call) => ({ index: call, id: "same", named: true }),
  (call, first) => ({ index: call, id: "same", named: first }),
  (call, first) => ({ index: 0, id: `id_${call}`, named: first }),
  (call, first) => ({ id: `id_${call}`, named: first }),
  (call) => ({ id: "same", named: call >= 0 }),
  (_call, first) => ({ named: first }),
]

test("calls with objects as arguments are read whole from every kind of server, however they are cut", () => {
  const calls = fc.array(fc.record({ name: fc.constantFrom("f", "g"), value: fc.dictionary(fc.string(), fc.jsonValue()) }), {
    minLength: 1,
    maxLength: 4,
  })
  fc.assert(
    fc.property(
      calls,
      fc.constantFrom(...SERVERS),
      fc.array(fc.nat({ max: 12 }), { maxLength: 40 }),
      fc.boolean(),
      (made, server, lengths, repeated) => {
        const stream = chatStream()
        let at = 0
        for (const [number, { name, value }] of made.entries()) {
          // Numbered, because two equal calls in a row are one call repeated for servers that give them the same id.
          const text = JSON.stringify({ ...value, number })
          const pieces: string[] = []
          for (let start = 0; start < text.length; ) {
            const length = (lengths[at++ % Math.max(lengths.length, 1)] ?? 5) + 1
            pieces.push(text.slice(start, start + length))
            start += length
          }
          if (repeated) pieces.push(text)
          for (const [position, part] of pieces.entries()) {
            const { id, index, named } = server(number, position === 0)
            const tool_call = piece(index, id, named ? name : undefined, part)
            stream.push({ choices: [{ index: 0, delta: { tool_calls: [tool_call] }, finish_reason: null }] })
          }
        }
        stream.push({ choices: [{ index: 0, delta: {}, finish_reason: "stop" }] })
        const parts = answer(stream.finish()).parts.flatMap((part) => (part.type === "tool_call" ? [part] : []))
        expect(parts.map(({ toolName, inputJson }) => ({ name: toolName, input: inputJson }))).toEqual(
          made.map(({ name, value }, number) => ({ name, input: JSON.stringify({ ...value, number }) })),
        )
        expect(new Set(parts.map(({ callId }) => callId)).size).toBe(made.length)
      },
    ),
  )
})

test("calls are joined in linear time", () => {
  const time = (chunks: readonly unknown[]): number => {
    const stream = chatStream()
    const start = performance.now()
    for (const tool_call of chunks) stream.push({ choices: [{ index: 0, delta: { tool_calls: [tool_call] }, finish_reason: "tool_calls" }] })
    answer(stream.finish())
    return performance.now() - start
  }
  const many = <Piece>(count: number, make: (index: number) => Piece): Piece[] => Array.from({ length: count }, (_, index) => make(index))
  const wide = { x: "y".repeat(200_000) }
  expect(
    time([piece(0, "a", "f", '{"x":"'), ...many(50_000, () => piece(0, undefined, undefined, "y".repeat(20))), piece(0, undefined, undefined, '"}')]),
  ).toBeLessThan(10_000)
  expect(time([piece(0, "a", "f", wide), ...many(20_000, () => piece(0, "a", "f", ""))])).toBeLessThan(10_000)
  expect(time([piece(0, "a", "f", wide), ...many(20_000, () => piece(0, "a", undefined, "}"))])).toBeLessThan(10_000)
  expect(time(many(20_000, (index) => piece(index, "a", "f", "{}")))).toBeLessThan(10_000)
  expect(time(many(20_000, () => piece(0, "a", "f", '{"x":1}')))).toBeLessThan(10_000)
})
