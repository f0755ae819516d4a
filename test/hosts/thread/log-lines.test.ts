import * as fc from "fast-check"
import { expect, test } from "vitest"
import { LogLines } from "../../../src/hosts/journal/log-lines.ts"
import type { HistoryRecord, Message } from "../../../src/wire/message.ts"
import type { ThreadRecord } from "../../../src/wire/thread.ts"
import { check } from "../../properties/check.ts"

// Few ids and few texts, so that messages of the host look like inputs, and outcomes like answers.
const id = fc.constantFrom("a", "b")
const text = fc.constantFrom("", "one", "two")
const aMessage: fc.Arbitrary<Message> = fc
  .record({
    id,
    texts: fc.oneof(
      { weight: 3, arbitrary: fc.constant<readonly ("" | "one" | "two")[]>(["one"]) },
      { weight: 1, arbitrary: fc.array(text, { maxLength: 2 }) as fc.Arbitrary<readonly ("" | "one" | "two")[]> },
    ),
  })
  .map(({ id, texts }) => ({
    id,
    role: "user" as const,
    parts: texts.map((text, index) => ({ id: `${id}.p${index}`, type: "text" as const, text })),
  }))
const aHistoryRecord: fc.Arbitrary<HistoryRecord> = fc.oneof(
  { weight: 4, arbitrary: aMessage.map((message) => ({ type: "conversation" as const, message })) },
  { weight: 1, arbitrary: fc.constant({ type: "protocol" as const, event: { type: "notice" } }) },
)
const anOutcome = fc.oneof(
  text.map((text) => ({ type: "finished", finish: { type: "assistant_message", text } }) as const),
  fc.constant({ type: "finished", finish: { type: "submitted_value", value: "one" } } as const),
  fc.constant({ type: "stopped", stop: { type: "cancelled" } } as const),
)
const aRecord: fc.Arbitrary<ThreadRecord> = fc.oneof(
  aMessage.map((message): ThreadRecord => ({ type: "said", at: 1, message })),
  fc.array(id, { maxLength: 2 }).map((said): ThreadRecord => ({ type: "turn_begun", at: 1, turnId: "t.1", origin: "user", said, messages: [] })),
  fc
    .record({ outcome: anOutcome, records: fc.array(aHistoryRecord, { maxLength: 4 }) })
    .map(({ outcome, records }) => ({ type: "turn_ended", at: 1, turnId: "t.1", outcome, iteration: 1, records }) as ThreadRecord),
)

/** A record as its writer has it, without the marks of its line. */
function plain(record: ThreadRecord | undefined): unknown {
  if (record?.type !== "turn_ended") return record
  const { said: _said, answered: _answered, ...own } = record
  return own
}

test("a line that leaves out what the log has gives the whole record back", () => {
  let [said, answered] = [0, 0]
  check(
    2_000,
    fc.property(fc.array(aRecord, { maxLength: 8 }), (records) => {
      const [written, read] = [new LogLines(), new LogLines()]
      for (const record of records) {
        const marked = written.marked(record)
        const line = JSON.stringify(written.short(marked))
        if (marked.type === "turn_ended" && marked.said !== undefined) said += 1
        if (marked.type === "turn_ended" && marked.answered === true) answered += 1
        written.note(marked)
        const whole = read.whole(JSON.parse(line) as ThreadRecord)
        expect(whole).toEqual(marked)
        expect(plain(whole)).toEqual(record)
        if (whole !== undefined) read.note(whole)
      }
    }),
  )
  expect(said).toBeGreaterThan(20)
  expect(answered).toBeGreaterThan(20)
})
