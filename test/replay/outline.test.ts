import { expect, test } from "vitest"
import { NO_USAGE } from "../../src/machine/limits.ts"
import { JournalWriter, readJournal } from "../../src/replay/journal.ts"
import { journalOutline, type OutlineFacts, outlineRow } from "../../src/replay/outline.ts"
import type { JournalRecord } from "../../src/schemas/journal.ts"
import type { CompletedToolCall } from "../../src/schemas/tool.ts"
import { journalOf, recordTurn } from "./support.ts"

const USAGE = { inputTokens: 5, cachedInputTokens: 0, outputTokens: 2, reasoningTokens: 0 }

test("an outline has the header's facts, a row for each record, and totals", () => {
  const { text } = recordTurn(1)
  const outline = journalOutline(readJournal(text), text)
  const { rows, ...rest } = outline
  expect(rest).toEqual({
    turnId: "turn-1",
    driver: { name: "chat", version: 1 },
    outcome: { type: "finished", finish: { type: "assistant_message", text: "Done." } },
    modelCalls: 2,
    toolCalls: 1,
    usage: { inputTokens: 10, cachedInputTokens: 0, outputTokens: 4, reasoningTokens: 0 },
    processes: 1,
    workedMs: 0,
    prefix: { compared: 0, breaks: [], complete: false },
  })
  expect(rows.map(({ number, type, effectId }) => `${number} ${type} ${effectId}`)).toEqual([
    "1 header undefined",
    "2 llm_complete 1",
    "3 tool_results 2",
    "4 checkpoint_delivery 3",
    "5 llm_complete 4",
    "6 checkpoint_delivery 5",
    "7 end undefined",
  ])
  expect(rows[1]).toMatchObject({ calls: ["count"], usage: USAGE, terminalReason: "tool_use", failed: false, changesTurn: true })
  expect(JSON.parse(JSON.stringify(outline)).rows).toHaveLength(7)
})

test("bytes are those of each line in UTF-8, and only known with the text", () => {
  const { header } = journalOf(0)
  const writer = new JournalWriter()
  const lines = [
    writer.line({ ...header, turnId: "ü" }),
    writer.line({ type: "interruption", interruption: { type: "cancel", reason: "é, 語, 🦊" } }),
    writer.line({ type: "opened", at: 5 }),
  ]
  const journal = readJournal(lines.join(""))
  expect(journalOutline(journal, lines.join("")).rows.map(({ bytes }) => bytes)).toEqual(lines.map((line) => Buffer.byteLength(line)))
  expect(journalOutline(journal).rows.map(({ bytes }) => bytes)).toEqual([undefined, undefined, undefined])
})

test("an unfinished, forked, compacted journal says so; each opening is a process, and time between processes is not work", () => {
  const { header } = journalOf(0)
  const writer = new JournalWriter()
  const text =
    writer.line({ ...header, at: 1_000, forkedFrom: { turnId: "turn-0", record: 4 } }) +
    writer.line({ type: "call_started", effectId: 2, callId: "c", at: 1_500 }) +
    writer.line({ type: "opened", at: 60_000 }) +
    writer.line({ type: "call_started", effectId: 2, callId: "c", at: 60_200 })
  const outline = journalOutline(readJournal(text))
  expect(outline).toMatchObject({ at: 1_000, forkedFrom: { turnId: "turn-0", record: 4 }, outcome: undefined, processes: 2, workedMs: 700 })
  expect(outline.rows.map(({ at }) => at)).toEqual([1_000, 1_500, 60_000, 60_200])
  expect(journalOutline({ ...readJournal(text), header: { ...header, dropped: 3 } }).dropped).toBe(3)
})

test("the time before the records that a compaction left is not work", () => {
  const { header } = journalOf(0)
  const writer = new JournalWriter()
  const text =
    writer.line({ ...header, at: 1_000 }) +
    writer.line({ type: "call_started", effectId: 2, callId: "c", at: 5_000 }) +
    writer.line({ type: "call_started", effectId: 2, callId: "d", at: 5_300 }) +
    writer.line({ type: "opened", at: 60_000 }) +
    writer.line({ type: "call_started", effectId: 2, callId: "c", at: 60_020 })
  const journal = readJournal(text)
  expect(journalOutline(journal)).toMatchObject({ processes: 2, workedMs: 4_320 })
  const short = { ...journal, header: { ...journal.header, dropped: 3 } }
  expect(journalOutline(short)).toMatchObject({ at: 1_000, dropped: 3, processes: 2, workedMs: 320 })
})

test("a process whose clock runs backwards worked no time", () => {
  const { header } = journalOf(0)
  const writer = new JournalWriter()
  const text =
    writer.line({ ...header, at: 1_000 }) +
    writer.line({ type: "call_started", effectId: 2, callId: "c", at: 400 }) +
    writer.line({ type: "opened", at: 5_000 }) +
    writer.line({ type: "call_started", effectId: 2, callId: "c", at: 5_200 }) +
    writer.line({ type: "opened", at: 6_000 }) +
    writer.line({ type: "call_started", effectId: 2, callId: "c", at: 300 })
  expect(journalOutline(readJournal(text))).toMatchObject({ processes: 3, workedMs: 200 })
})

test("failed model calls count, with their usage if it is known", () => {
  const journal = journalOf(0)
  const error = { message: "down", retryable: true, terminalReason: "provider_error" } as const
  const outline = (...records: readonly JournalRecord[]) =>
    journalOutline({ ...journal, entries: records.map((record, index) => ({ number: index + 2, record, end: 0, fingerprint: undefined })) })
  const unknown: JournalRecord = { type: "llm_complete", id: 1, result: { ok: false, error } }
  const known: JournalRecord = { type: "llm_complete", id: 1, result: { ok: false, error: { ...error, usage: USAGE } } }
  expect(outline(unknown)).toMatchObject({ modelCalls: 1, usage: NO_USAGE })
  expect(outline(unknown, known, unknown)).toMatchObject({ modelCalls: 3, usage: USAGE })
  expect(outline(unknown, ...journal.entries.map(({ record }) => record))).toMatchObject({ modelCalls: 2, usage: USAGE })
})

test("a lone surrogate has three bytes, and the character after it is counted", () => {
  const { header } = journalOf(0)
  const writer = new JournalWriter()
  const text = writer.line(header) + writer.line({ type: "interruption", interruption: { type: "cancel", reason: "????" } })
  const journal = readJournal(text)
  for (const units of ["\ud83e語ab", "a\ud83e\ud83e語", "語\udd8aab", "\ud83e\udd8aéa", "abc\ud83e"]) {
    const odd = text.replace("????", () => units)
    expect(journalOutline(journal, odd).rows[1]?.bytes, JSON.stringify(units)).toBe(Buffer.byteLength(odd.split("\n")[1] ?? "") + 1)
  }
})

const result = { callId: "c", toolName: "count", args: {}, durationMs: 1 } as const
const failed: CompletedToolCall = { ...result, output: { status: "cancelled", message: "no", source: "tool" } }
const succeeded: CompletedToolCall = { ...result, output: { status: "success", value: 1 } }
const [snapshot] = journalOf(2, { snapshotEveryRecords: 4 }).entries.filter(({ record }) => record.type === "snapshot")
const delivery = { userMessages: [], causes: [] } as never

test.each<readonly [JournalRecord, OutlineFacts, "fails" | "changes the turn" | "changes nothing"]>([
  [
    { type: "llm_complete", id: 1, result: { ok: false, error: { message: "down", retryable: true, terminalReason: "provider_error" } } },
    { type: "llm_complete", error: "down", text: "", calls: [], terminalReason: "provider_error", usage: undefined, prefixBreak: undefined },
    "fails",
  ],
  [{ type: "tool_results", id: 1, results: [succeeded] }, { type: "tool_results", results: [succeeded] }, "changes the turn"],
  [{ type: "tool_results", id: 1, results: [succeeded, failed] }, { type: "tool_results", results: [succeeded, failed] }, "fails"],
  [
    { type: "exec_result", id: 1, result: { ok: false, error: "no surface" } },
    { type: "exec_result", ran: false, error: "no surface", durationMs: undefined },
    "fails",
  ],
  [
    { type: "exec_result", id: 1, result: { ok: true, value: { durationMs: 7, error: "thrown" } as never } },
    { type: "exec_result", ran: true, error: "thrown", durationMs: 7 },
    "changes the turn",
  ],
  [
    { type: "execution_surface_synced", id: 1, result: { ok: true } },
    { type: "execution_surface_synced", error: undefined, toolCount: undefined },
    "changes the turn",
  ],
  [
    { type: "execution_surface_synced", id: 1, result: { ok: true, update: { systemPrompt: "", tools: [] } } },
    { type: "execution_surface_synced", error: undefined, toolCount: 0 },
    "changes the turn",
  ],
  [
    { type: "execution_surface_synced", id: 1, result: { ok: false, error: "gone" } },
    { type: "execution_surface_synced", error: "gone", toolCount: undefined },
    "fails",
  ],
  [{ type: "checkpoint_delivery", id: 1, delivery }, { type: "checkpoint_delivery", delivered: [] }, "changes the turn"],
  [
    { type: "checkpoint_delivery", id: 1, delivery: { userMessages: [{}] } as never },
    { type: "checkpoint_delivery", delivered: ["userMessages"] },
    "changes the turn",
  ],
  [{ type: "interruption", effectId: 1, interruption: { type: "cancel" } }, { type: "interruption", command: { type: "cancel" } }, "fails"],
  [{ type: "opened" }, { type: "opened" }, "changes nothing"],
  [{ type: "call_started", effectId: 1, callId: "c" }, { type: "call_started", callId: "c" }, "changes nothing"],
  [{ type: "effect", effect: { type: "checkpoint", id: 1 } as never }, { type: "effect", effect: "checkpoint" }, "changes nothing"],
  [snapshot?.record as JournalRecord, { type: "snapshot", iteration: 2 }, "changes nothing"],
  [
    { type: "end", outcome: { type: "stopped", stop: { type: "cancelled" } } },
    { type: "end", outcome: { type: "stopped", stop: { type: "cancelled" } } },
    "fails",
  ],
])("the facts of a record: %j", (record, facts, what) => {
  const row = outlineRow({ number: 9, record }, 12)
  expect(row).toMatchObject({ ...facts, number: 9, bytes: 12 })
  expect(row.failed ? "fails" : row.changesTurn ? "changes the turn" : "changes nothing").toBe(what)
})
