import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { describe, expect, it } from "vitest"
import { fileJournalStore } from "../../src/hosts/node/file-journal-store.ts"
import { Thread } from "../../src/hosts/thread/thread.ts"
import { readJournal } from "../../src/replay/journal.ts"
import { LONG_THREAD, longHost, playTurns } from "../support/long-thread.ts"
import { newFolder, runCli } from "./harness.ts"

const MISSING = 'which is in "t.thread" and was not found there'

/** A folder with a thread of three turns, one in which a journal is alone, and one in which the log was changed. */
async function folders(): Promise<{ readonly whole: string; readonly alone: string; readonly changed: string }> {
  const whole = newFolder()
  const store = fileJournalStore(whole, { fsync: "never" })
  const thread = await Thread.open(store, "t", { ...LONG_THREAD, goals: false, snapshotEveryRecords: 2 })
  await playTurns(thread, longHost(true), 3, true)
  await thread.close()
  const [alone, changed] = ["alone", "changed"].map((name) => join(whole, name)) as [string, string]
  for (const folder of [alone, changed]) {
    mkdirSync(folder)
    copyFileSync(join(whole, "t.3"), join(folder, "t.3"))
  }
  writeFileSync(join(changed, "t.thread"), readFileSync(join(whole, "t.thread"), "utf8").replace("quick", "quack"))
  return { whole, alone, changed }
}

describe("the journal of a turn of a thread", () => {
  it("is shown with what it has of the log beside it, or why it has nothing", async () => {
    const { whole, alone, changed } = await folders()
    const shown = await runCli(["journal", "show", "t.3"], { cwd: whole })
    expect(shown).toMatchObject({ exitCode: 0, stderr: "" })
    expect(shown.stdout).toContain("log      t.thread, up to record 9: 9 messages\n")
    expect(shown.stdout).toContain("the turn starts with 9 messages")
    const without = await runCli(["journal", "show", "t.3"], { cwd: alone })
    expect(without).toMatchObject({ exitCode: 0, stderr: "" })
    expect(without.stdout).toContain(`log      t.thread, up to record 9: 9 messages. The turn begins with the history of its thread, ${MISSING}`)
    expect(without.stdout).toContain("the turn ends: finished")
    const other = await runCli(["journal", "show", "t.3"], { cwd: changed })
    expect(other).toMatchObject({ exitCode: 0, stderr: "" })
    expect(other.stdout).toContain("Record 2 of the thread's log is damaged")
  })

  it("is forked with its history, and not without it", async () => {
    const { whole, alone, changed } = await folders()
    expect(await runCli(["journal", "fork", "t.3", "--at", "4", "--out", "forked"], { cwd: whole })).toMatchObject({ exitCode: 0, stderr: "" })
    const { header } = readJournal(readFileSync(join(whole, "forked"), "utf8"))
    expect(header.base).toBeUndefined()
    expect(header.start.messages).toHaveLength(9)
    const refused = await runCli(["journal", "fork", "t.3", "--at", "4", "--out", "forked"], { cwd: alone })
    expect(refused).toMatchObject({ exitCode: 2, stderr: expect.stringContaining(MISSING) })
    const damaged = await runCli(["journal", "fork", "t.3", "--at", "4", "--out", "forked"], { cwd: changed })
    expect(damaged).toMatchObject({ exitCode: 2, stderr: expect.stringMatching(/t\.thread|log/) })
  })

  it("is compared with another one as far as both are known", async () => {
    const { whole, alone } = await folders()
    const whole3 = await runCli(["journal", "diff", "t.2", "t.3"], { cwd: whole })
    expect(whole3.stdout).toContain("/start/messages/5")
    const same = await runCli(["journal", "diff", "t.3", "../t.3"], { cwd: alone })
    expect(same).toMatchObject({ exitCode: 0, stderr: "" })
    expect(same.stdout).toContain(`t.3: The turn begins with the history of its thread, ${MISSING}`)
    expect(same.stdout).toContain("No difference.")
    const other = await runCli(["journal", "diff", "t.3", "../t.2"], { cwd: alone })
    expect(other.exitCode).toBe(1)
    expect(other.stdout).toContain("/base/records")
    expect(other.stdout).not.toContain("/surface")
  })

  it("is compacted, and continues to refer to its log", async () => {
    const { whole } = await folders()
    expect(await runCli(["journal", "compact", "t.3"], { cwd: whole })).toMatchObject({
      exitCode: 0,
      stdout: expect.stringContaining("Dropped 5 records from t.3"),
    })
    const shown = await runCli(["journal", "show", "t.3"], { cwd: whole })
    expect(shown.stdout).toContain("log      t.thread, up to record 9: 9 messages\n")
  })
})
