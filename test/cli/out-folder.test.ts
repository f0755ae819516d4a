import { existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { describe, expect, it } from "vitest"
import { OutFolder } from "../../src/cli/workspace/out-folder.ts"
import type { ToolError } from "../../src/hosts/host.ts"
import { fill, newFolder } from "./harness.ts"

async function refusalOf(written: Promise<unknown>): Promise<{ readonly code: string; readonly message: string }> {
  const error = (await written.then(
    () => undefined,
    (thrown: unknown) => thrown,
  )) as ToolError
  return { code: error.failure.code, message: error.failure.message }
}

describe("the output folder", () => {
  it("is made when the first file is written, with the folders on the way", async () => {
    const path = join(newFolder(), "new/out")
    expect(await new OutFolder(path).write("a/b/report.md", "héllo")).toEqual({ path: "a/b/report.md", bytes: 6, status: "written" })
    expect(readFileSync(join(path, "a/b/report.md"), "utf8")).toBe("héllo")
    expect(readdirSync(join(path, "a/b"))).toEqual(["report.md"])
  })

  it.runIf(existsSync("/proc/self"))("that cannot be made is told, and not tried for ever", async () => {
    expect(await refusalOf(new OutFolder("/proc/self/new/out").write("a.md", "x"))).toEqual({
      code: "unwritable",
      message: '"a.md" cannot be written: it does not exist.',
    })
  })

  it.each(["..", "../x.md", "a/../../x.md", "/tmp/x.md", "", ".", "a/..", "..\\x.md", "x\0.md"])("writes nothing to the path %j", async (file) => {
    const base = newFolder()
    expect((await refusalOf(new OutFolder(join(base, "out")).write(file, "x"))).code).toBe("outside_folder")
    expect(readdirSync(base)).toEqual([])
  })

  it("writes through no link, be it the file or a folder on the way", async () => {
    const base = fill(newFolder(), { "outside/kept.md": "kept", "out/x": "" })
    const out = join(base, "out")
    symlinkSync(join(base, "outside"), join(out, "linked"))
    symlinkSync(join(base, "outside/kept.md"), join(out, "link.md"))
    const folder = new OutFolder(out, { replaceAny: true })
    expect(await refusalOf(folder.write("linked/new.md", "x"))).toEqual({
      code: "is_a_link",
      message: '"linked" is a link; nothing is written through links.',
    })
    expect((await refusalOf(folder.write("link.md", "x"))).code).toBe("is_a_link")
    expect((await refusalOf(folder.write("x/new.md", "x"))).code).toBe("not_a_folder")
    expect(readdirSync(join(base, "outside"))).toEqual(["kept.md"])
    expect(readFileSync(join(base, "outside/kept.md"), "utf8")).toBe("kept")
  })

  it("writes through no link that somebody laid under the name it writes to first", async () => {
    const base = fill(newFolder(), { "kept.md": "kept", "out/x": "" })
    const link = join(base, `out/.report.md.${process.pid}.turn-machine-tmp`)
    symlinkSync(join(base, "kept.md"), link)
    const folder = new OutFolder(join(base, "out"))
    expect((await refusalOf(folder.write("report.md", "new"))).code).toBe("unwritable")
    expect(readFileSync(join(base, "kept.md"), "utf8")).toBe("kept")
    expect((await folder.write("report.md", "new")).status).toBe("written")
  })

  it("replaces what it wrote, also in another run", async () => {
    const out = join(newFolder(), "out")
    await new OutFolder(out).write("report.md", "first")
    expect((await new OutFolder(out).write("report.md", "first")).status).toBe("unchanged")
    expect((await new OutFolder(out).write("report.md", "second")).status).toBe("written")
    expect(readFileSync(join(out, "report.md"), "utf8")).toBe("second")
  })

  it("keeps what somebody else wrote, and what somebody edited", async () => {
    const base = newFolder()
    const out = join(base, "out")
    fill(base, { "out/mine.md": "mine" })
    const folder = new OutFolder(out)
    expect(await refusalOf(folder.write("mine.md", "x"))).toEqual({
      code: "file_exists",
      message:
        'A file with this name exists that this program did not write, or that was edited: "mine.md". Choose another name, or ask the user to run with --force.',
    })
    expect((await folder.write("mine.md", "mine")).status).toBe("unchanged")
    // That it has the same content does not make it ours.
    expect((await refusalOf(folder.write("mine.md", "x"))).code).toBe("file_exists")

    await folder.write("report.md", "first")
    writeFileSync(join(out, "report.md"), "first, with a remark of mine")
    expect((await refusalOf(folder.write("report.md", "second"))).code).toBe("file_exists")
    expect(readFileSync(join(out, "report.md"), "utf8")).toBe("first, with a remark of mine")

    expect((await new OutFolder(out, { replaceAny: true }).write("report.md", "second")).status).toBe("written")
    expect(readFileSync(join(out, "report.md"), "utf8")).toBe("second")
  })

  it("counts nothing as its own when its notes are damaged", async () => {
    const out = join(newFolder(), "out")
    await new OutFolder(out).write("report.md", "first")
    writeFileSync(join(out, ".turn-machine-files.json"), '{"format":"turn-mach')
    expect((await refusalOf(new OutFolder(out).write("report.md", "second"))).code).toBe("file_exists")
    expect(readFileSync(join(out, "report.md"), "utf8")).toBe("first")
  })

  it("recognises its file when it was killed between noting and writing", async () => {
    const out = join(newFolder(), "out")
    const folder = new OutFolder(out)
    await folder.write("report.md", "first")
    await folder.write("report.md", "second")
    // As if the second writing had only come as far as the notes.
    writeFileSync(join(out, "report.md"), "first")
    expect((await folder.write("report.md", "second")).status).toBe("written")
  })

  it("does not write over its own notes, nor over reserved files", async () => {
    const out = join(newFolder(), "out")
    const folder = new OutFolder(out, { replaceAny: true, reserved: (path) => path === join(out, "state.json") })
    expect((await refusalOf(folder.write(".turn-machine-files.json", "{}"))).code).toBe("outside_folder")
    expect((await refusalOf(folder.write("state.json", "{}"))).code).toBe("outside_folder")
    expect(existsSync(join(out, "state.json"))).toBe(false)
  })

  it("writes one file after the other, so that the last one asked for stands", async () => {
    const out = join(newFolder(), "out")
    const folder = new OutFolder(out)
    const texts = Array.from({ length: 20 }, (_, index) => `text ${index}`)
    await Promise.all(texts.map((text) => folder.write("report.md", text)))
    expect(readFileSync(join(out, "report.md"), "utf8")).toBe("text 19")
  })

  it("removes what a killed writer left behind, and nothing of one that runs", async () => {
    const out = join(newFolder(), "out")
    mkdirSync(out)
    // No process can have the first id: it is beyond the largest there is.
    writeFileSync(join(out, ".report.md.999999999.turn-machine-tmp"), "half")
    writeFileSync(join(out, `.other.md.${process.ppid}.turn-machine-tmp`), "half")
    await new OutFolder(out).write("report.md", "whole")
    expect(readdirSync(out).sort()).toEqual([`.other.md.${process.ppid}.turn-machine-tmp`, ".turn-machine-files.json", "report.md"])
  })
})
