import * as fc from "fast-check"
import { expect, test } from "vitest"
import { type GeminiPart, geminiWire } from "../../../src/projectors/gemini/index.ts"
import { LlmComplete } from "../../../src/schemas/response.ts"
import * as arbitrary from "../../../src/testing/arbitraries.ts"
import type { LlmMessage } from "../../../src/wire/llm.ts"
import { check, SLOW } from "../../properties/check.ts"
import { answer, body, decode, encode, OURS, request, result, stream, user } from "./support.ts"

const signature = fc.option(fc.constantFrom("c2lnMQ==", "c2lnMg=="), { nil: undefined })
const signed = (part: object, thoughtSignature: string | undefined): object => (thoughtSignature === undefined ? part : { ...part, thoughtSignature })
const said = fc.string({ minLength: 1, maxLength: 6 })
const args = fc.dictionary(fc.constantFrom("a", "b", "c d"), fc.oneof(fc.integer(), said, fc.constant(null), fc.array(said, { maxLength: 2 })), {
  maxKeys: 2,
})

/** Parts of an answer as Gemini sends them. Each call has an id of its own. */
const parts: fc.Arbitrary<readonly object[]> = fc
  .array(
    fc.oneof(
      { weight: 3, arbitrary: fc.tuple(said, signature).map(([text, sig]) => signed({ text }, sig)) },
      { weight: 2, arbitrary: fc.tuple(said, signature).map(([text, sig]) => signed({ text, thought: true }, sig)) },
      {
        weight: 2,
        arbitrary: fc
          .tuple(fc.constantFrom("look", "read"), args, signature)
          .map(([name, given, sig]) => signed({ functionCall: { name, args: given } }, sig)),
      },
      { weight: 1, arbitrary: fc.constant({ text: "", thoughtSignature: "c2lnMw==" }) },
      { weight: 1, arbitrary: fc.constant({ inlineData: { mimeType: "image/png", data: "AAAA" }, thoughtSignature: "c2lnNA==" }) },
    ),
    { maxLength: 8 },
  )
  .map((list) =>
    list.map((part, index) => ("functionCall" in part ? { ...part, functionCall: { ...(part.functionCall as object), id: `id${index}` } } : part)),
  )

/** What goes back of an answer: adjacent unsigned texts are one, unsigned thoughts are left out, the first call is signed. */
function expected(given: readonly object[]): readonly object[] {
  const joined: GeminiPart[] = []
  for (const part of given as readonly GeminiPart[]) {
    const last = joined.at(-1)
    const isMore = part.text !== undefined && last?.text !== undefined && last.thought === part.thought
    if (isMore && part.thoughtSignature === undefined && last.thoughtSignature === undefined)
      joined[joined.length - 1] = { ...last, text: last.text + part.text }
    else joined.push(part)
  }
  const first = joined.find(({ functionCall }) => functionCall !== undefined)
  return joined
    .filter((part) => part.thought !== true || part.thoughtSignature !== undefined)
    .map((part) => (part === first ? { thoughtSignature: "skip_thought_signature_validator", ...part } : part))
}

test("an answer goes back part by part: its order, ids, arguments and signatures", SLOW, () => {
  check(
    1_000,
    fc.property(parts, (given) => {
      const read = answer(decode(body(given), { producer: OURS }))
      const message: LlmMessage = { role: "assistant", blocks: read.parts, producer: read.producer ?? OURS }
      const results = read.parts.flatMap((part) => (part.type === "tool_call" ? [result(part.callId)] : []))
      const { contents } = encode([user("Look."), message, user(...results, "Go.")])
      expect(contents.find(({ role }) => role === "model")?.parts ?? []).toEqual(expected(given))
    }),
  )
})

test("any split of a stream into chunks, and of texts into pieces, gives the same answer as the whole", SLOW, () => {
  check(
    1_000,
    fc.property(parts, fc.array(fc.nat({ max: 4 }), { maxLength: 12 }), fc.boolean(), (given, sizes, cutsTexts) => {
      const small = cutsTexts ? given.flatMap(cut) : given
      const chunks: object[] = []
      let at = 0
      for (const size of sizes) {
        chunks.push(body(small.slice(at, at + size), null))
        at += size
      }
      chunks.push(body(small.slice(at), "STOP", { usageMetadata: { promptTokenCount: 3 }, responseId: "r" }))
      const whole = decode(body(given, "STOP", { usageMetadata: { promptTokenCount: 3 }, responseId: "r" }), { producer: OURS })
      const { events, result: streamed } = stream(chunks, { producer: OURS })
      expect(streamed).toEqual(whole)
      const shown = events.map((event) => (event.type === "text_delta" ? event.content : "")).join("")
      expect(shown).toBe(answer(whole).text)
    }),
  )
})

/** An unsigned text in pieces of one character. */
function cut(part: object): readonly object[] {
  if (!("text" in part) || typeof part.text !== "string" || "thoughtSignature" in part) return [part]
  return part.text.split("").map((text) => ({ ...part, text }))
}

const value = fc.oneof(
  arbitrary.json,
  arbitrary.json.map((candidate) => ({ candidates: [candidate] })),
  arbitrary.json.map((part) => body([part])),
)

test("nothing throws for any JSON, and what comes out is a response of the machine", SLOW, () => {
  check(
    2_000,
    fc.property(
      fc.array(
        fc.oneof(
          value,
          parts.map((given) => body(given, null)),
        ),
        { maxLength: 4 },
      ),
      (chunks) => {
        const reader = geminiWire().stream({ producer: OURS })
        for (const chunk of chunks) reader.push(chunk)
        for (const read of [reader.finish(), ...chunks.map((chunk) => decode(chunk, { producer: OURS }))]) {
          expect(() => LlmComplete.parse({ type: "llm_complete", id: 1, result: read })).not.toThrow()
        }
      },
    ),
  )
})

test("a request that is longer begins as the one before it, also where it was cut off and steered", () => {
  const messages: LlmMessage[] = [user("Look.")]
  const more: readonly LlmMessage[] = [
    {
      role: "assistant",
      blocks: [{ type: "tool_call", callId: "a", toolName: "look", inputJson: "{}" }],
      producer: { ...OURS, model: "gemini-2.5-pro" },
    },
    user(result("a"), "Faster."),
    { role: "assistant", blocks: [{ type: "text", text: "Half", providerMetadata: { thoughtSignature: "c2ln" } }], producer: OURS },
    user("[The answer was cut off.]"),
    { role: "system", blocks: [{ type: "text", text: "A note." }] },
    user("Go on."),
  ]
  let before: readonly string[] = []
  for (const message of more) {
    messages.push(message)
    if (message.role === "assistant") continue
    const { contents } = geminiWire().encode(request(messages))
    const units = contents.flatMap(({ parts: list, role }) => list.map((part) => `${role} ${JSON.stringify(part)}`))
    expect(units.slice(0, before.length)).toEqual(before)
    before = units
  }
})
