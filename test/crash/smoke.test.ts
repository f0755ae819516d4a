import { existsSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { expect, test } from "vitest"
import { readJournal } from "../../src/replay/journal.ts"
import type { JournalRecord } from "../../src/schemas/journal.ts"
import { bundled, folderForAll, linesOf, run, textOf } from "./harness.ts"

// One kill in the middle of a batch of tool calls. processes.test.ts kills at every boundary.

const folder = folderForAll()

test("a process that is killed while its tools run is resumed, and repeats no completed call", async () => {
  const [worker = "", killer = ""] = await bundled(folder, "worker.ts", "kill.ts")
  const [journal, effects] = [join(folder, "turn.journal"), join(folder, "turn.effects")]
  writeFileSync(effects, "")
  const env = { CRASH_EFFECTS: effects }

  const killed = await run(["--import", killer, worker, journal], { ...env, CRASH_AT: "44" })
  expect(killed.exitCode).toBeNull()
  expect([...linesOf(effects)].sort()).toEqual(["a turn-1:2:a", "b turn-1:2:b", "c turn-1:2:c", "d turn-1:2:d", "model turn-1:1"])
  const { entries } = readJournal(textOf(journal))
  expect(entries.map(({ record }) => `${record.type} ${callIdsOf(record)}`).sort()).toEqual([
    "call_started c",
    "call_started d",
    "llm_complete ",
    "tool_results a",
    "tool_results b",
  ])

  const resumed = await run([worker, journal], env)
  expect(resumed).toMatchObject({ exitCode: 0, stderr: "" })
  expect(existsSync(`${journal}.lock`)).toBe(false)
  const lines = linesOf(effects)
  const completed = ["model turn-1:1", "a turn-1:2:a", "b turn-1:2:b"]
  for (const step of [...completed, "checkpoint turn-1:3", "model turn-1:4", "e turn-1:5:e", "model turn-1:7", "checkpoint turn-1:8"])
    expect(
      lines.filter((line) => line === step),
      step,
    ).toHaveLength(1)
  for (const once of ["c turn-1:2:c", "d turn-1:2:d"]) expect(lines.filter((line) => line === once).length, once).toBeLessThanOrEqual(1)
})

/** The calls that a record is about. */
function callIdsOf(record: JournalRecord): string {
  if (record.type === "call_started") return record.callId ?? ""
  return record.type === "tool_results" ? record.results.map(({ callId }) => callId).join() : ""
}
