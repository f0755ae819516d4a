import { describe, expect, test } from "vitest"
import * as z from "zod"
import { defineTool } from "../../../src/hosts/tools/define-tool.ts"
import { ToolDefinitionError } from "../../../src/hosts/tools/tool-definition-error.ts"
import { type Tool, toolbox } from "../../../src/hosts/tools/toolbox.ts"

const SPEC = { name: "look", description: "Looks.", inputSchema: { type: "object" } }
const call: Tool["call"] = async () => ({ output: { status: "success", value: "sky" } })
const look: Tool = { spec: SPEC, call }

function circular(): object {
  const schema: { type: string; properties?: object } = { type: "object" }
  schema.properties = { again: schema }
  return schema
}

describe("toolbox refuses", () => {
  test.each<readonly [string, unknown, string]>([
    ["null", null, "not_a_tool"],
    ["undefined", undefined, "not_a_tool"],
    ["a spec without a call", { spec: SPEC }, "not_a_tool"],
    ["a call without a spec", { call }, "not_a_tool"],
    ["a spec that is null", { spec: null, call }, "not_a_tool"],
    ["a spec alone", SPEC, "not_a_tool"],
    ["an input schema that is missing", { spec: { name: "look", description: "Looks." }, call }, "invalid_input_schema"],
    ["an input schema that is null", { spec: { ...SPEC, inputSchema: null }, call }, "invalid_input_schema"],
    ["an input schema that contains itself", { spec: { ...SPEC, inputSchema: circular() }, call }, "invalid_input_schema"],
    ["an output schema that is null", { spec: { ...SPEC, outputSchema: null }, call }, "invalid_output_schema"],
    ["an output schema that contains itself", { spec: { ...SPEC, outputSchema: circular() }, call }, "invalid_output_schema"],
    ["a second tool of the same name", look, "duplicate_tool"],
  ])("%s", (_what, tool, code) => {
    const refused = expect(() => toolbox([look, tool as Tool]))
    refused.toThrow(ToolDefinitionError)
    refused.toThrow(expect.objectContaining({ code }))
  })
})

const context = { effectId: 1, idempotencyKey: undefined, signal: new AbortController().signal, emit: () => {} }

test("a call is a promise, also of a tool that is not async or throws at once", async () => {
  const answer = { output: { status: "success", value: "sky" } } as const
  const thrown = new Error("Not now.")
  const tools = [
    { spec: SPEC, call: () => answer },
    {
      spec: { ...SPEC, name: "throw" },
      call: () => {
        throw thrown
      },
    },
  ]
  const box = toolbox(tools as unknown as readonly Tool[])
  await expect(box.call({ callId: "c1", toolName: "look", args: {} }, context)).resolves.toBe(answer)
  await expect(box.call({ callId: "c2", toolName: "throw", args: {} }, context)).rejects.toBe(thrown)
})

test.each(["sync", "async"])("arguments that do not match are looked at once, by a schema that is %s", async (kind) => {
  let looks = 0
  const input = z.object({ path: z.string() }).refine(
    () => {
      looks += 1
      return kind === "sync" ? false : Promise.resolve(false)
    },
    { path: ["path"], message: "There is no such file." },
  )
  const read = defineTool({ name: "read", description: "Reads.", input, execute: () => "text" })
  const { output } = await read.call({ callId: "c1", toolName: "read", args: { path: "a" } }, context)
  expect(output).toMatchObject({ status: "failure", failure: { code: "invalid_arguments" } })
  expect(JSON.stringify(output)).toContain("- path: There is no such file.")
  expect(looks).toBe(1)
})

test("a spec has only the keys of a tool description", () => {
  const tool = { spec: { ...SPEC, outputSchema: { type: "string" }, strict: true }, call }
  expect(toolbox([tool]).specs).toStrictEqual([{ ...SPEC, outputSchema: { type: "string" } }])
  expect(toolbox([look]).specs).toStrictEqual([SPEC])
})

test("a tool without effects, and an unknown tool, are idempotent", () => {
  const box = toolbox([look, { spec: { ...SPEC, name: "send" }, call, effects: "once" }])
  const effectsOf = (toolName: string) => box.effects({ callId: "c1", toolName, args: {} })
  expect(["look", "send", "listen", "constructor"].map(effectsOf)).toEqual(["idempotent", "once", "idempotent", "idempotent"])
})

describe("defineTool refuses a recover function", () => {
  const definition = { name: "send", description: "Sends.", input: z.object({}), execute: () => null, recover: () => undefined }

  test.each([
    ["without effects", {}],
    ['with effects "idempotent"', { effects: "idempotent" }],
    ['with effects "none"', { effects: "none" }],
  ] as const)("%s", (_what, effects) => {
    expect(() => defineTool({ ...definition, ...effects })).toThrow(expect.objectContaining({ code: "invalid_effects" }))
  })

  test('but not with effects "once"', () => {
    expect(defineTool({ ...definition, effects: "once" }).recover).toBeTypeOf("function")
  })
})
