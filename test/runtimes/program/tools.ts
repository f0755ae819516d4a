import { chatDriver, chatProjector, TurnMachine, userMessage } from "turn-machine"
import { defineTool, runTurn, ToolDefinitionError, toolbox } from "turn-machine/hosts"
import { scriptedModel } from "turn-machine/testing"
import * as z from "zod"
import * as mini from "zod/mini"
import { describe, expect, record, test } from "./registry.ts"

const tools = toolbox([
  defineTool({
    name: "book",
    description: "Books a room.",
    input: z.object({
      room: z.enum(["red", "blue"]),
      from: z.iso.date(),
      guests: z.array(z.object({ name: z.string().min(1), age: z.int().optional() })).max(3),
      price: z.number().default(100),
    }),
    output: z.object({ code: z.string() }),
    execute: async ({ room, guests, price }) => ({ code: `${room} for ${guests.length} at ${price}` }),
  }),
  defineTool({
    name: "note",
    description: "Notes a text.",
    input: mini.object({ text: mini.string().check(mini.maxLength(20)) }),
    execute: ({ text }) => text.length,
  }),
  defineTool({
    name: "wait",
    description: "Waits.",
    input: z.object({}),
    timeoutMs: 5,
    execute: (_input, { signal }) => new Promise((resolve) => signal.addEventListener("abort", () => resolve("stopped"))),
  }),
])

/** The text that the model reads after one call. */
async function answerTo(toolName: string, args: Parameters<typeof JSON.stringify>[0]): Promise<string> {
  const config = { driver: chatDriver(), projector: chatProjector, model: "scripted", tools: tools.specs }
  const { llmCall } = scriptedModel([{ toolCalls: [{ toolName, args }] }, "Done."])
  const { messages } = await runTurn(new TurnMachine(config, { messages: [userMessage("Go.")] }), { llmCall, tools })
  const texts = messages.flatMap(({ parts }) => parts.flatMap((part) => (part.type === "tool_result" ? [part.text ?? ""] : [])))
  expect(texts.length).toBe(1)
  return texts[0] ?? ""
}

describe("defineTool with zod", () => {
  test("shows the model a JSON Schema", () => {
    const [book] = tools.specs
    record(tools.specs)
    expect(book?.inputSchema).toEqual({
      type: "object",
      properties: {
        room: { type: "string", enum: ["red", "blue"] },
        from: {
          type: "string",
          format: "date",
          pattern:
            "^(?:(?:\\d\\d[2468][048]|\\d\\d[13579][26]|\\d\\d0[48]|[02468][048]00|[13579][26]00)-02-29|\\d{4}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12]\\d|3[01])|(?:0[469]|11)-(?:0[1-9]|[12]\\d|30)|(?:02)-(?:0[1-9]|1\\d|2[0-8])))$",
        },
        guests: {
          maxItems: 3,
          type: "array",
          items: {
            type: "object",
            properties: {
              name: { type: "string", minLength: 1 },
              age: { type: "integer", minimum: -9_007_199_254_740_991, maximum: 9_007_199_254_740_991 },
            },
            required: ["name"],
          },
        },
        price: { default: 100, type: "number" },
      },
      required: ["room", "from", "guests"],
    })
  })

  test("runs a call whose arguments match, with defaults", async () => {
    expect(await answerTo("book", { room: "red", from: "2026-11-27", guests: [{ name: "Ada" }] })).toBe('{"code":"red for 1 at 100"}')
    expect(await answerTo("note", { text: "übermorgen" })).toBe("10")
  })

  test("says what is wrong with arguments that do not match", async () => {
    const text = await answerTo("book", { room: "green", from: "27.11.2026", guests: [{ name: "", age: 1.5 }] })
    for (const line of ["- room: Invalid option", "- from: Invalid ISO date", "- guests[0].name: Too small", "- guests[0].age: Invalid input"])
      expect(text).toContain(line)
    expect(await answerTo("note", { text: "far longer than twenty characters" })).toContain("- text: Too big")
  })

  test("stops a call after its time", async () => {
    expect(await answerTo("wait", {})).toContain('The tool "wait" did not finish within 5 ms and was stopped.')
  })

  test("refuses a schema that is not an object", () => {
    try {
      defineTool({ name: "bad", description: "Is bad.", input: z.string() as never, execute: () => null })
    } catch (error) {
      expect(error instanceof ToolDefinitionError && error.code).toBe("invalid_input_schema")
      return
    }
    expect.unreachable()
  })
})
