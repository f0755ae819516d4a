import { closeSync, openSync, statSync, writeSync } from "node:fs"
import { join } from "node:path"
import { expect, test } from "vitest"
import { TurnJournal } from "../../src/hosts/journal/turn-journal.ts"
import { fileJournalStore } from "../../src/hosts/node/file-journal-store.ts"
import { JournalReader, JournalWriter, readJournal } from "../../src/replay/journal.ts"
import type { JournalRecord } from "../../src/wire/journal.ts"
import { newFolder, runCli } from "../cli/harness.ts"
import { CONFIG, recordTurn } from "../replay/support.ts"

/** V8 has no string of more characters. */
const STRING_LIMIT = 2 ** 29 - 24

// Only the deep run has the time and the space for a file of 600 MB.
test.runIf(process.env["TEST_LANE"] === "deep")(
  "a journal that is longer than a string is read, resumed, rewound, shown, forked and compacted",
  async () => {
    const folder = newFolder()
    const path = join(folder, "long.journal")
    const { text } = recordTurn(3, { snapshotEveryRecords: 4 })
    const { header, entries } = readJournal(text)
    const snapshot = entries.findLastIndex(({ record }) => record.type === "snapshot")
    const writer = new JournalWriter()
    const file = openSync(path, "w")
    let size = writeSync(file, writer.line(header))
    let records = 1
    const put = (line: string): void => {
      size += writeSync(file, line)
      records += 1
    }
    for (const { record, fingerprint } of entries.slice(0, snapshot)) put(writer.line(record, fingerprint))
    // Records that change nothing.
    const effect = JSON.stringify(
      readJournal(recordTurn(1, { keepEffects: true }).text).entries.find(({ record }) => record.type === "effect")?.record,
    )
    const long = JSON.parse(effect.replace("Count to three.", "x".repeat(5_000_000))) as JournalRecord
    while (size < 600_000_000) put(writer.line(long))
    for (const { record, fingerprint } of entries.slice(snapshot)) put(writer.line(record, fingerprint))
    closeSync(file)
    expect(size).toBeGreaterThan(STRING_LIMIT)

    const store = fileJournalStore(folder)
    const reader = new JournalReader()
    for await (const part of (await store.read("long.journal")) ?? []) reader.push(part)
    expect(reader.end()).toMatchObject({ length: size, droppedLength: 0 })

    expect(await runCli(["journal", "show", path], { cwd: folder })).toMatchObject({ exitCode: 0, stderr: "" })
    expect(await runCli(["journal", "fork", path, "--at", `${records}`, "--out", join(folder, "fork.journal")], { cwd: folder })).toMatchObject({
      exitCode: 0,
    })
    expect(statSync(join(folder, "fork.journal")).size).toBeGreaterThan(STRING_LIMIT)

    const journal = await TurnJournal.open(store, "fork.journal")
    await journal.rewind(records - 2)
    await journal.resume(CONFIG, { checkEffects: false })
    await journal.close()
    expect(statSync(join(folder, "fork.journal")).size).toBeGreaterThan(STRING_LIMIT)

    expect(await runCli(["journal", "compact", path], { cwd: folder })).toMatchObject({ exitCode: 0 })
    expect(statSync(path).size).toBeLessThan(100_000)
  },
)
