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

describe("OutFolder", () => {
  it("creates the folder and parent folders on the first write", async () => {
    const path = join(newFolder(), "new/out")
    expect(await new OutFolder(path).write("a/b/report.md", "héllo")).toEqual({ path: "a/b/report.md", bytes: 6, status: "written" })
    expect(readFileSync(join(path, "a/b/report.md"), "utf8")).toBe("héllo")
    expect(readdirSync(join(path, "a/b"))).toEqual(["report.md"])
  })

  it.runIf(existsSync("/proc/self"))("reports a folder that cannot be created, and does not retry forever", async () => {
    expect(await refusalOf(new OutFolder("/proc/self/new/out").write("a.md", "x"))).toEqual({
      code: "unwritable",
      message: '"a.md" cannot be written: its folder does not exist and cannot be created.',
    })
  })

  it.each(["..", "../x.md", "a/../../x.md", "/tmp/x.md", "", ".", "a/..", "..\\x.md", "x\0.md"])("writes nothing to the path %j", async (file) => {
    const base = newFolder()
    expect((await refusalOf(new OutFolder(join(base, "out")).write(file, "x"))).code).toBe("outside_folder")
    expect(readdirSync(base)).toEqual([])
  })

  it("does not write through a link, whether the file or a parent folder is one", async () => {
    const base = fill(newFolder(), { "outside/theirs.md": "theirs", "out/x": "" })
    const out = join(base, "out")
    symlinkSync(join(base, "outside"), join(out, "linked"))
    symlinkSync(join(base, "outside/theirs.md"), join(out, "link.md"))
    const folder = new OutFolder(out, { replaceAny: true })
    expect(await refusalOf(folder.write("linked/new.md", "x"))).toEqual({
      code: "is_a_link",
      message: '"linked" is a link; nothing is written through links.',
    })
    expect((await refusalOf(folder.write("link.md", "x"))).code).toBe("is_a_link")
    expect((await refusalOf(folder.write("x/new.md", "x"))).code).toBe("not_a_folder")
    expect(readdirSync(join(base, "outside"))).toEqual(["theirs.md"])
    expect(readFileSync(join(base, "outside/theirs.md"), "utf8")).toBe("theirs")
  })

  it("does not write through a link at the name of its temporary file", async () => {
    const base = fill(newFolder(), { "theirs.md": "theirs", "out/x": "" })
    const link = join(base, `out/.report.md.${process.pid}.turn-machine-tmp`)
    symlinkSync(join(base, "theirs.md"), link)
    const folder = new OutFolder(join(base, "out"))
    expect((await refusalOf(folder.write("report.md", "new"))).code).toBe("unwritable")
    expect(readFileSync(join(base, "theirs.md"), "utf8")).toBe("theirs")
    expect((await folder.write("report.md", "new")).status).toBe("written")
  })

  it("replaces its own files, also in a later run", async () => {
    const out = join(newFolder(), "out")
    await new OutFolder(out).write("report.md", "first")
    expect((await new OutFolder(out).write("report.md", "first")).status).toBe("unchanged")
    expect((await new OutFolder(out).write("report.md", "second")).status).toBe("written")
    expect(readFileSync(join(out, "report.md"), "utf8")).toBe("second")
  })

  it("does not replace files of other authors or edited files", async () => {
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
    // Writing the same content does not claim the file.
    expect((await refusalOf(folder.write("mine.md", "x"))).code).toBe("file_exists")

    await folder.write("report.md", "first")
    writeFileSync(join(out, "report.md"), "first, with an edit by the user")
    expect((await refusalOf(folder.write("report.md", "second"))).code).toBe("file_exists")
    expect(readFileSync(join(out, "report.md"), "utf8")).toBe("first, with an edit by the user")

    expect((await new OutFolder(out, { replaceAny: true }).write("report.md", "second")).status).toBe("written")
    expect(readFileSync(join(out, "report.md"), "utf8")).toBe("second")
  })

  it("treats no file as its own when its list is damaged", async () => {
    const out = join(newFolder(), "out")
    await new OutFolder(out).write("report.md", "first")
    writeFileSync(join(out, ".turn-machine-files.json"), '{"format":"turn-mach')
    expect((await refusalOf(new OutFolder(out).write("report.md", "second"))).code).toBe("file_exists")
    expect(readFileSync(join(out, "report.md"), "utf8")).toBe("first")
  })

  it("recognises its file after a crash between recording and writing", async () => {
    const out = join(newFolder(), "out")
    const folder = new OutFolder(out)
    await folder.write("report.md", "first")
    await folder.write("report.md", "second")
    // As if the second write had stopped after its list was recorded.
    writeFileSync(join(out, "report.md"), "first")
    expect((await folder.write("report.md", "second")).status).toBe("written")
  })

  it("does not overwrite its own list or reserved files", async () => {
    const out = join(newFolder(), "out")
    const folder = new OutFolder(out, { replaceAny: true, reserved: (path) => path === join(out, "state.json") })
    expect((await refusalOf(folder.write(".turn-machine-files.json", "{}"))).code).toBe("outside_folder")
    expect((await refusalOf(folder.write("state.json", "{}"))).code).toBe("outside_folder")
    expect(existsSync(join(out, "state.json"))).toBe(false)
  })

  it("writes one file at a time, so the last call wins", async () => {
    const out = join(newFolder(), "out")
    const folder = new OutFolder(out)
    const texts = Array.from({ length: 20 }, (_, index) => `text ${index}`)
    await Promise.all(texts.map((text) => folder.write("report.md", text)))
    expect(readFileSync(join(out, "report.md"), "utf8")).toBe("text 19")
  })

  it("removes temporary files of a killed writer, and keeps those of a running one", async () => {
    const out = join(newFolder(), "out")
    mkdirSync(out)
    // The first process id is above the largest possible one, so no process has it.
    writeFileSync(join(out, ".report.md.999999999.turn-machine-tmp"), "half")
    writeFileSync(join(out, `.other.md.${process.ppid}.turn-machine-tmp`), "half")
    await new OutFolder(out).write("report.md", "whole")
    expect(readdirSync(out).sort()).toEqual([`.other.md.${process.ppid}.turn-machine-tmp`, ".turn-machine-files.json", "report.md"])
  })
})
