import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { describe, expect, it } from "vitest"
import { Inbox, newRequestId } from "../../src/cli/goal/control/inbox.ts"
import type { RequestHandler, ResolvedRequest } from "../../src/cli/goal/control/requests.ts"
import { readMicros } from "../../src/cli/goal/goal-settings.ts"
import { money } from "../../src/cli/model/prices.ts"
import { readSeconds } from "../../src/cli/terminal/args.ts"
import { CliError } from "../../src/cli/terminal/errors.ts"
import { seconds } from "../../src/cli/terminal/format.ts"
import { newFolder } from "./harness.ts"

/** Records its calls. Each request resolves to a budget that is ten higher than the one before. */
function testHandler(applied: ResolvedRequest[] = []): RequestHandler & { readonly resolved: string[] } {
  const resolved: string[] = []
  return {
    resolved,
    resolve(request) {
      resolved.push(request.type)
      return request.type === "clear" ? "Not now." : { goal: { type: "resume", tokenBudget: 10 * resolved.length } }
    },
    async apply(request) {
      applied.push(request)
      return { ok: true, message: `Done ${applied.length}.` }
    },
  }
}

/** Above the largest possible process id. */
const DEAD_PID = 2 ** 22 + 1

describe("Inbox", () => {
  it("answers each request in order, and leaves no files", async () => {
    const folder = join(newFolder(), "inbox")
    const inbox = new Inbox(folder)
    const applied: ResolvedRequest[] = []
    const first = await inbox.post({ type: "pause" })
    const second = await inbox.post({ type: "clear" })
    expect(await inbox.waiting()).toBe(2)
    expect(await inbox.answer(first)).toBeUndefined()
    await inbox.process(testHandler(applied))
    expect([await inbox.answer(first), await inbox.answer(second)]).toEqual([
      { ok: true, message: "Done 1." },
      { ok: false, message: "Not now." },
    ])
    expect(readdirSync(folder)).toEqual([])
    expect(applied).toEqual([{ goal: { type: "resume", tokenBudget: 10 } }])
  })

  it("gives requests of one millisecond ids in the order they were made", () => {
    const ids = Array.from({ length: 200 }, newRequestId)
    expect([...ids].sort()).toEqual(ids)
  })

  it("withdraws only a request that was not handled", async () => {
    const inbox = new Inbox(join(newFolder(), "inbox"))
    const id = await inbox.post({ type: "pause" })
    expect([await inbox.withdraw(id), await inbox.withdraw(id)]).toEqual([true, false])
    await inbox.post({ type: "pause" })
    const applied: ResolvedRequest[] = []
    await Promise.all([inbox.process(testHandler(applied)), inbox.process(testHandler(applied))])
    expect(applied).toHaveLength(1)
  })

  it("records a resolved request before applying it, so a repetition after a crash applies the same one", async () => {
    const folder = join(newFolder(), "inbox")
    const inbox = new Inbox(folder)
    await inbox.post({ type: "resume", addTokens: 10 })
    const dying: RequestHandler = { ...testHandler(), apply: () => Promise.reject(new Error("killed")) }
    await expect(inbox.process(dying)).rejects.toThrow("killed")
    const applied: ResolvedRequest[] = []
    const next = testHandler(applied)
    next.resolved.push("another request in between")
    await new Inbox(folder).process(next)
    expect(applied).toEqual([{ goal: { type: "resume", tokenBudget: 10 } }])
    expect(next.resolved).toHaveLength(1)
  })

  it("handles the request of a process that has ended without answering it, and removes old answers", async () => {
    const folder = join(newFolder(), "inbox")
    mkdirSync(folder)
    writeFileSync(join(folder, `000000000000001-${DEAD_PID}-00000000.json`), '{"format":"turn-machine/request","version":1,"order":{"type":"pause"}}')
    writeFileSync(join(folder, `000000000000000-${DEAD_PID}-00000000.answer`), '{"ok":true,"message":"Old."}')
    const applied: ResolvedRequest[] = []
    await new Inbox(folder).process(testHandler(applied))
    expect(applied).toHaveLength(1)
    expect(readdirSync(folder)).toEqual([])
  })

  it.each([
    "",
    "{",
    '{"format":"turn-machine/request","version":2,"order":{"type":"pause"}}',
    '{"format":"turn-machine/request","version":1,"order":{"type":"sing"}}',
  ])("refuses a file that is not a request: %j", async (text) => {
    const folder = join(newFolder(), "inbox")
    mkdirSync(folder)
    const id = `000000000000001-${process.pid}-00000000`
    writeFileSync(join(folder, `${id}.json`), text)
    writeFileSync(join(folder, "notes.txt"), "mine")
    await new Inbox(folder).process(testHandler())
    expect(readFileSync(join(folder, `${id}.answer`), "utf8")).toBe('{"ok":false,"message":"The request was written by another version."}\n')
    expect(readdirSync(folder).sort()).toEqual([`${id}.answer`, "notes.txt"])
  })

  it("ignores folders, whatever their names", async () => {
    const folder = join(newFolder(), "inbox")
    const inbox = new Inbox(folder)
    mkdirSync(join(folder, "000000000000001-1-00000000.json"), { recursive: true })
    mkdirSync(join(folder, `000000000000001-${DEAD_PID}-00000000.answer`))
    const id = await inbox.post({ type: "pause" })
    expect(await inbox.waiting()).toBe(1)
    await inbox.process(testHandler())
    expect(await inbox.answer(id)).toEqual({ ok: true, message: "Done 1." })
  })

  it("names the folder that cannot be used, and the reason", async () => {
    const folder = join(newFolder(), "inbox")
    writeFileSync(folder, "mine")
    const inbox = new Inbox(folder)
    const listed = `The goal's inbox ${folder} cannot be used: a part of its path is not a folder. Fix the cause, or pass another folder with --state.`
    await expect(inbox.waiting()).rejects.toThrow(new CliError(listed, 1))
    await expect(inbox.process(testHandler())).rejects.toThrow(new CliError(listed, 1))
    await expect(inbox.post({ type: "pause" })).rejects.toThrow(
      new CliError(`The goal's inbox ${folder} cannot be used: it exists already. Fix the cause, or pass another folder with --state.`, 1),
    )
    expect(readFileSync(folder, "utf8")).toBe("mine")
  })
})

describe("amounts", () => {
  it("are parsed with their units", () => {
    expect(["90s", "10m", "1h30m", "2d", "5min"].map((text) => readSeconds("--t", text))).toEqual([90, 600, 5400, 172800, 300])
    expect(["0.50", "3", "0.000001"].map((text) => readMicros("--c", text))).toEqual([500000, 3000000, 1])
  })

  it.each(["", "10", "m", "0s", "-1s", "1.5h", "1y", "10 m"])("%j is not a duration", (text) => {
    expect(() => readSeconds("--t", text)).toThrow(/--t takes a duration with a unit/)
  })

  it.each(["", "0", "-1", "1e3", "0.0000001", "1,5"])("%j is not an amount", (text) => {
    expect(() => readMicros("--c", text)).toThrow(/--c takes an amount above 0/)
  })

  it("are formatted", () => {
    expect([0, 59, 60, 65, 600, 3600, 5400, 90000].map(seconds)).toEqual(["0 s", "59 s", "1 min", "1 min 5 s", "10 min", "1 h", "1 h 30 min", "25 h"])
    expect([500000, 12345, 1, 3000000].map(money)).toEqual(["$0.50", "$0.012345", "$0.000001", "$3.00"])
  })
})
