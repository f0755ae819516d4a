import { join } from "node:path"
import { beforeAll, describe, expect, test } from "vitest"
import { packed, pinned, UserFolder } from "./support.ts"

// zod is a peer dependency with a range: defineTool accepts the schemas of every version in it, and of any other copy.

/** Defines a tool and calls it twice: with arguments that match its schema, and with arguments that do not. */
function program(zod: string, input: string): string {
  return `
import * as z from "${zod}"
import { TurnMachine, chatDriver, chatProjector } from "turn-machine"
import { defineTool, toolbox } from "turn-machine/hosts"

const look = defineTool({
  name: "look",
  description: "Looks for a lamp.",
  input: ${input},
  output: z.object({ found: z.boolean() }),
  async execute({ place, times }) {
    const room: string = place
    const count: number = times
    // @ts-expect-error the input is typed: a place is not a number
    const wrong: number = place
    return { found: room === "hall" && count === 2 && wrong !== count }
  },
})
export const tools = toolbox([look])
export const machine: typeof TurnMachine = TurnMachine
export const parts = [chatDriver(), chatProjector]
const context = { effectId: 1, idempotencyKey: undefined, signal: new AbortController().signal, emit: () => {} }
const called = async (args: Record<string, never>) => look.call({ callId: "c", toolName: "look", args }, context)
console.log(JSON.stringify(look.spec.inputSchema))
console.log(JSON.stringify(await called(JSON.parse('{"place":"hall","times":2}'))))
console.log(JSON.stringify(await called(JSON.parse('{"place":7,"times":"2"}'))))
`
}

/** Prints the schema of every kind of input that zod, or one of its versions, shows in another form than an object. */
const KINDS = `
import * as z from "zod"
import * as mini from "zod/mini"
import { defineTool } from "turn-machine/hosts"

const tree = z.object({ size: z.number(), get trees() { return z.array(tree) } })
const miniTree = mini.object({ size: mini.number(), get trees() { return mini.array(miniTree) } })
const named = z.object({ size: z.number() }).meta({ id: "Named" })
const oak = z.object({ get acorns() { return z.array(oak) } }).meta({ id: "Oak" })
const list = z.lazy(() => z.object({ rest: list.optional() }))
const inputs = {
  tree, miniTree, named, oak, list,
  both: z.intersection(z.object({ a: z.string() }), z.object({ b: z.string() })),
  withNamed: named.and(z.object({ b: z.string() })),
  record: z.record(z.string(), z.number()),
  json: z.object({ value: z.json() }),
  union: z.union([named, z.object({ b: z.string() })]),
  date: z.object({ at: z.date() }),
  pipedDate: z.object({ at: z.iso.datetime().pipe(z.coerce.date()) }),
}
const shown = {}
for (const [name, input] of Object.entries(inputs)) {
  try {
    shown[name] = defineTool({ name, description: "", input, execute: () => null }).spec.inputSchema
  } catch (error) {
    shown[name] = error.message
  }
}
console.log(JSON.stringify(shown))
`

function expectKinds({ failed, output }: { readonly failed: boolean; readonly output: string }): void {
  expect(failed, output).toBe(false)
  const number = { type: "number" }
  const text = { type: "string" }
  const tree = {
    type: "object",
    properties: { size: number, trees: { type: "array", items: { $ref: "#/$defs/__schema0" } } },
    required: ["size", "trees"],
  }
  const oak = { type: "object", properties: { acorns: { type: "array", items: { $ref: "#/$defs/Oak" } } }, required: ["acorns"] }
  const list = { type: "object", properties: { rest: { $ref: "#/$defs/__schema0" } } }
  const { pipedDate, json, union, date, ...shown } = JSON.parse(output) as { readonly [name: string]: unknown }
  expect(shown).toEqual({
    tree: { ...tree, $defs: { __schema0: tree } },
    miniTree: { ...tree, $defs: { __schema0: tree } },
    named: { type: "object", properties: { size: number }, required: ["size"] },
    oak: { ...oak, $defs: { Oak: oak } },
    list: { ...list, $defs: { __schema0: list } },
    both: { type: "object", properties: { a: text, b: text }, required: ["a", "b"] },
    withNamed: { type: "object", properties: { size: number, b: text }, required: ["size", "b"] },
    record: { type: "object", properties: {}, propertyNames: text, additionalProperties: number },
  })
  expect(pipedDate).toMatchObject({ type: "object", properties: { at: { type: "string", format: "date-time" } } })
  expect(json).toMatchObject({ properties: { value: { $ref: "#/$defs/__schema0" } }, $defs: { __schema0: { anyOf: expect.any(Array) } } })
  expect(union).toContain("it is not an object. Wrap it")
  expect(date).toContain("JSON has no dates")
}

const CLASSIC = "z.object({ place: z.string().min(1), times: z.number().int() })"
const MINI = "z.object({ place: z.string().check(z.minLength(1)), times: z.int() })"

function expectWorks({ failed, output }: { readonly failed: boolean; readonly output: string }): void {
  expect(failed, output).toBe(false)
  const [schema = "", found = "", refused = ""] = output.trim().split("\n")
  expect(JSON.parse(schema)).toMatchObject({ type: "object", properties: { place: { type: "string" }, times: { type: "integer" } } })
  expect(JSON.parse(found)).toMatchObject({ output: { status: "success", value: { found: true } } })
  const { output: failure } = JSON.parse(refused) as { output: { failure: { message: string } } }
  expect(failure.failure.message).toContain("place: Invalid input: expected string, received number")
  expect(failure.failure.message).toContain("times: Invalid input: expected number, received string")
}

await packed()

describe.each([
  { version: "the oldest", packages: ["zod@4.3.0", "immer@11.0.0"] },
  { version: "the newest", packages: ["zod@4", "immer@11"] },
])("with $version versions of the ranges, $packages", ({ packages }) => {
  const user = new UserFolder()
  beforeAll(() => user.install("turn-machine", ...packages), 180_000)

  test.each([
    ["zod", CLASSIC],
    ["zod/mini", MINI],
  ])("a tool with a schema of %s compiles and runs", { timeout: 180_000 }, async (zod, input) => {
    expect(await user.compile(program(zod, input))).toBe("")
    expectWorks(await user.runProgram(program(zod, input)))
  })

  test("every kind of input is shown as an object, or refused", { timeout: 180_000 }, async () => {
    expectKinds(await user.runProgram(KINDS))
  })

  test("there is one copy of zod and of immer", async () => {
    const { output } = await user.runProgram(`
import { existsSync } from "node:fs"
console.log(["zod", "immer"].map((name) => existsSync("node_modules/turn-machine/node_modules/" + name)).join())`)
    expect(output.trim()).toBe("false,false")
  })
})

describe("with the zod of the lockfile beside the package", () => {
  const user = new UserFolder()
  beforeAll(() => user.install("turn-machine", pinned("zod")), 180_000)

  test.each(["zod@4.3.0", "zod@4.4.3"])("a second copy, %s, compiles and gives full messages", { timeout: 180_000 }, async (other) => {
    const nested = new UserFolder(join(user.path, other.replace("@", "-")))
    await nested.install(other)
    expect(await nested.compile(program("zod", CLASSIC))).toBe("")
    expectWorks(await nested.runProgram(program("zod", CLASSIC)))
    expectWorks(await nested.runProgram(program("zod/mini", MINI)))
  })

  test("a schema of zod 3 is refused with a sentence that says what to do", { timeout: 180_000 }, async () => {
    const nested = new UserFolder(join(user.path, "zod-3"))
    await nested.install("zod@3")
    const { failed, output } = await nested.runProgram(program("zod", CLASSIC))
    expect(failed).toBe(true)
    expect(output).toContain('ToolDefinitionError: The input schema of the tool "look" is a zod 3 schema; zod 4 is needed.')
    // zod 3.25 and later contain zod 4.
    expect(await nested.compile(program("zod/v4", CLASSIC))).toBe("")
    expectWorks(await nested.runProgram(program("zod/v4", CLASSIC)))
  })
})
