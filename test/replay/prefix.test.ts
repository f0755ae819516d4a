import { describe, expect, test, vi } from "vitest"
import { chatDriver } from "../../src/drivers/chat.ts"
import { type Listing, messagesListing, withMessages } from "../../src/lazy.ts"
import type { TurnConfig } from "../../src/machine/config.ts"
import type { ProtocolDriver } from "../../src/machine/driver.ts"
import { chatProjector } from "../../src/projectors/chat.ts"
import type { Projector } from "../../src/projectors/projector.ts"
import { wrapProjector } from "../../src/projectors/wrap-projector.ts"
import { compacted, readJournal } from "../../src/replay/journal.ts"
import { journalOutline } from "../../src/replay/outline.ts"
import { prefixBreaks, type RequestPrefix, requestPrefix } from "../../src/replay/prefix.ts"
import type { Block, LlmMessage, LlmRequest } from "../../src/schemas/llm.ts"
import type { AttachmentRef, Producer } from "../../src/schemas/message.ts"
import { TurnMachine } from "../../src/validated-turn-machine.ts"
import { answerOf, CONFIG, recordTurn, START } from "./support.ts"

const TOOL = {
  name: "count",
  description: "Counts.",
  inputSchema: { type: "object", properties: { n: { type: "number" }, step: { type: "number" } } },
}
const ADD = { name: "add", description: "Adds.", inputSchema: { type: "object" } }

function requestOf(messages: readonly LlmMessage[], changes: Partial<LlmRequest> = {}): LlmRequest {
  return { model: "m", messages, attachments: [], tools: [TOOL, ADD], toolChoice: "auto", generation: {}, ...changes }
}

function says(role: LlmMessage["role"], ...blocks: readonly (string | Block)[]): LlmMessage {
  return { role, blocks: blocks.map((block) => (typeof block === "string" ? { type: "text", text: block } : block)) }
}

const SYSTEM = says("system", "You count.")
const USER = says("user", "Count to three.")
const CALL: Block = { type: "tool_call", callId: "c", toolName: "count", inputJson: '{"n":1}' }
const RESULT: Block = { type: "tool_result", callId: "c", text: "1" }
const THREAD = [SYSTEM, USER, says("assistant", { type: "reasoning", text: "One", replay: { signature: "s" } }, CALL), says("user", RESULT)]
const STABLE: RequestPrefix = { stable: true }

function broken(at: string, reason: "system" | "tools" | "message"): RequestPrefix {
  return { stable: false, at, reason }
}

function copy<Value>(value: Value): Value {
  return JSON.parse(JSON.stringify(value)) as Value
}

/** The messages with one of them replaced. */
function replaced(index: number, message: LlmMessage): readonly LlmMessage[] {
  return THREAD.map((old, place) => (place === index ? message : old))
}

describe("a prefix is stable", () => {
  test.each<readonly [string, LlmRequest, LlmRequest]>([
    ["when messages are added", requestOf(THREAD), requestOf([...THREAD, says("assistant", "Two")])],
    ["when nothing is added", requestOf(THREAD), requestOf(THREAD)],
    ["before any message", requestOf([]), requestOf(THREAD)],
    ["after the system prompt alone", requestOf([SYSTEM]), requestOf([SYSTEM, says("system", "A note."), USER])],
    ["for a copy", requestOf(THREAD), copy(requestOf([...THREAD, USER]))],
    [
      "whatever the order of keys",
      requestOf(THREAD),
      {
        ...requestOf(
          THREAD.map(({ role, blocks }) => ({ blocks: blocks.map((block) => Object.fromEntries(Object.entries(block).reverse()) as Block), role })),
        ),
      },
    ],
    ["for a key that is undefined and one that is absent", requestOf(THREAD), requestOf(replaced(1, { ...USER, producer: undefined } as never))],
    [
      "whatever the marks and the mode of the cache",
      requestOf([SYSTEM, says("user", { type: "text", text: "a", cacheBreakpoint: true })], { cache: "auto" }),
      requestOf([SYSTEM, says("user", "a"), says("assistant", { type: "text", text: "b", cacheBreakpoint: true })], { cache: "off" }),
    ],
    [
      "whatever the model and its settings",
      requestOf(THREAD),
      requestOf(THREAD, { model: "other", generation: { seed: 1 }, toolChoice: "none", sessionId: "s" }),
    ],
  ])("%s", (_what, previous, next) => {
    expect(requestPrefix(previous, next)).toEqual(STABLE)
  })
})

describe("a prefix is broken", () => {
  test.each<readonly [string, readonly LlmMessage[], Partial<LlmRequest>, RequestPrefix]>([
    ["by another system prompt", replaced(0, says("system", "You add.")), {}, broken("/messages/0/blocks/0/text", "system")],
    ["by a system prompt that is gone", THREAD.slice(1), {}, broken("/messages/0/role", "system")],
    ["by a second system prompt", [SYSTEM, says("system", "More."), ...THREAD.slice(1)], {}, broken("/messages/1/role", "system")],
    ["by another order of tools", THREAD, { tools: [ADD, TOOL] }, broken("/tools/0/name", "tools")],
    ["by another tool at the end", THREAD, { tools: [TOOL, ADD, { ...ADD, name: "new" }] }, broken("/tools/2", "tools")],
    ["by a missing tool", THREAD, { tools: [TOOL] }, broken("/tools/1", "tools")],
    [
      "by another schema of a tool",
      THREAD,
      { tools: [{ ...TOOL, inputSchema: { type: "object", properties: { n: { type: "string" } } } }, ADD] },
      broken("/tools/0/inputSchema/properties/n/type", "tools"),
    ],
    ["by a missing message", THREAD.slice(0, 3), {}, broken("/messages/3", "message")],
    ["by a message that was inserted", [SYSTEM, says("user", "First"), ...THREAD.slice(1)], {}, broken("/messages/1/blocks/0/text", "message")],
    ["by another order", [SYSTEM, USER, says("user", RESULT), THREAD[2] as LlmMessage], {}, broken("/messages/2/role", "message")],
    ["by another block", replaced(3, says("user", { ...RESULT, isError: true } as Block)), {}, broken("/messages/3/blocks/0/isError", "message")],
    ["by one block more", replaced(3, says("user", RESULT, "Go on.")), {}, broken("/messages/3/blocks/1", "message")],
    [
      "by one block less",
      replaced(2, says("assistant", { type: "reasoning", text: "One", replay: { signature: "s" } })),
      {},
      broken("/messages/2/blocks/1", "message"),
    ],
    [
      "by another signature",
      replaced(2, says("assistant", { type: "reasoning", text: "One", replay: { signature: "t" } }, CALL)),
      {},
      broken("/messages/2/blocks/0/replay/signature", "message"),
    ],
    [
      "by another producer",
      replaced(1, { ...USER, producer: { provider: "p", api: "a", model: "m" } }),
      {},
      broken("/messages/1/producer", "message"),
    ],
    [
      "by metadata that is new",
      replaced(1, says("user", { type: "text", text: "Count to three.", providerMetadata: { "a/b~c": 1 } })),
      {},
      broken("/messages/1/blocks/0/providerMetadata", "message"),
    ],
    ["first by the system prompt", replaced(0, says("system", "You add.")), { tools: [] }, broken("/messages/0/blocks/0/text", "system")],
    ["then by the tools", THREAD.slice(0, 2), { tools: [] }, broken("/tools/0", "tools")],
  ])("%s", (_what, messages, changes, expected) => {
    expect(requestPrefix(requestOf(THREAD), requestOf(messages, changes))).toEqual(expected)
    expect(requestPrefix(requestOf(copy(THREAD)), copy(requestOf(messages, changes)))).toEqual(expected)
  })

  test("by a producer that is gone, or another one", () => {
    const by = (producer?: Producer): LlmRequest => requestOf([{ ...USER, ...(producer !== undefined && { producer }) }])
    const first = { provider: "p", api: "a", model: "m" }
    expect(requestPrefix(by(first), by())).toEqual(broken("/messages/0/producer", "message"))
    expect(requestPrefix(by(first), by({ ...first, model: "n" }))).toEqual(broken("/messages/0/producer/model", "message"))
    expect(requestPrefix(by(first), by({ ...first }))).toEqual(STABLE)
  })

  test("at a pointer with escapes", () => {
    const of = (value: number): LlmRequest => requestOf([says("user", { type: "text", text: "", providerMetadata: { "a/b~c": [0, value] } })])
    expect(requestPrefix(of(1), of(2))).toEqual(broken("/messages/0/blocks/0/providerMetadata/a~1b~0c/1", "message"))
  })
})

describe("attachments", () => {
  const picture = (id: string): AttachmentRef => ({ id, mediaType: "image/png", byteLength: 3 })
  const shown = (...indexes: readonly number[]): LlmMessage[] => indexes.map((attachmentIndex) => says("user", { type: "image", attachmentIndex }))

  test("are compared by what they are, and not by their index", () => {
    const previous = requestOf(shown(0, 1), { attachments: [picture("a"), picture("b")] })
    const moved = requestOf(shown(1, 2, 0), { attachments: [picture("new"), picture("a"), picture("b")] })
    expect(requestPrefix(previous, moved)).toEqual(STABLE)
    const added = requestOf([...previous.messages, ...shown(2)], { attachments: [...previous.attachments, picture("new")] })
    expect(requestPrefix(previous, added)).toEqual(STABLE)
  })

  test("break the prefix where the same index is another attachment, also in a message that both share", () => {
    const messages = shown(0, 1)
    const previous = requestOf(messages, { attachments: [picture("a"), picture("b")] })
    expect(requestPrefix(previous, requestOf(messages, { attachments: [picture("a"), picture("c")] }))).toEqual(
      broken("/messages/1/blocks/0", "message"),
    )
    expect(requestPrefix(previous, requestOf(messages, { attachments: [picture("a")] }))).toEqual(broken("/messages/1/blocks/0", "message"))
    const file = says("user", { type: "file", attachmentIndex: 0 })
    expect(requestPrefix(previous, { ...previous, messages: [file] })).toEqual(broken("/messages/0/blocks/0/type", "message"))
  })
})

describe("requests whose lists are made on demand", () => {
  /** A list that counts its reads. */
  function watched(messages: readonly LlmMessage[]): { readonly list: readonly LlmMessage[]; readonly reads: () => number } {
    let reads = 0
    const list = new Proxy(messages, {
      get(target, key, receiver) {
        if (typeof key === "string" && /^\d+$/.test(key)) reads += 1
        return Reflect.get(target, key, receiver) as unknown
      },
    })
    return { list, reads: () => reads }
  }

  function lazy(...segments: readonly (readonly [storage: readonly LlmMessage[], length: number])[]): LlmRequest {
    const { messages: _, ...rest } = requestOf([])
    return withMessages(rest, {
      toArray: () => {
        throw new Error("The list was made.")
      },
      segments: () => segments.map(([storage, length]) => ({ storage, length })),
    })
  }

  test("are compared without reading the storage that they share", () => {
    const { list, reads } = watched(THREAD)
    const system = [SYSTEM]
    expect(requestPrefix(lazy([system, 1], [list, 2]), lazy([system, 1], [list, 4]))).toEqual(STABLE)
    expect(requestPrefix(lazy([[], 0], [list, 4]), lazy([list, 4], [[], 0]))).toEqual(STABLE)
    expect(reads()).toBe(0)
  })

  test("are compared across segments of other lengths", () => {
    const [a, b, c] = [says("user", "a"), says("user", "b"), says("user", "c")]
    expect(requestPrefix(lazy([[a, b], 2], [[c], 1]), lazy([[a], 1], [[b, c, a], 3]))).toEqual(STABLE)
    expect(requestPrefix(lazy([[a, b], 2], [[c], 1]), lazy([[a], 1], [[b, a], 2]))).toEqual(broken("/messages/2/blocks/0/text", "message"))
    expect(requestPrefix(lazy([[a, b], 2], [[c], 1]), lazy([[a], 1], [[b], 1]))).toEqual(broken("/messages/2", "message"))
    expect(requestPrefix(lazy([[SYSTEM, b], 1]), lazy([[], 0], [[b], 1]))).toEqual(broken("/messages/0/role", "system"))
    expect(requestPrefix(lazy([[a, b], 2]), requestOf([a, b, c]))).toEqual(STABLE)
    const shared = [a, b, c]
    expect(requestPrefix(lazy([[a], 1], [shared, 2]), lazy([shared, 3]))).toEqual(broken("/messages/1/blocks/0/text", "message"))
  })

  test("of a chat turn are compared without making their lists", () => {
    const machine = new TurnMachine(CONFIG, START)
    const requests: LlmRequest[] = []
    while (machine.outstanding !== undefined || machine.poll() !== undefined) {
      while (machine.poll() !== undefined);
      if (machine.outstanding === undefined) break
      if (machine.outstanding.type === "llm_call") {
        const { request } = machine.outstanding
        vi.spyOn(messagesListing<LlmMessage>(request) as Listing<LlmMessage>, "toArray").mockThrow(new Error("The list was made."))
        requests.push(request)
      }
      machine.handle(answerOf(machine.outstanding, machine.iteration, 20))
    }
    expect(requests).toHaveLength(21)
    for (const [index, request] of requests.entries()) {
      const previous = requests[index - 1]
      if (previous !== undefined) expect(requestPrefix(previous, request)).toEqual(STABLE)
    }
  })
})

/** Adds a tool in the third request. */
const ADDS_TOOL: Projector = wrapProjector(chatProjector, {
  request: ({ tools }, { iteration }) => (iteration < 2 ? {} : { tools: [...tools, ADD] }),
})

/** Writes a record with the request of that iteration, and gives a purpose to the calls of others. */
function marking({ at, purposes = [] }: { readonly at?: number; readonly purposes?: readonly string[] }): ProtocolDriver {
  const inner = chatDriver()
  return {
    ...inner,
    prepareIteration(context) {
      const purpose = purposes[context.iteration]
      const actions = inner
        .prepareIteration(context)
        .map((action) => (action.type === "start_llm" && purpose !== undefined ? { ...action, driverState: { purpose } } : action))
      if (context.iteration !== at) return actions
      return [{ type: "append_events", events: [{ type: "protocol", event: { type: "any", contextReset: true } }] }, ...actions]
    },
  }
}

describe("the requests of a journal", () => {
  const config: TurnConfig = { ...CONFIG, projector: ADDS_TOOL }
  // Per iteration: a model answer, a tool result, a checkpoint. So the third request is answered by record 8.
  const found = { record: 8, effectId: 7, at: "/tools/1", reason: "tools" as const }

  test("are computed by a replay", () => {
    const journal = readJournal(recordTurn(3, {}, config).text)
    expect(prefixBreaks(journal, config)).toEqual({ compared: 3, breaks: [{ ...found, marked: false }], complete: true })
    expect(prefixBreaks(readJournal(recordTurn(3).text), CONFIG)).toEqual({ compared: 3, breaks: [], complete: true })
  })

  test("say whether a record announced the change", () => {
    const marked = { ...config, driver: marking({ at: 2 }) }
    expect(prefixBreaks(readJournal(recordTurn(3, {}, marked).text), marked).breaks).toEqual([{ ...found, marked: true }])
    const before = { ...config, driver: marking({ at: 1 }) }
    expect(prefixBreaks(readJournal(recordTurn(3, {}, before).text), before).breaks).toEqual([{ ...found, marked: false }])
  })

  test("are compared with those of the same purpose", () => {
    const projector = wrapProjector(chatProjector, { request: ({ tools }, { iteration }) => (iteration % 2 === 0 ? {} : { tools: [...tools, ADD] }) })
    const judged = { ...CONFIG, projector, driver: marking({ purposes: ["act", "judge", "act", "judge"] }) }
    const journal = readJournal(recordTurn(3, { keepEffects: true }, judged).text)
    expect(prefixBreaks(journal, judged)).toEqual({ compared: 2, breaks: [], complete: true })
    expect(prefixBreaks(journal).breaks.map(({ reason }) => reason)).toEqual(["tools", "tools", "tools"])
  })

  test("are known without a config only where the journal has its effects", () => {
    const bare = readJournal(recordTurn(3, {}, config).text)
    expect(prefixBreaks(bare)).toEqual({ compared: 0, breaks: [], complete: false })
    const whole = readJournal(recordTurn(3, { keepEffects: true }, config).text)
    const [{ record, ...rest } = { record: 0 }] = prefixBreaks(whole).breaks
    expect(whole.entries[record - 2]?.record).toMatchObject({ type: "llm_complete", id: 7 })
    expect(rest).toEqual({ effectId: 7, at: "/tools/1", reason: "tools", marked: undefined })
    expect(prefixBreaks(whole)).toMatchObject({ compared: 3, complete: true })
  })

  test("are not compared over one that the journal does not have", () => {
    const whole = readJournal(recordTurn(3, { keepEffects: true }, config).text)
    const without = (id: number) => ({ ...whole, entries: whole.entries.filter(({ record }) => record.type !== "effect" || record.effect.id !== id) })
    const calls = whole.entries.flatMap(({ record }) => (record.type === "effect" && record.effect.type === "llm_call" ? [record.effect.id] : []))
    expect(calls).toEqual([1, 4, 7, 10])
    // The third request adds a tool: without it, or without the one before it, the change is between two requests that are not compared.
    expect(prefixBreaks(without(7))).toEqual({ compared: 1, breaks: [], complete: false })
    expect(prefixBreaks(without(4))).toEqual({ compared: 1, breaks: [], complete: false })
    expect(prefixBreaks(without(1))).toMatchObject({ compared: 2, breaks: [{ effectId: 7 }], complete: false })
    expect(prefixBreaks(without(10))).toMatchObject({ compared: 2, breaks: [{ effectId: 7 }], complete: false })
  })

  test("are known up to the first effect that is another one now", () => {
    const journal = readJournal(recordTurn(3, {}, config).text)
    expect(prefixBreaks(journal, CONFIG)).toEqual({ compared: 1, breaks: [], complete: false })
    expect(prefixBreaks(journal, { ...config, model: "other" })).toEqual({ compared: 0, breaks: [], complete: false })
    // The journal has the prompt and the tools themselves.
    expect(prefixBreaks(journal, { ...config, systemPrompt: "You add.", tools: [] })).toMatchObject({ compared: 3, complete: true })
  })

  test("after a compaction are those after the snapshot", () => {
    const { text } = recordTurn(3, { snapshotEveryRecords: 4 }, config)
    const journal = readJournal(compacted(readJournal(text)))
    expect(journal.header.dropped).toBeGreaterThan(0)
    const { compared, complete } = prefixBreaks(journal, config)
    expect(complete).toBe(true)
    expect(compared).toBeLessThan(3)
  })

  test("are in the outline: in total, and in the row of the answer", () => {
    const { text } = recordTurn(3, {}, config)
    const { rows, prefix } = journalOutline(readJournal(text), text, config)
    expect(prefix).toEqual({ compared: 3, breaks: [{ ...found, marked: false }], complete: true })
    expect(rows.flatMap((row) => (row.type === "llm_complete" ? [row.prefixBreak?.at] : []))).toEqual([undefined, undefined, "/tools/1", undefined])
  })
})
