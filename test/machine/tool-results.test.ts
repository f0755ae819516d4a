import { describe, expect, test } from "vitest"
import { deriveModelReturn, toolResultParts } from "../../src/machine/tool-results.ts"
import type { Json } from "../../src/schemas/json.ts"
import type { AttachmentRef } from "../../src/schemas/message.ts"
import { Message } from "../../src/schemas/message.ts"
import type { ModelReturn, ToolFailure } from "../../src/schemas/tool.ts"
import { completed, withOutput } from "./support.ts"

const PICTURE: AttachmentRef = { id: "att-1", mediaType: "image/png", byteLength: 3 }
const OTHER: AttachmentRef = { id: "att-2", mediaType: "image/webp", byteLength: 70, width: 4, height: 5, label: "tiny" }

const shown = (value: Json) => deriveModelReturn({ status: "success", value }).parts
const text = (content: string) => ({ type: "text", text: content })
const attachment = (reference: AttachmentRef) => ({ type: "attachment", attachment: reference })

function failure(message: string, raw?: Json): ToolFailure {
  return { class: "execution", code: "boom", message, source: "tool", retry: { type: "never" }, ...(raw !== undefined && { raw }) }
}

describe("what the model reads of a successful value", () => {
  test("a text as it is, not quoted", () => {
    expect(shown('say "hi"\n')).toEqual([text('say "hi"\n')])
  })

  test("an empty text gives no part", () => {
    expect(shown("")).toEqual([])
  })

  test.each([
    [null, "null"],
    [true, "true"],
    [0, "0"],
    [-1.5, "-1.5"],
    [[], "[]"],
    [{}, "{}"],
    [[""], '[""]'],
    [[1, [2, { a: "b" }]], '[1,[2,{"a":"b"}]]'],
  ] as const)("%j as compact JSON", (value, expected) => {
    expect(shown(value)).toEqual([text(expected)])
  })

  test("keys keep the tool's order at every depth", () => {
    expect(shown({ "😀": 1, ab: 3, a: { z: 1, é: 2, Z: 3 }, "": 5 })).toEqual([text('{"😀":1,"ab":3,"a":{"z":1,"é":2,"Z":3},"":5}')])
  })

  test("keys and texts are escaped as JSON", () => {
    expect(shown({ 'a"b': "line\n" })).toEqual([text('{"a\\"b":"line\\n"}')])
  })

  test("__proto__ is a key like any other", () => {
    expect(shown(JSON.parse('{"__proto__":{"x":1},"constructor":2}') as Json)).toEqual([text('{"__proto__":{"x":1},"constructor":2}')])
  })
})

describe("attachments", () => {
  test("alone: no text at all", () => {
    expect(shown({ $attachment: PICTURE })).toEqual([attachment(PICTURE)])
  })

  test("inside a value: the JSON is cut around them, in order", () => {
    expect(shown({ before: 1, picture: { $attachment: PICTURE }, z: [{ $attachment: OTHER }] })).toEqual([
      text('{"before":1,"picture":'),
      attachment(PICTURE),
      text(',"z":['),
      attachment(OTHER),
      text("]}"),
    ])
  })

  test("two side by side have the comma between them", () => {
    expect(shown([{ $attachment: PICTURE }, { $attachment: OTHER }])).toEqual([
      text("["),
      attachment(PICTURE),
      text(","),
      attachment(OTHER),
      text("]"),
    ])
  })

  test("of no bytes is one", () => {
    const empty = { id: "att-0", mediaType: "text/plain", byteLength: 0 }
    expect(shown({ $attachment: empty })).toEqual([attachment(empty)])
  })

  test("only the known keys of a reference enter the transcript", () => {
    const value: Json = { $attachment: { ...OTHER, url: "file:///etc/passwd", nested: { deep: [1] } } }
    expect(shown(value)).toEqual([attachment(OTHER)])
  })

  test.each([
    ["null", null],
    ["a text", "att-1"],
    ["a list", [PICTURE]],
    ["no id", { mediaType: "image/png", byteLength: 3 }],
    ["an id that is no text", { ...PICTURE, id: 7 }],
    ["no media type", { id: "att-1", byteLength: 3 }],
    ["a negative length", { ...PICTURE, byteLength: -1 }],
    ["a length that is no whole number", { ...PICTURE, byteLength: 1.5 }],
    ["a length beyond the safe integers", { ...PICTURE, byteLength: 2 ** 53 }],
    ["a width that is a text", { ...PICTURE, width: "4" }],
    ["a height of null", { ...PICTURE, height: null }],
    ["a label that is a number", { ...PICTURE, label: 1 }],
  ] as const)("a reference that is none (%s) is shown as the JSON it is", (_, reference) => {
    const parts = shown({ $attachment: reference as Json })
    expect(parts).toHaveLength(1)
    expect(parts[0]).toMatchObject({ type: "text" })
  })

  test("whatever a tool returns, the message it makes can be saved and restored", () => {
    const odd: Json[] = [
      { $attachment: { ...PICTURE, byteLength: 1.5 } },
      { $attachment: { ...PICTURE, width: -1 } },
      { $attachment: { ...PICTURE, extra: true } },
      { $attachment: { ...PICTURE, label: [] } },
    ]
    for (const value of odd) {
      const message = { id: "m", role: "user", parts: toolResultParts("m", [completed("c", value)]) }
      expect(Message.parse(message)).toEqual(message)
    }
  })

  test("with another key beside it, a reference is an ordinary object", () => {
    expect(shown({ $attachment: PICTURE, more: 1 })).toEqual([text(`{"$attachment":${JSON.stringify(PICTURE)},"more":1}`)])
    expect(shown({ more: 1, $attachment: PICTURE })).toEqual([text(`{"more":1,"$attachment":${JSON.stringify(PICTURE)}}`)])
    expect(shown({ $attachment: { id: "x" }, more: 1 })).toEqual([text('{"$attachment":{"id":"x"},"more":1}')])
  })
})

describe("escaped objects", () => {
  test("a user's own $attachment key is shown as the user wrote it", () => {
    expect(shown({ $object: { $attachment: { ...PICTURE } } })).toEqual([text(`{"$attachment":${JSON.stringify(PICTURE)}}`)])
  })

  test("a user's own $object key, too", () => {
    expect(shown({ $object: { $object: 5 } })).toEqual([text('{"$object":5}')])
  })

  test("only one layer of escape is taken off, and inside it values are read again", () => {
    expect(shown({ $object: { $object: { $object: { a: 1 } } } })).toEqual([text('{"$object":{"a":1}}')])
    expect(shown({ $object: { $attachment: "mine", real: { $attachment: PICTURE } } })).toEqual([
      text('{"$attachment":"mine","real":'),
      attachment(PICTURE),
      text("}"),
    ])
  })

  test("deep inside a value as well", () => {
    expect(shown([{ a: { $object: { $attachment: 1 } } }])).toEqual([text('[{"a":{"$attachment":1}}]')])
  })

  test.each([
    [{ $object: 5 }, '{"$object":5}'] as const,
    [{ $object: [1] }, '{"$object":[1]}'] as const,
    [{ $object: null }, '{"$object":null}'] as const,
    [{ $object: {}, more: 1 }, '{"$object":{},"more":1}'] as const,
  ])("%j escapes nothing and is shown as it is", (value, expected) => {
    expect(shown(value)).toEqual([text(expected)])
  })
})

describe("failures and cancellations", () => {
  test("a failure is a bracketed line and its message", () => {
    expect(deriveModelReturn({ status: "failure", failure: failure("disk full") }).parts).toEqual([text("[Tool execution failed]\ndisk full")])
  })

  test("a cancellation likewise", () => {
    expect(deriveModelReturn({ status: "cancelled", message: "stopped", source: "cancellation" }).parts).toEqual([
      text("[Tool execution cancelled]\nstopped"),
    ])
  })

  test("without a message the line is alone", () => {
    expect(deriveModelReturn({ status: "failure", failure: failure("") }).parts).toEqual([text("[Tool execution failed]")])
    expect(deriveModelReturn({ status: "cancelled", message: "", source: "tool" }).parts).toEqual([text("[Tool execution cancelled]")])
  })

  test("of raw data only the attachments are shown", () => {
    const raw: Json = { log: "secret", screens: [{ $attachment: PICTURE }, { $attachment: OTHER }] }
    expect(deriveModelReturn({ status: "failure", failure: failure("no", raw) }).parts).toEqual([
      text("[Tool execution failed]\nno"),
      attachment(PICTURE),
      attachment(OTHER),
    ])
    expect(deriveModelReturn({ status: "cancelled", message: "", source: "tool", raw }).parts).toEqual([
      text("[Tool execution cancelled]"),
      attachment(PICTURE),
      attachment(OTHER),
    ])
  })
})

describe("toolResultParts", () => {
  test("one tool_result for each call, in call order, under counted part ids", () => {
    expect(toolResultParts("m", [completed("a", "one"), completed("b", 2), withOutput("c", { status: "failure", failure: failure("no") })])).toEqual([
      { id: "m.p0", type: "tool_result", callId: "a", toolName: "look", text: "one" },
      { id: "m.p1", type: "tool_result", callId: "b", toolName: "look", text: "2" },
      { id: "m.p2", type: "tool_result", callId: "c", toolName: "look", text: "[Tool execution failed]\nno", isError: true },
    ])
  })

  test("a result that shows nothing still answers its call", () => {
    expect(toolResultParts("m", [completed("a", ""), completed("b", null, { modelReturn: { parts: [] } })])).toEqual([
      { id: "m.p0", type: "tool_result", callId: "a", toolName: "look", text: "" },
      { id: "m.p1", type: "tool_result", callId: "b", toolName: "look", text: "" },
    ])
  })

  test("several texts of one result are one text; its images follow it", () => {
    expect(toolResultParts("m", [completed("a", [{ $attachment: PICTURE }]), completed("b", "next")])).toEqual([
      {
        ...{ id: "m.p0", type: "tool_result", callId: "a", toolName: "look", text: "[\n]" },
        content: [text("["), attachment(PICTURE), text("]")],
      },
      { id: "m.p1", type: "image", attachment: PICTURE },
      { id: "m.p2", type: "tool_result", callId: "b", toolName: "look", text: "next" },
    ])
  })

  test("an attachment that is no image is a file", () => {
    const pdf = { id: "att-3", mediaType: "application/pdf", byteLength: 9 }
    const parts = toolResultParts("m", [completed("a", { $attachment: pdf })])
    expect(parts).toMatchObject([
      { text: "", content: [attachment(pdf)] },
      { id: "m.p1", type: "file", attachment: pdf },
    ])
  })

  test("a text over the limit loses its middle, also inside the content, and says how much", () => {
    const long = `${"a".repeat(50)}${"b".repeat(1_000)}${"c".repeat(50)}`
    const cut = `${"a".repeat(50)}\n\n... (1000 chars omitted) ...\n\n${"c".repeat(50)}`
    expect(toolResultParts("m", [completed("a", long)], 100)).toMatchObject([{ text: cut }])
    const modelReturn: ModelReturn = {
      parts: [
        { type: "text", text: long },
        { type: "attachment", attachment: PICTURE },
      ],
    }
    expect(toolResultParts("m", [completed("a", null, { modelReturn })], 100)).toMatchObject([{ text: cut, content: [text(cut), {}] }, {}])
    const ten = Array.from({ length: 10 }, () => ({ type: "text" as const, text: "x".repeat(90) }))
    const many: ModelReturn = { parts: [...ten, { type: "attachment", attachment: PICTURE }] }
    const [result] = toolResultParts("m", [completed("a", null, { modelReturn: many })], 100)
    const shared = result?.type === "tool_result" ? (result.content ?? []) : []
    expect(shared).toHaveLength(11)
    expect(
      shared.map((part) => (part.type === "text" ? part.text.replaceAll(/[^x]/g, "").length : 0)).reduce((sum, each) => sum + each),
    ).toBeLessThanOrEqual(100)
    expect(toolResultParts("m", [completed("a", long)], long.length)).toMatchObject([{ text: long }])
  })

  test("empty texts of a result are dropped, so that no line is left for them", () => {
    const modelReturn = { parts: ["", "one", "", "two"].map((piece) => ({ type: "text" as const, text: piece })) }
    expect(toolResultParts("m", [completed("a", null, { modelReturn })])).toMatchObject([{ text: "one\ntwo" }])
  })

  test("empty texts of a result are left out of its content, too", () => {
    const parts = [text(""), text("one"), attachment(PICTURE), text("")] as ModelReturn["parts"]
    expect(toolResultParts("m", [completed("a", null, { modelReturn: { parts } })])).toMatchObject([
      { text: "one", content: [text("one"), attachment(PICTURE)] },
      { type: "image" },
    ])
    expect(toolResultParts("m", [completed("a", null, { modelReturn: { parts } })])[0]).toHaveProperty("content.length", 2)
  })

  test("a tool's own modelReturn wins over its value", () => {
    const modelReturn = { parts: [{ type: "text" as const, text: "short" }] }
    expect(toolResultParts("m", [completed("a", "very long", { modelReturn })])).toEqual([
      { id: "m.p0", type: "tool_result", callId: "a", toolName: "look", text: "short" },
    ])
  })

  test("no results, no parts", () => {
    expect(toolResultParts("m", [])).toEqual([])
  })
})
