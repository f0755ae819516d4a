import fc from "fast-check"
import { describe, expect, test } from "vitest"
import { journalValidation } from "../../src/checks/records.ts"
import { memoryJournalStore } from "../../src/hosts/journal/memory.ts"
import { TurnJournal } from "../../src/hosts/journal/turn-journal.ts"
import { runTurn } from "../../src/hosts/run/run-turn.ts"
import { Thread } from "../../src/hosts/thread/thread.ts"
import { fork, forkLines } from "../../src/replay/fork.ts"
import { compacted, compactedJournal, JournalReader, JournalWriter, journalLines, readJournal } from "../../src/replay/journal.ts"
import { LineReader } from "../../src/replay/lines.ts"
import { Recorder } from "../../src/replay/recorder.ts"
import { verifyReplay } from "../../src/replay/verify.ts"
import type { LlmResponse } from "../../src/wire/llm.ts"
import { readText } from "../support/stored-text.ts"
import { CONFIG, recordTurn, START } from "./support.ts"

const { text } = recordTurn(3, { snapshotEveryRecords: 4 })

/** What reading gives: a journal, or the error. */
function resultOf(read: () => unknown): unknown {
  try {
    return read()
  } catch (error) {
    const { code, message, record, intactLength } = error as { code: string; message: string; record: number; intactLength: number }
    return { code, message, record, intactLength }
  }
}

function readInParts(whole: string, cuts: readonly number[]): unknown {
  return resultOf(() => {
    const reader = new JournalReader(journalValidation)
    const ends = [...new Set(cuts.map((cut) => cut % (whole.length + 1)))].sort((one, other) => one - other)
    for (const [index, end] of [...ends, whole.length].entries()) reader.push(whole.slice(ends[index - 1] ?? 0, end))
    return reader.end()
  })
}

describe("a journal that is read by parts", () => {
  const damaged = fc
    .tuple(fc.nat(text.length - 1), fc.constantFrom("", "x", "\n", "語"))
    .map(([at, by]) => text.slice(0, at) + by + text.slice(at + 1))
  const torn = fc.nat(text.length).map((length) => text.slice(0, length))

  test("is what it is when it is read as a whole, wherever the parts end, torn or damaged", () => {
    const texts = fc.oneof(fc.constant(text), fc.constant(compacted(readJournal(text))), torn, damaged)
    fc.assert(
      fc.property(texts, fc.array(fc.nat(), { maxLength: 40 }), (whole, cuts) => {
        expect(readInParts(whole, cuts)).toEqual(resultOf(() => readJournal(whole, journalValidation)))
      }),
      { numRuns: 300 },
    )
    expect(
      readInParts(
        text,
        Array.from(text, (_, index) => index),
      ),
    ).toEqual(readJournal(text, journalValidation))
  })

  test("has an unfinished header until its first line is whole", () => {
    const reader = new JournalReader()
    const end = text.indexOf("\n") + 1
    for (const character of text.slice(0, end - 1)) {
      expect(reader.isUnfinishedHeader).toBe(true)
      reader.push(character)
    }
    expect(reader.isUnfinishedHeader).toBe(true)
    reader.push("\n")
    expect(reader.isUnfinishedHeader).toBe(false)
    expect(reader.length).toBe(end)
    reader.push(text.slice(end, end + 7))
    expect(reader.length).toBe(end + 7)
  })

  test("is written line by line as it is written at once", () => {
    const journal = readJournal(text)
    expect([...journalLines(journal)].join("")).toBe(text)
    expect([...journalLines(compactedJournal(journal))].join("")).toBe(compacted(journal))
    expect([...forkLines(journal, 4, undefined, { turnId: "other" })].join("")).toBe(fork(journal, 4, undefined, { turnId: "other" }))
  })
})

describe("a record that is too long to be read back", () => {
  const LIMIT = 2_000
  const long = { type: "call_started", effectId: 1, callId: "x".repeat(LIMIT) } as const
  const header = readJournal(text).header

  test("is refused with its number, and the next line follows the last one", () => {
    const writer = new JournalWriter(undefined, LIMIT)
    const first = writer.line(header)
    expect(() => writer.line(long)).toThrow(
      expect.objectContaining({
        name: "JournalError",
        code: "record_too_long",
        record: 2,
        message: `Record 2 of the journal would be longer than ${LIMIT} characters. It was not written; the journal is unchanged.`,
      }),
    )
    expect(readJournal(first + writer.line({ type: "opened" }), journalValidation).entries).toHaveLength(1)
  })

  test("is exactly one that the reader refuses", () => {
    const line = (length: number): string => new JournalWriter().line({ ...long, callId: "x".repeat(length) })
    const length = LIMIT - line(0).length
    for (const [over, fits] of [
      [0, true],
      [1, false],
    ] as const) {
      const whole = line(length + over)
      expect(whole).toHaveLength(LIMIT + over)
      const seen: unknown[] = []
      const inParts = new LineReader((read) => seen.push(read !== undefined), LIMIT)
      for (const part of [whole.slice(0, 700), whole.slice(700, 1_500), whole.slice(1_500)]) inParts.push(part)
      const atOnce = new LineReader((read) => seen.push(read !== undefined), LIMIT)
      atOnce.push(whole)
      expect(seen).toEqual([fits, fits])
      const write = (): unknown => new JournalWriter(undefined, LIMIT).line({ ...long, callId: "x".repeat(length + over) })
      if (fits) expect(write()).toBe(whole)
      else expect(write).toThrow(expect.objectContaining({ code: "record_too_long" }))
    }
  })

  test("is refused before its end was read, and nothing is read after a line that is refused", () => {
    const seen: boolean[] = []
    const tooLong = new LineReader((read) => seen.push(read !== undefined), LIMIT)
    tooLong.push("x".repeat(LIMIT - 1))
    expect(seen).toEqual([])
    tooLong.push("x")
    expect(seen).toEqual([false])
    tooLong.push(`\n${text}`)
    expect(seen).toEqual([false])

    const lines = text.split("\n")
    const read: [boolean, number][] = []
    const damaged = new LineReader((line, position) => read.push([line !== undefined, position]))
    damaged.push(`${lines[0]}\n${lines[2]}\n${lines[1]}\n`)
    damaged.push(`${lines[1]}\n`)
    const first = `${lines[0]}\n`.length
    expect(read).toEqual([
      [true, 0],
      [false, first],
    ])
    expect(damaged.length).toBe(first)
  })

  test("is one that is too long for a string, too", () => {
    const part = "x".repeat(2 ** 28)
    const tooLong = { type: "call_started", effectId: 1, callId: "", parts: [part, part] } as never
    expect(() => new JournalWriter({ checksum: "00000000", lastNumber: 6 }).line(tooLong)).toThrow(
      expect.objectContaining({ code: "record_too_long", record: 7 }),
    )
  })

  test("is left out if it is a snapshot or an effect, and takes the effect with it if it is an answer", () => {
    const { machine } = recordTurn(3)
    const { recorder, line } = Recorder.begin(CONFIG, START, "t", { maxLineChars: 1_500, keepEffects: true })
    expect(line.length).toBeLessThan(1_500)
    expect(recorder.snapshot(machine)).toBe("")
    expect(recorder.end(machine)).not.toBe("")
  })

  test("is refused by a turn's journal, and fails the effect that it answers", async () => {
    let store = memoryJournalStore()
    const usage = { inputTokens: 1, cachedInputTokens: 0, outputTokens: 1, reasoningTokens: 0 }
    let length = 10_000
    const host = {
      async llmCall(): Promise<LlmResponse> {
        return { text: "x".repeat(length), parts: [], usage, terminalReason: "stop" }
      },
    }
    const run = async (): Promise<unknown> => {
      const journal = await TurnJournal.open(store, "t", { maxLineChars: 5_000, keepEffects: true })
      try {
        const machine = journal.recorded === undefined ? await journal.begin(CONFIG, START) : await journal.resume(CONFIG)
        return (await runTurn(machine, host, { journal })).outcome
      } finally {
        await journal.close()
      }
    }
    // The answer is refused like any other that cannot be used. Refusing the run instead would refuse it again with each resume.
    expect(await run()).toMatchObject({ type: "stopped", stop: { type: "provider_error", error: { code: "invalid_llm_response" } } })
    const after = readJournal((await readText(store, "t")) ?? "", journalValidation)
    expect(JSON.stringify(after.entries)).toContain("Record 3 of the journal would be longer than 5000 characters.")
    expect(verifyReplay(after, CONFIG).outcome).toMatchObject({ type: "stopped" })
    store = memoryJournalStore()
    length = 1
    expect(await run()).toMatchObject({ type: "finished" })
    const whole = readJournal((await readText(store, "t")) ?? "", journalValidation)
    expect(verifyReplay(whole, CONFIG).outcome).toMatchObject({ type: "finished" })
  })
})

test("a thread's id that cannot be the name of a journal is refused when the thread is opened", async () => {
  const store = memoryJournalStore()
  for (const id of ["a\u0000b", "\ud800", "victim.lock/x", "a.tmp/b"])
    await expect(Thread.open(store, id, { config: CONFIG })).rejects.toMatchObject({ code: "invalid_name" })
})
