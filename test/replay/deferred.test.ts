import fc from "fast-check"
import { describe, expect, test } from "vitest"
import { journalLineValidation, journalValidation } from "../../src/checks/records.ts"
import { memoryJournalStore } from "../../src/hosts/journal/memory.ts"
import { readTurnJournal } from "../../src/hosts/journal/read-journal.ts"
import { TurnJournal } from "../../src/hosts/journal/turn-journal.ts"
import { isDeferred, recordType, shownOnLine } from "../../src/replay/deferred.ts"
import { Hash } from "../../src/replay/hash.ts"
import { compacted, type Journal, JournalReader, JournalWriter, readJournal } from "../../src/replay/journal.ts"
import { resume } from "../../src/replay/replay.ts"
import { SnapshotLines } from "../../src/replay/snapshot-lines.ts"
import type { JournalRecord } from "../../src/wire/journal.ts"
import { CONFIG, recordTurn } from "./support.ts"

// Two snapshots and more: the later ones have only what was added.
const WHOLE = recordTurn(12, { snapshotEveryRecords: 4 }).text
const LINES = WHOLE.trimEnd().split("\n")

function readDeferring(text: string, mostUnreadChars?: number): Journal {
  const options = { defersRecords: true, ...(mostUnreadChars !== undefined && { mostUnreadChars }) }
  const reader = new JournalReader(journalLineValidation, undefined, options)
  reader.push(text)
  return reader.end()
}

/** What reading everything gives: the entries, or the error. */
function resultOf(read: () => Journal): unknown {
  try {
    const { entries, ...journal } = read()
    return { ...journal, entries: entries.map((entry) => ({ ...entry })) }
  } catch (error) {
    const { code, message, record, intactLength } = error as { code: string; message: string; record: number; intactLength: number }
    return { code, message, record, intactLength }
  }
}

/** The text of a journal whose records were changed, with the checksums that they then have. */
function rewritten(change: (record: JournalRecord, number: number) => object): string {
  const { header, entries } = readJournal(WHOLE)
  const writer = new JournalWriter<object>()
  const snapshots = new SnapshotLines()
  let text = writer.line(header)
  for (const { number, record, fingerprint } of entries) {
    text += writer.line(change(snapshots.short(record), number), fingerprint)
    snapshots.note(record)
  }
  return text
}

async function storeWith(text: string): Promise<ReturnType<typeof memoryJournalStore>> {
  const store = memoryJournalStore()
  const stored = await store.open("t")
  await stored.append(text)
  await stored.close()
  return store
}

test("the journal of these tests has snapshots that continue one before", () => {
  const snapshots = LINES.filter((line) => line.startsWith('{"type":"snapshot"', 12))
  expect(snapshots.length).toBeGreaterThan(2)
  expect(snapshots.slice(1).every((line) => line.endsWith('"continues":true}]'))).toBe(true)
})

describe("a journal whose records are parsed when they are read", () => {
  const torn = fc.nat(WHOLE.length).map((length) => WHOLE.slice(0, length))
  const damaged = fc
    .tuple(fc.nat(WHOLE.length - 1), fc.constantFrom("", "x", "\n", "語"))
    .map(([at, by]) => WHOLE.slice(0, at) + by + WHOLE.slice(at + 1))

  test("is what it is when it is read at once, torn, damaged or compacted", () => {
    const texts = fc.oneof(fc.constant(WHOLE), fc.constant(compacted(readJournal(WHOLE))), torn, damaged)
    fc.assert(
      fc.property(texts, fc.constantFrom(undefined, 0, 500, 5_000), (text, mostUnreadChars) => {
        expect(resultOf(() => readDeferring(text, mostUnreadChars))).toEqual(resultOf(() => readJournal(text, journalValidation)))
      }),
      { numRuns: 400 },
    )
  })

  test("has the first fault that it has when it is read at once, if it has two", () => {
    const last = LINES.length
    for (const bad of [3, last - 2]) {
      const lines = rewritten((record, number) => (number === bad ? { ...record, more: 1 } : record)).split("\n")
      for (const flipped of [bad + 1, last]) {
        const text = lines.map((line, index) => (index === flipped - 1 ? line.replace('"type"', '"typo"') : line)).join("\n")
        for (const mostUnreadChars of [undefined, 0]) {
          const result = resultOf(() => readDeferring(text, mostUnreadChars))
          expect(result).toMatchObject({ code: "invalid_record", record: bad })
          expect(result).toEqual(resultOf(() => readJournal(text, journalValidation)))
        }
      }
    }
  })

  test("parses each snapshot a fixed number of times, however many there are, if all records are read", () => {
    let checked = 0
    const counting = (record: unknown): JournalRecord => {
      checked += 1
      return journalLineValidation(record)
    }
    const reader = new JournalReader(counting, undefined, { defersRecords: true })
    reader.push(recordTurn(60, { snapshotEveryRecords: 2 }).text)
    const { entries } = reader.end()
    const snapshots = entries.filter(({ record }) => record.type === "snapshot")
    expect(snapshots.length).toBeGreaterThan(15)
    // The last snapshot reads those that it continues, and each of these is read once more.
    expect(checked).toBeLessThanOrEqual(entries.length + 1 + snapshots.length)
  })

  test("has parsed the last snapshot and what follows it, and not the answers before", () => {
    const { entries } = readDeferring(WHOLE)
    const last = entries.map(recordType).lastIndexOf("snapshot")
    expect(entries.slice(0, last).filter((entry) => !isDeferred(entry))).toEqual([])
    expect(entries.slice(last).filter(isDeferred)).toEqual([])
    const [first] = entries
    expect(first && isDeferred(first)).toBe(true)
    expect(first?.record.type).toBe("llm_complete")
    expect(first && isDeferred(first)).toBe(false)
    expect(first?.record).toBe(first?.record)
  })

  test("is parsed on the way where much follows the last snapshot", () => {
    // So much is nowhere between two snapshots, but all of it is much more.
    const between = readJournal(WHOLE).entries.flatMap(({ record, end }) => (record.type === "snapshot" ? [end] : []))
    const most = Math.max(...between.map((end, index) => end - (between[index - 1] ?? 0)))
    const kept = readDeferring(WHOLE, most).entries
    expect(kept.slice(0, kept.map(recordType).lastIndexOf("snapshot")).filter((entry) => !isDeferred(entry))).toEqual([])
    const { entries } = readDeferring(WHOLE, 500)
    const last = entries.map(recordType).lastIndexOf("snapshot")
    expect(entries.slice(0, last).filter(isDeferred)).not.toHaveLength(0)
    expect(entries.slice(0, last).filter((entry) => !isDeferred(entry))).not.toHaveLength(0)
    expect(entries.slice(last).filter(isDeferred)).toEqual([])
  })

  test("has parsed the results after a call that continued outside, also before the last snapshot", () => {
    const { header, entries } = readJournal(WHOLE)
    const snapshot = entries.find(({ record }) => record.type === "snapshot")?.record as JournalRecord
    const results: JournalRecord = { type: "tool_results", id: 2, results: [] }
    const pending: JournalRecord = { type: "tool_pending", id: 2, callId: "c0", token: "job-1" }
    const asked: JournalRecord = { type: "checkpoint_delivery", id: 3, delivery: {} }
    const writer = new JournalWriter()
    const reader = new JournalReader(undefined, undefined, { defersRecords: true })
    for (const record of [header, results, pending, results, asked, snapshot]) reader.push(writer.line(record))
    expect(reader.end().entries.map((entry) => `${isDeferred(entry) ? "text" : "read"}: ${recordType(entry)}`)).toEqual([
      "text: tool_results",
      "read: tool_pending",
      "read: tool_results",
      "text: checkpoint_delivery",
      "read: snapshot",
    ])
  })

  test("of an older version has all records migrated", () => {
    // As if the first version had written a delivery of nothing as "none".
    const { header, entries } = readJournal(WHOLE)
    const writer = new JournalWriter<object>()
    const snapshots = new SnapshotLines()
    let old = writer.line({ ...header, version: 1 })
    for (const { record, fingerprint } of entries) {
      old += writer.line(record.type === "checkpoint_delivery" ? { ...record, delivery: "none" } : snapshots.short(record), fingerprint)
      snapshots.note(record)
    }
    const migrations = { 1: (record: Record<string, unknown>) => (record["delivery"] === "none" ? { ...record, delivery: {} } : record) }
    const reader = new JournalReader(journalLineValidation, migrations, { defersRecords: true })
    reader.push(old)
    expect(reader.end().entries.map(({ record }) => record)).toEqual(entries.map(({ record }) => record))
  })

  test("has parsed everything where there is no snapshot", () => {
    const { entries } = readDeferring(recordTurn(3).text)
    expect(entries.filter(isDeferred)).toEqual([])
  })

  test("is resumed without reading what is before its last snapshot", () => {
    for (let lines = 2; lines < LINES.length; lines += 1) {
      const text = `${LINES.slice(0, lines).join("\n")}\n`
      const journal = readDeferring(text)
      const before = journal.entries.filter(isDeferred)
      expect(resume(journal, CONFIG).checkpoint()).toEqual(resume(readJournal(text), CONFIG).checkpoint())
      expect(journal.entries.filter(isDeferred)).toEqual(before)
    }
  })

  test("shows the type of a line and its fingerprint only where they are written as in a journal", () => {
    const line = (rest: string): string => `["01234567",${rest}]`
    const record = '{"type":"llm_complete","id":1}'
    expect(shownOnLine(line(record))).toEqual({ type: "llm_complete", fingerprint: undefined })
    expect(shownOnLine(line(`${record},"0123456789abcdef"`))).toEqual({ type: "llm_complete", fingerprint: "0123456789abcdef" })
    // The last 20 characters of this one are `,"k":"0123456"},"y"]`.
    expect(shownOnLine(line('{"type":"llm_complete","k":"0123456"},"y"'))).toBeUndefined()
    for (const odd of [
      `${record},1`,
      `${record},"0123456789abcde"`,
      `${record},"0123456789abcdef0"`,
      `${record} ,"0123456789abcd\\n"`,
      `${record},"0123456789abcdef" `,
      ` ${record}`,
      '{"id":1,"type":"llm_complete"}',
      '{"kind":"llm_complete","id":1}',
      '{"type":"llm_completed","id":1}',
      '{"type":"opened"}',
      "null",
    ])
      expect(shownOnLine(line(odd)), odd).toBeUndefined()
  })

  test("gives the records that a reader takes, before and after a snapshot", () => {
    const reader = new JournalReader(journalLineValidation, undefined, { defersRecords: true })
    const taken = LINES.flatMap((line) => {
      reader.push(`${line}\n`)
      return reader.take()
    })
    expect(taken).toEqual(readJournal(WHOLE).entries)
    expect(reader.end().entries).toEqual([])
  })

  test("parses a line at once that is not written as a journal is", () => {
    const { header, entries } = readJournal(WHOLE)
    // The type is not the first key, also of snapshots that continue one which was not parsed.
    for (const odd of [(): boolean => true, (number: number): boolean => number % 2 === 0]) {
      const text = rewritten(({ type, ...record }, number) => (odd(number) ? { ...record, type } : { type, ...record }))
      const journal = readDeferring(text, 1_000)
      expect(journal.header).toEqual(header)
      expect(readDeferring(text)).toEqual(journal)
      expect(journal.entries.map(({ record }) => record)).toEqual(entries.map(({ record }) => record))
    }
  })
})

describe("a record before the last snapshot that is not valid", () => {
  const invalid = rewritten((record, number) => (number === 3 ? { ...record, more: 1 } : record))
  const refused = expect.objectContaining({ name: "JournalError", code: "invalid_record", record: 3 })

  test("is refused when it is read, and the turn is resumed without it", async () => {
    const store = await storeWith(invalid)
    const journal = await TurnJournal.open(store, "t")
    const machine = await journal.resume(CONFIG)
    expect(machine.done).toBe(true)
    const entry = journal.recorded?.entries.find(({ number }) => number === 3)
    expect(() => entry?.record).toThrow(refused)
    // As often as it is read.
    expect(() => entry?.record).toThrow(refused)
    await journal.close()
  })

  test("is refused at once where the whole journal is read", async () => {
    await expect(readTurnJournal(await storeWith(invalid), "t")).rejects.toThrow(refused)
  })

  test("after the last snapshot is refused when the journal is opened", async () => {
    const { entries } = readJournal(WHOLE)
    const after = entries.findLast(({ record }) => record.type === "snapshot")?.number ?? 0
    const text = rewritten((record, number) => (number === after + 1 ? { ...record, more: 1 } : record))
    const rejected = expect.objectContaining({ code: "invalid_record", record: after + 1 })
    await expect(TurnJournal.open(await storeWith(text), "t")).rejects.toThrow(rejected)
  })

  test("that is the last snapshot is refused when the journal is opened, however much follows it", () => {
    const snapshots = readJournal(WHOLE).entries.filter(({ record }) => record.type === "snapshot")
    const [last, next] = snapshots.slice(-2).map(({ number }) => number) as [number, number]
    const changed = rewritten((record, number) => (number === last ? { ...record, more: 1 } : record))
    // Without the next one: only answers follow.
    const text = `${changed.split("\n", next - 1).join("\n")}\n`
    for (const mostUnreadChars of [undefined, 0, 1])
      expect(() => readDeferring(text, mostUnreadChars)).toThrow(expect.objectContaining({ code: "invalid_record", record: last }))
  })

  test("that is the only snapshot of a compacted journal leaves nothing whole before it", () => {
    const { header, entries } = readJournal(compacted(readJournal(WHOLE)))
    const writer = new JournalWriter<object>()
    const text = [header, ...entries.map(({ record }) => (record.type === "snapshot" ? { ...record, more: 1 } : record))]
      .map((record) => writer.line(record))
      .join("")
    const refusal = resultOf(() => readDeferring(text))
    expect(refusal).toMatchObject({ code: "invalid_record", intactLength: 0 })
    expect(refusal).toEqual(resultOf(() => readJournal(text, journalValidation)))
  })

  test("is damaged when its checksum does not hold, wherever it is", async () => {
    for (const line of [1, 2, LINES.length - 1]) {
      const text = `${LINES.map((text, index) => (index === line ? text.replace('"type"', '"typo"') : text)).join("\n")}\n`
      const rejected = expect.objectContaining({ code: "damaged_record", record: line + 1 })
      await expect(TurnJournal.open(await storeWith(text), "t")).rejects.toThrow(rejected)
    }
  })

  /** A journal of a header, a record as JSON with the checksum that it has, and a snapshot. */
  function withRecord(record: string): { readonly first: string; readonly text: string } {
    const { header, entries } = readJournal(WHOLE)
    const writer = new JournalWriter()
    const first = writer.line(header)
    const json = `[${record}]`
    const checksum = new Hash().text(0, writer.checksum).text(0, json, 1).short()
    const snapshot = entries.find((entry) => entry.record.type === "snapshot")?.record as JournalRecord
    return { first, text: `${first}["${checksum}",${json.slice(1)}\n${new JournalWriter({ checksum, lastNumber: 2 }).line(snapshot)}` }
  }

  test("is damaged if it is not JSON, as where it is read at once", () => {
    const { first, text } = withRecord('{"type":"llm_complete",oops}')
    const damaged = { code: "damaged_record", record: 2, intactLength: first.length }
    expect(() => readJournal(text, journalValidation)).toThrow(expect.objectContaining(damaged))
    const [entry] = readDeferring(text).entries
    expect(() => entry?.record).toThrow(expect.objectContaining(damaged))
  })

  test("is damaged if it has another type than its line begins with", () => {
    // JSON.parse takes the last of two keys.
    const { first, text } = withRecord('{"type":"llm_complete","type":"opened"}')
    expect(readJournal(text).entries.map(({ record }) => record.type)).toEqual(["opened", "snapshot"])
    const [entry] = readDeferring(text).entries
    expect(() => entry?.record).toThrow(expect.objectContaining({ code: "damaged_record", record: 2, intactLength: first.length }))
  })
})
