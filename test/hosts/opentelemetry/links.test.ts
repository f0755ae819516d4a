import { TraceFlags } from "@opentelemetry/api"
import { expect, test } from "vitest"
import { journalValidation } from "../../../src/checks/records.ts"
import { type Host, pending } from "../../../src/hosts/host.ts"
import { journaled } from "../../../src/hosts/journal/journaled.ts"
import { memoryJournalStore } from "../../../src/hosts/journal/memory.ts"
import { TurnJournal } from "../../../src/hosts/journal/turn-journal.ts"
import { compacted, readJournal } from "../../../src/replay/journal.ts"
import { journalOutline } from "../../../src/replay/outline.ts"
import { TurnMachine } from "../../../src/validated-turn-machine.ts"
import { START } from "../../replay/support.ts"
import { openedText } from "../../support/stored-text.ts"
import { answer, answers, CONFIG, type Watched, watch } from "./support.ts"

const turn = { config: CONFIG, start: START, turnId: "T" }

/** A host whose call continues outside, so that each run suspends. */
function waiting(): Host {
  return { llmCall: answers(answer("count#a"), answer("Done.")), tools: { call: async () => pending({ token: "job" }), effects: () => "none" } }
}

function contextOf(watched: Watched) {
  const { traceId, spanId } = watched.span("invoke_agent").spanContext()
  return { traceId, spanId }
}

function links(watched: Watched): readonly unknown[] {
  return watched.span("invoke_agent").links.map(({ context: { traceId, spanId } }) => ({ traceId, spanId }))
}

test("each run of a turn links to the one before, in other processes, over compactions and runs without telemetry", async () => {
  const store = memoryJournalStore()
  const runs = [watch(), watch(), watch()] as const
  const run = (watched?: Watched) =>
    journaled(waiting(), store, { ...(watched && { runTurn: watched.telemetry.runTurn }) }).run("t", turn, { suspend: true })
  await run(runs[0])
  expect(links(runs[0])).toEqual([])
  await run(runs[1])
  expect(links(runs[1])).toEqual([contextOf(runs[0])])
  await run()
  const text = await openedText(store, "t")
  const short = compacted(readJournal(text, journalValidation))
  expect(short.length).toBeLessThan(text.length)
  const stored = await store.open("t")
  await stored.replace(short)
  await stored.close()
  await run(runs[2])
  expect(links(runs[2])).toEqual([contextOf(runs[1])])
})

test("a journal that compacts itself keeps the last span", async () => {
  const store = memoryJournalStore()
  const [first, second] = [watch(), watch()]
  const host: Host = {
    llmCall: answers(answer("count#a"), answer("count#b"), answer("Done.")),
    tools: {
      call: async ({ callId }) => (callId === "b" ? pending({ token: "job" }) : { output: { status: "success", value: 1 } }),
      effects: () => "none",
    },
  }
  const run = ({ telemetry }: Watched) =>
    journaled(host, store, { runTurn: telemetry.runTurn, snapshotEveryRecords: 1, snapshotEveryChars: 1, compactAboveChars: 1 }).run("t", turn, {
      suspend: true,
    })
  await run(first)
  const { header } = readJournal(await openedText(store, "t"), journalValidation)
  expect(header.dropped).toBeGreaterThan(0)
  await run(second)
  expect(links(second)).toEqual([contextOf(first)])
})

test("the journal says in which spans a turn ran, which changes nothing about it", async () => {
  const store = memoryJournalStore()
  const watched = watch()
  const host: Host = { llmCall: answers(answer("One.")) }
  await journaled(host, store, { runTurn: watched.telemetry.runTurn }).run("t", turn)
  const journal = readJournal(await openedText(store, "t"), journalValidation)
  const { traceId, spanId } = contextOf(watched)
  const rows = journalOutline(journal).rows.filter(({ type }) => type === "traced")
  expect(rows).toMatchObject([{ number: 2, trace: `00-${traceId}-${spanId}-01`, changesTurn: false, failed: false }])
  expect(journalOutline(journal)).toMatchObject({ processes: 1, modelCalls: 1 })
  expect(journal.entries.at(-1)?.record.type).toBe("end")
})

test("without a journal, runs of one machine are linked", async () => {
  const first = watch()
  const second = watch()
  const machine = new TurnMachine(CONFIG, START)
  await first.telemetry.runTurn(machine, waiting(), { suspend: true })
  await second.telemetry.runTurn(machine, waiting(), { suspend: true })
  expect(links(second)).toEqual([contextOf(first)])
})

test("nothing is recorded without an SDK, or after the end of the turn", async () => {
  const store = memoryJournalStore()
  const noTracer = watch({ tracer: { startSpan: () => none, startActiveSpan: () => undefined } as never })
  await journaled({ llmCall: answers(answer("One.")) }, store, { runTurn: noTracer.telemetry.runTurn }).run("t", turn)
  const text = await openedText(store, "t")
  expect(text).not.toContain('"traced"')
  const journal = await TurnJournal.open(store, "t")
  await journal.resume(CONFIG)
  journal.traced("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
  await journal.close()
  expect(await openedText(store, "t")).toBe(text)
})

/** What a tracer without an SDK starts. */
const none = {
  spanContext: () => ({ traceId: "0".repeat(32), spanId: "0".repeat(16), traceFlags: TraceFlags.NONE }),
  setAttributes() {},
  addEvent() {},
  recordException() {},
  setStatus() {},
  end() {},
}
