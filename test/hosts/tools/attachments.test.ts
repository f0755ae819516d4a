import { describe, expect, expectTypeOf, test } from "vitest"
import * as z from "zod"
import { memoryAttachmentStore } from "../../../src/hosts/attachments/memory.ts"
import { type Attachment, type AttachmentStore, AttachmentStoreError } from "../../../src/hosts/attachments/store.ts"
import type { EffectContext, Host } from "../../../src/hosts/host.ts"
import { runTurn } from "../../../src/hosts/run/run-turn.ts"
import { type DefinedTool, defineTool, type ToolContext } from "../../../src/hosts/tools/define-tool.ts"
import { type Tool, type ToolCallContext, toolbox } from "../../../src/hosts/tools/toolbox.ts"
import { AttachmentRef } from "../../../src/schemas/message.ts"
import { scriptedModel } from "../../../src/testing/scripted-model.ts"
import { TurnMachine } from "../../../src/validated-turn-machine.ts"
import { configOf, newTurn } from "../run/support.ts"

const context: EffectContext = { effectId: 1, idempotencyKey: "t1:1:c1", signal: new AbortController().signal, emit: () => {} }
const call = { callId: "c1", toolName: "draw", args: {} }

const draw = defineTool({
  name: "draw",
  description: "Draws a chart.",
  input: z.object({}),
  execute: async (_input, { attach }) => ({
    title: "Sales",
    chart: await attach(Uint8Array.of(1, 2, 3), { mediaType: "image/png", label: "Sales" }),
  }),
})

describe("a tool of a toolbox with an attachment store", () => {
  test("stores bytes, and returns a reference to them", async () => {
    const attachments = memoryAttachmentStore()
    const { output } = await toolbox([draw], { attachments }).call(call, context)
    const id = "039058c6f2c0cb492c533b0a4d14ef77cc0f78abccced5287d84a1a2011cfb81"
    expect(output).toEqual({
      status: "success",
      value: { title: "Sales", chart: { $attachment: { id, mediaType: "image/png", byteLength: 3, label: "Sales" } } },
    })
    expect(await attachments.get(id)).toEqual(Uint8Array.of(1, 2, 3))
  })

  test("may have an output schema with the schema of the reference", async () => {
    const checked = defineTool({
      name: "draw",
      description: "Draws.",
      input: z.object({}),
      output: z.object({ chart: z.object({ $attachment: AttachmentRef }) }),
      execute: async (_input, { attach }) => ({ chart: await attach(Uint8Array.of(1), { mediaType: "image/png" }) }),
    })
    const { output } = await toolbox([checked], { attachments: memoryAttachmentStore() }).call(call, context)
    expect(output).toMatchObject({ status: "success", value: { chart: { $attachment: { byteLength: 1 } } } })
  })

  test("may be written by hand, and attach while it recovers", async () => {
    const attachments = memoryAttachmentStore()
    const answer = async ({ attach }: ToolCallContext) => {
      const value = await attach?.(Uint8Array.of(4), { mediaType: "application/pdf" })
      return { output: { status: "success", value: value ?? null } } as const
    }
    const tool: Tool = {
      spec: { name: "draw", description: "Draws.", inputSchema: { type: "object" } },
      effects: "once",
      call: (_call, given) => answer(given),
      recover: async (_call, given) => ({ ran: true, answer: await answer(given) }),
    }
    const box = toolbox([tool], { attachments })
    const called = await box.call(call, context)
    expect(called.output).toMatchObject({ value: { $attachment: { mediaType: "application/pdf", byteLength: 1 } } })
    expect(await box.recover(call, context)).toEqual({ ran: true, answer: called })
  })

  test("fails if the store does, and the model reads why", async () => {
    const attachments: AttachmentStore = {
      put: () => Promise.reject(new AttachmentStoreError("unavailable", "The disk is full.")),
      get: async () => undefined,
    }
    const { output } = await toolbox([draw], { attachments }).call(call, context)
    expect(output).toMatchObject({ status: "failure", failure: { class: "execution", code: "tool_threw", message: "The disk is full." } })
  })

  test("has the rest of the context unchanged", async () => {
    const seen: ToolContext[] = []
    const look = defineTool({ name: "draw", description: "Looks.", input: z.object({}), execute: (_input, given) => void seen.push(given) })
    await toolbox([look], { attachments: memoryAttachmentStore() }).call(call, context)
    expect(seen).toEqual([expect.objectContaining({ ...context, callId: "c1" })])
    expect(seen[0]?.signal).toBe(context.signal)
  })
})

test("a turn's transcript has the attachments of a result in their places, an image as an image and a PDF as a file", async () => {
  const scan = defineTool({
    name: "scan",
    description: "Scans a page.",
    input: z.object({}),
    execute: async (_input, { attach }) => ({
      preview: await attach(Uint8Array.of(1), { mediaType: "image/png" }),
      pages: [await attach(Uint8Array.of(2), { mediaType: "application/pdf", label: "page.pdf" }), "end"],
    }),
  })
  const attachments = memoryAttachmentStore()
  const tools = toolbox([scan], { attachments })
  const { llmCall } = scriptedModel([{ toolCalls: [{ toolName: "scan", args: {} }] }, "Scanned."])
  const machine = newTurn({ tools: tools.specs })
  await runTurn(machine, { llmCall, tools })
  const [result, image, file] = machine.messages.find(({ parts }) => parts[0]?.type === "tool_result")?.parts ?? []
  const preview = { id: expect.any(String), mediaType: "image/png", byteLength: 1 }
  const page = { id: expect.any(String), mediaType: "application/pdf", byteLength: 1, label: "page.pdf" }
  expect(result).toMatchObject({
    type: "tool_result",
    content: [
      { type: "text", text: '{"preview":' },
      { type: "attachment", attachment: preview },
      { type: "text", text: ',"pages":[' },
      { type: "attachment", attachment: page },
      { type: "text", text: ',"end"]}' },
    ],
  })
  expect(image).toMatchObject({ type: "image", attachment: preview })
  expect(file).toMatchObject({ type: "file", attachment: page })
  expect(TurnMachine.restore(configOf({ tools: tools.specs }), machine.checkpoint()).messages).toEqual(machine.messages)
})

describe("attach without a store", () => {
  test.each<readonly [string, { call: DefinedTool<string, unknown>["call"] }]>([
    ["in a toolbox", toolbox([draw])],
    ["in a tool that is called alone", draw],
  ])("%s fails the call, and says how to add one", async (_name, box) => {
    expect((await box.call(call, context)).output).toEqual({
      status: "failure",
      failure: {
        class: "unavailable",
        code: "no_attachment_store",
        message: "The toolbox has no attachment store. Make it with toolbox(tools, { attachments: store }).",
        source: "runtime",
        retry: { type: "never" },
      },
    })
  })
})

test.each([
  [{ attachment: memoryAttachmentStore() }, 'toolbox was given the unknown option "attachment"; did you mean "attachments"?'],
  [{ color: "red" }, 'toolbox was given the unknown option "color"; the option is attachments.'],
])("a toolbox refuses the unknown option %o", (options, message) => {
  expect(() => toolbox([draw], options as never)).toThrow(expect.objectContaining({ name: "ToolDefinitionError", code: "unknown_key", message }))
})

test("types of attachments", () => {
  expectTypeOf<ToolContext["attach"]>().returns.resolves.toEqualTypeOf<Attachment>()
  expectTypeOf(toolbox([draw], { attachments: memoryAttachmentStore() })).toExtend<NonNullable<Host["tools"]>>()
  expectTypeOf(draw).toEqualTypeOf<DefinedTool<"draw", { title: string; chart: Attachment }>>()
})
