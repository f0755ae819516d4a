import { execFileSync } from "node:child_process"
import { existsSync, readdirSync, readFileSync, renameSync, symlinkSync, unlinkSync } from "node:fs"
import { join } from "node:path"
import { beforeEach, describe, expect, it, vi } from "vitest"
import { Folder } from "../../src/cli/workspace/folder.ts"
import { OutFolder } from "../../src/cli/workspace/out-folder.ts"
import type { ToolError } from "../../src/hosts/host.ts"
import { fill, newFolder } from "./harness.ts"

/** What another process does directly before or after a file is opened or a folder is read. */
const interference: { before?: (path: string) => void; after?: (path: string) => void } = {}

vi.mock("node:fs/promises", async (importOriginal) => {
  const real = await importOriginal<typeof import("node:fs/promises")>()
  const raced =
    <Args extends readonly unknown[], Value>(work: (...args: Args) => Promise<Value>) =>
    async (...args: Args): Promise<Value> => {
      interference.before?.(String(args[0]))
      const value = await work(...args)
      interference.after?.(String(args[0]))
      return value
    }
  return { ...real, open: raced(real.open), opendir: raced(real.opendir) }
})

async function refusalOf(work: Promise<unknown>): Promise<string> {
  const error = await work.then(
    (value) => expect.unreachable(`It was not refused: ${String(value)}`),
    (thrown: unknown) => thrown as ToolError,
  )
  return error.failure.code
}

describe("a folder that a link replaces during an operation", () => {
  let base = ""
  const swap = (path: string, target: string): void => {
    renameSync(path, `${path}.away`)
    symlinkSync(target, path)
  }
  const swapBack = (path: string): void => {
    unlinkSync(path)
    renameSync(`${path}.away`, path)
  }

  beforeEach(() => {
    delete interference.before
    delete interference.after
    base = fill(newFolder(), { "in/d/a.txt": "ours", "outside/a.txt": "SECRET", "outside/b.txt": "SECRET" })
  })

  it("is not read through", async () => {
    const d = join(base, "in/d")
    interference.before = (path) => {
      if (path === join(d, "a.txt") && !existsSync(`${d}.away`)) swap(d, join(base, "outside"))
    }
    expect(await refusalOf(new Folder(join(base, "in")).read("d/a.txt", 100))).toBe("outside_folder")
  })

  it("is not read through, even if it is restored immediately", async () => {
    const d = join(base, "in/d")
    interference.before = (path) => {
      if (path === join(d, "a.txt")) swap(d, join(base, "outside"))
    }
    interference.after = (path) => {
      if (path === join(d, "a.txt")) swapBack(d)
    }
    expect(await refusalOf(new Folder(join(base, "in")).read("d/a.txt", 100))).toBe("outside_folder")
  })

  it("is not listed", async () => {
    const d = join(base, "in/d")
    interference.before = (path) => {
      if (path === d && !existsSync(`${d}.away`)) swap(d, join(base, "outside"))
    }
    expect(await new Folder(join(base, "in")).walk(".")).toMatchObject({ files: [], unreadable: 1 })
  })

  it("is not written through", async () => {
    const out = join(base, "out")
    const d = join(out, "d")
    const folder = new OutFolder(out, { replaceAny: true })
    await folder.write("d/first.md", "first")
    interference.before = (path) => {
      if (path.endsWith(".turn-machine-tmp") && path.startsWith(`${d}/`)) swap(d, join(base, "outside"))
    }
    expect(await refusalOf(folder.write("d/a.txt", "new"))).toBe("outside_folder")
    expect(readdirSync(join(base, "outside")).sort()).toEqual(["a.txt", "b.txt"])
    expect(readFileSync(join(base, "outside/a.txt"), "utf8")).toBe("SECRET")
  })
})

it("reading a pipe does not wait for a writer", async () => {
  const base = fill(newFolder(), { "a.txt": "" })
  execFileSync("mkfifo", [join(base, "pipe")])
  expect(await refusalOf(new Folder(base).read("pipe", 100))).toBe("not_a_file")
})
