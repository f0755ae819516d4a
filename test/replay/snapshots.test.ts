import { expect, test } from "vitest"
import { readJournal } from "../../src/replay/journal.ts"
import { resume } from "../../src/replay/replay.ts"
import type { JournalSnapshot } from "../../src/wire/journal.ts"
import { CONFIG, recordTurn } from "./support.ts"

const EVERY_30 = { snapshotEveryRecords: 30 }

function snapshotsIn(text: string): readonly { readonly chars: number; readonly end: number; readonly record: JournalSnapshot }[] {
  const { entries } = readJournal(text)
  return entries.flatMap(({ record, end }, index) =>
    record.type === "snapshot" ? [{ chars: end - (entries[index - 1]?.end ?? 0), end, record }] : [],
  )
}

test("snapshots have only what was added, so that they grow with the records", () => {
  const [short, long] = [50, 200].map((calls) => {
    const snapshots = snapshotsIn(recordTurn(calls, EVERY_30).text).reduce((sum, { chars }) => sum + chars, 0)
    return snapshots / recordTurn(calls).text.length
  })
  // The messages of a call and its result are less than the records that they come from.
  expect(short).toBeLessThan(1)
  expect(long).toBeLessThan(1)
})

test("a snapshot of a long turn does not repeat the history as the request of a model call", () => {
  // Three records make an iteration, so each of these distances is reached in another state.
  for (const snapshotEveryRecords of [20, 21, 22]) {
    const long = snapshotsIn(recordTurn(100, { snapshotEveryRecords }).text).filter(({ end }) => end > 20_000)
    expect(long.length).toBeGreaterThan(3)
    for (const { record } of long) expect(record.checkpoint.state.type).not.toBe("waiting_llm")
  }
})

test("a sixteenth of a journal is between two snapshots", () => {
  const { text } = recordTurn(300, { snapshotEveryRecords: 1 })
  const ends = snapshotsIn(text).map(({ end, chars }) => ({ begin: end - chars, end }))
  for (const [index, { begin }] of ends.entries()) {
    const before = ends[index - 1]?.end ?? 0
    if (begin > 20_000) expect(begin - before).toBeGreaterThanOrEqual(begin / 16 - 1_000)
  }
  // Each has a list of all messages in memory, and together they have few times as many as the last.
  const messages = snapshotsIn(text).map(({ record }) => record.checkpoint.messages.length)
  expect(messages.reduce((sum, length) => sum + length, 0)).toBeLessThan(40 * (messages.at(-1) ?? 0))
})

test("what a resumed turn waits for, and what it emits again, is frozen", () => {
  const { text } = recordTurn(3)
  const lines = text.trimEnd().split("\n")
  for (let length = 1; length <= lines.length; length += 1) {
    const machine = resume(readJournal(`${lines.slice(0, length).join("\n")}\n`), CONFIG)
    const { outstanding } = machine
    if (outstanding !== undefined) expect(Object.isFrozen(outstanding)).toBe(true)
    if (outstanding?.type === "tool_calls") expect(Object.isFrozen(outstanding.calls[0])).toBe(true)
    if (outstanding?.type === "llm_call") expect(Object.isFrozen(outstanding.request.tools[0])).toBe(true)
    for (const message of machine.messages.slice(1)) expect(Object.isFrozen(message.parts[0] ?? message)).toBe(true)
    for (let effect = machine.poll(); effect !== undefined; effect = machine.poll()) {
      expect(Object.isFrozen(effect)).toBe(true)
      if (effect.type === "emit") expect(Object.isFrozen(effect.event)).toBe(true)
      if (effect.type === "progress" && effect.eventDelta.length > 0) expect(Object.isFrozen(effect.eventDelta[0])).toBe(true)
    }
  }
})
