import { describe, expect, test } from "vitest"
import { failure, fixtureEvents, response, shownTexts, streamed } from "./support.ts"

const created = { type: "response.created", response: { id: "resp_1", status: "in_progress" } }
const completed = (...output: readonly object[]) => ({ type: "response.completed", response: { id: "resp_1", status: "completed", output } })
const started = (index: number | undefined, item: object) => ({
  type: "response.output_item.added",
  ...(index !== undefined && { output_index: index }),
  item,
})
const ended = (index: number | undefined, item: object) => ({
  type: "response.output_item.done",
  ...(index !== undefined && { output_index: index }),
  item,
})
const text = (index: number, id: string, delta: string, content = 0) => ({
  type: "response.output_text.delta",
  output_index: index,
  item_id: id,
  content_index: content,
  delta,
})
const args = (index: number, id: string, delta: string) => ({
  type: "response.function_call_arguments.delta",
  output_index: index,
  item_id: id,
  delta,
})
const message = (id: string, ...texts: readonly string[]) => ({
  type: "message",
  id,
  status: "completed",
  content: texts.map((one) => ({ type: "output_text", text: one })),
})
const call = (id: string, name: string, given: string) => ({ type: "function_call", id, call_id: `call_${name}`, name, arguments: given })

test("ids that change with every event do not matter: the index decides", () => {
  const { result, shown } = streamed([
    created,
    started(0, { type: "reasoning", id: "x1", summary: [], encrypted_content: "half" }),
    ended(0, { type: "reasoning", id: "x2", summary: [], encrypted_content: "whole" }),
    started(1, { type: "message", id: "x3", content: [] }),
    text(1, "x4", "Hel"),
    text(1, "x5", "lo"),
    ended(1, message("x6", "Hello")),
    started(2, call("x7", "f", "")),
    args(2, "x8", '{"a":'),
    args(2, "x9", "1}"),
    ended(2, call("x10", "f", '{"a":1}')),
    completed({ type: "reasoning", id: "x11", summary: [], encrypted_content: "whole" }, message("x12", "Hello"), call("x13", "f", '{"a":1}')),
  ])
  expect(response(result).parts).toMatchObject([
    { type: "reasoning", replay: { itemId: "x2", encryptedContent: "whole" } },
    { type: "text", text: "Hello", responseMeta: { id: "x6" } },
    { type: "tool_call", inputJson: '{"a":1}', replay: { itemId: "x10" } },
  ])
  expect(shownTexts(shown).text).toBe("Hello")
})

test("items with one index are told apart by their id and type", () => {
  const { result } = streamed([
    started(0, { type: "message", id: "msg_1", content: [] }),
    started(0, call("fc_1", "f", "")),
    started(0, call("fc_2", "g", "")),
    text(0, "msg_1", "Both"),
    args(0, "fc_1", '{"a":1}'),
    args(0, "fc_2", '{"b":2}'),
    ended(0, call("fc_2", "g", '{"b":2}')),
    ended(0, message("msg_1", "Both")),
    ended(0, call("fc_1", "f", '{"a":1}')),
    completed(message("msg_1", "Both"), call("fc_1", "f", '{"a":1}'), call("fc_2", "g", '{"b":2}')),
  ])
  expect(response(result).parts).toMatchObject([{ text: "Both" }, { toolName: "f", inputJson: '{"a":1}' }, { toolName: "g", inputJson: '{"b":2}' }])
})

test("items without an index keep their order", () => {
  const { result } = streamed([
    started(undefined, { type: "message", id: "msg_1", content: [] }),
    { type: "response.output_text.delta", item_id: "msg_1", delta: "One" },
    ended(undefined, message("msg_1", "One")),
    started(undefined, { type: "message", id: "msg_2", content: [] }),
    { type: "response.output_text.delta", item_id: "msg_2", delta: "Two" },
    ended(undefined, message("msg_2", "Two")),
    { type: "response.completed" },
  ])
  expect(response(result).parts).toMatchObject([{ text: "One" }, { text: "Two" }])
})

test("the end of an item counts, not its pieces: lost and reordered pieces do no harm", () => {
  const { result, shown } = streamed([
    started(0, { type: "message", id: "msg_1", content: [] }),
    text(0, "msg_1", "Hel"),
    ended(0, message("msg_1", "Hello", "More")),
    text(0, "msg_1", "late"),
    completed(),
  ])
  expect(response(result).text).toBe("HelloMore")
  expect(shownTexts(shown).text).toBe("HelloMore")
  const reordered = streamed([text(0, "m", "lo"), text(0, "m", "Hel"), ended(0, message("m", "Hello")), completed()])
  expect(response(reordered.result).text).toBe("Hello")
})

test("items that come out of order are put in order", () => {
  const { result } = streamed([ended(1, message("b", "Two")), ended(0, message("a", "One")), completed()])
  expect(response(result).parts).toMatchObject([{ text: "One" }, { text: "Two" }])
})

test("repeated events are ignored where their numbers count", () => {
  const events = fixtureEvents("parallel-tools")
  const twice = events.flatMap((event) => [event, structuredClone(event)])
  const { result, shown } = streamed(twice)
  expect(result).toEqual(streamed(events).result)
  expect(shownTexts(shown)).toEqual(shownTexts(streamed(events).shown))
  // One number for all events says nothing.
  const same = streamed([{ ...text(0, "m", "ha"), sequence_number: 0 }, { ...text(0, "m", "ha"), sequence_number: 0 }, completed()])
  expect(response(same.result).text).toBe("haha")
})

test("a second answer in one stream is refused, and the first is kept", () => {
  const second = { type: "response.created", response: { id: "resp_2" } }
  const { result } = streamed([created, text(0, "m", "Hello"), second, text(0, "m", " you")])
  expect(result).toMatchObject({ ok: false, error: { code: "malformed_response" }, partial: { text: "Hello" } })
  // Before anything was said, another beginning is a retry of the server.
  expect(response(streamed([created, second, text(0, "m", "Hi"), completed()]).result).text).toBe("Hi")
})

test("nothing throws a complete answer away", () => {
  const { result } = streamed([
    ended(0, message("m", "Hello")),
    completed(),
    { type: "error", code: "x", message: "late" },
    null,
    { type: "response.failed" },
  ])
  expect(response(result).text).toBe("Hello")
})

describe("the response object at the end", () => {
  test("gives the items that the stream did not have, and they are shown", () => {
    const { result, shown } = streamed([created, completed(message("m", "Hello"), call("fc", "f", "{}"))])
    expect(response(result)).toMatchObject({ text: "Hello", terminalReason: "tool_use" })
    expect(shownTexts(shown).text).toBe("Hello")
  })

  test("may have no items", () => {
    expect(response(streamed([ended(0, message("m", "Hello")), completed()]).result).text).toBe("Hello")
  })

  test("completes items that did not end", () => {
    const { result, shown } = streamed([text(0, "m", "Hel"), args(1, "fc", '{"a"'), completed(message("m", "Hello"), call("fc", "f", '{"a":1}'))])
    expect(response(result).parts).toMatchObject([{ text: "Hello" }, { toolName: "f", inputJson: '{"a":1}' }])
    expect(shownTexts(shown).text).toBe("Hello")
  })

  test("may be all that comes", () => {
    expect(response(streamed([{ object: "response", status: "completed", output: [message("m", "Hello")] }]).result).text).toBe("Hello")
  })
})

describe("encrypted reasoning", () => {
  const thought = (encrypted?: string) => ({
    type: "reasoning",
    id: "rs_1",
    summary: [],
    ...(encrypted !== undefined && { encrypted_content: encrypted }),
  })

  test("at the beginning of an item is not stored: it may be half of it", () => {
    const { result } = streamed([started(0, thought("half")), ended(1, message("m", "Hello")), completed()])
    expect(response(result).parts).toEqual([
      { type: "reasoning", text: "", replay: { itemId: "rs_1" } },
      { type: "text", text: "Hello", responseMeta: { id: "m", status: "completed" } },
    ])
  })

  test("that only the response object has is stored", () => {
    const { result } = streamed([ended(0, thought()), ended(1, message("m", "Hello")), completed(thought("whole"), message("m", "Hello"))])
    expect(response(result).parts).toMatchObject([{ type: "reasoning", replay: { itemId: "rs_1", encryptedContent: "whole" } }, { text: "Hello" }])
  })

  test("that did not end before the stream was cut leaves the message after it without an id", () => {
    const { result } = streamed([started(0, thought("half")), text(1, "msg_1", "Hel")])
    expect(result).toMatchObject({ ok: false, error: { code: "stream_truncated" } })
    expect(result.ok ? [] : result.partial?.parts).toEqual([{ type: "text", text: "Hel", responseMeta: { status: "incomplete" } }])
  })
})

test("arguments in pieces count where the item that ends has none", () => {
  const { result } = streamed([
    started(0, call("fc", "f", "")),
    args(0, "fc", '{"a"'),
    args(0, "fc", ":1}"),
    ended(0, call("fc", "f", "")),
    completed(),
  ])
  expect(response(result).parts).toMatchObject([{ inputJson: '{"a":1}' }])
})

test("refusals and reasoning of open models are shown as they come", () => {
  const { result, shown } = streamed([
    { type: "response.reasoning_text.delta", output_index: 0, item_id: "rs", content_index: 0, delta: "Hm." },
    { type: "response.reasoning_text.delta", output_index: 0, item_id: "rs", content_index: 1, delta: "No." },
    { type: "response.refusal.delta", output_index: 1, item_id: "m", content_index: 0, delta: "I can" },
    { type: "response.refusal.done", output_index: 1, item_id: "m", content_index: 0, refusal: "I cannot." },
    completed(),
  ])
  expect(shownTexts(shown)).toEqual({ text: "I cannot.", reasoning: "Hm.\n\nNo." })
  expect(response(result)).toMatchObject({ terminalReason: "refusal", text: "I cannot." })
})

test.each([1, "x", null, [1], {}])("%j is not an event", (value) => {
  expect(failure(streamed([value]).result).code).toBe("malformed_response")
})

test("unknown events are ignored", () => {
  const events = fixtureEvents("web-search").flatMap((event) => [{ type: "keepalive" }, { type: "response.new_thing.delta", delta: "x" }, event])
  expect(streamed(events).result).toEqual(streamed(fixtureEvents("web-search")).result)
})
