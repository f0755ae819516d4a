import { createHash } from "node:crypto"
import * as fc from "fast-check"
import { describe, expect, test } from "vitest"
import { memoryAttachmentStore } from "../../../src/hosts/attachments/memory.ts"
import { type AttachmentInfo, type AttachmentStore, dataUrl } from "../../../src/hosts/attachments/store.ts"
import { fileAttachmentStore } from "../../../src/hosts/node/file-attachment-store.ts"
import { newFolder } from "../../cli/harness.ts"

/** Makes the means to open a store of a kind: two stores that are opened of the same means hold the same attachments. */
interface Kind {
  readonly name: string
  readonly make: () => () => AttachmentStore
}

const KINDS: readonly Kind[] = [
  {
    name: "memory",
    make: () => {
      const store = memoryAttachmentStore()
      return () => store
    },
  },
  {
    name: "files",
    make: () => {
      const folder = `${newFolder()}/attachments`
      return () => fileAttachmentStore(folder)
    },
  },
]

const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex")
const PNG = { mediaType: "image/png" }

describe.each(KINDS)("attachments in $name", ({ make }) => {
  test("are named by the digest of their bytes, and returned as they were stored", async () => {
    const open = make()
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 2_000 }), async (bytes) => {
        const ref = await open().put(bytes, PNG)
        expect(ref).toStrictEqual({ id: sha256(bytes), mediaType: "image/png", byteLength: bytes.length })
        expect(await open().get(ref.id)).toStrictEqual(Uint8Array.from(bytes))
      }),
      { numRuns: 30 },
    )
  })

  test("have the media type and the label that they are stored with, each time", async () => {
    const store = make()()
    const bytes = Uint8Array.of(1)
    const picture = await store.put(bytes, { mediaType: "image/png", label: "A dot" })
    const data = await store.put(bytes, { mediaType: "application/octet-stream" })
    expect(picture).toMatchObject({ mediaType: "image/png", label: "A dot" })
    expect(data).toStrictEqual({ id: picture.id, mediaType: "application/octet-stream", byteLength: 1 })
  })

  test("may be large, and stored many times at once", async () => {
    const open = make()
    const bytes = new Uint8Array(3_000_000).map((_, index) => index % 251)
    const refs = await Promise.all(Array.from({ length: 5 }, () => open().put(bytes, PNG)))
    expect(new Set(refs.map(({ id }) => id))).toEqual(new Set([sha256(bytes)]))
    expect(Buffer.compare((await open().get(sha256(bytes))) ?? new Uint8Array(), bytes)).toBe(0)
  })

  test("are copies: neither the caller's bytes nor the returned ones are the store's", async () => {
    const open = make()
    const bytes = Uint8Array.of(1, 2, 3)
    const stored = open().put(bytes, PNG)
    bytes.fill(9)
    const { id } = await stored
    expect(id).toBe(sha256(Uint8Array.of(1, 2, 3)))
    ;(await open().get(id))?.fill(7)
    expect(await open().get(id)).toEqual(Uint8Array.of(1, 2, 3))
  })

  test.each<readonly [string, Uint8Array]>([
    ["a Buffer", Buffer.from([2, 3])],
    ["a part of a larger buffer", Uint8Array.of(1, 2, 3, 4).subarray(1, 3)],
    ["shared memory", new Uint8Array(new SharedArrayBuffer(2)).fill(2).map((value, index) => value + index)],
    ["another view of bytes", new DataView(Uint8Array.of(1, 2, 3).buffer, 1) as never],
  ])("may be given as %s", async (_name, bytes) => {
    const store = make()()
    const { id } = await store.put(bytes, PNG)
    const stored = await store.get(id)
    expect(stored).toStrictEqual(Uint8Array.of(2, 3))
  })

  test.each<readonly [string, unknown, unknown]>([
    ["a text instead of bytes", "abc", PNG],
    ["a list of numbers", [1, 2], PNG],
    ["no bytes", undefined, PNG],
    ["no media type", Uint8Array.of(1), {}],
    ["an empty media type", Uint8Array.of(1), { mediaType: "" }],
    ["half a media type", Uint8Array.of(1), { mediaType: "png" }],
    ["a media type that would end a URL's header", Uint8Array.of(1), { mediaType: "image/png;base64,AAAA" }],
    ["a media type of two lines", Uint8Array.of(1), { mediaType: "image/png\nx: y" }],
    ["a label that is not a text", Uint8Array.of(1), { mediaType: "image/png", label: 7 }],
  ])("are refused: %s", async (_name, bytes, info) => {
    await expect(make()().put(bytes as Uint8Array, info as AttachmentInfo)).rejects.toThrow(TypeError)
  })

  test.each(["text/plain", "image/svg+xml", "application/vnd.oasis.opendocument.text", "text/plain; charset=utf-8", "text/plain;charset=utf-8"])(
    "may have the media type %s",
    async (mediaType) => {
      expect(await make()().put(Uint8Array.of(1), { mediaType })).toMatchObject({ mediaType })
    },
  )

  test.each([
    "",
    ".",
    "..",
    "../secret",
    "/etc/passwd",
    "a".repeat(64),
    "A".repeat(64),
    `${"a".repeat(64)}/../../secret`,
    `${"a".repeat(64)}\n`,
    `${"a".repeat(63)}\0`,
    "__proto__",
    "constructor",
    "x".repeat(100_000),
  ])("that were never stored do not exist, as %j", async (id) => {
    const store = make()()
    await store.put(Uint8Array.of(1), PNG)
    expect(await store.get(id)).toBeUndefined()
  })

  test.each([[null], [undefined], [7], [["a".repeat(64)]], [{ toString: () => "a".repeat(64) }]])(
    "do not exist for an id that is not a text: %j",
    async (id) => {
      expect(await make()().get(id as never)).toBeUndefined()
    },
  )

  test("become data: URLs", async () => {
    const store = make()()
    const urlOf = async (bytes: Uint8Array, mediaType: string) => dataUrl(store, await store.put(bytes, { mediaType }))
    expect(await urlOf(Uint8Array.of(), "image/png")).toBe("data:image/png;base64,")
    expect(await urlOf(Buffer.from("Ünïcödé"), "text/plain; charset=utf-8")).toBe("data:text/plain;charset=utf-8;base64,w5xuw69jw7Zkw6k=")
    const large = new Uint8Array(100_001).map((_, index) => index % 256)
    expect(await urlOf(large, "image/png")).toBe(`data:image/png;base64,${Buffer.from(large).toString("base64")}`)
  })

  test("become data: URLs with a safe media type, whatever the reference says", async () => {
    const store = make()()
    const ref = await store.put(Uint8Array.of(1), PNG)
    expect(await dataUrl(store, { ...ref, mediaType: "text/html,<script>" })).toBe("data:application/octet-stream;base64,AQ==")
    expect(await dataUrl(store, { ...ref, id: "../secret" })).toBeUndefined()
  })
})
