import { linkSync, renameSync, symlinkSync } from "node:fs"
import { join } from "node:path"
import { describe, expect, it } from "vitest"
import { Folder } from "../../src/cli/workspace/folder.ts"
import { OutFolder } from "../../src/cli/workspace/out-folder.ts"
import { fileTools } from "../../src/cli/workspace/tools.ts"
import type { ToolAnswer } from "../../src/hosts/host.ts"
import { toolbox } from "../../src/hosts/tools/toolbox.ts"
import type { Json } from "../../src/json.ts"
import { CONTEXT, fill, newFolder } from "./harness.ts"

type Call = (toolName: string, args: Json) => Promise<ToolAnswer["output"]>

function toolsOf(dir: string, hidden?: (path: string) => boolean): Call {
  const { call } = toolbox(fileTools(new Folder(dir, hidden), new OutFolder(join(dir, "..", "out"))))
  return async (toolName, args) => (await call({ callId: "c", toolName, args }, CONTEXT)).output
}

/** A folder `inside` with a neighbour `outside` that must never be seen. */
function newPair(): { readonly inside: string; readonly outside: string } {
  const base = newFolder()
  fill(base, { "inside/a.txt": "one\ntwo\n", "outside/secret.txt": "SECRET\n", "inside-too/secret.txt": "SECRET\n" })
  return { inside: join(base, "inside"), outside: join(base, "outside") }
}

function failureOf(output: ToolAnswer["output"]): { readonly class: string; readonly code: string; readonly message: string } {
  if (output.status !== "failure") throw new Error(`expected a failure, not ${JSON.stringify(output)}`)
  const { class: kind, code, message } = output.failure
  return { class: kind, code, message }
}

function value<Value>(output: ToolAnswer["output"]): Value {
  if (output.status !== "success") throw new Error(`expected a success, not ${JSON.stringify(output)}`)
  return output.value as Value
}

describe("a path outside the folder", () => {
  it.each([
    "..",
    "../outside/secret.txt",
    "sub/../../outside/secret.txt",
    "sub/../a.txt",
    "..\\outside\\secret.txt",
    "/etc/passwd",
    "/etc/there-is-no-such-file",
    "../inside-too/secret.txt",
  ])("is refused: %s", async (path) => {
    const call = toolsOf(newPair().inside)
    expect(failureOf(await call("read_file", { path }))).toMatchObject({ class: "permission_denied", code: "outside_folder" })
    expect(failureOf(await call("list_files", { folder: path })).code).toBe("outside_folder")
    expect(failureOf(await call("search_text", { texts: ["SECRET"], folder: path })).code).toBe("outside_folder")
  })

  it("is refused through a link to a file or a folder", async () => {
    const { inside, outside } = newPair()
    symlinkSync(join(outside, "secret.txt"), join(inside, "link.txt"))
    symlinkSync(outside, join(inside, "linked"))
    const call = toolsOf(inside)
    expect(failureOf(await call("read_file", { path: "link.txt" }))).toEqual({
      class: "permission_denied",
      code: "outside_folder",
      message: '"link.txt" is a link that leads out of the folder.',
    })
    expect(failureOf(await call("read_file", { path: "linked/secret.txt" })).code).toBe("outside_folder")
    expect(failureOf(await call("list_files", { folder: "linked" })).code).toBe("outside_folder")
    expect(value(await call("search_text", { texts: ["SECRET"] }))).toMatchObject({ totalMatches: 0, filesSearched: 1 })
  })

  it("is refused with a NUL character, or if it is too long", async () => {
    const call = toolsOf(newPair().inside)
    expect(failureOf(await call("read_file", { path: "a.txt\0.png" })).code).toBe("not_found")
    expect(failureOf(await call("read_file", { path: "x".repeat(5_000) })).message).toMatch(/cannot be read: its path is too long\.$/)
  })

  it("is refused in absolute form, without revealing whether it exists", async () => {
    const { inside, outside } = newPair()
    const call = toolsOf(inside)
    for (const path of [join(outside, "secret.txt"), join(outside, "missing.txt"), join(inside, ".."), "/"]) {
      expect(failureOf(await call("read_file", { path })).code).toBe("outside_folder")
      expect(failureOf(await call("list_files", { folder: path })).code).toBe("outside_folder")
    }
  })

  it("is accepted in absolute form if it is inside the folder", async () => {
    const { inside } = newPair()
    expect(value(await toolsOf(inside)("read_file", { path: join(inside, "a.txt") }))).toMatchObject({ text: "one\ntwo" })
  })
})

describe("read_file", () => {
  it("reads through a link whose target is inside", async () => {
    const { inside } = newPair()
    symlinkSync("a.txt", join(inside, "link.txt"))
    expect(value(await toolsOf(inside)("read_file", { path: "link.txt" }))).toMatchObject({ text: "one\ntwo", totalLines: 2 })
  })

  it("reads the requested lines", async () => {
    const dir = fill(newFolder(), { "f.txt": "1\r\n2\n3\r4\n5" })
    const call = toolsOf(dir)
    expect(value(await call("read_file", { path: "f.txt", fromLine: 2, toLine: 4 }))).toEqual({
      path: "f.txt",
      fromLine: 2,
      toLine: 4,
      totalLines: 5,
      text: "2\n3\n4",
    })
    expect(value(await call("read_file", { path: "f.txt", fromLine: 4, toLine: 99 }))).toMatchObject({ toLine: 5, text: "4\n5" })
    expect(value(await call("read_file", { path: "f.txt", fromLine: 9 }))).toEqual({ path: "f.txt", fromLine: 9, toLine: 8, totalLines: 5, text: "" })
  })

  it("describes what it cut", async () => {
    const dir = fill(newFolder(), { "long.txt": "x\n".repeat(1_500), "wide.txt": `${"y".repeat(1_200)}\nshort\n` })
    const call = toolsOf(dir)
    expect(value(await call("read_file", { path: "long.txt" }))).toMatchObject({
      toLine: 1_000,
      totalLines: 1_500,
      cut: "Lines up to 1000 are shown; ask again from line 1001.",
    })
    expect(value(await call("read_file", { path: "wide.txt" }))).toMatchObject({
      text: `${"y".repeat(999)}…\nshort`,
      cut: 'Lines longer than 1000 characters are cut; they end in "…".',
    })
    fill(dir, { "both.txt": `${"z".repeat(899)}\n`.repeat(200) })
    expect(value(await call("read_file", { path: "both.txt" }))).toMatchObject({
      toLine: 71,
      totalLines: 200,
      cut: "Lines up to 71 are shown; ask again from line 72.",
    })
  })

  it("refuses folders, missing files, binary files and files that are too large", async () => {
    const dir = fill(newFolder(), { "sub/f.txt": "", "b.bin": new Uint8Array([65, 0, 66]), "big.txt": "x".repeat(2 * 1024 * 1024 + 1) })
    const call = toolsOf(dir)
    expect(failureOf(await call("read_file", { path: "sub" }))).toMatchObject({ code: "not_a_file", message: '"sub" is not a file.' })
    expect(failureOf(await call("read_file", { path: "no.txt" }))).toMatchObject({
      class: "invalid_request",
      code: "not_found",
      message: '"no.txt" does not exist.',
    })
    expect(failureOf(await call("read_file", { path: "b.bin" })).code).toBe("binary_file")
    expect(failureOf(await call("read_file", { path: "big.txt" }))).toMatchObject({ class: "resource_limit", code: "too_large" })
    expect(failureOf(await call("read_file", { path: 7 })).class).toBe("invalid_request")
  })
})

describe("list_files", () => {
  it("lists in code-point order and skips folders of copies and caches, and links", async () => {
    const dir = fill(newFolder(), {
      "b/c.txt": "12",
      "b.txt": "1",
      "B.txt": "",
      "ä.txt": "",
      "\u{1f600}.txt": "",
      "\uff5e.txt": "",
      "node_modules/x/index.js": "",
      "b/.git/config": "",
      ".env": "KEY=1",
    })
    symlinkSync("b.txt", join(dir, "link.txt"))
    expect(value(await toolsOf(dir)("list_files", {}))).toEqual({
      root: dir.slice(dir.lastIndexOf("/") + 1),
      folder: ".",
      files: [
        { path: ".env", bytes: 5 },
        { path: "B.txt", bytes: 0 },
        { path: "b.txt", bytes: 1 },
        { path: "b/c.txt", bytes: 2 },
        { path: "ä.txt", bytes: 0 },
        { path: "\uff5e.txt", bytes: 0 },
        { path: "\u{1f600}.txt", bytes: 0 },
      ],
      totalFiles: 7,
      totalBytes: 8,
      skippedFolders: ["b/.git", "node_modules"],
      skippedLinks: 1,
      unreadable: 0,
    })
  })

  it("lists a skipped folder on request", async () => {
    const dir = fill(newFolder(), { "node_modules/x/index.js": "" })
    expect(value(await toolsOf(dir)("list_files", { folder: "node_modules" }))).toMatchObject({ files: [{ path: "node_modules/x/index.js" }] })
  })

  it("stops at 20,000 files and reports it", async () => {
    const dir = fill(newFolder(), { f0: "" })
    for (let number = 1; number <= 20_000; number += 1) linkSync(join(dir, "f0"), join(dir, `f${number}`))
    const { totalFiles, cut } = value<{ totalFiles: number; cut: string }>(await toolsOf(dir)("list_files", {}))
    expect(totalFiles).toBe(20_000)
    expect(cut).toMatch(/ The folder has more than 20000 files; only the first 20000 were considered\.$/)
  })

  it("lists the first 1,000 files and reports it", async () => {
    const dir = fill(newFolder(), Object.fromEntries(Array.from({ length: 1_001 }, (_, index) => [`f${index}`, ""])))
    const { files, cut } = value<{ files: unknown[]; cut: string }>(await toolsOf(dir)("list_files", {}))
    expect(files).toHaveLength(1_000)
    expect(cut).toBe("The first 1000 of 1001 files are listed; give a folder to see more of it.")
  })

  it("descends 300 folders, and does not follow a cycle of links", async () => {
    const dir = newFolder()
    const deep = Array.from({ length: 300 }, () => "d").join("/")
    fill(dir, { [`${deep}/f.txt`]: "found" })
    symlinkSync("../..", join(dir, "d/d/loop"))
    expect(value(await toolsOf(dir)("list_files", {}))).toMatchObject({ files: [{ path: `${deep}/f.txt`, bytes: 5 }], skippedLinks: 1 })
  })

  it("omits hidden files and folders", async () => {
    const dir = fill(newFolder(), { "a.txt": "", "out/report.md": "", "state.json": "" })
    const call = toolsOf(dir, (path) => path === join(dir, "out") || path === join(dir, "state.json"))
    expect(value(await call("list_files", {}))).toMatchObject({ files: [{ path: "a.txt", bytes: 0 }], totalFiles: 1 })
  })
})

describe("search_text", () => {
  it("finds lines that contain one of the texts, taken literally", async () => {
    const dir = fill(newFolder(), { "a.txt": "a.b\naxb\nTODOs TODO\ntodo\n", "b.txt": "TODO_LATER\nthe end (TODO)" })
    const call = toolsOf(dir)
    expect(value(await call("search_text", { texts: ["a.b", "(TODO)"] }))).toEqual({
      matches: [
        { path: "a.txt", line: 1, text: "a.b" },
        { path: "b.txt", line: 2, text: "the end (TODO)" },
      ],
      totalMatches: 2,
      filesWithMatches: 2,
      filesSearched: 2,
      skipped: { binary: 0, tooLarge: [], unreadable: 0 },
    })
    const lines = async (args: { [key: string]: Json }): Promise<readonly string[]> =>
      value<{ matches: { path: string; line: number }[] }>(await call("search_text", args)).matches.map(({ path, line }) => `${path}:${line}`)
    expect(await lines({ texts: ["TODO"], wholeWord: true })).toEqual(["a.txt:3", "b.txt:2"])
    expect(await lines({ texts: ["TODO"], ignoreCase: true })).toEqual(["a.txt:3", "a.txt:4", "b.txt:1", "b.txt:2"])
  })

  it("skips binary files and files that are too large, and reports it", async () => {
    const dir = fill(newFolder(), { "b.bin": new Uint8Array([84, 79, 68, 79, 0]), "big.txt": "TODO\n".repeat(500_000), "c.txt": "TODO" })
    expect(value(await toolsOf(dir)("search_text", { texts: ["TODO"] }))).toEqual({
      matches: [{ path: "c.txt", line: 1, text: "TODO" }],
      totalMatches: 1,
      filesWithMatches: 1,
      filesSearched: 1,
      skipped: { binary: 1, tooLarge: ["big.txt"], unreadable: 0 },
      cut: "Files of more than 2097152 bytes were not searched: 1.",
    })
  })

  it("stops at its byte limit and reports it", async () => {
    const dir = fill(newFolder(), { f000: new Uint8Array(2 * 1024 * 1024) })
    for (let number = 1; number <= 130; number += 1) linkSync(join(dir, "f000"), join(dir, `f${String(number).padStart(3, "0")}`))
    expect(value(await toolsOf(dir)("search_text", { texts: ["TODO"] }))).toMatchObject({
      skipped: { binary: 128, tooLarge: [], unreadable: 0 },
      cut: "The search stopped after 268435456 bytes; not searched: 3 files.",
    })
  })

  it("returns 500 lines and counts the rest", async () => {
    const dir = fill(newFolder(), { "f.txt": "TODO\n".repeat(1_234) })
    const { matches, totalMatches, cut } = value<{ matches: unknown[]; totalMatches: number; cut: string }>(
      await toolsOf(dir)("search_text", { texts: ["TODO"] }),
    )
    expect([matches.length, totalMatches, cut]).toEqual([500, 1_234, "The first 500 of 1234 lines are listed."])
  })

  it("cuts a long line to the part around the match, without splitting a surrogate pair", async () => {
    const dir = fill(newFolder(), { "min.js": `${"\u{1f600}".repeat(500)}TODO${"y".repeat(1_000)}` })
    const { matches } = value<{ matches: { text: string }[] }>(await toolsOf(dir)("search_text", { texts: ["TODO"] }))
    expect(matches[0]?.text).toBe(`…${"\u{1f600}".repeat(50)}TODO${"y".repeat(195)}…`)
  })

  it("stops when the turn is cancelled", async () => {
    const dir = fill(newFolder(), { "a.txt": "x" })
    const { call } = toolbox(fileTools(new Folder(dir), new OutFolder(join(dir, "out"))))
    const context = { ...CONTEXT, signal: AbortSignal.abort() }
    expect((await call({ callId: "c", toolName: "search_text", args: { texts: ["x"] } }, context)).output.status).toBe("failure")
  })
})

describe("a walk over a path that cannot be read", () => {
  it("counts it and continues", async () => {
    const base = newFolder()
    const long = (parts: number): string => Array.from({ length: parts }, () => "n".repeat(200)).join("/")
    fill(base, { "dir/a.txt": "TODO", [`dir/${long(9)}/b.txt`]: "TODO", [`rest/${long(12)}/c.txt`]: "TODO" })
    // Joined, the path is longer than the system allows, so only its first half can be read.
    const joined = join(base, "dir", long(9), "rest")
    renameSync(join(base, "rest"), joined)
    try {
      expect(value(await toolsOf(join(base, "dir"))("search_text", { texts: ["TODO"] }))).toMatchObject({
        totalMatches: 2,
        skipped: { unreadable: 1 },
      })
    } finally {
      renameSync(joined, join(base, "rest"))
    }
  })
})
