import { existsSync, mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { memoryJournalStore } from "turn-machine/hosts"
import { TurnJournal } from "turn-machine/hosts/journal"
import { expect, onTestFinished, test } from "vitest"
import { assistant } from "./assistant.ts"
import { model } from "./model.ts"

test("the file is written once a person approves, by other processes of the assistant and of its servers", { timeout: 120_000 }, async () => {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), "notes-")))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  writeFileSync(join(folder, "prices.md"), "bread 2, wine 40")
  const store = memoryJournalStore()
  const script = model(folder)

  const first = await assistant(script.llmCall, store, folder)
  onTestFinished(first.close)
  const waiting = await first.run("turn-1", "What do bread and wine cost?")
  await first.close()
  expect(waiting).toMatchObject({ type: "suspended", held: [{ toolName: "files__write_file", ask: { risk: "high" } }] })
  expect(existsSync(join(folder, "sum.md"))).toBe(false)

  const [held] = waiting.type === "suspended" ? waiting.held : []
  if (held === undefined) throw new Error("No call is held.")
  const journal = await TurnJournal.open(store, "turn-1")
  await journal.decide([{ requestId: held.requestId, digest: held.digest, decision: "approve", by: "ada" }])
  await journal.close()

  const second = await assistant(script.llmCall, store, folder)
  onTestFinished(second.close)
  const done = await second.run("turn-1", "")
  expect(done).toMatchObject({ type: "done", outcome: { type: "finished" } })
  expect(readFileSync(join(folder, "sum.md"), "utf8")).toBe("42 euros")
  const results = done.messages.flatMap(({ parts }) => parts).flatMap((part) => (part.type === "tool_result" ? [part.text] : []))
  expect(results[0]).toBe("bread 2, wine 40")
  expect(results[1]).toContain("42")
  expect(results).toHaveLength(3)
})
