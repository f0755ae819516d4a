import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { describe, expect, it } from "vitest"
import { type SavedRun, StateFile } from "../../src/cli/state-file.ts"
import { newFolder } from "./harness.ts"

const RUN: SavedRun = {
  format: "turn-machine/run",
  version: 1,
  task: "t",
  dir: "/d",
  out: "/o",
  model: "embedded",
  maxIterations: 30,
  elapsedMs: 12.5,
  checkpoint: { some: "turn" },
}

function messageOf(claimed: Promise<unknown>): Promise<string> {
  return claimed.then(
    () => "no error",
    (error: Error) => error.message,
  )
}

describe("a state file", () => {
  it("gives back what was saved last", async () => {
    const path = join(newFolder(), "s.json")
    const first = await StateFile.claim(path, false)
    await Promise.all([first.save(RUN), first.save({ ...RUN, elapsedMs: 20 })])
    await first.close()
    const second = await StateFile.claim(path, true)
    expect(second.saved).toEqual({ ...RUN, elapsedMs: 20 })
    await second.close()
    expect(readdirSync(join(path, ".."))).toEqual(["s.json"])
    expect(statSync(path).mode & 0o777).toBe(0o600)
  })

  it("is not taken without --resume if it exists, whatever it holds", async () => {
    const path = join(newFolder(), "s.json")
    writeFileSync(path, "somebody's notes")
    expect(await messageOf(StateFile.claim(path, false))).toBe(
      `The state file ${path} exists already, and nothing was overwritten: add --resume to go on with that run, or give another path.`,
    )
    expect(readFileSync(path, "utf8")).toBe("somebody's notes")
    expect(readdirSync(join(path, ".."))).toEqual(["s.json"])
  })

  it.each([
    ["", "it is not JSON, or was cut off"],
    [JSON.stringify(RUN).slice(0, -9), "it is not JSON, or was cut off"],
    ["null", "it is not the state of a run"],
    ['{"format":"turn-machine/checkpoint"}', "it is not the state of a run"],
    [JSON.stringify({ ...RUN, maxIterations: "30" }), 'at "maxIterations" it does not hold what it should'],
    [JSON.stringify({ ...RUN, more: 1 }), 'it holds "more", which this program does not know'],
  ])("that is damaged is left as it is: %s", async (text, why) => {
    const path = join(newFolder(), "s.json")
    writeFileSync(path, text)
    expect(await messageOf(StateFile.claim(path, true))).toBe(
      `The state file ${path} cannot be resumed: ${why}. It was left as it is; begin anew with another --state path.`,
    )
    expect(readFileSync(path, "utf8")).toBe(text)
    expect(readdirSync(join(path, ".."))).toEqual(["s.json"])
  })

  it("of a later version is refused", async () => {
    const path = join(newFolder(), "s.json")
    writeFileSync(path, JSON.stringify({ ...RUN, version: 2 }))
    expect(await messageOf(StateFile.claim(path, true))).toBe(
      `The state file ${path} has version 2; this program reads version 1. Resume with the program that wrote it.`,
    )
  })

  it("must be a file in a folder that exists", async () => {
    const base = newFolder()
    mkdirSync(join(base, "d"))
    expect(await messageOf(StateFile.claim(join(base, "d"), true))).toMatch(/is no file\. Give the path of a file with --state\.$/)
    expect(await messageOf(StateFile.claim(join(base, "no/s.json"), false))).toMatch(
      /cannot be made in its folder: it does not exist\. Make the folder, or give another path\.$/,
    )
  })

  it("reached by a link is replaced itself, and the link stays", async () => {
    const base = newFolder()
    mkdirSync(join(base, "real"))
    writeFileSync(join(base, "real/s.json"), JSON.stringify(RUN))
    symlinkSync("real/s.json", join(base, "link.json"))
    const state = await StateFile.claim(join(base, "link.json"), true)
    await state.save({ ...RUN, elapsedMs: 99 })
    await state.close()
    expect(JSON.parse(readFileSync(join(base, "real/s.json"), "utf8"))).toMatchObject({ elapsedMs: 99 })
    expect(readdirSync(base).sort()).toEqual(["link.json", "real"])
  })

  it("is let go of when the save under way is through", async () => {
    const path = join(newFolder(), "s.json")
    const state = await StateFile.claim(path, false)
    const saved = state.save(RUN)
    await state.close()
    expect(JSON.parse(readFileSync(path, "utf8"))).toEqual(RUN)
    await saved
  })

  it("saves nothing after it was closed, and holds up whoever waits for that", async () => {
    const path = join(newFolder(), "s.json")
    const state = await StateFile.claim(path, false)
    await state.save(RUN)
    await state.close()
    let settled = false
    void state.save({ ...RUN, elapsedMs: 99 }).finally(() => {
      settled = true
    })
    await new Promise((resolve) => setImmediate(resolve))
    expect(settled).toBe(false)
    expect(JSON.parse(readFileSync(path, "utf8"))).toEqual(RUN)
  })
})

describe("the lock of a state file", () => {
  it("of a process that runs is respected", async () => {
    const path = join(newFolder(), "s.json")
    const state = await StateFile.claim(path, false)
    expect(readFileSync(`${path}.lock`, "utf8")).toMatch(new RegExp(`^${process.pid} `))
    await state.close()

    const stat = `/proc/${process.ppid}/stat`
    const birth = existsSync(stat)
      ? readFileSync(stat, "utf8")
          .replace(/^.*\) /s, "")
          .split(" ")[19]
      : "-"
    writeFileSync(`${path}.lock`, `${process.ppid} ${birth}`)
    expect(await messageOf(StateFile.claim(path, false))).toBe(
      `The state file ${path} is in use by process ${process.ppid}. Wait for it or stop it, or give another path with --state.`,
    )
    expect(existsSync(`${path}.lock`)).toBe(true)
  })

  it.each(["999999999 1", `${process.ppid} 1`, "", "nonsense"])("of a process that is gone is taken over: %j", async (mark) => {
    const path = join(newFolder(), "s.json")
    writeFileSync(`${path}.lock`, mark)
    const state = await StateFile.claim(path, false)
    await state.save(RUN)
    await state.close()
    expect(existsSync(`${path}.lock`)).toBe(false)
  })

  it("that was lost ends the saving, and is left to whoever has it", async () => {
    const path = join(newFolder(), "s.json")
    const state = await StateFile.claim(path, false)
    await state.save(RUN)
    writeFileSync(`${path}.lock`, "999999999 1")
    expect(await messageOf(state.save({ ...RUN, elapsedMs: 99 }))).toBe(`Another process took over the state file ${path}; this one stopped.`)
    expect(JSON.parse(readFileSync(path, "utf8"))).toEqual(RUN)
    await state.close()
    expect(readFileSync(`${path}.lock`, "utf8")).toBe("999999999 1")
  })
})
