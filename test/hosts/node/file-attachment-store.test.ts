import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { describe, expect, test } from "vitest"
import { AttachmentStoreError } from "../../../src/hosts/attachments/store.ts"
import { fileAttachmentStore } from "../../../src/hosts/node/file-attachment-store.ts"
import { fill, newFolder, until } from "../../cli/harness.ts"
import { bundle, run } from "../harness.ts"

const programs = await bundle({
  /** Stores attachments of growing length, several at once. Prints the id of each when it is stored. */
  stores: `import { fileAttachmentStore } from "../../src/hosts/node/index.ts"
    const store = fileAttachmentStore(process.argv[2])
    const put = async (number) => {
      const { id } = await store.put(new Uint8Array(number * 5000).fill(number), { mediaType: "image/png" })
      await new Promise((resolve) => process.stdout.write(id + "\\n", resolve))
      await put(number + 3)
    }
    await Promise.all([put(1), put(2), put(3)])`,
})

const BYTES = Uint8Array.of(1, 2, 3)
const ID = "039058c6f2c0cb492c533b0a4d14ef77cc0f78abccced5287d84a1a2011cfb81"
const PNG = { mediaType: "image/png", label: "../../label" }

/** What something is refused with: code and message. */
async function refusal(work: Promise<unknown>): Promise<string> {
  return work.then(
    () => "not refused",
    (error: unknown) => (error instanceof AttachmentStoreError ? `${error.code}: ${error.message}` : String(error)),
  )
}

describe("an attachment in a file", () => {
  test("is the whole content of a file with the id as its name, and leaves no other files", async () => {
    const folder = join(newFolder(), "deep/attachments")
    const store = fileAttachmentStore(folder)
    expect(await store.get(ID)).toBeUndefined()
    expect(existsSync(folder)).toBe(false)
    await Promise.all([store.put(BYTES, PNG), store.put(BYTES, { mediaType: "text/plain" }), fileAttachmentStore(folder).put(BYTES, PNG)])
    expect(readdirSync(folder)).toEqual([ID])
    expect(readFileSync(join(folder, ID))).toEqual(Buffer.from(BYTES))
    expect(statSync(join(folder, ID)).mode & 0o777).toBe(0o600)
  })

  test("is not written again", async () => {
    const folder = newFolder()
    const store = fileAttachmentStore(folder)
    await store.put(BYTES, PNG)
    const { ino } = statSync(join(folder, ID))
    await store.put(BYTES, PNG)
    expect(statSync(join(folder, ID)).ino).toBe(ino)
  })

  test.each([
    ["empty", ""],
    ["cut off", "\u0001\u0002"],
    ["changed", "\u0001\u0002\u0004"],
  ])("that was %s from outside is reported as damaged, and repaired when it is stored again", async (_name, content) => {
    const folder = fill(newFolder(), { [ID]: content })
    const store = fileAttachmentStore(folder)
    expect(await refusal(store.get(ID))).toBe(
      `damaged: The file of attachment ${ID} is damaged: its content has another digest. Store the attachment again.`,
    )
    await store.put(BYTES, PNG)
    expect(await store.get(ID)).toEqual(BYTES)
  })

  test("is not read through a link that leads out of the folder", async () => {
    const folder = newFolder()
    const secret = join(fill(newFolder(), { secret: "\u0001\u0002\u0003" }), "secret")
    symlinkSync(secret, join(folder, ID))
    const store = fileAttachmentStore(folder)
    expect(await refusal(store.get(ID))).toBe(
      `unavailable: Attachment ${ID} cannot be read, because it is a link where none is allowed, or its links form a loop.`,
    )
    expect(await refusal(store.put(BYTES, PNG))).toMatch(/^unavailable: Attachment 039058.* cannot be stored, because it is a link/)
    expect(readFileSync(secret, "utf8")).toBe("\u0001\u0002\u0003")
  })

  test("never has a path that its id, label or media type chose", async () => {
    const outer = newFolder()
    const folder = join(outer, "attachments")
    const store = fileAttachmentStore(folder)
    writeFileSync(join(outer, "secret"), "secret")
    await store.put(BYTES, { mediaType: "image/png", label: "../secret" })
    for (const id of ["../secret", join(outer, "secret"), "..", `${ID}/../../secret`, "%2e%2e/secret"]) expect(await store.get(id)).toBeUndefined()
    expect(readdirSync(outer).sort()).toEqual(["attachments", "secret"])
    expect(readFileSync(join(outer, "secret"), "utf8")).toBe("secret")
  })

  test("is unavailable if the folder is a file, or a folder has its name", async () => {
    const folder = fill(newFolder(), { file: "" })
    expect(await refusal(fileAttachmentStore(join(folder, "file")).put(BYTES, PNG))).toMatch(
      /^unavailable: .* cannot be stored, because it exists already\.$/,
    )
    expect(await refusal(fileAttachmentStore(join(folder, "file")).get(ID))).toMatch(/^unavailable: .* because a part of its path is not a folder\.$/)
    mkdirSync(join(folder, ID))
    expect(await refusal(fileAttachmentStore(folder).get(ID))).toMatch(/^unavailable: .* cannot be read, because it is a folder\.$/)
  })

  test("is whole or missing after its process was killed, and there once it was reported as stored", async () => {
    const folder = newFolder()
    const { child, lines, ended } = run(programs.stores, [folder])
    await until(() => lines.length > 8)
    child.kill("SIGKILL")
    await ended
    const store = fileAttachmentStore(folder)
    const ids = readdirSync(folder).filter((name) => /^[0-9a-f]{64}$/.test(name))
    for (const id of ids) expect(await store.get(id)).toBeInstanceOf(Uint8Array)
    expect(ids).toEqual(expect.arrayContaining([...lines]))
  })
})
