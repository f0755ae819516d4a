import { expect, test } from "vitest"
import { fingerprint } from "../../src/replay/fingerprint.ts"
import { LlmRequest } from "../../src/schemas/llm.ts"

const REQUEST: { readonly [Key in keyof Required<LlmRequest>]: readonly [Required<LlmRequest>[Key], Required<LlmRequest>[Key] | undefined] } = {
  model: ["m", "n"],
  modelVariant: ["v", undefined],
  messages: [[{ role: "user", blocks: [{ type: "text", text: "a" }] }], [{ role: "user", blocks: [{ type: "text", text: "b" }] }]],
  attachments: [[], [{ id: "a", mediaType: "image/png", byteLength: 1 }]],
  tools: [[], [{ name: "t", description: "", inputSchema: {} }]],
  toolChoice: ["auto", "none"],
  parallelToolCalls: [false, undefined],
  generation: [{}, { temperature: 0 }],
  cache: ["off", "auto"],
  sessionId: ["s", undefined],
  outputSpec: [{ type: "json_object" }, undefined],
}

const whole = Object.fromEntries(Object.entries(REQUEST).map(([key, [value]]) => [key, value])) as unknown as LlmRequest

test.each(Object.keys(REQUEST) as (keyof LlmRequest)[])("another %s gives a request another fingerprint", (key) => {
  const other = { ...whole, [key]: REQUEST[key][1] }
  if (other[key] === undefined) delete other[key]
  expect(LlmRequest.parse(other)).toEqual(other)
  const of = (request: LlmRequest): string => fingerprint({ type: "llm_call", id: 1, request })
  expect(of(other)).not.toBe(of(whole))
  expect(of({ ...whole })).toBe(of(whole))
})
