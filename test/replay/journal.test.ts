import { describe, expect, test } from "vitest"
import { journalValidation } from "../../src/checks/records.ts"
import { JournalError } from "../../src/errors.ts"
import {
  compacted,
  compactedJournal,
  isUnfinishedHeader,
  type Journal,
  type JournalMigrations,
  JournalWriter,
  journalLines,
  readJournal,
} from "../../src/replay/journal.ts"
import { Recorder } from "../../src/replay/recorder.ts"
import { SnapshotLines } from "../../src/replay/snapshot-lines.ts"
import type { JournalRecord } from "../../src/schemas/journal.ts"
import { TurnMachine } from "../../src/validated-turn-machine.ts"
import type { AnswerableEffect } from "../../src/wire/effect.ts"
import { answerOf, CONFIG, recordTurn, START } from "./support.ts"

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

test("a writer counts on from the journal that it continues", () => {
  const tooLong = { type: "call_started", effectId: 2, callId: "x".repeat(100) } as const
  const [header, four] = [1, 4].map((count) => readJournal(`${lines.slice(0, count).join("\n")}\n`)) as [Journal, Journal]
  for (const [journal, next] of [
    [header, 2],
    [four, 5],
    [{ checksum: "00000000" }, 2],
    [{ checksum: "00000000", lastNumber: 7 }, 8],
  ] as const)
    expect(() => new JournalWriter(journal, 50).line(tooLong)).toThrow(expect.objectContaining({ code: "record_too_long", record: next }))
})

test("a record that has no JSON text is no record that is too long", () => {
  const circular: { type: "end"; outcome?: object } = { type: "end" }
  circular.outcome = circular
  expect(() => new JournalWriter<object>().line(circular)).toThrow(TypeError)
  expect(() => new JournalWriter<object>().line({ type: "end", outcome: 1n })).toThrow(TypeError)
  let deep: object = {}
  for (let depth = 0; depth < 200_000; depth += 1) deep = { deep }
  expect(() => new JournalWriter<object>().line(deep)).toThrow(RangeError)
})

test("a compacted journal keeps what is known of the calls that its snapshot waits for, and of no others", () => {
  const machine = new TurnMachine(CONFIG, START)
  const { recorder, line } = Recorder.begin(CONFIG, START, "turn-1")
  let written = line + recorder.traced("00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b0-01")
  const startCall = (effectId: number, callId: string): void => {
    written += recorder.callStarted(effectId, callId) + recorder.childGranted({ effectId, callId, lease: 100 * effectId })
  }
  for (let batches = 0; batches < 2; ) {
    while (machine.poll() !== undefined);
    const effect = machine.outstanding as AnswerableEffect
    if (effect.type === "tool_calls") {
      batches += 1
      written += recorder.traced(`00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b${batches}-01`)
      startCall(effect.id, `c${batches - 1}`)
      if (batches === 2) break
    }
    const answer = answerOf(effect, machine.iteration, 2)
    written += recorder.response(machine, answer)
    machine.handle(answer)
  }
  // 1 header, 2 a span, 3 the model, 4-6 the first batch begins, 7 it ends, 8 nothing is delivered, 9 the model, 10-12 the second batch begins.
  written += recorder.snapshot(machine)
  startCall(5, "c1")
  const { header, entries } = readJournal(written, journalValidation)
  expect(entries.map(({ number, record }) => `${number} ${record.type}`).slice(7)).toEqual([
    "9 llm_complete",
    "10 traced",
    "11 call_started",
    "12 child_granted",
    "13 snapshot",
    "14 call_started",
    "15 child_granted",
  ])
  const kept = readJournal(compacted({ header, entries } as Journal), journalValidation)
  // Of the 11 records between the header and the snapshot, 3 were kept: the last span, and the call and the child that are not answered.
  expect(kept.header.dropped).toBe(8)
  expect(kept.entries.map(({ record }) => record)).toEqual(entries.slice(8).map(({ record }) => record))
  expect(kept.entries.map(({ number }) => number)).toEqual([10, 11, 12, 13, 14, 15])

  // A model's call is outstanding: the calls of the batches before are over.
  const asking = recordTurn(1, { snapshotEveryRecords: 3 }).text
  const over = readJournal(asking)
  const at = over.entries.findIndex(({ record }) => record.type === "snapshot")
  const started = { number: 4, record: { type: "call_started", effectId: 2, callId: "c0" }, fingerprint: undefined, end: 0 } as const
  const more = [...over.entries.slice(0, at), started, ...over.entries.slice(at)]
  expect(compacted({ ...over, entries: more })).not.toContain("call_started")
})

test("a journal is compacted to the configuration that its last snapshot was made under, and without one not at all", () => {
  const journal = readJournal(text)
  const [last] = journal.entries.flatMap(({ record }, index) => (record.type === "snapshot" ? [index] : [])).slice(-1) as [number]
  const driver = { name: "chat", version: 2 }
  const record: JournalRecord = { type: "reconfigured", driver, config: { model: "other" } as never }
  const changed = { number: 0, record, fingerprint: undefined, end: 0 }
  const [before, after] = [last, last + 1].map((at) => compactedJournal({ ...journal, entries: journal.entries.toSpliced(at, 0, changed) }).header)
  expect(before).toMatchObject({ driver, config: { model: "other" } })
  expect(after).toMatchObject({ driver: journal.header.driver, config: journal.header.config })

  const without = { ...journal, entries: journal.entries.slice(0, 3) }
  expect(compacted(without)).toBe(`${lines.slice(0, 4).join("\n")}\n`)
  // Nothing is between the header and the snapshot.
  const snapshot = { ...journal.entries[last], number: 2 } as (typeof journal.entries)[number]
  expect(compactedJournal({ ...journal, entries: [snapshot] })).toEqual({ header: journal.header, entries: [snapshot] })
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

const HEADER = '{"type":"header","format":"turn-machine/journal","version":2}'
test.each([
  ["nothing at all", "", "not_a_journal"],
  ["some other text", "hello\nworld\n", "not_a_journal"],
  ["JSON lines of another kind", '{"a":1}\n', "not_a_journal"],
  ["a header with another checksum", `["00000000",${HEADER}]\n`, "damaged_record"],
  ["a header without its end", `["00000000",${HEADER.slice(0, 20)}\n`, "damaged_record"],
  ["another record with another checksum", '["00000000",{"type":"opened"}]\n', "damaged_record"],
  ["another record with the keys of a header", '["00000000",{"type":"opened","format":"turn-machine/journal","version":1}]\n', "damaged_record"],
  ["a header of another format and version with another checksum", '["00000000",{"type":"header","format":"log","version":1}]\n', "damaged_record"],
  ["nothing but null with another checksum", '["00000000",null]\n', "damaged_record"],
])("%s is not a journal, or a damaged one", (_what, other, code) => {
  expect(failureOf(other)).toMatchObject({ code, record: 1, intactLength: 0 })
})

test("only a text that a torn first line can have may be started again: any other is kept", () => {
  const line = `["0a1b2c3d",${HEADER}]`
  for (let length = 0; length <= line.length; length += 1) expect(isUnfinishedHeader(line.slice(0, length)), line.slice(0, length)).toBe(true)
  const log = line.replace("turn-machine/journal", "turn-machine/thread")
  expect(isUnfinishedHeader(log, "turn-machine/thread")).toBe(true)
  for (const other of [
    log,
    `${line}\n`,
    `${line}\n["0a1b2c3d",{"type":"op`,
    "\n",
    "hello",
    "{",
    "[1",
    '"',
    '"0a1b2c3d',
    "0a1b2c3d",
    line.slice(1),
    line.slice(2),
    ` ${line}`,
    '["0a1b2c3dd',
    '["hello',
    '["0a1b2c3d",{"type":"opened"',
    '["0a1b2c3d",["type"',
  ])
    expect(isUnfinishedHeader(other), other).toBe(false)
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
