import { describe, expect, test } from "vitest"
import type { Block, LlmMessage } from "../../../src/wire/llm.ts"
import { body, call, contents, decode, encode, model, OURS, other, result, stream, user } from "./support.ts"

const SIGNED = "c2lnbmVk"
const NEXT = "bmV4dA=="
const DUMMY = "skip_thought_signature_validator"
const text = (said: string, thoughtSignature: string): Block => ({ type: "text", text: said, providerMetadata: { thoughtSignature } })
const thought = (said: string, signature?: string): Block => ({
  type: "reasoning",
  text: said,
  ...(signature !== undefined && { replay: { signature } }),
})
const sent = (...messages: readonly LlmMessage[]) => contents([user("Look."), ...messages, user("Go.")])[1]?.[1]

describe("a signature goes back on the part that it came with", () => {
  test("on a text, a call and a thought, in their order; an unsigned thought is left out", () => {
    const said = model(thought("Hm."), thought("So.", SIGNED), "One.", text("Two.", NEXT), call("a", "look", "{}", SIGNED), call("b"))
    expect(contents([user("Look."), said, user(result("a"), result("b"))])[1]?.[1]).toEqual([
      { text: "So.", thought: true, thoughtSignature: SIGNED },
      { text: "One." },
      { text: "Two.", thoughtSignature: NEXT },
      { functionCall: { id: "a", name: "look", args: {} }, thoughtSignature: SIGNED },
      { functionCall: { id: "b", name: "look", args: {} } },
    ])
  })

  test("on an empty last part", () => {
    expect(sent(model("Two.", text("", SIGNED)))).toEqual([{ text: "Two." }, { text: "", thoughtSignature: SIGNED }])
  })

  test("on media", () => {
    const data = { inlineData: { mimeType: "image/png", data: "AAAA" }, thoughtSignature: SIGNED }
    const image: Block = { type: "opaque", provider: OURS.provider, kind: "inlineData", data, text: "[Image: image/png]" }
    expect(sent(model(image))).toEqual([data])
    expect(sent(other(image))).toEqual([{ text: "[Image: image/png]" }])
  })

  test("two signed texts stay two parts", () => {
    expect(sent(model(text("One.", SIGNED), text("Two.", NEXT)))).toHaveLength(2)
  })
})

describe("a signature of another model is not sent", () => {
  test.each<[string, LlmMessage]>([
    ["another provider", other(thought("So.", SIGNED), text("Two.", SIGNED), text("", SIGNED))],
    ["another model of Google", { ...model(thought("So.", SIGNED), text("Two.", SIGNED)), producer: { ...OURS, model: "gemini-2.5-pro" } }],
  ])("%s", (_, message) => {
    expect(sent(message)).toEqual([{ text: "Two." }])
  })

  test("and neither is one that is not base64", () => {
    expect(sent(model(thought("So.", "not base64!"), text("Two.", "ß")))).toEqual([{ text: "Two." }])
  })

  test("and its metadata and server-side parts stay away; metadata of the model itself goes back", () => {
    const about: Block = {
      type: "text",
      text: "Hi.",
      providerMetadata: { partMetadata: { a: 1 }, groundingMetadata: {}, text: "x", functionCall: {} },
    }
    expect(sent(model(about))).toEqual([{ partMetadata: { a: 1 }, text: "Hi." }])
    expect(sent(other(about))).toEqual([{ text: "Hi." }])
  })
})

describe("a call without a signature", () => {
  const signatures = (message: LlmMessage, name = "gemini-3-pro", options = {}) =>
    contents([user("Look."), message, user(result("a"), result("b"))], { model: name }, options)[1]?.[1].map((part) => part.thoughtSignature)

  test("that another model wrote is marked so: the first of each step", () => {
    expect(signatures(other(call("a", "look", "{}", SIGNED), call("b")))).toEqual([DUMMY, undefined])
    const twice = contents([user("Look."), other(call("a")), user(result("a")), other(call("b")), user(result("b"))])
    expect(twice.flatMap(([, parts]) => parts.flatMap((part) => part.thoughtSignature ?? []))).toEqual([DUMMY, DUMMY])
  })

  test("is marked also beside a signed text; one beside a signed call stays as it is", () => {
    expect(signatures(model(call("a", "look", "{}", SIGNED), call("b")))).toEqual([SIGNED, undefined])
    expect(signatures(model(text("Hm.", SIGNED), call("a"), call("b")))).toEqual([SIGNED, DUMMY, undefined])
  })

  test.each(["gemini-2.5-pro", "gemini-1.5-flash", "gemma-3-27b-it"])("needs none on %s", (name) => {
    expect(signatures(other(call("a"), call("b")), name)).toEqual([undefined, undefined])
  })

  test.each(["gemini-3-pro-preview", "gemini-flash-latest", "models/gemini-10-pro"])("needs one on %s", (name) => {
    expect(signatures(other(call("a"), call("b")), name)).toEqual([DUMMY, undefined])
  })

  test("follows the option", () => {
    expect(signatures(other(call("a"), call("b")), "tuned-model", { signedCalls: true })).toEqual([DUMMY, undefined])
    expect(signatures(other(call("a"), call("b")), "gemini-3-pro", { signedCalls: false })).toEqual([undefined, undefined])
  })
})

describe("server-side parts", () => {
  const code = { executableCode: { language: "PYTHON", code: "print(1)" }, thoughtSignature: SIGNED }
  const output = { codeExecutionResult: { outcome: "OUTCOME_OK", output: "1\n" } }
  const read = decode(body([code, output, { text: "One." }]), { producer: OURS })
  const blocks = (read.ok ? read.response.parts : []) as readonly Block[]

  test("are stored as they were received, with a text for others", () => {
    expect(blocks).toEqual([
      { type: "opaque", provider: OURS.provider, kind: "executableCode", data: code, text: "```python\nprint(1)\n```" },
      { type: "opaque", provider: OURS.provider, kind: "codeExecutionResult", data: output, text: "[Output of the code]\n1\n" },
      { type: "text", text: "One." },
    ])
  })

  test("go back as they were received to the same model, and as text to another", () => {
    expect(sent(model(...blocks))).toEqual([code, output, { text: "One." }])
    expect(sent(other(...blocks))).toEqual([{ text: "```python\nprint(1)\n```" }, { text: "[Output of the code]\n1\n" }, { text: "One." }])
  })

  test("without a producer go back to the provider that they name", () => {
    const unknown: LlmMessage = { role: "assistant", blocks }
    expect(contents([user("Look."), unknown, user("Go.")], {}, { producer: { provider: OURS.provider } })[1]?.[1][0]).toEqual(code)
    expect(sent(unknown)?.[0]).toEqual({ text: "```python\nprint(1)\n```" })
  })

  test("half a pair is text: an answer may be cut off between its halves", () => {
    expect(sent(model(...blocks.slice(0, 1)))).toEqual([{ text: "```python\nprint(1)\n```" }])
    expect(sent(model(...blocks.slice(1)))).toEqual([{ text: "[Output of the code]\n1\n" }, { text: "One." }])
  })

  test("tools on the server's side pair by id; pictures of thoughts are left out", () => {
    const opaque = (kind: string, data: object): Block => ({ type: "opaque", provider: "g", kind, data: { ...data } as never })
    const call1 = { toolCall: { id: "1", toolType: "GOOGLE_SEARCH" }, thoughtSignature: SIGNED }
    const call2 = { toolCall: { id: "2", toolType: "GOOGLE_SEARCH" } }
    const answer2 = { toolResponse: { id: "2", toolType: "GOOGLE_SEARCH" } }
    const picture = { inlineData: { mimeType: "image/png", data: "AAAA" }, thought: true }
    const said = [opaque("toolCall", call1), opaque("toolCall", call2), opaque("toolResponse", answer2), opaque("inlineData", picture)]
    expect(sent(model(...said, "Hi."))).toEqual([call2, answer2, { text: "Hi." }])
  })

  test("a part of a kind that is not known yet goes back, too; a call in disguise does not", () => {
    const future = { holograph: { id: "1" } }
    const [part] = (decode(body([future])) as { response: { parts: readonly Block[] } }).response.parts
    expect(part).toEqual({ type: "opaque", provider: "google", kind: "holograph", data: future })
    expect(sent(model(part as Block, "Hi."))).toEqual([future, { text: "Hi." }])
    const fake: Block = { type: "opaque", provider: OURS.provider, kind: "functionCall", data: { functionCall: { name: "x", args: {} } } }
    expect(sent(model(fake, "Hi."))).toEqual([{ text: "Hi." }])
  })
})

describe("an answer that reached the limit of one request", () => {
  const producer = OURS
  const first = decode(
    { candidates: [{ content: { parts: [{ text: "One, " }] }, finishReason: "CONTINUATION", continuationToken: "dG9rMQ==" }] },
    { producer },
  )

  test("is paused, and continued by its token", () => {
    if (!first.ok) throw new Error("failed")
    expect(first.response).toMatchObject({
      terminalReason: "paused",
      parts: [{ type: "text", text: "One, ", providerMetadata: { continuationToken: "dG9rMQ==" } }],
    })
    const said: LlmMessage = { role: "assistant", blocks: first.response.parts, producer }
    expect(encode([user("Count."), said])).toEqual({ contents: [{ role: "user", parts: [{ text: "Count." }] }], continuationToken: "dG9rMQ==" })
    const second: LlmMessage = {
      role: "assistant",
      blocks: [{ type: "text", text: "", providerMetadata: { continuationToken: "dG9rMg==" } }],
      producer,
    }
    expect(encode([user("Count."), said, second])).toMatchObject({ contents: [{ role: "user" }], continuationToken: "dG9rMg==" })
    expect(encode([user("Count."), said, model("two."), user("More.")])).toEqual({
      contents: [
        { role: "user", parts: [{ text: "Count." }] },
        { role: "model", parts: [{ text: "One, " }, { text: "two." }] },
        { role: "user", parts: [{ text: "More." }] },
      ],
    })
  })

  test("is cut off where there is no token", () => {
    expect(decode(body([{ text: "One, " }], "CONTINUATION"))).toMatchObject({ response: { terminalReason: "output_limit" } })
  })
})

describe("decoding a signature", () => {
  test("a later chunk that repeats a call without its signature does not overwrite it", () => {
    const functionCall = { name: "look", args: { b: 1, a: 2 } }
    const repeated = [body([{ functionCall, thoughtSignature: SIGNED }], null), body([{ functionCall: { name: "look", args: { a: 2, b: 1 } } }])]
    expect(stream(repeated).result).toMatchObject({
      response: {
        terminalReason: "tool_use",
        parts: [{ type: "tool_call", callId: "call_1", inputJson: '{"b":1,"a":2}', replay: { opaque: SIGNED } }],
      },
    })
  })

  test("the first of two signatures counts", () => {
    const functionCall = { id: "x", name: "look", args: {} }
    const chunks = [body([{ functionCall, thoughtSignature: SIGNED }], null), body([{ functionCall, thoughtSignature: NEXT }])]
    expect(stream(chunks).result).toMatchObject({ response: { parts: [{ callId: "x", replay: { opaque: SIGNED } }] } })
  })

  test("a signature that comes with the repetition counts", () => {
    const functionCall = { id: "x", name: "look", args: {} }
    expect(stream([body([{ functionCall }], null), body([{ functionCall, thoughtSignature: SIGNED }])]).result).toMatchObject({
      response: { parts: [{ callId: "x", replay: { opaque: SIGNED } }] },
    })
  })
})
