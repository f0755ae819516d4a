import { execFileSync } from "node:child_process"
import { chmodSync, readFileSync, realpathSync, statSync, symlinkSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { describe, expect, it } from "vitest"
import { EditFolder, type LineChange } from "../../src/cli/workspace/edit-folder.ts"
import { Folder } from "../../src/cli/workspace/folder.ts"
import type { ToolError } from "../../src/hosts/host.ts"
import { fill, newFolder } from "./harness.ts"

function newEdits(files: Readonly<Record<string, string | Uint8Array>>): { readonly base: string; readonly edits: EditFolder } {
  const base = realpathSync(fill(newFolder(), files))
  return { base, edits: new EditFolder(new Folder(base), (path) => path === join(base, "state.json")) }
}

async function codeOf(work: Promise<unknown>): Promise<string> {
  const error = await work.then(
    (value) => expect.unreachable(`It was not refused: ${JSON.stringify(value)}`),
    (thrown: unknown) => thrown as ToolError,
  )
  return error.failure.code
}

const change = (path: string, line: number, oldText: string, newText: string): LineChange => ({ path, line, oldText, newText })

describe("a changed line", () => {
  it.each([
    ["a\nb\nc\n", 2, "a\nX\nc\n"],
    ["a\r\nb\r\nc", 2, "a\r\nX\r\nc"],
    ["a\rb\rc", 2, "a\rX\rc"],
    ["b", 1, "X"],
    ["a\nb", 2, "a\nX"],
    ["\ufeffa\nb\n", 2, "\ufeffa\nX\n"],
  ])("of %j keeps everything else", async (text, line, expected) => {
    const { base, edits } = newEdits({ "f.txt": text })
    expect(await edits.replace(change("f.txt", line, "b", "X"))).toEqual({ path: "f.txt", line, status: "replaced" })
    expect(readFileSync(join(base, "f.txt"), "utf8")).toBe(expected)
  })

  it("keeps the permissions of the file", async () => {
    const { base, edits } = newEdits({ "run.sh": "old\n" })
    chmodSync(join(base, "run.sh"), 0o750)
    await edits.replace(change("run.sh", 1, "old", "new"))
    expect(statSync(join(base, "run.sh")).mode & 0o777).toBe(0o750)
  })

  it("is not changed a second time, also if the new text contains the old one", async () => {
    const { base, edits } = newEdits({ "f.txt": "a\n" })
    await edits.replace(change("f.txt", 1, "a", "aa"))
    expect(await edits.replace(change("f.txt", 1, "a", "aa"))).toMatchObject({ status: "unchanged" })
    expect(readFileSync(join(base, "f.txt"), "utf8")).toBe("aa\n")
  })

  it("may be one of several that change at once", async () => {
    const { base, edits } = newEdits({ "f.txt": "a\nb\nc\n" })
    await Promise.all([1, 2, 3].map((line) => edits.replace(change("f.txt", line, "abc".charAt(line - 1), `${line}`))))
    expect(readFileSync(join(base, "f.txt"), "utf8")).toBe("1\n2\n3\n")
  })
})

describe("nothing is changed", () => {
  it.each([
    ["that is another text", "f.txt", 1, "line_differs"],
    ["that does not exist", "f.txt", 9, "no_such_line"],
    ["after the last line break", "f.txt", 2, "no_such_line"],
    ["of a missing file", "none.txt", 1, "not_found"],
    ["outside of the folder", "../x", 1, "outside_folder"],
    ["at an absolute path", "/etc/passwd", 1, "outside_folder"],
    ["in .git, whose hooks run later", ".git/hooks/pre-commit", 1, "closed_folder"],
    ["in .git of a folder inside", "sub/.GIT/config", 1, "closed_folder"],
    ["of the program's own state", "state.json", 1, "closed_folder"],
    ["of a binary file", "bin", 1, "not_text"],
    ["of a text that is not UTF-8", "latin", 1, "not_text"],
    ["through a link", "link.txt", 1, "is_a_link"],
    ["through a linked folder", "linked/f.txt", 1, "is_a_link"],
  ])("in a line %s", async (_what, path, line, code) => {
    const { base, edits } = newEdits({
      "f.txt": "x\n",
      ".git/hooks/pre-commit": "old\n",
      "sub/.GIT/config": "old\n",
      "state.json": "old\n",
      bin: new Uint8Array([0, 1, 2]),
      latin: new Uint8Array([0x6f, 0x6c, 0x64, 0xe9, 0x0a]),
      "real/f.txt": "old\n",
    })
    symlinkSync(join(base, "f.txt"), join(base, "link.txt"))
    symlinkSync(join(base, "real"), join(base, "linked"))
    const before = execFileSync("tar", ["-cf", "-", "--mtime=@0", "--sort=name", "."], { cwd: base })
    expect(await codeOf(edits.replace(change(path, line, "old", "new")))).toBe(code)
    expect(execFileSync("tar", ["-cf", "-", "--mtime=@0", "--sort=name", "."], { cwd: base }).equals(before)).toBe(true)
  })

  it("if another program changes the file at the same time", async () => {
    const { base } = newEdits({ "f.txt": "old\n" })
    const folder = new Folder(base)
    let reads = 0
    const read = folder.read.bind(folder)
    folder.read = async (path, most) => {
      reads += 1
      if (reads === 2) writeFileSync(join(base, "f.txt"), "old\nof another program\n")
      return read(path, most)
    }
    expect(await codeOf(new EditFolder(folder).replace(change("f.txt", 1, "old", "new")))).toBe("line_differs")
    expect(readFileSync(join(base, "f.txt"), "utf8")).toBe("old\nof another program\n")
  })
})
