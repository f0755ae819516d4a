import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { describe, expect, it } from "vitest"
import { readMicros, readPrice, readSeconds } from "../../src/cli/goal/amounts.ts"
import { Inbox } from "../../src/cli/goal/inbox.ts"
import type { Office, Settled } from "../../src/cli/goal/orders.ts"
import { money, seconds } from "../../src/cli/goal/words.ts"
import { CliError } from "../../src/cli/terminal/errors.ts"
import { newFolder } from "./harness.ts"

/** Notes what it is asked; orders settle to a budget that grows by ten with each. */
function office(performed: Settled[] = []): Office & { readonly settled: string[] } {
  const settled: string[] = []
  return {
    settled,
    settle(order) {
      settled.push(order.type)
      return order.type === "clear" ? "Not now." : { goal: { type: "resume", tokenBudget: 10 * settled.length } }
    },
    async perform(what) {
      performed.push(what)
      return { ok: true, message: `Done ${performed.length}.` }
    },
  }
}

const nobody = 2 ** 22 + 1

describe("an inbox", () => {
  it("gives each request an answer, in order, and leaves nothing behind", async () => {
    const folder = join(newFolder(), "inbox")
    const inbox = new Inbox(folder)
    const performed: Settled[] = []
    const first = await inbox.post({ type: "pause" })
    const second = await inbox.post({ type: "clear" })
    expect(await inbox.waiting()).toBe(2)
    expect(await inbox.answer(first)).toBeUndefined()
    await inbox.take(office(performed))
    expect([await inbox.answer(first), await inbox.answer(second)]).toEqual([
      { ok: true, message: "Done 1." },
      { ok: false, message: "Not now." },
    ])
    expect(readdirSync(folder)).toEqual([])
    expect(performed).toEqual([{ goal: { type: "resume", tokenBudget: 10 } }])
  })

  it("gives a request back that nobody took, and no other", async () => {
    const inbox = new Inbox(join(newFolder(), "inbox"))
    const id = await inbox.post({ type: "pause" })
    expect([await inbox.withdraw(id), await inbox.withdraw(id)]).toEqual([true, false])
    await inbox.post({ type: "pause" })
    const performed: Settled[] = []
    await Promise.all([inbox.take(office(performed)), inbox.take(office(performed))])
    expect(performed).toHaveLength(1)
  })

  it("keeps what an order came to before it does it: done again after a crash, it is the same", async () => {
    const folder = join(newFolder(), "inbox")
    const inbox = new Inbox(folder)
    await inbox.post({ type: "resume", addTokens: 10 })
    const dying: Office = { ...office(), perform: () => Promise.reject(new Error("killed")) }
    await expect(inbox.take(dying)).rejects.toThrow("killed")
    const performed: Settled[] = []
    const next = office(performed)
    next.settled.push("something else in between")
    await new Inbox(folder).take(next)
    expect(performed).toEqual([{ goal: { type: "resume", tokenBudget: 10 } }])
    expect(next.settled).toHaveLength(1)
  })

  it("of a process that is gone takes the request, and writes no answer; an old one is swept away", async () => {
    const folder = join(newFolder(), "inbox")
    mkdirSync(folder)
    writeFileSync(join(folder, `000000000000001-${nobody}-00000000.json`), '{"format":"turn-machine/request","version":1,"order":{"type":"pause"}}')
    writeFileSync(join(folder, `000000000000000-${nobody}-00000000.answer`), '{"ok":true,"message":"Old."}')
    const performed: Settled[] = []
    await new Inbox(folder).take(office(performed))
    expect(performed).toHaveLength(1)
    expect(readdirSync(folder)).toEqual([])
  })

  it.each([
    "",
    "{",
    '{"format":"turn-machine/request","version":2,"order":{"type":"pause"}}',
    '{"format":"turn-machine/request","version":1,"order":{"type":"sing"}}',
  ])("refuses what is no request: %j", async (text) => {
    const folder = join(newFolder(), "inbox")
    mkdirSync(folder)
    const id = `000000000000001-${process.pid}-00000000`
    writeFileSync(join(folder, `${id}.json`), text)
    writeFileSync(join(folder, "notes.txt"), "mine")
    await new Inbox(folder).take(office())
    expect(readFileSync(join(folder, `${id}.answer`), "utf8")).toBe('{"ok":false,"message":"The request is not of this version."}\n')
    expect(readdirSync(folder).sort()).toEqual([`${id}.answer`, "notes.txt"])
  })

  it("passes by what is no file, under whichever name", async () => {
    const folder = join(newFolder(), "inbox")
    const inbox = new Inbox(folder)
    mkdirSync(join(folder, "000000000000001-1-00000000.json"), { recursive: true })
    mkdirSync(join(folder, `000000000000001-${nobody}-00000000.answer`))
    const id = await inbox.post({ type: "pause" })
    expect(await inbox.waiting()).toBe(1)
    await inbox.take(office())
    expect(await inbox.answer(id)).toEqual({ ok: true, message: "Done 1." })
  })

  it("says which folder cannot be used, and why", async () => {
    const folder = join(newFolder(), "inbox")
    writeFileSync(folder, "mine")
    const inbox = new Inbox(folder)
    const listed = `The goal's inbox ${folder} cannot be used: a part of its path is not a folder. Mend that, or give another folder with --state.`
    await expect(inbox.waiting()).rejects.toThrow(new CliError(listed, 1))
    await expect(inbox.take(office())).rejects.toThrow(new CliError(listed, 1))
    await expect(inbox.post({ type: "pause" })).rejects.toThrow(
      new CliError(`The goal's inbox ${folder} cannot be used: it exists already. Mend that, or give another folder with --state.`, 1),
    )
    expect(readFileSync(folder, "utf8")).toBe("mine")
  })
})

describe("amounts", () => {
  it("are read with their units", () => {
    expect(["90s", "10m", "1h30m", "2d", "5min"].map((text) => readSeconds("--t", text))).toEqual([90, 600, 5400, 172800, 300])
    expect(["0.50", "3", "0.000001"].map((text) => readMicros("--c", text))).toEqual([500000, 3000000, 1])
    expect(["0", "1.25"].map((text) => readPrice("--p", text))).toEqual([0, 1.25])
  })

  it.each(["", "10", "m", "0s", "-1s", "1.5h", "1y", "10 m"])("a time is not %j", (text) => {
    expect(() => readSeconds("--t", text)).toThrow(/--t takes a time with its unit/)
  })

  it.each(["", "0", "-1", "1e3", "0.0000001", "1,5"])("a sum is not %j", (text) => {
    expect(() => readMicros("--c", text)).toThrow(/--c takes an amount above 0/)
  })

  it("are shown in short", () => {
    expect([0, 59, 60, 65, 600, 3600, 5400, 90000].map(seconds)).toEqual(["0 s", "59 s", "1 min", "1 min 5 s", "10 min", "1 h", "1 h 30 min", "25 h"])
    expect([500000, 12345, 1, 3000000].map(money)).toEqual(["0.50", "0.012345", "0.000001", "3.00"])
  })
})
