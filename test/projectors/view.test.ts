import { describe, expect, test } from "vitest"
import type { Json } from "../../src/json.ts"
import { History } from "../../src/machine/history.ts"
import { chatProjector } from "../../src/projectors/chat.ts"
import type { Transcript } from "../../src/projectors/projector.ts"
import { viewOf, viewProjector } from "../../src/projectors/view.ts"
import { requestPrefix } from "../../src/replay/prefix.ts"
import type { LlmRequest } from "../../src/schemas/llm.ts"
import type { HistoryRecord, Message, TurnCause } from "../../src/schemas/message.ts"
import type { CompactionRecord } from "../../src/wire/compaction.ts"
import { textOfMessage } from "../drivers/compaction/support.ts"
import { configOf, userMessage } from "../machine/support.ts"

const MESSAGES: readonly Message[] = [
  userMessage("first", "u1"),
  { id: "a1", role: "assistant", parts: [{ id: "p", type: "text", text: "one" }] },
  userMessage("second", "u2"),
  {
    id: "a2",
    role: "assistant",
    parts: [
      { id: "p", type: "reasoning", text: "hm", replay: { signature: "s" } },
      { id: "q", type: "text", text: "two" },
    ],
  },
]

function record(more: Partial<CompactionRecord> = {}): HistoryRecord {
  const event: CompactionRecord = {
    type: "compaction",
    contextReset: true,
    id: "c1",
    reason: "threshold",
    through: "u2",
    base: { messageId: "a2", count: 4 },
    summary: "It began.",
    keptUserMessages: ["u1"],
    tokensBefore: 100,
    tokensAfter: 10,
    ...more,
  }
  return { type: "protocol", event }
}

function requestOf(
  messages: Transcript<Message>,
  events: readonly HistoryRecord[],
  { turnCauses = [], startLength = 0 }: { readonly turnCauses?: readonly TurnCause[]; readonly startLength?: number } = {},
): LlmRequest {
  const input = { systemPrompt: "Work.", tools: [], turnCauses, iteration: 0, startLength, useTools: true }
  return viewProjector(chatProjector)({ config: configOf(), messages, events: History.of(events), ...input })
}

const shown = ({ messages }: LlmRequest): readonly string[] => messages.map(textOfMessage)

describe("viewProjector", () => {
  test("without a record gives the requests of the inner projector", () => {
    const messages = History.of(MESSAGES)
    expect(shown(requestOf(messages, []))).toEqual(
      ["Work.", "first", "one", "second", "reasoning two"].map((text) => text.replace("reasoning", "hm")),
    )
  })

  test("shows the kept messages, the summary, what is restated, and the tail without its reasoning", () => {
    const request = requestOf(History.of(MESSAGES), [record({ restated: "The goal." })])
    expect(shown(request)).toEqual(["Work.", "first", expect.stringContaining("It began."), "The goal.", "two"])
  })

  test("reasoning from after the record stays", () => {
    const later: Message = { id: "a3", role: "assistant", parts: [{ id: "p", type: "reasoning", text: "new", replay: { signature: "t" } }] }
    const request = requestOf(History.of([...MESSAGES, later]), [record()])
    expect(request.messages.at(-1)?.blocks).toEqual([{ type: "reasoning", text: "new", replay: { signature: "t" } }])
  })

  test("the last record counts; one whose messages are not in the transcript does not", () => {
    const events = [record(), record({ id: "c2", through: "a2", summary: "Later." }), record({ id: "c3", through: "gone", summary: "Lost." })]
    expect(shown(requestOf(History.of(MESSAGES), events))).toEqual(["Work.", "first", expect.stringContaining("Later.")])
  })

  test("events that only resemble a record are passed over", () => {
    for (const event of [
      null,
      7,
      "compaction",
      { type: "compaction" },
      { ...(record() as { event: object }).event, contextReset: false },
      (record({ restated: 5 as never }) as { event: Json }).event,
    ])
      expect(shown(requestOf(History.of(MESSAGES), [{ type: "protocol", event }])).length).toBe(5)
  })

  test("a restored turn, and a later one whose transcript lost messages, see the same view", () => {
    const original = shown(requestOf(History.of(MESSAGES), [record()]))
    expect(shown(requestOf(History.of(JSON.parse(JSON.stringify(MESSAGES)) as Message[]), [record()]))).toEqual(original)
    expect(shown(requestOf(History.of(MESSAGES.filter(({ id }) => id !== "a1")), [record()]))).toEqual(original)
  })

  test("a later message with the id of one that was compacted does not move the cut", () => {
    const events = [record({ through: "a1", keptUserMessages: ["u1"] })]
    const transcript = History.of(MESSAGES)
    const before = shown(requestOf(transcript, events))
    const later = [userMessage("third", "u1"), { id: "a1", role: "assistant", parts: [{ id: "p", type: "text", text: "three" }] } as const]
    const expected = [...before, "third", "three"]
    expect(shown(requestOf(transcript.append(later), events))).toEqual(expected)
    // Without what the first view has cached, as after a restore.
    expect(shown(requestOf(History.of([...MESSAGES, ...later]), events))).toEqual(expected)
  })

  test("a shorter transcript with the same storage has its own view", () => {
    const long = History.of(MESSAGES).append([userMessage("third", "u3")])
    expect(shown(requestOf(long, [record()])).length).toBe(5)
    expect(shown(requestOf(long.prefix(4), [record()])).length).toBe(4)
    expect(shown(requestOf(long, [record()])).length).toBe(5)
    expect(viewOf(long.prefix(2), History.of([record()]))).toBeUndefined()
  })

  test("requests grow at their end, with causes before and after the cut", () => {
    const origin = { type: "plugin", pluginId: "mail" } as const
    const cause = (id: string): TurnCause => ({ id, eventType: "mail", origin, text: `Mail ${id}.` })
    let messages = History.of(MESSAGES)
    const events = [record()]
    const turnCauses = [cause("e1")]
    let before = requestOf(messages, events, { turnCauses, startLength: 1 })
    expect(shown(before)[3]).toContain("Mail e1.")
    for (let index = 0; index < 5; index += 1) {
      messages = messages.append([userMessage(`more ${index}`, `m${index}`)])
      const next = requestOf(messages, events, { turnCauses, startLength: 1 })
      expect(requestPrefix(before, next)).toEqual({ stable: true })
      before = next
    }
  })
})

test("a view reads only the new messages of its transcript and the new records of its history (law 9)", () => {
  const storage = [...MESSAGES]
  let reads = 0
  const counted = new Proxy(storage, {
    get(target, key, receiver) {
      if (typeof key === "string" && /^\d+$/.test(key)) reads += 1
      return Reflect.get(target, key, receiver) as unknown
    },
  })
  const transcript = (): Transcript<Message> => ({
    length: storage.length,
    storage: counted,
    at: (index) => counted[index],
    slice: (start, end) => counted.slice(start, end),
    toArray: () => counted.slice(),
    [Symbol.iterator]: () => counted[Symbol.iterator](),
  })
  const events = History.of([record()])
  const input = { systemPrompt: "Work.", tools: [], turnCauses: [], iteration: 0, startLength: 0, useTools: true }
  const projector = viewProjector(chatProjector)
  const perRequest = Array.from({ length: 300 }, (_, index) => {
    storage.push(userMessage("more", `n${index}`))
    const before = reads
    projector({ config: configOf(), messages: transcript(), events, ...input })
    return reads - before
  })
  expect(new Set(perRequest.slice(1))).toEqual(new Set([1]))
})
