import { describe, expect, test } from "vitest"
import { journalValidation } from "../../src/checks/records.ts"
import { JournalError } from "../../src/errors.ts"
import { compacted, type Journal, type JournalMigrations, JournalWriter, journalLines, readJournal } from "../../src/replay/journal.ts"
import { Recorder } from "../../src/replay/recorder.ts"
import { SnapshotLines } from "../../src/replay/snapshot-lines.ts"
import type { JournalRecord } from "../../src/schemas/journal.ts"
import { CONFIG, recordTurn } from "./support.ts"

const { text } = recordTurn(2, { snapshotEveryRecords: 4 })
const lines = text.split("\n").slice(0, -1)

function failureOf(journal: string): JournalError {
  try {
    readJournal(journal)
  } catch (error) {
    if (error instanceof JournalError) return error
    throw error
  }
  throw new Error("The journal was read")
}

test("a journal is read as it was written", () => {
  const journal = readJournal(text)
  expect(journal.header).toMatchObject({ type: "header", turnId: "turn-1", driver: { name: "chat", version: 1 } })
  expect(journal.entries.map(({ number, record }) => `${number} ${record.type}`)).toEqual([
    "2 llm_complete",
    "3 tool_results",
    "4 checkpoint_delivery",
    "5 snapshot",
    "6 llm_complete",
    "7 tool_results",
    "8 checkpoint_delivery",
    "9 llm_complete",
    "10 snapshot",
    "11 checkpoint_delivery",
    "12 end",
  ])
  expect(journal).toMatchObject({ length: text.length, droppedLength: 0 })
})

test("a writer continues a journal at its end", () => {
  const half = `${lines.slice(0, 3).join("\n")}\n`
  const writer = new JournalWriter(readJournal(half))
  const record = { type: "end", outcome: { type: "stopped", stop: { type: "cancelled" } } } as const
  expect(readJournal(half + writer.line(record)).entries.at(-1)?.record).toEqual(record)
})

const small = recordTurn(1, { snapshotEveryRecords: 3 }).text

test("every truncation leaves the whole lines and reports the dropped length", () => {
  const ends = new Set<number>()
  for (let position = small.indexOf("\n"); position >= 0; position = small.indexOf("\n", position + 1)) ends.add(position + 1)
  for (let length = small.indexOf("\n"); length <= small.length; length += 1) {
    const cut = small.slice(0, length)
    const whole = Math.max(0, ...[...ends].filter((end) => end <= length))
    if (whole === 0) expect(failureOf(cut).code).toBe("not_a_journal")
    else expect(readJournal(cut)).toMatchObject({ length: whole, droppedLength: length - whole })
  }
})

test("every changed bit of a file is detected, or makes the last line an unfinished one, for all types of records", () => {
  const writer = new JournalWriter()
  const { header, entries } = readJournal(small)
  const others: readonly JournalRecord[] = [
    { type: "opened", at: 5 },
    { type: "call_started", effectId: 2, callId: "ü\u2028" },
    { type: "interruption", effectId: 2, interruption: { type: "cancel", reason: "enough" } },
  ]
  let mixed = writer.line(header)
  for (const { record, fingerprint } of [
    ...entries.slice(0, 3),
    ...others.map((record) => ({ record, fingerprint: undefined })),
    ...entries.slice(-1),
  ])
    mixed += writer.line(record, fingerprint)
  expect(readJournal(mixed, journalValidation).entries.map(({ record }) => record.type)).toEqual([
    "llm_complete",
    "tool_results",
    "snapshot",
    "opened",
    "call_started",
    "interruption",
    "end",
  ])

  const bytes = Buffer.from(mixed)
  const wrong: string[] = []
  for (let position = 0; position < bytes.length; position += 1) {
    for (let bit = 1; bit < 256; bit *= 2) {
      const changed = Buffer.from(bytes)
      changed[position] = (bytes[position] ?? 0) ^ bit
      try {
        const { entries: read, droppedLength } = readJournal(changed.toString("utf8"))
        if (position === bytes.length - 1 && read.length === 6 && droppedLength > 0) continue
        wrong.push(`bit ${bit} of byte ${position}`)
      } catch (error) {
        if (!(error instanceof JournalError)) wrong.push(`bit ${bit} of byte ${position}: ${error}`)
      }
    }
  }
  expect(wrong).toEqual([])
})

test("a compacted journal cut off in its snapshot, or before, is damaged: otherwise the turn would start over", () => {
  const whole = compacted(readJournal(text))
  const snapshotEnd = whole.indexOf("\n", whole.indexOf("\n") + 1) + 1
  for (let length = whole.indexOf("\n") + 1; length < snapshotEnd; length += 1)
    expect(failureOf(whole.slice(0, length))).toMatchObject({ code: "damaged_record", record: 10, intactLength: 0 })
  expect(readJournal(whole.slice(0, snapshotEnd)).entries).toMatchObject([{ number: 10, record: { type: "snapshot" } }])
  // The same with a changed byte in the snapshot.
  expect(failureOf(whole.replace('"unpolled"', '"unpolleD"'))).toMatchObject({ code: "damaged_record", record: 10, intactLength: 0 })
})

test("every changed character is detected at its record, or makes the last line an unfinished one", () => {
  let record = 1
  for (let position = 0; position < small.length; position += 1) {
    const changed = `${small.slice(0, position)}${small.charAt(position) === "x" ? "y" : "x"}${small.slice(position + 1)}`
    if (position === small.length - 1) {
      expect(readJournal(changed).entries).toHaveLength(small.split("\n").length - 3)
      continue
    }
    const error = failureOf(changed)
    if (record === 1) expect(["damaged_record", "not_a_journal", "unsupported_version"]).toContain(error.code)
    else expect(`${error.code} ${error.record}`).toBe(`damaged_record ${record}`)
    expect(readJournal(small.slice(0, error.intactLength) || small).droppedLength).toBe(0)
    if (small.charAt(position) === "\n") record += 1
  }
})

test.each([
  ["a missing record", [0, 1, 3], 3],
  ["two lines in the wrong order", [0, 2, 1], 2],
  ["one twice", [0, 1, 1], 3],
])("%s is detected", (_what, order, record) => {
  const journal = order.map((index) => `${lines[index]}\n`).join("")
  expect(failureOf(journal)).toMatchObject({ code: "damaged_record", record })
})

test("records of another journal do not follow this one's header", () => {
  const other = recordTurn(3, {}, { ...CONFIG, model: "another" }).text.split("\n")
  expect(failureOf([lines[0], ...other.slice(1)].join("\n"))).toMatchObject({ code: "damaged_record", record: 2 })
})

test.each([
  ["nothing at all", ""],
  ["some other text", "hello\nworld\n"],
  ["JSON lines of another kind", '{"a":1}\n'],
])("%s is not a journal, or a damaged one", (_what, other) => {
  expect(["not_a_journal", "damaged_record"]).toContain(failureOf(other).code)
})

test("a journal of another version is refused as unsupported, another format as not a journal", () => {
  const header = readJournal(text).header
  const of = (changed: object): string => new JournalWriter().line({ ...header, ...changed } as never)
  expect(failureOf(of({ version: 3 }))).toMatchObject({
    code: "unsupported_version",
    record: 1,
    intactLength: 0,
    message: "The journal has version 3; this package reads version 2. Update turn-machine.",
  })
  const older = "The journal has version 1; this package reads version 2. Use the release that wrote it."
  expect(failureOf(of({ version: 1 }))).toMatchObject({ code: "unsupported_version", record: 1, message: older })
  // The checksums of version 1 were others.
  expect(failureOf(of({ version: 1 }).replace(/[0-9a-f]{8}/, "0badc0de"))).toMatchObject({ code: "unsupported_version", message: older })
  expect(failureOf(of({ version: "2" })).message).toBe('The journal has version "2"; this package reads version 2. Use the release that wrote it.')
  expect(failureOf(of({ version: undefined })).message).toContain("has version undefined")
  expect(failureOf(of({ format: "other" }))).toMatchObject({ code: "not_a_journal" })
})

test("with validation, an undamaged record that does not match its schema is refused", () => {
  const header = readJournal(text).header
  const writer = new JournalWriter()
  const begun = writer.line(header)
  const odd = begun + writer.line({ type: "end", outcome: { type: "finished" } } as never)
  expect(() => readJournal(odd, journalValidation)).toThrow(
    expect.objectContaining({ code: "invalid_record", record: 2, intactLength: begun.length }),
  )
  expect(readJournal(text, journalValidation)).toEqual(readJournal(text))
})

test("an unknown key is refused, at any depth", () => {
  const { header, entries } = readJournal(text)
  const [entry] = entries
  const changed = JSON.parse(JSON.stringify(entry?.record)) as { result: { response: { extra?: number } } }
  changed.result.response.extra = 1
  const writer = new JournalWriter()
  const journal = writer.line(header) + writer.line(changed as never)
  expect(() => readJournal(journal, journalValidation)).toThrow(
    expect.objectContaining({ code: "invalid_record", message: expect.stringContaining("/result/response/extra") }),
  )
})

describe("a journal of an older version", () => {
  // As if the first version had called responses to checkpoints "delivered", and the second the id of a turn "id".
  const older = (version: 0 | 1, whole: string): string => {
    const { header, entries } = readJournal(whole)
    const { turnId, ...rest } = header
    const writer = new JournalWriter<object>()
    const snapshots = new SnapshotLines()
    let old = writer.line({ ...rest, version, id: turnId })
    for (const { record, fingerprint } of entries) {
      old += writer.line(
        version === 0 && record.type === "checkpoint_delivery" ? { ...record, type: "delivered" } : snapshots.short(record),
        fingerprint,
      )
      snapshots.note(record)
    }
    return old
  }
  const migrations: JournalMigrations = {
    0: (record) => (record["type"] === "delivered" ? { ...record, type: "checkpoint_delivery" } : record),
    1: ({ id, ...record }) => (record["type"] === "header" ? { ...record, turnId: id } : { ...record, ...(id !== undefined && { id }) }),
  }
  const read = (old: string): Journal => readJournal(old, journalValidation, migrations)

  test.each([0, 1] as const)("is migrated step by step from version %d, and then checked like any other", (version) => {
    const compact = compacted(readJournal(text))
    for (const whole of [text, compact]) {
      const { migratedFrom, ...journal } = read(older(version, whole))
      expect(migratedFrom).toBe(version)
      expect(journal.header).toEqual(readJournal(whole).header)
      const records = ({ entries }: Pick<Journal, "entries">): unknown =>
        entries.map(({ number, record, fingerprint }) => [number, record, fingerprint])
      expect(records(journal)).toEqual(records(readJournal(whole)))
      expect(readJournal([...journalLines(journal)].join(""), journalValidation)).toEqual(journal)
      expect(read(whole)).toEqual(readJournal(whole))
    }
  })

  test("is appended to after its migrated text", () => {
    const open = `${text.split("\n").slice(0, -2).join("\n")}\n`
    const journal = read(`${older(0, open)}["0badc0de",{"type":"op`)
    expect(journal.droppedLength).toBe('["0badc0de",{"type":"op'.length)
    const appended = `${[...journalLines(journal)].join("")}${Recorder.resume(journal).opened(5)}`
    expect(readJournal(appended, journalValidation).entries.at(-1)?.record).toEqual({ type: "opened", at: 5 })
  })

  test("is refused without a migration for each step, by an error that names both versions", () => {
    const refused = expect.objectContaining({ code: "unsupported_version", record: 1, intactLength: 0 })
    for (const version of [0, 1] as const) expect(() => readJournal(older(version, text))).toThrow(refused)
    expect(() => readJournal(older(0, text), journalValidation, { 1: (record) => record })).toThrow(
      expect.objectContaining({ message: "The journal has version 0; this package reads version 2. Use the release that wrote it." }),
    )
  })

  test("is refused at the record that is damaged, cannot be migrated, or is not valid after it", () => {
    const old = older(1, text)
    const third = old.split("\n").slice(0, 2).join("\n").length + 1
    expect(() => read(old.replace("counted 0", "counted 9"))).toThrow(
      expect.objectContaining({ code: "damaged_record", record: 3, intactLength: third }),
    )
    const leaving = {
      1: (record: Record<string, unknown>) => (record["type"] === "tool_results" ? { type: "nonsense" } : (migrations[1]?.(record) ?? {})),
    }
    expect(() => readJournal(old, journalValidation, leaving)).toThrow(
      expect.objectContaining({ code: "invalid_record", record: 3, intactLength: third, message: expect.stringContaining("schema") }),
    )
    const throwing = { 1: (record: Record<string, unknown>) => (record["type"] === "tool_results" ? fail() : (migrations[1]?.(record) ?? {})) }
    expect(() => readJournal(old, journalValidation, throwing)).toThrow(
      expect.objectContaining({
        code: "invalid_record",
        record: 3,
        intactLength: third,
        message: "Record 3 of the journal cannot be migrated from version 1 to 2.",
      }),
    )
  })
})

function fail(): never {
  throw new TypeError("Cannot read properties of undefined")
}
