import { describe, expect, test } from "vitest"
import * as z from "zod"
import type { EffectContext } from "../../../src/hosts/host.ts"
import { toJson } from "../../../src/hosts/run/plain-json.ts"
import { defineTool, ToolReply } from "../../../src/hosts/tools/define-tool.ts"

const plain = { name: "plain", description: "Does nothing.", input: z.object({}) }
const call = { callId: "c1", toolName: "plain", args: {} }
const context: EffectContext = { effectId: 1, idempotencyKey: undefined, signal: new AbortController().signal, emit: () => {} }

const ADVICE = "Return an attachment (a tool has context.attach), or a text such as base64."

/** A subclass with a JSON form of its own, as Buffer is. */
class Packet extends Uint8Array {
  toJSON(): readonly number[] {
    return [...this]
  }
}

const BYTES: readonly (readonly [string, () => unknown, string])[] = [
  ["a Buffer", () => Buffer.from("abc"), "Uint8Array"],
  ["an empty Buffer", () => Buffer.alloc(0), "Uint8Array"],
  ["a Uint8Array", () => Uint8Array.of(1, 2), "Uint8Array"],
  ["a subclass with a toJSON method", () => Packet.of(1), "Uint8Array"],
  ["a Uint8ClampedArray", () => Uint8ClampedArray.of(1), "Uint8ClampedArray"],
  ["a Float32Array", () => Float32Array.of(1), "Float32Array"],
  ["a BigInt64Array", () => BigInt64Array.of(1n), "BigInt64Array"],
  ["a DataView", () => new DataView(new ArrayBuffer(2)), "DataView"],
  ["an ArrayBuffer", () => new ArrayBuffer(2), "ArrayBuffer"],
  ["a SharedArrayBuffer", () => new SharedArrayBuffer(2), "SharedArrayBuffer"],
  ["a Blob", () => new Blob(["abc"]), "Blob"],
  ["a File", () => new File(["abc"], "a.txt"), "File"],
]

const PLACES: readonly (readonly [string, (bytes: unknown) => unknown, string])[] = [
  ["the whole value", (bytes) => bytes, ""],
  ["a property", (bytes) => ({ size: 3, picture: bytes }), ' at "/picture"'],
  ["an item of a list", (bytes) => [1, bytes], ' at "/1"'],
  ["deep inside", (bytes) => ({ pages: [{ scans: [bytes] }] }), ' at "/pages/0/scans/0"'],
  ["the result of a toJSON method", (bytes) => ({ page: { toJSON: () => bytes } }), ' at "/page"'],
  [
    "a property of an instance",
    (bytes) =>
      new (class Page {
        readonly scan = bytes
      })(),
    ' at "/scan"',
  ],
]

describe.each(BYTES)("%s in a result is refused, with advice", (_name, make, tag) => {
  test.each(PLACES)("as %s", async (_place, wrap, at) => {
    const message = `Not JSON: bytes (${tag})${at}. ${ADVICE}`
    const value = wrap(make())
    expect(() => toJson(value)).toThrow(new TypeError(message))
    const failure = { code: "invalid_tool_result", message: `The tool ran, but its result cannot be used. ${message}` }
    for (const returned of [value, new ToolReply(value, {})]) {
      const { output } = await defineTool({ ...plain, execute: () => returned }).call(call, context)
      expect(output).toMatchObject({ status: "failure", failure })
    }
  })
})

test("a list of numbers, and what a Buffer once was in JSON, are results like any other", () => {
  const value = { numbers: [1, 2, 3], buffer: JSON.parse(JSON.stringify(Buffer.from("a"))) as unknown }
  expect(toJson(value)).toBe(value)
})

describe("a tool's value keeps the order of its keys", () => {
  const value = { zebra: 1, ant: { tail: 1, antenna: [{ tip: 1, base: 2 }] }, Bee: null }
  const orderOf = async (tool: { call: ReturnType<typeof defineTool>["call"] }): Promise<string> =>
    JSON.stringify(((await tool.call(call, context)).output as { readonly value: unknown }).value)

  test("without an output schema", async () => {
    expect(await orderOf(defineTool({ ...plain, execute: () => value }))).toBe(JSON.stringify(value))
    // A value that has to be changed to become JSON.
    expect(await orderOf(defineTool({ ...plain, execute: () => ({ ...value, at: new Date(0), not: undefined }) }))).toBe(
      JSON.stringify({ ...value, at: new Date(0) }),
    )
  })

  test("with an output schema whose keys are in another order", async () => {
    const output = z.object({
      Bee: z.null(),
      ant: z.object({ antenna: z.array(z.object({ base: z.number(), tip: z.number() })), tail: z.number() }),
      zebra: z.number(),
    })
    expect(await orderOf(defineTool({ ...plain, output, execute: () => value }))).toBe(JSON.stringify(value))
  })

  test("while the schema removes, adds and changes keys", async () => {
    const output = z.object({
      first: z.number().default(1),
      b: z.string().overwrite((text) => text.toUpperCase()),
      a: z.record(z.string(), z.number()),
    })
    const returned = { a: { y: 1, x: 2 }, gone: true, b: "text" } as never
    expect(await orderOf(defineTool({ ...plain, output, execute: () => returned }))).toBe('{"a":{"y":1,"x":2},"b":"TEXT","first":1}')
  })

  test("with keys of the prototype", async () => {
    const returned = JSON.parse('{"toString":1,"constructor":{"b":1,"a":2},"b":1}') as unknown
    expect(await orderOf(defineTool({ ...plain, output: z.json(), execute: () => returned as never }))).toBe(JSON.stringify(returned))
  })
})
