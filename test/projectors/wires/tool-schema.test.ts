import { expect, test } from "vitest"
import type { Json } from "../../../src/json.ts"
import { anthropicMessagesWire } from "../../../src/projectors/anthropic-messages/index.ts"
import { geminiWire } from "../../../src/projectors/gemini/index.ts"
import { openAiChatWire } from "../../../src/projectors/openai-chat/index.ts"
import { openAiResponsesWire } from "../../../src/projectors/openai-responses/index.ts"
import { objectSchema } from "../../../src/projectors/wires/tool-schema.ts"

const text = { type: "string" }
const number = { type: "number" }
const file = { type: "object", properties: { path: text, mode: text }, required: ["path", "mode"] }
const page = { type: "object", properties: { url: text, mode: number }, required: ["url", "mode"] }

test.each<[string, Json, Json]>([
  ["an object stays as it is", { ...file, additionalProperties: false }, { ...file, additionalProperties: false }],
  ["what is not an object becomes one", true, { type: "object" }],
  ["a schema without a type is an object", { properties: { a: text } }, { type: "object", properties: { a: text } }],
  ["an object or null is an object", { type: ["object", "null"], properties: { a: text } }, { type: "object", properties: { a: text } }],
  [
    "of a choice, the keys of all may be there, and those that all require must",
    { oneOf: [file, page], description: "Where." },
    {
      description: "Where.",
      type: "object",
      properties: { path: text, mode: { anyOf: [text, number] }, url: text },
      required: ["mode"],
    },
  ],
  [
    "of an intersection, what each requires must be there, also beside properties of its own",
    { type: "object", properties: { own: text }, required: ["own"], allOf: [file, { properties: { url: text }, required: ["url"] }] },
    { type: "object", properties: { own: text, path: text, mode: text, url: text }, required: ["own", "path", "mode", "url"] },
  ],
  [
    "choices within a choice and references are followed",
    { anyOf: [{ $ref: "#/$defs/File" }, { anyOf: [page, file] }], $defs: { File: file } },
    {
      $defs: { File: file },
      type: "object",
      properties: { path: text, mode: { anyOf: [text, { anyOf: [number, text] }] }, url: text },
      required: ["mode"],
    },
  ],
  [
    "a reference to itself ends",
    { $ref: "#/$defs/A", $defs: { A: { properties: { a: text }, anyOf: [{ $ref: "#/$defs/A" }] } } },
    { $defs: { A: { properties: { a: text }, anyOf: [{ $ref: "#/$defs/A" }] } }, type: "object", properties: { a: text } },
  ],
  ["a reference to nothing is an object", { $ref: "#/$defs/A" }, { type: "object", properties: {} }],
])("%s", (_what, schema, expected) => {
  expect(objectSchema(schema)).toEqual(expected)
})

test("every wire sends an object, because providers refuse the whole request for a choice at the top", () => {
  const tools = [{ name: "open", description: "Opens.", inputSchema: { anyOf: [file, page] } }]
  const request = { model: "m", messages: [], attachments: [], tools, toolChoice: "auto", generation: {} } as const
  const sent = [
    anthropicMessagesWire().encode(request).tools?.[0]?.input_schema,
    geminiWire().encode(request).tools?.[0]?.functionDeclarations?.[0]?.parametersJsonSchema,
    openAiChatWire().encode(request).tools?.[0]?.function.parameters,
    (openAiResponsesWire().encode(request).tools?.[0] as { parameters: Json } | undefined)?.parameters,
  ]
  for (const schema of sent) {
    expect(schema).toEqual({ type: "object", properties: { path: text, mode: { anyOf: [text, number] }, url: text }, required: ["mode"] })
  }
})

test("OpenAI is sent properties, also none", () => {
  const tools = [{ name: "open", description: "Opens.", inputSchema: { type: "object" } }]
  const request = { model: "m", messages: [], attachments: [], tools, toolChoice: "auto", generation: {} } as const
  expect(openAiChatWire().encode(request).tools?.[0]?.function.parameters).toEqual({ type: "object", properties: {} })
})
