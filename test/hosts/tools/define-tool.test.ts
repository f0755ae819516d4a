import { afterEach, beforeEach, describe, expect, expectTypeOf, test, vi } from "vitest"
import * as z from "zod"
import * as mini from "zod/mini"
import { type EffectContext, type Host, type ToolAnswer, ToolError } from "../../../src/hosts/host.ts"
import { type DefinedTool, defineTool, type ToolDefinition, ToolReply } from "../../../src/hosts/tools/define-tool.ts"
import { ToolDefinitionError } from "../../../src/hosts/tools/tool-definition-error.ts"
import { type Tool, type Toolbox, toolbox } from "../../../src/hosts/tools/toolbox.ts"
import type { TurnEvent } from "../../../src/schemas/event.ts"
import type { Json } from "../../../src/schemas/json.ts"
import type { ToolFailure } from "../../../src/schemas/tool.ts"

const plain = { name: "plain", description: "Does nothing.", input: z.object({}), execute: (): unknown => null }

describe("the tool description for the model", () => {
  test("has the JSON Schema of the input, without requiring properties that have a default", () => {
    const { spec } = defineTool({
      name: "read_file",
      description: "Reads a file.",
      input: z.object({ path: z.string().describe("Relative to the folder."), lines: z.int().min(1).default(100) }),
      execute: () => "",
    })
    expect(spec).toStrictEqual({
      name: "read_file",
      description: "Reads a file.",
      inputSchema: {
        type: "object",
        properties: {
          path: { type: "string", description: "Relative to the folder." },
          lines: { type: "integer", minimum: 1, maximum: 9007199254740991, default: 100 },
        },
        required: ["path"],
      },
    })
  })

  test("accepts a zod/mini schema, and an output schema", () => {
    const { spec } = defineTool({
      name: "count",
      description: "Counts.",
      input: mini.object({ of: mini.string() }),
      output: mini.object({ count: mini.number() }),
      execute: () => ({ count: 1 }),
    })
    expect(spec.inputSchema).toStrictEqual({ type: "object", properties: { of: { type: "string" } }, required: ["of"] })
    expect(spec.outputSchema).toStrictEqual({
      type: "object",
      properties: { count: { type: "number" } },
      required: ["count"],
      additionalProperties: false,
    })
  })

  test("has the input type of a schema that transforms it", () => {
    const { spec } = defineTool({ ...plain, input: z.object({ ids: z.string().transform((text) => text.split(",")) }) })
    expect(spec.inputSchema).toStrictEqual({ type: "object", properties: { ids: { type: "string" } }, required: ["ids"] })
  })
})

describe("an input schema with an id", () => {
  test("is an object in the description, without the reference that zod makes of it", () => {
    const { spec } = defineTool({ ...plain, input: z.object({ path: z.string() }).meta({ id: "Path", title: "A path" }).describe("Where.") })
    expect(spec.inputSchema).toStrictEqual({
      type: "object",
      properties: { path: { type: "string" } },
      required: ["path"],
      title: "A path",
      description: "Where.",
    })
  })

  test("keeps its definition if it refers to itself, and the definitions of its parts", () => {
    const leaf = z.object({ size: z.number() }).meta({ id: "Leaf" })
    const tree = z
      .object({
        leaf,
        get trees() {
          return z.array(tree)
        },
      })
      .meta({ id: "a/b" })
    const object = {
      type: "object",
      properties: { leaf: { $ref: "#/$defs/Leaf" }, trees: { type: "array", items: { $ref: "#/$defs/a~1b" } } },
      required: ["leaf", "trees"],
    }
    expect(defineTool({ ...plain, input: tree }).spec.inputSchema).toStrictEqual({
      ...object,
      $defs: { Leaf: { type: "object", properties: { size: { type: "number" } }, required: ["size"] }, "a/b": object },
    })
  })
})

describe("a tool that cannot be offered is refused when it is defined", () => {
  test.each([
    ["a date", { input: z.object({ when: z.date() }) }, "invalid_input_schema", "Date cannot be represented in JSON Schema"],
    ["a text", { input: z.string() }, "invalid_input_schema", "is not an object"],
    ["a union", { input: z.union([z.object({ a: z.string() }), z.object({ b: z.string() })]) }, "invalid_input_schema", "is not an object"],
    ["anything", { input: z.unknown() }, "invalid_input_schema", "is not an object"],
    ["a bigint that comes out", { output: z.bigint() }, "invalid_output_schema", "BigInt cannot be represented in JSON Schema"],
    [
      "a schema of zod 3",
      { input: { _def: { typeName: "ZodObject" }, parse: () => ({}) } },
      "invalid_input_schema",
      "is a zod 3 schema; zod 4 is needed",
    ],
    ["no schema", { input: undefined }, "invalid_input_schema", "is missing. Give a zod schema"],
    ["a JSON Schema", { input: { type: "object" } }, "invalid_input_schema", "is not a zod schema"],
    ["nothing to run", { execute: undefined }, "invalid_execute", 'The tool "plain" needs an execute function.'],
    ["no name", { name: " " }, "invalid_name", "A tool needs a name."],
    ["no time", { timeoutMs: 0 }, "invalid_timeout", 'timeoutMs of the tool "plain" must be a positive number, not 0.'],
    [
      "a time that is not a number",
      { timeoutMs: Number.NaN },
      "invalid_timeout",
      'timeoutMs of the tool "plain" must be a positive number, not NaN.',
    ],
    ["a time as a text", { timeoutMs: "5s" }, "invalid_timeout", 'timeoutMs of the tool "plain" must be a positive number, not 5s.'],
    [
      "effects in another case",
      { effects: "Once" },
      "invalid_effects",
      'effects of the tool "plain" must be "none", "idempotent" or "once", not "Once".',
    ],
    ["effects that are null", { effects: null }, "invalid_effects", 'must be "none", "idempotent" or "once", not null.'],
    ["no description", { description: undefined }, "invalid_description", 'The description of the tool "plain" must be a string.'],
    ["a key with a missing unit", { timeout: 5 }, "unknown_key", 'The tool "plain" has the unknown key "timeout"; did you mean "timeoutMs"?'],
    ["a key of other libraries", { parameters: {} }, "unknown_key", 'The tool "plain" has the unknown key "parameters"; did you mean "input"?'],
    ["another key of other libraries", { schema: {} }, "unknown_key", 'The tool "plain" has the unknown key "schema"; did you mean "input"?'],
    ["a key of a spec", { outputSchema: {} }, "unknown_key", 'did you mean "output"?'],
    [
      "a key like no other",
      { color: "red" },
      "unknown_key",
      "the keys are name, description, input, output, timeoutMs, execute, effects, recover, approval.",
    ],
    ["a union with an id", { input: z.union([z.object({}), z.object({ b: z.string() })]).meta({ id: "Either" }) }, "invalid_input_schema", "Wrap it"],
  ])("%s", (_what, wrong, code, message) => {
    const define = (): Tool => defineTool({ ...plain, ...wrong } as ToolDefinition<z.ZodType>)
    expect(define).toThrow(ToolDefinitionError)
    expect(define).toThrow(expect.objectContaining({ code, message: expect.stringContaining(message) }))
  })

  test.each([[undefined], [null], ["plain"], [[plain]], [() => plain]])("a definition that is not an object: %j", (definition) => {
    const define = (): Tool => defineTool(definition as never)
    expect(define).toThrow(ToolDefinitionError)
    expect(define).toThrow(
      expect.objectContaining({
        code: "not_a_tool",
        message: "defineTool takes a definition: defineTool({ name, description, input, execute }).",
      }),
    )
  })

  test("only an error with a cause has one", () => {
    expect(refusalOf(() => defineTool({ ...plain, input: z.string() as never }))).not.toHaveProperty("cause")
    expect(refusalOf(() => defineTool({ ...plain, input: z.object({ when: z.date() }) }))).toHaveProperty("cause", expect.any(Error))
  })

  test("the message names the tool", () => {
    expect(() => defineTool({ ...plain, input: z.string() as never })).toThrow(
      'The input schema of the tool "plain" is of type string: it is not an object. Wrap it: z.object({ … }).',
    )
  })

  test("two tools of one name", () => {
    expect(() => toolbox([defineTool(plain), defineTool(plain)])).toThrow(
      expect.objectContaining({ code: "duplicate_tool", message: 'Two tools are named "plain".' }),
    )
  })
})

describe("a tool's types", () => {
  test("a value must match the output schema, and without one may be anything", () => {
    const output = z.object({ size: z.number() })
    defineTool({ ...plain, output, execute: () => ({ size: 1 }) })
    defineTool({ ...plain, output, execute: async () => new ToolReply({ size: 1 }, { control: { type: "finish", value: null } }) })
    // @ts-expect-error: a text is not a size
    defineTool({ ...plain, output, execute: () => ({ size: "big" }) })
    // @ts-expect-error: nor in a promise
    defineTool({ ...plain, output, execute: async () => ({ size: "big" }) })
    interface Row {
      readonly id: number
    }
    defineTool({ ...plain, execute: async (): Promise<Row> => ({ id: 1 }) })
    // @ts-expect-error: nor a text that the schema does not list
    defineTool({ ...plain, output: z.object({ kind: z.enum(["a", "b"]) }), execute: () => ({ kind: "c" }) })
    defineTool({ ...plain, output: z.object({ kind: z.enum(["a", "b"]) }), execute: () => ({ kind: "a" as const }) })
    // @ts-expect-error: the input has no such field
    defineTool({ ...plain, input: z.object({ path: z.string() }), execute: ({ pth }) => pth })
    expectTypeOf(toolbox([])).toExtend<NonNullable<Host["tools"]>>()
  })

  test("a call returns the type of the output schema, or else of what execute returns", () => {
    const { execute: _execute, ...rest } = plain
    const input = z.object({ a: z.number() })
    const output = z.object({ size: z.number() })
    const values = <Value>(_tool: DefinedTool<string, Value>): { readonly value: Value } => ({}) as { readonly value: Value }
    expectTypeOf(values(defineTool({ ...rest, input, execute: ({ a }) => ({ sum: a }) }))).toEqualTypeOf<{ readonly value: { sum: number } }>()
    expectTypeOf(values(defineTool({ ...rest, execute: async () => "text" }))).toEqualTypeOf<{ readonly value: string }>()
    expectTypeOf(values(defineTool({ ...rest, execute: () => ({ value: 1 }) }))).toEqualTypeOf<{ readonly value: { value: number } }>()
    const reply = defineTool({ ...rest, execute: async (_input) => new ToolReply({ rows: 3 }, { control: { type: "finish", value: null } }) })
    expectTypeOf(values(reply)).toEqualTypeOf<{ readonly value: { rows: number } }>()
    const either = defineTool({ ...rest, input, execute: ({ a }) => (a > 1 ? new ToolReply({ rows: a }, {}) : "none") })
    expectTypeOf(values(either)).toEqualTypeOf<{ readonly value: "none" | { rows: number } }>()
    const sized = defineTool({ ...rest, input, output, execute: ({ a }) => ({ size: a, extra: "removed by the schema" }) })
    expectTypeOf(values(sized)).toEqualTypeOf<{ readonly value: { size: number } }>()
    expectTypeOf<Awaited<ReturnType<typeof sized.call>>>().toEqualTypeOf<ToolAnswer<{ size: number }>>()
    const dated = defineTool({ ...rest, execute: () => new Date(0) })
    expectTypeOf<Awaited<ReturnType<typeof dated.call>>>().toEqualTypeOf<ToolAnswer<Json>>()
    const untyped = defineTool({ ...rest, execute: () => JSON.parse("1") })
    expectTypeOf<Awaited<ReturnType<typeof untyped.call>>>().toEqualTypeOf<ToolAnswer<Json>>()
    expectTypeOf([sized, reply, dated, untyped]).toExtend<Parameters<typeof toolbox>[0]>()
  })
})

describe("a call", () => {
  test("receives the parsed input, typed, and returns its value", async () => {
    const tool = defineTool({
      name: "add",
      description: "Adds.",
      input: z.object({ a: z.coerce.number<string>(), b: z.number().default(2) }),
      execute: ({ a, b }, { callId, effectId }) => {
        expectTypeOf(a).toEqualTypeOf<number>()
        expectTypeOf(b).toEqualTypeOf<number>()
        return { sum: a + b, callId, effectId }
      },
    })
    expect(await run(tool, { a: "40" })).toStrictEqual({ output: { status: "success", value: { sum: 42, callId: "c1", effectId: 7 } } })
  })

  test("a function that is not async, and a value that becomes JSON", async () => {
    const tool = defineTool({ ...plain, execute: () => ({ at: new Date(0), nothing: undefined }) })
    expect(await run(tool, {})).toStrictEqual({ output: { status: "success", value: { at: "1970-01-01T00:00:00.000Z" } } })
    const silent = defineTool({ ...plain, execute: async () => {} })
    expect(await run(silent, {})).toStrictEqual({ output: { status: "success", value: null } })
  })

  test("a value that looks like an answer is still a value", async () => {
    const value = { output: { status: "failure" }, modelReturn: { parts: [] } }
    expect(await run(defineTool({ ...plain, execute: () => value }), {})).toStrictEqual({ output: { status: "success", value } })
  })

  test("a ToolReply returns more than a value", async () => {
    const tool = defineTool({
      ...plain,
      execute: () =>
        new ToolReply({ rows: 3 }, { modelReturn: { parts: [{ type: "text", text: "three rows" }] }, control: { type: "finish", value: "all" } }),
    })
    expect(await run(tool, {})).toStrictEqual({
      output: { status: "success", value: { rows: 3 }, control: { type: "finish", value: "all" } },
      modelReturn: { parts: [{ type: "text", text: "three rows" }] },
    })
  })

  test("events of the tool are emitted", async () => {
    const shown: TurnEvent[] = []
    const event: TurnEvent = { type: "message", text: "half way", kind: "progress" }
    const tool = defineTool({ ...plain, execute: (_input, { emit }) => emit(event) })
    await run(tool, {}, { ...context, emit: (given) => void shown.push(given) })
    expect(shown).toEqual([event])
  })

  test("a value that does not match the output schema, or is not JSON, fails the tool", async () => {
    const unfit = defineTool({ ...plain, output: z.object({ size: z.number() }), execute: () => ({ size: "big" }) as never })
    expect(await failure(unfit, {})).toEqual({
      class: "internal",
      code: "invalid_tool_result",
      message:
        "The tool ran, but its result cannot be used. It does not match the output schema:\n- size: Invalid input: expected number, received string",
      source: "tool",
      retry: { type: "never" },
    })
    const unsaid = defineTool({ ...plain, execute: () => ({ rows: new Map() }) })
    expect(await failure(unsaid, {})).toMatchObject({
      code: "invalid_tool_result",
      message: expect.stringContaining('an instance of Map at "/rows"'),
    })
  })

  test("an error is a failure that the model sees, with the details of a ToolError", async () => {
    const broken = defineTool({
      ...plain,
      execute() {
        throw new Error("disk full")
      },
    })
    expect(await failure(broken, {})).toEqual({
      class: "execution",
      code: "tool_threw",
      message: "disk full",
      source: "tool",
      retry: { type: "never" },
    })
    const busy = defineTool({
      ...plain,
      async execute() {
        throw new ToolError({ class: "external", code: "busy", message: "Try later.", retry: { type: "safe", afterMs: 500 }, raw: { status: 503 } })
      },
    })
    expect(await failure(busy, {})).toEqual({
      class: "external",
      code: "busy",
      message: "Try later.",
      source: "tool",
      retry: { type: "safe", afterMs: 500 },
      raw: { status: 503 },
    })
  })
})

describe("arguments that do not match", () => {
  const search = defineTool({
    name: "search",
    description: "Searches.",
    input: z.strictObject({
      query: z.string(),
      files: z.array(z.object({ path: z.string() })).optional(),
      limit: z.union([z.literal("all"), z.object({ lines: z.number() })]).optional(),
    }),
    execute: () => {
      throw new Error("This was not to be run.")
    },
  })

  test("report to the model what is wrong at each path", async () => {
    const args = { files: [{ path: "a" }, { path: 3 }], limit: { lines: "ten" }, querry: "TODO" }
    expect(await failure(search, args)).toEqual({
      class: "invalid_request",
      code: "invalid_arguments",
      message: [
        'The arguments do not match the schema of the tool "search", which was not run:',
        "- query: Invalid input: expected string, received undefined",
        "- files[1].path: Invalid input: expected string, received number",
        '- limit: matches none of the options: Invalid input: expected "all"; or lines: Invalid input: expected number, received string',
        '- (the whole value): Unrecognized key: "querry"',
      ].join("\n"),
      source: "runtime",
      retry: { type: "never" },
    })
  })

  test.each([
    ["null", null],
    ["a text", "TODO"],
    ["a list", []],
  ])("%s instead of an object", async (_what, args: Json) => {
    expect(await failure(search, args)).toMatchObject({
      code: "invalid_arguments",
      message: expect.stringContaining("- (the whole value): Invalid input: expected object"),
    })
  })

  test("produce a readable message, however many and long they are", async () => {
    const files = Array.from({ length: 1_000 }, () => ({ path: 1 }))
    const { message } = await failure(search, { query: "", files, ["x".repeat(1_000_000)]: 1 })
    expect(message.split("\n")).toHaveLength(22)
    expect(message).toContain("- and 981 more")
    expect(message.length).toBeLessThan(3_000)
  })

  test("may have prototype keys as ordinary keys", async () => {
    const args = JSON.parse('{"query":"TODO","__proto__":{"polluted":true},"constructor":1}') as Json
    expect((await failure(search, args)).code).toBe("invalid_arguments")
    expect(({} as { polluted?: true }).polluted).toBeUndefined()
  })

  test("a schema check that throws fails the tool, not the turn", async () => {
    const picky = defineTool({
      ...plain,
      input: z.object({
        path: z.string().refine(() => {
          throw new Error("no such disk")
        }),
      }),
    })
    expect(await failure(picky, { path: "a" })).toMatchObject({ code: "tool_threw", message: "no such disk" })
  })

  test("a schema check may be async", async () => {
    const checked = defineTool({ ...plain, input: z.object({ path: z.string().refine(async (path) => path === "a", "there is no such file") }) })
    expect((await run(checked, { path: "a" })).output.status).toBe("success")
    expect((await failure(checked, { path: "b" })).message).toContain("- path: there is no such file")
  })
})

describe("a toolbox", () => {
  const box = toolbox([defineTool({ ...plain, name: "look" }), defineTool({ ...plain, name: "listen", execute: () => "a cat" })])

  test("has the specs in order, and finds the tool", async () => {
    expect(box.specs.map((spec) => spec.name)).toEqual(["look", "listen"])
    expect(await box.call({ callId: "c1", toolName: "listen", args: {} }, context)).toEqual({ output: { status: "success", value: "a cat" } })
  })

  test.each(["taste", "__proto__", "constructor", "toString", ""])("has no tool named %j, and lists its tools for the model", async (toolName) => {
    expect(await box.call({ callId: "c1", toolName, args: {} }, context)).toEqual({
      output: {
        status: "failure",
        failure: {
          class: "invalid_request",
          code: "unknown_tool",
          message: `There is no tool "${toolName}". The tools are: look, listen.`,
          source: "runtime",
          retry: { type: "never" },
        },
      },
    })
  })

  test("may be empty, and shortens a name of a million letters", async () => {
    const { output } = await toolbox([]).call({ callId: "c1", toolName: "x".repeat(1_000_000), args: {} }, context)
    expect(output).toMatchObject({ failure: { code: "unknown_tool", message: `There is no tool "${"x".repeat(300)}…". There are no tools.` } })
  })

  test("may have a tool named __proto__", async () => {
    const odd = toolbox([defineTool({ ...plain, name: "__proto__", execute: () => "found" })])
    expect(await odd.call({ callId: "c1", toolName: "__proto__", args: {} }, context)).toEqual({ output: { status: "success", value: "found" } })
  })
})

test("the signal that a tool gets is the run's own, which fetch and Node accept", async () => {
  const signal = new AbortController().signal
  const seen: unknown[] = []
  const tool = defineTool({
    ...plain,
    execute: (_input, given) => void seen.push(given.signal === signal, AbortSignal.any([given.signal]).aborted, given.callId),
  })
  await tool.call({ callId: "c1", toolName: "plain", args: {} }, { effectId: 1, idempotencyKey: undefined, signal, emit: () => {} })
  expect(seen).toEqual([true, false, "c1"])
})

describe("a toolbox refuses", () => {
  const byHand = {
    spec: { name: "look", description: "Looks.", inputSchema: { type: "object" } },
    call: async (): Promise<ToolAnswer> => ({ output: { status: "success", value: null } }),
  }
  class Schema {
    readonly type = "object"
  }

  test.each<readonly [string, object, string, string]>([
    ["an empty name", { name: " " }, "invalid_name", "Item 0 given to toolbox needs a name."],
    ["no description", { description: undefined }, "invalid_description", 'The description of the tool "look" must be a string.'],
    ["a description in parts", { description: ["Looks."] }, "invalid_description", 'The description of the tool "look" must be a string.'],
    [
      "no schema",
      { inputSchema: undefined },
      "invalid_input_schema",
      'inputSchema of the tool "look" must be a JSON Schema as an object, not undefined.',
    ],
    ["a list", { inputSchema: [] }, "invalid_input_schema", 'inputSchema of the tool "look" must be a JSON Schema as an object, not an array.'],
    ["a date", { inputSchema: new Date(0) }, "invalid_input_schema", "must be a JSON Schema as an object, not an instance of Date."],
    ["an instance", { outputSchema: new Schema() }, "invalid_output_schema", "must be a JSON Schema as an object, not an instance of Schema."],
    [
      "a zod schema",
      { inputSchema: z.object({}) },
      "invalid_input_schema",
      'inputSchema of the tool "look" is a zod schema. Make the tool with defineTool.',
    ],
    ["a zod/mini schema", { outputSchema: mini.object({}) }, "invalid_output_schema", "is a zod schema. Make the tool with defineTool."],
    [
      "a schema of zod 3",
      { inputSchema: { _def: {}, parse: () => ({}) } },
      "invalid_input_schema",
      "is a zod schema. Make the tool with defineTool.",
    ],
    [
      "a schema that is not JSON",
      { inputSchema: { type: "object", default: 1n } },
      "invalid_input_schema",
      'The input schema of the tool "look" cannot be shown to a model: Not JSON: a bigint at "/default".',
    ],
  ])("%s in a spec", (_what, wrong, code, message) => {
    const make = (): Toolbox => toolbox([{ ...byHand, spec: { ...byHand.spec, ...wrong } } as Tool])
    expect(make).toThrow(ToolDefinitionError)
    expect(make).toThrow(expect.objectContaining({ code, message: expect.stringContaining(message) }))
  })

  test("effects that do not exist, which would let a call run twice", () => {
    expect(() => toolbox([{ ...byHand, effects: "Once" } as never])).toThrow(
      expect.objectContaining({
        code: "invalid_effects",
        message: 'effects of the tool "look" must be "none", "idempotent" or "once", not "Once".',
      }),
    )
    expect(toolbox([{ ...byHand, effects: undefined } as never]).effects({ callId: "c", toolName: "look", args: {} })).toBe("idempotent")
  })

  test.each([[undefined], [byHand], [{ look: byHand }], ["look"]])("tools that are not a list: %j", (tools) => {
    expect(() => toolbox(tools as never)).toThrow(
      expect.objectContaining({ name: "ToolDefinitionError", code: "not_a_tool", message: "toolbox takes a list: toolbox([add])." }),
    )
  })

  test.each([[undefined], [null], [defineTool], [{ spec: byHand.spec }], [{ call: byHand.call }]])("an item that is not a tool: %j", (item) => {
    expect(() => toolbox([byHand, item as never])).toThrow(
      expect.objectContaining({
        code: "not_a_tool",
        message: "Item 1 given to toolbox is not a tool. Pass what defineTool returns, or { spec, call }.",
      }),
    )
  })
})

describe("a tool with a timeout", () => {
  beforeEach(() => void vi.useFakeTimers())
  afterEach(() => void vi.useRealTimers())

  test("that ignores its signal still fails as timeout", async () => {
    const signals: AbortSignal[] = []
    const stuck = defineTool({
      ...plain,
      timeoutMs: 5_000,
      execute(_input, { signal }) {
        signals.push(signal)
        return new Promise(() => {})
      },
    })
    const failed = failure(stuck, {})
    await vi.advanceTimersByTimeAsync(4_999)
    expect(signals.map((signal) => signal.aborted)).toEqual([false])
    await vi.advanceTimersByTimeAsync(1)
    expect(signals.map((signal) => signal.aborted)).toEqual([true])
    expect(await failed).toEqual({
      class: "timeout",
      code: "tool_timeout",
      message: 'The tool "plain" did not finish within 5000 ms and was stopped.',
      source: "runtime",
      retry: { type: "never" },
    })
  })

  test("that throws when it is stopped still fails as timeout", async () => {
    const stopped = defineTool({
      ...plain,
      timeoutMs: 10,
      execute: (_input, { signal }) => new Promise((_resolve, reject) => signal.addEventListener("abort", () => reject(new Error("stopped")))),
    })
    const failed = failure(stopped, {})
    await vi.advanceTimersByTimeAsync(10)
    expect((await failed).class).toBe("timeout")
  })

  test("that ends in time leaves no timer", async () => {
    expect(await run(defineTool({ ...plain, timeoutMs: 5_000, execute: () => 1 }), {})).toEqual({ output: { status: "success", value: 1 } })
    expect(vi.getTimerCount()).toBe(0)
  })

  test("is also stopped by the turn, but not after it has ended", async () => {
    const signals: AbortSignal[] = []
    const tool = defineTool({ ...plain, timeoutMs: 5_000, execute: async (_input, { signal }) => void signals.push(signal) })
    const slow = defineTool({
      ...plain,
      timeoutMs: 5_000,
      execute: (_input, { signal }) => new Promise((resolve) => signal.addEventListener("abort", () => resolve(signal.reason))),
    })
    const controller = new AbortController()
    const given = { ...context, signal: controller.signal }
    await run(tool, {}, given)
    const stopped = run(slow, {}, given)
    await vi.advanceTimersByTimeAsync(0)
    controller.abort("Enough.")
    expect(await stopped).toEqual({ output: { status: "success", value: "Enough." } })
    await run(tool, {}, given)
    expect(signals.map((signal) => signal.aborted)).toEqual([false, true])
  })

  test("of a month does not fire at once", async () => {
    const done = run(
      defineTool({ ...plain, timeoutMs: 30 * 24 * 3_600_000, execute: () => new Promise((resolve) => setTimeout(() => resolve("late"), 60_000)) }),
      {},
    )
    await vi.advanceTimersByTimeAsync(60_000)
    expect(await done).toEqual({ output: { status: "success", value: "late" } })
  })
})

const context: EffectContext = { effectId: 7, idempotencyKey: undefined, signal: new AbortController().signal, emit: () => {} }

function run(tool: Tool, args: Json, given: EffectContext = context): Promise<ToolAnswer> {
  return tool.call({ callId: "c1", toolName: tool.spec.name, args }, given)
}

async function failure(tool: Tool, args: Json): Promise<ToolFailure> {
  const { output } = await run(tool, args)
  if (output.status !== "failure") throw new Error(`Expected a failure, not ${JSON.stringify(output)}.`)
  return output.failure
}

function refusalOf(define: () => unknown): unknown {
  try {
    define()
  } catch (error) {
    return error
  }
  throw new Error("The definition was accepted.")
}
